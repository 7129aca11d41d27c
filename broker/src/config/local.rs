//! Local mode: what `broker run` does without any configuration file (operator-interface 1). It is a layer below the
//! environment and `--set`, written as a configuration file would be.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::effective;
use super::types::Config;

/// Where local mode keeps its things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalPaths {
    /// All data and the audit log.
    pub state_dir: PathBuf,
    /// The admin socket.
    pub socket: PathBuf,
}

impl LocalPaths {
    /// The paths for these values of `XDG_STATE_HOME`, `XDG_RUNTIME_DIR` and `HOME`; relative and empty ones do not
    /// count (XDG base directory specification).
    pub fn new(state_home: Option<PathBuf>, runtime_dir: Option<PathBuf>, home: Option<PathBuf>) -> Self {
        let absolute = |path: Option<PathBuf>| path.filter(|p| p.is_absolute());
        let home = absolute(home).unwrap_or_else(|| PathBuf::from("/"));
        let state = absolute(state_home).unwrap_or_else(|| home.join(".local/state"));
        let state_dir = state.join("broker");
        let socket = absolute(runtime_dir)
            .map_or_else(|| state_dir.clone(), |dir| dir.join("broker"))
            .join("ctl.sock");
        Self { state_dir, socket }
    }

    /// The paths of the user who runs this process.
    pub fn of_this_user() -> Self {
        let var = |name| std::env::var_os(name).map(PathBuf::from);
        Self::new(var("XDG_STATE_HOME"), var("XDG_RUNTIME_DIR"), var("HOME"))
    }

    /// Only the settings that differ from the defaults because of where things are, for a user who is not root.
    pub fn settings(&self) -> [(&'static str, Value); 6] {
        let at = |path: &Path| Value::String(path.to_string_lossy().into_owned());
        [
            ("node.data_dir", at(&self.state_dir)),
            ("audit.path", at(&self.state_dir.join("audit.log"))),
            ("auth.password_file.path", at(&self.state_dir.join("passwd"))),
            ("admin.socket", at(&self.socket)),
            ("admin.socket_group", Value::String(String::new())),
            ("admin.tokens_file", at(&self.state_dir.join("tokens.toml"))),
        ]
    }
}

const LOCAL: &str = r#"
[listeners.tcp]
transport = "tcp"
bind      = "127.0.0.1:1883"
[listeners.ws]
transport = "ws"
bind      = "127.0.0.1:8083"
[listeners.ws.websocket]
allowed_origins = ["@loopback"]
[auth]
allow_anonymous = true
chain           = []
[admin]
socket_mode = "0600"
[metrics]
bind = ""
[quota]
max_connections   = "unlimited"
max_pending       = "unlimited"
connect_rate      = "unlimited"
connect_burst     = "unlimited"
publish_rate      = "unlimited"
publish_bytes     = "unlimited"
max_subscriptions = "unlimited"
"#;

/// Local mode as a table of settings.
///
/// # Panics
/// Never: the text is ours, and a test reads it.
pub fn layer(paths: &LocalPaths) -> Table {
    let mut table = LOCAL.parse::<Table>().unwrap_or_default();
    for (path, value) in paths.settings() {
        let (parents, name) = path.rsplit_once('.').unwrap_or(("", path));
        let mut at = &mut table;
        for part in parents.split('.') {
            let entry = at
                .entry(part.to_owned())
                .or_insert_with(|| Value::Table(Table::new()));
            match entry {
                Value::Table(inner) => at = inner,
                _ => return table,
            }
        }
        at.insert(name.to_owned(), value);
    }
    table
}

impl Config {
    /// The configuration of local mode: anonymous clients of this machine on 1883 and 8083.
    ///
    /// # Panics
    /// If the table of keys and the types disagree; a test covers that.
    pub fn local_mode(paths: &LocalPaths) -> Self {
        built_in(&layer(paths))
    }
}

impl Default for Config {
    /// The built-in defaults: no listener at all.
    fn default() -> Self {
        built_in(&Table::new())
    }
}

#[expect(
    clippy::expect_used,
    reason = "our own text against our own table: nothing from outside is read"
)]
fn built_in(layer: &Table) -> Config {
    effective::resolve(&effective::fill(layer), Path::new("/"))
        .expect("the table of keys and the types agree")
}

#[cfg(test)]
mod tests {
    use super::super::{Bind, Durability, Limit, RateLimit, Transport};
    use super::*;

    #[test]
    fn local_mode_is_what_the_documents_say() {
        let paths = LocalPaths::new(None, Some("/run/user/1000".into()), Some("/home/mqtt".into()));
        let config = Config::local_mode(&paths);
        let seen: Vec<_> = config
            .listeners
            .iter()
            .map(|l| (l.name.as_str(), l.transport, l.bind.clone()))
            .collect();
        let at = |text: &str| text.parse::<Bind>().unwrap();
        assert_eq!(
            seen,
            [
                ("tcp", Transport::Tcp, at("127.0.0.1:1883")),
                ("ws", Transport::Ws, at("127.0.0.1:8083"))
            ]
        );
        assert!(config.listeners.iter().all(|l| l.allow_anonymous && l.enabled));
        assert!(config.auth.chain.is_empty());
        assert_eq!(config.metrics.bind, None);
        assert_eq!(
            (config.quota.max_pending, config.quota.connect_rate),
            (Limit::Unlimited, RateLimit::Unlimited)
        );
        assert_eq!(
            config.node.data_dir,
            Some("/home/mqtt/.local/state/broker".into())
        );
        assert_eq!(
            config.audit.path,
            PathBuf::from("/home/mqtt/.local/state/broker/audit.log")
        );
        assert_eq!(
            config.admin.socket,
            PathBuf::from("/run/user/1000/broker/ctl.sock")
        );
        assert_eq!(
            (config.admin.socket_mode, config.admin.socket_group),
            (0o600, None)
        );
        assert_eq!(config.store.durability, Durability::Group);
    }

    #[test]
    fn without_a_runtime_directory_the_socket_lies_with_the_data() {
        let paths = LocalPaths::new(
            Some("relative".into()),
            Some(String::new().into()),
            Some("/home/m".into()),
        );
        assert_eq!(
            paths.socket,
            PathBuf::from("/home/m/.local/state/broker/ctl.sock")
        );
    }

    #[test]
    fn defaults_have_no_listener_and_let_nobody_in() {
        let config = Config::default();
        assert!(config.listeners.is_empty());
        assert!(!config.auth.allow_anonymous);
        assert_eq!(config.quota.max_pending, Limit::At(200));
        assert_eq!(config.mqtt.max_packet_size, 1 << 20);
    }
}
