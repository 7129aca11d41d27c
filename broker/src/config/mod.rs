//! Configuration: as written (`raw`), where each value came from (`origin`), as meant (`types`, `listener`), judged
//! (`check`). No runtime handle lives here; the running broker holds an `Arc<Config>` and swaps it whole.

mod access;
mod check;
pub mod effective;
pub mod files;
pub mod finding;
pub mod init;
pub mod keys;
pub mod listener;
pub mod load;
pub mod local;
pub mod origin;
pub mod raw;
pub mod reload;
pub mod schema;
pub mod show;
pub mod suggest;
pub mod text;
pub mod types;
pub mod units;
pub mod value;
mod walk;

#[cfg(test)]
mod load_tests;
#[cfg(test)]
mod property_tests;

use std::path::PathBuf;
use std::sync::Arc;

pub use self::access::*;
pub use self::listener::{
    ClientAuth, ListenerConfig, PeernameSettings, TlsConfig, TlsVersion, Transport, UsernameFrom,
    WebSocketConfig,
};
pub use self::load::{Refused, Values, load, load_in};
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
    /// What was asked for; a reload reads it again.
    pub sources: Sources,
    /// The main configuration file, whether or not it exists.
    pub main: PathBuf,
    /// The files that were read, lowest layer first.
    pub files: Vec<PathBuf>,
    /// The values as a file would have them, and where each came from.
    pub values: Arc<Values>,
    /// What somebody should look at: CW, CFG020, CFG021.
    pub warnings: Vec<finding::Finding>,
}
