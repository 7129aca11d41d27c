//! Where the generator connects to, and how: address, transport, version, PROXY header, source addresses.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rustls::ClientConfig;

use crate::mqtt::Version;

/// The bytes under MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Transport {
    /// plain TCP
    Tcp,
    /// TLS 1.3
    Tls,
    /// WebSocket
    Ws,
    /// WebSocket over TLS
    Wss,
}

/// One broker as the generator sees it.
#[derive(Clone)]
pub struct Target {
    /// where it listens
    pub addr: SocketAddr,
    /// the bytes under MQTT
    pub transport: Transport,
    /// protocol level of every connection
    pub version: Version,
    /// each connection starts with a PROXY v2 header that names a client in 10.0.0.0/8
    pub proxy_v2: bool,
    /// connections come from many addresses of 127.0.0.0/8 (one address has 28,000 ports)
    pub spread: bool,
    /// keep-alive in seconds, 0: none
    pub keep_alive: u16,
    /// path of the WebSocket request
    pub ws_path: String,
    /// client configuration of the tls and wss transports
    pub tls: Option<Arc<ClientConfig>>,
}

impl Target {
    /// A target with the defaults: tcp, MQTT 3.1.1, one source address, no keep-alive.
    pub fn new(addr: SocketAddr) -> Self {
        Self {
            addr,
            transport: Transport::Tcp,
            version: Version::V311,
            proxy_v2: false,
            spread: false,
            keep_alive: 0,
            ws_path: "/mqtt".into(),
            tls: None,
        }
    }

    /// Sets the transport and makes the TLS configuration it needs; `resume` allows session tickets.
    pub fn over(mut self, transport: Transport, resume: bool) -> io::Result<Self> {
        self.transport = transport;
        if matches!(transport, Transport::Tls | Transport::Wss) {
            self.tls = Some(crate::tls::config(resume).map_err(io::Error::other)?);
        }
        Ok(self)
    }

    /// Source address of the `n`th connection, if it is not left to the kernel.
    pub fn source(&self, n: u64) -> Option<SocketAddr> {
        self.spread.then(|| {
            let host = (n % 200) as u8 + 2;
            SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 1, host)), 0)
        })
    }
}

/// A PROXY v2 header (no TLVs) whose client is 10.x.y.z, made from `n`.
pub fn proxy_v2_header(n: u64) -> Vec<u8> {
    let mut out = b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
    let [_, a, b, c] = (n as u32).to_be_bytes();
    out.extend_from_slice(&[10, a, b, c, 10, 255, 255, 254]);
    out.extend_from_slice(&(1024 + (n % 60_000) as u16).to_be_bytes());
    out.extend_from_slice(&1883u16.to_be_bytes());
    out
}
