//! `broker audit verify|export`: offline work on audit files. What it does lives in `audit`.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::Exit;
use crate::audit::export::{Schema, convert};
use crate::audit::verify::verify;

/// Arguments of `broker audit`.
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Follow the hash chain through files, oldest first, and name the first line that breaks
    Verify {
        /// Audit files, oldest first; rotated ones may be compressed (.gz)
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// A head kept elsewhere: some record must have this hash
        #[arg(long, value_name = "HASH")]
        head: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Turn records from standard input into another schema, one line each
    Export {
        /// The schema
        #[arg(long, value_enum)]
        format: Schema,
    },
}

impl Command {
    /// Runs it.
    pub(super) fn run(self) -> ExitCode {
        run(self.command).into()
    }
}

fn run(command: AuditCommand) -> Exit {
    match command {
        AuditCommand::Verify { files, head, json } => run_verify(&files, head.as_deref(), json),
        AuditCommand::Export { format } => {
            run_export(format, io::stdin().lock(), io::stdout().lock()).unwrap_or_else(|e| {
                // A reader that goes away (`| head`) is the usual end of a stream.
                if e.kind() != io::ErrorKind::BrokenPipe {
                    eprintln!("error: {e}");
                }
                Exit::Partly
            })
        }
    }
}

fn run_verify(files: &[PathBuf], head: Option<&str>, json: bool) -> Exit {
    match verify(files, head) {
        Ok(verified) if json => {
            println!("{}", serde_json::json!({"ok": true, "files": verified}));
            Exit::Done
        }
        Ok(verified) => {
            for v in &verified {
                let before = match v.unchained {
                    0 => String::new(),
                    n => format!("; {n} records before the chain was switched on are not covered"),
                };
                let (file, (from, to)) = (v.file.display(), v.seq);
                println!(
                    "{file}: ok, {} records, seq {from} to {to}, head {}{before}",
                    v.records, v.head
                );
            }
            Exit::Done
        }
        Err(broken) => {
            if json {
                println!(
                    "{}",
                    serde_json::json!({"ok": false, "error": broken.to_string()})
                );
            }
            eprintln!("error: {broken}");
            Exit::No
        }
    }
}

/// Converts line by line, so that it can follow a growing file; a line that is no record is told and
/// left out.
fn run_export(schema: Schema, from: impl io::BufRead, mut to: impl io::Write) -> io::Result<Exit> {
    let mut exit = Exit::Done;
    for (i, line) in from.lines().enumerate() {
        let line = line?;
        match convert(schema, &line) {
            Ok(converted) => {
                writeln!(to, "{converted}")?;
                to.flush()?;
            }
            Err(e) => {
                eprintln!("error: line {}: {e}", i + 1);
                exit = Exit::Partly;
            }
        }
    }
    Ok(exit)
}
