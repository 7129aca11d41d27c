//! `broker ctl`: how the broker is reached, and which command. What the commands do lives in `ctl`.

use std::io::{self, BufWriter, IsTerminal as _};
use std::path::PathBuf;

use clap::Args;

use super::Exit;
use crate::ctl::client::{Client, Target};
use crate::ctl::{Command, run, target};

/// Arguments of `broker ctl`.
#[derive(Debug, Args)]
pub(super) struct CtlArgs {
    /// Configuration file that names the admin socket
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A broker elsewhere: https://host:18083
    #[arg(long, global = true, env = "BROKER_CTL_URL", value_name = "URL")]
    url: Option<String>,
    /// File with the token for --url
    #[arg(long, global = true, env = "BROKER_CTL_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// PEM file of the authority to trust for --url; the system's by default
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Print the answer's data as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

/// Runs it.
pub(super) fn main(args: CtlArgs) -> Exit {
    let target = match args.url {
        Some(url) => Target::Url {
            url,
            token_file: args.token_file,
            ca: args.ca,
        },
        None => Target::Unix(target::socket(args.config.as_deref())),
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let interactive = io::stdin().is_terminal();
    run(
        Client::new(target),
        args.command,
        args.json,
        interactive,
        &mut out,
        &mut io::stderr().lock(),
    )
}
