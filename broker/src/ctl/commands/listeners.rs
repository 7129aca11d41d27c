//! `listeners list|start|stop|drain`.

use std::io;

use clap::Subcommand;

use super::super::client::{Query, encode};
use super::super::text::Table;
use super::super::{Ctl, Done};
use crate::admin::views::ListenerView;
use crate::cli::Exit;

/// What to do with listeners.
#[derive(Debug, Subcommand)]
pub enum Listeners {
    /// A table of listeners
    List,
    /// Bind it and accept
    Start {
        /// Listener
        name: String,
    },
    /// Stop accepting; its clients stay
    Stop {
        /// Listener
        name: String,
    },
    /// Stop accepting and disconnect its clients
    Drain {
        /// Listener
        name: String,
    },
}

pub(super) async fn run(command: Listeners, ctl: &mut Ctl<'_>) -> Done {
    let (name, action) = match command {
        Listeners::List => {
            let answer = ctl.client.get("/listeners", Query::default()).await?;
            ctl.print(answer, |ctl, listeners: &Vec<ListenerView>| table(ctl, listeners))?;
            return Ok(Exit::Done);
        }
        Listeners::Start { name } => (name, "start"),
        Listeners::Stop { name } => (name, "stop"),
        Listeners::Drain { name } => (name, "drain"),
    };
    let answer = ctl
        .client
        .post(&format!("/listeners/{}/{action}", encode(&name)), &())
        .await?;
    ctl.print(answer, |ctl, listener: &ListenerView| {
        table(ctl, std::slice::from_ref(listener))
    })?;
    Ok(Exit::Done)
}

pub(super) fn table(ctl: &mut Ctl<'_>, listeners: &[ListenerView]) -> io::Result<()> {
    let mut table = Table::new(&[
        "LISTENER",
        "TRANSPORT",
        "BIND",
        "STATE",
        "CONNECTIONS",
        "ACCEPTED",
        "PROXY_PROTOCOL",
        "ADDRESS_HEADER",
    ]);
    for listener in listeners {
        table.row([
            listener.name.clone(),
            listener.transport.clone(),
            listener.bind.clone(),
            listener.state.clone(),
            listener.connections.to_string(),
            listener.accepted.to_string(),
            listener.proxy_protocol.clone(),
            listener.address_header.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    table.write(ctl.out)
}
