//! What a trusted proxy tells in TLVs reaches operators and rules, and only then (peername 5.4).

use codec::ReasonCode;
use serde_json::{Value, json};
use tests::broker::{Broker, Setup};
use tests::client::{Login, Reply};
use tests::link::Dial;

/// The listed sender, and one that is not listed.
const PROXY: &str = "127.16.0.200";
const STRANGER: &str = "127.16.0.201";

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(value.len()).expect("short").to_be_bytes();
    [&[kind], &len[..], value].concat()
}

/// An SSL TLV with these bits and verify field.
fn ssl(bits: u8, verify: u32, inner: &[Vec<u8>]) -> Vec<u8> {
    tlv(
        0x20,
        &[&[bits][..], &verify.to_be_bytes(), &inner.concat()].concat(),
    )
}

/// A verified certificate on TLS 1.3 with this CN.
fn certificate(cn: &str) -> Vec<u8> {
    ssl(
        7,
        0,
        &[
            tlv(0x21, b"TLSv1.3"),
            tlv(0x22, cn.as_bytes()),
            tlv(0x23, b"TLS_AES_128_GCM_SHA256"),
        ],
    )
}

/// A v2 header of 203.0.113.7:51234 with these TLVs.
fn v2(tlvs: &[Vec<u8>]) -> Vec<u8> {
    let body = [b"\xCB\0\x71\x07\x7F\0\0\x01\xC8\x22\x07\x5B", &tlvs.concat()[..]].concat();
    let len = u16::try_from(body.len()).expect("short").to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11", &len[..], &body].concat()
}

/// A listener `lb` that trusts [`PROXY`], with further keys.
fn lb(keys: &str) -> Setup {
    Setup::new(&format!(
        "[listeners.lb]\ntransport = \"tcp\"\nbind = \"127.0.0.1:0\"\nproxy_protocol = \"required\"\n\
         proxy_versions = \"v2\"\ntrusted_proxies = [\"{PROXY}\"]\n{keys}\n"
    ))
}

/// Through the listed sender with these TLVs.
#[track_caller]
fn through(broker: &Broker, tlvs: &[Vec<u8>]) -> Dial {
    broker.dial("lb").from(PROXY).before(v2(tlvs))
}

fn everything() -> Vec<Vec<u8>> {
    vec![
        tlv(0x01, b"mqtt"),
        tlv(0x02, b"mqtt.example.com"),
        tlv(0x05, b"\xDE\xAD\xBE\xEF"),
        certificate("meter-17"),
        tlv(0x30, b"blue"),
        tlv(0xEA, b"\x01vpce-08d2bf15fac5001c9"),
        tlv(0xE5, b"\xBE\xEF"),
    ]
}

#[test]
fn facts_are_shown_by_ctl_and_audit() {
    let broker = lb("pp2_expose_tlvs = [0xE5]").start();
    let client = through(&broker, &everything()).client("meter");
    let expected = json!({
        "alpn": "mqtt",
        "authority": "mqtt.example.com",
        "unique_id": "deadbeef",
        "ssl": {
            "client_tls": true, "cert_conn": true, "cert_sess": true, "verified": true,
            "version": "TLSv1.3", "cn": "meter-17", "cipher": "TLS_AES_128_GCM_SHA256",
        },
        "netns": "blue",
        "aws_vpce_id": "vpce-08d2bf15fac5001c9",
        "raw": { "0xe5": "beef" },
    });
    let shown = broker.client("meter");
    assert_eq!(shown["info"], expected, "{shown}");
    assert_eq!(shown["peername"], "203.0.113.7:51234", "{shown}");
    let record = broker.audited("connect", |r| r["clientid"] == "meter");
    assert_eq!(record["info"], expected, "{record}");
    let tls = json!({
        "by": "proxy", "version": "TLSv1.3", "cipher": "TLS_AES_128_GCM_SHA256", "sni": "mqtt.example.com",
        "cn": "meter-17",
    });
    assert_eq!(record["tls"], tls, "{record}");
    // The certificate is no username unless the listener says so.
    assert_eq!(record["username"], json!(null), "{record}");
    client.disconnect();

    for (name, value, kind, bytes) in [
        (
            "azure_link_id",
            json!(0x0102_0304),
            0xEE,
            &b"\x01\x04\x03\x02\x01"[..],
        ),
        (
            "gcp_psc_connection_id",
            json!("72623859790382856"),
            0xE0,
            b"\x01\x02\x03\x04\x05\x06\x07\x08",
        ),
    ] {
        let client = through(&broker, &[tlv(kind, bytes)]).client("cloud");
        let shown = broker.client("cloud");
        assert_eq!(shown["info"], json!({ name: value }), "{shown}");
        client.disconnect();
    }
}

/// Foreign content that breaks its rule is dropped, and told.
#[test]
fn content_that_breaks_its_rule_is_dropped() {
    let broker = lb("").start();
    let tlvs = [
        tlv(0x02, b"a\nb"),
        tlv(0x01, b"mqtt"),
        tlv(0x01, b"other"),
        tlv(0xEA, b"\x01not an id"),
    ];
    let _client = through(&broker, &tlvs).client("odd");
    let shown = broker.client("odd");
    assert_eq!(shown["info"], json!({ "alpn": "mqtt" }), "{shown}");
    let mut warnings: Vec<_> = shown["warnings"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|w| w.as_str().expect("text"))
        .collect();
    warnings.sort_unstable();
    assert_eq!(warnings, ["W_TLV_CONTENT", "W_TLV_DUP"], "{shown}");
}

const ACL: &str = "
default connect allow
default publish deny
default subscribe deny
allow publish cn=meter-* to cn
allow publish sni=mqtt.example.com to sni
allow publish vpce=vpce-08d2* to vpce
allow publish tls=proxy to tls
";

/// Publishes to each of these topics, and expects success only on the allowed ones.
#[track_caller]
fn may_publish(dial: &Dial, allowed: &[&str]) {
    let mut client = dial.client("rules");
    for topic in ["cn", "sni", "vpce", "tls"] {
        let expected = if allowed.contains(&topic) {
            ReasonCode::NoMatchingSubscribers
        } else {
            ReasonCode::NotAuthorized
        };
        assert_eq!(
            client.publish(topic, "x", 1, false),
            expected,
            "{topic}; allowed: {allowed:?}"
        );
    }
    client.disconnect();
}

#[test]
fn facts_are_terms_of_rules() {
    let broker = lb("pp2_cn_as_username = true").acl(ACL).start();
    may_publish(&through(&broker, &everything()), &["cn", "sni", "vpce", "tls"]);
    may_publish(&through(&broker, &[]), &[]);
    may_publish(
        &through(&broker, &[tlv(0x02, b"other.example.com"), certificate("pump")]),
        &["tls"],
    );
    // Bits without the verified certificate, or a certificate that did not pass.
    may_publish(
        &through(&broker, &[ssl(1, 0, &[tlv(0x22, b"meter-17")])]),
        &["tls"],
    );
    may_publish(
        &through(&broker, &[ssl(7, 1, &[tlv(0x22, b"meter-17")])]),
        &["tls"],
    );
    may_publish(&through(&broker, &[ssl(0, 0, &[])]), &[]);

    // Without the key the CN of a proxy is display only.
    let broker = lb("").acl(ACL).start();
    may_publish(&through(&broker, &everything()), &["sni", "vpce", "tls"]);
}

/// Nothing of it counts from a sender that is not listed: refused where a header is due, ignored where that is the
/// setting.
#[test]
fn a_stranger_tells_nothing() {
    let broker = lb("pp2_cn_as_username = true").acl(ACL).start();
    let refused = through(&broker, &everything())
        .from(STRANGER)
        .try_login(&Login::new("x"));
    assert_eq!(refused.err(), Some(Reply::End));
    let record = broker.audited("peername_reject", |r| r["socket_ip"] == STRANGER);
    assert_eq!(record["reason"], "E_PROXY_PEER", "{record}");
    assert_eq!(record.get("info"), None, "{record}");

    let keys = "proxy_protocol = \"optional\"\nuntrusted_proxy_header = \"ignore\"";
    let broker = Setup::new(&format!(
        "[listeners.lb]\ntransport = \"tcp\"\nbind = \"127.0.0.1:0\"\ntrusted_proxies = [\"{PROXY}\"]\n{keys}\n"
    ))
    .acl(ACL)
    .start();
    let dial = through(&broker, &everything()).from(STRANGER);
    may_publish(&dial, &[]);
    let client = dial.client("stranger");
    let shown = broker.client("stranger");
    assert_eq!(shown.get("info"), None, "{shown}");
    assert_eq!(shown["peername"], client.local().to_string(), "{shown}");
    assert_eq!(shown["warnings"], json!(["W_PROXY_IGNORED"]), "{shown}");
}

/// Refused with this code, without a byte.
#[track_caller]
fn is_refused(broker: &Broker, tlvs: &[Vec<u8>], code: &str) {
    let rejects = || -> Vec<Value> {
        let all = broker.audit().into_iter();
        all.filter(|r| r["event"] == "peername_reject").collect()
    };
    let before = rejects().len();
    let refused = through(broker, tlvs).try_login(&Login::new("refused"));
    assert_eq!(refused.err(), Some(Reply::End), "{code}");
    let record = tests::wait::until("a record", || rejects().into_iter().nth(before));
    assert_eq!(record["reason"], code, "{record}");
}

#[test]
fn tls_at_the_proxy_can_be_required() {
    let broker = lb("pp2_require_tls = true").start();
    is_refused(&broker, &[], "E_PP2_TLS");
    is_refused(&broker, &[ssl(0, 0, &[])], "E_PP2_TLS");
    through(&broker, &[ssl(1, 1, &[])]).client("tls").disconnect();
}

#[test]
fn a_certificate_at_the_proxy_can_be_required() {
    let broker = lb("pp2_require_client_cert = true\npp2_cn_as_username = true").start();
    is_refused(&broker, &[], "E_PP2_CERT");
    is_refused(&broker, &[ssl(1, 0, &[])], "E_PP2_CERT");
    is_refused(&broker, &[ssl(7, 1, &[tlv(0x22, b"meter-17")])], "E_PP2_CERT");
    // A certificate without a CN names nobody.
    is_refused(&broker, &[ssl(7, 0, &[])], "E_PP2_CERT");
    through(&broker, &[certificate("meter-17")])
        .client("cert")
        .disconnect();
}

/// The CN replaces what CONNECT says; where no certificate is required it may be missing.
#[test]
fn the_common_name_becomes_the_username() {
    let broker = lb("pp2_cn_as_username = true").start();
    let login = Login {
        username: Some("root"),
        ..Login::new("meter")
    };
    let client = through(&broker, &[certificate("meter-17")]).login(&login);
    let shown = broker.client("meter");
    assert_eq!(
        (&shown["username"], &shown["info"]["username"]),
        (&"meter-17".into(), &"meter-17".into()),
        "{shown}"
    );
    let record = broker.audited("connect", |r| r["clientid"] == "meter");
    assert_eq!(record["username"], "meter-17", "{record}");
    client.disconnect();

    for tlvs in [vec![ssl(7, 1, &[tlv(0x22, b"meter-17")])], vec![]] {
        let client = through(&broker, &tlvs).login(&Login::new("nobody"));
        let shown = broker.client("nobody");
        assert_eq!(shown["warnings"], json!(["W_PP2_CN_UNUSABLE"]), "{shown}");
        assert_eq!(shown["username"], json!(null), "{shown}");
        client.disconnect();
    }
}
