//! Upgrade requests, good and bad.

use super::*;

const GOOD: &str = "GET /mqtt HTTP/1.1\r\nHost: b\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Protocol: chat, mqtt\r\n\r\n";

#[track_caller]
fn check(request: &str, settings: &WsSettings, fault: Option<UpgradeFault>) {
    let done = read(request.as_bytes(), settings);
    assert_eq!(done.as_ref().err(), fault.as_ref(), "{request}");
    if fault.is_none() {
        assert!(done.is_ok_and(|u| u.is_some()), "complete");
    }
}

/// The good request with `from` replaced.
#[track_caller]
fn with(from: &str, to: &str, fault: Option<UpgradeFault>) {
    assert!(GOOD.contains(from));
    check(&GOOD.replace(from, to), &WsSettings::default(), fault);
}

#[test]
fn the_answer_proves_that_we_read_the_key() {
    let bytes = [GOOD.as_bytes(), b"\x82\x80"].concat();
    let upgrade = read(&bytes, &WsSettings::default()).unwrap().unwrap();
    let answer = String::from_utf8(upgrade.answer).unwrap();
    // The example of RFC 6455 1.3.
    assert!(
        answer.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
        "{answer}"
    );
    assert!(answer.contains("\r\nSec-WebSocket-Protocol: mqtt\r\n") && answer.ends_with("\r\n\r\n"));
    assert_eq!(upgrade.consumed, GOOD.len());
    assert_eq!(
        upgrade.fields[5],
        (b"Sec-WebSocket-Protocol".to_vec(), b"chat, mqtt".to_vec())
    );
}

#[test]
fn every_beginning_waits_for_more() {
    for n in 0..GOOD.len() {
        assert!(
            read(&GOOD.as_bytes()[..n], &WsSettings::default())
                .unwrap()
                .is_none(),
            "{n} bytes"
        );
    }
}

#[test]
fn what_an_upgrade_must_say() {
    with("GET", "POST", Some(UpgradeFault::NotUpgrade));
    with("HTTP/1.1", "HTTP/1.0", Some(UpgradeFault::NotUpgrade));
    with("Host: b\r\n", "", Some(UpgradeFault::NotUpgrade));
    with("Upgrade: websocket\r\n", "", Some(UpgradeFault::NotUpgrade));
    with(
        "keep-alive, Upgrade",
        "keep-alive",
        Some(UpgradeFault::NotUpgrade),
    );
    with("dGhlIHNhbXBsZSBub25jZQ==", "dGhl", Some(UpgradeFault::NotUpgrade));
    with("Version: 13", "Version: 8", Some(UpgradeFault::Version));
    with("/mqtt", "/", Some(UpgradeFault::Path));
    with("/mqtt", "/mqtt/", Some(UpgradeFault::Path));
    with("/mqtt", "/mqtt?token=1", None);
    with("chat, mqtt", "chat", Some(UpgradeFault::Subprotocol));
    with("chat, mqtt", "mqttv3.1", None);
    with(
        "Sec-WebSocket-Protocol: chat, mqtt\r\n",
        "",
        Some(UpgradeFault::Subprotocol),
    );
    with("websocket", "WebSocket", None);
}

#[test]
fn what_the_parser_refuses() {
    with("Host: b", "Host : b", Some(UpgradeFault::Malformed));
    with("Host: b", "Host: b\r\n folded", Some(UpgradeFault::Malformed));
    with("Host: b", "Host: b\0", Some(UpgradeFault::Malformed));
    with("Host: b", "Host: b\x01", Some(UpgradeFault::Malformed));
    with("Host: b", "Ho(st: b", Some(UpgradeFault::Malformed));
    with("Host: b", ": b", Some(UpgradeFault::Malformed));
    check(
        "\x10\x0c\0\x04MQTT\x04\x02\0\x3c\0\0",
        &WsSettings::default(),
        Some(UpgradeFault::Malformed),
    );
    check(
        "\x16\x03\x01\x02\0\x01",
        &WsSettings::default(),
        Some(UpgradeFault::Malformed),
    );
}

#[test]
fn sizes_are_limited() {
    let lines = "X: y\r\n".repeat(94);
    with("Host: b\r\n", &format!("Host: b\r\n{lines}"), None);
    with(
        "Host: b\r\n",
        &format!("Host: b\r\n{lines}X: y\r\n"),
        Some(UpgradeFault::TooLarge),
    );
    let long = "y".repeat(16 * 1024 - GOOD.len() - 5);
    with("Host: b\r\n", &format!("Host: b\r\nX: {long}\r\n"), None);
    with(
        "Host: b\r\n",
        &format!("Host: b\r\nX: {long}y\r\n"),
        Some(UpgradeFault::TooLarge),
    );
    check(
        &format!("GET /{}", "y".repeat(16 * 1024)),
        &WsSettings::default(),
        Some(UpgradeFault::TooLarge),
    );
}

#[track_caller]
fn origin(settings: &WsSettings, origin: &str, allowed: bool) {
    let request = GOOD.replace("Host: b\r\n", &format!("Host: b\r\nOrigin: {origin}\r\n"));
    check(&request, settings, (!allowed).then_some(UpgradeFault::Origin));
}

#[test]
fn web_pages_come_from_allowed_origins() {
    let any = WsSettings::default();
    origin(&any, "https://anywhere.example", true);
    origin(&any, "https://a.example\r\nOrigin: https://b.example", false);
    let listed = WsSettings {
        allowed_origins: vec!["https://a.example".to_owned()],
        ..WsSettings::default()
    };
    origin(&listed, "https://a.example", true);
    origin(&listed, "https://A.example", true);
    origin(&listed, "https://a.example:8443", false);
    origin(&listed, "null", false);
    check(GOOD, &listed, None);
}

#[test]
fn local_mode_takes_pages_of_this_machine_only() {
    let local = WsSettings {
        loopback_origin_only: true,
        ..WsSettings::default()
    };
    for good in [
        "http://localhost",
        "http://localhost:8080",
        "http://127.0.0.1:3000",
        "http://[::1]:80",
        "https://LOCALHOST",
    ] {
        origin(&local, good, true);
    }
    for bad in [
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "http://10.0.0.1",
        "null",
        "file://",
        "http://evil/localhost",
    ] {
        origin(&local, bad, false);
    }
    check(GOOD, &local, None);
}

#[test]
fn refusals_have_no_body() {
    for status in [400, 403, 404, 408, 426, 429, 431, 503] {
        let text = String::from_utf8(refusal(status)).unwrap();
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
        assert!(
            text.contains("\r\nConnection: close\r\n") && text.ends_with("\r\n\r\n"),
            "{text}"
        );
    }
}
