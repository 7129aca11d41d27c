//! `admin.http_bind` with TLS and tokens, and the port of `metrics.bind`.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use tests::broker::{Broker, Printed, Setup, binary, clean, printed};
use tests::certs::Certs;
use tests::process::free;

const TCP: &str = "[listeners.tcp]\ntransport = \"tcp\"\nbind = \"127.0.0.1:0\"\n";

fn token(broker: &Broker, args: &[&str]) -> Printed {
    let mut command = Command::new(binary());
    clean(&mut command)
        .arg("token")
        .args(args)
        .arg("--config")
        .arg(broker.path("broker.toml"));
    printed(&mut command)
}

fn remote(url: &str, token: &Path, ca: &Path, args: &[&str]) -> Printed {
    let mut command = Command::new(binary());
    clean(&mut command)
        .args(["ctl", "--url", url])
        .arg("--token-file")
        .arg(token)
        .arg("--ca")
        .arg(ca)
        .args(args);
    printed(&mut command)
}

#[test]
fn ctl_from_afar_with_a_token_and_its_scope() {
    let certs = Certs::new();
    let bind = free("127.0.0.1");
    let (cert, key) = (certs.path("server.crt"), certs.path("server.key"));
    let tls = format!(
        "[admin.tls]\ncert_file = \"{}\"\nkey_file = \"{}\"\n",
        cert.display(),
        key.display()
    );
    let broker = Setup::new(TCP)
        .config(&format!("[admin]\nhttp_bind = \"{bind}\"\n{tls}"))
        .start();
    let _client = broker.dial("tcp").client("dev-7");
    let made = token(
        &broker,
        &[
            "create",
            "--name",
            "grafana",
            "--scope",
            "read",
            "--allow-from",
            "127.0.0.1",
        ],
    );
    assert_eq!(made.code, 0, "{made:?}");
    let file = broker.path("token");
    std::fs::write(&file, &made.stdout).expect("a file");
    let url = format!("https://localhost:{}", bind.port());
    let ca = certs.path("ca.pem");
    let run = |args: &[&str]| remote(&url, &file, &ca, args);

    let listed = run(&["clients", "list"]);
    assert_eq!(listed.code, 0, "{listed:?}");
    assert!(listed.stdout.contains("dev-7"), "{listed:?}");
    let kick = run(&["clients", "kick", "dev-7"]);
    assert_eq!(
        (kick.code, kick.stderr.as_str()),
        (4, "error: this call needs scope operate\n")
    );
    let stranger = run(&["--ca", "/etc/ssl/certs/ca-certificates.crt", "status"]);
    assert_eq!(stranger.code, 2, "--ca twice: {stranger:?}");
    assert_eq!(token(&broker, &["revoke", "grafana"]).code, 0);
    let gone = run(&["status"]);
    assert_eq!(
        (gone.code, gone.stderr.as_str()),
        (4, "error: a valid bearer token is required\n")
    );
}

fn get(at: SocketAddr, before: &[u8], path: &str) -> String {
    let mut stream = TcpStream::connect(at).expect("a connection");
    stream.write_all(before).expect("written");
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn checks_reach_the_health_port_through_a_balancer_that_speaks_proxy() {
    let bind = free("127.0.0.1");
    let broker = Setup::new(TCP)
        .config(&format!("[metrics]\nbind = \"{bind}\"\n"))
        .start();
    let _client = broker.dial("tcp").client("dev-7");
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";
    for before in [&b""[..], b"PROXY TCP4 203.0.113.7 127.0.0.1 1 2\r\n", local] {
        let ready = get(bind, before, "/readyz");
        assert!(ready.starts_with("HTTP/1.1 200 "), "{ready}");
        assert!(
            ready.ends_with(r#"{"ready":true,"checks":{"listeners":"ok","store":"ok","draining":"no"}}"#),
            "{ready}"
        );
        assert!(get(bind, before, "/healthz").starts_with("HTTP/1.1 200 "));
        let metrics = get(bind, before, "/metrics");
        assert!(
            metrics.contains("\nbroker_connections{listener=\"tcp\"} 1\n"),
            "{metrics}"
        );
        assert!(
            !metrics.contains("dev-7") && !metrics.contains("203.0.113"),
            "{metrics}"
        );
    }
    assert_eq!(broker.ctl(&["drain"]).code, 0);
    assert!(get(bind, b"", "/readyz").starts_with("HTTP/1.1 503 "));
}
