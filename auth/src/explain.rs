//! Why a decision came out so: every rule that was asked, and what in it did not fit. For `broker acl test`,
//! `broker ctl acl test` and the API. Rules are asked here one by one, without the index that `decide` uses; a
//! property test holds the two together.

use std::fmt;

use peer::Kind;

use crate::decision::{Decision, RuleId};
use crate::policy::Policy;
use crate::raw::{AddrKey, AddrValue, Cond, Effect, RawCond, RawFilter, RawRule, TextKey};
use crate::rule::{Check, Rule};
use crate::shown::{Shown, printable, shown};
use crate::subject::{Action, Facts};

/// A decision with all that led to it. `Display` is the output of `broker acl test`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The answer.
    pub decision: Decision,
    /// The deciding rule as `acl.conf:12`.
    pub place: String,
    /// What was asked and the facts, in one line.
    pub asked: String,
    /// The rules in the order they were asked.
    pub rows: Vec<Row>,
}

/// One rule in an explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What came of it.
    pub status: Status,
    /// `acl.conf:12`.
    pub place: String,
    /// The rule in one line.
    pub rule: String,
    /// Why; may be empty.
    pub reason: String,
}

/// What came of asking a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The rule that decided about connecting, which had to be allowed first.
    Connect(Effect),
    /// It does not match.
    No,
    /// It is about another action.
    Other,
    /// It decided.
    Decided,
}

impl Policy {
    /// How this action comes out for a client with these facts, which may be supposed ones. A client that may not
    /// connect may do nothing, so that is looked at first. `all` adds the rules of other actions.
    pub fn explain(&self, facts: &Facts<'_>, action: &Action<'_>, all: bool) -> Explanation {
        let asked = asked(facts, action);
        let mut rows = Vec::new();
        if *action != Action::Connect {
            let connect = self.decide_facts(facts, &Action::Connect);
            if !connect.is_allowed() {
                let decision = self.walk(facts, &Action::Connect, all, &mut rows);
                return Explanation {
                    place: self.place(decision.rule),
                    decision,
                    asked,
                    rows,
                };
            }
            rows.push(Row {
                status: Status::Connect(connect.effect),
                place: self.place(connect.rule),
                rule: self.line(connect.rule),
                reason: String::new(),
            });
        }
        let decision = self.walk(facts, action, all, &mut rows);
        Explanation {
            place: self.place(decision.rule),
            decision,
            asked,
            rows,
        }
    }

    /// Asks rule after rule and notes each; ends with the one that decides.
    fn walk(&self, facts: &Facts<'_>, action: &Action<'_>, all: bool, rows: &mut Vec<Row>) -> Decision {
        let row = |status, rule: RuleId, reason: String| Row {
            status,
            place: self.place(rule),
            rule: self.line(rule),
            reason,
        };
        let system = self.decide_facts(facts, action);
        if system.rule == RuleId::System {
            rows.push(row(
                Status::Decided,
                system.rule,
                "by code: $SYS is the broker's own".to_owned(),
            ));
            return system;
        }
        for (number, (rule, raw)) in (0u32..).zip(self.pairs()) {
            let id = RuleId::Rule(number);
            if !raw.action.includes(action.kind()) {
                if all {
                    rows.push(row(
                        Status::Other,
                        id,
                        format!("not about {}", action.kind().as_str()),
                    ));
                }
                continue;
            }
            match self.judge(rule, raw, facts, action) {
                Ok(reason) => {
                    rows.push(row(Status::Decided, id, reason));
                    return Decision {
                        effect: rule.effect,
                        rule: id,
                    };
                }
                Err(reason) => rows.push(row(Status::No, id, reason)),
            }
        }
        let decision = self.default_decision(action.kind());
        rows.push(row(Status::Decided, decision.rule, String::new()));
        decision
    }

    /// Whether the rule matches, and why or why not.
    fn judge(
        &self,
        rule: &Rule,
        raw: &RawRule,
        facts: &Facts<'_>,
        action: &Action<'_>,
    ) -> Result<String, String> {
        let fails = |(check, _): &(&Check, &RawCond)| !check.holds(rule.effect, facts, action);
        if let Some((_, cond)) = rule.checks.iter().zip(&raw.conds).find(fails) {
            return Err(self.why_not(cond, rule.effect, facts, action));
        }
        let (asked, how) = match action {
            Action::Connect => return Ok(String::new()),
            Action::Publish { topic, .. } => (*topic, ["matches", "does not match"]),
            Action::Subscribe { filter, .. } if rule.effect == Effect::Allow => {
                (*filter, ["is covered by", "is not covered by"])
            }
            Action::Subscribe { filter, .. } => (*filter, ["overlaps", "does not overlap"]),
        };
        let [fits, fits_not] = how;
        let Some(place) = rule.filter_for(facts, action) else {
            if let [filter] = raw.filters.as_slice()
                && rule.effect == Effect::Allow
                && let Some(hole) = filter.unusable_hole(facts)
            {
                return Err(format!("{hole} has no usable value"));
            }
            let filters: Vec<String> = raw.filters.iter().take(3).map(ToString::to_string).collect();
            let more = if raw.filters.len() > 3 { " ..." } else { "" };
            return Err(format!("{} {fits_not} {}{more}", Shown(asked), filters.join(" ")));
        };
        Ok(match raw.filters.get(place) {
            None => String::new(),
            Some(filter) if filter.exact => format!("{} is {filter}", Shown(asked)),
            Some(filter) => format!("{} {fits} {filter}", Shown(asked)),
        })
    }

    /// Why a condition does not hold.
    fn why_not(&self, cond: &RawCond, effect: Effect, facts: &Facts<'_>, action: &Action<'_>) -> String {
        let yes_no = |yes: &bool| if *yes { "yes" } else { "no" };
        match (&cond.cond, action) {
            (
                Cond::Text {
                    key: TextKey::San, ..
                },
                _,
            ) if !facts.san.is_empty() => {
                let names: Vec<String> = facts.san.iter().take(4).map(|name| shown(name)).collect();
                format!("san is {}", names.join(", "))
            }
            (Cond::Text { key, .. }, _) => match facts.text(*key) {
                Some(text) => format!("{} is {}", key.as_str(), Shown(&text)),
                None => format!("no {}", key.as_str()),
            },
            (Cond::Addr { key, negated, values }, _) => {
                self.why_not_addr(*key, *negated, values, effect, facts)
            }
            (Cond::Flag { key, .. }, _) => {
                let word = facts.flag(*key).and_then(|bit| key.words().get(bit as usize));
                format!("{} is {}", key.as_str(), word.unwrap_or(&"not known"))
            }
            (Cond::Qos(_), Action::Publish { qos, .. } | Action::Subscribe { qos, .. }) => {
                format!("qos is {qos}")
            }
            (Cond::Retain(_), Action::Publish { retain, .. }) => format!("retain is {}", yes_no(retain)),
            (Cond::Shared(_), Action::Subscribe { shared, .. }) => format!("shared is {}", yes_no(shared)),
            (Cond::Qos(_) | Cond::Retain(_) | Cond::Shared(_), _) => {
                format!("{} does not fit {}", cond.text, action.kind().as_str())
            }
        }
    }

    fn why_not_addr(
        &self,
        key: AddrKey,
        negated: bool,
        values: &[AddrValue],
        effect: Effect,
        facts: &Facts<'_>,
    ) -> String {
        let (name, addr) = match key {
            AddrKey::Ip if effect == Effect::Allow && facts.kind == Kind::Proxy => {
                return "kind=proxy: no allow by ip, the client is unknown".to_owned();
            }
            AddrKey::Ip => ("", facts.ip),
            AddrKey::Socket => ("socket ", facts.socket),
        };
        let Some(addr) = addr else {
            return format!(
                "{} is not known",
                if key == AddrKey::Ip { "ip" } else { "socket" }
            );
        };
        let holds = |value: &&AddrValue| match value {
            AddrValue::Range(peer::Range::Unix) => addr.is_unix(),
            AddrValue::Range(peer::Range::Net(net)) => addr.ip().is_some_and(|ip| net.contains(&ip)),
            AddrValue::Group(group) => self
                .acl()
                .groups
                .get(&**group)
                .is_some_and(|g| g.set.contains_addr(&addr)),
        };
        let listed: Vec<String> = values
            .iter()
            .filter(|v| !negated || holds(v))
            .map(|value| self.with_ranges(value))
            .collect();
        let list = listed.join(", ");
        let in_list = if listed.len() == 1 && !list.contains(['@', '/']) {
            ""
        } else {
            "in "
        };
        format!(
            "{name}{} is {}{in_list}{list}",
            addr.host_text(),
            if negated { "" } else { "not " }
        )
    }

    /// A group with its ranges, if they are few.
    fn with_ranges(&self, value: &AddrValue) -> String {
        let listed = match value {
            AddrValue::Group(name) => self.acl().groups.get(&**name).map(|g| g.listed.as_slice()),
            AddrValue::Range(_) => None,
        };
        match listed {
            None | Some([]) => value.to_string(),
            Some(nets) => {
                let nets: Vec<String> = nets.iter().map(ToString::to_string).collect();
                format!("{value} ({})", nets.join(", "))
            }
        }
    }
}

impl RawFilter {
    /// The first placeholder that this client has no usable value for.
    fn unusable_hole(&self, facts: &Facts<'_>) -> Option<&str> {
        let mut names = self.text.split('/').zip(&self.levels);
        names.find_map(|(name, level)| match level {
            crate::raw::Level::Hole(hole) if facts.hole(*hole).is_none() => Some(name),
            _ => None,
        })
    }
}

/// The action and the facts that are set, in the order of the flags of `acl test`.
fn asked(facts: &Facts<'_>, action: &Action<'_>) -> String {
    let yes_no = |yes: bool| if yes { "yes" } else { "no" };
    let host =
        |addr: Option<peer::Addr>| addr.map_or_else(|| "\"\"".to_owned(), |a| a.host_text().to_string());
    let mut out = match action {
        Action::Connect => "connect ".to_owned(),
        Action::Publish { topic, .. } => format!("publish {} ", Shown(topic)),
        Action::Subscribe { filter, .. } => format!("subscribe {} ", Shown(filter)),
    };
    let mut add = |key: &str, value: &str| {
        out.push(' ');
        out.push_str(key);
        out.push('=');
        out.push_str(value);
    };
    add("ip", &host(facts.ip));
    if facts.socket.is_some() {
        add("socket", &host(facts.socket));
    }
    add("kind", facts.kind.as_str());
    if let Some(via) = facts.via {
        add("via", via.as_str());
    }
    for key in [
        TextKey::Listener,
        TextKey::User,
        TextKey::Client,
        TextKey::Cn,
        TextKey::Sni,
        TextKey::Vpce,
    ] {
        match facts.text(key) {
            Some(text) => add(key.as_str(), &shown(&text)),
            None if key == TextKey::Client => add("client", "\"\""),
            None => {}
        }
    }
    for name in facts.san {
        add("san", &shown(name));
    }
    for key in [crate::raw::FlagKey::Auth, crate::raw::FlagKey::Tls] {
        if let Some(word) = facts.flag(key).and_then(|bit| key.words().get(bit as usize)) {
            add(key.as_str(), word);
        }
    }
    match action {
        Action::Connect => {}
        Action::Publish { qos, retain, .. } => {
            add("qos", &qos.to_string());
            add("retain", yes_no(*retain));
        }
        Action::Subscribe { qos, shared, .. } => {
            add("qos", &qos.to_string());
            add("shared", yes_no(*shared));
        }
    }
    out
}

/// The rule's text takes so many characters where a reason follows.
const RULE_WIDTH: usize = 48;

/// As many whole words as fit, then ` ...`.
fn cut(rule: &str) -> String {
    if rule.chars().count() <= RULE_WIDTH {
        return rule.to_owned();
    }
    let mut end = 0;
    for (at, _) in rule.match_indices(' ') {
        if rule
            .get(..at)
            .is_some_and(|head| head.chars().count() + 4 <= RULE_WIDTH)
        {
            end = at;
        }
    }
    // Verdict and action are set in columns, so blanks may come in a row.
    format!("{} ...", rule.get(..end).unwrap_or_default().trim_end())
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.decision.effect {
            Effect::Allow => "ALLOW",
            Effect::Deny => "DENY",
        };
        writeln!(f, "{verdict:<5} {}", self.asked)?;
        let width = self
            .rows
            .iter()
            .map(|row| row.place.chars().count())
            .max()
            .unwrap_or_default()
            + 2;
        for row in &self.rows {
            let status = match row.status {
                Status::Connect(_) => "connect",
                Status::No => "no",
                Status::Other => "other",
                Status::Decided => "DECIDED",
            };
            let place = &row.place;
            let (rule, reason) = (printable(&row.rule), printable(&row.reason));
            let line = match row.status {
                Status::Connect(effect) => {
                    format!("  {status:<10}{:<9}{place:<width$}{rule}", effect.as_str())
                }
                Status::Decided if reason.is_empty() => format!("  {status:<10}{place:<width$}{rule}"),
                Status::Decided => format!("  {status:<10}{place:<width$}{rule:<RULE_WIDTH$}  {reason}"),
                _ => format!(
                    "  {status:<10}{place:<width$}{:<RULE_WIDTH$}  {reason}",
                    cut(&rule)
                ),
            };
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}
