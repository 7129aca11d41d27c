//! The filter trie: filter -> subscribers, topic -> every filter that matches it. Pure: no locks, no clock.
//!
//! Nodes live in one arena and are found by (parent, level) in one hash table; level texts are interned, so a
//! subscription costs its nodes and little else. What does not live here: shared groups' choice of a member
//! (`shared.rs`), merging of overlapping subscriptions (`route.rs`).

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::HashTable;
use smallvec::SmallVec;

use super::shared::SharedGroup;

/// Where a session lives: its home shard, its place there, and a serial that is never reused for that place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionRef {
    /// Index of the home shard.
    pub shard: u16,
    /// Place in that shard's table.
    pub slot: u32,
    /// Distinguishes this session from earlier ones in the same place.
    pub serial: u32,
}

/// One subscription as the router keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Who subscribed.
    pub session: SessionRef,
    /// Subscription Identifier, 0 = none ([MQTT-3.8.2.1.2]).
    pub id: u32,
    /// The options byte of SUBSCRIBE: QoS in bits 0-1, No Local in 2, Retain As Published in 3.
    pub options: u8,
}

/// Handle of a filter in the trie; valid while a subscription holds it.
pub type FilterId = u32;

const NONE: u32 = u32::MAX;
const ROOT: u32 = 0;
const PLUS: u32 = 0;
const HASH: u32 = 1;
/// From this many subscribers on, a filter keeps an index, so that one of a million leaves in O(1).
const INDEX_FROM: usize = 16;

#[derive(Debug, Default)]
enum Subscribers {
    #[default]
    Empty,
    One(Subscription),
    Many(Box<Many>),
}

#[derive(Debug, Default)]
struct Many {
    list: Vec<Subscription>,
    index: Option<hashbrown::HashMap<SessionRef, u32, foldhash::fast::RandomState>>,
}

impl Many {
    fn position(&self, who: SessionRef) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(&who).map(|&i| i as usize),
            None => self.list.iter().position(|s| s.session == who),
        }
    }

    fn push(&mut self, sub: Subscription) {
        if let Some(index) = &mut self.index {
            index.insert(sub.session, self.list.len() as u32);
        }
        self.list.push(sub);
        if self.index.is_none() && self.list.len() >= INDEX_FROM {
            self.index = Some(
                self.list
                    .iter()
                    .enumerate()
                    .map(|(i, s)| (s.session, i as u32))
                    .collect(),
            );
        }
    }

    fn swap_remove(&mut self, at: usize) {
        let gone = self.list.swap_remove(at);
        if let Some(index) = &mut self.index {
            index.remove(&gone.session);
            if let Some(moved) = self.list.get(at) {
                index.insert(moved.session, at as u32);
            }
        }
        if self.list.len() < INDEX_FROM / 2 {
            self.index = None;
        }
        if self.list.capacity() > 4 * self.list.len().max(4) {
            self.list.shrink_to(2 * self.list.len());
        }
    }
}

impl Subscribers {
    fn as_slice(&self) -> &[Subscription] {
        match self {
            Self::Empty => &[],
            Self::One(sub) => std::slice::from_ref(sub),
            Self::Many(many) => &many.list,
        }
    }

    /// Adds or replaces; true if there was none of this session.
    fn insert(&mut self, sub: Subscription) -> bool {
        match self {
            Self::Empty => *self = Self::One(sub),
            Self::One(old) if old.session == sub.session => {
                *old = sub;
                return false;
            }
            Self::One(old) => {
                *self = Self::Many(Box::new(Many {
                    list: vec![*old, sub],
                    index: None,
                }));
            }
            Self::Many(many) => {
                if let Some(at) = many.position(sub.session) {
                    many.list[at] = sub;
                    return false;
                }
                many.push(sub);
            }
        }
        true
    }

    fn remove(&mut self, who: SessionRef) -> bool {
        match self {
            Self::One(old) if old.session == who => *self = Self::Empty,
            Self::Many(many) => {
                let Some(at) = many.position(who) else {
                    return false;
                };
                many.swap_remove(at);
                if let [only] = many.list[..] {
                    *self = Self::One(only);
                }
            }
            _ => return false,
        }
        true
    }
}

#[derive(Debug)]
struct Node {
    parent: u32,
    symbol: u32,
    plus: u32,
    hash: u32,
    /// Literal children, found through `edges`.
    literals: u32,
    subscribers: Subscribers,
    #[expect(
        clippy::box_collection,
        reason = "one word in each of a million nodes that have none"
    )]
    shared: Option<Box<Vec<Arc<SharedGroup>>>>,
}

impl Node {
    fn new(parent: u32, symbol: u32) -> Self {
        Self {
            parent,
            symbol,
            plus: NONE,
            hash: NONE,
            literals: 0,
            subscribers: Subscribers::Empty,
            shared: None,
        }
    }

    fn is_unused(&self) -> bool {
        matches!(self.subscribers, Subscribers::Empty)
            && self.shared.is_none()
            && self.literals == 0
            && self.plus == NONE
            && self.hash == NONE
    }
}

/// Interned level texts with their number of users.
#[derive(Debug, Default)]
struct Symbols {
    texts: Vec<(Box<str>, u32)>,
    free: Vec<u32>,
    table: HashTable<u32>,
    hasher: foldhash::fast::RandomState,
}

impl Symbols {
    fn get(&self, text: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(text);
        self.table
            .find(hash, |&i| &*self.texts[i as usize].0 == text)
            .map(|i| i + 2)
    }

    fn acquire(&mut self, text: &str) -> u32 {
        if let Some(symbol) = self.get(text) {
            self.texts[symbol as usize - 2].1 += 1;
            return symbol;
        }
        let at = self.free.pop().unwrap_or(self.texts.len() as u32);
        if at as usize == self.texts.len() {
            self.texts.push((text.into(), 1));
        } else {
            self.texts[at as usize] = (text.into(), 1);
        }
        let hash = self.hasher.hash_one(text);
        let (texts, hasher) = (&self.texts, &self.hasher);
        self.table
            .insert_unique(hash, at, |&i| hasher.hash_one(&*texts[i as usize].0));
        at + 2
    }

    fn release(&mut self, symbol: u32) {
        let at = symbol - 2;
        let entry = &mut self.texts[at as usize];
        entry.1 -= 1;
        if entry.1 > 0 {
            return;
        }
        let hash = self.hasher.hash_one(&*entry.0);
        if let Ok(found) = self.table.find_entry(hash, |&i| i == at) {
            found.remove();
        }
        self.texts[at as usize].0 = Box::default();
        self.free.push(at);
    }

    fn text(&self, symbol: u32) -> &str {
        match symbol {
            PLUS => "+",
            HASH => "#",
            _ => &self.texts[symbol as usize - 2].0,
        }
    }
}

/// Filter -> subscribers.
#[derive(Debug)]
pub struct Trie {
    nodes: Vec<Node>,
    free: Vec<u32>,
    edges: HashTable<u32>,
    symbols: Symbols,
    hasher: foldhash::fast::RandomState,
    subscriptions: usize,
}

impl Default for Trie {
    fn default() -> Self {
        Self {
            nodes: vec![Node::new(NONE, NONE)],
            free: Vec::new(),
            edges: HashTable::new(),
            symbols: Symbols::default(),
            hasher: foldhash::fast::RandomState::default(),
            subscriptions: 0,
        }
    }
}

fn edge_hash(hasher: &foldhash::fast::RandomState, parent: u32, symbol: u32) -> u64 {
    hasher.hash_one((u64::from(parent) << 32) | u64::from(symbol))
}

impl Trie {
    /// Adds or replaces the subscription of `sub.session` to `filter` (valid, without `$share/…/`).
    /// Returns the filter's handle and whether it is new for this session.
    pub fn insert(&mut self, filter: &str, sub: Subscription) -> (FilterId, bool) {
        let node = self.make(filter);
        let new = self.nodes[node as usize].subscribers.insert(sub);
        self.subscriptions += usize::from(new);
        (node, new)
    }

    /// Takes the session's subscription to the filter away; false if there was none.
    pub fn remove(&mut self, filter: FilterId, who: SessionRef) -> bool {
        let Some(node) = self.nodes.get_mut(filter as usize) else {
            return false;
        };
        if !node.subscribers.remove(who) {
            return false;
        }
        self.subscriptions -= 1;
        self.prune(filter);
        true
    }

    /// The group `name` on `filter`, made by `new` if it does not exist yet.
    pub fn group(
        &mut self,
        filter: &str,
        name: &str,
        new: impl FnOnce() -> SharedGroup,
    ) -> (FilterId, Arc<SharedGroup>) {
        let at = self.make(filter);
        let groups = self.nodes[at as usize].shared.get_or_insert_default();
        if let Some(group) = groups.iter().find(|g| g.name() == name) {
            return (at, Arc::clone(group));
        }
        let group = Arc::new(new());
        groups.push(Arc::clone(&group));
        (at, group)
    }

    /// The group `name` on the filter, if it exists.
    pub fn find_group(&self, filter: FilterId, name: &str) -> Option<&Arc<SharedGroup>> {
        self.nodes
            .get(filter as usize)?
            .shared
            .as_ref()?
            .iter()
            .find(|g| g.name() == name)
    }

    /// Removes the group if it has no member left.
    pub fn drop_group_if_empty(&mut self, filter: FilterId, name: &str) {
        let node = &mut self.nodes[filter as usize];
        let Some(groups) = &mut node.shared else { return };
        groups.retain(|g| g.name() != name || !g.is_empty());
        if groups.is_empty() {
            node.shared = None;
            self.prune(filter);
        }
    }

    /// The handle of `filter`, if anybody subscribes to it.
    pub fn find(&self, filter: &str) -> Option<FilterId> {
        let mut at = ROOT;
        for level in filter.split('/') {
            at = match level {
                "+" => self.nodes[at as usize].plus,
                "#" => self.nodes[at as usize].hash,
                text => self.child(at, self.symbols.get(text)?)?,
            };
            if at == NONE {
                return None;
            }
        }
        Some(at)
    }

    /// The filter's text, rebuilt from its levels.
    pub fn text(&self, filter: FilterId) -> String {
        let mut levels: SmallVec<[&str; 16]> = SmallVec::new();
        let mut at = filter;
        while at != ROOT {
            let node = &self.nodes[at as usize];
            levels.push(self.symbols.text(node.symbol));
            at = node.parent;
        }
        levels.reverse();
        levels.join("/")
    }

    /// Calls `found` with the plain subscriptions and the shared groups of every filter matching `topic`
    /// (a valid topic name). A wildcard in first place does not match `$…` ([MQTT-4.7.2-1]).
    pub fn matches<'t>(
        &'t self,
        topic: &str,
        mut found: impl FnMut(&'t [Subscription], &'t [Arc<SharedGroup>]),
    ) {
        let levels: SmallVec<[Option<u32>; 16]> =
            topic.split('/').map(|level| self.symbols.get(level)).collect();
        self.walk(ROOT, &levels, topic.starts_with('$'), &mut found);
    }

    /// Number of plain subscriptions.
    pub fn len(&self) -> usize {
        self.subscriptions
    }

    /// True if nobody subscribes to anything.
    pub fn is_empty(&self) -> bool {
        self.subscriptions == 0
    }

    /// Calls `each` with every filter that has subscribers or groups.
    pub fn for_each(&self, mut each: impl FnMut(String, &[Subscription], &[Arc<SharedGroup>])) {
        for (at, node) in self.nodes.iter().enumerate() {
            let (subscribers, groups) = (node.subscribers.as_slice(), node.groups());
            if !subscribers.is_empty() || !groups.is_empty() {
                each(self.text(at as u32), subscribers, groups);
            }
        }
    }

    fn walk<'t>(
        &'t self,
        at: u32,
        rest: &[Option<u32>],
        dollar: bool,
        found: &mut impl FnMut(&'t [Subscription], &'t [Arc<SharedGroup>]),
    ) {
        let node = &self.nodes[at as usize];
        if node.hash != NONE && !dollar {
            self.report(node.hash, found);
        }
        let Some((first, rest)) = rest.split_first() else {
            self.report(at, found);
            return;
        };
        if node.plus != NONE && !dollar {
            self.walk(node.plus, rest, false, found);
        }
        if let Some(child) = first.and_then(|symbol| self.child(at, symbol)) {
            self.walk(child, rest, false, found);
        }
    }

    fn report<'t>(&'t self, at: u32, found: &mut impl FnMut(&'t [Subscription], &'t [Arc<SharedGroup>])) {
        let node = &self.nodes[at as usize];
        let (subscribers, groups) = (node.subscribers.as_slice(), node.groups());
        if !subscribers.is_empty() || !groups.is_empty() {
            found(subscribers, groups);
        }
    }

    fn child(&self, parent: u32, symbol: u32) -> Option<u32> {
        if self.nodes[parent as usize].literals == 0 {
            return None;
        }
        let hash = edge_hash(&self.hasher, parent, symbol);
        let same = |&i: &u32| {
            let node = &self.nodes[i as usize];
            node.parent == parent && node.symbol == symbol
        };
        self.edges.find(hash, same).copied()
    }

    fn make(&mut self, filter: &str) -> u32 {
        let mut at = ROOT;
        for level in filter.split('/') {
            at = match level {
                "+" if self.nodes[at as usize].plus != NONE => self.nodes[at as usize].plus,
                "#" if self.nodes[at as usize].hash != NONE => self.nodes[at as usize].hash,
                "+" => {
                    let node = self.add(at, PLUS);
                    self.nodes[at as usize].plus = node;
                    node
                }
                "#" => {
                    let node = self.add(at, HASH);
                    self.nodes[at as usize].hash = node;
                    node
                }
                text => self.make_literal(at, text),
            };
        }
        at
    }

    fn make_literal(&mut self, parent: u32, text: &str) -> u32 {
        if let Some(child) = self
            .symbols
            .get(text)
            .and_then(|symbol| self.child(parent, symbol))
        {
            return child;
        }
        let symbol = self.symbols.acquire(text);
        let node = self.add(parent, symbol);
        self.nodes[parent as usize].literals += 1;
        let hash = edge_hash(&self.hasher, parent, symbol);
        let (nodes, hasher) = (&self.nodes, &self.hasher);
        self.edges.insert_unique(hash, node, |&i| {
            let node = &nodes[i as usize];
            edge_hash(hasher, node.parent, node.symbol)
        });
        node
    }

    fn add(&mut self, parent: u32, symbol: u32) -> u32 {
        let node = Node::new(parent, symbol);
        if let Some(at) = self.free.pop() {
            self.nodes[at as usize] = node;
            return at;
        }
        self.nodes.push(node);
        self.nodes.len() as u32 - 1
    }

    /// Removes `at` and its ancestors as far as nothing uses them.
    fn prune(&mut self, mut at: u32) {
        while at != ROOT && self.nodes[at as usize].is_unused() {
            let (parent, symbol) = (self.nodes[at as usize].parent, self.nodes[at as usize].symbol);
            match symbol {
                PLUS => self.nodes[parent as usize].plus = NONE,
                HASH => self.nodes[parent as usize].hash = NONE,
                _ => {
                    let hash = edge_hash(&self.hasher, parent, symbol);
                    if let Ok(edge) = self.edges.find_entry(hash, |&i| i == at) {
                        edge.remove();
                    }
                    self.nodes[parent as usize].literals -= 1;
                    self.symbols.release(symbol);
                }
            }
            self.nodes[at as usize] = Node::new(NONE, NONE);
            self.free.push(at);
            at = parent;
        }
        if self.nodes.len() == self.free.len() + 1 && self.free.len() > 1024 {
            // Nobody is subscribed to anything: give the memory back.
            *self = Self::default();
        }
    }
}

impl Node {
    fn groups(&self) -> &[Arc<SharedGroup>] {
        self.shared.as_ref().map_or(&[], |groups| groups)
    }
}
