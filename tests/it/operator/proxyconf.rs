//! What `broker proxyconf` prints is started as it is, and the true address comes through it.

use std::net::SocketAddr;
use std::process::Command;

use tests::broker::{Broker, Printed, Setup, binary, clean, printed};
use tests::link::Dial;
use tests::process::free;
use tests::proxies::{Proxy, haproxy, nginx};

const CLIENT: &str = "127.0.0.50";

/// A broker with one listener `lb` that trusts a proxy on its own machine.
#[track_caller]
fn broker(transport: &str, keys: &str) -> Broker {
    let listener = format!(
        "[listeners.lb]\ntransport = \"{transport}\"\nbind = \"127.0.0.1:0\"\ntrusted_proxies = [\"127.0.0.1\"]\n{keys}\n"
    );
    Setup::new(&listener).start()
}

fn proxyconf(broker: &Broker, proxy: &str, listen: SocketAddr) -> Printed {
    let mut command = Command::new(binary());
    let (listen, backend) = (listen.to_string(), broker.addr("lb").to_string());
    clean(&mut command)
        .args([
            "proxyconf",
            proxy,
            "--listener",
            "lb",
            "--listen",
            &listen,
            "--backend",
            &backend,
            "--config",
        ])
        .arg(broker.path("broker.toml"));
    printed(&mut command)
}

/// Starts the proxy from what is printed, connects through it, and asserts what `clients show` says.
#[track_caller]
fn the_client_is_seen(transport: &str, keys: &str, proxy: &str, port: bool, via: &str) {
    let broker = broker(transport, keys);
    let listen = free("127.0.0.1");
    let printed = proxyconf(&broker, proxy, listen);
    assert_eq!(printed.code, 0, "{printed:?}");
    let start: fn(&str, &[SocketAddr]) -> Proxy = if proxy == "nginx" { nginx } else { haproxy };
    let _proxy = start(&printed.stdout, &[listen]);
    let mut dial = Dial::to(listen).from(CLIENT);
    if transport == "ws" {
        // A client that lies about itself is overwritten.
        dial = dial
            .ws()
            .field("X-Forwarded-For", "10.0.0.1")
            .field("Forwarded", "for=10.0.0.1");
    }
    let client = dial.client("dev-7");
    let local = client.local();
    let peername = if port {
        local.to_string()
    } else {
        format!("{}:0", local.ip())
    };
    let line = broker.client_line("dev-7");
    for part in [
        format!("peername={peername}, "),
        "kind=client, ".to_owned(),
        format!("via={via}, "),
    ] {
        assert!(line.contains(&part), "no {part:?} in {line}\n{}", printed.stdout);
    }
}

const HEADERS: &str = "address_header = \"X-Forwarded-For\"\nport_header = \"X-Forwarded-Port\"";
const FORWARDED: &str = "address_header = \"Forwarded\"";

#[test]
fn nginx_before_tcp() {
    the_client_is_seen("tcp", "proxy_protocol = \"required\"", "nginx", true, "proxy_v1");
}

#[test]
fn haproxy_before_tcp() {
    the_client_is_seen(
        "tcp",
        "proxy_protocol = \"required\"",
        "haproxy",
        true,
        "proxy_v2",
    );
    let v1 = "proxy_protocol = \"required\"\nproxy_versions = \"v1\"";
    the_client_is_seen("tcp", v1, "haproxy", true, "proxy_v1");
}

#[test]
fn nginx_before_websocket() {
    the_client_is_seen("ws", HEADERS, "nginx", true, "header");
    the_client_is_seen("ws", FORWARDED, "nginx", true, "header");
    the_client_is_seen("ws", "address_header = \"X-Real-IP\"", "nginx", false, "header");
}

#[test]
fn haproxy_before_websocket() {
    the_client_is_seen("ws", HEADERS, "haproxy", true, "header");
    the_client_is_seen("ws", FORWARDED, "haproxy", true, "header");
}

#[test]
fn a_listener_that_believes_nobody_gets_none() {
    let broker = broker("tcp", "");
    let printed = proxyconf(&broker, "nginx", free("127.0.0.1"));
    assert_eq!(printed.code, 1);
    assert!(
        printed
            .stderr
            .contains("set proxy_protocol=\"required\", and trusted_proxies"),
        "{printed:?}"
    );
    assert_eq!(printed.stdout, "");
}
