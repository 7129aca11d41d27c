//! A program in the foreground: what it says is kept, its lines can be waited for, and it never outlives the test.

use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use crate::wait::{DEADLINE, until};

/// A running program; killed on drop, with all that it started.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    said: Arc<Said>,
}

/// The lines of both outputs.
#[derive(Debug, Default)]
struct Said {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

impl Said {
    fn collect(self: &Arc<Self>, from: impl Read + Send + 'static) {
        let said = Arc::clone(self);
        std::thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                said.lines
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(line);
                said.more.notify_all();
            }
        });
    }
}

impl Process {
    /// Starts it.
    ///
    /// # Panics
    /// If it cannot be started; `./check` installs what the tests need.
    pub fn spawn(name: &str, command: &mut Command) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // What it starts itself belongs to it, and ends with it.
            .process_group(0)
            .spawn();
        let mut child =
            child.unwrap_or_else(|error| panic!("{name}: {error} (./check installs what the tests need)"));
        let said = Arc::<Said>::default();
        said.collect(child.stdout.take().expect("a pipe"));
        said.collect(child.stderr.take().expect("a pipe"));
        Self {
            name: name.to_owned(),
            child,
            said,
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it said so far.
    pub fn lines(&self) -> Vec<String> {
        self.said
            .lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The first line that `wanted` turns into something, said already or to come.
    ///
    /// # Panics
    /// If it does not come in time; with everything said.
    #[track_caller]
    pub fn line<T>(&self, what: &str, mut wanted: impl FnMut(&str) -> Option<T>) -> T {
        let end = Instant::now() + DEADLINE;
        let mut seen = 0;
        let mut lines = self.said.lines.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = lines[seen..].iter().find_map(|line| wanted(line)) {
                return found;
            }
            seen = lines.len();
            let left = end.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "{}: no {what}; it said:\n{}",
                self.name,
                lines.join("\n")
            );
            lines = self
                .said
                .more
                .wait_timeout(lines, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Waits until it listens on `addr`.
    ///
    /// # Panics
    /// If it ends, or does not listen in time.
    #[track_caller]
    pub fn listens(&mut self, addr: SocketAddr) {
        until(&format!("{} to listen on {addr}", self.name), || {
            self.still_runs();
            is_listening(addr).then_some(())
        });
    }

    /// Fails the test, with what it said, if it has ended.
    #[track_caller]
    pub fn still_runs(&mut self) {
        if let Ok(Some(status)) = self.child.try_wait() {
            panic!(
                "{} ended with {status}; it said:\n{}",
                self.name,
                self.lines().join("\n")
            );
        }
    }

    /// Tells it to stop, and waits until it has.
    ///
    /// # Panics
    /// If it does not stop in time.
    #[track_caller]
    pub fn terminate(mut self) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        // An error means that it has ended already.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let name = self.name.clone();
        until(&format!("{name} to end"), || {
            self.child.try_wait().expect("a child")
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let group = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- {} said:\n{}\n---", self.name, self.lines().join("\n"));
        }
    }
}

/// Runs a command to its end, with this input.
///
/// # Panics
/// If it cannot be started, or does not end in time.
#[track_caller]
pub fn run(command: &mut Command) -> Output {
    let what = format!("{command:?}");
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.unwrap_or_else(|error| panic!("{what}: {error}"));
    let mut outputs = (child.stdout.take(), child.stderr.take());
    let read = |from: Option<Box<dyn Read + Send>>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(mut from) = from {
                let _ = from.read_to_end(&mut bytes);
            }
            bytes
        })
    };
    let stdout = read(outputs.0.take().map(|pipe| Box::new(pipe) as _));
    let stderr = read(outputs.1.take().map(|pipe| Box::new(pipe) as _));
    let end = Instant::now() + DEADLINE;
    let status = loop {
        match child.try_wait().expect("a child") {
            Some(status) => break status,
            None if Instant::now() > end => {
                let _ = child.kill();
                panic!("{what} does not end");
            }
            None => std::thread::park_timeout(std::time::Duration::from_millis(2)),
        }
    };
    Output {
        status,
        stdout: stdout.join().expect("a reader"),
        stderr: stderr.join().expect("a reader"),
    }
}

/// An address with a port that nobody uses. Below the range from which the kernel gives out ports, so that no
/// connection of another test takes it in the meantime.
///
/// # Panics
/// If there is none.
pub fn free(ip: &str) -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 22_000;
    let ip: IpAddr = ip.parse().expect("an address");
    // Processes that run side by side begin at different places.
    let start = (std::process::id() as u16).wrapping_mul(331) % COUNT;
    for _ in 0..COUNT {
        let offset = (start + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
        let addr = SocketAddr::new(ip, FIRST + offset);
        if std::net::TcpListener::bind(addr).is_ok() {
            return addr;
        }
    }
    panic!("no free port on {ip}");
}

/// Whether somebody listens on this IPv4 address, without connecting: proxies would connect onward.
fn is_listening(addr: SocketAddr) -> bool {
    let SocketAddr::V4(addr) = addr else {
        panic!("IPv4 only");
    };
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, _, state) = (fields.next(), fields.next(), fields.next());
        // 0A is LISTEN; the address is in the machine's byte order.
        state == Some("0A")
            && local
                .and_then(|local| local.split_once(':'))
                .is_some_and(|(ip, port)| {
                    u16::from_str_radix(port, 16) == Ok(addr.port())
                        && u32::from_str_radix(ip, 16)
                            .is_ok_and(|ip| Ipv4Addr::from(ip.to_ne_bytes()) == *addr.ip())
                })
    })
}
