//! A route: everybody who gets a message on one topic, overlaps merged, sorted by shard; and the cache of routes.
//!
//! What does not live here: finding the filters (`trie.rs`), sending (`shard`).

use std::sync::Arc;

use hashbrown::HashMap;

use super::shared::SharedGroup;
use super::trie::{SessionRef, Subscription, Trie};

/// Options byte: No Local.
pub const NO_LOCAL: u8 = 0b100;
/// Options byte: Retain As Published.
pub const RETAIN_AS_PUBLISHED: u8 = 0b1000;
const QOS: u8 = 0b11;

/// The Subscription Identifiers of one delivery ([MQTT-3.3.4-3] to [MQTT-3.3.4-5]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Identifiers {
    /// None of the matching subscriptions has one.
    #[default]
    None,
    /// One has.
    One(u32),
    /// Several have.
    Many(Box<[u32]>),
}

impl Identifiers {
    /// As a slice.
    pub fn as_slice(&self) -> &[u32] {
        match self {
            Self::None => &[],
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(ids) => ids,
        }
    }

    fn push(&mut self, id: u32) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(id),
            Self::One(first) => Self::Many(Box::new([first, id])),
            Self::Many(ids) => Self::Many(ids.iter().copied().chain([id]).collect()),
        };
    }
}

/// One receiver: overlapping subscriptions of a session are one target at the highest QoS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Place on its home shard.
    pub slot: u32,
    /// Serial of the session there.
    pub serial: u32,
    /// Highest QoS in bits 0-1; No Local only if every match has it; Retain As Published if any has it.
    pub options: u8,
    /// Identifiers of all matching subscriptions.
    pub identifiers: Identifiers,
}

impl Target {
    /// A target of a single subscription.
    pub fn of(sub: &Subscription) -> Self {
        let identifiers = if sub.id == 0 {
            Identifiers::None
        } else {
            Identifiers::One(sub.id)
        };
        Self {
            slot: sub.session.slot,
            serial: sub.session.serial,
            options: sub.options,
            identifiers,
        }
    }

    fn merge(&mut self, sub: &Subscription) {
        let qos = (self.options & QOS).max(sub.options & QOS);
        let no_local = self.options & sub.options & NO_LOCAL;
        let as_published = (self.options | sub.options) & RETAIN_AS_PUBLISHED;
        self.options = qos | no_local | as_published;
        if sub.id != 0 {
            self.identifiers.push(sub.id);
        }
    }

    /// Highest QoS granted, 0 to 2.
    pub fn qos(&self) -> u8 {
        self.options & QOS
    }
}

/// Everybody who gets a message on one topic.
#[derive(Debug, Default)]
pub struct Route {
    /// Router generation this was computed at.
    pub generation: u64,
    /// Targets by home shard.
    pub shards: Box<[Box<[Target]>]>,
    /// Shared groups; each chooses one member per message.
    pub groups: Box<[Arc<SharedGroup>]>,
}

impl Route {
    /// Computes the route of `topic`.
    pub fn compute(trie: &Trie, topic: &str, shards: usize, generation: u64) -> Self {
        let mut subs: Vec<Subscription> = Vec::new();
        let mut groups = Vec::new();
        trie.matches(topic, |plain, shared| {
            subs.extend_from_slice(plain);
            groups.extend(shared.iter().cloned());
        });
        subs.sort_unstable_by_key(|s| (s.session, s.id));
        let mut by_shard: Vec<Vec<Target>> = vec![Vec::new(); shards];
        let mut last: Option<SessionRef> = None;
        for sub in &subs {
            let Some(list) = by_shard.get_mut(usize::from(sub.session.shard)) else {
                continue;
            };
            match list.last_mut() {
                Some(target) if last == Some(sub.session) => target.merge(sub),
                _ => list.push(Target::of(sub)),
            }
            last = Some(sub.session);
        }
        let shards = by_shard.into_iter().map(Vec::into_boxed_slice).collect();
        Self {
            generation,
            shards,
            groups: groups.into(),
        }
    }

    /// True if nobody gets the message.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.shards.iter().all(|targets| targets.is_empty())
    }
}

/// A shard's routes by topic, two generations of entries: what was not used while one filled up is dropped.
#[derive(Debug, Default)]
pub struct RouteCache {
    young: HashMap<Box<str>, Arc<Route>, foldhash::fast::RandomState>,
    old: HashMap<Box<str>, Arc<Route>, foldhash::fast::RandomState>,
}

/// Topics a cache keeps, at most twice this.
const CACHED_TOPICS: usize = 8192;

impl RouteCache {
    /// The route of `topic` if it is cached and of this `generation`.
    pub fn get(&mut self, topic: &str, generation: u64) -> Option<Arc<Route>> {
        if let Some(route) = self.young.get(topic) {
            return (route.generation == generation).then(|| Arc::clone(route));
        }
        let (topic, route) = self.old.remove_entry(topic)?;
        if route.generation != generation {
            return None;
        }
        let kept = Arc::clone(&route);
        self.make_room();
        self.young.insert(topic, route);
        Some(kept)
    }

    /// Keeps a route.
    pub fn insert(&mut self, topic: &str, route: Arc<Route>) {
        if let Some(old) = self.young.get_mut(topic) {
            *old = route;
            return;
        }
        self.make_room();
        self.young.insert(topic.into(), route);
    }

    fn make_room(&mut self) {
        if self.young.len() >= CACHED_TOPICS {
            self.old = std::mem::take(&mut self.young);
        }
    }
}
