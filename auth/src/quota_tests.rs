//! Which limit meets whom, and what is counted when.

use peer::{PeerBuilder, Source};

use super::*;

fn addr(text: &str) -> Addr {
    Addr::new(text.parse().unwrap(), 1)
}

fn limits(f: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::NONE;
    f(&mut limits);
    limits
}

#[test]
fn connections_per_prefix_with_the_longest_override() {
    let mut quota = Quota::new(QuotaConfig {
        v4_prefix: 24,
        prefix: limits(|l| l.max_connections = Some(1)),
        overrides: vec![
            (
                "10.0.0.0/8".parse().unwrap(),
                limits(|l| l.max_connections = Some(2)),
            ),
            ("10.1.1.7/32".parse().unwrap(), Limits::NONE),
        ],
        ..QuotaConfig::default()
    });
    let mut seat = |ip: &str| quota.seat(&Peer::test_client(ip), None, "tcp", 0);
    let first = seat("203.0.113.1:1").unwrap();
    assert_eq!(
        seat("203.0.113.2:1").unwrap_err(),
        Over::MaxConnections,
        "the same /24"
    );
    let _other = seat("203.0.114.1:1").unwrap();
    let _net = [seat("10.1.1.1:1").unwrap(), seat("10.1.1.2:1").unwrap()];
    assert!(seat("10.1.1.3:1").is_err());
    let _free: Vec<Seat> = (0..5).map(|_| seat("10.1.1.7:1").unwrap()).collect();
    drop(first);
    assert!(seat("203.0.113.2:1").is_ok());
    let rows = quota.prefixes(0);
    let top: Vec<_> = rows
        .iter()
        .take(2)
        .map(|(p, r)| format!("{p} {}", r.connections))
        .collect();
    assert_eq!(top, ["10.1.1.7 5", "10.1.1.0/24 2"]);
}

#[test]
fn a_proxy_is_exempt_but_it_is_told() {
    let config = QuotaConfig {
        prefix: limits(|l| l.max_connections = Some(0)),
        ..QuotaConfig::default()
    };
    let mut quota = Quota::new(config);
    let proxy = PeerBuilder::new("172.16.0.5:1").kind(Kind::Proxy).build();
    let behind = PeerBuilder::new("203.0.113.9:0")
        .behind("172.16.0.5:1", Source::Header)
        .build();
    let _seat = quota.seat(&proxy, None, "ws", 0).unwrap();
    assert_eq!(
        quota.seat(&behind, None, "ws", 0).unwrap_err(),
        Over::MaxConnections
    );
    let reading = quota.show(&addr("172.16.0.5"), 0).1.unwrap();
    assert_eq!((reading.refused, reading.spared, reading.connections), (0, 1, 0));
}

#[test]
fn an_arrival_is_charged_once_for_each_address() {
    let config = QuotaConfig {
        prefix: limits(|l| {
            (l.connect_rate, l.connect_burst, l.max_pending) = (Some(Rate::per_second(1)), Some(2), Some(1));
        }),
        ..QuotaConfig::default()
    };
    let mut quota = Quota::new(config);
    let (proxy, client) = (addr("172.16.0.5"), addr("203.0.113.9"));
    let pending = quota.arrive(&proxy, true, "tcp", 0).unwrap();
    let pending = quota.moved(pending, &client, false, 0).unwrap();
    let pending = quota.moved(pending, &client, false, 0).unwrap();
    let read = |quota: &Quota, at: &Addr| quota.show(at, 0).1.unwrap();
    assert_eq!(
        (read(&quota, &client).pending, read(&quota, &proxy).pending),
        (1, 0)
    );
    assert_eq!(read(&quota, &client).connect_tokens, Some(1));
    let second = quota.arrive(&proxy, true, "tcp", 0).unwrap();
    assert_eq!(
        quota.moved(second, &client, false, 0).unwrap_err(),
        Over::MaxPending
    );
    let third = quota.arrive(&proxy, true, "tcp", 0).unwrap();
    assert_eq!(
        quota.moved(third, &client, false, 0).unwrap_err(),
        Over::ConnectRate
    );
    drop(pending);
    assert_eq!(quota.listener("tcp", 0).unwrap().pending, 0);
    assert_eq!(read(&quota, &client).pending, 0);
    assert!(quota.reset(&client) && !quota.reset(&addr("1.1.1.1")));
    assert!(quota.arrive(&client, false, "tcp", 0).is_ok());
}

#[test]
fn users_and_listeners_have_limits_of_their_own() {
    let mut quota = Quota::new(QuotaConfig {
        user: limits(|l| (l.max_connections, l.max_subscriptions) = (Some(1), Some(2))),
        listener: limits(|l| l.max_connections = Some(2)),
        ..QuotaConfig::default()
    });
    let peer = Peer::test_client("203.0.113.9:1");
    let mut bob = quota.seat(&peer, Some("bob"), "tcp", 0).unwrap();
    assert_eq!(
        quota.seat(&peer, Some("bob"), "tcp", 0).unwrap_err(),
        Over::MaxConnections
    );
    let _eve = quota.seat(&peer, Some("eve"), "tcp", 0).unwrap();
    assert_eq!(
        quota.seat(&peer, None, "tcp", 0).unwrap_err(),
        Over::MaxConnections
    );
    assert_eq!(
        quota.show(&addr("203.0.113.9"), 0).1.unwrap().connections,
        2,
        "what failed is not counted"
    );
    assert_eq!(
        [bob.subscribe(), bob.subscribe(), bob.subscribe()],
        [Ok(()), Ok(()), Err(Over::MaxSubscriptions)]
    );
    bob.unsubscribe();
    assert_eq!(bob.subscribe(), Ok(()));
    assert_eq!(quota.listener("tcp", 0).unwrap().subscriptions, 2);
    drop(bob);
    assert_eq!(quota.listener("tcp", 0).unwrap().subscriptions, 0);
    assert_eq!(quota.user("bob", 0).unwrap().connections, 0);
}

#[test]
fn publishing_is_slowed_or_refused_and_a_reload_changes_it_for_the_living() {
    let peer = Peer::test_client("203.0.113.9:1");
    for (over, want) in [
        (PublishOver::Slow, Pace::Wait(1_000_000_000)),
        (PublishOver::Refuse, Pace::Refuse(Over::PublishRate)),
    ] {
        let mut quota = Quota::new(QuotaConfig {
            publish_over: over,
            ..QuotaConfig::default()
        });
        let seat = quota.seat(&peer, None, "tcp", 0).unwrap();
        assert!(!seat.limits_publish());
        assert_eq!(seat.publish(1 << 30, 0), Pace::Go);
        let prefix = limits(|l| l.publish_rate = Some(Rate::per_second(1)));
        quota.set_config(QuotaConfig {
            prefix,
            publish_over: over,
            ..QuotaConfig::default()
        });
        assert!(seat.limits_publish());
        assert_eq!([seat.publish(9, 0), seat.publish(9, 0)], [Pace::Go, want]);
    }
}

#[test]
fn prefixes_are_forgotten_but_not_those_in_use() {
    let mut quota = Quota::new(QuotaConfig {
        max_keys: 3,
        ..QuotaConfig::default()
    });
    let _seat = quota
        .seat(&Peer::test_client("10.0.0.1:1"), None, "tcp", 0)
        .unwrap();
    for n in 2..20 {
        drop(quota.arrive(&addr(&format!("10.0.0.{n}")), false, "tcp", 0));
    }
    assert_eq!(quota.len(), 3);
    assert_eq!(quota.show(&addr("10.0.0.1"), 0).1.unwrap().connections, 1);
}
