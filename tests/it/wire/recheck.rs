//! What a changed configuration does to those who are connected (peername 3.1): trust is
//! for new connections only, rules and bans meet live ones by their stored peername.

use codec::ReasonCode;
use tests::broker::{Broker, Setup};
use tests::client::{Client, Login, Reply};
use tests::link::Dial;

const OLD: &str = "127.16.0.200";
const NEW: &str = "127.16.0.201";

const ACL: &str = "default connect allow\ndefault publish allow\ndefault subscribe allow\n";

fn broker() -> Broker {
    let keys = |name: &str, transport: &str, more: &str| {
        format!(
            "[listeners.{name}]\ntransport = \"{transport}\"\nbind = \"127.0.0.1:0\"\ntrusted_proxies = [\"{OLD}\"]\n\
             {more}\n"
        )
    };
    let config = keys("lb", "tcp", "proxy_protocol = \"required\"")
        + &keys(
            "ws",
            "ws",
            "address_header = \"X-Forwarded-For\"\nuntrusted_header = \"reject\"",
        );
    // A reload wants to read every file that is named.
    Setup::new(&config)
        .acl(ACL)
        .file("tokens.toml", "")
        .file("passwd", "")
        .start()
}

/// Changes a file of the broker's, and reloads.
#[track_caller]
fn reload(broker: &Broker, file: &str, change: impl FnOnce(String) -> String) {
    let path = broker.path(file);
    let old = std::fs::read_to_string(&path).expect("a file");
    let new = change(old.clone());
    assert_ne!(old, new, "nothing is changed");
    std::fs::write(path, new).expect("a file");
    let printed = broker.ctl(&["reload"]);
    assert_eq!(printed.code, 0, "{printed:?}");
}

/// Through the proxy at `from`, as a client at `source`.
fn lb(broker: &Broker, from: &str, source: &str) -> Dial {
    let header = format!("PROXY TCP4 {source} 127.0.0.1 51234 1883\r\n");
    broker.dial("lb").from(from).before(header)
}

fn ws(broker: &Broker, from: &str, source: &str) -> Dial {
    broker.dial("ws").from(from).field("X-Forwarded-For", source)
}

#[test]
fn a_changed_trust_list_is_for_new_connections() {
    let broker = broker();
    let mut live = [
        lb(&broker, OLD, "203.0.113.7").client("lb-1"),
        ws(&broker, OLD, "203.0.113.7").client("ws-1"),
    ];
    reload(&broker, "broker.toml", |text| text.replace(OLD, NEW));
    for client in &mut live {
        assert_eq!(client.ping(), [], "it is served as before");
    }
    for (id, peername) in [("lb-1", "203.0.113.7:51234"), ("ws-1", "203.0.113.7:0")] {
        let shown = broker.client(id);
        assert_eq!(
            (&shown["peername"], &shown["kind"]),
            (&peername.into(), &"client".into()),
            "{shown}"
        );
    }
    // The old proxy is nobody now, the new one is believed.
    for (listener, code, old, new) in [
        (
            "lb",
            "E_PROXY_PEER",
            lb(&broker, OLD, "203.0.113.8"),
            lb(&broker, NEW, "203.0.113.8"),
        ),
        (
            "ws",
            "E_HEADER_UNTRUSTED",
            ws(&broker, OLD, "203.0.113.8"),
            ws(&broker, NEW, "203.0.113.8"),
        ),
    ] {
        assert_eq!(old.try_login(&Login::new("old")).err(), Some(Reply::End));
        let record = broker.audited("peername_reject", |r| r["listener"] == listener);
        assert_eq!(record["reason"], code, "{record}");
        let client = new.client("new");
        assert_eq!(broker.client("new")["peerhost"], "203.0.113.8");
        client.disconnect();
    }
}

/// Waits for its end; returns the last DISCONNECT's reason.
#[track_caller]
fn ends(client: &mut Client) -> Option<ReasonCode> {
    let mut last = None;
    loop {
        match client.reply() {
            Reply::End => return last,
            Reply::Disconnect(reason) => last = Some(reason),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn changed_rules_meet_live_clients_by_their_peername() {
    let broker = broker();
    let mut gone = lb(&broker, OLD, "203.0.113.7").client("gone");
    let mut narrowed = ws(&broker, OLD, "203.0.113.8").client("narrowed");
    let mut other = lb(&broker, OLD, "203.0.113.9").client("other");
    for client in [&mut gone, &mut narrowed, &mut other] {
        assert_eq!(client.subscribe("news/#", 0), 0);
    }
    reload(&broker, "acl.conf", |text| {
        text + "deny connect ip=203.0.113.7\ndeny all ip=203.0.113.8 to news/#\ndeny connect socket=10.0.0.0/8\n"
    });
    assert_eq!(ends(&mut gone), Some(ReasonCode::AdministrativeAction));
    assert_eq!(other.publish("news/1", "hello", 1, false), ReasonCode::Success);
    assert_eq!(
        other.message().payload,
        "hello",
        "a client that the rule does not meet"
    );
    assert_eq!(narrowed.ping(), [], "its subscription is gone, not the client");
    assert_eq!(
        narrowed.publish("news/1", "no", 1, false),
        ReasonCode::NotAuthorized
    );
    let again = lb(&broker, OLD, "203.0.113.7").try_login(&Login::new("again"));
    assert_eq!(again.err(), Some(Reply::End), "denied before CONNECT");
}

#[test]
fn a_ban_meets_live_clients_by_their_peername() {
    let broker = broker();
    let mut banned = [
        lb(&broker, OLD, "203.0.113.7").client("a"),
        ws(&broker, OLD, "203.0.113.7").client("b"),
    ];
    let mut other = lb(&broker, OLD, "203.0.113.8").client("other");
    let printed = broker.ctl(&["ban", "add", "203.0.113.7"]);
    assert_eq!(printed.code, 0, "{printed:?}");
    for client in &mut banned {
        ends(client);
    }
    assert_eq!(other.ping(), [], "another client behind the same proxy");
    for dial in [lb(&broker, OLD, "203.0.113.7"), ws(&broker, OLD, "203.0.113.7")] {
        assert_eq!(dial.try_login(&Login::new("c")).err(), Some(Reply::End));
    }
    let record = broker.audited("connect", |r| r["reason"] == "banned");
    assert_eq!(record["peer_ip"], "203.0.113.7", "{record}");
    // The proxy itself is not banned through what it names.
    lb(&broker, OLD, "203.0.113.9").client("next").disconnect();
}
