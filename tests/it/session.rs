//! Client ids and their sessions, as clients and operators see them.

use codec::ReasonCode;
use tests::broker::{Broker, listeners};
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
