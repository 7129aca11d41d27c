//! A listener with a handler that records, and the server's side of its connections.

use listeners::{
    Accepted, Admit, Arrival, Bind, BoundListener, Cause, Connection, Handler, HandshakeError, Listener,
    ListenerSpec, MinVersion, OutBuf, Refusal, TlsOptions, TlsSettings, Transport, TransportKind,
    accept_loop, bind, handshake,
};
use peer::{Addr, Outcome, Policy, RawPolicy, Value};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

/// All kinds of listener.
pub(crate) const KINDS: [TransportKind; 4] = [
    TransportKind::Tcp,
    TransportKind::Tls,
    TransportKind::Ws,
    TransportKind::Wss,
];

/// A bound on everything that a test waits for; reaching it is a failure.
pub(crate) async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    let done = timeout(Duration::from_secs(20), event).await;
    done.unwrap_or_else(|_| panic!("waited too long for {what}"))
}

/// A policy of these keys.
#[track_caller]
pub(crate) fn policy(kind: TransportKind, keys: &[(&str, Value)]) -> Arc<Policy> {
    let mut raw = RawPolicy::default();
    for (key, value) in keys {
        raw.set(*key, value.clone());
    }
    let (policy, _) = raw.check(kind, &|_| None).into_result().expect("a good policy");
    Arc::new(policy)
}

/// A policy that takes a PROXY header from loopback.
pub(crate) fn behind_proxy(kind: TransportKind) -> Arc<Policy> {
    policy(
        kind,
        &[
            ("proxy_protocol", text("required")),
            ("trusted_proxies", list(&["127.0.0.0/8", "::1", "unix"])),
        ],
    )
}

pub(crate) fn text(value: &str) -> Value {
    Value::Str(value.to_owned())
}

pub(crate) fn list(values: &[&str]) -> Value {
    Value::List(values.iter().map(|v| text(v)).collect())
}

/// A spec on an unused port; with certificates where they are needed.
pub(crate) fn spec(kind: TransportKind, policy: Arc<Policy>) -> ListenerSpec {
    let mut spec = ListenerSpec::new("door", Bind::Tcp(([127, 0, 0, 1], 0).into()), policy);
    if matches!(kind, TransportKind::Tls | TransportKind::Wss) {
        spec.tls = Some(Certs::new().settings(kind));
    }
    spec
}

/// What a refusal told.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) text: String,
    pub(crate) stage: listeners::Stage,
    pub(crate) class: Option<peer::FirstBytes>,
    pub(crate) http_status: Option<u16>,
    pub(crate) hop: Option<String>,
    pub(crate) header: Option<String>,
    pub(crate) same_address: bool,
    pub(crate) outcome: Option<Outcome>,
}

type Judge = dyn Fn(&Arrival<'_>) -> Admit + Send + Sync;

struct Recorder {
    judge: Box<Judge>,
    /// The address that sockets pretend to have.
    pretend: Option<Addr>,
    refused: UnboundedSender<Refused>,
    accepted: UnboundedSender<Accepted>,
    gates: Arc<Mutex<Vec<String>>>,
}

impl Handler for Recorder {
    fn admit(&self, arrival: &Arrival<'_>, _: listeners::Held) -> Admit {
        let line = format!(
            "{:?} {} {}{}{}",
            arrival.gate,
            arrival.addr.host_text(),
            arrival.kind,
            if arrival.charged { " charged" } else { "" },
            if arrival.peer.is_some() { " final" } else { "" }
        );
        self.gates.lock().expect("no panic").push(line);
        (self.judge)(arrival)
    }

    fn refused(&self, refusal: &Refusal<'_>) {
        let _ = self.refused.send(Refused {
            text: refusal.cause.to_string(),
            stage: refusal.stage,
            class: refusal.class,
            http_status: refusal.http_status,
            hop: refusal.hop.map(|h| h.to_string()),
            header: refusal.header.map(str::to_owned),
            same_address: refusal.same_address,
            outcome: match (refusal.reject, refusal.cause) {
                (Some(reject), _) => Some(Outcome::Reject(Box::new(reject.clone()))),
                (None, Cause::Peername(code, _)) => Some(Outcome::Close(*code)),
                _ => None,
            },
        });
    }

    fn dispatch(&self, accepted: Accepted) {
        let accepted = match self.pretend {
            Some(addr) => accepted.pretend(addr),
            None => accepted,
        };
        let _ = self.accepted.send(accepted);
    }
}

/// A running listener.
pub(crate) struct World {
    pub(crate) addr: SocketAddr,
    pub(crate) listener: Arc<Listener>,
    gates: Arc<Mutex<Vec<String>>>,
    connections: UnboundedReceiver<Result<Connection, HandshakeError>>,
    refused: UnboundedReceiver<Refused>,
}

impl World {
    pub(crate) fn new(spec: ListenerSpec) -> Self {
        Self::judged_by(spec, |_| Admit::Ok(None))
    }

    /// A listener whose handler answers with `judge`. Each socket gets a task of its own.
    pub(crate) fn judged_by(
        spec: ListenerSpec,
        judge: impl Fn(&Arrival<'_>) -> Admit + Send + Sync + 'static,
    ) -> Self {
        Self::on(bind(spec).expect("a free port"), judge)
    }

    /// A listener whose sockets have that address.
    pub(crate) fn pretending(spec: ListenerSpec, addr: Addr) -> Self {
        let bound = bind(spec).expect("a free port");
        Self::start(bound, |_| Admit::Ok(None), Some(addr))
    }

    pub(crate) fn on(
        bound: BoundListener,
        judge: impl Fn(&Arrival<'_>) -> Admit + Send + Sync + 'static,
    ) -> Self {
        Self::start(bound, judge, None)
    }

    fn start(
        bound: BoundListener,
        judge: impl Fn(&Arrival<'_>) -> Admit + Send + Sync + 'static,
        pretend: Option<Addr>,
    ) -> Self {
        let addr = bound.local_addr().unwrap_or_else(|| ([0, 0, 0, 0], 0).into());
        let listener = Arc::clone(bound.shared());
        let (refused, refusals) = unbounded_channel();
        let (accepted, mut sockets) = unbounded_channel();
        let (done, connections) = unbounded_channel();
        let gates = Arc::<Mutex<Vec<String>>>::default();
        let handler = Arc::new(Recorder {
            judge: Box::new(judge),
            pretend,
            refused,
            accepted,
            gates: Arc::clone(&gates),
        });
        let accepting: Arc<dyn Handler> = handler.clone();
        tokio::spawn(async move {
            let _ = accept_loop(bound, accepting, std::future::pending()).await;
        });
        tokio::spawn(async move {
            while let Some(socket) = sockets.recv().await {
                let (handler, done) = (Arc::clone(&handler), done.clone());
                tokio::spawn(async move {
                    let _ = done.send(handshake(socket, &*handler).await);
                });
            }
        });
        Self {
            addr,
            listener,
            gates,
            connections,
            refused: refusals,
        }
    }

    /// The end of the next handshake.
    pub(crate) async fn outcome(&mut self) -> Result<Connection, HandshakeError> {
        soon("a handshake", self.connections.recv())
            .await
            .expect("the listener runs")
    }

    /// The next connection whose handshake is done.
    pub(crate) async fn connection(&mut self) -> Connection {
        self.outcome().await.expect("a connection")
    }

    /// What `admit` was asked since the last call.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.gates.lock().expect("no panic"))
    }

    /// The next refusal.
    pub(crate) async fn refusal(&mut self) -> Refused {
        soon("a refusal", self.refused.recv())
            .await
            .expect("the listener runs")
    }
}

/// Reads MQTT bytes until there are `n`, or the end.
pub(crate) async fn read_n(transport: &mut Transport, n: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < n {
        let read = poll_fn(|cx| transport.poll_read(cx, &mut bytes, 64 * 1024));
        if soon("bytes", read).await.expect("a good stream") == 0 {
            break;
        }
    }
    bytes
}

/// Writes all of it.
pub(crate) async fn write(transport: &mut Transport, bytes: &[u8]) {
    let mut out = OutBuf::new();
    out.buffer_mut().extend_from_slice(bytes);
    flush(transport, &mut out).await;
}

/// Writes what waits.
pub(crate) async fn flush(transport: &mut Transport, out: &mut OutBuf) {
    while transport.try_flush(out).expect("a good stream") == listeners::Flushed::Blocked {
        soon("the client to read", poll_fn(|cx| transport.poll_write_ready(cx)))
            .await
            .expect("a good stream");
    }
}

/// A certificate authority with a server certificate for `localhost`, in files.
pub(crate) struct Certs {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) ca: rcgen::CertifiedIssuer<'static, rcgen::KeyPair>,
}

impl Certs {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("good names");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![
            rcgen::KeyUsagePurpose::KeyCertSign,
            rcgen::KeyUsagePurpose::CrlSign,
        ];
        let key = rcgen::KeyPair::generate().expect("a key");
        let ca = rcgen::CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let certs = Self { dir, ca };
        std::fs::write(certs.path("ca.pem"), certs.ca.pem()).expect("a file");
        certs.issue("server", "localhost");
        certs
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes `FILE.crt` and `FILE.key` for a name; returns the serial number.
    pub(crate) fn issue(&self, file: &str, name: &str) -> u64 {
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("a good name");
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let serial = 1000 + std::fs::read_dir(self.dir.path()).expect("a directory").count() as u64;
        params.serial_number = Some(serial.into());
        let key = rcgen::KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.ca).expect("a certificate");
        std::fs::write(self.path(&format!("{file}.crt")), cert.pem()).expect("a file");
        std::fs::write(self.path(&format!("{file}.key")), key.serialize_pem()).expect("a file");
        serial
    }

    /// Writes `crl.pem` with these serial numbers.
    pub(crate) fn revoke(&self, serials: &[u64]) {
        let revoked = serials.iter().map(|serial| rcgen::RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: rcgen::date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2024, 1, 1),
            next_update: rcgen::date_time_ymd(2124, 1, 1),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.ca).expect("a list");
        std::fs::write(self.path("crl.pem"), list.pem().expect("text")).expect("a file");
    }

    pub(crate) fn options(&self) -> TlsOptions {
        TlsOptions {
            cert_file: self.path("server.crt"),
            key_file: self.path("server.key"),
            client_ca_file: None,
            crl_file: None,
            client_auth: listeners::ClientAuth::None,
            min_version: MinVersion::V12,
        }
    }

    pub(crate) fn settings(&self, kind: TransportKind) -> Arc<TlsSettings> {
        Arc::new(TlsSettings::load(self.options(), kind).expect("good files"))
    }
}
