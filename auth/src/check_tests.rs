//! Each warning where it is due, and none where it is not.

use super::*;
use crate::parse::parse_text;

/// `CODE line:col` of each warning.
#[track_caller]
fn check_in(env: &Env, text: &str, want: &[&str]) {
    let acl = parse_text("acl.conf", text, env);
    assert_eq!(acl.errors, []);
    let got: Vec<String> = warnings(&acl, env)
        .iter()
        .map(|d| format!("{} {}:{}", d.code, d.pos.line, d.pos.col))
        .collect();
    assert_eq!(got, want, "\n{text}");
}

#[track_caller]
fn check(text: &str, want: &[&str]) {
    check_in(&Env::default(), text, want);
}

#[test]
fn rules_that_are_never_reached() {
    for (text, reached) in [
        ("deny publish\nallow publish to a", false),
        ("allow all to #\nallow publish user=bob to a/b", false),
        (
            "deny publish user=b*,c\nallow publish user=bob,c ip=1.2.3.4",
            false,
        ),
        ("deny publish user=bob\nallow publish user=b*", true),
        (
            "deny connect ip=10.0.0.0/8\ndeny connect ip=10.1.0.0/16,10.2.0.1",
            false,
        ),
        ("allow publish ip=10.0.0.0/8\ndeny publish ip=10.1.0.0/16", true),
        ("deny publish ip=10.0.0.0/8\nallow publish ip=10.1.0.0/16", false),
        ("allow publish user!=a\ndeny publish user!=a,b", true),
        ("deny publish user!=a\nallow publish user!=a,b", false),
        ("allow publish qos=0,1\nallow publish qos=1 retain=no", false),
        ("allow publish tls!=no\nallow publish tls=yes", false),
        ("allow publish to a/+\nallow publish to a/%c", false),
        ("allow publish to a/%c\ndeny publish to a/%c", true),
        ("allow publish to %c/#\nallow publish to %c/#", false),
        ("allow publish to +/#\ndeny publish to %c/#", true),
        ("allow subscribe to a/#\ndeny subscribe to a/b", true),
        ("deny subscribe to a/#\nallow subscribe to a/b", false),
        ("allow subscribe\ndeny subscribe to a/b", false),
        ("deny subscribe to =#\nallow subscribe to a", true),
        ("allow subscribe to #\nallow all to a", true),
        ("allow publish to #\nallow publish to $SYS/x", true),
        ("allow publish san=a*\ndeny publish san!=b", true),
    ] {
        check(text, if reached { &[] } else { &["A201 2:1"] });
    }
}

#[test]
fn denies_that_overlap_a_later_allow() {
    check("deny subscribe to secret/#\nallow subscribe to #", &["A202 2:20"]);
    check(
        "deny subscribe user=eve to secret/#\nallow subscribe user=bob to #",
        &[],
    );
    check(
        "deny subscribe ip=10.0.0.0/8 to secret/#\nallow subscribe ip=11.0.0.0/8 to #",
        &[],
    );
    check(
        "deny subscribe to =# $SYS/#\nallow subscribe to cmd/%c/# a/+",
        &[],
    );
    check("deny publish to a/#\nallow publish to #", &[]);
}

#[test]
fn the_other_warnings() {
    check("allow connect user=bob", &["A203 1:1"]);
    check("allow connect user=bob\ndeny connect", &[]);
    check("default connect deny\nallow connect user=bob", &[]);
    check("group g =\ndeny connect ip=@g", &["A204 1:7"]);
    let proxies = vec![peer::Range::Net("172.16.0.0/24".parse().unwrap())];
    let env = Env {
        proxies,
        names_verified: false,
        ..Env::default()
    };
    check_in(
        &env,
        "allow publish ip=172.16.0.5,@proxies,10.0.0.1",
        &["A205 1:15", "A205 1:15"],
    );
    check_in(
        &env,
        "deny publish ip=172.16.0.5\nallow publish socket=172.16.0.5",
        &[],
    );
    check_in(
        &env,
        "allow publish user=bob\ndeny publish user=eve\nallow publish user!=bob",
        &["A206 1:15"],
    );
}

#[test]
fn the_list_shows_lines_with_errors_too() {
    let acl = parse_text(
        "acl.conf",
        "allow publish qos=0 to a b\ndeny conect\ndeny all",
        &Env::default(),
    );
    let rows: Vec<String> = list(&acl)
        .iter()
        .map(|r| {
            format!(
                "{:?} {} {} {} [{}] [{}] {}",
                r.number, r.place, r.verdict, r.action, r.terms, r.filters, r.error
            )
        })
        .collect();
    assert_eq!(
        rows,
        [
            "Some(1) acl.conf:1 allow publish [qos=0] [a b] ",
            "None acl.conf:2   [] [deny conect] A101: unknown action `conect`",
            "Some(2) acl.conf:3 deny all [] [] ",
        ]
    );
}
