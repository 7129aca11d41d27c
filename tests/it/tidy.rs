//! What lints cannot keep: sizes of files, a sentence at the top of each, purity of rooms, the map, no machine's paths.

use std::path::{Path, PathBuf};
use std::process::Command;

const LINES_MAX: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All files of the tree, with their text: what git tracks or would track; binary ones left out.
fn files() -> Vec<(String, String)> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git");
    let names = String::from_utf8(listed.stdout).expect("names");
    let files: Vec<(String, String)> = names
        .lines()
        .filter_map(|name| Some((name.to_owned(), std::fs::read_to_string(root().join(name)).ok()?)))
        .collect();
    assert!(
        files.len() > 100,
        "run inside a clone: git lists {} files",
        files.len()
    );
    files
}

fn rust_files() -> Vec<(String, String)> {
    let mut files = files();
    files.retain(|(name, _)| Path::new(name).extension().is_some_and(|e| e == "rs"));
    files
}

#[track_caller]
fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn no_file_is_longer_than_a_sitting() {
    let long: Vec<String> = rust_files()
        .iter()
        .map(|(name, text)| (name, text.lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(name, lines)| format!("{name}: {lines} lines"))
        .collect();
    none("a room doing two jobs", &long);
}

#[test]
fn every_file_says_what_lives_in_it() {
    let silent: Vec<String> = rust_files()
        .iter()
        .filter(|(_, text)| !text.lines().any(|line| line.starts_with("//!")))
        .map(|(name, _)| name.clone())
        .collect();
    none("no //! line", &silent);
}

/// Whole crates, and the rooms of the broker that are pure.
fn is_pure(name: &str) -> bool {
    let crates = ["codec/src/", "peer/src/", "auth/src/", "broker/src/session/"];
    let files = ["broker/src/router/trie.rs", "broker/src/router/shared.rs"];
    crates.iter().any(|dir| name.starts_with(dir)) || files.contains(&name)
}

#[test]
fn pure_rooms_know_no_runtime_and_no_clock() {
    let mut impure = Vec::new();
    for (name, text) in rust_files().iter().filter(|(name, _)| is_pure(name)) {
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or(line);
            if ["tokio", "Instant::now", "SystemTime::now"]
                .iter()
                .any(|word| code.contains(word))
            {
                impure.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    none("a pure room names the runtime or reads the clock", &impure);
}

#[test]
fn every_crate_stands_on_the_map() {
    let map = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let workspace: toml::Table = std::fs::read_to_string(root().join("Cargo.toml"))
        .expect("Cargo.toml")
        .parse()
        .expect("TOML");
    let missing: Vec<String> = workspace["workspace"]["members"]
        .as_array()
        .expect("members")
        .iter()
        .filter_map(toml::Value::as_str)
        .filter(|member| !map.contains(&format!("| `{member}` |")))
        .map(str::to_owned)
        .collect();
    none("not in the table of ARCHITECTURE.md", &missing);
}

/// Neither where this clone lies nor the home of who runs the test stands in a file.
#[test]
fn no_path_of_somebodys_machine() {
    let clone = root().canonicalize().expect("a path");
    let mut paths = vec!["/Users/".to_owned()];
    // A clone in /src, as in an image, is told apart from nothing.
    paths.extend((clone.components().count() > 2).then(|| clone.display().to_string()));
    paths.extend(
        std::env::var("HOME")
            .ok()
            .filter(|home| home.len() > 1)
            .map(|home| home + "/."),
    );
    let mut found = Vec::new();
    for (name, text) in files().iter().filter(|(name, _)| name != "tests/it/tidy.rs") {
        for (number, line) in text.lines().enumerate() {
            if paths.iter().any(|path| line.contains(path)) {
                found.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    none("a path of one machine", &found);
}

#[test]
fn no_test_is_switched_off_and_nothing_is_left_open() {
    let words = [
        concat!("#[ign", "ore"),
        concat!("to", "do!("),
        concat!("unimpl", "emented!("),
    ];
    let mut found = Vec::new();
    for (name, text) in rust_files() {
        for (number, line) in text.lines().enumerate() {
            if words.iter().any(|word| line.contains(word)) {
                found.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    none("unfinished or switched off", &found);
}
