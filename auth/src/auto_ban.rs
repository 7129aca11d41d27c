//! Automatic bans: so many events of one sort within a window, and the address, client id or username behind
//! them is banned for a while, twice as long each time (`[[bans.auto]]`).
//!
//! The ban itself is `bans`'s. `now` is monotonic, in milliseconds.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use peer::Peer;

use crate::bans::Target;
use crate::lru::Lru;
use crate::nets::prefix_of;

/// What a rule counts; the names are those of the audit events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum On {
    /// A login that failed.
    AuthnFail,
    /// A login that was accepted (else a stranger could have another's id banned).
    Connect,
    /// A violation of the protocol.
    ProtoError,
    /// A denied action.
    AclDeny,
}

impl On {
    /// Every value with its name in the configuration.
    pub const ALL: [(&'static str, Self); 4] = [
        ("authn_fail", Self::AuthnFail),
        ("connect", Self::Connect),
        ("proto_error", Self::ProtoError),
        ("acl_deny", Self::AclDeny),
    ];
}

/// What a rule bans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum By {
    /// The prefix of the peername; only of kind=client.
    Prefix,
    /// The client id.
    ClientId,
    /// The username.
    Username,
}

impl By {
    /// Every value with its name in the configuration.
    pub const ALL: [(&'static str, Self); 3] = [
        ("prefix", Self::Prefix),
        ("clientid", Self::ClientId),
        ("username", Self::Username),
    ];
}

/// One `[[bans.auto]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutoRule {
    /// Its name, which is the reason of its bans.
    pub name: Arc<str>,
    /// What it counts.
    pub on: On,
    /// How many are too many; 1 to 1000.
    pub count: u32,
    /// Within so many milliseconds.
    pub window_ms: u64,
    /// How long the first ban lasts, in milliseconds.
    pub ban_ms: u64,
    /// The longest that doubling comes to.
    pub ban_max_ms: u64,
    /// Only told, not banned.
    pub dry_run: bool,
    /// What is banned.
    pub by: By,
}

/// A ban that a rule asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// What to ban. A client id or username in which `*` or `?` would mean more than itself asks for none.
    pub target: Target,
    /// For how long, in milliseconds.
    pub for_ms: u64,
    /// The rule's name.
    pub rule: Arc<str>,
    /// Only to be told.
    pub dry_run: bool,
}

/// The counters of all rules.
#[derive(Debug, Clone)]
pub struct AutoBans {
    rules: Vec<(AutoRule, Lru<Key, Counter>)>,
    v4_prefix: u8,
    v6_prefix: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Ip(IpAddr),
    Name(Box<str>),
}

#[derive(Debug, Clone, Default)]
struct Counter {
    /// The latest events, at most as many as the rule counts.
    times: VecDeque<u64>,
    /// How often it was banned.
    strikes: u32,
    /// When its last ban ends.
    banned_until: u64,
}

/// Most things that one rule counts at a time; then the least recently seen is forgotten.
const KEYS_MAX: usize = 65_536;

impl AutoBans {
    /// Counters for these rules, prefixes as in `[quota]` (32 and 64 by default).
    pub fn new(rules: Vec<AutoRule>, v4_prefix: u8, v6_prefix: u8) -> Self {
        let rules = rules.into_iter().map(|rule| (rule, Lru::new(KEYS_MAX))).collect();
        Self {
            rules,
            v4_prefix,
            v6_prefix,
        }
    }

    /// Other rules after a reload. What a rule that stays the same has counted stays too, so that a reload is no
    /// amnesty.
    pub fn set_rules(&mut self, rules: Vec<AutoRule>, v4_prefix: u8, v6_prefix: u8) {
        let mut old = std::mem::replace(self, Self::new(rules, v4_prefix, v6_prefix));
        if (old.v4_prefix, old.v6_prefix) != (v4_prefix, v6_prefix) {
            return;
        }
        for (rule, counters) in &mut self.rules {
            if let Some(at) = old.rules.iter().position(|(before, _)| before == rule) {
                *counters = old.rules.swap_remove(at).1;
            }
        }
    }

    /// Counts one event and tells the bans that are due. An address of kind=proxy is never counted: one bad
    /// client must not shut out all who share a proxy (peername 8).
    pub fn record(
        &mut self,
        on: On,
        peer: &Peer,
        client_id: &str,
        username: Option<&str>,
        now: u64,
    ) -> Vec<Due> {
        let ip = peer.client().and_then(peer::TrustedPeer::ip);
        let prefix = ip.map(|ip| prefix_of(ip, self.v4_prefix, self.v6_prefix));
        let mut due = Vec::new();
        for (rule, counters) in self.rules.iter_mut().filter(|(rule, _)| rule.on == on) {
            let (key, target) = match rule.by {
                By::Prefix => match prefix {
                    Some(net) => (Key::Ip(net.network()), Target::Net(net)),
                    None => continue,
                },
                By::ClientId if is_plain(client_id) => {
                    (Key::Name(client_id.into()), Target::Client(client_id.into()))
                }
                By::Username => match username.filter(|name| is_plain(name)) {
                    Some(name) => (Key::Name(name.into()), Target::User(name.into())),
                    None => continue,
                },
                By::ClientId => continue,
            };
            let counter = counters.entry(key, |_| false, Counter::default);
            if let Some(for_ms) = counter.event(rule, now) {
                due.push(Due {
                    target,
                    for_ms,
                    rule: Arc::clone(&rule.name),
                    dry_run: rule.dry_run,
                });
            }
        }
        due
    }
}

/// Whether a client's word can stand as the target of a ban: not empty, and no glob.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.contains(['*', '?'])
}

impl Counter {
    /// The length of the ban that is due now, if one is.
    fn event(&mut self, rule: &AutoRule, now: u64) -> Option<u64> {
        let count = rule.count.clamp(1, 1000) as usize;
        self.times.push_back(now);
        while self.times.len() > count {
            self.times.pop_front();
        }
        let first = *self.times.front()?;
        if self.times.len() < count || now.saturating_sub(first) > rule.window_ms {
            return None;
        }
        self.times.clear();
        // Good conduct for as long as the longest ban wipes the slate.
        if now.saturating_sub(self.banned_until) > rule.ban_max_ms {
            self.strikes = 0;
        }
        let doubled = rule
            .ban_ms
            .saturating_mul(1u64.checked_shl(self.strikes).unwrap_or(u64::MAX));
        let for_ms = doubled.min(rule.ban_max_ms);
        self.strikes = self.strikes.saturating_add(1);
        self.banned_until = now.saturating_add(for_ms);
        Some(for_ms)
    }
}

#[cfg(test)]
mod tests {
    use peer::{Kind, PeerBuilder, Source};

    use super::*;

    fn guessing() -> AutoRule {
        AutoRule {
            name: "password-guessing".into(),
            on: On::AuthnFail,
            count: 5,
            window_ms: 60_000,
            ban_ms: 600_000,
            ban_max_ms: 2_000_000,
            dry_run: false,
            by: By::Prefix,
        }
    }

    fn bans(auto: &mut AutoBans, peer: &Peer, times: &[u64]) -> Vec<(String, u64)> {
        let events = times
            .iter()
            .flat_map(|now| auto.record(On::AuthnFail, peer, "c", Some("u"), *now));
        events.map(|due| (due.target.to_string(), due.for_ms)).collect()
    }

    #[test]
    fn so_many_within_the_window() {
        let peer = Peer::test_client("203.0.113.9:1");
        let mut auto = AutoBans::new(vec![guessing()], 32, 64);
        assert_eq!(bans(&mut auto, &peer, &[0, 20_000, 40_000, 59_000, 61_000]), []);
        assert_eq!(
            bans(&mut auto, &peer, &[70_000]),
            [("203.0.113.9".to_owned(), 600_000)]
        );
        assert_eq!(
            bans(&mut auto, &Peer::test_client("203.0.113.10:1"), &[0; 4]),
            [],
            "another address"
        );
        assert_eq!(
            auto.record(On::ProtoError, &peer, "c", None, 0),
            [],
            "another event"
        );
    }

    #[test]
    fn bans_double_up_to_the_longest_and_good_conduct_counts() {
        let peer = Peer::test_client("[2001:db8:1:2:3:4:5:6]:1");
        let mut auto = AutoBans::new(vec![guessing()], 32, 64);
        let mut again = |now: u64| bans(&mut auto, &peer, &[now; 5]).remove(0);
        assert_eq!(again(0), ("2001:db8:1:2::/64".to_owned(), 600_000));
        assert_eq!(again(700_000).1, 1_200_000);
        assert_eq!(again(2_000_000).1, 2_000_000);
        assert_eq!(again(5_000_000).1, 2_000_000);
        assert_eq!(again(9_100_001).1, 600_000);
    }

    #[test]
    fn a_reload_keeps_what_unchanged_rules_have_counted() {
        let peer = Peer::test_client("203.0.113.9:1");
        let mut auto = AutoBans::new(vec![guessing()], 32, 64);
        assert_eq!(bans(&mut auto, &peer, &[0; 4]), []);
        let other = AutoRule {
            on: On::Connect,
            ..guessing()
        };
        auto.set_rules(vec![other, guessing()], 32, 64);
        assert_eq!(bans(&mut auto, &peer, &[0]).len(), 1);
        assert_eq!(bans(&mut auto, &peer, &[0; 4]), []);
        auto.set_rules(
            vec![AutoRule {
                count: 6,
                ..guessing()
            }],
            32,
            64,
        );
        assert_eq!(bans(&mut auto, &peer, &[0; 5]), [], "a changed rule begins anew");
    }

    #[test]
    fn a_proxy_is_never_counted() {
        let proxy = PeerBuilder::new("172.16.0.5:1").kind(Kind::Proxy).build();
        let mut auto = AutoBans::new(vec![guessing()], 32, 64);
        assert_eq!(bans(&mut auto, &proxy, &[0; 50]), []);
        let behind = PeerBuilder::new("203.0.113.9:0")
            .behind("172.16.0.5:1", Source::Header)
            .build();
        assert_eq!(bans(&mut auto, &behind, &[0; 5])[0].0, "203.0.113.9");
    }

    #[test]
    fn by_client_id_and_username_but_never_as_a_glob() {
        let peer = Peer::test_client("203.0.113.9:1");
        let rule = |by| AutoRule {
            on: On::Connect,
            count: 2,
            by,
            dry_run: true,
            ..guessing()
        };
        let mut auto = AutoBans::new(vec![rule(By::ClientId), rule(By::Username)], 32, 64);
        let mut record = |id: &str, user| {
            let due: Vec<Due> = (0..2)
                .flat_map(|_| auto.record(On::Connect, &peer, id, user, 0))
                .collect();
            due.iter()
                .map(|d| format!("{} {}", d.target, d.dry_run))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            record("cam-3", Some("bob")),
            ["client:cam-3 true", "user:bob true"]
        );
        assert_eq!(record("cam-4", None), ["client:cam-4 true"]);
        assert_eq!(record("*", Some("?")), Vec::<String>::new());
    }
}
