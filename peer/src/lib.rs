//! Who the client is: the PROXY protocol, address headers, trust. All of `peername.md`, without I/O and
//! without a clock, so that the listeners, `explain`, the doctor and the tests call the same functions.
//!
//! [`RawPolicy`] (a listener's keys as written) → [`Policy`] → [`Peer`] (the result, with
//! its [`TrustedPeer`]).
//!
//! Not here: sockets, TLS, HTTP parsing (`listeners`); rules about addresses (`auth`).
#![deny(clippy::indexing_slicing)]

mod addr;
mod code;
mod doctor;
mod explain;
mod header;
mod info;
mod outcome;
mod peer;
mod policy;
mod proxy;
mod rate;
mod steps;
#[cfg(feature = "test-util")]
mod testing;
mod text;
mod trust;

pub use addr::{Addr, AddrParseError, Class, HostText, canonical};
pub use code::{Code, Detail, Level, LogContext, Warning, Warnings};
pub use doctor::{Doctor, Event, EventResult, Finding, FindingCode, ListenerFacts, Severity};
pub use explain::{Explanation, Outcome, StepText};
pub use header::resolve_headers;
pub use info::{Info, RawTlvs, Ssl};
pub use outcome::{Reject, resolve_socket};
pub use peer::{
    ClaimedAddr, Command, Family, HeaderUse, Hop, Kind, Link, Peer, ProxyUse, Source, Strategy, TrustedPeer,
};
pub use policy::{
    Checked, ConfigCode, HeaderKind, KEYS, Policy, Problem, ProxyMode, ProxyVersions, RawPolicy, Transport,
    Value,
};
pub use proxy::{End, FirstBytes, ProxyStage, Signature, Verdict, after_tls, names_itself, signature, sniff};
pub use rate::{Bucket, Rate, RateKey};
pub use steps::{ElementFound, ElementRule, HeaderFound, PortFound, Step};
#[cfg(feature = "test-util")]
pub use testing::PeerBuilder;
pub use text::{ELEMENT_CHARS_MAX, ELEMENTS_SHOWN_MAX, escape, escape_header, shown};
pub use trust::{Range, TrustSet};
