//! Our side of the door: what the listeners ask before a client is served, and what they report.
//!
//! What does not live here: finding the address (`peer`), reading bytes (`listeners`), CONNECT (`shard::login`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use listeners::{Accepted, Admit, Arrival, Cause, Denied, Handler, Refusal};
use peer::Peer;

use crate::audit::{ClientFacts, Connect, ConnectReason, Event, PeernameReject};
use crate::node::Node;
use crate::shard::inbox::Mail;

/// What stands before login.
#[derive(Debug, Default)]
pub struct Gate {
    next: AtomicUsize,
}

impl Gate {
    /// The ban that a client with these names meets, if any.
    pub fn banned(&self, _peer: &Peer, _client_id: &str, _username: Option<&str>) -> Option<Box<str>> {
        None
    }

    /// Credentials were refused; bans may follow from it.
    pub fn authn_failed(&self, _peer: &Peer, _client_id: &str, _username: Option<&str>) {}
}

impl Handler for Node {
    fn admit(&self, arrival: &Arrival<'_>) -> Admit {
        if self.draining.load(Ordering::Relaxed) {
            return Admit::Refuse(Denied::Draining);
        }
        let Some(peer) = arrival.peer else {
            return Admit::Ok(None);
        };
        let acl = &self.snapshot.load().acl;
        match acl.decide_early(peer, &arrival.listener.name) {
            Some(decision) if !decision.is_allowed() => {
                Admit::Refuse(Denied::Acl(acl.place(decision.rule).into()))
            }
            _ => Admit::Ok(None),
        }
    }

    fn refused(&self, refusal: &Refusal<'_>) {
        self.doctor.refused(refusal);
        let listener: Arc<str> = refusal.listener.into();
        let facts = match refusal.peer {
            Some(peer) => ClientFacts::new(Arc::new(peer.clone()), listener),
            None => ClientFacts::refused(refusal.socket, listener),
        };
        let (reason, rule, ban) = match refusal.cause {
            Cause::Peername(code, detail) => {
                if !code.is_close() {
                    let record = PeernameReject {
                        code: *code,
                        detail: detail.map(Into::into),
                        hop: refusal.hop,
                        first_bytes: refusal
                            .class
                            .map(|class| (class.as_str(), refusal.first_bytes.to_vec())),
                        header: refusal.header.map(Into::into),
                    };
                    self.audit.record(Event::PeernameReject(facts, record));
                }
                return;
            }
            Cause::Denied(Denied::Banned(name)) => (ConnectReason::Banned, None, Some(name.clone())),
            Cause::Denied(Denied::Acl(place)) => (ConnectReason::Acl, Some(place.clone()), None),
            Cause::Denied(Denied::Rate | Denied::HalfOpen) => (ConnectReason::Rate, None, None),
            Cause::Denied(Denied::Quota) | Cause::Full => (ConnectReason::Quota, None, None),
            Cause::Denied(Denied::Draining) => (ConnectReason::Shutdown, None, None),
            Cause::Evicted => (ConnectReason::ServerBusy, None, None),
            Cause::Timeout => (ConnectReason::Timeout, None, None),
            Cause::Gone => return,
            _ => (ConnectReason::Protocol, None, None),
        };
        let mut record = Connect::new(reason);
        record.rule = rule;
        record.ban = ban;
        self.audit.record(Event::Connect(facts, record));
    }

    fn dispatch(&self, accepted: Accepted) {
        let shard = self.gate.next.fetch_add(1, Ordering::Relaxed) % self.inboxes.len();
        self.inboxes[shard].push(Mail::Accepted(accepted));
    }
}
