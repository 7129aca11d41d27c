//! Bind, accept, take a slot, hand over; back off when descriptors run out. Never reads a byte and
//! never waits for a client. What does not live here: everything after accept (`handshake`).

use crate::error::{Admit, Cause, Refusal, Stage};
use crate::limits::{Slot, Slots};
use crate::log::{self, LogGate};
use crate::socket::StdSocket;
use crate::spec::{Bind, ListenerSpec};
use crate::{Arrival, Gate, Handler};
use peer::{Addr, Kind, Source};
use rustix::io::Errno;
use rustix::net::SocketFlags;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Sockets accepted before other tasks of the thread get their turn.
const BATCH: usize = 64;
/// Pause when no descriptor or no memory is left.
const BACK_OFF: Duration = Duration::from_millis(100);

/// What all connections of a listener share; it lives as long as one of them.
#[derive(Debug)]
pub struct Listener {
    spec: RwLock<Arc<ListenerSpec>>,
    slots: Arc<Slots>,
    pub(crate) log: LogGate,
    local: Bind,
}

/// A listening socket; dropping it closes it.
#[derive(Debug)]
pub struct BoundListener {
    fd: OwnedFd,
    shared: Arc<Listener>,
    /// The path to remove when a Unix socket that we made is closed.
    path: Option<PathBuf>,
}

/// A socket that was accepted and admitted, for [`handshake`](crate::handshake).
#[derive(Debug)]
pub struct Accepted {
    pub(crate) socket: StdSocket,
    pub(crate) addr: Addr,
    pub(crate) shared: Arc<Listener>,
    pub(crate) spec: Arc<ListenerSpec>,
    pub(crate) at: Instant,
    pub(crate) slot: Slot,
    /// Gate A counted its address.
    pub(crate) charged: bool,
}

impl Accepted {
    /// The socket's address.
    pub fn addr(&self) -> Addr {
        self.addr
    }

    /// Pretends that the socket's address is another one, for tests of addresses that no test can have.
    #[cfg(feature = "test-util")]
    #[must_use]
    pub fn pretend(mut self, addr: Addr) -> Self {
        self.addr = addr;
        self.charged &= !self.spec.policy.is_listed(&addr);
        self
    }

    /// The listener as it was at accept.
    pub fn spec(&self) -> &Arc<ListenerSpec> {
        &self.spec
    }

    /// When it was accepted.
    pub fn at(&self) -> Instant {
        self.at
    }
}

impl Listener {
    /// The settings that the next connection meets.
    pub fn spec(&self) -> Arc<ListenerSpec> {
        Arc::clone(&self.spec.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the settings for connections accepted from now on. Name and address stay what they
    /// were; backlog too.
    pub fn set_spec(&self, spec: ListenerSpec) {
        *self.spec.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(spec);
    }

    /// Where it really listens: the port that was chosen for port 0.
    pub fn local(&self) -> &Bind {
        &self.local
    }

    /// Connections, logins unfinished or not.
    pub fn connections(&self) -> u32 {
        self.slots.open()
    }

    /// Unfinished logins.
    pub fn pending(&self) -> u32 {
        self.slots.pending_len()
    }
}

impl BoundListener {
    /// The part that outlives the socket.
    pub fn shared(&self) -> &Arc<Listener> {
        &self.shared
    }

    /// The address of a TCP listener.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self.shared.local {
            Bind::Tcp(addr) => Some(addr),
            Bind::Unix(_) => None,
        }
    }
}

impl Drop for BoundListener {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Opens the listening socket of `spec`.
///
/// # Errors
/// The address is in use or not ours, or no permission.
pub fn bind(spec: ListenerSpec) -> io::Result<BoundListener> {
    let (socket, path) = match &spec.bind {
        Bind::Tcp(addr) => (bind_tcp(*addr)?, None),
        Bind::Unix(path) => (bind_unix(path)?, Some(path.clone())),
    };
    socket.listen(i32::try_from(spec.backlog).unwrap_or(i32::MAX))?;
    bound(socket, spec, path)
}

/// Takes over a socket that listens already (systemd socket activation).
///
/// # Errors
/// `fd` is no listening socket.
pub fn bind_inherited(spec: ListenerSpec, fd: OwnedFd) -> io::Result<BoundListener> {
    let socket = Socket::from(fd);
    if !socket.is_listener()? {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the inherited socket does not listen",
        ));
    }
    socket.set_nonblocking(true)?;
    socket.set_cloexec(true)?;
    if matches!(spec.bind, Bind::Tcp(_)) {
        socket.set_tcp_nodelay(true)?;
    }
    bound(socket, spec, None)
}

fn bound(socket: Socket, spec: ListenerSpec, path: Option<PathBuf>) -> io::Result<BoundListener> {
    let local = match socket.local_addr()?.as_socket() {
        Some(addr) => Bind::Tcp(addr),
        None => spec.bind.clone(),
    };
    Ok(BoundListener {
        fd: socket.into(),
        shared: Arc::new(Listener {
            spec: RwLock::new(Arc::new(spec)),
            slots: Arc::default(),
            log: LogGate::default(),
            local,
        }),
        path,
    })
}

fn bind_tcp(addr: SocketAddr) -> io::Result<Socket> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(addr), kind, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if addr.is_ipv6() {
        // `[::]` takes IPv4 too, whatever the system's default.
        socket.set_only_v6(!addr.ip().is_unspecified())?;
    }
    // Accepted sockets inherit it: a system call less for each.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}

fn bind_unix(path: &Path) -> io::Result<Socket> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let addr = SockAddr::unix(path)?;
    let socket = Socket::new(Domain::UNIX, kind, None)?;
    match socket.bind(&addr) {
        Err(e) if e.kind() == io::ErrorKind::AddrInUse && is_stale(&addr) => {
            std::fs::remove_file(path)?;
            socket.bind(&addr)?;
        }
        other => other?,
    }
    Ok(socket)
}

/// A socket file that nobody listens on any more.
fn is_stale(addr: &SockAddr) -> bool {
    Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)
        .and_then(|probe| probe.connect(addr))
        .is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
}

/// Accepts until `shutdown`, then closes the listening socket. Runs on the runtime of its task.
///
/// # Errors
/// The socket cannot be watched or has failed for good.
pub async fn accept_loop(
    bound: BoundListener,
    handler: Arc<dyn Handler>,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    #[expect(
        deprecated,
        reason = "its successor is unsafe; a borrowed descriptor stays open while watched"
    )]
    let watch = AsyncFd::with_interest(bound.fd.as_fd(), Interest::READABLE)?;
    let mut shutdown = pin!(shutdown);
    loop {
        let mut ready = tokio::select! {
            biased;
            () = &mut shutdown => return Ok(()),
            ready = watch.readable() => ready?,
        };
        match accept_batch(&bound, &*handler) {
            Ok(()) => tokio::task::yield_now().await,
            Err(Errno::WOULDBLOCK) => ready.clear_ready(),
            Err(errno @ (Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) => {
                drop(ready);
                out_of(errno, &bound.shared);
                tokio::select! {
                    () = &mut shutdown => return Ok(()),
                    () = tokio::time::sleep(BACK_OFF) => {}
                }
            }
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn out_of(errno: Errno, listener: &Listener) {
    if let Some(suppressed) = listener.log.pass("accept", None, Instant::now()) {
        let name = &listener.spec().name;
        tracing::error!(
            suppressed,
            "listener {name}: no connection can be accepted now: {errno}; raise the limit of open files"
        );
    }
}

/// Accepts what is there, at most [`BATCH`].
fn accept_batch(bound: &BoundListener, handler: &dyn Handler) -> Result<(), Errno> {
    let spec = bound.shared.spec();
    for _ in 0..BATCH {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        match rustix::net::acceptfrom_with(&bound.fd, flags) {
            Ok((fd, addr)) => {
                let tcp = addr.and_then(|a| SocketAddr::try_from(a).ok());
                arrived(&bound.shared, &spec, fd, tcp, handler);
            }
            // It left before we came, or the network lost it: accept(2), "Error handling".
            Err(
                Errno::CONNABORTED
                | Errno::INTR
                | Errno::PROTO
                | Errno::NETDOWN
                | Errno::NETUNREACH
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
                | Errno::PERM,
            ) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Gate A, then hands the socket over.
fn arrived(
    shared: &Arc<Listener>,
    spec: &Arc<ListenerSpec>,
    fd: OwnedFd,
    tcp: Option<SocketAddr>,
    handler: &dyn Handler,
) {
    let at = Instant::now();
    let (socket, addr) = match (tcp, &shared.local) {
        (Some(addr), _) => (StdSocket::Tcp(fd.into()), Addr::from(addr)),
        (None, Bind::Unix(_)) => (StdSocket::Unix(fd.into()), Addr::UNIX),
        // A TCP peer without an address was gone before accept.
        (None, Bind::Tcp(_)) => return,
    };
    let exempt = spec.policy.is_listed(&addr);
    let cause = match shared.slots.take(spec.max_connections, spec.max_pending) {
        None => Cause::Full,
        Some(mut slot) => {
            let arrival = Arrival {
                listener: spec,
                gate: Gate::Socket,
                socket: addr,
                addr,
                kind: if exempt { Kind::Proxy } else { Kind::Client },
                source: Source::Socket,
                exempt,
                charged: false,
                peer: None,
                now: at,
            };
            match handler.admit(&arrival, None) {
                Admit::Ok(held) => {
                    slot.hold(held);
                    return handler.dispatch(Accepted {
                        socket,
                        addr,
                        shared: Arc::clone(shared),
                        spec: Arc::clone(spec),
                        at,
                        slot,
                        charged: !exempt,
                    });
                }
                Admit::Refuse(denied) => Cause::Denied(denied),
            }
        }
    };
    let refusal = Refusal {
        listener: &spec.name,
        socket: addr,
        hop: None,
        peer: None,
        stage: Stage::Socket,
        cause: &cause,
        http_status: None,
        reject: None,
        class: None,
        first_bytes: &[],
        header: None,
        same_address: false,
        lasted: Duration::ZERO,
    };
    log::refusal(&shared.log, &refusal, "", at);
    handler.refused(&refusal);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_sockets_inherit_nodelay() {
        let policy = Arc::new(peer::Policy::defaults(peer::Transport::Tcp));
        let spec = ListenerSpec::new("door", Bind::Tcp(([127, 0, 0, 1], 0).into()), policy);
        let bound = bind(spec).expect("a free port");
        let _client = std::net::TcpStream::connect(bound.local_addr().expect("TCP")).expect("it listens");
        let fd = rustix::net::accept(&bound.fd).expect("a socket");
        assert!(std::net::TcpStream::from(fd).nodelay().expect("an option"));
    }
}
