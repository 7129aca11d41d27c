//! Ours, its peers and the relay on the same work in the same run: brokers on one core, the generator on
//! another, rounds interleaved, ratios taken within a round.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use benches::peers::{Kind, Peer, write_certificate};
use benches::report::Report;
use benches::rows::{Figure, ROWS, Row};
use clap::Parser;

/// Runs the macro bench against ours, Mosquitto and others by path, interleaved, and prints ratios.
#[derive(Parser)]
#[command(name = "compare")]
struct Cli {
    /// Our broker's binary (a release build); left out: peers only
    #[arg(long)]
    ours: Option<PathBuf>,
    /// Mosquitto; "" leaves it out
    #[arg(long, default_value = "/usr/sbin/mosquitto")]
    mosquitto: String,
    /// Another Mosquitto, such as 2.1 from a checkout
    #[arg(long)]
    mosquitto21: Option<PathBuf>,
    /// FlashMQ
    #[arg(long)]
    flashmq: Option<PathBuf>,
    /// Rounds; each starts every broker anew for every row
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Measured seconds per row and broker
    #[arg(long, default_value = "2")]
    duration: String,
    /// Rows, comma separated [default: all]
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Core of the brokers (taskset list)
    #[arg(long, default_value = "0")]
    broker_core: String,
    /// Core of the generator
    #[arg(long, default_value = "1")]
    generator_core: String,
}

/// Medians and ratios need every sample: (row, broker) -> one report per round, `None` where it failed.
type Samples = HashMap<(&'static str, String), Vec<Option<Report>>>;

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(bad) => {
            eprintln!("compare: {bad}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> io::Result<()> {
    let beside = std::env::current_exe()?
        .parent()
        .map(Path::to_owned)
        .unwrap_or_default();
    let rows: Vec<&Row> = ROWS
        .iter()
        .filter(|row| cli.only.is_empty() || cli.only.iter().any(|name| name == row.name))
        .collect();
    if let Some(unknown) = cli
        .only
        .iter()
        .find(|name| ROWS.iter().all(|row| row.name != **name))
    {
        let names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        return Err(io::Error::other(format!(
            "no row {unknown}; there are {}",
            names.join(", ")
        )));
    }
    let dir = std::env::temp_dir().join(format!("broker-compare-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    write_certificate(&dir)?;
    let peers = peers(cli);
    let mut samples = Samples::new();
    for round in 0..cli.rounds {
        for row in &rows {
            for peer in with_bound(row, &peers, &beside) {
                let got = measure(cli, row, &peer, &dir, &beside);
                if let Err(bad) = &got {
                    eprintln!("round {round}, {}, {}: {bad}", row.name, peer.name);
                }
                samples.entry((row.name, peer.name)).or_default().push(got.ok());
            }
            eprintln!("round {} of {}: {} done", round + 1, cli.rounds, row.name);
        }
    }
    print_table(&rows, &peers, &samples);
    if samples.values().flatten().any(Option::is_none) {
        return Err(io::Error::other(format!(
            "some runs failed; the brokers' logs are in {}",
            dir.display()
        )));
    }
    std::fs::remove_dir_all(&dir)
}

/// Ours first, then the peers found.
fn peers(cli: &Cli) -> Vec<Peer> {
    let mosquitto = (!cli.mosquitto.is_empty()).then(|| PathBuf::from(&cli.mosquitto));
    [
        ("ours", Kind::Ours, &cli.ours),
        ("mosquitto", Kind::Mosquitto, &mosquitto),
        ("mosquitto21", Kind::Mosquitto, &cli.mosquitto21),
        ("flashmq", Kind::FlashMq, &cli.flashmq),
    ]
    .into_iter()
    .filter_map(|(name, kind, path)| {
        Some(Peer {
            name: name.to_owned(),
            kind,
            path: path.clone()?,
        })
    })
    .collect()
}

fn with_bound(row: &Row, peers: &[Peer], beside: &Path) -> Vec<Peer> {
    let relay = row.bound.map(|kind| Peer {
        name: "relay".to_owned(),
        kind,
        path: beside.join("relay"),
    });
    peers
        .iter()
        .filter(|peer| row.over.spoken_by(peer.kind))
        .cloned()
        .chain(relay)
        .collect()
}

/// Starts the broker, drives it once, stops it.
fn measure(cli: &Cli, row: &Row, peer: &Peer, dir: &Path, beside: &Path) -> io::Result<Report> {
    let running = peer.start(dir, &cli.broker_core)?;
    let output = Command::new("taskset")
        .args(["-c", &cli.generator_core])
        .arg(beside.join("macro"))
        .args(row.args)
        .args(row.over.args(running.ports))
        .args([
            "--json",
            "--duration",
            &cli.duration,
            "--pid",
            &running.pid().to_string(),
        ])
        .output()?;
    if !output.status.success() {
        return Err(io::Error::other(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        ));
    }
    Report::parse(String::from_utf8_lossy(&output.stdout).trim())
        .ok_or_else(|| io::Error::other("the macro bench printed no report"))
}

fn print_table(rows: &[&Row], peers: &[Peer], samples: &Samples) {
    let names: Vec<&str> = peers.iter().map(|peer| peer.name.as_str()).collect();
    println!("| row | relay | {} | ours / best | goal |", names.join(" | "));
    println!("|---|---{}|---|---|", "|---".repeat(names.len()));
    for row in rows {
        for figure in row.figures {
            let cell = |name: &str| {
                show(median(
                    values(samples, row, name, figure).into_iter().flatten().collect(),
                ))
            };
            let cells: Vec<String> = names.iter().map(|name| cell(name)).collect();
            let (share, verdict) = verdict(row, figure, &names, samples);
            println!(
                "| {} | {} | {} | {share} | {verdict} |",
                figure.title,
                cell("relay"),
                cells.join(" | ")
            );
        }
    }
}

/// Ours against the best peer, as a median of ratios within rounds, and whether the goal is met.
fn verdict(row: &Row, figure: &Figure, names: &[&str], samples: &Samples) -> (String, String) {
    let ours = values(samples, row, "ours", figure);
    if let Some(limit) = figure.limit {
        let Some(value) = median(ours.into_iter().flatten().collect()) else {
            return dash(&format!("<= {limit}"));
        };
        return (
            show(Some(value / limit)),
            format!("<= {limit}: {}", met(value <= limit)),
        );
    }
    let Some(goal) = figure.goal else { return dash("") };
    let best = names
        .iter()
        .filter(|name| **name != "ours")
        .filter_map(|name| {
            let theirs = values(samples, row, name, figure);
            let pairs = ours
                .iter()
                .zip(&theirs)
                .filter_map(|(ours, theirs)| Some((*ours)? / (*theirs)?));
            median(pairs.collect())
        })
        .reduce(f64::max);
    best.map_or_else(
        || dash(&format!("<= {goal} x")),
        |ratio| (show(Some(ratio)), format!("<= {goal} x: {}", met(ratio <= goal))),
    )
}

fn dash(goal: &str) -> (String, String) {
    ("-".to_owned(), goal.to_owned())
}

fn met(yes: bool) -> &'static str {
    if yes { "met" } else { "not met" }
}

fn values(samples: &Samples, row: &Row, broker: &str, figure: &Figure) -> Vec<Option<f64>> {
    let rounds = samples.get(&(row.name, broker.to_owned()));
    rounds
        .into_iter()
        .flatten()
        .map(|report| report.as_ref().and_then(|report| report.value(figure.key)))
        .collect()
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn show(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(large) if large.abs() >= 100.0 => format!("{large:.0}"),
        Some(small) if small.abs() < 1.0 => format!("{small:.3}"),
        Some(value) => format!("{value:.2}"),
    }
}
