//! Rule files of other brokers, written in our language. What has no equal becomes a comment with the reason; each
//! line written is one that our parser accepts.

mod emqx;
mod erlang;
mod mosquitto;
#[cfg(test)]
mod tests;

pub use emqx::emqx;
pub use mosquitto::{mosquitto, vernemq};

use crate::parse::{Env, parse_text};
use crate::shown::printable;

/// A translated file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The file in our language.
    pub text: String,
    /// How many lines or rules have no equal and stand as comments.
    pub left_out: usize,
}

/// Collects lines, and makes comments of those that cannot be.
#[derive(Debug, Default)]
struct Writer {
    text: String,
    left_out: usize,
}

impl Writer {
    fn comment(&mut self, text: &str) {
        for line in text.lines() {
            let line = printable(line);
            self.text.push_str(format!("# {line}").trim_end());
            self.text.push('\n');
        }
    }

    fn raw(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// The foreign line as a comment with the reason.
    fn left_out(&mut self, foreign: &str, reason: &str) {
        self.left_out += 1;
        self.comment(&format!(
            "no equal ({reason}): {}",
            foreign.replace(['\n', '\r'], " ")
        ));
    }

    /// A rule, if our parser takes it; else the foreign line as a comment.
    fn rule(&mut self, rule: &str, foreign: &str) {
        let acl = parse_text("import", rule, &Env::default());
        match acl.errors.first() {
            None => self.raw(rule),
            Some(error) => self.left_out(foreign, &error.message),
        }
    }

    fn finish(self) -> Imported {
        Imported {
            text: self.text,
            left_out: self.left_out,
        }
    }
}

/// A word of the rule language that stands for exactly this text.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "._:@/+$-%{}*?=~^()|[]!&;<>'".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    in_quotes(text)
}

/// `key=value` for exactly this value, though `*` and `?` are globs in our language.
fn exactly(key: &str, value: &str) -> String {
    if value.contains(['*', '?']) {
        format!("{key}~{}", quoted(&format!("^{}$", regex::escape(value))))
    } else {
        format!("{key}={}", quoted(value))
    }
}

/// A rule line in columns.
fn line(verdict: &str, action: &str, terms: &[String], filters: &[String]) -> String {
    let mut out = format!("{verdict:<6}{action:<10}{}", terms.join(" "));
    if !filters.is_empty() {
        if !terms.is_empty() {
            out.push(' ');
        }
        out.push_str("to ");
        out.push_str(&filters.join(" "));
    }
    out.trim_end().to_owned()
}

/// Filters as words, each with whether it is an `=` filter; a bare `#` beside others is quoted (A107).
fn filter_words(filters: &[(bool, String)]) -> Vec<String> {
    let alone = filters.len() == 1;
    let word = |(exact, text): &(bool, String)| {
        // `#` ends a filter without harm; only as a word of its own it could be taken for a comment.
        let body = text.strip_suffix('#').unwrap_or(text);
        let bare = (body.is_empty() || quoted(body) == body) && !text.starts_with('=');
        let bare = bare && (text != "#" || alone || *exact);
        let sign = if *exact { "=" } else { "" };
        if bare {
            format!("{sign}{text}")
        } else {
            format!("{sign}{}", in_quotes(text))
        }
    };
    filters.iter().map(word).collect()
}

fn in_quotes(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
