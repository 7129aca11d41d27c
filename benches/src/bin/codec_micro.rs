//! Codec: decoding and encoding of the packets on the message path, and matching of filters. Small and stable,
//! for counting instructions; the comparison with mqttbytes is `cargo bench -p codec`.

use std::hint::black_box;
use std::process::ExitCode;

use benches::micro::{self, Case, case};
use codec::{
    Ack, AckKind, Connect, Frame, PublishOut, QoS, ReasonCode, TopicFilter, Version, copy_patched, decode,
    frame, publish_first_byte, topic,
};

const TOPIC: &str = "sensors/building-7/floor-3/t/x";

fn main() -> ExitCode {
    let mut cases = Vec::new();
    for (version, name) in [(Version::V311, "3.1.1"), (Version::V5, "5")] {
        cases.push(decoding(
            format!("decode PUBLISH QoS 0, MQTT {name}"),
            version,
            publish(version, QoS::AtMostOnce),
        ));
        cases.push(decoding(
            format!("decode PUBLISH QoS 1, MQTT {name}"),
            version,
            publish(version, QoS::AtLeastOnce),
        ));
        cases.push(decoding(
            format!("decode PUBACK, MQTT {name}"),
            version,
            puback(version),
        ));
        cases.push(decoding(
            format!("decode CONNECT, MQTT {name}"),
            version,
            connect(version),
        ));
        cases.push(encoding(format!("encode PUBLISH QoS 1, MQTT {name}"), version));
    }
    cases.push(patching());
    cases.push(case("match sensors/+/floor-3/#", || {
        || topic::matches(black_box("sensors/+/floor-3/#"), black_box(TOPIC))
    }));
    cases.push(case("parse filter sensors/+/floor-3/#", || {
        || TopicFilter::parse(black_box("sensors/+/floor-3/#"), 128).is_ok()
    }));
    micro::main(cases)
}

fn encoding(name: String, version: Version) -> Case {
    case(name, move || {
        let mut out = Vec::with_capacity(512);
        move || {
            out.clear();
            let fits = black_box(out_of(version, QoS::AtLeastOnce))
                .encode(&mut out)
                .is_ok();
            (fits, out.len())
        }
    })
}

fn out_of(version: Version, qos: QoS) -> PublishOut<'static> {
    PublishOut {
        version,
        dup: false,
        qos,
        retain: false,
        topic: TOPIC,
        packet_id: 7,
        topic_alias: None,
        message_expiry: None,
        subscription_ids: &[],
        properties: &[],
        payload: &[b'x'; 64],
    }
}

fn publish(version: Version, qos: QoS) -> Vec<u8> {
    let mut bytes = Vec::new();
    assert!(out_of(version, qos).encode(&mut bytes).is_ok());
    bytes
}

fn puback(version: Version) -> Vec<u8> {
    let mut bytes = Vec::new();
    Ack::new(7, ReasonCode::Success).encode(AckKind::PubAck, version, &mut bytes);
    bytes
}

fn connect(version: Version) -> Vec<u8> {
    let mut bytes = Vec::new();
    assert!(Connect::new(version, "device-0042").encode(&mut bytes).is_ok());
    bytes
}

/// Frame check and decode of one packet.
fn decoding(name: String, version: Version, bytes: Vec<u8>) -> Case {
    case(name, move || {
        move || match frame::check(black_box(&bytes), 1 << 20) {
            Ok(Frame::Complete { len }) => bytes
                .get(..len)
                .is_some_and(|whole| decode(whole, version).is_ok()),
            _ => false,
        }
    })
}

/// The copy of a ready PUBLISH with its own packet identifier, as fan-out at QoS 1 makes it.
fn patching() -> Case {
    case("copy a ready PUBLISH", || {
        let ready = publish(Version::V311, QoS::AtLeastOnce);
        let offset = out_of(Version::V311, QoS::AtLeastOnce)
            .packet_id_offset()
            .unwrap_or_default();
        let first = publish_first_byte(false, QoS::AtLeastOnce, false);
        let mut out = Vec::with_capacity(512);
        move || {
            out.clear();
            copy_patched(black_box(&ready), first, Some((offset, 9)), &mut out);
            out.len()
        }
    })
}
