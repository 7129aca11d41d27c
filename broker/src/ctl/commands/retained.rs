//! `retained list|show|delete`.

use clap::Subcommand;

use super::super::client::{Query, encode};
use super::super::text::{Table, safe};
use super::super::{Ctl, Done};
use super::clients::{footer, pages};
use crate::admin::views::{DropView, RetainedMessageView, RetainedView};
use crate::cli::Exit;

/// What to do with retained messages.
#[derive(Debug, Subcommand)]
pub enum Retained {
    /// A table of retained messages
    List {
        /// Whose topic matches
        filter: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 100, conflicts_with = "all")]
        limit: usize,
        /// All of them
        #[arg(long)]
        all: bool,
    },
    /// One, with its payload
    Show {
        /// Topic
        topic: String,
    },
    /// Delete one
    Delete {
        /// Topic
        topic: String,
    },
}

pub(super) async fn run(command: Retained, ctl: &mut Ctl<'_>) -> Done {
    match command {
        Retained::List { filter, limit, all } => {
            let query = Query::default().add("filter", filter);
            let (answer, meta) =
                pages(ctl, "/retained", &query, if all { usize::MAX } else { limit }).await?;
            ctl.print(answer, |ctl, messages: &Vec<RetainedView>| {
                let mut table = Table::new(&["TOPIC", "QOS", "BYTES", "STORED", "EXPIRES"]);
                for message in messages {
                    table.row(cells(message));
                }
                table.write(ctl.out)?;
                footer(ctl, messages.len(), &meta, "message")
            })?;
        }
        Retained::Show { topic } => {
            let answer = ctl
                .client
                .get(&format!("/retained/{}", encode(&topic)), Query::default())
                .await?;
            ctl.print(answer, |ctl, view: &RetainedMessageView| {
                let mut table = Table::new(&["TOPIC", "QOS", "BYTES", "STORED", "EXPIRES"]);
                table.row(cells(&view.message));
                table.write(ctl.out)?;
                writeln!(ctl.out, "payload ({}) {}", view.encoding, safe(&view.payload))
            })?;
        }
        Retained::Delete { topic } => {
            let answer = ctl
                .client
                .delete(&format!("/retained/{}", encode(&topic)))
                .await?;
            ctl.print(answer, |ctl, _: &DropView| {
                writeln!(ctl.out, "deleted {}", safe(&topic))
            })?;
        }
    }
    Ok(Exit::Done)
}

fn cells(message: &RetainedView) -> [String; 5] {
    let at = |time: Option<crate::admin::views::Timestamp>| {
        time.map_or_else(|| "-".to_owned(), |at| at.to_string())
    };
    [
        safe(&message.topic),
        message.qos.to_string(),
        message.bytes.to_string(),
        at(message.stored_at),
        at(message.expires_at),
    ]
}
