//! Malformed packets (`data/malformed.txt`): each is refused for its own reason, with its own code.

use codec::frame::{self, Frame};
use codec::{DecodeError, ReasonCode, decode, decode_connect};

use crate::support::{MAX_PACKET_SIZE, Malformed, malformed};

fn refuse(row: &Malformed) -> Result<(), DecodeError> {
    match frame::check(&row.bytes, MAX_PACKET_SIZE)? {
        Frame::Complete { len } if len == row.bytes.len() => decode(&row.bytes, row.version).map(drop),
        other => panic!("{}: {other:?} of {} bytes", row.case, row.bytes.len()),
    }
}

#[test]
fn each_malformed_packet_has_its_reason() {
    let rows = malformed();
    assert!(rows.len() >= 300, "{} rows", rows.len());
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|row| {
            let result = refuse(row);
            let right = matches!(result, Err(error)
                if error.name() == row.name && error.reason().code() == row.reason);
            let wanted = (row.name, format!("{:02x}", row.reason));
            (!right).then(|| format!("{:?} {}: {result:?}, wanted {wanted:?}", row.version, row.case))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn each_error_text_begins_with_its_statement() {
    for row in malformed() {
        let error = refuse(&row).expect_err(row.case);
        assert!(error.to_string().starts_with("[MQTT-"), "{error}");
        assert_eq!(
            error.to_string().split(']').next(),
            Some(format!("[{}", error.statement()).as_str())
        );
        assert!(error.reason().is_error(), "{error}");
    }
}

#[test]
fn the_first_packet_must_be_connect() {
    #[track_caller]
    fn check(bytes: &[u8], want: DecodeError, reason: ReasonCode) {
        assert_eq!(decode_connect(bytes), Err(want), "{bytes:02x?}");
        assert_eq!(want.reason(), reason);
    }
    check(
        &[0xc0, 0],
        DecodeError::ConnectExpected,
        ReasonCode::ProtocolError,
    );
    check(
        &[0x30, 3, 0, 1, b'a'],
        DecodeError::ConnectExpected,
        ReasonCode::ProtocolError,
    );
    check(
        &[0xf0, 0],
        DecodeError::ConnectExpected,
        ReasonCode::ProtocolError,
    );
    check(
        &[0x20, 2, 0, 0],
        DecodeError::ConnectExpected,
        ReasonCode::ProtocolError,
    );
    check(&[0x00, 0], DecodeError::ReservedType, ReasonCode::MalformedPacket);
    check(
        &[0x12, 0],
        DecodeError::FixedHeaderFlags,
        ReasonCode::MalformedPacket,
    );
    let level_9 = b"\x10\x0d\x00\x04MQTT\x09\x02\x00\x3c\x00\x01c";
    check(
        level_9,
        DecodeError::UnsupportedVersion { level: 9 },
        ReasonCode::UnsupportedProtocolVersion,
    );
}

/// What the largest packet counts: the fixed header too, and before the bytes have come.
#[test]
fn the_packet_limit_counts_the_whole_packet() {
    let packet = [&[0x30, 0x7f, 0, 1, b'a'][..], &[b'x'; 124]].concat();
    assert_eq!(frame::check(&packet, 129), Ok(Frame::Complete { len: 129 }));
    assert_eq!(
        frame::check(&packet[..2], 129),
        Ok(Frame::Incomplete { need: 129 })
    );
    let too_large = Err(DecodeError::PacketTooLarge { len: 129, max: 128 });
    assert_eq!(frame::check(&packet, 128), too_large);
    assert_eq!(frame::check(&packet[..2], 128), too_large);
    assert_eq!(
        frame::check(&[0x30, 0xff, 0xff], 128),
        Ok(Frame::Incomplete { need: 4 })
    );
    assert_eq!(frame::check(&[], 128), Ok(Frame::Incomplete { need: 2 }));
}

/// Packets that are bounded in number of filters and user properties, not only in bytes.
#[test]
fn filters_and_user_properties_are_capped() {
    use codec::{MAX_FILTERS, MAX_USER_PROPERTIES, Version};

    let subscribe = |count: usize| {
        let filter = codec::SubscribeFilter {
            filter: "a",
            options: codec::SubscribeOptions::default(),
        };
        let mut bytes = Vec::new();
        let properties = codec::Properties::EMPTY;
        codec::encode_subscribe(Version::V5, 1, properties, &vec![filter; count], &mut bytes).unwrap();
        decode(&bytes, Version::V5).map(drop)
    };
    assert_eq!(subscribe(MAX_FILTERS), Ok(()));
    assert_eq!(subscribe(MAX_FILTERS + 1), Err(DecodeError::TooManyFilters));

    let publish = |count: usize| {
        let properties = b"\x26\0\0\0\0".repeat(count);
        let out = codec::PublishOut {
            version: Version::V5,
            dup: false,
            qos: codec::QoS::AtMostOnce,
            retain: false,
            topic: "a",
            packet_id: 0,
            topic_alias: None,
            message_expiry: None,
            subscription_ids: &[],
            properties: &properties,
            payload: b"",
        };
        let mut bytes = Vec::new();
        out.encode(&mut bytes).unwrap();
        decode(&bytes, Version::V5).map(drop)
    };
    assert_eq!(publish(MAX_USER_PROPERTIES), Ok(()));
    assert_eq!(
        publish(MAX_USER_PROPERTIES + 1),
        Err(DecodeError::TooManyUserProperties)
    );
    assert_eq!(
        DecodeError::TooManyUserProperties.reason(),
        ReasonCode::QuotaExceeded
    );
}
