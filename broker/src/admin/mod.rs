//! Administration: what the operator can see and do in the running broker, over HTTP.
//!
//! `backend` is the boundary to the rest of the broker, `views` what crosses it (copies, never live
//! state), `problem` how things go wrong. What does not live here: the command line (`ctl`) and the
//! sessions themselves (`shard`, `session`).

pub mod backend;
pub mod problem;
pub mod views;
