//! Building the running broker from its configuration, in order. Nothing is served yet.

use std::process::ExitCode;

use crate::cli::Exit;
use crate::config::Loaded;

/// Serves until told to stop. `loaded` was found right.
pub fn run(loaded: Loaded) -> ExitCode {
    let Loaded { config, .. } = loaded;
    eprintln!(
        "error: this version cannot serve its {} listeners yet",
        config.listeners.len()
    );
    Exit::No.into()
}
