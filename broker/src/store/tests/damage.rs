//! Bytes that changed on the disk: torn ends, flipped bits, lost segments.

use super::*;

const LAST: &str = "0000000001.log";

/// A store with one frame for each of 12 messages; the disks as they are afterwards.
fn filled() -> Disks {
    let disks = Disks::default();
    let (store, ..) = disks.open();
    store.append(Log::State, &[session(1)]);
    for mid in 1..=12 {
        store.append(Log::Queue, &[message(mid, &[1], &[b'p'; 300])]);
        assert!(store.flush());
    }
    drop(store);
    disks
}

/// How many of the messages come back; they must be the first ones.
fn prefix(dump: &Dump) -> usize {
    let messages: Vec<_> = dump.keys().filter(|k| k.starts_with("msg")).cloned().collect();
    let expected: Vec<_> = (1..=messages.len()).map(|mid| format!("msg {mid:06}")).collect();
    assert_eq!(messages, expected);
    messages.len()
}

#[test]
fn every_truncation_of_the_last_segment_gives_a_prefix() {
    let disks = filled();
    let whole = disks.queue.content(LAST);
    let mut counts = Vec::new();
    for len in 0..=whole.len() {
        disks.queue.set_content(LAST, &whole[..len]);
        let (store, dump, recovered) = disks.open();
        counts.push(prefix(&dump));
        let cut = recovered.cut_off.iter().map(|c| c.bytes).sum::<u64>() as usize;
        assert!(
            recovered.cut_off.iter().all(|c| c.frames.is_empty()),
            "{recovered:?}"
        );
        if cut > 0 {
            assert_eq!(
                disks.queue.content("0000000001.log.bad"),
                whole[len - cut..len],
                "{len}"
            );
        }
        // It goes on from there.
        store.append(Log::Queue, &[message(100, &[1], b"after")]);
        drop(store);
        let (_, dump, recovered) = disks.open();
        assert!(
            dump.contains_key("msg 000100") && recovered.cut_off.is_empty(),
            "{len} {recovered:?}"
        );
        // With less than its head nothing is left of the file; begin again with a fresh one.
        for name in disks.queue.list().unwrap() {
            disks.queue.remove(&name).unwrap();
        }
    }
    assert!(counts.is_sorted());
    assert_eq!(counts.last(), Some(&12));
}

#[test]
fn every_flipped_byte_of_the_last_segment_gives_a_prefix() {
    let disks = filled();
    let whole = disks.queue.content(LAST);
    for at in 0..whole.len() {
        let mut bad = whole.clone();
        bad[at] ^= 1 << (at % 8);
        disks.queue.set_content(LAST, &bad);
        match disks.open_as(&settings(64 << 20)) {
            Ok((store, dump, recovered)) => {
                let n = prefix(&dump);
                // What was lost is told, with the whole frames behind it.
                let told: usize = recovered.cut_off.iter().map(|c| c.frames.len()).sum();
                assert!(n == 12 || n + 1 + told == 12, "{at}: {n} {recovered:?}");
                drop(store);
            }
            Err(OpenError::Version(..)) => assert_eq!(at, 7),
            Err(e) => panic!("{at}: {e}"),
        }
        for name in disks.queue.list().unwrap() {
            disks.queue.remove(&name).unwrap();
        }
    }
}

#[test]
fn damage_in_an_earlier_segment_is_an_error() {
    let disks = Disks::default();
    let small = settings(1000);
    let (store, ..) = disks.open_as(&small).unwrap();
    store.append(Log::State, &[session(1)]);
    for mid in 1..=20 {
        store.append(Log::Queue, &[message(mid, &[1], &[b'p'; 300])]);
        assert!(store.flush());
    }
    drop(store);
    let names = disks.queue.list().unwrap();
    assert!(names.len() > 3, "{names:?}");
    let good = disks.queue.content(&names[1]);
    let mut bad = good.clone();
    bad[40] ^= 1;
    disks.queue.set_content(&names[1], &bad);
    let e = disks.open_as(&small).map(|_| ()).unwrap_err();
    assert!(
        matches!(e, OpenError::Damaged(Log::Queue, 2, 16, "wrong checksum")),
        "{e} {names:?}"
    );
    disks.queue.set_content(&names[1], &good[..good.len() - 1]);
    assert!(matches!(
        disks.open_as(&small),
        Err(OpenError::Damaged(Log::Queue, 2, _, "cut off"))
    ));
    // A whole frame that vanished is seen by its number.
    disks.queue.set_content(&names[1], &good[..16]);
    assert!(matches!(
        disks.open_as(&small),
        Err(OpenError::Damaged(Log::Queue, 3, 16, _))
    ));
    disks.queue.remove(&names[1]).unwrap();
    assert!(matches!(
        disks.open_as(&small),
        Err(OpenError::Damaged(Log::Queue, 3, 16, _))
    ));
    disks.queue.set_content(&names[1], &good);
    assert_eq!(prefix(&disks.open_as(&small).unwrap().1), 20);
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_reading_panic(bytes: Vec<u8>) {
        let _ = super::super::record::decode(&bytes);
        let _ = super::super::frame::read(&bytes);
    }
}

/// One of each, small and large.
fn every_record() -> Vec<Rec<'static>> {
    let will = WillRec {
        topic: "w",
        properties: b"p",
        payload: b"x",
        qos: 2,
        retain: true,
        delay: 5,
        expiry: None,
        due_at: 77,
    };
    let s = SessionRec {
        sid: u64::MAX,
        client_id: "dev-7",
        username: Some(""),
        peername: "[2001:db8::7]:5",
        expiry: u32::MAX,
        clean_start: true,
        version: 5,
        created_at: 1,
        connected_at: 2,
        disconnected_at: 3,
    };
    let big: &'static [u8] = Vec::leak(vec![7; 3 << 20]);
    let mut published = message(7, &[1, u64::MAX], big);
    if let Rec::MsgEnq { targets, .. } = &mut published {
        targets[0].stage = Stage::Published(65_535);
        targets[1].stage = Stage::Released(1);
        targets[1].identifiers = (1..40).collect();
    }
    let body = Body {
        topic: "t",
        properties: b"",
        payload: b"",
        qos: 0,
        retain: true,
        expires_at: 0,
    };
    vec![
        Rec::SessionPut(s),
        Rec::SessionPut(SessionRec { username: None, ..s }),
        Rec::SessionDel { sid: 300 },
        Rec::SubPut {
            sid: 3,
            filter: "$share/g/a/#",
            options: 0x2e,
            identifier: 268_435_455,
        },
        Rec::SubDel { sid: 3, filter: "a" },
        Rec::WillPut { sid: 3, will },
        Rec::WillDel { sid: 3 },
        Rec::RetainPut(body),
        Rec::RetainDel { topic: "t" },
        Rec::BanPut {
            key: "203.0.113.0/24",
            value: b"{}",
        },
        Rec::BanDel { key: "client:x" },
        message(1, &[5], b""),
        published,
        Rec::Ack { sid: 1, mid: 2 },
        Rec::Out {
            sid: 1,
            mid: 2,
            pid: 9,
            released: true,
        },
        Rec::In2 { sid: 1, pid: 65_535 },
        Rec::In2Del { sid: 1, pid: 0 },
    ]
}

#[test]
fn records_read_back_as_written() {
    let all = every_record();
    let mut out = Vec::new();
    for rec in &all {
        super::super::record::encode(&mut out, rec);
    }
    let mut fields = super::super::record::Fields(&out);
    for rec in &all {
        let bytes = fields.record().unwrap();
        assert_eq!(super::super::record::decode(bytes).as_ref(), Some(rec));
    }
    assert!(fields.0.is_empty());
}
