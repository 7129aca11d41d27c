//! Configuration as written: the layers (files, `BROKER__` environment, `--set`) are read, each value is checked against
//! its key, the `config` crate merges them, and `origin` keeps where each came from. What does not live here: rules
//! between keys (`check`) and defaults (`effective`).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::DeTable;
use toml::{Table, Value};

use super::finding::{Finding, unreadable};
use super::keys::{Branch, Key, Kind, Node, find, is_reserved, tree};
use super::local::{self, LocalPaths};
use super::origin::{File, KeyPath, Origin, Origins, Place, Setting, dotted};
use super::walk::Walk;
use super::{Sources, suggest, value};

/// Where the configuration is looked for when nobody says.
pub const DEFAULT_FILE: &str = "/etc/broker/broker.toml";

/// What a process knows from outside: everything that reading depends on, as a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// The environment variables that begin with `BROKER_`.
    pub vars: Vec<(String, String)>,
    /// The working directory.
    pub working_dir: PathBuf,
    /// The file when nobody names one.
    pub default_file: PathBuf,
    /// Where local mode keeps its things.
    pub local: LocalPaths,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_this_process() -> Self {
        let vars = std::env::vars_os()
            .map(|(k, v)| (k.to_string_lossy().into_owned(), v.to_string_lossy().into_owned()));
        let mut vars: Vec<_> = vars.filter(|(k, _)| k.starts_with("BROKER_")).collect();
        vars.sort();
        Self {
            vars,
            working_dir: std::env::current_dir().unwrap_or_default(),
            default_file: DEFAULT_FILE.into(),
            local: LocalPaths::of_this_user(),
        }
    }
}

/// The layers, read and merged.
#[derive(Debug, Default)]
pub struct Raw {
    /// What was set, in all layers together; only known keys with good values.
    pub merged: Table,
    /// Where each value came from.
    pub origins: Origins,
    /// What was wrong.
    pub findings: Vec<Finding>,
    /// The main configuration file, whether or not it exists.
    pub main: PathBuf,
    /// The files that were read.
    pub files: Vec<PathBuf>,
    /// Whether there is no file at all, so that local mode is the lowest layer.
    pub local_mode: bool,
}

/// One layer for the `config` crate.
#[derive(Clone, Debug)]
struct Layer(Table);

impl config::Source for Layer {
    fn clone_into_box(&self) -> Box<dyn config::Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<config::Map<String, config::Value>, config::ConfigError> {
        Ok(to_map(&self.0))
    }
}

fn to_map(table: &Table) -> HashMap<String, config::Value> {
    table
        .iter()
        .map(|(k, v)| (k.clone(), config::Value::new(None, to_kind(v))))
        .collect()
}

fn to_kind(value: &Value) -> config::ValueKind {
    match value {
        Value::String(text) => text.clone().into(),
        Value::Integer(n) => (*n).into(),
        Value::Float(n) => (*n).into(),
        Value::Boolean(on) => (*on).into(),
        Value::Datetime(when) => when.to_string().into(),
        Value::Array(items) => config::ValueKind::Array(
            items
                .iter()
                .map(|v| config::Value::new(None, to_kind(v)))
                .collect(),
        ),
        Value::Table(table) => config::ValueKind::Table(to_map(table)),
    }
}

/// The files to read, lowest layer first; `named` tells whether somebody asked for the main one.
struct Files {
    main: PathBuf,
    named: bool,
    extra: Vec<PathBuf>,
}

fn files(sources: &Sources, around: &Surroundings, findings: &mut Vec<Finding>) -> Files {
    let from_env = around
        .vars
        .iter()
        .find(|(k, v)| k == "BROKER_CONFIG" && !v.is_empty());
    let named = sources
        .file
        .clone()
        .or_else(|| from_env.map(|(_, v)| PathBuf::from(v)));
    let main = around
        .working_dir
        .join(named.as_ref().unwrap_or(&around.default_file));
    let dir = main.parent().unwrap_or(Path::new("/")).join("conf.d");
    let mut extra = Vec::new();
    match std::fs::read_dir(&dir) {
        Ok(entries) => {
            let paths = entries.filter_map(|e| e.ok().map(|e| e.path()));
            extra.extend(paths.filter(|p| p.extension().is_some_and(|e| e == "toml")));
            extra.sort();
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => findings.push(unreadable(&dir, &error)),
    }
    Files {
        main,
        named: named.is_some(),
        extra,
    }
}

/// Reads all layers. Never fails: what is wrong is in `findings`.
pub fn read(sources: &Sources, around: &Surroundings) -> Raw {
    let mut raw = Raw::default();
    let files = files(sources, around, &mut raw.findings);
    let mut layers = Vec::new();
    raw.main.clone_from(&files.main);
    match std::fs::read_to_string(&files.main) {
        Ok(text) => {
            let name = files
                .main
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            layers.push(raw.file(&files.main, name, text));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !files.named => {
            raw.local_mode = files.extra.is_empty();
        }
        Err(error) => raw.findings.push(unreadable(&files.main, &error)),
    }
    if raw.local_mode {
        layers.push(local::layer(&around.local));
    }
    for path in &files.extra {
        let name = format!(
            "conf.d/{}",
            path.file_name().unwrap_or_default().to_string_lossy()
        );
        match std::fs::read_to_string(path) {
            Ok(text) => layers.push(raw.file(path, name, text)),
            Err(error) => raw.findings.push(unreadable(path, &error)),
        }
    }
    for (name, given) in &around.vars {
        if let Some(rest) = name.strip_prefix("BROKER__") {
            let path: KeyPath = rest.split("__").map(str::to_lowercase).collect();
            layers.extend(raw.variable(name, &path, given));
        }
    }
    for setting in &sources.set {
        layers.extend(raw.flag(setting));
    }
    raw.dot_env(around);
    raw.hidden_values();
    raw.merge(layers);
    raw
}

impl Raw {
    fn file(&mut self, path: &Path, name: String, text: String) -> Table {
        let file = Arc::new(File {
            path: path.to_owned(),
            name,
            text,
        });
        self.files.push(path.to_owned());
        let (parsed, errors) = DeTable::parse_recoverable(&file.text);
        for error in errors {
            let span = error.span().unwrap_or(0..0);
            let place = Origin::File(Place {
                file: Arc::clone(&file),
                span,
            });
            let message = error.message().lines().next().unwrap_or("not TOML").to_owned();
            self.findings.push(
                Finding::error("CFG004", "this is not TOML")
                    .at(&place)
                    .label(message),
            );
        }
        let mut walk = Walk::new(Arc::clone(&file));
        let table = walk.table(parsed.get_ref(), tree(), &mut Vec::new());
        self.findings.append(&mut walk.findings);
        for array in walk.arrays {
            self.origins.forget_under(&array);
        }
        for (path, setting) in walk.settings {
            self.origins.push(path, setting);
        }
        table
    }

    fn variable(&mut self, name: &str, path: &[String], given: &str) -> Option<Table> {
        let Some(key) = self.known(path, || {
            Finding::error("CFG002", format!("unknown environment variable {name}"))
        }) else {
            if let Some(near) = suggest::variable(path)
                && let Some(last) = self
                    .findings
                    .last_mut()
                    .filter(|f| f.code == "CFG002" && f.hint.is_none())
            {
                last.hint = Some(format!("did you mean {near}?"));
            }
            return None;
        };
        Some(self.outside(key, path, given, &Origin::Env(name.to_owned())))
    }

    fn flag(&mut self, setting: &str) -> Option<Table> {
        let (dotted_key, given) = setting.split_once('=')?;
        let path: KeyPath = dotted_key.trim().split('.').map(ToOwned::to_owned).collect();
        let Some(key) = self.known(&path, || {
            Finding::error("CFG001", format!("unknown key `{dotted_key}` in --set"))
        }) else {
            let near = parent_branch(&path).and_then(|branch| suggest::full_key(branch, &path));
            if let Some(near) = near
                && let Some(last) = self
                    .findings
                    .last_mut()
                    .filter(|f| f.code == "CFG001" && f.hint.is_none())
            {
                last.hint = Some(format!("did you mean `{near}`?"));
            }
            return None;
        };
        Some(self.outside(key, &path, given, &Origin::Flag(dotted_key.trim().to_owned())))
    }

    /// The key at a path of the environment or of `--set`; else a finding of what is wrong with the path.
    fn known(&mut self, path: &[String], unknown: impl Fn() -> Finding) -> Option<&'static Key> {
        if is_reserved(path) {
            self.findings.push(
                Finding::error(
                    "CFG050",
                    format!("{} is not in this version", suggest::shown(path)),
                )
                .hint(unknown().message),
            );
            return None;
        }
        if let Some(array) = array_of_tables(path) {
            let message = format!("{}: an array of tables has no form here", unknown().message);
            let hint = format!("write [[{array}]] in a file of conf.d");
            self.findings.push(Finding { message, ..unknown() }.hint(hint));
            return None;
        }
        match find(path) {
            Some(key) if name_is_good(path) => Some(key),
            _ => {
                self.findings.push(unknown());
                None
            }
        }
    }

    /// A value of the environment or of `--set` as a layer of its own.
    fn outside(&mut self, key: &'static Key, path: &[String], given: &str, origin: &Origin) -> Table {
        let read = value::from_text(key, given);
        let entries = match (key.kind, read) {
            (Kind::TextMap | Kind::LevelMap, Value::Table(map)) => map
                .into_iter()
                .map(|(name, v)| ([path, &[name]].concat(), v))
                .collect(),
            (_, read) => vec![(path.to_vec(), read)],
        };
        let shown_given = given.escape_debug().to_string();
        let mut layer = Table::new();
        for (path, given) in entries {
            match value::check(key, given.clone()) {
                Ok(good) => {
                    insert(&mut layer, &path, good.clone());
                    self.origins.push(
                        path,
                        Setting {
                            value: good,
                            origin: origin.clone(),
                        },
                    );
                }
                Err(expected) => {
                    let name = match origin {
                        Origin::Env(name) => name.clone(),
                        _ => format!("--set {}", dotted(&path)),
                    };
                    let code = bad_value_code(&path);
                    let message = format!("bad value for {}", suggest::shown(&path));
                    self.findings.push(
                        Finding::error(code, message).hint(format!("{name}={shown_given}: {expected}")),
                    );
                }
            }
        }
        layer
    }

    /// CFG020: a `.env` with our variables lies about. It is never read.
    fn dot_env(&mut self, around: &Surroundings) {
        let beside = self.main.parent().map(Path::to_owned).unwrap_or_default();
        let mut dirs = vec![beside];
        if !dirs.contains(&around.working_dir) {
            dirs.push(around.working_dir.clone());
        }
        for path in dirs.into_iter().map(|dir| dir.join(".env")) {
            let Ok(text) = std::fs::read_to_string(&path) else {
                continue;
            };
            let ours = |line: &str| {
                line.trim_start()
                    .trim_start_matches("export ")
                    .trim_start()
                    .starts_with("BROKER__")
            };
            if let Some(at) = text.lines().position(ours) {
                let message = format!("{} has BROKER__ lines and is not read", path.display());
                let hint = format!(
                    "line {}: write the setting into conf.d, or remove the line",
                    at + 1
                );
                self.findings.push(Finding::warning("CFG020", message).hint(hint));
            }
        }
    }

    /// CFG021: the environment or a flag hides a different value of a file.
    fn hidden_values(&mut self) {
        let mut found = Vec::new();
        for (path, settings) in self.origins.iter() {
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
            if let Some(below) = below.filter(|below| below.value != top.value) {
                let (key, from, hides) = (dotted(path), top.origin.describe(), below.origin.short());
                found.push(Finding::warning(
                    "CFG021",
                    format!("{key} comes from {from} and hides {hides}"),
                ));
            }
        }
        self.findings.append(&mut found);
    }

    fn merge(&mut self, layers: Vec<Table>) {
        let mut builder = config::Config::builder();
        for layer in layers {
            builder = builder.add_source(Layer(layer));
        }
        match builder.build().and_then(config::Config::try_deserialize::<Table>) {
            Ok(merged) => self.merged = merged,
            Err(error) => self.findings.push(Finding::error(
                "CFG004",
                format!("the layers do not merge: {error}"),
            )),
        }
    }
}

/// CE12 for a listener's own keys, else CFG004.
pub(super) fn bad_value_code(path: &[String]) -> &'static str {
    if path.first().is_some_and(|p| p == "listeners") {
        "CE12"
    } else {
        "CFG004"
    }
}

/// CE12 for a listener's own keys, else CFG001.
pub(super) fn unknown_code(path: &[String]) -> &'static str {
    if path.first().is_some_and(|p| p == "listeners") && path.len() > 2 {
        "CE12"
    } else {
        "CFG001"
    }
}

/// Whether the names in a path that users choose (listeners, networks) are names.
pub(super) fn name_is_good(path: &[String]) -> bool {
    match path {
        [table, name, ..] if table == "listeners" => is_listener_name(name),
        [table, name] if table == "networks" => is_network_name(name),
        _ => true,
    }
}

/// `[a-z][a-z0-9]*(_[a-z0-9]+)*`, so that the name of the environment variable is exact.
fn is_listener_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.split('_').all(|part| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        })
}

fn is_network_name(name: &str) -> bool {
    const BUILT_IN: [&str; 3] = ["loopback", "private", "proxies"];
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
        && !BUILT_IN.contains(&name)
}

/// The array of tables that a path leads into.
fn array_of_tables(path: &[String]) -> Option<String> {
    let mut branch = tree();
    for (i, part) in path.iter().enumerate() {
        match branch.child(part)? {
            Node::Table(next) if next.rows.is_some() => return path.get(..=i).map(dotted),
            Node::Table(next) => branch = next,
            Node::Leaf(_) => return None,
        }
    }
    None
}

/// The table in which a path's last key should be.
fn parent_branch(path: &[String]) -> Option<&'static Branch> {
    let mut branch = tree();
    let (_, parents) = path.split_last()?;
    for part in parents {
        match branch.child(part) {
            Some(Node::Table(next)) => branch = next,
            _ => return Some(tree()),
        }
    }
    Some(branch)
}

/// Puts a value at a path, making the tables on the way.
pub(super) fn insert(table: &mut Table, path: &[String], value: Value) {
    match path {
        [] => {}
        [name] => {
            table.insert(name.clone(), value);
        }
        [name, rest @ ..] => {
            if let Value::Table(inner) = table
                .entry(name.clone())
                .or_insert_with(|| Value::Table(Table::new()))
            {
                insert(inner, rest, value);
            }
        }
    }
}
