//! A client that has logged in gets its session: taken over, resumed or new; then CONNACK and its task.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use auth::quota::Seat;
use codec::{ReasonCode, Version};
use listeners::{DetachedTransport, OutBuf, Slot, TlsInfo, Transport};
use peer::Peer;

use super::conn::{Conn, Extras};
use super::end::{Cause, Ended};
use super::inbox::Mail;
use super::serve::Serve;
use super::timers::{Deadline, keep_alive_ms};
use super::{Shard, connack};
use crate::authn::Permissions;
use crate::node::ListenerRuntime;
use crate::router::trie::SessionRef;
use crate::session::alias::AliasesOut;
use crate::session::will::Will;
use crate::session::{Link, Session};
use crate::store::Ticket;

/// The connection of a login, on its way to the session's home or there already.
#[derive(Debug)]
pub enum Carrier {
    /// It belongs to this shard's runtime.
    Here(Transport),
    /// It is between two runtimes.
    Moving(DetachedTransport),
}

/// A client whose CONNECT was accepted, with everything its session needs to know.
#[derive(Debug)]
pub struct Login {
    /// Its connection.
    pub carrier: Carrier,
    /// Bytes that came after CONNECT.
    pub rest: Vec<u8>,
    /// Bytes received until now.
    pub received: u64,
    /// Who it is.
    pub peer: Arc<Peer>,
    /// What our own TLS told.
    pub tls: Option<Box<TlsInfo>>,
    /// Where it came in.
    pub listener: Arc<ListenerRuntime>,
    /// Its place among the limits.
    pub slot: Slot,
    /// When it was accepted, in ms since 1970.
    pub accepted_at: u64,
    /// Proof that it may be here.
    pub permit: auth::Permit,
    /// Its place in the quotas.
    pub seat: Seat,
    /// Its client id.
    pub client_id: Arc<str>,
    /// Whether we chose the client id.
    pub assigned: bool,
    /// Its user name.
    pub username: Option<Arc<str>>,
    /// Whether credentials were verified.
    pub authenticated: bool,
    /// When its credentials end, in ms since 1970.
    pub until: Option<u64>,
    /// What its credentials allow, which only narrows what the rules allow.
    pub permissions: Option<Arc<Permissions>>,
    /// Authentication method of MQTT 5.
    pub auth_method: Option<Box<str>>,
    /// The last word of the authentication exchange.
    pub auth_data: Option<Box<[u8]>>,
    /// Protocol version.
    pub version: Version,
    /// Clean Start.
    pub clean_start: bool,
    /// Keep Alive in force, in seconds.
    pub keepalive: u16,
    /// Keep Alive the client asked for.
    pub asked_keepalive: u16,
    /// Session expiry in force, in seconds.
    pub expiry: u32,
    /// Session expiry the client asked for.
    pub asked_expiry: u32,
    /// Receive Maximum of the client.
    pub receive_maximum: u16,
    /// Maximum Packet Size of the client.
    pub max_packet_size: u32,
    /// Topic Alias Maximum of the client.
    pub topic_alias_maximum: u16,
    /// Whether it wants reason strings.
    pub problem_information: bool,
    /// Its Will.
    pub will: Option<Box<Will>>,
}

impl Shard {
    /// Gives a login its session. The session's home is this shard, or becomes it.
    pub fn attach(&mut self, mut login: Login) {
        let home = self.node.registry.claim(&login.client_id, self.index);
        if home != self.index {
            // The session this shard was the home of has ended meanwhile, and another shard was faster.
            self.pass_on(home, login);
            return;
        }
        if self.node.draining.load(Ordering::Relaxed) {
            self.turn_away(login, ReasonCode::ServerUnavailable);
            return;
        }
        if connack::is_too_large(&login) {
            self.turn_away(login, ReasonCode::PacketTooLarge);
            return;
        }
        let old = self.client_by_id(&login.client_id).map(|c| c.session.me);
        if let Some(old) = old {
            self.take_over(old, &login);
            // If the old session ended, so did its home, and another shard may have been faster again.
            let home = self.node.registry.claim(&login.client_id, self.index);
            if home != self.index {
                self.pass_on(home, login);
                return;
            }
        }
        let transport = match login.carrier {
            Carrier::Here(transport) => Ok(transport),
            Carrier::Moving(detached) => detached.attach(),
        };
        let Ok(transport) = transport else {
            // The runtime takes no more sockets; nobody is left to tell.
            if self.client_by_id(&login.client_id).is_none() {
                self.node.registry.release(&login.client_id, self.index);
            }
            return;
        };
        login.carrier = Carrier::Here(transport);
        self.begin(login);
    }

    fn pass_on(&mut self, home: u16, mut login: Login) {
        if let Carrier::Here(transport) = login.carrier {
            let Ok(detached) = transport.detach() else { return };
            login.carrier = Carrier::Moving(detached);
        }
        self.node.inboxes[usize::from(home)].push(Mail::Login(Box::new(login)));
    }

    /// Ends the old connection of a client id, and its session if the new one asks for that.
    fn take_over(&mut self, old: SessionRef, login: &Login) {
        self.audit_takeover(old, login);
        self.close(old, &Cause::TakenOver); // [MQTT-3.1.4-3]
        if login.clean_start && self.client(old).is_some() {
            self.end_session(old, Ended::CleanStart); // [MQTT-3.1.2-4]
        }
    }

    fn begin(&mut self, mut login: Login) {
        let now = self.now;
        let parked = self.client_by_id(&login.client_id).map(|c| c.session.me);
        let present = parked.is_some();
        let who = if let Some(me) = parked {
            me
        } else {
            let me = self.reserve();
            let sid = self.node.store.next_sid();
            let session = Session::new(&login.permit, Arc::clone(&login.client_id), me, sid, now);
            self.place(session, None);
            me
        };
        let mut out = self.spare.pop().map_or_else(OutBuf::new, OutBuf::with_buffer);
        connack::accept(&login, present, out.buffer_mut());
        login.slot.login_done();
        let rest = std::mem::take(&mut login.rest);
        self.audit_connect(&login, present);
        let number = self.next_conn;
        self.next_conn += 1;
        let counters = &login.listener.counters[usize::from(self.index)];
        counters.connections.add(1);
        counters.packets_received[1].inc();
        counters.packets_sent[2].inc();
        let will_goes = login.will.is_none() && self.client(who).is_some_and(|c| c.session.will.is_some());
        self.settle(who, login, number, out);
        if will_goes && let Some(sid) = self.client(who).map(|c| c.session.sid) {
            self.forget_will(sid);
        }
        self.count_subscriptions(who);
        self.remember_session(who);
        self.announce(who, true);
        self.touch(who.slot);
        tokio::spawn(Serve { who, number });
        self.resume(who);
        self.handle_rest(who, &rest);
    }

    /// Writes what was negotiated into the session and puts the connection beside it.
    fn settle(&mut self, who: SessionRef, mut login: Login, number: u64, out: OutBuf) {
        let now = self.now;
        let extras = extras(&mut login);
        let Some(client) = self.clients.get_mut(who.slot as usize).and_then(Option::as_mut) else {
            return;
        };
        let Carrier::Here(transport) = login.carrier else {
            return;
        };
        let mqtt = &login.listener.mqtt;
        let session = &mut client.session;
        session.username = login.username;
        session.expiry = login.expiry;
        session.clean_start = login.clean_start;
        session.keepalive = login.keepalive;
        session.connected_at = now;
        session.disconnected_at = 0;
        session.last_seen = None;
        session.will = login.will;
        session.will_due = None;
        session.link = Link {
            version: login.version,
            max_packet_size: login.max_packet_size,
            window: mqtt.settings.max_inflight.min(login.receive_maximum),
            receive_maximum: mqtt.settings.receive_maximum,
            // A packet identifier has two bytes, and each stands there once.
            inherited_rel: session.awaiting_rel.len() as u16,
            alias_max_in: if login.version == Version::V5 {
                mqtt.settings.max_topic_alias
            } else {
                0
            },
            aliases_in: None,
            aliases_out: AliasesOut::new(login.topic_alias_maximum),
            problem_information: login.problem_information,
        };
        if let Some(until) = login.until {
            self.timers.set(until, who, Deadline::Lifetime(number));
        }
        if login.keepalive > 0 {
            let at = now + keep_alive_ms(login.keepalive, mqtt.keepalive_multiplier);
            self.timers.set(at, who, Deadline::KeepAlive(number));
        }
        client.conn = Some(Box::new(Conn {
            number,
            transport,
            out,
            partial: Vec::new(),
            waker: None,
            peer: login.peer,
            extras,
            counters: Arc::clone(&login.listener.counters[usize::from(self.index)]),
            listener: login.listener,
            slot: login.slot,
            seat: login.seat,
            authenticated: login.authenticated,
            allowed_publish: 0,
            last_packet: now,
            accepted_at: login.accepted_at,
            received: login.received,
            sent: 0,
            owed: 0,
            put: Ticket::DONE,
            dirty: false,
            blocked: false,
            lagging: false,
            waits_for: 0,
            waiting: Vec::new(),
        }));
    }

    /// Subscriptions a resumed session brings along count in the quotas, but none is taken away for them.
    fn count_subscriptions(&mut self, who: SessionRef) {
        let Some(client) = self.client(who) else { return };
        let Some(conn) = client.conn.as_mut() else { return };
        for _ in 0..client.session.subscriptions.len() {
            if conn.seat.subscribe().is_err() {
                return;
            }
        }
    }

    /// What was in flight and in the queue, for a session that was there before.
    fn resume(&mut self, who: SessionRef) {
        let mut held = OutBuf::new();
        if let Some(client) = self.client(who)
            && let Some(conn) = client.conn.as_mut()
        {
            client.session.resend(&mut conn.out, &mut held);
        }
        self.hold_until_written(who, held);
        self.pump(who.slot);
    }

    /// Packets that came in one piece with CONNECT.
    fn handle_rest(&mut self, who: SessionRef, rest: &[u8]) {
        if rest.is_empty() {
            return;
        }
        match self.handle_all(who, rest, 0) {
            Ok(consumed) => {
                if let Some(conn) = self.client(who).and_then(|c| c.conn.as_mut()) {
                    conn.partial = rest[consumed..].to_vec();
                }
            }
            Err(cause) => self.close(who, &cause),
        }
    }

    /// Answers a login that comes too late, or closes on one that takes no answer.
    fn turn_away(&mut self, login: Login, reason: ReasonCode) {
        self.audit_refused_login(&login, reason);
        let transport = match login.carrier {
            Carrier::Here(transport) => Ok(transport),
            Carrier::Moving(detached) => detached.attach(),
        };
        if let Ok(transport) = transport {
            let mut out = OutBuf::new();
            if reason != ReasonCode::PacketTooLarge {
                connack::refuse(login.version, reason, out.buffer_mut());
            }
            tokio::spawn(super::end::last_words(transport, out));
        }
    }
}

/// What is rarely there, out of a login.
fn extras(login: &mut Login) -> Option<Box<Extras>> {
    let rare = login.tls.is_some()
        || login.until.is_some()
        || login.permissions.is_some()
        || login.auth_method.is_some();
    rare.then(|| {
        let extras = Extras::new(login.tls.take(), login.until, login.auth_method.take());
        Box::new(extras.with_permissions(login.permissions.take()))
    })
}
