//! What is written: the records of both logs and their encoding.
//!
//! A record is `length | tag | fields`; integers are varints (LEB128), texts and bytes have their length
//! in front. Not here: single fields (`fields`), frames and checksums (`frame`), which records are still alive (`index`).

use smallvec::SmallVec;

pub(super) use super::fields::Fields;
use super::fields::{bytes, put};

/// How far the delivery of a message to one session has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// It waits in the queue.
    #[default]
    Queued,
    /// PUBLISH was sent with this packet identifier; its PUBACK or PUBREC is awaited.
    Published(u16),
    /// PUBREC has come (QoS 2): PUBREL is owed, PUBCOMP awaited.
    Released(u16),
}

/// One session that is to get a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The session.
    pub sid: u64,
    /// QoS of this delivery, 1 or 2.
    pub qos: u8,
    /// Retain flag of this delivery.
    pub retain: bool,
    /// Subscription identifiers of this delivery.
    pub identifiers: SmallVec<[u32; 2]>,
    /// How far it is; `Queued` when it is first written.
    pub stage: Stage,
}

/// A message as the store keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Body<'a> {
    /// The topic it was published to.
    pub topic: &'a str,
    /// Forwardable MQTT 5 properties, encoded, without their length.
    pub properties: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
    /// QoS it was published with.
    pub qos: u8,
    /// Retain flag it was published with.
    pub retain: bool,
    /// When it expires, in ms since 1970; `u64::MAX` = never.
    pub expires_at: u64,
}

/// A session without its subscriptions, Will and messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionRec<'a> {
    /// Number of this lifetime of the session, never reused ([`super::StoreHandle::next_sid`]).
    pub sid: u64,
    /// Its client id.
    pub client_id: &'a str,
    /// The name it was authenticated with, or gave.
    pub username: Option<&'a str>,
    /// The peername of its last connection, as `ip:port`.
    pub peername: &'a str,
    /// Session Expiry Interval, seconds.
    pub expiry: u32,
    /// Clean Start of its last CONNECT.
    pub clean_start: bool,
    /// Protocol level of its last CONNECT: 3, 4 or 5.
    pub version: u8,
    /// When it began, in ms since 1970.
    pub created_at: u64,
    /// When its last connection began.
    pub connected_at: u64,
    /// When its last connection ended; 0 = it is (or was, when the broker stopped) connected.
    pub disconnected_at: u64,
}

/// A Will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WillRec<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Forwardable MQTT 5 properties, encoded, without their length.
    pub properties: &'a [u8],
    /// Payload.
    pub payload: &'a [u8],
    /// QoS.
    pub qos: u8,
    /// Retain flag.
    pub retain: bool,
    /// Will Delay Interval, seconds.
    pub delay: u32,
    /// Message Expiry Interval, seconds.
    pub expiry: Option<u32>,
    /// When it is due, in ms since 1970; 0 while the client is connected.
    pub due_at: u64,
}

/// A record. The first half goes to [`super::Log::State`], the second to [`super::Log::Queue`];
/// `SessionDel` goes to both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rec<'a> {
    /// A session began or changed.
    SessionPut(SessionRec<'a>),
    /// A session ended, with all that belongs to it in that log.
    SessionDel {
        /// The session.
        sid: u64,
    },
    /// A subscription was made or changed.
    SubPut {
        /// The session.
        sid: u64,
        /// The filter as subscribed, with `$share/NAME/` if shared.
        filter: &'a str,
        /// Options byte of SUBSCRIBE.
        options: u8,
        /// Subscription Identifier, 0 = none.
        identifier: u32,
    },
    /// A subscription was removed.
    SubDel {
        /// The session.
        sid: u64,
        /// The filter.
        filter: &'a str,
    },
    /// A Will was set or has become due. Also for sessions that are not kept: then without `SessionPut`.
    WillPut {
        /// The session.
        sid: u64,
        /// The Will.
        will: WillRec<'a>,
    },
    /// A Will was removed or published.
    WillDel {
        /// The session.
        sid: u64,
    },
    /// The retained message of a topic.
    RetainPut(Body<'a>),
    /// The topic has no retained message any more.
    RetainDel {
        /// The topic.
        topic: &'a str,
    },
    /// A ban.
    BanPut {
        /// What it is against.
        key: &'a str,
        /// The ban, in its room's own form.
        value: &'a [u8],
    },
    /// A ban was lifted.
    BanDel {
        /// What it was against.
        key: &'a str,
    },

    /// A message for sessions; written once however many they are.
    MsgEnq {
        /// Its number ([`super::StoreHandle::next_mid`]); a queue's order is the order of its numbers.
        mid: u64,
        /// The message.
        body: Body<'a>,
        /// Who is to get it; not empty, each session once.
        targets: Vec<Target>,
    },
    /// A session needs the message no more: acknowledged, expired, or dropped.
    Ack {
        /// The session.
        sid: u64,
        /// The message.
        mid: u64,
    },
    /// A delivery got its packet identifier, or was released (PUBREC).
    Out {
        /// The session.
        sid: u64,
        /// The message.
        mid: u64,
        /// Its packet identifier.
        pid: u16,
        /// PUBREC has come.
        released: bool,
    },
    /// A QoS 2 packet identifier of the client is in use.
    In2 {
        /// The session.
        sid: u64,
        /// The packet identifier.
        pid: u16,
    },
    /// PUBREL has come.
    In2Del {
        /// The session.
        sid: u64,
        /// The packet identifier.
        pid: u16,
    },
}

/// Tags; never reuse one.
pub(super) mod tag {
    pub(in crate::store) const SESSION_PUT: u8 = 1;
    pub(in crate::store) const SESSION_DEL: u8 = 2;
    pub(in crate::store) const SUB_PUT: u8 = 3;
    pub(in crate::store) const SUB_DEL: u8 = 4;
    pub(in crate::store) const WILL_PUT: u8 = 5;
    pub(in crate::store) const WILL_DEL: u8 = 6;
    pub(in crate::store) const RETAIN_PUT: u8 = 7;
    pub(in crate::store) const RETAIN_DEL: u8 = 8;
    pub(in crate::store) const BAN_PUT: u8 = 9;
    pub(in crate::store) const BAN_DEL: u8 = 10;
    pub(in crate::store) const MSG_ENQ: u8 = 32;
    pub(in crate::store) const ACK: u8 = 33;
    pub(in crate::store) const OUT: u8 = 34;
    pub(in crate::store) const IN2: u8 = 35;
    pub(in crate::store) const IN2_DEL: u8 = 36;
}

/// Appends the record with its length.
pub(super) fn encode(out: &mut Vec<u8>, rec: &Rec<'_>) {
    // Room for the length: one byte where the record is short, else four (a varint may be padded), so
    // that a payload need not be moved once the length is known.
    let bulk = matches!(
        rec,
        Rec::MsgEnq { .. }
            | Rec::RetainPut(_)
            | Rec::WillPut { .. }
            | Rec::SessionPut(_)
            | Rec::BanPut { .. }
    );
    let (start, room) = (out.len(), if bulk { 4 } else { 1 });
    out.resize(start + room, 0);
    fields(out, rec);
    let len = out.len() - start - room;
    match out.get_mut(start..start + room) {
        Some([b]) if len < 0x80 => *b = len as u8,
        Some([a, b, c, d]) if len < 1 << 28 => {
            (*a, *b, *c) = (
                len as u8 | 0x80,
                (len >> 7) as u8 | 0x80,
                (len >> 14) as u8 | 0x80,
            );
            *d = (len >> 21) as u8;
        }
        _ => {
            let mut exact = Vec::with_capacity(10);
            put(&mut exact, len as u64);
            out.splice(start..start + room, exact);
        }
    }
}

fn fields(out: &mut Vec<u8>, rec: &Rec<'_>) {
    match rec {
        Rec::SessionPut(s) => session(out, s),
        Rec::SessionDel { sid } => ids(out, tag::SESSION_DEL, &[*sid]),
        Rec::SubPut {
            sid,
            filter,
            options,
            identifier,
        } => {
            ids(
                out,
                tag::SUB_PUT,
                &[*sid, u64::from(*options), u64::from(*identifier)],
            );
            bytes(out, filter.as_bytes());
        }
        Rec::SubDel { sid, filter } => {
            ids(out, tag::SUB_DEL, &[*sid]);
            bytes(out, filter.as_bytes());
        }
        Rec::WillPut { sid, will: w } => will(out, *sid, w),
        Rec::WillDel { sid } => ids(out, tag::WILL_DEL, &[*sid]),
        Rec::RetainPut(b) => {
            out.push(tag::RETAIN_PUT);
            body(out, b);
        }
        Rec::RetainDel { topic } => {
            out.push(tag::RETAIN_DEL);
            out.extend_from_slice(topic.as_bytes());
        }
        Rec::BanPut { key, value } => {
            out.push(tag::BAN_PUT);
            bytes(out, key.as_bytes());
            out.extend_from_slice(value);
        }
        Rec::BanDel { key } => {
            out.push(tag::BAN_DEL);
            out.extend_from_slice(key.as_bytes());
        }
        Rec::MsgEnq {
            mid,
            body: b,
            targets,
        } => {
            ids(out, tag::MSG_ENQ, &[*mid, targets.len() as u64]);
            for t in targets {
                target(out, t);
            }
            body(out, b);
        }
        Rec::Ack { sid, mid } => ids(out, tag::ACK, &[*sid, *mid]),
        Rec::Out {
            sid,
            mid,
            pid,
            released,
        } => {
            ids(
                out,
                tag::OUT,
                &[*sid, *mid, u64::from(*pid), u64::from(*released)],
            );
        }
        Rec::In2 { sid, pid } => ids(out, tag::IN2, &[*sid, u64::from(*pid)]),
        Rec::In2Del { sid, pid } => ids(out, tag::IN2_DEL, &[*sid, u64::from(*pid)]),
    }
}

fn ids(out: &mut Vec<u8>, tag: u8, numbers: &[u64]) {
    out.push(tag);
    for n in numbers {
        put(out, *n);
    }
}

fn will(out: &mut Vec<u8>, sid: u64, w: &WillRec<'_>) {
    let flags = u64::from(w.qos & 3) | u64::from(w.retain) << 2 | u64::from(w.expiry.is_some()) << 3;
    let expiry = u64::from(w.expiry.unwrap_or(0));
    ids(
        out,
        tag::WILL_PUT,
        &[sid, flags, u64::from(w.delay), expiry, w.due_at],
    );
    bytes(out, w.topic.as_bytes());
    bytes(out, w.properties);
    out.extend_from_slice(w.payload);
}

fn session(out: &mut Vec<u8>, s: &SessionRec<'_>) {
    out.push(tag::SESSION_PUT);
    let flags = u64::from(s.clean_start) | u64::from(s.username.is_some()) << 1;
    let numbers = [
        s.sid,
        flags,
        u64::from(s.version),
        u64::from(s.expiry),
        s.created_at,
        s.connected_at,
        s.disconnected_at,
    ];
    for n in numbers {
        put(out, n);
    }
    for text in [s.client_id, s.username.unwrap_or(""), s.peername] {
        bytes(out, text.as_bytes());
    }
}

/// QoS in bits 0-1, retain in bit 2, the stage in bits 3-4, the number of identifiers above.
fn target(out: &mut Vec<u8>, t: &Target) {
    let (stage, pid) = match t.stage {
        Stage::Queued => (0, None),
        Stage::Published(pid) => (1, Some(pid)),
        Stage::Released(pid) => (2, Some(pid)),
    };
    put(out, t.sid);
    put(
        out,
        u64::from(t.qos & 3) | u64::from(t.retain) << 2 | stage << 3 | (t.identifiers.len() as u64) << 5,
    );
    if let Some(pid) = pid {
        put(out, u64::from(pid));
    }
    for id in &t.identifiers {
        put(out, u64::from(*id));
    }
}

/// QoS in bits 0-1, retain in bit 2, whether it expires in bit 3. The payload is the rest of the record.
fn body(out: &mut Vec<u8>, b: &Body<'_>) {
    let expires = b.expires_at != u64::MAX;
    put(
        out,
        u64::from(b.qos & 3) | u64::from(b.retain) << 2 | u64::from(expires) << 3,
    );
    if expires {
        put(out, b.expires_at);
    }
    bytes(out, b.topic.as_bytes());
    bytes(out, b.properties);
    out.extend_from_slice(b.payload);
}

impl<'a> Fields<'a> {
    fn target(&mut self) -> Option<Target> {
        let sid = self.number()?;
        let flags = self.number()?;
        let stage = match flags >> 3 & 3 {
            0 => Stage::Queued,
            1 => Stage::Published(self.small()?),
            2 => Stage::Released(self.small()?),
            _ => return None,
        };
        let mut identifiers = SmallVec::new();
        for _ in 0..flags >> 5 {
            identifiers.push(self.small()?);
        }
        Some(Target {
            sid,
            qos: (flags & 3) as u8,
            retain: flags & 4 != 0,
            identifiers,
            stage,
        })
    }

    fn body(&mut self) -> Option<Body<'a>> {
        let flags = self.number()?;
        let expires_at = if flags & 8 == 0 { u64::MAX } else { self.number()? };
        Some(Body {
            qos: (flags & 3) as u8,
            retain: flags & 4 != 0,
            expires_at,
            topic: self.text()?,
            properties: self.bytes()?,
            payload: self.rest(),
        })
    }

    /// The topic of a body; cheaper than all of it.
    pub(super) fn body_topic(&mut self) -> Option<&'a [u8]> {
        if self.number()? & 8 != 0 {
            self.number()?;
        }
        self.bytes()
    }
}

/// Reads number and targets of a `MsgEnq` whose tag was read; the body is what is left.
pub(super) fn message_head(f: &mut Fields<'_>) -> Option<(u64, Vec<Target>)> {
    let (mid, n) = (f.number()?, f.number()?);
    // Each target takes two bytes at least.
    if n > f.0.len() as u64 / 2 {
        return None;
    }
    Some((mid, (0..n).map(|_| f.target()).collect::<Option<_>>()?))
}

/// Appends a record as it is.
pub(super) fn copy(out: &mut Vec<u8>, record: &[u8]) {
    bytes(out, record);
}

/// Appends a message with other targets and the encoded body of the old record.
pub(super) fn copy_message(out: &mut Vec<u8>, mid: u64, targets: &[Target], body: &[u8]) {
    let mut head = vec![tag::MSG_ENQ];
    put(&mut head, mid);
    put(&mut head, targets.len() as u64);
    for t in targets {
        target(&mut head, t);
    }
    put(out, (head.len() + body.len()) as u64);
    out.extend_from_slice(&head);
    out.extend_from_slice(body);
}

/// Reads a record (without its length); `None` if it is malformed or its tag unknown.
pub(super) fn decode(record: &[u8]) -> Option<Rec<'_>> {
    let mut f = Fields(record);
    let rec = match f.byte()? {
        tag::SESSION_PUT => decode_session(&mut f)?,
        tag::SESSION_DEL => Rec::SessionDel { sid: f.number()? },
        tag::SUB_PUT => {
            let (sid, options, identifier) = (f.number()?, f.small()?, f.small()?);
            Rec::SubPut {
                sid,
                filter: f.text()?,
                options,
                identifier,
            }
        }
        tag::SUB_DEL => Rec::SubDel {
            sid: f.number()?,
            filter: f.text()?,
        },
        tag::WILL_PUT => decode_will(&mut f)?,
        tag::WILL_DEL => Rec::WillDel { sid: f.number()? },
        tag::RETAIN_PUT => Rec::RetainPut(f.body()?),
        tag::RETAIN_DEL => Rec::RetainDel {
            topic: f.rest_text()?,
        },
        tag::BAN_PUT => Rec::BanPut {
            key: f.text()?,
            value: f.rest(),
        },
        tag::BAN_DEL => Rec::BanDel { key: f.rest_text()? },
        tag::MSG_ENQ => {
            let (mid, targets) = message_head(&mut f)?;
            Rec::MsgEnq {
                mid,
                targets,
                body: f.body()?,
            }
        }
        tag::ACK => Rec::Ack {
            sid: f.number()?,
            mid: f.number()?,
        },
        tag::OUT => {
            let (sid, mid, pid) = (f.number()?, f.number()?, f.small()?);
            Rec::Out {
                sid,
                mid,
                pid,
                released: f.number()? != 0,
            }
        }
        tag::IN2 => Rec::In2 {
            sid: f.number()?,
            pid: f.small()?,
        },
        tag::IN2_DEL => Rec::In2Del {
            sid: f.number()?,
            pid: f.small()?,
        },
        _ => return None,
    };
    f.0.is_empty().then_some(rec)
}

fn decode_session<'a>(f: &mut Fields<'a>) -> Option<Rec<'a>> {
    let (sid, flags) = (f.number()?, f.number()?);
    let mut s = SessionRec {
        sid,
        clean_start: flags & 1 != 0,
        version: f.small()?,
        expiry: f.small()?,
        created_at: f.number()?,
        connected_at: f.number()?,
        disconnected_at: f.number()?,
        client_id: f.text()?,
        ..SessionRec::default()
    };
    s.username = Some(f.text()?).filter(|_| flags & 2 != 0);
    s.peername = f.text()?;
    Some(Rec::SessionPut(s))
}

fn decode_will<'a>(f: &mut Fields<'a>) -> Option<Rec<'a>> {
    let (sid, flags, delay) = (f.number()?, f.number()?, f.small()?);
    let expiry: u32 = f.small()?;
    let will = WillRec {
        delay,
        expiry: (flags & 8 != 0).then_some(expiry),
        due_at: f.number()?,
        qos: (flags & 3) as u8,
        retain: flags & 4 != 0,
        topic: f.text()?,
        properties: f.bytes()?,
        payload: f.rest(),
    };
    Some(Rec::WillPut { sid, will })
}
