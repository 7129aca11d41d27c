//! Counts the instructions of every micro bench case under callgrind and compares them with the figures kept in
//! `benches/instructions.json`: a regression shows without timing. Needs a release build and valgrind.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Parser;
use serde_json::{Value, json};

/// Counts instructions per iteration of each micro bench case and fails where one grew.
#[derive(Parser)]
#[command(name = "instructions")]
struct Cli {
    /// The figures to compare with
    #[arg(long, default_value = "benches/instructions.json")]
    file: PathBuf,
    /// Write the counted figures into the file instead of comparing
    #[arg(long)]
    update: bool,
    /// How much a case may grow, in percent
    #[arg(long, default_value_t = 3.0)]
    tolerance: f64,
    /// Only cases whose name contains this
    #[arg(long, default_value = "")]
    only: String,
}

/// Iterations of one count.
const TIMES: u64 = 1000;

type Figures = BTreeMap<String, f64>;

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(bad) => {
            eprintln!("instructions: {bad}");
            ExitCode::from(2)
        }
    }
}

fn run(cli: &Cli) -> io::Result<bool> {
    let kept = match fs::read_to_string(&cli.file) {
        Ok(text) => parse(&text)?,
        Err(none) if none.kind() == io::ErrorKind::NotFound => Figures::new(),
        Err(other) => return Err(other),
    };
    let counted = count_all(&cli.only)?;
    if cli.update {
        let mut merged = kept;
        if cli.only.is_empty() {
            merged.clear();
        }
        merged.extend(counted);
        let text = serde_json::to_string_pretty(&json!(merged)).map_err(io::Error::other)?;
        fs::write(&cli.file, text + "\n")?;
        return Ok(true);
    }
    let mut well = true;
    for (name, now) in &counted {
        let (line, good) = compare(kept.get(name).copied(), *now, cli.tolerance);
        println!("{name:<56} {line}");
        well &= good;
    }
    for name in kept
        .keys()
        .filter(|name| name.contains(&cli.only) && !counted.contains_key(*name))
    {
        println!("{name:<56} is kept in the file but no bench has it");
        well = false;
    }
    Ok(well)
}

/// The line to print for one case, and whether it is as it should be.
fn compare(kept: Option<f64>, now: f64, tolerance: f64) -> (String, bool) {
    let Some(kept) = kept else {
        return (format!("{now:>10.1}  new: run with --update to keep it"), false);
    };
    let growth = (now / kept - 1.0) * 100.0;
    let good = growth <= tolerance;
    let verdict = if good { "" } else { "  GREW" };
    (format!("{now:>10.1}  {growth:+.1} %{verdict}"), good)
}

fn parse(text: &str) -> io::Result<Figures> {
    let bad = || io::Error::other("the kept figures are not an object of numbers");
    let Ok(Value::Object(object)) = serde_json::from_str(text) else {
        return Err(bad());
    };
    object
        .into_iter()
        .map(|(name, value)| Some((name, value.as_f64()?)))
        .collect::<Option<_>>()
        .ok_or_else(bad)
}

/// Every case of every `*_micro` beside this program.
fn count_all(only: &str) -> io::Result<Figures> {
    let beside = std::env::current_exe()?
        .parent()
        .map(Path::to_owned)
        .unwrap_or_default();
    let mut benches: Vec<PathBuf> = fs::read_dir(&beside)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().ends_with("_micro"))
        })
        .collect();
    benches.sort();
    if benches.is_empty() {
        return Err(io::Error::other(format!(
            "no *_micro program in {}",
            beside.display()
        )));
    }
    let mut figures = Figures::new();
    for bench in benches {
        let program = bench
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let list = Command::new(&bench).arg("--list").output()?;
        for case in String::from_utf8_lossy(&list.stdout).lines() {
            let name = format!("{}/{case}", program.trim_end_matches("_micro"));
            if name.contains(only) {
                figures.insert(name, count(&bench, case)?);
            }
        }
    }
    Ok(figures)
}

/// Instructions of one iteration, to a tenth. Set-up is not counted: callgrind collects inside `micro::repeat` only.
fn count(bench: &Path, case: &str) -> io::Result<f64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg("--toggle-collect=benches::micro::repeat")
        .arg(bench)
        .args(["--once", &TIMES.to_string(), case])
        .output()?;
    let told = String::from_utf8_lossy(&output.stderr);
    let collected = told
        .lines()
        .find_map(|line| line.split_once("Collected :")?.1.trim().parse::<u64>().ok());
    match collected {
        Some(total) if output.status.success() && total > 0 => {
            Ok((total as f64 / TIMES as f64 * 10.0).round() / 10.0)
        }
        _ => Err(io::Error::other(format!(
            "{} {case}: {}",
            bench.display(),
            told.trim()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_beyond_the_tolerance_fails() {
        assert!(compare(Some(100.0), 102.9, 3.0).1);
        assert!(compare(Some(100.0), 50.0, 3.0).1);
        assert!(!compare(Some(100.0), 103.2, 3.0).1);
        assert!(!compare(None, 1.0, 3.0).1, "a case without a kept figure");
    }

    #[test]
    fn kept_figures_are_numbers() {
        assert!(parse("{\"a/b\": 2}").unwrap()["a/b"] > 1.9);
        assert!(parse("{\"a\": \"2\"}").is_err());
        assert!(parse("[]").is_err());
    }
}
