//! `TlsLayer`: rustls between our buffers and the socket's bytes. It owns no buffer while idle:
//! ciphertext is decrypted in a buffer of the thread, and only what is left of a record stays here.
//! What does not live here: certificates and settings (`tls`), the socket (`transport`).

use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus};
use rustls::{ServerConfig, server::ServerConnectionData};
use std::fmt;
use std::io;
use std::sync::Arc;

/// Most that a record adds to its payload, generously (header, nonce, tag, type byte).
const RECORD_OVERHEAD: usize = 64;
const RECORD_PAYLOAD: usize = 16 * 1024;
/// A close_notify with everything around it.
const ALERT_MAX: usize = 128;

/// One TLS connection, its handshake done or not.
pub(crate) struct TlsLayer {
    conn: UnbufferedServerConnection,
    /// Ciphertext of a record that has not come whole.
    incoming: Vec<u8>,
    /// Ciphertext that the kernel has not taken yet, of which `sent` bytes are written.
    outgoing: Vec<u8>,
    sent: usize,
    peer_closed: bool,
    /// Our last record is queued: an alert.
    closing: bool,
}

impl fmt::Debug for TlsLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsLayer")
            .field("incoming", &self.incoming.len())
            .field("outgoing", &self.outgoing.len())
            .field("peer_closed", &self.peer_closed)
            .finish_non_exhaustive()
    }
}

/// Why a step of the state machine ended.
enum Stop {
    /// Every whole record is processed.
    Idle,
    /// There was nothing to encrypt into, or nothing to encrypt.
    Encrypted(usize),
}

impl TlsLayer {
    /// A connection at the start of its handshake.
    pub(crate) fn new(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        Ok(Self {
            conn: UnbufferedServerConnection::new(config)?,
            incoming: Vec::new(),
            outgoing: Vec::new(),
            sent: 0,
            peer_closed: false,
            closing: false,
        })
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.conn.is_handshaking()
    }

    /// The negotiated facts.
    pub(crate) fn conn(&self) -> &UnbufferedServerConnection {
        &self.conn
    }

    pub(crate) fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// Ciphertext kept from earlier reads; it comes before what is read next.
    pub(crate) fn incoming(&self) -> &[u8] {
        &self.incoming
    }

    /// Processes `cipher` (what [`TlsLayer::incoming`] held and what was read after it): plaintext is
    /// appended to `plain`, answers to [`TlsLayer::outgoing`], an incomplete record is kept.
    pub(crate) fn process(&mut self, cipher: &mut [u8], plain: &mut Vec<u8>) -> Result<(), rustls::Error> {
        let mut used = 0;
        let done = self.run(cipher, &mut used, plain, None);
        if done.is_err() {
            self.failed();
        } else {
            // Exactly as large as it is: it stays while the client sends nothing.
            self.incoming = cipher.get(used..).unwrap_or_default().to_vec();
        }
        done.map(|_| ())
    }

    /// Encrypts `plain` into `cipher`, which is at least [`cipher_size`] of it; returns its length.
    pub(crate) fn encrypt(&mut self, plain: &[u8], cipher: &mut [u8]) -> io::Result<usize> {
        let mut kept = std::mem::take(&mut self.incoming);
        let (mut used, mut none) = (0, Vec::new());
        let done = self.run(&mut kept, &mut used, &mut none, Some((plain, cipher)));
        debug_assert!(none.is_empty(), "a whole record was kept");
        kept.drain(..used);
        self.incoming = kept;
        if done.is_err() {
            self.failed();
        }
        match done.map_err(invalid)? {
            Stop::Encrypted(n) => Ok(n),
            Stop::Idle => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Queues the alert that ends the stream, once.
    pub(crate) fn close_notify(&mut self) {
        if self.closing {
            return;
        }
        self.closing = true;
        let mut kept = std::mem::take(&mut self.incoming);
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) = self.conn.process_tls_records(&mut kept).state
        {
            let at = self.outgoing.len();
            self.outgoing.resize(at + ALERT_MAX, 0);
            let n = traffic.queue_close_notify(&mut self.outgoing[at..]).unwrap_or(0);
            self.outgoing.truncate(at + n);
        }
        self.incoming = kept;
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing
    }

    /// Ciphertext that waits for the kernel.
    pub(crate) fn outgoing(&self) -> &[u8] {
        self.outgoing.get(self.sent..).unwrap_or_default()
    }

    /// Keeps ciphertext that the kernel did not take.
    pub(crate) fn keep_outgoing(&mut self, cipher: &[u8]) {
        self.outgoing.extend_from_slice(cipher);
    }

    /// Counts written ciphertext; memory goes when all of it is.
    pub(crate) fn sent(&mut self, n: usize) {
        self.sent = self.sent.saturating_add(n);
        if self.sent >= self.outgoing.len() {
            self.outgoing = Vec::new();
            self.sent = 0;
        }
    }

    /// Drives rustls until it waits for bytes, or until `job` (plaintext, space) is encrypted.
    fn run(
        &mut self,
        cipher: &mut [u8],
        used: &mut usize,
        plain: &mut Vec<u8>,
        mut job: Option<(&[u8], &mut [u8])>,
    ) -> Result<Stop, rustls::Error> {
        loop {
            let rest = cipher.get_mut(*used..).unwrap_or_default();
            let UnbufferedStatus { discard, state } = self.conn.process_tls_records(rest);
            let mut in_records = 0;
            let stop = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        in_records += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                    None
                }
                Ok(ConnectionState::EncodeTlsData(data)) => {
                    encode(data, &mut self.outgoing)?;
                    None
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    // It stands in `outgoing`, which goes out before anything later.
                    data.done();
                    None
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.peer_closed = true;
                    None
                }
                Ok(ConnectionState::WriteTraffic(mut traffic)) => match job.take() {
                    Some((text, space)) => match traffic.encrypt(text, space) {
                        Ok(n) => Some(Stop::Encrypted(n)),
                        Err(EncryptError::EncryptExhausted) => {
                            return Err(rustls::Error::EncryptError);
                        }
                        Err(EncryptError::InsufficientSize(_)) => {
                            return Err(rustls::Error::General("record space too small".into()));
                        }
                    },
                    None => Some(Stop::Idle),
                },
                Ok(_) => Some(Stop::Idle),
                Err(error) => {
                    *used += discard;
                    return Err(error);
                }
            };
            *used += discard + in_records;
            if let Some(stop) = stop {
                return Ok(stop);
            }
        }
    }

    /// Nothing follows an error but the alert that rustls may have for the client. It must not see
    /// bytes again: it would send a second one.
    fn failed(&mut self) {
        self.incoming = Vec::new();
        self.closing = true;
        while self.conn.wants_write() {
            let state = self.conn.process_tls_records(&mut []).state;
            let Ok(ConnectionState::EncodeTlsData(data)) = state else {
                return;
            };
            if encode(data, &mut self.outgoing).is_err() {
                return;
            }
        }
    }
}

/// Space for the ciphertext of `plain` bytes, with an alert or key update before it.
pub(crate) const fn cipher_size(plain: usize) -> usize {
    plain + (plain / RECORD_PAYLOAD + 2) * RECORD_OVERHEAD
}

fn encode(mut data: EncodeTlsData<'_, ServerConnectionData>, out: &mut Vec<u8>) -> Result<(), rustls::Error> {
    let at = out.len();
    let mut result = data.encode(&mut []);
    if let Err(EncodeError::InsufficientSize(needed)) = &result {
        out.resize(at + needed.required_size, 0);
        result = data.encode(&mut out[at..]);
    }
    match result {
        Ok(n) => {
            out.truncate(at + n);
            Ok(())
        }
        Err(e) => Err(rustls::Error::General(e.to_string())),
    }
}

/// A TLS error as an I/O error.
pub(crate) fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests;
