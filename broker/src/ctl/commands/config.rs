//! `config show|diff` and `reload`, of the running process.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::super::client::Query;
use super::super::text::{Table, json, line};
use super::super::{Ctl, Done};
use crate::admin::views::{ConfigDiffRow, ConfigRow, ReloadRequest, ReloadView};
use crate::cli::Exit;
use crate::config::reload;

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// What is in force
    Show {
        /// Only keys that begin so
        prefix: Option<String>,
        /// And where each value came from
        #[arg(long)]
        origin: bool,
    },
    /// Where the files on disk differ from what runs; exit 1 if they do
    Diff,
}

/// How to reload.
#[derive(Debug, Args)]
pub struct Reload {
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Only these parts
    #[arg(long, value_delimiter = ',', value_parser = ["acl", "tls", "networks", "passwd"])]
    only: Vec<String>,
}

fn value(value: &Value) -> String {
    if value.is_null() {
        "-".to_owned()
    } else {
        json(value)
    }
}

pub(super) async fn run(command: Config, ctl: &mut Ctl<'_>) -> Done {
    match command {
        Config::Show { prefix, origin } => {
            let answer = ctl
                .client
                .get("/config", Query::default().add("prefix", prefix))
                .await?;
            ctl.print(answer, |ctl, rows: &Vec<ConfigRow>| {
                if !origin {
                    return rows
                        .iter()
                        .try_for_each(|row| writeln!(ctl.out, "{} = {}", row.key, value(&row.value)));
                }
                let mut table = Table::new(&["KEY", "VALUE", "ORIGIN", "HIDES"]);
                for row in rows {
                    let hides = row.hides.as_deref().map(line).unwrap_or_default();
                    table.row([row.key.clone(), value(&row.value), line(&row.origin), hides]);
                }
                table.write(ctl.out)
            })?;
            Ok(Exit::Done)
        }
        Config::Diff => {
            let answer = ctl.client.get("/config/diff", Query::default()).await?;
            let rows = ctl.print(answer, |ctl, rows: &Vec<ConfigDiffRow>| {
                if rows.is_empty() {
                    return writeln!(ctl.out, "no difference");
                }
                let mut table = Table::new(&["KEY", "RUNNING", "DISK", "ORIGIN", "RELOAD"]);
                for row in rows {
                    let how = if row.restart {
                        "needs a restart"
                    } else {
                        "takes it"
                    };
                    table.row([
                        row.key.clone(),
                        value(&row.running),
                        value(&row.disk),
                        line(&row.origin),
                        how.to_owned(),
                    ]);
                }
                table.write(ctl.out)
            })?;
            Ok(if rows.is_empty() { Exit::Done } else { Exit::No })
        }
    }
}

pub(super) async fn reload(args: Reload, ctl: &mut Ctl<'_>) -> Done {
    let request = ReloadRequest {
        dry_run: args.dry_run,
        only: args.only,
    };
    let answer = ctl.client.post("/config/reload", &request).await?;
    ctl.print(answer, |ctl, view: &ReloadView| {
        reload::render(view)
            .lines()
            .try_for_each(|text| writeln!(ctl.out, "{}", line(text)))
    })?;
    Ok(Exit::Done)
}
