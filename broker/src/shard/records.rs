//! What a shard writes to the audit log.
//!
//! What does not live here: how a record looks (`audit`), denials (`permission.rs`).

use std::fmt::Write as _;
use std::sync::Arc;

use auth::auto_ban::On;
use codec::{ReasonCode, Version};
use listeners::{Denied, TlsInfo};

use super::Shard;
use super::attach::Login;
use super::conn::Conn;
use super::end::Cause;
use crate::audit::{
    AuthnReason, ClientFacts, Connect, ConnectReason, Disconnect, Event, EventKind, TlsFacts,
};
use crate::metrics::{self, Counters, Via};
use crate::router::trie::SessionRef;

/// The version as audit records name it.
pub fn protocol(version: Version) -> &'static str {
    match version {
        Version::V31 => "mqtt3.1",
        Version::V311 => "mqtt3.1.1",
        Version::V5 => "mqtt5",
    }
}

/// Our own TLS as audit records tell it.
pub fn tls_facts(tls: &TlsInfo) -> Arc<TlsFacts> {
    let identity = tls.identity.as_ref();
    let hex = |bytes: &[u8]| {
        bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    };
    Arc::new(TlsFacts {
        version: Some(tls.version.to_owned()),
        cipher: Some(tls.cipher.clone()),
        sni: tls.sni.as_deref().map(Into::into),
        cn: identity.and_then(|i| i.cn.clone()),
        san: identity
            .map(|i| i.san_dns.iter().chain(&i.san_uri).cloned().collect())
            .unwrap_or_default(),
        cert_sha256: identity.map(|i| hex(&i.sha256)),
    })
}

impl Login {
    /// Who a record about this login is about.
    pub fn facts(&self) -> ClientFacts {
        let mut facts = ClientFacts::new(Arc::clone(&self.peer), Arc::clone(&self.listener.name));
        facts.clientid = Some(Arc::clone(&self.client_id));
        facts.username.clone_from(&self.username);
        facts.proto = Some(protocol(self.version));
        facts.tls = self.tls.as_deref().map(tls_facts);
        facts
    }
}

/// Counts a connection that ended before MQTT began.
pub fn count_refusal(counters: &Counters, cause: &listeners::Cause) {
    use crate::metrics::{ConnectReason as Reason, QuotaLimit};
    use listeners::Cause;
    let reason = match cause {
        Cause::Peername(code, _) => return counters.peername_refused.inc(code.as_str()),
        Cause::Denied(Denied::Banned(_)) => Reason::Banned,
        Cause::Denied(Denied::Acl(_)) => Reason::Acl,
        Cause::Denied(Denied::Rate) => {
            counters.quota_rejected[QuotaLimit::ConnectRate as usize].inc();
            Reason::Rate
        }
        Cause::Denied(Denied::HalfOpen) => {
            counters.quota_rejected[QuotaLimit::Pending as usize].inc();
            Reason::Rate
        }
        Cause::Denied(Denied::Quota) | Cause::Full => {
            counters.quota_rejected[QuotaLimit::Connections as usize].inc();
            Reason::Quota
        }
        Cause::Denied(Denied::Draining) => Reason::Shutdown,
        Cause::Evicted => Reason::ServerBusy,
        Cause::Timeout => Reason::Timeout,
        Cause::Gone => return,
        _ => Reason::Protocol,
    };
    counters.connect(reason);
}

/// Counts how an accepted connection's address was found.
pub(super) fn count_peername(counters: &Counters, peer: &peer::Peer) {
    let via = match peer.source() {
        peer::Source::Socket => Via::Socket,
        peer::Source::ProxyV1 => Via::ProxyV1,
        peer::Source::ProxyV2 => Via::ProxyV2,
        peer::Source::Header => Via::Header,
    };
    counters.peername_accepted(via, peer.kind() == peer::Kind::Proxy);
    for warning in peer.warnings().iter() {
        counters.peername_warnings.inc(warning.as_str());
    }
}

impl Shard {
    /// Who a record about a connected client is about.
    pub fn facts(&mut self, who: SessionRef) -> Option<ClientFacts> {
        let client = self.client(who)?;
        let conn = client.conn.as_ref()?;
        Some(facts_of(&client.session, conn))
    }

    pub(super) fn audit_connect(&mut self, login: &Login, session_present: bool) {
        let counters = &login.listener.counters[usize::from(self.index)];
        counters.connect(crate::metrics::ConnectReason::Ok);
        self.node
            .doctor
            .accepted(&login.listener.name, &login.peer, &login.client_id);
        self.node.watch(
            On::Connect,
            &login.peer,
            &login.client_id,
            login.username.as_deref(),
        );
        if !self.node.audit.wants(EventKind::Connect) {
            return;
        }
        let mut record = Connect::new(ConnectReason::Ok);
        record.clean_start = Some(login.clean_start);
        record.keepalive = Some(login.keepalive);
        record.session_present = Some(session_present);
        record.will_topic = login.will.as_ref().map(|w| w.topic.clone());
        record.rule = Some(self.snapshot.acl.place(login.permit.rule()).into());
        self.node.audit.record(Event::Connect(login.facts(), record));
    }

    pub(super) fn audit_refused_login(&mut self, login: &Login, reason: ReasonCode) {
        let reason = match reason {
            ReasonCode::ServerUnavailable => ConnectReason::Shutdown,
            _ => ConnectReason::Protocol,
        };
        self.node
            .audit
            .record(Event::Connect(login.facts(), Connect::new(reason)));
    }

    pub(super) fn audit_takeover(&mut self, old: SessionRef, login: &Login) {
        let Some(conn) = self.client(old).and_then(|c| c.conn.as_ref()) else {
            return;
        };
        let (peer, socket) = (conn.peer.peername().addr(), conn.peer.socket());
        self.node
            .audit
            .record(Event::Takeover(login.facts(), peer, socket));
    }

    pub(super) fn audit_disconnect(&mut self, who: SessionRef, conn: &Conn, cause: &Cause) {
        let now = self.now;
        let Some(client) = self.client(who) else { return };
        let facts = facts_of(&client.session, conn);
        let (client_id, username) = (
            Arc::clone(&client.session.client_id),
            client.session.username.clone(),
        );
        let broken = match cause {
            Cause::Malformed(error) => Some(error.to_string()),
            Cause::Protocol(_, detail) => Some((*detail).to_owned()),
            _ => None,
        };
        if let Some(detail) = broken {
            self.node
                .watch(On::ProtoError, &conn.peer, &client_id, username.as_deref());
            let name = cause.code().map_or("error", ReasonCode::name);
            self.node
                .audit
                .record(Event::ProtoError(facts.clone(), name, detail.into()));
        }
        self.node
            .audit
            .record(Event::Disconnect(facts, ending(conn, cause, now)));
    }
}

fn facts_of(session: &crate::session::Session, conn: &Conn) -> ClientFacts {
    let mut facts = ClientFacts::new(Arc::clone(&conn.peer), Arc::clone(&conn.listener.name));
    facts.clientid = Some(Arc::clone(&session.client_id));
    facts.username.clone_from(&session.username);
    facts.proto = Some(protocol(session.link.version));
    facts.tls = conn.tls().map(tls_facts);
    facts
}

fn ending(conn: &Conn, cause: &Cause, now: u64) -> Disconnect {
    Disconnect {
        reason: cause.reason(),
        code: cause.code().map_or(0, ReasonCode::code),
        duration_ms: now.saturating_sub(conn.accepted_at),
        rx_bytes: conn.received,
        tx_bytes: conn.sent,
    }
}

/// The label of a refused connection.
pub(super) fn counted(reason: ConnectReason) -> metrics::ConnectReason {
    let same = |m: &&metrics::ConnectReason| m.as_str() == reason.as_str();
    *metrics::ConnectReason::ALL
        .iter()
        .find(same)
        .unwrap_or(&metrics::ConnectReason::Protocol)
}

/// The label of credentials that were refused.
pub(super) fn counted_authn(reason: AuthnReason) -> metrics::ConnectReason {
    let same = |m: &&metrics::ConnectReason| m.as_str() == reason.as_str();
    *metrics::ConnectReason::ALL
        .iter()
        .find(same)
        .unwrap_or(&metrics::ConnectReason::BadCredentials)
}
