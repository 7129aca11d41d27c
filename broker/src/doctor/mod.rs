//! The doctor: what is wrong with addresses, proxies and configuration, from what really happens.
//!
//! Each connection is told to `accepted`, `refused` or `first_packet`; `peer`'s evaluator of the listener
//! makes D01 to D21 of it, and `proxies` the table of who stands before whom. All other findings (CFG, TLS,
//! BAN, QUO, AUD, ACL) are `own` and set by whoever sees them. What does not live here: the conditions and
//! texts of the D codes (`peer`) and how findings are printed (`ctl`).

pub mod own;
pub mod proxies;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use listeners::{Cause, Denied, Refusal};
use peer::{Code, Event, FirstBytes, ListenerFacts, Peer, Severity};

use crate::admin::views::{DoctorView, FindingBrief, FindingView, Level, ProxyView, Timestamp};
use crate::config::{Bind, ListenerConfig, Loaded, effective};
use crate::metrics::ListenerLevels;
pub use own::{Own, Topic};
use proxies::Proxies;

/// Own findings are logged again after this.
const HOUR_MS: u64 = 3_600_000;

/// The doctor of the whole broker. All calls are quick; a connection costs one lock at its begin and end.
#[derive(Debug)]
pub struct Doctors {
    start: Instant,
    listeners: Mutex<BTreeMap<String, Arc<Mutex<One>>>>,
    own: Mutex<OwnFindings>,
}

/// The doctor of one listener.
#[derive(Debug)]
struct One {
    config: ListenerConfig,
    doctor: peer::Doctor,
    proxies: Proxies,
}

#[derive(Debug, Default)]
struct OwnFindings {
    by_topic: BTreeMap<Topic, Vec<(Own, u64)>>,
    logged: HashMap<Own, u64>,
    /// The configuration whose rules were looked at.
    rules_of: Option<u64>,
}

impl Default for Doctors {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            listeners: Mutex::default(),
            own: Mutex::default(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Doctors {
    /// Takes the listeners of this configuration and its warnings; at start and after each reload. A listener
    /// whose settings did not change keeps what was seen on it.
    pub fn configure(&self, loaded: &Loaded) {
        let mut listeners = lock(&self.listeners);
        let mut old = std::mem::take(&mut *listeners);
        for config in &loaded.config.listeners {
            let kept = old.remove(&config.name).filter(|one| lock(one).config == *config);
            let one = kept.unwrap_or_else(|| Arc::new(Mutex::new(One::new(config, loaded))));
            lock(&one).proxies.trust(config, &loaded.values);
            listeners.insert(config.name.clone(), one);
        }
        drop(listeners);
        self.set(Topic::Config, own::of_config(&loaded.warnings));
    }

    /// Milliseconds since the doctor began.
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn with<T>(&self, listener: &str, work: impl FnOnce(&mut One, u64) -> T) -> Option<T> {
        let one = lock(&self.listeners).get(listener).map(Arc::clone)?;
        let result = work(&mut lock(&one), self.now());
        Some(result)
    }

    /// A connection told its client id in CONNECT. [`Doctors::closed`] is its counterpart.
    pub fn accepted(&self, listener: &str, peer: &Peer, client_id: &str) {
        let event = Event::accepted(peer, Some(client_id));
        self.with(listener, |one, now| {
            one.doctor.record(now, &event);
            one.proxies.opened(peer, wall());
        });
    }

    /// A connection that was accepted has ended.
    pub fn closed(&self, listener: &str, peer: &Peer) {
        self.with(listener, |one, _| one.proxies.closed(peer));
    }

    /// A connection's first packet was no CONNECT; `class` says what it looked like.
    pub fn first_packet(&self, listener: &str, peer: &Peer, class: Option<FirstBytes>) {
        let event = Event::ended(peer.socket(), Code::MqttFirstPacket, class);
        self.with(listener, |one, now| one.doctor.record(now, &event));
    }

    /// A connection ended before MQTT began.
    pub fn refused(&self, refusal: &Refusal<'_>) {
        let Some(code) = code_of(refusal.cause) else {
            return;
        };
        let mut event = match refusal.reject {
            Some(reject) => Event::rejected(refusal.socket, reject, refusal.class),
            None => Event::ended(refusal.socket, code, refusal.class),
        };
        event.same_address = refusal.same_address;
        self.with(refusal.listener, |one, now| {
            one.doctor.record(now, &event);
            if is_untrusted_sender(code) {
                one.proxies.unexpected(refusal.socket, wall());
            }
        });
    }

    /// Records an event as it is; the ways above make theirs from what they are given.
    pub fn record(&self, listener: &str, event: &Event) {
        self.with(listener, |one, now| one.doctor.record(now, event));
    }

    /// Replaces all own findings of a topic; none of it = all is well there.
    pub fn set(&self, topic: Topic, findings: Vec<Own>) {
        let now = self.now();
        let mut own = lock(&self.own);
        let old = own.by_topic.remove(&topic).unwrap_or_default();
        let since = |finding: &Own| {
            old.iter()
                .find(|(known, _)| known == finding)
                .map_or(now, |(_, since)| *since)
        };
        let new = findings
            .into_iter()
            .map(|finding| {
                let at = since(&finding);
                (finding, at)
            })
            .collect();
        own.by_topic.insert(topic, new);
    }

    /// Whether the rules of this configuration are still to be looked at; the answer is yes once.
    pub fn wants_rules(&self, generation: u64) -> bool {
        lock(&self.own).rules_of.replace(generation) != Some(generation)
    }

    /// Findings, worst first; of one listener if named (with those about none).
    pub fn findings(&self, listener: Option<&str>) -> DoctorView {
        let now = self.now();
        let wanted = |about: Option<&str>| listener.is_none() || about.is_none() || about == listener;
        let at = |ms: u64| Timestamp(wall().0.saturating_sub(now.saturating_sub(ms)));
        let mut findings = Vec::new();
        for finding in self.evaluate(now) {
            if wanted(Some(&finding.listener)) {
                findings.push(view(finding, &at));
            }
        }
        for (own, since) in lock(&self.own).by_topic.values().flatten() {
            if wanted(own.listener.as_deref()) {
                findings.push(own.view(at(*since)));
            }
        }
        findings.sort_by(|a, b| (b.level, &a.code, &a.listener).cmp(&(a.level, &b.code, &b.listener)));
        DoctorView { findings }
    }

    /// The worst finding, for `status`.
    pub fn worst(&self) -> Option<FindingBrief> {
        let worst = self.findings(None).findings.into_iter().next()?;
        Some(FindingBrief {
            code: worst.code,
            level: worst.level,
            message: worst.message,
        })
    }

    /// How many there are: info, warn, error.
    pub fn counts(&self) -> [u64; 3] {
        let mut counts = [0; 3];
        for finding in self.findings(None).findings {
            counts[finding.level as usize] += 1;
        }
        counts
    }

    /// All findings of the listeners; those that are new, or stood for another hour, go to the log.
    fn evaluate(&self, now: u64) -> Vec<peer::Finding> {
        let ones: Vec<_> = lock(&self.listeners).values().map(Arc::clone).collect();
        let findings: Vec<_> = ones
            .iter()
            .flat_map(|one| lock(one).doctor.evaluate(now))
            .collect();
        for finding in findings.iter().filter(|finding| finding.log) {
            log(level(finding.severity), finding.code.as_str(), &finding.text);
        }
        findings
    }

    /// To be called about once a minute: writes findings to the log, each when it is new and then hourly.
    pub fn tick(&self) {
        let now = self.now();
        self.evaluate(now);
        let mut own = lock(&self.own);
        let standing: Vec<Own> = own
            .by_topic
            .values()
            .flatten()
            .map(|(finding, _)| finding.clone())
            .collect();
        own.logged.retain(|finding, _| standing.contains(finding));
        for finding in standing {
            let due = own
                .logged
                .get(&finding)
                .is_none_or(|at| now.saturating_sub(*at) >= HOUR_MS);
            if due {
                log(finding.level, finding.code, &finding.message);
                own.logged.insert(finding, now);
            }
        }
    }

    /// The rows of `proxies`.
    pub fn proxies(&self) -> Vec<ProxyView> {
        let ones: Vec<_> = lock(&self.listeners)
            .iter()
            .map(|(name, one)| (name.clone(), Arc::clone(one)))
            .collect();
        ones.iter()
            .flat_map(|(name, one)| lock(one).proxies.rows(name, wall()))
            .collect()
    }

    /// Open connections by trust entry, distinct prefixes and sockets of each listener, for the metrics.
    pub fn levels(&self) -> BTreeMap<String, ListenerLevels> {
        let listeners = lock(&self.listeners);
        listeners
            .iter()
            .map(|(name, one)| (name.clone(), lock(one).proxies.levels()))
            .collect()
    }
}

impl One {
    fn new(config: &ListenerConfig, loaded: &Loaded) -> Self {
        let table = loaded
            .values
            .filled
            .get("listeners")
            .and_then(|l| l.get(&config.name)?.as_table());
        let problems =
            table.map(|table| effective::policy(table, config.transport, &loaded.values.filled).problems);
        let (bind, port) = match &config.bind {
            Bind::Tcp(address) => (address.to_string(), address.port()),
            Bind::Unix(path) => (format!("unix:{}", path.display()), 0),
        };
        let facts = ListenerFacts {
            name: config.name.clone(),
            bind,
            port,
            local_mode: loaded.local_mode,
        };
        Self {
            doctor: peer::Doctor::new(facts, &config.policy, &problems.unwrap_or_default()),
            proxies: Proxies::default(),
            config: config.clone(),
        }
    }
}

fn wall() -> Timestamp {
    SystemTime::now().into()
}

/// What the evaluator counts of a refusal; nothing if it says nothing about addresses or protocols.
fn code_of(cause: &Cause) -> Option<Code> {
    match cause {
        Cause::Peername(code, _) => Some(*code),
        Cause::Denied(Denied::Rate) => Some(Code::Rate),
        Cause::Denied(Denied::HalfOpen) => Some(Code::HalfOpen),
        Cause::Upgrade(_) => Some(Code::HttpBadRequest),
        Cause::Tls(_) => Some(Code::MqttFirstPacket),
        _ => None,
    }
}

/// The sender claimed addresses and is not listed.
fn is_untrusted_sender(code: Code) -> bool {
    matches!(
        code,
        Code::ProxyPeer | Code::ProxyUntrusted | Code::ProxyUnexpected | Code::HeaderUntrusted
    )
}

fn level(severity: Severity) -> Level {
    match severity {
        Severity::Error => Level::Error,
        Severity::Warn => Level::Warn,
        Severity::Info => Level::Info,
    }
}

fn view(finding: peer::Finding, at: &dyn Fn(u64) -> Timestamp) -> FindingView {
    let code = finding.code.as_str();
    FindingView {
        docs: format!("docs/peername.md#{}", code.to_lowercase()),
        code: code.to_owned(),
        level: level(finding.severity),
        listener: Some(finding.listener),
        message: finding.text,
        snippets: finding.snippets,
        first_seen: Some(at(finding.first_ms)),
        last_seen: Some(at(finding.last_ms)),
    }
}

fn log(level: Level, code: &str, text: &str) {
    match level {
        Level::Error => tracing::error!(finding = code, "{code} {text}"),
        Level::Warn => tracing::warn!(finding = code, "{code} {text}"),
        Level::Info => tracing::info!(finding = code, "{code} {text}"),
    }
}

#[cfg(test)]
mod tests;
