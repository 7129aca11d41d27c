//! `Policy`: compiled rules and the one question asked of them, `decide`. First match wins; the defaults are
//! written down; without a file the built-in rules stand.
//!
//! What one rule means is `rule`'s; which rules need asking at all is `index`'s; why it came out so is `explain`'s.

use std::sync::Arc;

use peer::Peer;

use crate::decision::{Decision, Permit, RuleId};
use crate::diagnostic::Diagnostic;
use crate::index::Index;
use crate::parse::{Env, parse_text};
use crate::raw::{Acl, ActionKind, Effect, RawRule};
use crate::rule::{Check, Rule};
use crate::subject::{Action, Facts, Subject};

/// The rules when no ACL file is configured (`acl.file` = ""), as `broker acl show --builtin` prints them.
/// Their lines are called `builtin:1` and so on.
pub const BUILTIN: &str = "\
default all allow
allow subscribe ip=@loopback to \"#\" $SYS/#
deny  subscribe to =# =+/# $SYS/#
";

/// A whole ACL, compiled. Immutable: a reload makes another one.
#[derive(Debug, Clone)]
pub struct Policy {
    acl: Arc<Acl>,
    rules: Vec<Rule>,
    connect: Index,
    publish: Index,
    subscribe: Index,
    publish_needs: Needs,
}

/// Which options of a publish its rules look at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Needs {
    qos: bool,
    retain: bool,
}

impl Policy {
    /// Compiles what was read. The error is the list of findings, if there are any.
    pub fn compile(acl: Acl) -> Result<Self, Vec<Diagnostic>> {
        if !acl.errors.is_empty() {
            return Err(acl.errors);
        }
        let rules: Vec<Rule> = acl.rules.iter().map(|raw| Rule::new(raw, &acl)).collect();
        let index = |kind| Index::new(kind, &rules, &acl);
        let mut needs = Needs::default();
        for rule in rules.iter().filter(|r| r.action.includes(ActionKind::Publish)) {
            needs.qos |= rule.checks.iter().any(|c| matches!(c, Check::Qos(_)));
            needs.retain |= rule.checks.iter().any(|c| matches!(c, Check::Retain(_)));
        }
        Ok(Self {
            connect: index(ActionKind::Connect),
            publish: index(ActionKind::Publish),
            subscribe: index(ActionKind::Subscribe),
            publish_needs: needs,
            rules,
            acl: Arc::new(acl),
        })
    }

    /// The built-in rules.
    ///
    /// # Panics
    /// Never: the text is a constant, and a test compiles it.
    pub fn builtin() -> Self {
        match Self::compile(parse_text("builtin", BUILTIN, &Env::default())) {
            Ok(policy) => policy,
            Err(errors) => unreachable!("the built-in rules have errors: {errors:?}"),
        }
    }

    /// May this client do that?
    pub fn decide(&self, subject: &Subject<'_>, action: &Action<'_>) -> Decision {
        self.decide_facts(subject.facts(), action)
    }

    /// [`decide`](Self::decide) for code that goes on only with a proof.
    pub fn permit(&self, subject: &Subject<'_>, action: &Action<'_>) -> Result<Permit, Decision> {
        Permit::of(self.decide(subject, action))
    }

    /// The connect decision as far as it stands before CONNECT: `ip socket kind via listener` are known, what
    /// comes later may be anything. `None` = wait for CONNECT.
    pub fn decide_early(&self, peer: &Peer, listener: &str) -> Option<Decision> {
        let subject = Subject::new(peer, listener);
        for &number in self.connect.in_order() {
            let Some(rule) = self.rules.get(number as usize) else {
                continue;
            };
            let fails = |c: &Check| !c.holds(rule.effect, subject.facts(), &Action::Connect);
            if rule.checks.iter().any(|c| c.is_early() && fails(c)) {
                continue;
            }
            if rule.checks.iter().all(Check::is_early) {
                return Some(Decision {
                    effect: rule.effect,
                    rule: RuleId::Rule(number),
                });
            }
            return None;
        }
        Some(self.default_decision(ActionKind::Connect))
    }

    /// What the options of a publish come to for this policy: equal keys and equal topics of one client get equal
    /// decisions, so a caller may keep them by (topic, key) as long as it holds this policy and its subject stays.
    pub fn publish_key(&self, qos: u8, retain: bool) -> u8 {
        (if self.publish_needs.qos { qos } else { 0 }) | (u8::from(self.publish_needs.retain && retain) << 2)
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are only defaults.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The file it was made from.
    pub fn acl(&self) -> &Acl {
        &self.acl
    }

    /// `acl.conf:12`; `builtin:0` for what code says; `default` for a default that no line sets.
    pub fn place(&self, rule: RuleId) -> String {
        match rule {
            RuleId::Rule(number) => self.acl.rules.get(number as usize).map(|r| self.acl.place(r.pos)),
            RuleId::Default(kind) => self.acl.default_of(kind).map(|d| self.acl.place(d.pos)),
            RuleId::System => Some("builtin:0".to_owned()),
        }
        .unwrap_or_else(|| "default".to_owned())
    }

    /// The rule in one line, as `acl test` prints it.
    pub fn line(&self, rule: RuleId) -> String {
        match rule {
            RuleId::Rule(number) => self
                .acl
                .rules
                .get(number as usize)
                .map(RawRule::line)
                .unwrap_or_default(),
            RuleId::Default(kind) => {
                let written = self.acl.default_of(kind).map_or(kind, |d| d.written);
                format!(
                    "default {} {}",
                    written.as_str(),
                    self.default_decision(kind).effect.as_str()
                )
            }
            RuleId::System => "deny  publish   to $SYS/#".to_owned(),
        }
    }

    pub(crate) fn decide_facts(&self, facts: &Facts<'_>, action: &Action<'_>) -> Decision {
        let index = match action {
            Action::Connect => &self.connect,
            Action::Publish { topic, .. } if is_system(topic) => {
                return Decision {
                    effect: Effect::Deny,
                    rule: RuleId::System,
                };
            }
            Action::Publish { .. } => &self.publish,
            Action::Subscribe { .. } => &self.subscribe,
        };
        // Each list is in the order of the file, so its first match ends it, and the best of all lists wins.
        let mut best = u32::MAX;
        index.candidates(facts, action, |list| {
            for &number in list {
                if number >= best {
                    break;
                }
                if self
                    .rules
                    .get(number as usize)
                    .is_some_and(|r| r.matches(facts, action))
                {
                    best = number;
                    break;
                }
            }
        });
        match self.rules.get(best as usize) {
            Some(rule) => Decision {
                effect: rule.effect,
                rule: RuleId::Rule(best),
            },
            None => self.default_decision(action.kind()),
        }
    }

    /// Each rule compiled and as written.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&Rule, &RawRule)> {
        self.rules.iter().zip(&self.acl.rules)
    }

    pub(crate) fn default_decision(&self, kind: ActionKind) -> Decision {
        let unwritten = if kind == ActionKind::Connect {
            Effect::Allow
        } else {
            Effect::Deny
        };
        let effect = self.acl.default_of(kind).map_or(unwritten, |d| d.effect);
        Decision {
            effect,
            rule: RuleId::Default(kind),
        }
    }
}

/// `$SYS` and below: the broker's own.
fn is_system(topic: &str) -> bool {
    topic
        .strip_prefix("$SYS")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
