//! Sessions, retained messages, Wills and queues read back from the store at start.
//!
//! What does not live here: reading files (`store`), writing records (`durable.rs`).

use std::collections::HashMap;
use std::sync::Arc;

use codec::Version;

use super::Shard;
use super::subscribe::Wanted;
use crate::router::route::Identifiers;
use crate::router::trie::Subscription;
use crate::session::inflight::{Inflight, Stage};
use crate::session::message::{Message, Publication};
use crate::session::queue::Queued;
use crate::session::subscribe::Entry;
use crate::session::will::Will;
use crate::session::{Link, Session};
use crate::store::{self, Body, Rec};

/// What was read back, before it is given to the shards.
#[derive(Debug, Default)]
pub struct Restored {
    sessions: HashMap<u64, Kept>,
    /// Retained messages.
    pub retained: Vec<Arc<Message>>,
    /// Bans, as key and value.
    pub bans: Vec<(String, Vec<u8>)>,
    orphans: Vec<(u64, Will)>,
}

/// One session as it was kept.
#[derive(Debug)]
pub struct Kept {
    sid: u64,
    client_id: Arc<str>,
    username: Option<Arc<str>>,
    expiry: u32,
    clean_start: bool,
    version: Version,
    created_at: u64,
    connected_at: u64,
    disconnected_at: u64,
    subscriptions: Vec<(String, u8, u32)>,
    will: Option<(Will, u64)>,
    messages: Vec<(Queued, store::Stage)>,
    received: Vec<u16>,
}

fn message_of(body: &Body<'_>) -> Arc<Message> {
    let mut publication = Publication::new(body.topic, body.properties, body.payload);
    publication.qos = body.qos;
    publication.retain = body.retain;
    publication.expires_at = body.expires_at;
    publication.share()
}

fn identifiers(ids: &[u32]) -> Identifiers {
    match ids {
        [] => Identifiers::None,
        [id] => Identifiers::One(*id),
        many => Identifiers::Many(many.into()),
    }
}

impl Restored {
    /// Takes one record; they come in the order that `store` describes.
    pub fn take(&mut self, record: Rec<'_>) {
        match record {
            Rec::SessionPut(rec) => {
                self.sessions.insert(rec.sid, Kept::of(&rec));
            }
            Rec::SubPut {
                sid,
                filter,
                options,
                identifier,
            } => {
                if let Some(session) = self.sessions.get_mut(&sid) {
                    session
                        .subscriptions
                        .push((filter.to_owned(), options, identifier));
                }
            }
            Rec::WillPut { sid, will } => {
                let (will, due) = (will_of(&will), will.due_at);
                match self.sessions.get_mut(&sid) {
                    Some(session) => session.will = Some((will, due)),
                    None => self.orphans.push((sid, will)),
                }
            }
            Rec::RetainPut(body) => self.retained.push(message_of(&body)),
            Rec::BanPut { key, value } => self.bans.push((key.to_owned(), value.to_vec())),
            Rec::MsgEnq { mid, body, targets } => self.enqueue(mid, &body, targets),
            Rec::In2 { sid, pid } => {
                if let Some(session) = self.sessions.get_mut(&sid) {
                    session.received.push(pid);
                }
            }
            // What deletes is resolved before it comes here.
            _ => {}
        }
    }

    fn enqueue(&mut self, mid: u64, body: &Body<'_>, targets: Vec<store::Target>) {
        let message = message_of(body);
        for target in targets {
            let Some(session) = self.sessions.get_mut(&target.sid) else {
                continue;
            };
            let item = Queued {
                message: Arc::clone(&message),
                qos: target.qos,
                retain: target.retain,
                identifiers: identifiers(&target.identifiers),
                stored: mid,
            };
            session.messages.push((item, target.stage));
        }
    }

    /// Number of sessions.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Deals the sessions out to so many shards by their client ids.
    pub fn deal(&mut self, shards: usize, home: impl Fn(&Arc<str>) -> u16) -> Vec<Vec<Kept>> {
        let mut dealt: Vec<Vec<Kept>> = (0..shards).map(|_| Vec::new()).collect();
        for (_, session) in self.sessions.drain() {
            let shard = usize::from(home(&session.client_id)) % shards;
            dealt[shard].push(session);
        }
        dealt
    }

    /// Wills of sessions that were not kept: their clients are gone, so they are due.
    pub fn orphans(&mut self) -> Vec<(u64, Will)> {
        std::mem::take(&mut self.orphans)
    }
}

fn will_of(rec: &store::WillRec<'_>) -> Will {
    Will {
        topic: rec.topic.into(),
        payload: rec.payload.into(),
        properties: rec.properties.into(),
        qos: rec.qos,
        retain: rec.retain,
        delay: rec.delay,
        expiry: rec.expiry,
    }
}

impl Kept {
    fn of(rec: &store::SessionRec<'_>) -> Self {
        Self {
            sid: rec.sid,
            client_id: rec.client_id.into(),
            username: rec.username.map(Into::into),
            expiry: rec.expiry,
            clean_start: rec.clean_start,
            version: match rec.version {
                3 => Version::V31,
                4 => Version::V311,
                _ => Version::V5,
            },
            created_at: rec.created_at,
            connected_at: rec.connected_at,
            disconnected_at: rec.disconnected_at,
            subscriptions: Vec::new(),
            will: None,
            messages: Vec::new(),
            received: Vec::new(),
        }
    }
}

impl Shard {
    /// Takes its sessions back, their clients being away.
    pub fn restore(&mut self, sessions: Vec<Kept>) {
        for kept in sessions {
            self.restore_one(kept);
        }
    }

    /// Lets time go on for what was restored, once every shard has its sessions: a Will that is due has its receivers.
    pub fn resume_time(&mut self) {
        for who in self.everybody() {
            self.watch_expiry(who);
            if let Some(due) = self.client(who).and_then(|c| c.session.will_due) {
                self.timers.set(due, who, super::timers::Deadline::Will);
            }
        }
    }

    fn restore_one(&mut self, kept: Kept) {
        let now = self.now;
        let me = self.reserve();
        let mut session = Session::restored(kept.client_id, me, kept.sid, kept.created_at);
        session.kept = true;
        session.username = kept.username;
        session.expiry = kept.expiry;
        session.clean_start = kept.clean_start;
        session.link = Link {
            version: kept.version,
            ..Link::default()
        };
        session.connected_at = kept.connected_at;
        // Whoever was connected when the broker stopped has been away since now.
        let was_connected = kept.disconnected_at == 0;
        session.disconnected_at = if was_connected { now } else { kept.disconnected_at };
        session.awaiting_rel = kept.received.into();
        for (item, stage) in kept.messages {
            let outbound = session.outbound.get_or_insert_default();
            match stage {
                store::Stage::Queued => outbound.queue.restore(item),
                store::Stage::Published(pid) => {
                    outbound
                        .window
                        .restore(Inflight::restored(pid, Stage::Published, item));
                }
                store::Stage::Released(pid) => {
                    outbound
                        .window
                        .restore(Inflight::restored(pid, Stage::Released, item));
                }
            }
        }
        if let Some((will, due)) = kept.will {
            let delay = u64::from(will.delay.min(kept.expiry)) * 1000;
            let due = if due > 0 { due } else { now + delay };
            session.will = Some(Box::new(will));
            session.will_due = Some(due);
        }
        self.place(session, None);
        for (text, options, id) in kept.subscriptions {
            self.restore_subscription(me, &Wanted::parse(&text), options, id);
        }
        self.tell_kept(me);
        if was_connected {
            // From now on it is known when its client went.
            self.remember_session(me);
        }
    }

    fn restore_subscription(
        &mut self,
        me: crate::router::trie::SessionRef,
        wanted: &Wanted<'_>,
        options: u8,
        id: u32,
    ) {
        let sub = Subscription {
            session: me,
            id,
            options,
        };
        let filter = match wanted.share {
            Some(name) => {
                let (filter, _) = self.node.router.join(name, wanted.filter, sub);
                self.node.router.set_online(name, filter, me, false);
                filter
            }
            None => self.node.router.subscribe(wanted.filter, sub).0,
        };
        if let Some(client) = self.client(me) {
            let share = wanted.share.map(Into::into);
            client.session.subscriptions.insert(Entry {
                filter,
                share,
                options,
                id,
            });
        }
    }
}
