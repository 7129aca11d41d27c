//! Bytes of resident memory that an idle connection costs below MQTT:
//! `cargo run -p listeners --example idle -- tcp|tls|ws|wss [ours|library] [CONNECTIONS]`.
//!
//! `library` serves the same clients through tokio-rustls and tokio-tungstenite, for comparison. The
//! clients are another process, so that only the server's side is counted.

use listeners::{
    Accepted, Admit, Arrival, Bind, ClientAuth, Connection, Handler, ListenerSpec, MinVersion, OutBuf,
    Refusal, TlsOptions, TlsSettings, TransportKind, accept_loop, bind, handshake,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::error::Error;
use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite;

type Failure = Box<dyn Error + Send + Sync>;

/// What a client says before it falls silent, and the answer.
const CONNECT: &[u8] = b"\x10\x0c\0\x04MQTT\x04\x02\0\x3c\0\0";
const CONNACK: &[u8] = b"\x20\x02\0\0";

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let arg = |i: usize, default: &'static str| args.get(i).map_or(default, String::as_str).to_owned();
    if arg(0, "") == "client" {
        return clients(&arg(1, "tcp"), arg(2, "").parse()?, arg(3, "1").parse()?);
    }
    let (kind, n) = (arg(0, "tcp"), arg(2, "2000").parse()?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let bytes = match arg(1, "ours").as_str() {
        "library" => runtime.block_on(library(&kind, n))?,
        _ => runtime.block_on(ours(&kind, n))?,
    };
    println!(
        "{kind} {}: {bytes} bytes a connection ({n} connections)",
        arg(1, "ours")
    );
    Ok(())
}

fn start_clients(kind: &str, addr: SocketAddr, n: usize) -> Result<std::process::Child, Failure> {
    let me = std::env::current_exe()?;
    Ok(Command::new(me)
        .args(["client", kind, &addr.to_string(), &n.to_string()])
        .spawn()?)
}

/// Resident memory in bytes.
fn resident() -> Result<usize, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .ok_or("no VmRSS")?;
    Ok(line.trim_end_matches("kB").trim().parse::<usize>()? * 1024)
}

struct Doorman(tokio::sync::mpsc::UnboundedSender<Accepted>);

impl Handler for Doorman {
    fn admit(&self, _: &Arrival<'_>, _: listeners::Held) -> Admit {
        Admit::Ok(None)
    }

    fn refused(&self, refusal: &Refusal<'_>) {
        eprintln!("refused: {}", refusal.cause);
    }

    fn dispatch(&self, accepted: Accepted) {
        let _ = self.0.send(accepted);
    }
}

async fn ours(kind: &str, n: usize) -> Result<usize, Failure> {
    let transport = TransportKind::from_name(kind).ok_or("tcp, tls, ws or wss")?;
    let policy = Arc::new(peer::Policy::defaults(transport));
    let mut spec = ListenerSpec::new("idle", Bind::Tcp(([127, 0, 0, 1], 0).into()), policy);
    let files = Files::new()?;
    spec.tls = Some(Arc::new(TlsSettings::load(files.options(), transport)?));
    let bound = bind(spec)?;
    let addr = bound.local_addr().ok_or("a TCP listener")?;
    let (sender, mut accepted) = tokio::sync::mpsc::unbounded_channel();
    let doorman = Arc::new(Doorman(sender));
    tokio::spawn(accept_loop(bound, doorman.clone(), std::future::pending()));
    let mut held: Vec<Connection> = Vec::with_capacity(n + 100);
    let mut clients = start_clients(kind, addr, n + 100)?;
    let (mut buf, mut before) = (Vec::new(), 0);
    while held.len() < n + 100 {
        if held.len() == 100 {
            // What is there once (buffers, tables) is not counted.
            before = resident()?;
        }
        let socket = accepted.recv().await.ok_or("the listener ended")?;
        let mut connection = Box::pin(handshake(socket, &*doorman)).await?;
        buf.clear();
        poll_fn(|cx| connection.transport.poll_read(cx, &mut buf, 65_536)).await?;
        let mut out = OutBuf::new();
        out.buffer_mut().extend_from_slice(CONNACK);
        connection.transport.try_flush(&mut out)?;
        connection.slot.login_done();
        held.push(connection);
    }
    let after = resident()?;
    clients.kill()?;
    Ok((after - before) / n)
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// What a connection would be with the usual crates.
#[expect(dead_code, reason = "it is only held")]
enum Held {
    Bytes(Box<dyn Stream>),
    Frames(Box<tokio_tungstenite::WebSocketStream<Box<dyn Stream>>>),
}

async fn library(kind: &str, n: usize) -> Result<usize, Failure> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(Files::new()?.server()?));
    let mut clients = start_clients(kind, listener.local_addr()?, n + 100)?;
    let mut held = Vec::with_capacity(n + 100);
    let mut before = 0;
    while held.len() < n + 100 {
        if held.len() == 100 {
            before = resident()?;
        }
        let (socket, _) = listener.accept().await?;
        let mut stream: Box<dyn Stream> = if kind.ends_with('s') && kind != "ws" || kind == "tls" {
            Box::new(acceptor.accept(socket).await?)
        } else {
            Box::new(socket)
        };
        held.push(if kind.starts_with('w') {
            #[expect(clippy::result_large_err, reason = "the signature tungstenite asks for")]
            let answer = |_: &_, mut response: tungstenite::handshake::server::Response| {
                let name = tungstenite::http::HeaderValue::from_static("mqtt");
                response.headers_mut().insert("sec-websocket-protocol", name);
                Ok(response)
            };
            let mut ws = Box::new(tokio_tungstenite::accept_hdr_async(stream, answer).await?);
            futures_util::StreamExt::next(&mut ws).await.ok_or("closed")??;
            Held::Frames(ws)
        } else {
            stream.read_exact(&mut [0; CONNECT.len()]).await?;
            Held::Bytes(stream)
        });
    }
    let after = resident()?;
    clients.kill()?;
    Ok((after - before) / n)
}

/// Connects `n` times, says CONNECT, waits for ever.
fn clients(kind: &str, addr: SocketAddr, n: usize) -> Result<(), Failure> {
    let tls = Arc::new(
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer))
            .with_no_client_auth(),
    );
    let mut held: Vec<Box<dyn std::any::Any>> = Vec::new();
    for _ in 0..n {
        let socket = TcpStream::connect(addr)?;
        if matches!(kind, "tls" | "wss") {
            let conn = rustls::ClientConnection::new(Arc::clone(&tls), ServerName::try_from("localhost")?)?;
            held.push(speak(rustls::StreamOwned::new(conn, socket), kind)?);
        } else {
            held.push(speak(socket, kind)?);
        }
    }
    std::thread::park();
    drop(held);
    Ok(())
}

fn speak<S: Read + Write + 'static>(mut stream: S, kind: &str) -> Result<Box<dyn std::any::Any>, Failure> {
    if !kind.starts_with('w') {
        stream.write_all(CONNECT)?;
        stream.flush()?;
        return Ok(Box::new(stream));
    }
    let request =
        tungstenite::ClientRequestBuilder::new("ws://localhost/mqtt".parse()?).with_sub_protocol("mqtt");
    let (mut ws, _) = tungstenite::client(request, stream).map_err(|e| e.to_string())?;
    ws.send(tungstenite::Message::binary(CONNECT))?;
    Ok(Box::new(ws))
}

/// A certificate of our own.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Result<Self, Failure> {
        let files = Self(tempfile::tempdir()?);
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
        std::fs::write(files.0.path().join("cert"), made.cert.pem())?;
        std::fs::write(files.0.path().join("key"), made.signing_key.serialize_pem())?;
        Ok(files)
    }

    fn options(&self) -> TlsOptions {
        TlsOptions {
            cert_file: self.0.path().join("cert"),
            key_file: self.0.path().join("key"),
            client_ca_file: None,
            crl_file: None,
            client_auth: ClientAuth::None,
            min_version: MinVersion::V12,
        }
    }

    fn server(&self) -> Result<rustls::ServerConfig, Failure> {
        let chain = vec![CertificateDer::from_pem_file(self.0.path().join("cert"))?];
        let key = PrivateKeyDer::from_pem_file(self.0.path().join("key"))?;
        Ok(rustls::ServerConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?)
    }
}

#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
