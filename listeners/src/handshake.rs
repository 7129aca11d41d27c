//! From an accepted socket to a connection: PROXY -> TLS -> HTTP -> address header, with the gates
//! between (peername 4). All branching is here, under one deadline; the steps themselves are in
//! `proxy`, `tls` and `ws`.

use crate::accept::Accepted;
use crate::error::{Admit, Cause, HandshakeError, Refusal, Stage};
use crate::limits::Slot;
use crate::outbuf::OutBuf;
use crate::proxy;
use crate::socket::Socket;
use crate::spec::{ListenerSpec, has_tls, has_ws};
use crate::tls::TlsInfo;
use crate::tls::handshake::shake;
use crate::transport::Transport;
use crate::ws::head;
use crate::{Arrival, Connection, Gate, Handler, log};
use peer::{Addr, FirstBytes, Hop, Kind, Peer, Reject, Source};
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::timeout_at;

/// How long a refused client may take to read our answer (peername 5.6).
const LINGER: Duration = Duration::from_millis(200);

/// Turns an accepted socket into a connection. It registers with the runtime of the calling task.
///
/// # Errors
/// The connection ended; it is logged, answered where there is a protocol for it, and the handler
/// has been told.
pub async fn handshake(accepted: Accepted, handler: &dyn Handler) -> Result<Connection, HandshakeError> {
    let evicted = accepted.slot.evicted();
    let shared = Arc::clone(&accepted.shared);
    let mut job = Job {
        spec: accepted.spec,
        socket: accepted.addr,
        at: accepted.at,
        slot: accepted.slot,
        charged: accepted.charged.then_some(accepted.addr),
        last: accepted.addr,
        stage: Stage::Proxy,
        hop: None,
        peer: None,
        class: None,
        answered: None,
    };
    let outcome = tokio::select! {
        biased;
        outcome = job.run(accepted.socket.attach(), handler) => outcome,
        () = evicted => Err(Cause::Evicted),
    };
    match outcome {
        Ok((transport, tls, peer)) => Ok(job.into_connection(transport, tls, peer)),
        Err(cause) => {
            let refusal = job.refusal(&cause);
            log::refusal(
                &shared.log,
                &refusal,
                job.spec.policy.address_header(),
                Instant::now(),
            );
            handler.refused(&refusal);
            Err(HandshakeError {
                stage: job.stage,
                fault: cause.fault(),
                cause,
            })
        }
    }
}

/// A handshake on its way, and what is known so far.
struct Job {
    spec: Arc<ListenerSpec>,
    socket: Addr,
    at: Instant,
    slot: Slot,
    /// The last address that a gate counted.
    charged: Option<Addr>,
    /// The address of the last gate.
    last: Addr,
    stage: Stage,
    hop: Option<Addr>,
    peer: Option<Arc<Peer>>,
    class: Option<FirstBytes>,
    /// The HTTP status that was sent.
    answered: Option<u16>,
}

impl Job {
    async fn run(
        &mut self,
        socket: io::Result<Socket>,
        handler: &dyn Handler,
    ) -> Result<(Transport, Option<TlsInfo>, Arc<Peer>), Cause> {
        let (mut socket, spec) = (socket?, Arc::clone(&self.spec));
        let deadline = self.deadline(self.at, spec.policy.proxy_header_timeout());
        let (hop, mut rest) = match proxy::read(&mut socket, &spec.policy, self.socket, deadline).await {
            Ok(passed) => (passed.hop, passed.rest),
            Err(ended) => {
                (self.hop, self.class) = (ended.hop, Some(ended.class));
                return Err(ended.cause);
            }
        };
        self.hop = Some(hop.addr());
        self.class = Some(peer::sniff(&rest));
        // Final unless the header stage is on.
        let mut peer = Arc::new(peer::resolve_socket(&spec.policy, &hop));
        if !spec.policy.header_stage() {
            self.settle(&peer)?;
        }
        self.admit(Gate::Hop, hop.addr(), hop.kind(), hop.source(), handler)?;

        let (mut layer, mut info) = (None, None);
        if let Some(settings) = spec.tls.as_ref().filter(|_| has_tls(spec.kind())) {
            self.stage = Stage::Tls;
            let deadline = self.deadline(Instant::now(), spec.handshake_timeout);
            let done = within(deadline, shake(&mut socket, settings.config(), rest)).await?;
            (layer, info, rest) = (Some(done.layer), Some(done.info), done.plain);
        }
        let mut transport = Transport::new(socket, layer, rest);
        if info.is_some() {
            self.first_plaintext(&mut transport, &hop).await?;
        }
        if has_ws(spec.kind()) {
            self.stage = Stage::Http;
            let deadline = self.deadline(Instant::now(), spec.ws.upgrade_timeout);
            match self.upgrade(&mut transport, &hop, handler, deadline).await {
                Ok(None) => {}
                Ok(Some(named)) => peer = named,
                Err(cause) => {
                    self.answer(transport, cause.http_status()).await;
                    return Err(cause);
                }
            }
        }
        Ok((transport, info, peer))
    }

    /// The instant a stage must be over: its own, or the whole login's if that is earlier.
    fn deadline(&self, from: Instant, limit: Duration) -> Instant {
        (from + limit).min(self.at + self.spec.login_timeout)
    }

    /// On tls and wss the first decrypted bytes must not be a PROXY header (peername 5.5).
    async fn first_plaintext(&mut self, transport: &mut Transport, hop: &Hop) -> Result<(), Cause> {
        let ws = has_ws(self.spec.kind());
        let limit = if ws {
            self.spec.ws.upgrade_timeout
        } else {
            self.spec.connect_timeout
        };
        let deadline = self.deadline(Instant::now(), limit);
        let mut bytes = Vec::new();
        loop {
            let read = timeout_at(deadline.into(), transport.read_some(&mut bytes)).await;
            // An end or a deadline is the next layer's to judge.
            let more = matches!(read, Ok(Ok(1..)));
            self.class = Some(peer::sniff(&bytes));
            if peer::after_tls(hop, &bytes).map_err(|r| refused(&r))? || !more {
                break;
            }
        }
        transport.unread(bytes);
        Ok(())
    }

    /// HTTP head, header stage, gate C, 101.
    async fn upgrade(
        &mut self,
        transport: &mut Transport,
        hop: &Hop,
        handler: &dyn Handler,
        deadline: Instant,
    ) -> Result<Option<Arc<Peer>>, Cause> {
        let mut bytes = Vec::new();
        let upgrade = loop {
            let had = bytes.len();
            let n = within(deadline, async { Ok(transport.read_some(&mut bytes).await?) }).await?;
            if had < 16 {
                self.class = Some(peer::sniff(&bytes));
            }
            if n == 0 {
                return Err(Cause::Gone);
            }
            if let Some(upgrade) = head::read(&bytes, &self.spec.ws).map_err(Cause::Upgrade)? {
                break upgrade;
            }
        };
        let mut named = None;
        if self.spec.policy.header_stage() {
            let fields = upgrade.fields.iter().map(|(name, value)| (&name[..], &value[..]));
            let peer = peer::resolve_headers(&self.spec.policy, hop, fields).map_err(|r| refused(&r))?;
            let peer = Arc::new(peer);
            self.settle(&peer)?;
            self.admit(
                Gate::Peername,
                peer.peername().addr(),
                peer.kind(),
                peer.source(),
                handler,
            )?;
            named = Some(peer);
        }
        within(deadline, async {
            Ok(transport.write_all(&upgrade.answer).await?)
        })
        .await?;
        bytes.drain(..upgrade.consumed);
        transport.start_websocket(bytes);
        Ok(named)
    }

    /// No further claim can come: this is the peer.
    fn settle(&mut self, peer: &Arc<Peer>) -> Result<(), Cause> {
        self.peer = Some(Arc::clone(peer));
        let full = peer.kind() == Kind::Proxy && !self.slot.is_proxy(self.spec.max_connections_proxy);
        if full { Err(Cause::Full) } else { Ok(()) }
    }

    fn admit(
        &mut self,
        gate: Gate,
        addr: Addr,
        kind: Kind,
        source: Source,
        handler: &dyn Handler,
    ) -> Result<(), Cause> {
        let exempt = kind == Kind::Proxy;
        let arrival = Arrival {
            listener: &self.spec,
            gate,
            socket: self.socket,
            addr,
            kind,
            source,
            exempt,
            charged: self.charged.is_some_and(|c| c.same_host(&addr)),
            peer: self.peer.as_deref(),
            now: Instant::now(),
        };
        match handler.admit(&arrival) {
            // The same address keeps what it was given.
            Admit::Ok(None) if self.last.same_host(&addr) && !exempt => {}
            Admit::Ok(held) => self.slot.hold(held),
            Admit::Refuse(denied) => return Err(Cause::Denied(denied)),
        }
        self.last = addr;
        if !exempt {
            self.charged = Some(addr);
        }
        Ok(())
    }

    /// Sends a refusal's HTTP head and lets the client read it.
    async fn answer(&mut self, mut transport: Transport, status: Option<u16>) {
        let Some(status) = status else { return };
        self.answered = Some(status);
        let goodbye = async {
            transport.write_all(&head::refusal(status)).await?;
            transport.finish(OutBuf::new()).await
        };
        // Whether it arrives is not our concern any more.
        let _ = timeout_at((Instant::now() + LINGER).into(), goodbye).await;
    }

    fn refusal<'a>(&'a self, cause: &'a Cause) -> Refusal<'a> {
        Refusal {
            listener: &self.spec.name,
            socket: self.socket,
            hop: self.hop,
            peer: self.peer.as_deref(),
            stage: self.stage,
            cause,
            http_status: self.answered,
            class: self.class,
            lasted: self.at.elapsed(),
        }
    }

    fn into_connection(self, transport: Transport, tls: Option<TlsInfo>, peer: Arc<Peer>) -> Connection {
        Connection {
            transport,
            peer,
            tls: tls.map(Box::new),
            connect_deadline: self.deadline(Instant::now(), self.spec.connect_timeout),
            login_deadline: self.at + self.spec.login_timeout,
            accepted_at: self.at,
            slot: self.slot,
            class: self.class,
            listener: self.spec,
        }
    }
}

fn refused(reject: &Reject) -> Cause {
    Cause::Peername(reject.code(), reject.detail())
}

/// Runs a step until its deadline.
async fn within<T>(deadline: Instant, step: impl Future<Output = Result<T, Cause>>) -> Result<T, Cause> {
    timeout_at(deadline.into(), step)
        .await
        .unwrap_or(Err(Cause::Timeout))
}
