//! The brokers that `compare` runs: ours, Mosquitto, FlashMQ, the relay. Each gets a configuration written for
//! this run (loopback, no persistence, nodelay), starts on one core and is stopped when dropped.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Which broker, and so which configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// this repository's
    Ours,
    /// Mosquitto 2.0 or 2.1
    Mosquitto,
    /// FlashMQ
    FlashMq,
    /// `relay` beside this program, copying in pairs
    Relay,
    /// the same, copying to all
    RelayAll,
}

/// A broker that can be started.
#[derive(Clone, Debug)]
pub struct Peer {
    /// column title
    pub name: String,
    /// what it is
    pub kind: Kind,
    /// its binary
    pub path: PathBuf,
}

/// Ports of one run, one per listener.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// plain TCP
    pub tcp: u16,
    /// TLS
    pub tls: u16,
    /// WebSocket
    pub ws: u16,
    /// plain TCP that requires a PROXY header
    pub proxy: u16,
}

impl Ports {
    /// Four ports that are free now, below the range from which the kernel gives ports to others, and not those of
    /// the call before: a peer without SO_REUSEADDR could not bind them again at once.
    pub fn free() -> io::Result<Self> {
        static CALLS: AtomicU32 = AtomicU32::new(0);
        let step = std::process::id().wrapping_mul(97) + CALLS.fetch_add(8, Ordering::Relaxed);
        let first = 10_000 + (step % 20_000) as u16;
        let mut found = Vec::new();
        let mut held = Vec::new();
        for port in first..first + 2000 {
            if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
                held.push(listener);
                found.push(port);
            }
            if let [tcp, tls, ws, proxy] = found[..] {
                return Ok(Self { tcp, tls, ws, proxy });
            }
        }
        Err(io::Error::other("no free ports"))
    }
}

/// A started broker; killed when dropped.
pub struct Running {
    child: Child,
    /// where it listens
    pub ports: Ports,
}

impl Running {
    /// Process id of the broker.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How long a broker may take until its port answers.
const START: Duration = Duration::from_secs(10);

impl Peer {
    /// Starts it on `cores` (a taskset list: brokers with worker threads start one per core they may use) with
    /// its files in `dir`, and waits until it accepts.
    pub fn start(&self, dir: &Path, cores: &str) -> io::Result<Running> {
        let ports = Ports::free()?;
        let config = dir.join(format!("{}-{}.conf", self.name, ports.tcp));
        let mut command = Command::new("taskset");
        command.args(["-c", cores]).arg(&self.path);
        match self.kind {
            Kind::Ours => {
                let config = config.with_extension("toml");
                fs::write(&config, ours(dir, ports))?;
                command.arg("run").arg("--config").arg(config);
            }
            Kind::Mosquitto => {
                fs::write(&config, mosquitto(dir, ports))?;
                command.arg("-c").arg(config);
            }
            Kind::FlashMq => {
                fs::write(&config, flashmq(dir, ports))?;
                command.arg("-c").arg(config);
            }
            Kind::Relay | Kind::RelayAll => {
                let pairing = if self.kind == Kind::Relay { "pairs" } else { "all" };
                command.args(["--port", &ports.tcp.to_string(), "--pairing", pairing]);
            }
        }
        let log = fs::File::create(dir.join(format!("{}-{}.log", self.name, ports.tcp)))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let running = Running {
            child: command.spawn()?,
            ports,
        };
        let mut wanted = vec![ports.tcp];
        if !matches!(self.kind, Kind::Relay | Kind::RelayAll) {
            wanted.extend([ports.tls, ports.ws]);
        }
        running.accepts(&self.name, &wanted)?;
        Ok(running)
    }
}

impl Running {
    /// Waits until all these ports answer, or the process ends.
    fn accepts(&self, name: &str, ports: &[u16]) -> io::Result<()> {
        let pid = Pid::from_raw(self.pid().cast_signed()).ok_or_else(|| io::Error::other("no pid"))?;
        let process = pidfd_open(pid, PidfdFlags::empty())?;
        let until = Instant::now() + START;
        let answers = |port: &u16| TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).is_ok();
        while !ports.iter().all(answers) {
            let wait = Timespec {
                tv_sec: 0,
                tv_nsec: 20_000_000,
            };
            if poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&wait))? > 0 {
                return Err(io::Error::other(format!("{name} ended at once; see its log")));
            }
            if Instant::now() > until {
                return Err(io::Error::other(format!(
                    "{name} does not accept after {START:?}"
                )));
            }
        }
        Ok(())
    }
}

/// Writes a self-signed P-256 certificate and its key as `cert.pem` and `key.pem`.
pub fn write_certificate(dir: &Path) -> io::Result<()> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).map_err(io::Error::other)?;
    fs::write(dir.join("cert.pem"), made.cert.pem())?;
    fs::write(dir.join("key.pem"), made.signing_key.serialize_pem())
}

/// Address rules, audit to a file, bans and quotas are on, as a user runs it; only the generator's own network is
/// exempt from the quotas, since all its clients share it.
fn ours(dir: &Path, ports: Ports) -> String {
    let Ports { tcp, tls, ws, proxy } = ports;
    let dir = dir.display();
    format!(
        r#"[listeners.tcp]
transport = "tcp"
bind = "127.0.0.1:{tcp}"
[listeners.tls]
transport = "tls"
bind = "127.0.0.1:{tls}"
[listeners.tls.tls]
cert_file = "{dir}/cert.pem"
key_file = "{dir}/key.pem"
[listeners.ws]
transport = "ws"
bind = "127.0.0.1:{ws}"
[listeners.tcp_lb]
transport = "tcp"
bind = "127.0.0.1:{proxy}"
proxy_protocol = "required"
trusted_proxies = ["127.0.0.0/8"]
[node]
data_dir = ""
[auth]
allow_anonymous = true
chain = []
[audit]
path = "{dir}/audit-{tcp}.log"
[admin]
socket = "{dir}/ctl-{tcp}.sock"
socket_mode = "0600"
socket_group = ""
[metrics]
bind = ""
[[quota.override]]
nets = ["127.0.0.0/8", "10.0.0.0/8"]
max_pending = "unlimited"
connect_rate = "unlimited"
"#
    )
}

fn mosquitto(dir: &Path, ports: Ports) -> String {
    let Ports { tcp, tls, ws, .. } = ports;
    let dir = dir.display();
    format!(
        "persistence false\nallow_anonymous true\nset_tcp_nodelay true\nlog_type error\nlog_dest stderr\nuser root\n\
         listener {tcp} 127.0.0.1\n\
         listener {tls} 127.0.0.1\ncertfile {dir}/cert.pem\nkeyfile {dir}/key.pem\n\
         listener {ws} 127.0.0.1\nprotocol websockets\n"
    )
}

fn flashmq(dir: &Path, ports: Ports) -> String {
    let Ports { tcp, tls, ws, .. } = ports;
    let dir = dir.display();
    let listen = |more: &str, port: u16| {
        format!(
            "listen {{\n{more}inet_protocol ip4\ninet4_bind_address 127.0.0.1\nport {port}\ntcp_nodelay true\n}}\n"
        )
    };
    format!(
        "allow_anonymous true\nlog_level warning\nrlimit_nofile 20000\n{}{}{}",
        listen("protocol mqtt\n", tcp),
        listen(
            &format!("protocol mqtt\nfullchain {dir}/cert.pem\nprivkey {dir}/key.pem\n"),
            tls
        ),
        listen("protocol websockets\n", ws),
    )
}
