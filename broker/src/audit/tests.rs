//! Tests of the audit log: order of keys, escaping, gaps, coalescing, rotation, the chain.

use std::path::Path;
use std::sync::Arc;

use peer::{PeerBuilder, Source};

use super::*;

fn facts() -> ClientFacts {
    let peer = PeerBuilder::new("203.0.113.9:61177").behind("172.16.0.116:39826", Source::ProxyV1);
    let mut c = ClientFacts::new(Arc::new(peer.build()), "tcp_lb".into());
    c.clientid = Some("cam-3".into());
    c.username = Some("root".into());
    c.proto = Some("mqtt5");
    c
}

fn read(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_record_has_the_documented_keys_in_the_documented_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sub/audit.log");
    let log = AuditLog::open(Settings::new(Some(path.clone()), "broker-1")).unwrap();
    log.record(Event::AuthnFail(
        facts(),
        AuthnReason::BadCredentials,
        "password_file".into(),
    ));
    log.flush();
    let lines = read(&path);
    assert_eq!(lines.len(), 1);
    let (ts, rest) = lines[0].split_at(36);
    assert!(ts.starts_with("{\"ts\":\"2") && ts.ends_with("Z\","), "{ts}");
    assert_eq!(
        rest,
        "\"v\":1,\"seq\":1,\"event\":\"authn_fail\",\"outcome\":\"failure\",\"reason\":\"bad_credentials\",\
         \"kind\":\"client\",\"peer_ip\":\"203.0.113.9\",\"peer_port\":61177,\"socket_ip\":\"172.16.0.116\",\
         \"socket_port\":39826,\"via\":\"proxy_v1\",\"chain\":[\"172.16.0.116:39826\"],\"listener\":\"tcp_lb\",\
         \"node\":\"broker-1\",\"clientid\":\"cam-3\",\"username\":\"root\",\"proto\":\"mqtt5\",\
         \"tls\":{\"by\":\"none\"},\"method\":\"password_file\"}"
    );
}
