//! What finding a peername costs per connection: no header at all, PROXY headers, address headers, `explain`.

use std::process::ExitCode;

use benches::micro::{Case, case, main as run};
use peer::{Addr, Explanation, Peer, Policy, ProxyStage, RawPolicy, Transport, Verdict, resolve_headers};

const SOCKET: &str = "10.0.0.5:40000";
const CONNECT: &[u8] = b"\x10\x0c\0\x04MQTT\x04\x02\0\x3c\0\0";

fn main() -> ExitCode {
    run(vec![
        socket_only(),
        proxy(
            "proxy v1",
            b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 1883\r\n".to_vec(),
        ),
        proxy("proxy v2", v2_header(&[])),
        proxy("proxy v2 with 6 TLVs and a checksum", v2_header(&TLVS)),
        fields("headers, one hop", &[("X-Forwarded-For", "203.0.113.7")]),
        fields(
            "headers, three hops",
            &[("X-Forwarded-For", "6.6.6.6, 203.0.113.7, 10.0.0.8, 10.0.0.9")],
        ),
        fields(
            "headers, three hops with ports",
            &[
                ("X-Forwarded-For", "6.6.6.6, 203.0.113.7, 10.0.0.8, 10.0.0.9"),
                ("X-Forwarded-Port", "1, 51234, 40001, 40002"),
            ],
        ),
        explanation(),
    ])
}

fn policy(transport: Transport, keys: &[(&str, &str)]) -> Policy {
    let mut raw = RawPolicy::default();
    for (key, value) in keys {
        raw.set(*key, *value);
    }
    let checked = raw.check(transport, &|_| None).into_result();
    checked.expect("the settings of a bench have no errors").0
}

fn behind_proxy() -> Policy {
    policy(
        Transport::Tcp,
        &[("proxy_protocol", "required"), ("trusted_proxies", "10.0.0.0/24")],
    )
}

fn behind_http() -> Policy {
    let keys = [
        ("trusted_proxies", "10.0.0.0/24"),
        ("address_header", "X-Forwarded-For"),
        ("port_header", "X-Forwarded-Port"),
    ];
    policy(Transport::Ws, &keys)
}

/// One connection as a listener drives it.
fn resolve(policy: &Policy, socket: Addr, bytes: &[u8], lines: &[(&str, &str)]) -> Option<Peer> {
    let mut stage = ProxyStage::new(policy, socket).ok()?;
    let Verdict::Accept { hop, .. } = stage.push(bytes) else {
        return None;
    };
    let lines = lines
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    resolve_headers(policy, &hop, lines).ok()
}

fn resolving(name: &str, policy: Policy, bytes: Vec<u8>, lines: &[(&'static str, &'static str)]) -> Case {
    let socket = SOCKET.parse().unwrap_or(Addr::UNIX);
    let lines = lines.to_vec();
    assert!(resolve(&policy, socket, &bytes, &lines).is_some(), "{name}");
    case(name, move || move || resolve(&policy, socket, &bytes, &lines))
}

fn socket_only() -> Case {
    resolving(
        "no header",
        Policy::defaults(Transport::Tcp),
        CONNECT.to_vec(),
        &[],
    )
}

fn proxy(name: &str, mut header: Vec<u8>) -> Case {
    header.extend_from_slice(CONNECT);
    resolving(name, behind_proxy(), header, &[])
}

/// An upgrade request has other lines too.
fn fields(name: &str, lines: &[(&'static str, &'static str)]) -> Case {
    let mut all = vec![
        ("Host", "broker.example"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Protocol", "mqtt"),
    ];
    all.extend_from_slice(lines);
    resolving(name, behind_http(), b"GET /mqtt HTTP/1.1\r\n".to_vec(), &all)
}

fn explanation() -> Case {
    let (policy, socket) = (behind_http(), SOCKET.parse().unwrap_or(Addr::UNIX));
    let lines: [(&[u8], &[u8]); 1] = [(b"X-Forwarded-For", b"6.6.6.6, 203.0.113.7, 10.0.0.9")];
    case("explain as text", move || {
        move || Explanation::resolve(&policy, "edge", socket, b"", &lines).to_string()
    })
}

/// What HAProxy sends with `ssl-cn,crc32c,unique-id,authority`: type and value.
const TLVS: [(u8, &[u8]); 4] = [
    (0x01, b"mqtt"),
    (0x02, b"mqtt.example.com"),
    (0x05, b"\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11"),
    (
        0x20,
        b"\x07\0\0\0\0\x21\0\x07TLSv1.3\x22\0\x09device-17\x23\0\x16TLS_AES_128_GCM_SHA256",
    ),
];

/// A header from 203.0.113.7; with TLVs also padding and a right checksum.
fn v2_header(tlvs: &[(u8, &[u8])]) -> Vec<u8> {
    let mut body = vec![203, 0, 113, 7, 192, 0, 2, 1, 0xc8, 0x22, 0x07, 0x5b];
    for (kind, value) in tlvs {
        push_tlv(&mut body, *kind, value);
    }
    if !tlvs.is_empty() {
        push_tlv(&mut body, 0x04, &[0; 8]);
        push_tlv(&mut body, 0x03, &[0; 4]);
    }
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
    header.extend_from_slice(&(body.len() as u16).to_be_bytes());
    header.extend_from_slice(&body);
    if !tlvs.is_empty() {
        let sum = crc32c::crc32c(&header).to_be_bytes();
        let at = header.len() - sum.len();
        header.truncate(at);
        header.extend_from_slice(&sum);
    }
    header
}

fn push_tlv(body: &mut Vec<u8>, kind: u8, value: &[u8]) {
    body.push(kind);
    body.extend_from_slice(&(value.len() as u16).to_be_bytes());
    body.extend_from_slice(value);
}
