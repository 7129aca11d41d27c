//! The main job: through real proxies, everybody who tells an address tells the client's true one.

mod deployments;
mod haproxy;
mod nginx_stream;
mod nginx_ws;

use std::sync::atomic::{AtomicU32, Ordering};

use codec::ReasonCode;
use serde_json::Value;
use tests::broker::{Broker, Setup};
use tests::client::{Client, Login, Reply};
use tests::link::Dial;
use tests::wait::until;

/// The client of the fixtures, and one beside it that the rules do not know.
const CLIENT: &str = "127.0.0.50";
const OTHER: &str = "127.0.0.51";
/// Denied before CONNECT.
const BLOCKED: &str = "127.0.0.66";

/// Balancers: nearest to the broker last.
const LB1: &str = "127.16.0.116";
const LB2: &str = "127.16.0.200";
const LB3: &str = "127.16.0.225";

const ACL: &str = "
default connect allow
default publish deny
default subscribe deny
deny  connect   ip=127.0.0.66
allow publish   ip=127.0.0.50 to allowed/#
allow subscribe ip=127.0.0.50 to allowed/#
";

/// A broker with one listener `lb`, which trusts the balancers; `keys` are further settings of it.
#[track_caller]
fn broker(transport: &str, keys: &str) -> Broker {
    setup(transport, keys).start()
}

#[track_caller]
fn setup(transport: &str, keys: &str) -> Setup {
    let listener = format!(
        "[listeners.lb]\ntransport = \"{transport}\"\nbind = \"127.0.0.1:0\"\ntrusted_proxies = [\"127.16.0.0/24\"]\n{keys}\n"
    );
    Setup::new(&listener).acl(ACL)
}

/// What must be seen of a client.
struct Seen<'a> {
    /// The port is told by this proxy.
    port: bool,
    via: &'a str,
    /// Address of the socket: the nearest proxy.
    socket: &'a str,
    /// The addresses of the chain, nearest first.
    chain: &'a [&'a str],
}

/// Connects through a proxy with `dial` (from any address) as the client that the rules know, as one that they do
/// not know, and as one that they deny, and asserts that ctl, audit and rules all see the true addresses.
#[track_caller]
fn everybody_sees_the_client(broker: &Broker, dial: &Dial, seen: &Seen<'_>) {
    // A test may look more than once, through different proxies.
    static LOOKS: AtomicU32 = AtomicU32::new(0);
    let look = LOOKS.fetch_add(1, Ordering::Relaxed);
    let (known, unknown) = (format!("dev-7.{look}"), format!("dev-8.{look}"));

    let mut client = dial.clone().from(CLIENT).client(&known);
    ctl_sees(broker, &known, &client, seen);
    audit_sees(broker, "connect", &known, &client, seen);
    assert_eq!(client.subscribe("allowed/#", 1), 1);
    assert_eq!(
        client.publish("allowed/t", "hello", 1, false),
        ReasonCode::Success
    );
    assert_eq!(client.message().payload, "hello");

    let mut other = dial.clone().from(OTHER).client(&unknown);
    ctl_sees(broker, &unknown, &other, seen);
    assert_eq!(other.subscribe("allowed/#", 1), ReasonCode::NotAuthorized.code());
    assert_eq!(
        other.publish("allowed/t", "no", 1, false),
        ReasonCode::NotAuthorized
    );
    let record = audit_sees(broker, "acl_deny", &unknown, &other, seen);
    assert_eq!(record["rule"], "acl.conf:4", "default subscribe deny");

    let denials = || {
        broker
            .audit()
            .iter()
            .filter(|r| r["rule"] == "acl.conf:5")
            .count()
    };
    let before = denials();
    let refused = dial.clone().from(BLOCKED).try_login(&Login::new("dev-9"));
    assert_eq!(refused.err(), Some(Reply::End), "denied before CONNECT");
    until("the record of the denial", || (denials() > before).then_some(()));
    let record = broker.audited("connect", |r| r["rule"] == "acl.conf:5");
    assert_eq!(
        (&record["outcome"], &record["reason"]),
        (&"failure".into(), &"acl".into())
    );
    assert_eq!(
        (&record["peer_ip"], &record["kind"]),
        (&BLOCKED.into(), &"client".into())
    );
    assert_eq!(
        client.ping(),
        [],
        "the client is still served, and got nothing else"
    );
}

fn expected(client: &Client, seen: &Seen<'_>) -> (String, u16) {
    let local = client.local();
    (local.ip().to_string(), if seen.port { local.port() } else { 0 })
}

#[track_caller]
fn ctl_sees(broker: &Broker, id: &str, client: &Client, seen: &Seen<'_>) {
    let (ip, port) = expected(client, seen);
    let line = broker.client_line(id);
    assert!(line.starts_with(&format!("Client({id}, ")), "{line}");
    for part in [
        format!(", peername={ip}:{port}, "),
        ", kind=client, ".into(),
        format!(", via={}, ", seen.via),
        format!(", socket={}:", seen.socket),
    ] {
        assert!(line.contains(&part), "no {part:?} in {line}");
    }
    let json = broker.client(id);
    assert_eq!(json["peerhost"], *ip, "{json}");
    assert_eq!(json["peerport"], port, "{json}");
    assert_eq!(json["kind"], "client", "{json}");
    assert_eq!(addresses(&json["chain"]), seen.chain, "{json}");
    assert_eq!(json.get("claimed"), None, "{json}");
}

#[track_caller]
fn audit_sees(broker: &Broker, event: &str, id: &str, client: &Client, seen: &Seen<'_>) -> Value {
    let (ip, port) = expected(client, seen);
    let record = broker.audited(event, |r| r["clientid"] == id);
    assert_eq!(record["peer_ip"], *ip, "{record}");
    assert_eq!(record["peer_port"], port, "{record}");
    assert_eq!(record["kind"], "client", "{record}");
    assert_eq!(record["via"], seen.via, "{record}");
    assert_eq!(record["socket_ip"], seen.socket, "{record}");
    assert_eq!(addresses(&record["chain"]), seen.chain, "{record}");
    record
}

/// The hosts of `ip:port` texts.
#[track_caller]
fn addresses(chain: &Value) -> Vec<&str> {
    let hops = chain.as_array().expect("a chain").iter();
    hops.map(|hop| {
        hop.as_str()
            .and_then(|hop| hop.rsplit_once(':'))
            .expect("ip:port")
            .0
    })
    .collect()
}
