//! The way out: full disks, torn writes, rotation, reopening, starting again.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Mutex;
use std::sync::mpsc::sync_channel;

use super::super::chain::ROOT;
use super::super::file::{Appender, RawFile};
use super::queue::{TestSink, lines};
use super::*;

#[test]
fn a_full_disk_loses_counted_records_and_the_gap_is_the_first_afterwards() {
    let out = Arc::new(Mutex::new(Vec::new()));
    let (permit, permits) = sync_channel(100);
    let sink = TestSink {
        out: Arc::clone(&out),
        permits: Some(permits),
        begun: None,
    };
    let chained = Settings {
        hash_chain: true,
        ..Settings::new(None, "n")
    };
    permit.send(true).unwrap();
    let log = AuditLog::start(chained, Some(Box::new(sink))).unwrap();
    log.flush();
    permit.send(true).unwrap();
    log.record(authn_fail());
    log.flush();
    for _ in 0..3 {
        permit.send(false).unwrap();
        log.record(authn_fail());
        log.flush();
    }
    assert_eq!(log.stats().dropped, 3);
    assert!(log.stats().failing);
    // From here on the disk has room; the writer may have retried on its own meanwhile.
    drop(permit);
    log.record(Event::Stop);
    log.flush();
    assert!(!log.stats().failing);
    let got = lines(&out);
    assert_eq!(
        names(&got),
        ["audit_checkpoint", "authn_fail", "audit_gap", "stop"]
    );
    let gap = json(&got[2]);
    assert_eq!((&gap["dropped"], &gap["from_seq"]), (&3.into(), &3.into()));
    // The chain holds over the gap.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.log");
    std::fs::write(&path, &*out.lock().unwrap()).unwrap();
    let verified = super::super::verify::verify(&[path], None).unwrap();
    assert_eq!(verified[0].records, 4);
    assert_eq!(log.head().unwrap().hash, verified[0].head);
    assert_eq!(json(&got[0])["head"], ROOT);
}

/// Takes `room` bytes, then fails in the middle of a write.
struct Small {
    bytes: Vec<u8>,
    room: usize,
    cut_fails: bool,
}

impl RawFile for Small {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let n = bytes.len().min(self.room - self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..n]);
        if n < bytes.len() {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            Ok(())
        }
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        if self.cut_fails {
            return Err(io::ErrorKind::Other.into());
        }
        self.bytes.truncate(len as usize);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_torn_write_leaves_whole_lines_only() {
    for cut_fails in [false, true] {
        let mut a = Appender::new(
            Small {
                bytes: Vec::new(),
                room: 10,
                cut_fails,
            },
            0,
        );
        a.append(b"12345\n").unwrap();
        assert!(a.append(b"67890\n").is_err());
        a.file.room = 100;
        a.file.cut_fails = false;
        a.append(b"after\n").unwrap();
        assert_eq!(a.file.bytes, b"12345\nafter\n");
    }
}

#[test]
fn files_are_rotated_compressed_and_counted_off() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let small = Settings {
        rotate_size: Some(4096),
        rotate_keep: 2,
        ..settings(&path)
    };
    let log = AuditLog::open(small).unwrap();
    // Each round is over the size, so the next one begins a new file.
    for _ in 0..6 {
        for _ in 0..20 {
            log.record(authn_fail());
        }
        log.flush();
    }
    drop(log);
    let mut files: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert_eq!(files, ["audit.log", "audit.log.1.gz", "audit.log.2.gz"]);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    let mut text = String::new();
    let packed = std::fs::File::open(dir.path().join("audit.log.2.gz")).unwrap();
    io::Read::read_to_string(&mut flate2::read::GzDecoder::new(packed), &mut text).unwrap();
    let newest = read(&path);
    let first = |l: &str| json(l)["seq"].as_u64().unwrap();
    assert_eq!(
        (first(text.lines().next().unwrap()), first(&newest[0])),
        (61, 101)
    );
}

#[test]
fn a_second_writer_is_refused_and_a_bad_path_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let _log = AuditLog::open(settings(&path)).unwrap();
    assert!(matches!(
        AuditLog::open(settings(&path)),
        Err(OpenError::Locked(_))
    ));
    let e = AuditLog::open(settings(&path.join("x"))).unwrap_err();
    assert!(
        e.to_string().starts_with("audit log ") && e.to_string().contains("audit.log/x"),
        "{e}"
    );
}

#[test]
fn numbers_go_on_after_a_restart_and_a_torn_line_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let log = AuditLog::open(settings(&path)).unwrap();
    log.record(Event::Start("1"));
    log.record(Event::Stop);
    drop(log);
    let whole = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{whole}{{\"ts\":\"2026-")).unwrap();
    let log = AuditLog::open(settings(&path)).unwrap();
    log.record(Event::Start("2"));
    drop(log);
    let got = read(&path);
    assert_eq!(names(&got), ["start", "stop", "start"]);
    assert_eq!(json(&got[2])["seq"], 3);
}

#[test]
fn reopen_follows_a_rename_by_another_tool() {
    let dir = tempfile::tempdir().unwrap();
    let (path, moved) = (dir.path().join("audit.log"), dir.path().join("moved"));
    let log = AuditLog::open(settings(&path)).unwrap();
    log.record(Event::Start("1"));
    log.flush();
    log.reopen();
    log.record(Event::Start("2"));
    log.flush();
    assert_eq!(read(&path).len(), 2, "the same file");
    std::fs::rename(&path, &moved).unwrap();
    log.reopen();
    log.record(Event::Stop);
    log.flush();
    assert_eq!(
        (names(&read(&moved)), names(&read(&path))),
        (vec!["start".into(); 2], vec!["stop".into()])
    );
    let other = dir.path().join("other.log");
    log.reconfigure(settings(&other)).unwrap();
    log.record(Event::Stop);
    log.flush();
    assert_eq!(read(&other).len(), 1);
    assert!(log.reconfigure(settings(&moved.join("x"))).is_err());
}
