//! The codec from outside: golden vectors, malformed packets, round trips, hostile bytes, topics against brute force,
//! and mqttbytes as a second opinion.

mod differential;
mod encode;
mod generate;
mod hostile;
mod invariants;
mod malformed;
mod round_trip;
mod support;
mod topics;
mod vectors;
