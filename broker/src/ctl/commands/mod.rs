//! The commands of `broker ctl`, a file for each noun: its arguments, its call, and how the answer looks.

mod acl;
mod bans;
mod clients;
mod config;
mod doctor;
mod listeners;
mod log;
mod node;
mod peername;
mod quota;
mod retained;
mod sessions;
mod streams;

use clap::Subcommand;

use super::{Ctl, Done};
pub(crate) use peername::{Args as ExplainArgs, explain_request};

/// What `broker ctl` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Version, uptime, listeners, counts, pending restart, worst finding
    Status,
    /// Ready or not: exit 0 or 1, for probes
    Health,
    /// Clients: list, show, kick
    #[command(subcommand)]
    Clients(clients::Clients),
    /// Sessions, live and stored: list, show, drop
    #[command(subcommand)]
    Sessions(sessions::Sessions),
    /// Subscriptions
    #[command(subcommand)]
    Subscriptions(sessions::Subscriptions),
    /// Topic filters in use
    #[command(subcommand)]
    Topics(sessions::Topics),
    /// Retained messages: list, show, delete
    #[command(subcommand)]
    Retained(retained::Retained),
    /// Listeners: list, start, stop, drain
    #[command(subcommand)]
    Listeners(listeners::Listeners),
    /// The store
    #[command(subcommand)]
    Store(node::Store),
    /// Proxies before the listeners, and what they named
    Proxies,
    /// The client's address
    #[command(subcommand)]
    Peername(peername::Peername),
    /// What is wrong with addresses, proxies and configuration
    Doctor(doctor::Doctor),
    /// Bans: add, list, del
    #[command(subcommand)]
    Ban(bans::Ban),
    /// Quotas by prefix: list, show, reset
    #[command(subcommand)]
    Quota(quota::Quota),
    /// ACL rules in force: rules, test
    #[command(subcommand)]
    Acl(acl::Acl),
    /// Configuration in force: show, diff
    #[command(subcommand)]
    Config(config::Config),
    /// Read the configuration again, all or nothing
    Reload(config::Reload),
    /// Log levels
    #[command(subcommand)]
    Log(log::Log),
    /// Live packets
    Trace(streams::Trace),
    /// Audit events as they happen
    Events(streams::Events),
    /// The audit log
    #[command(subcommand)]
    Audit(streams::Audit),
    /// One scrape of the metrics
    Metrics {
        /// Only names that begin so
        prefix: Option<String>,
    },
    /// readyz 503 and no new connections from now on
    Drain,
}

pub(super) async fn run(command: Command, ctl: &mut Ctl<'_>) -> Done {
    match command {
        Command::Status => node::status(ctl).await,
        Command::Health => node::health(ctl).await,
        Command::Clients(command) => clients::run(command, ctl).await,
        Command::Sessions(command) => sessions::run(command, ctl).await,
        Command::Subscriptions(command) => sessions::subscriptions(command, ctl).await,
        Command::Topics(command) => sessions::topics(command, ctl).await,
        Command::Retained(command) => retained::run(command, ctl).await,
        Command::Listeners(command) => listeners::run(command, ctl).await,
        Command::Store(node::Store::Stat) => node::store(ctl).await,
        Command::Proxies => peername::proxies(ctl).await,
        Command::Peername(peername::Peername::Explain(args)) => peername::explain(args, ctl).await,
        Command::Doctor(args) => doctor::run(args, ctl).await,
        Command::Ban(command) => bans::run(command, ctl).await,
        Command::Quota(command) => quota::run(command, ctl).await,
        Command::Acl(command) => acl::run(command, ctl).await,
        Command::Config(command) => config::run(command, ctl).await,
        Command::Reload(args) => config::reload(args, ctl).await,
        Command::Log(log::Log::Level(args)) => log::level(args, ctl).await,
        Command::Trace(args) => streams::trace(args, ctl).await,
        Command::Events(args) => streams::events(args, ctl).await,
        Command::Audit(command) => streams::audit(command, ctl).await,
        Command::Metrics { prefix } => node::metrics(prefix, ctl).await,
        Command::Drain => node::drain(ctl).await,
    }
}
