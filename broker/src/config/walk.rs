//! One file beside the tree of keys: every key is known or refused, every value of its key's type, and each has its
//! place. What is wrong with single keys is found here, all of it at once.

use std::ops::Range;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::finding::Finding;
use super::keys::{Branch, Key, Kind, Node, is_reserved};
use super::origin::{File, KeyPath, Origin, Place, Setting};
use super::raw::{bad_value_code, name_is_good, unknown_code};
use super::{suggest, value};

/// The state of a walk through one file.
pub(super) struct Walk {
    file: Arc<File>,
    /// What is wrong, in the order of the tree.
    pub(super) findings: Vec<Finding>,
    /// Each good value with its place.
    pub(super) settings: Vec<(KeyPath, Setting)>,
    /// The arrays of tables in the file.
    pub(super) arrays: Vec<KeyPath>,
}

impl Walk {
    pub(super) fn new(file: Arc<File>) -> Self {
        Self {
            file,
            findings: Vec::new(),
            settings: Vec::new(),
            arrays: Vec::new(),
        }
    }

    fn at(&self, span: Range<usize>) -> Origin {
        Origin::File(Place {
            file: Arc::clone(&self.file),
            span,
        })
    }

    /// The good part of a table.
    pub(super) fn table(&mut self, table: &DeTable<'_>, branch: &Branch, path: &mut KeyPath) -> Table {
        let mut good = Table::new();
        for (name, item) in table {
            path.push(name.get_ref().to_string());
            if let Some(value) = self.item(name.span(), item, branch, path) {
                good.insert(name.get_ref().to_string(), value);
            }
            path.pop();
        }
        good
    }

    fn item(
        &mut self,
        key_at: Range<usize>,
        item: &Spanned<DeValue<'_>>,
        branch: &Branch,
        path: &mut KeyPath,
    ) -> Option<Value> {
        let name = path.last()?.clone();
        match branch.child(&name) {
            _ if is_reserved(path) => {
                let message = format!("{} is not in this version", suggest::shown(path));
                self.findings
                    .push(Finding::error("CFG050", message).at(&self.at(key_at)));
                None
            }
            None => {
                self.unknown(key_at, branch, path);
                None
            }
            Some(_) if !name_is_good(path) => {
                let hint = "a name is lower case letters and digits, parts joined by _";
                let finding = Finding::error(
                    bad_value_code(path),
                    format!("{} is no name", suggest::shown(path)),
                );
                self.findings.push(finding.at(&self.at(key_at)).label(hint));
                None
            }
            Some(Node::Leaf(key)) => self.leaf(key_at, item, key, path),
            Some(Node::Table(inner)) => match (item.get_ref(), &inner.rows) {
                (DeValue::Array(items), Some(rows)) => Some(self.rows(items.iter(), rows, path)),
                (DeValue::Table(table), None) => Some(Value::Table(self.table(table, inner, path))),
                (_, rows) => {
                    let form = if rows.is_some() {
                        format!("[[{name}]]")
                    } else {
                        format!("[{}]", path.join("."))
                    };
                    let what = if rows.is_some() {
                        "an array of tables"
                    } else {
                        "a table"
                    };
                    let finding = Finding::error(
                        bad_value_code(path),
                        format!("{} is {what}", suggest::shown(path)),
                    );
                    self.findings
                        .push(finding.at(&self.at(key_at)).label(format!("write {form}")));
                    None
                }
            },
        }
    }

    fn rows<'a, 'i: 'a>(
        &mut self,
        items: impl Iterator<Item = &'a Spanned<DeValue<'i>>>,
        rows: &Branch,
        path: &mut KeyPath,
    ) -> Value {
        let mut good = Vec::new();
        self.arrays.push(path.clone());
        for (i, item) in items.enumerate() {
            if let DeValue::Table(table) = item.get_ref() {
                path.push(i.to_string());
                good.push(Value::Table(self.table(table, rows, path)));
                path.pop();
            } else {
                let finding = Finding::error(
                    bad_value_code(path),
                    format!("{} takes tables", suggest::shown(path)),
                );
                self.findings.push(
                    finding
                        .at(&self.at(item.span()))
                        .label(format!("write [[{}]]", path.join("."))),
                );
            }
        }
        Value::Array(good)
    }

    fn leaf(
        &mut self,
        key_at: Range<usize>,
        item: &Spanned<DeValue<'_>>,
        key: &'static Key,
        path: &mut KeyPath,
    ) -> Option<Value> {
        let is_map = matches!(key.kind, Kind::TextMap | Kind::LevelMap);
        match item.get_ref() {
            DeValue::Table(table) if is_map => {
                let mut good = Table::new();
                for (name, entry) in table {
                    path.push(name.get_ref().to_string());
                    if let Some(value) = self.value(name.span(), entry, key, path) {
                        good.insert(name.get_ref().to_string(), value);
                    }
                    path.pop();
                }
                Some(Value::Table(good))
            }
            _ if is_map => {
                self.bad(item.span(), path, "a table: { name = \"value\" }");
                None
            }
            DeValue::Table(_) => {
                self.bad(key_at, path, "a value, not a table");
                None
            }
            _ => self.value(key_at, item, key, path),
        }
    }

    fn value(
        &mut self,
        key_at: Range<usize>,
        item: &Spanned<DeValue<'_>>,
        key: &Key,
        path: &KeyPath,
    ) -> Option<Value> {
        let text = self.file.text.get(item.span()).unwrap_or_default();
        let read = format!("v = {text}")
            .parse::<Table>()
            .ok()
            .and_then(|mut t| t.remove("v"))?;
        match value::check(key, read) {
            Ok(good) => {
                let origin = self.at(key_at);
                self.settings.push((
                    path.clone(),
                    Setting {
                        value: good.clone(),
                        origin,
                    },
                ));
                Some(good)
            }
            Err(expected) => {
                self.bad(item.span(), path, &expected);
                None
            }
        }
    }

    fn bad(&mut self, at: Range<usize>, path: &KeyPath, expected: &str) {
        let finding = Finding::error(
            bad_value_code(path),
            format!("bad value for {}", suggest::shown(path)),
        );
        self.findings.push(finding.at(&self.at(at)).label(expected));
    }

    fn unknown(&mut self, key_at: Range<usize>, branch: &Branch, path: &KeyPath) {
        let at = self.at(key_at);
        let name = path.last().map(String::as_str).unwrap_or_default();
        let finding = if let Some((program, hint)) = suggest::foreign(name) {
            let message = format!(
                "{} is {program} key",
                suggest::shown(std::slice::from_ref(&name.to_owned()))
            );
            Finding::error("CFG003", message).at(&at).hint(hint)
        } else {
            let finding = Finding::error(
                unknown_code(path),
                format!("unknown key {}", suggest::shown(path)),
            )
            .at(&at);
            match suggest::key(branch, path) {
                Some(near) => finding.label(format!("did you mean `{near}`?")),
                None => finding.label("there is no key like it"),
            }
        };
        self.findings.push(finding);
    }
}
