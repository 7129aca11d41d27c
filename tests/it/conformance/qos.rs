//! QoS 0, 1 and 2 both ways: the exchanges, identifiers, windows, and what a reconnect does to them.

use codec::AckKind::{PubAck, PubComp, PubRec, PubRel};
use codec::{Property, ReasonCode, Version};

use super::wire::{Hello, Message, V5, V311, Wire, broker, lasting, message};

/// 5.0: 3.3.4-1 3.8.4-8 4.3.1-1 4.3.2-1 4.3.2-2 4.3.2-4 4.3.3-1 4.3.3-2 4.3.3-4 4.3.3-8 4.3.3-11 2.2.1-4 2.2.1-5 4.5.0-1
/// 4.6.0-5 4.6.0-6; 3.1.1: 3.8.4-6 4.3.1-1 4.3.2-1 4.3.2-2 4.3.3-1 4.3.3-2 2.3.1-4 2.3.1-6 4.5.0-1 4.6.0-5 4.6.0-6
#[test]
fn a_message_is_delivered_at_the_lower_of_both_qos() {
    let broker = broker("");
    for hello in [V5, V311] {
        let mut publisher = Wire::connect(&broker, &Hello { id: "p", ..hello });
        for granted in 0..=2_u8 {
            let mut receiver = Wire::connect(&broker, &Hello { id: "r", ..hello });
            receiver.subscribe("t", granted);
            for sent in 0..=2_u8 {
                publisher.deliver(&message("t", "x", sent, u16::from(sent)));
                match sent.min(granted) {
                    0 => receiver.expect("PUBLISH t q0 : x"),
                    1 => {
                        let id = receiver.arrives("t", 1, ": x");
                        receiver.ack(PubAck, id);
                    }
                    _ => {
                        let id = receiver.arrives("t", 2, ": x");
                        receiver.ack(PubRec, id);
                        receiver.expect(&format!("PUBREL {id} success"));
                        receiver.ack(PubComp, id);
                    }
                }
                receiver.ping();
            }
        }
    }
}

/// 5.0: 4.3.2-5 4.3.3-10 4.3.3-12; 3.1.1: 4.3.2-2 4.3.3-2
#[test]
fn an_identifier_is_new_again_once_its_exchange_is_over() {
    let broker = broker("");
    let mut watcher = Wire::v5(&broker, "watcher");
    watcher.subscribe("t", 0);
    for hello in [V5, V311] {
        let mut wire = Wire::connect(&broker, &hello);
        for dup in [false, true] {
            wire.publish(&Message {
                dup,
                ..message("t", "1", 1, 9)
            });
            wire.expect("PUBACK 9 success");
            watcher.expect("PUBLISH t q0 : 1");
        }
        for payload in ["2", "4"] {
            for dup in [false, true, true] {
                wire.publish(&Message {
                    dup,
                    ..message("t", payload, 2, 9)
                });
                wire.expect("PUBREC 9 success");
            }
            wire.ack(PubRel, 9);
            wire.expect("PUBCOMP 9 success");
            watcher.expect(&format!("PUBLISH t q0 : {payload}"));
        }
        wire.publish(&message("t", "end", 0, 0));
        watcher.expect("PUBLISH t q0 : end");
    }
}

/// 5.0: 3.6.2-1 3.7.2-1 2.2.1-5; 3.1.1: 2.3.1-6
#[test]
fn acknowledgements_of_nothing_are_answered_and_harmless() {
    let broker = broker("");
    let mut wire = Wire::connect(&broker, &V5);
    wire.ack(PubRel, 5);
    wire.expect("PUBCOMP 5 packet_identifier_not_found");
    wire.ack(PubRec, 5);
    wire.expect("PUBREL 5 packet_identifier_not_found");
    wire.ack(PubAck, 5);
    wire.ack(PubComp, 5);
    wire.ping();
    let mut wire = Wire::connect(&broker, &V311);
    wire.ack(PubRel, 5);
    wire.expect("PUBCOMP 5 success");
    wire.ack(PubRec, 5);
    wire.expect("PUBREL 5 success");
    wire.ping();
    // The wrong acknowledgement does not end an exchange.
    wire.subscribe("t", 2);
    wire.publish(&message("t", "", 1, 1));
    let mut got = [wire.next(), wire.next()];
    got.sort();
    assert_eq!(got, ["PUBACK 1 success", "PUBLISH t q1 #1 : "]);
    wire.ack(PubComp, 1);
    wire.publish(&message("t", "", 1, 1));
    let mut got = [wire.next(), wire.next()];
    got.sort();
    assert_eq!(
        got,
        ["PUBACK 1 success", "PUBLISH t q1 #2 : "],
        "1 is still in use"
    );
}

/// 5.0: 3.3.4-9 3.3.4-10 4.9.0-1 4.9.0-2 4.9.0-3; 3.1.1: -
#[test]
fn no_more_is_sent_than_the_receive_maximum() {
    let broker = broker("max_inflight = 3");
    for (maximum, window) in [(Some(2), 2), (Some(10), 3), (None, 3)] {
        let properties: Vec<_> = maximum.map(Property::ReceiveMaximum).into_iter().collect();
        let mut wire = Wire::connect(
            &broker,
            &Hello {
                properties: &properties,
                ..V5
            },
        );
        wire.subscribe("t", 2);
        let mut publisher = Wire::v5(&broker, "publisher");
        for n in 1..=6 {
            publisher.deliver(&message("t", &n.to_string(), 2, n));
        }
        for n in 1..=window {
            wire.expect(&format!("PUBLISH t q2 #{n} : {n}"));
        }
        // QoS 0 and answers are not delayed.
        publisher.publish(&message("t", "now", 0, 0));
        wire.expect("PUBLISH t q0 : now");
        wire.ping();
        // PUBREC frees nothing; an error in it and PUBCOMP do.
        wire.ack(PubRec, 1);
        wire.expect("PUBREL 1 success");
        wire.ping();
        wire.ack(PubComp, 1);
        wire.starts("PUBLISH t q2 ");
        wire.ack_with(PubRec, 2, ReasonCode::QuotaExceeded);
        wire.starts("PUBLISH t q2 ");
        wire.ping();
    }
}

/// 5.0: 4.4.0-2; 3.1.1: -
#[test]
fn what_the_client_refused_is_not_sent_again() {
    let broker = broker("");
    let hello = lasting("r", Version::V5);
    let mut wire = Wire::connect(&broker, &hello);
    wire.subscribe("t", 2);
    let mut publisher = Wire::v5(&broker, "publisher");
    publisher.deliver(&message("t", "1", 1, 1));
    publisher.deliver(&message("t", "2", 2, 2));
    wire.expect("PUBLISH t q1 #1 : 1");
    wire.expect("PUBLISH t q2 #2 : 2");
    wire.ack_with(PubAck, 1, ReasonCode::ImplementationSpecificError);
    wire.ack_with(PubRec, 2, ReasonCode::QuotaExceeded);
    wire.ping();
    wire.lose();
    Wire::connect(&broker, &hello).ping();
}

/// 5.0: 4.3.3-10 4.3.3-12 4.1.0-1; 3.1.1: 4.3.3-2 4.1.0-1
#[test]
fn qos_2_from_a_client_arrives_once_however_often_it_reconnects() {
    let broker = broker("");
    let mut watcher = Wire::v5(&broker, "watcher");
    watcher.subscribe("t", 0);
    for version in [Version::V5, Version::V311] {
        let hello = lasting("p", version);
        let mut wire = Wire::connect(&broker, &hello);
        wire.publish(&message("t", "once", 2, 4));
        wire.expect("PUBREC 4 success");
        wire.lose();
        for _ in 0..2 {
            let mut wire = Wire::connect(&broker, &hello);
            wire.publish(&Message {
                dup: true,
                ..message("t", "once", 2, 4)
            });
            wire.expect("PUBREC 4 success");
            wire.lose();
        }
        let mut wire = Wire::connect(&broker, &hello);
        wire.ack(PubRel, 4);
        wire.expect("PUBCOMP 4 success");
        wire.deliver(&message("t", "next", 2, 4));
        watcher.expect("PUBLISH t q0 : once");
        watcher.expect("PUBLISH t q0 : next");
        // A clean start forgets the identifier.
        wire.publish(&message("t", "left", 2, 5));
        wire.expect("PUBREC 5 success");
        wire.lose();
        watcher.expect("PUBLISH t q0 : left");
        let mut wire = Wire::connect(
            &broker,
            &Hello {
                id: "p",
                clean: true,
                version,
                ..V5
            },
        );
        wire.deliver(&message("t", "new", 2, 5));
        watcher.expect("PUBLISH t q0 : new");
        wire.leave();
    }
}

/// 5.0: 3.1.2-24 3.1.2-25; 3.1.1: -
#[test]
fn a_message_larger_than_the_client_takes_is_not_sent_to_it() {
    let broker = broker("");
    let small = [
        Property::MaximumPacketSize(60),
        Property::SessionExpiryInterval(1000),
    ];
    let hello = Hello {
        clean: false,
        properties: &small,
        ..V5
    };
    let mut wire = Wire::hello(&broker, &hello);
    wire.starts("CONNACK 0 success");
    wire.subscribe("t", 2);
    let mut publisher = Wire::v5(&broker, "publisher");
    let large = "x".repeat(60);
    for qos in 0..=2 {
        publisher.deliver(&message("t", &large, qos, 1));
    }
    publisher.deliver(&message("t", "fits", 1, 1));
    let id = wire.arrives("t", 1, ": fits");
    wire.ack(PubAck, id);
    // Nor when it waited.
    wire.ping();
    wire.leave();
    publisher.deliver(&message("t", &large, 1, 1));
    publisher.deliver(&message("t", "fits", 1, 1));
    let mut wire = Wire::connect(&broker, &hello);
    let id = wire.arrives("t", 1, ": fits");
    wire.ack(PubAck, id);
    // A SUBACK that does not fit ends the connection, a CONNACK that does not is not sent.
    let filters: Vec<(&str, u8)> = (0..60).map(|_| ("f", 0)).collect();
    wire.send_subscribe(1, &[], &filters);
    wire.ends(ReasonCode::PacketTooLarge);
    let tiny = [Property::MaximumPacketSize(10)];
    Wire::hello(
        &broker,
        &Hello {
            properties: &tiny,
            ..V5
        },
    )
    .expect("closed");
}
