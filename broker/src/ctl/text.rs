//! How answers look to people: safe strings, tables, the `Client(…)` line. Nothing a client sent can start a
//! new line, a new key or a terminal sequence here.

use std::fmt::Write as _;
use std::io::{self, Write};

use serde_json::Value;

use crate::admin::views::{ClientView, Timestamp, duration_text};

/// A string that a client sent: bare if it holds nothing but `[A-Za-z0-9._:@/+$#=-]`, else as a JSON string.
pub fn safe(text: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || "._:@/+$#=-".contains(c);
    if !text.is_empty() && text.chars().all(bare) {
        return text.to_owned();
    }
    json(&Value::String(text.to_owned()))
}

/// JSON that a terminal shows as it is: on one line, control and invisible characters as `\u…`.
pub fn json(value: &Value) -> String {
    let plain = value.to_string();
    if plain.is_ascii() && !plain.contains('\u{7f}') {
        return plain;
    }
    let mut out = String::with_capacity(plain.len() + 16);
    for c in plain.chars() {
        if hidden(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// One line of our own text that may quote foreign strings: hidden characters become `\u…`.
pub fn line(text: &str) -> String {
    if text.chars().any(hidden) {
        let quoted = json(&Value::String(text.to_owned()));
        return quoted.trim_matches('"').to_owned();
    }
    text.to_owned()
}

/// Characters that move the cursor, break a line, hide or reorder text.
fn hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// `1 error`, `2 errors`, `3 prefixes`.
pub fn count(n: u64, noun: &str) -> String {
    let ending = match (n, noun.ends_with('x')) {
        (1, _) => "",
        (_, true) => "es",
        _ => "s",
    };
    format!("{n} {noun}{ending}")
}

/// Columns as wide as their widest cell, two blanks between, the last as it comes.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub fn new(headings: &[&str]) -> Self {
        Self {
            rows: vec![headings.iter().map(|h| (*h).to_owned()).collect()],
        }
    }

    /// Adds a row; an empty cell is left blank.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Writes it, headings first.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |i: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(i))
                .map(|c| c.chars().count())
                .max()
        };
        let widths: Vec<usize> = (0..columns).map(|i| width(i).unwrap_or(0)).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let blanks = width.saturating_sub(cell.chars().count()) + 2;
                line.push_str(cell);
                line.push_str(&" ".repeat(blanks));
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// The line of `clients show`: EMQX's fields in EMQX's order, then ours (operator-interface 3).
pub fn client_line(client: &ClientView) -> String {
    let username = client
        .username
        .as_deref()
        .map_or_else(|| "undefined".to_owned(), safe);
    let disconnected = client
        .disconnected_at
        .map(|at| format!(", disconnected_at={}", at.0));
    let claimed = client
        .claimed
        .as_deref()
        .map(|claimed| format!(", claimed={}", safe(claimed)));
    format!(
        "Client({}, username={username}, peername={}, clean_start={}, keepalive={}, \
         session_expiry_interval={}, subscriptions={}, inflight={}, awaiting_rel={}, delivered_msgs={}, \
         enqueued_msgs={}, dropped_msgs={}, connected={}, created_at={}, connected_at={}{}, kind={}, via={}, \
         socket={}, chain=[{}]{}, listener={}, proto_ver={}, tls={})",
        safe(&client.clientid),
        client.peername,
        client.clean_start,
        client.keepalive,
        client.session_expiry_interval,
        client.subscriptions,
        client.inflight,
        client.awaiting_rel,
        client.delivered_msgs,
        client.enqueued_msgs,
        client.dropped_msgs,
        client.connected,
        client.created_at.0,
        client.connected_at.0,
        disconnected.unwrap_or_default(),
        client.kind,
        client.via,
        client.socket,
        client.chain.join(","),
        claimed.unwrap_or_default(),
        client.listener,
        client.proto_ver,
        client.tls,
    )
}

/// `3m12s` from then to now.
pub fn since(then: Timestamp, now: Timestamp) -> String {
    duration_text(now.0.saturating_sub(then.0) / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_strings_stay_on_their_line_and_in_their_field() {
        for (text, shown) in [
            ("dev-7", "dev-7"),
            ("a.b_c:d@e/f+$#=-", "a.b_c:d@e/f+$#=-"),
            ("", "\"\""),
            ("a b", "\"a b\""),
            ("x, connected=true", "\"x, connected=true\""),
            ("x\ny", "\"x\\ny\""),
            ("\u{1b}[2J", "\"\\u001b[2J\""),
            ("\u{9b}2J", "\"\\u009b2J\""),
            ("\u{7f}", "\"\\u007f\""),
            ("a\u{202e}b", "\"a\\u202eb\""),
            ("\u{e0041}", "\"\\udb40\\udc41\""),
            ("Gerät", "\"Gerät\""),
        ] {
            assert_eq!(safe(text), shown);
            if shown.starts_with('"') {
                assert_eq!(serde_json::from_str::<String>(shown).unwrap(), text);
            }
        }
        assert_eq!(line("client a\nb: not found"), "client a\\nb: not found");
    }
}
