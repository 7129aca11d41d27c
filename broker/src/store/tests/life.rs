//! A long life: garbage collection, reading back, real files.

use super::*;

#[test]
fn the_queue_stays_small_while_a_hundred_thousand_messages_pass() {
    let disks = Disks::default();
    let small = settings(64 << 10);
    let (store, ..) = disks.open_as(&small).unwrap();
    store.append(Log::State, &[session(1), session(2)]);
    // One old message that nobody takes must not hold the rest.
    store.append(Log::Queue, &[message(1, &[2], b"old")]);
    for round in 0..200_u64 {
        for i in 0..500 {
            let mid = 2 + round * 500 + i;
            store.append(Log::Queue, &[message(mid, &[1], &[7; 100])]);
            if i >= 10 {
                store.append(
                    Log::Queue,
                    &[Rec::Ack {
                        sid: 1,
                        mid: mid - 10,
                    }],
                );
            }
        }
        for i in 490..500 {
            store.append(
                Log::Queue,
                &[Rec::Ack {
                    sid: 1,
                    mid: 2 + round * 500 + i,
                }],
            );
        }
        // Written, not only queued.
        assert!(store.flush());
    }
    let body = store.read(1).unwrap().unwrap();
    assert_eq!(body.body().unwrap().payload, b"old");
    assert!(store.read(2).unwrap().is_none());
    let stats = store.stats();
    assert!(stats.queue.bytes < 1 << 20, "{stats:?}");
    assert_eq!(stats.live.queued, 1);
    drop(store);
    let (_, dump, recovered) = disks.open_as(&small).unwrap();
    assert_eq!(
        dump.keys().cloned().collect::<Vec<_>>(),
        ["msg 000001", "session 1", "session 2"]
    );
    assert!(recovered.records < 20_000, "{recovered:?}");
}

#[test]
fn a_session_that_ends_takes_its_messages_with_it() {
    let disks = Disks::default();
    let small = settings(4096);
    let (store, ..) = disks.open_as(&small).unwrap();
    store.append(Log::State, &[session(1), session(2)]);
    for mid in 1..=200 {
        store.append(Log::Queue, &[message(mid, &[1, 2], b"x")]);
    }
    assert!(store.flush());
    assert_eq!(store.stats().live.queued, 400);
    store.append(Log::State, &[Rec::SessionDel { sid: 1 }]);
    store.append(Log::Queue, &[Rec::SessionDel { sid: 1 }]);
    assert!(store.flush());
    assert_eq!(store.stats().live.queued, 200);
    let read = store.read(200).unwrap().unwrap();
    assert_eq!(read.body().unwrap().topic, "a/b");
    store.append(Log::Queue, &[Rec::SessionDel { sid: 2 }]);
    store.append(Log::State, &[Rec::SessionDel { sid: 2 }]);
    assert!(store.flush());
    assert_eq!(
        (store.stats().live, store.stats().queue.live_bytes),
        (Live::default(), 0)
    );
    drop(store);
    assert!(disks.open_as(&small).unwrap().1.is_empty());
}

#[test]
fn real_files_are_kept_locked_and_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings::new(dir.path().join("data"));
    let mut seen = Vec::new();
    let (store, _) = StoreHandle::open(&settings, &mut |_| {}, &mut |_| {}).unwrap();
    let first = store.next_sid();
    store.append(Log::State, &[session(first)]);
    store.append(Log::Queue, &[message(store.next_mid(), &[first], b"payload")]);
    assert!(store.flush());
    assert!(matches!(
        StoreHandle::open(&settings, &mut |_| {}, &mut |_| {}),
        Err(OpenError::Locked(_))
    ));
    drop(store);
    let mut last = None;
    let visit = &mut |rec: Rec<'_>| seen.push(key(&rec));
    let (store, recovered) = StoreHandle::open(&settings, visit, &mut |p| last = Some(p)).unwrap();
    assert_eq!(seen, ["session 1", "msg 000001"]);
    assert_eq!((recovered.live.sessions, recovered.live.queued), (1, 1));
    let last = last.unwrap();
    assert_eq!(last.done, last.total);
    assert_eq!((store.next_sid(), store.next_mid()), (2, 2));
}

#[test]
fn a_store_in_memory_is_done_at_once() {
    let store = StoreHandle::memory();
    let ticket = store.append(Log::Queue, &[message(store.next_mid(), &[1], b"x")]);
    assert!(store.is_done(Log::Queue, ticket) && !store.is_persistent());
    assert_eq!(
        (store.next_mid(), store.room(), store.read(1).unwrap()),
        (2, Room::Free, None)
    );
    assert!(store.flush());
}
