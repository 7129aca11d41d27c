//! Client ids and their sessions, as clients and operators see them.

use codec::ReasonCode;
use tests::broker::{Broker, Setup, listeners};
use tests::certs::Certs;
use tests::client::Reply;

/// The one that comes later is the client, wherever the earlier one was served.
#[test]
fn a_client_id_that_is_taken_over_stays_known() {
    let certs = Certs::new();
    let broker = Broker::start(&listeners("", &certs));
    for _ in 0..4 {
        let mut first = broker.dial("tcp").client("dev-7");
        let mut second = broker.dial("ws").ws().client("dev-7");
        assert_eq!(first.reply(), Reply::Disconnect(ReasonCode::SessionTakenOver));
        assert_eq!(broker.client("dev-7")["peername"], second.local().to_string());
        let mut third = broker.dial("tcp").client("dev-7");
        assert_eq!(second.reply(), Reply::Disconnect(ReasonCode::SessionTakenOver));
        assert_eq!(broker.client("dev-7")["peername"], third.local().to_string());
        let list = broker.ctl_json(&["clients", "list"]);
        assert_eq!(list.as_array().map(Vec::len), Some(1), "{list}");
        assert_eq!(third.ping(), []);
    }
}

/// `$SYS` tells the broker's figures, and is not retained.
#[test]
fn the_broker_tells_its_figures_in_sys_topics() {
    let certs = Certs::new();
    let broker = Setup::new(&listeners("", &certs))
        .config("[node]\nsys_interval = \"1s\"\n")
        .start();
    let mut client = broker.dial("tcp").client("watcher");
    assert_eq!(
        client.subscribe("$SYS/#", 0),
        0,
        "the built-in rules let this machine read them"
    );
    let mut wanted: Vec<(&str, &str)> = vec![
        ("$SYS/broker/clients/connected", "1"),
        ("$SYS/broker/clients/maximum", "1"),
        ("$SYS/broker/subscriptions/count", "1"),
        ("$SYS/broker/peername/socket", "1"),
        ("$SYS/broker/acl/denied", "0"),
    ];
    while !wanted.is_empty() {
        let message = client.message();
        assert!(
            message.topic.starts_with("$SYS/broker/") && !message.retain,
            "{message:?}"
        );
        wanted.retain(|&(topic, value)| topic != message.topic || value != message.payload);
    }
}
