//! Binding and accepting: kinds of address, inherited sockets, limits, settings that change.

use crate::client::{Client, Cut, MQTT};
use crate::world::{World, behind_proxy, policy, read_n, soon, spec, write};
use listeners::{Admit, Bind, ListenerSpec, Stage, TransportKind, bind, bind_inherited};
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

const TCP: TransportKind = TransportKind::Tcp;

fn at(address: &str) -> ListenerSpec {
    ListenerSpec {
        bind: address.parse().expect("an address"),
        ..spec(TCP, policy(TCP, &[]))
    }
}

#[tokio::test]
async fn ipv4_ipv6_and_both() {
    for (address, visitor, seen) in [
        ("127.0.0.1:0", "127.0.0.1", "127.0.0.1"),
        ("[::1]:0", "::1", "::1"),
        ("[::]:0", "::1", "::1"),
        ("[::]:0", "127.0.0.1", "127.0.0.1"),
    ] {
        let mut world = World::new(at(address));
        let to = SocketAddr::new(visitor.parse().expect("an address"), world.addr.port());
        let mut client = Client::socket(to, Cut::Whole).await;
        client.send_raw(MQTT).await;
        let server = world.connection().await;
        assert_eq!(server.peer.socket().host_text().to_string(), seen);
        assert_eq!(server.peer.socket().port(), client.port());
    }
}

#[tokio::test]
async fn a_unix_socket_is_made_cleared_and_removed() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("mqtt.sock");
    // A file that a dead process left behind.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
    let unix = || ListenerSpec {
        bind: Bind::Unix(path.clone()),
        ..spec(TCP, behind_proxy(TCP))
    };
    let bound = bind(unix()).expect("the stale file goes");
    assert_eq!(
        bind(unix()).map_err(|e| e.kind()).err(),
        Some(io::ErrorKind::AddrInUse),
        "somebody listens"
    );
    let mut world = World::on(bound, |_| Admit::Ok(None));
    assert!(
        world.outcome().await.is_err(),
        "the look whether somebody listens"
    );
    let mut client = UnixStream::connect(&path).await.expect("a listener");
    client
        .write_all(b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 1883\r\n")
        .await
        .expect("open");
    client.write_all(MQTT).await.expect("open");
    let mut server = world.connection().await;
    assert_eq!(
        (
            server.peer.socket().to_string(),
            server.peer.peername().to_string()
        ),
        ("unix".to_owned(), "203.0.113.7:51234".to_owned())
    );
    assert_eq!(read_n(&mut server.transport, MQTT.len()).await, MQTT);
    write(&mut server.transport, b"\x20\x02\0\0").await;
    let mut answer = [0; 4];
    soon("the answer", client.read_exact(&mut answer))
        .await
        .expect("open");
    drop(
        bind(ListenerSpec {
            bind: Bind::Unix(dir.path().join("other")),
            ..unix()
        })
        .expect("a free path"),
    );
    assert!(!dir.path().join("other").exists(), "removed when closed");
}

#[tokio::test]
async fn a_socket_that_listens_already_is_taken_over() {
    let given = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = given.local_addr().expect("an address");
    let bound = bind_inherited(at("127.0.0.1:0"), given.into()).expect("it listens");
    let mut world = World::on(bound, |_| Admit::Ok(None));
    assert_eq!(world.addr, addr);
    let mut client = Client::socket(addr, Cut::Whole).await;
    client.send_raw(MQTT).await;
    world.connection().await;
    let pair = std::net::TcpStream::connect(addr).expect("a listener");
    let refused = bind_inherited(at("127.0.0.1:0"), pair.into()).expect_err("it does not listen");
    assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
}

#[tokio::test]
async fn an_address_in_use_is_an_error() {
    let first = bind(at("127.0.0.1:0")).expect("a free port");
    let again = ListenerSpec {
        bind: first.shared().local().clone(),
        ..at("127.0.0.1:0")
    };
    assert_eq!(bind(again).expect_err("in use").kind(), io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn a_full_listener_closes_and_says_so() {
    let mut world = World::new(ListenerSpec {
        max_connections: Some(1),
        ..at("127.0.0.1:0")
    });
    let mut first = Client::socket(world.addr, Cut::Whole).await;
    first.send_raw(MQTT).await;
    let server = world.connection().await;
    let mut second = Client::socket(world.addr, Cut::Whole).await;
    let refusal = world.refusal().await;
    assert_eq!(
        (refusal.text.as_str(), refusal.stage),
        ("the listener is full", Stage::Socket)
    );
    assert_eq!(second.receive_all().await, b"");
    drop(server);
    let mut third = Client::socket(world.addr, Cut::Whole).await;
    third.send_raw(MQTT).await;
    world.connection().await;
}

#[tokio::test]
async fn the_oldest_unfinished_login_is_closed() {
    let mut world = World::new(ListenerSpec {
        max_pending: 2,
        ..at("127.0.0.1:0")
    });
    let mut oldest = Client::socket(world.addr, Cut::Whole).await;
    let mut done = Client::socket(world.addr, Cut::Whole).await;
    done.send_raw(MQTT).await;
    let mut server = world.connection().await;
    server.slot.login_done();
    let mut other = Client::socket(world.addr, Cut::Whole).await;
    let _third = Client::socket(world.addr, Cut::Whole).await;
    assert_eq!(
        world.refusal().await.text,
        "too many unfinished logins on the listener"
    );
    assert!(world.outcome().await.is_err() && oldest.receive_all().await.is_empty());
    other.send_raw(MQTT).await;
    // It has left the handshake; the broker's login is told.
    let waiting = world.connection().await;
    let _fourth = Client::socket(world.addr, Cut::Whole).await;
    soon("the eviction", waiting.slot.evicted()).await;
}

#[tokio::test]
async fn proxies_have_a_limit_of_their_own() {
    let mut world = World::new(ListenerSpec {
        max_connections_proxy: Some(1),
        ..spec(TCP, behind_proxy(TCP))
    });
    let mut servers = Vec::new();
    for (header, admitted) in [
        ("UNKNOWN", true),
        ("UNKNOWN", false),
        ("TCP4 203.0.113.7 192.0.2.1 5 1883", true),
    ] {
        let mut client = Client::socket(world.addr, Cut::Whole).await;
        client.send_raw(format!("PROXY {header}\r\n").as_bytes()).await;
        client.send_raw(MQTT).await;
        let outcome = world.outcome().await;
        assert_eq!(outcome.is_ok(), admitted, "{header}");
        servers.extend(outcome);
    }
}

#[tokio::test]
async fn changed_settings_meet_the_next_connection() {
    let mut world = World::new(at("127.0.0.1:0"));
    let mut waiting = Client::socket(world.addr, Cut::Whole).await;
    soon("the accept", async {
        while world.listener.connections() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    world.listener.set_spec(spec(TCP, behind_proxy(TCP)));
    let mut next = Client::socket(world.addr, Cut::Whole).await;
    next.send_raw(MQTT).await;
    assert_eq!(world.refusal().await.text, "E_PROXY_REQUIRED mqtt");
    waiting.send_raw(MQTT).await;
    assert!(world.outcome().await.is_err(), "the refused one");
    world.connection().await;
}
