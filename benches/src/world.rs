//! All connections of a run behind one edge-triggered epoll, and the set-up steps every scenario begins with
//! (connect many, subscribe many). Single threaded; nothing here knows what is measured.

use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::conn::{Conn, Seen};
use crate::mqtt::{self, Packet};
use crate::target::Target;

/// How many connections are opened before the first CONNACKs are waited for.
const OPENING: usize = 100;
/// No set-up step takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// The connections of one run.
pub struct World {
    epoll: OwnedFd,
    conns: Vec<Option<Conn>>,
    free: Vec<usize>,
    events: Vec<epoll::Event>,
    scratch: Vec<u8>,
    plain: Vec<u8>,
    opened: u64,
    start: Instant,
}

impl World {
    /// An empty world; raises the limit of open files as far as it goes.
    pub fn new() -> io::Result<Self> {
        use rustix::process::{Resource, getrlimit, setrlimit};
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit)?;
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            conns: Vec::new(),
            free: Vec::new(),
            events: Vec::with_capacity(1024),
            scratch: vec![0; 256 * 1024],
            plain: Vec::new(),
            opened: 0,
            start: Instant::now(),
        })
    }

    /// Nanoseconds since this world began; the clock of all stamps.
    pub fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// Starts a connection and sends its CONNECT as soon as the socket allows. Returns its number.
    pub fn open(&mut self, target: &Target, client_id: &str, tag: u32) -> io::Result<usize> {
        let n = self.opened;
        self.opened += 1;
        let sock = dial(target, n)?;
        let mut conn = Conn::new(sock, target, client_id, n, tag)?;
        let id = self.free.pop().unwrap_or_else(|| {
            self.conns.push(None);
            self.conns.len() - 1
        });
        let flags =
            epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        epoll::add(
            &self.epoll,
            conn.socket(),
            epoll::EventData::new_u64(id as u64),
            flags,
        )?;
        let _ = conn.flush(); // a broken socket is told by the next event
        self.conns[id] = Some(conn);
        Ok(id)
    }

    /// Closes a connection at once; its number is used again.
    pub fn close(&mut self, id: usize) {
        if let Some(slot) = self.conns.get_mut(id)
            && slot.take().is_some()
        {
            self.free.push(id);
        }
    }

    /// A connection that was opened and not yet closed.
    pub fn conn(&mut self, id: usize) -> Option<&mut Conn> {
        self.conns.get_mut(id)?.as_mut()
    }

    /// Whether the connection is still there.
    pub fn alive(&self, id: usize) -> bool {
        self.conns.get(id).is_some_and(Option::is_some)
    }

    /// Writes what was appended to the connection's `out`.
    pub fn flush(&mut self, id: usize) {
        if let Some(conn) = self.conn(id)
            && conn.flush().is_err()
        {
            self.close(id);
        }
    }

    /// Waits (at most `timeout`; `None`: until something happens) and handles all that is ready: `handle` sees
    /// each packet with its connection and number; acknowledgements are sent without it. A lost connection is
    /// told as [`Packet::Closed`] and forgotten.
    pub fn turn(
        &mut self,
        timeout: Option<Duration>,
        mut handle: impl FnMut(usize, &mut Conn, Packet<'_>),
    ) -> io::Result<()> {
        let limit = timeout.map(|wait| Timespec {
            tv_sec: wait.as_secs().cast_signed(),
            tv_nsec: i64::from(wait.subsec_nanos()),
        });
        self.events.clear();
        match epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(&mut self.events),
            limit.as_ref(),
        ) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(other) => return Err(other.into()),
        }
        let events = std::mem::take(&mut self.events);
        for event in &events {
            let (id, flags) = (event.data.u64() as usize, event.flags);
            self.ready(id, flags, &mut handle);
        }
        self.events = events;
        Ok(())
    }

    fn ready(
        &mut self,
        id: usize,
        flags: epoll::EventFlags,
        handle: &mut impl FnMut(usize, &mut Conn, Packet<'_>),
    ) {
        let Some(conn) = self.conns.get_mut(id).and_then(Option::as_mut) else {
            return;
        };
        let gone =
            flags.intersects(epoll::EventFlags::RDHUP | epoll::EventFlags::HUP | epoll::EventFlags::ERR);
        let mut seen = Ok(Seen::Open);
        if (flags.contains(epoll::EventFlags::IN) || gone) && !conn.deaf {
            let mut inner = |conn: &mut Conn, packet: Packet<'_>| handle(id, conn, packet);
            seen = conn.read(&mut self.scratch, &mut self.plain, gone, &mut inner);
        }
        let flushed = conn.flush();
        if !matches!(seen, Ok(Seen::Open)) || flushed.is_err() {
            if let Err(why) = &seen {
                eprintln!("connection {id}: {why}");
            }
            handle(id, conn, Packet::Closed);
            self.close(id);
        }
    }

    /// Opens `n` connections named `prefix` and a number, and waits for all CONNACKs. Their tags are 0 to n-1.
    pub fn connect_all(&mut self, target: &Target, n: usize, prefix: &str) -> io::Result<Vec<usize>> {
        let mut ids = Vec::with_capacity(n);
        let (mut ready, mut refused) = (0, None);
        let deadline = Instant::now() + PATIENCE;
        let run = std::process::id();
        while ready < n {
            while ids.len() < n && ids.len() - ready < OPENING {
                let tag = ids.len() as u32;
                ids.push(self.open(target, &format!("{prefix}{run}-{tag}"), tag)?);
            }
            self.turn(Some(Duration::from_secs(1)), |_, _, packet| match packet {
                Packet::Connack(0) => ready += 1,
                Packet::Connack(code) => refused = Some(format!("CONNACK with code {code}")),
                Packet::Closed => refused = Some("closed before CONNACK".to_owned()),
                _ => {}
            })?;
            if let Some(why) = refused {
                return Err(io::Error::other(format!(
                    "{ready} of {n} connections stand; {why}"
                )));
            }
            if Instant::now() > deadline {
                return Err(io::Error::other(format!(
                    "{ready} of {n} connections stand after {PATIENCE:?}"
                )));
            }
        }
        Ok(ids)
    }

    /// Sends one SUBSCRIBE per connection and waits for all SUBACKs. `filter` gets the connection's index.
    pub fn subscribe_all(
        &mut self,
        target: &Target,
        ids: &[usize],
        qos: u8,
        filter: impl Fn(usize) -> String,
    ) -> io::Result<()> {
        for (index, &id) in ids.iter().enumerate() {
            if let Some(conn) = self.conn(id) {
                let packet = conn.packet_id();
                mqtt::subscribe(&mut conn.out, target.version, packet, &[filter(index)], qos);
                self.flush(id);
            }
        }
        let (mut granted, mut refused) = (0, false);
        let deadline = Instant::now() + PATIENCE;
        while granted < ids.len() {
            self.turn(Some(Duration::from_secs(1)), |_, _, packet| match packet {
                Packet::Suback(_, true) => granted += 1,
                Packet::Suback(_, false) | Packet::Closed => refused = true,
                _ => {}
            })?;
            if refused || Instant::now() > deadline {
                return Err(io::Error::other(format!(
                    "{granted} of {} subscriptions granted",
                    ids.len()
                )));
            }
        }
        Ok(())
    }
}

/// Starts a non-blocking connect from the target's source address, with TCP_NODELAY.
fn dial(target: &Target, n: u64) -> io::Result<TcpStream> {
    let sock = Socket::new(
        Domain::for_address(target.addr),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    sock.set_tcp_nodelay(true)?;
    sock.set_nonblocking(true)?;
    if let Some(source) = target.source(n) {
        sock.bind(&SockAddr::from(source))?;
    }
    match sock.connect(&SockAddr::from(target.addr)) {
        Ok(()) => {}
        Err(going) if going.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
        Err(other) => return Err(other),
    }
    Ok(sock.into())
}
