//! The README's blocks do what it says: extracted, run as they stand, with free ports instead of the usual ones.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::broker::{Printed, binary, clean, printed};
use tests::client::{Login, Reply};
use tests::link::Dial;
use tests::process::{Process, free};
use tests::wait::until;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The `sh` blocks below a heading.
fn blocks(heading: &str) -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("README.md");
    let (_, section) = readme
        .split_once(&format!("\n## {heading}\n"))
        .unwrap_or_else(|| panic!("no heading {heading}"));
    let section = section.split("\n## ").next().unwrap_or(section);
    let starts = section.split("```sh\n").skip(1);
    starts
        .map(|text| text.split("```").next().unwrap_or(text).to_owned())
        .collect()
}

/// A shell as of a user without any configuration, in a directory of its own, where `cargo run` runs the broker under
/// test.
struct Shell {
    home: tempfile::TempDir,
    ports: Vec<(&'static str, SocketAddr)>,
}

impl Shell {
    fn new(ports: &[&'static str]) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        std::os::unix::fs::symlink(binary(), home.path().join("broker")).expect("a link");
        Self {
            home,
            ports: ports.iter().map(|port| (*port, free("127.0.0.1"))).collect(),
        }
    }

    fn addr(&self, port: &str) -> SocketAddr {
        let found = self.ports.iter().find(|(usual, _)| *usual == port);
        found.expect("a port of the README").1
    }

    fn command(&self, block: &str) -> Command {
        let mut block = block.replace("cargo run --release -p broker -- ", "./broker ");
        // The listeners of local mode are not named in the blocks.
        if block.starts_with("./broker run") {
            let bind = |name: &str, port| format!(" --set listeners.{name}.bind={}", self.addr(port));
            block.truncate(block.trim_end().len());
            block += &(bind("tcp", "1883") + &bind("ws", "8083"));
        }
        for (usual, free) in &self.ports {
            block = block
                .replace(&format!("127.0.0.1:{usual}"), &free.to_string())
                .replace(&format!("-p {usual}"), &format!("-p {}", free.port()));
        }
        let mut command = Command::new("bash");
        clean(&mut command)
            .current_dir(self.home.path())
            .env("HOME", self.home.path())
            .env_remove("XDG_STATE_HOME")
            .env_remove("XDG_RUNTIME_DIR")
            .arg("-c")
            .arg(format!("set -e\n{block}"));
        command
    }

    #[track_caller]
    fn start(&self, name: &str, block: &str, listens: Option<&str>) -> Process {
        let mut process = Process::spawn(name, &mut self.command(block));
        if let Some(port) = listens {
            process.listens(self.addr(port));
        }
        process
    }

    #[track_caller]
    fn run(&self, block: &str) -> Printed {
        printed(&mut self.command(block))
    }
}

#[test]
fn the_two_commands_are_one_line_each() {
    for (heading, starts) in [("Run", "cargo run "), ("Test", "./check")] {
        let blocks = blocks(heading);
        assert_eq!(blocks.len(), 1, "{heading}");
        assert_eq!(blocks[0].lines().count(), 1, "{heading}");
        assert!(blocks[0].starts_with(starts), "{heading}: {}", blocks[0]);
    }
    assert!(root().join("check").exists());
}

/// The same command that a reader and CI run.
#[test]
fn ci_runs_the_test_command() {
    let ci = std::fs::read_to_string(root().join(".ci/run")).expect(".ci/run");
    assert!(
        ci.lines().any(|line| line.trim() == blocks("Test")[0].trim()),
        "{ci}"
    );
}

#[test]
fn run_serves_on_loopback_without_any_configuration() {
    let shell = Shell::new(&["1883", "8083"]);
    let broker = shell.start("broker", &blocks("Run")[0], Some("1883"));
    assert_eq!(Dial::to(shell.addr("1883")).client("a").ping(), []);
    assert_eq!(Dial::to(shell.addr("8083")).ws().client("b").ping(), []);
    broker.line("notice of the local mode", |line| {
        line.starts_with("local mode: ").then_some(())
    });
}

#[test]
fn the_worked_example_shows_the_clients_own_port() {
    let blocks = blocks("The client's address through NGINX");
    let [run, nginx, client, ask] = &blocks[..] else {
        panic!("four blocks, not {}", blocks.len());
    };
    let shell = Shell::new(&["1883", "8083", "1884", "2883"]);
    let _broker = shell.start("broker", run, Some("1884"));
    let _nginx = shell.start("nginx", nginx, Some("2883"));
    let _client = shell.start("mosquitto_sub", client, None);
    let told = until("the client to be connected", || {
        let told = shell.run(ask);
        (told.code == 0).then_some(told)
    });
    let port = local_port(shell.addr("2883"));
    assert_eq!(
        shape(&told.stdout),
        shape(&shown()),
        "the README shows another output"
    );
    let direct = Dial::to(shell.addr("1884")).from("127.0.0.50");
    assert_eq!(
        direct.try_login(&Login::new("dev-8")).err(),
        Some(Reply::End),
        "not a proxy"
    );
    let wanted = [
        format!("Client(dev-7, username=undefined, peername=127.0.0.50:{port}, "),
        ", kind=client, via=proxy_v1, socket=127.0.0.1:".to_owned(),
        format!(" = peername   127.0.0.50:{port} "),
    ];
    for part in wanted {
        assert!(told.stdout.contains(&part), "no {part:?} in\n{}", told.stdout);
    }
}

/// The output that the README shows: its last `text` block.
fn shown() -> String {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("README.md");
    let (_, last) = readme.rsplit_once("```text\n").expect("a text block");
    last.split("```").next().unwrap_or(last).to_owned()
}

/// Text without ports and the blanks behind them, which differ each time, and without what `…` stands for.
fn shape(text: &str) -> String {
    let mut lines = String::new();
    for line in text.lines() {
        let client = line
            .strip_prefix("Client(")
            .and_then(|rest| rest.split_once("keepalive=60, "));
        let (head, tail) = client.unwrap_or(("", line));
        let tail = tail.split_once("kind=").map_or(tail, |(_, kind)| kind);
        for (place, part) in format!("{head}{tail}").split(':').enumerate() {
            let part = if place == 0 {
                part
            } else {
                part.trim_start_matches(|c: char| c.is_ascii_digit())
            };
            lines += &part.split_whitespace().collect::<Vec<_>>().join(" ");
            lines.push(':');
        }
        lines.push('\n');
    }
    lines
}

/// The port from which 127.0.0.50 is connected to `to`: what the kernel says.
fn local_port(to: SocketAddr) -> u16 {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("a table");
    let hex = |text: &str| u16::from_str_radix(text.rsplit(':').next().unwrap_or(text), 16).ok();
    let found = table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // 3200007F is 127.0.0.50 in the table's byte order on little-endian machines, 7F000032 on others.
        let ours = fields[1].starts_with("3200007F:") || fields[1].starts_with("7F000032:");
        (ours && hex(fields[2]) == Some(to.port())).then(|| hex(fields[1]))
    });
    found.flatten().expect("the client's connection")
}
