//! Bytes both ways on an established connection: back-pressure, shared payloads, another runtime,
//! closing.

use crate::client::{Client, Cut, MQTT, frame};
use crate::world::{KINDS, World, flush, policy, read_n, soon, spec, write};
use bytes::Bytes;
use listeners::{Connection, Flushed, OutBuf, TransportKind};
use std::future::poll_fn;
use std::task::Poll;
use tokio_tungstenite::tungstenite::{self, ClientRequestBuilder, Message};

async fn pair(kind: TransportKind) -> (World, Client, Connection) {
    let mut world = World::new(spec(kind, policy(kind, &[])));
    let to = world.addr;
    let client = async {
        let mut client = Client::open(to, kind, b"", Cut::Whole).await;
        client.send(MQTT).await;
        client
    };
    let (client, mut server) = tokio::join!(client, world.connection());
    assert_eq!(read_n(&mut server.transport, MQTT.len()).await, MQTT);
    (world, client, server)
}

fn counted(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i / 7 + i % 256) as u8).collect()
}

/// Sends until the kernel takes no more; returns what waits and all that was queued.
async fn fill(server: &mut Connection) -> (OutBuf, Vec<u8>) {
    let (mut out, mut sent) = (OutBuf::new(), Vec::new());
    let payload = Bytes::from(counted(100_000));
    while sent.len() < 1 << 30 {
        out.buffer_mut().extend_from_slice(b"head");
        out.push(&payload);
        sent.extend_from_slice(b"head");
        sent.extend_from_slice(&payload);
        if server.transport.try_flush(&mut out).expect("a good stream") == Flushed::All {
            continue;
        }
        // The runtime may not have turned since: blocked after a turn is blocked.
        if !turn(server).await {
            return (out, sent);
        }
    }
    panic!("it never blocks");
}

/// Lets the reactor turn; true if something may be written then.
async fn turn(server: &mut Connection) -> bool {
    for _ in 0..3 {
        let mut ready = false;
        poll_fn(|cx| {
            ready = server.transport.poll_write_ready(cx).is_ready();
            Poll::Ready(())
        })
        .await;
        if ready {
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}

#[tokio::test]
async fn a_client_that_does_not_read_blocks_and_loses_nothing() {
    for kind in KINDS {
        let (_world, mut client, mut server) = pair(kind).await;
        let (mut out, mut sent) = fill(&mut server).await;
        assert!(!out.is_empty() || matches!(kind, TransportKind::Tls | TransportKind::Wss));
        // More may be queued while a frame or record is under way.
        out.buffer_mut().extend_from_slice(b"tail");
        sent.extend_from_slice(b"tail");
        let (got, ()) = tokio::join!(client.read_n(sent.len()), flush(&mut server.transport, &mut out));
        assert!(got == sent, "{kind}: the same bytes");
        assert!(out.release().is_some_and(|spare| spare.is_empty()));
    }
}

#[tokio::test]
async fn much_comes_in_whole() {
    for kind in KINDS {
        let (_world, mut client, mut server) = pair(kind).await;
        let bytes = counted(1_000_003);
        let (got, ()) = tokio::join!(read_n(&mut server.transport, bytes.len()), client.send(&bytes));
        assert!(got == bytes, "{kind}");
    }
}

#[tokio::test]
async fn a_short_read_ends_the_wake_up_and_what_follows_wakes_again() {
    for kind in KINDS {
        let (_world, mut client, mut server) = pair(kind).await;
        for i in 0..50_usize {
            let bytes = counted(1 + i * 31 % 900);
            client.send(&bytes).await;
            assert_eq!(read_n(&mut server.transport, bytes.len()).await, bytes);
            let mut more = Vec::new();
            let again = poll_fn(|cx| Poll::Ready(server.transport.poll_read(cx, &mut more, 4096))).await;
            assert!(again.is_pending(), "nothing waits");
        }
    }
}

#[tokio::test]
async fn the_end_is_an_end() {
    for kind in KINDS {
        let (_world, mut client, mut server) = pair(kind).await;
        client.half_close().await;
        assert_eq!(read_n(&mut server.transport, 1).await, b"");
        // The other direction is still there.
        if matches!(kind, TransportKind::Tcp | TransportKind::Tls) {
            write(&mut server.transport, b"bye").await;
            assert_eq!(client.read_n(3).await, b"bye");
        }
    }
}

#[tokio::test]
async fn closing_sends_what_waits_and_ends_every_layer() {
    for kind in KINDS {
        let (_world, mut client, mut server) = pair(kind).await;
        let mut out = OutBuf::new();
        out.buffer_mut().extend_from_slice(b"\xe0\x02\x8b\0");
        soon("the end", poll_fn(|cx| server.transport.poll_close(cx, &mut out)))
            .await
            .expect("a good stream");
        assert_eq!(client.read_n(4).await, b"\xe0\x02\x8b\0");
        if matches!(kind, TransportKind::Ws | TransportKind::Wss) {
            assert_eq!(client.frame().await, (0x88, vec![3, 0xE8]));
        }
        assert_eq!(client.receive_all().await, b"");
        assert!(client.ended_in_order(), "close_notify came");
    }
}

#[tokio::test]
async fn pings_are_answered_between_frames() {
    for kind in [TransportKind::Ws, TransportKind::Wss] {
        let (_world, mut client, mut server) = pair(kind).await;
        client
            .send_plain(&[frame(0x89, b"one"), frame(0x82, b"x"), frame(0x89, b"two")].concat())
            .await;
        assert_eq!(read_n(&mut server.transport, 1).await, b"x");
        assert_eq!(client.frame().await, (0x8A, b"one".to_vec()));
        assert_eq!(client.frame().await, (0x8A, b"two".to_vec()));
        write(&mut server.transport, b"y").await;
        assert_eq!(client.frame().await, (0x82, b"y".to_vec()));
        // The client's close is answered with its code, and is the end.
        client.send_plain(&frame(0x88, &1001_u16.to_be_bytes())).await;
        assert_eq!(read_n(&mut server.transport, 1).await, b"");
        assert_eq!(client.frame().await, (0x88, 1001_u16.to_be_bytes().to_vec()));
    }
}

#[tokio::test]
async fn a_connection_moves_to_another_runtime_with_bytes_in_flight() {
    for kind in KINDS {
        let (_world, mut client, mut server) = pair(kind).await;
        // The middle of a frame, of a record, of a read.
        let (mut out, sent) = fill(&mut server).await;
        let bytes = counted(1000);
        client.send(&bytes[..500]).await;
        client.send_half(&bytes[500..]).await;
        let before = read_n(&mut server.transport, 300).await;
        let detached = server.transport.detach().expect("a good socket");
        let other = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let mut transport = detached.attach().expect("a good socket");
                flush(&mut transport, &mut out).await;
                let rest = read_n(&mut transport, 1000 - before.len()).await;
                [before, rest].concat()
            })
        });
        let got = client.read_n(sent.len()).await;
        client.send_other_half().await;
        let received = tokio::task::spawn_blocking(|| other.join().expect("no panic"))
            .await
            .expect("no panic");
        assert!(got == sent && received == bytes, "{kind}");
    }
}

#[tokio::test]
async fn records_that_are_none_end_the_stream_with_an_alert() {
    let (_world, mut client, mut server) = pair(TransportKind::Tls).await;
    client
        .send_raw(b"\x17\x03\x03\0\x20not a record that anybody made.")
        .await;
    client
        .send_raw(b"\x17\x03\x03\0\x20and more of it, and more of it.")
        .await;
    let mut buf = Vec::new();
    let read = soon(
        "bytes",
        poll_fn(|cx| server.transport.poll_read(cx, &mut buf, 4096)),
    )
    .await;
    assert_eq!(read.map_err(|e| e.kind()), Err(std::io::ErrorKind::InvalidData));
    // Closing after that is quiet: the alert was the last word.
    let mut out = OutBuf::new();
    out.buffer_mut().extend_from_slice(b"\xe0\0");
    soon("the end", poll_fn(|cx| server.transport.poll_close(cx, &mut out)))
        .await
        .expect("a good socket");
    assert_eq!(client.receive_all().await, b"");
    assert!(!client.ended_in_order(), "an alert, no close_notify");
}

#[tokio::test]
async fn another_implementation_understands_us() {
    let mut world = World::new(spec(TransportKind::Ws, policy(TransportKind::Ws, &[])));
    let to = world.addr;
    let client = tokio::task::spawn_blocking(move || {
        let uri = format!("ws://{to}/mqtt").parse().expect("an address");
        let request = ClientRequestBuilder::new(uri).with_sub_protocol("mqtt");
        let stream = std::net::TcpStream::connect(to).expect("a listener");
        let (mut ws, response) = tungstenite::client(request, stream).expect("an upgrade");
        assert_eq!(response.headers()["sec-websocket-protocol"], "mqtt");
        for n in LENGTHS {
            ws.send(Message::Ping(b"?".to_vec().into())).expect("open");
            ws.send(Message::binary(counted(n))).expect("open");
            let (mut got, mut pongs) = (Vec::new(), 0);
            while got.len() < n || pongs == 0 {
                match ws.read().expect("open") {
                    Message::Binary(bytes) => got.extend_from_slice(&bytes),
                    Message::Pong(_) => pongs += 1,
                    other => panic!("{other:?}"),
                }
            }
            assert!(got == counted(n), "{n} bytes come back");
        }
        ws.close(None).expect("open");
        while ws.read().is_ok() {}
    });
    let mut server = world.connection().await;
    for n in LENGTHS {
        let bytes = read_n(&mut server.transport, n).await;
        write(&mut server.transport, &bytes).await;
    }
    assert_eq!(read_n(&mut server.transport, 1).await, b"", "the close");
    drop(server);
    soon("the client", client).await.expect("no panic");
}

const LENGTHS: [usize; 7] = [1, 125, 126, 4096, 65_535, 65_536, 300_000];
