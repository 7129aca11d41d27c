//! The shared vectors on the running broker, through real sockets: what `ctl clients` shows and what the audit log says
//! of refusals is what the vectors expect.
//!
//! A test has loopback addresses only. The address of a vector's socket becomes one of those, and is trusted where the
//! vector's was; a vector for which that changes the meaning is not run, and counted. The pure resolver (`peer`) and the
//! handshake (`listeners`) run those too.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::LazyLock;

use serde_json::{Value, json};
use tests::broker::{Broker, Setup, TRANSPORTS, listener};
use tests::certs::Certs;
use tests::client::Login;
use tests::link::Dial;
use tests::wait::until;

const VECTORS: &str = include_str!("../../../peer/tests/data/peername-vectors.json");

static CERTS: LazyLock<Certs> = LazyLock::new(Certs::new);

/// Why a vector is not run on a listener of this kind.
#[track_caller]
fn unfit(vector: &Value, kind: &str) -> Option<&'static str> {
    let ws = kind.starts_with("ws");
    let (expect, fields) = (&vector["expect"], vector.get("headers").is_some());
    let accepted = expect["outcome"] == "accept";
    if ip(vector).is_none() {
        return Some("no TCP over IPv4: a unix, IPv6 or mapped socket");
    }
    if vector["config"].get("address_header").is_some() && !fields {
        return Some("brings an HTTP head of its own, which is no upgrade");
    }
    if fields && !ws {
        return Some("needs HTTP");
    }
    let scope = |text: &Value| {
        text.as_str()
            .is_some_and(|text| text.to_lowercase().contains("scope_"))
    };
    if expect["code"] == "E_PROXY_SCOPE" || scope(&expect["detail"]) {
        return Some("forbids loopback addresses to others than loopback");
    }
    if expect["detail"] == "empty" {
        return Some("\"no header\" is known to explain; a listener goes on waiting");
    }
    if vector["end"].is_string() && kind != "tcp" {
        return Some("the end of the bytes is TLS's or HTTP's here");
    }
    if accepted && header_len(&wire(vector)) == 0 && !wire(vector).is_empty() && kind != "tcp" {
        return Some("without a PROXY header its bytes are no TLS or HTTP");
    }
    if accepted && header_len(&wire(vector)) == 0 && wire(vector).first().is_some_and(|byte| *byte != 0x10) {
        return Some("its bytes are no CONNECT");
    }
    None
}

/// A vector on a listener.
struct Case {
    vector: Value,
    kind: &'static str,
    listener: String,
    client: String,
}

/// What became of a connection, and what it must still be compared with.
struct Tried {
    case: Case,
    local: String,
    status: Option<u16>,
    /// Of an accepted client.
    _client: Option<tests::client::Client>,
    /// Kept open, so that no later case gets its port and with it its audit record.
    _socket: Option<TcpStream>,
}

#[test]
fn every_resolve_vector_that_fits_gives_the_same_on_the_running_broker() {
    let vectors: Value = serde_json::from_str(VECTORS).expect("JSON");
    let all = vectors["vectors"].as_array().expect("a list").iter();
    let resolve: Vec<&Value> = all.filter(|v| v["test"] == "resolve").collect();
    let (mut skipped, mut cases) = (BTreeMap::<&str, usize>::new(), Vec::new());
    let mut doors = BTreeMap::<String, String>::new();
    for vector in &resolve {
        for kind in TRANSPORTS {
            if let Some(why) = unfit(vector, kind) {
                *skipped.entry(why).or_default() += 1;
                continue;
            }
            let next = format!("l{}", doors.len());
            let listener = doors.entry(door(vector, kind)).or_insert(next).clone();
            let client = format!("v{}", cases.len());
            cases.push(Case {
                vector: (*vector).clone(),
                kind,
                listener,
                client,
            });
        }
    }
    let config = doors
        .iter()
        .map(|(keys, name)| keys.replace("@NAME@", name))
        .collect::<String>();
    let quota = "[quota]\nconnect_rate = \"unlimited\"\nmax_pending = \"unlimited\"\n";
    let broker = Setup::new(&(config + quota)).start();
    let tried: Vec<Tried> = cases.into_iter().map(|case| tried(&broker, case)).collect();
    let failed = failures(&broker, &tried);
    let distinct: std::collections::HashSet<String> =
        tried.iter().map(|t| t.case.vector["id"].to_string()).collect();
    println!(
        "{} cases of {} vectors of {} ran on {} listeners; skipped:",
        tried.len(),
        distinct.len(),
        resolve.len(),
        doors.len()
    );
    for (why, n) in &skipped {
        println!("{n:5} {why}");
    }
    assert!(failed.is_empty(), "{} failed: {failed:#?}", failed.len());
    assert!(tried.len() >= 550, "{} cases", tried.len());
}

/// The configuration of the vector's listener.
fn door(vector: &Value, kind: &'static str) -> String {
    let mut keys = String::new();
    let config = vector["config"].as_object().expect("keys");
    for (key, value) in config {
        let mut value = value.clone();
        if key.ends_with("trusted_proxies") && lists(vector, key) {
            value
                .as_array_mut()
                .expect("a list")
                .push(json!(ip(vector).expect("an address").to_string()));
        }
        keys.extend([key.as_str(), " = ", &value.to_string(), "\n"]);
    }
    if vector["end"] == "timeout" && config.get("proxy_protocol").is_some_and(|p| p != "off") {
        keys += "proxy_header_timeout = \"1s\"\n";
    }
    let text = listener(kind, &keys, &CERTS);
    text.replace(&format!("[listeners.{kind}"), "[listeners.@NAME@")
}

/// Whether the list has the vector's socket, other than by a wildcard.
fn lists(vector: &Value, key: &str) -> bool {
    let (host, _) = vector["socket"]
        .as_str()
        .and_then(|s| s.rsplit_once(':'))
        .expect("ip:port");
    let host: IpAddr = host.parse().expect("an address");
    let ranges = vector["config"][key].as_array().expect("a list").iter();
    ranges
        .filter_map(Value::as_str)
        .any(|range| contains(range, host))
}

fn contains(range: &str, host: IpAddr) -> bool {
    let (base, bits) = range.split_once('/').unwrap_or((range, "32"));
    let (Ok(IpAddr::V4(base)), IpAddr::V4(host), Ok(bits @ 1..=32)) =
        (base.parse(), host, bits.parse::<u32>())
    else {
        return false;
    };
    (base.to_bits() ^ host.to_bits()) >> (32 - bits) == 0
}

/// The loopback address that stands for the vector's socket: its last three numbers behind 127.
fn ip(vector: &Value) -> Option<IpAddr> {
    let (host, _) = vector["socket"].as_str()?.rsplit_once(':')?;
    let IpAddr::V4(host) = host.parse().ok()? else {
        return None;
    };
    let [_, b, c, d] = host.octets();
    Some([127, b, c, d].into())
}

/// Sends the vector's bytes, then what a client of that kind sends.
fn tried(broker: &Broker, case: Case) -> Tried {
    let (vector, wire) = (&case.vector, wire(&case.vector));
    let accepted = vector["expect"]["outcome"] == "accept";
    let from = ip(vector).expect("an address").to_string();
    let mut dial = broker.dial(&case.listener).from(&from);
    if accepted {
        dial = layers(dial.before(&wire[..header_len(&wire)]), vector, case.kind);
        let client = match dial.try_login(&Login::new(&case.client)) {
            Ok(client) => client,
            Err(reply) => panic!(
                "{} {}: {reply:?}; {:?}",
                vector["id"],
                case.kind,
                broker.audit().last()
            ),
        };
        let local = client.local().to_string();
        return Tried {
            case,
            local,
            status: None,
            _client: Some(client),
            _socket: None,
        };
    }
    if vector.get("headers").is_some() {
        let records = || -> Vec<Value> {
            let all = broker.audit().into_iter();
            all.filter(|r| r["listener"] == *case.listener && r["outcome"] == "failure")
                .collect()
        };
        let before = records().len();
        let answer = layers(dial.before(&wire), vector, case.kind)
            .open()
            .expect_err("refused")
            .to_string();
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        let record = until("a record", || records().into_iter().nth(before));
        let local = socket_of(&record);
        return Tried {
            case,
            local,
            status,
            _client: None,
            _socket: None,
        };
    }
    let mut socket = dial.socket();
    let local = socket.local_addr().expect("an address").to_string();
    // The broker may refuse before it has read everything.
    let _ = socket.write_all(&wire);
    if vector["end"] == "eof" {
        let _ = socket.shutdown(Shutdown::Write);
    }
    assert!(closes(&mut socket), "{} {}: an answer", vector["id"], case.kind);
    Tried {
        case,
        local,
        status: None,
        _client: None,
        _socket: Some(socket),
    }
}

/// Whether the other side closes without a byte; a reset is an end too.
fn closes(socket: &mut TcpStream) -> bool {
    match socket.read(&mut [0]) {
        Ok(n) => n == 0,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}

/// The layers of a client of this kind, with the vector's fields.
fn layers(dial: Dial, vector: &Value, kind: &str) -> Dial {
    let mut dial = if matches!(kind, "tls" | "wss") {
        dial.tls(CERTS.client(None))
    } else {
        dial
    };
    if kind.starts_with("ws") {
        dial = dial.ws();
    }
    let fields = vector["headers"].as_array().into_iter().flatten();
    // Every request of ours has a Host already, and may have one only.
    for field in fields.filter(|field| field[0] != "Host") {
        let times = field[2].as_u64().unwrap_or(1) as usize;
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        dial = dial.field(&text(&field[0]), &text(&field[1]).repeat(times));
    }
    dial
}

/// The socket of an audit record.
fn socket_of(record: &Value) -> String {
    format!(
        "{}:{}",
        record["socket_ip"].as_str().unwrap_or_default(),
        record["socket_port"]
    )
}

/// What is not as expected.
fn failures(broker: &Broker, tried: &[Tried]) -> Vec<String> {
    let clients = broker.ctl_json(&["clients", "list", "--all"]);
    let is = |outcome: &'static str| {
        tried
            .iter()
            .filter(move |t| t.case.vector["expect"]["outcome"] == outcome)
    };
    let records = until("the records of all refusals", || {
        let all = broker.audit().into_iter();
        let refused: Vec<Value> = all.filter(|r| r["outcome"] == "failure").collect();
        (refused.len() >= is("reject").count()).then_some(refused)
    });
    let of = |one: &Tried| {
        let same = |r: &&Value| r["listener"] == *one.case.listener && socket_of(r) == one.local;
        records.iter().find(same).unwrap_or(&Value::Null)
    };
    let client = |one: &Tried| {
        let mut clients = clients.as_array().expect("a list").iter();
        clients
            .find(|c| c["clientid"] == *one.case.client)
            .unwrap_or(&Value::Null)
    };
    let accepted = is("accept").flat_map(|one| not_shown(one, client(one)));
    let rejected = is("reject").flat_map(|one| not_recorded(one, of(one)));
    // A close is no news.
    let closed = is("close").filter_map(|one| one.differs("record of a close", of(one), &Value::Null));
    accepted.chain(rejected).chain(closed).collect()
}

/// What `clients` shows otherwise than the vector has it.
fn not_shown(one: &Tried, shown: &Value) -> Vec<String> {
    let keys = one.case.vector["expect"].as_object().expect("keys").iter();
    let differs = |(key, expected): (&String, &Value)| {
        let name = match key.as_str() {
            "outcome" | "consumed" | "rest" | "proxy" => return None,
            "source" => "via",
            other => other,
        };
        // Where there are no facts there is no key.
        let none = if name == "info" { json!({}) } else { Value::Null };
        let got = shown.get(name).unwrap_or(&none);
        one.differs(name, got, &here(expected, &one.case.vector, &one.local))
    };
    keys.filter_map(differs).collect()
}

/// What the audit record and the HTTP answer say otherwise than the vector has it.
fn not_recorded(one: &Tried, record: &Value) -> Vec<String> {
    let expect = &one.case.vector["expect"];
    let status = one.status.map_or(Value::Null, Value::from);
    let mut all = vec![one.differs("code", &record["reason"], &expect["code"])];
    // The class of the first bytes depends on how they were cut.
    if expect["code"] != "E_PROXY_REQUIRED" || expect.get("detail").is_some() {
        all.push(one.differs("detail", &record["detail"], &expect["detail"]));
    }
    if one.status.is_some() {
        all.push(one.differs("http_status", &status, &expect["http_status"]));
    }
    all.into_iter().flatten().collect()
}

impl Tried {
    fn differs(&self, what: &str, got: &Value, expected: &Value) -> Option<String> {
        let differs = sorted(got) != sorted(expected);
        let (id, kind) = (&self.case.vector["id"], self.case.kind);
        differs.then(|| format!("{id} {kind}: {what} is {got} not {expected}"))
    }
}

/// An expectation in which the vector's socket is the one here.
fn here(expected: &Value, vector: &Value, local: &str) -> Value {
    match expected {
        Value::String(text) if *text == vector["socket"] => local.into(),
        Value::Array(items) => items.iter().map(|item| here(item, vector, local)).collect(),
        other => other.clone(),
    }
}

/// Warnings are a set; everything else has an order.
fn sorted(value: &Value) -> Value {
    let mut value = value.clone();
    let is_warning = |v: &Value| v.as_str().is_some_and(|s| s.starts_with("W_"));
    if let Some(list) = value.as_array_mut().filter(|list| list.iter().all(is_warning)) {
        list.sort_by_key(Value::to_string);
    }
    value
}

/// Bytes of the PROXY header at the beginning; 0 if there is none.
fn header_len(wire: &[u8]) -> usize {
    if wire.starts_with(b"PROXY ") {
        return wire.windows(2).position(|w| w == b"\r\n").map_or(0, |at| at + 2);
    }
    match wire.get(14..16) {
        Some(len) if wire.starts_with(b"\r\n\r\n\0\r\nQUIT\n") => {
            16 + usize::from(len[0]) * 256 + usize::from(len[1])
        }
        _ => 0,
    }
}

fn wire(vector: &Value) -> Vec<u8> {
    let segment = |segment: &Value| {
        let bytes = match segment["hex"].as_str() {
            Some(hex) => unhex(hex),
            None => segment["text"]
                .as_str()
                .expect("text")
                .chars()
                .map(|c| c as u8)
                .collect(),
        };
        bytes.repeat(segment["times"].as_u64().unwrap_or(1) as usize)
    };
    vector["wire"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(segment)
        .collect()
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).expect("hex"), 16).expect("hex");
    digits.chunks(2).map(byte).collect()
}
