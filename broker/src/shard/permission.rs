//! What the rules say to a live client; denials are audited and counted here.
//!
//! What does not live here: the rules (`auth`), the decision about CONNECT (`login.rs`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use auth::auto_ban::On;
use auth::quota::Pace;
use auth::{Action, Subject};
use codec::ReasonCode;

use super::conn::Conn;
use super::subscribe::Wanted;
use super::{Client, Shard};
use crate::audit::{AclDeny, DenyAction, DenyReason, Event};
use crate::gate::{limit_of, reason_of};
use crate::metrics::AclAction;
use crate::router::trie::SessionRef;

/// One in so many decisions that were not cached is timed for the metrics.
const TIMED_EVERY: u64 = 16;

/// What the audit calls the permissions that came with credentials.
const CREDENTIALS: &str = "credentials";

/// The facts that rules may look at, of a client that is connected.
pub fn subject<'a>(client: &'a Client, conn: &'a Conn) -> Subject<'a> {
    let session = &client.session;
    let mut subject = Subject::new(&conn.peer, &conn.listener.name).with_client(
        &session.client_id,
        session.username.as_deref(),
        conn.authenticated,
    );
    if let Some(tls) = conn.tls() {
        let cn = tls.identity.as_ref().and_then(|identity| identity.cn.as_deref());
        let san = conn.extras.as_ref().map_or(&[][..], |extras| &extras.san);
        subject = subject.with_tls(tls.sni.as_deref(), cn, san);
    }
    subject
}

impl Shard {
    /// May the client publish? The last decision is kept with the connection, as most publishers stay with a topic.
    pub(super) fn may_publish(
        &mut self,
        who: SessionRef,
        topic: &str,
        qos: u8,
        retain: bool,
    ) -> Result<(), ReasonCode> {
        use std::hash::BuildHasher;
        let snapshot = Arc::clone(&self.snapshot);
        let key =
            self.node
                .hasher
                .hash_one((topic, snapshot.acl.publish_key(qos, retain), snapshot.generation));
        let Some(client) = self.client(who) else {
            return Err(ReasonCode::NotAuthorized);
        };
        let Some(conn) = client.conn.as_ref() else {
            return Err(ReasonCode::NotAuthorized);
        };
        if conn
            .permissions()
            .is_some_and(|list| !list.allow_publish(topic, qos, retain))
        {
            conn.counters.acl_decision(AclAction::Publish, false);
            self.audit_denial(
                who,
                DenyAction::Publish,
                topic,
                qos,
                Some(retain),
                CREDENTIALS.to_owned(),
            );
            return Err(snapshot.denied);
        }
        if conn.allowed_publish == key {
            return Ok(());
        }
        let action = Action::Publish { topic, qos, retain };
        let timed = conn.counters.acl[AclAction::Publish as usize][1]
            .get()
            .is_multiple_of(TIMED_EVERY);
        let begin = timed.then(Instant::now);
        let decision = snapshot.acl.decide(&subject(client, conn), &action);
        if let Some(begin) = begin {
            conn.counters.acl_check.record(begin.elapsed());
        }
        let allowed = decision.is_allowed();
        conn.counters.acl_decision(AclAction::Publish, allowed);
        if allowed {
            if let Some(conn) = client.conn.as_mut() {
                conn.allowed_publish = key;
            }
            return Ok(());
        }
        let rule = snapshot.acl.place(decision.rule);
        self.audit_denial(who, DenyAction::Publish, topic, qos, Some(retain), rule);
        Err(snapshot.denied)
    }

    /// Does the publish quota leave room? A client that is to slow down is not read for a while.
    pub(super) fn pace(&mut self, who: SessionRef, topic: &str, bytes: usize) -> Result<(), ReasonCode> {
        let nanos = self.node.clock.nanos();
        let Some(client) = self.client(who) else {
            return Ok(());
        };
        let Some(conn) = client.conn.as_mut() else {
            return Ok(());
        };
        if !conn.seat.limits_publish() {
            return Ok(());
        }
        match conn.seat.publish(topic.len() + bytes, nanos) {
            Pace::Go => Ok(()),
            Pace::Wait(nanos) => {
                self.pause(who, Duration::from_nanos(nanos));
                Ok(())
            }
            Pace::Refuse(over) => {
                conn.counters.quota_rejected[limit_of(over) as usize].inc();
                self.audit_quota(who, DenyAction::Publish, topic);
                Err(reason_of(over))
            }
        }
    }

    /// May the client have one more subscription?
    pub(super) fn room_for_subscription(
        &mut self,
        who: SessionRef,
        wanted: &Wanted<'_>,
    ) -> Result<(), ReasonCode> {
        let Some(conn) = self.client(who).and_then(|c| c.conn.as_mut()) else {
            return Ok(());
        };
        let Err(over) = conn.seat.subscribe() else {
            return Ok(());
        };
        conn.counters.quota_rejected[limit_of(over) as usize].inc();
        self.audit_quota(who, DenyAction::Subscribe, &wanted.text());
        Err(reason_of(over))
    }

    fn audit_quota(&mut self, who: SessionRef, action: DenyAction, topic: &str) {
        let Some(facts) = self.facts(who) else { return };
        let denied = AclDeny {
            reason: DenyReason::Quota,
            action,
            topic: Some(topic.into()),
            qos: None,
            retain: None,
            rule: None,
        };
        self.node.audit.record(Event::AclDeny(facts, denied));
    }

    /// May the client subscribe?
    pub(super) fn may_subscribe(
        &mut self,
        who: SessionRef,
        wanted: &Wanted<'_>,
        qos: u8,
    ) -> Result<(), ReasonCode> {
        let acl = Arc::clone(&self.snapshot.acl);
        let Some(client) = self.client(who) else {
            return Err(ReasonCode::NotAuthorized);
        };
        let Some(conn) = client.conn.as_ref() else {
            return Err(ReasonCode::NotAuthorized);
        };
        let action = Action::Subscribe {
            filter: wanted.filter,
            qos,
            shared: wanted.share.is_some(),
        };
        let decision = acl.decide(&subject(client, conn), &action);
        let narrowed = conn
            .permissions()
            .is_some_and(|list| !list.allow_subscribe(wanted.filter, qos));
        let allowed = decision.is_allowed() && !narrowed;
        conn.counters.acl_decision(AclAction::Subscribe, allowed);
        if allowed {
            return Ok(());
        }
        let rule = if decision.is_allowed() {
            CREDENTIALS.to_owned()
        } else {
            acl.place(decision.rule)
        };
        self.audit_denial(who, DenyAction::Subscribe, &wanted.text(), qos, None, rule);
        Err(self.snapshot.denied)
    }

    fn audit_denial(
        &mut self,
        who: SessionRef,
        action: DenyAction,
        topic: &str,
        qos: u8,
        retain: Option<bool>,
        rule: String,
    ) {
        if let Some(client) = self.client(who)
            && let Some(conn) = client.conn.as_ref()
        {
            let (peer, id) = (Arc::clone(&conn.peer), Arc::clone(&client.session.client_id));
            let username = client.session.username.clone();
            self.node.watch(On::AclDeny, &peer, &id, username.as_deref());
        }
        let Some(facts) = self.facts(who) else { return };
        let denied = AclDeny {
            reason: DenyReason::Acl,
            action,
            topic: Some(topic.into()),
            qos: Some(qos),
            retain,
            rule: Some(rule.into()),
        };
        self.node.audit.record(Event::AclDeny(facts, denied));
    }
}
