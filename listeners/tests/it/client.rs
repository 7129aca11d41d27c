//! The client's side, byte by byte: every byte that goes out passes one place, where it can be cut.

use crate::world::soon;
use listeners::TransportKind;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

pub(crate) const HEADER: &[u8] = b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 1883\r\n";
/// A CONNECT and a PINGREQ.
pub(crate) const MQTT: &[u8] = b"\x10\x0c\0\x04MQTT\x04\x02\0\x3c\0\0\xc0\0";

/// Where the bytes a client sends are cut.
#[derive(Clone, Copy)]
pub(crate) enum Cut {
    /// Nowhere: each write is one segment.
    Whole,
    /// Once, after so many bytes of the connection.
    At(usize),
    /// After every byte.
    Everywhere,
}

/// Lets the server's task see what was sent: the reactor is asked before a task that yielded goes on.
pub(crate) async fn settle() {
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
}

/// A client of any kind.
pub(crate) struct Client {
    stream: TcpStream,
    cut: Cut,
    pub(crate) sent: usize,
    tls: Option<ClientConnection>,
    ws: bool,
    /// Plaintext received and not taken.
    got: Vec<u8>,
    /// The second half of [`Client::send_half`].
    later: Vec<u8>,
}

impl Client {
    /// A bare socket.
    pub(crate) async fn socket(to: SocketAddr, cut: Cut) -> Self {
        let socket = if to.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }
        .expect("a socket");
        socket.set_nodelay(true).expect("nodelay");
        let stream = soon("the accept", socket.connect(to)).await.expect("a listener");
        Self {
            stream,
            cut,
            sent: 0,
            tls: None,
            ws: false,
            got: Vec::new(),
            later: Vec::new(),
        }
    }

    /// Sends `before`, then whatever `kind` needs until MQTT may be spoken.
    pub(crate) async fn open(to: SocketAddr, kind: TransportKind, before: &[u8], cut: Cut) -> Self {
        let mut client = Self::socket(to, cut).await;
        client.send_raw(before).await;
        if matches!(kind, TransportKind::Tls | TransportKind::Wss) {
            client.start_tls(Arc::new(tls_config(None))).await;
        }
        if matches!(kind, TransportKind::Ws | TransportKind::Wss) {
            let answer = client.upgrade(&upgrade_request(&[])).await;
            assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
            client.ws = true;
        }
        client
    }

    /// Sends bytes as they are, cut as asked.
    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        let mut from = 0;
        while from < bytes.len() {
            let end = match self.cut {
                Cut::Everywhere => from + 1,
                Cut::At(at) if at > self.sent && at < self.sent + bytes.len() - from => from + at - self.sent,
                Cut::Whole | Cut::At(_) => bytes.len(),
            };
            self.stream
                .write_all(&bytes[from..end])
                .await
                .expect("an open stream");
            self.sent += end - from;
            from = end;
            if from < bytes.len() {
                settle().await;
            }
        }
    }

    /// Sends bytes as they are, cut as asked, unless the server closes before.
    pub(crate) async fn send_or_stop(&mut self, bytes: &[u8]) {
        let step = if matches!(self.cut, Cut::Everywhere) {
            1
        } else {
            bytes.len().max(1)
        };
        for piece in bytes.chunks(step) {
            if !self.try_send_raw(piece).await {
                break;
            }
            settle().await;
        }
    }

    /// Sends bytes as they are; false when the server has closed.
    pub(crate) async fn try_send_raw(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// Our port.
    pub(crate) fn port(&self) -> u16 {
        self.stream.local_addr().expect("an address").port()
    }

    /// Takes new keys, and asks the server to.
    pub(crate) async fn update_keys(&mut self) {
        let mut tls = self.tls.take().expect("a TLS client");
        tls.refresh_traffic_keys().expect("TLS 1.3");
        self.pump(&mut tls).await;
        self.tls = Some(tls);
    }

    /// Shakes hands.
    pub(crate) async fn start_tls(&mut self, config: Arc<ClientConfig>) {
        self.try_tls(config).await.expect("a handshake");
    }

    /// Shakes hands, or says why not.
    pub(crate) async fn try_tls(&mut self, config: Arc<ClientConfig>) -> Result<(), rustls::Error> {
        let name = ServerName::try_from("localhost").expect("a name");
        let mut tls = ClientConnection::new(config, name)?;
        tls.set_buffer_limit(None);
        while tls.is_handshaking() {
            self.pump(&mut tls).await;
            if tls.is_handshaking() && !self.feed(&mut tls).await? {
                return Err(rustls::Error::General("closed".into()));
            }
        }
        self.pump(&mut tls).await;
        self.tls = Some(tls);
        Ok(())
    }

    /// The facts of our TLS.
    pub(crate) fn tls(&self) -> &ClientConnection {
        self.tls.as_ref().expect("a TLS client")
    }

    async fn pump(&mut self, tls: &mut ClientConnection) {
        let mut records = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut records).expect("a vector");
        }
        self.send_raw(&records).await;
    }

    /// Reads records; false at the end.
    async fn feed(&mut self, tls: &mut ClientConnection) -> Result<bool, rustls::Error> {
        let mut bytes = [0; 4096];
        let n = soon("records", self.stream.read(&mut bytes)).await.unwrap_or(0);
        let mut records = &bytes[..n];
        while !records.is_empty() {
            tls.read_tls(&mut records).expect("a slice");
            tls.process_new_packets()?;
            let _ = tls.reader().read_to_end(&mut self.got);
        }
        Ok(n > 0)
    }

    /// Sends plaintext above TLS, if there is one.
    pub(crate) async fn send_plain(&mut self, bytes: &[u8]) {
        match self.tls.take() {
            None => self.send_raw(bytes).await,
            Some(mut tls) => {
                tls.writer().write_all(bytes).expect("a buffer");
                self.pump(&mut tls).await;
                self.tls = Some(tls);
            }
        }
    }

    /// Receives some plaintext below WebSocket into `got`; false at the end.
    pub(crate) async fn receive(&mut self) -> bool {
        let Some(mut tls) = self.tls.take() else {
            return soon("bytes", self.stream.read_buf(&mut self.got))
                .await
                .is_ok_and(|n| n > 0);
        };
        let before = self.got.len();
        let mut open = true;
        while open && self.got.len() == before {
            open = self.feed(&mut tls).await.unwrap_or(false);
        }
        self.tls = Some(tls);
        open
    }

    /// Everything until the server closes.
    pub(crate) async fn receive_all(&mut self) -> Vec<u8> {
        while self.receive().await {}
        std::mem::take(&mut self.got)
    }

    /// Sends an HTTP head and returns the answer's.
    pub(crate) async fn upgrade(&mut self, request: &str) -> String {
        self.send_plain(request.as_bytes()).await;
        loop {
            if let Some(end) = self.got.windows(4).position(|w| w == b"\r\n\r\n") {
                let rest = self.got.split_off(end + 4);
                return String::from_utf8(std::mem::replace(&mut self.got, rest)).expect("text");
            }
            if !self.receive().await {
                return String::from_utf8(std::mem::take(&mut self.got)).expect("text");
            }
        }
    }

    /// Sends MQTT bytes: one frame, if this is a WebSocket.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        if self.ws {
            self.send_plain(&frame(0x82, bytes)).await;
        } else {
            self.send_plain(bytes).await;
        }
    }

    /// Sends the first half of what carries these MQTT bytes.
    pub(crate) async fn send_half(&mut self, bytes: &[u8]) {
        let below = if self.ws {
            frame(0x82, bytes)
        } else {
            bytes.to_vec()
        };
        let wire = match &mut self.tls {
            None => below,
            Some(tls) => {
                let mut records = Vec::new();
                tls.writer().write_all(&below).expect("a buffer");
                tls.write_tls(&mut records).expect("a vector");
                records
            }
        };
        let (now, later) = wire.split_at(wire.len() / 2);
        self.later = later.to_vec();
        self.send_raw(now).await;
    }

    /// Sends the other half.
    pub(crate) async fn send_other_half(&mut self) {
        let later = std::mem::take(&mut self.later);
        self.send_raw(&later).await;
    }

    /// After the end: TLS, if there was any, was closed and not cut off.
    pub(crate) fn ended_in_order(&mut self) -> bool {
        self.tls.as_mut().is_none_or(|tls| {
            tls.process_new_packets()
                .is_ok_and(|state| state.peer_has_closed())
        })
    }

    /// The next frame: first byte and payload.
    pub(crate) async fn frame(&mut self) -> (u8, Vec<u8>) {
        loop {
            if let Some((opcode, range)) = parse_frame(&self.got) {
                let payload = self.got[range.clone()].to_vec();
                self.got.drain(..range.end);
                return (opcode, payload);
            }
            assert!(self.receive().await, "closed within a frame");
        }
    }

    /// MQTT bytes until there are `n`.
    pub(crate) async fn read_n(&mut self, n: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < n {
            if self.ws {
                let (opcode, payload) = self.frame().await;
                assert_eq!(opcode, 0x82);
                bytes.extend(payload);
            } else {
                bytes.append(&mut self.got);
                if bytes.len() < n {
                    assert!(self.receive().await, "closed after {} bytes", bytes.len());
                }
            }
        }
        bytes
    }

    /// Sends a FIN.
    pub(crate) async fn half_close(&mut self) {
        self.stream.shutdown().await.expect("an open stream");
    }
}

/// The frame at the start of `bytes`: first byte, where its payload stands.
fn parse_frame(bytes: &[u8]) -> Option<(u8, std::ops::Range<usize>)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    assert_eq!(second & 0x80, 0, "a server does not mask");
    let (start, len) = match second {
        126 => (4, u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?) as usize),
        127 => (10, u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?) as usize),
        short => (2, short as usize),
    };
    (bytes.len() >= start + len).then_some((first, start..start + len))
}

/// A masked frame.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x11, 0x22, 0x33, 0x44];
    let mut bytes = vec![first];
    match payload.len() {
        n @ 0..=125 => bytes.push(0x80 | n as u8),
        n @ 126..=0xFFFF => {
            bytes.push(0xFE);
            bytes.extend((n as u16).to_be_bytes());
        }
        n => {
            bytes.push(0xFF);
            bytes.extend((n as u64).to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
    bytes
}

/// An upgrade request that is good, with more field lines.
pub(crate) fn upgrade_request(fields: &[(&str, &str)]) -> String {
    let mut more = String::new();
    for (name, value) in fields {
        more.extend([name, ": ", value, "\r\n"]);
    }
    format!(
        "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: mqtt\r\n{more}\r\n"
    )
}

/// A client that believes any server; with a certificate of its own if given.
pub(crate) fn tls_config(
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> ClientConfig {
    let builder = believing(rustls::ALL_VERSIONS);
    match identity {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).expect("a pair"),
        None => builder.with_no_client_auth(),
    }
}

/// A client that knows TLS 1.2 only.
pub(crate) fn old_tls_config() -> ClientConfig {
    believing(&[&rustls::version::TLS12]).with_no_client_auth()
}

fn believing(
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer))
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
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
