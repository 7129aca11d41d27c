//! The text of a scrape: sums, names, labels; the dashboard and the alert rules against it.

use std::time::Duration;

use super::*;

#[test]
fn shards_are_summed_and_lines_are_well_formed() {
    let metrics = Metrics::default();
    let (a, b) = (metrics.counters("tcp"), metrics.counters("tcp"));
    a.accepted.add(3);
    b.accepted.inc();
    a.connections.add(2);
    b.connections.add(-1);
    a.connect(ConnectReason::Ok);
    b.connect(ConnectReason::Banned);
    a.peername_accepted(Via::ProxyV1, false);
    b.peername_refused.inc("E_PROXY_REQUIRED");
    a.packets_received[3].add(7);
    a.acl_check.record(Duration::from_nanos(300));
    b.acl_check.record(Duration::from_secs(2));
    let mut levels = Levels {
        bans: 2,
        ..Levels::default()
    };
    levels
        .listeners
        .entry("tcp".into())
        .or_default()
        .proxies
        .insert("@lb".into(), 1);
    let text = render(&metrics, &levels);
    for line in [
        "broker_connections{listener=\"tcp\"} 1",
        "broker_connections_accepted_total{listener=\"tcp\"} 4",
        "broker_connects_total{listener=\"tcp\",outcome=\"success\",reason=\"ok\"} 1",
        "broker_connects_total{listener=\"tcp\",outcome=\"failure\",reason=\"banned\"} 1",
        "broker_peername_total{listener=\"tcp\",via=\"proxy_v1\",kind=\"client\",code=\"ok\"} 1",
        "broker_peername_total{listener=\"tcp\",via=\"none\",kind=\"none\",code=\"E_PROXY_REQUIRED\"} 1",
        "broker_packets_received_total{type=\"publish\"} 7",
        "broker_acl_check_seconds_bucket{le=\"0.00000025\"} 0",
        "broker_acl_check_seconds_bucket{le=\"0.0000005\"} 1",
        "broker_acl_check_seconds_bucket{le=\"+Inf\"} 2",
        "broker_acl_check_seconds_count 2",
        "broker_proxy_connections{listener=\"tcp\",proxy=\"@lb\"} 1",
        "broker_bans 2",
    ] {
        assert!(text.lines().any(|l| l == line), "no {line} in\n{text}");
    }
    lint(&text);
}

/// promtool's rules that matter: help and type before each family, each family once, counters end in
/// `_total`, names begin with `broker_`.
#[track_caller]
fn lint(text: &str) {
    let mut families = std::collections::HashSet::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            current = rest.split(' ').next().unwrap().to_owned();
            assert!(families.insert(current.clone()), "{current} twice");
            assert!(rest.ends_with('.'), "{rest}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, current);
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
            assert_eq!(
                kind == "histogram",
                name.ends_with("_resolve_seconds")
                    || name.ends_with("_route_seconds")
                    || name.ends_with("_check_seconds"),
                "{name}"
            );
        } else {
            assert!(
                line.starts_with(&current) && line.starts_with("broker_"),
                "{line} in {current}"
            );
        }
    }
}

/// What the dashboard and the alert rules name exists, with these labels.
#[test]
fn dashboard_and_alerts_name_metrics_that_exist() {
    let metrics = Metrics::default();
    metrics.counters("tcp");
    let mut levels = Levels::default();
    levels.listeners.insert("tcp".into(), ListenerLevels::default());
    let text = render(&metrics, &levels);
    let known: std::collections::HashSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let etc = concat!(env!("CARGO_MANIFEST_DIR"), "/../etc/");
    let name = regex::Regex::new("broker_[a-z_]+").unwrap();
    for (file, at_least) in [("grafana/broker.json", 20), ("prometheus/alerts.yml", 8)] {
        let used = std::fs::read_to_string(format!("{etc}{file}")).unwrap();
        let used: std::collections::HashSet<&str> = name.find_iter(&used).map(|m| m.as_str()).collect();
        assert!(used.len() >= at_least, "{file}: {used:?}");
        for metric in used {
            assert!(
                known.contains(metric.trim_end_matches("_bucket")),
                "{file}: {metric}"
            );
        }
    }
}

/// Runs `promtool` over the rules and the text, where it is installed.
#[test]
fn promtool_accepts_rules_and_text() {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let metrics = Metrics::default();
    let counters = metrics.counters("tcp");
    counters.connect(ConnectReason::Ok);
    counters.acl_check.record(Duration::from_nanos(300));
    counters.peername_accepted(Via::Socket, false);
    let text = render(&metrics, &Levels::default());
    let checks = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut checks) = checks else {
        eprintln!("SKIPPED: promtool is not installed, names and alert rules were not checked with it");
        return;
    };
    checks.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let said = checks.wait_with_output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/../etc/prometheus/alerts.yml");
    let said = Command::new("promtool")
        .args(["check", "rules", rules])
        .output()
        .unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
}
