//! What a policy answers: allow or deny with the rule that decided, and the permit that later code asks for.

use crate::raw::{ActionKind, Effect};

/// The rule that decided; [`Policy::place`](crate::Policy::place) prints it as `acl.conf:12`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RuleId {
    /// The nth rule, from 0.
    Rule(u32),
    /// The default of this action, written or not.
    Default(ActionKind),
    /// Nobody publishes below `$SYS`: said by code, not by a file.
    System,
}

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Allow or deny.
    pub effect: Effect,
    /// Who says so.
    pub rule: RuleId,
}

impl Decision {
    /// Whether it is an allow.
    pub fn is_allowed(&self) -> bool {
        self.effect == Effect::Allow
    }
}

/// Proof that a policy allowed an action to a [`Subject`](crate::Subject). Only
/// [`Policy::permit`](crate::Policy::permit) makes one.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Permit {
    rule: RuleId,
}

impl Permit {
    pub(crate) fn of(decision: Decision) -> Result<Self, Decision> {
        if decision.is_allowed() {
            Ok(Self { rule: decision.rule })
        } else {
            Err(decision)
        }
    }

    /// The rule that allowed it.
    pub fn rule(&self) -> RuleId {
        self.rule
    }
}
