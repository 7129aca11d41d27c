//! A disk that fails, is full, or is slow.

use std::sync::mpsc::channel;
use std::time::Duration;

use super::*;

const LONG: Duration = Duration::from_secs(20);

/// Completions as they come.
fn completions(store: &StoreHandle) -> std::sync::mpsc::Receiver<(Log, Completion)> {
    let (tell, told) = channel();
    store.on_complete(Arc::new(move |log, what| _ = tell.send((log, what))));
    told
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged_any_more() {
    let disks = Disks::default();
    let (store, ..) = disks.open();
    let told = completions(&store);
    let good = store.append(Log::Queue, &[message(1, &[1], b"x")]);
    assert_eq!(told.recv_timeout(LONG), Ok((Log::Queue, Completion::Done(good))));
    disks.queue.fail_syncs();
    let lost = store.append(Log::Queue, &[message(2, &[1], b"x")]);
    assert_eq!(told.recv_timeout(LONG), Ok((Log::Queue, Completion::Failed)));
    let later = store.append(Log::Queue, &[message(3, &[1], b"x")]);
    assert!(!store.is_done(Log::Queue, lost) && !store.is_done(Log::Queue, later));
    assert!(store.is_done(Log::Queue, good));
    assert_eq!(store.room(), Room::Full);
    assert!(!store.flush());
    assert!(store.stats().failed);
}

#[test]
fn a_full_disk_is_waited_out_and_nothing_is_lost() {
    let disks = Disks::default();
    let (store, ..) = disks.open();
    store.append(Log::State, &[session(1)]);
    assert!(store.flush());
    let told = completions(&store);
    disks.queue.set_room(Some(50));
    let waiting = store.append(Log::Queue, &[message(1, &[1], &[7; 100])]);
    while store.room() != Room::Full {
        std::thread::yield_now();
    }
    assert!(!store.is_done(Log::Queue, waiting));
    // The other log and deletions are still served.
    let other = store.append(Log::State, &[Rec::RetainDel { topic: "t" }]);
    assert_eq!(told.recv_timeout(LONG), Ok((Log::State, Completion::Done(other))));
    let ack = store.append(Log::Queue, &[message(2, &[1], b"y"), Rec::Ack { sid: 1, mid: 1 }]);
    disks.queue.set_room(None);
    let mut done = Ticket::DONE;
    while done < ack {
        let (Log::Queue, Completion::Done(t)) = told.recv_timeout(LONG).unwrap() else {
            panic!()
        };
        done = t;
    }
    assert_eq!(store.room(), Room::Free);
    drop(store);
    let (_, dump, recovered) = disks.open();
    assert_eq!(
        dump.keys().filter(|k| k.starts_with("msg")).collect::<Vec<_>>(),
        ["msg 000002"]
    );
    assert!(recovered.cut_off.is_empty(), "{recovered:?}");
}

#[test]
fn one_sync_serves_many_appends() {
    let disks = Disks::default();
    let (store, ..) = disks.open();
    let told = completions(&store);
    // The head of the first segment is synced too; what is counted begins after it.
    store.append(Log::Queue, &[message(1, &[1], b"x")]);
    told.recv_timeout(LONG).unwrap();
    let before = disks.queue.syncs();
    disks.queue.hold();
    store.append(Log::Queue, &[message(2, &[1], b"x")]);
    disks.queue.wait_held();
    let mut last = Ticket::DONE;
    for mid in 3..1003 {
        last = store.append(Log::Queue, &[message(mid, &[1], b"x")]);
    }
    disks.queue.release();
    while !store.is_done(Log::Queue, last) {
        told.recv_timeout(LONG).unwrap();
    }
    assert_eq!(disks.queue.syncs() - before, 2);
    assert_eq!(store.stats().queue.appends, 1002);
}

#[test]
fn what_was_acknowledged_before_it_was_written_is_not_written() {
    let disks = Disks::default();
    let (store, ..) = disks.open();
    store.append(Log::State, &[session(1), session(2)]);
    store.append(Log::Queue, &[message(1, &[1], b"x")]);
    assert!(store.flush());
    disks.queue.hold();
    store.append(Log::Queue, &[message(2, &[1], b"x")]);
    disks.queue.wait_held();
    let before = disks.queue.written();
    for mid in 10..20 {
        store.append(Log::Queue, &[message(mid, &[1, 2], &[7; 1000])]);
        store.append(
            Log::Queue,
            &[Rec::Out {
                sid: 1,
                mid,
                pid: 5,
                released: false,
            }],
        );
        store.append(Log::Queue, &[Rec::Ack { sid: 1, mid }]);
        store.append(Log::Queue, &[Rec::Ack { sid: 2, mid }]);
    }
    // Acknowledged by one of two: this one is needed.
    store.append(Log::Queue, &[message(30, &[1, 2], b"half")]);
    let last = store.append(Log::Queue, &[Rec::Ack { sid: 1, mid: 30 }]);
    disks.queue.release();
    assert!(store.flush());
    assert!(store.is_done(Log::Queue, last));
    let written = disks.queue.written() - before;
    assert!(written < 100, "{written}");
    drop(store);
    let (_, dump, _) = disks.open();
    assert_eq!(
        dump.keys().filter(|k| k.starts_with("msg")).collect::<Vec<_>>(),
        ["msg 000001", "msg 000002", "msg 000030"]
    );
}

#[test]
fn a_disk_that_cannot_keep_up_is_told_and_limits_hold() {
    let disks = Disks::default();
    let limited = Settings {
        max_bytes: 64 << 20,
        ..settings(64 << 20)
    };
    let (store, ..) = disks.open_as(&limited).unwrap();
    store.append(Log::Queue, &[message(1, &[1], b"x")]);
    assert!(store.flush());
    disks.queue.hold();
    store.append(Log::Queue, &[message(2, &[1], b"x")]);
    disks.queue.wait_held();
    assert_eq!(store.room(), Room::Free);
    let big: &'static [u8] = Vec::leak(vec![7; 9 << 20]);
    store.append(Log::Queue, &[message(3, &[1], big)]);
    assert_eq!(store.room(), Room::Slow);
    for mid in 4..12 {
        store.append(Log::Queue, &[message(mid, &[1], big)]);
    }
    assert_eq!(store.room(), Room::Full);
    disks.queue.release();
    assert!(store.flush());
    assert_eq!(store.room(), Room::Full);
}

#[test]
fn async_answers_at_once_and_loses_only_what_was_not_synced() {
    let disks = Disks::default();
    let lazy = Settings {
        durability: Durability::Async,
        fsync_interval: Duration::from_secs(3600),
        ..settings(1 << 20)
    };
    let (store, ..) = disks.open_as(&lazy).unwrap();
    assert_eq!(store.append(Log::State, &[session(1)]), Ticket::DONE);
    store.append(Log::Queue, &[message(1, &[1], b"x")]);
    assert!(store.flush());
    store.append(Log::Queue, &[message(2, &[1], b"x")]);
    let lost = disks.after_power_loss(None);
    assert_eq!(lost.open().1.len(), 2);
    // A clean stop loses nothing.
    drop(store);
    assert_eq!(disks.open().1.len(), 3);
    let soon = Settings {
        fsync_interval: Duration::from_millis(1),
        ..lazy
    };
    let (store, ..) = disks.open_as(&soon).unwrap();
    let before = disks.queue.syncs();
    store.append(Log::Queue, &[message(3, &[1], b"x")]);
    while disks.queue.syncs() == before {
        std::thread::yield_now();
    }
}
