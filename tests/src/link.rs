//! Bytes between a client and whatever it dials: TCP from a chosen address, then TLS and WebSocket if asked for.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use crate::wait::DEADLINE;
use crate::ws;

/// Where to connect, from where, and how.
#[derive(Clone, Debug)]
pub struct Dial {
    to: SocketAddr,
    from: Option<IpAddr>,
    before: Vec<u8>,
    tls: Option<Arc<ClientConfig>>,
    ws: bool,
    fields: Vec<(String, String)>,
}

impl Dial {
    /// Plain TCP from any address.
    pub fn to(to: SocketAddr) -> Self {
        Self {
            to,
            from: None,
            before: Vec::new(),
            tls: None,
            ws: false,
            fields: Vec::new(),
        }
    }

    /// From this address of ours, with any port.
    #[must_use]
    pub fn from(mut self, ip: &str) -> Self {
        self.from = Some(ip.parse().expect("an address"));
        self
    }

    /// These bytes first, before any layer: a PROXY header.
    #[must_use]
    pub fn before(mut self, bytes: impl AsRef<[u8]>) -> Self {
        bytes.as_ref().clone_into(&mut self.before);
        self
    }

    /// In TLS, to `localhost`.
    #[must_use]
    pub fn tls(mut self, config: Arc<ClientConfig>) -> Self {
        self.tls = Some(config);
        self
    }

    /// In a WebSocket.
    #[must_use]
    pub fn ws(mut self) -> Self {
        self.ws = true;
        self
    }

    /// In a WebSocket whose upgrade request has this field line too.
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.ws = true;
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A bare socket: no layer, nothing sent.
    ///
    /// # Panics
    /// If nobody listens there.
    #[track_caller]
    pub fn socket(&self) -> TcpStream {
        self.try_socket()
            .unwrap_or_else(|error| panic!("{}: {error}", self.to))
    }

    fn try_socket(&self) -> io::Result<TcpStream> {
        let domain = socket2::Domain::for_address(self.to);
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).expect("a socket");
        if let Some(from) = self.from {
            socket
                .bind(&SocketAddr::new(from, 0).into())
                .expect("an address of ours");
        }
        let connected = socket.connect_timeout(&self.to.into(), DEADLINE);
        connected?;
        socket.set_tcp_nodelay(true).expect("nodelay");
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(DEADLINE)).expect("a time-out");
        stream.set_write_timeout(Some(DEADLINE)).expect("a time-out");
        Ok(stream)
    }

    /// Opens all layers.
    ///
    /// # Errors
    /// What the other side did instead: closed, or answered the upgrade with another status (the error's text is its
    /// status line).
    #[track_caller]
    pub fn open(&self) -> io::Result<Link> {
        let mut link = Link {
            tcp: self.try_socket()?,
            tls: None,
            ws: false,
            plain: Vec::new(),
            mqtt: Vec::new(),
        };
        link.send_below(&self.before)?;
        if let Some(config) = &self.tls {
            let name = ServerName::try_from("localhost").expect("a name");
            let mut tls = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
            while tls.is_handshaking() {
                tls.complete_io(&mut link.tcp)?;
            }
            link.tls = Some(tls);
        }
        if self.ws {
            link.send_below(ws::request(&self.fields).as_bytes())?;
            let head = link.head()?;
            if !head.starts_with("HTTP/1.1 101 ") {
                return Err(io::Error::other(
                    head.lines().next().unwrap_or_default().to_owned(),
                ));
            }
            link.ws = true;
        }
        Ok(link)
    }
}

/// An open connection with its layers.
#[derive(Debug)]
pub struct Link {
    tcp: TcpStream,
    tls: Option<ClientConnection>,
    ws: bool,
    /// Received below the WebSocket, not taken.
    plain: Vec<u8>,
    /// Received MQTT bytes, not taken.
    mqtt: Vec<u8>,
}

impl Link {
    /// Our own address: what "the true client" is.
    pub fn local(&self) -> SocketAddr {
        self.tcp.local_addr().expect("an address")
    }

    /// MQTT bytes received and not taken.
    pub fn received(&mut self) -> &mut Vec<u8> {
        &mut self.mqtt
    }

    /// Sends MQTT bytes through all layers.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.ws {
            self.send_below(&ws::frame(bytes))
        } else {
            self.send_below(bytes)
        }
    }

    /// Receives more MQTT bytes into [`Link::received`]; false at the end.
    pub fn receive(&mut self) -> io::Result<bool> {
        if !self.ws {
            let more = self.receive_below()?;
            self.mqtt.append(&mut self.plain);
            return Ok(more);
        }
        loop {
            match ws::take(&mut self.plain) {
                Some((2, payload)) => {
                    self.mqtt.extend(payload);
                    return Ok(true);
                }
                Some((8, _)) => return Ok(false),
                Some(_) => {}
                None => {
                    if !self.receive_below()? {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// Everything until the other side closes; a reset is an end too.
    pub fn receive_all(&mut self) -> Vec<u8> {
        while matches!(self.receive(), Ok(true)) {}
        std::mem::take(&mut self.mqtt)
    }

    /// Sends a FIN.
    pub fn half_close(&self) {
        // The other side may have closed before.
        let _ = self.tcp.shutdown(Shutdown::Write);
    }

    fn head(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.plain.windows(4).position(|w| w == b"\r\n\r\n") {
                let rest = self.plain.split_off(end + 4);
                let head = std::mem::replace(&mut self.plain, rest);
                return String::from_utf8(head).map_err(io::Error::other);
            }
            if !self.receive_below()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn send_below(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            None => self.tcp.write_all(bytes),
            Some(tls) => rustls::Stream::new(tls, &mut self.tcp).write_all(bytes),
        }
    }

    fn receive_below(&mut self) -> io::Result<bool> {
        let mut bytes = [0; 16 * 1024];
        let n = match &mut self.tls {
            None => self.tcp.read(&mut bytes)?,
            Some(tls) => rustls::Stream::new(tls, &mut self.tcp).read(&mut bytes)?,
        };
        self.plain.extend_from_slice(&bytes[..n]);
        Ok(n > 0)
    }
}
