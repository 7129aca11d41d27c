//! What is written reads back the same, and its size was said before: all packets of both sides, all versions.

use codec::{
    Ack, AckKind, Auth, ConnAck, Connect, ConnectProperties, Disconnect, Packet, Properties, PropertiesBuf,
    PublishOut, PublishProperties, QoS, ReasonCode, SubAck, SubscribeFilter, UnsubAck, Version, Will,
    WillProperties, copy_patched, decode, decode_connect, decode_from_server, encode_subscribe,
    encode_unsubscribe, publish_first_byte,
};

use crate::generate::Source;

const CONNECT: &[u8] = &[0x11, 0x21, 0x27, 0x22, 0x19, 0x17, 0x26, 0x15];
const WILL: &[u8] = &[0x18, 0x01, 0x02, 0x03, 0x08, 0x09, 0x26];
const CONNACK: &[u8] = &[
    0x11, 0x21, 0x24, 0x25, 0x27, 0x12, 0x22, 0x1f, 0x26, 0x28, 0x29, 0x2a, 0x13, 0x1a, 0x1c, 0x15, 0x16,
];
const FORWARDED: &[u8] = &[0x01, 0x03, 0x08, 0x09, 0x26];
const PUBLISH: &[u8] = &[0x01, 0x02, 0x03, 0x08, 0x09, 0x23, 0x26];
const REASON: &[u8] = &[0x1f, 0x26];
const SUBSCRIBE: &[u8] = &[0x0b, 0x26];
const UNSUBSCRIBE: &[u8] = &[0x26];
const CLIENT_DISCONNECT: &[u8] = &[0x11, 0x1f, 0x26];
const SERVER_DISCONNECT: &[u8] = &[0x1c, 0x1f, 0x26];
const AUTH: &[u8] = &[0x16, 0x1f, 0x26];

/// One packet drawn from the bytes, written and read back. A target of `codec/fuzz` too.
pub(crate) fn check(data: &[u8]) {
    let source = &mut Source(data);
    let version = source.version();
    match source.below(12) {
        0 => connect(source, version),
        1 => connack(source, version),
        2..=4 => publish(source, version),
        5 => ack(source, version),
        6 => subscribe(source, version),
        7 => unsubscribe(source, version),
        8 => subacks(source, version),
        9 => disconnect(source, version),
        10 => auth(source),
        _ => patched_copy(source, version),
    }
}

/// Properties for a packet of this version: none before MQTT 5.
fn properties(source: &mut Source<'_>, version: Version, ids: &[u8]) -> PropertiesBuf {
    if version == Version::V5 {
        source.properties(ids)
    } else {
        PropertiesBuf::new()
    }
}

fn connect(source: &mut Source<'_>, version: Version) {
    let area = properties(source, version, CONNECT);
    let will_area = properties(source, version, WILL);
    let (client_id, topic, payload) = (source.text(), source.topic(), source.bytes());
    let (username, password) = (source.text(), source.bytes());
    let mut sent = Connect::new(version, &client_id);
    sent.clean_start = source.bool();
    sent.keep_alive = source.u16();
    sent.properties = ConnectProperties::parse(area.as_properties()).expect("allowed");
    sent.will = source.bool().then(|| Will {
        topic: &topic,
        payload: &payload,
        qos: source.qos(),
        retain: source.bool(),
        properties: WillProperties::parse(will_area.as_properties()).expect("allowed"),
    });
    sent.username = source.bool().then_some(&username);
    let may_have_password = version == Version::V5 || sent.username.is_some();
    sent.password = (may_have_password && source.bool()).then_some(&password);
    let mut bytes = Vec::new();
    sent.encode(&mut bytes).expect("short fields");
    assert_eq!(bytes.len(), sent.encoded_len());
    assert_eq!(decode_connect(&bytes), Ok(sent.clone()));
    assert_eq!(decode(&bytes, version), Ok(Packet::Connect(sent)));
    assert_eq!(codec::connect_version(&bytes), Some(version));
}

fn connack(source: &mut Source<'_>, version: Version) {
    let area = properties(source, version, CONNACK);
    let reasons = if version == Version::V5 {
        [
            ReasonCode::Success,
            ReasonCode::ServerBusy,
            ReasonCode::QuotaExceeded,
        ]
    } else {
        [
            ReasonCode::Success,
            ReasonCode::ServerUnavailable,
            ReasonCode::NotAuthorized,
        ]
    };
    let reason = reasons[source.below(3)];
    let session_present = source.bool() && !reason.is_error() && version != Version::V31;
    let sent = ConnAck {
        session_present,
        reason,
        properties: area.as_properties(),
    };
    let mut bytes = Vec::new();
    sent.encode(version, &mut bytes);
    assert_eq!(bytes.len(), sent.encoded_len(version));
    assert_eq!(decode_from_server(&bytes, version), Ok(Packet::ConnAck(sent)));
}

fn publish(source: &mut Source<'_>, version: Version) {
    let area = properties(source, version, PUBLISH);
    let parsed = PublishProperties::parse(area.as_properties()).expect("allowed");
    let forwardable = parsed.forwardable();
    let mut ids: Vec<u32> = Vec::new();
    for _ in 0..source.below(4) {
        ids.push(source.u32() % 0x0fff_ffff + 1);
    }
    if version != Version::V5 {
        ids.clear();
    }
    let topic = source.topic();
    let payload = source.bytes();
    let qos = source.qos();
    let sent = PublishOut {
        version,
        dup: qos != QoS::AtMostOnce && source.bool(),
        qos,
        retain: source.bool(),
        topic: if parsed.topic_alias.is_some() && source.bool() {
            ""
        } else {
            &topic
        },
        packet_id: if qos == QoS::AtMostOnce {
            0
        } else {
            source.packet_id()
        },
        topic_alias: parsed.topic_alias,
        message_expiry: parsed.message_expiry,
        subscription_ids: &ids,
        properties: &forwardable,
        payload: &payload,
    };
    let mut bytes = Vec::new();
    sent.encode(&mut bytes).expect("short fields");
    assert_eq!(bytes.len(), sent.encoded_len());
    let mut head = Vec::new();
    sent.encode_head(&mut head).expect("short fields");
    assert_eq!([head.as_slice(), &payload].concat(), bytes);

    let Ok(Packet::Publish(read)) = decode_from_server(&bytes, version) else {
        panic!("{bytes:02x?}")
    };
    let flags = (read.dup, read.qos, read.retain, read.packet_id);
    assert_eq!(flags, (sent.dup, sent.qos, sent.retain, sent.packet_id));
    assert_eq!((read.topic, read.payload), (sent.topic, sent.payload));
    assert_eq!(read.properties.topic_alias, sent.topic_alias);
    assert_eq!(read.properties.message_expiry, sent.message_expiry);
    assert_eq!(read.properties.payload_is_utf8, parsed.payload_is_utf8);
    assert_eq!(read.properties.has_subscription_ids, !ids.is_empty());
    assert_eq!(read.properties.subscription_ids().collect::<Vec<_>>(), ids);
    assert_eq!(read.properties.forwardable(), forwardable);
    forwardable_is_what_it_says(area.as_properties(), &forwardable);
    let from_client = decode(&bytes, version).map(|_| ());
    assert_eq!(from_client.is_ok(), ids.is_empty(), "{from_client:?}");
}

/// The forwardable bytes are the area's own properties of those kinds, one after another.
fn forwardable_is_what_it_says(area: Properties<'_>, forwardable: &[u8]) {
    let mut wanted = PropertiesBuf::new();
    for property in &area {
        let mut one = PropertiesBuf::new();
        one.push(property).expect("short");
        if one
            .as_properties()
            .raw()
            .first()
            .is_some_and(|id| FORWARDED.contains(id))
        {
            wanted.push(property).expect("short");
        }
    }
    assert_eq!(wanted.as_properties().raw(), forwardable);
}

fn ack(source: &mut Source<'_>, version: Version) {
    let area = properties(source, version, REASON);
    let kind = [
        AckKind::PubAck,
        AckKind::PubRec,
        AckKind::PubRel,
        AckKind::PubComp,
    ][source.below(4)];
    let failure = match kind {
        AckKind::PubAck | AckKind::PubRec => ReasonCode::QuotaExceeded,
        AckKind::PubRel | AckKind::PubComp => ReasonCode::PacketIdentifierNotFound,
    };
    let failed = version == Version::V5 && source.bool();
    let reason = if failed { failure } else { ReasonCode::Success };
    let sent = Ack {
        packet_id: source.packet_id(),
        reason,
        properties: area.as_properties(),
    };
    let mut bytes = Vec::new();
    sent.encode(kind, version, &mut bytes);
    assert_eq!(bytes.len(), sent.encoded_len(version));
    let packet = match kind {
        AckKind::PubAck => Packet::PubAck(sent),
        AckKind::PubRec => Packet::PubRec(sent),
        AckKind::PubRel => Packet::PubRel(sent),
        AckKind::PubComp => Packet::PubComp(sent),
    };
    assert_eq!(decode(&bytes, version), Ok(packet.clone()));
    assert_eq!(decode_from_server(&bytes, version), Ok(packet));
}

fn subscribe(source: &mut Source<'_>, version: Version) {
    let area = properties(source, version, SUBSCRIBE);
    let filters: Vec<String> = (0..=source.below(5)).map(|_| source.filter()).collect();
    let sent: Vec<SubscribeFilter<'_>> = filters
        .iter()
        .map(|filter| {
            let mut options = source.options(version);
            options.no_local &= !filter.starts_with("$share/");
            SubscribeFilter { filter, options }
        })
        .collect();
    let packet_id = source.packet_id();
    let mut bytes = Vec::new();
    encode_subscribe(version, packet_id, area.as_properties(), &sent, &mut bytes).expect("short");
    let Ok(Packet::Subscribe(read)) = decode(&bytes, version) else {
        panic!("{bytes:02x?}")
    };
    assert_eq!(
        (read.packet_id, read.properties),
        (packet_id, area.as_properties())
    );
    assert_eq!(read.filters.len(), sent.len());
    assert!(read.filters.iter().eq(sent.iter().copied()));
    let id = area.as_properties().iter().find_map(|property| match property {
        codec::Property::SubscriptionIdentifier(id) => Some(id),
        _ => None,
    });
    assert_eq!(read.subscription_id, id);
}

fn unsubscribe(source: &mut Source<'_>, version: Version) {
    let area = properties(source, version, UNSUBSCRIBE);
    let filters: Vec<String> = (0..=source.below(5)).map(|_| source.filter()).collect();
    let sent: Vec<&str> = filters.iter().map(String::as_str).collect();
    let packet_id = source.packet_id();
    let mut bytes = Vec::new();
    encode_unsubscribe(version, packet_id, area.as_properties(), &sent, &mut bytes).expect("short");
    let Ok(Packet::Unsubscribe(read)) = decode(&bytes, version) else {
        panic!("{bytes:02x?}")
    };
    assert_eq!(
        (read.packet_id, read.properties),
        (packet_id, area.as_properties())
    );
    assert_eq!(read.filters.len(), sent.len());
    assert!(read.filters.iter().eq(sent.iter().copied()));
}

fn subacks(source: &mut Source<'_>, version: Version) {
    let area = properties(source, version, REASON);
    let packet_id = source.packet_id();
    let count = source.below(9) + 1;
    let codes: Vec<u8> = (0..count).map(|_| [0, 1, 2, 0x80][source.below(4)]).collect();
    let sent = SubAck {
        packet_id,
        properties: area.as_properties(),
        codes: &codes,
    };
    let mut bytes = Vec::new();
    sent.encode(version, &mut bytes);
    assert_eq!(bytes.len(), sent.encoded_len(version));
    assert_eq!(decode_from_server(&bytes, version), Ok(Packet::SubAck(sent)));

    let codes: Vec<u8> = (0..count).map(|_| [0, 0x11, 0x87][source.below(3)]).collect();
    let codes = if version == Version::V5 {
        codes.as_slice()
    } else {
        &[]
    };
    let sent = UnsubAck {
        packet_id,
        properties: area.as_properties(),
        codes,
    };
    bytes.clear();
    sent.encode(version, &mut bytes);
    assert_eq!(bytes.len(), sent.encoded_len(version));
    assert_eq!(decode_from_server(&bytes, version), Ok(Packet::UnsubAck(sent)));
}

fn disconnect(source: &mut Source<'_>, version: Version) {
    let from_client = source.bool() || version != Version::V5;
    let ids = if from_client {
        CLIENT_DISCONNECT
    } else {
        SERVER_DISCONNECT
    };
    let area = properties(source, version, ids);
    let reasons: &[ReasonCode] = match (version, from_client) {
        (Version::V5, true) => &[ReasonCode::Success, ReasonCode::DisconnectWithWill],
        (Version::V5, false) => &[ReasonCode::Success, ReasonCode::SessionTakenOver],
        _ => &[ReasonCode::Success],
    };
    let sent = Disconnect::with_properties(reasons[source.below(reasons.len())], area.as_properties());
    let mut bytes = Vec::new();
    sent.encode(version, &mut bytes);
    assert_eq!(bytes.len(), sent.encoded_len(version));
    let read = if from_client {
        decode(&bytes, version)
    } else {
        decode_from_server(&bytes, version)
    };
    let Ok(Packet::Disconnect(read)) = read else {
        panic!("{read:?}")
    };
    assert_eq!((read.reason, read.properties), (sent.reason, sent.properties));
    let expiry = area.as_properties().iter().find_map(|property| match property {
        codec::Property::SessionExpiryInterval(seconds) => Some(seconds),
        _ => None,
    });
    assert_eq!(read.session_expiry, expiry);
}

fn auth(source: &mut Source<'_>) {
    let mut area = source.properties(AUTH);
    area.push(codec::Property::AuthenticationMethod("SCRAM-SHA-256"))
        .expect("short");
    let from_client = source.bool();
    let other = if from_client {
        ReasonCode::ReAuthenticate
    } else {
        ReasonCode::Success
    };
    let reason = if source.bool() {
        other
    } else {
        ReasonCode::ContinueAuthentication
    };
    let sent = Auth::new(reason, area.as_properties()).expect("a method");
    assert_eq!(sent.method, "SCRAM-SHA-256");
    let mut bytes = Vec::new();
    sent.encode(&mut bytes);
    assert_eq!(bytes.len(), sent.encoded_len());
    let read = if from_client {
        decode(&bytes, Version::V5)
    } else {
        decode_from_server(&bytes, Version::V5)
    };
    assert_eq!(read, Ok(Packet::Auth(sent)));
}

/// A copy of a ready frame, patched, is what writing from the parts gives.
fn patched_copy(source: &mut Source<'_>, version: Version) {
    let area = properties(source, version, FORWARDED);
    let (topic, payload) = (source.topic(), source.bytes());
    let qos = source.qos();
    let template = PublishOut {
        version,
        dup: false,
        qos,
        retain: false,
        topic: &topic,
        packet_id: 1,
        topic_alias: None,
        message_expiry: None,
        subscription_ids: &[],
        properties: area.as_properties().raw(),
        payload: &payload,
    };
    let mut ready = Vec::new();
    template.encode(&mut ready).expect("short");
    let dup = qos != QoS::AtMostOnce && source.bool();
    let wanted = PublishOut {
        dup,
        retain: source.bool(),
        packet_id: source.packet_id(),
        ..template
    };
    let mut from_parts = b"before".to_vec();
    wanted.encode(&mut from_parts).expect("short");
    let mut copied = b"before".to_vec();
    let first = publish_first_byte(wanted.dup, wanted.qos, wanted.retain);
    let packet_id = template
        .packet_id_offset()
        .map(|offset| (offset, wanted.packet_id));
    copy_patched(&ready, first, packet_id, &mut copied);
    assert_eq!(copied, from_parts);
}

#[test]
fn what_is_written_reads_back() {
    let mut random = crate::support::Random(1);
    for seed in 0..20_000_u64 {
        let mut random = crate::support::Random(seed);
        let data: Vec<u8> = (0..64).flat_map(|_| random.next().to_be_bytes()).collect();
        let result = std::panic::catch_unwind(|| check(&data));
        assert!(result.is_ok(), "seed {seed}");
    }
    // Long inputs reach the larger fields.
    for _ in 0..200 {
        let data: Vec<u8> = (0..10_000).flat_map(|_| random.next().to_be_bytes()).collect();
        check(&data);
    }
}
