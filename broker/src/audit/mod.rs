//! The audit log: what clients and administrators did, one JSON line each (operator-interface.md 5).
//!
//! A caller builds an [`Event`] and hands it to [`AuditLog::record`], which never blocks. One thread
//! (`writer`) counts alike denials together (`coalesce`), formats (`format`), chains (`chain`), writes
//! and rotates (`file`) and keeps the newest records in memory for live readers (`ring`).
//! Not here: the command line (`cli/audit.rs`) and the HTTP API (`admin`).

mod chain;
mod coalesce;
mod event;
pub mod export;
mod file;
mod format;
mod log;
mod ring;
pub mod verify;
mod writer;

#[cfg(test)]
mod tests;

pub use event::{
    AclDeny, Actor, Addresses, AdminCall, AuthnReason, ClientFacts, Connect, ConnectReason, DenyAction,
    DenyReason, Disconnect, DisconnectReason, Event, EventKind, PeernameReject, Sanction, TlsFacts,
};
pub use log::{AuditLog, ChainHead, EventFilter, OpenError, Settings, Stats};
pub use ring::{Batch, Record, Subscription};
