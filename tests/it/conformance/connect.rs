//! CONNECT and CONNACK: versions, flags, client ids, sessions present, takeover, keep-alive, what the server offers.

use codec::{ReasonCode, Version};
use tests::broker::Setup;

use super::wire::{Hello, V5, V31, V311, Will, Wire, broker, config, lasting, message};

/// 5.0: 3.1.0-1 3.1.0-2 3.2.0-1 3.2.0-2 3.14.0-1; 3.1.1: 3.1.0-1 3.1.0-2 3.2.0-1
#[test]
fn connect_is_the_first_packet_and_comes_once() {
    let broker = broker("");
    let mut wire = Wire::open(&broker.dial("tcp"), Version::V5);
    wire.send(&[0xC0, 0]);
    wire.expect("closed");
    for hello in [V5, V311, V31] {
        let mut wire = Wire::connect(&broker, &hello);
        wire.send(&hello.encode());
        wire.ends(ReasonCode::ProtocolError);
    }
}

/// 5.0: 3.1.2-1 3.1.2-2 3.2.2-7; 3.1.1: 3.1.2-1 3.1.2-2
#[test]
fn unknown_protocols_and_versions_are_turned_away() {
    let broker = broker("");
    let connect = |name: &str, level: u8| {
        let mut body = vec![0, name.len() as u8];
        body.extend(name.as_bytes());
        body.extend([level, 2, 0, 60]);
        body.extend(if level >= 5 {
            &[0, 0, 1, b'c'][..]
        } else {
            &[0, 1, b'c']
        });
        let mut packet = vec![0x10, body.len() as u8];
        packet.extend(body);
        packet
    };
    for (name, level, version, answer) in [
        ("MQTT", 6, Version::V5, "CONNACK 0 unsupported_protocol_version"),
        ("MQTT", 3, Version::V311, "CONNACK 0 unsupported_protocol_version"),
        (
            "MQIsdp",
            4,
            Version::V31,
            "CONNACK 0 unsupported_protocol_version",
        ),
        ("MQTX", 4, Version::V311, "closed"),
        ("mqtt", 5, Version::V5, "closed"),
    ] {
        let mut wire = Wire::open(&broker.dial("tcp"), version);
        wire.send(&connect(name, level));
        wire.starts(answer);
        wire.expect("closed");
    }
}

/// 5.0: 3.2.2-7 3.2.2-8; 3.1.1: 3.1.2-2 3.2.2-4 3.2.2-5
#[test]
fn versions_that_are_switched_off_are_turned_away() {
    let broker = broker("protocol_versions = [\"3.1.1\"]");
    Wire::connect(&broker, &V311).ping();
    for hello in [V5, V31] {
        let mut wire = Wire::hello(&broker, &hello);
        wire.starts("CONNACK 0 unsupported_protocol_version");
        wire.expect("closed");
    }
}

/// 5.0: 3.1.2-3 3.1.4-1 3.1.4-2; 3.1.1: 3.1.2-3 3.1.4-1
#[test]
fn a_connect_that_is_wrong_in_itself_is_not_accepted() {
    let broker = broker("");
    for (hello, answer) in [
        (V5, "CONNACK 0 malformed_packet"),
        (V311, "closed"),
        (V31, "closed"),
    ] {
        let mut bytes = hello.encode();
        let flags = 2 + 2 + hello.version.protocol_name().len() + 1;
        bytes[flags] |= 1;
        let mut wire = Wire::open(&broker.dial("tcp"), hello.version);
        wire.send(&bytes);
        wire.starts(answer);
        wire.expect("closed");
    }
}

/// 5.0: 3.1.2-4 3.1.2-5 3.1.2-6 3.1.2-23 3.1.3-2 3.1.4-4 3.1.4-5 3.2.2-1 3.2.2-2 3.2.2-3 4.1.0-1; 3.1.1: 3.1.2-4
/// 3.1.2-6 3.1.3-2 3.1.4-3 3.1.4-4 3.2.2-1 3.2.2-2 3.2.2-3 4.1.0-1 4.1.0-2
#[test]
fn session_present_says_whether_there_was_one() {
    let broker = broker("");
    for version in [Version::V5, Version::V311] {
        let keep = lasting("s", version);
        let clean = Hello { clean: true, ..keep };
        for (hello, present) in [(keep, 0), (keep, 1), (keep, 1), (clean, 0)] {
            let mut wire = Wire::hello(&broker, &hello);
            wire.starts(&format!("CONNACK {present} success"));
            wire.leave();
        }
        // A clean session of 3.1.1 ends with its connection; that of 5.0 lasts as its expiry says.
        let after = u8::from(version == Version::V5);
        let mut wire = Wire::hello(&broker, &keep);
        wire.starts(&format!("CONNACK {after} success"));
        wire.leave();
        Wire::connect(&broker, &Hello { id: "s", ..V5 }).leave();
    }
}

/// 5.0: 3.1.3-6 3.1.3-7 3.1.3-8 3.2.2-16; 3.1.1: 3.1.3-6 3.1.3-7 3.1.3-8 3.1.3-9
#[test]
fn a_client_without_an_id_is_given_one() {
    let broker = broker("max_clientid_bytes = 30");
    let assigned = |hello: &Hello<'_>| {
        let mut wire = Wire::hello(&broker, &Hello { id: "", ..*hello });
        let answer = wire.starts("CONNACK 0 success");
        (wire, answer)
    };
    let id = |answer: &str| {
        let from = answer
            .find("AssignedClientIdentifier(\"")
            .expect("an assigned id");
        answer[from..].split('"').nth(1).expect("an id").to_owned()
    };
    let (_one, first) = assigned(&V5);
    let (_two, second) = assigned(&Hello { clean: false, ..V5 });
    assert_ne!(id(&first), id(&second));
    assert_eq!(broker.client(&id(&first))["clientid"], id(&first));
    assigned(&V311).0.ping();
    let longer = "i".repeat(31);
    for refused in [
        Hello {
            id: "",
            clean: false,
            ..V311
        },
        Hello { id: "", ..V31 },
        Hello { id: &longer, ..V5 },
        Hello { id: &longer, ..V311 },
    ] {
        let mut wire = Wire::hello(&broker, &refused);
        wire.starts("CONNACK 0 client_identifier_not_valid");
        wire.expect("closed");
    }
    Wire::connect(
        &broker,
        &Hello {
            id: "0123456789abcdefghijABC",
            ..V311
        },
    )
    .ping();
}

/// 5.0: 3.1.3-8; 3.1.1: 3.1.3-9
#[test]
fn clients_without_an_id_can_be_refused() {
    let broker = broker("allow_empty_clientid = false");
    for hello in [V5, V311] {
        let mut wire = Wire::hello(&broker, &Hello { id: "", ..hello });
        wire.starts("CONNACK 0 client_identifier_not_valid");
        wire.expect("closed");
    }
}

/// 5.0: 3.1.4-3; 3.1.1: 3.1.4-2
#[test]
fn the_later_connection_of_an_id_takes_over() {
    let broker = broker("");
    for (first, second) in [(V5, V5), (V5, V311), (V311, V5), (V311, V311)] {
        let mut old = Wire::connect(&broker, &first);
        let mut new = Wire::connect(&broker, &second);
        old.ends(ReasonCode::SessionTakenOver);
        new.ping();
    }
}

/// 5.0: 3.1.4-2 3.1.4-6 3.2.2-6 3.2.2-7 3.2.2-8; 3.1.1: 3.1.4-5 3.2.2-4 3.2.2-5 3.2.2-6
#[test]
fn nothing_is_done_for_whom_connect_was_refused() {
    let broker = Setup::new(&config(""))
        .acl("default all allow\ndeny connect client=bad\n")
        .start();
    let mut watcher = Wire::v5(&broker, "watcher");
    watcher.subscribe("#", 0);
    for hello in [V5, V311] {
        let bad = Hello { id: "bad", ..hello };
        let mut bytes = bad.encode();
        // PUBLISH "t", in the same piece.
        bytes.extend(if hello.version == Version::V5 {
            &[0x30, 4, 0, 1, b't', 0][..]
        } else {
            &[0x30, 3, 0, 1, b't']
        });
        let mut wire = Wire::open(&broker.dial("tcp"), hello.version);
        wire.send(&bytes);
        wire.starts("CONNACK 0 not_authorized");
        wire.expect("closed");
    }
    watcher.publish(&message("mark", "", 0, 0));
    watcher.expect("PUBLISH mark q0 : ");
}

/// 5.0: 3.1.2-22 3.1.2-8; 3.1.1: 3.1.2-24 3.1.2-8
#[test]
fn silence_beyond_the_keep_alive_ends_the_connection() {
    let broker = broker("");
    let mut watcher = Wire::v5(&broker, "watcher");
    watcher.subscribe("will/#", 0);
    for (hello, topic) in [(V5, "will/5"), (V311, "will/311")] {
        let mut wire = Wire::connect(
            &broker,
            &Hello {
                keep_alive: 1,
                will: Some(Will {
                    topic,
                    payload: "gone",
                    qos: 0,
                    retain: false,
                    properties: &[],
                }),
                ..hello
            },
        );
        let began = std::time::Instant::now();
        wire.ping();
        wire.ends(ReasonCode::KeepAliveTimeout);
        assert!(began.elapsed().as_millis() >= 1500, "{:?}", began.elapsed());
        watcher.expect(&format!("PUBLISH {topic} q0 : gone"));
    }
}

/// 5.0: 3.1.2-21 3.2.2-21 3.2.2-22
#[test]
fn the_server_tells_its_keep_alive_only_if_it_differs() {
    let broker = broker("max_keepalive = 60");
    for (asked, told) in [(60, None), (61, Some(60)), (0, Some(60)), (5, None)] {
        let mut wire = Wire::hello(
            &broker,
            &Hello {
                keep_alive: asked,
                ..V5
            },
        );
        let answer = wire.starts("CONNACK 0 success");
        let expected = told.map(|seconds: u16| format!("ServerKeepAlive({seconds})"));
        assert_eq!(
            answer
                .split(' ')
                .find(|word| word.starts_with("ServerKeepAlive"))
                .map(str::to_owned),
            expected,
            "{answer}"
        );
        assert_eq!(broker.client("c")["keepalive"], told.unwrap_or(asked));
    }
}

/// 5.0: 3.2.2-9 3.2.2-10 3.2.2-12 3.2.2-13 3.2.2-17 3.2.2-18 3.3.2-12
#[test]
fn what_is_switched_off_is_told_and_refused() {
    let broker = broker(
        "max_qos = 1\nretain = false\nwildcard_subscription = false\nshared_subscription = false\nmax_topic_alias = 0\n\
         receive_maximum = 9\nmax_packet_size = 2000",
    );
    let mut wire = Wire::hello(&broker, &V5);
    wire.expect(
        "CONNACK 0 success ReceiveMaximum(9) MaximumQos(AtLeastOnce) RetainAvailable(false) MaximumPacketSize(2000) \
         WildcardSubscriptionAvailable(false) SharedSubscriptionAvailable(false)",
    );
    wire.send_subscribe(1, &[], &[("t", 2), ("a/#", 0), ("+", 0), ("$share/g/t", 0)]);
    wire.expect("SUBACK 1 [1, 162, 162, 158]");
    wire.publish(&message("t", "", 2, 1));
    wire.ends(ReasonCode::QosNotSupported);
    let mut wire = Wire::connect(&broker, &V5);
    wire.publish(&super::wire::Message {
        retain: true,
        ..message("t", "", 0, 0)
    });
    wire.ends(ReasonCode::RetainNotSupported);
    let mut wire = Wire::connect(&broker, &V5);
    wire.publish(&super::wire::Message {
        alias: Some(1),
        ..message("t", "", 0, 0)
    });
    wire.ends(ReasonCode::TopicAliasInvalid);
    let will = Will {
        topic: "t",
        payload: "",
        qos: 2,
        retain: false,
        properties: &[],
    };
    for (will, reason) in [
        (will, "qos_not_supported"),
        (
            Will {
                qos: 0,
                retain: true,
                ..will
            },
            "retain_not_supported",
        ),
    ] {
        let mut wire = Wire::hello(
            &broker,
            &Hello {
                will: Some(will),
                ..V5
            },
        );
        wire.starts(&format!("CONNACK 0 {reason}"));
        wire.expect("closed");
    }
}
