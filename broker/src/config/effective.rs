//! From the merged file to what is in force: defaults filled in from `keys`, inherited values resolved, and the whole
//! turned into the checked types. What does not live here: reading (`raw`) and judging (`check`).

use std::path::Path;
use std::sync::Arc;

use toml::{Table, Value};

use super::keys::{Branch, Key, Kind, Node, Preset, find, is_reserved, tree};
use super::listener::Transport;
use super::types::Config;

/// The keys of a listener that only a WebSocket upgrade gives a meaning.
pub(super) const HEADER_KEYS: &[&str] = &[
    "address_header",
    "address_header_kind",
    "port_header",
    "strategy",
    "edge_overwrites",
    "untrusted_header",
    "missing_header",
    "on_unresolvable",
    "scope_check",
    "header_max_bytes",
    "header_max_elements",
    "upgrade_max_bytes",
    "upgrade_max_lines",
];

/// The name of this host, `localhost` if the system does not tell.
fn hostname() -> String {
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy();
    if name.is_empty() {
        "localhost".to_owned()
    } else {
        name.into_owned()
    }
}

/// The default of a key as a value; `None` when it has none of its own.
pub fn preset_value(key: &Key) -> Option<Value> {
    match key.preset {
        Preset::Toml(text) => format!("v = {text}").parse::<Table>().ok()?.remove("v"),
        Preset::Hostname => Some(Value::String(hostname())),
        Preset::Required | Preset::Absent | Preset::Inherited => None,
    }
}

/// `merged` with the defaults of all keys that have one. Tables that need not exist (TLS without TLS, elements of
/// arrays) appear only where they are.
pub fn fill(merged: &Table) -> Table {
    let mut all = merged.clone();
    fill_table(&mut all, tree());
    if let Some(Value::Table(store)) = all.get_mut("store")
        && merged.get("store").is_none_or(|s| s.get("durability").is_none())
        && text_at(merged, &["node", "data_dir"]) == Some("")
    {
        store.insert("durability".to_owned(), Value::String("none".to_owned()));
    }
    strip_reserved(&mut all, &mut Vec::new());
    all
}

/// Takes out what this version lacks, so that what `config show` prints can be read again.
fn strip_reserved(table: &mut Table, path: &mut Vec<String>) {
    table.retain(|name, value| {
        path.push(name.to_owned());
        let keep = !is_reserved(path);
        if let (true, Value::Table(inner)) = (keep, value) {
            strip_reserved(inner, path);
        }
        path.pop();
        keep
    });
}

fn text_at<'a>(table: &'a Table, path: &[&str]) -> Option<&'a str> {
    let (last, parents) = path.split_last()?;
    let table = parents
        .iter()
        .try_fold(table, |t, part| t.get(*part)?.as_table())?;
    table.get(*last)?.as_str()
}

fn fill_table(table: &mut Table, branch: &Branch) {
    for (name, node) in &branch.named {
        match node {
            Node::Leaf(key) => fill_leaf(table, key),
            Node::Table(inner) if inner.rows.is_some() => fill_rows(table.get_mut(*name), inner),
            // A listener's TLS and [admin.tls] exist only where they are asked for; [listeners.*.mqtt] inherits.
            Node::Table(inner) if *name == "tls" => {
                if let Some(Value::Table(tls)) = table.get_mut("tls") {
                    fill_table(tls, inner);
                }
            }
            Node::Table(inner) => {
                let entry = table
                    .entry((*name).to_owned())
                    .or_insert_with(|| Value::Table(Table::new()));
                if let Value::Table(inside) = entry {
                    fill_table(inside, inner);
                }
            }
        }
    }
    if let Some(Node::Table(inner)) = branch.any.as_deref() {
        for (_, value) in table.iter_mut() {
            if let Value::Table(listener) = value {
                fill_listener(listener, inner);
            }
        }
    }
}

fn fill_leaf(table: &mut Table, key: &Key) {
    if !table.contains_key(key.name())
        && let Some(value) = preset_value(key)
    {
        table.insert(key.name().to_owned(), value);
    }
}

fn fill_rows(value: Option<&mut Value>, branch: &Branch) {
    let (Some(Value::Array(rows)), Some(inner)) = (value, &branch.rows) else {
        return;
    };
    for row in rows {
        if let Value::Table(row) = row {
            fill_table(row, inner);
        }
    }
}

/// What a listener's `transport` says, if it says something known.
pub fn transport_of(listener: &Table) -> Option<Transport> {
    listener.get("transport")?.clone().try_into().ok()
}

fn fill_listener(listener: &mut Table, branch: &Branch) {
    let transport = transport_of(listener);
    let websocket = transport.is_some_and(Transport::is_websocket);
    if transport.is_some_and(Transport::is_tls) {
        listener
            .entry("tls")
            .or_insert_with(|| Value::Table(Table::new()));
    }
    for (name, node) in &branch.named {
        match node {
            Node::Leaf(_) if HEADER_KEYS.contains(name) && !websocket => {}
            Node::Leaf(key) => fill_leaf(listener, key),
            Node::Table(inner) => {
                if *name == "websocket" && websocket {
                    listener
                        .entry("websocket")
                        .or_insert_with(|| Value::Table(Table::new()));
                }
                if let Some(Value::Table(inside)) = listener.get_mut(*name) {
                    fill_table(inside, inner);
                }
            }
        }
    }
}

/// The checked types from the filled table. Relative paths are taken from `base`.
///
/// # Errors
/// What serde says; after `check` this is a fault of ours (a key without a field, or the reverse).
pub fn resolve(filled: &Table, base: &Path) -> Result<Config, toml::de::Error> {
    let mut all = filled.clone();
    fill_table(&mut all, tree());
    absolute_paths(&mut all, &mut Vec::new(), base);
    let mqtt = all
        .get("mqtt")
        .and_then(Value::as_table)
        .cloned()
        .unwrap_or_default();
    let anonymous = all
        .get("auth")
        .and_then(|a| a.get("allow_anonymous"))
        .cloned()
        .unwrap_or(Value::Boolean(false));
    if let Some(Value::Table(listeners)) = all.remove("listeners") {
        let list = listeners.into_iter().filter_map(|(name, value)| match value {
            Value::Table(table) => Some(Value::Table(resolve_listener(name, table, &mqtt, &anonymous))),
            _ => None,
        });
        all.insert("listeners".to_owned(), Value::Array(list.collect()));
    }
    if text_at(&all, &["node", "data_dir"]) == Some("")
        && let Some(Value::Table(store)) = all.get_mut("store")
    {
        store.insert("durability".to_owned(), Value::String("none".to_owned()));
    }
    let mut config: Config = Value::Table(all).try_into()?;
    for listener in &mut config.listeners {
        if let Some(Value::Table(table)) = filled.get("listeners").and_then(|l| l.get(&listener.name))
            && let Some(policy) = policy(table, listener.transport, filled).policy
        {
            listener.policy = Arc::new(policy);
        }
    }
    Ok(config)
}

/// What the address keys of a listener mean, and what is wrong with them (peername 3.4).
pub fn policy(listener: &Table, transport: Transport, filled: &Table) -> peer::Checked {
    let networks = filled.get("networks").and_then(Value::as_table);
    let lookup = |name: &str| {
        let texts = networks?.get(name)?.as_array()?.iter().filter_map(Value::as_str);
        // A broken range of a network is reported there, not at each listener that names it.
        Some(
            texts
                .filter(|text| peer::TrustSet::parse([text]).is_ok())
                .map(ToOwned::to_owned)
                .collect(),
        )
    };
    let mut raw = peer::RawPolicy::default();
    for (key, value) in listener
        .iter()
        .filter(|(key, _)| peer::KEYS.contains(&key.as_str()))
    {
        if let Some(value) = peer_value(value) {
            raw.set(key, value);
        }
    }
    raw.check(transport.into(), &lookup)
}

fn peer_value(value: &Value) -> Option<peer::Value> {
    match value {
        Value::Boolean(on) => Some(peer::Value::Bool(*on)),
        Value::Integer(n) => Some(peer::Value::Int(*n)),
        Value::String(text) => Some(peer::Value::Str(text.clone())),
        Value::Array(items) => items
            .iter()
            .map(peer_value)
            .collect::<Option<_>>()
            .map(peer::Value::List),
        Value::Float(_) | Value::Datetime(_) | Value::Table(_) => None,
    }
}

fn resolve_listener(name: String, mut table: Table, mqtt: &Table, anonymous: &Value) -> Table {
    for key in HEADER_KEYS {
        let path = ["listeners".to_owned(), name.clone(), (*key).to_owned()];
        if let Some(key) = find(&path) {
            fill_leaf(&mut table, key);
        }
    }
    table.insert("name".to_owned(), Value::String(name));
    if !matches!(table.get("allow_anonymous"), Some(Value::Boolean(_))) {
        table.insert("allow_anonymous".to_owned(), anonymous.clone());
    }
    let mut own = mqtt.clone();
    if let Some(Value::Table(over)) = table.remove("mqtt") {
        own.extend(over);
    }
    table.insert("mqtt".to_owned(), Value::Table(own));
    let mut peername = Table::new();
    let moved: Vec<String> = table
        .keys()
        .filter(|k| peer::KEYS.contains(&k.as_str()))
        .cloned()
        .collect();
    for key in moved {
        if let Some(value) = table.remove(&key) {
            let value = match (key.as_str(), value) {
                ("proxy_protocol", Value::Boolean(on)) => Value::from(if on { "required" } else { "off" }),
                (_, value) => value,
            };
            peername.insert(key, value);
        }
    }
    table.insert("peername".to_owned(), Value::Table(peername));
    table
}

fn is_path(path: &[String]) -> bool {
    find(path).is_some_and(|key| matches!(key.kind, Kind::Path(_)))
}

/// Makes the paths in a table absolute: a relative one is relative to the file it is written in.
fn absolute_paths(table: &mut Table, path: &mut Vec<String>, base: &Path) {
    for (name, value) in table.iter_mut() {
        path.push(name.clone());
        match value {
            Value::Table(inner) => absolute_paths(inner, path, base),
            Value::String(text) if !text.is_empty() && is_path(path) => {
                *text = base.join(&*text).to_string_lossy().into_owned();
            }
            _ => {}
        }
        path.pop();
    }
}
