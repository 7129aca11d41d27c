//! Retained messages: what is kept, and who gets it when.

use tests::broker::Broker;

use super::wire::{Hello, Message, V5, V311, Wire, broker, config, message};

const IF_NEW: u8 = 0x10;
const NEVER: u8 = 0x20;

fn retained<'a>(topic: &'a str, payload: &'a str, qos: u8) -> Message<'a> {
    Message {
        retain: true,
        ..message(topic, payload, qos, 1)
    }
}

/// 5.0: 3.3.1-5 3.3.1-6 3.3.1-7 3.3.1-8; 3.1.1: 3.3.1-5 3.3.1-6 3.3.1-7 3.3.1-8 3.3.1-10 3.3.1-11 3.3.1-12
#[test]
fn the_last_retained_message_is_kept_until_an_empty_one_comes() {
    let broker = broker("");
    for hello in [V5, V311] {
        let mut publisher = Wire::connect(
            &broker,
            &Hello {
                id: "publisher",
                ..hello
            },
        );
        let mut live = Wire::v5(&broker, "live");
        live.subscribe("t", 0);
        let later = || {
            let mut wire = Wire::connect(&broker, &Hello { id: "later", ..hello });
            wire.subscribe("t", 1);
            wire
        };
        publisher.deliver(&retained("t", "1", 2));
        later().expect("PUBLISH t q1 #1 retain : 1");
        publisher.deliver(&retained("t", "2", 0));
        publisher.deliver(&message("t", "not kept", 1, 1));
        later().expect("PUBLISH t q0 retain : 2");
        publisher.deliver(&retained("t", "", 1));
        later().ping();
        for payload in ["1", "2", "not kept", ""] {
            live.expect(&format!("PUBLISH t q0 : {payload}"));
        }
    }
}

/// 5.0: 3.3.1-9 3.3.1-10 3.3.1-11 3.8.4-4; 3.1.1: 3.3.1-6
#[test]
fn retain_handling_says_when_they_are_sent() {
    let broker = broker("");
    let mut wire = Wire::connect(&broker, &V5);
    wire.publish(&retained("t/x", "x", 0));
    wire.publish(&retained("t/y", "y", 0));
    wire.publish(&retained("$own/y", "y", 0));
    // (filter, options, whether the retained messages come)
    for (filter, options, sent) in [
        ("t/#", IF_NEW, true),
        ("t/#", IF_NEW, false),
        ("t/#", 0, true),
        ("t/#", NEVER, false),
        ("#", NEVER, false),
        ("#", IF_NEW, false),
        ("+/+", IF_NEW | 1, true),
        ("$share/g/t/#", 0, false),
    ] {
        wire.subscribe(filter, options);
        if sent {
            let mut got = [wire.next(), wire.next()];
            got.sort();
            assert_eq!(
                got,
                ["PUBLISH t/x q0 retain : x", "PUBLISH t/y q0 retain : y"],
                "{filter}"
            );
        }
        wire.ping();
    }
}

/// 5.0: 3.3.1-9; 3.1.1: 3.3.1-6
#[test]
fn thousands_come_in_portions_to_a_client_that_stays_served() {
    let broker = broker("");
    let mut publisher = Wire::v5(&broker, "publisher");
    for n in 0..2000 {
        publisher.publish(&retained(&format!("many/{n:04}"), "x", 0));
    }
    publisher.ping();
    let mut wire = Wire::connect(&broker, &V5);
    wire.subscribe("many/#", 0);
    let mut bytes = Vec::new();
    codec::encode_pingreq(&mut bytes);
    wire.send(&bytes);
    let (mut count, mut pinged) = (0, None);
    while count < 2000 || pinged.is_none() {
        match wire.next().as_str() {
            "PINGRESP" => pinged = Some(count),
            line => {
                assert_eq!(line, format!("PUBLISH many/{count:04} q0 retain : x"));
                count += 1;
            }
        }
    }
    wire.ping();
}

/// 5.0: 3.4.2-1; 3.1.1: -
#[test]
fn beyond_the_limit_nothing_more_is_kept() {
    let broker = Broker::start(&format!("{}[store]\nmax_retained_messages = 1\n", config("")));
    let mut wire = Wire::connect(&broker, &V5);
    wire.publish(&retained("a", "1", 1));
    wire.expect("PUBACK 1 no_matching_subscribers");
    wire.publish(&retained("b", "1", 1));
    wire.expect("PUBACK 1 quota_exceeded ReasonString(\"a limit is reached\")");
    wire.publish(&retained("a", "2", 1));
    wire.expect("PUBACK 1 no_matching_subscribers");
    wire.subscribe("#", 0);
    wire.expect("PUBLISH a q0 retain : 2");
    wire.ping();
}
