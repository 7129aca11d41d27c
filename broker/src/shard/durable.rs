//! What a shard writes to the store, and the answers that wait until the disk has it.
//!
//! Only the home shard of a session writes about it. What does not live here: records and files (`store`), reading
//! them back (`restore.rs`). With a store that keeps nothing all of this costs a test of one flag.

use std::collections::VecDeque;

use listeners::OutBuf;
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
}

impl Due {
    fn is_nothing(self) -> bool {
        self.state == Ticket::DONE && self.queue == Ticket::DONE
    }
}

/// What waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// An answer.
    Answer,
    /// An answer to a publication that counts against the client's Receive Maximum until then.
    Publication,
    /// Packets of QoS 2 exchanges; counted already.
    Held,
}

/// Bytes for a client that wait.
#[derive(Debug)]
struct Owed {
    due: Due,
    who: SessionRef,
    number: u64,
    kind: Kind,
    bytes: SmallVec<[u8; 16]>,
}

/// All bytes that wait, in the order in which they are to be sent.
#[derive(Debug, Default)]
pub struct Debts {
    list: VecDeque<Owed>,
}

/// A publication that was sent to a client at once.
#[derive(Clone, Copy, Debug)]
pub struct SentNow {
    /// The client's session.
    pub sid: u64,
    /// The message.
    pub mid: u64,
    /// The packet identifier it got.
    pub packet_id: u16,
}

/// What the publication at hand leaves on disk, gathered to be written as one.
#[derive(Debug, Default)]
pub struct Enqueue {
    /// The message, by number: who of those that are kept gets it. A session that gets it twice, by itself and as a
    /// member of a shared group, has two numbers.
    messages: Vec<(u64, Vec<Target>)>,
    /// To whom it was sent at once.
    pub sent: Vec<SentNow>,
    /// Packets that wait for the disk themselves, with the connection's number.
    pub held: Vec<(SessionRef, u64, Vec<u8>)>,
    /// The publisher's session and packet identifier, if it is QoS 2 and the session is kept.
    pub received: Option<(u64, u16)>,
    /// What is over: sessions and messages.
    pub over: Vec<(u64, u64)>,
}

impl Enqueue {
    /// Notes that a session gets the message with this number.
    pub fn note(&mut self, mid: u64, target: Target) {
        match self.messages.last_mut() {
            Some((last, targets)) if *last == mid => targets.push(target),
            _ => self.messages.push((mid, vec![target])),
        }
    }

    /// Notes that the session's client was sent messages, each with its packet identifier.
    pub fn note_sent(&mut self, sid: u64, sent: &[(u64, u16)]) {
        self.sent.extend(
            sent.iter()
                .map(|&(mid, packet_id)| SentNow { sid, mid, packet_id }),
        );
    }

    fn is_nothing(&self) -> bool {
        self.messages.is_empty() && self.sent.is_empty() && self.received.is_none() && self.over.is_empty()
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
    pub(super) fn room_to_keep(&mut self, publisher: SessionRef, publication: &Publication<'_>) -> bool {
        match self.node.store.room() {
            Room::Free => true,
            Room::Slow => {
                self.pause(publisher, std::time::Duration::from_millis(20));
                true
            }
            Room::Full => {
                let retained = publication.retain && !publication.payload.is_empty();
                !retained && !self.has_kept_receivers(publication)
            }
        }
    }

    /// Writes the message at hand for all who are noted; the ticket.
    pub(super) fn write_enqueued(&mut self, publication: &Publication<'_>) -> Ticket {
        if self.enqueue.is_nothing() {
            return Ticket::DONE;
        }
        let Enqueue {
            messages,
            sent,
            held,
            received,
            over,
        } = std::mem::take(&mut self.enqueue);
        let messages = messages.into_iter().map(|(mid, targets)| Rec::MsgEnq {
            mid,
            body: body_of(publication),
            targets,
        });
        let received = received.into_iter().map(|(sid, pid)| Rec::In2 { sid, pid });
        let sent = sent.into_iter().map(|s| Rec::Out {
            sid: s.sid,
            mid: s.mid,
            pid: s.packet_id,
            released: false,
        });
        let over = over.into_iter().map(|(sid, mid)| Rec::Ack { sid, mid });
        let records: Vec<_> = messages.chain(received).chain(sent).chain(over).collect();
        let ticket = self.append(Log::Queue, &records);
        for (who, number, bytes) in held {
            self.send_when_written(who, number, ticket, bytes);
        }
        ticket
    }

    /// Sends bytes when the Queue log has come so far, after all that waits already for this client.
    fn send_when_written(&mut self, who: SessionRef, number: u64, queue: Ticket, bytes: Vec<u8>) {
        let due = Due {
            queue,
            ..Due::default()
        };
        let client = self.client(who);
        let Some(conn) = client
            .and_then(|c| c.conn.as_mut())
            .filter(|c| c.number == number)
        else {
            return;
        };
        if due.is_nothing() && conn.owed == 0 {
            conn.out.buffer_mut().extend_from_slice(&bytes);
            self.touch(who.slot);
            return;
        }
        conn.owed += 1;
        self.debts.list.push_back(Owed {
            due,
            who,
            number,
            kind: Kind::Held,
            bytes: SmallVec::from_vec(bytes),
        });
    }

    /// Sends packets of QoS 2 exchanges when everything written to the Queue log until now is on disk: a client must
    /// not meet a packet identifier that the broker does not know after a crash.
    pub(super) fn hold_until_written(&mut self, who: SessionRef, mut held: OutBuf) {
        if held.is_empty() {
            return;
        }
        let Some(number) = self.client(who).and_then(|c| c.conn.as_ref()).map(|c| c.number) else {
            return;
        };
        let bytes = std::mem::take(held.buffer_mut());
        let ticket = self.node.store.last(Log::Queue);
        self.send_when_written(who, number, ticket, bytes);
    }

    /// The answer to the packet at hand waits for this ticket too.
    pub(super) fn owe_queue(&mut self, ticket: Ticket) {
        self.due.queue = self.due.queue.max(ticket);
    }

    fn owe_state(&mut self, ticket: Ticket) {
        self.due.state = self.due.state.max(ticket);
    }

    /// Answers the packet at hand: at once, or when the disk has what it caused and all answers before are sent.
    pub(super) fn answer(&mut self, who: SessionRef, encode: impl FnOnce(&mut Vec<u8>)) {
        self.answer_as(who, false, encode);
    }

    /// The same; `publication` = until it is sent, a publication counts against the client's Receive Maximum that is
    /// counted nowhere else.
    pub(super) fn answer_as(
        &mut self,
        who: SessionRef,
        publication: bool,
        encode: impl FnOnce(&mut Vec<u8>),
    ) {
        let due = std::mem::take(&mut self.due);
        let Some(conn) = self.client(who).and_then(|c| c.conn.as_mut()) else {
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
        if let Some(client) = self.client(who).filter(|_| publication) {
            client.session.unacknowledged = client.session.unacknowledged.saturating_add(1);
        }
        self.debts.list.push_back(Owed {
            due,
            who,
            number,
            kind: if publication {
                Kind::Publication
            } else {
                Kind::Answer
            },
            bytes: SmallVec::from_vec(bytes),
        });
    }

    /// A packet with this first byte goes to the client.
    pub(super) fn count_sent(&mut self, who: SessionRef, first: u8) {
        if let Some(conn) = self.client(who).and_then(|c| c.conn.as_ref()) {
            conn.counters.packets_sent[usize::from(first >> 4)].inc();
        }
    }

    /// The packet at hand is done; what it did not answer, nobody waits for.
    pub(super) fn settle_unanswered(&mut self) {
        self.due = Due::default();
    }

    /// Sends the answers whose time has come.
    pub fn settle_debts(&mut self) {
        while let Some(owed) = self.debts.list.front() {
            let store = &self.node.store;
            let due = owed.due;
            if !store.is_done(Log::State, due.state) || !store.is_done(Log::Queue, due.queue) {
                return;
            }
            let Some(Owed {
                who,
                number,
                kind,
                bytes,
                ..
            }) = self.debts.list.pop_front()
            else {
                return;
            };
            let Some(client) = self.client(who) else { continue };
            let Some(conn) = client.conn.as_mut().filter(|conn| conn.number == number) else {
                continue;
            };
            conn.owed -= 1;
            client.session.unacknowledged -= u16::from(kind == Kind::Publication);
            conn.out.buffer_mut().extend_from_slice(&bytes);
            if let Some(first) = bytes.first().filter(|_| kind != Kind::Held) {
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

    /// A QoS 2 message is about to be taken over from a client: if its session is kept, that is written together with
    /// the message, and PUBREC waits for both and for the session itself.
    pub(super) fn will_receive(&mut self, who: SessionRef, pid: u16) {
        let Some(sid) = self.kept(who) else { return };
        self.enqueue.received = Some((sid, pid));
        let put = self.client(who).and_then(|c| c.conn.as_ref()).map(|c| c.put);
        self.owe_state(put.unwrap_or_default());
    }

    /// A QoS 2 message was taken over from a client without being delivered.
    pub(super) fn note_received(&mut self, who: SessionRef, pid: u16) {
        if let Some(sid) = self.kept(who) {
            let ticket = self.append(Log::Queue, &[Rec::In2 { sid, pid }]);
            self.owe_queue(ticket);
        }
    }

    /// Its PUBREL has come: PUBCOMP waits until that is on disk, for the client may then use the packet identifier for
    /// another message.
    pub(super) fn forget_received(&mut self, who: SessionRef, pid: u16) {
        if let Some(sid) = self.kept(who) {
            let ticket = self.append(Log::Queue, &[Rec::In2Del { sid, pid }]);
            self.owe_queue(ticket);
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
            if was || persistent {
                self.tell_kept(who);
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
            let ticket = node.store.append(Log::State, &[Rec::SessionPut(record)]);
            if let Some(conn) = &mut client.conn {
                conn.put = ticket;
            }
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

    /// Tells the other shards whether the session is kept.
    pub(super) fn tell_kept(&mut self, who: SessionRef) {
        let sid = self.kept(who).unwrap_or(0);
        self.node.kept[usize::from(self.index)].set(who, sid);
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
            self.node.kept[usize::from(self.index)].set(who, 0);
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
            let put = |now: &Message| std::ptr::eq(now, message);
            if !self
                .node
                .retained
                .get(message.topic(), 0)
                .is_some_and(|now| put(&now))
            {
                self.retain_again(message.topic());
            }
        }
    }

    /// A topic has no retained message any more.
    pub fn forget_retained(&mut self, topic: &str) {
        if self.keeps() {
            let ticket = self.append(Log::State, &[Rec::RetainDel { topic }]);
            self.owe_state(ticket);
            if self.node.retained.get(topic, 0).is_some() {
                self.retain_again(topic);
            }
        }
    }

    /// Another shard was at the same topic at the same time: what is retained now is what counts.
    fn retain_again(&mut self, topic: &str) {
        let now = self.node.retained.get(topic, 0);
        let record = match &now {
            Some(message) => Rec::RetainPut(stored_body(message)),
            None => Rec::RetainDel { topic },
        };
        let ticket = self.append(Log::State, &[record]);
        self.owe_state(ticket);
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
