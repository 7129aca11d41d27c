//! The macro bench: drives any MQTT broker at host:port with one scenario and prints its figures.

use std::io;
use std::net::ToSocketAddrs;
use std::process::ExitCode;
use std::time::Duration;

use benches::mqtt::Version;
use benches::report::Report;
use benches::scenario::flow::{Load, Shape};
use benches::scenario::paced::Pace;
use benches::scenario::subs::Many;
use benches::scenario::{Run, connects, flow, idle, overload, paced, subs};
use benches::target::{Target, Transport};
use clap::{Args, Parser, Subcommand};

/// Drives any MQTT broker on loopback and prints messages/s and, given its pid, CPU microseconds per message.
#[derive(Parser)]
#[command(name = "macro")]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Args)]
struct Common {
    /// Where the broker listens
    #[arg(long, default_value = "127.0.0.1", global = true)]
    host: String,
    /// Its port
    #[arg(long, default_value_t = 1883, global = true)]
    port: u16,
    /// The broker's process: CPU time and resident bytes are read from /proc
    #[arg(long, global = true)]
    pid: Option<u32>,
    /// tcp, tls, ws or wss
    #[arg(long, value_enum, default_value_t = Transport::Tcp, global = true)]
    transport: Transport,
    /// MQTT version: 3.1.1 or 5
    #[arg(long = "mqtt-version", alias = "version", value_parser = ["3.1.1", "5"], default_value = "3.1.1", global = true)]
    version: String,
    /// Measured seconds
    #[arg(long, default_value_t = 3.0, global = true)]
    duration: f64,
    /// Start each connection with a PROXY v2 header
    #[arg(long, global = true)]
    proxy_v2: bool,
    /// Connect from many addresses of 127.0.0.0/8
    #[arg(long, global = true)]
    spread: bool,
    /// Allow TLS session resumption
    #[arg(long, global = true)]
    resume: bool,
    /// Path of the WebSocket request
    #[arg(long, default_value = "/mqtt", global = true)]
    ws_path: String,
    /// One JSON object instead of a line of text
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Scenario {
    /// Publishers to subscribers, a topic per pair, closed loop
    Pair {
        #[command(flatten)]
        message: Message,
        /// Publishers
        #[arg(long, default_value_t = 10)]
        pubs: usize,
        /// Subscribers
        #[arg(long, default_value_t = 10)]
        subs: usize,
    },
    /// One publisher, many subscribers of one topic (--window 1: one message at a time)
    Fanout {
        #[command(flatten)]
        message: Message,
        /// Subscribers
        #[arg(long, default_value_t = 500)]
        subs: usize,
    },
    /// Many publishers, one subscriber through a wildcard
    Fanin {
        #[command(flatten)]
        message: Message,
        /// Publishers
        #[arg(long, default_value_t = 100)]
        pubs: usize,
    },
    /// Lone messages, open loop; latency from the due time
    Paced {
        /// Messages per second over all pairs
        #[arg(long, default_value_t = 5000)]
        rate: u64,
        /// Pairs, used in turn
        #[arg(long, default_value_t = 10)]
        pairs: usize,
        /// QoS
        #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..3))]
        qos: u8,
        /// Payload bytes
        #[arg(long, default_value_t = 64)]
        size: usize,
        /// Saturating pairs on other connections at the same time
        #[arg(long, default_value_t = 0)]
        flood: usize,
    },
    /// Connect and disconnect
    Connects {
        /// Connections in the making at once
        #[arg(long, default_value_t = 50)]
        at_once: usize,
    },
    /// Idle connections with one subscription each: resident bytes (needs --pid)
    Idle {
        /// Connections
        #[arg(long, default_value_t = 10_000)]
        count: usize,
    },
    /// Distinct wildcard subscriptions: bytes and CPU each, CPU per message published to them
    Subs {
        /// Subscriptions
        #[arg(long, default_value_t = 1_000_000)]
        count: usize,
        /// Connections they are spread over
        #[arg(long, default_value_t = 100)]
        conns: usize,
        /// Filters per SUBSCRIBE
        #[arg(long, default_value_t = 20)]
        per_packet: usize,
        /// Messages under way per publisher
        #[arg(long, default_value_t = 100)]
        window: u64,
    },
    /// Publishers limited by their socket only, open loop
    Overload {
        /// Pairs
        #[arg(long, default_value_t = 10)]
        pairs: usize,
        /// QoS
        #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..3))]
        qos: u8,
        /// Payload bytes
        #[arg(long, default_value_t = 64)]
        size: usize,
    },
    /// Pairs beside a subscriber that does not read
    Slow {
        #[command(flatten)]
        message: Message,
        /// Pairs
        #[arg(long, default_value_t = 10)]
        pairs: usize,
    },
}

#[derive(Args)]
struct Message {
    /// QoS of publishers and subscriptions
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..3))]
    qos: u8,
    /// Payload bytes (at least 12)
    #[arg(long, default_value_t = 64)]
    size: usize,
    /// Messages under way per publisher [default: by scenario and QoS]
    #[arg(long)]
    window: Option<u64>,
}

impl Message {
    fn load(&self, windows: [u64; 3]) -> Load {
        let window = self.window.unwrap_or(windows[usize::from(self.qos)]);
        Load {
            qos: self.qos,
            size: self.size,
            window,
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let (name, result) = match common(&cli.common) {
        Ok(run) => measure(&run, &cli.scenario),
        Err(bad) => ("target", Err(bad)),
    };
    match result {
        Ok(report) if cli.common.json => println!("{}", report.json(name)),
        Ok(report) => println!("{}", report.text(name)),
        Err(bad) => {
            eprintln!("{name}: {bad}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn common(args: &Common) -> io::Result<Run> {
    let addr = (args.host.as_str(), args.port)
        .to_socket_addrs()?
        .find(|addr| addr.ip().is_loopback())
        .ok_or_else(|| io::Error::other("only loopback addresses are driven"))?;
    let mut target = Target::new(addr).over(args.transport, args.resume)?;
    target.version = if args.version == "5" {
        Version::V5
    } else {
        Version::V311
    };
    target.proxy_v2 = args.proxy_v2;
    target.spread = args.spread;
    target.ws_path.clone_from(&args.ws_path);
    Ok(Run {
        target,
        pid: args.pid,
        duration: Duration::from_secs_f64(args.duration),
    })
}

fn measure(run: &Run, scenario: &Scenario) -> (&'static str, io::Result<Report>) {
    match scenario {
        Scenario::Pair { message, pubs, subs } => {
            let shape = Shape::Pairs {
                pubs: *pubs,
                subs: *subs,
            };
            ("pair", flow::run(run, shape, message.load([1000, 100, 20])))
        }
        Scenario::Fanout { message, subs } => (
            "fanout",
            flow::run(run, Shape::FanOut { subs: *subs }, message.load([100, 100, 20])),
        ),
        Scenario::Fanin { message, pubs } => (
            "fanin",
            flow::run(run, Shape::FanIn { pubs: *pubs }, message.load([10, 10, 10])),
        ),
        Scenario::Paced {
            rate,
            pairs,
            qos,
            size,
            flood,
        } => {
            let pace = Pace {
                rate: *rate,
                pairs: *pairs,
                qos: *qos,
                size: *size,
                flood: *flood,
            };
            ("paced", paced::run(run, pace))
        }
        Scenario::Connects { at_once } => {
            let mut run = run.clone();
            run.target.spread = true;
            ("connects", connects::run(&run, *at_once))
        }
        Scenario::Idle { count } => ("idle", idle::run(run, *count)),
        Scenario::Subs {
            count,
            conns,
            per_packet,
            window,
        } => {
            let many = Many {
                count: *count,
                conns: *conns,
                per_packet: *per_packet,
                window: *window,
            };
            ("subs", subs::run(run, many))
        }
        Scenario::Overload { pairs, qos, size } => {
            ("overload", overload::open_loop(run, *pairs, *qos, *size))
        }
        Scenario::Slow { message, pairs } => (
            "slow",
            overload::slow_subscriber(run, *pairs, message.load([1000, 100, 20])),
        ),
    }
}
