//! Why a connection did not come to be: the stage, whose fault it is, the cause. What does not live
//! here: the words about addresses (`peer::Code`), the log (`log`).

use crate::limits::Held;
use crate::ws::UpgradeFault;
use peer::{Addr, Code, Detail, FirstBytes, Reject};
use std::fmt;
use std::io;
use std::time::Duration;

/// How far a connection has come (peername 4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Stage {
    /// Accepted; nothing is read.
    Socket,
    /// The PROXY header.
    Proxy,
    /// The TLS handshake.
    Tls,
    /// The HTTP head and the address header.
    Http,
}

impl Stage {
    /// The name in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Proxy => "proxy",
            Self::Tls => "tls",
            Self::Http => "http",
        }
    }
}

/// Whose fault it is; picks the log level and the counter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fault {
    /// The client's, or nobody's: it left.
    Client,
    /// A proxy's: its configuration or ours about it is wrong.
    Proxy,
    /// Ours.
    Us,
}

/// Why the [`Handler`](crate::Handler) turns somebody away.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Denied {
    /// Too many connections a second (`E_RATE`, HTTP 429).
    Rate,
    /// Too many unfinished logins of this address (`E_HALF_OPEN`).
    HalfOpen,
    /// Too many connections.
    Quota,
    /// A ban; its name.
    Banned(Box<str>),
    /// A connect rule; its place (`acl.conf:8`).
    Acl(Box<str>),
    /// The broker is going down.
    Draining,
}

impl Denied {
    /// The HTTP status, where there is an upgrade to answer.
    pub fn http_status(&self) -> u16 {
        match self {
            Self::Rate => 429,
            Self::Draining => 503,
            _ => 403,
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate => f.write_str("connect rate exceeded"),
            Self::HalfOpen => f.write_str("too many unfinished logins"),
            Self::Quota => f.write_str("too many connections"),
            Self::Banned(name) => write!(f, "banned ({name})"),
            Self::Acl(place) => write!(f, "denied by {place}"),
            Self::Draining => f.write_str("shutting down"),
        }
    }
}

/// The handler's answer at a stage.
pub enum Admit {
    /// Go on; what is to be kept until the next stage or the end of the login.
    Ok(Held),
    /// Close.
    Refuse(Denied),
}

/// The cause of a [`HandshakeError`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Cause {
    /// The address cannot be told, or is not believed (peername 5, 6), or a silent or empty
    /// connection (`Q_…`).
    Peername(Code, Detail),
    /// The handler said no.
    Denied(Denied),
    /// `max_connections` or `max_connections_proxy` is reached.
    Full,
    /// Too many unfinished logins on the listener, of which this was the oldest.
    Evicted,
    /// The upgrade is not what it must be.
    Upgrade(UpgradeFault),
    /// The TLS handshake failed.
    Tls(rustls::Error),
    /// The deadline of the stage or of the login passed.
    Timeout,
    /// The client went away.
    Gone,
    /// The socket failed.
    Io(io::Error),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peername(code, Some(detail)) => write!(f, "{code} {detail}"),
            Self::Peername(code, None) => code.fmt(f),
            Self::Denied(denied) => denied.fmt(f),
            Self::Full => f.write_str("the listener is full"),
            Self::Evicted => f.write_str("too many unfinished logins on the listener"),
            Self::Upgrade(fault) => fault.fmt(f),
            Self::Tls(e) => e.fmt(f),
            Self::Timeout => f.write_str("timed out"),
            Self::Gone => f.write_str("the client left"),
            Self::Io(e) => e.fmt(f),
        }
    }
}

impl Cause {
    /// The HTTP status that answers it, once an HTTP head is awaited.
    pub fn http_status(&self) -> Option<u16> {
        match self {
            Self::Peername(code, _) => code.http_status(),
            Self::Denied(denied) => Some(denied.http_status()),
            Self::Full | Self::Evicted => Some(503),
            Self::Upgrade(fault) => Some(fault.status()),
            Self::Timeout => Some(408),
            Self::Tls(_) | Self::Gone | Self::Io(_) => None,
        }
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Peername(code, _) if code.is_close() => Fault::Client,
            Self::Peername(..) => Fault::Proxy,
            Self::Io(e) if !is_gone(e) => Fault::Us,
            _ => Fault::Client,
        }
    }
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        if is_gone(&error) {
            return Self::Gone;
        }
        Self::Io(error)
    }
}

/// The client's side ended it.
fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof
    )
}

/// A connection that ended before MQTT began. The handler has been told of it already.
#[derive(Debug)]
pub struct HandshakeError {
    /// How far it had come.
    pub stage: Stage,
    /// Whose fault it is.
    pub fault: Fault,
    /// Why.
    pub cause: Cause,
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.stage.as_str(), self.cause)
    }
}

impl std::error::Error for HandshakeError {}

/// What the handler, and through it audit, metrics and doctor, learn of a refused connection.
#[derive(Debug)]
pub struct Refusal<'a> {
    /// The listener's name.
    pub listener: &'a str,
    /// The socket's address.
    pub socket: Addr,
    /// The hop, once the PROXY stage is done.
    pub hop: Option<Addr>,
    /// The whole result, once the header stage is done (or there is none).
    pub peer: Option<&'a peer::Peer>,
    /// How far it had come.
    pub stage: Stage,
    /// Why.
    pub cause: &'a Cause,
    /// The HTTP status it was answered with.
    pub http_status: Option<u16>,
    /// The resolver's own refusal, with its steps.
    pub reject: Option<&'a Reject>,
    /// Class of the first bytes that the refusing layer met (peername 5.6); `None` if it read none.
    pub class: Option<FirstBytes>,
    /// Those bytes, at most 16.
    pub first_bytes: &'a [u8],
    /// The address header that was refused, cut and escaped as peername 9 says.
    pub header: Option<&'a str>,
    /// A PROXY header that was not believed names the socket's own address (peername 11.1).
    pub same_address: bool,
    /// How long it lasted.
    pub lasted: Duration,
}
