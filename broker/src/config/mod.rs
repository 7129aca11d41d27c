//! Configuration: as written (`raw`), where each value came from (`origin`), as meant (`types`, `listener`), judged
//! (`check`). No runtime handle lives here; the running broker holds an `Arc<Config>` and swaps it whole.

pub mod effective;
pub mod keys;
pub mod listener;
pub mod local;
pub mod types;
pub mod units;

use std::path::PathBuf;
use std::sync::Arc;

pub use self::listener::{
    ClientAuth, ListenerConfig, PeernameSettings, TlsConfig, TlsVersion, Transport, UsernameFrom,
    WebSocketConfig,
};
pub use self::local::LocalPaths;
pub use self::types::*;
pub use self::units::{Bind, Limit, Rate, RateLimit};

/// What was asked for on the command line: enough to read the configuration again.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `--config`, if given.
    pub file: Option<PathBuf>,
    /// Each `--set KEY=VALUE`, in order.
    pub set: Vec<String>,
}

/// A configuration that was read and found right.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What is in force.
    pub config: Arc<Config>,
    /// Whether there is no file, so that the built-in local mode is in force.
    pub local_mode: bool,
}
