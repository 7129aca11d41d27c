//! Limits before login (peername 12), each on the listeners where it applies: who is refused, who is not, and what the
//! audit log and the metrics say of it.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::LazyLock;
use std::time::Duration;

use serde_json::Value;
use tests::broker::{Broker, TRANSPORTS, listener, listeners};
use tests::certs::Certs;
use tests::client::{Login, Reply};
use tests::link::{Dial, Link};
use tests::wait::until;

static CERTS: LazyLock<Certs> = LazyLock::new(Certs::new);

/// The listed proxy, and a sender that is not listed.
const PROXY: &str = "127.16.0.200";
const REQUIRED: &str = "proxy_protocol = \"required\"\ntrusted_proxies = [\"127.16.0.200\"]";
const HEADERS: &str = "address_header = \"X-Forwarded-For\"\ntrusted_proxies = [\"127.16.0.200\"]";

/// Three connections at once, and no more for a long time.
const THREE: &str = "[quota]\nconnect_rate = \"1/h\"\nconnect_burst = 3\n";

/// How a good client of this kind dials.
fn good(broker: &Broker, kind: &str) -> Dial {
    let dial = broker.dial(kind);
    match kind {
        "tcp" => dial,
        "tls" => dial.tls(CERTS.client(None)),
        "ws" => dial.ws(),
        _ => dial.tls(CERTS.client(None)).ws(),
    }
}

/// A PROXY header of a client at this address.
fn v1(source: &str) -> String {
    format!("PROXY TCP4 {source} 127.0.0.1 51234 1883\r\n")
}

/// The sum of all lines of a metric whose labels contain these texts.
#[track_caller]
fn metric(broker: &Broker, name: &str, labels: &[&str]) -> u64 {
    let text = broker.ctl(&["metrics"]).stdout;
    let lines = text.lines().filter_map(|line| {
        let (labelled, value) = line.rsplit_once(' ')?;
        let fits = labelled.starts_with(&format!("{name}{{")) && labels.iter().all(|l| labelled.contains(l));
        fits.then(|| value.parse::<u64>().expect("a count"))
    });
    lines.sum()
}

#[track_caller]
fn counted(broker: &Broker, name: &str, labels: &[&str], expected: u64) {
    let mut last = 0;
    let reached = tests::wait::eventually(|| {
        last = metric(broker, name, labels);
        (last >= expected).then_some(())
    });
    assert_eq!((reached, last), (Some(()), expected), "{name} {labels:?}");
}

/// The failed `connect` of this address on this listener.
#[track_caller]
fn refused(broker: &Broker, kind: &str, key: &str, ip: &str, reason: &str) -> Value {
    broker.audited("connect", |r| {
        r["listener"] == kind && r[key] == ip && r["outcome"] == "failure" && r["reason"] == reason
    })
}

/// Three logins with `dial` get through, and a fourth is refused without an MQTT answer.
#[track_caller]
fn three_and_no_more(dial: &Dial, name: &str) {
    for n in 0..3 {
        dial.client(&format!("{name}{n}")).disconnect();
    }
    let fourth = dial.try_login(&Login::new("fourth"));
    assert_eq!(fourth.err(), Some(Reply::End), "{name}: the fourth");
}

#[test]
fn rate_of_new_connections_by_socket_address() {
    let broker = Broker::start(&(listeners("", &CERTS) + THREE));
    for (n, kind) in TRANSPORTS.into_iter().enumerate() {
        let ip = format!("127.0.5.{}", n + 1);
        three_and_no_more(&good(&broker, kind).from(&ip), kind);
        refused(&broker, kind, "socket_ip", &ip, "rate");
        let other = format!("127.0.6.{}", n + 1);
        good(&broker, kind).from(&other).client("other").disconnect();
    }
    counted(
        &broker,
        "broker_quota_rejected_total",
        &["limit=\"connect_rate\""],
        4,
    );
    counted(&broker, "broker_connects_total", &["reason=\"rate\""], 4);
}

/// Behind a listed proxy the clients are counted, not the proxy; the refusal comes before TLS.
#[test]
fn rate_of_new_connections_by_hop() {
    let broker = Broker::start(&(listeners(REQUIRED, &CERTS) + THREE));
    for (n, kind) in TRANSPORTS.into_iter().enumerate() {
        let through = good(&broker, kind).from(PROXY);
        let source = format!("203.0.113.{}", n + 1);
        three_and_no_more(&through.clone().before(v1(&source)), kind);
        let record = refused(&broker, kind, "peer_ip", &source, "rate");
        assert_eq!(
            (&record["socket_ip"], &record["kind"]),
            (&PROXY.into(), &"client".into()),
            "{record}"
        );
        // More connections than its burst, and each of another client.
        for other in 0..4 {
            let source = format!("198.51.{n}.{other}");
            through.clone().before(v1(&source)).client("other").disconnect();
        }
    }
    counted(
        &broker,
        "broker_quota_rejected_total",
        &["limit=\"connect_rate\""],
        4,
    );
}

/// Behind a WebSocket proxy the refusal is an HTTP answer.
#[test]
fn rate_of_new_connections_by_peername() {
    let broker =
        Broker::start(&(listener("ws", HEADERS, &CERTS) + &listener("wss", HEADERS, &CERTS) + THREE));
    for (n, kind) in ["ws", "wss"].into_iter().enumerate() {
        let through = good(&broker, kind).from(PROXY);
        let source = format!("203.0.113.{}", n + 1);
        let dial = through.clone().field("X-Forwarded-For", &source);
        three_and_no_more(&dial, kind);
        let answer = dial.open().expect_err("refused").to_string();
        assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
        let record = refused(&broker, kind, "peer_ip", &source, "rate");
        assert_eq!(
            (&record["via"], &record["kind"]),
            (&"header".into(), &"client".into()),
            "{record}"
        );
        for other in 0..4 {
            let source = format!("198.51.{n}.{other}");
            through
                .clone()
                .field("X-Forwarded-For", &source)
                .client("other")
                .disconnect();
        }
    }
    counted(
        &broker,
        "broker_quota_rejected_total",
        &["limit=\"connect_rate\""],
        4,
    );
}

/// Opens three connections that do not finish their login, by `open`; then `dial` gets nowhere, but does again when
/// they are gone.
#[track_caller]
fn half_open(broker: &Broker, kind: &str, dial: &Dial, key: &str, ip: &str, open: impl Fn() -> Link) {
    let unfinished: Vec<Link> = (0..3).map(|_| open()).collect();
    until("the fourth to be refused", || {
        // The broker may still be busy with the three.
        dial.try_login(&Login::new("fourth")).is_err().then_some(())
    });
    refused(broker, kind, key, ip, "rate");
    drop(unfinished);
    until("room", || dial.try_login(&Login::new("later")).ok()).disconnect();
}

#[test]
fn unfinished_logins_of_an_address() {
    let quota = "[quota]\nmax_pending = 3\n";
    let broker = Broker::start(&(listeners("", &CERTS) + quota));
    for (n, kind) in TRANSPORTS.into_iter().enumerate() {
        let ip = format!("127.0.5.{}", n + 1);
        let silent = broker.dial(kind).from(&ip);
        let dial = good(&broker, kind).from(&ip);
        half_open(&broker, kind, &dial, "socket_ip", &ip, || {
            silent.open().expect("a socket")
        });
    }
    assert!(metric(&broker, "broker_quota_rejected_total", &["limit=\"max_pending\""]) >= 4);
}

/// From gate B on they are counted by the hop, from gate C on by the peername; the proxy's own address has room.
#[test]
fn unfinished_logins_behind_a_proxy() {
    let quota = "[quota]\nmax_pending = 3\n";
    let broker = Broker::start(&(listeners(REQUIRED, &CERTS) + quota));
    for (n, kind) in TRANSPORTS.into_iter().enumerate() {
        let source = format!("203.0.113.{}", n + 1);
        let through = good(&broker, kind).from(PROXY);
        let dial = through.clone().before(v1(&source));
        // As far as the layers go, and no CONNECT.
        half_open(&broker, kind, &dial, "peer_ip", &source, || {
            let mut link = dial.open().expect("accepted");
            link.send(&[0x10]).expect("open");
            link
        });
    }
    let broker =
        Broker::start(&(listener("ws", HEADERS, &CERTS) + &listener("wss", HEADERS, &CERTS) + quota));
    for (n, kind) in ["ws", "wss"].into_iter().enumerate() {
        let source = format!("203.0.113.{}", n + 1);
        let dial = good(&broker, kind).from(PROXY).field("X-Forwarded-For", &source);
        half_open(&broker, kind, &dial, "peer_ip", &source, || {
            dial.open().expect("accepted")
        });
    }
}

/// The oldest goes, whatever its address.
#[test]
fn unfinished_logins_of_a_listener() {
    let broker = Broker::start(&listeners("max_pending = 2", &CERTS));
    for kind in TRANSPORTS {
        let mut sockets: Vec<TcpStream> = (1..=3)
            .map(|n| broker.dial(kind).from(&format!("127.0.5.{n}")).socket())
            .collect();
        assert_eq!(sockets[0].read(&mut [0]).expect("a close"), 0, "{kind}");
        refused(&broker, kind, "socket_ip", "127.0.5.1", "server_busy");
        for socket in &mut sockets[1..] {
            socket.set_nonblocking(true).expect("a socket");
            let read = socket.read(&mut [0]).map_err(|error| error.kind());
            assert_eq!(read, Err(io::ErrorKind::WouldBlock), "{kind}: a younger one");
        }
        good(&broker, kind).client("good").disconnect();
    }
    counted(&broker, "broker_connects_total", &["reason=\"server_busy\""], 8);
}

/// Sends one byte after another until the other side closes; returns what it answered before. The bytes stay a
/// beginning of what is awaited.
#[track_caller]
fn dribble(mut socket: TcpStream, first: &[u8], then: u8) -> String {
    socket.write_all(first).expect("open");
    socket
        .set_read_timeout(Some(Duration::from_millis(40)))
        .expect("a time-out");
    let mut answer = Vec::new();
    let mut bytes = [0; 512];
    for _ in 0..500 {
        match socket.read(&mut bytes) {
            Ok(0) => return String::from_utf8_lossy(&answer).into_owned(),
            Ok(n) => answer.extend_from_slice(&bytes[..n]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // A reset comes with the next read.
                let _ = socket.write_all(&[then]);
            }
            Err(_) => return String::from_utf8_lossy(&answer).into_owned(),
        }
    }
    panic!("partial data moves the deadline");
}

#[test]
fn deadline_of_the_proxy_header() {
    let broker = Broker::start(&listeners(
        &format!("{REQUIRED}\nproxy_header_timeout = \"1s\""),
        &CERTS,
    ));
    std::thread::scope(|scope| {
        for kind in TRANSPORTS {
            let dial = broker.dial(kind).from(PROXY);
            scope.spawn({
                let dial = dial.clone();
                move || assert_eq!(dribble(dial.socket(), b"PROXY TCP4 1", b'1'), "", "{kind}")
            });
            scope.spawn(move || assert_eq!(dial.open().expect("a socket").receive_all(), b"", "{kind}"));
        }
    });
    for kind in TRANSPORTS {
        let record = broker.audited("peername_reject", |r| r["listener"] == kind);
        assert_eq!(record["reason"], "E_PROXY_TIMEOUT", "{record}");
        let of = format!("listener=\"{kind}\"");
        for code in ["E_PROXY_TIMEOUT", "Q_IDLE"] {
            counted(
                &broker,
                "broker_peername_total",
                &[&of, &format!("code=\"{code}\"")],
                1,
            );
        }
    }
    let silent = broker.audit().iter().any(|r| r["reason"] == "Q_IDLE");
    assert!(!silent, "a silent socket is no news");
}

/// Each listener's deadlines of TLS, HTTP head and CONNECT, one at a time; all others are long.
#[test]
fn deadlines_of_tls_head_and_connect() {
    // `tls` or `ws` names the deadline that is short.
    let short = |key: &str| {
        let of = |kind: &'static str| {
            let mut text = listener(kind, "", &CERTS);
            if key == "tls" && matches!(kind, "tls" | "wss") {
                text += "handshake_timeout = \"300ms\"\n";
            }
            if key == "ws" && kind.starts_with("ws") {
                let table = format!("[listeners.{kind}.websocket]\n");
                text += &(table + "upgrade_timeout = \"300ms\"\n");
            }
            text
        };
        TRANSPORTS.map(of).concat()
    };
    let connect = "[mqtt]\nconnect_timeout = \"300ms\"\n";
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let broker = Broker::start(&short("tls"));
            for kind in ["tls", "wss"] {
                let answer = dribble(
                    broker.dial(kind).socket(),
                    b"\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03",
                    0,
                );
                assert_eq!(answer, "", "{kind}");
                refused(&broker, kind, "socket_ip", "127.0.0.1", "timeout");
            }
        });
        scope.spawn(|| {
            let broker = Broker::start(&short("ws"));
            let answer = dribble(
                broker.dial("ws").socket(),
                b"GET /mqtt HTTP/1.1\r\nX-Slow: ",
                b'a',
            );
            assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
            // In TLS: nothing is sent, and the answer comes all the same.
            let mut link = broker.dial("wss").tls(CERTS.client(None)).open().expect("TLS");
            let answer = link.receive_all();
            assert!(answer.starts_with(b"HTTP/1.1 408 "), "{answer:?}");
            for kind in ["ws", "wss"] {
                refused(&broker, kind, "socket_ip", "127.0.0.1", "timeout");
            }
        });
        scope.spawn(|| {
            let broker = Broker::start(&(short("") + connect));
            for kind in TRANSPORTS {
                let mut link = good(&broker, kind).open().expect("accepted");
                link.send(&[0x10, 0x20, 0x00]).expect("open");
                assert_eq!(link.receive_all(), b"", "{kind}");
                refused(&broker, kind, "socket_ip", "127.0.0.1", "timeout");
            }
            counted(&broker, "broker_connects_total", &["reason=\"timeout\""], 4);
        });
    });
}

/// Whatever the stage, the whole login has one deadline from accept.
#[test]
fn deadline_of_the_whole_login() {
    let broker = Broker::start(&listeners("login_timeout = \"500ms\"", &CERTS));
    for kind in TRANSPORTS {
        let silent = broker.dial(kind).from("127.0.5.1").socket();
        let mut half_way = good(&broker, kind).from("127.0.5.2").open().expect("accepted");
        let first: &[u8] = match kind {
            "tcp" => &[0x10, 0x7F],
            "ws" => b"GET /mqtt HTTP/1.1\r\nX-Slow: ",
            _ => b"\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03",
        };
        dribble(silent, first, 0x61);
        half_way.receive_all();
        for ip in ["127.0.5.1", "127.0.5.2"] {
            refused(&broker, kind, "socket_ip", ip, "timeout");
        }
    }
    counted(&broker, "broker_connects_total", &["reason=\"timeout\""], 8);
}
