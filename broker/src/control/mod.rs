//! The control thread's side of the administration: the running broker behind [`Backend`].
//!
//! It owns no client; it asks the shards and puts their copies together. What does not live here: HTTP, JSON and
//! text (`admin`, `ctl`).

mod backend;
mod clients;
mod feeds;
mod findings;
mod rules;
mod sessions;
mod state;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

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
}

impl Control {
    /// Of a broker that has started.
    pub fn new(node: Arc<Node>, doors: Vec<Door>) -> Arc<Self> {
        Arc::new(Self {
            node,
            doors: Mutex::new(doors),
        })
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

    fn doors(&self) -> std::sync::MutexGuard<'_, Vec<Door>> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
