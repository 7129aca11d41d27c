//! The shared vectors on the wire: what a listener finds on a real socket is what the pure resolver
//! finds. The socket's address is pretended, since no test can have those of the vectors.

use crate::client::{Client, Cut, MQTT, upgrade_request};
use crate::world::{KINDS, World, read_n, spec};
use listeners::TransportKind;
use peer::{Addr, End, Explanation, Outcome, Policy, ProxyStage, RawPolicy, Verdict};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const VECTORS: &str = include_str!("../../../peer/tests/data/peername-vectors.json");

/// Keys of `expect` that are looked at in another way here.
const APART: [&str; 2] = ["consumed", "rest"];

#[tokio::test]
async fn every_resolve_vector_that_fits_gives_the_same_on_the_wire() {
    let vectors: Value = serde_json::from_str(VECTORS).expect("JSON");
    let (mut run, mut failed) = (0, Vec::new());
    for vector in vectors["vectors"].as_array().expect("a list") {
        for kind in KINDS.into_iter().filter(|kind| fits(vector, *kind)) {
            for cut in [Cut::Whole, Cut::Everywhere] {
                let got = live(vector, kind, cut).await;
                run += 1;
                for (key, expected) in vector["expect"].as_object().expect("keys") {
                    if !APART.contains(&key.as_str()) && sorted(expected) != sorted(&got[key]) {
                        let (id, got) = (&vector["id"], &got[key]);
                        failed.push(format!("{id} {kind}: {key} is {got} not {expected}"));
                    }
                }
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(run >= 922, "{run} cases");
}

/// Whether the vector can be driven through a listener of that kind.
fn fits(vector: &Value, kind: TransportKind) -> bool {
    let ws = matches!(kind, TransportKind::Ws | TransportKind::Wss);
    let expect = &vector["expect"];
    // The header stage needs HTTP; its vectors that bring a head of their own are no upgrades.
    let headers = vector["config"].get("address_header").is_some();
    let fields = vector.get("headers").is_some();
    vector["test"] == "resolve"
        && (!headers || (ws && fields))
        && (!fields || ws || vector["listener"] == kind.as_str())
        // What follows no header would be the first bytes of TLS or HTTP.
        && (expect["outcome"] != "accept"
            || kind == TransportKind::Tcp
            || vector["wire"].is_null()
            || consumed(vector, kind) > 0)
        // The end of the bytes is one thing with TLS, another without.
        && (vector["end"].is_null() || vector["end"] == "open" || kind == TransportKind::Tcp)
        // "No header comes" is known to `explain`; a listener goes on waiting.
        && expect["detail"] != "empty"
}

/// The result of a listener of that kind, as `explain` prints it.
async fn live(vector: &Value, kind: TransportKind, cut: Cut) -> Value {
    let policy = Arc::new(policy(vector, kind));
    let mut door = spec(kind, Arc::clone(&policy));
    (door.ws.upgrade_max_bytes, door.ws.upgrade_max_lines) = (128 * 1024, 1000);
    if vector["end"] == "timeout" {
        door.login_timeout = Duration::from_millis(100);
    }
    let addr = socket(vector);
    let mut world = World::pretending(door, addr);
    let client = tokio::spawn(client(vector.clone(), world.addr, kind, cut));
    let outcome = match world.outcome().await {
        Ok(mut connection) => {
            if let Some(rest) = vector["expect"]["rest"]
                .as_str()
                .filter(|_| kind == TransportKind::Tcp)
            {
                let rest = unhex(rest);
                assert_eq!(
                    read_n(&mut connection.transport, rest.len()).await,
                    rest,
                    "{}",
                    vector["id"]
                );
            }
            let peer = Box::new((*connection.peer).clone());
            let consumed = consumed(vector, kind);
            Some(Outcome::Accept { peer, consumed })
        }
        Err(_) => world.refusal().await.outcome,
    };
    client.abort();
    match outcome {
        Some(outcome) => {
            serde_json::to_value(Explanation::of_outcome(&policy, "door", addr, outcome)).expect("JSON")
        }
        // The only refusal of an upgrade that the vectors know.
        None => json!({ "outcome": "reject", "code": "E_HTTP_BAD_REQUEST", "http_status": 400 }),
    }
}

/// Sends the vector's bytes, then what a client of that kind sends.
async fn client(vector: Value, to: std::net::SocketAddr, kind: TransportKind, cut: Cut) {
    let wire = wire(&vector);
    let accepted = vector["expect"]["outcome"] == "accept";
    let header = if accepted {
        consumed(&vector, kind)
    } else {
        wire.len()
    };
    if kind == TransportKind::Tcp {
        let mut client = Client::socket(to, cut).await;
        client.send_or_stop(&wire).await;
        match vector["end"].as_str() {
            Some("eof") => client.half_close().await,
            Some("timeout") => {}
            // A client speaks first.
            _ if wire.len() == header => client.send_or_stop(MQTT).await,
            _ => {}
        }
        client.receive_all().await;
        return;
    }
    let mut client = Client::socket(to, cut).await;
    client.send_or_stop(&wire[..header]).await;
    if matches!(kind, TransportKind::Tls | TransportKind::Wss) {
        let config = Arc::new(crate::client::tls_config(None));
        if client.try_tls(config).await.is_err() {
            return;
        }
    }
    if matches!(kind, TransportKind::Ws | TransportKind::Wss) {
        let named = |name: &str| {
            vector["headers"]
                .as_array()
                .is_some_and(|l| l.iter().any(|f| f[0] == name))
        };
        let mut head = upgrade_request(&[]);
        if named("Host") {
            head = head.replace("Host: localhost\r\n", "");
        }
        let mut head = head.into_bytes();
        head.truncate(head.len() - 2);
        for field in vector["headers"].as_array().into_iter().flatten() {
            head.extend(latin1(&field[0]));
            head.extend(b": ");
            head.extend(latin1(&field[1]).repeat(field[2].as_u64().unwrap_or(1) as usize));
            head.extend(b"\r\n");
        }
        head.extend(b"\r\n");
        client.send_plain(&head).await;
    } else {
        client.send_plain(MQTT).await;
    }
    client.receive_all().await;
}

/// Bytes of the PROXY header of a vector that is accepted.
fn consumed(vector: &Value, kind: TransportKind) -> usize {
    let policy = policy(vector, kind);
    let Ok(mut stage) = ProxyStage::new(&policy, socket(vector)) else {
        return 0;
    };
    match (stage.push(&wire(vector)), stage.finish(End::Timeout)) {
        (Verdict::Accept { consumed, .. }, _) | (_, Verdict::Accept { consumed, .. }) => consumed,
        _ => 0,
    }
}

fn socket(vector: &Value) -> Addr {
    vector["socket"]
        .as_str()
        .expect("an address")
        .parse()
        .expect("an address")
}

fn wire(vector: &Value) -> Vec<u8> {
    let segment = |segment: &Value| {
        let bytes = match segment["hex"].as_str() {
            Some(hex) => unhex(hex),
            None => latin1(&segment["text"]),
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

fn latin1(text: &Value) -> Vec<u8> {
    text.as_str()
        .expect("text")
        .chars()
        .map(|c| u8::try_from(c).expect("latin-1"))
        .collect()
}

/// The vector's keys on a listener of that kind.
fn policy(vector: &Value, kind: TransportKind) -> Policy {
    let mut raw = RawPolicy::default();
    for (key, value) in vector["config"].as_object().into_iter().flatten() {
        match key.strip_suffix("_ms") {
            Some(key) => raw.set(key, format!("{value}ms")),
            None => raw.set(key.as_str(), setting(value)),
        };
    }
    let networks = |name: &str| {
        let ranges = vector["networks"][name].as_array()?;
        Some(
            ranges
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
        )
    };
    raw.check(kind, &networks).policy.expect("keys that are known")
}

fn setting(value: &Value) -> peer::Value {
    match value {
        Value::Bool(value) => peer::Value::Bool(*value),
        Value::Number(number) => peer::Value::Int(number.as_i64().expect("a whole number")),
        Value::String(text) => peer::Value::Str(text.clone()),
        Value::Array(items) => peer::Value::List(items.iter().map(setting).collect()),
        other => panic!("setting {other}"),
    }
}

/// Warnings are a set; everything else has an order.
fn sorted(value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(list) = value
        .as_array_mut()
        .filter(|l| l.iter().all(|v| v.as_str().is_some_and(|s| s.starts_with("W_"))))
    {
        list.sort_by_key(Value::to_string);
    }
    value
}
