//! What else is kept: bans, retained messages, expiry that goes on while the broker is down, and what a full store says.

use codec::{ReasonCode, Version};
use tests::broker::Broker;
use tests::client::{Login, Reply};
use tests::wait::until;

const CONFIG: &str = "[listeners.tcp]\ntransport = \"tcp\"\nbind = \"127.0.0.1:0\"\n";

fn durable(id: &str, expiry: u32) -> Login<'_> {
    Login {
        clean: false,
        expiry,
        ..Login::new(id)
    }
}

#[test]
fn bans_retained_messages_and_sessions_survive_kill_9() {
    let broker = Broker::start(CONFIG);
    let mut client = broker.dial("tcp").login(&durable("dev-7", 3600));
    assert_eq!(client.subscribe("plant/#", 1), 1);
    client.disconnect();
    let mut publisher = broker.dial("tcp").client("pub");
    assert_eq!(publisher.publish("plant/a", "kept", 1, true), ReasonCode::Success);
    assert_eq!(publisher.publish("plant/b", "gone", 1, true), ReasonCode::Success);
    assert_eq!(broker.ctl(&["retained", "delete", "plant/b"]).code, 0);
    assert_eq!(broker.ctl(&["ban", "add", "client:evil*"]).code, 0);
    assert_eq!(broker.ctl(&["ban", "add", "client:good"]).code, 0);
    assert_eq!(broker.ctl(&["ban", "del", "client:good"]).code, 0);
    // Everything before it in that log is safe with it.
    assert_eq!(
        publisher.publish("x", "last", 1, true),
        ReasonCode::NoMatchingSubscribers
    );

    let broker = broker.kill().start();
    let refused = broker.dial("tcp").try_login(&Login::new("evil-1")).err();
    assert_eq!(refused, Some(Reply::ConnAck(false, ReasonCode::Banned)));
    broker.dial("tcp").client("good").disconnect();
    assert_eq!(broker.ctl(&["retained", "show", "plant/a"]).code, 0);
    assert_ne!(broker.ctl(&["retained", "show", "plant/b"]).code, 0);
    let sessions = broker.ctl_json(&["sessions", "list"]);
    assert!(sessions.to_string().contains("dev-7"), "{sessions}");
    let store = broker.ctl_json(&["store", "stat"]);
    assert!(store.to_string().contains("queue"), "{store}");

    assert_eq!(broker.ctl(&["sessions", "drop", "dev-7"]).code, 0);
    assert!(!broker.dial("tcp").login(&durable("dev-7", 3600)).session_present);
}

#[test]
fn a_session_expires_while_the_broker_is_down() {
    let broker = Broker::start(CONFIG);
    for (id, expiry) in [("short", 1), ("long", 3600)] {
        let mut client = broker.dial("tcp").login(&durable(id, expiry));
        assert_eq!(client.subscribe("a", 1), 1);
        client.disconnect();
    }
    let broker = broker.kill().start();
    until("the session's end", || {
        (broker.ctl(&["sessions", "show", "short"]).code != 0).then_some(())
    });
    assert!(broker.dial("tcp").login(&durable("long", 3600)).session_present);
    let broker = broker.kill().start();
    assert!(!broker.dial("tcp").login(&durable("short", 1)).session_present);
}

#[test]
fn a_full_store_refuses_what_it_would_have_to_keep() {
    let broker = Broker::start(&format!("{CONFIG}[store]\nmax_bytes = \"1MiB\"\n"));
    let mut sleeper = broker.dial("tcp").login(&durable("sleeper", 3600));
    assert_eq!(sleeper.subscribe("kept", 1), 1);
    sleeper.disconnect();
    let mut awake = broker.dial("tcp").client("awake");
    assert_eq!(awake.subscribe("free", 1), 1);

    let mut publisher = broker.dial("tcp").client("v5");
    let large = "x".repeat(64 << 10);
    let mut taken = 0;
    while publisher.publish("kept", &large, 1, false) == ReasonCode::Success {
        taken += 1;
        assert!(taken < 64, "there is no end");
    }
    assert_eq!(
        publisher.publish("kept", "m", 2, false),
        ReasonCode::QuotaExceeded
    );
    assert_eq!(publisher.publish("x", "m", 1, true), ReasonCode::QuotaExceeded);
    assert_eq!(publisher.publish("free", "m", 1, false), ReasonCode::Success);
    assert_eq!(awake.message().payload, "m");

    let old = Login {
        version: Version::V311,
        ..Login::new("v3")
    };
    let mut old = broker.dial("tcp").login(&old);
    old.send_publish("kept", "m", 1, false);
    assert_eq!(old.reply(), Reply::End);

    // What was taken is there after a restart.
    let broker = broker.kill().start();
    let mut sleeper = broker.dial("tcp").login(&durable("sleeper", 3600));
    assert!(sleeper.session_present);
    for _ in 0..taken {
        assert_eq!(sleeper.message().payload, large);
    }
}
