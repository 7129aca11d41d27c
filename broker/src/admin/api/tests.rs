//! The API over real sockets against the mock: paths, scopes, errors, streams, the description.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::super::mock::Mock;
use super::super::server;
use super::super::tokens::{self, Token, Tokens};
use super::super::views::Timestamp;
use super::{Api, Scope, openapi};

struct World {
    _dir: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
    mock: Arc<Mock>,
    socket: std::path::PathBuf,
    http: std::net::SocketAddr,
    read_token: String,
}

fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let (read_token, sha256) = tokens::generate().unwrap();
    let file = dir.path().join("tokens.toml");
    let token = Token {
        name: "grafana".into(),
        scope: Scope::Read,
        sha256,
        allow_from: vec![],
        created_at: Timestamp(0),
        expires_at: None,
    };
    tokens::write(&file, &[token]).unwrap();
    let mock = Arc::new(Mock::default());
    let router = Api::new(mock.clone(), Arc::new(Tokens::new(file))).router();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let socket = dir.path().join("run").join("ctl.sock");
    let guard = runtime.enter();
    let unix = server::bind_unix(&socket, 0o660, None).unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    tcp.set_nonblocking(true).unwrap();
    let http = tcp.local_addr().unwrap();
    runtime.spawn(server::serve_unix(unix, router.clone()));
    runtime.spawn(server::serve_http(
        tokio::net::TcpListener::from_std(tcp).unwrap(),
        None,
        router,
    ));
    drop(guard);
    World {
        _dir: dir,
        _runtime: runtime,
        mock,
        socket,
        http,
        read_token,
    }
}

struct Got {
    status: u16,
    head: String,
    body: String,
}

fn exchange(mut stream: impl std::io::Read + std::io::Write, request: &str) -> Got {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Got {
        status,
        head: head.to_lowercase(),
        body: body.to_owned(),
    }
}

fn text(method: &str, path: &str, fields: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{fields}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

impl World {
    fn unix(&self, method: &str, path: &str, body: &str) -> Got {
        let stream = UnixStream::connect(&self.socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        exchange(stream, &text(method, path, "", body))
    }

    fn http(&self, method: &str, path: &str, token: Option<&str>) -> Got {
        let stream = TcpStream::connect(self.http).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let fields = token
            .map(|token| format!("authorization: Bearer {token}\r\n"))
            .unwrap_or_default();
        exchange(stream, &text(method, path, &fields, ""))
    }

    #[track_caller]
    fn check(&self, method: &str, path: &str, body: &str, status: u16, part: &str) {
        let got = self.unix(method, path, body);
        assert_eq!(got.status, status, "{method} {path}: {}", got.body);
        assert!(
            got.body.contains(part),
            "{method} {path}: no {part} in {}",
            got.body
        );
        let kind = if status < 400 {
            "application/json"
        } else {
            "application/problem+json"
        };
        assert!(
            got.head.contains(&format!("content-type: {kind}\r\n")),
            "{}",
            got.head
        );
    }
}

const WEB_42: &str = r#"{"data":{"clientid":"web-42","username":"bob","peername":"115.236.21.90:0","peerhost":"115.236.21.90","peerport":0,"kind":"client","via":"header","header":{"name":"X-Forwarded-For","strategy":"rightmost_untrusted","index":1},"socket":"172.16.0.225:50112","hop":"172.16.0.225:50112","chain":["172.16.0.225:50112","172.16.0.116:0"],"warnings":["W_PORT_MISALIGNED"],"listener":"ws","proto_ver":5,"tls":"no","clean_start":true,"keepalive":60,"session_expiry_interval":0,"subscriptions":4,"inflight":0,"awaiting_rel":0,"delivered_msgs":7,"enqueued_msgs":0,"dropped_msgs":0,"connected":true,"created_at":"2026-11-21T22:55:01.123Z","connected_at":"2026-11-21T22:55:01.123Z"}}"#;

/// Method, path below /api/v1, body, status, and a part of the answer.
const CALLS: &str = r#"
GET    | /clients?ip=115.236.0.0/16 | | 200 | "meta":{"total":412}
GET    | /clients?socket=@lb&limit=1 | | 200 | "next":"mqttx-client"
GET    | /clients?socket=@lb&limit=1&after=mqttx-client | | 200 | "clientid":"web-42"
GET    | /clients?ip=@nobody | | 400 | no network @nobody
GET    | /clients?limit=1001 | | 400 | 1 to 1000
GET    | /clients?colour=red | | 400 | colour
GET    | /clients/nobody | | 404 | "detail":"client nobody: not found"
GET    | /clients/a%0AClient(fake,%20connected=true) | | 200 | "claimed":"1.2.3.4:0"
GET    | /clients/web-42/peername | | 200 | not trusted: this is the client
DELETE | /clients/web-42?reason=maintenance | | 200 | "kicked":1
POST   | /kick | {"ip":"10.0.0.0/8","user":"x"} | 400 | exactly one
POST   | /kick | {"ip":"10.0.0.0/8"} | 200 | "kicked":2
POST   | /kick | {"ipp":"10.0.0.0/8"} | 400 | unknown field `ipp`
DELETE | /retained/state%2Flamp | | 200 | "removed":1
POST   | /listeners/tcp_lb/stop | | 200 | "state":"stopped"
POST   | /listeners/tcp_lb/explode | | 400 | start, stop or drain
POST   | /bans | {"what":"172.16.0.116"} | 409 | "code":"BAN001"
POST   | /bans | {"what":"1.2.3.4","for":"soon"} | 400 | no duration
DELETE | /bans/1.2.3.4%2F32 | | 200 | "removed":1
POST   | /config/reload | {"only":["passwd"]} | 409 | "code":"CE12"
POST   | /config/reload | {"only":["colours"]} | 400 | colours
PUT    | /log/level | {"level":"loud"} | 400 | loud
GET    | /whoami | | 200 | "scope":"admin"
GET    | /nothing | | 404 | not_found
POST   | /status | | 400 | does not take that method
"#;

#[test]
fn each_path_answers() {
    let world = world();
    assert_eq!(world.unix("GET", "/api/v1/clients/web-42", "").body, WEB_42);
    for line in CALLS.trim().lines() {
        let fields: Vec<&str> = line.splitn(5, '|').map(str::trim).collect();
        let [method, path, body, status, part] = fields[..] else {
            panic!("{line}")
        };
        world.check(
            method,
            &format!("/api/v1{path}"),
            body,
            status.parse().unwrap(),
            part,
        );
    }
    let calls = world.mock.calls.lock().unwrap().join("\n");
    assert!(
        calls.contains("record DELETE /retained/state/lamp success=true"),
        "{calls}"
    );
    assert!(calls.contains("reason: Some(\"maintenance\")"), "{calls}");
    assert!(!calls.contains("record GET"), "{calls}");
}

#[test]
fn tokens_and_scopes_guard_http() {
    let world = world();
    let token = Some(world.read_token.as_str());
    let none = world.http("GET", "/api/v1/status", None);
    assert_eq!(none.status, 401);
    assert!(none.head.contains("www-authenticate: bearer"), "{}", none.head);
    assert_eq!(world.http("GET", "/api/v1/status", token).status, 200);
    for (method, path) in [
        ("DELETE", "/api/v1/clients/web-42"),
        ("POST", "/api/v1/drain"),
        ("POST", "/api/v1/config/reload"),
        ("DELETE", "/api/v1/sessions/web-42"),
        ("POST", "/api/v1/listeners/tcp_lb/stop"),
    ] {
        assert_eq!(world.http(method, path, token).status, 403, "{method} {path}");
    }
    for _ in 0..10 {
        assert_eq!(world.http("GET", "/api/v1/status", Some("brk_guess")).status, 401);
    }
    assert_eq!(world.http("GET", "/api/v1/status", token).status, 429);
    assert!(world.mock.calls.lock().unwrap().is_empty());
}

#[test]
fn the_page_needs_no_token_and_nothing_from_outside() {
    let world = world();
    for (path, kind) in [
        ("/", "text/html"),
        ("/page.css", "text/css"),
        ("/page.js", "text/javascript"),
    ] {
        let got = world.http("GET", path, None);
        assert_eq!(got.status, 200, "{path}");
        assert!(
            got.head.contains(&format!("content-type: {kind}; charset=utf-8")),
            "{}",
            got.head
        );
        assert!(
            got.head.contains("content-security-policy: default-src 'self'; "),
            "{}",
            got.head
        );
        for forbidden in [
            "http://",
            "https://",
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "eval(",
            " style=",
            "onclick=",
        ] {
            assert!(!got.body.contains(forbidden), "{path} has {forbidden}");
        }
    }
}

#[test]
fn events_resume_and_tell_what_was_missed() {
    let world = world();
    let mut stream = UnixStream::connect(&world.socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let request = "GET /api/v1/events HTTP/1.1\r\nhost: x\r\nlast-event-id: 41\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut seen = String::new();
    let mut buffer = [0_u8; 4096];
    while !(seen.contains("event: stats") && seen.contains("event: lagged")) {
        let n = stream.read(&mut buffer).unwrap();
        assert!(n > 0, "ended: {seen}");
        seen.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
    }
    assert!(seen.contains("content-type: text/event-stream"), "{seen}");
    for part in [
        "event: connect\ndata: {\"seq\":42",
        "id: 42",
        "id: 43",
        "event: lagged\ndata: {\"missed\":7}",
    ] {
        assert!(seen.contains(part), "no {part} in {seen}");
    }
}

#[test]
fn the_description_in_etc_is_the_handlers() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../etc/openapi.json");
    let made = openapi::text();
    if std::env::var_os("BROKER_WRITE_OPENAPI").is_some() {
        std::fs::write(path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap();
    assert!(
        kept == made,
        "etc/openapi.json is old: BROKER_WRITE_OPENAPI=1 cargo test -p broker the_description"
    );
}

#[test]
fn each_described_path_is_routed() {
    let world = world();
    let description: Value = serde_json::from_str(&openapi::text()).unwrap();
    let paths = description["paths"].as_object().unwrap();
    assert!(paths.len() > 30);
    for (path, methods) in paths {
        let concrete = path.replace("{action}", "stop").replace(['{', '}'], "");
        for method in methods.as_object().unwrap().keys().filter(|_| path != "/events") {
            let got = world.unix(&method.to_uppercase(), &format!("/api/v1{concrete}"), "");
            assert!(
                !got.body.contains("path: not found"),
                "{method} {path}: {}",
                got.body
            );
            assert!(
                !got.body.contains("does not take that method"),
                "{method} {path}: {}",
                got.body
            );
        }
    }
}
