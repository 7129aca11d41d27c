//! The broker: sessions, router, audit, administration, configuration and the command line.
//!
//! What does not live here: bytes and packets (`codec`), the client's address (`peer`), permission
//! (`auth`) and sockets (`listeners`). `ARCHITECTURE.md` says which room holds what.

pub mod admin;
pub mod audit;
pub mod authn;
pub mod bans;
pub mod cli;
pub mod config;
pub mod control;
pub mod ctl;
pub mod doctor;
pub mod doors;
pub mod gate;
pub mod limits;
pub mod logging;
pub mod metrics;
pub mod node;
pub mod persistence;
pub mod registry;
pub mod router;
pub mod rules;
pub mod server;
pub mod service;
pub mod session;
pub mod shard;
pub mod store;
pub mod sys_topics;
pub mod systemd;
pub mod trace;
