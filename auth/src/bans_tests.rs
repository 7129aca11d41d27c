//! Which ban meets whom, what is protected, how bans end.

use peer::{PeerBuilder, Source};

use super::*;

fn ban(target: &str) -> Ban {
    Ban {
        target: target.parse().unwrap(),
        reason: "test".into(),
        by: "tester".into(),
        automatic: false,
        since: 0,
        until: None,
    }
}

fn bans(targets: &[&str]) -> Bans {
    let mut bans = Bans::default();
    for target in targets {
        bans.add(ban(target), false, 0).unwrap();
    }
    bans
}

#[test]
fn targets_as_text() {
    for text in [
        "1.2.3.4",
        "10.0.0.0/8",
        "2001:db8::/64",
        "client:dev-7",
        "user:bob@x",
    ] {
        assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
    }
    assert_eq!("::ffff:1.2.3.4".parse::<Target>().unwrap().to_string(), "1.2.3.4");
    assert_eq!(
        "client:a b".parse::<Target>().unwrap().to_string(),
        "\"client:a b\""
    );
    for bad in ["", "nobody", "client:", "user:", "10.0.0.1/8", "client"] {
        assert!(bad.parse::<Target>().is_err(), "{bad}");
    }
}

#[track_caller]
fn meets(bans: &Bans, addr: &str, want: Option<&str>) {
    let addr: Addr = addr.parse().unwrap();
    let got = bans.address(&addr, Kind::Client, 0).map(|b| b.target.to_string());
    assert_eq!(got.as_deref(), want, "{addr}");
}

#[test]
fn addresses_fall_under_the_longest_prefix() {
    let bans = bans(&["10.0.0.0/8", "10.1.0.0/16", "2001:db8::/64"]);
    meets(&bans, "10.1.2.3:5", Some("10.1.0.0/16"));
    meets(&bans, "10.2.2.3:5", Some("10.0.0.0/8"));
    meets(&bans, "[2001:db8::9]:5", Some("2001:db8::/64"));
    meets(&bans, "11.0.0.1:5", None);
    meets(&bans, "unix", None);
}

#[test]
fn names_are_exact_or_globs() {
    let bans = bans(&["client:cam-3", "client:bot-*", "user:mallory"]);
    let hit = |id, user| bans.identity(id, user, 0).map(|b| b.target.to_string());
    assert_eq!(hit("cam-3", None).as_deref(), Some("client:cam-3"));
    assert_eq!(hit("bot-9", None).as_deref(), Some("\"client:bot-*\""));
    assert_eq!(hit("x", Some("mallory")).as_deref(), Some("user:mallory"));
    assert_eq!(hit("cam-33", Some("mallory2")), None);
}

#[test]
fn an_automatic_ban_meets_clients_only_and_a_manual_one_everybody() {
    let mut bans = Bans::default();
    let auto = Ban {
        automatic: true,
        ..ban("172.16.0.5")
    };
    bans.add(auto.clone(), false, 0).unwrap();
    let addr: Addr = "172.16.0.5:1".parse().unwrap();
    assert!(bans.address(&addr, Kind::Client, 0).is_some());
    assert!(bans.address(&addr, Kind::Proxy, 0).is_none());
    bans.add(ban("172.16.0.0/24"), false, 0).unwrap();
    assert_eq!(
        bans.address(&addr, Kind::Proxy, 0).unwrap().target.to_string(),
        "172.16.0.0/24"
    );

    let behind = PeerBuilder::new("203.0.113.9:1")
        .behind("172.16.0.5:1", Source::ProxyV1)
        .build();
    assert!(!auto.meets(&behind, "c", None), "the socket is the proxy's");
    assert!(ban("172.16.0.5").meets(&behind, "c", None));
    assert!(ban("203.0.113.0/24").meets(&behind, "c", None));
    assert!(
        Ban {
            automatic: true,
            ..ban("203.0.113.9")
        }
        .meets(&behind, "c", None)
    );
    assert!(ban("user:b*").meets(&behind, "c", Some("bob")) && !ban("user:b*").meets(&behind, "c", None));
}

#[test]
fn proxies_and_protected_addresses_need_force() {
    let net = |text: &str| parse_net(text).unwrap();
    let limits = BanLimits {
        proxies: NetSet::new([net("172.16.0.0/24")], false),
        ..BanLimits::default()
    };
    let mut bans = Bans::new(limits);
    assert_eq!(bans.add(ban("172.16.0.116"), false, 0), Err(Refused::Proxy));
    assert_eq!(bans.add(ban("0.0.0.0/0"), false, 0), Err(Refused::Proxy));
    assert_eq!(bans.add(ban("127.0.0.0/8"), false, 0), Err(Refused::Protected));
    assert_eq!(bans.add(ban("::1"), false, 0), Err(Refused::Protected));
    assert_eq!(bans.add(ban("172.16.0.116"), true, 0), Ok(None));
    assert_eq!(bans.on_proxies(0).count(), 1);
    assert_eq!(bans.add(ban("203.0.113.9"), false, 0), Ok(None));
    assert_eq!(bans.on_proxies(0).count(), 1);
}

#[test]
fn bans_end_and_make_room() {
    let mut bans = Bans::new(BanLimits {
        max_entries: 2,
        ..BanLimits::default()
    });
    let until = |target, until| Ban {
        until: Some(until),
        ..ban(target)
    };
    bans.add(until("1.1.1.1", 100), false, 0).unwrap();
    bans.add(until("client:a", 200), false, 0).unwrap();
    assert_eq!(bans.add(ban("2.2.2.2"), false, 50), Err(Refused::Full));
    assert!(
        bans.add(until("1.1.1.1", 120), false, 50).unwrap().is_some(),
        "one on the same target is replaced"
    );
    let addr: Addr = "1.1.1.1:1".parse().unwrap();
    assert!(bans.address(&addr, Kind::Client, 119).is_some());
    assert!(bans.address(&addr, Kind::Client, 120).is_none());
    assert_eq!(
        bans.add(ban("2.2.2.2"), false, 120),
        Ok(None),
        "what is over makes room"
    );
    assert_eq!(bans.sweep(200), ["client:a".parse().unwrap()]);
    assert_eq!(bans.len(), 1);
    assert!(bans.remove(&"2.2.2.2".parse().unwrap()).is_some());
    assert!(bans.is_empty());
}
