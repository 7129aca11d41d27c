//! One compiled rule, and whether it matches: terms, options and filters with their asymmetry between allow
//! and deny (operator-interface 2).
//!
//! Which rule is asked first does not live here: that is `policy`.

use std::borrow::Cow;
use std::sync::Arc;

use codec::topic;
use peer::Kind;

use crate::nets::NetSet;
use crate::pattern::Pattern;
use crate::raw::{
    Acl, ActionKind, AddrKey, AddrValue, Cond, Effect, FlagKey, Level, RawFilter, RawRule, TextKey,
};
use crate::subject::{Action, Facts};

/// A condition made ready for asking.
#[derive(Debug, Clone)]
pub(crate) enum Check {
    Text {
        key: TextKey,
        negated: bool,
        exact: Box<[Box<str>]>,
        others: Box<[Pattern]>,
    },
    Addr {
        key: AddrKey,
        negated: bool,
        sets: Box<[Arc<NetSet>]>,
    },
    Flag {
        key: FlagKey,
        negated: bool,
        mask: u8,
    },
    Qos(u8),
    Retain(bool),
    Shared(bool),
}

/// A rule made ready for asking.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) effect: Effect,
    pub(crate) action: ActionKind,
    pub(crate) checks: Box<[Check]>,
    pub(crate) filters: Box<[Filter]>,
}

/// A filter made ready for asking.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    text: Box<str>,
    exact: bool,
    /// The levels if there are placeholders among them.
    levels: Option<Box<[Level]>>,
    /// The leading levels without wildcard and placeholder, and how many bytes they have in `text`.
    head: usize,
}

impl Check {
    fn new(cond: &Cond, acl: &Acl) -> Self {
        match cond {
            Cond::Text {
                key,
                negated,
                patterns,
            } => {
                let mut exact: Vec<Box<str>> = patterns
                    .iter()
                    .filter_map(Pattern::exact)
                    .map(Into::into)
                    .collect();
                exact.sort_unstable();
                let others = patterns.iter().filter(|p| p.exact().is_none()).cloned().collect();
                Self::Text {
                    key: *key,
                    negated: *negated,
                    exact: exact.into(),
                    others,
                }
            }
            Cond::Addr { key, negated, values } => {
                let mut nets = Vec::new();
                let mut unix = false;
                let mut sets = Vec::new();
                for value in values {
                    match value {
                        AddrValue::Range(peer::Range::Net(net)) => nets.push(*net),
                        AddrValue::Range(peer::Range::Unix) => unix = true,
                        AddrValue::Group(name) => {
                            sets.extend(acl.groups.get(&**name).map(|g| Arc::clone(&g.set)));
                        }
                    }
                }
                if !nets.is_empty() || unix {
                    sets.push(Arc::new(NetSet::new(nets, unix)));
                }
                Self::Addr {
                    key: *key,
                    negated: *negated,
                    sets: sets.into(),
                }
            }
            Cond::Flag { key, negated, mask } => Self::Flag {
                key: *key,
                negated: *negated,
                mask: *mask,
            },
            Cond::Qos(mask) => Self::Qos(*mask),
            Cond::Retain(yes) => Self::Retain(*yes),
            Cond::Shared(yes) => Self::Shared(*yes),
        }
    }

    /// Whether it looks only at what is known before CONNECT (operator-interface 2, "early").
    pub(crate) fn is_early(&self) -> bool {
        match self {
            Self::Addr { .. } => true,
            Self::Flag { key, .. } => matches!(key, FlagKey::Kind | FlagKey::Via),
            Self::Text { key, .. } => *key == TextKey::Listener,
            Self::Qos(_) | Self::Retain(_) | Self::Shared(_) => false,
        }
    }

    /// Whether the condition holds in a rule of this effect.
    ///
    /// What the client does not have never holds in an allow; in a deny it holds only negated. A term on `ip`
    /// in an allow never holds for kind=proxy: the client is unknown (peername 8).
    pub(crate) fn holds(&self, effect: Effect, facts: &Facts<'_>, action: &Action<'_>) -> bool {
        let absent = |negated: bool| negated && effect == Effect::Deny;
        match self {
            Self::Text {
                key: TextKey::San,
                negated,
                exact,
                others,
            } => {
                let names = facts.san.iter().filter(|n| !n.is_empty());
                let mut names = names.peekable();
                if names.peek().is_none() {
                    return absent(*negated);
                }
                names.any(|name| listed(name, exact, others)) != *negated
            }
            Self::Text {
                key,
                negated,
                exact,
                others,
            } => match facts.text(*key) {
                None => absent(*negated),
                Some(text) => listed(&text, exact, others) != *negated,
            },
            Self::Addr { key, negated, sets } => {
                let addr = match key {
                    AddrKey::Ip if effect == Effect::Allow && facts.kind == Kind::Proxy => return false,
                    AddrKey::Ip => facts.ip,
                    AddrKey::Socket => facts.socket,
                };
                match addr {
                    None => absent(*negated),
                    Some(addr) => sets.iter().any(|set| set.contains_addr(&addr)) != *negated,
                }
            }
            Self::Flag { key, negated, mask } => match facts.flag(*key) {
                None => absent(*negated),
                Some(bit) => (mask >> bit & 1 == 1) != *negated,
            },
            Self::Qos(mask) => match action {
                Action::Publish { qos, .. } | Action::Subscribe { qos, .. } => mask >> (qos & 7) & 1 == 1,
                Action::Connect => false,
            },
            Self::Retain(yes) => matches!(action, Action::Publish { retain, .. } if retain == yes),
            Self::Shared(yes) => matches!(action, Action::Subscribe { shared, .. } if shared == yes),
        }
    }
}

fn listed(text: &str, exact: &[Box<str>], others: &[Pattern]) -> bool {
    exact.binary_search_by(|e| (**e).cmp(text)).is_ok() || others.iter().any(|p| p.matches(text))
}

impl Rule {
    pub(crate) fn new(raw: &RawRule, acl: &Acl) -> Self {
        Self {
            effect: raw.effect,
            action: raw.action,
            checks: raw.conds.iter().map(|c| Check::new(&c.cond, acl)).collect(),
            filters: raw.filters.iter().map(Filter::new).collect(),
        }
    }

    /// Whether the rule decides this. The rule is one for this kind of action.
    pub(crate) fn matches(&self, facts: &Facts<'_>, action: &Action<'_>) -> bool {
        self.checks.iter().all(|c| c.holds(self.effect, facts, action))
            && self.filter_for(facts, action).is_some()
    }

    /// The place of the filter that fits (0 if there are none), or `None` if none does.
    pub(crate) fn filter_for(&self, facts: &Facts<'_>, action: &Action<'_>) -> Option<usize> {
        if self.filters.is_empty() {
            return Some(0);
        }
        self.filters
            .iter()
            .position(|f| f.fits(self.effect, facts, action))
    }
}

impl Filter {
    fn new(raw: &RawFilter) -> Self {
        let has_holes = raw.levels.iter().any(|l| matches!(l, Level::Hole(_)));
        let literal = |level: &&Level| match level {
            // In `=` filters wildcards are ordinary text.
            Level::Text(text) => raw.exact || !matches!(&**text, "+" | "#"),
            Level::Hole(_) => false,
        };
        let head: usize = raw
            .levels
            .iter()
            .take_while(literal)
            .map(|l| {
                if let Level::Text(text) = l {
                    text.len() + 1
                } else {
                    0
                }
            })
            .sum();
        Self {
            text: raw.text.clone(),
            exact: raw.exact,
            levels: has_holes.then(|| raw.levels.clone()),
            head: head.saturating_sub(1),
        }
    }

    /// The leading literal levels joined by `/`, without the last `/`; `None` if the first level is none.
    /// (An empty first level, as in `/a`, is literal: then the head is empty too, and not told.)
    pub(crate) fn head(&self) -> Option<&str> {
        self.text.get(..self.head).filter(|head| !head.is_empty())
    }

    /// Whether a topic or filter can fit at all by its first bytes.
    fn fits(&self, effect: Effect, facts: &Facts<'_>, action: &Action<'_>) -> bool {
        let asked = match action {
            Action::Connect => return true,
            Action::Publish { topic, .. } => *topic,
            Action::Subscribe { filter, .. } => *filter,
        };
        let text = match &self.levels {
            None => Cow::Borrowed(&*self.text),
            Some(levels) => match self.filled(levels, effect, facts, asked) {
                Filled::Text(text) => Cow::Owned(text),
                Filled::Never => return false,
                Filled::Loose(parts) => return equal_levels(&parts, asked),
            },
        };
        if self.exact {
            return *text == *asked;
        }
        match (action, effect) {
            (Action::Publish { .. }, _) => topic::matches(&text, asked),
            (_, Effect::Allow) => topic::covers(&text, asked),
            (_, Effect::Deny) => topic::overlaps(&text, asked),
        }
    }

    /// The filter with its placeholders filled in for this client.
    fn filled(&self, levels: &[Level], effect: Effect, facts: &Facts<'_>, asked: &str) -> Filled {
        let head = self.text.get(..self.head).unwrap_or_default();
        if effect == Effect::Allow && !asked.starts_with(head) {
            // Spares the filling; an overlap (deny) may have a wildcard there.
            return Filled::Never;
        }
        let value = |level: &Level| match level {
            Level::Text(text) => Some(text.to_string()),
            Level::Hole(hole) => facts.hole(*hole).map(Cow::into_owned),
        };
        let mut text = String::with_capacity(self.text.len() + 64);
        for (number, level) in levels.iter().enumerate() {
            if number > 0 {
                text.push('/');
            }
            let hole = match level {
                Level::Text(part) => {
                    text.push_str(part);
                    continue;
                }
                Level::Hole(hole) => facts.hole(*hole),
            };
            match hole {
                // A client named "$SYS" gets no part of `$SYS/#` by an allow that begins with a placeholder.
                Some(value) if effect == Effect::Allow && number == 0 && value.starts_with('$') => {
                    return Filled::Never;
                }
                Some(value) => text.push_str(&value),
                None if effect == Effect::Allow => return Filled::Never,
                None if self.exact => return Filled::Loose(levels.iter().map(value).collect()),
                // A deny stands for any value where there is none to put in, `$...` on the first level too.
                None if number == 0 => {
                    text.push_str(
                        asked
                            .split('/')
                            .next()
                            .filter(|level| level.starts_with('$'))
                            .unwrap_or("+"),
                    );
                }
                None => text.push('+'),
            }
        }
        Filled::Text(text)
    }
}

enum Filled {
    Text(String),
    /// An allow whose placeholder has no usable value.
    Never,
    /// An `=` filter of a deny whose placeholder has none: `None` is any level.
    Loose(Vec<Option<String>>),
}

fn equal_levels(parts: &[Option<String>], asked: &str) -> bool {
    let mut levels = asked.split('/');
    parts.iter().all(|part| {
        levels
            .next()
            .is_some_and(|level| part.as_deref().is_none_or(|p| p == level))
    }) && levels.next().is_none()
}
