//! Sessions: what they keep while their client is away, for how long, and how they end.

use codec::AckKind::PubAck;
use codec::{Property, ReasonCode, Version};
use tests::broker::Broker;
use tests::wait::until;

use super::wire::{Hello, V5, V311, Wire, broker, lasting, message};

/// True if the broker still has a session of this id.
fn remembers(broker: &Broker, id: &str) -> bool {
    broker.ctl(&["sessions", "show", id]).code == 0
}

/// 5.0: 3.1.2-5 3.1.2-23 4.5.0-1 4.6.0-6; 3.1.1: 3.1.2-5 4.5.0-1 4.6.0-6
#[test]
fn messages_wait_for_an_absent_client_in_order() {
    let broker = broker("");
    for version in [Version::V5, Version::V311] {
        let hello = lasting("away", version);
        let mut wire = Wire::connect(&broker, &hello);
        wire.subscribe("t/#", 1);
        wire.leave();
        let mut publisher = Wire::v5(&broker, "publisher");
        publisher.deliver(&message("t/0", "qos 0", 0, 0));
        for n in 1..=5 {
            publisher.deliver(&message("t/x", &n.to_string(), 2, n));
        }
        let mut wire = Wire::connect(&broker, &hello);
        for n in 1..=5 {
            wire.expect(&format!("PUBLISH t/x q1 #{n} : {n}"));
            wire.ack(PubAck, n);
        }
        wire.ping();
        wire.leave();
        Wire::connect(&broker, &Hello { id: "away", ..V311 }).leave();
        assert!(!remembers(&broker, "away"));
    }
}

/// 5.0: 3.1.2-4; 3.1.1: 3.1.2-6 3.1.2-7
#[test]
fn a_clean_start_forgets_everything_but_retained_messages() {
    let broker = broker("");
    for version in [Version::V5, Version::V311] {
        let hello = lasting("c", version);
        let mut wire = Wire::connect(&broker, &hello);
        wire.subscribe("t", 1);
        wire.publish(&super::wire::Message {
            retain: true,
            ..message("kept", "k", 0, 0)
        });
        wire.ping();
        wire.leave();
        let mut publisher = Wire::v5(&broker, "publisher");
        publisher.deliver(&message("t", "waits", 1, 1));
        Wire::connect(&broker, &Hello { clean: true, ..hello }).leave();
        let mut wire = Wire::connect(&broker, &hello);
        publisher.deliver(&message("t", "again", 1, 1));
        wire.ping();
        wire.send_subscribe(7, &[], &[("kept", 0)]);
        let mut got = [wire.next(), wire.next()];
        got.sort();
        assert_eq!(got, ["PUBLISH kept q0 retain : k", "SUBACK 7 [0]"]);
        wire.leave();
        Wire::connect(&broker, &V5).leave();
    }
}

/// 5.0: 4.1.0-2 3.1.2-23; 3.1.1: -
#[test]
fn a_session_lasts_as_long_as_its_expiry_says() {
    let broker = broker("");
    let second = [Property::SessionExpiryInterval(1)];
    let with = |id, properties| Hello {
        id,
        clean: false,
        properties,
        ..V5
    };
    // 0 and absent: as long as the connection.
    Wire::connect(&broker, &with("none", &[])).leave();
    assert!(!remembers(&broker, "none"));
    Wire::connect(&broker, &with("none", &[])).lose();
    assert!(!remembers(&broker, "none"));
    // Counted from the end of the connection, not its begin.
    let wire = Wire::connect(&broker, &with("one", &second));
    Wire::connect(&broker, &with("two", &second)).leave();
    until("the session of two to expire", || {
        (!remembers(&broker, "two")).then_some(())
    });
    assert!(remembers(&broker, "one"), "it is connected");
    wire.leave();
    assert!(remembers(&broker, "one"));
    until("the session of one to expire", || {
        (!remembers(&broker, "one")).then_some(())
    });
    let mut wire = Wire::hello(&broker, &with("one", &second));
    wire.starts("CONNACK 0 success");
}

/// 5.0: 3.14.2-2 3.1.2-23; 3.1.1: -
#[test]
fn disconnect_changes_how_long_the_session_lasts() {
    let broker = broker("");
    let keep = lasting("s", Version::V5);
    let mut wire = Wire::connect(&broker, &keep);
    wire.disconnect(ReasonCode::Success, &[Property::SessionExpiryInterval(0)]);
    wire.expect("closed");
    assert!(!remembers(&broker, "s"));
    let mut wire = Wire::connect(
        &broker,
        &Hello {
            properties: &[Property::SessionExpiryInterval(1)],
            ..keep
        },
    );
    wire.disconnect(ReasonCode::Success, &[Property::SessionExpiryInterval(1000)]);
    wire.expect("closed");
    let mut wire = Wire::hello(&broker, &keep);
    wire.starts("CONNACK 1 success");
}

/// 5.0: 3.2.2-3; 3.1.1: -
#[test]
fn an_expiry_beyond_the_limit_is_shortened_and_told() {
    let broker = Broker::start(&format!(
        "{}[session]\nexpiry_max = \"100s\"\n",
        super::wire::config("")
    ));
    for (asked, told) in [(99, None), (100, None), (101, Some(100)), (u32::MAX, Some(100))] {
        let properties = [Property::SessionExpiryInterval(asked)];
        let answer = Wire::hello(
            &broker,
            &Hello {
                properties: &properties,
                ..V5
            },
        )
        .next();
        let found = answer
            .split(' ')
            .find(|word| word.starts_with("SessionExpiryInterval"));
        let wanted = told.map(|seconds: u32| format!("SessionExpiryInterval({seconds})"));
        assert_eq!(found, wanted.as_deref(), "{answer}");
    }
}

/// 5.0: 3.1.4-3 3.1.2-5; 3.1.1: 3.1.4-2
#[test]
fn a_takeover_keeps_the_session_and_what_is_in_flight() {
    let broker = broker("");
    let hello = lasting("c", Version::V5);
    let mut first = Wire::connect(&broker, &hello);
    first.subscribe("t", 1);
    let mut publisher = Wire::v5(&broker, "publisher");
    publisher.deliver(&message("t", "1", 1, 1));
    first.expect("PUBLISH t q1 #1 : 1");
    let mut second = Wire::hello(&broker, &hello);
    first.ends(ReasonCode::SessionTakenOver);
    second.starts("CONNACK 1 success");
    second.expect("PUBLISH t q1 #1 dup : 1");
    publisher.deliver(&message("t", "2", 1, 1));
    second.expect("PUBLISH t q1 #2 : 2");
}

/// 5.0: 4.5.0-1; 3.1.1: 3.1.2-5
#[test]
fn a_full_queue_drops_as_configured() {
    for (policy, left) in [("drop_oldest", ["2", "3"]), ("drop_newest", ["1", "2"])] {
        let broker = broker(&format!("max_queued_messages = 2\nqueue_full = \"{policy}\""));
        let hello = lasting("away", Version::V5);
        let mut wire = Wire::connect(&broker, &hello);
        wire.subscribe("t", 1);
        wire.leave();
        let mut publisher = Wire::v5(&broker, "publisher");
        for n in 1..=3 {
            publisher.deliver(&message("t", &n.to_string(), 1, n));
        }
        let mut wire = Wire::connect(&broker, &hello);
        for (n, text) in left.iter().enumerate() {
            wire.expect(&format!("PUBLISH t q1 #{} : {text}", n + 1));
        }
        wire.ping();
    }
}
