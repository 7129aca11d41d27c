//! `$SYS/broker/…`: the broker's own figures as messages, by Mosquitto's names where it has them, not retained.
//!
//! What does not live here: the counting (`metrics`), who may read them (the rules: `$SYS/#` is a topic like any).

use std::time::{Duration, Instant};

use crate::control::Control;
use crate::metrics::{Count, Counters, Metrics};
use crate::node::Node;
use crate::session::message::Publication;

/// Minutes over which loads are averaged.
const AVERAGES: [(&str, f64); 3] = [("1min", 60.0), ("5min", 300.0), ("15min", 900.0)];

/// A rate per minute, averaged as Unix does with its load.
#[derive(Debug, Default)]
struct Load {
    last: u64,
    averages: [f64; 3],
}

impl Load {
    /// Takes the count as it is now, `elapsed` after the time before.
    fn update(&mut self, count: u64, elapsed: f64) {
        let per_minute = count.saturating_sub(self.last) as f64 * 60.0 / elapsed;
        self.last = count;
        for (average, (_, seconds)) in self.averages.iter_mut().zip(AVERAGES) {
            let keep = (-elapsed / seconds).exp();
            *average = *average * keep + per_minute * (1.0 - keep);
        }
    }
}

/// What is carried from one publication to the next.
#[derive(Debug, Default)]
struct Carried {
    maximum: u64,
    loads: [Load; 5],
}

/// Publishes the figures every `node.sys_interval` (0 = never); never ends.
pub async fn publish(control: &Control) {
    let node = control.node();
    let mut carried = Carried::default();
    let mut last = Instant::now();
    loop {
        let interval = node.snapshot.load().config.node.sys_interval;
        if interval.is_zero() {
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        }
        tokio::time::sleep(interval).await;
        let Ok(clients) = control.counts().await else {
            return;
        };
        let elapsed = last.elapsed().as_secs_f64().max(0.001);
        last = Instant::now();
        carried.maximum = carried.maximum.max(clients.connected);
        let mut figures = figures(node, clients.connected, clients.stored, carried.maximum);
        figures.extend(loads(&node.metrics, &mut carried, elapsed));
        send(node, figures);
    }
}

fn send(node: &Node, figures: Vec<(String, String)>) {
    let Some(inbox) = node.inboxes.first() else { return };
    inbox.run(move |shard| {
        for (name, value) in figures {
            let topic = format!("$SYS/broker/{name}");
            shard.publish(&mut Publication::new(&topic, &[], value.as_bytes()));
        }
    });
}

fn sum<const N: usize>(metrics: &Metrics, of: impl Fn(&Counters) -> &[Count; N]) -> u64 {
    metrics.sum(|counters| of(counters).iter().map(Count::get).sum())
}

fn figures(node: &Node, connected: u64, stored: u64, maximum: u64) -> Vec<(String, String)> {
    use std::sync::atomic::Ordering;
    let metrics = &node.metrics;
    let (plain, shared) = node.router.totals();
    let (retained, retained_bytes) = node.retained.totals();
    let via = |n: usize| metrics.sum(|c| c.peername_ok[n].iter().map(Count::get).sum());
    let now = node.clock.now();
    let numbers = [
        ("clients/connected", connected),
        ("clients/disconnected", stored),
        ("clients/total", connected + stored),
        ("clients/maximum", maximum),
        ("clients/expired", node.expired.load(Ordering::Relaxed)),
        ("messages/received", sum(metrics, |c| &c.packets_received)),
        ("messages/sent", sum(metrics, |c| &c.packets_sent)),
        (
            "publish/messages/received",
            sum(metrics, |c| &c.messages_received),
        ),
        ("publish/messages/sent", sum(metrics, |c| &c.messages_sent)),
        ("publish/messages/dropped", sum(metrics, |c| &c.dropped)),
        ("bytes/received", metrics.sum(|c| c.received_bytes.get())),
        ("bytes/sent", metrics.sum(|c| c.sent_bytes.get())),
        ("subscriptions/count", plain),
        ("shared_subscriptions/count", shared),
        ("retained messages/count", retained),
        ("store/messages/count", retained),
        ("store/messages/bytes", retained_bytes),
        ("peername/socket", via(0)),
        ("peername/proxy_v1", via(1)),
        ("peername/proxy_v2", via(2)),
        ("peername/header", via(3)),
        ("peername/rejected", metrics.sum(|c| c.peername_refused.total())),
        (
            "acl/denied",
            metrics.sum(|c| c.acl.iter().map(|decisions| decisions[0].get()).sum()),
        ),
        ("bans/count", node.gate.with_bans(|bans| bans.len() as u64)),
    ];
    let mut figures: Vec<(String, String)> = numbers
        .into_iter()
        .map(|(name, number)| (name.to_owned(), number.to_string()))
        .collect();
    figures.push((
        "version".to_owned(),
        format!("broker {}", env!("CARGO_PKG_VERSION")),
    ));
    figures.push((
        "uptime".to_owned(),
        format!("{} seconds", (now - node.started_at) / 1000),
    ));
    figures
}

fn loads(metrics: &Metrics, carried: &mut Carried, elapsed: f64) -> Vec<(String, String)> {
    let counts = [
        ("messages/received", sum(metrics, |c| &c.packets_received)),
        ("messages/sent", sum(metrics, |c| &c.packets_sent)),
        ("publish/received", sum(metrics, |c| &c.messages_received)),
        ("publish/sent", sum(metrics, |c| &c.messages_sent)),
        ("connections", metrics.sum(|c| c.accepted.get())),
    ];
    let mut figures = Vec::new();
    for ((name, count), load) in counts.into_iter().zip(&mut carried.loads) {
        load.update(count, elapsed);
        for (average, (time, _)) in load.averages.iter().zip(AVERAGES) {
            figures.push((format!("load/{name}/{time}"), format!("{average:.2}")));
        }
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_load_comes_to_its_rate_and_an_idle_one_to_nothing() {
        let mut load = Load::default();
        for second in 1..=3600_u64 {
            load.update(second * 10, 1.0);
        }
        assert!(load.averages.iter().all(|a| (a - 600.0).abs() < 12.0), "{load:?}");
        for _ in 0..7200 {
            load.update(36_000, 1.0);
        }
        assert!(load.averages.iter().all(|a| *a < 1.0), "{load:?}");
    }
}
