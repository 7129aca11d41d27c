//! A whole connection against rustls' own client, without sockets: cut in pieces, and with every byte
//! broken in turn.

use super::*;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use std::io::{Read, Write};

/// Configurations of both sides; the server asks for a certificate, so that its client's flight has
/// several messages.
fn configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let cert = made.cert.der().clone();
    let key = || PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(cert.clone()).expect("a certificate");
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .expect("a verifier");
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![cert.clone()], key())
        .expect("a pair");
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer))
        .with_client_auth_cert(vec![cert], key())
        .expect("a pair");
    (Arc::new(server), Arc::new(client))
}

/// Both ends, and how the client's bytes reach the server.
struct Pair {
    server: TlsLayer,
    client: ClientConnection,
    received: Vec<u8>,
    /// Largest piece.
    step: usize,
    /// The byte of the client's stream that is broken.
    broken: Option<usize>,
    sent: usize,
}

impl Pair {
    fn new(
        (server, client): &(Arc<ServerConfig>, Arc<ClientConfig>),
        step: usize,
        broken: Option<usize>,
    ) -> Self {
        let name = ServerName::try_from("localhost").expect("a name");
        Self {
            server: TlsLayer::new(Arc::clone(server)).expect("a server"),
            client: ClientConnection::new(Arc::clone(client), name).expect("a client"),
            received: Vec::new(),
            step,
            broken,
            sent: 0,
        }
    }

    /// Carries bytes both ways until nobody has any; the server's error ends it.
    fn carry(&mut self) -> Result<(), rustls::Error> {
        loop {
            let mut wire = Vec::new();
            while self.client.wants_write() {
                self.client.write_tls(&mut wire).expect("a vector");
            }
            let here = self
                .broken
                .and_then(|at| at.checked_sub(self.sent))
                .and_then(|at| wire.get_mut(at));
            if let Some(byte) = here {
                *byte ^= 0x15;
            }
            self.sent += wire.len();
            for piece in wire.chunks(self.step) {
                let mut cipher = [self.server.incoming(), piece].concat();
                self.server.process(&mut cipher, &mut self.received)?;
            }
            let mut answer = self.server.outgoing();
            if wire.is_empty() && answer.is_empty() {
                return Ok(());
            }
            while !answer.is_empty() {
                self.client.read_tls(&mut answer).expect("a slice");
                if self.client.process_new_packets().is_err() {
                    // It has sent its alert and says nothing more.
                    self.client.write_tls(&mut Vec::new()).expect("a vector");
                    self.server.sent(usize::MAX);
                    return Ok(());
                }
            }
            self.server.sent(usize::MAX);
        }
    }

    /// A handshake, data both ways, new keys, the end.
    fn run(&mut self) -> Result<Vec<u8>, rustls::Error> {
        self.carry()?;
        for text in [&b"first"[..], b"second"] {
            if self.client.writer().write_all(text).is_err() || self.client.refresh_traffic_keys().is_err() {
                break;
            }
            self.carry()?;
            if !self.server.is_handshaking() {
                self.say(b"answer");
            }
            self.carry()?;
        }
        self.client.send_close_notify();
        self.carry()?;
        let mut got = Vec::new();
        // The server has not closed, so there is an error after the bytes.
        let _ = self.client.reader().read_to_end(&mut got);
        Ok(got)
    }

    fn say(&mut self, text: &[u8]) {
        let mut space = vec![0; cipher_size(text.len())];
        let n = self
            .server
            .encrypt(text, &mut space)
            .expect("an established connection");
        self.server.keep_outgoing(&space[..n]);
    }
}

#[test]
fn pieces_of_any_size_give_the_same() {
    let configs = configs();
    let mut whole = Pair::new(&configs, usize::MAX, None);
    whole.run().expect("a good client");
    for step in [1, 2, 3, 5, 100, 1000, usize::MAX] {
        let mut pair = Pair::new(&configs, step, None);
        assert_eq!(pair.run().expect("a good client"), b"answeranswer", "step {step}");
        assert_eq!(pair.received, b"firstsecond");
        assert!(pair.server.peer_closed() && !pair.server.is_handshaking());
        assert!(
            pair.server.incoming().is_empty() && pair.server.outgoing().is_empty(),
            "no buffer is held"
        );
    }
}

#[test]
fn no_broken_byte_makes_it_panic_or_say_anything_after_its_alert() {
    let configs = configs();
    let mut good = Pair::new(&configs, usize::MAX, None);
    good.run().expect("a good client");
    let mut errors = 0;
    for at in (0..good.sent).step_by(3) {
        for step in [usize::MAX, 7] {
            let mut pair = Pair::new(&configs, step, Some(at));
            if pair.run().is_ok() {
                continue;
            }
            errors += 1;
            assert!(
                b"firstsecond".starts_with(&pair.received),
                "byte {at}: only what was sent"
            );
            let alert = pair.server.outgoing().len();
            pair.server.close_notify();
            assert_eq!(pair.server.outgoing().len(), alert);
            assert!(pair.server.is_closing() && pair.server.incoming().is_empty());
        }
    }
    // A broken ClientHello is as a rule the client's to notice, by the transcript.
    assert!(errors > good.sent / 6, "{errors} of {} bytes mattered", good.sent);
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
