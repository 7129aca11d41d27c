//! The node's own state: status, health, numbers, listeners, metrics.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Control;
use crate::admin::backend::ListenerAction;
use crate::admin::problem::Failure;
use crate::admin::views::{
    Checks, ClientCounts, HealthView, ListenerView, StatsView, StatusView, StoreView, Timestamp,
};
use crate::metrics::render::{Levels, render};
use crate::shard::Client;

/// A shard that does not answer within this time is not alive.
const ALIVE: Duration = Duration::from_secs(1);

impl Control {
    pub(super) async fn status_view(&self) -> Result<StatusView, Failure> {
        let snapshot = self.node.snapshot.load_full();
        let health = self.health_view().await;
        let clients = self.counts().await?;
        let (plain, shared) = self.node.router.totals();
        let now = self.node.clock.now();
        Ok(StatusView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.node.name.to_string(),
            started_at: Timestamp(self.node.started_at),
            uptime_seconds: (now - self.node.started_at) / 1000,
            generation: snapshot.generation,
            ready: health.ready,
            listeners: self.listener_views(),
            clients,
            subscriptions: plain + shared,
            retained: self.node.retained.totals().0,
            pending_restart: Vec::new(),
            worst_finding: self.node.doctor.worst(),
        })
    }

    /// Clients that are connected, and sessions whose client is away.
    pub async fn counts(&self) -> Result<ClientCounts, Failure> {
        let connected = |client: &Client| Some(client.conn.is_some());
        let all = self.gather(connected).await?;
        let connected = all.iter().filter(|&&connected| connected).count() as u64;
        Ok(ClientCounts {
            connected,
            stored: all.len() as u64 - connected,
        })
    }

    pub(super) async fn health_view(&self) -> HealthView {
        let alive = futures_util::future::join_all(
            self.node
                .inboxes
                .iter()
                .map(|inbox| tokio::time::timeout(ALIVE, inbox.ask(|_| ()))),
        );
        let alive = alive.await.iter().all(|answer| matches!(answer, Ok(Some(()))));
        let draining = self.node.draining.load(Ordering::Relaxed);
        let word = |ok: bool, yes: &str, no: &str| if ok { yes } else { no }.to_owned();
        HealthView {
            ready: alive && !draining,
            checks: Checks {
                listeners: word(alive, "ok", "stuck"),
                store: "ok".to_owned(),
                draining: word(draining, "yes", "no"),
            },
        }
    }

    pub(super) fn stats_view(&self) -> StatsView {
        let metrics = &self.node.metrics;
        let denied = metrics.sum(|c| c.acl.iter().map(|decisions| decisions[0].get()).sum());
        let connected = self
            .doors()
            .iter()
            .map(|door| u64::from(door.listener.connections()))
            .sum();
        StatsView {
            uptime_ms: self.node.clock.now() - self.node.started_at,
            clients: connected,
            connects: metrics.sum(|c| c.connects[crate::metrics::ConnectReason::Ok as usize].get()),
            messages_received: metrics
                .sum(|c| c.messages_received.iter().map(crate::metrics::Count::get).sum()),
            messages_sent: metrics.sum(|c| c.messages_sent.iter().map(crate::metrics::Count::get).sum()),
            denied,
            generation: self.node.snapshot.load().generation,
            worst_finding: self.node.doctor.worst(),
        }
    }

    pub(super) fn listener_views(&self) -> Vec<ListenerView> {
        let snapshot = self.node.snapshot.load_full();
        let doors = self.doors();
        let view = |listener: &crate::config::ListenerConfig| {
            let door = doors
                .iter()
                .find(|door| *door.listener.spec().name == *listener.name);
            let runtime = snapshot.listeners.get(listener.name.as_str());
            let accepted = runtime.map_or(0, |r| r.counters.iter().map(|c| c.accepted.get()).sum());
            let header = &listener.peername.address_header;
            let state = match door {
                Some(door) if *door.accepting.borrow() => "running",
                _ => "stopped",
            };
            ListenerView {
                name: listener.name.clone(),
                transport: listener.transport.as_str().to_owned(),
                bind: door.map_or_else(
                    || listener.bind.to_string(),
                    |door| door.listener.local().to_string(),
                ),
                state: state.to_owned(),
                connections: door.map_or(0, |door| u64::from(door.listener.connections())),
                accepted,
                proxy_protocol: listener.peername.proxy_protocol.clone(),
                address_header: (!header.is_empty()).then(|| header.clone()),
                certificate_expires_at: door.and_then(|door| expiry(&door.listener)),
            }
        };
        snapshot
            .config
            .listeners
            .iter()
            .filter(|l| l.enabled)
            .map(view)
            .collect()
    }

    pub(super) async fn listener_action(
        &self,
        name: &str,
        action: ListenerAction,
    ) -> Result<ListenerView, Failure> {
        {
            let doors = self.doors();
            let door = doors.iter().find(|door| *door.listener.spec().name == *name);
            let door = door.ok_or_else(|| Failure::NotFound(format!("listener {name}")))?;
            match action {
                ListenerAction::Start => {
                    return Err(Failure::Unavailable(
                        "starting a listener again needs a restart".to_owned(),
                    ));
                }
                ListenerAction::Stop | ListenerAction::Drain => door.accepting.send_replace(false),
            };
        }
        if action == ListenerAction::Drain {
            self.close_clients_of(name).await?;
        }
        let view = self.listener_views().into_iter().find(|view| view.name == name);
        view.ok_or_else(|| Failure::NotFound(format!("listener {name}")))
    }

    async fn close_clients_of(&self, name: &str) -> Result<(), Failure> {
        for inbox in &self.node.inboxes {
            let name = name.to_owned();
            let closed = inbox.ask(move |shard| {
                for who in shard.everybody() {
                    let here =
                        |c: &mut Client| c.conn.as_ref().is_some_and(|conn| *conn.listener.name == *name);
                    if shard.client(who).is_some_and(here) {
                        shard.close(who, &crate::shard::end::Cause::Shutdown);
                    }
                }
            });
            closed.await.ok_or_else(super::clients::stopping)?;
        }
        Ok(())
    }

    pub(super) async fn store_view(&self) -> Result<StoreView, Failure> {
        let queued = |client: &Client| {
            let queue = &client.session.outbound.as_ref()?.queue;
            Some((queue.len() as u64, queue.bytes()))
        };
        let queued = self.gather(queued).await?;
        let (retained_messages, retained_bytes) = self.node.retained.totals();
        let stats = self.node.store.stats();
        let on_disk = self.node.store.is_persistent();
        let config = &self.node.snapshot.load().config.store;
        Ok(StoreView {
            engine: if on_disk { "file" } else { "memory" }.to_owned(),
            durability: if on_disk {
                config.durability.as_str()
            } else {
                "none"
            }
            .to_owned(),
            sessions: self.node.registry.len() as u64,
            queued_messages: queued.iter().map(|q| q.0).sum(),
            queued_bytes: queued.iter().map(|q| q.1).sum(),
            retained_messages,
            retained_bytes,
            disk_bytes: stats.state.bytes + stats.queue.bytes,
            max_bytes: on_disk.then_some(config.max_bytes),
            segments: stats.state.segments + stats.queue.segments,
        })
    }

    /// The metrics text.
    pub(super) async fn metrics_text(&self) -> Result<String, Failure> {
        let counts = self.counts().await?;
        let store = self.store_view().await?;
        let (subscriptions, shared_subscriptions) = self.node.router.totals();
        let snapshot = self.node.snapshot.load_full();
        let audit = self.node.audit.stats();
        let mut listeners = self.node.doctor.levels();
        for door in self.doors().iter() {
            let levels = listeners
                .entry(door.listener.spec().name.to_string())
                .or_default();
            levels.certificate_expiry_seconds = expiry(&door.listener).map(|at| at.0 as f64 / 1000.0);
        }
        let levels = Levels {
            start_time_seconds: self.node.started_at as f64 / 1000.0,
            listeners,
            sessions_connected: counts.connected,
            sessions_stored: counts.stored,
            subscriptions,
            shared_subscriptions,
            retained_messages: store.retained_messages,
            retained_bytes: store.retained_bytes,
            queued_messages: store.queued_messages,
            acl_rules: snapshot.acl.len() as u64,
            bans: self.node.gate.with_bans(|bans| bans.len() as u64),
            audit_dropped: audit.dropped,
            audit_queue: audit.queued as u64,
            audit_records: audit
                .records
                .iter()
                .map(|(kind, n)| (kind.as_str().to_owned(), *n))
                .collect(),
            findings: self.node.doctor.counts(),
            reload_successful: true,
            reload_success_seconds: self.node.started_at as f64 / 1000.0,
            generation: snapshot.generation,
            ..Levels::default()
        };
        Ok(render(&self.node.metrics, &levels))
    }
}

fn expiry(listener: &listeners::Listener) -> Option<Timestamp> {
    let summary = listener.spec().tls.as_ref()?.summary();
    Some(Timestamp(u64::try_from(summary.not_after).ok()? * 1000))
}
