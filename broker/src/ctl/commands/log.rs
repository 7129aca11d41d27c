//! `log level`.

use clap::{Args, Subcommand};

use super::super::client::Query;
use super::super::text::line;
use super::super::{Ctl, Done};
use crate::admin::views::{LogLevelRequest, LogLevelView, duration_text};
use crate::cli::Exit;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// About logs.
#[derive(Debug, Subcommand)]
pub enum Log {
    /// Show the levels, or set one
    Level(Level),
}

/// `log level`, `log level debug`, `log level listeners debug --for 10m`.
#[derive(Debug, Args)]
pub struct Level {
    /// [MODULE] LEVEL; nothing shows the levels
    #[arg(num_args = 0..=2, value_names = ["MODULE", "LEVEL"])]
    words: Vec<String>,
    /// Goes back by itself after so long
    #[arg(long = "for", value_name = "DURATION")]
    duration: Option<String>,
}

pub(super) async fn level(args: Level, ctl: &mut Ctl<'_>) -> Done {
    let mut words = args.words.into_iter().rev();
    let answer = match words.next() {
        None => ctl.client.get("/log/level", Query::default()).await?,
        Some(level) => {
            if !LEVELS.contains(&level.as_str()) {
                let text = format!("`{level}` is no level ({})", LEVELS.join(", "));
                return Err(super::super::CtlError::Usage(text));
            }
            let request = LogLevelRequest {
                module: words.next(),
                level,
                duration: args.duration,
            };
            ctl.client.put("/log/level", &request).await?
        }
    };
    ctl.print(answer, |ctl, view: &LogLevelView| {
        let back = view
            .reverts_in
            .map_or_else(String::new, |s| format!(" (goes back in {})", duration_text(s)));
        writeln!(ctl.out, "level {}{back}", view.level)?;
        view.modules
            .iter()
            .try_for_each(|(module, level)| writeln!(ctl.out, "  {} {level}", line(module)))
    })?;
    Ok(Exit::Done)
}
