//! From an accepted socket to a connection: PROXY -> TLS -> HTTP -> address header, with the gates
//! between (peername 4). All branching is here, under one deadline; the steps themselves are in
//! `proxy`, `tls` and `ws`.

use crate::accept::{Accepted, Listener};
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
/// How many first bytes are remembered (peername 5.6).
const FIRST_MAX: usize = 16;

/// Turns an accepted socket into a connection. It registers with the runtime of the calling task.
///
/// # Errors
/// The connection ended; it is logged, answered where there is a protocol for it, and the handler
/// has been told.
pub async fn handshake(accepted: Accepted, handler: &dyn Handler) -> Result<Connection, HandshakeError> {
    let evicted = accepted.slot.evicted();
    let mut job = Job {
        shared: accepted.shared,
        spec: accepted.spec,
        socket: accepted.addr,
        at: accepted.at,
        slot: accepted.slot,
        charged: accepted.charged.then_some(accepted.addr),
        last: accepted.addr,
        stage: Stage::Proxy,
        known: Known::default(),
        unanswered: None,
    };
    let outcome = tokio::select! {
        biased;
        outcome = job.run(accepted.socket.attach(), handler) => outcome,
        () = evicted => Err(Cause::Evicted),
    };
    match outcome {
        Ok((transport, tls, peer)) => Ok(job.into_connection(transport, tls, peer)),
        Err(cause) => {
            let answer = job.unanswered.take().zip(cause.http_status());
            let refusal = job.refusal(&cause, answer.as_ref().map(|(_, status)| *status));
            let header = job.spec.policy.address_header();
            log::refusal(&job.shared.log, &refusal, header, Instant::now());
            handler.refused(&refusal);
            if let Some((transport, status)) = answer {
                say(transport, status).await;
            }
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
    shared: Arc<Listener>,
    spec: Arc<ListenerSpec>,
    socket: Addr,
    at: Instant,
    slot: Slot,
    /// The last address that a gate counted.
    charged: Option<Addr>,
    /// The address of the last gate.
    last: Addr,
    stage: Stage,
    known: Known,
    /// A refused client that waits for an HTTP answer.
    unanswered: Option<Transport>,
}

/// What a refusal tells besides.
#[derive(Default)]
struct Known {
    hop: Option<Addr>,
    peer: Option<Arc<Peer>>,
    reject: Option<Reject>,
    first: Vec<u8>,
    header: Option<String>,
    same_address: bool,
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
                let once = || {
                    self.shared
                        .log
                        .pass("same_address", None, Instant::now())
                        .is_some()
                };
                let same = proxy::names_itself(&mut socket, self.socket, &ended, once).await;
                self.known.same_address = same;
                self.known.saw(&ended.seen);
                self.known.hop = ended.reject.as_ref().and_then(Reject::hop);
                self.known.reject = ended.reject;
                return Err(ended.cause);
            }
        };
        self.known.hop = Some(hop.addr());
        self.known.saw(&rest);
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
                    self.unanswered = Some(transport);
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
            self.known.saw(&bytes);
            if peer::after_tls(hop, &bytes).map_err(|r| self.refused(r))? || !more {
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
            let n = within(deadline, async { Ok(transport.read_some(&mut bytes).await?) }).await?;
            self.known.saw(&bytes);
            if n == 0 {
                return Err(Cause::Gone);
            }
            if let Some(upgrade) = head::read(&bytes, &self.spec.ws).map_err(Cause::Upgrade)? {
                break upgrade;
            }
        };
        let mut named = None;
        if self.spec.policy.header_stage() {
            let fields = || upgrade.fields.iter().map(|(name, value)| (&name[..], &value[..]));
            let peer = peer::resolve_headers(&self.spec.policy, hop, fields()).map_err(|reject| {
                self.known.header = shown(fields(), self.spec.policy.address_header());
                self.refused(reject)
            })?;
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
        self.known.peer = Some(Arc::clone(peer));
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
            peer: self.known.peer.as_deref(),
            now: Instant::now(),
        };
        match handler.admit(&arrival, self.slot.take_held()) {
            Admit::Ok(held) => self.slot.hold(held),
            Admit::Refuse(denied) => return Err(Cause::Denied(denied)),
        }
        self.last = addr;
        if !exempt {
            self.charged = Some(addr);
        }
        Ok(())
    }

    /// Keeps the resolver's refusal for whoever asks how it came to that.
    fn refused(&mut self, reject: Reject) -> Cause {
        let cause = Cause::Peername(reject.code(), reject.detail());
        self.known.reject = Some(reject);
        cause
    }

    fn refusal<'a>(&'a self, cause: &'a Cause, http_status: Option<u16>) -> Refusal<'a> {
        let known = &self.known;
        Refusal {
            listener: &self.spec.name,
            socket: self.socket,
            hop: known.hop,
            peer: known.peer.as_deref(),
            stage: self.stage,
            cause,
            http_status,
            reject: known.reject.as_ref(),
            class: known.class(),
            first_bytes: &known.first,
            header: known.header.as_deref(),
            same_address: known.same_address,
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
            class: self.known.class(),
            listener: self.spec,
        }
    }
}

impl Known {
    /// Remembers the beginning of what a layer met.
    fn saw(&mut self, bytes: &[u8]) {
        self.first.clear();
        self.first.extend(bytes.iter().take(FIRST_MAX));
    }

    fn class(&self) -> Option<FirstBytes> {
        (!self.first.is_empty()).then(|| peer::sniff(&self.first))
    }
}

/// The address header as the log may show it.
fn shown<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>, name: &str) -> Option<String> {
    let lines = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name.as_bytes()));
    let value = lines.map(|(_, value)| value).collect::<Vec<_>>().join(&b","[..]);
    (!value.is_empty()).then(|| peer::escape_header(&value))
}

/// Sends a refusal's HTTP head and lets the client read it.
async fn say(mut transport: Transport, status: u16) {
    let goodbye = async {
        transport.write_all(&head::refusal(status)).await?;
        transport.finish(OutBuf::new()).await
    };
    // Whether it arrives is not our concern any more.
    let _ = timeout_at((Instant::now() + LINGER).into(), goodbye).await;
}

/// Runs a step until its deadline.
async fn within<T>(deadline: Instant, step: impl Future<Output = Result<T, Cause>>) -> Result<T, Cause> {
    timeout_at(deadline.into(), step)
        .await
        .unwrap_or(Err(Cause::Timeout))
}
