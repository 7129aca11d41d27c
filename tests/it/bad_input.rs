//! Wrong visitors at each kind of listener: the designed log line (peername 9), the audit record, no answer where none
//! is due, and the next good client is served.

use std::io::Read;
use std::sync::LazyLock;

use serde_json::{Value, json};
use tests::broker::{Broker, TRANSPORTS, listener, listeners};
use tests::certs::Certs;
use tests::client::Login;
use tests::link::Dial;

const V1: &[u8] = b"PROXY TCP4 203.0.113.7 127.0.0.1 51234 1883\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C\xCB\0\x71\x07\x7F\0\0\x01\xC8\x22\x07\x5B";

static CERTS: LazyLock<Certs> = LazyLock::new(Certs::new);

/// A broker with a listener of each kind that has these keys; its name is its transport.
#[track_caller]
fn broker(keys: &str) -> Broker {
    Broker::start(&listeners(keys, &CERTS))
}

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

/// The first bytes of the protocol with this name.
fn opening(class: &str) -> Vec<u8> {
    match class {
        "mqtt" => Login::new("lost").encode(),
        "tls" => b"\x16\x03\x01\x00\xC8\x01\x00\x00\xC4\x03\x03 and so on".to_vec(),
        "http" => b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        "ssh" => b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(),
        _ => b"\x00\xFF\xFE\x01garbage".to_vec(),
    }
}

/// Sends bytes from an address of ours, sends a FIN, and expects the broker to close without an answer. Returns our
/// address.
#[track_caller]
fn closed_silently(broker: &Broker, kind: &str, from: &str, bytes: &[u8]) -> String {
    let mut link = broker
        .dial(kind)
        .from(from)
        .before(bytes)
        .open()
        .expect("accepted");
    let local = link.local().to_string();
    assert_eq!(link.receive_all(), b"", "{kind}: an answer to {bytes:?}");
    local
}

/// The `peername_reject` of a socket.
#[track_caller]
fn rejected(broker: &Broker, kind: &str, code: &str, detail: Option<&str>, socket: &str) -> Value {
    let (ip, port) = socket.rsplit_once(':').expect("ip:port");
    let port: u16 = port.parse().expect("a port");
    let record = broker.audited("peername_reject", |r| {
        r["socket_ip"] == ip && r["socket_port"] == port
    });
    assert_eq!(record["outcome"], "failure", "{record}");
    assert_eq!(record["reason"], code, "{record}");
    assert_eq!(record["listener"], kind, "{record}");
    assert_eq!(
        record.get("detail"),
        detail.map(|d| json!(d)).as_ref(),
        "{record}"
    );
    // Nothing is claimed about a client that nobody knows.
    for key in ["kind", "peer_ip", "peer_port"] {
        assert_eq!(record[key], Value::Null, "{key} in {record}");
    }
    record
}

#[test]
fn a_listener_that_requires_proxy_gets_something_else() {
    let broker = broker("proxy_protocol = \"required\"\ntrusted_proxies = [\"127.0.0.0/8\"]");
    for kind in TRANSPORTS {
        for (class, from) in [
            ("mqtt", "127.0.1.1"),
            ("tls", "127.0.1.2"),
            ("http", "127.0.1.3"),
            ("ssh", "127.0.1.4"),
            ("unknown", "127.0.1.5"),
        ] {
            let socket = closed_silently(&broker, kind, from, &opening(class));
            let line = broker.logged(&format!(
                "listener {kind}: {socket} sent {class} where a PROXY header is required; turn on send-proxy there, or \
                 use a listener without PROXY"
            ));
            assert_eq!(line["level"], "ERROR");
            assert_eq!(line["network.peer.address"], from);
            let record = rejected(&broker, kind, "E_PROXY_REQUIRED", Some(class), &socket);
            assert_eq!(record["first_bytes"]["class"], class, "{record}");
        }
        let through = good(&broker, kind).before(V1).client("good");
        assert_eq!(broker.client("good")["peername"], "203.0.113.7:51234");
        through.disconnect();
    }
}

#[test]
fn a_listener_without_proxy_gets_a_header() {
    let broker = broker("");
    for kind in TRANSPORTS {
        for (version, bytes, from) in [("v1", V1, "127.0.1.1"), ("v2", V2, "127.0.1.2")] {
            let bytes = [bytes, &opening("mqtt")].concat();
            let socket = closed_silently(&broker, kind, from, &bytes);
            let line = broker.logged(&format!(
                "listener {kind}: {socket} sent a PROXY {version} header but proxy_protocol is off; set \
                 proxy_protocol=\"required\" and trusted_proxies=[\"{from}\"], or stop the proxy from sending it"
            ));
            assert_eq!(line["level"], "ERROR");
            rejected(&broker, kind, "E_PROXY_UNEXPECTED", Some(version), &socket);
        }
        assert_eq!(good(&broker, kind).client("good").ping(), []);
    }
}

#[test]
fn a_sender_that_is_not_listed() {
    let required = broker("proxy_protocol = \"required\"\ntrusted_proxies = [\"127.0.0.1\"]");
    let optional = broker("proxy_protocol = \"optional\"\ntrusted_proxies = [\"127.0.0.1\"]");
    for kind in TRANSPORTS {
        for (broker, code, detail) in [
            (&required, "E_PROXY_PEER", None),
            (&optional, "E_PROXY_UNTRUSTED", Some("v1")),
        ] {
            let socket = closed_silently(broker, kind, "127.0.1.1", V1);
            let line = broker.logged(&format!(
                "listener {kind}: {socket} is not in trusted_proxies; connection refused"
            ));
            assert_eq!(line["level"], "WARN");
            rejected(broker, kind, code, detail, &socket);
            assert_eq!(good(broker, kind).before(V1).client("good").ping(), []);
        }
        // Where the header is optional, those who do not send one are served, whoever they are.
        assert_eq!(good(&optional, kind).from("127.0.1.2").client("plain").ping(), []);
    }
}

#[test]
fn headers_that_are_none() {
    let broker = broker("proxy_protocol = \"required\"\ntrusted_proxies = [\"127.0.0.0/8\"]");
    let mut truncated_v2 = V2.to_vec();
    truncated_v2.truncate(20);
    let mut bad_command = V2.to_vec();
    bad_command[12] = 0x27;
    let from_nowhere = [&V2[..16], &[0, 0, 0, 0], &V2[20..]].concat();
    for kind in TRANSPORTS {
        for (code, detail, from, bytes) in [
            (
                "E_PROXY_V1",
                Some("src"),
                "127.0.1.1",
                &b"PROXY TCP4 localhost 127.0.0.1 1 2\r\n"[..],
            ),
            ("E_PROXY_V2", Some("command"), "127.0.1.2", &bad_command[..]),
            ("E_PROXY_TRUNCATED", None, "127.0.1.3", &truncated_v2[..]),
            (
                "E_PROXY_TOO_LARGE",
                None,
                "127.0.1.4",
                &[b"PROXY TCP4 ", &[b'1'; 100][..]].concat(),
            ),
            ("E_PROXY_ADDR", None, "127.0.1.5", &from_nowhere),
        ] {
            let mut link = broker
                .dial(kind)
                .from(from)
                .before(bytes)
                .open()
                .expect("accepted");
            let socket = link.local().to_string();
            link.half_close();
            assert_eq!(link.receive_all(), b"");
            let shown = detail.map(|detail| format!(" {detail}")).unwrap_or_default();
            let line = broker.logged(&format!(
                "listener {kind}: PROXY header from {socket} refused: {code}{shown}"
            ));
            assert_eq!(line["level"], "WARN");
            rejected(&broker, kind, code, detail, &socket);
        }
        let twice = [V1, V1].concat();
        let socket = closed_silently(&broker, kind, "127.0.1.6", &twice);
        broker.logged(&format!(
            "listener {kind}: a second PROXY header after the first (203.0.113.7:51234); only one proxy of a chain may \
             add it, the others pass it on or parse and replace it"
        ));
        rejected(&broker, kind, "E_PROXY_DOUBLE", Some("v1"), &socket);
        assert_eq!(good(&broker, kind).before(V2).client("good").ping(), []);
    }
}

/// Behind the PROXY stage a visitor may still speak the wrong protocol; then the address is known and told.
#[test]
fn garbage_behind_a_good_header() {
    let broker = broker("proxy_protocol = \"required\"\ntrusted_proxies = [\"127.0.0.1\"]");
    for kind in TRANSPORTS {
        for (n, class) in ["mqtt", "tls", "http", "unknown"].iter().enumerate() {
            let native = match kind {
                "tcp" => "mqtt",
                "ws" => "http",
                _ => "tls",
            };
            if *class == native {
                continue;
            }
            let source = format!("203.0.113.{}", 10 + n);
            let header = format!("PROXY TCP4 {source} 127.0.0.1 700{n} 1883\r\n");
            let bytes = [header.as_bytes(), &opening(class)].concat();
            let mut link = broker.dial(kind).before(bytes).open().expect("accepted");
            link.half_close();
            link.receive_all();
            // On tcp the bytes are taken for MQTT, and break it.
            let (event, reason) = match kind {
                "tcp" => ("proto_error", "protocol_error"),
                _ => ("connect", "protocol"),
            };
            let record = broker.audited(event, |r| r["listener"] == kind && r["peer_ip"] == *source);
            assert_eq!(record["outcome"], "failure", "{record}");
            assert_eq!(record["reason"], reason, "{record}");
            assert_eq!(record["peer_port"], 7000 + n, "{record}");
            assert_eq!(record["kind"], "client", "{record}");
            assert_eq!(record["via"], "proxy_v1", "{record}");
        }
        assert_eq!(good(&broker, kind).before(V1).client("good").ping(), []);
    }
}

/// The address header of an upgrade request: refused with the designed status and an empty body.
#[test]
fn address_headers_that_say_nothing_good() {
    let keys = "address_header = \"X-Forwarded-For\"\ntrusted_proxies = [\"127.0.1.0/24\"]\n\
                missing_header = \"reject\"\nuntrusted_header = \"reject\"\nheader_max_elements = 2";
    let broker = Broker::start(&(listener("ws", keys, &CERTS) + &listener("wss", keys, &CERTS)));
    for kind in ["ws", "wss"] {
        for (code, detail, status, from, value) in [
            ("E_HEADER_MISSING", None, "400", "127.0.1.1", None),
            ("E_HEADER_UNTRUSTED", None, "403", "127.0.2.1", Some("1.2.3.4")),
            (
                "E_HEADER_UNRESOLVABLE",
                Some("garbage"),
                "400",
                "127.0.1.2",
                Some("1.2.3.4, me"),
            ),
            (
                "E_HEADER_UNRESOLVABLE",
                Some("unknown"),
                "400",
                "127.0.1.3",
                Some("unknown"),
            ),
            (
                "E_HEADER_ELEMENTS",
                None,
                "400",
                "127.0.1.4",
                Some("1.1.1.1, 2.2.2.2, 3.3.3.3"),
            ),
            (
                "E_HEADER_TOO_LARGE",
                None,
                "431",
                "127.0.1.5",
                Some(&*"1.2.3.4,".repeat(600)),
            ),
        ] {
            let mut dial = good(&broker, kind).from(from);
            if let Some(value) = value {
                dial = dial.field("X-Forwarded-For", value);
            }
            let answer = dial.open().expect_err("refused").to_string();
            assert_eq!(answer.split(' ').nth(1), Some(status), "{code}: {answer}");
            let record = broker.audited("peername_reject", |r| {
                r["socket_ip"] == from && r["listener"] == kind
            });
            assert_eq!(record["reason"], code, "{record}");
            assert_eq!(
                record.get("detail"),
                detail.map(|d| json!(d)).as_ref(),
                "{record}"
            );
            let socket = format!("{from}:{}", record["socket_port"]);
            let shown = detail.map(|detail| format!(" {detail}")).unwrap_or_default();
            broker.logged(&format!(
                "listener {kind}: X-Forwarded-For from {socket} refused: {code}{shown}"
            ));
        }
        let dial = good(&broker, kind)
            .from("127.0.1.1")
            .field("X-Forwarded-For", "1.2.3.4");
        let _served = dial.client("good");
        assert_eq!(broker.client("good")["peername"], "1.2.3.4:0");
    }
}

/// Accept never waits for a client's byte.
#[test]
fn a_hundred_silent_sockets_do_not_delay_the_next_client() {
    let broker = broker("proxy_protocol = \"optional\"\ntrusted_proxies = [\"127.0.0.1\"]");
    for kind in TRANSPORTS {
        let mut silent: Vec<_> = (0..100)
            .map(|_| broker.dial(kind).from("127.0.1.1").socket())
            .collect();
        let mut client = good(&broker, kind).client("good");
        assert_eq!(client.ping(), []);
        // They are still there: the client did not wait for their deadlines.
        for socket in &mut silent {
            socket.set_nonblocking(true).expect("a socket");
            let read = socket.read(&mut [0]);
            assert_eq!(
                read.map_err(|error| error.kind()),
                Err(std::io::ErrorKind::WouldBlock),
                "{kind}"
            );
        }
    }
}
