//! Replays the committed fuzz corpus.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the corpus is files; a test may fail on them"
)]

#[path = "../fuzz/checks.rs"]
mod checks;

use std::path::Path;

#[track_caller]
fn replay(target: &str, check: fn(&[u8]), at_least: usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut replayed = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        check(&std::fs::read(entry.unwrap().path()).unwrap());
        replayed += 1;
    }
    assert!(replayed >= at_least, "{target}: {replayed}");
}

#[test]
fn proxy_v1() {
    replay("proxy_v1", checks::proxy_v1, 20);
}

#[test]
fn proxy_v2() {
    replay("proxy_v2", checks::proxy_v2, 20);
}

#[test]
fn forwarded() {
    replay("forwarded", checks::forwarded, 10);
}

#[test]
fn resolve() {
    replay("resolve", checks::resolve, 20);
}
