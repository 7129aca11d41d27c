//! The console blocks of operator-interface 1, by the real binary. Expected texts and fixtures lie in
//! `tests/operator/config/`: a line `...` stands for any lines, blanks between columns count as one.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A copy of a fixture directory, which takes the place of /etc/broker.
struct Etc {
    dir: tempfile::TempDir,
    env: Vec<(&'static str, String)>,
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/operator/config")
        .join(name)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

impl Etc {
    fn new(fixture: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        copy(&golden(fixture), dir.path());
        let main = dir.path().join("broker.toml").display().to_string();
        Self {
            dir,
            env: vec![("BROKER_CONFIG", main)],
        }
    }

    fn empty() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            env: Vec::new(),
        }
    }

    fn env(mut self, name: &'static str, value: &str) -> Self {
        self.env.push((name, value.to_owned()));
        self
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.path().join(name), text).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_broker"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .env_clear()
            .envs(self.env.iter().map(|(k, v)| (k, v)));
        command
    }

    /// Exit code and what was printed, with the directory as /etc/broker.
    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let Output {
            status,
            stdout,
            stderr,
        } = self.command(args).output().unwrap();
        let text = |bytes: Vec<u8>| {
            String::from_utf8(bytes)
                .unwrap()
                .replace(&self.dir.path().display().to_string(), "/etc/broker")
        };
        (status.code().unwrap(), text(stdout), text(stderr))
    }

    #[track_caller]
    fn block(&self, name: &str) {
        let expected = std::fs::read_to_string(golden(name)).unwrap();
        let (command, lines) = expected.split_once('\n').unwrap();
        let args: Vec<&str> = command.strip_prefix("$ broker ").unwrap().split(' ').collect();
        let (_, stdout, stderr) = self.run(&args);
        compare(lines, &(stdout + &stderr));
    }
}

fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Compares line by line; `...` takes any lines up to the next one that fits.
#[track_caller]
fn compare(expected: &str, printed: &str) {
    let mut rest = printed.lines();
    let mut skip = false;
    for line in expected.lines() {
        if line == "..." {
            skip = true;
            continue;
        }
        let found = if skip {
            rest.find(|l| words(l) == words(line))
        } else {
            rest.next()
        };
        assert_eq!(found.map(words), Some(words(line)), "in:\n{printed}");
        skip = false;
    }
    assert!(skip || rest.next().is_none(), "more than expected:\n{printed}");
}

#[test]
fn show_tells_where_values_come_from() {
    Etc::new("show")
        .env("BROKER__LISTENERS__TCP_LB__BIND", "0.0.0.0:1884")
        .block("show.console");
}

#[test]
fn check_tells_all_errors_at_once() {
    let etc = Etc::new("check").env("BROKER__LISTENER__TCP__BIND", "0.0.0.0:1883");
    etc.block("check.console");
    let (code, _, _) = etc.run(&["config", "check"]);
    assert_eq!(code, 1);
    let (code, _, stderr) = etc.run(&["run"]);
    assert_eq!(code, 78);
    assert!(stderr.ends_with("3 errors; not started\n"), "{stderr}");
    let (_, stdout, _) = etc.run(&["config", "check", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(json["errors"], 3);
    let first = &json["findings"][0];
    assert_eq!(
        (&first["code"], &first["line"], &first["col"]),
        (&"CE12".into(), &26.into(), &1.into())
    );
}

#[test]
fn local_mode_says_what_it_is() {
    if Path::new("/etc/broker/broker.toml").exists() || Path::new("/etc/broker/conf.d").exists() {
        println!("skipped: this machine has a /etc/broker");
        return;
    }
    let etc = Etc::empty();
    let mut child = etc
        .command(&["run"])
        .env("HOME", etc.dir.path().join("home/mqtt"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let expected = std::fs::read_to_string(golden("local.console")).unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines().take(2);
    let printed: Vec<String> = lines.map(Result::unwrap).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    let printed = printed
        .join("\n")
        .replace(&etc.dir.path().display().to_string(), "");
    compare(expected.split_once('\n').unwrap().1, &printed);
}

#[test]
fn a_first_file_is_written_once_and_is_right() {
    let etc = Etc::empty().env("HOME", "/home/mqtt");
    let (code, stdout, stderr) = etc.run(&["config", "init"]);
    assert_eq!((code, stdout.as_str()), (0, ""), "{stderr}");
    let written = std::fs::read_to_string(etc.dir.path().join("broker.toml")).unwrap();
    assert!(written.starts_with("#:schema ./broker.schema.json\n"));
    let (code, stdout, stderr) = etc.run(&["config", "check", "--strict", "--config", "broker.toml"]);
    assert_eq!((code, stdout.as_str()), (0, "no findings\n"), "{stderr}");
    let (code, _, stderr) = etc.run(&["config", "init"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("exists already"), "{stderr}");
}

#[test]
fn check_opens_the_files_that_are_named() {
    let etc = Etc::empty();
    let tcp = "[listeners.tcp]\ntransport = \"tcp\"\nbind = \"127.0.0.1:1883\"\n";
    let off = "[listeners.off]\ntransport = \"tls\"\nbind = \"127.0.0.1:1\"\nenabled = false\n";
    etc.write("broker.toml", &format!("{tcp}{off}[acl]\nfile = \"acl.conf\"\n"));
    let check = || etc.run(&["config", "check", "--config", "broker.toml"]);
    let (code, stdout, _) = check();
    assert_eq!(code, 1);
    assert!(
        stdout.contains("error[CFG006]: cannot read /etc/broker/acl.conf: no such file or directory"),
        "{stdout}"
    );
    assert!(stdout.contains("--> /etc/broker/broker.toml:9:1"), "{stdout}");
    etc.write("acl.conf", "allow connect\nallow subscribe usr=bob to a\n");
    let (code, stdout, _) = check();
    assert_eq!(code, 1);
    assert!(
        stdout.contains("error[A102]: unknown term `usr`\n  --> /etc/broker/acl.conf:2:17\n"),
        "{stdout}"
    );
    assert!(
        stdout.contains("   |                 ^^^ did you mean `user`?\n"),
        "{stdout}"
    );
    etc.write("acl.conf", "allow connect\n");
    let (code, stdout, _) = check();
    assert_eq!(code, 0, "{stdout}");
    assert!(stdout.contains("warning[A203]"), "{stdout}");
    let (code, _, _) = etc.run(&["config", "check", "--strict", "--config", "broker.toml"]);
    assert_eq!(code, 1);
}

#[test]
fn wrong_use_is_exit_2_and_an_unknown_prefix_exit_1() {
    let etc = Etc::new("show");
    assert_eq!(etc.run(&["config", "show", "--set", "nothing"]).0, 2);
    assert_eq!(etc.run(&["config", "frobnicate"]).0, 2);
    assert_eq!(etc.run(&["config", "show", "listeners.nobody"]).0, 1);
}

#[test]
fn diff_shows_what_is_not_the_default_or_not_as_elsewhere() {
    let etc = Etc::new("show");
    let (code, stdout, _) = etc.run(&["config", "diff", "--set", "log.level=debug"]);
    assert_eq!(code, 1);
    assert!(
        stdout.contains("auth.allow_anonymous false -> true (file broker.toml:13)\n"),
        "{stdout}"
    );
    assert!(
        stdout.contains("log.level \"info\" -> \"debug\" (flag --set)\n"),
        "{stdout}"
    );
    let (code, stdout, _) = etc.run(&["config", "diff", "--against", "broker.toml"]);
    assert_eq!((code, stdout.as_str()), (0, ""));
}
