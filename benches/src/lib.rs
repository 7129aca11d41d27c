//! The load generator: one thread, one epoll loop, its own tiny MQTT client.
//!
//! Lives here: what the programs `macro`, `relay` and `compare` share. Only `peers.rs` knows one broker from another:
//! the rest drives whatever answers MQTT at an address, so that one command measures ours and a peer.

pub mod conn;
pub mod meter;
pub mod micro;
pub mod mqtt;
pub mod peers;
pub mod report;
pub mod rows;
pub mod scenario;
pub mod target;
pub mod tls;
pub mod world;
pub mod ws;
