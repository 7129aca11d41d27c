//! What can be written to the audit log: one type per event, with its fields and reasons.
//!
//! Not here: how an event looks as a line (`format`) and how it gets to the disk (`log`).
//! The table of operator-interface.md section 5 is the contract; key names stand in `format`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use peer::{Addr, Code, Peer};

/// The addresses of a record.
#[derive(Clone, Debug)]
pub enum Addresses {
    /// A resolved peername.
    Peer(Arc<Peer>),
    /// None could be resolved; only the TCP peer is known.
    Refused(Addr),
}

/// Our own TLS with the client; empty fields are left out of the record. (TLS that a trusted proxy
/// ended is read from the peer itself.)
#[derive(Clone, Debug, Default)]
pub struct TlsFacts {
    /// For example `TLSv1.3`.
    pub version: Option<String>,
    /// Cipher suite name.
    pub cipher: Option<String>,
    /// Server name the client asked for.
    pub sni: Option<String>,
    /// Common name of the verified client certificate.
    pub cn: Option<String>,
    /// Subject alternative names of the verified client certificate.
    pub san: Vec<String>,
    /// SHA-256 of the client certificate, hex.
    pub cert_sha256: Option<String>,
}

/// Who a record is about. Cheap to clone: everything big is shared.
#[derive(Clone, Debug)]
pub struct ClientFacts {
    /// Its addresses.
    pub addresses: Addresses,
    /// Name of the listener.
    pub listener: Arc<str>,
    /// Client id, once CONNECT was read.
    pub clientid: Option<Arc<str>>,
    /// User name, once known (CONNECT, certificate or TLV).
    pub username: Option<Arc<str>>,
    /// `mqtt3.1`, `mqtt3.1.1` or `mqtt5`, once known.
    pub proto: Option<&'static str>,
    /// Our own TLS; `None` = not used.
    pub tls: Option<Arc<TlsFacts>>,
}

impl ClientFacts {
    /// Facts of a connection that has not sent CONNECT yet.
    pub fn new(peer: Arc<Peer>, listener: Arc<str>) -> Self {
        Self {
            addresses: Addresses::Peer(peer),
            listener,
            clientid: None,
            username: None,
            proto: None,
            tls: None,
        }
    }

    /// Facts of a connection without a peername.
    pub fn refused(socket: Addr, listener: Arc<str>) -> Self {
        Self {
            addresses: Addresses::Refused(socket),
            listener,
            clientid: None,
            username: None,
            proto: None,
            tls: None,
        }
    }
}

/// Who made an administrative change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A local user on the admin socket, by SO_PEERCRED.
    Uid(u32),
    /// A token, by name, and the address it came from.
    Token {
        /// Name of the token.
        name: String,
        /// The resolved address of the caller.
        peer_ip: IpAddr,
    },
    /// A signal such as `HUP`.
    Signal(&'static str),
}

/// Declares an enum whose variants have one fixed word each.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vmeta])* $variant,)* }
        impl $name {
            /// Every value, in declaration order.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];
            /// The word in the record.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
            /// The value with this word.
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

words! {
    /// The name of an event.
    EventKind {
        /// A CONNECT was answered.
        Connect = "connect",
        /// Credentials were refused.
        AuthnFail = "authn_fail",
        /// No peername could be resolved.
        PeernameReject = "peername_reject",
        /// The client broke the protocol.
        ProtoError = "proto_error",
        /// A rule or quota refused an action.
        AclDeny = "acl_deny",
        /// A subscription was made.
        Subscribe = "subscribe",
        /// A subscription was removed.
        Unsubscribe = "unsubscribe",
        /// A message was accepted; off by default.
        PublishOk = "publish_ok",
        /// A connection ended.
        Disconnect = "disconnect",
        /// A client id moved to a new connection.
        Takeover = "takeover",
        /// An administrator closed a connection.
        Kick = "kick",
        /// A ban was made.
        Ban = "ban",
        /// A ban was lifted.
        Unban = "unban",
        /// Any other administrative change.
        Admin = "admin",
        /// The configuration was reloaded, or was refused.
        ConfigReload = "config_reload",
        /// The broker started.
        Start = "start",
        /// The broker is stopping.
        Stop = "stop",
        /// Records were lost before this one.
        AuditGap = "audit_gap",
        /// The head of the hash chain.
        AuditCheckpoint = "audit_checkpoint",
    }
}

words! {
    /// How a CONNECT ended.
    ConnectReason {
        /// Accepted.
        Ok = "ok",
        /// A ban matches.
        Banned = "banned",
        /// A quota is used up.
        Quota = "quota",
        /// A limit before login (E_RATE, E_HALF_OPEN).
        Rate = "rate",
        /// A rule denies it (or its will).
        Acl = "acl",
        /// Not a valid CONNECT.
        Protocol = "protocol",
        /// The login deadline passed.
        Timeout = "timeout",
        /// The client id is not acceptable.
        Clientid = "clientid",
        /// No room.
        ServerBusy = "server_busy",
        /// The broker is stopping.
        Shutdown = "shutdown",
    }
}

words! {
    /// Why credentials were refused.
    AuthnReason {
        /// Wrong password or proof.
        BadCredentials = "bad_credentials",
        /// No such user.
        UnknownUser = "unknown_user",
        /// None were given and anonymous is not allowed.
        NoCredentials = "no_credentials",
        /// The client certificate does not do.
        Cert = "cert",
        /// The source of credentials did not answer.
        BackendError = "backend_error",
    }
}

words! {
    /// Why an action was denied.
    DenyReason {
        /// By a rule.
        Acl = "acl",
        /// By a quota.
        Quota = "quota",
    }
}

words! {
    /// What was denied.
    DenyAction {
        /// CONNECT.
        Connect = "connect",
        /// The will of a CONNECT.
        Will = "will",
        /// PUBLISH.
        Publish = "publish",
        /// SUBSCRIBE.
        Subscribe = "subscribe",
    }
}

words! {
    /// Why a connection ended.
    DisconnectReason {
        /// The client left, with or without DISCONNECT.
        Client = "client",
        /// No packet in time.
        Keepalive = "keepalive",
        /// By an administrator.
        Kicked = "kicked",
        /// The client id came back elsewhere.
        Takeover = "takeover",
        /// A ban.
        Banned = "banned",
        /// A protocol or transport error.
        Error = "error",
        /// The broker is stopping.
        Shutdown = "shutdown",
    }
}

/// Fields of `connect`; what is `None` is left out. (`info`, the facts of a PROXY v2 header, is read from
/// the peer.)
#[derive(Clone, Debug)]
pub struct Connect {
    /// `ok` is a success, every other reason a failure.
    pub reason: ConnectReason,
    /// Clean start (MQTT 3: clean session).
    pub clean_start: Option<bool>,
    /// Keep-alive in force, seconds.
    pub keepalive: Option<u16>,
    /// As told in CONNACK.
    pub session_present: Option<bool>,
    /// Topic of the will.
    pub will_topic: Option<Box<str>>,
    /// Deciding ACL rule, `file:line`.
    pub rule: Option<Box<str>>,
    /// The ban that matched.
    pub ban: Option<Box<str>>,
}

impl Connect {
    /// A record with this reason and nothing else known.
    pub fn new(reason: ConnectReason) -> Self {
        Self {
            reason,
            clean_start: None,
            keepalive: None,
            session_present: None,
            will_topic: None,
            rule: None,
            ban: None,
        }
    }
}

/// Fields of `peername_reject`.
#[derive(Clone, Debug)]
pub struct PeernameReject {
    /// The E_ code.
    pub code: Code,
    /// Detail of the code; left out if there is none.
    pub detail: Option<Box<str>>,
    /// The hop, if known.
    pub hop: Option<Addr>,
    /// Class of the first bytes (peername 5.6) and at most 16 of them.
    pub first_bytes: Option<(&'static str, Vec<u8>)>,
    /// The address header, already cut and escaped as in peername 9.
    pub header: Option<Box<str>>,
}

/// Fields of `acl_deny`.
#[derive(Clone, Debug)]
pub struct AclDeny {
    /// Rule or quota.
    pub reason: DenyReason,
    /// What was denied.
    pub action: DenyAction,
    /// Topic, or the filter of a subscription.
    pub topic: Option<Box<str>>,
    /// 0-2.
    pub qos: Option<u8>,
    /// Retain flag (publish, will).
    pub retain: Option<bool>,
    /// Deciding rule, `file:line`.
    pub rule: Option<Box<str>>,
}

/// Fields of `kick`, `ban` and `unban`.
#[derive(Clone, Debug, Default)]
pub struct Sanction {
    /// Who did it; `None` for an automatic one.
    pub actor: Option<Actor>,
    /// What it is against: an address, a prefix, `client:ID` or `user:NAME`.
    pub what: Box<str>,
    /// When it ends.
    pub until: Option<SystemTime>,
    /// In whose name (`--by`, or the automatic rule).
    pub by: Option<Box<str>>,
    /// Live connections it met.
    pub matched: Option<u64>,
}

/// Fields of `admin` and `config_reload`.
#[derive(Clone, Debug)]
pub struct AdminCall {
    /// Who.
    pub actor: Actor,
    /// Which call, as `POST /api/v1/log/level`.
    pub call: Box<str>,
    /// Whether it was done.
    pub success: bool,
    /// Keys or things changed.
    pub changed: Vec<String>,
    /// Why it was not done.
    pub errors: Vec<String>,
}

/// An event with its fields.
#[derive(Clone, Debug)]
pub enum Event {
    /// A CONNECT was answered, or the connection was refused before it.
    Connect(ClientFacts, Connect),
    /// Credentials refused; the method is the name in `auth.chain`.
    AuthnFail(ClientFacts, AuthnReason, Box<str>),
    /// No peername; `ClientFacts::refused`.
    PeernameReject(ClientFacts, PeernameReject),
    /// MQTT reason name (lower case with underscores) and detail.
    ProtoError(ClientFacts, &'static str, Box<str>),
    /// Denied; alike ones are counted together.
    AclDeny(ClientFacts, AclDeny),
    /// Filter, granted QoS, deciding rule.
    Subscribe(ClientFacts, Box<str>, u8, Option<Box<str>>),
    /// Filter.
    Unsubscribe(ClientFacts, Box<str>),
    /// Topic, QoS, deciding rule.
    PublishOk(ClientFacts, Box<str>, u8, Option<Box<str>>),
    /// End of a connection.
    Disconnect(ClientFacts, Disconnect),
    /// The old connection's peername and socket addresses.
    Takeover(ClientFacts, Addr, Addr),
    /// A connection closed by an administrator, if one is concerned.
    Kick(Option<ClientFacts>, Sanction),
    /// A ban.
    Ban(Sanction),
    /// A ban lifted.
    Unban(Sanction),
    /// An administrative change.
    Admin(AdminCall),
    /// A reload.
    ConfigReload(AdminCall),
    /// Version of the broker that started.
    Start(&'static str),
    /// The broker stops.
    Stop,
}

/// Fields of `disconnect`.
#[derive(Clone, Copy, Debug)]
pub struct Disconnect {
    /// Why.
    pub reason: DisconnectReason,
    /// MQTT reason code, sent or received.
    pub code: u8,
    /// Since accept.
    pub duration_ms: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
}

impl Event {
    /// Its name.
    pub fn kind(&self) -> EventKind {
        match self {
            Self::Connect(..) => EventKind::Connect,
            Self::AuthnFail(..) => EventKind::AuthnFail,
            Self::PeernameReject(..) => EventKind::PeernameReject,
            Self::ProtoError(..) => EventKind::ProtoError,
            Self::AclDeny(..) => EventKind::AclDeny,
            Self::Subscribe(..) => EventKind::Subscribe,
            Self::Unsubscribe(..) => EventKind::Unsubscribe,
            Self::PublishOk(..) => EventKind::PublishOk,
            Self::Disconnect(..) => EventKind::Disconnect,
            Self::Takeover(..) => EventKind::Takeover,
            Self::Kick(..) => EventKind::Kick,
            Self::Ban(..) => EventKind::Ban,
            Self::Unban(..) => EventKind::Unban,
            Self::Admin(..) => EventKind::Admin,
            Self::ConfigReload(..) => EventKind::ConfigReload,
            Self::Start(..) => EventKind::Start,
            Self::Stop => EventKind::Stop,
        }
    }

    /// The client it is about.
    pub fn client(&self) -> Option<&ClientFacts> {
        match self {
            Self::Connect(c, _)
            | Self::AuthnFail(c, ..)
            | Self::PeernameReject(c, _)
            | Self::ProtoError(c, ..)
            | Self::AclDeny(c, _)
            | Self::Subscribe(c, ..)
            | Self::Unsubscribe(c, _)
            | Self::PublishOk(c, ..)
            | Self::Disconnect(c, _)
            | Self::Takeover(c, ..) => Some(c),
            Self::Kick(c, _) => c.as_ref(),
            _ => None,
        }
    }
}
