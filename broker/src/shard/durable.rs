//! What a shard writes to the store, and the answers that wait until the disk has it.
//!
//! Only the home shard of a session writes about it. What does not live here: records and files (`store`), reading
//! them back (`restore.rs`). With a store that keeps nothing all of this costs a test of one flag.

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::Shard;
use super::subscribe::Wanted;
use crate::router::trie::SessionRef;
use crate::session::Session;
use crate::session::message::{Message, Publication};
use crate::session::queue::Queued;
use crate::session::will::Will;
use crate::store::{Body, Log, Rec, Room, SessionRec, Target, Ticket, WillRec};

/// What has to be on disk before the packet at hand is answered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Due {
    state: Ticket,
    queue: Ticket,
    /// Other shards that still have to say what they wrote.
    remote: u32,
}

impl Due {
    fn is_nothing(self) -> bool {
        self.remote == 0 && self.state == Ticket::DONE && self.queue == Ticket::DONE
    }
}

/// An answer that waits.
#[derive(Debug)]
struct Owed {
    due: Due,
    who: SessionRef,
    number: u64,
    bytes: SmallVec<[u8; 16]>,
}

/// All answers that wait, in the order in which they are to be sent.
#[derive(Debug, Default)]
pub struct Debts {
    list: VecDeque<Owed>,
    first: u64,
}

/// The message at hand, as far as it is for sessions that are kept.
#[derive(Debug, Default)]
pub struct Enqueue {
    /// Its number; 0 = nobody who is kept gets it.
    pub mid: u64,
    /// Who gets it.
    pub targets: Vec<Target>,
    /// Packet identifiers of those to whom it was sent at once.
    pub sent: Vec<(u64, u16)>,
}

impl Enqueue {
    /// Notes that a session gets the message, and the packet identifier if it was sent at once.
    pub fn note(&mut self, target: Target, packet_id: Option<u16>) {
        if let Some(packet_id) = packet_id {
            self.sent.push((target.sid, packet_id));
        }
        self.targets.push(target);
    }
}

fn body_of<'a>(publication: &'a Publication<'_>) -> Body<'a> {
    Body {
        topic: publication.topic,
        properties: publication.properties,
        payload: publication.payload,
        qos: publication.qos,
        retain: publication.retain,
        expires_at: publication.expires_at,
    }
}

fn will_rec(will: &Will, due_at: u64) -> WillRec<'_> {
    WillRec {
        topic: &will.topic,
        properties: &will.properties,
        payload: &will.payload,
        qos: will.qos,
        retain: will.retain,
        delay: will.delay,
        expiry: will.expiry,
        due_at,
    }
}

impl Shard {
    /// Whether anything is kept on disk.
    pub(super) fn keeps(&self) -> bool {
        self.node.store.is_persistent()
    }

    fn append(&self, log: Log, records: &[Rec<'_>]) -> Ticket {
        self.node.store.append(log, records)
    }

    /// Whether the store takes another message that it would have to keep; slows the publisher down if need be.
    pub(super) fn room_to_keep(&mut self, publisher: SessionRef) -> bool {
        match self.node.store.room() {
            Room::Free => true,
            Room::Slow => {
                self.pause(publisher, std::time::Duration::from_millis(20));
                true
            }
            Room::Full => false,
        }
    }

    /// Writes the message at hand for all who are noted; the ticket.
    pub(super) fn write_enqueued(&mut self, publication: &Publication<'_>) -> Ticket {
        let Enqueue { mid, targets, sent } = std::mem::take(&mut self.enqueue);
        if targets.is_empty() {
            return Ticket::DONE;
        }
        let mut records = vec![Rec::MsgEnq {
            mid,
            body: body_of(publication),
            targets,
        }];
        records.extend(sent.into_iter().map(|(sid, pid)| Rec::Out {
            sid,
            mid,
            pid,
            released: false,
        }));
        self.append(Log::Queue, &records)
    }

    /// The answer to the packet at hand waits for this ticket too.
    pub(super) fn owe_queue(&mut self, ticket: Ticket) {
        self.due.queue = self.due.queue.max(ticket);
    }

    fn owe_state(&mut self, ticket: Ticket) {
        self.due.state = self.due.state.max(ticket);
    }

    /// The answer waits for another shard; the number under which that shard is to report.
    pub(super) fn owe_remote(&mut self) -> u64 {
        self.due.remote += 1;
        self.debts.first + self.debts.list.len() as u64
    }

    /// Another shard has written what was owed to it.
    pub(super) fn remote_wrote(&mut self, debt: u64, ticket: Ticket) {
        let at = debt.wrapping_sub(self.debts.first) as usize;
        if let Some(owed) = self.debts.list.get_mut(at) {
            owed.due.remote = owed.due.remote.saturating_sub(1);
            owed.due.queue = owed.due.queue.max(ticket);
        }
    }

    /// Answers the packet at hand: at once, or when the disk has what it caused and all answers before are sent.
    pub(super) fn answer(&mut self, who: SessionRef, encode: impl FnOnce(&mut Vec<u8>)) {
        let due = std::mem::take(&mut self.due);
        let Some(conn) = self.client(who).and_then(|c| c.conn.as_mut()) else {
            if due.remote > 0 {
                // Keeps the numbers in step with those the other shards were told.
                self.debts.list.push_back(Owed {
                    due,
                    who,
                    number: 0,
                    bytes: SmallVec::new(),
                });
            }
            return;
        };
        if due.is_nothing() && conn.owed == 0 {
            let mut first = None;
            if let Some(out) = self.out(who.slot) {
                let bytes = out.buffer_mut();
                let at = bytes.len();
                encode(bytes);
                first = bytes.get(at).copied();
            }
            if let Some(first) = first {
                self.count_sent(who, first);
            }
            return;
        }
        conn.owed += 1;
        let number = conn.number;
        let mut bytes = Vec::with_capacity(16);
        encode(&mut bytes);
        if let Some(client) = self.client(who) {
            client.session.unacknowledged = client.session.unacknowledged.saturating_add(1);
        }
        self.debts.list.push_back(Owed {
            due,
            who,
            number,
            bytes: SmallVec::from_vec(bytes),
        });
    }

    /// A packet with this first byte goes to the client.
    pub(super) fn count_sent(&mut self, who: SessionRef, first: u8) {
        if let Some(conn) = self.client(who).and_then(|c| c.conn.as_ref()) {
            conn.counters.packets_sent[usize::from(first >> 4)].inc();
        }
    }

    /// Nothing answers the packet at hand, but other shards may have been told a number.
    pub(super) fn settle_unanswered(&mut self, who: SessionRef) {
        if self.due.remote > 0 {
            let due = std::mem::take(&mut self.due);
            self.debts.list.push_back(Owed {
                due,
                who,
                number: 0,
                bytes: SmallVec::new(),
            });
        }
        self.due = Due::default();
    }

    /// Sends the answers whose time has come.
    pub fn settle_debts(&mut self) {
        while let Some(owed) = self.debts.list.front() {
            let store = &self.node.store;
            let due = owed.due;
            if due.remote > 0
                || !store.is_done(Log::State, due.state)
                || !store.is_done(Log::Queue, due.queue)
            {
                return;
            }
            self.debts.first += 1;
            let Some(Owed {
                who, number, bytes, ..
            }) = self.debts.list.pop_front()
            else {
                return;
            };
            let Some(client) = self.client(who) else { continue };
            let Some(conn) = client.conn.as_mut().filter(|conn| conn.number == number) else {
                continue;
            };
            conn.owed -= 1;
            client.session.unacknowledged = client.session.unacknowledged.saturating_sub(1);
            conn.out.buffer_mut().extend_from_slice(&bytes);
            if let Some(first) = bytes.first() {
                conn.counters.packets_sent[usize::from(first >> 4)].inc();
            }
            self.touch(who.slot);
        }
    }

    /// The session needs a message no more.
    pub(super) fn forget(&self, sid: u64, item: &Queued) {
        if item.stored > 0 {
            self.append(
                Log::Queue,
                &[Rec::Ack {
                    sid,
                    mid: item.stored,
                }],
            );
        }
    }

    /// The exchange of a stored message is over.
    pub(super) fn forget_message(&self, sid: u64, mid: u64) {
        if mid > 0 {
            self.append(Log::Queue, &[Rec::Ack { sid, mid }]);
        }
    }

    /// Messages from the queue got packet identifiers.
    pub(super) fn note_sent(&self, sid: u64, sent: &[(u64, u16)]) {
        let records: Vec<_> = sent
            .iter()
            .map(|&(mid, pid)| Rec::Out {
                sid,
                mid,
                pid,
                released: false,
            })
            .collect();
        if !records.is_empty() {
            self.append(Log::Queue, &records);
        }
    }

    /// PUBREC has come: PUBREL waits until that is on disk.
    pub(super) fn note_released(&mut self, sid: u64, mid: u64, pid: u16) {
        if mid > 0 {
            let ticket = self.append(
                Log::Queue,
                &[Rec::Out {
                    sid,
                    mid,
                    pid,
                    released: true,
                }],
            );
            self.owe_queue(ticket);
        }
    }

    /// A QoS 2 message was taken over from a client whose session is kept.
    pub(super) fn note_received(&mut self, who: SessionRef, pid: u16) {
        if let Some(sid) = self.kept(who) {
            let ticket = self.append(Log::Queue, &[Rec::In2 { sid, pid }]);
            self.owe_queue(ticket);
        }
    }

    /// Its PUBREL has come.
    pub(super) fn forget_received(&mut self, who: SessionRef, pid: u16) {
        if let Some(sid) = self.kept(who) {
            self.append(Log::Queue, &[Rec::In2Del { sid, pid }]);
        }
    }

    /// The number of a session that is kept on disk.
    fn kept(&mut self, who: SessionRef) -> Option<u64> {
        let session = &self.client(who)?.session;
        session.kept.then_some(session.sid)
    }

    /// Writes the session, if it outlives its connection; removes it if it does so no more.
    pub(super) fn remember_session(&mut self, who: SessionRef) {
        if !self.keeps() {
            return;
        }
        let node = std::sync::Arc::clone(&self.node);
        let now_kept = {
            let Some(client) = self.client(who) else { return };
            let persistent = client.session.is_persistent();
            let was = std::mem::replace(&mut client.session.kept, persistent);
            if was && !persistent {
                let sid = client.session.sid;
                self.append(Log::State, &[Rec::SessionDel { sid }]);
                self.append(Log::Queue, &[Rec::SessionDel { sid }]);
            }
            persistent
        };
        let Some(client) = self.client(who) else { return };
        let (sid, due) = (client.session.sid, client.session.will_due.unwrap_or(0));
        let will = client.session.will.clone();
        if now_kept {
            let peername = match (&client.conn, &client.session.last_seen) {
                (Some(conn), _) => conn.peer.peername().addr().to_string(),
                (None, Some(last)) => last.peer.peername().addr().to_string(),
                (None, None) => String::new(),
            };
            let record = session_rec(&client.session, &peername, client.conn.is_some());
            node.store.append(Log::State, &[Rec::SessionPut(record)]);
        }
        if let Some(will) = &will {
            self.append(
                Log::State,
                &[Rec::WillPut {
                    sid,
                    will: will_rec(will, due),
                }],
            );
        }
    }

    /// The session's Will was published or discarded.
    pub(super) fn forget_will(&self, sid: u64) {
        if self.keeps() {
            self.append(Log::State, &[Rec::WillDel { sid }]);
        }
    }

    /// The session has ended.
    pub(super) fn forget_session(&mut self, who: SessionRef) {
        if let Some(sid) = self.kept(who) {
            self.append(Log::State, &[Rec::SessionDel { sid }]);
            self.append(Log::Queue, &[Rec::SessionDel { sid }]);
        }
    }

    /// A subscription was made or changed; its SUBACK waits.
    pub(super) fn remember_subscription(
        &mut self,
        who: SessionRef,
        wanted: &Wanted<'_>,
        options: u8,
        id: u32,
    ) {
        if let Some(sid) = self.kept(who) {
            let filter = wanted.text();
            let record = Rec::SubPut {
                sid,
                filter: &filter,
                options,
                identifier: id,
            };
            let ticket = self.append(Log::State, &[record]);
            self.owe_state(ticket);
        }
    }

    /// A subscription was removed.
    pub(super) fn forget_subscription(&mut self, who: SessionRef, wanted: &Wanted<'_>) {
        if let Some(sid) = self.kept(who) {
            let filter = wanted.text();
            let ticket = self.append(Log::State, &[Rec::SubDel { sid, filter: &filter }]);
            self.owe_state(ticket);
        }
    }

    /// A message was retained; the publisher's answer waits.
    pub(super) fn remember_retained(&mut self, message: &Message) {
        if self.keeps() {
            let ticket = self.append(Log::State, &[Rec::RetainPut(stored_body(message))]);
            self.owe_state(ticket);
        }
    }

    /// A topic has no retained message any more.
    pub(super) fn forget_retained(&mut self, topic: &str) {
        if self.keeps() {
            let ticket = self.append(Log::State, &[Rec::RetainDel { topic }]);
            self.owe_state(ticket);
        }
    }
}

fn stored_body(message: &Message) -> Body<'_> {
    Body {
        topic: message.topic(),
        properties: message.properties(),
        payload: message.payload(),
        qos: message.qos,
        retain: message.retain,
        expires_at: message.expires_at,
    }
}

fn session_rec<'a>(session: &'a Session, peername: &'a str, connected: bool) -> SessionRec<'a> {
    SessionRec {
        sid: session.sid,
        client_id: &session.client_id,
        username: session.username.as_deref(),
        peername,
        expiry: session.expiry,
        clean_start: session.clean_start,
        version: session.link.version.level(),
        created_at: session.created_at,
        connected_at: session.connected_at,
        disconnected_at: if connected { 0 } else { session.disconnected_at },
    }
}
