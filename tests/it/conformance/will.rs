//! Wills: when they are published and when not.

use codec::{Property, ReasonCode, Version};
use tests::broker::Broker;

use super::wire::{Hello, V5, V311, Will, Wire, broker, message};

const WILL: Will<'static> = Will {
    topic: "will",
    payload: "gone",
    qos: 1,
    retain: false,
    properties: &[],
};

fn watcher(broker: &Broker) -> Wire {
    let mut watcher = Wire::v5(broker, "watcher");
    watcher.subscribe("#", 2);
    watcher
}

/// The next message is this one, and nothing came before.
#[track_caller]
fn only_mark(watcher: &mut Wire) {
    watcher.publish(&message("mark", "", 0, 0));
    watcher.expect("PUBLISH mark q0 : ");
}

/// 5.0: 3.1.2-7 3.1.2-8 3.1.2-10 3.1.2-14 3.14.4-3; 3.1.1: 3.1.2-8 3.1.2-10 3.1.2-12 3.1.2-16 3.14.4-3
#[test]
fn a_will_is_published_unless_the_client_says_goodbye() {
    let broker = broker("");
    for hello in [V5, V311] {
        let mut watcher = watcher(&broker);
        let with = Hello {
            will: Some(WILL),
            ..hello
        };
        Wire::connect(&broker, &with).lose();
        watcher.expect("PUBLISH will q1 #1 : gone");
        Wire::connect(&broker, &with).leave();
        only_mark(&mut watcher);
        // It is gone with its connection: the next one has none.
        Wire::connect(&broker, &hello).lose();
        only_mark(&mut watcher);
        // A protocol error is no goodbye.
        let mut wire = Wire::connect(&broker, &with);
        wire.send(&[0xC1, 0]);
        wire.ends(ReasonCode::MalformedPacket);
        watcher.expect("PUBLISH will q1 #2 : gone");
    }
}

/// 5.0: 3.14.4-3 3.1.2-8; 3.1.1: -
#[test]
fn disconnect_with_a_reason_may_ask_for_the_will() {
    let broker = broker("");
    let mut watcher = watcher(&broker);
    for (reason, published) in [
        (ReasonCode::DisconnectWithWill, true),
        (ReasonCode::UnspecifiedError, true),
        (ReasonCode::Success, false),
    ] {
        let mut wire = Wire::connect(
            &broker,
            &Hello {
                will: Some(Will { qos: 0, ..WILL }),
                ..V5
            },
        );
        wire.disconnect(reason, &[]);
        wire.expect("closed");
        if published {
            watcher.expect("PUBLISH will q0 : gone");
        }
        only_mark(&mut watcher);
    }
}

/// 5.0: 3.1.2-15; 3.1.1: 3.1.2-17
#[test]
fn a_will_can_be_retained() {
    let broker = broker("");
    for hello in [V5, V311] {
        Wire::connect(
            &broker,
            &Hello {
                will: Some(Will { retain: true, ..WILL }),
                ..hello
            },
        )
        .lose();
        let mut later = Wire::v5(&broker, "later");
        later.subscribe("will", 0);
        later.expect("PUBLISH will q0 retain : gone");
    }
}

/// 5.0: 3.1.3-10 3.1.2-9; 3.1.1: -
#[test]
fn a_will_keeps_its_properties_in_order() {
    let broker = broker("");
    let mut watcher = watcher(&broker);
    let properties = [
        Property::UserProperty("z", "1"),
        Property::MessageExpiryInterval(77),
        Property::ContentType("x/y"),
        Property::UserProperty("a", "2"),
        Property::WillDelayInterval(0),
    ];
    let will = Will {
        properties: &properties,
        qos: 0,
        ..WILL
    };
    Wire::connect(
        &broker,
        &Hello {
            will: Some(will),
            ..V5
        },
    )
    .lose();
    watcher.expect(
        "PUBLISH will q0 MessageExpiryInterval(77) UserProperty(\"z\", \"1\") ContentType(\"x/y\") UserProperty(\"a\", \
         \"2\") : gone",
    );
}

/// 5.0: 3.1.2-8 3.1.3-9; 3.1.1: -
#[test]
fn a_delayed_will_waits_for_the_client_to_come_back() {
    let broker = broker("");
    let mut watcher = watcher(&broker);
    let delayed = [Property::WillDelayInterval(1)];
    let keep = [Property::SessionExpiryInterval(1000)];
    let with = |id, topic, delay: &'static [Property<'static>], keep| Hello {
        id,
        clean: false,
        will: Some(Will {
            topic,
            qos: 0,
            properties: delay,
            ..WILL
        }),
        properties: keep,
        ..V5
    };
    // Back in time: no Will; the new connection has none of its own.
    Wire::connect(&broker, &with("back", "will/back", delayed_for_a_second(), &keep)).lose();
    Wire::connect(
        &broker,
        &Hello {
            id: "back",
            clean: false,
            properties: &keep,
            ..V5
        },
    )
    .ping();
    // The session ends before the delay: then at once.
    Wire::connect(&broker, &with("short", "will/short", delayed_for_a_second(), &[])).lose();
    watcher.expect("PUBLISH will/short q0 : gone");
    // A clean start ends the session too.
    Wire::connect(
        &broker,
        &with("clean", "will/clean", delayed_for_a_second(), &keep),
    )
    .lose();
    Wire::connect(&broker, &Hello { id: "clean", ..V5 }).ping();
    watcher.expect("PUBLISH will/clean q0 : gone");
    let began = std::time::Instant::now();
    let _ = delayed;
    Wire::connect(&broker, &with("late", "will/late", delayed_for_a_second(), &keep)).lose();
    watcher.expect("PUBLISH will/late q0 : gone");
    assert!(began.elapsed().as_millis() >= 1000, "{:?}", began.elapsed());
    only_mark(&mut watcher);
}

fn delayed_for_a_second() -> &'static [Property<'static>] {
    &[Property::WillDelayInterval(1)]
}

/// 5.0: 3.1.2-8 3.1.4-3; 3.1.1: 3.1.2-8 3.1.4-2
#[test]
fn takeover_and_kick_publish_the_will() {
    let broker = broker("");
    for version in [Version::V5, Version::V311] {
        let mut watcher = watcher(&broker);
        let with = Hello {
            version,
            will: Some(Will { qos: 0, ..WILL }),
            ..V5
        };
        let _old = Wire::connect(&broker, &with);
        let _new = Wire::connect(
            &broker,
            &Hello {
                will: Some(Will {
                    qos: 0,
                    topic: "new",
                    ..WILL
                }),
                ..with
            },
        );
        watcher.expect("PUBLISH will q0 : gone");
        assert_eq!(broker.ctl(&["clients", "kick", "c"]).code, 0);
        watcher.expect("PUBLISH new q0 : gone");
    }
}
