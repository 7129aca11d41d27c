//! Clients that people use, over the transports they know: versions, QoS, retained messages, Wills, sessions.

mod mosquitto;
mod paho;
mod rumqtt;

use tests::broker::{Broker, listeners};
use tests::certs::Certs;

/// A broker with a listener of each kind, named as its transport.
#[track_caller]
fn broker(certs: &Certs) -> Broker {
    Broker::start(&listeners("", certs))
}
