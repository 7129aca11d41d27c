//! What real proxies send, recorded byte for byte (`data/proxy/README.md`): the peername is the expected one,
//! however the bytes are cut.
#![expect(
    clippy::unwrap_used,
    reason = "test helpers: a record that does not parse fails the test"
)]

#[path = "../examples/vectors/head.rs"]
mod head;

use peer::{Addr, Kind, Peer, Policy, ProxyStage, RawPolicy, Reject, Transport, Verdict, resolve_headers};
use serde_json::Value;

const FILES: [&str; 10] = [
    include_str!("data/proxy/apache2.json"),
    include_str!("data/proxy/caddy.json"),
    include_str!("data/proxy/constructed.json"),
    include_str!("data/proxy/envoy.json"),
    include_str!("data/proxy/haproxy.json"),
    include_str!("data/proxy/hitch.json"),
    include_str!("data/proxy/mixed.json"),
    include_str!("data/proxy/nginx.json"),
    include_str!("data/proxy/node.json"),
    include_str!("data/proxy/stunnel.json"),
];

#[test]
fn recorded_headers_resolve_as_expected() {
    let mut seen = 0;
    for file in FILES {
        let records: Value = serde_json::from_str(file).unwrap();
        for record in records.as_array().unwrap() {
            seen += 1;
            check(record);
        }
    }
    assert_eq!(seen, 94);
}

#[track_caller]
fn check(record: &Value) {
    let name = record["name"].as_str().unwrap();
    let bytes = from_hex(record["bytes_hex"].as_str().unwrap_or_default());
    // Constructed headers name no sender.
    let socket: Addr = record["tcp_peer"]
        .as_str()
        .unwrap_or("10.0.0.5:40000")
        .parse()
        .unwrap();
    let policy = policy(record);
    if record["kind"] == "nothing-sent" {
        let mut stage = ProxyStage::new(&policy, socket).unwrap();
        assert!(
            matches!(stage.finish(peer::End::Eof), Verdict::Close(peer::Code::Empty)),
            "{name}"
        );
        return;
    }
    let whole = resolve(&policy, socket, &[&bytes]);
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    let cut = resolve(&policy, socket, &single);
    assert_eq!(shown(&whole), shown(&cut), "{name}");
    match (name, record["expected_peername"].as_str()) {
        // The proxy passes on what the client forged; no listener can see that.
        ("haproxy-ws-forwardfor-ifnone", None) => assert_eq!(shown(&whole), "203.0.113.66:0"),
        // UDP is a transport like another: the address counts (vector V2-10).
        ("v2-udp4", None) => assert_eq!(shown(&whole), "203.0.113.9:51234"),
        // Read in full, and refused: nobody's address is multicast (peername 2, 5.4).
        ("v1-tcp6-longest", Some(_)) => assert_eq!(shown(&whole), "E_PROXY_ADDR None"),
        // Lists of different length: no port can be matched (vector EX-01), the address can.
        ("nginx-ws-two-append-uneven" | "nginx-ws-two-append-garbage", Some(_)) => {
            assert_eq!(shown(&whole), "127.0.0.50:0");
        }
        // `by=::1` without quotes is no pair, so the element is garbage (peername 6.4).
        ("nginx-ws-forwarded-ipv6", Some(_)) => {
            assert_eq!(shown(&whole), "E_HEADER_UNRESOLVABLE Some(\"garbage\")");
        }
        (_, None) => assert!(
            whole.is_err() || is_socket(whole.as_ref().unwrap(), socket),
            "{name}"
        ),
        (_, Some(expected)) => check_peername(name, record, &whole.unwrap(), expected),
    }
}

#[track_caller]
fn check_peername(name: &str, record: &Value, peer: &Peer, expected: &str) {
    let got = peer.peername();
    if let Some(path) = expected.strip_prefix("unix:") {
        assert_eq!(peer.info().unwrap().unix_source.as_deref(), Some(path), "{name}");
        assert_eq!(peer.kind(), Kind::Proxy, "{name}");
    } else if expected.parse::<Addr>().is_ok() {
        assert_eq!(got.to_string(), expected, "{name}");
    } else {
        assert_eq!(got.ip().unwrap().to_string(), expected, "{name}");
    }
    if record["proxy_header"]["checksum_valid"] == true {
        assert!(peer.info().unwrap().crc32c, "{name}");
    }
}

fn is_socket(peer: &Peer, socket: Addr) -> bool {
    peer.peername().addr() == socket && peer.kind() == Kind::Proxy
}

/// The deployment's settings: PROXY where a header was recorded, else the address header that was.
fn policy(record: &Value) -> Policy {
    let trusted: Vec<&str> = match record["trusted_proxies"].as_array() {
        Some(list) => list.iter().filter_map(Value::as_str).collect(),
        None => vec!["10.0.0.0/24"],
    };
    let mut raw = RawPolicy::default();
    raw.set("trusted_proxies", trusted);
    let transport = if record["kind"] == "http-upgrade" {
        let has = |name: &str| {
            record["http"]["headers"]
                .as_array()
                .unwrap()
                .iter()
                .any(|h| h[0] == name)
        };
        if !has("X-Forwarded-For") && has("Forwarded") {
            raw.set("address_header", "Forwarded");
        } else if record["name"] == "nginx-ws-three-realip-nonrecursive" {
            // What this deployment is about: it names its own balancer.
            raw.set("address_header", "X-Real-IP");
        } else {
            raw.set("address_header", "X-Forwarded-For");
            if record["port_trustworthy"] == true {
                raw.set("port_header", "X-Forwarded-Port");
            }
        }
        Transport::Ws
    } else {
        // Health checks that send no header are let in beside those that do.
        raw.set(
            "proxy_protocol",
            if record["kind"] == "no-header" {
                "optional"
            } else {
                "required"
            },
        );
        Transport::Tcp
    };
    raw.check(transport, &|_| None).into_result().unwrap().0
}

fn resolve(policy: &Policy, socket: Addr, segments: &[&[u8]]) -> Result<Peer, Reject> {
    let mut stage = ProxyStage::new(policy, socket)?;
    let mut verdict = Verdict::Undecided;
    let mut segments = segments.iter();
    while matches!(verdict, Verdict::Undecided) {
        verdict = match segments.next() {
            Some(segment) => stage.push(segment),
            // A recorded health check may close right after its header.
            None => stage.finish(peer::End::Timeout),
        };
    }
    let hop = match verdict {
        Verdict::Accept { hop, .. } => hop,
        Verdict::Reject(reject) => return Err(reject),
        other => panic!("{other:?}"),
    };
    let rest: Vec<u8> = stage
        .into_rest()
        .into_iter()
        .chain(segments.copied().flatten().copied())
        .collect();
    let fields = if policy.header_stage() {
        head::fields(&rest).unwrap()
    } else {
        Vec::new()
    };
    resolve_headers(
        policy,
        &hop,
        fields.iter().map(|(n, v)| (n.as_slice(), v.as_slice())),
    )
}

fn shown(result: &Result<Peer, Reject>) -> String {
    match result {
        Ok(peer) => peer.peername().to_string(),
        Err(reject) => format!("{} {:?}", reject.code(), reject.detail()),
    }
}

fn from_hex(hex: &str) -> Vec<u8> {
    let digit = |b: u8| char::from(b).to_digit(16).unwrap() as u8;
    hex.as_bytes()
        .chunks(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}
