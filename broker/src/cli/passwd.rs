//! `broker passwd`: the users of the password file. The password is asked for on a terminal, else one line of stdin
//! is taken; it is never an argument, where others could read it.
//!
//! What does not live here: hashes and the file's format (`auth::credentials`).

use std::io::{self, BufRead as _, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use auth::credentials::{Hash, Passwords, check_user};
use auth::scram;
use clap::{Args, Subcommand};
use serde_json::json;

use super::config::ConfigArgs;
use super::{Exit, print, whole_file};
use crate::config::finding::io_reason;

/// `broker passwd ...`
#[derive(Debug, Args)]
pub(super) struct PasswdArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Add a user, or give one a new password (asked for, or the first line of stdin)
    Add {
        /// The user's name
        user: String,
        /// Keep SCRAM-SHA-256 keys, so that the user can log in through AUTH too
        #[arg(long)]
        scram: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Take users out
    Del {
        /// Their names
        #[arg(required = true)]
        users: Vec<String>,
        #[command(flatten)]
        place: Place,
    },
    /// Print the users
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
}

/// Which file.
#[derive(Debug, Args)]
struct Place {
    /// The password file (else auth.password_file.path of the configuration)
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    from: ConfigArgs,
}

/// Does what was asked.
pub(super) fn run(args: PasswdArgs) -> ExitCode {
    let done = match args.what {
        What::Add { user, scram, place } => add(&user, scram, &place),
        What::Del { users, place } => del(&users, &place),
        What::List { json, place } => list(&place, json),
    };
    match done {
        Ok(()) => Exit::Done.into(),
        Err(Failed(message)) => {
            if !message.is_empty() {
                eprintln!("error: {message}");
            }
            Exit::No.into()
        }
    }
}

/// What is told before exit code 1; empty if it is told already.
struct Failed(String);

impl From<String> for Failed {
    fn from(message: String) -> Self {
        Self(message)
    }
}

impl Place {
    fn path(&self) -> Result<PathBuf, Failed> {
        if let Some(file) = &self.file {
            return Ok(file.clone());
        }
        let loaded = self.from.load().map_err(|_| Failed(String::new()))?;
        Ok(loaded.config.auth.password_file.path.clone())
    }
}

/// The file's text; a missing file has no users yet.
fn read(path: &Path) -> Result<String, Failed> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(format!("cannot read {}: {}", path.display(), io_reason(&error)).into()),
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failed> {
    let written = whole_file::write(path, text, 0o640);
    written.map_err(|error| format!("cannot write {}: {}", path.display(), io_reason(&error)).into())
}

/// Whether a line of the file is this user's.
fn is_of(line: &str, user: &str) -> bool {
    line.split_once(':').is_some_and(|(name, _)| name == user)
}

fn add(user: &str, scram: bool, place: &Place) -> Result<(), Failed> {
    check_user(user).map_err(str::to_owned)?;
    let path = place.path()?;
    let old = read(&path)?;
    let password = password(user)?;
    let hash = hash(&password, scram)?;
    let entry = format!("{user}:{hash}");
    let known = old.lines().any(|line| is_of(line, user));
    // The first line of the user gets the new hash; comments and order stay.
    let mut lines: Vec<&str> = Vec::new();
    let mut placed = false;
    for line in old.lines() {
        if !is_of(line, user) {
            lines.push(line);
        } else if !placed {
            placed = true;
            lines.push(&entry);
        }
    }
    if !placed {
        lines.push(&entry);
    }
    write(&path, &(lines.join("\n") + "\n"))?;
    let done = if known { "has a new password" } else { "is added" };
    eprintln!(
        "{} {done} in {}; a running broker takes it with: broker ctl reload",
        auth::shown(user),
        path.display()
    );
    Ok(())
}

fn hash(password: &str, scram: bool) -> Result<Hash, Failed> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|error| format!("no random bytes: {error}"))?;
    if scram {
        let keys = scram::Keys::derive(password.as_bytes(), &salt, scram::ITERATIONS);
        return Ok(Hash::Scram(Box::new(keys)));
    }
    Hash::argon2id(password.as_bytes(), salt).map_err(|error| error.to_string().into())
}

/// Asks twice on a terminal; else takes one line.
fn password(user: &str) -> Result<String, Failed> {
    let unreadable = |error: io::Error| Failed(format!("cannot read the password: {}", io_reason(&error)));
    let password = if io::stdin().is_terminal() {
        let ask = |what: &str| rpassword::prompt_password(format!("{what} for {}: ", auth::shown(user)));
        let first = ask("Password").map_err(unreadable)?;
        if first != ask("The same again").map_err(unreadable)? {
            return Err("the two are not the same; nothing was changed".to_owned().into());
        }
        first
    } else {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map_err(unreadable)?;
        line.trim_end_matches(['\r', '\n']).to_owned()
    };
    if password.is_empty() {
        return Err("the password is empty; nothing was changed".to_owned().into());
    }
    Ok(password)
}

fn del(users: &[String], place: &Place) -> Result<(), Failed> {
    let path = place.path()?;
    let old = read(&path)?;
    let missing: Vec<String> = users
        .iter()
        .filter(|user| !old.lines().any(|line| is_of(line, user)))
        .map(|user| auth::shown(user))
        .collect();
    if !missing.is_empty() {
        return Err(format!(
            "{}: not in {}; nothing was changed",
            missing.join(", "),
            path.display()
        )
        .into());
    }
    let kept: String = old
        .lines()
        .filter(|line| !users.iter().any(|user| is_of(line, user)))
        .flat_map(|line| [line, "\n"])
        .collect();
    write(&path, &kept)
}

fn list(place: &Place, as_json: bool) -> Result<(), Failed> {
    let path = place.path()?;
    let (passwords, errors) = Passwords::parse(&read(&path)?);
    let mut rows: Vec<(&str, &str)> = passwords
        .users()
        .filter_map(|user| Some((user, passwords.hash(user)?.kind())))
        .collect();
    rows.sort_unstable();
    if as_json {
        let rows: Vec<_> = rows
            .iter()
            .map(|(user, kind)| json!({ "user": user, "hash": kind }))
            .collect();
        print(&format!("{}\n", json!(rows)));
    } else {
        let width = rows
            .iter()
            .map(|(user, _)| auth::shown(user).chars().count())
            .max()
            .unwrap_or(0)
            .max(4);
        print(&format!("{:<width$}  HASH\n", "USER"));
        for (user, kind) in &rows {
            print(&format!("{:<width$}  {kind}\n", auth::shown(user)));
        }
    }
    let told: Vec<String> = errors
        .iter()
        .map(|e| format!("{}:{}:{}: {}", path.display(), e.line, e.col, e.message))
        .collect();
    if told.is_empty() {
        Ok(())
    } else {
        Err(told.join("\nerror: ").into())
    }
}
