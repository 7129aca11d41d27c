//! `broker config`: look at a configuration without a running broker, and write a first one.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{Exit, print};
use crate::config::finding::{self, Finding};
use crate::config::show::{Change, changes};
use crate::config::{Loaded, LocalPaths, Sources, effective, files, init, load, schema};

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
    /// Print what differs from the built-in defaults, or from another configuration file
    Diff {
        #[command(flatten)]
        from: ConfigArgs,
        /// The other file (with the conf.d beside it)
        #[arg(long, value_name = "FILE")]
        against: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of the file, for editors
    Schema,
    /// Write a commented configuration with every key
    Init {
        /// The file to write; - prints it
        #[arg(default_value = "broker.toml")]
        file: PathBuf,
    },
}

impl Command {
    /// Does what was asked.
    pub fn run(self) -> ExitCode {
        match self.what {
            What::Check { from, strict, json } => check(&from, strict, json),
            What::Diff { from, against, json } => diff(&from, against, json),
            What::Schema => {
                print(&format!("{:#}\n", schema::schema()));
                Exit::Done
            }
            What::Init { file } => init(&file),
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
        Ok(loaded) => {
            let mut findings = loaded.warnings.clone();
            findings.extend(files::check(&loaded));
            finding::sort(&mut findings);
            findings
        }
        Err(refused) => refused.findings,
    };
    let (errors, warnings) = finding::count(&findings);
    if json {
        let list: Vec<_> = findings.iter().map(Finding::to_json).collect();
        print(&format!(
            "{}\n",
            serde_json::json!({ "errors": errors, "warnings": warnings, "findings": list })
        ));
    } else {
        let changed = if errors > 0 { "; nothing was changed" } else { "" };
        print(&format!(
            "{}{}{changed}\n",
            finding::render(&findings),
            finding::summary(&findings)
        ));
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
        print(&format!("{}\n", serde_json::json!(values.rows(prefix))));
    } else if origin {
        print(&values.origin_table(prefix));
    } else {
        print(&values.file(prefix));
    }
    Exit::Done
}

fn diff(from: &ConfigArgs, against: Option<PathBuf>, json: bool) -> Exit {
    let other = match against {
        None => effective::fill(&toml::Table::new()),
        Some(file) => match (ConfigArgs {
            config: Some(file),
            set: Vec::new(),
        })
        .load()
        {
            Ok(loaded) => loaded.values.filled.clone(),
            Err(exit) => return exit,
        },
    };
    let loaded = match from.load() {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let found = changes(&other, &loaded.values.filled);
    if json {
        print(&format!(
            "{}\n",
            serde_json::Value::Array(found.iter().map(Change::to_json).collect())
        ));
    } else {
        for change in &found {
            print(&format!(
                "{} ({})\n",
                change.describe(),
                loaded.values.origins.of(&change.path)
            ));
        }
    }
    if found.is_empty() { Exit::Done } else { Exit::No }
}

fn init(file: &Path) -> Exit {
    let local = (!rustix::process::geteuid().is_root()).then(LocalPaths::of_this_user);
    let text = init::file(local.as_ref());
    if file == Path::new("-") {
        print(&text);
        return Exit::Done;
    }
    let written = File::options()
        .write(true)
        .create_new(true)
        .open(file)
        .and_then(|mut f| f.write_all(text.as_bytes()));
    match written {
        Ok(()) => {
            eprintln!(
                "wrote {}; run it with: broker run --config {}",
                file.display(),
                file.display()
            );
            eprintln!("for completion in editors: broker config schema > broker.schema.json, beside it");
            Exit::Done
        }
        Err(error) => {
            let reason = if error.kind() == ErrorKind::AlreadyExists {
                "it exists already, and is left as it is".to_owned()
            } else {
                finding::io_reason(&error)
            };
            eprintln!("error: cannot write {}: {reason}", file.display());
            Exit::No
        }
    }
}
