//! Every key that this version has is read somewhere: what nothing reads belongs into `RESERVED`, so that nobody sets
//! it in vain. Whether it does what its text says is each part's own test.

use std::path::Path;

use super::available;

/// All code below `dir` but the configuration's own, which reads every key to check it.
fn code(dir: &Path, into: &mut String) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("broker/src/config") && !path.ends_with("mock") {
                code(&path, into);
            }
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            into.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

/// Whether `word` stands in `text` after `before`, whole.
fn stands(text: &str, before: &str, word: &str) -> bool {
    let sought = format!("{before}{word}");
    text.match_indices(&sought).any(|(at, _)| {
        let next = text[at + sought.len()..].chars().next();
        next.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != '(')
    })
}

#[test]
fn every_key_is_read_somewhere() {
    let broker = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut used = String::new();
    code(&broker.join("src"), &mut used);
    // The keys of peername are read by name there.
    let mut peername = String::new();
    code(&broker.join("../peer/src/policy"), &mut peername);
    let unread: Vec<&str> = available()
        .filter(|key| {
            let field = match key.name() {
                // Names of tables, maps and fields that are called otherwise.
                "*" | "override" => return false,
                name => name,
            };
            let by_field = stands(&used, ".", field);
            let by_name = key.path.starts_with("listeners.*.") && stands(&peername, "\"", field);
            !by_field && !by_name
        })
        .map(|key| &*key.path)
        .collect();
    assert!(unread.is_empty(), "nothing reads {unread:?}");
}
