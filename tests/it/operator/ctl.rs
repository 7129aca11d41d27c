//! `broker ctl` against a running broker with real clients.

use std::process::Command;

use serde_json::Value;
use tests::broker::{Broker, Setup, binary, clean};
use tests::client::Login;
use tests::link::Dial;
use tests::process::Process;
use tests::wait::until;

const TCP: &str = "[listeners.tcp]\ntransport = \"tcp\"\nbind = \"127.0.0.1:0\"\n[bans]\nprotect = []\n";
const LB: &str = "[listeners.lb]\ntransport = \"tcp\"\nbind = \"127.0.0.1:0\"\nproxy_protocol = \"required\"\n\
                  trusted_proxies = [\"127.0.0.9\"]\n";

#[track_caller]
fn says(broker: &Broker, args: &[&str], code: i32, parts: &[&str]) -> String {
    let printed = broker.ctl(args);
    assert_eq!(printed.code, code, "{args:?}: {printed:?}");
    let text = printed.stdout + &printed.stderr;
    for part in parts {
        assert!(text.contains(part), "{args:?}: no {part:?} in {text}");
    }
    text
}

/// A command that goes on printing, in the foreground of the test.
fn streaming(broker: &Broker, args: &[&str]) -> Process {
    let mut command = Command::new(binary());
    clean(&mut command)
        .arg("ctl")
        .arg("--config")
        .arg(broker.path("broker.toml"))
        .args(args);
    Process::spawn(args[0], &mut command)
}

#[test]
fn sessions_subscriptions_and_retained_messages_are_listed_and_removed() {
    let broker = Broker::start(TCP);
    let login = Login {
        clean: false,
        expiry: 600,
        username: Some("bob"),
        ..Login::new("dev-7")
    };
    let mut client = broker.dial("tcp").login(&login);
    client.subscribe("cmd/+/go", 1);
    client.publish("state/lamp", "on", 1, true);
    says(
        &broker,
        &["status"],
        0,
        &[
            "1 client connected",
            "1 subscription",
            "1 retained message",
            "tcp",
        ],
    );
    says(
        &broker,
        &["sessions", "show", "dev-7"],
        0,
        &["bob", "connected", "cmd/+/go"],
    );
    says(
        &broker,
        &["subscriptions", "list", "--topic", "cmd/x/go"],
        0,
        &["dev-7", "1 of 1 subscription"],
    );
    says(&broker, &["topics", "list"], 0, &["cmd/+/go"]);
    says(
        &broker,
        &["retained", "show", "state/lamp"],
        0,
        &["payload (text) on"],
    );
    says(
        &broker,
        &["retained", "delete", "state/lamp"],
        0,
        &["deleted state/lamp"],
    );
    says(&broker, &["retained", "show", "state/lamp"], 1, &["not found"]);
    client.disconnect();
    until("the stored session", || {
        let sessions = broker.ctl_json(&["sessions", "list"]);
        (sessions[0]["state"] != "connected").then_some(())
    });
    says(
        &broker,
        &["sessions", "drop", "dev-7"],
        0,
        &["dropped session dev-7"],
    );
    says(
        &broker,
        &["sessions", "show", "dev-7"],
        1,
        &["session dev-7: not found"],
    );
    let record = broker.audited("admin", |r| r["call"] == "DELETE /sessions/dev-7");
    assert_eq!(record["outcome"], "success", "{record}");
}

#[test]
fn a_ban_by_hand_kicks_and_spares_our_own_proxies() {
    let broker = Broker::start(&format!("{TCP}{LB}"));
    let _near = broker.dial("tcp").from("127.0.0.60").client("near");
    let proxied = broker
        .dial("lb")
        .from("127.0.0.9")
        .before("PROXY TCP4 203.0.113.7 127.0.0.1 4000 1883\r\n");
    let _far = proxied.client("far");
    let refused = "error: 127.0.0.9 is a trusted proxy (listeners.lb.trusted_proxies); 1 client arrives through it. \
                   Ban the client address, or --force\n";
    assert_eq!(says(&broker, &["ban", "add", "127.0.0.9"], 1, &[]), refused);
    says(
        &broker,
        &["ban", "add", "203.0.113.0/24", "--for", "1h", "--reason", "test"],
        0,
        &["1 client kicked"],
    );
    assert!(proxied.try_login(&Login::new("far")).is_err());
    says(&broker, &["clients", "show", "near"], 0, &["connected=true"]);
    says(
        &broker,
        &["ban", "list"],
        0,
        &["203.0.113.0/24", "test", "1 of 1 ban"],
    );
    let record = broker.audited("ban", |r| r["what"] == "203.0.113.0/24");
    assert_eq!(record["matched"], 1, "{record}");
    says(
        &broker,
        &["clients", "kick", "near", "--ban", "10m"],
        0,
        &["kicked 1 client"],
    );
    assert!(
        broker
            .dial("tcp")
            .from("127.0.0.60")
            .try_login(&Login::new("near"))
            .is_err()
    );
    says(&broker, &["ban", "del", "203.0.113.0/24"], 0, &["lifted"]);
    says(&broker, &["ban", "del", "client:near"], 0, &["lifted"]);
    proxied.client("far");
    says(&broker, &["quota", "show", "127.0.0.60"], 0, &["127.0.0.60"]);
}

#[test]
fn events_and_traces_stream_while_they_are_read() {
    let broker = Broker::start(TCP);
    let events = streaming(&broker, &["events", "--type", "connect", "--ip", "127.0.0.50"]);
    let trace = streaming(&broker, &["trace", "--client", "dev-7", "--payload", "5"]);
    broker.audited("admin", |r| r["call"] == "POST /traces");
    let json = |line: &str| serde_json::from_str::<Value>(line).ok();
    let event = until("an event", || {
        // Whoever came before the reader was there is not told of; so some come.
        drop(broker.dial("tcp").from("127.0.0.51").client("other"));
        drop(broker.dial("tcp").from("127.0.0.50").client("probe"));
        events.lines().iter().find_map(|line| json(line))
    });
    assert_eq!(
        (&event["event"], &event["peer_ip"]),
        (&"connect".into(), &"127.0.0.50".into())
    );
    let mut client = broker.dial("tcp").client("dev-7");
    client.subscribe("a/#", 1);
    client.publish("a/b", "hello world", 1, false);
    client.message();
    for (direction, packet) in [
        ("in", "SUBSCRIBE"),
        ("out", "SUBACK"),
        ("in", "PUBLISH"),
        ("out", "PUBLISH"),
    ] {
        let found = trace.line(packet, |line| {
            json(line).filter(|line| line["direction"] == direction && line["packet"] == packet)
        });
        assert_eq!(found["clientid"], "dev-7");
        assert!(packet != "PUBLISH" || found["payload"] == "hello", "{found}");
    }
    assert!(
        events.lines().iter().all(|line| !line.contains("127.0.0.51")),
        "{:?}",
        events.lines()
    );
}

#[test]
fn rules_configuration_and_levels_are_those_of_the_process() {
    let setup = Setup::new(TCP).acl("default all allow\ndeny publish user=bob to secret/#\n");
    let broker = setup.start();
    let login = Login {
        username: Some("bob"),
        ..Login::new("dev-7")
    };
    let _client = broker.dial("tcp").login(&login);
    says(
        &broker,
        &["acl", "test", "--client", "dev-7", "--publish", "secret/x"],
        1,
        &["DENY", "acl.conf:2"],
    );
    says(
        &broker,
        &["acl", "test", "--user", "eve", "--publish", "secret/x"],
        0,
        &["ALLOW"],
    );
    says(&broker, &["acl", "rules"], 0, &["acl.conf:2", "deny"]);
    says(
        &broker,
        &["config", "show", "--origin", "listeners.tcp"],
        0,
        &["listeners.tcp.bind", "broker.toml:"],
    );
    says(&broker, &["config", "diff"], 0, &["no difference"]);
    says(
        &broker,
        &["log", "level", "listeners", "debug", "--for", "10m"],
        0,
        &["listeners debug"],
    );
    says(
        &broker,
        &["peername", "explain", "dev-7"],
        0,
        &[" = peername   127.0.0.1:"],
    );
    says(
        &broker,
        &["metrics", "broker_connects_total"],
        0,
        &["outcome=\"success\",reason=\"ok\"} 1"],
    );
    says(&broker, &["drain"], 0, &["draining=yes"]);
    says(&broker, &["health"], 1, &["not ready"]);
    assert!(
        Dial::to(broker.addr("tcp"))
            .try_login(&Login::new("late"))
            .is_err()
    );
}

#[test]
fn a_ban_outlives_the_broker() {
    let broker = Broker::start(TCP);
    says(
        &broker,
        &["ban", "add", "client:dev-7", "--reason", "stolen", "--by", "ops"],
        0,
        &["banned"],
    );
    says(&broker, &["ban", "add", "127.0.0.77"], 0, &["banned"]);
    says(&broker, &["ban", "del", "127.0.0.77"], 0, &["lifted"]);
    let broker = broker.restart();
    says(
        &broker,
        &["ban", "list"],
        0,
        &["client:dev-7", "stolen", "ops", "1 of 1 ban"],
    );
    assert!(broker.dial("tcp").try_login(&Login::new("dev-7")).is_err());
    broker.dial("tcp").from("127.0.0.77").client("other");
}
