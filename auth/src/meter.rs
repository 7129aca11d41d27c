//! Counters of one prefix, user or listener: how many connections and subscriptions it has, and how fast it
//! connects and publishes. Shared by the connections that it counts, without locks.
//!
//! Which meters a connection has is `quota`'s. `now` is monotonic, in nanoseconds.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// "Unlimited".
const NO_LIMIT: u32 = u32::MAX;

/// The limits of one row of `[quota]`; `None` is "unlimited".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Live connections.
    pub max_connections: Option<u32>,
    /// Connections without CONNECT.
    pub max_pending: Option<u32>,
    /// New connections a second.
    pub connect_rate: Option<u32>,
    /// How many may come at once.
    pub connect_burst: Option<u32>,
    /// Messages a second; as many may come at once.
    pub publish_rate: Option<u32>,
    /// Payload and topic bytes a second; as many may come at once.
    pub publish_bytes: Option<u32>,
    /// Subscriptions.
    pub max_subscriptions: Option<u32>,
}

impl Limits {
    /// `[quota]`'s defaults: 200 unfinished logins, 100 connections a second with a burst of 500.
    pub const PREFIX: Self = Self {
        max_connections: None,
        max_pending: Some(200),
        connect_rate: Some(100),
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

    /// Whether publishing is limited.
    pub fn limits_publish(&self) -> bool {
        self.publish_rate.is_some() || self.publish_bytes.is_some()
    }
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
    per_second: u64,
    burst: u64,
}

impl Flow {
    /// The time in which so many tokens come, in nanoseconds.
    fn time(self, tokens: u64) -> u64 {
        // A rate of 0 pays no debt in a time we live to see.
        tokens
            .saturating_mul(1_000_000_000)
            .checked_div(self.per_second)
            .unwrap_or(u64::MAX / 4)
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
            (fits && flow.per_second > 0).then_some(after)
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
        let gone = (u128::from(missing) * u128::from(flow.per_second)).div_ceil(1_000_000_000);
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
#[derive(Debug)]
struct LiveLimits([AtomicU32; 7]);

impl LiveLimits {
    fn new(limits: &Limits) -> Self {
        Self(Self::values(limits).map(AtomicU32::new))
    }

    fn values(l: &Limits) -> [u32; 7] {
        [
            l.max_connections,
            l.max_pending,
            l.connect_rate,
            l.connect_burst,
            l.publish_rate,
            l.publish_bytes,
            l.max_subscriptions,
        ]
        .map(|limit| limit.unwrap_or(NO_LIMIT))
    }

    fn set(&self, limits: &Limits) {
        for (live, value) in self.0.iter().zip(Self::values(limits)) {
            live.store(value, Ordering::Relaxed);
        }
    }

    fn get(&self) -> Limits {
        let [connections, pending, rate, burst, publish, bytes, subscriptions] = &self.0;
        let value = |limit: &AtomicU32| Some(limit.load(Ordering::Relaxed)).filter(|n| *n != NO_LIMIT);
        Limits {
            max_connections: value(connections),
            max_pending: value(pending),
            connect_rate: value(rate),
            connect_burst: value(burst),
            publish_rate: value(publish),
            publish_bytes: value(bytes),
            max_subscriptions: value(subscriptions),
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
        let limits = self.limits.get();
        let per_second = limits.connect_rate?;
        Some(Flow {
            per_second: per_second.into(),
            burst: limits.connect_burst.unwrap_or(per_second).into(),
        })
    }

    pub(crate) fn add_pending(&self) -> Result<(), Over> {
        let limit = self.limits.get().max_pending.unwrap_or(NO_LIMIT);
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
        let limit = self.limits.get().max_connections.unwrap_or(NO_LIMIT);
        self.judged(self.connections.add(limit), Over::MaxConnections)
    }

    pub(crate) fn sub_connection(&self) {
        self.connections.sub();
    }

    pub(crate) fn add_subscription(&self) -> Result<(), Over> {
        let limit = self.limits.get().max_subscriptions.unwrap_or(NO_LIMIT);
        self.judged(self.subscriptions.add(limit), Over::MaxSubscriptions)
    }

    pub(crate) fn sub_subscription(&self) {
        self.subscriptions.sub();
    }

    fn publish_flows(&self) -> [Option<Flow>; 2] {
        let limits = self.limits.get();
        [limits.publish_rate, limits.publish_bytes].map(|rate| {
            rate.map(|n| Flow {
                per_second: n.into(),
                burst: u64::from(n).max(1),
            })
        })
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
        self.limits.get().limits_publish()
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
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn the_bucket_of_peername_12() {
        let meter = Meter::new(&Limits {
            connect_rate: Some(100),
            connect_burst: Some(5),
            ..Limits::NONE
        });
        let at = |now: u64| meter.connect(now).is_ok();
        assert_eq!(
            (0..7).map(|_| at(SECOND)).collect::<Vec<_>>(),
            [true, true, true, true, true, false, false]
        );
        assert!(
            !at(SECOND + 9_000_000),
            "nothing is taken by a refusal, and 0.9 is not 1"
        );
        assert!(at(SECOND + 10_000_000));
        assert!(!at(SECOND + 10_000_000));
        assert!(
            (0..5).all(|_| at(100 * SECOND)),
            "full again, and no fuller than the burst"
        );
        assert!(!at(100 * SECOND));
        assert_eq!(meter.read(100 * SECOND).refused, 5);
        assert_eq!(meter.read(100 * SECOND).connect_tokens, Some(0));
        assert_eq!(meter.read(100 * SECOND + 30_000_000).connect_tokens, Some(3));
    }

    /// The definition's bucket passes the shared vectors; this one must allow what that one allows.
    #[test]
    fn the_bucket_allows_what_the_definition_allows() {
        let mut seed = 1u64;
        for (rate, burst) in [(1, 1), (2, 3), (10, 2), (3, 7), (100, 500), (999, 1)] {
            let meter = Meter::new(&Limits {
                connect_rate: Some(rate),
                connect_burst: Some(burst),
                ..Limits::NONE
            });
            let defined = peer::Rate::per_second(rate, burst);
            let mut bucket = peer::Bucket::full(defined);
            let mut now_ms = 0;
            for arrival in 0..5000 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let pause = (seed >> 40) % (2000 / u64::from(rate) + 1);
                now_ms += if seed >> 61 == 0 { pause * 20 } else { pause / 2 };
                let allowed = meter.connect(now_ms * 1_000_000).is_ok();
                assert_eq!(
                    allowed,
                    bucket.take(defined, now_ms),
                    "{rate}/s, arrival {arrival}"
                );
            }
        }
    }

    #[test]
    fn a_rate_of_zero_lets_nobody_in() {
        let meter = Meter::new(&Limits {
            connect_rate: Some(0),
            connect_burst: Some(2),
            ..Limits::NONE
        });
        assert!(
            [1, 1000 * SECOND]
                .iter()
                .all(|now| meter.connect(*now) == Err(Over::ConnectRate))
        );
    }

    #[test]
    fn publishing_too_fast_is_slowed_by_what_is_owed() {
        let meter = Meter::new(&Limits {
            publish_rate: Some(10),
            publish_bytes: Some(1000),
            ..Limits::NONE
        });
        assert!((0..10).all(|_| meter.publish_slow(1, SECOND) == 0));
        assert_eq!(meter.publish_slow(1, SECOND), SECOND / 10);
        assert_eq!(meter.publish_slow(1, SECOND), SECOND / 5);
        assert_eq!(meter.publish_slow(1, 3 * SECOND), 0);
        assert_eq!(
            meter.publish_slow(5000, 10 * SECOND),
            4 * SECOND,
            "bytes: 5,000 with 1,000 in hand"
        );
    }

    #[test]
    fn or_refused_but_a_message_larger_than_the_bucket_passes_a_full_one() {
        let meter = Meter::new(&Limits {
            publish_rate: Some(2),
            publish_bytes: Some(1000),
            ..Limits::NONE
        });
        assert_eq!(meter.publish_or_refuse(5000, SECOND), Ok(()));
        assert_eq!(meter.publish_or_refuse(1, SECOND), Err(Over::PublishBytes));
        assert_eq!(meter.publish_or_refuse(1, SECOND), Err(Over::PublishRate));
        assert_eq!(meter.publish_or_refuse(1, 7 * SECOND), Ok(()));
    }

    #[test]
    fn gauges_have_limits_that_a_reload_changes() {
        let meter = Meter::new(&Limits {
            max_connections: Some(1),
            max_subscriptions: Some(0),
            ..Limits::NONE
        });
        assert_eq!(meter.add_connection(), Ok(()));
        assert_eq!(meter.add_connection(), Err(Over::MaxConnections));
        assert_eq!(meter.add_subscription(), Err(Over::MaxSubscriptions));
        meter.set_limits(&Limits::NONE);
        assert_eq!(meter.add_connection(), Ok(()));
        meter.sub_connection();
        meter.sub_connection();
        meter.sub_connection();
        assert_eq!(meter.read(0).connections, 0);
        assert_eq!(meter.read(0).limits, Limits::NONE);
    }
}
