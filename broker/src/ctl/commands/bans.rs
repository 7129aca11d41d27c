//! `ban add|list|del`.

use clap::{Args, Subcommand};

use super::super::client::{Query, encode};
use super::super::text::{Table, count, safe};
use super::super::{Ctl, Done};
use super::clients::{footer, pages};
use crate::admin::views::{BanRequest, BanView, DropView};
use crate::cli::Exit;

/// What to do with bans.
#[derive(Debug, Subcommand)]
pub enum Ban {
    /// Ban, and kick live matches
    Add(Add),
    /// A table of bans
    List {
        /// At most so many
        #[arg(long, default_value_t = 100, conflicts_with = "all")]
        limit: usize,
        /// All of them
        #[arg(long)]
        all: bool,
    },
    /// Lift a ban
    Del {
        /// Address, CIDR, client:ID or user:NAME
        what: String,
        /// Who lifts it
        #[arg(long, value_name = "WHO")]
        by: Option<String>,
    },
}

/// A new ban.
#[derive(Debug, Args)]
pub struct Add {
    /// Address, CIDR, client:ID or user:NAME
    what: String,
    /// For how long (10m, 1h, 7d); until lifted without it
    #[arg(long = "for", value_name = "DURATION")]
    duration: Option<String>,
    /// Why
    #[arg(long)]
    reason: Option<String>,
    /// Who bans
    #[arg(long, value_name = "WHO")]
    by: Option<String>,
    /// Ban a trusted proxy or a protected range too
    #[arg(long)]
    force: bool,
}

pub(super) async fn run(command: Ban, ctl: &mut Ctl<'_>) -> Done {
    match command {
        Ban::Add(args) => {
            let request = BanRequest {
                what: args.what,
                duration: args.duration,
                reason: args.reason,
                by: args.by,
                force: args.force,
            };
            let answer = ctl.client.post("/bans", &request).await?;
            ctl.print(answer, |ctl, ban: &BanView| {
                let until = ban
                    .until
                    .map_or_else(String::new, |until| format!(" until {until}"));
                let kicked = if ban.kicked == 0 {
                    String::new()
                } else {
                    format!(", {} kicked", count(ban.kicked, "client"))
                };
                writeln!(ctl.out, "banned {}{until}{kicked}", safe(&ban.what))
            })?;
        }
        Ban::List { limit, all } => {
            let (answer, meta) = pages(
                ctl,
                "/bans",
                &Query::default(),
                if all { usize::MAX } else { limit },
            )
            .await?;
            ctl.print(answer, |ctl, bans: &Vec<BanView>| {
                let mut table = Table::new(&["WHAT", "UNTIL", "BY", "AUTO", "REASON"]);
                for ban in bans {
                    table.row([
                        safe(&ban.what),
                        ban.until
                            .map_or_else(|| "-".to_owned(), |until| until.to_string()),
                        safe(&ban.by),
                        if ban.automatic { "yes" } else { "no" }.to_owned(),
                        ban.reason.as_deref().map_or_else(|| "-".to_owned(), safe),
                    ]);
                }
                table.write(ctl.out)?;
                footer(ctl, bans.len(), &meta, "ban")
            })?;
        }
        Ban::Del { what, by } => {
            let path = format!("/bans/{}", encode(&what));
            let answer = ctl
                .client
                .delete_with(&path, Query::default().add("by", by))
                .await?;
            ctl.print(answer, |ctl, _: &DropView| {
                writeln!(ctl.out, "lifted {}", safe(&what))
            })?;
        }
    }
    Ok(Exit::Done)
}
