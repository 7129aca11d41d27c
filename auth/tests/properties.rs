//! Properties of the ACL: decisions equal those of a slow, obvious evaluator; explanations and formatting change
//! nothing; a rule called unreachable is; no text makes anything panic.

#![expect(clippy::unwrap_used, reason = "a test says what failed by panicking")]

mod slow;

use auth::{Action, Effect, Env, Policy, RuleId, Subject, check, format, import, parse_text};
use proptest::prelude::*;
use slow::{Ask, Rule, Who};

fn policy(rules: &[Rule]) -> (Policy, String) {
    let text: String = rules.iter().map(|rule| rule.text() + "\n").collect();
    let acl = parse_text("acl.conf", &text, &Env::default());
    match Policy::compile(acl) {
        Ok(policy) => (policy, text),
        Err(errors) => panic!("{text}\n{}", auth::render(&errors)),
    }
}

/// The number of the deciding rule, if it is one, and the effect.
fn decide(policy: &Policy, who: &Who, ask: &Ask) -> (Effect, Option<usize>) {
    let peer = who.peer();
    let decision = policy.decide(&who.subject(&peer), &ask.action());
    let rule = match decision.rule {
        RuleId::Rule(number) => Some(number as usize),
        RuleId::Default(_) | RuleId::System => None,
    };
    (decision.effect, rule)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decisions_equal_those_of_the_slow_evaluator(
        rules in prop::collection::vec(slow::rule(), 0..60),
        asks in prop::collection::vec((slow::who(), slow::ask()), 1..12),
    ) {
        let (policy, text) = policy(&rules);
        for (who, ask) in &asks {
            let want = slow::decide(&rules, who, ask);
            prop_assert_eq!(decide(&policy, who, ask), want, "{:?} {:?}\n{}", who, ask, text);
        }
    }

    #[test]
    fn explaining_gives_the_same_decision(
        rules in prop::collection::vec(slow::rule(), 0..30),
        who in slow::who(),
        ask in slow::ask(),
        all in any::<bool>(),
    ) {
        let (policy, text) = policy(&rules);
        let peer = who.peer();
        let subject = who.subject(&peer);
        let explained = policy.explain(subject.facts(), &ask.action(), all);
        let connect = policy.decide(&subject, &Action::Connect);
        let want = if connect.is_allowed() { policy.decide(&subject, &ask.action()) } else { connect };
        prop_assert_eq!(explained.decision, want, "{}", text);
        let printed = explained.to_string();
        prop_assert_eq!(printed.lines().count(), 1 + explained.rows.len());
    }

    #[test]
    fn an_early_decision_is_the_one_that_connect_gets(
        rules in prop::collection::vec(slow::rule(), 0..12),
        who in slow::who(),
    ) {
        let (policy, text) = policy(&rules);
        let peer = who.peer();
        if let Some(early) = policy.decide_early(&peer, &who.listener) {
            let late = policy.decide(&who.subject(&peer), &Action::Connect);
            prop_assert_eq!(early, late, "{:?}\n{}", who, text);
        }
    }

    #[test]
    fn formatting_keeps_every_rule(rules in prop::collection::vec(slow::rule(), 0..20), blanks in "[ \t]{1,3}") {
        let text: String = rules.iter().map(|r| r.text().replace(' ', &blanks) + "\n\n# note\n").collect();
        let formatted = format(&text);
        prop_assert_eq!(&format(&formatted), &formatted);
        let lines = |text: &str| -> Vec<String> {
            parse_text("acl.conf", text, &Env::default()).rules.iter().map(auth::raw::RawRule::line).collect()
        };
        prop_assert_eq!(lines(&text), lines(&formatted));
        prop_assert_eq!(lines(&text).len(), rules.len());
    }

    #[test]
    fn a_rule_that_is_never_reached_decides_nothing(
        rules in prop::collection::vec(slow::rule(), 2..8),
        asks in prop::collection::vec((slow::who(), slow::ask()), 1..20),
    ) {
        let (policy, text) = policy(&rules);
        let warnings = check::warnings(policy.acl(), &Env::default());
        let dead: Vec<u32> = warnings.iter().filter(|w| w.code.as_str() == "A201").map(|w| w.pos.line).collect();
        for (who, ask) in &asks {
            let (_, rule) = decide(&policy, who, ask);
            let line = rule.map(|number| number as u32 + 1);
            prop_assert!(!line.is_some_and(|l| dead.contains(&l)), "line {:?} {:?} {:?}\n{}", line, who, ask, text);
        }
    }

    #[test]
    fn no_words_make_the_parser_panic(words in prop::collection::vec(slow::word(), 0..60)) {
        survive(&words.concat());
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>()) {
        survive(&text);
    }
}

/// Puts a text through everything that reads one.
fn survive(text: &str) {
    let acl = parse_text("acl.conf", text, &Env::default());
    let _ = (auth::render(&acl.errors), check::list(&acl), format(text));
    if acl.errors.is_empty() {
        let _ = check::warnings(&acl, &Env::default());
        let policy = Policy::compile(acl).unwrap();
        let peer = peer::Peer::test_client("203.0.113.9:1");
        let subject = Subject::new(&peer, "tcp").with_client("c", Some("u"), true);
        for action in [
            Action::Connect,
            Action::subscribe("a/#", 1),
            Action::Publish {
                topic: "a",
                qos: 0,
                retain: true,
            },
        ] {
            let _ = policy.explain(subject.facts(), &action, true).to_string();
        }
    }
    for imported in [import::mosquitto(text), import::vernemq(text), import::emqx(text)] {
        let acl = parse_text("import", &imported.text, &Env::default());
        assert_eq!(acl.errors, [], "{text:?} became\n{}", imported.text);
    }
    let _ = auth::credentials::Passwords::parse(text);
    let _ = text.parse::<auth::bans::Target>();
}
