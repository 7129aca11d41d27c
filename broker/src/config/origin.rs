//! Where each value came from: file, line and column, environment variable, flag, or the built-in default. The same map
//! serves errors, `config show --origin`, the API and the doctor. The `config` crate merges the layers but knows
//! neither lines nor variables, so this is kept beside it.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use toml::Value;

use super::text::inline;

/// A configuration file that was read.
#[derive(Debug, PartialEq, Eq)]
pub struct File {
    /// Its path as it is opened.
    pub path: PathBuf,
    /// Its name beside the main file: `broker.toml`, `conf.d/10-lb.toml`.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// A part of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: Arc<File>,
    /// What is marked, in bytes of its text.
    pub span: Range<usize>,
}

impl Place {
    fn before(&self) -> &str {
        self.file.text.get(..self.span.start).unwrap_or(&self.file.text)
    }

    /// Its line, from 1.
    pub fn line(&self) -> usize {
        self.before().bytes().filter(|b| *b == b'\n').count() + 1
    }

    /// Its column in characters, from 1.
    pub fn column(&self) -> usize {
        let before = self.before();
        before.rsplit('\n').next().unwrap_or(before).chars().count() + 1
    }

    /// The line, the characters before the marked part, and its length within the line (at least 1).
    pub fn excerpt(&self) -> (String, usize, usize) {
        let start = self.before().rfind('\n').map_or(0, |at| at + 1);
        let rest = self.file.text.get(start..).unwrap_or_default();
        let line: String = rest
            .lines()
            .next()
            .unwrap_or_default()
            .replace(|c: char| c.is_control(), " ");
        let before = self.column() - 1;
        let marked = self.file.text.get(self.span.clone()).unwrap_or_default();
        let width = marked
            .lines()
            .next()
            .unwrap_or_default()
            .trim_end()
            .chars()
            .count()
            .max(1);
        (line, before, width)
    }
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A file.
    File(Place),
    /// An environment variable of this name.
    Env(String),
    /// `--set` of this key.
    Flag(String),
}

impl Origin {
    /// `default`, `file broker.toml:39`, `env BROKER__...`, `flag --set`.
    pub fn describe(&self) -> String {
        self.to_string()
    }

    /// The place without its kind: `broker.toml:39`, a variable, `--set`, `default`.
    pub fn short(&self) -> String {
        match self {
            Self::Default => "default".to_owned(),
            Self::File(place) => format!("{}:{}", place.file.name, place.line()),
            Self::Env(name) => name.clone(),
            Self::Flag(_) => "--set".to_owned(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Default => return f.write_str("default"),
            Self::File(_) => "file",
            Self::Env(_) => "env",
            Self::Flag(_) => "flag",
        };
        write!(f, "{kind} {}", self.short())
    }
}

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// The value, as written.
    pub value: Value,
    /// Where.
    pub origin: Origin,
}

/// The path of a key: `["listeners", "tcp", "bind"]`.
pub type KeyPath = Vec<String>;

/// For each key that somebody set, every setting from the lowest layer up: the last one is in force.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Origins(BTreeMap<KeyPath, Vec<Setting>>);

impl Origins {
    /// Records a setting of a higher layer. An array of tables hides all elements of the lower ones.
    pub fn push(&mut self, path: KeyPath, setting: Setting) {
        self.0.entry(path).or_default().push(setting);
    }

    /// Forgets the elements of an array of tables that a higher layer replaces.
    pub fn forget_under(&mut self, array: &[String]) {
        self.0
            .retain(|path, _| !(path.len() > array.len() && path.starts_with(array)));
    }

    /// Takes the settings of a key (and what is below it) from another map.
    pub fn restore(&mut self, path: &[String], from: &Self) {
        self.0.retain(|own, _| !own.starts_with(path));
        let theirs = from.0.iter().filter(|(own, _)| own.starts_with(path));
        self.0.extend(theirs.map(|(own, all)| (own.clone(), all.clone())));
    }

    /// Where the value in force comes from.
    pub fn of(&self, path: &[String]) -> &Origin {
        self.0
            .get(path)
            .and_then(|all| all.last())
            .map_or(&Origin::Default, |s| &s.origin)
    }

    /// What the value in force hides: the setting of the next lower layer.
    pub fn hidden(&self, path: &[String]) -> Option<&Setting> {
        let all = self.0.get(path)?;
        all.get(all.len().checked_sub(2)?)
    }

    /// The place of the table or key: its own, or that of the first key in it.
    pub fn near(&self, path: &[String]) -> &Origin {
        let inside = self.0.range(path.to_vec()..).next();
        match inside {
            Some((found, all)) if found.starts_with(path) => {
                all.last().map_or(&Origin::Default, |s| &s.origin)
            }
            _ => &Origin::Default,
        }
    }

    /// All keys that somebody set, with their settings from the lowest layer up.
    pub fn iter(&self) -> impl Iterator<Item = (&KeyPath, &[Setting])> {
        self.0.iter().map(|(path, all)| (path, all.as_slice()))
    }
}

/// Writes a path as in a file: `listeners.tcp.bind`; a part that is no bare key is quoted.
pub fn dotted(path: &[String]) -> String {
    let bare = |part: &String| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    };
    let parts = path.iter().map(|part| {
        if bare(part) {
            part.clone()
        } else {
            inline(&Value::String(part.clone()))
        }
    });
    parts.collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, marked: &str) -> Place {
        let start = text.find(marked).unwrap();
        let file = File {
            path: "/etc/broker/broker.toml".into(),
            name: "broker.toml".into(),
            text: text.into(),
        };
        Place {
            file: Arc::new(file),
            span: start..start + marked.len(),
        }
    }

    #[test]
    fn lines_and_columns_count_from_one_and_in_characters() {
        let at = place("a = 1\nname = \"é\" # b = 2\nlast", "b = 2");
        assert_eq!((at.line(), at.column()), (2, 14));
        assert_eq!(at.excerpt(), ("name = \"é\" # b = 2".to_owned(), 13, 5));
        assert_eq!(Origin::File(at).describe(), "file broker.toml:2");
        let first = place("x", "x");
        assert_eq!((first.line(), first.column()), (1, 1));
    }

    #[test]
    fn a_higher_layer_hides_the_next_lower_one() {
        let mut origins = Origins::default();
        let path = vec!["log".to_owned(), "level".to_owned()];
        let set = |value: &str, origin| Setting {
            value: Value::String(value.into()),
            origin,
        };
        assert_eq!(origins.of(&path), &Origin::Default);
        origins.push(
            path.clone(),
            set("warn", Origin::Env("BROKER__LOG__LEVEL".into())),
        );
        assert_eq!(origins.hidden(&path), None);
        origins.push(path.clone(), set("debug", Origin::Flag("log.level".into())));
        assert_eq!(origins.of(&path).describe(), "flag --set");
        assert_eq!(
            origins.hidden(&path).map(|s| s.value.to_string()),
            Some("\"warn\"".to_owned())
        );
    }

    #[test]
    fn odd_names_are_quoted() {
        let path = |parts: &[&str]| parts.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>();
        assert_eq!(dotted(&path(&["log", "filters", "a.b"])), "log.filters.\"a.b\"");
        assert_eq!(dotted(&path(&["x", "y\n"])), "x.\"y\\n\"");
    }
}
