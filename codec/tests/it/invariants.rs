//! What must hold for any bytes whatever. The seeded test, the corpus replay and `codec/fuzz` all call this.

use codec::frame::{self, Frame};
use codec::{
    AckKind, DecodeError, Packet, PropertiesBuf, PublishOut, PublishProperties, Version, connect_version,
    decode, decode_connect, decode_from_server, encode_subscribe, encode_unsubscribe,
};

/// Reads all packets at the front of `data` as both sides would, and checks each result against itself.
pub(crate) fn check(data: &[u8], version: Version, max_packet_size: u32) {
    let mut rest = data;
    loop {
        match frame::check(rest, max_packet_size) {
            Err(error) => return check_error(error),
            Ok(Frame::Incomplete { need }) => {
                assert!(need > rest.len() && need <= max_packet_size.max(5) as usize);
                return;
            }
            Ok(Frame::Complete { len }) => {
                assert!(len >= 2 && len <= max_packet_size as usize);
                let (packet, after) = rest.split_at(len);
                check_packet(packet, version);
                rest = after;
            }
        }
    }
}

fn check_packet(bytes: &[u8], version: Version) {
    let from_client = decode(bytes, version);
    check_result(&from_client, version, true);
    check_result(&decode_from_server(bytes, version), version, false);
    match decode_connect(bytes) {
        Err(error) => check_error(error),
        Ok(connect) => {
            assert_eq!(connect_version(bytes), Some(connect.version));
            if connect.version == version {
                assert_eq!(from_client, Ok(Packet::Connect(connect)));
            } else {
                assert!(matches!(from_client, Err(DecodeError::UnsupportedVersion { .. })));
            }
        }
    }
}

fn check_result(result: &Result<Packet<'_>, DecodeError>, version: Version, from_client: bool) {
    let packet = match result {
        Err(error) => return check_error(*error),
        Ok(packet) => packet,
    };
    let mut again = Vec::new();
    write(packet, version, &mut again);
    assert_eq!(
        frame::check(&again, u32::MAX),
        Ok(Frame::Complete { len: again.len() })
    );
    let reread = if from_client {
        decode(&again, version)
    } else {
        decode_from_server(&again, version)
    };
    match (packet, reread) {
        // Properties of a PUBLISH are written in another order: the parts are compared.
        (Packet::Publish(one), Ok(Packet::Publish(two))) => {
            let parts = |publish: &codec::Publish<'_>| {
                let properties = &publish.properties;
                let ids: Vec<u32> = properties.subscription_ids().collect();
                let forwardable = properties.forwardable().into_owned();
                (
                    properties.topic_alias,
                    properties.message_expiry,
                    properties.payload_is_utf8,
                    ids,
                    forwardable,
                )
            };
            assert_eq!(parts(one), parts(&two));
            assert_eq!((one.dup, one.qos, one.retain), (two.dup, two.qos, two.retain));
            assert_eq!(
                (one.topic, one.packet_id, one.payload),
                (two.topic, two.packet_id, two.payload)
            );
            assert!(codec::topic::valid_topic_name(one.topic) || one.topic.is_empty());
        }
        (one, two) => assert_eq!(two.as_ref(), Ok(one)),
    }
}

/// Writes a decoded packet again.
fn write(packet: &Packet<'_>, version: Version, out: &mut Vec<u8>) {
    match packet {
        Packet::Connect(connect) => {
            connect.encode(out).expect("it was read");
            assert_eq!(out.len(), connect.encoded_len());
        }
        Packet::ConnAck(connack) => connack.encode(version, out),
        Packet::Publish(publish) => write_publish(publish, version, out),
        Packet::PubAck(ack) => ack.encode(AckKind::PubAck, version, out),
        Packet::PubRec(ack) => ack.encode(AckKind::PubRec, version, out),
        Packet::PubRel(ack) => ack.encode(AckKind::PubRel, version, out),
        Packet::PubComp(ack) => ack.encode(AckKind::PubComp, version, out),
        Packet::Subscribe(subscribe) => {
            let filters: Vec<_> = subscribe.filters.iter().collect();
            assert_eq!(filters.len(), subscribe.filters.len());
            encode_subscribe(version, subscribe.packet_id, subscribe.properties, &filters, out)
                .expect("read");
        }
        Packet::SubAck(suback) => suback.encode(version, out),
        Packet::Unsubscribe(unsubscribe) => {
            let filters: Vec<_> = unsubscribe.filters.iter().collect();
            assert_eq!(filters.len(), unsubscribe.filters.len());
            encode_unsubscribe(
                version,
                unsubscribe.packet_id,
                unsubscribe.properties,
                &filters,
                out,
            )
            .expect("read");
        }
        Packet::UnsubAck(unsuback) => unsuback.encode(version, out),
        Packet::PingReq => codec::encode_pingreq(out),
        Packet::PingResp => codec::encode_pingresp(out),
        Packet::Disconnect(disconnect) => disconnect.encode(version, out),
        Packet::Auth(auth) => auth.encode(out),
    }
}

fn write_publish(publish: &codec::Publish<'_>, version: Version, out: &mut Vec<u8>) {
    let properties = &publish.properties;
    let forwardable = properties.forwardable();
    let ids: Vec<u32> = properties.subscription_ids().collect();
    assert_eq!(properties.has_subscription_ids, !ids.is_empty());
    // The area is readable to its end, and builds to the same bytes again.
    let mut area = PropertiesBuf::new();
    for property in &properties.all() {
        area.push(property).expect("read");
    }
    assert_eq!(area.as_properties(), properties.all());
    assert_eq!(
        PublishProperties::parse(area.as_properties()).as_ref(),
        Ok(properties)
    );
    let again = PublishOut {
        version,
        dup: publish.dup,
        qos: publish.qos,
        retain: publish.retain,
        topic: publish.topic,
        packet_id: publish.packet_id,
        topic_alias: properties.topic_alias,
        message_expiry: properties.message_expiry,
        subscription_ids: &ids,
        properties: &forwardable,
        payload: publish.payload,
    };
    again.encode(out).expect("read");
    assert_eq!(out.len(), again.encoded_len());
}

fn check_error(error: DecodeError) {
    assert_ne!(error, DecodeError::NotOneFrame, "one frame was given");
    assert!(error.reason().is_error());
    assert!(error.to_string().starts_with("[MQTT-"));
}
