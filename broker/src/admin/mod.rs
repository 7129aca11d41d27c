//! Administration: what the operator can see and do in the running broker, over HTTP.
//!
//! `backend` is the boundary to the rest of the broker, `views` what crosses it (copies, never live
//! state), `problem` how things go wrong, `api` the paths, `tokens` who may use them from afar, `server`
//! the sockets, `page` the page. What does not live here: the command line (`ctl`) and the sessions
//! themselves (`shard`, `session`).

pub mod api;
pub mod backend;
pub mod explain;
pub mod health;
#[cfg(test)]
pub(crate) mod mock;
mod page;
pub mod problem;

pub mod server;
pub mod tokens;
pub mod views;

/// Bytes as lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}
