//! Tests of the audit log. Here: events to test with; in the files: what is asserted.

mod chain;
mod disk;
mod line;
mod queue;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use peer::{Addr, Code, Info, Kind, Peer, PeerBuilder, Source, Ssl, Warning};

use super::*;

/// A client behind HAProxy, as in the example of the documentation.
fn facts() -> ClientFacts {
    facts_of(
        PeerBuilder::new("203.0.113.9:61177")
            .behind("172.16.0.116:39826", Source::ProxyV1)
            .build(),
    )
}

fn facts_of(peer: Peer) -> ClientFacts {
    let mut c = ClientFacts::new(Arc::new(peer), "tcp_lb".into());
    c.clientid = Some("cam-3".into());
    c.username = Some("root".into());
    c.proto = Some("mqtt5");
    c
}

fn denied(topic: &str) -> Event {
    Event::AclDeny(
        facts(),
        AclDeny {
            reason: DenyReason::Acl,
            action: DenyAction::Publish,
            topic: Some(topic.into()),
            qos: Some(1),
            retain: Some(false),
            rule: Some("acl.conf:3".into()),
        },
    )
}

fn authn_fail() -> Event {
    Event::AuthnFail(facts(), AuthnReason::BadCredentials, "password_file".into())
}

/// A proxy that speaks for an unknown client over a unix socket, with everything that a record can show.
fn full_facts() -> ClientFacts {
    let ssl = Ssl {
        client_tls: true,
        verified: true,
        cn: Some("cam-3.example".into()),
        ..Ssl::default()
    };
    let info = Info {
        ssl: Some(Box::new(ssl)),
        authority: Some("mqtt.example".into()),
        ..Info::default()
    };
    let peer = PeerBuilder::new("[2001:db8::7]:0")
        .behind("unix", Source::ProxyV2)
        .kind(Kind::Proxy)
        .claimed("127.0.0.1:5")
        .warnings(&[Warning::TlvContent])
        .info(info);
    facts_of(peer.build())
}

/// A client that came straight in over our own TLS.
fn tls_facts() -> ClientFacts {
    let mut facts = facts_of(Peer::test_client("198.51.100.4:5000"));
    facts.tls = Some(Arc::new(TlsFacts {
        version: Some("TLSv1.3".to_owned()),
        cipher: Some("TLS13_AES_256_GCM_SHA384".to_owned()),
        sni: Some("mqtt.example".to_owned()),
        cn: Some("dev".to_owned()),
        san: vec!["DNS:dev.example".to_owned()],
        cert_sha256: Some("ab".repeat(32)),
    }));
    facts
}

fn connects() -> [Event; 4] {
    let early = ClientFacts::refused(Addr::UNIX, "ws".into());
    let connect = Connect {
        clean_start: Some(true),
        keepalive: Some(60),
        session_present: Some(false),
        will_topic: Some("w".into()),
        rule: Some("acl.conf:2".into()),
        ..Connect::new(ConnectReason::Ok)
    };
    let banned = Connect {
        ban: Some("203.0.113.0/24".into()),
        ..Connect::new(ConnectReason::Banned)
    };
    let reject = PeernameReject {
        code: Code::ProxyRequired,
        detail: Some("http".into()),
        hop: Some("203.0.113.9:0".parse().unwrap()),
        first_bytes: Some(("http", b"GET / ".to_vec())),
        header: Some("1.2.3.4, \\x22".into()),
    };
    [
        Event::Connect(full_facts(), connect),
        Event::Connect(early.clone(), banned),
        Event::Connect(facts(), Connect::new(ConnectReason::Rate)),
        Event::PeernameReject(early, reject),
    ]
}

fn administrative() -> [Event; 6] {
    let sanction = Sanction {
        actor: Some(Actor::Token {
            name: "grafana".to_owned(),
            peer_ip: "198.51.100.1".parse().unwrap(),
        }),
        what: "203.0.113.9".into(),
        until: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_301_701_123)),
        by: Some("fail2ban".into()),
        matched: Some(2),
    };
    let call = |actor, success: bool| AdminCall {
        actor,
        call: "PUT /api/v1/log/level".into(),
        success,
        changed: if success {
            vec!["log.level".to_owned()]
        } else {
            Vec::new()
        },
        errors: if success {
            Vec::new()
        } else {
            vec!["no such level".to_owned()]
        },
    };
    [
        Event::Kick(Some(facts()), sanction.clone()),
        Event::Kick(None, sanction.clone()),
        Event::Ban(sanction),
        Event::Unban(Sanction {
            what: "client:x".into(),
            ..Sanction::default()
        }),
        Event::Admin(call(Actor::Uid(0), true)),
        Event::ConfigReload(call(Actor::Signal("HUP"), false)),
    ]
}

/// At least one event of each kind (but those the log writes itself), with all fields and with few.
fn samples() -> Vec<Event> {
    let disconnect = Disconnect {
        reason: DisconnectReason::Keepalive,
        code: 0x8D,
        duration_ms: 5,
        rx_bytes: 6,
        tx_bytes: 7,
    };
    let mut all = vec![Event::Start("0.1.0")];
    all.extend(connects());
    all.extend([
        authn_fail(),
        Event::ProtoError(tls_facts(), "malformed_packet", "second CONNECT".into()),
        denied("a/b"),
        Event::Subscribe(full_facts(), "a/#".into(), 2, Some("acl.conf:9".into())),
        Event::Unsubscribe(facts(), "a/#".into()),
        Event::PublishOk(tls_facts(), "a/b".into(), 0, None),
        Event::Disconnect(facts(), disconnect),
        Event::Takeover(full_facts(), "203.0.113.9:1".parse().unwrap(), Addr::UNIX),
    ]);
    all.extend(administrative());
    all.push(Event::Stop);
    all
}

fn settings(path: &Path) -> Settings {
    Settings::new(Some(path.to_owned()), "broker-1")
}

fn read(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

fn json(line: &str) -> serde_json::Value {
    serde_json::from_str(line).unwrap()
}

/// The event names of lines.
fn names(lines: &[String]) -> Vec<String> {
    lines
        .iter()
        .map(|l| json(l)["event"].as_str().unwrap().to_owned())
        .collect()
}
