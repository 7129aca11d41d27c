//! `broker audit export`: a record of ours in another schema, for tools that know only theirs.
//!
//! On disk there is one format (`format`); the mapping is the table of operator-interface.md section 5.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

/// A schema to export to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Schema {
    /// Elastic Common Schema 8.11, JSON
    Ecs,
    /// Open Cybersecurity Schema Framework 1.3, JSON
    Ocsf,
    /// ArcSight Common Event Format, text
    Cef,
}

/// One line of the log in that schema, without a line end.
///
/// # Errors
/// The line is not a record of ours.
pub fn convert(schema: Schema, line: &str) -> Result<String, NotARecord> {
    let record = Record::parse(line).ok_or(NotARecord)?;
    Ok(match schema {
        Schema::Ecs => ecs(&record).to_string(),
        Schema::Ocsf => ocsf(&record).to_string(),
        Schema::Cef => cef(&record),
    })
}

/// The line is not an audit record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotARecord;

impl std::fmt::Display for NotARecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not an audit record")
    }
}

impl std::error::Error for NotARecord {}

/// Keys that the mappings place by name; every other key is an extra of its event.
const COMMON: &[&str] = &[
    "ts",
    "v",
    "seq",
    "event",
    "outcome",
    "reason",
    "kind",
    "peer_ip",
    "peer_port",
    "socket_ip",
    "socket_port",
    "via",
    "chain",
    "claimed",
    "warnings",
    "listener",
    "node",
    "clientid",
    "username",
    "proto",
    "tls",
    "hash",
];

/// A parsed record.
struct Record {
    map: Map<String, Value>,
    ts: String,
    event: String,
    seq: u64,
}

impl Record {
    fn parse(line: &str) -> Option<Self> {
        let Value::Object(map) = serde_json::from_str(line).ok()? else {
            return None;
        };
        let text = |k: &str| Some(map.get(k)?.as_str()?.to_owned());
        let (ts, event, seq) = (text("ts")?, text("event")?, map.get("seq")?.as_u64()?);
        Some(Self { map, ts, event, seq })
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.map.get(key)?.as_str()
    }

    fn value(&self, key: &str) -> Value {
        self.map.get(key).cloned().unwrap_or(Value::Null)
    }

    /// An IP address; a unix-domain socket is none.
    fn ip(&self, key: &str) -> Option<&str> {
        self.text(key).filter(|ip| ip.parse::<std::net::IpAddr>().is_ok())
    }

    /// A port that is known.
    fn port(&self, key: &str) -> Option<u64> {
        self.map.get(key)?.as_u64().filter(|p| *p != 0)
    }

    /// Addresses of the chain, without ports.
    fn chain(&self) -> Vec<String> {
        let links = self
            .map
            .get("chain")
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        links
            .iter()
            .filter_map(|l| l.as_str()?.parse::<std::net::SocketAddr>().ok())
            .map(|a| a.ip().to_string())
            .collect()
    }

    fn extras(&self) -> Map<String, Value> {
        let extra = |(k, _): &(&String, &Value)| !COMMON.contains(&k.as_str());
        self.map
            .iter()
            .filter(extra)
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect()
    }

    /// Refused for a quota or rate, before or at CONNECT.
    fn by_quota(&self) -> bool {
        matches!(self.text("reason"), Some("quota" | "rate"))
    }
}

/// An object without its empty members.
fn compact(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .map(|(k, v)| (k, compact(v)))
                .filter(|(_, v)| {
                    !(v.is_null()
                        || v.as_object().is_some_and(Map::is_empty)
                        || v.as_array().is_some_and(Vec::is_empty))
                })
                .collect(),
        ),
        other => other,
    }
}

fn ecs(r: &Record) -> Value {
    let (category, kind): (&[&str], &[&str]) = match r.event.as_str() {
        "connect" if r.by_quota() => (&["network"], &["denied"]),
        "connect" => (&["authentication", "session"], &["start"]),
        "authn_fail" => (&["authentication"], &["start", "denied"]),
        "disconnect" => (&["authentication", "session"], &["end"]),
        "acl_deny" | "peername_reject" | "proto_error" => (&["network"], &["denied"]),
        "takeover" => (&["session"], &["change"]),
        "kick" | "ban" | "unban" | "admin" | "config_reload" => (&["configuration"], &["change"]),
        "start" => (&["process"], &["start"]),
        "stop" => (&["process"], &["end"]),
        "subscribe" | "unsubscribe" | "publish_ok" => (&["network"], &["allowed"]),
        _ => (&["process"], &["info"]),
    };
    let mut related: Vec<String> = r.chain();
    related.extend(
        ["peer_ip", "socket_ip"]
            .iter()
            .filter_map(|k| r.ip(k).map(str::to_owned)),
    );
    related.sort_unstable();
    related.dedup();
    let peer = json!({"ip": r.ip("peer_ip"), "port": r.port("peer_port")});
    let mut source = peer.clone();
    if let Some(map) = source.as_object_mut() {
        map.insert(
            "nat".to_owned(),
            json!({"ip": r.ip("socket_ip"), "port": r.port("socket_port")}),
        );
    }
    let tls = r.map.get("tls");
    let tls = |key: &str| tls.and_then(|t| t.get(key)).cloned().unwrap_or(Value::Null);
    let used = tls("by").as_str().is_some_and(|by| by != "none");
    compact(json!({
        "@timestamp": r.ts,
        "ecs": {"version": "8.11.0"},
        "event": {
            "kind": "event", "dataset": "broker.audit", "action": r.event, "category": category,
            "type": kind, "outcome": r.value("outcome"), "reason": r.value("reason"), "sequence": r.seq,
            "hash": r.value("hash"),
        },
        "client": peer,
        "source": source,
        "related": {"ip": related, "user": r.text("username").map(|u| vec![u])},
        "user": {"name": r.value("username")},
        "host": {"name": r.value("node")},
        "network": {"protocol": r.map.contains_key("proto").then_some("mqtt")},
        "tls": {
            "established": used.then_some(true),
            "version": tls("version").as_str().map(|v| v.trim_start_matches("TLSv").to_owned()),
            "cipher": tls("cipher"),
            "client": {"server_name": tls("sni"), "x509": {"subject": {"common_name": tls("cn")},
                "alternative_names": tls("san")}, "hash": {"sha256": tls("cert_sha256")}},
        },
        "labels": {
            "mqtt_client_id": r.value("clientid"), "kind": r.value("kind"), "via": r.value("via"),
            "claimed": r.value("claimed"), "listener": r.value("listener"), "proto": r.value("proto"),
            "tls_by": tls("by"), "unix_peer": (r.text("peer_ip") == Some("unix")).then_some("true"),
        },
        "broker": r.extras(),
    }))
}

/// Class, category, activity with its name.
fn ocsf_class(r: &Record) -> (u64, u64, u64, &'static str) {
    match r.event.as_str() {
        "connect" if r.by_quota() => (4001, 4, 5, "Refuse"),
        "connect" | "authn_fail" => (3002, 3, 1, "Logon"),
        "disconnect" => (3002, 3, 2, "Logoff"),
        "takeover" => (3002, 3, 99, "Takeover"),
        "acl_deny" | "peername_reject" | "proto_error" => (4001, 4, 5, "Refuse"),
        "subscribe" => (4001, 4, 99, "Subscribe"),
        "unsubscribe" => (4001, 4, 99, "Unsubscribe"),
        "publish_ok" => (4001, 4, 6, "Traffic"),
        "ban" => (6003, 6, 1, "Create"),
        "unban" => (6003, 6, 4, "Delete"),
        "kick" | "admin" | "config_reload" => (6003, 6, 3, "Update"),
        "start" => (6002, 6, 3, "Start"),
        "stop" => (6002, 6, 4, "Stop"),
        _ => (6002, 6, 99, "Other"),
    }
}

fn ocsf(r: &Record) -> Value {
    let (class, category, activity, activity_name) = ocsf_class(r);
    let failure = r.text("outcome") == Some("failure");
    let status = match r.text("outcome") {
        Some("success") => 1,
        Some(_) => 2,
        None => 0,
    };
    let mut unmapped = r.extras();
    for key in [
        "kind", "claimed", "warnings", "via", "listener", "proto", "tls", "hash",
    ] {
        if let Some(v) = r.map.get(key) {
            unmapped.insert(key.to_owned(), v.clone());
        }
    }
    compact(json!({
        "class_uid": class, "category_uid": category, "activity_id": activity,
        "activity_name": activity_name, "type_uid": class * 100 + activity,
        "time": millis(&r.ts), "severity_id": if failure { 2 } else { 1 },
        "status_id": status, "status_detail": r.value("reason"),
        "metadata": {
            "version": "1.3.0", "uid": format!("{}:{}", r.text("node").unwrap_or_default(), r.seq),
            "sequence": r.seq, "log_name": "audit", "event_code": r.event, "original_time": r.ts,
            "product": {"name": "broker", "version": env!("CARGO_PKG_VERSION")},
        },
        "user": {"name": r.value("username"), "uid": r.value("clientid")},
        "src_endpoint": {
            "ip": r.ip("peer_ip"), "port": r.port("peer_port"), "intermediate_ips": r.chain(),
        },
        "proxy_endpoint": {"ip": r.ip("socket_ip"), "port": r.port("socket_port")},
        "device": {"hostname": r.value("node")},
        "unmapped": unmapped,
    }))
}

fn cef(r: &Record) -> String {
    let severity = match r.text("outcome") {
        Some("failure") => 5,
        _ => 2,
    };
    let mut out = format!(
        "CEF:0|broker|broker|{}|{}|{}|{severity}|rt={} externalId={}",
        env!("CARGO_PKG_VERSION"),
        cef_header(&r.event),
        cef_header(&r.event.replace('_', " ")),
        millis(&r.ts),
        r.seq
    );
    let mut put = |key: &str, value: Option<String>| {
        if let Some(v) = value {
            let _ = write!(out, " {key}={}", cef_value(&v));
        }
    };
    let text = |key: &str| r.text(key).map(str::to_owned);
    put("outcome", text("outcome"));
    put("reason", text("reason"));
    put("src", r.ip("peer_ip").map(str::to_owned));
    put("spt", r.port("peer_port").map(|p| p.to_string()));
    put("sourceTranslatedAddress", r.ip("socket_ip").map(str::to_owned));
    put(
        "sourceTranslatedPort",
        r.port("socket_port").map(|p| p.to_string()),
    );
    put("suser", text("username"));
    put("suid", text("clientid"));
    put("dvchost", text("node"));
    put("app", text("proto"));
    let chain = r.chain();
    let labelled = [
        ("cs1", "listener", text("listener")),
        ("cs2", "kind", text("kind")),
        ("cs3", "via", text("via")),
        ("cs4", "chain", (!chain.is_empty()).then(|| chain.join(","))),
        ("cs5", "claimed", text("claimed")),
        ("cs6", "topic", text("topic").or_else(|| text("filter"))),
    ];
    for (key, label, value) in labelled {
        if value.is_some() {
            put(&format!("{key}Label"), Some(label.to_owned()));
            put(key, value);
        }
    }
    put("cnt", r.map.get("count").map(ToString::to_string));
    let rest: Map<String, Value> = r
        .extras()
        .into_iter()
        .filter(|(k, _)| !matches!(k.as_str(), "topic" | "filter" | "count"))
        .collect();
    put("msg", (!rest.is_empty()).then(|| Value::Object(rest).to_string()));
    out
}

/// CEF prefix fields: `\` and `|` are escaped.
fn cef_header(s: &str) -> String {
    s.replace('\\', "\\\\").replace('|', "\\|")
}

/// CEF extension values: `\` and `=` are escaped, line ends become `\n`.
fn cef_value(s: &str) -> String {
    s.replace('\\', "\\\\")
        .replace('=', "\\=")
        .replace('\r', "")
        .replace('\n', "\\n")
}

/// Milliseconds since 1970 of a time stamp of ours (`2026-11-21T22:55:01.123456Z`); 0 if it is none.
fn millis(ts: &str) -> i64 {
    let number = |from: usize, to: usize| ts.get(from..to).and_then(|t| t.parse::<i64>().ok());
    let parts = (|| {
        let (y, m, d) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, min, sec, milli) = (number(11, 13)?, number(14, 16)?, number(17, 19)?, number(20, 23)?);
        // Days since 1970, years counted from March (the inverse of `format`'s calendar).
        let (y, m) = if m <= 2 { (y - 1, m + 9) } else { (y, m - 3) };
        let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + d - 1 - 719_468;
        Some(((days * 24 + hour) * 60 + min) * 60_000 + sec * 1000 + milli)
    })();
    parts.unwrap_or(0)
}
