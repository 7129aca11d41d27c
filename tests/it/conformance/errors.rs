//! Malformed packets and protocol errors: each ends the connection, with the reason that belongs to it.

use codec::{Property, ReasonCode, Version};

use super::wire::{Hello, Message, V5, V31, V311, Wire, broker, message};

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    (0..hex.len()).step_by(2).map(digit).collect()
}

/// 5.0: 1.5.4-1 1.5.4-2 1.5.5-1 1.5.7-1 2.1.3-1 2.2.1-2 2.2.1-3 2.2.2-1 3.1.2-9 3.1.2-11 3.1.2-12 3.1.2-13 3.1.2-16
/// 3.1.2-17 3.1.2-18 3.1.2-19 3.1.3-1 3.1.3-3 3.1.3-4 3.1.3-11 3.1.3-12 3.1.4-1 3.3.1-2 3.3.1-4 3.3.2-1 3.3.2-2
/// 3.3.2-8 3.3.2-13 3.3.2-14 3.3.2-19 3.3.4-6 3.6.1-1 3.8.1-1 3.8.3-1 3.8.3-2 3.8.3-4 3.8.3-5 3.10.1-1 3.10.3-1
/// 3.10.3-2 3.14.1-1 3.14.2-1 3.15.1-1 3.15.2-1 4.7.0-1 4.7.1-1 4.7.1-2 4.7.3-1 4.7.3-2 4.8.2-1 4.8.2-2 4.13.1-1
/// 4.13.2-1; 3.1.1: 1.5.3-1 1.5.3-2 2.2.2-1 2.2.2-2 2.3.1-1 2.3.1-5 3.1.2-9 3.1.2-11 3.1.2-13 3.1.2-14 3.1.2-15
/// 3.1.2-18 3.1.2-19 3.1.2-20 3.1.2-21 3.1.2-22 3.1.3-1 3.1.3-3 3.1.3-4 3.1.3-10 3.1.3-11 3.1.4-1 3.3.1-2 3.3.1-4
/// 3.3.2-1 3.3.2-2 3.6.1-1 3.8.1-1 3.8.3-1 3.8.3-3 3.8.3-4 3.10.1-1 3.10.3-1 3.10.3-2 3.14.1-1 4.7.1-1 4.7.1-2
/// 4.7.1-3 4.7.3-1 4.7.3-2 4.8.0-1
#[test]
fn every_malformed_packet_of_the_table_ends_the_connection() {
    let table = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../codec/tests/data/malformed.txt"
    ))
    .expect("the codec's table");
    let broker = broker("");
    let mut count = 0;
    for line in table
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
    {
        let fields: Vec<&str> = line.splitn(5, ' ').collect();
        let [version, code, _, hex, case] = fields[..] else {
            panic!("{line}")
        };
        let hello = match version {
            "3" => V31,
            "4" => V311,
            _ => V5,
        };
        let packet = bytes(hex);
        let reason = u8::from_str_radix(code, 16)
            .ok()
            .and_then(ReasonCode::from_u8)
            .expect("a code");
        let is_connect = packet[0] >> 4 == 1;
        if codec::decode_connect(&packet).is_ok() {
            continue; // Wrong only where another version is spoken already.
        }
        // A CONNECT is answered in the version that it speaks itself.
        let version = if is_connect {
            codec::connect_version(&packet).unwrap_or(hello.version)
        } else {
            hello.version
        };
        let mut wire = if is_connect {
            Wire::open(&broker.dial("tcp"), version)
        } else {
            Wire::connect(&broker, &hello)
        };
        wire.send(&packet);
        let answer = wire.next();
        let wanted = match (version, is_connect) {
            (Version::V5, true) => format!("CONNACK 0 {}", reason.name()),
            (Version::V5, false) => format!("DISCONNECT {}", reason.name()),
            _ if reason == ReasonCode::UnsupportedProtocolVersion => {
                "CONNACK 0 unsupported_protocol_version".into()
            }
            _ => "closed".to_owned(),
        };
        // Of a CONNECT whose version cannot be read nothing is answered.
        assert!(
            answer.starts_with(&wanted) || is_connect && answer == "closed",
            "{case}: {answer}, not {wanted}"
        );
        if answer != "closed" {
            wire.expect("closed");
        }
        count += 1;
    }
    assert!(count > 300, "{count}");
}

/// 5.0: 4.13.1-1 4.13.2-1 3.14.4-1 3.14.4-2; 3.1.1: 4.8.0-1
#[test]
fn a_protocol_error_tells_its_statement_and_ends_the_connection() {
    let broker = broker("");
    let mut wire = Wire::connect(&broker, &V5);
    wire.send(&bytes("300400016100"));
    wire.ping();
    wire.send(&bytes("c100"));
    let line = wire.starts("DISCONNECT malformed_packet");
    assert!(line.contains("ReasonString(\"[MQTT-2.1.3-1]"), "{line}");
    wire.expect("closed");
    let quiet = [Property::RequestProblemInformation(false)];
    let mut wire = Wire::connect(
        &broker,
        &Hello {
            properties: &quiet,
            ..V5
        },
    );
    wire.send(&bytes("c100"));
    wire.expect("DISCONNECT malformed_packet");
}

/// 5.0: 3.14.2-2 3.14.4-3 3.1.2-10; 3.1.1: 3.14.4-3 3.1.2-10
#[test]
fn an_expiry_cannot_be_raised_from_zero_by_disconnect() {
    let broker = broker("");
    let mut wire = Wire::connect(&broker, &V5);
    wire.disconnect(ReasonCode::Success, &[Property::SessionExpiryInterval(5)]);
    wire.ends(ReasonCode::ProtocolError);
}

/// 5.0: 4.12.0-6 4.12.0-7
#[test]
fn auth_without_a_method_in_connect_is_an_error() {
    let broker = broker("");
    let mut wire = Wire::connect(&broker, &V5);
    wire.auth(ReasonCode::ReAuthenticate, "SCRAM-SHA-256", None);
    wire.starts("DISCONNECT ");
    wire.expect("closed");
}

/// 5.0: 3.3.4-7; 3.1.1: -
#[test]
fn more_than_the_receive_maximum_is_an_error() {
    let broker = broker("receive_maximum = 2");
    let mut wire = Wire::connect(&broker, &V5);
    for id in 1..=3 {
        wire.publish(&message("t", "", 2, id));
    }
    wire.expect("PUBREC 1 no_matching_subscribers");
    wire.expect("PUBREC 2 no_matching_subscribers");
    wire.ends(ReasonCode::ReceiveMaximumExceeded);
    // QoS 1 is acknowledged at once, so it never adds up; nor does what is sent again.
    let mut wire = Wire::connect(&broker, &V5);
    for id in 1..=2 {
        wire.publish(&message("t", "", 2, id));
        wire.starts("PUBREC");
        wire.publish(&Message {
            dup: true,
            ..message("t", "", 2, id)
        });
        wire.starts("PUBREC");
    }
    wire.ping();
}

/// 5.0: 3.2.2-15 3.1.2-24; 3.1.1: -
#[test]
fn a_packet_larger_than_allowed_is_refused_by_its_length() {
    let broker = broker("max_packet_size = 1000");
    let long = "x".repeat(1000);
    for hello in [V5, V311] {
        let mut wire = Wire::connect(&broker, &hello);
        wire.publish(&message("t", &long[..900], 0, 0));
        wire.ping();
        wire.publish(&message("t", &long, 0, 0));
        wire.ends(ReasonCode::PacketTooLarge);
    }
    let mut wire = Wire::hello(&broker, &Hello { id: &long, ..V5 });
    let answer = wire.next();
    assert!(
        answer == "closed" || answer.starts_with("CONNACK 0 packet_too_large"),
        "{answer}"
    );
}

/// 5.0: 4.7.3-1; 3.1.1: 4.7.3-1
#[test]
fn a_topic_may_have_so_many_levels() {
    let broker = broker("max_topic_levels = 3");
    let mut wire = Wire::connect(&broker, &V5);
    wire.send_subscribe(1, &[], &[("a/b/c", 0), ("a/b/c/d", 0), ("a/b/c/#", 0)]);
    wire.expect("SUBACK 1 [0, 143, 143] ReasonString(\"too many levels\")");
    wire.publish(&message("a/b/c", "", 1, 1));
    let mut got = [wire.next(), wire.next()];
    got.sort();
    assert_eq!(got, ["PUBACK 1 success", "PUBLISH a/b/c q0 : "]);
    wire.publish(&message("a/b/c/d", "", 1, 2));
    wire.ends(ReasonCode::TopicNameInvalid);
}
