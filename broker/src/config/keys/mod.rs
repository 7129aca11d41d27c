//! Every key of the configuration: path, type and range, default, whether it needs a restart, and its text. Defaults,
//! checks, the JSON Schema, `etc/broker.toml` and the environment's types all come from here, so nothing is written
//! twice. In a path `*` stands for a name and `[]` for an element of an array of tables.

mod listeners;
#[cfg(test)]
mod read_tests;
mod sections;
mod tree;

use std::borrow::Cow;
use std::sync::LazyLock;

pub(super) use self::sections::LEVELS;
pub use self::tree::{Branch, Node, find, tree};

/// What values a key takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// true or false
    Bool,
    /// true, false or one of these words
    BoolOr(&'static [&'static str]),
    /// A whole number within this range
    Int(i64, i64),
    /// A number within this range
    Float(f64, f64),
    /// Any text
    Text,
    /// The name of a file or directory; `true`: it is read, so `config check` opens it
    Path(Reads),
    /// One of these words
    Word(&'static [&'static str]),
    /// A list of these words
    Words(&'static [&'static str]),
    /// A list of texts
    Texts,
    /// A list of ranges, addresses, `unix`, `@name`
    Ranges,
    /// A list of numbers within this range
    Ints(i64, i64),
    /// A duration within this range, in milliseconds
    Duration(u64, u64),
    /// A size within this range, in bytes
    Size(u64, u64),
    /// A whole number from this one on, or "unlimited"
    Limit(u64),
    /// A size, or "unlimited"
    SizeLimit,
    /// A rate, or "unlimited"
    Rate,
    /// An address and port to listen on
    Bind,
    /// An address and port, or "" for off
    AddressOrOff,
    /// A file mode such as "0660"
    Mode,
    /// The name of a header field, or "" for off
    Field,
    /// A table of texts
    TextMap,
    /// A table of log levels
    LevelMap,
}

/// Whether and how the file behind a path is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// Read at start: `config check` opens it.
    Must,
    /// Read at start, but it may be missing at its default path (no entries yet).
    May,
    /// Written, or made by us.
    No,
}

/// What a key is when nobody sets it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Preset {
    /// This TOML value.
    Toml(&'static str),
    /// Nothing: the key must be given.
    Required,
    /// Nothing: the key is absent, with a meaning of its own.
    Absent,
    /// The name of this host.
    Hostname,
    /// As the same key of `[mqtt]`.
    Inherited,
}

/// One key.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its path, such as `listeners.*.bind`.
    pub path: Cow<'static, str>,
    /// What values it takes.
    pub kind: Kind,
    /// Its default.
    pub preset: Preset,
    /// Whether a change waits for a restart.
    pub restart: bool,
    /// One line for the operator.
    pub doc: &'static str,
}

impl Key {
    /// A key with a default, written as TOML.
    const fn new(path: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Self {
        Self {
            path: Cow::Borrowed(path),
            kind,
            preset: Preset::Toml(default),
            restart: false,
            doc,
        }
    }

    /// A key whose default is no value.
    const fn preset(path: &'static str, kind: Kind, preset: Preset, doc: &'static str) -> Self {
        Self {
            path: Cow::Borrowed(path),
            kind,
            preset,
            restart: false,
            doc,
        }
    }

    /// The same key, but a change waits for a restart.
    const fn restart(mut self) -> Self {
        self.restart = true;
        self
    }

    /// Whether this version lacks what it is for.
    pub fn is_reserved(&self) -> bool {
        let path: Vec<String> = self.path.split('.').map(ToOwned::to_owned).collect();
        is_reserved(&path)
    }

    /// The last part of the path: the word left of `=`.
    pub fn name(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or(&self.path)
    }

    /// The path of the table it stands in.
    pub fn table(&self) -> &str {
        self.path.rsplit_once('.').map_or("", |(table, _)| table)
    }
}

/// Tables and keys that this version lacks: set, they are refused (CFG050); `config init` and the schema leave them out.
/// A key of ours stands here for as long as nothing reads it.
pub const RESERVED: &[&str] = &[
    "cluster",
    "bridges",
    "delayed",
    "rewrite",
    "auto_subscribe",
    "auth.scram",
    "store.cache",
    "auth.http.acl_url",
    "auth.http.acl_body",
];

/// Whether a path (of a file, or of a key with its `*` and `[]`) is reserved or in a reserved table.
pub fn is_reserved(path: &[String]) -> bool {
    let under = |reserved: &str| {
        let parts: Vec<&str> = reserved.split('.').collect();
        parts.len() <= path.len() && parts.iter().zip(path).all(|(a, b)| a == b || *a == "*")
    };
    RESERVED.iter().any(|reserved| under(reserved))
}

/// All keys, in the order of the documentation: the sections, the listeners, and the keys that exist twice
/// (`[admin.tls]` is `[listeners.NAME.tls]` again, `[listeners.NAME.mqtt]` is `[mqtt]` again).
pub fn all() -> &'static [Key] {
    static ALL: LazyLock<Vec<Key>> = LazyLock::new(|| {
        let mut keys = sections::SECTIONS.to_vec();
        keys.extend_from_slice(listeners::LISTENERS);
        for key in listeners::LISTENERS {
            if let Some(name) = key.path.strip_prefix("listeners.*.tls.") {
                keys.push(Key {
                    path: Cow::Owned(format!("admin.tls.{name}")),
                    ..key.clone()
                });
            }
        }
        for key in sections::SECTIONS {
            // The members of a shared subscription come from all listeners, so its strategy is one for all.
            if let Some(name) = key
                .path
                .strip_prefix("mqtt.")
                .filter(|name| *name != "shared_strategy")
            {
                let path = Cow::Owned(format!("listeners.*.mqtt.{name}"));
                keys.push(Key {
                    path,
                    preset: Preset::Inherited,
                    ..key.clone()
                });
            }
        }
        keys
    });
    &ALL
}

/// Whether the key at a path is a table of names that users choose (`log.filters`).
pub fn is_map(path: &[String]) -> bool {
    find(path).is_some_and(|key| {
        matches!(key.kind, Kind::TextMap | Kind::LevelMap) && key.path.split('.').count() == path.len()
    })
}

/// The keys that this version has: all but the reserved ones.
pub fn available() -> impl Iterator<Item = &'static Key> {
    all().iter().filter(|key| !key.is_reserved())
}
