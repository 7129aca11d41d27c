//! What `broker acl check` warns about (A201 to A206) and its `--list`. Warnings are hints: they are given only
//! where they are certain, and they never change a decision.

use codec::topic;

use crate::diagnostic::{Code, Diagnostic, Hint, Pos};
use crate::nets::NetSet;
use crate::parse::Env;
use crate::pattern::Pattern;
use crate::raw::{
    Acl, ActionKind, AddrKey, AddrValue, Cond, Effect, GroupOrigin, Level, RawFilter, RawRule, TextKey,
};

/// Comparisons of two rules for A201 and A202 at most; enough for all pairs of 2,000 rules.
const PAIRS_MAX: usize = 2_000_000;

/// Warnings about a file without errors, by place.
pub fn warnings(acl: &Acl, env: &Env) -> Vec<Diagnostic> {
    let mut found = Findings {
        acl,
        list: Vec::new(),
    };
    empty_groups(&mut found);
    connects_without_effect(&mut found);
    for rule in &acl.rules {
        ip_of_proxies(&mut found, rule);
        unverified_user(&mut found, rule, env);
    }
    pairs(&mut found);
    let mut list = found.list;
    list.sort_by_key(|d| (d.pos, d.code));
    acl.quote_sources(&mut list);
    list
}

/// How many rules A201 and A202 are looked for in: all, unless there are very many.
pub fn compared(acl: &Acl) -> usize {
    // n rules make n (n - 1) / 2 pairs.
    acl.rules.len().min(((2 * PAIRS_MAX) as f64).sqrt() as usize)
}

struct Findings<'a> {
    acl: &'a Acl,
    list: Vec<Diagnostic>,
}

impl Findings<'_> {
    fn warn(&mut self, pos: Pos, code: Code, message: String, label: String) {
        self.list.push(Diagnostic {
            code,
            message,
            file: self
                .acl
                .files
                .get(pos.file as usize)
                .map(|f| f.path.clone())
                .unwrap_or_default(),
            pos,
            source: String::new(),
            hint: Hint::Label(label),
        });
    }
}

fn empty_groups(found: &mut Findings<'_>) {
    for (name, group) in &found.acl.groups {
        if let GroupOrigin::Inline(pos) | GroupOrigin::File(pos) = group.origin
            && group.set.is_empty()
        {
            let label = "no rule on it ever matches an address".to_owned();
            found.warn(pos, Code::EmptyGroup, format!("group `{name}` is empty"), label);
        }
    }
}

fn connects_without_effect(found: &mut Findings<'_>) {
    let acl = found.acl;
    if acl.default_connect.is_some_and(|d| d.effect == Effect::Deny) {
        return;
    }
    let is_connect = |r: &RawRule, effect| r.action == ActionKind::Connect && r.effect == effect;
    let after_last_deny = acl
        .rules
        .iter()
        .rposition(|r| is_connect(r, Effect::Deny))
        .map_or(0, |at| at + 1);
    for rule in acl
        .rules
        .iter()
        .skip(after_last_deny)
        .filter(|r| is_connect(r, Effect::Allow))
    {
        let message =
            "this allow restricts nothing: connect is allowed by default and no deny follows".to_owned();
        found.warn(
            rule.pos,
            Code::RestrictsNothing,
            message,
            "add `default connect deny`?".to_owned(),
        );
    }
}

fn ip_of_proxies(found: &mut Findings<'_>, rule: &RawRule) {
    let Some(proxies) = found.acl.groups.get("proxies").map(|g| g.set.clone()) else {
        return;
    };
    for cond in &rule.conds {
        let Cond::Addr {
            key: AddrKey::Ip,
            negated: false,
            values,
        } = &cond.cond
        else {
            continue;
        };
        for value in values {
            let set = addr_set(found.acl, std::slice::from_ref(value));
            if rule.effect == Effect::Allow && !set.is_empty() && proxies.covers(&set) {
                let message = format!(
                    "`ip={value}` lies inside trusted_proxies: kind=proxy never meets an allow by ip"
                );
                found.warn(
                    cond.pos,
                    Code::IpIsProxy,
                    message,
                    "did you mean `socket=`?".to_owned(),
                );
            }
        }
    }
}

fn unverified_user(found: &mut Findings<'_>, rule: &RawRule, env: &Env) {
    if env.names_verified || rule.effect == Effect::Deny {
        return;
    }
    for cond in &rule.conds {
        if matches!(
            cond.cond,
            Cond::Text {
                key: TextKey::User,
                negated: false,
                ..
            }
        ) {
            let message = "names are not verified (auth.chain = []): anybody can take this one".to_owned();
            found.warn(
                cond.pos,
                Code::UnverifiedUser,
                message,
                "add a source to auth.chain".to_owned(),
            );
        }
    }
}

fn pairs(found: &mut Findings<'_>) {
    let acl = found.acl;
    for (number, later) in acl.rules.iter().enumerate().take(compared(acl)) {
        let mut overlapped = false;
        for earlier in acl.rules.iter().take(number) {
            if covers_rule(acl, earlier, later) {
                let label = format!("{} matches all that this does", acl.place(earlier.pos));
                let message = "this rule is never reached".to_owned();
                found.warn(later.pos, Code::NeverReached, message, label);
                break;
            }
            if let Some((deny, allow)) = overlap(acl, earlier, later)
                && !overlapped
            {
                overlapped = true;
                let message =
                    format!("`{allow}` as a whole cannot be subscribed to: an earlier deny overlaps it");
                let label = format!("`deny subscribe to {deny}` at {}", acl.place(earlier.pos));
                found.warn(allow.pos, Code::DenyOverlaps, message, label);
            }
        }
    }
}

/// The filters of a deny of subscriptions and of a later allow that overlap without the one covering the other.
fn overlap<'r>(acl: &Acl, deny: &'r RawRule, allow: &'r RawRule) -> Option<(&'r RawFilter, &'r RawFilter)> {
    let subscribe = |r: &RawRule| r.action.includes(ActionKind::Subscribe);
    let about =
        deny.effect == Effect::Deny && allow.effect == Effect::Allow && subscribe(deny) && subscribe(allow);
    if !about || disjoint(acl, deny, allow) {
        return None;
    }
    let pairs = deny
        .filters
        .iter()
        .flat_map(|d| allow.filters.iter().map(move |a| (d, a)));
    pairs.into_iter().find(|(d, a)| {
        let plain = !d.exact && !a.exact && !has_hole(d) && !has_hole(a);
        plain && topic::overlaps(&d.text, &a.text) && !topic::covers(&d.text, &a.text)
    })
}

/// Whether no client and request can fall under both.
fn disjoint(acl: &Acl, a: &RawRule, b: &RawRule) -> bool {
    let pairs = a
        .conds
        .iter()
        .flat_map(|x| b.conds.iter().map(move |y| (&x.cond, &y.cond)));
    pairs.into_iter().any(|pair| match pair {
        (
            Cond::Text {
                key,
                negated: false,
                patterns: x,
            },
            Cond::Text {
                key: other,
                negated: false,
                patterns: y,
            },
        ) => {
            let exact = |p: &[Pattern]| p.iter().all(|p| p.exact().is_some());
            key == other
                && *key != TextKey::San
                && exact(y)
                && !y.iter().any(|v| x.iter().any(|p| fits(p, v)))
        }
        (
            Cond::Addr {
                key,
                negated: false,
                values: x,
            },
            Cond::Addr {
                key: other,
                negated: false,
                values: y,
            },
        ) => key == other && !addr_set(acl, x).overlaps(&addr_set(acl, y)),
        (Cond::Flag { key, .. }, Cond::Flag { key: other, .. }) if key == other => {
            flag_mask(pair.0) & flag_mask(pair.1) == 0
        }
        (Cond::Qos(x), Cond::Qos(y)) => x & y == 0,
        (Cond::Shared(x), Cond::Shared(y)) => x != y,
        _ => false,
    })
}

fn fits(pattern: &Pattern, exact: &Pattern) -> bool {
    exact.exact().is_some_and(|text| pattern.matches(text))
}

/// Whether `earlier` matches whatever `later` matches. May say no where it is so.
fn covers_rule(acl: &Acl, earlier: &RawRule, later: &RawRule) -> bool {
    if !(earlier.action == later.action
        || earlier.action == ActionKind::All && later.action != ActionKind::Connect)
    {
        return false;
    }
    let implied = |cond: &Cond| {
        later
            .conds
            .iter()
            .any(|c| implies(acl, &c.cond, cond, later.effect, earlier.effect))
    };
    if !earlier.conds.iter().all(|c| implied(&c.cond)) {
        return false;
    }
    let kinds = [ActionKind::Publish, ActionKind::Subscribe]
        .into_iter()
        .filter(|k| later.action.includes(*k));
    kinds.into_iter().all(|kind| filters_cover(kind, earlier, later))
}

/// Whether a condition of the later rule makes one of the earlier rule hold.
fn implies(acl: &Acl, later: &Cond, earlier: &Cond, of_later: Effect, of_earlier: Effect) -> bool {
    // What an allow does not meet (missing facts, kind=proxy), a deny may.
    let asymmetric = of_earlier == Effect::Allow && of_later == Effect::Deny;
    match (later, earlier) {
        (
            Cond::Text {
                key,
                negated,
                patterns,
            },
            Cond::Text {
                key: of,
                negated: not,
                patterns: of_patterns,
            },
        ) => {
            let within = |inner: &[Pattern], outer: &[Pattern]| {
                inner.iter().all(|i| outer.iter().any(|o| o.covers(i)))
            };
            key == of
                && match (negated, not) {
                    (false, false) => within(patterns, of_patterns),
                    (true, true) => !asymmetric && within(of_patterns, patterns),
                    _ => false,
                }
        }
        (
            Cond::Addr { key, negated, values },
            Cond::Addr {
                key: of,
                negated: not,
                values: of_values,
            },
        ) => {
            let (set, of_set) = (addr_set(acl, values), addr_set(acl, of_values));
            key == of
                && !asymmetric
                && match (negated, not) {
                    (false, false) => of_set.covers(&set),
                    (true, true) => set.covers(&of_set),
                    (false, true) => !set.overlaps(&of_set),
                    (true, false) => false,
                }
        }
        (Cond::Flag { key, .. }, Cond::Flag { key: of, .. }) => {
            key == of && !asymmetric && flag_mask(later) & !flag_mask(earlier) == 0
        }
        (Cond::Qos(mask), Cond::Qos(of)) => mask & !of == 0,
        (Cond::Retain(yes), Cond::Retain(of)) | (Cond::Shared(yes), Cond::Shared(of)) => yes == of,
        _ => false,
    }
}

/// The bits that make a flag term hold.
fn flag_mask(cond: &Cond) -> u8 {
    match cond {
        Cond::Flag { key, negated, mask } => {
            let all = (1u8 << key.words().len()) - 1;
            if *negated { all & !mask } else { *mask }
        }
        _ => 0,
    }
}

fn addr_set(acl: &Acl, values: &[AddrValue]) -> NetSet {
    let mut nets = Vec::new();
    let mut unix = false;
    if let [AddrValue::Group(name)] = values {
        return acl
            .groups
            .get(&**name)
            .map(|g| (*g.set).clone())
            .unwrap_or_default();
    }
    for value in values {
        match value {
            AddrValue::Range(peer::Range::Unix) => unix = true,
            AddrValue::Range(peer::Range::Net(net)) => nets.push(*net),
            AddrValue::Group(name) => {
                if let Some(group) = acl.groups.get(&**name) {
                    nets.extend(group.set.nets());
                    unix |= group.set.contains_addr(&peer::Addr::UNIX);
                }
            }
        }
    }
    NetSet::new(nets, unix)
}

fn has_hole(filter: &RawFilter) -> bool {
    filter.levels.iter().any(|l| matches!(l, Level::Hole(_)))
}

fn filters_cover(kind: ActionKind, earlier: &RawRule, later: &RawRule) -> bool {
    if earlier.filters.is_empty() {
        return true;
    }
    let overlapping = kind == ActionKind::Subscribe && later.effect == Effect::Deny;
    if overlapping && earlier.effect == Effect::Allow {
        // The deny meets wider requests than any allow covers.
        return false;
    }
    !later.filters.is_empty()
        && later.filters.iter().all(|l| {
            earlier
                .filters
                .iter()
                .any(|e| filter_covers(e, l, earlier.effect, later.effect))
        })
}

fn filter_covers(earlier: &RawFilter, later: &RawFilter, of_earlier: Effect, of_later: Effect) -> bool {
    if has_hole(earlier) {
        // The same placeholder: only a deny matches without a usable value.
        let same = earlier.levels == later.levels && earlier.exact == later.exact;
        return same && (of_earlier == Effect::Deny || of_later == Effect::Allow);
    }
    if earlier.exact {
        return later.exact && earlier.text == later.text;
    }
    let mut text = String::new();
    for (number, level) in later.levels.iter().enumerate() {
        if number > 0 {
            text.push('/');
        }
        match level {
            Level::Text(part) => text.push_str(part),
            // A placeholder on the first level may stand for `$...`, which no wildcard covers.
            Level::Hole(_) if number == 0 && of_later == Effect::Deny => return false,
            Level::Hole(_) => text.push('+'),
        }
    }
    topic::covers(&earlier.text, &text)
}

/// One line of `acl check --list`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Number of the rule, from 1; `None` for a line with errors.
    pub number: Option<usize>,
    /// `acl.conf:12`.
    pub place: String,
    /// allow, deny; empty for a line with errors.
    pub verdict: &'static str,
    /// connect, publish, subscribe, all.
    pub action: &'static str,
    /// Terms and options as written.
    pub terms: String,
    /// Filters; for a line with errors the line itself.
    pub filters: String,
    /// What is wrong.
    pub error: String,
}

/// The rules of a file, with or without errors, in their order.
pub fn list(acl: &Acl) -> Vec<Listed> {
    let mut rows: Vec<(Pos, Listed)> = Vec::with_capacity(acl.rules.len() + acl.broken.len());
    for (number, rule) in (1..).zip(&acl.rules) {
        let terms: Vec<&str> = rule.conds.iter().map(|c| &*c.text).collect();
        let filters: Vec<String> = rule.filters.iter().map(ToString::to_string).collect();
        rows.push((
            rule.pos,
            Listed {
                number: Some(number),
                place: acl.place(rule.pos),
                verdict: rule.effect.as_str(),
                action: rule.action.as_str(),
                terms: terms.join(" "),
                filters: filters.join(" "),
                error: String::new(),
            },
        ));
    }
    for broken in &acl.broken {
        let here = |d: &&Diagnostic| d.pos.file == broken.pos.file && d.pos.line >= broken.pos.line;
        let error = acl.errors.iter().find(here);
        rows.push((
            broken.pos,
            Listed {
                number: None,
                place: acl.place(broken.pos),
                verdict: "",
                action: "",
                terms: String::new(),
                filters: broken.text.clone(),
                error: error
                    .map(|d| format!("{}: {}", d.code, d.message))
                    .unwrap_or_default(),
            },
        ));
    }
    // Rules keep their order; lines with errors go where their file has them.
    rows.sort_by_key(|(pos, row)| (pos.file, pos.line, row.number));
    rows.into_iter().map(|(_, row)| row).collect()
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
