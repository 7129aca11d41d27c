//! Who a client is by its credentials: `auth.chain`, asked in order; each source accepts, rejects or ignores.
//!
//! What does not live here: hashes and their formats (`auth::credentials`), what a client may do (`auth::Policy`).

pub mod chain;
pub mod http;
pub mod jwt;
pub mod keys;
pub mod password;
pub mod permissions;
mod template;
#[cfg(test)]
mod testing;
pub mod web;

pub use chain::{Authenticator, Credentials, Failure, Sources, Verified};
pub use permissions::Permissions;
