//! Values and tables as TOML text on one line each: what `config show`, `diff`, `init` and messages print.

use std::fmt::Write as _;

use toml::{Table, Value};

use super::origin::dotted;

/// A value on one line, as it may stand in a file. Control characters are escaped.
pub fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Float(n) => format!("{n:?}"),
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Table(table) if table.is_empty() => "{}".to_owned(),
        Value::Table(table) => {
            let entries = table
                .iter()
                .map(|(k, v)| format!("{} = {}", dotted(std::slice::from_ref(k)), inline(v)));
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
        Value::Integer(_) | Value::Boolean(_) | Value::Datetime(_) => value.to_string(),
    }
}

/// A TOML basic string. JSON's escapes are TOML's, but for DEL, which TOML wants escaped too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text)
        .to_string()
        .replace('\u{7f}', "\\u007F")
}

/// A table as a file: its own keys, then `[tables]`, in alphabetical order.
pub fn file(table: &Table) -> String {
    let mut out = String::new();
    write_table(table, &mut Vec::new(), &mut out);
    out
}

/// Whether a value is written as a table or array of tables of its own.
fn is_section(value: &Value, path: &[String]) -> bool {
    match value {
        Value::Table(_) => !super::keys::is_map(path),
        Value::Array(items) => !items.is_empty() && items.iter().all(Value::is_table),
        _ => false,
    }
}

fn write_table(table: &Table, path: &mut Vec<String>, out: &mut String) {
    let mut sections = Vec::new();
    for (name, value) in table {
        path.push(name.clone());
        if is_section(value, path) {
            sections.push((name, value));
        } else {
            let _ = writeln!(out, "{} = {}", dotted(std::slice::from_ref(name)), inline(value));
        }
        path.pop();
    }
    for (name, value) in sections {
        path.push(name.clone());
        let gap = |out: &String| if out.is_empty() { "" } else { "\n" };
        match value {
            Value::Table(inner) => {
                let child = |k: &String| [path.as_slice(), std::slice::from_ref(k)].concat();
                if inner.is_empty() || inner.iter().any(|(k, v)| !is_section(v, &child(k))) {
                    let _ = writeln!(out, "{}[{}]", gap(out), dotted(path));
                }
                write_table(inner, path, out);
            }
            Value::Array(rows) => {
                for row in rows.iter().filter_map(Value::as_table) {
                    let _ = writeln!(out, "{}[[{}]]", gap(out), dotted(path));
                    write_table(row, path, out);
                }
            }
            _ => {}
        }
        path.pop();
    }
}
