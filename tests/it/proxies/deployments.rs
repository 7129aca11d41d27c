//! The shipped deployments work: `etc/examples` and the parts of `docker-compose.yml`, started as they stand with
//! loopback addresses, free ports and certificates of the test.

use super::{CLIENT, LB1, LB3, Seen, everybody_sees_the_client, setup};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::broker::{Broker, Setup, printed};
use tests::certs::Certs;
use tests::link::Dial;
use tests::process::free;
use tests::proxies::{haproxy, nginx};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[track_caller]
fn shipped(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Replaces each text, which must be there.
#[track_caller]
fn replaced(text: &str, pairs: &[(&str, String)]) -> String {
    pairs.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "no {from:?} in\n{text}");
        text.replace(from, to)
    })
}

fn seen<'a>(via: &'a str, chain: &'a [&'a str]) -> Seen<'a> {
    Seen {
        port: true,
        via,
        socket: chain[0],
        chain,
    }
}

#[test]
fn nginx_stream() {
    let certs = Certs::new();
    let broker = setup("tcp", "proxy_protocol = \"required\"").start();
    let (plain, tls, inner, lb1) = (free(LB3), free(LB3), free(LB3), free(LB1));
    let config = replaced(
        &shipped("etc/examples/nginx/stream.conf"),
        &[
            ("stream {", format!("stream {{ proxy_bind {LB3};")),
            ("172.16.0.71:1884", broker.addr("lb").to_string()),
            ("listen 1883;", format!("listen {plain};")),
            ("listen 8883 ssl", format!("listen {tls} ssl")),
            (
                "listen 1893 proxy_protocol",
                format!("listen {inner} proxy_protocol"),
            ),
            ("set_real_ip_from 172.16.0.116", format!("set_real_ip_from {LB1}")),
            ("/etc/nginx/tls/", format!("{}/", certs.dir().display())),
        ],
    );
    let _nginx = nginx(&config, &[plain, tls, inner]);
    let outer = format!(
        "stream {{ server {{ listen {lb1}; proxy_pass {inner}; proxy_bind {LB1}; proxy_protocol on; }} }}"
    );
    let _outer = nginx(&outer, &[lb1]);
    for dial in [
        Dial::to(plain),
        Dial::to(tls).tls(certs.client(None)),
        Dial::to(lb1),
    ] {
        everybody_sees_the_client(&broker, &dial, &seen("proxy_v1", &[LB3]));
    }
}

const HEADERS: &str = "address_header = \"X-Forwarded-For\"\nport_header = \"X-Forwarded-Port\"\n\
                       missing_header = \"reject\"";

#[test]
fn nginx_websocket() {
    let broker = setup("ws", HEADERS).start();
    let (outermost, inner, lb1) = (free(LB3), free(LB3), free(LB1));
    let text = shipped("etc/examples/nginx/ws.conf");
    let own = replaced(
        &text,
        &[
            ("http {", format!("http {{ proxy_bind {LB3};")),
            ("172.16.0.71:8083", broker.addr("lb").to_string()),
            ("listen 8083;", format!("listen {outermost};")),
            ("listen 8093;", format!("listen {inner};")),
        ],
    );
    let _nginx = nginx(&own, &[outermost, inner]);
    // The same file on another host, as the outermost proxy of two.
    let before = replaced(
        &text,
        &[
            ("http {", format!("http {{ proxy_bind {LB1};")),
            ("172.16.0.71:8083", inner.to_string()),
            ("listen 8083;", format!("listen {lb1};")),
            ("listen 8093;", format!("listen {};", free(LB1))),
        ],
    );
    let _before = nginx(&before, &[lb1]);
    let forging = |to| {
        Dial::to(to)
            .field("X-Forwarded-For", "127.0.0.1")
            .field("X-Forwarded-Port", "1")
    };
    everybody_sees_the_client(&broker, &forging(outermost), &seen("header", &[LB3]));
    everybody_sees_the_client(&broker, &forging(lb1), &seen("header", &[LB3, LB1]));
}

/// HAProxy wants a directory of whole certificates; its checks want the health port.
fn haproxy_replacements(certs: &Certs, broker: &Broker, health: SocketAddr) -> [(&'static str, String); 4] {
    std::fs::create_dir(certs.path("haproxy")).expect("a directory");
    std::fs::copy(certs.path("server.pem"), certs.path("haproxy/server.pem")).expect("a file");
    [
        ("/etc/haproxy/certs/", certs.path("haproxy").display().to_string()),
        (
            "/etc/haproxy/clients-ca.pem",
            certs.path("ca.pem").display().to_string(),
        ),
        ("172.16.0.71:1884", broker.addr("lb").to_string()),
        (
            "check port 9464",
            format!("check addr {} port {}", health.ip(), health.port()),
        ),
    ]
}

#[test]
fn haproxy_tcp_and_websocket() {
    let certs = Certs::new();
    certs.issue("device", "meter-17");
    let health = free("127.0.0.1");
    let ws = format!(
        "[metrics]\nbind = \"{health}\"\n[listeners.ws]\ntransport = \"ws\"\nbind = \"127.0.0.1:0\"\n\
         trusted_proxies = [\"127.16.0.0/24\"]\n{HEADERS}\n"
    );
    let keys = "proxy_protocol = \"required\"\nproxy_versions = \"v2\"\npp2_cn_as_username = true";
    let broker = setup("tcp", keys).config(&ws).start();
    let (mqtts, wss) = (free(LB3), free(LB3));
    let config = replaced(
        &shipped("etc/examples/haproxy.cfg"),
        &[
            ("\ndefaults\n", format!("\ndefaults\n  source {LB3}\n")),
            ("172.16.0.71:8083", broker.addr("ws").to_string()),
            ("bind :8883", format!("bind {mqtts}")),
            ("bind :8084", format!("bind {wss}")),
        ],
    );
    let config = replaced(&config, &haproxy_replacements(&certs, &broker, health));
    let _haproxy = haproxy(&config, &[mqtts, wss]);
    let tls = |to| Dial::to(to).tls(certs.client(None));
    everybody_sees_the_client(&broker, &tls(mqtts), &seen("proxy_v2", &[LB3]));
    let forging = tls(wss).field("X-Forwarded-For", "127.0.0.1");
    everybody_sees_the_client(&broker, &forging, &seen("header", &[LB3]));
    let dial = Dial::to(mqtts).from(CLIENT).tls(certs.client(Some("device")));
    let _meter = dial.client("meter");
    assert_eq!(broker.client("meter")["username"], "meter-17");
}

/// The settings of `docker-compose.yml` without its containers: a client through each published port, then the doctor.
#[test]
fn compose() {
    let loopback = |path: &str| shipped(path).replace("172.30.0.", "127.30.0.");
    let certs = tempfile::tempdir().expect("a directory");
    let made = printed(Command::new(root().join("etc/compose/make-certs")).arg(certs.path()));
    assert_eq!(made.code, 0, "{made:?}");
    let client_tls = |file: Option<&str>| tests::certs::client(certs.path(), file);

    let health = free("127.30.0.10");
    let broker = Setup::new(&shipped("etc/broker.toml"))
        .config(&loopback("etc/compose/conf.d/10-compose.toml"))
        .own_paths()
        .config(&format!("[metrics]\nbind = \"{health}\""))
        .config("[listeners]\ntcp_lb.bind = \"127.30.0.10:0\"\nws.bind = \"127.30.0.10:0\"")
        .start();

    let (tcp, ws) = (free("127.30.0.20"), free("127.30.0.20"));
    let config = replaced(
        &loopback("etc/compose/nginx.conf"),
        &[
            ("events {}", String::new()),
            ("stream {", "stream { proxy_bind 127.30.0.20;".into()),
            ("http {", "http { proxy_bind 127.30.0.20;".into()),
            ("127.30.0.10:1884", broker.addr("tcp_lb").to_string()),
            ("127.30.0.10:8083", broker.addr("ws").to_string()),
            ("listen 1883;", format!("listen {tcp};")),
            ("listen 8083;", format!("listen {ws};")),
        ],
    );
    let _nginx = nginx(&config, &[tcp, ws]);

    let (tls, wss) = (free("127.30.0.30"), free("127.30.0.30"));
    let config = replaced(
        &loopback("etc/compose/haproxy/haproxy.cfg"),
        &[
            ("\ndefaults\n", "\ndefaults\n  source 127.30.0.30\n".into()),
            ("/usr/local/etc/haproxy/certs", certs.path().display().to_string()),
            ("127.30.0.10:1884", broker.addr("tcp_lb").to_string()),
            ("127.30.0.10:8083", broker.addr("ws").to_string()),
            (
                "check port 9464",
                format!("check addr 127.30.0.10 port {}", health.port()),
            ),
            ("bind :8883", format!("bind {tls}")),
            ("bind :8084", format!("bind {wss}")),
        ],
    );
    let _haproxy = haproxy(&config, &[tls, wss]);

    for (id, dial, via) in [
        ("a", Dial::to(tcp), "proxy_v1"),
        ("b", Dial::to(ws).ws(), "header"),
        ("c", Dial::to(tls).tls(client_tls(Some("device-1"))), "proxy_v2"),
        ("d", Dial::to(wss).tls(client_tls(None)).ws(), "header"),
    ] {
        let client = dial.from(CLIENT).client(id);
        let shown = broker.client(id);
        assert_eq!(shown["peername"], client.local().to_string(), "{shown}");
        assert_eq!(
            (&shown["kind"], &shown["via"]),
            (&"client".into(), &via.into()),
            "{shown}"
        );
    }
    let doctor = broker.ctl(&["doctor"]);
    assert_eq!(
        (doctor.code, doctor.stdout.trim()),
        (0, "no findings"),
        "{doctor:?}"
    );
}

/// What can be said of the image without building it.
#[test]
fn the_image_copies_what_there_is_and_opens_the_health_port() {
    let file = shipped("Dockerfile");
    let line = "bind = \"127.0.0.1:9464\"";
    assert!(file.contains("s/^bind = \"127.0.0.1:9464\"/"), "{file}");
    assert_eq!(
        shipped("etc/broker.toml")
            .lines()
            .filter(|l| l.starts_with(line))
            .count(),
        1
    );
    for path in file.lines().filter_map(|l| l.strip_prefix("COPY etc/")) {
        let source = path.split(' ').next().unwrap_or(path);
        assert!(root().join("etc").join(source).exists(), "{path}");
    }
    let compose = shipped("docker-compose.yml");
    for path in compose
        .split("./etc/")
        .skip(1)
        .filter_map(|rest| rest.split(':').next())
    {
        assert!(root().join("etc").join(path).exists(), "{path}");
    }
}
