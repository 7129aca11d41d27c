//! Which shard a client id lives on, as long as anything of it lives.
//!
//! What does not live here: the sessions themselves (`shard`).

use std::sync::Arc;

use dashmap::DashMap;

/// Client id -> home shard.
#[derive(Debug, Default)]
pub struct Registry {
    homes: DashMap<Arc<str>, u16, foldhash::fast::RandomState>,
}

impl Registry {
    /// The home of `client_id`; `shard` becomes it if there is none.
    pub fn claim(&self, client_id: &Arc<str>, shard: u16) -> u16 {
        if let Some(home) = self.homes.get(client_id) {
            return *home;
        }
        *self.homes.entry(Arc::clone(client_id)).or_insert(shard)
    }

    /// Nothing of the client id is left on `shard`.
    pub fn release(&self, client_id: &str, shard: u16) {
        self.homes.remove_if(client_id, |_, home| *home == shard);
    }

    /// The home of `client_id`, if it has one.
    pub fn home(&self, client_id: &str) -> Option<u16> {
        self.homes.get(client_id).map(|home| *home)
    }

    /// Number of client ids with a home.
    pub fn len(&self) -> usize {
        self.homes.len()
    }

    /// True if no client id has a home.
    pub fn is_empty(&self) -> bool {
        self.homes.is_empty()
    }
}
