//! `broker store check|stat|repair`: a data directory that no broker is using. What it does lives in
//! `store::offline`.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};

use super::config::ConfigArgs;
use super::{Exit, print};
use crate::store::offline::{self, Report};
use crate::store::{OpenError, Progress};

/// Arguments of `broker store`.
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Read everything, check every frame and record; exit 1 on damage
    Check(Common),
    /// Print what is kept and how much space it takes
    Stat(Common),
    /// Rewrite damaged files with what is whole, keep the originals as .bad, say what went
    Repair(Common),
}

#[derive(Debug, Args)]
struct Common {
    /// The data directory (else the configuration's)
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    from: ConfigArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Common {
    fn dir(&self) -> Result<PathBuf, Exit> {
        if let Some(dir) = &self.dir {
            return Ok(dir.clone());
        }
        self.from.load()?.config.node.data_dir.clone().ok_or_else(|| {
            eprintln!("error: node.data_dir is empty: nothing is kept on disk");
            Exit::No
        })
    }
}

impl Command {
    /// Runs it.
    pub(super) fn run(self) -> ExitCode {
        let (Ok(exit) | Err(exit)) = match &self.what {
            What::Check(c) => c.dir().and_then(|dir| report(c, "checking", &dir, print_check)),
            What::Stat(c) => c.dir().and_then(|dir| report(c, "reading", &dir, print_stat)),
            What::Repair(c) => c.dir().and_then(|dir| repair(c, &dir)),
        };
        exit.into()
    }
}

fn report(c: &Common, verb: &str, dir: &std::path::Path, show: fn(&Report) -> String) -> Result<Exit, Exit> {
    let mut bar = Bar::new(verb);
    let report = offline::inspect(dir, &mut |p| bar.show(p));
    bar.end();
    let report = report.map_err(|e| complain(&e))?;
    let sound = report.logs.iter().all(|l| l.problems.is_empty());
    if c.json {
        print(&format!(
            "{}\n",
            serde_json::json!({"ok": sound, "logs": report.logs, "live": report.live})
        ));
    } else {
        print(&show(&report));
    }
    Ok(if sound { Exit::Done } else { Exit::No })
}

fn repair(c: &Common, dir: &std::path::Path) -> Result<Exit, Exit> {
    let mut bar = Bar::new("repairing");
    let repaired = offline::repair(dir, &mut |p| bar.show(p));
    bar.end();
    let repaired = repaired.map_err(|e| complain(&e))?;
    if c.json {
        print(&format!("{}\n", serde_json::json!({ "repaired": repaired })));
        return Ok(Exit::Done);
    }
    for r in &repaired {
        print(&format!(
            "{}: rewritten; {} bytes could not be read, {} frames are missing; the original is {}\n",
            r.file.display(),
            r.lost_bytes,
            r.lost_frames,
            r.kept.display()
        ));
    }
    if repaired.is_empty() {
        print("nothing to repair\n");
    }
    Ok(Exit::Done)
}

fn complain(e: &OpenError) -> Exit {
    eprintln!("error: {e}");
    match e {
        OpenError::Io(_, e) if e.kind() == std::io::ErrorKind::PermissionDenied => Exit::NotPermitted,
        _ => Exit::No,
    }
}

fn print_check(r: &Report) -> String {
    let mut out = String::new();
    for l in &r.logs {
        let name = l.log.as_str();
        // A String takes every write.
        let _ = writeln!(
            out,
            "{name}: {} files, {} frames, {} records",
            l.segments, l.frames, l.records
        );
        if l.torn > 0 {
            let _ = writeln!(
                out,
                "{name}: the last {} bytes were being written at the stop; the next start cuts them off",
                l.torn
            );
        }
        for p in &l.problems {
            let _ = writeln!(out, "error: {} at byte {}: {}", p.file, p.offset, p.what);
        }
    }
    match r.logs.iter().map(|l| l.problems.len()).sum::<usize>() {
        0 => out.push_str("no damage\n"),
        n => _ = writeln!(out, "{n} problems; `broker store repair` saves the rest"),
    }
    out
}

fn print_stat(r: &Report) -> String {
    let mut out = String::new();
    let rows = [
        ("sessions", r.live.sessions),
        ("subscriptions", r.live.subscriptions),
        ("wills", r.live.wills),
        ("retained messages", r.live.retained),
        ("bans", r.live.bans),
        ("queued messages", r.live.queued),
        ("QoS 2 ids in use", r.live.in2),
    ];
    for (name, n) in rows {
        let _ = writeln!(out, "{name:18} {n}");
    }
    for l in &r.logs {
        let files = if l.segments == 1 { "file" } else { "files" };
        let _ = writeln!(
            out,
            "{:18} {} in {} {files}, {} alive",
            format!("{} log", l.log.as_str()),
            bytes_text(l.bytes),
            l.segments,
            bytes_text(l.live_bytes)
        );
    }
    out
}

/// `1.5 MiB`.
fn bytes_text(n: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = n as f64 / 1024.0;
    if n < 1024 {
        return format!("{n} B");
    }
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", units[unit])
}

/// A bar on the terminal; silent where stderr is none.
struct Bar {
    verb: String,
    terminal: bool,
    begun: Instant,
    shown: Option<Instant>,
}

/// Time between two pictures of the bar.
const REDRAW: Duration = Duration::from_millis(100);

impl Bar {
    fn new(verb: &str) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self {
            verb: verb.to_owned(),
            terminal,
            begun: Instant::now(),
            shown: None,
        }
    }

    fn show(&mut self, p: Progress) {
        if !self.terminal || self.shown.is_some_and(|at| at.elapsed() < REDRAW) {
            return;
        }
        self.shown = Some(Instant::now());
        let line = bar_line(&self.verb, p, self.begun.elapsed());
        // A terminal that cannot be written to needs no bar.
        let _ = write!(std::io::stderr(), "\r{line}\x1b[K");
    }

    fn end(&self) {
        if self.shown.is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// `checking [######----] 60% 1.2 GiB of 2.0 GiB, 8000000 records, 400.0 MiB/s, 2 s left`
fn bar_line(verb: &str, p: Progress, elapsed: Duration) -> String {
    const WIDTH: u64 = 30;
    let (done, total) = (p.done.min(p.total), p.total.max(1));
    let filled = (done * WIDTH / total) as usize;
    let bar = format!("{}{}", "#".repeat(filled), "-".repeat(WIDTH as usize - filled));
    let rate = done as f64 / elapsed.as_secs_f64().max(0.001);
    let left = ((p.total - done) as f64 / rate.max(1.0)).ceil();
    format!(
        "{verb} [{bar}] {}% {} of {}, {} records, {}/s, {left} s left",
        done * 100 / total,
        bytes_text(done),
        bytes_text(p.total),
        p.records,
        bytes_text(rate as u64)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_tells_rate_and_time_left() {
        let p = Progress {
            done: 600 << 20,
            total: 1000 << 20,
            records: 7,
        };
        assert_eq!(
            bar_line("checking", p, Duration::from_secs(3)),
            "checking [##################------------] 60% 600.0 MiB of 1000.0 MiB, 7 records, 200.0 MiB/s, 2 s left"
        );
        let nothing = Progress {
            done: 0,
            total: 0,
            records: 0,
        };
        assert!(bar_line("reading", nothing, Duration::ZERO).contains("0% 0 B of 0 B"));
    }

    #[test]
    fn bytes_are_read_easily() {
        assert_eq!(bytes_text(1023), "1023 B");
        assert_eq!(bytes_text(1536), "1.5 KiB");
        assert_eq!(bytes_text(10 << 40), "10.0 TiB");
    }
}
