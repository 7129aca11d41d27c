//! Shared subscriptions: one group of `$share/GROUP/FILTER` and the choice of the member that gets a message.
//!
//! Pure but for its own small lock. What does not live here: which groups match a topic (`trie.rs`).

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::trie::{SessionRef, Subscription};

/// How a group chooses (`mqtt.shared_strategy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// One after the other.
    #[default]
    RoundRobin,
    /// By chance.
    Random,
    /// The same member until it leaves.
    Sticky,
    /// By the publisher's client id.
    HashClient,
    /// By the topic.
    HashTopic,
    /// A member on the publisher's own shard first, then one after the other.
    Local,
}

/// What a choice may depend on.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// How to choose.
    pub strategy: Strategy,
    /// Hash of the publisher's client id.
    pub client_hash: u64,
    /// Hash of the topic.
    pub topic_hash: u64,
    /// A random number.
    pub random: u64,
    /// The publisher's shard.
    pub shard: u16,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    subscription: Subscription,
    online: bool,
}

#[derive(Debug, Default)]
struct Members {
    list: Vec<Member>,
    next: usize,
    sticky: Option<SessionRef>,
}

/// One group on one filter.
#[derive(Debug)]
pub struct SharedGroup {
    name: Box<str>,
    members: Mutex<Members>,
}

impl SharedGroup {
    /// An empty group.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            members: Mutex::default(),
        }
    }

    /// The share name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True without members.
    pub fn is_empty(&self) -> bool {
        self.lock().list.is_empty()
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        self.lock().list.len()
    }

    /// Adds or replaces a member; true if it is new.
    pub fn join(&self, subscription: Subscription, online: bool) -> bool {
        let mut members = self.lock();
        let member = Member { subscription, online };
        if let Some(old) = members
            .list
            .iter_mut()
            .find(|m| m.subscription.session == subscription.session)
        {
            *old = member;
            return false;
        }
        members.list.push(member);
        true
    }

    /// Removes a member; false if it was none.
    pub fn leave(&self, who: SessionRef) -> bool {
        let mut members = self.lock();
        let before = members.list.len();
        members.list.retain(|m| m.subscription.session != who);
        if members.sticky == Some(who) {
            members.sticky = None;
        }
        before != members.list.len()
    }

    /// Notes that a member came or went, so that those who are there are preferred.
    pub fn set_online(&self, who: SessionRef, online: bool) {
        if let Some(member) = self
            .lock()
            .list
            .iter_mut()
            .find(|m| m.subscription.session == who)
        {
            member.online = online;
        }
    }

    /// The members' subscriptions, for listings.
    pub fn subscriptions(&self) -> Vec<Subscription> {
        self.lock().list.iter().map(|m| m.subscription).collect()
    }

    /// The member that gets the next message: one that is online if there is any, else one that is not
    /// (its session queues); `None` without members.
    pub fn choose(&self, choice: Choice) -> Option<Subscription> {
        let mut members = self.lock();
        let Members { list, next, sticky } = &mut *members;
        let online = list.iter().filter(|m| m.online).count();
        let wanted = |m: &Member| m.online || online == 0;
        let candidates = if online == 0 { list.len() } else { online };
        if candidates == 0 {
            return None;
        }
        let nth = |n: usize| {
            list.iter()
                .filter(|m| wanted(m))
                .nth(n % candidates)
                .map(|m| m.subscription)
        };
        let turn = |step: &mut usize| {
            *step = step.wrapping_add(1);
            nth(*step)
        };
        match choice.strategy {
            Strategy::RoundRobin => turn(next),
            Strategy::Random => nth(choice.random as usize),
            Strategy::HashClient => nth(choice.client_hash as usize),
            Strategy::HashTopic => nth(choice.topic_hash as usize),
            Strategy::Local => {
                let near = |m: &&Member| m.online && m.subscription.session.shard == choice.shard;
                let count = list.iter().filter(near).count();
                if count == 0 {
                    return turn(next);
                }
                *next = next.wrapping_add(1);
                list.iter()
                    .filter(near)
                    .nth(*next % count)
                    .map(|m| m.subscription)
            }
            Strategy::Sticky => {
                let kept =
                    sticky.and_then(|who| list.iter().find(|m| m.subscription.session == who && wanted(m)));
                let chosen = kept
                    .map(|m| m.subscription)
                    .or_else(|| nth(choice.random as usize));
                *sticky = chosen.map(|s| s.session);
                chosen
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
