//! `broker config`: look at a configuration without a running broker, and write a first one.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::Exit;
use crate::config::finding::{self, Finding};
use crate::config::{Loaded, Sources, load};

/// Where the configuration comes from; the same for every command that reads it.
#[derive(Clone, Debug, Args)]
pub struct ConfigArgs {
    /// Configuration file (else $BROKER_CONFIG, else /etc/broker/broker.toml)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Set one key, above all files and the environment; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub set: Vec<String>,
}

fn key_and_value(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((key, _)) if !key.trim().is_empty() => Ok(text.to_owned()),
        _ => Err("write KEY=VALUE, such as log.level=debug".to_owned()),
    }
}

impl ConfigArgs {
    /// As the loader takes it.
    pub fn sources(&self) -> Sources {
        Sources {
            file: self.config.clone(),
            set: self.set.clone(),
        }
    }

    /// Reads the configuration; what is wrong with it goes to stderr.
    ///
    /// # Errors
    /// Exit code 1.
    pub fn load(&self) -> Result<Loaded, Exit> {
        load(&self.sources()).map_err(|refused| {
            eprint!("{}", finding::render(&refused.findings));
            eprintln!("{}", finding::summary(&refused.findings));
            Exit::No
        })
    }
}

/// `broker config ...`
#[derive(Debug, Args)]
pub struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Check the configuration and every file it names; all errors at once
    Check {
        #[command(flatten)]
        from: ConfigArgs,
        /// Warnings fail too
        #[arg(long)]
        strict: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the configuration in force, as a file
    Show {
        #[command(flatten)]
        from: ConfigArgs,
        /// Print where each value comes from, and what it hides
        #[arg(long)]
        origin: bool,
        /// Print JSON (with origins)
        #[arg(long)]
        json: bool,
        /// Only the keys under this path, such as listeners.tcp
        #[arg(default_value = "", hide_default_value = true)]
        prefix: String,
    },
}

impl Command {
    /// Does what was asked.
    pub fn run(self) -> ExitCode {
        match self.what {
            What::Check { from, strict, json } => check(&from, strict, json),
            What::Show {
                from,
                origin,
                json,
                prefix,
            } => show(&from, origin, json, &prefix),
        }
        .into()
    }
}

fn check(from: &ConfigArgs, strict: bool, json: bool) -> Exit {
    let findings = match load(&from.sources()) {
        Ok(loaded) => loaded.warnings,
        Err(refused) => refused.findings,
    };
    let (errors, warnings) = finding::count(&findings);
    if json {
        let list: Vec<_> = findings.iter().map(Finding::to_json).collect();
        println!(
            "{}",
            serde_json::json!({ "errors": errors, "warnings": warnings, "findings": list })
        );
    } else {
        let changed = if errors > 0 { "; nothing was changed" } else { "" };
        println!(
            "{}{}{changed}",
            finding::render(&findings),
            finding::summary(&findings)
        );
    }
    if errors > 0 || (strict && warnings > 0) {
        Exit::No
    } else {
        Exit::Done
    }
}

fn show(from: &ConfigArgs, origin: bool, json: bool, prefix: &str) -> Exit {
    let loaded = match from.load() {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let values = &loaded.values;
    let none = !crate::config::show::entries(&values.filled)
        .iter()
        .any(|e| crate::config::show::is_under(&e.path, prefix));
    if none {
        eprintln!("config: no key under {prefix}");
        return Exit::No;
    }
    if json {
        println!("{}", values.to_json(prefix));
    } else if origin {
        print!("{}", values.origin_table(prefix));
    } else {
        print!("{}", values.file(prefix));
    }
    Exit::Done
}
