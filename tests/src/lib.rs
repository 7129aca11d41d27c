//! The harness: starts the real broker, real proxies and clients on loopback, and reads what the broker tells an
//! operator: `broker ctl`, the audit log, the log.
//!
//! What does not live here: what is asserted (`tests/it/`). Everything waits for events under one deadline.

pub mod broker;
pub mod certs;
pub mod client;
pub mod link;
pub mod process;
pub mod proxies;
pub mod wait;
pub mod ws;
