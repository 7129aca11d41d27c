//! The keys as a tree of tables, for walking a file beside it.

use std::sync::LazyLock;

use super::{Key, all};

/// A table of the file.
#[derive(Debug, Default)]
pub struct Branch {
    /// Children by name, in the order of the documentation.
    pub named: Vec<(&'static str, Node)>,
    /// What any other name is (`[listeners.NAME]`).
    pub any: Option<Box<Node>>,
    /// What an element is, when this is an array of tables.
    pub rows: Option<Box<Branch>>,
}

/// A key or a table.
#[derive(Debug)]
pub enum Node {
    /// A key with a value.
    Leaf(&'static Key),
    /// A table, or an array of tables.
    Table(Branch),
}

impl Branch {
    /// The child of this name.
    pub fn child(&self, name: &str) -> Option<&Node> {
        let named = self.named.iter().find(|(n, _)| *n == name).map(|(_, node)| node);
        named.or(self.any.as_deref())
    }

    fn insert(&mut self, rest: &'static str, key: &'static Key) {
        let (name, tail) = rest
            .split_once('.')
            .map_or((rest, None), |(name, tail)| (name, Some(tail)));
        match (name, tail) {
            ("[]", Some(tail)) => self.rows.get_or_insert_default().insert(tail, key),
            ("*", None) => self.any = Some(Box::new(Node::Leaf(key))),
            ("*", Some(tail)) => {
                let node = self
                    .any
                    .get_or_insert_with(|| Box::new(Node::Table(Self::default())));
                if let Node::Table(branch) = node.as_mut() {
                    branch.insert(tail, key);
                }
            }
            (_, None) => self.named.push((name, Node::Leaf(key))),
            (_, Some(tail)) => {
                if !self.named.iter().any(|(n, _)| *n == name) {
                    self.named.push((name, Node::Table(Self::default())));
                }
                if let Some((_, Node::Table(branch))) = self.named.iter_mut().find(|(n, _)| *n == name) {
                    branch.insert(tail, key);
                }
            }
        }
    }
}

/// The whole tree.
pub fn tree() -> &'static Branch {
    static TREE: LazyLock<Branch> = LazyLock::new(|| {
        let mut root = Branch::default();
        for key in all() {
            root.insert(&key.path, key);
        }
        root
    });
    &TREE
}

/// The key at a concrete path, such as `listeners.tcp.bind` (one part an element; an index for an array of tables).
pub fn find(path: &[String]) -> Option<&'static Key> {
    let mut branch = tree();
    let (last, parents) = path.split_last()?;
    for part in parents {
        if let (Some(rows), true) = (&branch.rows, part.parse::<usize>().is_ok()) {
            branch = rows;
            continue;
        }
        match branch.child(part)? {
            Node::Table(next) => branch = next,
            Node::Leaf(key) => return Some(key),
        }
    }
    match branch.child(last)? {
        Node::Leaf(key) => Some(key),
        Node::Table(_) => None,
    }
}
