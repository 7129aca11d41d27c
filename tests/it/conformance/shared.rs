//! Shared subscriptions: one member of a group gets each message.

use codec::AckKind::{PubAck, PubComp, PubRec};
use codec::{ReasonCode, Version};

use super::wire::{Wire, broker, lasting, message};

/// 5.0: 4.8.2-1 4.8.2-2 4.8.2-3
#[test]
fn each_message_goes_to_one_member_at_its_own_qos() {
    for strategy in [
        "round_robin",
        "random",
        "sticky",
        "hash_client",
        "hash_topic",
        "local",
    ] {
        let broker = broker(&format!("shared_strategy = \"{strategy}\""));
        let mut zero = Wire::v5(&broker, "zero");
        let mut one = Wire::v5(&broker, "one");
        zero.subscribe("$share/g/t/+", 0);
        one.subscribe("$share/g/t/+", 1);
        let mut plain = Wire::v5(&broker, "plain");
        plain.subscribe("t/+", 0);
        let mut publisher = Wire::v5(&broker, "publisher");
        for n in 0..20_u16 {
            publisher.deliver(&message(&format!("t/{}", n % 5), &n.to_string(), 1, n + 1));
        }
        publisher.deliver(&message("t/end", "end", 0, 0));
        let mut got = Vec::new();
        for n in 0..20 {
            plain.expect(&format!("PUBLISH t/{} q0 : {n}", n % 5));
        }
        for (wire, qos) in [(&mut zero, 0), (&mut one, 1)] {
            let mut bytes = Vec::new();
            codec::encode_pingreq(&mut bytes);
            // What was routed before the last of `plain` came is on its way to each of its shard; a message of its own
            // tells when everything from the publisher has arrived.
            wire.send_subscribe(9, &[], &[("mark", 0)]);
            publisher.publish(&message("nobody", "", 0, 0));
            wire.publish(&message("mark", "", 0, 0));
            loop {
                let line = wire.next();
                if line == "PUBLISH mark q0 : " {
                    break;
                }
                if line.starts_with("SUBACK") || line.contains("end") {
                    continue;
                }
                assert!(line.contains(&format!(" q{qos} ")), "{line}");
                if let Some(id) = line.split('#').nth(1).and_then(|rest| rest.split(' ').next()) {
                    wire.ack(PubAck, id.parse().expect("an id"));
                }
                got.push(
                    line.rsplit(" : ")
                        .next()
                        .and_then(|n| n.parse::<u32>().ok())
                        .expect("a number"),
                );
            }
        }
        got.sort_unstable();
        assert_eq!(got, (0..20).collect::<Vec<_>>(), "{strategy}");
    }
}

/// 5.0: 4.8.2-4 4.8.2-5 4.8.2-6
#[test]
fn a_member_that_has_begun_qos_2_finishes_it() {
    let broker = broker("");
    let mut first = Wire::connect(&broker, &lasting("first", Version::V5));
    first.subscribe("$share/g/t", 2);
    let mut publisher = Wire::v5(&broker, "publisher");
    publisher.deliver(&message("t", "begun", 2, 1));
    first.expect("PUBLISH t q2 #1 : begun");
    let mut second = Wire::v5(&broker, "second");
    second.subscribe("$share/g/t", 2);
    first.lose();
    // The other is there, so it gets what is new; what was begun waits for the first.
    publisher.deliver(&message("t", "new", 2, 2));
    second.expect("PUBLISH t q2 #1 : new");
    let mut first = Wire::connect(&broker, &lasting("first", Version::V5));
    first.expect("PUBLISH t q2 #1 dup : begun");
    first.ack(PubRec, 1);
    first.expect("PUBREL 1 success");
    first.ack(PubComp, 1);
    second.ack_with(PubRec, 1, ReasonCode::QuotaExceeded);
    second.ping();
    first.ping();
}
