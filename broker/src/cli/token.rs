//! `broker token`: bearer tokens of the HTTPS side, in `admin.tokens_file`. The running broker reads the file
//! again when it changed.

use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Args, Subcommand};
use ipnet::IpNet;

use super::Exit;
use super::config::ConfigArgs;
use crate::admin::api::Scope;
use crate::admin::tokens::{self, Token};
use crate::admin::views::{Timestamp, parse_duration};
use crate::ctl::text::{Table, json};

/// `broker token ...`
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a token and print it once
    Create {
        /// Its name, for the audit log
        #[arg(long)]
        name: String,
        /// What it may do
        #[arg(long, value_parser = ["read", "operate", "admin"], default_value = "read")]
        scope: String,
        /// From where: addresses, CIDRs, @names (with commas); anywhere without it
        #[arg(long, value_delimiter = ',', value_name = "CIDR")]
        allow_from: Vec<String>,
        /// For how long (90d); until revoked without it
        #[arg(long, value_name = "DURATION")]
        expires: Option<String>,
        #[command(flatten)]
        from: ConfigArgs,
    },
    /// List the tokens, not their secrets
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        from: ConfigArgs,
    },
    /// Take a token back
    Revoke {
        /// Its name
        name: String,
        #[command(flatten)]
        from: ConfigArgs,
    },
}

impl Command {
    /// Does what was asked.
    pub(super) fn run(self) -> ExitCode {
        let done = match self.what {
            What::Create {
                name,
                scope,
                allow_from,
                expires,
                from,
            } => from.load().and_then(|loaded| {
                let path = &loaded.config.admin.tokens_file;
                let built_in = ["loopback", "private", "proxies"];
                let known = |network: &str| {
                    built_in.contains(&network) || loaded.config.networks.contains_key(network)
                };
                let token = new_token(name, &scope, allow_from, expires.as_deref(), &known)?;
                println!("{}", create(path, token)?);
                Ok(())
            }),
            What::List { json, from } => from
                .load()
                .and_then(|loaded| list(&loaded.config.admin.tokens_file, json)),
            What::Revoke { name, from } => from
                .load()
                .and_then(|loaded| revoke(&loaded.config.admin.tokens_file, &name)),
        };
        done.map_or_else(|exit| exit, |()| Exit::Done).into()
    }
}

fn wrong(text: &str, exit: Exit) -> Exit {
    eprintln!("error: {text}");
    exit
}

fn new_token(
    name: String,
    scope: &str,
    allow_from: Vec<String>,
    expires: Option<&str>,
    known: &dyn Fn(&str) -> bool,
) -> Result<Token, Exit> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || !name.chars().all(plain) {
        return Err(wrong("--name: letters, digits, `.`, `_`, `-`", Exit::Usage));
    }
    for range in &allow_from {
        let right = match range.strip_prefix('@') {
            Some(network) => known(network),
            None => range.parse::<IpNet>().is_ok() || range.parse::<std::net::IpAddr>().is_ok(),
        };
        if !right {
            return Err(wrong(
                &format!("--allow-from: `{range}` is no address, CIDR or known @name"),
                Exit::Usage,
            ));
        }
    }
    let now = Timestamp::from(SystemTime::now());
    let expires_at = match expires {
        None => None,
        Some(text) => {
            let after = parse_duration(text).and_then(|after| u64::try_from(after.as_millis()).ok());
            let after = after.ok_or_else(|| {
                wrong(
                    &format!("--expires: `{text}` is no duration like 90d"),
                    Exit::Usage,
                )
            })?;
            Some(Timestamp(now.0.saturating_add(after)))
        }
    };
    let scope = match scope {
        "admin" => Scope::Admin,
        "operate" => Scope::Operate,
        _ => Scope::Read,
    };
    Ok(Token {
        name,
        scope,
        sha256: String::new(),
        allow_from,
        created_at: now,
        expires_at,
    })
}

/// Adds the token to the file under a fresh secret, which it returns.
fn create(path: &Path, mut token: Token) -> Result<String, Exit> {
    let mut all = read(path)?;
    if all.iter().any(|other| other.name == token.name) {
        return Err(wrong(
            &format!("token {}: there is one already; revoke it first", token.name),
            Exit::No,
        ));
    }
    let (secret, hash) = tokens::generate().map_err(|e| wrong(&e.to_string(), Exit::No))?;
    token.sha256 = hash;
    all.push(token);
    write(path, &all)?;
    Ok(secret)
}

fn read(path: &Path) -> Result<Vec<Token>, Exit> {
    tokens::read(path).map_err(|e| file_error(path, &e))
}

fn write(path: &Path, all: &[Token]) -> Result<(), Exit> {
    tokens::write(path, all).map_err(|e| file_error(path, &e))
}

fn file_error(path: &Path, error: &std::io::Error) -> Exit {
    let exit = if error.kind() == std::io::ErrorKind::PermissionDenied {
        Exit::NotPermitted
    } else {
        Exit::No
    };
    wrong(&format!("{}: {error}", path.display()), exit)
}

fn list(path: &Path, as_json: bool) -> Result<(), Exit> {
    let all = read(path)?;
    if as_json {
        let rows: Vec<_> = all
            .into_iter()
            .map(|token| Token {
                sha256: String::new(),
                ..token
            })
            .collect();
        let mut value = serde_json::to_value(rows).unwrap_or_default();
        for row in value.as_array_mut().into_iter().flatten() {
            row.as_object_mut().map(|row| row.remove("sha256"));
        }
        println!("{}", json(&value));
        return Ok(());
    }
    let mut table = Table::new(&["NAME", "SCOPE", "ALLOW_FROM", "CREATED", "EXPIRES"]);
    for token in all {
        let from = if token.allow_from.is_empty() {
            "anywhere".to_owned()
        } else {
            token.allow_from.join(",")
        };
        let expires = token
            .expires_at
            .map_or_else(|| "-".to_owned(), |at| at.to_string());
        table.row([
            token.name,
            token.scope.as_str().to_owned(),
            from,
            token.created_at.to_string(),
            expires,
        ]);
    }
    table.write(&mut std::io::stdout().lock()).map_err(|_| Exit::No)
}

fn revoke(path: &Path, name: &str) -> Result<(), Exit> {
    let mut all = read(path)?;
    let before = all.len();
    all.retain(|token| token.name != name);
    if all.len() == before {
        eprintln!("token {name}: not found");
        return Err(Exit::No);
    }
    write(path, &all)?;
    println!("revoked {name}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_shown_once_and_revoked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.toml");
        let make = |name: &str| {
            new_token(
                name.into(),
                "operate",
                vec!["@office".into()],
                Some("90d"),
                &|n| n == "office",
            )
        };
        let secret = create(&path, make("grafana").unwrap()).unwrap();
        assert!(secret.starts_with("brk_") && secret.len() == 47, "{secret}");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains(&secret), "{text}");
        assert_eq!(create(&path, make("grafana").unwrap()), Err(Exit::No));
        assert_eq!(read(&path).unwrap().len(), 1);
        revoke(&path, "grafana").unwrap();
        assert_eq!(revoke(&path, "grafana"), Err(Exit::No));
        assert!(read(&path).unwrap().is_empty());
    }

    #[test]
    fn wrong_arguments_are_refused() {
        let known = |name: &str| name == "office";
        for (name, from, expires) in [
            ("", None, None),
            ("a b", None, None),
            ("a", Some("@nobody"), None),
            ("a", Some("10.0.0.0/33"), None),
            ("a", None, Some("soon")),
        ] {
            let from = from.map(str::to_owned).into_iter().collect();
            assert_eq!(
                new_token(name.into(), "read", from, expires, &known).unwrap_err(),
                Exit::Usage
            );
        }
    }
}
