//! The rows of the comparison: what the macro bench runs, which of its figures counts, and our goal against the
//! best peer.

use crate::peers::{Kind, Ports};

/// One figure of one scenario.
#[derive(Clone, Copy)]
pub struct Figure {
    /// its name in the macro bench's report
    pub key: &'static str,
    /// what is printed
    pub title: &'static str,
    /// at most this share of the best peer; `None`: shown only
    pub goal: Option<f64>,
    /// at most this value, whatever the peers do
    pub limit: Option<f64>,
}

/// One scenario.
#[derive(Clone, Copy)]
pub struct Row {
    /// name for `--only`
    pub name: &'static str,
    /// scenario and options of the macro bench
    pub args: &'static [&'static str],
    /// which listener is driven
    pub over: Over,
    /// the relay that bounds it, if one can
    pub bound: Option<Kind>,
    /// what is compared
    pub figures: &'static [Figure],
}

/// The listener a row drives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// plain TCP
    Tcp,
    /// TLS
    Tls,
    /// WebSocket
    Ws,
    /// TCP with a PROXY v2 header; only ours has that listener
    Proxy,
}

impl Over {
    /// Options for the macro bench.
    pub fn args(self, ports: Ports) -> Vec<String> {
        let (port, more): (u16, &[&str]) = match self {
            Over::Tcp => (ports.tcp, &[]),
            Over::Tls => (ports.tls, &["--transport", "tls"]),
            Over::Ws => (ports.ws, &["--transport", "ws"]),
            Over::Proxy => (ports.proxy, &["--proxy-v2"]),
        };
        let mut args = vec!["--port".to_owned(), port.to_string()];
        args.extend(more.iter().map(|&arg| arg.to_owned()));
        args
    }

    /// Whether a broker of this kind listens so.
    pub fn spoken_by(self, kind: Kind) -> bool {
        self == Over::Tcp
            || kind == Kind::Ours
            || (self != Over::Proxy && !matches!(kind, Kind::Relay | Kind::RelayAll))
    }
}

const fn ratio(key: &'static str, title: &'static str, goal: f64) -> Figure {
    Figure {
        key,
        title,
        goal: Some(goal),
        limit: None,
    }
}

const fn limit(key: &'static str, title: &'static str, limit: f64) -> Figure {
    Figure {
        key,
        title,
        goal: None,
        limit: Some(limit),
    }
}

const fn shown(key: &'static str, title: &'static str) -> Figure {
    Figure {
        key,
        title,
        goal: None,
        limit: None,
    }
}

const fn row(name: &'static str, args: &'static [&'static str], figures: &'static [Figure]) -> Row {
    Row {
        name,
        args,
        over: Over::Tcp,
        bound: None,
        figures,
    }
}

const fn bound(by: Kind, row: Row) -> Row {
    Row {
        bound: Some(by),
        ..row
    }
}

const fn over(over: Over, row: Row) -> Row {
    Row { over, ..row }
}

/// Every row, in the order of the table.
pub const ROWS: &[Row] = &[
    bound(
        Kind::Relay,
        row(
            "qos0",
            &["pair"],
            &[ratio("cpu_us", "QoS 0, 10 -> 10, CPU us/message", 0.5)],
        ),
    ),
    row(
        "qos1",
        &["pair", "--qos", "1"],
        &[ratio("cpu_us", "QoS 1, window 100, CPU us/message", 0.6)],
    ),
    row(
        "qos2",
        &["pair", "--qos", "2"],
        &[ratio("cpu_us", "QoS 2, window 20, CPU us/message", 0.5)],
    ),
    bound(
        Kind::RelayAll,
        row(
            "fanout",
            &["fanout"],
            &[ratio("cpu_us", "fan-out 1 -> 500, 64 B, CPU us/delivery", 0.5)],
        ),
    ),
    bound(
        Kind::RelayAll,
        row(
            "fanout1k",
            &["fanout", "--size", "1024"],
            &[ratio("cpu_us", "the same, 1 KiB", 0.6)],
        ),
    ),
    bound(
        Kind::RelayAll,
        row(
            "fanout-one",
            &["fanout", "--window", "1"],
            &[ratio("cpu_us", "the same, one at a time", 0.8)],
        ),
    ),
    bound(
        Kind::Relay,
        row(
            "fanin",
            &["fanin"],
            &[ratio("cpu_us", "fan-in 100 -> 1, wildcard, CPU us/message", 0.7)],
        ),
    ),
    over(
        Over::Ws,
        row(
            "ws",
            &["pair"],
            &[ratio("cpu_us", "WebSocket, as the first row", 0.6)],
        ),
    ),
    over(
        Over::Tls,
        row(
            "tls",
            &["pair"],
            &[ratio("cpu_us", "TLS 1.3, as the first row", 0.7)],
        ),
    ),
    row(
        "v5",
        &["pair", "--mqtt-version", "5"],
        &[ratio("cpu_us", "MQTT 5, as the first row", 0.5)],
    ),
    bound(
        Kind::Relay,
        row(
            "lone",
            &["paced"],
            &[
                ratio("cpu_us", "lone messages, 5,000/s, CPU us/message", 1.0),
                ratio("p50_us", "the same, p50 us", 1.0),
                ratio("p99_us", "the same, p99 us", 1.0),
                ratio("p999_us", "the same, p99.9 us", 1.0),
            ],
        ),
    ),
    row(
        "lone-flood",
        &["paced", "--flood", "4"],
        &[
            ratio("p50_us", "lone messages beside a flood of 4 pairs, p50 us", 1.0),
            ratio("p99_us", "the same, p99 us", 1.0),
            shown("flood_per_s", "the same, messages/s of the flood"),
        ],
    ),
    bound(
        Kind::Relay,
        row(
            "connect",
            &["connects"],
            &[ratio("cpu_us", "connect + disconnect, CPU us each", 0.95)],
        ),
    ),
    over(
        Over::Proxy,
        row(
            "connect-proxy",
            &["connects"],
            &[shown("cpu_us", "the same with a PROXY v2 header, CPU us each")],
        ),
    ),
    over(
        Over::Tls,
        row(
            "handshake",
            &["connects"],
            &[ratio("cpu_us", "the same over TLS 1.3, CPU us each", 0.8)],
        ),
    ),
    row(
        "idle",
        &["idle"],
        &[limit("rss_bytes", "idle TCP connection, RSS bytes", 1000.0)],
    ),
    over(
        Over::Ws,
        row(
            "idle-ws",
            &["idle"],
            &[limit("rss_bytes", "idle WebSocket connection", 1500.0)],
        ),
    ),
    over(
        Over::Tls,
        row(
            "idle-tls",
            &["idle", "--count", "5000"],
            &[limit("rss_bytes", "idle TLS connection", 8000.0)],
        ),
    ),
    row(
        "subs",
        &["subs"],
        &[
            limit("rss_bytes", "a million subscriptions, RSS bytes each", 300.0),
            ratio("cpu_us_subscribe", "the same, CPU us/subscribe", 0.4),
            ratio(
                "cpu_us_publish",
                "the same, CPU us/message published to them",
                0.3,
            ),
        ],
    ),
    row(
        "overload",
        &["overload"],
        &[
            shown("delivered_per_s", "open loop, delivered/s"),
            shown("dropped_share", "the same, dropped share of what was taken"),
            shown(
                "last_against_first",
                "the same, rate at the end against the start",
            ),
            shown("rss_growth_bytes", "the same, RSS growth bytes"),
        ],
    ),
    row(
        "slow",
        &["slow"],
        &[
            shown("share_kept", "rate kept beside a subscriber that does not read"),
            shown("rss_growth_bytes", "the same, RSS growth bytes"),
        ],
    ),
];
