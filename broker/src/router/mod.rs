//! The router: who gets a message on a topic. One trie for the whole broker behind a lock that only
//! subscribing and cache misses take; every shard keeps the routes it uses and checks them by generation.
//!
//! What does not live here: sending (`shard`), sessions (`session`), permission (`auth`).

pub mod retained;
pub mod route;
pub mod shared;
pub mod trie;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use route::{Route, RouteCache};
use shared::SharedGroup;
use trie::{FilterId, SessionRef, Subscription, Trie};

/// The subscriptions of the whole broker.
#[derive(Debug)]
pub struct Router {
    trie: RwLock<Trie>,
    generation: AtomicU64,
    shared_members: AtomicU64,
    shards: usize,
}

impl Router {
    /// For so many shards.
    pub fn new(shards: usize) -> Self {
        Self {
            trie: RwLock::default(),
            generation: AtomicU64::new(1),
            shared_members: AtomicU64::new(0),
            shards,
        }
    }

    /// Adds or replaces a subscription. Returns the filter's handle and whether the subscription is new.
    pub fn subscribe(&self, filter: &str, sub: Subscription) -> (FilterId, bool) {
        let mut trie = self.trie.write().unwrap_or_else(PoisonError::into_inner);
        let done = trie.insert(filter, sub);
        self.generation.fetch_add(1, Ordering::Release);
        done
    }

    /// Takes a subscription away; false if there was none.
    pub fn unsubscribe(&self, filter: FilterId, who: SessionRef) -> bool {
        let mut trie = self.trie.write().unwrap_or_else(PoisonError::into_inner);
        let gone = trie.remove(filter, who);
        self.generation.fetch_add(1, Ordering::Release);
        gone
    }

    /// Adds or replaces a member of the group `name` on `filter`.
    pub fn join(&self, name: &str, filter: &str, sub: Subscription) -> (FilterId, bool) {
        let mut trie = self.trie.write().unwrap_or_else(PoisonError::into_inner);
        let (at, group) = trie.group(filter, name, || SharedGroup::new(name));
        let new = group.join(sub, true);
        self.shared_members.fetch_add(u64::from(new), Ordering::Relaxed);
        self.generation.fetch_add(1, Ordering::Release);
        (at, new)
    }

    /// Takes a member out of a group, and the group away with its last one; false if it was no member.
    pub fn leave(&self, name: &str, filter: FilterId, who: SessionRef) -> bool {
        let mut trie = self.trie.write().unwrap_or_else(PoisonError::into_inner);
        let Some(group) = trie.find_group(filter, name) else {
            return false;
        };
        let gone = group.leave(who);
        self.shared_members.fetch_sub(u64::from(gone), Ordering::Relaxed);
        trie.drop_group_if_empty(filter, name);
        self.generation.fetch_add(1, Ordering::Release);
        gone
    }

    /// Notes that a member of a group came or went.
    pub fn set_online(&self, name: &str, filter: FilterId, who: SessionRef, online: bool) {
        let trie = self.trie.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(group) = trie.find_group(filter, name) {
            group.set_online(who, online);
        }
    }

    /// The route of `topic`, from `cache` if it is still true.
    pub fn route(&self, topic: &str, cache: &mut RouteCache) -> Arc<Route> {
        let generation = self.generation.load(Ordering::Acquire);
        if let Some(route) = cache.get(topic, generation) {
            return route;
        }
        let trie = self.trie.read().unwrap_or_else(PoisonError::into_inner);
        // Read again under the lock: nobody can change the trie now, so the route is true for this number.
        let generation = self.generation.load(Ordering::Acquire);
        let route = Arc::new(Route::compute(&trie, topic, self.shards, generation));
        drop(trie);
        cache.insert(topic, Arc::clone(&route));
        route
    }

    /// The text of a filter.
    pub fn text(&self, filter: FilterId) -> String {
        self.trie
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .text(filter)
    }

    /// The handle of a filter, if anybody uses it.
    pub fn find(&self, filter: &str) -> Option<FilterId> {
        self.trie
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .find(filter)
    }

    /// Number of plain subscriptions and of members of shared groups.
    pub fn totals(&self) -> (u64, u64) {
        let plain = self.trie.read().unwrap_or_else(PoisonError::into_inner).len() as u64;
        (plain, self.shared_members.load(Ordering::Relaxed))
    }

    /// Every filter with the number of its plain and shared subscribers, in no order; for listings.
    pub fn filters(&self) -> Vec<(String, usize, usize)> {
        let mut all = Vec::new();
        let trie = self.trie.read().unwrap_or_else(PoisonError::into_inner);
        trie.for_each(|filter, plain, groups| {
            all.push((filter, plain.len(), groups.iter().map(|g| g.len()).sum()));
        });
        all
    }
}
