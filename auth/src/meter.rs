//! Counters of one prefix, user or listener: how many connections and subscriptions it has, and how fast it
//! connects and publishes. Shared by the connections that it counts, without locks.
//!
//! Which meters a connection has is `quota`'s. `now` is monotonic, in nanoseconds.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// "Unlimited".
const NO_LIMIT: u32 = u32::MAX;

/// So many in so long: `"50/s"`, `"10/m"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: u64,
    /// In so many seconds, at least one.
    pub seconds: u32,
}

impl Rate {
    /// So many a second.
    pub const fn per_second(count: u64) -> Self {
        Self { count, seconds: 1 }
    }
}

/// The limits of one row of `[quota]`; `None` is "unlimited".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Live connections.
    pub max_connections: Option<u32>,
    /// Connections without CONNECT.
    pub max_pending: Option<u32>,
    /// New connections.
    pub connect_rate: Option<Rate>,
    /// How many may come at once; `None` = as many as the rate's count.
    pub connect_burst: Option<u32>,
    /// Messages; as many as its count may come at once.
    pub publish_rate: Option<Rate>,
    /// Payload and topic bytes; as many as its count may come at once.
    pub publish_bytes: Option<Rate>,
    /// Subscriptions.
    pub max_subscriptions: Option<u32>,
}

impl Limits {
    /// `[quota]`'s defaults: 200 unfinished logins, 100 connections a second with a burst of 500.
    pub const PREFIX: Self = Self {
        max_connections: None,
        max_pending: Some(200),
        connect_rate: Some(Rate::per_second(100)),
        connect_burst: Some(500),
        publish_rate: None,
        publish_bytes: None,
        max_subscriptions: None,
    };

    /// No limits: the defaults of `[quota.user]` and `[quota.listener]`.
    pub const NONE: Self = Self {
        max_connections: None,
        max_pending: None,
        connect_rate: None,
        connect_burst: None,
        publish_rate: None,
        publish_bytes: None,
        max_subscriptions: None,
    };
}

/// A token bucket in one number: the time at which it will be full again (GCRA). Adding tokens with the time,
/// capping at the burst and taking some (peername 12) come to moving this time; no rounding gathers.
#[derive(Debug, Default)]
struct Bucket {
    full_at: AtomicU64,
}

/// What a bucket may hold.
#[derive(Debug, Clone, Copy)]
struct Flow {
    rate: Rate,
    burst: u64,
}

impl Flow {
    /// The time in which so many tokens come, in nanoseconds.
    fn time(self, tokens: u64) -> u64 {
        let period = u64::from(self.rate.seconds).saturating_mul(1_000_000_000);
        // A rate of 0 pays no debt in a time we live to see.
        let never = u64::MAX / 4;
        if let Some(product) = tokens.checked_mul(period) {
            return product.checked_div(self.rate.count).unwrap_or(never);
        }
        let time = (u128::from(tokens) * u128::from(period)).checked_div(u128::from(self.rate.count));
        time.and_then(|time| u64::try_from(time).ok()).unwrap_or(never)
    }
}

impl Bucket {
    /// Takes tokens if there are as many (or the bucket is full, for more than it can ever hold).
    fn take(&self, flow: Flow, tokens: u64, now: u64) -> bool {
        let room = flow.time(flow.burst);
        let next = |full_at: u64| {
            let start = full_at.max(now);
            let after = start.saturating_add(flow.time(tokens));
            let fits = after.saturating_sub(now) <= room
                || (full_at <= now && tokens > flow.burst && flow.burst > 0);
            (fits && flow.rate.count > 0).then_some(after)
        };
        self.full_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .is_ok()
    }

    /// Takes tokens in any case; gives the nanoseconds until the debt is paid.
    fn owe(&self, flow: Flow, tokens: u64, now: u64) -> u64 {
        let after = |full_at: u64| full_at.max(now).saturating_add(flow.time(tokens));
        // The closure never refuses, so there is always a value before.
        let before = self
            .full_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |t| Some(after(t)));
        let full_at = after(before.unwrap_or(now));
        full_at.saturating_sub(now).saturating_sub(flow.time(flow.burst))
    }

    /// Tokens left.
    fn level(&self, flow: Flow, now: u64) -> u64 {
        let missing = self.full_at.load(Ordering::Relaxed).saturating_sub(now);
        let period = u128::from(flow.rate.seconds.max(1)) * 1_000_000_000;
        let gone = (u128::from(missing) * u128::from(flow.rate.count)).div_ceil(period);
        flow.burst.saturating_sub(u64::try_from(gone).unwrap_or(u64::MAX))
    }

    fn fill(&self) {
        self.full_at.store(0, Ordering::Relaxed);
    }
}

/// A number with an upper bound.
#[derive(Debug, Default)]
struct Gauge(AtomicU32);

impl Gauge {
    fn add(&self, limit: u32) -> bool {
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| {
                (n < limit).then_some(n + 1)
            })
            .is_ok()
    }

    fn sub(&self) {
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| {
            Some(n.saturating_sub(1))
        });
    }

    fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Limits that a reload changes under live connections.
#[derive(Debug, Default)]
struct LiveLimits {
    max_connections: AtomicU32,
    max_pending: AtomicU32,
    max_subscriptions: AtomicU32,
    connect_burst: AtomicU32,
    connect_rate: LiveRate,
    publish_rate: LiveRate,
    publish_bytes: LiveRate,
}

/// A rate in which 0 seconds stand for "unlimited".
#[derive(Debug, Default)]
struct LiveRate {
    count: AtomicU64,
    seconds: AtomicU32,
}

impl LiveRate {
    fn set(&self, rate: Option<Rate>) {
        self.count.store(rate.map_or(0, |r| r.count), Ordering::Relaxed);
        self.seconds
            .store(rate.map_or(0, |r| r.seconds.max(1)), Ordering::Relaxed);
    }

    /// Between the two stores of a reload one event may be judged by half of each; nothing worse.
    fn get(&self) -> Option<Rate> {
        let seconds = self.seconds.load(Ordering::Relaxed);
        (seconds > 0).then(|| Rate {
            count: self.count.load(Ordering::Relaxed),
            seconds,
        })
    }
}

impl LiveLimits {
    fn new(limits: &Limits) -> Self {
        let live = Self::default();
        live.set(limits);
        live
    }

    fn set(&self, l: &Limits) {
        for (live, limit) in [
            (&self.max_connections, l.max_connections),
            (&self.max_pending, l.max_pending),
            (&self.max_subscriptions, l.max_subscriptions),
            (&self.connect_burst, l.connect_burst),
        ] {
            live.store(limit.unwrap_or(NO_LIMIT), Ordering::Relaxed);
        }
        self.connect_rate.set(l.connect_rate);
        self.publish_rate.set(l.publish_rate);
        self.publish_bytes.set(l.publish_bytes);
    }

    fn get(&self) -> Limits {
        let number = |limit: &AtomicU32| Some(limit.load(Ordering::Relaxed)).filter(|n| *n != NO_LIMIT);
        Limits {
            max_connections: number(&self.max_connections),
            max_pending: number(&self.max_pending),
            connect_rate: self.connect_rate.get(),
            connect_burst: number(&self.connect_burst),
            publish_rate: self.publish_rate.get(),
            publish_bytes: self.publish_bytes.get(),
            max_subscriptions: number(&self.max_subscriptions),
        }
    }
}

/// Which limit was reached; the names are those of `[quota]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Over {
    /// `connect_rate`: E_RATE.
    ConnectRate,
    /// `max_pending`: E_HALF_OPEN.
    MaxPending,
    /// `max_connections`.
    MaxConnections,
    /// `publish_rate`.
    PublishRate,
    /// `publish_bytes`.
    PublishBytes,
    /// `max_subscriptions`.
    MaxSubscriptions,
}

impl Over {
    /// The key's name, also the metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConnectRate => "connect_rate",
            Self::MaxPending => "max_pending",
            Self::MaxConnections => "max_connections",
            Self::PublishRate => "publish_rate",
            Self::PublishBytes => "publish_bytes",
            Self::MaxSubscriptions => "max_subscriptions",
        }
    }
}

/// The counters of one prefix, user or listener.
#[derive(Debug)]
pub struct Meter {
    limits: LiveLimits,
    connections: Gauge,
    pending: Gauge,
    subscriptions: Gauge,
    connects: Bucket,
    messages: Bucket,
    bytes: Bucket,
    refused: AtomicU64,
    /// What would have been refused, had the address not been exempt (QUO001).
    spared: AtomicU64,
}

/// A copy of a meter's state for listings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Its limits.
    pub limits: Limits,
    /// Live connections.
    pub connections: u32,
    /// Unfinished logins.
    pub pending: u32,
    /// Subscriptions.
    pub subscriptions: u32,
    /// Connections that may come at once now; `None` without a limit.
    pub connect_tokens: Option<u64>,
    /// How often a limit refused.
    pub refused: u64,
    /// How often one would have, had the address not been exempt.
    pub spared: u64,
}

impl Meter {
    /// A meter at rest: gauges 0, buckets full.
    pub fn new(limits: &Limits) -> Self {
        Self {
            limits: LiveLimits::new(limits),
            connections: Gauge::default(),
            pending: Gauge::default(),
            subscriptions: Gauge::default(),
            connects: Bucket::default(),
            messages: Bucket::default(),
            bytes: Bucket::default(),
            refused: AtomicU64::new(0),
            spared: AtomicU64::new(0),
        }
    }

    /// Changes the limits; counts stay.
    pub fn set_limits(&self, limits: &Limits) {
        self.limits.set(limits);
    }

    /// Fills the buckets and forgets refusals; counts of what is live stay.
    pub fn reset(&self) {
        for bucket in [&self.connects, &self.messages, &self.bytes] {
            bucket.fill();
        }
        self.refused.store(0, Ordering::Relaxed);
        self.spared.store(0, Ordering::Relaxed);
    }

    fn judged(&self, fits: bool, over: Over) -> Result<(), Over> {
        if fits {
            Ok(())
        } else {
            self.refused.fetch_add(1, Ordering::Relaxed);
            Err(over)
        }
    }

    /// Notes that an exempt address was let through.
    pub(crate) fn spare(&self) {
        self.refused.fetch_sub(1, Ordering::Relaxed);
        self.spared.fetch_add(1, Ordering::Relaxed);
    }

    /// One new connection at `now`.
    pub(crate) fn connect(&self, now: u64) -> Result<(), Over> {
        let fits = self
            .connect_flow()
            .is_none_or(|flow| self.connects.take(flow, 1, now));
        self.judged(fits, Over::ConnectRate)
    }

    fn connect_flow(&self) -> Option<Flow> {
        let rate = self.limits.connect_rate.get()?;
        let burst = self.limits.connect_burst.load(Ordering::Relaxed);
        Some(Flow {
            rate,
            burst: if burst == NO_LIMIT {
                rate.count
            } else {
                burst.into()
            },
        })
    }

    pub(crate) fn add_pending(&self) -> Result<(), Over> {
        let limit = self.limits.max_pending.load(Ordering::Relaxed);
        self.judged(self.pending.add(limit), Over::MaxPending)
    }

    pub(crate) fn sub_pending(&self) {
        self.pending.sub();
    }

    /// Counts without a limit, for those who are exempt.
    pub(crate) fn force_pending(&self) {
        self.pending.add(NO_LIMIT);
    }

    pub(crate) fn add_connection(&self) -> Result<(), Over> {
        let limit = self.limits.max_connections.load(Ordering::Relaxed);
        self.judged(self.connections.add(limit), Over::MaxConnections)
    }

    pub(crate) fn sub_connection(&self) {
        self.connections.sub();
    }

    pub(crate) fn add_subscription(&self) -> Result<(), Over> {
        let limit = self.limits.max_subscriptions.load(Ordering::Relaxed);
        self.judged(self.subscriptions.add(limit), Over::MaxSubscriptions)
    }

    pub(crate) fn sub_subscription(&self) {
        self.subscriptions.sub();
    }

    fn publish_flows(&self) -> [Option<Flow>; 2] {
        let flow = |rate: Rate| Flow {
            rate,
            burst: rate.count.max(1),
        };
        [&self.limits.publish_rate, &self.limits.publish_bytes].map(|rate| rate.get().map(flow))
    }

    /// One message of so many bytes, which is taken in any case: the nanoseconds not to read for.
    pub(crate) fn publish_slow(&self, bytes: u64, now: u64) -> u64 {
        let [messages, size] = self.publish_flows();
        let by_count = messages.map_or(0, |flow| self.messages.owe(flow, 1, now));
        by_count.max(size.map_or(0, |flow| self.bytes.owe(flow, bytes, now)))
    }

    /// One message of so many bytes, or the limit that refuses it.
    pub(crate) fn publish_or_refuse(&self, bytes: u64, now: u64) -> Result<(), Over> {
        let [messages, size] = self.publish_flows();
        let fits = messages.is_none_or(|flow| self.messages.take(flow, 1, now));
        self.judged(fits, Over::PublishRate)?;
        let fits = size.is_none_or(|flow| self.bytes.take(flow, bytes, now));
        self.judged(fits, Over::PublishBytes)
    }

    /// Whether it limits publishing at all.
    pub fn limits_publish(&self) -> bool {
        self.limits.publish_rate.get().is_some() || self.limits.publish_bytes.get().is_some()
    }

    /// Its state at `now`.
    pub fn read(&self, now: u64) -> Reading {
        Reading {
            limits: self.limits.get(),
            connections: self.connections.get(),
            pending: self.pending.get(),
            subscriptions: self.subscriptions.get(),
            connect_tokens: self.connect_flow().map(|flow| self.connects.level(flow, now)),
            refused: self.refused.load(Ordering::Relaxed),
            spared: self.spared.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
#[path = "meter_tests.rs"]
mod tests;
