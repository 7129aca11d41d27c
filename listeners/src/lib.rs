//! Sockets to connections: accept, PROXY header, TLS, WebSocket upgrade, address headers, under one
//! deadline. The only crate that asks a socket for its address.
//!
//! [`bind`] opens a listener, [`accept_loop`] takes sockets and hands them to [`Handler::dispatch`]
//! without reading a byte, [`handshake`] turns one into a [`Connection`]. What does not live here:
//! the rules about addresses (`peer`), MQTT, bans, rates and audit (`broker`, behind [`Handler`]).

mod accept;
mod error;
mod handshake;
mod limits;
mod log;
mod outbuf;

mod proxy;
mod socket;
mod spec;
mod tls;
mod transport;
mod ws;

pub use accept::{Accepted, BoundListener, Listener, accept_loop, bind, bind_inherited};
pub use error::{Admit, Cause, Denied, Fault, HandshakeError, Refusal, Stage};
pub use handshake::handshake;
pub use limits::{Held, Slot};
pub use outbuf::{OutBuf, SHARE_MIN};
pub use socket::StdSocket;
pub use spec::{Bind, BindError, ListenerSpec, TransportKind, WsSettings};
pub use tls::{
    CertIdentity, CertSummary, ClientAuth, MinVersion, Reloaded, TlsError, TlsInfo, TlsOptions, TlsSettings,
};
pub use transport::{DetachedTransport, Flushed, Transport};
pub use ws::{UpgradeFault, WsFault};

use peer::{Addr, FirstBytes, Kind, Peer, Source};
use std::sync::Arc;
use std::time::Instant;

/// The broker, as this crate sees it. All calls are synchronous and must be quick.
pub trait Handler: Send + Sync {
    /// May this connection go on? Bans, rates and half-open limits at every gate; early connect
    /// rules exactly once, when [`Arrival::peer`] is there.
    /// `held` is what the gate before gave, and is dropped with the login unless it is given back.
    fn admit(&self, arrival: &Arrival<'_>, held: Held) -> Admit;

    /// A connection ended before MQTT began. It is logged already.
    fn refused(&self, refusal: &Refusal<'_>);

    /// A socket to be given to [`handshake`], on whichever thread is to do it.
    fn dispatch(&self, accepted: Accepted);
}

/// Where an address has become known (peername 4 and 12).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Gate {
    /// A: the socket's, at accept.
    Socket,
    /// B: the hop's, after the PROXY stage and before TLS.
    Hop,
    /// C: the peername, before the 101; only with an address header.
    Peername,
}

/// What is known when an address stands.
#[derive(Debug)]
pub struct Arrival<'a> {
    /// The listener.
    pub listener: &'a ListenerSpec,
    /// Which address stands.
    pub gate: Gate,
    /// The socket's address.
    pub socket: Addr,
    /// The address of this gate.
    pub addr: Addr,
    /// What it is, as far as known: a listed socket is a proxy.
    pub kind: Kind,
    /// Where it came from.
    pub source: Source,
    /// Shared by many clients, so not limited by address (peername 12): a listed socket, a hop or
    /// peername of kind=proxy.
    pub exempt: bool,
    /// The same address was counted at an earlier gate and is not charged again (peername 12).
    pub charged: bool,
    /// The whole result, once no further claim can come.
    pub peer: Option<&'a Peer>,
    /// Now.
    pub now: Instant,
}

/// A client's connection, ready for CONNECT.
///
/// It belongs to the runtime on which its handshake ran; take [`Connection::transport`] out and
/// [detach](Transport::detach) it to move it.
#[derive(Debug)]
pub struct Connection {
    /// The stream of MQTT bytes.
    pub transport: Transport,
    /// Who the client is.
    pub peer: Arc<Peer>,
    /// Our own TLS.
    pub tls: Option<Box<TlsInfo>>,
    /// The listener as it was at accept.
    pub listener: Arc<ListenerSpec>,
    /// CONNECT must be whole by then.
    pub connect_deadline: Instant,
    /// CONNACK must be sent by then.
    pub login_deadline: Instant,
    /// When it was accepted.
    pub accepted_at: Instant,
    /// Its place; the broker calls [`Slot::login_done`] with CONNACK and races [`Slot::evicted`]
    /// until then.
    pub slot: Slot,
    /// Class of the first MQTT bytes at hand, for the log and the doctor (peername 5.6).
    pub class: Option<FirstBytes>,
}
