//! Foreign files and what becomes of them; every line of the result must be one of ours.

use super::*;
use crate::policy::Policy;

#[track_caller]
fn check(imported: &Imported, rules: &[&str], left_out: usize) {
    let is_rule = |line: &&str| line.starts_with("allow") || line.starts_with("deny");
    let got: Vec<&str> = imported.text.lines().filter(is_rule).collect();
    assert_eq!(got, rules, "\n{}", imported.text);
    assert_eq!(imported.left_out, left_out, "\n{}", imported.text);
    let acl = parse_text("import", &imported.text, &Env::default());
    assert_eq!(acl.errors, [], "\n{}", imported.text);
    assert_eq!(
        crate::format(&imported.text),
        imported.text,
        "the result stands in columns"
    );
}

#[test]
fn mosquitto_files() {
    let text = "# for clients without a name\ntopic read $SYS/#\n\nuser roger\ntopic foo/bar\n topic deny foo/secret\n\
                topic readwrite with blank/#\nuser a*b \"c\"\ntopic write #\npattern write s/%c/%u\n\
                pattern write $SYS/broker/connection/%c/state\ntopic read x%c\ntopic read %c/x\nbridge\n";
    let imported = mosquitto(text);
    check(
        &imported,
        &[
            "deny  all       user=roger to foo/secret",
            "allow subscribe auth=no to $SYS/#",
            "allow all       user=roger to foo/bar",
            "allow all       user=roger to \"with blank/#\"",
            "allow publish   user~\"^a\\\\*b \\\"c\\\"$\" to #",
            "allow publish   to s/%c/%u",
        ],
        4,
    );
    assert!(
        imported
            .text
            .contains("# no equal (nobody publishes below $SYS): pattern write $SYS/broker")
    );
}

#[test]
fn vernemq_files() {
    let text = "# c\ntopic read a/b/c\ntopic write v/w x/y\nuser test\n\ntopic x/#\npattern read %m/%u/%c\npattern %u/%c\n";
    check(
        &vernemq(text),
        &[
            "allow subscribe to a/b/c",
            "allow publish   to \"v/w x/y\"",
            "allow all       user=test to x/#",
            "allow all       to %u/%c",
        ],
        1,
    );
}

#[test]
fn emqx_files() {
    let text = r##"%% rules
{allow, {username, {re, "^dashboard$"}}, subscribe, ["$SYS/#"]}.
{allow, {ipaddr, "127.0.0.1"}, all, ["$SYS/#", "#"]}.
{deny, all, subscribe, ["$SYS/#", {eq, "#"}, {eq, "+/#"}]}.
{allow, {'and', [{user, "bob"}, {'or', [{ipaddrs, ["10.0.0.1/8", "::1"]}, {clientid, <<"c 1">>}]}]},
        {publish, [{qos, [0, 1]}, {retain, false}]}, "dev/${clientid}/#"}. % note
{deny, all, {all, [{retain, true}]}, ["${cert_common_name}"]}.
{allow, {username, "a.b*"}, publish, ["x"]}.
{allow, all, publish, ["${client_attrs.group}/#"]}.
{allow, {zone, x}}.
{allow, "unfinished
}.
{deny, all}.
"##;
    check(
        &emqx(text),
        &[
            "allow subscribe user~^dashboard$ to $SYS/#",
            "allow all       ip=127.0.0.1 to $SYS/# \"#\"",
            "deny  subscribe to $SYS/# =# =+/#",
            "allow publish   user=bob ip=10.0.0.0/8,::1 qos=0,1 retain=no to dev/${clientid}/#",
            "allow publish   user=bob client=\"c 1\" qos=0,1 retain=no to dev/${clientid}/#",
            "deny  publish   retain=yes to ${cn}",
            "deny  subscribe to ${cn}",
            "allow publish   user~\"^a\\\\.b\\\\*$\" to x",
            "deny  all",
        ],
        3,
    );
}

#[test]
fn an_imported_file_decides_as_the_foreign_one_did() {
    use crate::{Action, Facts};
    let imported = mosquitto("user bob\ntopic read a/#\ntopic deny a/b\n");
    let policy = Policy::compile(parse_text("acl.conf", &imported.text, &Env::default())).unwrap();
    let facts = Facts {
        username: Some("bob"),
        ..Facts::default()
    };
    let may = |filter| {
        policy
            .decide_facts(&facts, &Action::subscribe(filter, 0))
            .is_allowed()
    };
    assert!(may("a/c") && !may("a/b") && !may("a/#") && !may("b"));
}
