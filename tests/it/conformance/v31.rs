//! MQTT 3.1 (`MQIsdp`), as far as it differs.

use codec::AckKind::PubAck;
use tests::broker::Setup;

use super::wire::{Hello, V31, Wire, config, lasting, message};

#[test]
fn a_client_of_3_1_is_served() {
    let broker = Setup::new(&config(""))
        .acl("default all allow\ndeny subscribe to no/#\n")
        .start();
    let keep = lasting("old", codec::Version::V31);
    let mut wire = Wire::hello(&broker, &keep);
    wire.expect("CONNACK 0 success");
    wire.subscribe("t", 1);
    // It has no code for a refusal (3.1, section 3.9): the QoS asked for is "granted", and nothing comes.
    wire.send_subscribe(3, &[], &[("no/x", 2), ("t", 1)]);
    wire.expect("SUBACK 3 [2, 1]");
    wire.leave();
    let mut publisher = Wire::connect(&broker, &Hello { id: "p", ..V31 });
    publisher.deliver(&message("no/x", "", 1, 1));
    publisher.deliver(&message("t", "waits", 2, 1));
    // Session Present is not known to it: a reserved byte, 0.
    let mut wire = Wire::hello(&broker, &keep);
    wire.expect("CONNACK 0 success");
    wire.expect("PUBLISH t q1 #1 : waits");
    wire.ack(PubAck, 1);
    wire.unsubscribe(4, &["t"]);
    wire.expect("UNSUBACK 4 []");
    wire.ping();
}
