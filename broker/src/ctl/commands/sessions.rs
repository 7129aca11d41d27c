//! `sessions list|show|drop`, `subscriptions list`, `topics list`.

use std::io;

use clap::Subcommand;

use super::super::client::{Query, encode};
use super::super::text::{Table, safe, since};
use super::super::{Ctl, Done};
use super::clients::{footer, pages};
use crate::admin::views::{DropView, SessionView, SubscriptionView, TopicView};
use crate::cli::Exit;

/// What to do with sessions.
#[derive(Debug, Subcommand)]
pub enum Sessions {
    /// A table of sessions
    List {
        /// At most so many
        #[arg(long, default_value_t = 100, conflicts_with = "all")]
        limit: usize,
        /// All of them
        #[arg(long)]
        all: bool,
    },
    /// One session with its subscriptions
    Show {
        /// Client id
        id: String,
    },
    /// End it, connected or not
    Drop {
        /// Client id
        id: String,
    },
}

/// What to do with subscriptions.
#[derive(Debug, Subcommand)]
pub enum Subscriptions {
    /// A table of subscriptions
    List {
        /// Of this client
        #[arg(long, value_name = "ID")]
        client: Option<String>,
        /// That match this topic, or are this very filter
        #[arg(long, value_name = "FILTER")]
        topic: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 100, conflicts_with = "all")]
        limit: usize,
        /// All of them
        #[arg(long)]
        all: bool,
    },
}

/// What to do with topic filters.
#[derive(Debug, Subcommand)]
pub enum Topics {
    /// A table of topic filters in use
    List {
        /// At most so many
        #[arg(long, default_value_t = 100, conflicts_with = "all")]
        limit: usize,
        /// All of them
        #[arg(long)]
        all: bool,
    },
}

fn wanted(limit: usize, all: bool) -> usize {
    if all { usize::MAX } else { limit }
}

pub(super) async fn run(command: Sessions, ctl: &mut Ctl<'_>) -> Done {
    match command {
        Sessions::List { limit, all } => {
            let (answer, meta) = pages(ctl, "/sessions", &Query::default(), wanted(limit, all)).await?;
            ctl.print(answer, |ctl, sessions: &Vec<SessionView>| {
                session_table(sessions, ctl)?;
                footer(ctl, sessions.len(), &meta, "session")
            })?;
        }
        Sessions::Show { id } => {
            let answer = ctl
                .client
                .get(&format!("/sessions/{}", encode(&id)), Query::default())
                .await?;
            ctl.print(answer, |ctl, session: &SessionView| {
                session_table(std::slice::from_ref(session), ctl)?;
                if session.filters.is_empty() {
                    return Ok(());
                }
                writeln!(ctl.out)?;
                subscription_table(&session.filters, ctl)
            })?;
        }
        Sessions::Drop { id } => {
            let answer = ctl.client.delete(&format!("/sessions/{}", encode(&id))).await?;
            ctl.print(answer, |ctl, _: &DropView| {
                writeln!(ctl.out, "dropped session {}", safe(&id))
            })?;
        }
    }
    Ok(Exit::Done)
}

fn session_table(sessions: &[SessionView], ctl: &mut Ctl<'_>) -> io::Result<()> {
    let mut table = Table::new(&[
        "CLIENTID", "USERNAME", "STATE", "VER", "SUBS", "QUEUED", "BYTES", "INFLIGHT", "AGE", "EXPIRES",
    ]);
    for session in sessions {
        table.row([
            safe(&session.clientid),
            session.username.as_deref().map_or_else(|| "-".to_owned(), safe),
            session.state.clone(),
            session.proto_ver.to_string(),
            session.subscriptions.to_string(),
            session.queued_msgs.to_string(),
            session.queued_bytes.to_string(),
            session.inflight.to_string(),
            since(session.created_at, ctl.now),
            session
                .expires_at
                .map_or_else(|| "-".to_owned(), |at| at.to_string()),
        ]);
    }
    table.write(ctl.out)
}

fn subscription_table(subscriptions: &[SubscriptionView], ctl: &mut Ctl<'_>) -> io::Result<()> {
    let mut table = Table::new(&["CLIENTID", "FILTER", "QOS", "OPTIONS"]);
    for subscription in subscriptions {
        let mut options = Vec::new();
        if subscription.no_local {
            options.push("no_local".to_owned());
        }
        if subscription.retain_as_published {
            options.push("retain_as_published".to_owned());
        }
        if subscription.retain_handling != 0 {
            options.push(format!("retain_handling={}", subscription.retain_handling));
        }
        options.extend(subscription.subscription_id.map(|id| format!("id={id}")));
        let options = if options.is_empty() {
            "-".to_owned()
        } else {
            options.join(",")
        };
        table.row([
            safe(&subscription.clientid),
            safe(&subscription.filter),
            subscription.qos.to_string(),
            options,
        ]);
    }
    table.write(ctl.out)
}

pub(super) async fn subscriptions(command: Subscriptions, ctl: &mut Ctl<'_>) -> Done {
    let Subscriptions::List {
        client,
        topic,
        limit,
        all,
    } = command;
    let query = Query::default().add("client", client).add("topic", topic);
    let (answer, meta) = pages(ctl, "/subscriptions", &query, wanted(limit, all)).await?;
    ctl.print(answer, |ctl, subscriptions: &Vec<SubscriptionView>| {
        subscription_table(subscriptions, ctl)?;
        footer(ctl, subscriptions.len(), &meta, "subscription")
    })?;
    Ok(Exit::Done)
}

pub(super) async fn topics(command: Topics, ctl: &mut Ctl<'_>) -> Done {
    let Topics::List { limit, all } = command;
    let (answer, meta) = pages(ctl, "/topics", &Query::default(), wanted(limit, all)).await?;
    ctl.print(answer, |ctl, topics: &Vec<TopicView>| {
        let mut table = Table::new(&["FILTER", "SUBSCRIBERS", "SHARED"]);
        for topic in topics {
            table.row([
                safe(&topic.filter),
                topic.subscribers.to_string(),
                topic.shared.to_string(),
            ]);
        }
        table.write(ctl.out)?;
        footer(ctl, topics.len(), &meta, "filter")
    })?;
    Ok(Exit::Done)
}
