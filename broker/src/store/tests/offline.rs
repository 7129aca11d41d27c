//! Check, stat and repair of a directory.

use std::path::{Path, PathBuf};

use super::super::offline::{inspect, repair};
use super::*;

/// A directory with several small segments of 30 messages, and the paths of the Queue's.
fn filled(dir: &Path) -> (Settings, Vec<PathBuf>) {
    let settings = Settings {
        segment_bytes: 2000,
        ..Settings::new(dir.to_owned())
    };
    let (store, _) = StoreHandle::open(&settings, &mut |_| {}, &mut |_| {}).unwrap();
    store.append(Log::State, &[session(1)]);
    for mid in 1..=30 {
        store.append(Log::Queue, &[message(mid, &[1], &[b'p'; 300])]);
        assert!(store.flush());
    }
    drop(store);
    let mut paths: Vec<_> = std::fs::read_dir(dir.join("queue"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    paths.sort();
    assert!(paths.len() > 3);
    (settings, paths)
}

fn messages(settings: &Settings) -> Result<Vec<u64>, OpenError> {
    let mut mids = Vec::new();
    let visit = &mut |rec: Rec<'_>| {
        if let Rec::MsgEnq { mid, .. } = rec {
            mids.push(mid);
        }
    };
    StoreHandle::open(settings, visit, &mut |_| {})?;
    Ok(mids)
}

#[test]
fn a_sound_directory_is_called_so() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(
        inspect(&dir.path().join("none"), &mut |_| {}),
        Err(OpenError::Io(..))
    ));
    let (settings, _) = filled(dir.path());
    let mut last = None;
    let report = inspect(dir.path(), &mut |p| last = Some(p)).unwrap();
    assert!(
        report.logs.iter().all(|l| l.problems.is_empty() && l.torn == 0),
        "{report:?}"
    );
    assert_eq!((report.live.sessions, report.live.queued), (1, 30));
    assert_eq!(last.map(|p| (p.done == p.total, p.records)), Some((true, 31)));
    assert!(repair(dir.path(), &mut |_| {}).unwrap().is_empty());
    let (store, _) = StoreHandle::open(&settings, &mut |_| {}, &mut |_| {}).unwrap();
    assert!(matches!(
        inspect(dir.path(), &mut |_| {}),
        Err(OpenError::Locked(_))
    ));
    drop(store);
}

#[test]
fn a_torn_end_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let (_, paths) = filled(dir.path());
    let last = paths.last().unwrap();
    let whole = std::fs::read(last).unwrap();
    std::fs::write(last, &whole[..whole.len() - 5]).unwrap();
    let report = inspect(dir.path(), &mut |_| {}).unwrap();
    assert!(
        report.logs[1].problems.is_empty() && report.logs[1].torn > 0,
        "{report:?}"
    );
}

#[test]
fn repair_saves_what_is_whole_and_says_what_went() {
    for damage in ["byte", "length", "magic", "file"] {
        let dir = tempfile::tempdir().unwrap();
        let (settings, paths) = filled(dir.path());
        let mut bytes = std::fs::read(&paths[1]).unwrap();
        // The second frame of the second segment: behind the head and one frame.
        let second = 16 + super::super::frame::read(&bytes[16..]).unwrap().len;
        match damage {
            "byte" => bytes[second + 100] ^= 1,
            "length" => bytes[second + 5] ^= 0x40,
            "magic" => bytes[second] ^= 1,
            _ => {}
        }
        if damage == "file" {
            std::fs::remove_file(&paths[1]).unwrap();
        } else {
            std::fs::write(&paths[1], &bytes).unwrap();
        }
        let report = inspect(dir.path(), &mut |_| {}).unwrap();
        assert!(!report.logs[1].problems.is_empty(), "{damage}");
        assert!(messages(&settings).is_err(), "{damage}");
        let done = repair(dir.path(), &mut |_| {}).unwrap();
        assert_eq!(done.len(), 1, "{damage} {done:?}");
        assert!(done[0].kept.exists());
        let mids = messages(&settings).unwrap_or_else(|e| panic!("{damage}: {e}"));
        if damage == "file" {
            assert_eq!(mids.len() as u64, 30 - done[0].lost_frames);
        } else {
            assert_eq!((mids.len(), done[0].lost_frames), (29, 1), "{damage} {mids:?}");
            assert!(done[0].lost_bytes > 300);
        }
        let report = inspect(dir.path(), &mut |_| {}).unwrap();
        assert!(
            report.logs.iter().all(|l| l.problems.is_empty()),
            "{damage} {report:?}"
        );
    }
}
