//! Whole configurations from files, variables and flags in a directory of their own.

use std::path::PathBuf;

use super::local::LocalPaths;
use super::raw::Surroundings;
use super::*;

/// A directory with configuration files, and what surrounds it.
pub(super) struct World {
    dir: tempfile::TempDir,
    around: Surroundings,
    sources: Sources,
}

impl World {
    pub(super) fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let around = Surroundings {
            vars: Vec::new(),
            working_dir: dir.path().to_owned(),
            default_file: dir.path().join("broker.toml"),
            local: LocalPaths::new(None, None, Some("/home/mqtt".into())),
        };
        Self {
            dir,
            around,
            sources: Sources::default(),
        }
    }

    pub(super) fn env(mut self, name: &str, value: &str) -> Self {
        self.around.vars.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn set(mut self, setting: &str) -> Self {
        self.sources.set.push(setting.to_owned());
        self
    }

    pub(super) fn load(&self) -> Result<Loaded, Refused> {
        load_in(&self.sources, &self.around)
    }

    #[track_caller]
    pub(super) fn good(&self) -> Loaded {
        self.load()
            .unwrap_or_else(|refused| panic!("{}", finding::render(&refused.findings)))
    }

    /// The findings as printed, with the directory as /etc/broker.
    #[track_caller]
    pub(super) fn refused(&self) -> String {
        let refused = self.load().expect_err("this configuration is wrong");
        self.shown(&refused.findings)
    }

    pub(super) fn shown(&self, findings: &[finding::Finding]) -> String {
        finding::render(findings).replace(&self.dir.path().display().to_string(), "/etc/broker")
    }
}

const TCP: &str = "[listeners.tcp]\ntransport = \"tcp\"\nbind = \"127.0.0.1:1883\"\n";

fn with(more: &str) -> World {
    World::new(&[("broker.toml", &format!("{TCP}{more}"))])
}

#[track_caller]
fn refused_with(more: &str, expected: &[&str]) {
    let shown = with(more).refused();
    let codes: Vec<&str> = shown.lines().filter(|l| l.starts_with("error[")).collect();
    assert_eq!(codes.len(), expected.len(), "{more}\n{shown}");
    for (line, expected) in codes.iter().zip(expected) {
        assert!(line.contains(expected), "{more}\n{shown}\nexpected: {expected}");
    }
}

#[test]
fn layers_win_in_order_and_say_so() {
    let world = World::new(&[
        (
            "broker.toml",
            &format!("[log]\nlevel = \"warn\"\nformat = \"json\"\n[session]\nmax_sessions = 1\n{TCP}"),
        ),
        ("conf.d/20.toml", "[session]\nmax_sessions = 3\n"),
        ("conf.d/10.toml", "[session]\nmax_sessions = 2\n"),
        ("conf.d/ignored.conf", "not TOML"),
    ]);
    let world = world
        .env("BROKER__LOG__LEVEL", "debug")
        .env("BROKER_CTL_URL", "x")
        .set("log.format=text");
    let loaded = world.good();
    assert_eq!(loaded.config.session.max_sessions, 3);
    assert_eq!(
        (loaded.config.log.level, loaded.config.log.format),
        (LogLevel::Debug, LogFormat::Text)
    );
    let origin = |key: &str| {
        let path: Vec<String> = key.split('.').map(ToOwned::to_owned).collect();
        let origins = &loaded.values.origins;
        (
            origins.of(&path).describe(),
            origins.hidden(&path).map(|s| s.origin.short()),
        )
    };
    assert_eq!(
        origin("session.max_sessions"),
        ("file conf.d/20.toml:2".into(), Some("conf.d/10.toml:2".into()))
    );
    assert_eq!(
        origin("log.level"),
        ("env BROKER__LOG__LEVEL".into(), Some("broker.toml:2".into()))
    );
    assert_eq!(
        origin("log.format"),
        ("flag --set".into(), Some("broker.toml:3".into()))
    );
    assert_eq!(origin("log.filters"), ("default".into(), None));
    let codes: Vec<_> = loaded
        .warnings
        .iter()
        .map(|w| (w.code, w.message.as_str()))
        .collect();
    assert_eq!(
        codes,
        [
            (
                "CFG021",
                "log.format comes from flag --set and hides broker.toml:3"
            ),
            (
                "CFG021",
                "log.level comes from env BROKER__LOG__LEVEL and hides broker.toml:2"
            ),
        ]
    );
}

#[test]
fn tables_merge_and_arrays_replace() {
    let auto = "[[bans.auto]]\nname = \"a\"\non = \"connect\"\ncount = 1\nwindow = \"1m\"\nban = \"1m\"\nby = \"prefix\"\n";
    let world = World::new(&[
        (
            "broker.toml",
            &format!(
                "[log.filters]\nlisteners = \"debug\"\n{TCP}{auto}{}",
                auto.replace("\"a\"", "\"b\"")
            ),
        ),
        (
            "conf.d/1.toml",
            &format!(
                "[log]\nfilters = {{ auth = \"trace\" }}\n{}",
                auto.replace("\"a\"", "\"c\"")
            ),
        ),
    ]);
    let loaded = world.good();
    assert_eq!(loaded.config.log.filters.len(), 2);
    let names: Vec<_> = loaded.config.bans.auto.iter().map(|b| b.name.as_str()).collect();
    assert_eq!(names, ["c"]);
    let gone = ["bans", "auto", "1", "name"].map(str::to_owned);
    assert_eq!(loaded.values.origins.of(&gone), &origin::Origin::Default);
}

#[test]
fn values_of_variables_are_read_by_the_type_of_their_key() {
    let world = with("")
        .env("BROKER__LISTENERS__TCP__TRUSTED_PROXIES", "10.0.0.0/8, unix")
        .env("BROKER__LISTENERS__TCP__PROXY_PROTOCOL", "true")
        .env("BROKER__LISTENERS__TCP__MQTT__MAX_QOS", "1")
        .env("BROKER__AUTH__CHAIN", "[\"password_file\"]")
        .env("BROKER__NODE__NAME", "17")
        .env("BROKER__MQTT__MAX_PACKET_SIZE", "2MiB")
        .env("BROKER__MQTT__KEEPALIVE_MULTIPLIER", "2")
        .env("BROKER__LOG__FILTERS", "{ auth = \"debug\" }")
        .env("BROKER__QUOTA__MAX_PENDING", "unlimited")
        .env("BROKER__QUOTA__CONNECT_BURST", "7");
    let config = world.good().config;
    let listener = &config.listeners[0];
    assert_eq!(listener.peername.trusted_proxies, ["10.0.0.0/8", "unix"]);
    assert_eq!(listener.peername.proxy_protocol, "required");
    assert_eq!(listener.policy.proxy_mode(), peer::ProxyMode::Required);
    assert_eq!((listener.mqtt.max_qos, config.mqtt.max_qos), (1, 2));
    assert_eq!(listener.mqtt.max_packet_size, 2 << 20);
    assert_eq!(config.auth.chain, [AuthMethod::PasswordFile]);
    assert_eq!(config.node.name, "17");
    assert!((config.mqtt.keepalive_multiplier - 2.0).abs() < f64::EPSILON);
    assert_eq!(config.log.filters.get("auth"), Some(&LogLevel::Debug));
    assert_eq!(
        (config.quota.max_pending, config.quota.connect_burst),
        (Limit::Unlimited, Limit::At(7))
    );
}

#[test]
fn nothing_at_all_is_local_mode_and_a_named_file_must_exist() {
    let loaded = World::new(&[]).set("log.level=debug").good();
    assert!(loaded.local_mode);
    assert_eq!(loaded.config.log.level, LogLevel::Debug);
    assert_eq!(loaded.config.listeners.len(), 2);
    let world = World::new(&[]).env("BROKER_CONFIG", "missing.toml");
    let shown = world.refused();
    assert_eq!(
        shown,
        "error[CFG006]: cannot read /etc/broker/missing.toml: no such file or directory\n"
    );
    let only_conf_d = World::new(&[("conf.d/1.toml", TCP)]).good();
    assert!(!only_conf_d.local_mode);
    assert!(!only_conf_d.config.listeners[0].allow_anonymous);
}

#[test]
fn wrong_keys_and_values_are_all_told_at_once() {
    refused_with(
        "[mqtt]\nmax_qos = 3\nmax_qoss = 1\nqueue_full = \"drop\"\n[store]\ndurability = \"replicated\"\n[cluster]\ncell = \"a\"\n",
        &[
            "CFG001]: unknown key `mqtt.max_qoss`",
            "CFG004]: bad value for `mqtt.max_qos`",
            "CFG004]: bad value for `mqtt.queue_full`",
            "CFG050]: `store.durability`",
            "CFG050]: `cluster` is not",
        ],
    );
}

/// What is added to a good configuration, and the errors it makes.
const RULES: &[(&str, &[&str])] = &[
    ("", &[]),
    ("proxy_protocol = \"required\"\n", &["CE01"]),
    (
        "address_header = \"X-Real-IP\"\ntrusted_proxies = [\"10.0.0.1\"]\n",
        &["CE02"],
    ),
    (
        "strategy = \"leftmost\"\n",
        &["CE12]: `listeners.tcp.strategy` has no effect"],
    ),
    ("trusted_proxies = [\"@nobody\"]\n", &["CE07"]),
    (
        "trusted_proxies = [\"10.0.0.0/33\"]\nproxy_protocol = \"required\"\n",
        &["CE07"],
    ),
    ("username_from = \"tls_cn\"\n", &["CE12"]),
    ("[listeners.tcp.tls]\n", &["CE12"]),
    ("[listeners.tcp.websocket]\npath = \"/\"\n", &["CE12"]),
    ("[listeners.Tcp]\n", &["CE12"]),
    (
        "[listeners.b]\n",
        &[
            "CE12]: `listeners.b` has no `bind`",
            "CE12]: `listeners.b` has no `transport`",
        ],
    ),
    (
        "[listeners.b]\ntransport = \"tls\"\nbind = \"0.0.0.0:1883\"\n",
        &["CFG005"],
    ),
    (
        "[listeners.b]\ntransport = \"tls\"\nbind = \"[::]:1883\"\n",
        &["CFG005"],
    ),
    (
        "[listeners.b]\ntransport = \"tls\"\nbind = \"[::1]:1883\"\nenabled = false\n",
        &[],
    ),
    (
        "[listeners.b]\ntransport = \"tls\"\nbind = \"[::1]:1883\"\ntls.client_auth = \"require\"\n",
        &["CE12"],
    ),
    ("enabled = false\n", &["CFG045"]),
    ("[metrics]\nbind = \"0.0.0.0:1883\"\n", &["CFG005"]),
    ("[admin]\nhttp_bind = \"0.0.0.0:18083\"\n", &["CFG004"]),
    ("[admin]\nhttp_bind = \"127.0.0.1:18083\"\n", &[]),
    (
        "[store]\ndurability = \"group\"\n[node]\ndata_dir = \"\"\n",
        &["CFG004"],
    ),
    (
        "[auth]\nchain = [\"jwt\", \"http\"]\n",
        &["CFG004]: \"http\"", "CFG004]: \"jwt\""],
    ),
    ("[networks]\nlb = [\"10.0.0.0/8\", \"@office\"]\n", &["CFG004"]),
    ("[networks]\nloopback = [\"10.0.0.0/8\"]\n", &["CFG004"]),
    ("[bans]\nprotect = [\"@lb\", \"@private\"]\n", &["CFG004"]),
    ("[[rewrite]]\n", &["CFG050"]),
    ("[auth]\nchain = [\"scram\"]\n", &["CFG050"]),
    ("[auth.http]\nacl_url = \"http://127.0.0.1/\"\n", &["CFG050"]),
    ("[[quota.override]]\n", &["`nets`"]),
    ("[audit]\nevents = [\"*\", \"-publish\"]\n", &["CFG004"]),
    ("[log]\nfilters = { auth = \"loud\" }\n", &["CFG004"]),
    ("[bridges.x]\n", &["CFG050"]),
    ("[log\n", &["CFG004]: this is not TOML"]),
];

#[test]
fn each_rule_between_keys_is_kept() {
    for (more, expected) in RULES {
        if expected.is_empty() {
            with(more).good();
        } else {
            refused_with(more, expected);
        }
    }
}

#[test]
fn variables_and_flags_that_mean_nothing_are_refused() {
    let world = with("")
        .env("BROKER__LISTENER__TCP__BIND", "x")
        .env("BROKER__BANS__AUTO__0__BY", "x")
        .env("BROKER__LISTENERS__TCP__BIND", "1884")
        .env("BROKER__CLUSTER__CELL", "a")
        .set("log.levl=info");
    assert_eq!(
        world.refused(),
        "error[CE12]: bad value for `listeners.tcp.bind`\n   = BROKER__LISTENERS__TCP__BIND=1884: an address is needed too: \"0.0.0.0:1884\", or \"[::]:1884\" for IPv4 and IPv6\n\
         error[CFG001]: unknown key `log.levl` in --set\n   = did you mean `log.level`?\n\
         error[CFG002]: unknown environment variable BROKER__BANS__AUTO__0__BY: an array of tables has no form here\n   = write [[bans.auto]] in a file of conf.d\n\
         error[CFG002]: unknown environment variable BROKER__LISTENER__TCP__BIND\n   = did you mean BROKER__LISTENERS__TCP__BIND?\n\
         error[CFG050]: `cluster.cell` is not in this version\n   = unknown environment variable BROKER__CLUSTER__CELL\n"
    );
}

#[test]
fn a_dot_env_is_never_read_but_told() {
    let world = World::new(&[
        ("broker.toml", TCP),
        (".env", "# x\nexport BROKER__LOG__LEVEL=trace\n"),
    ]);
    let loaded = world.good();
    assert_eq!(loaded.config.log.level, LogLevel::Info);
    assert_eq!(
        world.shown(&loaded.warnings),
        "warning[CFG020]: /etc/broker/.env has BROKER__ lines and is not read\n   = line 2: write the setting into conf.d, or remove the line\n"
    );
}

#[test]
fn relative_paths_are_relative_to_the_configuration_file() {
    let world = with("[acl]\nfile = \"acl.conf\"\n[node]\ndata_dir = \"/srv\"\n");
    let config = world.good().config;
    assert_eq!(config.acl.file, Some(world.dir.path().join("acl.conf")));
    assert_eq!(config.node.data_dir, Some(PathBuf::from("/srv")));
}

#[test]
fn networks_stand_for_their_ranges() {
    let world = with(
        "proxy_protocol = \"required\"\ntrusted_proxies = [\"@lb\"]\n[networks]\nlb = [\"172.16.0.9/24\"]\n",
    );
    let loaded = world.good();
    let ranges: Vec<String> = loaded.config.listeners[0]
        .policy
        .trusted_proxies()
        .ranges()
        .map(|r| r.to_string())
        .collect();
    assert_eq!(ranges, ["172.16.0.0/24"]);
    assert_eq!(
        loaded.warnings.iter().map(|w| w.code).collect::<Vec<_>>(),
        ["CW03"]
    );
}
