//! `clients list|show|kick`.

use std::io;

use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Value, json};

use super::super::client::{Query, encode};
use super::super::text::{Table, client_line, count, safe, since};
use super::super::{Ctl, CtlError, Done};
use crate::admin::views::{ClientView, KickRequest, KickView, Meta, PAGE_MAX};
use crate::cli::Exit;

/// What to do with clients.
#[derive(Debug, Subcommand)]
pub enum Clients {
    /// A table of clients
    List(List),
    /// One client, with its address and how it came
    Show {
        /// Client id
        id: String,
    },
    /// Disconnect; the session stays
    Kick(Kick),
}

/// Filters; all must match.
#[derive(Debug, Args)]
pub struct List {
    /// Peername's address in this CIDR or @name (several with commas)
    #[arg(long, value_name = "CIDR")]
    ip: Option<String>,
    /// Socket's address in this CIDR or @name
    #[arg(long, value_name = "CIDR")]
    socket: Option<String>,
    /// client or proxy
    #[arg(long, value_parser = ["client", "proxy"])]
    kind: Option<String>,
    /// Where the address came from
    #[arg(long, value_parser = ["socket", "proxy_v1", "proxy_v2", "header"])]
    via: Option<String>,
    /// Username glob
    #[arg(long, value_name = "GLOB")]
    user: Option<String>,
    /// Listener
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 100, conflicts_with = "all")]
    limit: usize,
    /// All of them
    #[arg(long)]
    all: bool,
    /// Order
    #[arg(long, value_parser = ["clientid", "peername", "socket", "connected_at", "subscriptions", "enqueued_msgs", "dropped_msgs"])]
    sort: Option<String>,
}

/// Whom to disconnect.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("whom").required(true).args(["id", "ip", "user"])))]
pub struct Kick {
    /// Client id
    id: Option<String>,
    /// All with an address in this CIDR or @name
    #[arg(long, value_name = "CIDR")]
    ip: Option<String>,
    /// All whose username matches
    #[arg(long, value_name = "GLOB")]
    user: Option<String>,
    /// For the audit log and the client
    #[arg(long)]
    reason: Option<String>,
    /// Ban what was named for so long too
    #[arg(long, value_name = "DURATION")]
    ban: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(command: Clients, ctl: &mut Ctl<'_>) -> Done {
    match command {
        Clients::List(args) => list(args, ctl).await,
        Clients::Show { id } => {
            let answer = ctl
                .client
                .get(&format!("/clients/{}", encode(&id)), Query::default())
                .await?;
            ctl.print(answer, |ctl, client: &ClientView| {
                writeln!(ctl.out, "{}", client_line(client))
            })?;
            Ok(Exit::Done)
        }
        Clients::Kick(args) => kick(args, ctl).await,
    }
}

async fn list(args: List, ctl: &mut Ctl<'_>) -> Done {
    let filters = Query::default()
        .add("ip", args.ip)
        .add("socket", args.socket)
        .add("kind", args.kind)
        .add("via", args.via)
        .add("user", args.user)
        .add("listener", args.listener)
        .add("sort", args.sort);
    let wanted = if args.all { usize::MAX } else { args.limit };
    let (answer, meta) = pages(ctl, "/clients", &filters, wanted).await?;
    ctl.print(answer, |ctl, clients: &Vec<ClientView>| {
        table(ctl, clients, &meta)
    })?;
    Ok(Exit::Done)
}

/// Reads pages until `wanted` entries are there or the list ends; one answer with all of them.
pub(super) async fn pages(
    ctl: &Ctl<'_>,
    path: &str,
    filters: &Query,
    wanted: usize,
) -> Result<(Value, Meta), CtlError> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let limit = (wanted - all.len()).clamp(1, PAGE_MAX);
        let query = filters.clone().add("limit", Some(limit)).add("after", after);
        let mut answer = ctl.client.get(path, query).await?;
        let meta = answer.get_mut("meta").map(Value::take).unwrap_or_default();
        let meta: Meta = serde_json::from_value(meta).map_err(|e| CtlError::Answer(e.to_string()))?;
        if let Some(Value::Array(data)) = answer.get_mut("data") {
            all.append(data);
        }
        if meta.next.is_none() || all.len() >= wanted {
            return Ok((json!({ "data": all }), meta));
        }
        after = meta.next;
    }
}

fn table(ctl: &mut Ctl<'_>, clients: &[ClientView], meta: &Meta) -> io::Result<()> {
    let headings = [
        "CLIENTID", "USERNAME", "PEERNAME", "KIND", "VIA", "SOCKET", "LISTENER", "VER", "SUBS", "UPTIME",
    ];
    let mut table = Table::new(&headings);
    for client in clients {
        let uptime = if client.connected {
            since(client.connected_at, ctl.now)
        } else {
            "-".to_owned()
        };
        table.row([
            safe(&client.clientid),
            client.username.as_deref().map_or_else(|| "-".to_owned(), safe),
            client.peername.clone(),
            client.kind.to_string(),
            client.via.to_string(),
            client.socket.clone(),
            client.listener.clone(),
            client.proto_ver.to_string(),
            client.subscriptions.to_string(),
            uptime,
        ]);
    }
    table.write(ctl.out)?;
    footer(ctl, clients.len(), meta, "client")
}

/// `2 of 412 clients`, and how to see the rest if there is more.
pub(super) fn footer(ctl: &mut Ctl<'_>, shown: usize, meta: &Meta, noun: &str) -> io::Result<()> {
    writeln!(ctl.out, "{shown} of {}", count(meta.total, noun))?;
    if meta.next.is_some() {
        writeln!(ctl.err, "more match; --limit N or --all shows them")?;
    }
    Ok(())
}

async fn kick(args: Kick, ctl: &mut Ctl<'_>) -> Done {
    let single = args.id.is_some();
    let mut request = KickRequest {
        clientid: args.id,
        ip: args.ip,
        user: args.user,
        reason: args.reason,
        ban: args.ban,
        dry_run: !single && !args.yes,
    };
    if request.dry_run {
        let mut answer = ctl.client.post("/kick", &request).await?;
        let met = answer.get_mut("data").map(Value::take).unwrap_or_default();
        let met: KickView = serde_json::from_value(met).map_err(|e| CtlError::Answer(e.to_string()))?;
        if met.kicked > 1 && !ctl.confirm(&format!("kick {}", count(met.kicked, "client")), "--yes")? {
            return Ok(Exit::No);
        }
        request.dry_run = false;
    }
    let answer = ctl.client.post("/kick", &request).await?;
    let kicked = ctl.print(answer, |ctl, view: &KickView| {
        let names: Vec<String> = view.clients.iter().map(|id| safe(id)).collect();
        let named = if view.kicked == names.len() as u64 && names.len() <= 10 {
            names.join(" ")
        } else {
            String::new()
        };
        writeln!(
            ctl.out,
            "{}",
            format!("kicked {} {named}", count(view.kicked, "client")).trim_end()
        )
    })?;
    Ok(if kicked.kicked == 0 { Exit::No } else { Exit::Done })
}
