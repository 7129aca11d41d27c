//! SUBSCRIBE and UNSUBSCRIBE: answers, options, overlaps, identifiers, limits.

use codec::{Property, ReasonCode};
use tests::broker::Setup;

use super::wire::{Hello, Message, V5, V311, Wire, broker, config, message};

const NO_LOCAL: u8 = 4;
const AS_PUBLISHED: u8 = 8;

/// 5.0: 3.8.4-1 3.8.4-2 3.8.4-5 3.8.4-6 3.8.4-7 3.9.3-1 3.9.3-2 2.2.1-6; 3.1.1: 3.8.4-1 3.8.4-2 3.8.4-4 3.8.4-5 3.9.3-1
/// 3.9.3-2 2.3.1-7
#[test]
fn each_filter_has_its_code_in_its_place() {
    let broker = Setup::new(&config("max_subscriptions = 4"))
        .acl("default all allow\ndeny subscribe to no/#\n")
        .start();
    let filters = [
        ("a", 2),
        ("no/x", 1),
        ("b", 0),
        ("c/#", 1),
        ("no/y", 0),
        ("a", 1),
        ("d", 0),
        ("e", 0),
    ];
    let mut wire = Wire::connect(&broker, &V5);
    wire.send_subscribe(513, &[], &filters);
    wire.starts("SUBACK 513 [2, 135, 0, 1, 135, 1, 0, 151]");
    let mut wire = Wire::connect(&broker, &V311);
    wire.send_subscribe(513, &[], &filters);
    wire.expect("SUBACK 513 [2, 128, 0, 1, 128, 1, 0, 128]");
}

/// 5.0: 3.8.4-3 3.8.4-4 3.8.4-8; 3.1.1: 3.8.4-3 3.8.4-6
#[test]
fn subscribing_again_replaces() {
    let broker = broker("");
    for hello in [V5, V311] {
        let mut wire = Wire::connect(&broker, &hello);
        wire.publish(&Message {
            retain: true,
            ..message("t", "kept", 0, 0)
        });
        wire.subscribe("t", 0);
        wire.expect("PUBLISH t q0 retain : kept");
        wire.subscribe("t", 1);
        wire.expect("PUBLISH t q0 retain : kept");
        let mut publisher = Wire::v5(&broker, "publisher");
        publisher.deliver(&message("t", "one copy", 2, 1));
        wire.expect("PUBLISH t q1 #1 : one copy");
        wire.ping();
        wire.subscribe("t", 0);
        wire.expect("PUBLISH t q0 retain : kept");
        publisher.deliver(&message("t", "lower", 2, 1));
        wire.expect("PUBLISH t q0 : lower");
    }
}

/// 5.0: 3.3.4-2 3.3.4-3 3.3.4-4 3.3.4-5; 3.1.1: 3.3.5-1
#[test]
fn overlapping_subscriptions_are_one_copy_at_the_highest_qos_with_all_identifiers() {
    let broker = broker("");
    let mut wire = Wire::connect(&broker, &V5);
    for (filter, qos, id) in [("t/#", 0, 1), ("t/+", 2, 268_435_455), ("+/x", 1, 7)] {
        wire.send_subscribe(1, &[Property::SubscriptionIdentifier(id)], &[(filter, qos)]);
        wire.expect(&format!("SUBACK 1 [{qos}]"));
    }
    wire.subscribe("#", 1);
    let mut old = Wire::connect(&broker, &Hello { id: "old", ..V311 });
    old.subscribe("t/#", 0);
    old.subscribe("t/x", 1);
    let mut publisher = Wire::v5(&broker, "publisher");
    publisher.deliver(&message("t/x", "", 2, 1));
    let line = wire.starts("PUBLISH t/x q2 #1 ");
    for id in [1, 7, 268_435_455] {
        assert!(
            line.contains(&format!(" SubscriptionIdentifier({id}) ")),
            "{line}"
        );
    }
    old.expect("PUBLISH t/x q1 #1 : ");
    publisher.deliver(&message("u/x", "", 0, 1));
    wire.expect("PUBLISH u/x q0 SubscriptionIdentifier(7) : ");
    publisher.deliver(&message("v", "", 0, 1));
    wire.expect("PUBLISH v q0 : ");
    // A new SUBSCRIBE without one takes the identifier away.
    wire.subscribe("+/x", 0);
    publisher.deliver(&message("u/x", "", 0, 1));
    wire.expect("PUBLISH u/x q0 : ");
    old.ping();
}

/// 5.0: 3.8.3-3; 3.1.1: -
#[test]
fn no_local_keeps_ones_own_messages_away() {
    let broker = broker("");
    let mut wire = Wire::connect(&broker, &V5);
    wire.publish(&Message {
        retain: true,
        ..message("own", "kept", 0, 0)
    });
    wire.subscribe("own", NO_LOCAL);
    let mut other = Wire::v5(&broker, "other");
    wire.publish(&message("own", "mine", 0, 0));
    wire.ping();
    other.publish(&message("own", "theirs", 0, 0));
    wire.expect("PUBLISH own q0 : theirs");
    // Another subscription without it lets them through.
    wire.subscribe("#", 0);
    wire.expect("PUBLISH own q0 retain : kept");
    wire.publish(&message("own", "mine", 0, 0));
    wire.expect("PUBLISH own q0 : mine");
}

/// 5.0: 3.3.1-12 3.3.1-13; 3.1.1: 3.3.1-9
#[test]
fn the_retain_flag_is_kept_only_where_it_was_asked_for() {
    let broker = broker("");
    let mut plain = Wire::v5(&broker, "plain");
    plain.subscribe("t", 0);
    let mut keeps = Wire::v5(&broker, "keeps");
    keeps.subscribe("t", AS_PUBLISHED);
    let mut old = Wire::connect(&broker, &Hello { id: "old", ..V311 });
    old.subscribe("t", 0);
    let mut publisher = Wire::v5(&broker, "publisher");
    publisher.publish(&Message {
        retain: true,
        ..message("t", "1", 0, 0)
    });
    publisher.publish(&message("t", "2", 0, 0));
    for (wire, flag) in [(&mut plain, ""), (&mut keeps, " retain"), (&mut old, "")] {
        wire.expect(&format!("PUBLISH t q0{flag} : 1"));
        wire.expect("PUBLISH t q0 : 2");
    }
}

/// 5.0: 3.10.4-1 3.10.4-2 3.10.4-4 3.10.4-5 3.10.4-6 3.11.3-1 3.11.3-2 2.2.1-6; 3.1.1: 3.10.4-1 3.10.4-2 3.10.4-4
/// 3.10.4-5 3.10.4-6 2.3.1-7
#[test]
fn unsubscribing_takes_exactly_the_filter_away() {
    let broker = broker("");
    for (hello, codes) in [(V5, "[0, 17, 17, 0]"), (V311, "[]")] {
        let mut wire = Wire::connect(&broker, &hello);
        for filter in ["a/+", "a/#", "b", "$share/g/b"] {
            wire.subscribe(filter, 0);
        }
        wire.unsubscribe(700, &["a/+", "a/x", "B", "$share/g/b"]);
        wire.expect(&format!("UNSUBACK 700 {codes}"));
        let mut publisher = Wire::v5(&broker, "publisher");
        publisher.deliver(&message("a/x", "", 1, 1));
        wire.expect("PUBLISH a/x q0 : ");
        wire.unsubscribe(701, &["a/#"]);
        wire.starts("UNSUBACK 701 ");
        publisher.deliver(&message("a/x", "", 1, 1));
        publisher.deliver(&message("b", "", 1, 1));
        wire.expect("PUBLISH b q0 : ");
        wire.ping();
    }
}

/// 5.0: 3.10.4-3; 3.1.1: 3.10.4-3
#[test]
fn what_was_being_sent_is_finished_after_unsubscribing() {
    let broker = broker("");
    let mut wire = Wire::connect(&broker, &super::wire::lasting("c", codec::Version::V5));
    wire.subscribe("t", 2);
    let mut publisher = Wire::v5(&broker, "publisher");
    publisher.deliver(&message("t", "x", 2, 1));
    wire.expect("PUBLISH t q2 #1 : x");
    wire.unsubscribe(1, &["t"]);
    wire.expect("UNSUBACK 1 [0]");
    wire.lose();
    let mut wire = Wire::connect(&broker, &super::wire::lasting("c", codec::Version::V5));
    wire.expect("PUBLISH t q2 #1 dup : x");
    wire.ack(codec::AckKind::PubRec, 1);
    wire.expect("PUBREL 1 success");
    wire.ack(codec::AckKind::PubComp, 1);
    wire.ping();
}

/// 5.0: 3.12.4-1; 3.1.1: 3.12.4-1
#[test]
fn a_ping_is_answered() {
    let broker = broker("");
    for hello in [V5, V311] {
        Wire::connect(&broker, &hello).ping();
    }
}

/// 5.0: 3.8.3-4; 3.1.1: -
#[test]
fn no_local_and_sharing_exclude_each_other() {
    let broker = broker("");
    let mut wire = Wire::connect(&broker, &V5);
    wire.send_subscribe(1, &[], &[("$share/g/t", NO_LOCAL)]);
    wire.ends(ReasonCode::ProtocolError);
}
