//! May they: the ACL language, credentials, bans and quotas. Facts in, decision out; no sockets, no files
//! (the caller passes a loader), no clock (`now` is a parameter).
//!
//! `acl.conf` -> [`parse()`] -> [`Acl`] (as written) -> [`Policy::compile`] -> [`Policy::decide`] with a
//! [`Subject`] made from a [`peer::Peer`] -> [`Decision`], [`Permit`].
//!
//! What does not live here: who the client is (`peer`), packets (`codec`), what is done about a denial (`broker`).
#![deny(clippy::indexing_slicing, clippy::unwrap_used)]
#![cfg_attr(test, allow(clippy::indexing_slicing, clippy::unwrap_used))]

pub mod auto_ban;
pub mod bans;
pub mod check;
pub mod credentials;
mod decision;
mod diagnostic;
mod explain;
mod fmt;
pub mod import;
mod index;
mod lex;
mod lru;
mod meter;
pub mod nets;
mod parse;
mod pattern;
mod policy;
mod prefix_map;
pub mod quota;
pub mod raw;
mod rule;
pub mod scram;
mod shown;
mod subject;

pub use decision::{Decision, Permit, RuleId};
pub use diagnostic::{Code, Diagnostic, Hint, Pos, render};
pub use explain::{Explanation, Row, Status};
pub use fmt::format;
pub use parse::{Env, Loader, NoFiles, parse, parse_text};
pub use pattern::Pattern;
pub use policy::{BUILTIN, Policy};
pub use prefix_map::PrefixMap;
pub use raw::{Acl, ActionKind, Effect};
pub use shown::{Shown, shown};
pub use subject::{Action, Endpoint, Facts, Subject, TlsBy};
