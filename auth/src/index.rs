//! Which rules need asking: 100,000 rules, each for one user, client, address or topic, cost a few lookups and
//! not 100,000 comparisons. A rule is listed under the rarest thing that it demands; rules that demand nothing
//! exact are asked always.
//!
//! An index never decides: every candidate is asked in full.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::prefix_map::PrefixMap;
use crate::raw::{Acl, ActionKind, AddrKey, AddrValue, Cond, Effect, RawRule, TextKey};
use crate::rule::Rule;
use crate::subject::{Action, Facts};

/// Up to this many rules, asking all is cheaper than looking up.
const PLAIN_MAX: usize = 16;

/// A rule that lists more values than this under one key is not listed under that key.
const KEYS_MAX: usize = 64;

type Lists = HashMap<Box<str>, Vec<u32>, foldhash::fast::RandomState>;

/// The rules of one kind of action.
#[derive(Debug, Clone, Default)]
pub(crate) struct Index {
    /// All of them, in order.
    all: Vec<u32>,
    /// Those that are asked always, in order.
    plain: Vec<u32>,
    by_text: [Lists; TEXT_KEYS.len()],
    by_ip: PrefixMap<Vec<u32>>,
    /// By the leading literal levels of their filters.
    by_head: Lists,
    /// The same for denies of subscriptions: they match by overlap, so a wildcard asked for meets all heads
    /// below its own.
    by_head_overlap: BTreeMap<Box<str>, Vec<u32>>,
}

const TEXT_KEYS: [TextKey; 4] = [TextKey::Client, TextKey::User, TextKey::Cn, TextKey::Listener];

/// A thing that a rule demands, by which it can be found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key<'r> {
    /// Place in `TEXT_KEYS`, value.
    Text(usize, &'r str),
    Net(IpNet),
    Head(&'r str),
}

impl Index {
    pub(crate) fn new(kind: ActionKind, rules: &[Rule], acl: &Acl) -> Self {
        let mut index = Self::default();
        let members: Vec<(u32, &Rule, &RawRule)> = (0u32..)
            .zip(rules.iter().zip(&acl.rules))
            .filter(|(_, (rule, _))| rule.action.includes(kind))
            .map(|(number, (rule, raw))| (number, rule, raw))
            .collect();
        index.all = members.iter().map(|(number, ..)| *number).collect();
        if members.len() <= PLAIN_MAX {
            index.plain.clone_from(&index.all);
            return index;
        }
        let choices: Vec<Vec<Vec<Key<'_>>>> =
            members.iter().map(|(_, rule, raw)| demands(rule, raw)).collect();
        let mut count: HashMap<&Key<'_>, usize, foldhash::fast::RandomState> = HashMap::default();
        for key in choices.iter().flatten().flatten() {
            *count.entry(key).or_default() += 1;
        }
        for ((number, rule, _), choices) in members.iter().zip(&choices) {
            let weight = |keys: &&Vec<Key<'_>>| keys.iter().filter_map(|k| count.get(k)).sum::<usize>();
            match choices.iter().min_by_key(weight) {
                Some(keys) => keys
                    .iter()
                    .for_each(|key| index.list(kind, rule.effect, key, *number)),
                None => index.plain.push(*number),
            }
        }
        index
    }

    fn list(&mut self, kind: ActionKind, effect: Effect, key: &Key<'_>, number: u32) {
        let list = match key {
            Key::Text(place, value) => match self.by_text.get_mut(*place) {
                Some(lists) => lists.entry((*value).into()).or_default(),
                None => &mut self.plain,
            },
            Key::Net(net) => {
                if self.by_ip.get(*net).is_none() {
                    self.by_ip.insert(*net, Vec::new());
                }
                match self.by_ip.get_mut(*net) {
                    Some(list) => list,
                    None => &mut self.plain,
                }
            }
            Key::Head(head) if kind == ActionKind::Subscribe && effect == Effect::Deny => {
                self.by_head_overlap.entry((*head).into()).or_default()
            }
            Key::Head(head) => self.by_head.entry((*head).into()).or_default(),
        };
        // A rule with two filters of one head stands once.
        if list.last() != Some(&number) {
            list.push(number);
        }
    }

    /// All rules of this action, in order.
    pub(crate) fn in_order(&self) -> &[u32] {
        &self.all
    }

    /// Hands out every list in which a matching rule may stand; each is in order.
    pub(crate) fn candidates(&self, facts: &Facts<'_>, action: &Action<'_>, mut ask: impl FnMut(&[u32])) {
        for (key, lists) in TEXT_KEYS.iter().zip(&self.by_text) {
            if !lists.is_empty()
                && let Some(list) = facts.text(*key).and_then(|text| lists.get(&*text))
            {
                ask(list);
            }
        }
        if !self.by_ip.is_empty()
            && let Some(ip) = facts.ip.and_then(|addr| addr.ip())
        {
            self.by_address(ip, &mut ask);
        }
        match action {
            Action::Publish { topic: text, .. } | Action::Subscribe { filter: text, .. } => {
                self.by_heads(text, &mut ask);
            }
            Action::Connect => {}
        }
        if !self.plain.is_empty() {
            ask(&self.plain);
        }
    }

    fn by_address(&self, ip: IpAddr, ask: &mut impl FnMut(&[u32])) {
        for list in self.by_ip.matches(ip) {
            ask(list);
        }
    }

    fn by_heads(&self, text: &str, ask: &mut impl FnMut(&[u32])) {
        if self.by_head.is_empty() && self.by_head_overlap.is_empty() {
            return;
        }
        let ends = text
            .bytes()
            .enumerate()
            .filter(|(_, b)| *b == b'/')
            .map(|(at, _)| at);
        for head in ends.chain([text.len()]).filter_map(|end| text.get(..end)) {
            if let Some(list) = self.by_head.get(head) {
                ask(list);
            }
            if let Some(list) = self.by_head_overlap.get(head) {
                ask(list);
            }
        }
        // What lies below the asked filter's own literal head meets its wildcard.
        let wildcard = text.split_inclusive('/').scan(0, |at, level| {
            let start = *at;
            *at += level.len();
            Some((start, level))
        });
        let head = wildcard
            .filter(|(_, level)| matches!(level.trim_end_matches('/'), "+" | "#"))
            .map(|(at, _)| at)
            .next();
        if let Some(head) = head.and_then(|at| text.get(..at)) {
            let below = self
                .by_head_overlap
                .range::<str, _>((std::ops::Bound::Included(head), std::ops::Bound::Unbounded));
            for (_, list) in below.take_while(|(key, _)| key.starts_with(head)) {
                ask(list);
            }
        }
    }
}

/// The ways to find a rule: each is a complete list of alternatives, one of which the asked one must have.
fn demands<'r>(rule: &'r Rule, raw: &'r RawRule) -> Vec<Vec<Key<'r>>> {
    let mut ways = Vec::new();
    for cond in raw.conds.iter().map(|c| &c.cond) {
        match cond {
            Cond::Text {
                key,
                negated: false,
                patterns,
            } if patterns.len() <= KEYS_MAX => {
                if let Some(place) = TEXT_KEYS.iter().position(|k| k == key) {
                    ways.extend(
                        patterns
                            .iter()
                            .map(|p| p.exact().map(|v| Key::Text(place, v)))
                            .collect::<Option<Vec<_>>>(),
                    );
                }
            }
            Cond::Addr {
                key: AddrKey::Ip,
                negated: false,
                values,
            } if values.len() <= KEYS_MAX => {
                let net = |value: &AddrValue| match value {
                    AddrValue::Range(peer::Range::Net(net)) => Some(Key::Net(*net)),
                    _ => None,
                };
                ways.extend(values.iter().map(net).collect::<Option<Vec<_>>>());
            }
            _ => {}
        }
    }
    if !rule.filters.is_empty() && rule.filters.len() <= KEYS_MAX {
        ways.extend(
            rule.filters
                .iter()
                .map(|f| f.head().map(Key::Head))
                .collect::<Option<Vec<_>>>(),
        );
    }
    ways
}
