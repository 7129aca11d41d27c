//! The configuration in force as people read it: `config show` as a file, `--origin` as a table, `config diff`, and the
//! lines of a start. What does not live here: the command line.

use std::fmt::Write as _;

use toml::{Table, Value};

use super::keys::is_map;
use super::load::Values;
use super::origin::{KeyPath, Origin, Setting, dotted};
use super::text::inline;
use super::{Loaded, effective, keys};
use crate::admin::views::ConfigRow;

/// One key with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its path.
    pub path: KeyPath,
    /// The value in force.
    pub value: Value,
}

/// All keys of a table with a value, in alphabetical order; arrays of tables by index.
pub fn entries(table: &Table) -> Vec<Entry> {
    let mut found = Vec::new();
    collect(table, &mut Vec::new(), &mut found);
    found
}

fn collect(table: &Table, path: &mut KeyPath, found: &mut Vec<Entry>) {
    for (name, value) in table {
        path.push(name.clone());
        match value {
            Value::Table(inner) if !(is_map(path) && inner.is_empty()) => collect(inner, path, found),
            Value::Array(rows) if !rows.is_empty() && rows.iter().all(Value::is_table) => {
                for (i, row) in rows.iter().enumerate() {
                    path.push(i.to_string());
                    if let Value::Table(row) = row {
                        collect(row, path, found);
                    }
                    path.pop();
                }
            }
            _ => found.push(Entry {
                path: path.clone(),
                value: value.clone(),
            }),
        }
        path.pop();
    }
}

/// Whether a path is a prefix (whole parts) or below it.
pub fn is_under(path: &[String], prefix: &str) -> bool {
    let parts = || prefix.split('.').filter(|part| !part.is_empty());
    parts().count() <= path.len() && parts().zip(path).all(|(a, b)| a == b)
}

impl Values {
    /// What the value of a key hides: the next lower layer, or a default that is another.
    pub fn hides(&self, path: &[String]) -> Option<String> {
        if let Some(Setting { value, origin }) = self.origins.hidden(path) {
            return Some(format!("{} {}", origin.short(), inline(value)));
        }
        if *self.origins.of(path) == Origin::Default {
            return None;
        }
        let preset = keys::find(path)
            .filter(|_| !is_map_entry(path))
            .and_then(effective::preset_value)?;
        let current = lookup(&self.filled, path)?;
        // An empty list or text means "nothing yet": hiding it is no news.
        let nothing = preset.as_array().is_some_and(Vec::is_empty) || preset.as_str() == Some("");
        (preset != *current && !nothing).then(|| format!("default {}", inline(&preset)))
    }

    /// The table of `config show --origin`, for the keys under a prefix (`""` = all).
    pub fn origin_table(&self, prefix: &str) -> String {
        let rows = entries(&self.filled)
            .into_iter()
            .filter(|e| is_under(&e.path, prefix))
            .map(|e| {
                let origin = self.origins.of(&e.path).describe();
                [
                    dotted(&e.path),
                    inline(&e.value),
                    origin,
                    self.hides(&e.path).unwrap_or_default(),
                ]
            });
        columns(["KEY", "VALUE", "ORIGIN", "HIDES"], rows.collect())
    }

    /// The same as rows for the API and `--json`.
    pub fn rows(&self, prefix: &str) -> Vec<ConfigRow> {
        let rows = entries(&self.filled)
            .into_iter()
            .filter(|e| is_under(&e.path, prefix))
            .map(|e| ConfigRow {
                key: dotted(&e.path),
                value: serde_json::json!(e.value),
                origin: self.origins.of(&e.path).describe(),
                hides: self.hides(&e.path),
            });
        rows.collect()
    }

    /// The part of the effective file under a prefix, as TOML.
    pub fn file(&self, prefix: &str) -> String {
        let mut part = Table::new();
        for top in ["rewrite", "auto_subscribe"] {
            if let (true, Some(rows)) = (is_under(&[top.to_owned()], prefix), self.filled.get(top)) {
                part.insert(top.to_owned(), rows.clone());
            }
        }
        keep_under(&self.filled, prefix, &mut Vec::new(), &mut part);
        super::text::file(&part)
    }
}

/// Copies what is under a prefix, keeping the tables it stands in.
fn keep_under(from: &Table, prefix: &str, path: &mut KeyPath, to: &mut Table) {
    for (name, value) in from {
        path.push(name.clone());
        if is_under(path, prefix) {
            to.insert(name.clone(), value.clone());
        } else if let Value::Table(inner) = value {
            let mut kept = Table::new();
            keep_under(inner, prefix, path, &mut kept);
            if !kept.is_empty() {
                to.insert(name.clone(), Value::Table(kept));
            }
        }
        path.pop();
    }
}

fn is_map_entry(path: &[String]) -> bool {
    path.split_last().is_some_and(|(_, table)| is_map(table))
}

/// The value at a path; an index leads into an array of tables.
pub fn lookup<'a>(table: &'a Table, path: &[String]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter()
        .try_fold(table.get(first)?, |value, part| match value {
            Value::Array(rows) => rows.get(part.parse::<usize>().ok()?),
            _ => value.get(part.as_str()),
        })
}

/// Aligns columns; the widest of each decides, one blank more between all but one: none after the last.
pub fn columns<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) -> String {
    let mut all = vec![head.map(ToOwned::to_owned)];
    all.extend(rows);
    let width = |i: usize| {
        all.iter()
            .filter_map(|row| row.get(i))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut out = String::new();
    for row in &all {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// One key that has another value.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Its path.
    pub path: KeyPath,
    /// The value before; `None`: it was not there.
    pub before: Option<Value>,
    /// The value now; `None`: it is gone.
    pub after: Option<Value>,
}

/// What differs between two filled tables, in alphabetical order.
pub fn changes(before: &Table, after: &Table) -> Vec<Change> {
    let (old, new) = (entries(before), entries(after));
    let value_in =
        |list: &[Entry], path: &[String]| list.iter().find(|e| e.path == path).map(|e| e.value.clone());
    let mut paths: Vec<&KeyPath> = old.iter().chain(&new).map(|e| &e.path).collect();
    paths.sort();
    paths.dedup();
    let changes = paths.into_iter().map(|path| Change {
        path: path.clone(),
        before: value_in(&old, path),
        after: value_in(&new, path),
    });
    changes.filter(|c| c.before != c.after).collect()
}

impl Change {
    /// `log.level "info" -> "debug"`; a value that is not there is `-`.
    pub fn describe(&self) -> String {
        let show = |value: &Option<Value>| value.as_ref().map_or("-".to_owned(), inline);
        format!(
            "{} {} -> {}",
            dotted(&self.path),
            show(&self.before),
            show(&self.after)
        )
    }
}

impl Change {
    /// As the API and `--json` show it.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({ "key": dotted(&self.path), "before": self.before, "after": self.after })
    }
}

impl Loaded {
    /// What `broker run` says first in local mode; `None` otherwise.
    pub fn local_notice(&self, default_file: &str) -> Option<String> {
        if !self.local_mode {
            return None;
        }
        let enabled = self.config.listeners.iter().filter(|l| l.enabled);
        let listeners: Vec<String> = enabled
            .map(|l| format!("{} ({})", l.bind, l.transport.as_str()))
            .collect();
        let only = match listeners.as_slice() {
            [] => "no listener".to_owned(),
            [one] => format!("only {one}"),
            [first @ .., last] => format!("only {} and {last}", first.join(", ")),
        };
        let who = if self.config.auth.allow_anonymous {
            "anonymous allowed"
        } else {
            "no anonymous"
        };
        let data = self
            .config
            .node
            .data_dir
            .as_ref()
            .map_or("nothing on disk".to_owned(), |d| {
                format!("data in {}", d.display())
            });
        Some(format!(
            "local mode: no {default_file}; {only}, {who}, {data}\n\
             write a config: broker config init (a commented ./broker.toml), then broker run --config broker.toml"
        ))
    }

    /// Logs what an operator wants to know of this configuration at start: values from outside the files, warnings.
    pub fn log_start(&self) {
        for (hides, line) in self.outside_values() {
            if hides {
                tracing::warn!("{line}");
            } else {
                tracing::info!("{line}");
            }
        }
        // CFG021 is the warning of the lines above.
        for finding in self.warnings.iter().filter(|finding| finding.code != "CFG021") {
            tracing::warn!("{}: {}", finding.code, finding.message);
        }
    }

    /// One line for each value that the environment or a flag sets: to be logged at start, as a warning where it hides a
    /// different value of a file (the boolean).
    pub fn outside_values(&self) -> Vec<(bool, String)> {
        let mut lines = Vec::new();
        for (path, settings) in self.values.origins.iter() {
            let Some(top) = settings
                .last()
                .filter(|s| matches!(s.origin, Origin::Env(_) | Origin::Flag(_)))
            else {
                continue;
            };
            let below = settings
                .iter()
                .rev()
                .find(|s| matches!(s.origin, Origin::File(_)));
            let different = below.filter(|s| s.value != top.value);
            let mut line = format!(
                "{} = {} comes from {}",
                dotted(path),
                inline(&top.value),
                top.origin
            );
            if let Some(below) = different {
                let _ = write!(
                    line,
                    " and hides {} {}",
                    below.origin.short(),
                    inline(&below.value)
                );
            }
            lines.push((different.is_some(), line));
        }
        lines
    }
}
