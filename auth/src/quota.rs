//! Quotas per client prefix, per user and per listener: which meters a connection is counted by, from accept to
//! close. Prefixes count kind=client only; listed sockets and kind=proxy are exempt, and it is told (QUO001).
//!
//! The counters themselves are `meter`'s. `now` is monotonic, in nanoseconds.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use ipnet::IpNet;
use peer::{Addr, Kind, Peer};

use crate::lru::Lru;
pub use crate::meter::{Limits, Meter, Over, Rate, Reading};
use crate::nets::prefix_of;
use crate::prefix_map::PrefixMap;

/// What a full publish bucket does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PublishOver {
    /// The client is not read for a while.
    #[default]
    Slow,
    /// The message is refused with 0x97.
    Refuse,
}

/// `[quota]` as meant.
#[derive(Debug, Clone)]
pub struct QuotaConfig {
    /// Bits of an IPv4 prefix that is counted as one.
    pub v4_prefix: u8,
    /// The same for IPv6.
    pub v6_prefix: u8,
    /// Most prefixes, and most users, kept at a time; those with live connections are kept beyond it.
    pub max_keys: usize,
    /// Limits of a prefix.
    pub prefix: Limits,
    /// `[[quota.override]]`: whole limits for the prefixes inside these ranges; the longest range wins.
    pub overrides: Vec<(IpNet, Limits)>,
    /// `[quota.user]`.
    pub user: Limits,
    /// `[quota.listener]`.
    pub listener: Limits,
    /// What a full publish bucket does.
    pub publish_over: PublishOver,
}

impl Default for QuotaConfig {
    fn default() -> Self {
        Self {
            v4_prefix: 32,
            v6_prefix: 64,
            max_keys: 65_536,
            prefix: Limits::PREFIX,
            overrides: Vec::new(),
            user: Limits::NONE,
            listener: Limits::NONE,
            publish_over: PublishOver::Slow,
        }
    }
}

/// What is counted as one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Prefix {
    /// All unix-domain peers.
    Unix,
    /// A prefix.
    Net(IpNet),
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix => f.write_str("unix"),
            Self::Net(net) if net.prefix_len() == net.max_prefix_len() => net.addr().fmt(f),
            Self::Net(net) => net.fmt(f),
        }
    }
}

/// All meters.
#[derive(Debug)]
pub struct Quota {
    config: QuotaConfig,
    overrides: PrefixMap<(u8, Limits)>,
    prefixes: Lru<Prefix, Arc<Meter>>,
    users: Lru<Box<str>, Arc<Meter>>,
    listeners: HashMap<Box<str>, Arc<Meter>>,
}

impl Quota {
    /// No connections yet.
    pub fn new(config: QuotaConfig) -> Self {
        Self {
            overrides: override_map(&config),
            prefixes: Lru::new(config.max_keys),
            users: Lru::new(config.max_keys),
            listeners: HashMap::new(),
            config,
        }
    }

    /// New limits after a reload. Meters that exist get them too; what they count stays.
    pub fn set_config(&mut self, config: QuotaConfig) {
        self.overrides = override_map(&config);
        self.prefixes.set_max(config.max_keys);
        self.users.set_max(config.max_keys);
        self.config = config;
        for (prefix, meter) in self.prefixes.iter() {
            meter.set_limits(&self.limits_of(*prefix));
        }
        self.users
            .iter()
            .for_each(|(_, meter)| meter.set_limits(&self.config.user));
        self.listeners
            .values()
            .for_each(|meter| meter.set_limits(&self.config.listener));
    }

    fn limits_of(&self, prefix: Prefix) -> Limits {
        let found = match prefix {
            Prefix::Unix => None,
            Prefix::Net(net) => self.overrides.longest(net.addr()),
        };
        found.map_or(self.config.prefix, |(_, limits)| *limits)
    }

    /// The prefix that an address is counted by: the configured length, or that of a longer override.
    pub fn prefix(&self, addr: &Addr) -> Prefix {
        let Some(ip) = addr.ip() else { return Prefix::Unix };
        let longer = self.overrides.longest(ip).map_or(0, |(len, _)| *len);
        Prefix::Net(prefix_of(
            ip,
            self.config.v4_prefix.max(longer),
            self.config.v6_prefix.max(longer),
        ))
    }

    fn prefix_meter(&mut self, prefix: Prefix) -> Arc<Meter> {
        let limits = self.limits_of(prefix);
        Arc::clone(
            self.prefixes
                .entry(prefix, is_used, || Arc::new(Meter::new(&limits))),
        )
    }

    fn listener_meter(&mut self, listener: &str) -> Arc<Meter> {
        if let Some(meter) = self.listeners.get(listener) {
            return Arc::clone(meter);
        }
        let meter = Arc::new(Meter::new(&self.config.listener));
        self.listeners.insert(listener.into(), Arc::clone(&meter));
        meter
    }

    /// A socket was accepted (bucket A and the first unfinished login of peername 12). `exempt`: the socket passes a
    /// gate by an entry that is no wildcard.
    pub fn arrive(&mut self, socket: &Addr, exempt: bool, listener: &str, now: u64) -> Result<Pending, Over> {
        let of_listener = self.listener_meter(listener);
        of_listener.connect(now)?;
        of_listener.add_pending()?;
        let pending = Pending {
            prefix: None,
            listener: of_listener,
            charged: [None; 3],
        };
        self.moved(pending, socket, exempt, now)
    }

    /// A further address stands: the hop (B), then the peername (C). The unfinished login is counted there from now
    /// on. An address already charged for this connection is not charged again. `exempt`: its kind is proxy.
    pub fn moved(
        &mut self,
        mut pending: Pending,
        addr: &Addr,
        exempt: bool,
        now: u64,
    ) -> Result<Pending, Over> {
        let prefix = self.prefix(addr);
        if pending
            .prefix
            .as_ref()
            .is_some_and(|(before, _)| *before == prefix)
        {
            return Ok(pending);
        }
        let meter = self.prefix_meter(prefix);
        if !pending.charged.contains(&Some(prefix)) {
            unless_exempt(&meter, exempt, meter.connect(now))?;
            if !exempt && let Some(free) = pending.charged.iter_mut().find(|slot| slot.is_none()) {
                *free = Some(prefix);
            }
        }
        let added = meter.add_pending();
        if added.is_err() {
            unless_exempt(&meter, exempt, added)?;
            meter.force_pending();
        }
        if let Some((_, before)) = pending.prefix.replace((prefix, meter)) {
            before.sub_pending();
        }
        Ok(pending)
    }

    /// A login is accepted: the connection is counted by its prefix (kind=client), its user and its listener until
    /// the seat is dropped.
    pub fn seat(
        &mut self,
        peer: &Peer,
        username: Option<&str>,
        listener: &str,
        now: u64,
    ) -> Result<Seat, Over> {
        let mut seat = Seat {
            meters: [None, None, None],
            subscriptions: 0,
            over: self.config.publish_over,
        };
        let of_prefix = self.prefix_meter(self.prefix(&peer.peername().addr()));
        match peer.kind() {
            Kind::Client => seat.take(0, of_prefix)?,
            Kind::Proxy => {
                // Its clients are unknown: exempt, but it is told when that mattered.
                let added = of_prefix.add_connection();
                if added.is_ok() {
                    of_prefix.sub_connection();
                }
                unless_exempt(&of_prefix, true, added)?;
            }
        }
        if let Some(name) = username.filter(|name| !name.is_empty()) {
            let limits = self.config.user;
            let meter = Arc::clone(
                self.users
                    .entry(name.into(), is_used, || Arc::new(Meter::new(&limits))),
            );
            meter.connect(now)?;
            seat.take(1, meter)?;
        }
        seat.take(2, self.listener_meter(listener))?;
        Ok(seat)
    }

    /// The prefixes with their state, those with most connections first, then those refused most.
    pub fn prefixes(&self, now: u64) -> Vec<(Prefix, Reading)> {
        let mut rows: Vec<_> = self
            .prefixes
            .iter()
            .map(|(prefix, meter)| (*prefix, meter.read(now)))
            .collect();
        rows.sort_by_key(|(_, r)| std::cmp::Reverse((r.connections, r.refused, r.pending)));
        rows
    }

    /// The state of one user.
    pub fn user(&self, name: &str, now: u64) -> Option<Reading> {
        self.users.peek(&name.into()).map(|meter| meter.read(now))
    }

    /// The state of one listener.
    pub fn listener(&self, name: &str, now: u64) -> Option<Reading> {
        self.listeners.get(name).map(|meter| meter.read(now))
    }

    /// The state of the prefix that an address is counted by.
    pub fn show(&self, addr: &Addr, now: u64) -> (Prefix, Option<Reading>) {
        let prefix = self.prefix(addr);
        (prefix, self.prefixes.peek(&prefix).map(|meter| meter.read(now)))
    }

    /// Fills the buckets of an address's prefix again and forgets its refusals; what is live stays counted.
    pub fn reset(&mut self, addr: &Addr) -> bool {
        let found = self.prefixes.peek(&self.prefix(addr));
        found.inspect(|meter| meter.reset()).is_some()
    }

    /// How many prefixes are known.
    pub fn len(&self) -> usize {
        self.prefixes.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn override_map(config: &QuotaConfig) -> PrefixMap<(u8, Limits)> {
    let mut map = PrefixMap::new();
    for (net, limits) in &config.overrides {
        map.insert(*net, (crate::nets::canonical_net(*net).prefix_len(), *limits));
    }
    map
}

/// Whether a connection is counted by it.
fn is_used(meter: &Arc<Meter>) -> bool {
    Arc::strong_count(meter) > 1
}

fn unless_exempt(meter: &Meter, exempt: bool, result: Result<(), Over>) -> Result<(), Over> {
    if exempt && result.is_err() {
        meter.spare();
        return Ok(());
    }
    result
}

/// A connection without CONNECT; dropping it takes it out of the count.
#[derive(Debug)]
pub struct Pending {
    prefix: Option<(Prefix, Arc<Meter>)>,
    listener: Arc<Meter>,
    /// Prefixes whose bucket it has passed: of the socket, the hop and the peername.
    charged: [Option<Prefix>; 3],
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some((_, meter)) = &self.prefix {
            meter.sub_pending();
        }
        self.listener.sub_pending();
    }
}

/// What a publish may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Go on.
    Go,
    /// It is accepted; do not read from the client for so many nanoseconds.
    Wait(u64),
    /// Refuse it with 0x97.
    Refuse(Over),
}

/// An accepted connection in its meters; dropping it takes it out, with its subscriptions.
#[derive(Debug)]
pub struct Seat {
    /// Of the prefix, the user and the listener.
    meters: [Option<Arc<Meter>>; 3],
    subscriptions: u32,
    over: PublishOver,
}

impl Seat {
    fn take(&mut self, place: usize, meter: Arc<Meter>) -> Result<(), Over> {
        meter.add_connection()?;
        if let Some(slot) = self.meters.get_mut(place) {
            *slot = Some(meter);
        }
        Ok(())
    }

    fn meters(&self) -> impl Iterator<Item = &Meter> {
        self.meters.iter().flatten().map(AsRef::as_ref)
    }

    /// Whether any limit is on publishing; ask [`publish`](Self::publish) only then.
    pub fn limits_publish(&self) -> bool {
        self.meters().any(Meter::limits_publish)
    }

    /// One message of so many bytes (topic and payload).
    pub fn publish(&self, bytes: usize, now: u64) -> Pace {
        let bytes = bytes as u64;
        match self.over {
            PublishOver::Slow => match self.meters().map(|m| m.publish_slow(bytes, now)).max() {
                None | Some(0) => Pace::Go,
                Some(wait) => Pace::Wait(wait),
            },
            PublishOver::Refuse => {
                let refused = self.meters().find_map(|m| m.publish_or_refuse(bytes, now).err());
                refused.map_or(Pace::Go, Pace::Refuse)
            }
        }
    }

    /// One more subscription, or the limit that refuses it.
    pub fn subscribe(&mut self) -> Result<(), Over> {
        for (taken, meter) in self.meters().enumerate() {
            if let Err(over) = meter.add_subscription() {
                self.meters().take(taken).for_each(Meter::sub_subscription);
                return Err(over);
            }
        }
        self.subscriptions += 1;
        Ok(())
    }

    /// One subscription less.
    pub fn unsubscribe(&mut self) {
        if self.subscriptions > 0 {
            self.subscriptions -= 1;
            self.meters().for_each(Meter::sub_subscription);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        for meter in self.meters() {
            meter.sub_connection();
            (0..self.subscriptions).for_each(|_| meter.sub_subscription());
        }
    }
}

#[cfg(test)]
#[path = "quota_tests.rs"]
mod tests;
