//! Each proxy's configuration for listeners of each kind: what must stand in it, and that the proxies that are
//! installed here accept it.

use std::path::Path;
use std::process::Command as Process;

use super::*;
use crate::config::raw::Surroundings;
use crate::config::{Config, LocalPaths, Sources, load_in};

const CONFIG: &str = r#"
[networks]
lb = ["172.16.0.0/24"]
[listeners.plain]
transport = "tcp"
bind = "0.0.0.0:1880"
[listeners.tcp_lb]
transport = "tcp"
bind = "0.0.0.0:1884"
proxy_protocol = "required"
trusted_proxies = ["@lb"]
[listeners.tcp_v1]
transport = "tcp"
bind = "0.0.0.0:1885"
proxy_protocol = "required"
proxy_versions = "v1"
trusted_proxies = ["127.0.0.1"]
[listeners.tcp_cn]
transport = "tcp"
bind = "0.0.0.0:1886"
proxy_protocol = "required"
proxy_versions = "v2"
pp2_cn_as_username = true
trusted_proxies = ["@lb"]
[listeners.ws]
transport = "ws"
bind = "0.0.0.0:8083"
trusted_proxies = ["@lb"]
address_header = "X-Forwarded-For"
port_header = "X-Forwarded-Port"
[listeners.ws_plain]
transport = "ws"
bind = "0.0.0.0:8086"
trusted_proxies = ["@lb"]
address_header = "X-Real-IP"
[listeners.ws_fwd]
transport = "ws"
bind = "0.0.0.0:8087"
trusted_proxies = ["@lb"]
address_header = "Forwarded"
"#;

const LISTENERS: [&str; 7] = ["plain", "tcp_lb", "tcp_v1", "tcp_cn", "ws", "ws_plain", "ws_fwd"];

fn config() -> Config {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("broker.toml");
    std::fs::write(&file, CONFIG).unwrap();
    let around = Surroundings {
        vars: Vec::new(),
        working_dir: dir.path().to_path_buf(),
        default_file: file.clone(),
        local: LocalPaths::new(None, None, None),
    };
    let loaded = load_in(
        &Sources {
            file: Some(file),
            set: Vec::new(),
        },
        &around,
    )
    .unwrap();
    (*loaded.config).clone()
}

fn of(config: &Config, proxy: Proxy, listener: &str) -> Result<String, String> {
    let plan = Plan::new(config, listener, Some("127.0.0.1:18999".parse().unwrap()), None)?;
    text(proxy, &plan)
}

/// Proxy, listener, and parts of what is printed (or why it is not), apart by ` | `.
const PARTS: &str = r#"
nginx   plain    set proxy_protocol="required", and trusted_proxies
envoy   plain    set proxy_protocol="required", and trusted_proxies
nginx   tcp_lb   server 127.0.0.1:1884; | proxy_protocol on; | trusted_proxies = ["@lb"] | which is 172.16.0.0/24
nginx   tcp_lb   add "127.0.0.1" | # and nothing else may reach that port.
haproxy tcp_lb   server b1 127.0.0.1:1884 send-proxy-v2 check port 9464 | httpchk GET /readyz
haproxy tcp_v1    send-proxy check
haproxy tcp_cn   verify optional | send-proxy-v2-ssl-cn
nginx   tcp_cn   nginx does not send; use haproxy
traefik tcp_cn   Traefik does not send; use haproxy
envoy   tcp_v1   config: {version: V1} | cluster: broker_tcp_v1
traefik tcp_lb   proxyProtocol: {version: 2} | HostSNI(`*`)
nginx   ws       proxy_set_header X-Forwarded-For $remote_addr; | location /mqtt
nginx   ws       proxy_set_header X-Forwarded-Port $remote_port;
haproxy ws       set-header X-Forwarded-For %[src] | set-header X-Forwarded-Port %[src_port]
envoy   ws       skip_xff_append: true | "X-Forwarded-Port", value: "%DOWNSTREAM_REMOTE_PORT%"
traefik ws       Traefik sends no client port
traefik ws_plain PathPrefix(`/mqtt`)
nginx   ws_fwd   map $remote_addr $mqtt_forwarded | proxy_set_header Forwarded $mqtt_forwarded;
"#;

#[test]
fn the_listeners_settings_decide_what_is_sent() {
    let config = config();
    for line in PARTS.trim().lines() {
        let (proxy, rest) = line.split_once(' ').unwrap();
        let (listener, parts) = rest.trim_start().split_once(' ').unwrap();
        let proxy = <Proxy as ValueEnum>::from_str(proxy, false).unwrap();
        let text = of(&config, proxy, listener).unwrap_or_else(|error| error);
        for part in parts.trim_start().split(" | ") {
            assert!(text.contains(part), "{line}: no `{part}` in\n{text}");
        }
    }
    let listed = of(&config, Proxy::Nginx, "tcp_v1").unwrap();
    assert!(!listed.contains("# add"), "{listed}");
}

/// Whether the program is here; says so aloud if not.
fn installed(program: &str) -> bool {
    let here = Process::new(program).arg("-v").output().is_ok();
    if !here {
        eprintln!("SKIPPED: {program} is not installed, its configuration was not checked");
    }
    here
}

#[track_caller]
fn accepts(program: &str, args: &[&str], file: &Path, text: &str) {
    std::fs::write(file, text).unwrap();
    let out = Process::new(program).args(args).arg(file).output().unwrap();
    let said = [out.stdout, out.stderr].concat();
    assert!(
        out.status.success(),
        "{program} refuses\n{text}\n{}",
        String::from_utf8_lossy(&said)
    );
}

#[test]
fn nginx_accepts_its_configuration() {
    if !installed("nginx") {
        return;
    }
    let (config, dir) = (config(), tempfile::tempdir().unwrap());
    let module = "/usr/lib/nginx/modules/ngx_stream_module.so";
    for listener in LISTENERS {
        let Ok(body) = of(&config, Proxy::Nginx, listener) else {
            continue;
        };
        let load = if body.contains("stream {") && Path::new(module).exists() {
            format!("load_module {module};\n")
        } else {
            String::new()
        };
        let at = dir.path().display();
        let text = format!("{load}pid {at}/pid;\nerror_log {at}/error.log;\nevents {{}}\n{body}");
        accepts(
            "nginx",
            &["-t", "-p", &at.to_string(), "-c"],
            &dir.path().join("nginx.conf"),
            &text,
        );
    }
}

#[test]
fn haproxy_accepts_its_configuration() {
    if !installed("haproxy") {
        return;
    }
    let (config, dir) = (config(), tempfile::tempdir().unwrap());
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let pem = format!("{}{}", key.cert.pem(), key.signing_key.serialize_pem());
    std::fs::create_dir(dir.path().join("certs")).unwrap();
    std::fs::write(dir.path().join("certs/server.pem"), &pem).unwrap();
    std::fs::write(dir.path().join("clients-ca.pem"), key.cert.pem()).unwrap();
    for listener in LISTENERS {
        let Ok(text) = of(&config, Proxy::Haproxy, listener) else {
            continue;
        };
        let text = text.replace("/etc/haproxy/", &format!("{}/", dir.path().display()));
        accepts("haproxy", &["-c", "-f"], &dir.path().join("haproxy.cfg"), &text);
    }
}
