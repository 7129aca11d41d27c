//! The process as the operating system sees it, beside the administration: signals, and what systemd is told.
//!
//! What does not live here: how systemd is told (`systemd`), what a stop does (`server`).

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::admin::backend::Backend as _;
use crate::admin::problem::Failure;
use crate::admin::views::{Actor, ReloadRequest};
use crate::control::Control;
use crate::server::Broker;
use crate::{config, systemd};

/// How often the line of `systemctl status` is written anew.
const STATUS_EVERY: Duration = Duration::from_secs(10);

/// How long the shards may take to answer before the watchdog is not fed.
const SHARDS_ANSWER: Duration = Duration::from_secs(5);

/// The signals that we know, caught from the moment this is made.
pub struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
    usr1: Signal,
}

impl Signals {
    /// Catches them; needs a runtime.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
            usr1: signal(SignalKind::user_defined1())?,
        })
    }
}

/// Returns when TERM or INT says stop. HUP reloads the configuration, USR1 reopens the audit log.
///
/// `signals` were caught before the broker began to serve, so that a TERM that comes early is not lost.
pub async fn until_told_to_stop(broker: &Broker, signals: std::io::Result<Signals>) {
    let mut signals = match signals {
        Ok(signals) => signals,
        Err(error) => {
            tracing::error!("signals cannot be watched ({error}); stop the broker with SIGKILL");
            return std::future::pending().await;
        }
    };
    loop {
        tokio::select! {
            _ = signals.term.recv() => return,
            _ = signals.int.recv() => return,
            _ = signals.hup.recv() => reload(broker.control()).await,
            _ = signals.usr1.recv() => broker.node().audit.reopen(),
        }
    }
}

/// Waits for one more TERM or INT: who sends it does not want to wait for the clients.
pub async fn second_signal() {
    let Ok(mut signals) = Signals::new() else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = signals.term.recv() => {}
        _ = signals.int.recv() => {}
    }
}

/// A reload by signal: what it did, or why not, is in the log.
async fn reload(control: &Control) {
    let actor = Actor {
        peer_ip: "HUP".to_owned(),
        ..Actor::default()
    };
    match control.reload(ReloadRequest::default(), actor).await {
        Ok(view) => {
            let text = config::reload::render(&view);
            tracing::info!("{}", text.trim_end());
        }
        Err(Failure::Refused { message, errors, .. }) => {
            tracing::error!("not reloaded, nothing was changed: {message}");
            for error in errors {
                tracing::error!("{}: {}", error.code, error.message);
            }
        }
        Err(failure) => tracing::error!("not reloaded, nothing was changed: {failure:?}"),
    }
}

/// Tells systemd how we are: that the shards answer (watchdog), and the line of its status. Without systemd it waits
/// for ever.
pub async fn tell_systemd(broker: &Broker) {
    if !systemd::is_listening() {
        return std::future::pending().await;
    }
    let every = systemd::watchdog_interval()
        .unwrap_or(STATUS_EVERY)
        .min(STATUS_EVERY);
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Ok(clients) = tokio::time::timeout(SHARDS_ANSWER, clients(broker)).await {
            systemd::watchdog();
            systemd::status(&status(broker, clients));
        } else {
            tracing::error!("a shard does not answer; the watchdog is not fed");
        }
    }
}

/// Connected clients, asked of every shard.
async fn clients(broker: &Broker) -> usize {
    let mut total = 0;
    for inbox in &broker.node().inboxes {
        total += inbox.ask(|shard| shard.everybody().len()).await.unwrap_or(0);
    }
    total
}

fn status(broker: &Broker, clients: usize) -> String {
    let worst = broker.node().doctor.worst();
    let worst = worst.map_or("no findings".to_owned(), |found| {
        format!("{}: {}", found.code, found.message)
    });
    format!("{clients} client{}; {worst}", if clients == 1 { "" } else { "s" })
}
