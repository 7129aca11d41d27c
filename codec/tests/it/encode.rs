//! Writing: the shortest forms byte by byte, and what is refused.

use codec::{
    Ack, AckKind, ConnAck, Connect, Disconnect, EncodeError, Properties, PropertiesBuf, Property, PublishOut,
    QoS, ReasonCode, SubAck, SubscribeFilter, SubscribeOptions, UnsubAck, Version, encode_subscribe,
    encode_unsubscribe,
};

use crate::support::hex;

#[test]
fn what_cannot_be_written_is_refused_and_nothing_is_written() {
    let long = "x".repeat(65_536);
    let base = PublishOut {
        version: Version::V5,
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: "t",
        packet_id: 1,
        topic_alias: None,
        message_expiry: None,
        subscription_ids: &[],
        properties: &[],
        payload: b"",
    };
    let refused = |publish: PublishOut<'_>, want: EncodeError| {
        let mut out = b"before".to_vec();
        assert_eq!(publish.encode(&mut out), Err(want));
        assert_eq!(publish.encode_head(&mut out), Err(want));
        assert_eq!(out, b"before");
    };
    refused(PublishOut { topic: &long, ..base }, EncodeError::FieldTooLong);
    refused(PublishOut { packet_id: 0, ..base }, EncodeError::PacketIdZero);
    let huge = vec![0; 0x0fff_ffff];
    refused(
        PublishOut {
            payload: &huge,
            ..base
        },
        EncodeError::PacketTooLong,
    );
    let mut out = Vec::new();
    assert_eq!(
        Connect::new(Version::V311, &long).encode(&mut out),
        Err(EncodeError::FieldTooLong)
    );
    let empty = Properties::EMPTY;
    let filter = SubscribeFilter {
        filter: &long,
        options: SubscribeOptions::default(),
    };
    let subscribe = encode_subscribe(Version::V5, 1, empty, &[filter], &mut out);
    assert_eq!(subscribe, Err(EncodeError::FieldTooLong));
    let unsubscribe = encode_unsubscribe(Version::V5, 1, empty, &[&long], &mut out);
    assert_eq!(unsubscribe, Err(EncodeError::FieldTooLong));
    let mut area = PropertiesBuf::new();
    let user = area.push(Property::UserProperty("name", &long));
    assert_eq!(user, Err(EncodeError::FieldTooLong));
    assert!(out.is_empty() && area.as_properties().is_empty());
}

/// The bytes of the packets a broker sends most, by hand.
#[test]
fn shortest_forms() {
    #[track_caller]
    fn written(write: impl FnOnce(&mut Vec<u8>), want: &str) {
        let mut out = Vec::new();
        write(&mut out);
        assert_eq!(out, hex(want));
    }
    let v5 = Version::V5;
    written(
        |out| ConnAck::new(ReasonCode::Success).encode(v5, out),
        "2003000000",
    );
    written(
        |out| ConnAck::new(ReasonCode::Success).encode(Version::V311, out),
        "20020000",
    );
    written(
        |out| ConnAck::new(ReasonCode::Banned).encode(Version::V31, out),
        "20020005",
    );
    written(
        |out| Ack::new(258, ReasonCode::Success).encode(AckKind::PubAck, v5, out),
        "40020102",
    );
    written(
        |out| Ack::new(1, ReasonCode::QuotaExceeded).encode(AckKind::PubRec, v5, out),
        "5003000197",
    );
    let not_found = Ack::new(1, ReasonCode::PacketIdentifierNotFound);
    written(|out| not_found.encode(AckKind::PubRel, v5, out), "6203000192");
    written(
        |out| not_found.encode(AckKind::PubComp, Version::V311, out),
        "70020001",
    );
    written(
        |out| Disconnect::new(ReasonCode::NORMAL_DISCONNECTION).encode(v5, out),
        "e000",
    );
    written(
        |out| Disconnect::new(ReasonCode::ServerShuttingDown).encode(v5, out),
        "e0018b",
    );
    let suback = SubAck {
        packet_id: 1,
        properties: Properties::EMPTY,
        codes: &[2, 0x97],
    };
    written(|out| suback.encode(v5, out), "90050001000297");
    written(|out| suback.encode(Version::V311, out), "900400010280");
    let unsuback = UnsubAck {
        packet_id: 1,
        properties: Properties::EMPTY,
        codes: &[0x11],
    };
    written(|out| unsuback.encode(v5, out), "b00400010011");
    written(|out| unsuback.encode(Version::V311, out), "b0020001");
    written(codec::encode_pingreq, "c000");
    written(codec::encode_pingresp, "d000");
}
