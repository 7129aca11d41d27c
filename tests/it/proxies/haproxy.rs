//! HAProxy: PROXY v1 and v2, and TLS with client certificates that ends there.

use super::{CLIENT, LB1, Seen, broker, everybody_sees_the_client, setup};
use codec::ReasonCode;
use tests::certs::Certs;
use tests::link::Dial;
use tests::process::free;
use tests::proxies::haproxy;

#[track_caller]
fn one_layer(versions: &str, send: &str, via: &str) {
    let broker = broker(
        "tcp",
        &format!("proxy_protocol = \"required\"\nproxy_versions = \"{versions}\""),
    );
    let (backend, lb1) = (broker.addr("lb"), free(LB1));
    let _haproxy = haproxy(
        &format!("listen mqtt\n  mode tcp\n  bind {lb1}\n  source {LB1}\n  server b1 {backend} {send}"),
        &[lb1],
    );
    let seen = Seen {
        port: true,
        via,
        socket: LB1,
        chain: &[LB1],
    };
    everybody_sees_the_client(&broker, &Dial::to(lb1), &seen);
}

#[test]
fn version_1() {
    one_layer("v1", "send-proxy", "proxy_v1");
}

#[test]
fn version_2_with_a_checksum_and_an_id() {
    one_layer(
        "v2",
        "send-proxy-v2 proxy-v2-options crc32c,unique-id",
        "proxy_v2",
    );
}

#[test]
fn tls_that_ends_there_with_the_client_certificate_as_username() {
    let certs = Certs::new();
    certs.issue("device", "meter-17");
    let keys = "proxy_protocol = \"required\"\nproxy_versions = \"v2\"\npp2_require_tls = true\n\
                pp2_cn_as_username = true";
    let broker = setup("tcp", keys)
        .acl(&format!(
            "{}\nallow publish cn=meter-17 tls=proxy to meters/%u\n",
            super::ACL.trim_end()
        ))
        .start();
    let (backend, lb1) = (broker.addr("lb"), free(LB1));
    let (server, ca) = (certs.path("server.pem"), certs.path("ca.pem"));
    let _haproxy = haproxy(
        &format!(
            "listen mqtts\n  mode tcp\n  bind {lb1} ssl crt {} ca-file {} verify optional\n  source {LB1}\n  \
             server b1 {backend} send-proxy-v2-ssl-cn",
            server.display(),
            ca.display()
        ),
        &[lb1],
    );
    let seen = Seen {
        port: true,
        via: "proxy_v2",
        socket: LB1,
        chain: &[LB1],
    };
    everybody_sees_the_client(&broker, &Dial::to(lb1).tls(certs.client(None)), &seen);

    let dial = Dial::to(lb1).from(CLIENT).tls(certs.client(Some("device")));
    let mut meter = dial.client("meter");
    let line = broker.client_line("meter");
    for part in [
        "username=meter-17, ".to_owned(),
        format!("peername={}, ", meter.local()),
        "tls=proxy)".to_owned(),
    ] {
        assert!(line.contains(&part), "no {part:?} in {line}");
    }
    let json = broker.client("meter");
    assert_eq!(json["info"]["ssl"]["cn"], "meter-17", "{json}");
    assert_eq!(json["info"]["ssl"]["verified"], true, "{json}");
    let record = broker.audited("connect", |r| r["clientid"] == "meter");
    assert_eq!(record["username"], "meter-17", "{record}");
    assert_eq!(record["tls"]["by"], "proxy", "{record}");
    assert_eq!(record["tls"]["cn"], "meter-17", "{record}");
    assert_eq!(record["peer_port"], meter.local().port(), "{record}");
    assert_eq!(
        meter.publish("meters/meter-17", "1", 1, false),
        ReasonCode::NoMatchingSubscribers
    );
    assert_eq!(
        meter.publish("meters/meter-18", "1", 1, false),
        ReasonCode::NotAuthorized
    );
}
