//! mosquitto_pub and mosquitto_sub (Debian builds them without WebSocket).

use super::broker;
use std::process::Command;
use tests::broker::{Broker, printed};
use tests::certs::Certs;
use tests::process::Process;

const VERSIONS: [&str; 3] = ["mqttv31", "mqttv311", "mqttv5"];

/// The options that lead to a listener.
fn to(broker: &Broker, certs: &Certs, kind: &str) -> Vec<String> {
    let addr = broker.addr(kind);
    let mut args = vec![
        "-h".into(),
        addr.ip().to_string(),
        "-p".into(),
        addr.port().to_string(),
    ];
    if kind == "tls" {
        args.extend([
            "--cafile".into(),
            certs.path("ca.pem").to_string_lossy().into_owned(),
        ]);
    }
    args
}

/// mosquitto_sub that prints `topic qos retain payload` for each message; returns when it is subscribed.
#[track_caller]
fn subscribe(to: &[String], args: &[&str]) -> Process {
    // It would keep its lines in a buffer before a pipe.
    let mut command = Command::new("stdbuf");
    let command = command
        .args(["-oL", "mosquitto_sub"])
        .args(to)
        .args(["-d", "-F", "got %t %q %r %p"])
        .args(args);
    let process = Process::spawn("mosquitto_sub", command);
    process.line("SUBACK", |line| line.starts_with("Subscribed ").then_some(()));
    process
}

#[track_caller]
fn expect(subscriber: &Process, message: &str) {
    subscriber.line(message, |line| (line == format!("got {message}")).then_some(()));
}

#[track_caller]
fn publish(to: &[String], args: &[&str]) {
    let done = printed(Command::new("mosquitto_pub").args(to).args(args));
    assert_eq!(done.code, 0, "mosquitto_pub {args:?}: {done:?}");
}

#[test]
fn every_version_and_qos_over_tcp_and_tls() {
    let certs = Certs::new();
    let broker = broker(&certs);
    for kind in ["tcp", "tls"] {
        let to = to(&broker, &certs, kind);
        for version in VERSIONS {
            let subscriber = subscribe(&to, &["-V", version, "-t", "t/+/#", "-q", "2"]);
            for qos in ["0", "1", "2"] {
                let topic = format!("t/{qos}/x");
                publish(
                    &to,
                    &["-V", version, "-t", &topic, "-q", qos, "-m", "hello world"],
                );
                expect(&subscriber, &format!("{topic} {qos} 0 hello world"));
            }
        }
    }
}

#[test]
fn retained_messages() {
    let certs = Certs::new();
    let broker = broker(&certs);
    for kind in ["tcp", "tls"] {
        let to = to(&broker, &certs, kind);
        for version in VERSIONS {
            publish(
                &to,
                &["-V", version, "-t", "kept", "-q", "1", "-r", "-m", version],
            );
            let subscriber = subscribe(&to, &["-V", version, "-t", "kept", "-q", "1"]);
            expect(&subscriber, &format!("kept 1 1 {version}"));
            // An empty payload takes it away: the next subscriber gets a fresh message first.
            publish(&to, &["-V", version, "-t", "kept", "-q", "1", "-r", "-n"]);
            let subscriber = subscribe(&to, &["-V", version, "-t", "kept", "-q", "1"]);
            publish(&to, &["-V", version, "-t", "kept", "-q", "1", "-m", "fresh"]);
            let first = subscriber.line("a message", |line| line.strip_prefix("got ").map(str::to_owned));
            assert_eq!(first, "kept 1 0 fresh");
        }
    }
}

#[test]
fn a_will_when_the_client_is_killed_and_none_when_it_leaves() {
    let certs = Certs::new();
    let broker = broker(&certs);
    let to = to(&broker, &certs, "tcp");
    for version in VERSIONS {
        let watcher = subscribe(&to, &["-V", version, "-t", "wills/#", "-q", "1"]);
        let with_will = |name: &str| {
            let topic = format!("wills/{name}");
            let will = [
                "--will-topic",
                &topic,
                "--will-payload",
                "gone",
                "--will-qos",
                "1",
            ];
            subscribe(&to, &[&["-V", version, "-t", "x"], &will[..]].concat())
        };
        // SIGTERM makes mosquitto_sub send DISCONNECT, with MQTT 5 the one that asks for the Will; a drop is SIGKILL.
        assert!(with_will("polite").terminate().success());
        drop(with_will("killed"));
        let first = watcher.line("a will", |line| line.strip_prefix("got ").map(str::to_owned));
        if version == "mqttv5" {
            assert_eq!(first, "wills/polite 1 0 gone");
            expect(&watcher, "wills/killed 1 0 gone");
        } else {
            assert_eq!(first, "wills/killed 1 0 gone");
        }
    }
}

#[test]
fn a_persistent_session_gets_what_came_meanwhile() {
    let certs = Certs::new();
    let broker = broker(&certs);
    let to = to(&broker, &certs, "tcp");
    for version in VERSIONS {
        let args = ["-V", version, "-c", "-i", version, "-t", "later/#", "-q", "2"];
        assert!(subscribe(&to, &args).terminate().success());
        for (qos, payload) in [("1", "one"), ("2", "two")] {
            publish(&to, &["-t", "later/t", "-q", qos, "-m", payload]);
        }
        let again = subscribe(&to, &args);
        for message in ["later/t 1 0 one", "later/t 2 0 two"] {
            expect(&again, message);
        }
    }
}

/// Publishers see a refusal as the protocol has it.
#[test]
fn a_connection_that_is_refused() {
    let certs = Certs::new();
    let config = "[listeners.tcp]\ntransport = \"tcp\"\nbind = \"127.0.0.1:0\"\n";
    let acl = "default all allow\ndeny connect user=mallory\n";
    let broker = tests::broker::Setup::new(config).acl(acl).start();
    let to = to(&broker, &certs, "tcp");
    for (version, code) in [("mqttv311", 5), ("mqttv5", 135)] {
        let args = ["-V", version, "-u", "mallory", "-t", "t", "-m", "x"];
        let refused = printed(Command::new("mosquitto_pub").args(&to).args(args));
        assert_eq!(refused.code, code, "{version}: {refused:?}");
    }
}
