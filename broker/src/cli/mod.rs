//! The command line: one binary, a file for each subcommand. What a subcommand does lives in its own room; here are
//! only its arguments, its way to it, and the exit codes.

mod acl;
mod audit;
pub mod config;
mod ctl;
pub mod facts;
mod passwd;
mod peername;
mod proxyconf;
mod run;
mod store;
mod token;
mod whole_file;

use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// The exit codes of every command (operator-interface 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, or yes.
    Done = 0,
    /// No: not found, denied, findings, a failed case, errors in the checked file, reload refused.
    No = 1,
    /// Wrong use of the command line.
    Usage = 2,
    /// The broker is not reachable.
    Unreachable = 3,
    /// Not permitted.
    NotPermitted = 4,
    /// Timed out, or only partly done.
    Partly = 5,
    /// `broker run` met an invalid configuration.
    InvalidConfig = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The MQTT broker that knows who is really connecting.
#[derive(Debug, Parser)]
#[command(
    name = "broker",
    version,
    max_term_width = 110,
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the broker
    Run(run::Command),
    /// Check, show and write configurations
    Config(config::Command),
    /// Check, test, format and import rule files
    Acl(acl::AclArgs),
    /// The users of the password file: add, del, list
    Passwd(passwd::PasswdArgs),
    /// Work on audit files
    Audit(audit::Command),
    /// Look into the running broker and change it
    Ctl(Box<ctl::CtlArgs>),
    /// How a client's address would be found, by a configuration
    Peername(Box<peername::Command>),
    /// The configuration of the proxy in front of a listener
    Proxyconf(Box<proxyconf::Command>),
    /// Work on a data directory that no broker is using
    Store(store::Command),
    /// Tokens of the admin API: create, list, revoke
    Token(token::Command),
    /// Print the version
    Version,
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// The whole command line as clap knows it: for completions, man pages and tests.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Prints data. A reader that has gone (`broker config show | head`) is no error.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    if let Err(error) = written
        && error.kind() != ErrorKind::BrokenPipe
    {
        eprintln!("error: cannot write: {error}");
    }
}

/// Runs the command of this process's arguments.
pub fn main() -> ExitCode {
    // clap prints help to stdout with 0 and errors to stderr with 2: both are ours too.
    match Cli::parse().command {
        Command::Run(command) => command.run(),
        Command::Config(command) => command.run(),
        Command::Acl(args) => acl::run(args),
        Command::Passwd(args) => passwd::run(args),
        Command::Audit(command) => command.run(),
        Command::Ctl(args) => ctl::main(*args).into(),
        Command::Peername(command) => command.run(),
        Command::Proxyconf(command) => command.run(),
        Command::Store(command) => command.run(),
        Command::Token(command) => command.run(),
        Command::Version => {
            print(concat!("broker ", env!("CARGO_PKG_VERSION"), "\n"));
            Exit::Done.into()
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command(), "broker", &mut script);
            print(&String::from_utf8_lossy(&script));
            Exit::Done.into()
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command().debug_assert();
    }
}
