//! The doctor's clock and texts; which events make which finding is for the vectors.

use super::{Doctor, Event, EventResult, Finding, ListenerFacts};
use crate::addr::Addr;
use crate::code::{Code, Warnings};
use crate::peer::{Kind, Source};
use crate::policy::{RawPolicy, Transport};
use crate::proxy::FirstBytes;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

fn doctor(transport: Transport, keys: &[(&str, &str)]) -> Doctor {
    let mut raw = RawPolicy::default();
    for (key, text) in keys {
        raw.set(*key, *text);
    }
    let checked = raw.check(transport, &|_| None);
    let facts = ListenerFacts {
        name: "edge".to_owned(),
        bind: "172.16.0.71:1883".to_owned(),
        port: 1883,
        local_mode: false,
    };
    Doctor::new(facts, &checked.policy.unwrap(), &checked.problems)
}

fn addr(text: &str) -> Addr {
    text.parse().unwrap()
}

fn direct(socket: &str, id: &str) -> Event {
    accepted(socket, socket, id, Source::Socket, None)
}

fn accepted(socket: &str, peername: &str, id: &str, source: Source, through: Option<&str>) -> Event {
    Event {
        socket: addr(socket),
        client_id: Some(id.into()),
        class: None,
        probe: false,
        same_address: false,
        result: EventResult::Accepted {
            peername: addr(peername),
            kind: Kind::Client,
            source,
            warnings: Warnings::default(),
            through: through.map(addr),
            element: None,
        },
    }
}

#[track_caller]
fn codes(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|f| f.code.as_str()).collect()
}

#[test]
fn the_nat_case_is_told_with_its_snippets_filled_in() {
    let mut doctor = doctor(Transport::Tcp, &[]);
    for i in 0..25 {
        doctor.record(
            0,
            &direct(&format!("10.0.0.1:{}", 40000 + i), &format!("dev-{i}")),
        );
    }
    let findings = doctor.evaluate(0);
    assert_eq!(codes(&findings), ["D01"]);
    assert_eq!(
        findings[0].text,
        "25 clients on edge all come from 10.0.0.1. A firewall with source NAT or a proxy hides them. Either let \
         the firewall keep source addresses (turn NAT off for this rule), or put a proxy there that names the \
         client [S1] [S3] and list 10.0.0.1 in trusted_proxies."
    );
    assert_eq!(
        findings[0].snippets[0],
        "S1  # nginx, TCP: adds the header\n    stream { server { listen 1883; proxy_pass 172.16.0.71:1883; \
         proxy_protocol on; } }"
    );
    assert!(findings[0].snippets[1].starts_with("S3  # nginx, WebSocket, outermost proxy"));
    assert!(
        findings[0].snippets[1].contains("$http_upgrade"),
        "what is not ours to fill in stays"
    );
}

#[test]
fn too_few_client_ids_are_one_device_that_reconnects() {
    let mut doctor = doctor(Transport::Tcp, &[]);
    for i in 0..100 {
        doctor.record(0, &direct("10.0.0.1:1", &format!("dev-{}", i % 9)));
    }
    assert_eq!(codes(&doctor.evaluate(0)), [""; 0]);
}

#[test]
fn the_window_is_ten_minutes() {
    let mut doctor = doctor(Transport::Tcp, &[]);
    let refused = Event::ended(addr("192.0.2.1:1"), Code::Rate, None);
    for i in 0..20 {
        doctor.record(i * MINUTE, &refused);
    }
    assert_eq!(
        codes(&doctor.evaluate(19 * MINUTE)),
        [""; 0],
        "twenty, but not within ten minutes"
    );
    for i in 0..20 {
        doctor.record(30 * MINUTE + i * 20_000, &refused);
    }
    let findings = doctor.evaluate(37 * MINUTE);
    assert_eq!(codes(&findings), ["D21"]);
    assert_eq!(
        findings[0].text,
        "20 connections on edge were cut off before login (E_RATE), most from 192.0.2.1. Raise the limits only if \
         these are your devices behind one NAT."
    );
}

#[test]
fn a_finding_is_logged_once_an_hour_and_cleared_after_a_day() {
    let mut doctor = doctor(Transport::Tcp, &[]);
    let tls = Event::ended(addr("192.0.2.1:1"), Code::MqttFirstPacket, Some(FirstBytes::Tls));
    doctor.record(0, &tls);
    let logged = |findings: Vec<Finding>| findings.iter().map(|f| f.log).collect::<Vec<_>>();
    assert_eq!(logged(doctor.evaluate(0)), [true]);
    assert_eq!(logged(doctor.evaluate(MINUTE)), [false]);
    doctor.record(HOUR + MINUTE, &tls);
    assert_eq!(logged(doctor.evaluate(HOUR + MINUTE)), [true]);
    let open = doctor.evaluate(20 * HOUR);
    assert_eq!(
        (open[0].first_ms, open[0].last_ms, open[0].log),
        (0, HOUR + MINUTE, false)
    );
    assert_eq!(
        logged(doctor.evaluate(HOUR + 12 * MINUTE + 24 * HOUR)),
        [false; 0]
    );
}

#[test]
fn a_client_that_comes_both_ways_is_noticed_over_a_day() {
    let keys = [("proxy_protocol", "optional"), ("trusted_proxies", "10.0.0.0/24")];
    let mut doctor = doctor(Transport::Tcp, &keys);
    let through = accepted(
        "10.0.0.5:1",
        "203.0.113.7:9",
        "dev 7",
        Source::ProxyV2,
        Some("10.0.0.5:1"),
    );
    doctor.record(0, &through);
    doctor.record(23 * HOUR, &direct("203.0.113.7:9", "dev 7"));
    let findings = doctor.evaluate(23 * HOUR);
    assert_eq!(codes(&findings), ["D20"]);
    assert_eq!(
        findings[0].text,
        "Client \"dev 7\" comes directly and through 10.0.0.5 by turns. Look for a left-over configuration on the \
         device or an old proxy address in DNS."
    );
}

#[test]
fn ways_more_than_a_day_apart_are_a_move() {
    let keys = [("proxy_protocol", "optional"), ("trusted_proxies", "10.0.0.0/24")];
    let mut doctor = doctor(Transport::Tcp, &keys);
    doctor.record(
        0,
        &accepted(
            "10.0.0.5:1",
            "203.0.113.7:9",
            "dev",
            Source::ProxyV2,
            Some("10.0.0.5:1"),
        ),
    );
    doctor.record(25 * HOUR, &direct("203.0.113.7:9", "dev"));
    assert_eq!(codes(&doctor.evaluate(25 * HOUR)), [""; 0]);
}

#[test]
fn a_flood_of_addresses_is_counted_in_bounded_memory() {
    let mut doctor = doctor(Transport::Tcp, &[]);
    for i in 0..5000u32 {
        let socket = Addr::new(std::net::Ipv4Addr::from_bits(0x0a00_0000 + i).into(), 1);
        let mut event = direct("10.0.0.1:1", "x");
        event.socket = socket;
        event.result = EventResult::Ended {
            code: Code::ProxyUnexpected,
            detail: Some("v1"),
            hop: None,
            element: None,
        };
        doctor.record(0, &event);
    }
    let findings = doctor.evaluate(0);
    assert!(findings.len() <= 8, "{}", findings.len());
    assert!(findings.iter().all(|f| f.code.as_str() == "D03"));
}

#[test]
fn foreign_text_cannot_fill_in_anything() {
    let mut doctor = doctor(
        Transport::Tcp,
        &[("proxy_protocol", "optional"), ("trusted_proxies", "10.0.0.0/24")],
    );
    doctor.record(
        0,
        &accepted(
            "10.0.0.5:1",
            "203.0.113.7:9",
            "{ip}",
            Source::ProxyV2,
            Some("10.0.0.5:1"),
        ),
    );
    doctor.record(0, &direct("203.0.113.7:9", "{ip}"));
    assert!(
        doctor.evaluate(0)[0]
            .text
            .starts_with("Client \"{ip}\" comes directly")
    );
}
