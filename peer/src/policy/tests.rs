//! Checks that the shared vectors do not reach, and values as files and environments write them.

use super::{ConfigCode, Policy, Problem, ProxyMode, RawPolicy, Transport, Value};
use std::time::Duration;

fn raw(keys: &[(&str, Value)]) -> RawPolicy {
    let mut raw = RawPolicy::default();
    for (key, value) in keys {
        raw.set(*key, value.clone());
    }
    raw
}

fn networks(name: &str) -> Option<Vec<String>> {
    (name == "lb").then(|| vec!["10.0.0.0/24".to_owned(), "unix".to_owned()])
}

#[track_caller]
fn check(transport: Transport, keys: &[(&str, Value)], expected: &[&str]) -> Vec<Problem> {
    let problems = raw(keys).check(transport, &networks).problems;
    let codes: Vec<&str> = problems.iter().map(|p| p.code.as_str()).collect();
    assert_eq!(codes, expected, "{problems:?}");
    problems
}

#[track_caller]
fn policy(transport: Transport, keys: &[(&str, Value)]) -> Policy {
    raw(keys).check(transport, &networks).into_result().unwrap().0
}

fn required() -> (&'static str, Value) {
    ("proxy_protocol", "required".into())
}

fn trusted(range: &str) -> (&'static str, Value) {
    ("trusted_proxies", [range].into())
}

fn xff() -> (&'static str, Value) {
    ("address_header", "X-Forwarded-For".into())
}

#[test]
fn unknown_keys_and_values_are_reported_alone_but_all_of_them() {
    let keys = [
        ("proxy_protocl", true.into()),
        ("strategy", "rightmost".into()),
        ("scope_check", "yes".into()),
        ("trusted_proxies", ["10.0.0.0/33", "@nowhere"].into()),
        xff(),
    ];
    check(Transport::Tcp, &keys, &["CE12", "CE07", "CE07", "CE12", "CE12"]);
    assert!(raw(&keys).check(Transport::Tcp, &networks).policy.is_none());
}

#[test]
fn numbers_out_of_range_are_reported_with_the_rest() {
    for (key, value) in [
        ("proxy_header_timeout", Value::from("61s")),
        ("proxy_header_timeout", "999ms".into()),
        ("proxy_header_max", 535.into()),
        ("proxy_header_max", "65552".into()),
        ("pp2_expose_tlvs", [256].into()),
        ("pp2_expose_tlvs", [-1].into()),
        ("header_max_bytes", 63.into()),
        ("header_max_elements", 257.into()),
        ("header_max_elements", 0.into()),
        ("header_max_elements", i64::MAX.into()),
    ] {
        let keys = [required(), (key, value)];
        check(Transport::Tcp, &keys, &["CE01", "CE12"]);
        assert!(raw(&keys).check(Transport::Tcp, &networks).policy.is_none());
    }
    let hops = [
        xff(),
        trusted("10.0.0.0/8"),
        ("strategy", "trusted_hops".into()),
        ("hops", 17.into()),
    ];
    check(Transport::Ws, &hops, &["CE04"]);
}

#[test]
fn named_networks_stand_for_their_ranges() {
    let policy = policy(Transport::Tcp, &[required(), trusted("@lb")]);
    let ranges: Vec<String> = policy.trusted_proxies().ranges().map(|r| r.to_string()).collect();
    assert_eq!(ranges, ["10.0.0.0/24", "unix"]);
}

#[test]
fn values_as_people_write_them() {
    let keys = [
        ("proxy_protocol", true.into()),
        trusted("10.0.0.5"),
        ("proxy_header_timeout", "1m".into()),
        ("proxy_header_max", "8KiB".into()),
    ];
    let policy = policy(Transport::Tcp, &keys);
    assert_eq!(policy.proxy_mode(), ProxyMode::Required);
    assert_eq!(policy.proxy_header_timeout(), Duration::from_secs(60));
    assert_eq!(policy.proxy.header_max, 8192);
    check(
        Transport::Tcp,
        &[
            ("proxy_protocol", false.into()),
            ("proxy_header_timeout", "2 s".into()),
        ],
        &[],
    );
    check(
        Transport::Tcp,
        &[("proxy_header_timeout", "5 parsecs".into())],
        &["CE12"],
    );
}

#[test]
fn wildcards_are_judged_by_their_use() {
    let optional = ("proxy_protocol", Value::from("optional"));
    check(Transport::Tcp, &[trusted("::/0")], &["CW01"]);
    check(
        Transport::Ws,
        &[required(), trusted("::/0"), xff()],
        &["CE06", "CW01"],
    );
    let cdn = ("header_trusted_proxies", Value::from(["0.0.0.0/0"]));
    check(
        Transport::Ws,
        &[trusted("10.0.0.0/8"), xff(), cdn.clone()],
        &["CE06"],
    );
    let leftmost = [
        trusted("10.0.0.0/8"),
        xff(),
        cdn.clone(),
        ("strategy", "leftmost".into()),
        ("edge_overwrites", true.into()),
    ];
    check(Transport::Ws, &leftmost, &["CW01", "CW05"]);
    check(
        Transport::Ws,
        &[optional, trusted("0.0.0.0/0"), xff(), cdn],
        &["CE06", "CE14", "CW07"],
    );
    let two = [
        required(),
        (
            "trusted_proxies",
            ["0.0.0.0/0", "::/0", "::ffff:0.0.0.0/96"].into(),
        ),
    ];
    let problems = check(Transport::Tcp, &two, &["CW01", "CW01", "CW01"]);
    assert_eq!(
        problems[2].range.map(|r| r.to_string()).as_deref(),
        Some("0.0.0.0/0")
    );
}

#[test]
fn wide_ranges_are_those_with_public_addresses() {
    for range in [
        "8.0.0.0/15",
        "0.0.0.0/1",
        "96.0.0.0/3",
        "172.0.0.0/8",
        "2000::/3",
        "2001:db8::/31",
        "fc00::/6",
    ] {
        check(Transport::Tcp, &[required(), trusted(range)], &["CW02"]);
    }
    for range in [
        "8.8.0.0/16",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "224.0.0.0/3",
        "fc00::/7",
        "fe80::/9",
        "2001:db8::/32",
    ] {
        check(Transport::Tcp, &[required(), trusted(range)], &[]);
    }
}

#[test]
fn header_names() {
    let same = ("port_header", Value::from("x-forwarded-FOR"));
    check(Transport::Ws, &[trusted("10.0.0.0/8"), xff(), same], &["CE13"]);
    let bad = ("port_header", Value::from("X:Port"));
    check(
        Transport::Ws,
        &[trusted("10.0.0.0/8"), xff(), bad.clone()],
        &["CE13"],
    );
    check(Transport::Ws, &[bad], &["CE11", "CE13"]);
    check(Transport::Tls, &[xff()], &["CE02", "CE03"]);
}

#[test]
fn a_list_of_its_own_replaces_the_proxies_of_the_header_stage() {
    let own = ("header_trusted_proxies", Value::List(Vec::new()));
    check(Transport::Ws, &[trusted("10.0.0.0/8"), xff(), own], &["CE03"]);
}

#[test]
fn problems_name_key_and_code() {
    let problems = check(Transport::Tcp, &[required()], &["CE01"]);
    assert_eq!(problems[0].key, "trusted_proxies");
    assert!(
        problems[0]
            .to_string()
            .starts_with("CE01 trusted_proxies: proxy_protocol is on")
    );
    assert!(ConfigCode::Ce14.is_error() && !ConfigCode::Cw01.is_error());
}
