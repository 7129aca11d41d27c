//! mqttbytes 0.6 as a second opinion: same packets, same content, but for its known faults, which are all listed.
//!
//! docs/decisions/001-codec.md explains the lists. They are exact: a difference that is not listed fails the test, and
//! so does a listed one that the search no longer meets.

use std::collections::BTreeMap;
use std::fmt::Write;

use bytes::BytesMut;
use codec::frame::{self, Frame};
use codec::{AckKind, DecodeError, Packet, Version, decode};
use mqttbytes::{Error, v4, v5};

use crate::hostile::mutate;
use crate::support::{MAX_PACKET_SIZE, Random, malformed, vectors};

/// Refused by us with this error and accepted by mqttbytes, which does not check it: version and error. (Server packets
/// and V5 `reason_code`, `property_not_allowed`: it reads for clients too, and knows no direction.)
const NOT_CHECKED: &[&str] = &[
    "V311 connect_reserved_flag",
    "V311 dup_qos_0",
    "V311 filter_empty",
    "V311 filter_hash",
    "V311 filter_plus",
    "V311 fixed_header_flags",
    "V311 no_filters",
    "V311 no_unsubscribe_filters",
    "V311 null_character",
    "V311 packet_id_zero",
    "V311 password_without_user_name",
    "V311 share_name",
    "V311 subscription_options",
    "V311 topic_empty",
    "V311 topic_wildcard",
    "V311 trailing_bytes",
    "V311 unsupported_version",
    "V311 wrong_direction",
    "V5 auth_data_without_method",
    "V5 connect_reserved_flag",
    "V5 dup_qos_0",
    "V5 filter_empty",
    "V5 filter_hash",
    "V5 filter_plus",
    "V5 fixed_header_flags",
    "V5 no_filters",
    "V5 no_local_shared",
    "V5 no_unsubscribe_filters",
    "V5 non_minimal_integer",
    "V5 null_character",
    "V5 packet_id_zero",
    "V5 property_not_allowed",
    "V5 property_twice",
    "V5 property_value",
    "V5 reason_code",
    "V5 response_topic",
    "V5 share_name",
    "V5 subscription_id_from_client",
    "V5 subscription_options",
    "V5 topic_alias_zero",
    "V5 topic_empty",
    "V5 topic_missing",
    "V5 topic_wildcard",
    "V5 trailing_bytes",
    "V5 truncated",
    "V5 unknown_property",
    "V5 unsupported_version",
    "V5 wrong_direction",
];

/// Accepted by us, and refused by mqttbytes or dropped in silence.
const WRONGLY_REFUSED: &[&str] = &[
    "no AUTH packet",
    "no DISCONNECT of less than four bytes",
    "no binary password",
];

/// Accepted by both with different content.
const READ_WRONGLY: &[&str] = &["empty login read as none"];

/// What mqttbytes says about one packet.
enum Opinion {
    Accepted(String),
    Refused,
    /// It asks for more bytes of a whole packet, having taken it off the buffer.
    Lost,
}

fn mqttbytes_reads(bytes: &[u8], version: Version) -> Opinion {
    let mut stream = BytesMut::from(bytes);
    let max = MAX_PACKET_SIZE as usize;
    let result = match version {
        Version::V5 => v5::read(&mut stream, max).map(|packet| theirs_v5(&packet)),
        _ => v4::read(&mut stream, max).map(|packet| theirs_v4(&packet)),
    };
    match result {
        Ok(summary) => Opinion::Accepted(summary),
        Err(Error::InsufficientBytes(_)) => Opinion::Lost,
        Err(_) => Opinion::Refused,
    }
}

fn we_read(bytes: &[u8], version: Version) -> Result<(Packet<'_>, String), DecodeError> {
    frame::check(bytes, MAX_PACKET_SIZE)?;
    decode(bytes, version).map(|packet| (packet.clone(), ours(&packet)))
}

/// The content of a packet as text, as far as both libraries have it.
fn ours(packet: &Packet<'_>) -> String {
    let ack =
        |kind: AckKind, ack: &codec::Ack<'_>| format!("{kind:?} {} {}", ack.packet_id, ack.reason.code());
    match packet {
        Packet::Connect(connect) => {
            let login = connect
                .username
                .map(str::as_bytes)
                .zip(connect.password.or(Some(b"")));
            let login = login.or(connect.password.map(|password| (&b""[..], password)));
            let mut text = format!(
                "CONNECT {} {} {:?}",
                connect.client_id, connect.clean_start, connect.keep_alive
            );
            if let Some(will) = &connect.will {
                let _ = write!(
                    text,
                    " will {} {:?} {:?} {}",
                    will.topic, will.payload, will.qos, will.retain
                );
            }
            if let Some((username, password)) = login {
                let _ = write!(text, " login {username:?} {password:?}");
            }
            text
        }
        Packet::Publish(publish) => {
            let properties = &publish.properties;
            let user: Vec<_> = properties.all().user_properties().collect();
            let rest = (properties.topic_alias, properties.message_expiry, user);
            let head = (
                publish.dup,
                publish.qos,
                publish.retain,
                publish.topic,
                publish.packet_id,
            );
            format!("PUBLISH {head:?} {rest:?} {:?}", publish.payload)
        }
        Packet::PubAck(content) => ack(AckKind::PubAck, content),
        Packet::PubRec(content) => ack(AckKind::PubRec, content),
        Packet::PubRel(content) => ack(AckKind::PubRel, content),
        Packet::PubComp(content) => ack(AckKind::PubComp, content),
        Packet::Subscribe(subscribe) => {
            let filters: Vec<_> = subscribe
                .filters
                .iter()
                .map(|one| (one.filter, one.options.to_byte()))
                .collect();
            format!(
                "SUBSCRIBE {} {:?} {filters:?}",
                subscribe.packet_id, subscribe.subscription_id
            )
        }
        Packet::Unsubscribe(unsubscribe) => {
            let filters: Vec<_> = unsubscribe.filters.iter().collect();
            format!("UNSUBSCRIBE {} {filters:?}", unsubscribe.packet_id)
        }
        Packet::PingReq => "PINGREQ".to_owned(),
        Packet::Disconnect(disconnect) => {
            format!(
                "DISCONNECT {} {:?}",
                disconnect.reason.code(),
                disconnect.session_expiry
            )
        }
        other => other.name().to_owned(),
    }
}

fn theirs_v4(packet: &v4::Packet) -> String {
    match packet {
        v4::Packet::Connect(connect) => {
            let mut text = format!(
                "CONNECT {} {} {:?}",
                connect.client_id, connect.clean_session, connect.keep_alive
            );
            if let Some(will) = &connect.last_will {
                let message = will.message.as_ref();
                let _ = write!(
                    text,
                    " will {} {message:?} {:?} {}",
                    will.topic, will.qos, will.retain
                );
            }
            if let Some(login) = &connect.login {
                let (username, password) = (login.username.as_bytes(), login.password.as_bytes());
                let _ = write!(text, " login {username:?} {password:?}");
            }
            text
        }
        v4::Packet::Publish(publish) => {
            let rest = (None::<u16>, None::<u32>, Vec::<(&str, &str)>::new());
            let head = (
                publish.dup,
                publish.qos,
                publish.retain,
                &publish.topic,
                publish.pkid,
            );
            format!("PUBLISH {head:?} {rest:?} {:?}", publish.payload.as_ref())
        }
        v4::Packet::PubAck(ack) => format!("PubAck {} 0", ack.pkid),
        v4::Packet::PubRec(ack) => format!("PubRec {} 0", ack.pkid),
        v4::Packet::PubRel(ack) => format!("PubRel {} 0", ack.pkid),
        v4::Packet::PubComp(ack) => format!("PubComp {} 0", ack.pkid),
        v4::Packet::Subscribe(subscribe) => {
            let filters: Vec<_> = subscribe
                .filters
                .iter()
                .map(|one| (&one.path, one.qos as u8))
                .collect();
            format!("SUBSCRIBE {} None {filters:?}", subscribe.pkid)
        }
        v4::Packet::Unsubscribe(unsubscribe) => {
            format!("UNSUBSCRIBE {} {:?}", unsubscribe.pkid, unsubscribe.topics)
        }
        v4::Packet::PingReq => "PINGREQ".to_owned(),
        v4::Packet::Disconnect => "DISCONNECT 0 None".to_owned(),
        other => format!("{other:?}"),
    }
}

fn theirs_v5(packet: &v5::Packet) -> String {
    match packet {
        v5::Packet::Connect(connect) => {
            let mut text = format!(
                "CONNECT {} {} {:?}",
                connect.client_id, connect.clean_session, connect.keep_alive
            );
            if let Some(will) = &connect.last_will {
                let message = will.message.as_ref();
                let _ = write!(
                    text,
                    " will {} {message:?} {:?} {}",
                    will.topic, will.qos, will.retain
                );
            }
            if let Some(login) = &connect.login {
                let (username, password) = (login.username.as_bytes(), login.password.as_bytes());
                let _ = write!(text, " login {username:?} {password:?}");
            }
            text
        }
        v5::Packet::Publish(publish) => {
            let rest = publish
                .properties
                .as_ref()
                .map_or((None, None, Vec::new()), |found| {
                    (
                        found.topic_alias,
                        found.message_expiry_interval,
                        found.user_properties.clone(),
                    )
                });
            let head = (
                publish.dup,
                publish.qos,
                publish.retain,
                &publish.topic,
                publish.pkid,
            );
            format!("PUBLISH {head:?} {rest:?} {:?}", publish.payload.as_ref())
        }
        v5::Packet::PubAck(ack) => format!("PubAck {} {}", ack.pkid, ack.reason as u8),
        v5::Packet::PubRec(ack) => format!("PubRec {} {}", ack.pkid, ack.reason as u8),
        v5::Packet::PubRel(ack) => format!("PubRel {} {}", ack.pkid, ack.reason as u8),
        v5::Packet::PubComp(ack) => format!("PubComp {} {}", ack.pkid, ack.reason as u8),
        v5::Packet::Subscribe(subscribe) => {
            let filters: Vec<_> = subscribe
                .filters
                .iter()
                .map(|one| (&one.path, options(one)))
                .collect();
            let id = subscribe.properties.as_ref().and_then(|found| found.id);
            format!("SUBSCRIBE {} {id:?} {filters:?}", subscribe.pkid)
        }
        v5::Packet::Unsubscribe(unsubscribe) => {
            format!("UNSUBSCRIBE {} {:?}", unsubscribe.pkid, unsubscribe.filters)
        }
        v5::Packet::PingReq => "PINGREQ".to_owned(),
        v5::Packet::Disconnect(disconnect) => {
            let expiry = disconnect
                .properties
                .as_ref()
                .and_then(|found| found.session_expiry_interval);
            format!("DISCONNECT {} {expiry:?}", disconnect.reason_code as u8)
        }
        other => format!("{other:?}"),
    }
}

fn options(filter: &v5::SubscribeFilter) -> u8 {
    let handling = match filter.retain_forward_rule {
        v5::RetainForwardRule::OnEverySubscribe => 0,
        v5::RetainForwardRule::OnNewSubscribe => 1,
        v5::RetainForwardRule::Never => 2,
    };
    let flags = u8::from(filter.nolocal) << 2 | u8::from(filter.preserve_retain) << 3;
    filter.qos as u8 | flags | handling << 4
}

/// The fault of mqttbytes that explains why it refuses this valid packet, or reads something else in it.
fn fault(packet: &Packet<'_>, frame: &[u8]) -> String {
    match packet {
        Packet::Auth(_) => "no AUTH packet".to_owned(),
        Packet::Disconnect(_) if frame.len() < 4 => "no DISCONNECT of less than four bytes".to_owned(),
        Packet::Connect(connect) => match (connect.username, connect.password) {
            (_, Some(password)) if str::from_utf8(password).is_err() => "no binary password".to_owned(),
            (None | Some(""), None | Some(b"")) => "empty login read as none".to_owned(),
            login => format!("CONNECT with login {login:?}"),
        },
        other => format!("{other:?}"),
    }
}

#[test]
fn differences_are_the_known_faults() {
    let tables = vectors()
        .into_iter()
        .map(|v| v.bytes)
        .chain(malformed().into_iter().map(|row| row.bytes));
    let seeds: Vec<Vec<u8>> = tables.collect();
    let mut random = Random(60);
    let mutated = (0..200_000).map(|_| mutate(&mut random, &seeds));
    let mut seen: [BTreeMap<String, Vec<u8>>; 3] = Default::default();
    for bytes in seeds.iter().cloned().chain(mutated) {
        for version in [Version::V311, Version::V5] {
            // One whole packet each: framing is not in question here.
            match frame::check(&bytes, u32::MAX) {
                Ok(Frame::Complete { len }) if len == bytes.len() => {}
                _ => continue,
            }
            let (list, class) = match (we_read(&bytes, version), mqttbytes_reads(&bytes, version)) {
                (Err(_), Opinion::Refused | Opinion::Lost) => continue,
                (Ok((_, ours)), Opinion::Accepted(theirs)) if ours == theirs => continue,
                (Err(error), Opinion::Accepted(_)) => (0, format!("{version:?} {}", error.name())),
                (Ok((packet, _)), Opinion::Refused | Opinion::Lost) => (1, fault(&packet, &bytes)),
                (Ok((packet, _)), Opinion::Accepted(_)) => (2, fault(&packet, &bytes)),
            };
            let shortest = seen[list].entry(class).or_insert_with(|| bytes.clone());
            if bytes.len() < shortest.len() {
                shortest.clone_from(&bytes);
            }
        }
    }
    for (found, listed) in seen.iter().zip([NOT_CHECKED, WRONGLY_REFUSED, READ_WRONGLY]) {
        let classes: Vec<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(classes, listed, "found with these packets: {found:02x?}");
    }
}

/// The figures of docs/decisions/001-codec.md: of 109 malformed vectors, how many mqttbytes accepts and how many it
/// drops in silence; of 34 valid ones, how many it refuses or drops.
#[test]
fn mqttbytes_and_the_vectors() {
    let (mut malformed, mut accepted, mut lost) = (0, 0, 0);
    let (mut valid, mut refused) = (0, 0);
    for vector in vectors() {
        let opinion = mqttbytes_reads(&vector.bytes, vector.version);
        match vector.want {
            'R' => {
                malformed += 1;
                accepted += u32::from(matches!(opinion, Opinion::Accepted(_)));
                lost += u32::from(matches!(opinion, Opinion::Lost));
            }
            'A' => {
                valid += 1;
                refused += u32::from(!matches!(opinion, Opinion::Accepted(_)));
            }
            _ => {}
        }
    }
    assert_eq!((malformed, accepted, lost), (109, 69, 5));
    assert_eq!((valid, refused), (34, 6));
}
