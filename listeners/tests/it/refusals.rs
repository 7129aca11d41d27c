//! Who comes to the wrong door, or the wrong way: each is refused with the designed code, closed or
//! answered, and told to the handler.

use crate::client::{Client, Cut, HEADER, MQTT, frame, tls_config, upgrade_request};
use crate::world::{KINDS, Refused, World, behind_proxy, list, policy, read_n, spec, text};
use listeners::{Admit, Denied, Stage, TransportKind};
use peer::{FirstBytes, Policy};
use std::sync::Arc;

const TLS_HELLO: &[u8] = b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03aaaaaaaa";
const HTTP: &[u8] = b"GET /health HTTP/1.1\r\nHost: b\r\n\r\n";
const GARBAGE: &[u8] = b"\0\x01\x02 nothing that anybody speaks";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// Sends `bytes` to a listener of that policy; returns what the handler was told and the client got.
async fn refused(policy: Arc<Policy>, bytes: &[u8]) -> (Refused, Vec<u8>) {
    let mut world = World::new(spec(policy.transport(), policy));
    let mut client = Client::socket(world.addr, Cut::Whole).await;
    client.send_raw(bytes).await;
    let refusal = world.refusal().await;
    (refusal, client.receive_all().await)
}

#[tokio::test]
async fn a_door_that_requires_proxy_names_what_came_instead() {
    for kind in KINDS {
        for (bytes, class) in [
            (MQTT, FirstBytes::Mqtt),
            (TLS_HELLO, FirstBytes::Tls),
            (HTTP, FirstBytes::Http),
            (GARBAGE, FirstBytes::Unknown),
        ] {
            let (refusal, answer) = refused(behind_proxy(kind), bytes).await;
            assert_eq!(refusal.text, format!("E_PROXY_REQUIRED {class}"));
            assert_eq!((refusal.stage, refusal.class), (Stage::Proxy, Some(class)));
            assert_eq!(answer, b"", "closed without a byte");
        }
    }
}

#[tokio::test]
async fn a_door_without_proxy_refuses_a_header() {
    for kind in KINDS {
        for (bytes, version) in [(HEADER, "v1"), (LOCAL, "v2")] {
            let (refusal, answer) = refused(policy(kind, &[]), bytes).await;
            assert_eq!(refusal.text, format!("E_PROXY_UNEXPECTED {version}"));
            assert_eq!(answer, b"");
        }
    }
}

#[tokio::test]
async fn a_stranger_is_refused_before_it_speaks() {
    let strict = [
        ("proxy_protocol", text("required")),
        ("trusted_proxies", list(&["192.0.2.1"])),
    ];
    let mut world = World::new(spec(TransportKind::Tcp, policy(TransportKind::Tcp, &strict)));
    let mut silent = Client::socket(world.addr, Cut::Whole).await;
    assert_eq!(world.refusal().await.text, "E_PROXY_PEER");
    assert_eq!(silent.receive_all().await, b"");
}

#[tokio::test]
async fn a_stranger_that_speaks_of_itself_is_noticed_once_in_a_while() {
    let own = b"PROXY TCP4 127.0.0.1 192.0.2.1 51234 1883\r\n";
    let required = [
        ("proxy_protocol", text("required")),
        ("trusted_proxies", list(&["192.0.2.1"])),
    ];
    for (keys, code) in [(&required[..], "E_PROXY_PEER"), (&[], "E_PROXY_UNEXPECTED v1")] {
        let mut world = World::new(spec(TransportKind::Tcp, policy(TransportKind::Tcp, keys)));
        for (bytes, noticed) in [(HEADER, false), (&own[..], code != "E_PROXY_PEER")] {
            let mut client = Client::socket(world.addr, Cut::Whole).await;
            client.send_raw(bytes).await;
            let refusal = world.refusal().await;
            assert_eq!((refusal.text.as_str(), refusal.same_address), (code, noticed));
        }
    }
    // The first one may be read on.
    let mut world = World::new(spec(TransportKind::Tcp, policy(TransportKind::Tcp, &required)));
    let mut client = Client::socket(world.addr, Cut::Everywhere).await;
    client.send_raw(own).await;
    assert!(world.refusal().await.same_address);
}

#[tokio::test]
async fn a_second_header_is_refused_outside_and_inside_tls() {
    for kind in KINDS {
        let (refusal, _) = refused(behind_proxy(kind), &[HEADER, HEADER].concat()).await;
        assert_eq!(refusal.text, "E_PROXY_DOUBLE v1");
        assert_eq!(refusal.hop.as_deref(), Some("203.0.113.7:51234"));
    }
    for kind in [TransportKind::Tls, TransportKind::Wss] {
        let mut world = World::new(spec(kind, policy(kind, &[])));
        let mut client = Client::socket(world.addr, Cut::Whole).await;
        client.start_tls(Arc::new(tls_config(None))).await;
        client.send_plain(HEADER).await;
        assert_eq!(world.refusal().await.text, "E_PROXY_INSIDE_TLS v1");
    }
}

#[tokio::test]
async fn quiet_ends_have_quiet_codes() {
    let mut world = World::new(spec(TransportKind::Tcp, behind_proxy(TransportKind::Tcp)));
    for (bytes, code) in [
        (&b""[..], "Q_EMPTY"),
        (LOCAL, "Q_PROBE"),
        (HEADER, "Q_PROBE"),
        (b"PROXY TC", "E_PROXY_TRUNCATED"),
    ] {
        let mut client = Client::socket(world.addr, Cut::Whole).await;
        client.send_raw(bytes).await;
        client.half_close().await;
        assert_eq!(world.refusal().await.text, code);
    }
}

#[tokio::test]
async fn a_door_for_mqtt_hands_on_what_is_not() {
    // The first packet is the codec's to judge; the class says what it looks like.
    for (bytes, class) in [
        (TLS_HELLO, FirstBytes::Tls),
        (HTTP, FirstBytes::Http),
        (GARBAGE, FirstBytes::Unknown),
    ] {
        let mut world = World::new(spec(TransportKind::Tcp, policy(TransportKind::Tcp, &[])));
        let mut client = Client::socket(world.addr, Cut::Whole).await;
        client.send_raw(bytes).await;
        let mut server = world.connection().await;
        assert_eq!(server.class, Some(class));
        assert_eq!(read_n(&mut server.transport, bytes.len()).await, bytes);
    }
}

#[tokio::test]
async fn a_door_for_tls_sends_an_alert() {
    for kind in [TransportKind::Tls, TransportKind::Wss] {
        for (bytes, class) in [
            (MQTT, FirstBytes::Mqtt),
            (HTTP, FirstBytes::Http),
            (GARBAGE, FirstBytes::Unknown),
        ] {
            let (refusal, answer) = refused(policy(kind, &[]), bytes).await;
            assert_eq!((refusal.stage, refusal.class), (Stage::Tls, Some(class)));
            assert!(
                refusal.text.starts_with("received corrupt message"),
                "{}",
                refusal.text
            );
            assert_eq!(answer.first(), Some(&0x15), "an alert: {answer:x?}");
        }
    }
}

/// Sends an HTTP head to a WebSocket door; expects that status.
async fn upgrade(policy: &Arc<Policy>, request: &str, status: u16, told: &str) {
    let kind = policy.transport();
    let mut world = World::new(spec(kind, Arc::clone(policy)));
    let mut client = Client::socket(world.addr, Cut::Whole).await;
    if kind == TransportKind::Wss {
        client.start_tls(Arc::new(tls_config(None))).await;
    }
    let answer = client.upgrade(request).await;
    let head = format!("HTTP/1.1 {status} ");
    assert!(answer.starts_with(&head), "{request}: {answer}");
    assert!(answer.contains("\r\nContent-Length: 0\r\n") && answer.contains("\r\nConnection: close\r\n"));
    assert_eq!(client.receive_all().await, b"", "no body, and the end");
    let refusal = world.refusal().await;
    assert_eq!((refusal.text.as_str(), refusal.http_status), (told, Some(status)));
}

#[tokio::test]
async fn a_websocket_door_answers_in_http() {
    let good = upgrade_request(&[]);
    let (mqtt, tls) = (String::from_utf8_lossy(MQTT), "\x16\x03\x01\x02\0\x01");
    for kind in [TransportKind::Ws, TransportKind::Wss] {
        let plain = policy(kind, &[]);
        upgrade(&plain, &good.replace("/mqtt", "/"), 404, "no such path").await;
        upgrade(
            &plain,
            &good.replace("GET", "POST"),
            400,
            "not a WebSocket upgrade",
        )
        .await;
        upgrade(
            &plain,
            &good.replace("Version: 13", "Version: 12"),
            426,
            "WebSocket version is not 13",
        )
        .await;
        upgrade(
            &plain,
            &good.replace(": mqtt\r\n", ": chat\r\n"),
            400,
            "no MQTT subprotocol offered",
        )
        .await;
        upgrade(
            &plain,
            &good.replace("Host:", "Host :"),
            400,
            "malformed HTTP head",
        )
        .await;
        upgrade(
            &plain,
            &upgrade_request(&[("X", &"y".repeat(17_000))]),
            431,
            "HTTP head too large",
        )
        .await;
        upgrade(
            &plain,
            &upgrade_request(&[("X", "y"); 100]),
            431,
            "HTTP head too large",
        )
        .await;
        upgrade(
            &plain,
            &format!("GET /{}", "y".repeat(17_000)),
            431,
            "HTTP head too large",
        )
        .await;
        upgrade(&plain, &mqtt, 400, "malformed HTTP head").await;
        upgrade(&plain, tls, 400, "malformed HTTP head").await;
    }
}

#[tokio::test]
async fn address_headers_are_refused_by_the_rules() {
    for kind in [TransportKind::Ws, TransportKind::Wss] {
        let keys = [
            ("address_header", text("X-Forwarded-For")),
            ("trusted_proxies", list(&["127.0.0.1"])),
            ("missing_header", text("reject")),
            ("header_max_bytes", peer::Value::Int(64)),
        ];
        let strict = policy(kind, &keys);
        let long = "1.2.3.4,".repeat(20);
        upgrade(&strict, &upgrade_request(&[]), 400, "E_HEADER_MISSING").await;
        let mut world = World::new(spec(kind, Arc::clone(&strict)));
        let to = world.addr;
        let forged = upgrade_request(&[
            ("x-forwarded-for", "10.0.0.1, \u{e9}\"x"),
            ("X-Forwarded-For", "127.0.0.1"),
        ]);
        let mut client = Client::socket(to, Cut::Whole).await;
        if kind == TransportKind::Wss {
            client.start_tls(Arc::new(tls_config(None))).await;
        }
        client.send_plain(forged.as_bytes()).await;
        let refusal = world.refusal().await;
        assert_eq!(
            refusal.header.as_deref(),
            Some("10.0.0.1, \\xc3\\xa9\\x22x, 127.0.0.1")
        );
        assert_eq!(refusal.text, "E_HEADER_UNRESOLVABLE garbage");
        upgrade(
            &strict,
            &upgrade_request(&[("X-Forwarded-For", "what")]),
            400,
            "E_HEADER_UNRESOLVABLE garbage",
        )
        .await;
        upgrade(
            &strict,
            &upgrade_request(&[("X-Forwarded-For", &long)]),
            431,
            "E_HEADER_TOO_LARGE",
        )
        .await;
        let keys = [
            ("address_header", text("X-Forwarded-For")),
            ("trusted_proxies", list(&["192.0.2.1"])),
            ("untrusted_header", text("reject")),
        ];
        let named = upgrade_request(&[("X-Forwarded-For", "1.2.3.4")]);
        upgrade(&policy(kind, &keys), &named, 403, "E_HEADER_UNTRUSTED").await;
    }
}

#[tokio::test]
async fn the_handler_is_asked_at_every_gate_and_answers_before_the_101() {
    for (denied, status) in [
        (Denied::Rate, "HTTP/1.1 429 "),
        (Denied::Banned("by-hand".into()), "HTTP/1.1 403 "),
        (Denied::Acl("acl.conf:8".into()), "HTTP/1.1 403 "),
    ] {
        let keys = [
            ("address_header", text("X-Forwarded-For")),
            ("trusted_proxies", list(&["127.0.0.1"])),
        ];
        let door = spec(TransportKind::Ws, policy(TransportKind::Ws, &keys));
        let told = denied.to_string();
        let mut world = World::judged_by(door, move |arrival| {
            if arrival.addr.host_text().to_string() == "203.0.113.7" {
                return Admit::Refuse(denied.clone());
            }
            Admit::Ok(None)
        });
        let mut client = Client::socket(world.addr, Cut::Whole).await;
        let answer = client
            .upgrade(&upgrade_request(&[("X-Forwarded-For", "203.0.113.7")]))
            .await;
        assert!(answer.starts_with(status), "{answer}");
        assert_eq!(world.refusal().await.text, told);
        assert_eq!(
            world.asked(),
            [
                "Socket 127.0.0.1 proxy",
                "Hop 127.0.0.1 proxy",
                "Peername 203.0.113.7 client final"
            ]
        );
    }
}

#[tokio::test]
async fn an_address_is_charged_once() {
    let mut world = World::new(spec(TransportKind::Tcp, policy(TransportKind::Tcp, &[])));
    let mut client = Client::socket(world.addr, Cut::Whole).await;
    client.send_raw(MQTT).await;
    world.connection().await;
    assert_eq!(
        world.asked(),
        ["Socket 127.0.0.1 client", "Hop 127.0.0.1 client charged final"]
    );

    let mut world = World::new(spec(TransportKind::Tcp, behind_proxy(TransportKind::Tcp)));
    let mut client = Client::socket(world.addr, Cut::Whole).await;
    client.send_raw(&[HEADER, MQTT].concat()).await;
    world.connection().await;
    assert_eq!(
        world.asked(),
        ["Socket 127.0.0.1 proxy", "Hop 203.0.113.7 client final"]
    );
}

#[tokio::test]
async fn frames_that_break_the_protocol_are_closed_with_their_code() {
    let cases: [(&[u8], u16); 4] = [
        (&frame(0x81, b"text"), 1003),
        (b"\x82\x01x", 1002),
        (&frame(0xC2, b"x"), 1002),
        (&frame(0x80, b"x"), 1002),
    ];
    for kind in [TransportKind::Ws, TransportKind::Wss] {
        for (bytes, code) in cases {
            let mut world = World::new(spec(kind, policy(kind, &[])));
            let to = world.addr;
            let (mut client, mut server) =
                tokio::join!(Client::open(to, kind, b"", Cut::Whole), world.connection());
            client.send_plain(bytes).await;
            let mut buf = Vec::new();
            let read = std::future::poll_fn(|cx| server.transport.poll_read(cx, &mut buf, 4096)).await;
            assert_eq!(read.map_err(|e| e.kind()), Err(std::io::ErrorKind::InvalidData));
            assert_eq!(buf, b"");
            assert_eq!(client.frame().await, (0x88, code.to_be_bytes().to_vec()));
        }
    }
}
