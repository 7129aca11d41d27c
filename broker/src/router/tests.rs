//! The router against slow and obvious ones.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::Router;
use super::retained::{Retained, RetainedLimits};
use super::route::{Identifiers, NO_LOCAL, RETAIN_AS_PUBLISHED, Route, RouteCache};
use super::shared::{Choice, SharedGroup, Strategy as Shared};
use super::trie::{SessionRef, Subscription, Trie};
use crate::session::message::Publication;

fn session(slot: u32) -> SessionRef {
    SessionRef {
        shard: (slot % 2) as u16,
        slot,
        serial: 1,
    }
}

fn sub(slot: u32, options: u8, id: u32) -> Subscription {
    Subscription {
        session: session(slot),
        id,
        options,
    }
}

fn level() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("a".to_owned()),
        Just("b".to_owned()),
        Just(String::new()),
        Just("$x".to_owned())
    ]
}

fn filter() -> impl Strategy<Value = String> {
    let middle = prop_oneof![4 => level(), 2 => Just("+".to_owned())];
    (prop::collection::vec(middle, 1..4), any::<bool>()).prop_map(|(mut levels, hash)| {
        if hash {
            levels.push("#".to_owned());
        }
        levels.join("/")
    })
}

fn topic() -> impl Strategy<Value = String> {
    prop::collection::vec(level(), 1..5).prop_map(|levels| levels.join("/"))
}

fn matched(trie: &Trie, topic: &str) -> Vec<u32> {
    let mut slots = Vec::new();
    trie.matches(topic, |subs, _| slots.extend(subs.iter().map(|s| s.session.slot)));
    slots.sort_unstable();
    slots
}

proptest! {
    /// Whatever is subscribed and unsubscribed in whatever order: the trie finds what a list finds.
    #[test]
    fn trie_agrees_with_a_list(
        steps in prop::collection::vec((filter(), 0..40_u32, any::<bool>()), 1..120),
        topics in prop::collection::vec(topic(), 1..12),
    ) {
        let mut trie = Trie::default();
        let mut list: BTreeMap<(String, u32), u32> = BTreeMap::new();
        for (filter, slot, add) in steps {
            if add {
                let (id, new) = trie.insert(&filter, sub(slot, 1, 0));
                prop_assert_eq!(trie.text(id), filter.clone());
                prop_assert_eq!(new, list.insert((filter, slot), id).is_none());
            } else {
                let known = list.remove(&(filter.clone(), slot));
                let found = trie.find(&filter).is_some_and(|id| trie.remove(id, session(slot)));
                prop_assert_eq!(known.is_some(), found);
            }
        }
        prop_assert_eq!(trie.len(), list.len());
        for topic in topics {
            let mut expected: Vec<u32> = list
                .keys()
                .filter(|(filter, _)| codec::topic::matches(filter, &topic))
                .map(|(_, slot)| *slot)
                .collect();
            expected.sort_unstable();
            prop_assert_eq!(matched(&trie, &topic), expected, "{}", topic);
        }
        for ((_, slot), id) in list {
            prop_assert!(trie.remove(id, session(slot)));
        }
        prop_assert!(trie.is_empty());
        prop_assert_eq!(matched(&trie, "a/b"), Vec::<u32>::new());
    }

    /// A scan in portions finds what a look at every message finds, in order, once.
    #[test]
    fn retained_scan_agrees_with_a_list(
        topics in prop::collection::btree_set(topic(), 0..60),
        filter in filter(),
        limit in 1..5_usize,
    ) {
        let retained = Retained::default();
        for topic in &topics {
            retained.put(Publication::new(topic, &[], b"x").share(), RetainedLimits::default());
        }
        let mut found = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let portion = retained.scan(&filter, after.as_deref(), limit, 1);
            found.extend(portion.messages.iter().map(|m| m.topic().to_owned()));
            match portion.after {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        let expected: Vec<String> =
            topics.iter().filter(|t| codec::topic::matches(&filter, t)).cloned().collect();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn a_filter_with_a_thousand_subscribers_loses_the_right_one() {
    let mut trie = Trie::default();
    let mut id = 0;
    for slot in 0..1000 {
        id = trie.insert("a/+", sub(slot, 0, 0)).0;
    }
    for slot in (0..1000).step_by(2) {
        assert!(trie.remove(id, session(slot)));
        assert!(!trie.remove(id, session(slot)), "it is gone");
    }
    assert_eq!(
        matched(&trie, "a/x"),
        (0..1000).filter(|s| s % 2 == 1).collect::<Vec<_>>()
    );
}

#[test]
fn overlapping_subscriptions_are_one_target_with_the_highest_qos_and_all_identifiers() {
    let mut trie = Trie::default();
    trie.insert("a/b", sub(0, NO_LOCAL, 7));
    trie.insert("a/+", sub(0, 2 | RETAIN_AS_PUBLISHED, 0));
    trie.insert("#", sub(0, 1, 9));
    trie.insert("a/#", sub(2, NO_LOCAL | 1, 3));
    let route = Route::compute(&trie, "a/b", 2, 1);
    let [first, second] = &*route.shards[0] else {
        panic!("two sessions on shard 0")
    };
    assert_eq!(
        (first.qos(), first.options & NO_LOCAL),
        (2, 0),
        "one match without No Local is enough"
    );
    assert_eq!(first.options & RETAIN_AS_PUBLISHED, RETAIN_AS_PUBLISHED);
    let mut ids = first.identifiers.as_slice().to_vec();
    ids.sort_unstable();
    assert_eq!(ids, [7, 9]);
    assert_eq!(
        (second.options & NO_LOCAL, &second.identifiers),
        (NO_LOCAL, &Identifiers::One(3))
    );
}

#[test]
fn a_cached_route_is_not_used_after_a_subscription() {
    let router = Router::new(2);
    let mut cache = RouteCache::default();
    assert!(router.route("a", &mut cache).is_empty());
    router.subscribe("a", sub(1, 0, 0));
    assert_eq!(router.route("a", &mut cache).shards[1].len(), 1);
    let filter = router.find("a").expect("somebody subscribes");
    assert!(router.unsubscribe(filter, session(1)));
    assert!(router.route("a", &mut cache).is_empty());
    assert_eq!(router.totals(), (0, 0));
}

#[track_caller]
fn choices(strategy: Shared, online: &[bool], topic_hashes: &[u64]) -> Vec<u32> {
    let group = SharedGroup::new("g");
    for (slot, &online) in online.iter().enumerate() {
        assert!(group.join(sub(slot as u32, 0, 0), online));
    }
    topic_hashes
        .iter()
        .map(|&hash| {
            let choice = Choice {
                strategy,
                client_hash: 1,
                topic_hash: hash,
                random: hash,
                shard: 1,
            };
            group
                .choose(choice)
                .expect("a group with members chooses")
                .session
                .slot
        })
        .collect()
}

#[test]
fn shared_groups_choose_by_their_strategy() {
    assert_eq!(
        choices(Shared::RoundRobin, &[true, true, true], &[0; 6]),
        [1, 2, 0, 1, 2, 0]
    );
    assert_eq!(
        choices(Shared::HashTopic, &[true, true, true], &[4, 4, 5]),
        [1, 1, 2]
    );
    assert_eq!(choices(Shared::HashClient, &[true, true], &[8, 9]), [1, 1]);
    assert_eq!(
        choices(Shared::Sticky, &[true, true, true], &[2, 0, 1]),
        [2, 2, 2]
    );
    assert_eq!(
        choices(Shared::Local, &[true, true, true, true], &[0; 4]),
        [3, 1, 3, 1]
    );
    assert_eq!(
        choices(Shared::RoundRobin, &[false, true, false], &[0; 3]),
        [1, 1, 1],
        "who is there first"
    );
    assert_eq!(
        choices(Shared::RoundRobin, &[false, false], &[0; 2]),
        [1, 0],
        "nobody there: they queue"
    );
}

#[test]
fn retained_messages_have_limits_and_expire() {
    let retained = Retained::default();
    let limits = RetainedLimits {
        messages: 2,
        bytes: 20,
    };
    let message = |topic: &str, payload: &[u8], expires_at| {
        let mut publication = Publication::new(topic, &[], payload);
        publication.expires_at = expires_at;
        publication.share()
    };
    assert!(retained.put(message("a", b"1", 50), limits));
    assert!(retained.put(message("b", b"2", 90), limits));
    assert!(
        !retained.put(message("c", b"3", 90), limits),
        "a third is too many"
    );
    assert!(
        !retained.put(message("a", &[0; 30], 90), limits),
        "thirty bytes are too many"
    );
    assert!(
        retained.put(message("b", b"22", 90), limits),
        "replacing is no third"
    );
    assert_eq!(retained.totals(), (2, 5));
    assert!(retained.get("a", 50).is_none() && retained.get("a", 49).is_some());
    let (next, gone) = retained.sweep(None, 10, 60);
    assert_eq!((next, gone.len(), retained.totals()), (None, 1, (1, 3)));
    assert!(retained.delete("b") && !retained.delete("b"));
}
