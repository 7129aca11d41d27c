//! How other threads reach a shard: one queue of messages, taken whole, with one wake-up per batch.
//!
//! What does not live here: what the messages do (`mod.rs`).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::Shard;
use super::attach::Login;
use crate::router::route::{Route, Target};
use crate::router::trie::SessionRef;
use crate::session::message::Message;

/// Bytes of messages from other shards above which their publishers are made to wait.
pub const CROSSING_HIGH: usize = 8 * 1024 * 1024;

/// A message on its way from one shard to another.
#[derive(Debug)]
pub struct Crossing {
    /// What was published.
    pub message: Arc<Message>,
    /// Who gets it there.
    pub to: Receivers,
    /// Whose packet it came in.
    pub from: Option<SessionRef>,
    /// Where the store has it; 0 = nowhere.
    pub mid: u64,
    /// For whom the store has it: numbers of sessions, in the order of the targets, 0 = not for that one; empty = for
    /// nobody.
    pub kept: Vec<u64>,
}

/// Who gets a crossing message.
#[derive(Debug)]
pub enum Receivers {
    /// The targets of the route that live on the receiving shard.
    Route(Arc<Route>),
    /// One, chosen from a shared group.
    One(Target),
}

/// Work done on a shard's own thread for somebody else.
pub type Task = Box<dyn FnOnce(&mut Shard) + Send>;

/// What a shard can be sent.
pub enum Mail {
    /// A socket that was accepted for it.
    Accepted(listeners::Accepted),
    /// A client that has logged in and whose session lives here.
    Login(Box<Login>),
    /// Messages for its sessions.
    Messages(Vec<Crossing>),
    /// Anything else.
    Task(Task),
}

/// A shard's mailbox.
#[derive(Default)]
pub struct Inbox {
    mail: Mutex<Vec<Mail>>,
    crossing: AtomicUsize,
    notify: Notify,
}

impl Inbox {
    /// Puts one piece of mail in.
    pub fn push(&self, mail: Mail) {
        if let Mail::Messages(messages) = &mail {
            let bytes: usize = messages.iter().map(|m| m.message.size() as usize + 64).sum();
            self.crossing.fetch_add(bytes, Ordering::Relaxed);
        }
        let first = {
            let mut queue = self.mail.lock().unwrap_or_else(PoisonError::into_inner);
            queue.push(mail);
            queue.len() == 1
        };
        if first {
            self.notify.notify_one();
        }
    }

    /// Runs `task` on the shard's thread.
    pub fn run(&self, task: impl FnOnce(&mut Shard) + Send + 'static) {
        self.push(Mail::Task(Box::new(task)));
    }

    /// Runs `task` on the shard's thread and waits for what it returns; `None` if the shard has stopped.
    pub async fn ask<T: Send + 'static>(
        &self,
        task: impl FnOnce(&mut Shard) -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = tokio::sync::oneshot::channel();
        self.run(move |shard| {
            // The asker may have gone away meanwhile.
            let _ = answer.send(task(shard));
        });
        answered.await.ok()
    }

    /// True if so much waits here that publishers must wait too.
    pub fn is_full(&self) -> bool {
        self.crossing.load(Ordering::Relaxed) > CROSSING_HIGH
    }

    /// Waits for mail and takes all of it.
    pub async fn take(&self) -> Vec<Mail> {
        loop {
            let mail = self.take_now();
            if !mail.is_empty() {
                return mail;
            }
            self.notify.notified().await;
        }
    }

    /// Takes what is there.
    pub fn take_now(&self) -> Vec<Mail> {
        let mail = std::mem::take(&mut *self.mail.lock().unwrap_or_else(PoisonError::into_inner));
        if mail.iter().any(|m| matches!(m, Mail::Messages(_))) {
            self.crossing.store(0, Ordering::Relaxed);
        }
        mail
    }
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox")
            .field("crossing", &self.crossing)
            .finish_non_exhaustive()
    }
}
