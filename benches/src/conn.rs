//! One client connection: socket, layers (TLS, WebSocket), read and write buffers, automatic acknowledgements.
//! Which connection is ready is `world.rs`'s business; what is sent is the scenario's.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use rustls::client::ClientConnection;

use crate::mqtt::{self, Packet, Version};
use crate::target::{Target, Transport, proxy_v2_header};
use crate::ws::{self, Ws};

/// A connection of the generator. Append MQTT packets to `out`; the world flushes.
pub struct Conn {
    sock: TcpStream,
    version: Version,
    tls: Option<Box<ClientConnection>>,
    ws: Option<Box<Ws>>,
    /// MQTT bytes not yet given to the layers below
    pub out: Vec<u8>,
    wire: Vec<u8>,
    written: usize,
    partial: Vec<u8>,
    next_id: u16,
    /// the broker accepted the CONNECT
    pub ready: bool,
    /// nothing is read from this connection any more (a subscriber that does not read)
    pub deaf: bool,
    /// the scenario's own number for this connection
    pub tag: u32,
}

/// Result of one look at the socket.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    /// still open
    Open,
    /// closed by the broker, or broken
    Closed,
}

impl Conn {
    /// Wraps a socket that is connected or connecting, and queues all that a client sends unasked: PROXY
    /// header, upgrade request, CONNECT. `n` numbers the connection (PROXY address).
    pub fn new(sock: TcpStream, target: &Target, client_id: &str, n: u64, tag: u32) -> io::Result<Self> {
        let tls = match (&target.tls, target.transport) {
            (Some(config), Transport::Tls | Transport::Wss) => {
                Some(crate::tls::client(config).map_err(io::Error::other)?)
            }
            _ => None,
        };
        let ws = matches!(target.transport, Transport::Ws | Transport::Wss).then(Box::<Ws>::default);
        let mut conn = Self {
            sock,
            version: target.version,
            tls,
            ws,
            out: Vec::new(),
            wire: if target.proxy_v2 {
                proxy_v2_header(n)
            } else {
                Vec::new()
            },
            written: 0,
            partial: Vec::new(),
            next_id: 0,
            ready: false,
            deaf: false,
            tag,
        };
        if conn.ws.is_some() {
            let request = ws::request(&target.addr.to_string(), &target.ws_path, None);
            match &mut conn.tls {
                Some(tls) => tls.writer().write_all(&request)?,
                None => conn.wire.extend_from_slice(&request),
            }
        }
        mqtt::connect(&mut conn.out, target.version, client_id, target.keep_alive);
        Ok(conn)
    }

    /// The socket, for registration with epoll.
    pub fn socket(&self) -> &TcpStream {
        &self.sock
    }

    /// A packet identifier (1 to 65535, then again).
    pub fn packet_id(&mut self) -> u16 {
        self.next_id = self.next_id.checked_add(1).unwrap_or(1);
        self.next_id
    }

    /// Bytes queued here that the socket did not take yet.
    pub fn backlog(&self) -> usize {
        self.out.len() + self.wire.len() - self.written
    }

    /// Writes what is queued, until done or the socket is full.
    pub fn flush(&mut self) -> io::Result<()> {
        loop {
            if self.written == self.wire.len() {
                self.wire.clear();
                self.written = 0;
                self.encode()?;
                if self.wire.is_empty() {
                    return Ok(());
                }
            }
            match self.sock.write(&self.wire[self.written..]) {
                Ok(n) => self.written += n,
                Err(full) if full.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(cut) if cut.kind() == io::ErrorKind::Interrupted => {}
                Err(other) => return Err(other),
            }
        }
    }

    /// Moves `out` through the layers into `wire`.
    fn encode(&mut self) -> io::Result<()> {
        // a client sends no frame before the upgrade is granted (RFC 6455 4.1)
        let held = self.ws.as_ref().is_some_and(|ws| !ws.upgraded());
        let Some(tls) = &mut self.tls else {
            if held {
                return Ok(());
            }
            if self.ws.is_some() {
                ws::frame_packets(&self.out, &mut self.wire);
                self.out.clear();
            } else {
                std::mem::swap(&mut self.out, &mut self.wire);
            }
            return Ok(());
        };
        if !self.out.is_empty() && !held {
            if self.ws.is_some() {
                let mut framed = Vec::with_capacity(self.out.len() + 64);
                ws::frame_packets(&self.out, &mut framed);
                tls.writer().write_all(&framed)?;
            } else {
                tls.writer().write_all(&self.out)?;
            }
            self.out.clear();
        }
        while tls.wants_write() {
            tls.write_tls(&mut self.wire)?;
        }
        Ok(())
    }

    /// Reads until the socket is empty and hands each whole packet to `handle`. `to_the_end`: the kernel
    /// told that the peer closed, so a short read is not the last one.
    pub fn read(
        &mut self,
        scratch: &mut [u8],
        plain: &mut Vec<u8>,
        to_the_end: bool,
        handle: &mut impl FnMut(&mut Conn, Packet<'_>),
    ) -> io::Result<Seen> {
        loop {
            let n = match self.sock.read(scratch) {
                Ok(0) => return Ok(Seen::Closed),
                Ok(n) => n,
                Err(empty) if empty.kind() == io::ErrorKind::WouldBlock => return Ok(Seen::Open),
                Err(cut) if cut.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Ok(Seen::Closed),
            };
            if self.tls.is_none() && self.ws.is_none() {
                self.take(&scratch[..n], handle);
            } else {
                plain.clear();
                self.unwrap_layers(&scratch[..n], plain)?;
                self.take(plain, handle);
            }
            if n < scratch.len() && !to_the_end {
                return Ok(Seen::Open);
            }
        }
    }

    fn unwrap_layers(&mut self, bytes: &[u8], plain: &mut Vec<u8>) -> io::Result<()> {
        let Some(tls) = &mut self.tls else {
            return match &mut self.ws {
                Some(ws) => ws.feed(bytes, plain).map_err(|bad| io::Error::other(bad.0)),
                None => Ok(()),
            };
        };
        let mut rest = bytes;
        let mut clear = Vec::new();
        while !rest.is_empty() {
            tls.read_tls(&mut rest)?;
            let state = tls.process_new_packets().map_err(io::Error::other)?;
            let into = if self.ws.is_some() {
                &mut clear
            } else {
                &mut *plain
            };
            let start = into.len();
            into.resize(start + state.plaintext_bytes_to_read(), 0);
            if into.len() > start {
                tls.reader().read_exact(&mut into[start..])?;
            }
        }
        if let Some(ws) = &mut self.ws {
            ws.feed(&clear, plain).map_err(|bad| io::Error::other(bad.0))?;
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8], handle: &mut impl FnMut(&mut Conn, Packet<'_>)) {
        if self.partial.is_empty() {
            let used = self.packets(bytes, handle);
            self.partial.extend_from_slice(&bytes[used..]);
            return;
        }
        let mut whole = std::mem::take(&mut self.partial);
        whole.extend_from_slice(bytes);
        let used = self.packets(&whole, handle);
        whole.drain(..used);
        self.partial = whole;
    }

    fn packets(&mut self, bytes: &[u8], handle: &mut impl FnMut(&mut Conn, Packet<'_>)) -> usize {
        let mut used = 0;
        while let Some((packet, len)) = mqtt::next(&bytes[used..], self.version) {
            match packet {
                Packet::Publish { qos: 1, id, .. } => mqtt::ack(&mut self.out, 0x40, id),
                Packet::Publish { qos: 2, id, .. } => mqtt::ack(&mut self.out, 0x50, id),
                Packet::Pubrel(id) => mqtt::ack(&mut self.out, 0x70, id),
                Packet::Pubrec(id, reason) if reason < 0x80 => mqtt::ack(&mut self.out, 0x62, id),
                Packet::Connack(0) => self.ready = true,
                _ => {}
            }
            handle(self, packet);
            used += len;
        }
        used
    }
}
