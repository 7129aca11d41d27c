//! What is wrong or doubtful in a configuration, and how it is printed: the blocks of `broker config check`, of a
//! refused start and of a refused reload. What does not live here: finding it (`raw`, `check`).

use std::cmp::Ordering;
use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use super::origin::{Origin, Place};
use crate::admin::problem::FileError;

/// Whether a configuration can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but somebody should look.
    Warning,
}

/// One thing found.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// `CE12`, `CFG001`...
    pub code: &'static str,
    /// One sentence. Names and values from the file stand in backticks.
    pub message: String,
    /// Where, if it is at one place of a file.
    pub place: Option<Place>,
    /// What to do, in a few words.
    pub hint: Option<String>,
    /// Whether the source line is shown with the hint under it; else the hint stands on its own.
    pub excerpt: bool,
}

impl Finding {
    /// An error without a place.
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: message.into(),
            place: None,
            hint: None,
            excerpt: false,
        }
    }

    /// A warning without a place.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(code, message)
        }
    }

    /// The same, at the place of a value; one from the environment or a flag has its name in the hint.
    #[must_use]
    pub fn at(mut self, origin: &Origin) -> Self {
        match origin {
            Origin::File(place) => self.place = Some(place.clone()),
            Origin::Env(name) => self.hint = Some(format!("it is set by environment variable {name}")),
            Origin::Flag(key) => self.hint = Some(format!("it is set by --set {key}")),
            Origin::Default => {}
        }
        self
    }

    /// The same, with advice on a line of its own.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        let hint = hint.into();
        self.hint = Some(match self.hint.take() {
            Some(before) => format!("{before}; {hint}"),
            None => hint,
        });
        self
    }

    /// The same, with the source line shown and advice under the marked part.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.excerpt = self.place.is_some();
        self.hint(label)
    }

    /// Prints it as a block, without a newline at its end.
    pub fn render(&self) -> String {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let mut out = format!("{severity}[{}]: {}", self.code, self.message);
        let hint = self.hint.as_deref().unwrap_or_default();
        let Some(place) = &self.place else {
            if !hint.is_empty() {
                let _ = write!(out, "\n   = {hint}");
            }
            return out;
        };
        let number = place.line().to_string();
        let gutter = number.len().max(2);
        let _ = write!(
            out,
            "\n{:gutter$}--> {}:{number}:{}",
            "",
            place.file.path.display(),
            place.column()
        );
        if self.excerpt {
            let (line, before, width) = place.excerpt();
            let _ = write!(out, "\n{:gutter$} |\n{number:>gutter$} | {line}", "");
            let _ = write!(
                out,
                "\n{:gutter$} | {:before$}{} {hint}",
                "",
                "",
                "^".repeat(width)
            );
            out.truncate(out.trim_end().len());
        } else if !hint.is_empty() {
            let _ = write!(out, "\n{:gutter$} = {hint}", "");
        }
        out
    }

    /// As `broker config check --json` and the API show it.
    pub fn to_json(&self) -> serde_json::Value {
        let place = self.place.as_ref();
        serde_json::json!({
            "severity": self.severity,
            "code": self.code,
            "message": self.message,
            "file": place.map(|p| p.file.path.display().to_string()),
            "line": place.map(Place::line),
            "col": place.map(Place::column),
            "hint": self.hint,
        })
    }

    fn order(&self, other: &Self) -> Ordering {
        let place = |f: &Self| f.place.as_ref().map(|p| (p.file.path.clone(), p.span.start));
        (self.severity, self.code)
            .cmp(&(other.severity, other.code))
            .then_with(|| place(self).cmp(&place(other)))
            .then_with(|| self.message.cmp(&other.message))
    }
}

impl From<&Finding> for FileError {
    fn from(finding: &Finding) -> Self {
        let place = finding.place.as_ref();
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self {
            file: place
                .map(|p| p.file.path.display().to_string())
                .unwrap_or_default(),
            line: place.map_or(0, |p| number(p.line())),
            col: place.map_or(0, |p| number(p.column())),
            code: finding.code.to_owned(),
            message: finding.message.clone(),
            hint: finding.hint.clone(),
        }
    }
}

/// Sorts findings as they are printed: errors first, then by code, file and line.
pub fn sort(findings: &mut [Finding]) {
    findings.sort_by(Finding::order);
}

/// How many findings are errors, how many warnings.
pub fn count(findings: &[Finding]) -> (usize, usize) {
    let errors = findings.iter().filter(|f| f.severity == Severity::Error).count();
    (errors, findings.len() - errors)
}

/// `3 errors`, `1 error, 2 warnings`, `no findings`.
pub fn summary(findings: &[Finding]) -> String {
    let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    match count(findings) {
        (0, 0) => "no findings".to_owned(),
        (errors, 0) => plural(errors, "error"),
        (0, warnings) => plural(warnings, "warning"),
        (errors, warnings) => format!("{}, {}", plural(errors, "error"), plural(warnings, "warning")),
    }
}

/// All findings as blocks, one after the other.
pub fn render(findings: &[Finding]) -> String {
    let mut out = String::new();
    for finding in findings {
        out.push_str(&finding.render());
        out.push('\n');
    }
    out
}

/// Why a file could not be used, in the system's words without its error number.
pub fn io_reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// CFG006 for a file that somebody named.
pub fn unreadable(path: &Path, error: &std::io::Error) -> Finding {
    Finding::error(
        "CFG006",
        format!("cannot read {}: {}", path.display(), io_reason(error)),
    )
}
