//! What the rules mean, statement by statement of operator-interface 2.

use peer::{Info, Kind, PeerBuilder, Source};

use super::*;
use crate::subject::Endpoint;

fn policy(text: &str) -> Policy {
    let env = Env {
        networks: vec![(
            "office".into(),
            vec![peer::Range::Net("203.0.113.0/24".parse().unwrap())],
        )],
        ..Env::default()
    };
    match Policy::compile(parse_text("acl.conf", text, &env)) {
        Ok(policy) => policy,
        Err(errors) => panic!("{}", crate::render(&errors)),
    }
}

/// A client from 203.0.113.7, sensor-7 of user bob, unless changed.
fn facts() -> Facts<'static> {
    Facts {
        ip: Some("203.0.113.7:5000".parse().unwrap()),
        socket: Some("172.16.0.5:4000".parse().unwrap()),
        via: Some(Source::ProxyV2),
        listener: Some("tcp_lb"),
        client_id: Some("sensor-7"),
        username: Some("bob"),
        auth: Some(true),
        tls: Some(crate::TlsBy::Proxy),
        ..Facts::default()
    }
}

fn publish(topic: &str) -> Action<'_> {
    Action::Publish {
        topic,
        qos: 0,
        retain: false,
    }
}

/// The decision as `allow acl.conf:1`.
#[track_caller]
fn check(text: &str, facts: &Facts<'_>, action: &Action<'_>, want: &str) {
    let policy = policy(text);
    let decision = policy.decide_facts(facts, action);
    let got = format!("{} {}", decision.effect.as_str(), policy.place(decision.rule));
    assert_eq!(got, want, "{action:?}\n{text}");
}

#[test]
fn the_first_match_wins_and_the_defaults_end_it() {
    let text = "deny publish to a/#\nallow publish to a/b c\nallow all user=bob to d";
    check(text, &facts(), &publish("a/b"), "deny acl.conf:1");
    check(text, &facts(), &publish("c"), "allow acl.conf:2");
    check(text, &facts(), &publish("d"), "allow acl.conf:3");
    check(text, &facts(), &Action::subscribe("d", 0), "allow acl.conf:3");
    check(text, &facts(), &publish("e"), "deny default");
    check(text, &facts(), &Action::Connect, "allow default");
    let text = "default connect deny\ndefault all allow";
    check(text, &facts(), &Action::Connect, "deny acl.conf:1");
    check(text, &facts(), &publish("e"), "allow acl.conf:2");
    check("", &facts(), &publish("e"), "deny default");
}

#[test]
fn all_means_publish_and_subscribe_but_never_connect() {
    check("deny all", &facts(), &Action::Connect, "allow default");
    check("deny all", &facts(), &publish("x"), "deny acl.conf:1");
}

#[test]
fn nobody_publishes_below_sys() {
    for topic in ["$SYS", "$SYS/x"] {
        check("allow all", &facts(), &publish(topic), "deny builtin:0");
    }
    check("allow all", &facts(), &publish("$SYSTEM/x"), "allow acl.conf:1");
    check(
        "allow all",
        &facts(),
        &Action::subscribe("$SYS/#", 0),
        "allow acl.conf:1",
    );
}

#[test]
fn an_allow_by_ip_never_meets_a_proxy_and_a_deny_meets_both() {
    let proxy = Facts {
        kind: Kind::Proxy,
        ..facts()
    };
    for term in ["ip=203.0.113.7", "ip!=1.2.3.4", "ip=@office"] {
        check(
            &format!("allow publish {term}"),
            &facts(),
            &publish("x"),
            "allow acl.conf:1",
        );
        check(
            &format!("allow publish {term}"),
            &proxy,
            &publish("x"),
            "deny default",
        );
        check(
            &format!("default all allow\ndeny publish {term}"),
            &proxy,
            &publish("x"),
            "deny acl.conf:2",
        );
    }
    check(
        "allow publish socket=172.16.0.5",
        &proxy,
        &publish("x"),
        "allow acl.conf:1",
    );
    check(
        "allow publish kind=proxy",
        &proxy,
        &publish("x"),
        "allow acl.conf:1",
    );
}

#[test]
fn what_the_client_does_not_have() {
    let nobody = Facts {
        username: None,
        ..facts()
    };
    let empty = Facts {
        username: Some(""),
        ..facts()
    };
    for facts in [&nobody, &empty] {
        for term in [
            "user=*",
            "user!=admin",
            "user~.*",
            "user!~admin",
            "cn!=x",
            "san!=x",
            "sni!=x",
            "vpce!=x",
        ] {
            check(
                &format!("allow publish {term}"),
                facts,
                &publish("x"),
                "deny default",
            );
        }
        for (term, want) in [
            ("user=*", "allow"),
            ("user!=admin", "deny"),
            ("user!~admin", "deny"),
            ("san=*", "allow"),
        ] {
            let text = format!("default all allow\ndeny publish {term}");
            let place = if want == "deny" {
                "acl.conf:2"
            } else {
                "acl.conf:1"
            };
            check(&text, facts, &publish("x"), &format!("{want} {place}"));
        }
    }
}

#[test]
fn terms() {
    let names = ["a.example.com".to_owned(), "b.example.com".to_owned()];
    let full = Facts {
        cn: Some("dev-1"),
        san: &names,
        sni: Some("mqtt.example.com"),
        vpce: Some(Endpoint::Number(77)),
        ..facts()
    };
    for yes in [
        "user=al,bo?",
        "user!=al",
        "user~^b",
        "user!~^x",
        "client=sensor-*",
        "ip=203.0.0.0/8",
        "ip!=203.0.114.0/24",
        "socket=@private",
        "socket!=@office",
        "kind=client",
        "kind!=proxy",
        "via=proxy_v1,proxy_v2",
        "via!=header",
        "listener=tcp_*",
        "cn=dev-1",
        "san=b.*",
        "san!=c.*",
        "sni=mqtt.*",
        "vpce=77",
        "vpce~7$",
        "auth=yes",
        "tls=proxy",
        "tls!=no",
        "user=bob client=sensor-7 auth=yes",
    ] {
        check(
            &format!("allow publish {yes}"),
            &full,
            &publish("x"),
            "allow acl.conf:1",
        );
    }
    for no in [
        "user=bo",
        "user=Bob",
        "user!=al,bob",
        "user!~b",
        "ip=203.0.114.0/24",
        "ip!=@office",
        "kind=proxy",
        "via=socket",
        "listener!=tcp_lb",
        "san!=a.*",
        "auth=no",
        "auth!=yes",
        "tls=yes,no",
        "user=bob client=x",
    ] {
        check(
            &format!("allow publish {no}"),
            &full,
            &publish("x"),
            "deny default",
        );
    }
}

#[test]
fn options() {
    let action = |qos, retain| Action::Publish {
        topic: "x",
        qos,
        retain,
    };
    check(
        "allow publish qos=0,1",
        &facts(),
        &action(1, true),
        "allow acl.conf:1",
    );
    check(
        "allow publish qos=0,1",
        &facts(),
        &action(2, true),
        "deny default",
    );
    check(
        "allow publish retain=no",
        &facts(),
        &action(0, true),
        "deny default",
    );
    check(
        "allow all qos=2",
        &facts(),
        &Action::subscribe("x", 2),
        "allow acl.conf:1",
    );
    check(
        "allow subscribe shared=yes",
        &facts(),
        &Action::subscribe("$share/g/x", 0),
        "allow acl.conf:1",
    );
    check(
        "allow subscribe shared=yes",
        &facts(),
        &Action::subscribe("x", 0),
        "deny default",
    );
    check(
        "allow subscribe shared=no",
        &facts(),
        &Action::subscribe("x", 0),
        "allow acl.conf:1",
    );
}

#[test]
fn an_allow_covers_and_a_deny_overlaps() {
    let text = "default all allow\ndeny subscribe to secret/#";
    for (filter, want) in [
        ("#", "deny"),
        ("+/x", "deny"),
        ("secret", "deny"),
        ("other/#", "allow"),
        ("$SYS/#", "allow"),
    ] {
        let place = if want == "deny" {
            "acl.conf:2"
        } else {
            "acl.conf:1"
        };
        check(
            text,
            &facts(),
            &Action::subscribe(filter, 0),
            &format!("{want} {place}"),
        );
    }
    let text = "allow subscribe to a/+ b/#";
    for filter in ["a/+", "a/x", "b", "b/#", "b/+/c", "$share/g/b/c"] {
        check(text, &facts(), &Action::subscribe(filter, 0), "allow acl.conf:1");
    }
    for filter in ["a/#", "+/x", "#", "a", "$SYS/#"] {
        check(text, &facts(), &Action::subscribe(filter, 0), "deny default");
    }
    check(
        "allow all",
        &facts(),
        &Action::subscribe("$SYS/#", 0),
        "allow acl.conf:1",
    );
    check(
        "allow all to #",
        &facts(),
        &Action::subscribe("$SYS/#", 0),
        "deny default",
    );
}

#[test]
fn exact_filters_mean_the_filter_itself() {
    let text = "default all allow\ndeny subscribe to =# =+/# =a/%c";
    for (filter, want) in [
        ("#", "deny"),
        ("+/#", "deny"),
        ("a/#", "allow"),
        ("a/sensor-7", "deny"),
        ("a/+", "allow"),
    ] {
        let place = if want == "deny" {
            "acl.conf:2"
        } else {
            "acl.conf:1"
        };
        check(
            text,
            &facts(),
            &Action::subscribe(filter, 0),
            &format!("{want} {place}"),
        );
    }
    let nameless = Facts {
        client_id: None,
        ..facts()
    };
    check(
        text,
        &nameless,
        &Action::subscribe("a/anything", 0),
        "deny acl.conf:2",
    );
    check(
        text,
        &nameless,
        &Action::subscribe("a/b/c", 0),
        "allow acl.conf:1",
    );
    check("allow publish to =a/+", &facts(), &publish("a/b"), "deny default");
    check(
        "allow publish to =a/b",
        &facts(),
        &publish("a/b"),
        "allow acl.conf:1",
    );
}

#[test]
fn placeholders_stand_for_one_usable_level() {
    let text = "allow publish to s/%c/${username}/# %a/${listener}";
    check(text, &facts(), &publish("s/sensor-7/bob/t"), "allow acl.conf:1");
    check(text, &facts(), &publish("s/sensor-8/bob/t"), "deny default");
    check(text, &facts(), &publish("203.0.113.7/tcp_lb"), "allow acl.conf:1");
    let proxy = Facts {
        kind: Kind::Proxy,
        ..facts()
    };
    check(text, &proxy, &publish("203.0.113.7/tcp_lb"), "deny default");
    // CVE-2017-7650: a name may not widen the filter, nor narrow a deny.
    for name in ["", "+", "#", "a/b", "+/#"] {
        let named = Facts {
            client_id: Some(name),
            ..facts()
        };
        let topic = format!("s/{name}/bob/t");
        check(text, &named, &publish(&topic), "deny default");
        check(text, &named, &publish("s/other/bob/t"), "deny default");
        let deny = "default all allow\ndeny all to p/%c/#";
        check(deny, &named, &publish("p/any/x"), "deny acl.conf:2");
        check(deny, &named, &Action::subscribe("p/any/x", 0), "deny acl.conf:2");
        check(deny, &named, &publish("q"), "allow acl.conf:1");
        let first = "default all allow\ndeny subscribe to %c/#";
        check(first, &named, &Action::subscribe("$SYS/x", 0), "deny acl.conf:2");
        check(first, &named, &Action::subscribe("#", 0), "deny acl.conf:2");
    }
    let system = Facts {
        username: Some("$SYS"),
        ..facts()
    };
    check(
        "allow subscribe to %u/#",
        &system,
        &Action::subscribe("$SYS/#", 0),
        "deny default",
    );
    check(
        "allow subscribe to x/%u/#",
        &system,
        &Action::subscribe("x/$SYS/#", 0),
        "allow acl.conf:1",
    );
}

#[test]
fn the_built_in_rules() {
    let policy = Policy::builtin();
    let local = Facts {
        ip: Some("127.0.0.1:1".parse().unwrap()),
        ..facts()
    };
    let unix = Facts {
        ip: Some(peer::Addr::UNIX),
        ..facts()
    };
    let say = |facts: &Facts<'_>, action: &Action<'_>| {
        let d = policy.decide_facts(facts, action);
        format!("{} {}", d.effect.as_str(), policy.place(d.rule))
    };
    assert_eq!(say(&facts(), &Action::Connect), "allow default");
    assert_eq!(say(&facts(), &publish("a")), "allow builtin:1");
    assert_eq!(say(&local, &Action::subscribe("#", 0)), "allow builtin:2");
    assert_eq!(say(&unix, &Action::subscribe("$SYS/#", 0)), "allow builtin:2");
    assert_eq!(say(&facts(), &Action::subscribe("#", 0)), "deny builtin:3");
    assert_eq!(say(&facts(), &Action::subscribe("a/#", 0)), "allow builtin:1");
}

#[test]
fn early_rules_decide_before_connect_where_they_stand_first() {
    let peer = PeerBuilder::new("203.0.113.7:5000")
        .behind("172.16.0.5:4000", Source::ProxyV1)
        .build();
    let early = |text: &str| {
        let policy = policy(text);
        let decision = policy.decide_early(&peer, "tcp")?;
        Some(format!(
            "{} {}",
            decision.effect.as_str(),
            policy.place(decision.rule)
        ))
    };
    assert_eq!(
        early("deny connect ip=@office").as_deref(),
        Some("deny acl.conf:1")
    );
    assert_eq!(
        early("allow connect socket=@private via=proxy_v1 listener=tcp").as_deref(),
        Some("allow acl.conf:1")
    );
    assert_eq!(early("deny connect user=bob\ndeny connect ip=@office"), None);
    assert_eq!(
        early("deny connect user=bob ip=1.2.3.4\ndeny connect ip=@office").as_deref(),
        Some("deny acl.conf:2"),
        "a rule that cannot match any more is passed"
    );
    assert_eq!(early("deny connect auth=no"), None);
    assert_eq!(
        early("default connect deny\nallow connect ip=1.2.3.4").as_deref(),
        Some("deny acl.conf:1")
    );
    assert_eq!(early("deny publish ip=@office").as_deref(), Some("allow default"));
}

#[test]
fn a_subject_has_the_facts_of_its_peer() {
    let info = Info {
        authority: Some("mqtt.example.com".into()),
        username: Some("cn-1".into()),
        azure_link_id: Some(9),
        ..Info::default()
    };
    let peer = PeerBuilder::new("1.2.3.4:5")
        .behind("172.16.0.5:4000", Source::ProxyV2)
        .info(info)
        .build();
    let policy = policy(
        "allow connect ip=1.2.3.4 socket=172.16.0.5 sni=mqtt.* cn=cn-1 vpce=9 tls=no user=u client=c auth=yes",
    );
    let subject = Subject::new(&peer, "tcp").with_client("c", Some("u"), true);
    assert!(policy.permit(&subject, &Action::Connect).is_ok());
    let other = subject.with_tls(Some("other"), None, &[]);
    assert_eq!(
        policy.decide(&other, &Action::Connect).rule,
        RuleId::Default(ActionKind::Connect)
    );
}

#[test]
fn the_key_of_a_publish_holds_only_what_rules_look_at() {
    assert_eq!(policy("allow publish to a").publish_key(2, true), 0);
    assert_eq!(policy("allow publish qos=1").publish_key(2, true), 2);
    assert_eq!(policy("allow publish qos=1 retain=no").publish_key(2, true), 6);
}

#[test]
fn an_index_of_many_rules_decides_like_the_list() {
    let mut text = String::new();
    for n in 0..40 {
        use std::fmt::Write as _;
        let _ = writeln!(
            text,
            "allow publish user=u{n} to a/{n}/#\ndeny subscribe to secret/{n}/# $SYS/{n}"
        );
        let _ = writeln!(
            text,
            "allow all client=c{n},d{n} ip=10.0.{n}.0/24\ndeny connect ip=192.0.2.{n}"
        );
    }
    text.push_str("allow subscribe to \"#\" +/x\ndeny connect user=mallory");
    let policy = policy(&text);
    let user = Facts {
        username: Some("u7"),
        ..facts()
    };
    let say = |facts: &Facts<'_>, action: &Action<'_>| {
        let d = policy.decide_facts(facts, action);
        format!("{} {}", d.effect.as_str(), policy.place(d.rule))
    };
    assert_eq!(say(&user, &publish("a/7/x")), "allow acl.conf:29");
    assert_eq!(say(&user, &publish("a/8/x")), "deny default");
    assert_eq!(say(&user, &Action::subscribe("#", 0)), "deny acl.conf:2");
    assert_eq!(say(&user, &Action::subscribe("+/39/y", 0)), "deny acl.conf:158");
    assert_eq!(
        say(&user, &Action::subscribe("secret/5/+", 0)),
        "deny acl.conf:22"
    );
    assert_eq!(say(&user, &Action::subscribe("other/#", 0)), "allow acl.conf:161");
    let in_net = Facts {
        client_id: Some("d3"),
        ip: Some("10.0.3.9:0".parse().unwrap()),
        ..facts()
    };
    assert_eq!(say(&in_net, &publish("x")), "allow acl.conf:15");
    let banned = Facts {
        ip: Some("192.0.2.4:1".parse().unwrap()),
        ..facts()
    };
    assert_eq!(say(&banned, &Action::Connect), "deny acl.conf:20");
}
