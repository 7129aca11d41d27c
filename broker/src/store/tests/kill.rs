//! A process that is killed: everything it was told is safe is there afterwards, nothing it deleted is.
//!
//! The child is this test binary again, with one test and an environment variable.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use super::*;

const CHILD: &str = "STORE_KILL_CHILD";

/// Not a test of its own: what the child does, until it is killed. It prints `+ N` once message N is safe
/// and `- N` once its removal is.
#[test]
fn child_that_is_killed() {
    let Some(dir) = std::env::var_os(CHILD) else {
        return;
    };
    let settings = Settings {
        segment_bytes: 64 << 10,
        ..Settings::new(dir.into())
    };
    let mut there = BTreeSet::new();
    let visit = &mut |rec: Rec<'_>| {
        if let Rec::MsgEnq { mid, .. } = rec {
            there.insert(mid);
        }
    };
    let (store, _) = StoreHandle::open(&settings, visit, &mut |_| {}).unwrap();
    store.append(Log::State, &[session(1)]);
    let mut out = std::io::stdout().lock();
    // What stood in the log when it was killed may have been safe without having been told.
    tell(&mut out, '+', &there.iter().copied().collect::<Vec<_>>());
    loop {
        let fresh: Vec<u64> = (0..50).map(|_| store.next_mid()).collect();
        for mid in &fresh {
            store.append(Log::Queue, &[message(*mid, &[1], &[7; 200])]);
            there.insert(*mid);
        }
        assert!(store.flush());
        tell(&mut out, '+', &fresh);
        // Two in three are taken at once, so that garbage collection has work.
        let mut gone: Vec<u64> = there.iter().copied().filter(|mid| mid % 3 > 0).collect();
        gone.extend(there.first().filter(|_| there.len() > 500));
        for mid in &gone {
            store.append(Log::Queue, &[Rec::Ack { sid: 1, mid: *mid }]);
            there.remove(mid);
        }
        assert!(store.flush());
        tell(&mut out, '-', &gone);
    }
}

fn tell(out: &mut impl std::io::Write, what: char, mids: &[u64]) {
    let lines: String = mids
        .iter()
        .flat_map(|mid| [what.to_string(), format!(" {mid}\n")])
        .collect();
    out.write_all(lines.as_bytes()).unwrap();
}

/// Runs the child until it has printed about `lines` lines; what it said is safe, and what is gone.
fn round(dir: &Path, lines: usize) -> (BTreeSet<u64>, BTreeSet<u64>) {
    let me = std::env::current_exe().unwrap();
    let mut child = Command::new(me)
        .args([
            "--exact",
            "store::tests::kill::child_that_is_killed",
            "--nocapture",
        ])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut there, mut gone) = (BTreeSet::new(), BTreeSet::new());
    let mut told = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        match line.split_once(' ').map(|(what, mid)| (what, mid.parse())) {
            Some(("+", Ok(mid))) => _ = there.insert(mid),
            Some(("-", Ok(mid))) => {
                there.remove(&mid);
                gone.insert(mid);
            }
            // The test runner's own words.
            _ => continue,
        }
        told += 1;
        if told == lines {
            child.kill().unwrap();
            // What is still in the pipe was told before it died: read on to the end.
        }
    }
    child.wait().unwrap();
    (there, gone)
}

#[test]
fn killed_again_and_again_nothing_that_was_safe_is_lost() {
    let rounds = std::env::var("STORE_KILLS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(10);
    let dir = tempfile::tempdir().unwrap();
    let mut rng = Rng::new(7);
    let mut ever_gone = BTreeSet::new();
    for round_no in 0..rounds {
        let (there, gone) = round(dir.path(), 200 + rng.below(2000));
        ever_gone.extend(gone);
        let mut found = BTreeSet::new();
        let visit = &mut |rec: Rec<'_>| {
            if let Rec::MsgEnq { mid, .. } = rec {
                found.insert(mid);
            }
        };
        let (store, recovered) =
            StoreHandle::open(&Settings::new(dir.path().to_owned()), visit, &mut |_| {}).unwrap();
        drop(store);
        assert!(
            recovered.cut_off.iter().all(|c| c.frames.is_empty()),
            "{recovered:?}"
        );
        let lost: Vec<_> = there.difference(&found).collect();
        let back: Vec<_> = found.intersection(&ever_gone).collect();
        assert!(back.is_empty(), "round {round_no}: came back: {back:?}");
        // A removal may have become safe without having been told: those the child was removing.
        let unexplained: Vec<_> = lost
            .iter()
            .filter(|mid| ***mid % 3 == 0 && there.first() != Some(**mid))
            .collect();
        assert!(unexplained.is_empty(), "round {round_no}: lost {unexplained:?}");
    }
    assert!(!ever_gone.is_empty());
}
