//! `docs/operations.md` and the anchors that findings point to: every code that is printed has its place, every
//! configuration shown is right, every command exists.

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The blocks of a language.
fn blocks(document: &str, language: &str) -> Vec<String> {
    let fence = format!("\n```{language}\n");
    let begins = document.split(&fence).skip(1);
    begins
        .map(|rest| rest.split("```").next().unwrap_or(rest).to_owned())
        .collect()
}

/// All code below a directory.
fn sources(dir: &Path, into: &mut String) {
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            into.push_str(&std::fs::read_to_string(&path).expect("text"));
        }
    }
}

fn broker(args: &[&str]) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_broker"));
    command.args(args).output().expect("the broker")
}

#[track_caller]
fn has_anchor(document: &str, name: &str, code: &str) {
    let anchor = format!("<a id=\"{}\"></a>{code}", code.to_lowercase());
    assert!(document.contains(&anchor), "{name} has no {anchor}");
}

#[test]
fn every_code_has_its_anchor() {
    let mut code = String::new();
    for dir in ["broker/src", "auth/src"] {
        sources(&root().join(dir), &mut code);
    }
    let groups = "CFG[0-9]{3}|TLS[0-9]{3}|BAN[0-9]{3}|QUO[0-9]{3}|AUD[0-9]{3}|A[12][0-9]{2}";
    let quoted = regex::Regex::new(&format!("\"({groups})\"")).expect("a pattern");
    let operations = text("docs/operations.md");
    let mut seen = 0;
    for found in quoted.captures_iter(&code) {
        has_anchor(&operations, "docs/operations.md", &found[1]);
        seen += 1;
    }
    assert!(seen > 40, "only {seen} codes were found in the sources");
    let peername = text("docs/peername.md");
    for number in 1..=21 {
        has_anchor(&peername, "docs/peername.md", &format!("D{number:02}"));
    }
}

#[test]
fn every_configuration_is_right() {
    let configurations = blocks(&text("docs/operations.md"), "toml");
    assert!(configurations.len() >= 5);
    for shown in configurations {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("broker.toml");
        // What is not shown must not depend on this machine's /etc.
        std::fs::write(&file, &shown).expect("a file");
        let output = broker(&["config", "check", "--config", file.to_str().expect("text")]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{shown}\n{errors}");
    }
}

#[test]
fn every_command_exists() {
    let mut tried = 0;
    for block in blocks(&text("docs/operations.md"), "sh") {
        for line in block.lines().filter(|line| line.starts_with("broker ")) {
            let is_command = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase());
            let mut words: Vec<&str> = line.split(' ').skip(1).collect();
            let flags: Vec<&str> = words.iter().copied().filter(|w| w.starts_with("--")).collect();
            words.truncate(
                words
                    .iter()
                    .position(|word| !is_command(word))
                    .unwrap_or(words.len()),
            );
            words.push("--help");
            let output = broker(&words);
            let help = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{line}");
            for flag in flags {
                assert!(help.contains(flag), "{line}: no {flag}");
            }
            tried += 1;
        }
    }
    assert!(tried >= 15, "only {tried} commands were tried");
}
