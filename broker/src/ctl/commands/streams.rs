//! `events`, `trace`, `audit tail`: lines as they come, until the reader or the broker ends it.

use clap::{ArgGroup, Args, Subcommand};
use http_body_util::BodyExt as _;
use hyper::Method;
use hyper::body::Incoming;
use serde_json::Value;

use super::super::client::Query;
use super::super::text::json;
use super::super::{Ctl, CtlError, Done};
use crate::admin::views::TraceRequest;
use crate::cli::Exit;

/// Whose packets.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("whose").required(true).multiple(true).args(["client", "ip", "topic"])))]
pub struct Trace {
    /// Of this client
    #[arg(long, value_name = "ID")]
    client: Option<String>,
    /// Of clients in this CIDR or @name
    #[arg(long, value_name = "CIDR")]
    ip: Option<String>,
    /// Publishes whose topic matches
    #[arg(long, value_name = "FILTER")]
    topic: Option<String>,
    /// Ends by itself after so long
    #[arg(long = "for", value_name = "DURATION", default_value = "10m")]
    duration: String,
    /// Bytes of payload to show
    #[arg(long, default_value_t = 0)]
    payload: usize,
}

/// Which events.
#[derive(Debug, Args)]
pub struct Events {
    /// Event names, with commas; `stats` for the numbers
    #[arg(long = "type", value_name = "TYPE")]
    types: Option<String>,
    /// Of clients in this CIDR or @name
    #[arg(long, value_name = "CIDR")]
    ip: Option<String>,
}

/// About the audit log.
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// The newest records, then what follows
    Tail {
        /// How many records to begin with
        #[arg(long, short = 'n', default_value_t = 10)]
        lines: usize,
        /// Do not wait for more
        #[arg(long)]
        no_follow: bool,
        /// Event names, with commas
        #[arg(long = "type", value_name = "TYPE")]
        types: Option<String>,
        /// Of clients in this CIDR or @name
        #[arg(long, value_name = "CIDR")]
        ip: Option<String>,
    },
    /// Sequence number and hash of the newest record
    Head,
}

pub(super) async fn trace(args: Trace, ctl: &mut Ctl<'_>) -> Done {
    let request = TraceRequest {
        client: args.client,
        ip: args.ip,
        topic: args.topic,
        duration: Some(args.duration),
        payload: args.payload,
    };
    let body = serde_json::to_string(&request).map_err(|e| CtlError::Usage(e.to_string()))?;
    let stream = ctl
        .client
        .stream(Method::POST, "/traces", Some(body), None)
        .await?;
    follow(ctl, stream, true).await
}

pub(super) async fn events(args: Events, ctl: &mut Ctl<'_>) -> Done {
    let stats = args
        .types
        .as_ref()
        .is_some_and(|types| types.split(',').any(|t| t.trim() == "stats"));
    let query = Query::default().add("type", args.types).add("ip", args.ip);
    let stream = ctl
        .client
        .stream(Method::GET, &query.to("/events"), None, None)
        .await?;
    follow(ctl, stream, stats).await
}

pub(super) async fn audit(command: Audit, ctl: &mut Ctl<'_>) -> Done {
    let Audit::Tail {
        lines,
        no_follow,
        types,
        ip,
    } = command
    else {
        let answer = ctl.client.get("/audit/head", Query::default()).await?;
        ctl.print(answer, |ctl, head: &Value| writeln!(ctl.out, "{}", json(head)))?;
        return Ok(Exit::Done);
    };
    let query = Query::default().add("type", types).add("ip", ip);
    let mut after = None;
    if lines > 0 || no_follow {
        let newest = query.clone().add("limit", Some(lines.clamp(1, 10_000)));
        let mut answer = ctl.client.get("/audit", newest).await?;
        let records = answer.get_mut("data").map(Value::take).unwrap_or_default();
        for record in records.as_array().into_iter().flatten() {
            after = record.get("seq").and_then(Value::as_u64);
            writeln!(ctl.out, "{}", json(record))?;
        }
        ctl.out.flush()?;
    }
    if no_follow {
        return Ok(Exit::Done);
    }
    let stream = ctl
        .client
        .stream(Method::GET, &query.to("/events"), None, after)
        .await?;
    follow(ctl, stream, false).await
}

/// Prints each event's data as one JSON line; `stats` only if asked for.
async fn follow(ctl: &mut Ctl<'_>, mut body: Incoming, stats: bool) -> Done {
    let mut buffer = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| CtlError::Unreachable(format!("the connection broke: {e}")))?;
        let Ok(data) = frame.into_data() else { continue };
        buffer.extend_from_slice(&data);
        while let Some(end) = buffer.windows(2).position(|two| two == b"\n\n") {
            let block: Vec<u8> = buffer.drain(..end + 2).collect();
            show(ctl, &String::from_utf8_lossy(&block), stats)?;
        }
        ctl.out.flush()?;
    }
    Ok(Exit::Done)
}

fn show(ctl: &mut Ctl<'_>, block: &str, stats: bool) -> Result<(), CtlError> {
    let field = |name: &str| {
        let lines = block
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        lines.map(str::trim_start).collect::<Vec<_>>().join("\n")
    };
    let (event, data) = (field("event"), field("data"));
    if data.is_empty() || (event == "stats" && !stats) {
        return Ok(());
    }
    let value: Value = serde_json::from_str(&data).map_err(|e| CtlError::Answer(e.to_string()))?;
    if event == "lagged" {
        let missed = value.get("missed").and_then(Value::as_u64).unwrap_or(0);
        writeln!(ctl.err, "lagged: {missed} left out")?;
    } else {
        writeln!(ctl.out, "{}", json(&value))?;
    }
    Ok(())
}
