//! `broker run`: read the configuration, say what it means, serve.

use std::process::ExitCode;

use clap::Args;

use super::Exit;
use super::config::ConfigArgs;
use crate::config::{finding, load, raw};

/// `broker run`
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(flatten)]
    from: ConfigArgs,
}

impl Command {
    /// Serves until it is told to stop.
    pub(super) fn run(self) -> ExitCode {
        match load(&self.from.sources()) {
            Ok(loaded) => {
                if let Some(notice) = loaded.local_notice(raw::DEFAULT_FILE) {
                    eprintln!("{notice}");
                }
                crate::server::run(&loaded)
            }
            Err(refused) => {
                eprint!("{}", finding::render(&refused.findings));
                eprintln!("{}; not started", finding::summary(&refused.findings));
                Exit::InvalidConfig.into()
            }
        }
    }
}
