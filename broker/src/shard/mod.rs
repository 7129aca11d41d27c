//! A shard: one thread that owns its connections and sessions and does all their work.
//!
//! Everything of a shard is in [`Shard`], reached on its own thread through [`with`]; nothing in it is locked.
//! Other threads send [`inbox::Mail`]. What does not live here: what a session is (`session`), who gets a
//! message (`router`), sockets (`listeners`). `docs/decisions/002-runtime.md` says why it is so.

pub mod answers;
pub mod attach;
pub mod conn;
pub mod connack;
pub mod durable;
pub mod end;
pub mod inbox;
pub mod kept;
pub mod login;
pub mod packets;
pub mod permission;
pub mod pressure;
pub mod publish;
pub mod reauth;
pub mod records;
pub mod restore;
pub mod retained;
pub mod serve;
pub mod subscribe;
pub mod sweep;
pub mod timers;
pub mod traced;
pub mod views;

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use crate::node::{Node, Snapshot};
use crate::router::route::RouteCache;
use crate::router::trie::SessionRef;
use crate::session::Session;
use crate::session::publish_out::Frames;
use conn::Conn;
use durable::{Debts, Due, Enqueue};
use inbox::{Crossing, Mail};
use sweep::Sweep;
use timers::Timers;

/// A session and, while its client is there, its connection.
#[derive(Debug)]
pub struct Client {
    /// The session.
    pub session: Session,
    /// The connection.
    pub conn: Option<Box<Conn>>,
}

/// What a shard owns.
pub struct Shard {
    /// Which one this is.
    pub index: u16,
    /// What all shards share.
    pub node: Arc<Node>,
    /// The configuration in force, as of the last reload this shard has seen.
    pub snapshot: Arc<Snapshot>,
    /// ms since 1970, as of the work at hand.
    pub now: u64,
    clients: Vec<Option<Client>>,
    free: Vec<u32>,
    by_id: HashMap<Arc<str>, u32, foldhash::fast::RandomState>,
    next_serial: u32,
    next_conn: u64,
    routes: RouteCache,
    frames: Frames,
    scratch: Vec<u8>,
    spare: Vec<Vec<u8>>,
    dirty: Vec<u32>,
    /// By slot and connection: up to where in its stream a running trace has shown what was sent.
    traced: HashMap<(u32, u64), u64>,
    unflushed: usize,
    /// Publications routed so far, to time some of them.
    routed: u32,
    crossing: Vec<Vec<Crossing>>,
    timers: Timers,
    due: Due,
    debts: Debts,
    enqueue: Enqueue,
    sweep: Sweep,
}

thread_local! {
    static SHARD: RefCell<Option<Box<Shard>>> = const { RefCell::new(None) };
}

/// Does `work` on this thread's shard, then writes to every connection it touched and hands over what is for
/// other shards. `None` on a thread without a shard, or once it has stopped.
///
/// Must not be nested; nothing inside waits.
pub fn with<T>(work: impl FnOnce(&mut Shard) -> T) -> Option<T> {
    SHARD.with_borrow_mut(|cell| {
        let shard = cell.as_mut()?;
        shard.now = shard.node.clock.now();
        let done = work(shard);
        shard.finish();
        Some(done)
    })
}

impl Shard {
    fn new(index: u16, node: Arc<Node>) -> Self {
        let snapshot = node.snapshot.load_full();
        let shards = node.inboxes.len();
        let now = node.clock.now();
        Self {
            index,
            snapshot,
            now,
            clients: Vec::new(),
            free: Vec::new(),
            by_id: HashMap::default(),
            next_serial: 1,
            next_conn: 1,
            routes: RouteCache::default(),
            frames: Frames::default(),
            scratch: Vec::new(),
            spare: Vec::new(),
            dirty: Vec::new(),
            traced: HashMap::new(),
            unflushed: 0,
            routed: 0,
            crossing: (0..shards).map(|_| Vec::new()).collect(),
            timers: Timers::default(),
            due: Due::default(),
            debts: Debts::default(),
            enqueue: Enqueue::default(),
            sweep: Sweep::default(),
            node,
        }
    }

    /// The client in `slot`, if it still is the one with this serial.
    pub fn client(&mut self, who: SessionRef) -> Option<&mut Client> {
        if who.shard != self.index {
            return None;
        }
        let client = self.clients.get_mut(who.slot as usize)?.as_mut()?;
        (client.session.me.serial == who.serial).then_some(client)
    }

    /// The client with this id.
    pub fn client_by_id(&mut self, client_id: &str) -> Option<&mut Client> {
        let slot = *self.by_id.get(client_id)?;
        self.clients.get_mut(slot as usize)?.as_mut()
    }

    /// Every client of this shard.
    pub fn clients(&self) -> impl Iterator<Item = &Client> {
        self.clients.iter().flatten()
    }

    /// Where every client lives; for work that changes them one after the other.
    pub fn everybody(&self) -> Vec<SessionRef> {
        self.clients().map(|c| c.session.me).collect()
    }

    fn at(&mut self, slot: u32) -> Option<&mut Client> {
        self.clients.get_mut(slot as usize)?.as_mut()
    }

    /// Reserves a place for a session.
    fn reserve(&mut self) -> SessionRef {
        let slot = self.free.pop().unwrap_or_else(|| {
            if self.clients.len() == self.clients.capacity() {
                // By an eighth, not by half: with many clients the difference is megabytes.
                self.clients.reserve_exact((self.clients.len() / 8).max(64));
            }
            self.clients.push(None);
            self.clients.len() as u32 - 1
        });
        let serial = self.next_serial;
        self.next_serial = self.next_serial.wrapping_add(1).max(1);
        SessionRef {
            shard: self.index,
            slot,
            serial,
        }
    }

    fn place(&mut self, session: Session, conn: Option<Box<Conn>>) {
        let slot = session.me.slot;
        self.by_id.insert(Arc::clone(&session.client_id), slot);
        self.clients[slot as usize] = Some(Client { session, conn });
    }

    fn vacate(&mut self, slot: u32) -> Option<Client> {
        let client = self.clients.get_mut(slot as usize)?.take()?;
        self.by_id.remove(&client.session.client_id);
        self.free.push(slot);
        Some(client)
    }

    /// Writes to every touched connection and hands over what is for other shards.
    fn finish(&mut self) {
        self.flush_dirty();
        for (shard, messages) in self.crossing.iter_mut().enumerate() {
            if !messages.is_empty() {
                self.node.inboxes[shard].push(Mail::Messages(std::mem::take(messages)));
            }
        }
    }

    fn receive(&mut self, mail: Mail) {
        match mail {
            Mail::Accepted(accepted) => {
                let node = Arc::clone(&self.node);
                tokio::spawn(login::login(node, self.index, accepted));
            }
            Mail::Login(login) => self.attach(*login),
            Mail::Messages(messages) => {
                for crossing in messages {
                    self.arrive(&crossing);
                }
            }
            Mail::Task(task) => task(self),
        }
    }
}

/// Runs shard `index` on this thread until the node stops.
pub fn run(index: u16, node: &Arc<Node>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    SHARD.set(Some(Box::new(Shard::new(index, Arc::clone(node)))));
    runtime.block_on(async {
        let inbox = &node.inboxes[usize::from(index)];
        let mut tick = tokio::time::interval(timers::TICK);
        loop {
            let mail = tokio::select! {
                mail = inbox.take() => mail,
                _ = tick.tick() => {
                    with(Shard::tick);
                    continue;
                }
                () = node.stopped() => break,
            };
            with(|shard| mail.into_iter().for_each(|piece| shard.receive(piece)));
        }
        // What was asked for before the stop is still answered.
        with(|shard| {
            inbox
                .take_now()
                .into_iter()
                .for_each(|piece| shard.receive(piece));
        });
    });
    SHARD.set(None);
    Ok(())
}
