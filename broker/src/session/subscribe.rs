//! The subscriptions of a session: few as a rule, a million if it must be.
//!
//! What does not live here: who else subscribes (`router`), permission (`auth`).

use std::collections::BTreeMap;

use crate::router::trie::FilterId;

/// One subscription of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The filter in the router.
    pub filter: FilterId,
    /// Share name of `$share/NAME/filter`.
    pub share: Option<Box<str>>,
    /// Options byte of SUBSCRIBE.
    pub options: u8,
    /// Subscription Identifier, 0 = none.
    pub id: u32,
}

type Key = (FilterId, Option<Box<str>>);

/// From this many on a tree finds them.
const MANY_FROM: usize = 16;

/// All subscriptions of a session.
#[derive(Debug)]
pub enum Subscriptions {
    /// In a plain list.
    Few(Vec<Entry>),
    /// In a tree.
    Many(BTreeMap<Key, (u8, u32)>),
}

impl Default for Subscriptions {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Subscriptions {
    /// Adds or replaces; true if it is new.
    pub fn insert(&mut self, entry: Entry) -> bool {
        match self {
            Self::Few(list) => {
                let same = |e: &&mut Entry| e.filter == entry.filter && e.share == entry.share;
                if let Some(old) = list.iter_mut().find(same) {
                    *old = entry;
                    return false;
                }
                if list.len() < MANY_FROM {
                    list.reserve_exact(1);
                    list.push(entry);
                    return true;
                }
                let mut tree: BTreeMap<Key, (u8, u32)> = list
                    .drain(..)
                    .map(|e| ((e.filter, e.share), (e.options, e.id)))
                    .collect();
                tree.insert((entry.filter, entry.share), (entry.options, entry.id));
                *self = Self::Many(tree);
                true
            }
            Self::Many(tree) => tree
                .insert((entry.filter, entry.share), (entry.options, entry.id))
                .is_none(),
        }
    }

    /// Takes one away.
    pub fn remove(&mut self, filter: FilterId, share: Option<&str>) -> Option<Entry> {
        match self {
            Self::Few(list) => {
                let at = list
                    .iter()
                    .position(|e| e.filter == filter && e.share.as_deref() == share)?;
                Some(list.swap_remove(at))
            }
            Self::Many(tree) => {
                let ((filter, share), (options, id)) = tree.remove_entry(&(filter, share.map(Into::into)))?;
                if tree.is_empty() {
                    *self = Self::default();
                }
                Some(Entry {
                    filter,
                    share,
                    options,
                    id,
                })
            }
        }
    }

    /// True if there is one to this filter with this share name.
    pub fn contains(&self, filter: FilterId, share: Option<&str>) -> bool {
        match self {
            Self::Few(list) => list
                .iter()
                .any(|e| e.filter == filter && e.share.as_deref() == share),
            Self::Many(tree) => tree.contains_key(&(filter, share.map(Into::into))),
        }
    }

    /// Filter and share name of every shared subscription.
    pub fn shared(&self) -> Vec<(FilterId, Box<str>)> {
        let pair =
            |filter: FilterId, share: &Option<Box<str>>| share.as_ref().map(|name| (filter, name.clone()));
        match self {
            Self::Few(list) => list.iter().filter_map(|e| pair(e.filter, &e.share)).collect(),
            Self::Many(tree) => tree
                .keys()
                .filter_map(|(filter, share)| pair(*filter, share))
                .collect(),
        }
    }

    /// Number of subscriptions.
    pub fn len(&self) -> usize {
        match self {
            Self::Few(list) => list.len(),
            Self::Many(tree) => tree.len(),
        }
    }

    /// True without subscriptions.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every subscription.
    pub fn entries(&self) -> Vec<Entry> {
        match self {
            Self::Few(list) => list.clone(),
            Self::Many(tree) => tree
                .iter()
                .map(|((filter, share), &(options, id))| Entry {
                    filter: *filter,
                    share: share.clone(),
                    options,
                    id,
                })
                .collect(),
        }
    }
}
