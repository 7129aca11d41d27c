//! PUBLISH from one client to others: what is forwarded unaltered, what is not, aliases, expiry.

use codec::{Property, ReasonCode, Version};

use super::wire::{Hello, MESSAGE, Message, V5, Will, Wire, broker, lasting, message};

/// 5.0: 3.3.2-4 3.3.2-15 3.3.2-16 3.3.2-17 3.3.2-18 3.3.2-20 4.7.3-4 3.3.2-3; 3.1.1: 3.3.2-3 4.7.3-4
#[test]
fn properties_are_forwarded_unaltered_and_in_order() {
    let broker = broker("");
    let mut new = Wire::v5(&broker, "new");
    let mut old = Wire::connect(
        &broker,
        &Hello {
            id: "old",
            ..super::wire::V311
        },
    );
    new.subscribe("A/ä/#", 0);
    old.subscribe("A/ä/#", 0);
    let mut publisher = Wire::v5(&broker, "publisher");
    publisher.publish(&Message {
        properties: &[
            Property::UserProperty("b", "1"),
            Property::ContentType("text/plain"),
            Property::UserProperty("a", "2"),
            Property::ResponseTopic("re/ply"),
            Property::CorrelationData(b"\x00\xff"),
            Property::UserProperty("b", "1"),
            Property::PayloadFormatIndicator(true),
        ],
        ..message("A/ä/B", "päyload", 0, 0)
    });
    new.expect(
        "PUBLISH A/ä/B q0 UserProperty(\"b\", \"1\") ContentType(\"text/plain\") UserProperty(\"a\", \"2\") \
         ResponseTopic(\"re/ply\") CorrelationData([0, 255]) UserProperty(\"b\", \"1\") PayloadFormatIndicator(true) : \
         päyload",
    );
    old.expect("PUBLISH A/ä/B q0 : päyload");
}

/// 5.0: 3.3.1-3; 3.1.1: 3.3.1-3
#[test]
fn a_publishers_dup_flag_is_its_own_affair() {
    let broker = broker("");
    let mut wire = Wire::v5(&broker, "c");
    wire.subscribe("t", 1);
    wire.publish(&Message {
        dup: true,
        ..message("t", "x", 1, 5)
    });
    let mut got = [wire.next(), wire.next()];
    got.sort();
    assert_eq!(got, ["PUBACK 5 success", "PUBLISH t q1 #1 : x"]);
}

/// 5.0: 3.3.2-5 3.3.2-6 4.3.3-13
#[test]
fn messages_expire_while_they_wait_and_tell_what_is_left() {
    let broker = broker("");
    let mut away = Wire::connect(&broker, &lasting("away", Version::V5));
    away.subscribe("t/#", 2);
    away.leave();
    let mut publisher = Wire::v5(&broker, "publisher");
    publisher.subscribe("clock", 0);
    for (n, expiry) in [(1, Some(1)), (2, Some(1000)), (3, None)] {
        let text = n.to_string();
        publisher.deliver(&Message {
            expiry,
            retain: n == 1,
            ..message(&format!("t/{n}"), &text, 2, n)
        });
    }
    // A clock that tells when 2 seconds have passed: a delayed Will.
    let clock = Hello {
        id: "clock",
        will: Some(Will {
            topic: "clock",
            payload: "",
            qos: 0,
            retain: false,
            properties: &[Property::WillDelayInterval(2)],
        }),
        ..lasting("clock", Version::V5)
    };
    Wire::connect(&broker, &clock).lose();
    publisher.expect("PUBLISH clock q0 : ");
    let mut back = Wire::connect(&broker, &lasting("away", Version::V5));
    let second = back.starts("PUBLISH t/2 q2 #1 MessageExpiryInterval(");
    let left = second
        .split(['(', ')'])
        .nth(1)
        .and_then(|n| n.parse::<u32>().ok());
    assert!(left.is_some_and(|n| (960..=998).contains(&n)), "{second}");
    back.expect("PUBLISH t/3 q2 #2 : 3");
    // The retained one has expired too.
    back.send_subscribe(3, &[], &[("t/1", 0)]);
    back.expect("SUBACK 3 [0]");
    back.ping();
}

/// 5.0: 3.3.2-8 3.3.2-9 3.3.2-12 3.3.2-7
#[test]
fn aliases_of_a_client_hold_for_its_connection() {
    let broker = broker("max_topic_alias = 2");
    let mut watcher = Wire::v5(&broker, "watcher");
    watcher.subscribe("#", 0);
    let aliased = |topic, alias, payload| Message {
        alias: Some(alias),
        ..message(topic, payload, 0, 0)
    };
    let mut wire = Wire::v5(&broker, "c");
    for step in [
        aliased("a", 1, "1"),
        aliased("b", 2, "2"),
        aliased("", 1, "3"),
        aliased("c", 1, "4"),
        aliased("", 1, "5"),
    ] {
        wire.publish(&step);
    }
    for line in ["a q0 : 1", "b q0 : 2", "a q0 : 3", "c q0 : 4", "c q0 : 5"] {
        watcher.expect(&format!("PUBLISH {line}"));
    }
    wire.publish(&aliased("d", 3, ""));
    wire.ends(ReasonCode::TopicAliasInvalid);
    let mut wire = Wire::v5(&broker, "c");
    wire.publish(&aliased("", 1, ""));
    wire.ends(ReasonCode::ProtocolError);
}

/// 5.0: 3.1.2-26 3.1.2-27 3.3.2-11
#[test]
fn aliases_are_used_towards_clients_that_allow_them() {
    let broker = broker("");
    let mut wire = Wire::connect(
        &broker,
        &Hello {
            properties: &[Property::TopicAliasMaximum(1)],
            ..V5
        },
    );
    wire.subscribe("#", 0);
    let mut plain = Wire::v5(&broker, "plain");
    plain.subscribe("#", 0);
    for topic in ["topic/one", "topic/two", "topic/one", "topic/two"] {
        plain.publish(&Message { topic, ..MESSAGE });
    }
    for line in [
        "topic/one q0 TopicAlias(1)",
        "topic/two q0",
        " q0 TopicAlias(1)",
        "topic/two q0",
    ] {
        wire.expect(&format!("PUBLISH {line} : "));
    }
    for topic in ["topic/one", "topic/two", "topic/one", "topic/two"] {
        plain.expect(&format!("PUBLISH {topic} q0 : "));
    }
}

/// 5.0: 4.7.2-1; 3.1.1: 4.7.2-1
#[test]
fn leading_wildcards_do_not_match_dollar_topics() {
    let broker = broker("");
    let mut wire = Wire::v5(&broker, "c");
    for filter in ["#", "+/x", "+/+", "+/#"] {
        wire.subscribe(filter, 0);
    }
    let mut dollar = Wire::v5(&broker, "dollar");
    dollar.subscribe("$own/#", 0);
    dollar.publish(&Message {
        topic: "$own/x",
        ..MESSAGE
    });
    dollar.publish(&Message {
        topic: "own/x",
        ..MESSAGE
    });
    dollar.expect("PUBLISH $own/x q0 : ");
    wire.expect("PUBLISH own/x q0 : ");
}

/// 5.0: 3.4.2-1 3.5.2-1
#[test]
fn a_publish_that_is_not_accepted_is_answered_with_the_reason() {
    let broker = tests::broker::Setup::new(&super::wire::config(""))
        .acl("default all allow\ndeny publish to no/#\n")
        .start();
    let mut wire = Wire::v5(&broker, "c");
    for topic in ["no/x", "$SYS/x"] {
        wire.publish(&message(topic, "", 1, 1));
        wire.expect("PUBACK 1 not_authorized ReasonString(\"a rule denies it\")");
        wire.publish(&message(topic, "", 2, 2));
        wire.expect("PUBREC 2 not_authorized ReasonString(\"a rule denies it\")");
        // [MQTT-4.3.3-9]: the identifier is free, the same packet is a new message.
        wire.publish(&message(topic, "", 2, 2));
        wire.expect("PUBREC 2 not_authorized ReasonString(\"a rule denies it\")");
    }
    wire.publish(&message("nobody", "", 1, 3));
    wire.expect("PUBACK 3 no_matching_subscribers");
    wire.publish(&Message {
        properties: &[Property::PayloadFormatIndicator(true)],
        ..message("t", "fine", 1, 4)
    });
    wire.expect("PUBACK 4 no_matching_subscribers");
    // Before MQTT 5 there is no word for it.
    let mut old = Wire::connect(&broker, &super::wire::V311);
    old.publish(&message("no/x", "", 1, 1));
    old.expect("PUBACK 1 success");
    old.deliver(&message("no/x", "", 2, 2));
}
