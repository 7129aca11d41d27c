//! `broker ctl`: the running broker from the command line. Every command is one call of the admin API; its
//! answer is printed for people, or with `--json` as the answer's `data`.
//!
//! `target` finds the broker, `client` calls it, `text` prints, and each noun has its file in `commands`.
//! What does not live here: the API itself (`admin`) and commands that work without a broker (`cli`).

pub mod client;
mod commands;
pub mod target;
#[cfg(test)]
mod tests;
pub mod text;

use std::fmt::Write as _;
use std::io::{self, BufRead as _, Write};
use std::time::SystemTime;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::admin::problem::Problem;
use crate::admin::views::Timestamp;
use crate::cli::Exit;
use client::Client;
pub use commands::Command;
pub(crate) use commands::{ExplainArgs, explain_request};

/// Why a command did not end well.
#[derive(Debug)]
pub enum CtlError {
    /// The broker said no.
    Problem(Problem),
    /// Nobody there.
    Unreachable(String),
    /// No permission to connect.
    Forbidden(String),
    /// No answer within the time.
    TimedOut,
    /// The arguments make no sense together.
    Usage(String),
    /// The answer is not what this version expects.
    Answer(String),
    /// Our own output cannot be written (a closed pipe ends quietly).
    Output(io::Error),
}

impl From<io::Error> for CtlError {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// What a command gives back: its exit code, or an error still to be printed.
pub(crate) type Done = Result<Exit, CtlError>;

/// Everything a command works with.
pub(crate) struct Ctl<'a> {
    client: Client,
    json: bool,
    /// Somebody sits at a terminal and can be asked.
    interactive: bool,
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    now: Timestamp,
}

/// Runs one command against a broker: prints, and gives the exit code. `interactive`: somebody sits at a
/// terminal and can be asked.
pub fn run(
    client: Client,
    command: Command,
    json: bool,
    interactive: bool,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Exit {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let mut ctl = Ctl {
        client,
        json,
        interactive,
        out,
        err,
        now: SystemTime::now().into(),
    };
    let done = match runtime {
        Ok(runtime) => runtime.block_on(commands::run(command, &mut ctl)),
        Err(error) => Err(CtlError::Output(error)),
    };
    match done.and_then(|exit| ctl.out.flush().map(|()| exit).map_err(CtlError::from)) {
        Ok(exit) => exit,
        Err(error) => report(&error, err),
    }
}

/// Prints an error to `err` and tells its exit code.
fn report(error: &CtlError, err: &mut dyn Write) -> Exit {
    let (exit, lines) = match error {
        CtlError::Problem(problem) => (exit_of(problem), problem_text(problem)),
        CtlError::Unreachable(text) => (Exit::Unreachable, format!("error: {text}")),
        CtlError::Forbidden(text) => (Exit::NotPermitted, format!("error: {text}")),
        CtlError::TimedOut => (Exit::Partly, "error: no answer within 5 s".to_owned()),
        CtlError::Usage(text) => (Exit::Usage, format!("error: {text}")),
        CtlError::Answer(text) => (Exit::No, format!("error: unexpected answer: {text}")),
        CtlError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => return Exit::Done,
        CtlError::Output(error) => (Exit::No, format!("error: {error}")),
    };
    // Nobody is left to tell if stderr is gone.
    let _ = writeln!(err, "{lines}");
    exit
}

fn exit_of(problem: &Problem) -> Exit {
    match problem.status {
        400 => Exit::Usage,
        401 | 403 | 429 => Exit::NotPermitted,
        503 => Exit::Unreachable,
        504 => Exit::Partly,
        _ => Exit::No,
    }
}

fn problem_text(problem: &Problem) -> String {
    let detail = text::line(&problem.detail);
    if problem.status == 404 {
        return detail;
    }
    if problem.errors.is_empty() {
        return format!("error: {detail}");
    }
    let mut lines = String::new();
    for error in &problem.errors {
        let (code, message) = (text::line(&error.code), text::line(&error.message));
        let _ = writeln!(lines, "error[{code}]: {message}");
        let _ = match (error.file.is_empty(), error.line) {
            (true, _) => Ok(()),
            (false, 0) => writeln!(lines, "  --> {}", text::line(&error.file)),
            (false, line) => writeln!(lines, "  --> {}:{line}:{}", text::line(&error.file), error.col),
        };
        if let Some(hint) = &error.hint {
            let _ = writeln!(lines, "   = {}", text::line(hint));
        }
    }
    format!(
        "{lines}{}; {detail}",
        text::count(problem.errors.len() as u64, "error")
    )
}

impl Ctl<'_> {
    /// Prints the answer's `data` as JSON, or for people by `show`.
    fn print<T: DeserializeOwned>(
        &mut self,
        mut answer: Value,
        show: impl FnOnce(&mut Self, &T) -> io::Result<()>,
    ) -> Result<T, CtlError> {
        let data = answer.get_mut("data").map(Value::take).unwrap_or_default();
        if self.json {
            writeln!(self.out, "{}", text::json(&data))?;
        }
        let data: T = serde_json::from_value(data).map_err(|e| CtlError::Answer(e.to_string()))?;
        if !self.json {
            show(self, &data)?;
        }
        Ok(data)
    }

    /// Asks on a terminal; without one the answer is no, and the error says which flag would do.
    fn confirm(&mut self, question: &str, flag: &str) -> Result<bool, CtlError> {
        if !self.interactive {
            return Err(CtlError::Usage(format!("{question}: say {flag}")));
        }
        write!(self.err, "{question}? [y/N] ")?;
        self.err.flush()?;
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line)?;
        Ok(matches!(line.trim(), "y" | "Y" | "yes"))
    }
}
