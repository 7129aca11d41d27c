//! Who the client is: the PROXY protocol, address headers, trust. All of `peername.md`, without I/O and
//! without a clock, so that the listeners, `explain`, the doctor and the tests call the same functions.
//!
//! [`RawPolicy`] (a listener's keys as written) → [`Policy`] → [`Peer`] (the result, with
//! its [`TrustedPeer`]).
//!
//! Not here: sockets, TLS, HTTP parsing (`listeners`); rules about addresses (`auth`).
#![deny(clippy::indexing_slicing)]
#![cfg_attr(not(test), expect(dead_code, reason = "the two stages land next"))]

mod addr;
mod code;
mod info;
mod peer;
mod policy;
mod steps;
#[cfg(feature = "test-util")]
mod testing;
mod text;
mod trust;

pub use addr::{Addr, AddrParseError, Class, HostText, canonical};
pub use code::{Code, Detail, Level, LogContext, Warning, Warnings};
pub use info::{Info, RawTlvs, Ssl};
pub use peer::{
    ClaimedAddr, Command, Family, HeaderUse, Hop, Kind, Link, Peer, ProxyUse, Source, Strategy, TrustedPeer,
};
pub use policy::{
    Checked, ConfigCode, HeaderKind, KEYS, Policy, Problem, ProxyMode, ProxyVersions, RawPolicy, Transport,
    Value,
};
pub use steps::{ElementFound, ElementRule, HeaderFound, PortFound, Step};
#[cfg(feature = "test-util")]
pub use testing::PeerBuilder;
pub use text::{ELEMENT_CHARS_MAX, ELEMENTS_SHOWN_MAX, escape, escape_header};
pub use trust::{Range, TrustSet};
