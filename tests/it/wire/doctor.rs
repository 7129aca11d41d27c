//! The doctor finds what is wrong with real proxies that are misconfigured in just that way (peername 11).

use std::net::SocketAddr;

use serde_json::Value;
use tests::broker::Broker;
use tests::certs::Certs;
use tests::client::{Client, Login};
use tests::link::Dial;
use tests::process::free;
use tests::proxies::{Proxy, haproxy, nginx};
use tests::wait::until;

/// Balancers: nearest to the broker last. Neither is the broker's own address.
const OUTER: &str = "127.16.0.116";
const LB: &str = "127.16.0.200";

const HEADERS: &str = "address_header = \"X-Forwarded-For\"\nport_header = \"X-Forwarded-Port\"";

/// A broker with one listener `edge`, on a port that its configuration names: messages repeat it.
#[track_caller]
fn edge(transport: &str, keys: &str) -> Broker {
    let bind = free("127.0.0.1");
    Broker::start(&format!(
        "[listeners.edge]\ntransport = \"{transport}\"\nbind = \"{bind}\"\n{keys}\n"
    ))
}

/// `proxy_protocol = "required"` for senders in the balancers' network.
const REQUIRED: &str = "proxy_protocol = \"required\"\ntrusted_proxies = [\"127.16.0.0/24\"]";

/// A server of NGINX's stream module on `listen` that connects to `to` from its own address.
fn forward(listen: SocketAddr, to: SocketAddr, more: &str) -> String {
    format!(
        "server {{ listen {listen}; proxy_pass {to}; proxy_bind {}; {more} }}\n",
        listen.ip()
    )
}

#[track_caller]
fn stream(servers: &str, listens: &[SocketAddr]) -> Proxy {
    nginx(&format!("stream {{ {servers} }}"), listens)
}

/// NGINX's http module in front of a WebSocket listener.
#[track_caller]
fn http(listen: SocketAddr, to: SocketAddr, fields: &str) -> Proxy {
    let server = format!(
        "server {{ listen {listen}; location /mqtt {{ proxy_pass http://{to}; proxy_bind {}; proxy_http_version 1.1;
           proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\"; {fields} }} }}",
        listen.ip()
    );
    nginx(&format!("http {{ {server} }}"), &[listen])
}

/// `count` clients, each with an address of its own.
#[track_caller]
fn clients(dial: &Dial, count: usize) -> Vec<Client> {
    let one = |n| {
        dial.clone()
            .from(&format!("127.0.3.{}", n + 1))
            .client(&format!("c{n}"))
    };
    (0..count).map(one).collect()
}

/// Tries to log in, in vain.
#[track_caller]
fn in_vain(dial: &Dial) {
    let refused = dial.clone().from("127.0.3.1").try_login(&Login::new("c0"));
    assert!(refused.is_err(), "was served");
}

/// What `doctor --json` says once it names this code; its exit status is 1 then.
#[track_caller]
fn findings(broker: &Broker, code: &str) -> Vec<Value> {
    until(
        &format!(
            "{code}, while the doctor says {:?}",
            broker.ctl(&["doctor"]).stdout
        ),
        || {
            let printed = broker.ctl(&["--json", "doctor"]);
            let all: Value = serde_json::from_str(&printed.stdout).expect("JSON");
            let found: Vec<Value> = all["findings"]
                .as_array()
                .expect("a list")
                .iter()
                .filter(|f| f["code"] == code)
                .cloned()
                .collect();
            assert_eq!(
                printed.code,
                i32::from(all["findings"] != serde_json::json!([])),
                "{printed:?}"
            );
            (!found.is_empty()).then_some(found)
        },
    )
}

/// There is exactly one finding with this code; its message begins so, and its snippets are these, filled in.
#[track_caller]
fn finds(broker: &Broker, code: &str, message: &str, snippets: &[&str]) {
    let found = findings(broker, code);
    assert_eq!(found.len(), 1, "{found:?}");
    let finding = &found[0];
    assert_eq!(finding["listener"], "edge", "{finding}");
    let text = finding["message"].as_str().expect("text");
    assert!(
        text.starts_with(message),
        "{text}\n does not begin with\n{message}"
    );
    let shown = finding["snippets"].as_array().map_or(&[][..], Vec::as_slice);
    let shown: Vec<&str> = shown.iter().map(|s| s.as_str().expect("text")).collect();
    let names: Vec<&str> = shown.iter().map(|s| &s[..2]).collect();
    assert_eq!(names, snippets, "{finding}");
    for snippet in shown {
        assert!(
            !snippet.contains("{bind}") && !snippet.contains("{port}"),
            "{snippet}"
        );
    }
}

/// Everyone has the address of a forwarder that hides them.
#[test]
fn d01_everybody_behind_one_address() {
    let broker = edge("tcp", "");
    let lb = free(LB);
    let _nginx = stream(&forward(lb, broker.addr("edge"), ""), &[lb]);
    let mut few = clients(&Dial::to(lb), 19);
    assert_eq!(broker.ctl(&["doctor"]).code, 0, "19 are too few to tell");
    few.push(Dial::to(lb).client("c19"));
    let message = format!(
        "20 clients on edge all come from {LB}. A firewall with source NAT or a proxy hides them. Either let the \
         firewall keep source addresses (turn NAT off for this rule), or put a proxy there that names the client \
         [S1] [S3] and list {LB} in trusted_proxies."
    );
    finds(&broker, "D01", &message, &["S1", "S3"]);
    let text = broker.ctl(&["doctor"]).stdout;
    let bind = broker.addr("edge").to_string();
    assert!(text.contains(&message), "{text}");
    assert!(
        text.contains(&format!("proxy_pass {bind};")),
        "no {bind} in {text}"
    );
}

#[test]
fn d03_a_proxy_header_where_none_is_expected() {
    let broker = edge("tcp", "");
    let (lb, backend) = (free(LB), broker.addr("edge"));
    let config =
        format!("listen mqtt\n  mode tcp\n  bind {lb}\n  source {LB}\n  server b1 {backend} send-proxy-v2");
    let _haproxy = haproxy(&config, &[lb]);
    in_vain(&Dial::to(lb));
    let message = format!(
        "{LB} sends a PROXY header to edge, where proxy_protocol is off. Set proxy_protocol=\"required\", \
         trusted_proxies=[\"{LB}\"], or remove send-proxy"
    );
    finds(&broker, "D03", &message, &[]);
}

#[test]
fn d04_a_listed_proxy_that_sends_no_header() {
    let broker = edge("tcp", REQUIRED);
    let lb = free(LB);
    let _nginx = stream(&forward(lb, broker.addr("edge"), ""), &[lb]);
    in_vain(&Dial::to(lb));
    let message = format!(
        "{LB} is listed as a proxy of edge but sent mqtt without a PROXY header. Add it there [S1] [S5],"
    );
    finds(&broker, "D04", &message, &["S1", "S5"]);
}

#[test]
fn d05_a_proxy_that_is_not_listed() {
    for (mode, send) in [("required", "send-proxy-v2"), ("optional", "send-proxy")] {
        let keys = format!("proxy_protocol = \"{mode}\"\ntrusted_proxies = [\"{OUTER}\"]");
        let broker = edge("tcp", &keys);
        let (lb, backend) = (free(LB), broker.addr("edge"));
        let config =
            format!("listen mqtt\n  mode tcp\n  bind {lb}\n  source {LB}\n  server b1 {backend} {send}");
        let _haproxy = haproxy(&config, &[lb]);
        in_vain(&Dial::to(lb));
        let message =
            format!("{LB} tries to use PROXY on edge and is not in trusted_proxies. Add it if it is yours.");
        finds(&broker, "D05", &message, &[]);
    }
}

/// A proxy passes TLS through to the plain port.
#[test]
fn d06_tls_at_a_plain_listener() {
    let certs = Certs::new();
    for transport in ["tcp", "ws"] {
        let broker = edge(transport, REQUIRED);
        let lb = free(LB);
        let _nginx = stream(&forward(lb, broker.addr("edge"), "proxy_protocol on;"), &[lb]);
        in_vain(&Dial::to(lb).tls(certs.client(None)));
        let message = format!(
            "TLS clients reach the plain listener edge ({}). Point them to a tls/wss listener,",
            broker.addr("edge")
        );
        finds(&broker, "D06", &message, &[]);
    }
}

/// A WebSocket proxy, and a health check in HTTP, are sent to the port of plain MQTT.
#[test]
fn d07_http_at_an_mqtt_listener() {
    let message = |broker: &Broker| {
        format!(
            "HTTP requests reach the MQTT listener edge ({}): a WebSocket client or a health check on the wrong port. \
             Use a ws listener; make the check TCP or \"check-send-proxy\".",
            broker.addr("edge")
        )
    };
    let broker = edge("tcp", "");
    let lb = free(LB);
    let _nginx = http(lb, broker.addr("edge"), "");
    in_vain(&Dial::to(lb).ws());
    finds(&broker, "D07", &message(&broker), &[]);

    let broker = edge("tcp", REQUIRED);
    let (lb, backend) = (free(LB), broker.addr("edge"));
    let config = format!(
        "listen mqtt\n  mode tcp\n  option httpchk GET /health\n  bind {lb}\n  source {LB}\n  \
         server b1 {backend} send-proxy check inter 100ms"
    );
    let _haproxy = haproxy(&config, &[lb]);
    finds(&broker, "D07", &message(&broker), &[]);
}

/// The outer balancer names nobody, so the inner one names the outer one.
#[test]
fn d10_a_hop_is_missing() {
    let broker = edge("tcp", REQUIRED);
    let (outer, lb) = (free(OUTER), free(LB));
    let servers = forward(outer, lb, "") + &forward(lb, broker.addr("edge"), "proxy_protocol on;");
    let _nginx = stream(&servers, &[outer, lb]);
    let _clients = clients(&Dial::to(outer), 5);
    let message = format!(
        "5 clients on edge resolve to {OUTER}, which is one of your proxies: a hop is missing in the chain."
    );
    finds(&broker, "D10", &message, &["S2", "S4"]);
    assert_eq!(broker.client("c0")["kind"], "proxy", "no client, whatever it is");
}

#[test]
fn d11_no_address_header() {
    for (missing, count) in [("hop", 5), ("reject", 1)] {
        let keys = format!("{HEADERS}\nmissing_header = \"{missing}\"\ntrusted_proxies = [\"{LB}\"]");
        let broker = edge("ws", &keys);
        let lb = free(LB);
        let _nginx = http(lb, broker.addr("edge"), "");
        let dial = Dial::to(lb).ws();
        if missing == "hop" {
            clients(&dial, count);
        } else {
            in_vain(&dial);
        }
        let message = format!(
            "{LB} is trusted on edge but sends no X-Forwarded-For ({count}). Add it [S3]. Until then its clients are \
             shown as {LB} and match no IP allow rule."
        );
        finds(&broker, "D11", &message, &["S3"]);
    }
}

#[test]
fn d13_the_servers_port_instead_of_the_clients() {
    let broker = edge("ws", &format!("{HEADERS}\ntrusted_proxies = [\"{LB}\"]"));
    let lb = free(LB);
    let fields =
        "proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Port $server_port;";
    let _nginx = http(lb, broker.addr("edge"), fields);
    let _clients = clients(&Dial::to(lb).ws(), 20);
    let message = format!(
        "Every client on edge has port {}: X-Forwarded-Port carries the server's port. Send $remote_port / \
         %[src_port] under another name [S3] [S6], or unset port_header.",
        lb.port()
    );
    finds(&broker, "D13", &message, &["S3", "S6"]);
}

/// Both balancers add a header, and the inner one does not read the outer one's.
#[test]
fn d15_two_proxy_headers() {
    let broker = edge("tcp", REQUIRED);
    let (outer, lb) = (free(OUTER), free(LB));
    let servers =
        forward(outer, lb, "proxy_protocol on;") + &forward(lb, broker.addr("edge"), "proxy_protocol on;");
    let _nginx = stream(&servers, &[outer, lb]);
    in_vain(&Dial::to(outer));
    let message = format!("Connections on edge carry two PROXY headers (inner one: {OUTER}");
    finds(&broker, "D15", &message, &["S2"]);
}

/// A NAT stands in front of the balancer, which names the NAT.
#[test]
fn d17_everybody_has_one_address_although_a_proxy_names_them() {
    const NAT: &str = "127.20.0.1";
    let broker = edge("tcp", REQUIRED);
    let (nat, lb) = (free(NAT), free(LB));
    let servers = forward(nat, lb, "") + &forward(lb, broker.addr("edge"), "proxy_protocol on;");
    let _nginx = stream(&servers, &[nat, lb]);
    let _clients = clients(&Dial::to(nat), 50);
    let message = format!(
        "50 clients on edge all have the address {NAT} although a proxy names them: there is another NAT or proxy in \
         front of it. Make that one pass the address on."
    );
    finds(&broker, "D17", &message, &[]);
}
