//! Golden tests of the console blocks of operator-interface 3, against the API over the mock.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;

use super::client::{Client, Target};
use super::{Command, run};
use crate::admin::api::Api;
use crate::admin::mock::Mock;
use crate::admin::server;
use crate::admin::tokens::Tokens;
use crate::cli::Exit;

#[derive(Debug, Parser)]
struct Line {
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

struct World {
    _dir: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
    socket: PathBuf,
    mock: Arc<Mock>,
}

fn world(healthy: bool) -> World {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("ctl.sock");
    let mock = Arc::new(Mock {
        healthy,
        ..Mock::default()
    });
    let tokens = Arc::new(Tokens::new(dir.path().join("tokens.toml")));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let guard = runtime.enter();
    let listener = server::bind_unix(&socket, 0o600, None).unwrap();
    runtime.spawn(server::serve_unix(
        listener,
        Api::new(mock.clone(), tokens).router(),
    ));
    drop(guard);
    World {
        _dir: dir,
        _runtime: runtime,
        socket,
        mock,
    }
}

impl World {
    fn run(&self, line: &[&str]) -> (Exit, String, String) {
        let line = Line::try_parse_from(std::iter::once(&"ctl").chain(line)).unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let client = Client::new(Target::Unix(self.socket.clone()));
        let exit = run(client, line.command, line.json, false, &mut out, &mut err);
        (
            exit,
            String::from_utf8(out).unwrap(),
            String::from_utf8(err).unwrap(),
        )
    }

    /// Runs a command line (words split at blanks) and compares; `…` in `out` stands for anything.
    #[track_caller]
    fn check(&self, line: &str, exit: Exit, out: &str, err: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let got = self.run(&words);
        assert_eq!((got.0, got.2.as_str()), (exit, err), "{line}\n{}", got.1);
        assert!(
            alike(out, &got.1),
            "{line}\n--- expected\n{out}\n--- got\n{}",
            got.1
        );
    }
}

/// Equal, where `…` in the pattern stands for any text within the line.
fn alike(pattern: &str, text: &str) -> bool {
    let (mut a, mut b) = (pattern.lines(), text.lines());
    loop {
        match (a.next(), b.next()) {
            (None, None) => return true,
            (Some(pattern), Some(line)) => {
                let mut rest = line;
                let parts: Vec<&str> = pattern.split('…').collect();
                let [first, middle @ ..] = parts.as_slice() else {
                    return false;
                };
                let Some(stripped) = rest.strip_prefix(first) else {
                    return false;
                };
                rest = stripped;
                for (i, part) in middle.iter().enumerate() {
                    let last = i + 1 == middle.len();
                    let found = if last {
                        rest.ends_with(part).then(|| rest.len() - part.len())
                    } else {
                        rest.find(part)
                    };
                    let Some(at) = found else { return false };
                    rest = &rest[at + part.len()..];
                }
                if !rest.is_empty() {
                    return false;
                }
            }
            _ => return false,
        }
    }
}

const MQTTX: &str = "Client(mqttx-client, username=undefined, peername=115.236.21.86:61177, clean_start=true, keepalive=60, session_expiry_interval=0, subscriptions=1, inflight=0, awaiting_rel=0, delivered_msgs=12, enqueued_msgs=0, dropped_msgs=0, connected=true, created_at=1795301701123, connected_at=1795301701123, kind=client, via=proxy_v1, socket=172.16.0.116:39826, chain=[172.16.0.116:39826], listener=tcp_lb, proto_ver=5, tls=no)\n";

const CLIENTS: &str = "\
CLIENTID      USERNAME  PEERNAME             KIND    VIA       SOCKET              LISTENER  VER  SUBS  UPTIME
mqttx-client  -         115.236.21.86:61177  client  proxy_v1  172.16.0.116:39826  tcp_lb    5    1     …
web-42        bob       115.236.21.90:0      client  header    172.16.0.225:50112  ws        5    4     …
2 of 412 clients
";

#[test]
fn clients() {
    let world = world(true);
    world.check("clients show mqttx-client", Exit::Done, MQTTX, "");
    world.check("clients list --ip 115.236.0.0/16", Exit::Done, CLIENTS, "");
    world.check("clients show nobody", Exit::No, "", "client nobody: not found\n");
    let (exit, out, _) = world.run(&["clients", "show", "a\nClient(fake, connected=true)"]);
    assert_eq!(exit, Exit::Done);
    assert_eq!(out.lines().count(), 1, "{out}");
    for part in [
        "Client(\"a\\nClient(fake, connected=true)\", username=\"x y\", ",
        ", connected_at=1795301701123, disconnected_at=1795301801123, kind=client, via=socket, ",
        ", chain=[], claimed=1.2.3.4:0, listener=tcp, ",
    ] {
        assert!(out.contains(part), "no {part} in {out}");
    }
    let (_, out, _) = world.run(&["clients", "show", "web-42", "--json"]);
    assert!(
        out.starts_with("{\"clientid\":\"web-42\",\"username\":\"bob\",\"peername\":\"115.236.21.90:0\"")
    );
    let (_, out, _) = world.run(&["clients", "list", "--socket", "@lb", "--all", "--json"]);
    assert_eq!(
        serde_json::from_str::<Vec<serde_json::Value>>(&out)
            .unwrap()
            .len(),
        2
    );
    let (exit, _, err) = world.run(&["clients", "list", "--limit", "1"]);
    assert_eq!(
        (exit, err.as_str()),
        (Exit::Done, "more match; --limit N or --all shows them\n")
    );
}

#[test]
fn kicks_ask_when_they_meet_more_than_one() {
    let world = world(true);
    world.check("clients kick web-42", Exit::Done, "kicked 1 client web-42\n", "");
    world.check("clients kick nobody", Exit::No, "", "client nobody: not found\n");
    world.check(
        "clients kick --ip 10.0.0.0/8 --yes",
        Exit::Done,
        "kicked 2 clients mqttx-client web-42\n",
        "",
    );
    let calls = world.mock.calls.lock().unwrap().len();
    world.check(
        "clients kick --ip 10.0.0.0/8",
        Exit::Usage,
        "",
        "error: kick 2 clients: say --yes\n",
    );
    let calls = world.mock.calls.lock().unwrap().split_off(calls);
    assert!(
        calls.len() == 1 && calls[0].contains("dry_run: true"),
        "{calls:?}"
    );
}

const EXPLAIN: &str = "\
listener ws (ws) proxy_protocol=off trusted_proxies=172.16.0.0/24 address_header=X-Forwarded-For strategy=rightmost_untrusted
 1 socket     172.16.0.225:50112       PROXY stage off
 2 header     X-Forwarded-For          3 element(s); the hop is trusted (172.16.0.0/24)
 3 walk [2]   172.16.0.116             trusted (172.16.0.0/24): continue
 4 walk [1]   115.236.21.90            not trusted: this is the client
 5 walk [<1]  1 element(s)             left of the client: not examined, could be forged
 6 port       X-Forwarded-Port         1 value(s) for 3 address(es): port unknown
 = peername   115.236.21.90:0          kind=client source=header(X-Forwarded-For, rightmost_untrusted, 1)
   chain      172.16.0.225:50112 <- 172.16.0.116:0
   warnings   W_PORT_MISALIGNED
";

#[test]
fn explain() {
    let world = world(true);
    world.check("peername explain web-42", Exit::Done, EXPLAIN, "");
    world.check(
        "peername explain nobody",
        Exit::No,
        "",
        "client nobody: not found\n",
    );
    let line = [
        "peername",
        "explain",
        "--listener",
        "ws",
        "--socket",
        "172.16.0.225:1",
        "--proxy-text",
        r"PROXY UNKNOWN\r\n",
        "--header",
        "X-Forwarded-For: 1.2.3.4",
    ];
    assert_eq!(world.run(&line).0, Exit::No);
    let calls = world.mock.calls.lock().unwrap().join("\n");
    assert!(calls.contains("50524f585920554e4b4e4f574e0d0a"), "{calls}");
    assert!(calls.contains("(\"X-Forwarded-For\", \"1.2.3.4\")"), "{calls}");
    for wrong in [
        &["x", "peername", "explain"][..],
        &[
            "x",
            "peername",
            "explain",
            "id",
            "--listener",
            "ws",
            "--socket",
            "unix",
        ],
    ] {
        assert!(Line::try_parse_from(wrong).is_err(), "{wrong:?}");
    }
}

const DOCTOR: &str = "\
ERROR D01     412 clients on tcp all come from 10.0.0.1. A firewall with source NAT or a proxy hides them. Either let the firewall keep source addresses (turn NAT off for this rule), or put a proxy there that names the client [S1] [S3] and list 10.0.0.1 in trusted_proxies.
    S1  # nginx, TCP: adds the header
        stream { server { listen 1883; proxy_pass 172.16.0.71:1883; proxy_protocol on; } }
WARN  CFG021  listeners.tcp_lb.bind comes from env BROKER__LISTENERS__TCP_LB__BIND and hides broker.toml:37
2 findings: 1 error, 1 warning
";

#[test]
fn doctor() {
    world(false).check("doctor", Exit::No, DOCTOR, "");
    let (exit, out, _) = world(false).run(&["doctor", "--level", "error", "--listener", "tcp"]);
    assert_eq!((exit, out.lines().last()), (Exit::No, Some("1 finding: 1 error")));
    world(true).check("doctor", Exit::Done, "no findings\n", "");
}

#[test]
fn bans() {
    let world = world(true);
    let refused = "error: 172.16.0.116 is a trusted proxy (listeners.tcp_lb.trusted_proxies); 388 clients arrive through it. Ban the client address, or --force\n";
    world.check("ban add 172.16.0.116", Exit::No, "", refused);
    let banned = "banned 1.2.3.4 until 2026-11-21T23:55:01.123Z, 1 client kicked\n";
    world.check(
        "ban add 1.2.3.4 --for 3600s --by fail2ban --reason mqtt",
        Exit::Done,
        banned,
        "",
    );
    world.check(
        "ban del 1.2.3.4/32 --by fail2ban",
        Exit::Done,
        "lifted 1.2.3.4/32\n",
        "",
    );
    world.check("ban del 1.2.3.5", Exit::No, "", "ban 1.2.3.5: not found\n");
    let list = "\
WHAT        UNTIL                     BY        AUTO  REASON
1.2.3.4/32  2026-11-21T23:55:01.123Z  fail2ban  no    mqtt
1 of 1 ban
";
    world.check("ban list", Exit::Done, list, "");
}

const RELOADED: &str = "\
reloaded in 14 ms (generation 8)
  changed   acl.file: 24 rules, 3 groups; networks.office; log.level info -> debug
  tls       listeners.tls: CN=mqtt.example.com, valid to 2027-02-01
  clients   2 kicked (acl.conf:8), 1 subscription removed
  restart   metrics.bind \"127.0.0.1:9464\" -> \"0.0.0.0:9464\" (broker.toml:156)
";

const REFUSED: &str = "\
error[CE12]: unknown key `listeners.tcp.proxy_protocl`
  --> /etc/broker/broker.toml:26:1
   = did you mean `proxy_protocol`?
1 error; nothing was changed
";

const ORIGINS: &str = "\
KEY                              VALUE              ORIGIN                               HIDES
listeners.tcp_lb.backlog         1024               default
listeners.tcp_lb.bind            \"0.0.0.0:1884\"     env BROKER__LISTENERS__TCP_LB__BIND  broker.toml:37 \"127.0.0.1:1884\"
listeners.tcp_lb.proxy_protocol  \"required\"         file broker.toml:39                  default \"off\"
listeners.tcp_lb.trusted_proxies  [\"172.16.0.0/24\"]  file conf.d/10-lb.toml:2             broker.toml:40 [\"@lb\"]
";

#[test]
fn configuration() {
    let world = world(true);
    world.check("reload", Exit::Done, RELOADED, "");
    world.check("reload --only passwd", Exit::No, "", REFUSED);
    world.check(
        "config show --origin listeners.tcp_lb",
        Exit::Done,
        &origins(),
        "",
    );
    assert_eq!(world.run(&["config", "diff"]).0, Exit::No);
    assert_eq!(
        world
            .run(&["log", "level", "listeners", "debug", "--for", "10m"])
            .0,
        Exit::Done
    );
    assert_eq!(world.run(&["log", "level", "loud"]).0, Exit::Usage);
}

/// The columns are as wide as the widest cell, which the document's block shows for its own rows.
fn origins() -> String {
    ORIGINS
        .replace(
            "KEY                              VALUE",
            "KEY                               VALUE",
        )
        .replace("backlog         1024", "backlog          1024")
        .replace("tcp_lb.bind            ", "tcp_lb.bind             ")
        .replace("proxy_protocol  \"", "proxy_protocol   \"")
}

#[test]
fn the_rest_prints_something_and_exits_right() {
    let world = world(false);
    for (line, exit, part) in [
        (
            "status",
            Exit::Done,
            "broker 0.1.0 (broker-1), up 1h02m, generation 8, ready",
        ),
        (
            "health",
            Exit::No,
            "not ready: listeners=ok store=loading draining=no",
        ),
        ("sessions list", Exit::Done, "3 of 3 sessions"),
        ("sessions show web-42", Exit::Done, "cmd/web-42/#"),
        ("sessions drop web-42", Exit::Done, "dropped session web-42"),
        (
            "subscriptions list --client web-42",
            Exit::Done,
            "1 of 1 subscription",
        ),
        ("topics list", Exit::Done, "cmd/#"),
        ("retained list state/#", Exit::Done, "1 of 1 message"),
        ("retained show state/lamp", Exit::Done, "payload (text) on"),
        ("retained delete state/lamp", Exit::Done, "deleted state/lamp"),
        ("listeners list", Exit::Done, "0.0.0.0:1884"),
        ("listeners stop tcp_lb", Exit::Done, "stopped"),
        ("store stat", Exit::Done, "engine file, durability group"),
        ("proxies", Exit::Done, "file conf.d/10-lb.toml:2"),
        ("quota list --top 3", Exit::Done, "1 of 1 prefix"),
        ("quota show 1.2.3.4", Exit::Done, "0/200"),
        ("quota reset 1.2.3.4", Exit::Done, "1.2.3.4/32"),
        ("acl rules", Exit::Done, "acl.conf:8"),
        (
            "acl test --client web-42 --publish a/b",
            Exit::No,
            "DENY  publish",
        ),
        (
            "acl test --client web-42 --publish a/b --expect deny",
            Exit::Done,
            "DENY  publish",
        ),
        ("trace --client web-42", Exit::Done, "PINGREQ"),
        (
            "audit tail --no-follow",
            Exit::Done,
            "{\"seq\":1,\"event\":\"start\"}",
        ),
        ("audit head", Exit::Done, "10437"),
        ("metrics broker_bans", Exit::Done, "broker_bans 2"),
        ("metrics nothing", Exit::No, ""),
        ("drain", Exit::Done, "not ready"),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let (got, out, err) = world.run(&words);
        assert_eq!((got, err.as_str()), (exit, ""), "{line}: {out}");
        assert!(out.contains(part), "{line}: no {part} in {out}");
    }
    let calls = world.mock.calls.lock().unwrap().join("\n");
    assert!(calls.contains("live: Some(\"web-42\")"), "{calls}");
}

#[test]
fn nobody_there_is_exit_3() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("none.sock");
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let client = Client::new(Target::Unix(socket.clone()));
    assert_eq!(
        run(client, Command::Status, false, false, &mut out, &mut err),
        Exit::Unreachable
    );
    let expect = format!("error: {}: no broker runs there\n", socket.display());
    assert_eq!(String::from_utf8(err).unwrap(), expect);
}
