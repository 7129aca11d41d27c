//! The hash chain: it holds over restarts and rotation, and any change breaks it at its line.

use std::path::PathBuf;

use super::super::verify::{Broken, verify};
use super::*;

fn chained(path: &Path) -> Settings {
    Settings {
        hash_chain: true,
        ..settings(path)
    }
}

fn write(path: &Path) -> ChainHead {
    let log = AuditLog::open(chained(path)).unwrap();
    for event in samples() {
        log.record(event);
    }
    log.flush();
    log.head().unwrap()
}

#[test]
fn it_holds_over_restarts_and_rotated_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let first = write(&path);
    let second = write(&path);
    let ok = verify(std::slice::from_ref(&path), None).unwrap();
    assert_eq!(
        (ok[0].head.as_str(), ok[0].seq.1),
        (second.hash.as_str(), second.seq)
    );
    assert!(verify(std::slice::from_ref(&path), Some(&first.hash)).is_ok());
    let elsewhere = "f".repeat(64);
    assert!(matches!(
        verify(std::slice::from_ref(&path), Some(&elsewhere)),
        Err(Broken::HeadMissing(_))
    ));
    let log = AuditLog::open(Settings {
        rotate_size: Some(4096),
        ..chained(&path)
    })
    .unwrap();
    for _ in 0..3 {
        for _ in 0..20 {
            log.record(authn_fail());
        }
        log.flush();
    }
    drop(log);
    let files: Vec<PathBuf> = ["audit.log.3.gz", "audit.log.2.gz", "audit.log.1.gz", "audit.log"]
        .iter()
        .map(|f| dir.path().join(f))
        .filter(|f| f.exists())
        .collect();
    assert!(files.len() >= 3, "{files:?}");
    assert_eq!(verify(&files, None).unwrap().len(), files.len());
    for (i, file) in files.iter().enumerate().skip(1) {
        let by_itself = verify(std::slice::from_ref(file), None).unwrap();
        assert!(by_itself[0].records > 0, "{i}");
    }
    // A file left out is seen.
    let without = [files[0].clone(), files[2].clone()];
    assert!(matches!(verify(&without, None), Err(Broken::Line(_, 1, _))));
}

#[test]
fn any_change_is_named_by_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    write(&path);
    let lines = read(&path);
    let broken_at = |lines: &[String]| {
        let file = dir.path().join("changed");
        std::fs::write(&file, lines.join("\n") + "\n").unwrap();
        match verify(&[file], None) {
            Err(Broken::Line(_, n, _)) => Some(n),
            Ok(_) => None,
            Err(e) => panic!("{e}"),
        }
    };
    assert_eq!(broken_at(&lines), None);
    for i in 0..lines.len() {
        let mut changed = lines.clone();
        changed[i] = lines[i].replacen("\"node\":\"broker-1\"", "\"node\":\"broker-2\"", 1);
        assert_ne!(changed[i], lines[i]);
        assert_eq!(broken_at(&changed), Some(i as u64 + 1), "changed {i}");
        let mut unhashed = lines.clone();
        let at = unhashed[i].rfind(",\"hash\"").unwrap();
        unhashed[i].replace_range(at.., "}");
        if i > 0 {
            assert_eq!(broken_at(&unhashed), Some(i as u64 + 1), "hash of {i} removed");
        }
        if i + 1 < lines.len() {
            let mut removed = lines.clone();
            removed.remove(i);
            assert_eq!(broken_at(&removed), Some(i as u64 + 1), "removed {i}");
            let mut swapped = lines.clone();
            swapped.swap(i, i + 1);
            assert!(broken_at(&swapped).is_some(), "swapped {i}");
        }
    }
    let plain = dir.path().join("plain.log");
    AuditLog::open(settings(&plain)).unwrap().record(Event::Stop);
    assert!(matches!(verify(&[plain], None), Err(Broken::NoChain(_))));
}

#[test]
fn a_shell_can_check_a_link() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    write(&path);
    let script = r#"
        head=$(sed -n '1s/.*"hash":"\([0-9a-f]*\)"}$/\1/p' "$1")
        line=$(sed -n '2s/,"hash":"[0-9a-f]*"}$/}/p' "$1")
        printf '%s%s' "$head" "$line" | sha256sum | cut -c1-64
    "#;
    let out = std::process::Command::new("sh")
        .args(["-c", script, "sh", path.to_str().unwrap()])
        .output()
        .unwrap();
    let hash = String::from_utf8(out.stdout).unwrap();
    assert!(read(&path)[1].contains(hash.trim()), "{hash}");
}
