//! A broker of its own for a test: a temporary directory, free ports, and everything an operator would read.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use serde_json::Value;
use toml::Table;

use crate::certs::Certs;
use crate::link::Dial;
use crate::process::{Process, run};
use crate::wait::{eventually, until};

/// What every broker of the tests has unless its own configuration says otherwise.
const BASE: &str = r#"
[node]
name = "test"
shutdown_grace = "1s"
[auth]
allow_anonymous = true
chain = []
[audit]
coalesce = "0s"
"#;

/// Everything on disk in a directory of its own; `@DIR@` stands for it.
const PATHS: &str = r#"
[node]
data_dir = "@DIR@/data"
[auth.password_file]
path = "@DIR@/passwd"
[audit]
path = "@DIR@/audit.log"
[admin]
socket = "@DIR@/ctl.sock"
socket_mode = "0600"
socket_group = ""
tokens_file = "@DIR@/tokens.toml"
[metrics]
bind = ""
"#;

/// A broker that is not started yet.
#[derive(Debug)]
pub struct Setup {
    dir: tempfile::TempDir,
    config: Table,
}

impl Setup {
    /// With this configuration on top of the base: usually listeners, bound to port 0. `@DIR@` stands for the
    /// broker's directory.
    ///
    /// # Panics
    /// If the text is no TOML.
    #[track_caller]
    pub fn new(config: &str) -> Self {
        let setup = Self {
            dir: tempfile::tempdir().expect("a directory"),
            config: Table::new(),
        };
        setup.own_paths().config(BASE).config(config)
    }

    /// Its own paths again, after a configuration that names the usual ones; no health port.
    #[must_use]
    pub fn own_paths(self) -> Self {
        self.config(PATHS)
    }

    /// More configuration, merged by key.
    ///
    /// # Panics
    /// If the text is no TOML.
    #[track_caller]
    #[must_use]
    pub fn config(mut self, text: &str) -> Self {
        let text = text.replace("@DIR@", &self.dir.path().to_string_lossy());
        let more = text.parse().unwrap_or_else(|error| panic!("{error}"));
        merge(&mut self.config, more);
        self
    }

    /// With this ACL file.
    #[must_use]
    pub fn acl(self, text: &str) -> Self {
        self.file("acl.conf", text)
            .config("acl = { file = \"@DIR@/acl.conf\" }")
    }

    /// With this file in its directory.
    #[must_use]
    pub fn file(self, name: &str, text: &str) -> Self {
        std::fs::write(self.dir.path().join(name), text).expect("a file");
        self
    }

    /// Where a file of it lies.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts it and waits until it serves.
    ///
    /// # Panics
    /// If it does not start.
    #[track_caller]
    pub fn start(self) -> Broker {
        let file = self.dir.path().join("broker.toml");
        std::fs::write(&file, self.config.to_string()).expect("a file");
        launch(self.dir)
    }
}

/// Starts the broker of a directory and waits until it serves.
#[track_caller]
fn launch(dir: tempfile::TempDir) -> Broker {
    let file = dir.path().join("broker.toml");
    let mut command = Command::new(binary());
    clean(&mut command).arg("run").arg("--config").arg(&file);
    let mut broker = Broker {
        process: Process::spawn("broker", &mut command),
        dir,
        listeners: HashMap::new(),
    };
    until("the admin socket", || {
        broker.process.still_runs();
        std::os::unix::net::UnixStream::connect(broker.path("ctl.sock")).ok()
    });
    for listener in broker
        .ctl_json(&["listeners", "list"])
        .as_array()
        .expect("a list")
    {
        let field = |name: &str| listener[name].as_str().expect("text").to_owned();
        if let Ok(addr) = field("bind").parse() {
            broker.listeners.insert(field("name"), addr);
        }
    }
    broker
}

/// The transports of listeners.
pub const TRANSPORTS: [&str; 4] = ["tcp", "tls", "ws", "wss"];

/// The configuration of a listener that is named as its transport, with these further keys, on a free port, and with a
/// certificate where it needs one.
pub fn listener(transport: &str, keys: &str, certs: &Certs) -> String {
    let base =
        format!("[listeners.{transport}]\ntransport = \"{transport}\"\nbind = \"127.0.0.1:0\"\n{keys}\n");
    if !matches!(transport, "tls" | "wss") {
        return base;
    }
    format!(
        "{base}[listeners.{transport}.tls]\ncert_file = \"{}\"\nkey_file = \"{}\"\n",
        certs.path("server.crt").display(),
        certs.path("server.key").display()
    )
}

/// [`listener`] for all transports.
pub fn listeners(keys: &str, certs: &Certs) -> String {
    TRANSPORTS
        .map(|transport| listener(transport, keys, certs))
        .concat()
}

fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) => merge(old, new),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// The broker's binary: built by cargo as a binary of this crate, beside the directory of the test's.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    let target = test.parent().and_then(Path::parent).expect("target/PROFILE/deps");
    target.join("broker-under-test")
}

/// Takes the broker's variables out of the environment, so that a developer's own do not matter.
pub fn clean(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BROKER_") {
            command.env_remove(name);
        }
    }
    command.env_remove("NOTIFY_SOCKET").env("NO_COLOR", "1")
}

/// What a command printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Printed {
    /// Exit code; -1 if a signal ended it.
    pub code: i32,
    /// Data.
    pub stdout: String,
    /// Messages.
    pub stderr: String,
}

/// Runs a command to its end.
///
/// # Panics
/// If it cannot be started.
#[track_caller]
pub fn printed(command: &mut Command) -> Printed {
    let output = run(command);
    Printed {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The directory of a broker that has ended.
#[derive(Debug)]
pub struct Left(tempfile::TempDir);

impl Left {
    /// Starts a broker on the same files.
    ///
    /// # Panics
    /// If it does not start.
    #[track_caller]
    pub fn start(self) -> Broker {
        launch(self.0)
    }
}

/// A running broker.
#[derive(Debug)]
pub struct Broker {
    process: Process,
    dir: tempfile::TempDir,
    listeners: HashMap<String, SocketAddr>,
}

impl Broker {
    /// Starts one with this configuration.
    #[track_caller]
    pub fn start(config: &str) -> Self {
        Setup::new(config).start()
    }

    /// Where a listener listens.
    ///
    /// # Panics
    /// If it has no such listener.
    #[track_caller]
    pub fn addr(&self, listener: &str) -> SocketAddr {
        self.listeners[listener]
    }

    /// Dials a listener.
    #[track_caller]
    pub fn dial(&self, listener: &str) -> Dial {
        Dial::to(self.addr(listener))
    }

    /// Where a file of it lies.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Runs `broker ctl` with these arguments.
    #[track_caller]
    pub fn ctl(&self, args: &[&str]) -> Printed {
        let mut command = Command::new(binary());
        clean(&mut command)
            .arg("ctl")
            .arg("--config")
            .arg(self.path("broker.toml"))
            .args(args);
        printed(&mut command)
    }

    /// Runs `broker ctl --json`, which must succeed.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn ctl_json(&self, args: &[&str]) -> Value {
        let printed = self.ctl(&[&["--json"], args].concat());
        assert_eq!(printed.code, 0, "{args:?}: {printed:?}");
        serde_json::from_str(&printed.stdout).expect("JSON")
    }

    /// The line of `broker ctl clients show`.
    ///
    /// # Panics
    /// If there is no such client.
    #[track_caller]
    pub fn client_line(&self, id: &str) -> String {
        let printed = self.ctl(&["clients", "show", id]);
        assert_eq!(printed.code, 0, "{id}: {printed:?}");
        printed.stdout.trim_end().to_owned()
    }

    /// `broker ctl clients show --json`.
    #[track_caller]
    pub fn client(&self, id: &str) -> Value {
        self.ctl_json(&["clients", "show", id])
    }

    /// The audit records written so far.
    ///
    /// # Panics
    /// If a line is no JSON.
    pub fn audit(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path("audit.log")).unwrap_or_default();
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect()
    }

    /// The first audit record of this event that `wanted` likes, written already or to come.
    ///
    /// # Panics
    /// If it does not come in time; with all records.
    #[track_caller]
    pub fn audited(&self, event: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Vec::new();
        let found = eventually(|| {
            last = self.audit();
            last.iter().find(|r| r["event"] == event && wanted(r)).cloned()
        });
        found.unwrap_or_else(|| {
            let lines: Vec<String> = last.iter().map(Value::to_string).collect();
            panic!("no such {event} record among:\n{}", lines.join("\n"))
        })
    }

    /// The first log line with exactly this message, logged already or to come; its fields.
    ///
    /// # Panics
    /// If it does not come in time; with the whole log.
    #[track_caller]
    pub fn logged(&self, message: &str) -> Value {
        self.process.line(&format!("log line {message:?}"), |line| {
            let line: Value = serde_json::from_str(line).ok()?;
            (line["message"] == message).then_some(line)
        })
    }

    /// Kills it (SIGKILL): what is left on disk, to be started again.
    pub fn kill(self) -> Left {
        drop(self.process);
        Left(self.dir)
    }

    /// Tells it to stop (SIGTERM) and waits until it has: what is left on disk, to be started again.
    ///
    /// # Panics
    /// If it ends with a failure.
    #[track_caller]
    pub fn stop_for_restart(self) -> Left {
        let status = self.process.terminate();
        assert!(status.success(), "{status}");
        Left(self.dir)
    }

    /// Stops it and starts it again on the same files.
    ///
    /// # Panics
    /// If it does not start.
    #[track_caller]
    #[must_use]
    pub fn restart(self) -> Self {
        self.process.terminate();
        launch(self.dir)
    }

    /// Tells it to stop, and waits until it has.
    #[track_caller]
    pub fn stop(self) -> ExitStatus {
        self.process.terminate()
    }
}
