//! Topic aliases, both ways (MQTT 5, 3.3.2.3.4). They belong to a connection, not to the session.

use std::collections::HashMap;

/// Aliases a client has set for us.
#[derive(Debug, Default)]
pub struct AliasesIn {
    topics: Vec<Option<Box<str>>>,
}

impl AliasesIn {
    /// Sets `alias` (1 to `max`) to `topic`; false if the alias is out of range ([MQTT-3.3.2-9]).
    pub fn set(&mut self, alias: u16, topic: &str, max: u16) -> bool {
        if alias == 0 || alias > max {
            return false;
        }
        let at = usize::from(alias) - 1;
        if self.topics.len() <= at {
            self.topics.resize(at + 1, None);
        }
        match &mut self.topics[at] {
            Some(old) if **old == *topic => {}
            slot => *slot = Some(topic.into()),
        }
        true
    }

    /// The topic of `alias`, if it was set.
    pub fn get(&self, alias: u16) -> Option<&str> {
        self.topics.get(usize::from(alias).checked_sub(1)?)?.as_deref()
    }
}

/// Aliases we have set for a client; the first topics sent get them.
#[derive(Debug)]
pub struct AliasesOut {
    max: u16,
    topics: HashMap<Box<str>, u16, foldhash::fast::RandomState>,
}

/// How to send a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alias {
    /// As it is.
    None,
    /// With its text, which sets the alias.
    Set(u16),
    /// By alias alone.
    Use(u16),
}

/// Aliases we use for one client, whatever more it allows: they cost memory here.
const MAX_OUT: u16 = 64;

impl AliasesOut {
    /// For a client that allows `max` aliases; `None` if it allows none.
    pub fn new(max: u16) -> Option<Box<Self>> {
        (max > 0).then(|| {
            Box::new(Self {
                max: max.min(MAX_OUT),
                topics: HashMap::default(),
            })
        })
    }

    /// How to send `topic` next.
    pub fn choose(&mut self, topic: &str) -> Alias {
        if let Some(&alias) = self.topics.get(topic) {
            return Alias::Use(alias);
        }
        if self.topics.len() >= usize::from(self.max) || topic.len() < 4 {
            return Alias::None;
        }
        let alias = self.topics.len() as u16 + 1;
        self.topics.insert(topic.into(), alias);
        Alias::Set(alias)
    }

    /// Takes back a [`Alias::Set`] that was not sent after all.
    pub fn undo(&mut self, topic: &str) {
        self.topics.remove(topic);
    }
}
