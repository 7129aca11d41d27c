//! `status`, `health`, `store stat`, `metrics`, `drain`.

use clap::Subcommand;

use super::super::client::Query;
use super::super::text::{count, line};
use super::super::{Ctl, Done};
use super::listeners;
use crate::admin::views::{HealthView, StatusView, StoreView, duration_text};
use crate::cli::Exit;

/// What to do with the store.
#[derive(Debug, Subcommand)]
pub enum Store {
    /// Its sizes
    Stat,
}

pub(super) async fn status(ctl: &mut Ctl<'_>) -> Done {
    let answer = ctl.client.get("/status", Query::default()).await?;
    ctl.print(answer, |ctl, status: &StatusView| {
        let ready = if status.ready { "ready" } else { "not ready" };
        writeln!(
            ctl.out,
            "broker {} ({}), up {}, generation {}, {ready}",
            status.version,
            line(&status.node),
            duration_text(status.uptime_seconds),
            status.generation,
        )?;
        writeln!(
            ctl.out,
            "{} connected, {}, {}, {}",
            count(status.clients.connected, "client"),
            count(status.clients.stored, "stored session"),
            count(status.subscriptions, "subscription"),
            count(status.retained, "retained message"),
        )?;
        for pending in &status.pending_restart {
            writeln!(
                ctl.out,
                "pending restart  {} {} -> {} ({})",
                pending.key, pending.running, pending.new, pending.origin
            )?;
        }
        if let Some(finding) = &status.worst_finding {
            writeln!(
                ctl.out,
                "worst finding  {} {}",
                finding.code,
                line(&finding.message)
            )?;
        }
        listeners::table(ctl, &status.listeners)
    })?;
    Ok(Exit::Done)
}

pub(super) async fn health(ctl: &mut Ctl<'_>) -> Done {
    let answer = ctl.client.get("/health", Query::default()).await?;
    show_health(ctl, answer)
}

fn show_health(ctl: &mut Ctl<'_>, answer: serde_json::Value) -> Done {
    let health = ctl.print(answer, |ctl, health: &HealthView| {
        let checks = &health.checks;
        let ready = if health.ready { "ready" } else { "not ready" };
        writeln!(
            ctl.out,
            "{ready}: listeners={} store={} draining={}",
            line(&checks.listeners),
            line(&checks.store),
            checks.draining
        )
    })?;
    Ok(if health.ready { Exit::Done } else { Exit::No })
}

pub(super) async fn drain(ctl: &mut Ctl<'_>) -> Done {
    let answer = ctl.client.post("/drain", &()).await?;
    show_health(ctl, answer)?;
    Ok(Exit::Done)
}

pub(super) async fn store(ctl: &mut Ctl<'_>) -> Done {
    let answer = ctl.client.get("/store", Query::default()).await?;
    ctl.print(answer, |ctl, store: &StoreView| {
        writeln!(
            ctl.out,
            "engine {}, durability {}",
            store.engine, store.durability
        )?;
        writeln!(ctl.out, "sessions  {}", store.sessions)?;
        writeln!(
            ctl.out,
            "queued    {}, {} bytes",
            count(store.queued_messages, "message"),
            store.queued_bytes
        )?;
        writeln!(
            ctl.out,
            "retained  {}, {} bytes",
            count(store.retained_messages, "message"),
            store.retained_bytes
        )?;
        let limit = store
            .max_bytes
            .map_or_else(|| "unlimited".to_owned(), |max| max.to_string());
        writeln!(
            ctl.out,
            "on disk   {} bytes of {limit} in {}",
            store.disk_bytes,
            count(store.segments, "segment")
        )
    })?;
    Ok(Exit::Done)
}

pub(super) async fn metrics(prefix: Option<String>, ctl: &mut Ctl<'_>) -> Done {
    let text = ctl.client.text("/metrics").await?;
    let prefix = prefix.unwrap_or_default();
    let mut found = false;
    for line in text.lines() {
        let name = line
            .strip_prefix("# HELP ")
            .or_else(|| line.strip_prefix("# TYPE "))
            .unwrap_or(line);
        if name.starts_with(&prefix) {
            found = true;
            writeln!(ctl.out, "{line}")?;
        }
    }
    Ok(if found { Exit::Done } else { Exit::No })
}
