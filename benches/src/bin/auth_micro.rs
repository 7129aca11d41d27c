//! Auth: one ACL decision with the built-in rules and with 10, 1,000 and 100,000 rules; the ban on an address among a
//! million. These are the costs without the per-connection cache of decisions.

use std::fmt::Write as _;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;

use auth::bans::{Ban, BanLimits, Bans, Target};
use auth::quota::{Limits, Pace, Quota, QuotaConfig, Rate};
use auth::{Action, Env, Policy, Subject, parse_text};
use benches::micro::{self, Case, case};
use peer::{Addr, Kind, Peer, ProxyStage, Transport, Verdict, resolve_socket};

fn main() -> ExitCode {
    let mut cases = vec![
        asking("publish, built-in rules".into(), PUBLISH, Policy::builtin),
        asking("subscribe, built-in rules".into(), subscribe(), Policy::builtin),
    ];
    for count in [10, 1000, 100_000] {
        cases.push(asking(format!("publish, {count} rules"), PUBLISH, move || {
            rules(count)
        }));
        cases.push(asking(
            format!("subscribe, {count} rules"),
            subscribe(),
            move || rules(count),
        ));
    }
    cases.push(asking(
        "connect, 100000 addresses".into(),
        Action::Connect,
        || compiled(&lines(|n| format!("deny connect ip={}", apart(n)))),
    ));
    cases.push(asking(
        "connect, a group of 100000".into(),
        Action::Connect,
        || {
            compiled(&format!(
                "group many = {}\ndeny connect ip=@many",
                lines(|n| apart(n).to_string()).replace('\n', " ")
            ))
        },
    ));
    cases.push(asking("publish, 100000 topics".into(), PUBLISH, || {
        compiled(&(lines(|n| format!("allow publish qos=1 to sensors/d{n}/#")) + "allow all qos=1"))
    }));
    cases.push(banned());
    cases.push(metered());
    micro::main(cases)
}

/// 100,000 lines.
fn lines(line: impl Fn(u32) -> String) -> String {
    (0..100_000).flat_map(|n| [line(n), "\n".to_owned()]).collect()
}

/// Addresses far apart, so that no two are neighbours.
fn apart(n: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0b00_0000 | n.wrapping_mul(2_654_435_761) >> 8)
}

const PUBLISH: Action<'static> = Action::Publish {
    topic: "sensors/d42/floor-3/t/x",
    qos: 1,
    retain: false,
};

fn subscribe() -> Action<'static> {
    Action::subscribe("sensors/d42/+/t/#", 1)
}

/// Rules by client id, user and network, in turn; the last line allows what the case asks for.
fn rules(count: usize) -> Policy {
    let mut text = String::from("default all deny\n");
    for n in 0..count.saturating_sub(1) {
        let (high, low) = (n / 256 % 256, n % 256);
        let line = match n % 3 {
            0 => writeln!(text, "allow publish client=device-{n} to plant/{n}/#"),
            1 => writeln!(text, "allow subscribe user=user-{n} to plant/{n}/+/state"),
            _ => writeln!(text, "deny all ip=10.{high}.{low}.0/24 to plant/{n}/#"),
        };
        assert!(line.is_ok());
    }
    text.push_str("allow all to sensors/%c/#\n");
    compiled(&text)
}

fn compiled(text: &str) -> Policy {
    match Policy::compile(parse_text("acl.conf", text, &Env::default())) {
        Ok(policy) => policy,
        Err(findings) => panic!("{}", auth::render(&findings)),
    }
}

/// A client that came straight in from 203.0.113.7.
fn client() -> Peer {
    let policy = peer::Policy::defaults(Transport::Tcp);
    let socket = Addr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)), 40_000);
    match ProxyStage::new(&policy, socket).map(|stage| stage.without_header()) {
        Ok(Verdict::Accept { hop, .. }) => resolve_socket(&policy, &hop),
        other => panic!("{other:?}"),
    }
}

fn asking(name: String, action: Action<'static>, policy: impl FnOnce() -> Policy + 'static) -> Case {
    case(name, move || {
        let (peer, policy) = (client(), policy());
        let work = move || {
            let subject = Subject::new(black_box(&peer), "tcp").with_client("d42", Some("user-42"), true);
            policy.decide(&subject, black_box(&action)).is_allowed()
        };
        assert!(work(), "{action:?} is denied");
        work
    })
}

/// An address that is not banned, looked up among a million networks that are.
fn banned() -> Case {
    case("no ban among 1,000,000", || {
        let mut bans = Bans::new(BanLimits {
            max_entries: 2_000_000,
            ..BanLimits::default()
        });
        bans.restore((0..1_000_000u32).filter_map(|n| {
            Some(Ban {
                target: format!("{}/24", Ipv4Addr::from(0x0b00_0000 + n * 256))
                    .parse::<Target>()
                    .ok()?,
                reason: "bench".into(),
                by: "auto".into(),
                automatic: true,
                since: 0,
                until: None,
            })
        }));
        assert_eq!(bans.len(), 1_000_000);
        let address = Addr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)), 40_000);
        move || bans.address(black_box(&address), Kind::Client, 1).is_none()
    })
}

/// A publish counted by prefix and user, each with a limit on messages and on bytes.
fn metered() -> Case {
    case("quota, publish with 4 limits", || {
        let limits = Limits {
            publish_rate: Some(Rate::per_second(4_000_000_000)),
            publish_bytes: Some(Rate::per_second(4_000_000_000)),
            ..Limits::NONE
        };
        let mut quota = Quota::new(QuotaConfig {
            prefix: limits,
            user: limits,
            ..QuotaConfig::default()
        });
        let seat = quota.seat(&client(), Some("bob"), "tcp", 0);
        let mut now = 0;
        move || {
            now += 1_000;
            seat.as_ref()
                .is_ok_and(|seat| seat.publish(black_box(100), now) == Pace::Go)
        }
    })
}
