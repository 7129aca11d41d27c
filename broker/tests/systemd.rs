//! The broker under something that speaks systemd's protocols: it tells when it is ready and when it stops, and takes
//! over sockets by name.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

/// CONNECT of MQTT 3.1.1, clean session, client id `a`, and the CONNACK that accepts it.
const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a";
const CONNACK: &[u8] = b"\x20\x02\x00\x00";

fn config(dir: &Path) -> String {
    let path = dir.join("broker.toml");
    let text = format!(
        "[listeners.tcp]\ntransport = \"tcp\"\nbind = \"127.0.0.1:0\"\nallow_anonymous = true\n\
         [auth]\nchain = []\n[node]\ndata_dir = \"\"\n[metrics]\nbind = \"\"\n\
         [audit]\npath = \"{0}/audit.log\"\n[admin]\nsocket = \"{0}/ctl.sock\"\nsocket_group = \"\"\n",
        dir.display()
    );
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn exits(child: &mut Child) -> Option<i32> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        std::thread::yield_now();
    }
    child.kill().unwrap();
    panic!("the broker does not stop");
}

#[test]
fn ready_status_and_stopping_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_broker"))
        .args(["run", "--config", &config(dir.path())])
        .env("NOTIFY_SOCKET", dir.path().join("notify"))
        .env("WATCHDOG_USEC", "30000000")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut told = String::new();
    let mut wait_for = |word: &str| {
        let mut buffer = [0; 4096];
        while !told.contains(word) {
            let n = socket.recv(&mut buffer).unwrap();
            told.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
            told.push('\n');
        }
    };
    wait_for("READY=1");
    wait_for("WATCHDOG=1");
    wait_for("STATUS=0 clients; no findings");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    wait_for("STOPPING=1");
    assert_eq!(exits(&mut child), Some(0));
}

#[test]
fn a_socket_with_the_name_of_a_listener_is_taken_over() {
    let Ok(output) = Command::new("systemd-socket-activate").arg("--version").output() else {
        println!("skipped: there is no systemd-socket-activate here");
        return;
    };
    assert!(output.status.success());
    let dir = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut child = Command::new("systemd-socket-activate")
        .args([
            "-l",
            &port.to_string(),
            "--fdname=tcp",
            env!("CARGO_BIN_EXE_broker"),
            "run",
            "--config",
        ])
        .arg(config(dir.path()))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let until = Instant::now() + PATIENCE;
    let mut client = loop {
        match TcpStream::connect(port) {
            Ok(client) => break client,
            Err(error) => assert!(Instant::now() < until, "nobody listens: {error}"),
        }
        std::thread::yield_now();
    };
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(CONNECT).unwrap();
    let mut answer = [0; 4];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(answer, CONNACK);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(exits(&mut child), Some(0));
}
