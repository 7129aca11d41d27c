//! How records look: key order, the JSON Schema, escaping, fail2ban, other schemas.

use std::collections::BTreeSet;
use std::process::Command;

use proptest::prelude::*;
use serde_json::Value;

use super::super::export::{Schema, convert};
use super::super::format::{Head, Repeats, write_checkpoint, write_event, write_gap};
use super::*;

fn line(event: &Event) -> String {
    let mut out = Vec::new();
    let repeats = (event.kind() == EventKind::AclDeny).then_some(Repeats {
        count: 212,
        first_ts: 1_795_301_694_120_004,
    });
    let head = Head {
        ts: 1_795_301_701_123_456,
        seq: 10_421,
        node: "broker-1",
    };
    write_event(&mut out, head, event, repeats);
    String::from_utf8(out).unwrap()
}

#[test]
fn the_documented_examples() {
    assert_eq!(
        line(&authn_fail()),
        "{\"ts\":\"2026-11-21T22:55:01.123456Z\",\"v\":1,\"seq\":10421,\"event\":\"authn_fail\",\
         \"outcome\":\"failure\",\"reason\":\"bad_credentials\",\"kind\":\"client\",\
         \"peer_ip\":\"203.0.113.9\",\"peer_port\":61177,\"socket_ip\":\"172.16.0.116\",\
         \"socket_port\":39826,\"via\":\"proxy_v1\",\"chain\":[\"172.16.0.116:39826\"],\
         \"listener\":\"tcp_lb\",\"node\":\"broker-1\",\"clientid\":\"cam-3\",\"username\":\"root\",\
         \"proto\":\"mqtt5\",\"tls\":{\"by\":\"none\"},\"method\":\"password_file\"}"
    );
    assert!(
        line(&denied("sensors/sensor-7/t")).ends_with(
            "\"tls\":{\"by\":\"none\"},\"action\":\"publish\",\"topic\":\"sensors/sensor-7/t\",\"qos\":1,\
             \"retain\":false,\"rule\":\"acl.conf:3\",\"count\":212,\"first_ts\":\"2026-11-21T22:54:54.120004Z\"}"
        ),
        "{}",
        line(&denied("sensors/sensor-7/t"))
    );
}

/// Enough of JSON Schema for ours: what it does not know makes the test fail.
fn check(schema: &Value, root: &Value, v: &Value) -> Result<(), String> {
    for (key, want) in schema.as_object().unwrap() {
        let ok = match key.as_str() {
            "$schema" | "title" | "description" | "$defs" => true,
            "$ref" => {
                let def = want.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                return check(&root["$defs"][def], root, v);
            }
            "const" => v == want,
            "enum" => want.as_array().unwrap().contains(v),
            "type" => {
                let is = |t: &Value| match t.as_str().unwrap() {
                    "string" => v.is_string(),
                    "integer" => v.is_u64() || v.is_i64(),
                    "boolean" => v.is_boolean(),
                    "object" => v.is_object(),
                    "array" => v.is_array(),
                    "null" => v.is_null(),
                    t => panic!("type {t}"),
                };
                want.as_array().map_or_else(|| is(want), |any| any.iter().any(is))
            }
            "pattern" => v
                .as_str()
                .is_none_or(|s| regex::Regex::new(want.as_str().unwrap()).unwrap().is_match(s)),
            "format" => v.as_str().is_none_or(|s| s.parse::<std::net::IpAddr>().is_ok()),
            "minimum" => v.as_i64().is_none_or(|n| n >= want.as_i64().unwrap()),
            "maximum" => v.as_i64().is_none_or(|n| n <= want.as_i64().unwrap()),
            "items" => match v.as_array() {
                Some(items) => items.iter().all(|i| check(want, root, i).is_ok()),
                None => true,
            },
            "required" => want
                .as_array()
                .unwrap()
                .iter()
                .all(|k| v.get(k.as_str().unwrap()).is_some()),
            "properties" => {
                for (name, sub) in want.as_object().unwrap() {
                    if let Some(value) = v.get(name) {
                        check(sub, root, value).map_err(|e| format!("{name}: {e}"))?;
                    }
                }
                true
            }
            "additionalProperties" => {
                let known = schema["properties"].as_object().unwrap();
                v.as_object().unwrap().keys().all(|k| known.contains_key(k))
            }
            "oneOf" | "anyOf" => {
                let fit: Vec<_> = want
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|s| check(s, root, v))
                    .collect();
                let n = fit.iter().filter(|r| r.is_ok()).count();
                if n == 0 || (key == "oneOf" && n > 1) {
                    return Err(format!("{n} of {key} fit: {fit:?}"));
                }
                true
            }
            other => panic!("schema keyword {other}"),
        };
        if !ok {
            return Err(format!("{key} {want}: {v}"));
        }
    }
    Ok(())
}

#[test]
fn each_event_fits_the_json_schema_and_its_key_order() {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../etc/audit.schema.json")).unwrap();
    let schema = json(&text);
    let mut lines: Vec<String> = samples().iter().map(line).collect();
    let head = Head {
        ts: 1,
        seq: 2,
        node: "n",
    };
    let mut own = Vec::new();
    write_gap(&mut own, head, 3, 4, 9);
    lines.push(String::from_utf8(std::mem::take(&mut own)).unwrap());
    write_checkpoint(&mut own, head, &"0".repeat(64));
    lines.push(String::from_utf8(own).unwrap());
    let mut seen = BTreeSet::new();
    for line in &lines {
        let record = json(line);
        if let Err(e) = check(&schema, &schema, &record) {
            panic!("{line}\n{e}");
        }
        // The one schema that fits lists the keys in the order in which they are written.
        let mut fitting = schema["oneOf"].as_array().unwrap().iter();
        let fitting = fitting.find(|s| check(s, &schema, &record).is_ok()).unwrap();
        let order: Vec<_> = fitting["properties"].as_object().unwrap().keys().collect();
        let at: Vec<_> = record
            .as_object()
            .unwrap()
            .keys()
            .map(|k| order.iter().position(|o| *o == k))
            .collect();
        assert!(at.is_sorted(), "{line}");
        seen.insert(record["event"].as_str().unwrap().to_owned());
    }
    assert_eq!(seen.len(), EventKind::ALL.len());
    // The checker can say no.
    for wrong in [
        "{}",
        "{\"event\":\"stop\"}",
        &lines[0].replace("\"v\":1", "\"v\":2"),
    ] {
        assert!(check(&schema, &schema, &json(wrong)).is_err(), "{wrong}");
    }
}

#[test]
fn tls_of_a_proxy_is_told_with_its_verified_name() {
    let record = json(&line(&samples()[1]));
    assert_eq!(record["tls"]["by"], "proxy");
    assert_eq!(record["tls"]["cn"], "cam-3.example");
    assert_eq!(record["tls"]["sni"], "mqtt.example");
    assert_eq!(record["info"]["authority"], "mqtt.example");
    assert_eq!(
        (&record["peer_port"], &record["socket_ip"]),
        (&Value::from(0), &Value::from("unix"))
    );
    assert_eq!(
        (&record["kind"], &record["claimed"]),
        (&Value::from("proxy"), &Value::from("127.0.0.1:5"))
    );
}

proptest! {
    /// No client string can start a new line or key, or move a terminal.
    #[test]
    fn client_strings_stay_in_their_values(id in any::<String>(), user in any::<String>(), topic in any::<String>()) {
        let mut facts = facts();
        facts.clientid = Some(id.as_str().into());
        facts.username = Some(user.as_str().into());
        let event = Event::Unsubscribe(facts, topic.as_str().into());
        let line = line(&event);
        prop_assert!(!line.chars().any(char::is_control), "{line:?}");
        let hidden = |c| matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}');
        prop_assert!(!line.contains(hidden), "{line:?}");
        let record = json(&line);
        prop_assert_eq!(record["clientid"].as_str(), Some(id.as_str()));
        prop_assert_eq!(record["username"].as_str(), Some(user.as_str()));
        prop_assert_eq!(record["filter"].as_str(), Some(topic.as_str()));
        let plain = json(&super::line::line(&Event::Unsubscribe(super::facts(), "t".into())));
        prop_assert!(record.as_object().unwrap().keys().eq(plain.as_object().unwrap().keys()));
        for schema in [Schema::Ecs, Schema::Ocsf, Schema::Cef] {
            let out = convert(schema, &line).unwrap();
            prop_assert_eq!(out.lines().count(), 1);
        }
    }
}

#[test]
fn fail2ban_counts_failed_logins_of_clients_only() {
    let etc = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../etc/fail2ban/filter.d/broker.conf"
    );
    if Command::new("fail2ban-regex").arg("--version").output().is_err() {
        println!("skipped: fail2ban-regex is not installed");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let log = AuditLog::open(Settings {
        coalesce: Duration::ZERO,
        ..settings(&path)
    })
    .unwrap();
    let proxy = PeerBuilder::new("10.0.0.5:1").kind(Kind::Proxy).build();
    let v6 = facts_of(Peer::test_client("[2001:db8::7]:4"));
    let mut forged = facts();
    forged.addresses = Addresses::Peer(Arc::new(PeerBuilder::new("10.0.0.6:1").kind(Kind::Proxy).build()));
    forged.clientid = Some("\",\"kind\":\"client\",\"peer_ip\":\"192.0.2.1\",".into());
    log.record(authn_fail());
    log.record(Event::ProtoError(v6, "malformed_packet", "x".into()));
    log.record(Event::AuthnFail(
        facts_of(proxy),
        AuthnReason::BadCredentials,
        "password_file".into(),
    ));
    log.record(Event::AuthnFail(
        forged,
        AuthnReason::BadCredentials,
        "password_file".into(),
    ));
    log.record(Event::Connect(facts(), Connect::new(ConnectReason::Ok)));
    log.record(denied("a"));
    drop(log);
    let out = Command::new("fail2ban-regex")
        .args(["-v", path.to_str().unwrap(), etc])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{text}");
    assert!(text.contains("6 lines, 0 ignored, 2 matched, 4 missed"), "{text}");
    for ip in ["203.0.113.9", "2001:db8::7"] {
        assert!(
            text.lines()
                .any(|l| l.trim_start_matches(['|', ' ']).starts_with(ip)),
            "{ip} in {text}"
        );
    }
}

#[test]
fn crowdsec_files_read_the_keys_that_records_have() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../etc/crowdsec");
    let parser = std::fs::read_to_string(format!("{dir}/parsers/s01-parse/broker-audit.yaml")).unwrap();
    let record = json(&line(&authn_fail()));
    let keys: Vec<_> = parser
        .lines()
        .filter_map(|l| l.split_once("evt.Unmarshaled.broker."))
        .collect();
    assert_eq!(keys.len(), 5);
    for (_, key) in keys {
        assert!(record.get(key).is_some(), "{key}");
    }
    let scenario = std::fs::read_to_string(format!("{dir}/scenarios/broker-bf.yaml")).unwrap();
    assert!(scenario.contains("evt.Meta.log_type == 'authn_fail' && evt.Meta.kind == 'client'"));
}

#[test]
fn exports_follow_the_documented_mapping() {
    let ecs = json(&convert(Schema::Ecs, &line(&authn_fail())).unwrap());
    assert_eq!(ecs["client"]["ip"], "203.0.113.9");
    assert_eq!(ecs["source"]["nat"]["port"], 39826);
    assert_eq!(ecs["event"]["action"], "authn_fail");
    assert_eq!(
        ecs["related"]["ip"],
        serde_json::json!(["172.16.0.116", "203.0.113.9"])
    );
    assert_eq!(ecs["labels"]["mqtt_client_id"], "cam-3");
    let ocsf = json(&convert(Schema::Ocsf, &line(&denied("a|b"))).unwrap());
    assert_eq!(ocsf["type_uid"], 400_105);
    assert_eq!(ocsf["status_id"], 2);
    assert_eq!(ocsf["time"], 1_795_301_701_123_i64);
    assert_eq!(ocsf["src_endpoint"]["intermediate_ips"][0], "172.16.0.116");
    let cef = convert(Schema::Cef, &line(&denied("a=b"))).unwrap();
    assert!(cef.starts_with("CEF:0|broker|broker|"), "{cef}");
    assert!(
        cef.contains(" src=203.0.113.9 ") && cef.contains(" cs6=a\\=b "),
        "{cef}"
    );
    for event in samples() {
        for schema in [Schema::Ecs, Schema::Ocsf, Schema::Cef] {
            convert(schema, &line(&event)).unwrap();
        }
    }
    assert!(convert(Schema::Ecs, "no json").is_err());
}
