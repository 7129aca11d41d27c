//! One deadline over everything, one instant per stage, and no byte moves them; nobody who is silent
//! or slow keeps another one waiting.

use crate::client::{Client, Cut, HEADER, MQTT, settle, tls_config, upgrade_request};
use crate::world::{KINDS, Refused, World, behind_proxy, policy, read_n, soon, spec};
use listeners::{ListenerSpec, Stage, TransportKind};
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(150);

/// Drips `bytes`, one a tick, for as long as the server takes them; returns why it ended and when.
async fn drip(world: &mut World, client: &mut Client, bytes: &[u8]) -> (Refused, Duration) {
    let start = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    let dripping = async {
        for byte in bytes.iter().cycle() {
            ticks.tick().await;
            if !client.try_send_raw(&[*byte]).await {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let refusal = tokio::select! {
        refusal = world.refusal() => refusal,
        () = dripping => unreachable!("it waits for ever"),
    };
    (refusal, start.elapsed())
}

#[track_caller]
fn in_time(lasted: Duration) {
    assert!(
        lasted >= SHORT.mul_f32(0.8) && lasted < Duration::from_secs(5),
        "{lasted:?}"
    );
}

#[tokio::test]
async fn a_dripping_proxy_header_ends_at_its_instant() {
    for kind in KINDS {
        let mut world = World::new(ListenerSpec {
            login_timeout: SHORT,
            ..spec(kind, behind_proxy(kind))
        });
        let mut client = Client::socket(world.addr, Cut::Whole).await;
        let drops = [&b"PROXY TCP4 "[..], &b"1".repeat(90)].concat();
        let (refusal, lasted) = drip(&mut world, &mut client, &drops).await;
        assert_eq!(
            (refusal.text.as_str(), refusal.stage),
            ("E_PROXY_TIMEOUT", Stage::Proxy)
        );
        in_time(lasted);
    }
}

#[tokio::test]
async fn a_dripping_tls_handshake_ends_at_its_instant() {
    for kind in [TransportKind::Tls, TransportKind::Wss] {
        let mut world = World::new(ListenerSpec {
            handshake_timeout: SHORT,
            ..spec(kind, behind_proxy(kind))
        });
        let mut client = Client::socket(world.addr, Cut::Whole).await;
        client.send_raw(HEADER).await;
        let name = ServerName::try_from("localhost").expect("a name");
        let mut hello = Vec::new();
        let mut tls = ClientConnection::new(Arc::new(tls_config(None)), name).expect("a client");
        tls.write_tls(&mut hello).expect("a vector");
        let (refusal, lasted) = drip(&mut world, &mut client, &hello).await;
        assert_eq!((refusal.text.as_str(), refusal.stage), ("timed out", Stage::Tls));
        in_time(lasted);
    }
}

#[tokio::test]
async fn a_dripping_upgrade_ends_at_its_instant_with_408() {
    for kind in [TransportKind::Ws, TransportKind::Wss] {
        let mut door = spec(kind, policy(kind, &[]));
        door.ws.upgrade_timeout = SHORT;
        let mut world = World::new(door);
        let mut client = Client::socket(world.addr, Cut::Whole).await;
        if kind == TransportKind::Wss {
            client.start_tls(Arc::new(tls_config(None))).await;
        }
        // The beginning in the client's own protocol, then bytes of a field that never ends.
        let request = upgrade_request(&[]);
        client.send_plain(&request.as_bytes()[..request.len() - 2]).await;
        let start = Instant::now();
        let (mut ticks, mut open) = (tokio::time::interval(Duration::from_millis(5)), true);
        let refusal = loop {
            tokio::select! {
                refusal = world.refusal() => break refusal,
                _ = ticks.tick(), if open => {
                    open = start.elapsed() < SHORT;
                    client.send_plain(b"x").await;
                }
            }
        };
        assert_eq!(
            (refusal.text.as_str(), refusal.http_status),
            ("timed out", Some(408))
        );
        in_time(start.elapsed());
        let answer = client.receive_all().await;
        assert!(answer.starts_with(b"HTTP/1.1 408 "));
    }
}

#[tokio::test]
async fn the_login_deadline_covers_all_stages() {
    let kind = TransportKind::Tls;
    let mut world = World::new(ListenerSpec {
        login_timeout: SHORT,
        ..spec(kind, policy(kind, &[]))
    });
    let (start, mut client) = (Instant::now(), Client::socket(world.addr, Cut::Whole).await);
    client.send_raw(b"\x16").await;
    assert_eq!(world.refusal().await.text, "timed out");
    in_time(start.elapsed());

    let mut world = World::new(ListenerSpec {
        login_timeout: SHORT,
        ..spec(kind, policy(kind, &[]))
    });
    let mut client = Client::open(world.addr, kind, b"", Cut::Whole).await;
    client.send(MQTT).await;
    let server = world.connection().await;
    assert_eq!(server.login_deadline, server.accepted_at + SHORT);
    assert!(
        server.connect_deadline <= server.login_deadline,
        "the earlier one counts"
    );
}

#[tokio::test]
async fn silence_in_the_proxy_stage_is_idle_or_goes_on() {
    let mut world = World::new(ListenerSpec {
        login_timeout: SHORT,
        ..spec(TransportKind::Tcp, behind_proxy(TransportKind::Tcp))
    });
    let _silent = Client::socket(world.addr, Cut::Whole).await;
    assert_eq!(world.refusal().await.text, "Q_IDLE");

    // Without PROXY the next layer judges.
    let mut world = World::new(ListenerSpec {
        login_timeout: SHORT,
        ..spec(TransportKind::Tcp, policy(TransportKind::Tcp, &[]))
    });
    let _silent = Client::socket(world.addr, Cut::Whole).await;
    let server = world.connection().await;
    assert!(server.connect_deadline <= Instant::now());
}

#[tokio::test]
async fn a_hundred_silent_sockets_do_not_delay_the_next() {
    for kind in KINDS {
        let mut world = World::new(spec(kind, behind_proxy(kind)));
        let mut silent = Vec::new();
        for i in 0..100 {
            let mut client = Client::socket(world.addr, Cut::Whole).await;
            // Some say nothing, some stop within the header, some after it.
            client.send_raw([&b""[..], &HEADER[..9], HEADER][i % 3]).await;
            silent.push(client);
        }
        let (to, start) = (world.addr, Instant::now());
        let client = async {
            let mut client = Client::open(to, kind, HEADER, Cut::Whole).await;
            client.send(MQTT).await;
            client
        };
        let (_client, mut server) = tokio::join!(client, world.connection());
        assert_eq!(read_n(&mut server.transport, MQTT.len()).await, MQTT);
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
        assert_eq!(
            (world.listener.connections(), world.listener.pending()),
            (101, 101)
        );
        drop((silent, server));
        soon("the places", async {
            while world.listener.connections() > 0 {
                settle().await;
            }
        })
        .await;
    }
}
