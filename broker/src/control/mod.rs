//! The control thread's side of the administration: the running broker behind `admin::backend::Backend`.
//!
//! It owns no client; it asks the shards and puts their copies together. What does not live here: HTTP, JSON and
//! text (`admin`, `ctl`).

mod backend;
mod bans;
mod certificates;
mod clients;
mod conf;
mod feeds;
mod findings;
mod quotas;
mod reload;
mod rules;
mod sessions;
mod state;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::watch;

use crate::config::Loaded;
use crate::logging::Logging;
use crate::node::Node;

/// A listener that was started, and how it is told to stop accepting.
#[derive(Debug)]
pub struct Door {
    /// What its connections share.
    pub listener: Arc<listeners::Listener>,
    /// Whether it accepts.
    pub accepting: watch::Sender<bool>,
}

/// The running broker, as the administration sees it.
pub struct Control {
    node: Arc<Node>,
    doors: Mutex<Vec<Door>>,
    loaded: Mutex<Loaded>,
    logging: Option<Logging>,
    /// Reloads come one after the other.
    reloading: tokio::sync::Mutex<()>,
    /// Why new certificates were not taken, by listener.
    refused_certificates: Mutex<BTreeMap<String, String>>,
    /// Itself, for work that outlives a call.
    me: Weak<Self>,
}

impl Control {
    /// Of a broker that has started.
    pub fn new(node: Arc<Node>, doors: Vec<Door>, loaded: Loaded, logging: Option<Logging>) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            node,
            doors: Mutex::new(doors),
            loaded: Mutex::new(loaded),
            logging,
            reloading: tokio::sync::Mutex::new(()),
            refused_certificates: Mutex::default(),
            me: Weak::clone(me),
        })
    }

    /// The configuration in force.
    fn loaded(&self) -> Loaded {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_loaded(&self, loaded: Loaded) {
        *self.loaded.lock().unwrap_or_else(PoisonError::into_inner) = loaded;
    }

    /// What the shards share.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Where the listener of that name really listens.
    pub fn local(&self, name: &str) -> Option<listeners::Bind> {
        let doors = self.doors();
        let door = doors.iter().find(|door| *door.listener.spec().name == *name)?;
        Some(door.listener.local().clone())
    }

    /// No listener accepts any more.
    pub fn stop_accepting(&self) {
        for door in self.doors().iter() {
            door.accepting.send_replace(false);
        }
    }

    /// The listeners that were started.
    pub fn listeners(&self) -> Vec<Arc<listeners::Listener>> {
        self.doors()
            .iter()
            .map(|door| Arc::clone(&door.listener))
            .collect()
    }

    fn doors(&self) -> std::sync::MutexGuard<'_, Vec<Door>> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
