//! From an accepted socket to a session: the handshake, CONNECT, credentials, rules, and the way home.
//!
//! One task per connection, under one deadline; it is gone before the session is served. What does not live here:
//! PROXY, TLS, WebSocket (`listeners`), who verifies credentials (`authn`).

use std::future::poll_fn;
use std::sync::Arc;

use auth::auto_ban::On;
use auth::quota::{Over, Seat};
use auth::{Action, Permit, Subject};
use codec::frame::{self, Frame};
use codec::{Connect, ReasonCode, Version};
use listeners::{Accepted, Connection, OutBuf};
use tokio::time::timeout_at;

use super::attach::{Carrier, Login};
use super::inbox::Mail;
use super::{connack, end, records, with};
use crate::audit::{self, AuthnReason, ClientFacts, ConnectReason, Event};
use crate::authn::{Credentials, Verified};
use crate::config::UsernameFrom;
use crate::gate::{limit_of, reason_of};
use crate::metrics;
use crate::node::{ListenerRuntime, Node, Snapshot};
use crate::session::will::Will;

/// Read at once while CONNECT is awaited.
const READ: usize = 4096;

/// Why a login failed after the handshake.
enum Refused {
    /// The client went.
    Gone,
    /// CONNECT did not come in time.
    Timeout,
    /// Bytes that are no CONNECT.
    Malformed(codec::DecodeError),
    /// A packet that is no CONNECT ([MQTT-3.1.0-1]).
    NotConnect(u8),
    /// Credentials.
    Authn(AuthnReason, Box<str>),
    /// Anything else, with the rule or ban that said so.
    Other(ReasonCode, ConnectReason, Option<Box<str>>),
}

impl Refused {
    fn other(code: ReasonCode, reason: ConnectReason) -> Self {
        Self::Other(code, reason, None)
    }

    /// True for a CONNECT that is wrong in itself: before MQTT 5 it gets no CONNACK ([MQTT-3.1.4-1]) unless it is only
    /// of a version that we do not speak ([MQTT-3.1.2-2]).
    fn is_unanswered_v3(&self) -> bool {
        matches!(self, Self::Malformed(error) if error.reason() != ReasonCode::UnsupportedProtocolVersion)
    }

    fn code(&self) -> Option<ReasonCode> {
        match self {
            Self::Gone | Self::Timeout | Self::NotConnect(_) => None,
            Self::Malformed(error) => Some(error.reason()),
            Self::Authn(AuthnReason::BackendError, _) => Some(ReasonCode::ServerUnavailable),
            Self::Authn(AuthnReason::NoCredentials | AuthnReason::Cert, _) => Some(ReasonCode::NotAuthorized),
            Self::Authn(..) => Some(ReasonCode::BadUserNameOrPassword),
            Self::Other(code, ..) => Some(*code),
        }
    }
}

/// Serves one accepted socket until it is a session, or refused.
pub async fn login(node: Arc<Node>, shard: u16, accepted: Accepted) {
    let snapshot = node.snapshot.load_full();
    let Some(listener) = snapshot.listeners.get(&accepted.spec().name).cloned() else {
        return;
    };
    let counters = Arc::clone(&listener.counters[usize::from(shard)]);
    counters.accepted.inc();
    let accepted_at = node.clock.now();
    let begin = accepted.at();
    let connection = match Box::pin(listeners::handshake(accepted, &*node)).await {
        Ok(connection) => connection,
        Err(error) => {
            // It has been logged, answered and recorded by the handshake and the gate.
            records::count_refusal(&counters, &error.cause);
            return;
        }
    };
    counters.peername_resolve.record(begin.elapsed());
    records::count_peername(&counters, &connection.peer);
    let mut attempt = Attempt {
        node,
        shard,
        snapshot,
        listener,
        accepted_at,
        facts: None,
        version: None,
    };
    attempt.run(connection).await;
}

/// A login under way.
struct Attempt {
    node: Arc<Node>,
    shard: u16,
    snapshot: Arc<Snapshot>,
    listener: Arc<ListenerRuntime>,
    accepted_at: u64,
    facts: Option<ClientFacts>,
    version: Option<Version>,
}

impl Attempt {
    async fn run(&mut self, mut connection: Connection) {
        let mut facts = ClientFacts::new(Arc::clone(&connection.peer), Arc::clone(&self.listener.name));
        facts.tls = connection.tls.as_deref().map(records::tls_facts);
        self.facts = Some(facts);
        let mut buffer = Vec::new();
        let deadline = connection.login_deadline.into();
        let evicted = connection.slot.evicted();
        let outcome = tokio::select! {
            outcome = timeout_at(deadline, self.admit(&mut connection, &mut buffer)) => {
                outcome.unwrap_or(Err(Refused::Timeout))
            }
            () = evicted => Err(Refused::other(ReasonCode::ServerBusy, ConnectReason::ServerBusy)),
        };
        match outcome {
            Ok((facts, len)) => self.go_home(connection, buffer, len, facts),
            Err(refused) => self.refuse(connection, &refused).await,
        }
    }

    /// Reads CONNECT and decides about it; what the session needs to know, and CONNECT's length.
    async fn admit(
        &mut self,
        connection: &mut Connection,
        buffer: &mut Vec<u8>,
    ) -> Result<(Admitted, usize), Refused> {
        let deadline = connection.connect_deadline.into();
        let reading = self.read_connect(connection, buffer);
        let len = timeout_at(deadline, reading)
            .await
            .unwrap_or(Err(Refused::Timeout))?;
        self.version = codec::connect_version(&buffer[..len]);
        let connect = codec::decode_connect(&buffer[..len]).map_err(Refused::Malformed)?;
        self.version = Some(connect.version);
        let admitted = self.decide(connection, &connect).await?;
        Ok((admitted, len))
    }

    async fn read_connect(
        &self,
        connection: &mut Connection,
        buffer: &mut Vec<u8>,
    ) -> Result<usize, Refused> {
        let max = self.listener.max_packet_size;
        loop {
            if buffer.first().is_some_and(|&byte| byte != 0x10) {
                // The first packet is CONNECT ([MQTT-3.1.0-1]); nothing else is waited for.
                return Err(Refused::NotConnect(buffer[0]));
            }
            if let Frame::Complete { len } = frame::check(buffer, max).map_err(Refused::Malformed)? {
                return Ok(len);
            }
            let read = poll_fn(|cx| connection.transport.poll_read(cx, buffer, READ)).await;
            if !read.is_ok_and(|bytes| bytes > 0) {
                return Err(Refused::Gone);
            }
        }
    }

    async fn decide(&mut self, connection: &Connection, connect: &Connect<'_>) -> Result<Admitted, Refused> {
        let mqtt = &self.listener.mqtt;
        let assigned = connect.client_id.is_empty();
        let client_id = self.client_id(connect)?;
        let given: Option<Arc<str>> = self.username(connection, connect);
        let authenticator = &self.node.authenticator;
        let mut username = given.clone().filter(|name| !authenticator.is_secret(name));
        if let Some(facts) = &mut self.facts {
            facts.clientid = Some(Arc::clone(&client_id));
            facts.username.clone_from(&username);
            facts.proto = Some(records::protocol(connect.version));
        }
        if !mqtt.versions.contains(&connect.version) {
            return Err(Refused::other(
                ReasonCode::UnsupportedProtocolVersion,
                ConnectReason::Protocol,
            ));
        }
        self.unbanned(&client_id, username.as_deref())?;
        let verified = self
            .authenticate(
                connection,
                connect,
                &client_id,
                given.as_ref(),
                username.as_deref(),
            )
            .await?;
        if verified.username.is_some() {
            username.clone_from(&verified.username);
            self.unbanned(&client_id, username.as_deref())?;
        }
        if let Some(facts) = &mut self.facts {
            facts.username.clone_from(&username);
        }
        let permit = self.permit(connection, connect, &client_id, username.as_deref(), &verified)?;
        self.room_for_session(&client_id)?;
        let seat = self.seat(connection, username.as_deref())?;
        let will = connect.will.as_ref().map(|will| Box::new(Will::of(will)));
        Ok(Admitted {
            client_id,
            assigned,
            username,
            verified,
            seat,
            permit,
            will,
            terms: self.terms(connect),
        })
    }

    /// `session.max_sessions`: who has a session already may always come back to it.
    fn room_for_session(&self, client_id: &str) -> Result<(), Refused> {
        let registry = &self.node.registry;
        let full = registry.len() >= self.snapshot.config.session.max_sessions;
        if full && registry.home(client_id).is_none() {
            return Err(Refused::other(ReasonCode::QuotaExceeded, ConnectReason::Quota));
        }
        Ok(())
    }

    fn unbanned(&self, client_id: &str, username: Option<&str>) -> Result<(), Refused> {
        let banned = self.node.gate.banned(client_id, username, self.node.clock.now());
        banned.map_or(Ok(()), |ban| {
            Err(Refused::Other(
                ReasonCode::Banned,
                ConnectReason::Banned,
                Some(ban),
            ))
        })
    }

    fn seat(&self, connection: &Connection, username: Option<&str>) -> Result<Seat, Refused> {
        let gate = &self.node.gate;
        let seat = gate.seat(
            &connection.peer,
            username,
            &self.listener.name,
            self.node.clock.nanos(),
        );
        seat.map_err(|over| {
            let counters = &self.listener.counters[usize::from(self.shard)];
            counters.quota_rejected[limit_of(over) as usize].inc();
            let reason = if over == Over::ConnectRate {
                ConnectReason::Rate
            } else {
                ConnectReason::Quota
            };
            Refused::other(reason_of(over), reason)
        })
    }

    fn client_id(&self, connect: &Connect<'_>) -> Result<Arc<str>, Refused> {
        let invalid = || Refused::other(ReasonCode::ClientIdentifierNotValid, ConnectReason::Clientid);
        let settings = &self.listener.mqtt.settings;
        if connect.client_id.len() > settings.max_clientid_bytes {
            return Err(invalid());
        }
        if !connect.client_id.is_empty() {
            return Ok(connect.client_id.into());
        }
        // [MQTT-3.1.3-8]: 3.1.1 needs a clean session for it; 3.1 has no empty id at all.
        let possible = match connect.version {
            Version::V31 => false,
            Version::V311 => connect.clean_start,
            Version::V5 => true,
        };
        if !possible || !settings.allow_empty_clientid {
            return Err(invalid());
        }
        let (a, b) = (self.node.random(), self.node.random());
        Ok(format!("auto-{a:016x}{b:016x}").into())
    }

    /// The name the client goes by, before it is verified.
    fn username(&self, connection: &Connection, connect: &Connect<'_>) -> Option<Arc<str>> {
        if let Some(name) = connection.peer.username() {
            return Some(name.into());
        }
        let identity = connection.tls.as_ref().and_then(|tls| tls.identity.as_ref());
        let name = match self.listener.config.username_from {
            UsernameFrom::Connect => connect.username,
            UsernameFrom::TlsCn => identity.and_then(|i| i.cn.as_deref()),
            UsernameFrom::TlsSanDns => identity.and_then(|i| i.san_dns.first()).map(String::as_str),
            UsernameFrom::TlsSanUri => identity.and_then(|i| i.san_uri.first()).map(String::as_str),
        };
        name.map(Into::into)
    }

    async fn authenticate(
        &self,
        connection: &Connection,
        connect: &Connect<'_>,
        client_id: &Arc<str>,
        username: Option<&Arc<str>>,
        shown: Option<&str>,
    ) -> Result<Verified, Refused> {
        let certificate = connection.peer.username().is_some()
            || self.listener.config.username_from != UsernameFrom::Connect && username.is_some();
        let identity = connection.tls.as_ref().and_then(|tls| tls.identity.as_ref());
        let told = connection.peer.info().and_then(|info| info.ssl.as_ref());
        let credentials = Credentials {
            peer: &connection.peer,
            listener: &self.listener.name,
            allow_anonymous: self.listener.config.allow_anonymous,
            client_id,
            username: username.map(|name| &**name),
            password: connect.password,
            certificate,
            cn: identity
                .and_then(|i| i.cn.as_deref())
                .or_else(|| told?.cn.as_deref()),
        };
        let counters = &self.listener.counters[usize::from(self.shard)];
        let (authenticator, chain) = (&self.node.authenticator, &self.snapshot.config.auth.chain);
        let verified = authenticator.verify(&credentials, chain, self.node.clock.now());
        match verified.await {
            Ok(verified) => {
                counters.authn[verified.method as usize][1].inc();
                Ok(verified)
            }
            Err(failure) => {
                counters.authn[failure.method as usize][0].inc();
                self.node.watch(On::AuthnFail, &connection.peer, client_id, shown);
                Err(Refused::Authn(failure.reason, failure.method.as_str().into()))
            }
        }
    }

    fn permit(
        &self,
        connection: &Connection,
        connect: &Connect<'_>,
        client_id: &str,
        username: Option<&str>,
        verified: &Verified,
    ) -> Result<Permit, Refused> {
        let mut subject = Subject::new(&connection.peer, &self.listener.name).with_client(
            client_id,
            username,
            verified.authenticated,
        );
        let mut san = Vec::new();
        let identity = connection.tls.as_ref().and_then(|tls| tls.identity.as_ref());
        if let Some(identity) = identity {
            san.extend(identity.san_dns.iter().chain(&identity.san_uri).cloned());
        }
        if let Some(tls) = &connection.tls {
            subject = subject.with_tls(tls.sni.as_deref(), identity.and_then(|i| i.cn.as_deref()), &san);
        }
        let counters = &self.listener.counters[usize::from(self.shard)];
        let acl = &self.snapshot.acl;
        let denied = |decision: auth::Decision| {
            let rule = Some(acl.place(decision.rule).into());
            Refused::Other(ReasonCode::NotAuthorized, ConnectReason::Acl, rule)
        };
        let permit = acl.permit(&subject, &Action::Connect);
        counters.acl_decision(metrics::AclAction::Connect, permit.is_ok());
        let permit = permit.map_err(denied)?;
        if let Some(will) = &connect.will {
            self.check_will(will)?;
            let action = Action::Publish {
                topic: will.topic,
                qos: will.qos.level(),
                retain: will.retain,
            };
            let decision = acl.decide(&subject, &action);
            counters.acl_decision(metrics::AclAction::Will, decision.is_allowed());
            if !decision.is_allowed() {
                return Err(denied(decision));
            }
            let narrowed = verified.permissions.as_ref();
            if narrowed.is_some_and(|list| !list.allow_publish(will.topic, will.qos.level(), will.retain)) {
                let source = Some(verified.method.as_str().into());
                return Err(Refused::Other(
                    ReasonCode::NotAuthorized,
                    ConnectReason::Acl,
                    source,
                ));
            }
        }
        Ok(permit)
    }

    fn check_will(&self, will: &codec::Will<'_>) -> Result<(), Refused> {
        let offer = &self.listener.mqtt.offer;
        if will.qos.level() > offer.max_qos {
            return Err(Refused::other(
                ReasonCode::QosNotSupported,
                ConnectReason::Protocol,
            )); // [MQTT-3.2.2-12]
        }
        if will.retain && !offer.retain {
            return Err(Refused::other(
                ReasonCode::RetainNotSupported,
                ConnectReason::Protocol,
            )); // [MQTT-3.2.2-13]
        }
        Ok(())
    }

    fn terms(&self, connect: &Connect<'_>) -> Terms {
        let settings = &self.listener.mqtt.settings;
        let v5 = connect.version == Version::V5;
        let properties = &connect.properties;
        let asked_expiry = match (v5, connect.clean_start) {
            (true, _) => properties.session_expiry,
            (false, true) => 0,
            (false, false) => self.snapshot.session_expiry_v3,
        };
        let over = connect.keep_alive == 0 || connect.keep_alive > settings.max_keepalive;
        let capped = v5 && over && settings.max_keepalive < u16::MAX;
        Terms {
            version: connect.version,
            clean_start: connect.clean_start,
            keepalive: if capped {
                settings.max_keepalive
            } else {
                connect.keep_alive
            },
            asked_keepalive: connect.keep_alive,
            expiry: asked_expiry.min(self.snapshot.session_expiry_max),
            asked_expiry,
            receive_maximum: if v5 { properties.receive_maximum } else { u16::MAX },
            max_packet_size: properties.maximum_packet_size.unwrap_or(u32::MAX),
            topic_alias_maximum: properties.topic_alias_maximum,
            problem_information: properties.request_problem_information,
        }
    }

    /// Hands the client to the shard its session lives on.
    fn go_home(&self, connection: Connection, mut buffer: Vec<u8>, len: usize, admitted: Admitted) {
        let received = buffer.len() as u64;
        let rest = buffer.split_off(len);
        let home = self.node.registry.claim(&admitted.client_id, self.shard);
        let carrier = if home == self.shard {
            Carrier::Here(connection.transport)
        } else {
            let Ok(detached) = connection.transport.detach() else {
                return;
            };
            Carrier::Moving(detached)
        };
        let Terms {
            version,
            clean_start,
            keepalive,
            asked_keepalive,
            expiry,
            asked_expiry,
            ..
        } = admitted.terms;
        let login = Login {
            carrier,
            rest,
            received,
            peer: connection.peer,
            tls: connection.tls,
            listener: Arc::clone(&self.listener),
            slot: connection.slot,
            accepted_at: self.accepted_at,
            permit: admitted.permit,
            seat: admitted.seat,
            client_id: admitted.client_id,
            assigned: admitted.assigned,
            username: admitted.username,
            authenticated: admitted.verified.authenticated,
            until: admitted.verified.until,
            permissions: admitted.verified.permissions,
            auth_method: None,
            auth_data: None,
            version,
            clean_start,
            keepalive,
            asked_keepalive,
            expiry,
            asked_expiry,
            receive_maximum: admitted.terms.receive_maximum,
            max_packet_size: admitted.terms.max_packet_size,
            topic_alias_maximum: admitted.terms.topic_alias_maximum,
            problem_information: admitted.terms.problem_information,
            will: admitted.will,
        };
        if home == self.shard {
            with(|shard| shard.attach(login));
        } else {
            self.node.inboxes[usize::from(home)].push(Mail::Login(Box::new(login)));
        }
    }

    /// Records the refusal, answers it where the protocol has an answer, and closes.
    async fn refuse(&self, connection: Connection, refused: &Refused) {
        self.record(&connection, refused);
        let mut out = OutBuf::new();
        if let (Some(code), Some(version)) = (refused.code(), self.version)
            && (version == Version::V5 || !refused.is_unanswered_v3())
        {
            connack::refuse(version, code, out.buffer_mut());
        }
        end::last_words(connection.transport, out).await;
    }

    fn record(&self, connection: &Connection, refused: &Refused) {
        use metrics::ConnectReason as Counted;
        let counters = &self.listener.counters[usize::from(self.shard)];
        let Some(facts) = self.facts.clone() else { return };
        let event = match refused {
            Refused::Gone | Refused::Timeout => {
                let name = if matches!(refused, Refused::Gone) {
                    ConnectReason::Protocol
                } else {
                    ConnectReason::Timeout
                };
                counters.connect(if matches!(refused, Refused::Gone) {
                    Counted::Protocol
                } else {
                    Counted::Timeout
                });
                Event::Connect(facts, audit::Connect::new(name))
            }
            Refused::Malformed(error) => {
                counters.connect(Counted::Protocol);
                let (socket, listener) = (connection.peer.socket(), &self.listener.name);
                tracing::debug!("listener {listener}: {socket}: no CONNECT: {error}");
                Event::ProtoError(facts, error.reason().name(), error.to_string().into())
            }
            Refused::NotConnect(first) => {
                counters.connect(Counted::Protocol);
                let doctor = &self.node.doctor;
                doctor.first_packet(&self.listener.name, &connection.peer, connection.class);
                let detail = format!("the first byte is {first:#04x}, not a CONNECT");
                let class = connection.class.map_or("unknown", peer::FirstBytes::as_str);
                let (socket, listener) = (connection.peer.socket(), &self.listener.name);
                tracing::debug!(
                    "listener {listener}: {socket} sent {class} where CONNECT is awaited: {detail}"
                );
                Event::ProtoError(facts, ReasonCode::ProtocolError.name(), detail.into())
            }
            Refused::Authn(reason, method) => {
                counters.connect(records::counted_authn(*reason));
                Event::AuthnFail(facts, *reason, method.clone())
            }
            Refused::Other(_, reason, by) => {
                counters.connect(records::counted(*reason));
                let mut record = audit::Connect::new(*reason);
                match reason {
                    ConnectReason::Banned => record.ban.clone_from(by),
                    _ => record.rule.clone_from(by),
                }
                Event::Connect(facts, record)
            }
        };
        self.node.audit.record(event);
    }
}

/// What was decided about a CONNECT.
struct Admitted {
    client_id: Arc<str>,
    assigned: bool,
    username: Option<Arc<str>>,
    verified: Verified,
    seat: Seat,
    permit: Permit,
    will: Option<Box<Will>>,
    terms: Terms,
}

/// What CONNECT asked for and what is granted.
struct Terms {
    version: Version,
    clean_start: bool,
    keepalive: u16,
    asked_keepalive: u16,
    expiry: u32,
    asked_expiry: u32,
    receive_maximum: u16,
    max_packet_size: u32,
    topic_alias_maximum: u16,
    problem_information: bool,
}
