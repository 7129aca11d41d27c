//! `doctor`.

use std::io::{self, Write};

use clap::Args;

use super::super::client::Query;
use super::super::text::{count, json, line};
use super::super::{Ctl, CtlError, Done};
use crate::admin::views::{DoctorView, FindingView, Level};
use crate::cli::Exit;

/// Which findings.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Only about this listener
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// From this level up
    #[arg(long, value_parser = ["info", "warn", "error"], default_value = "info")]
    level: String,
}

pub(super) async fn run(args: Doctor, ctl: &mut Ctl<'_>) -> Done {
    let mut answer = ctl
        .client
        .get("/doctor", Query::default().add("listener", args.listener))
        .await?;
    let least = match args.level.as_str() {
        "error" => Level::Error,
        "warn" => Level::Warn,
        _ => Level::Info,
    };
    let data = answer
        .get_mut("data")
        .map(serde_json::Value::take)
        .unwrap_or_default();
    let view: DoctorView = serde_json::from_value(data).map_err(|e| CtlError::Answer(e.to_string()))?;
    let findings: Vec<FindingView> = view.findings.into_iter().filter(|f| f.level >= least).collect();
    let exit = if findings.is_empty() { Exit::Done } else { Exit::No };
    if ctl.json {
        let view =
            serde_json::to_value(DoctorView { findings }).map_err(|e| CtlError::Answer(e.to_string()))?;
        writeln!(ctl.out, "{}", json(&view))?;
    } else {
        print_findings(&findings, ctl.out)?;
    }
    Ok(exit)
}

/// Findings with their snippets, and how many; also what `config check` may show.
pub(crate) fn print_findings(findings: &[FindingView], out: &mut dyn Write) -> io::Result<()> {
    if findings.is_empty() {
        return writeln!(out, "no findings");
    }
    for finding in findings {
        let level = match finding.level {
            Level::Error => "ERROR",
            Level::Warn => "WARN",
            Level::Info => "INFO",
        };
        writeln!(out, "{level:<5} {:<7} {}", finding.code, line(&finding.message))?;
        for part in finding.snippets.iter().flat_map(|snippet| snippet.lines()) {
            writeln!(out, "    {}", line(part))?;
        }
    }
    let mut parts = Vec::new();
    for (level, noun) in [
        (Level::Error, "error"),
        (Level::Warn, "warning"),
        (Level::Info, "note"),
    ] {
        let n = findings.iter().filter(|finding| finding.level == level).count() as u64;
        if n > 0 {
            parts.push(count(n, noun));
        }
    }
    writeln!(
        out,
        "{}: {}",
        count(findings.len() as u64, "finding"),
        parts.join(", ")
    )
}
