//! Our side of the door: what the listeners ask before a client is served, and what they report. Bans, rates,
//! half-open limits, early connect rules.
//!
//! What does not live here: finding the address (`peer`), reading bytes (`listeners`), CONNECT (`shard::login`),
//! the counting itself (`auth`).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use auth::auto_ban::{AutoBans, Due, On};
use auth::bans::{Ban, Bans};
use auth::quota::{Over, Pending, Quota, Seat};
use codec::ReasonCode;
use listeners::{Accepted, Admit, Arrival, Cause, Denied, Handler, Held, Refusal, Stage};
use peer::Peer;

use crate::audit::{ClientFacts, Connect, ConnectReason, Event, PeernameReject, Sanction};
use crate::config::Config;
use crate::limits;
use crate::metrics::QuotaLimit;
use crate::node::Node;
use crate::shard::inbox::Mail;
use crate::shard::records::count_refusal;

/// What stands before login.
#[derive(Debug)]
pub struct Gate {
    next: AtomicUsize,
    bans: RwLock<Bans>,
    auto: Mutex<AutoBans>,
    quota: Mutex<Quota>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gate {
    /// By this configuration.
    pub fn new(config: &Config) -> Self {
        let quota = limits::quota(config);
        Self {
            next: AtomicUsize::new(0),
            bans: RwLock::new(Bans::new(limits::bans(config))),
            auto: Mutex::new(AutoBans::new(
                limits::auto_rules(config),
                quota.v4_prefix,
                quota.v6_prefix,
            )),
            quota: Mutex::new(Quota::new(quota)),
        }
    }

    /// Takes another configuration; what was counted stays.
    pub fn configure(&self, config: &Config) {
        let quota = limits::quota(config);
        lock(&self.auto).set_rules(limits::auto_rules(config), quota.v4_prefix, quota.v6_prefix);
        lock(&self.quota).set_config(quota);
        self.with_bans(|bans| bans.set_limits(limits::bans(config)));
    }

    /// Changes or lists the bans.
    pub fn with_bans<T>(&self, work: impl FnOnce(&mut Bans) -> T) -> T {
        work(&mut self.bans.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lists or resets the quotas.
    pub fn with_quota<T>(&self, work: impl FnOnce(&mut Quota) -> T) -> T {
        work(&mut lock(&self.quota))
    }

    /// The ban that a client with these names meets, if any: what bans it, as text.
    pub fn banned(&self, client_id: &str, username: Option<&str>, now: u64) -> Option<Box<str>> {
        let bans = self.bans.read().unwrap_or_else(PoisonError::into_inner);
        let ban = bans.identity(client_id, username, now)?;
        Some(ban.target.to_string().into())
    }

    fn banned_address(&self, arrival: &Arrival<'_>, now: u64) -> Option<Box<str>> {
        let bans = self.bans.read().unwrap_or_else(PoisonError::into_inner);
        if bans.is_empty() {
            return None;
        }
        let ban = bans.address(&arrival.addr, arrival.kind, now)?;
        Some(ban.target.to_string().into())
    }

    fn pending(&self, arrival: &Arrival<'_>, held: Held, now: u64) -> Result<Pending, Over> {
        let mut quota = lock(&self.quota);
        match held.and_then(|held| held.downcast::<Pending>().ok()) {
            Some(pending) => quota.moved(*pending, &arrival.addr, arrival.exempt, now),
            None => quota.arrive(&arrival.addr, arrival.exempt, &arrival.listener.name, now),
        }
    }

    /// A place for a client that is about to be accepted.
    pub fn seat(&self, peer: &Peer, username: Option<&str>, listener: &str, now: u64) -> Result<Seat, Over> {
        lock(&self.quota).seat(peer, username, listener, now)
    }
}

/// The reason a client of MQTT 5 reads for a limit.
pub fn reason_of(over: Over) -> ReasonCode {
    match over {
        Over::ConnectRate => ReasonCode::ConnectionRateExceeded,
        Over::MaxPending => ReasonCode::ServerBusy,
        Over::MaxConnections | Over::PublishRate | Over::PublishBytes | Over::MaxSubscriptions => {
            ReasonCode::QuotaExceeded
        }
    }
}

/// The metrics' name of a limit.
pub fn limit_of(over: Over) -> QuotaLimit {
    let same = |limit: &&QuotaLimit| limit.as_str() == over.as_str();
    *QuotaLimit::ALL
        .iter()
        .find(same)
        .unwrap_or(&QuotaLimit::Connections)
}

impl Node {
    /// Counts an event for the automatic bans, and makes those that are due.
    pub fn watch(&self, on: On, peer: &Peer, client_id: &str, username: Option<&str>) {
        let now = self.clock.now();
        let due = lock(&self.gate.auto).record(on, peer, client_id, username, now);
        for due in due {
            self.ban_automatically(&due, now);
        }
    }

    fn ban_automatically(&self, due: &Due, now: u64) {
        let Due {
            target,
            for_ms,
            rule,
            dry_run,
        } = due;
        if *dry_run {
            tracing::warn!("bans.auto {rule}: would ban {target} for {for_ms} ms (dry_run)");
            return;
        }
        let ban = Ban {
            target: target.clone(),
            reason: Arc::clone(rule),
            by: "auto".into(),
            automatic: true,
            since: now,
            until: Some(now + for_ms),
        };
        match self.gate.with_bans(|bans| bans.add(ban.clone(), false, now)) {
            Ok(_) => {
                self.keep_ban(&ban);
                let until = SystemTime::UNIX_EPOCH + Duration::from_millis(now + for_ms);
                tracing::warn!("bans.auto {rule}: {target} is banned for {} s", for_ms / 1000);
                let sanction = Sanction {
                    what: target.to_string().into(),
                    until: Some(until),
                    by: Some((&**rule).into()),
                    ..Sanction::default()
                };
                self.audit.record(Event::Ban(sanction));
            }
            Err(refused) => tracing::warn!("bans.auto {rule}: {target} is not banned: {refused}"),
        }
    }
}

impl Node {
    /// Counts a connection that the acceptor closed.
    fn count_at_the_door(&self, refusal: &Refusal<'_>) {
        let snapshot = self.snapshot.load();
        let listener = snapshot.listeners.get(refusal.listener);
        if let Some(counters) = listener.and_then(|listener| listener.counters.last()) {
            counters.accepted.inc();
            count_refusal(counters, refusal.cause);
        }
    }
}

impl Handler for Node {
    fn admit(&self, arrival: &Arrival<'_>, held: Held) -> Admit {
        if self.draining.load(Ordering::Relaxed) {
            return Admit::Refuse(Denied::Draining);
        }
        if let Some(ban) = self.gate.banned_address(arrival, self.clock.now()) {
            return Admit::Refuse(Denied::Banned(ban));
        }
        let pending = match self.gate.pending(arrival, held, self.clock.nanos()) {
            Ok(pending) => pending,
            Err(Over::ConnectRate) => return Admit::Refuse(Denied::Rate),
            Err(Over::MaxPending) => return Admit::Refuse(Denied::HalfOpen),
            Err(_) => return Admit::Refuse(Denied::Quota),
        };
        if let Some(peer) = arrival.peer {
            let acl = &self.snapshot.load().acl;
            if let Some(decision) = acl.decide_early(peer, &arrival.listener.name)
                && !decision.is_allowed()
            {
                return Admit::Refuse(Denied::Acl(acl.place(decision.rule).into()));
            }
        }
        Admit::Ok(Some(Box::new(pending)))
    }

    fn refused(&self, refusal: &Refusal<'_>) {
        self.doctor.refused(refusal);
        if refusal.stage == Stage::Socket {
            // It is not handed to a shard, which would count it.
            self.count_at_the_door(refusal);
        }
        let listener: Arc<str> = refusal.listener.into();
        let facts = match refusal.peer {
            Some(peer) => ClientFacts::new(Arc::new(peer.clone()), listener),
            None => ClientFacts::refused(refusal.socket, listener),
        };
        let (reason, rule, ban) = match refusal.cause {
            Cause::Peername(code, detail) => {
                if !code.is_close() {
                    let record = PeernameReject {
                        code: *code,
                        detail: detail.map(Into::into),
                        hop: refusal.hop,
                        first_bytes: refusal
                            .class
                            .map(|class| (class.as_str(), refusal.first_bytes.to_vec())),
                        header: refusal.header.map(Into::into),
                    };
                    self.audit.record(Event::PeernameReject(facts, record));
                }
                return;
            }
            Cause::Denied(denied) => match denied {
                Denied::Banned(name) => (ConnectReason::Banned, None, Some(name.clone())),
                Denied::Acl(place) => (ConnectReason::Acl, Some(place.clone()), None),
                Denied::Rate | Denied::HalfOpen => (ConnectReason::Rate, None, None),
                Denied::Draining => (ConnectReason::Shutdown, None, None),
                _ => (ConnectReason::Quota, None, None),
            },
            Cause::Full => (ConnectReason::Quota, None, None),
            Cause::Evicted => (ConnectReason::ServerBusy, None, None),
            Cause::Timeout => (ConnectReason::Timeout, None, None),
            Cause::Gone => return,
            _ => (ConnectReason::Protocol, None, None),
        };
        let mut record = Connect::new(reason);
        record.rule = rule;
        record.ban = ban;
        self.audit.record(Event::Connect(facts, record));
    }

    fn dispatch(&self, accepted: Accepted) {
        let shard = self.gate.next.fetch_add(1, Ordering::Relaxed) % self.inboxes.len();
        self.inboxes[shard].push(Mail::Accepted(accepted));
    }
}
