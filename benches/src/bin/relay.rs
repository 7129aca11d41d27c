//! The lower bound: copies bytes between clients by a fixed pairing and parses nothing. It answers CONNECT and
//! SUBSCRIBE with fixed bytes, so that the macro bench can drive it like a broker; a client that subscribed is a
//! subscriber, any other a publisher. QoS 0, plain TCP.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use rustix::event::epoll;

/// Copies bytes between MQTT clients without looking at them: what any broker costs at least.
#[derive(Parser)]
#[command(name = "relay")]
struct Cli {
    /// Port on 127.0.0.1
    #[arg(long, default_value_t = 1883)]
    port: u16,
    /// Who gets a publisher's bytes
    #[arg(long, value_enum, default_value_t = Pairing::Pairs)]
    pairing: Pairing,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Pairing {
    /// publisher i to subscriber i modulo their number
    Pairs,
    /// every publisher to all subscribers
    All,
}

/// A client: its socket, what the socket did not take yet, and its place among the subscribers or publishers.
struct Client {
    sock: TcpStream,
    waiting: Vec<u8>,
    role: Role,
    v5: bool,
}

#[derive(Clone, Copy)]
enum Role {
    /// nothing received yet: the next bytes are CONNECT
    New,
    /// CONNECT answered; SUBSCRIBE or payload comes next
    Connected,
    /// gets bytes
    Subscriber,
    /// the n-th publisher
    Publisher(usize),
}

struct Relay {
    epoll: OwnedFd,
    pairing: Pairing,
    clients: Vec<Option<Client>>,
    free: Vec<usize>,
    subscribers: Vec<usize>,
    publishers: usize,
    buffer: Vec<u8>,
}

/// The listener's number among the epoll data.
const LISTENER: u64 = u64::MAX;

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(bad) => {
            eprintln!("relay: {bad}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, cli.port))?;
    listener.set_nonblocking(true)?;
    let mut relay = Relay {
        epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        pairing: cli.pairing,
        clients: Vec::new(),
        free: Vec::new(),
        subscribers: Vec::new(),
        publishers: 0,
        buffer: vec![0; 256 * 1024],
    };
    epoll::add(
        &relay.epoll,
        &listener,
        epoll::EventData::new_u64(LISTENER),
        epoll::EventFlags::IN,
    )?;
    let mut events: Vec<epoll::Event> = Vec::with_capacity(1024);
    loop {
        events.clear();
        epoll::wait(&relay.epoll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            match event.data.u64() {
                LISTENER => relay.accept(&listener)?,
                id => relay.ready(id as usize),
            }
        }
    }
}

impl Relay {
    fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        while let Ok((sock, _)) = listener.accept() {
            sock.set_nonblocking(true)?;
            sock.set_nodelay(true)?;
            let id = self.free.pop().unwrap_or_else(|| {
                self.clients.push(None);
                self.clients.len() - 1
            });
            let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
            epoll::add(&self.epoll, &sock, epoll::EventData::new_u64(id as u64), flags)?;
            self.clients[id] = Some(Client {
                sock,
                waiting: Vec::new(),
                role: Role::New,
                v5: false,
            });
        }
        Ok(())
    }

    fn ready(&mut self, id: usize) {
        let mut buffer = std::mem::take(&mut self.buffer);
        while let Some(client) = self.clients.get_mut(id).and_then(Option::as_mut) {
            client.send(&[]);
            match client.sock.read(&mut buffer) {
                Ok(0) => self.gone(id),
                Ok(n) => self.bytes(id, &buffer[..n]),
                Err(empty) if empty.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => self.gone(id),
            }
        }
        self.buffer = buffer;
    }

    fn gone(&mut self, id: usize) {
        let Some(client) = self.clients[id].take() else {
            return;
        };
        if matches!(client.role, Role::Subscriber) {
            self.subscribers.retain(|other| *other != id);
        }
        self.free.push(id);
    }

    /// The handshake by its first bytes, then copies only.
    fn bytes(&mut self, id: usize, bytes: &[u8]) {
        let Some(client) = self.clients[id].as_mut() else {
            return;
        };
        match (client.role, bytes[0]) {
            (Role::New, 0x10) => {
                client.role = Role::Connected;
                // the protocol level stands behind the name "MQTT"; MQTT 5 has an empty property block
                let level = bytes
                    .windows(5)
                    .find(|five| five.starts_with(b"MQTT"))
                    .map_or(4, |five| five[4]);
                client.v5 = level == 5;
                client.send(if client.v5 {
                    &[0x20, 3, 0, 0, 0][..]
                } else {
                    &[0x20, 2, 0, 0]
                });
            }
            (Role::Connected | Role::Subscriber, 0x82) => {
                client.role = Role::Subscriber;
                let at = if bytes[1] & 0x80 == 0 { 2 } else { 3 };
                let (high, low) = (bytes[at], bytes[at + 1]);
                let granted = if client.v5 {
                    &[0x90, 4, high, low, 0, 0][..]
                } else {
                    &[0x90, 3, high, low, 0]
                };
                client.send(granted);
                self.subscribers.push(id);
            }
            (Role::Connected, 0x30) => {
                client.role = Role::Publisher(self.publishers);
                self.publishers += 1;
                self.bytes(id, bytes);
            }
            (Role::Publisher(n), _) => self.copy(n, bytes),
            _ => {} // acknowledgements and DISCONNECT
        }
    }

    fn copy(&mut self, publisher: usize, bytes: &[u8]) {
        if self.pairing == Pairing::All {
            for at in 0..self.subscribers.len() {
                self.send_to(self.subscribers[at], bytes);
            }
        } else if !self.subscribers.is_empty() {
            self.send_to(self.subscribers[publisher % self.subscribers.len()], bytes);
        }
    }

    fn send_to(&mut self, id: usize, bytes: &[u8]) {
        if let Some(client) = self.clients[id].as_mut() {
            client.send(bytes);
        }
    }
}

impl Client {
    /// Writes at once what the socket takes; the rest waits for the next event. A broken socket shows when read.
    fn send(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        if !self.waiting.is_empty() {
            self.waiting.extend_from_slice(bytes);
            let n = self.sock.write(&self.waiting).unwrap_or(0);
            self.waiting.drain(..n);
            return;
        }
        while !rest.is_empty() {
            match self.sock.write(rest) {
                Ok(n) => rest = &rest[n..],
                Err(_) => return self.waiting.extend_from_slice(rest),
            }
        }
    }
}
