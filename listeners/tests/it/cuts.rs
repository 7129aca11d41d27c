//! The same bytes give the same result however they were cut, and no byte after a header is lost
//! (peername rule 6), on every kind of listener.

use crate::client::{Client, Cut, HEADER, MQTT};
use crate::world::{KINDS, World, behind_proxy, read_n, spec, write};
use listeners::TransportKind;

/// Sends the PROXY header and MQTT bytes with that cut; returns how many bytes were sent in all.
async fn check(world: &mut World, kind: TransportKind, cut: Cut) -> usize {
    let (addr, client) = (world.addr, async |addr| {
        let mut client = Client::open(addr, kind, HEADER, cut).await;
        client.send(MQTT).await;
        client.send(&MQTT[14..]).await;
        client
    });
    let (mut client, mut server) = tokio::join!(client(addr), world.connection());
    assert_eq!(server.peer.peername().to_string(), "203.0.113.7:51234");
    assert_eq!(server.peer.socket().ip(), Some([127, 0, 0, 1].into()));
    assert_eq!(
        read_n(&mut server.transport, MQTT.len() + 2).await,
        [MQTT, &MQTT[14..]].concat()
    );
    write(&mut server.transport, b"\x20\x02\0\0").await;
    assert_eq!(client.read_n(4).await, b"\x20\x02\0\0");
    client.sent
}

#[tokio::test]
async fn any_cut_gives_the_same_result_on_tcp_and_ws() {
    for kind in [TransportKind::Tcp, TransportKind::Ws] {
        let mut world = World::new(spec(kind, behind_proxy(kind)));
        let all = check(&mut world, kind, Cut::Whole).await;
        for at in 1..all {
            check(&mut world, kind, Cut::At(at)).await;
        }
    }
}

#[tokio::test]
async fn any_cut_gives_the_same_result_on_tls_and_wss() {
    for kind in [TransportKind::Tls, TransportKind::Wss] {
        let mut world = World::new(spec(kind, behind_proxy(kind)));
        let all = check(&mut world, kind, Cut::Whole).await;
        // The header and the first record's head everywhere; the records, which are long, here and
        // there; the last ones, with the MQTT bytes, everywhere again.
        let offsets = (1..HEADER.len() + 8)
            .chain((HEADER.len() + 8..all - 90).step_by(37))
            .chain(all - 90..all);
        for at in offsets {
            check(&mut world, kind, Cut::At(at)).await;
        }
    }
}

#[tokio::test]
async fn one_byte_at_a_time_is_enough() {
    for kind in KINDS {
        let mut world = World::new(spec(kind, behind_proxy(kind)));
        check(&mut world, kind, Cut::Everywhere).await;
    }
}
