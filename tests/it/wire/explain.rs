//! `explain` says the same of a live client, of given bytes, and without a broker; it is the server's own code.

use std::process::Command;

use serde_json::Value;
use tests::broker::{Broker, Printed, binary, clean, printed};
use tests::client::Login;
use tests::link::Dial;

const PROXY: &str = "127.16.0.200";

fn broker() -> Broker {
    Broker::start(
        r#"
[networks]
lb = ["127.16.0.0/24"]
[listeners.tcp]
transport = "tcp"
bind = "127.0.0.1:0"
[listeners.lb]
transport = "tcp"
bind = "127.0.0.1:0"
proxy_protocol = "optional"
trusted_proxies = ["@lb"]
untrusted_proxy_header = "ignore"
[listeners.ws]
transport = "ws"
bind = "127.0.0.1:0"
trusted_proxies = ["@lb"]
address_header = "X-Forwarded-For"
port_header = "X-Forwarded-Port"
strategy = "leftmost"
[listeners.both]
transport = "ws"
bind = "127.0.0.1:0"
proxy_protocol = "required"
trusted_proxies = ["127.16.0.200"]
header_trusted_proxies = ["198.51.100.0/24"]
address_header = "Forwarded"
on_unresolvable = "last_trusted"
"#,
    )
}

/// `broker peername explain --config FILE`.
#[track_caller]
fn offline(broker: &Broker, args: &[&str]) -> Printed {
    let mut command = Command::new(binary());
    clean(&mut command)
        .args(["peername", "explain", "--config"])
        .arg(broker.path("broker.toml"))
        .args(args);
    printed(&mut command)
}

/// `broker ctl peername explain`.
#[track_caller]
fn live(broker: &Broker, args: &[&str]) -> Printed {
    broker.ctl(&[&["peername", "explain"], args].concat())
}

/// With and without `--json`, both say the same and exit alike; `apart` is not compared.
#[track_caller]
fn same(broker: &Broker, of: &[&str], given: &[&str], apart: &[&str]) -> Printed {
    let (a, b) = (live(broker, of), offline(broker, given));
    assert_eq!(a, b, "{of:?} {given:?}");
    let json = |printed: Printed| {
        let mut value: Value = serde_json::from_str(&printed.stdout).expect("JSON");
        let object = value.as_object_mut().expect("an object");
        for key in apart {
            assert!(object.remove(*key).is_some(), "no {key}");
        }
        (printed.code, value)
    };
    assert_eq!(
        json(live(broker, &[of, &["--json"]].concat())),
        json(offline(broker, &[given, &["--json"]].concat())),
        "{of:?} {given:?}"
    );
    a
}

/// The steps kept from a client's own connection are those of its socket and bytes; the number of bytes is not kept.
#[test]
fn a_live_client() {
    const V1: &str = "PROXY TCP4 203.0.113.7 127.0.0.1 51234 1883\r\n";
    const CDN: &str = "PROXY TCP4 198.51.100.9 127.0.0.1 4433 8083\r\n";
    let broker = broker();
    for (listener, from, proxy, fields) in [
        ("tcp", "127.0.0.50", "", &[][..]),
        ("lb", PROXY, V1, &[]),
        ("lb", PROXY, "", &[]),
        ("lb", "127.0.0.50", "", &[]),
        ("lb", "127.0.0.50", V1, &[]),
        ("ws", PROXY, "", &[]),
        (
            "ws",
            PROXY,
            "",
            &[
                "X-Forwarded-For: 6.6.6.6, 203.0.113.7, 127.16.0.116",
                "X-Forwarded-Port: 1, 2, 3",
            ],
        ),
        ("ws", PROXY, "", &["X-Forwarded-For: 203.0.113.7:99"]),
        ("ws", "127.0.0.50", "", &["X-Forwarded-For: 1.2.3.4"]),
        ("both", PROXY, CDN, &["Forwarded: for=\"[2001:db8::7]:4711\""]),
        ("both", PROXY, CDN, &["Forwarded: for=unknown, for=198.51.100.77"]),
        ("both", PROXY, V1, &["Forwarded: for=6.6.6.6"]),
    ] {
        let mut dial: Dial = broker.dial(listener).from(from).before(proxy);
        if matches!(listener, "ws" | "both") {
            dial = dial.ws();
        }
        for field in fields {
            let (name, value) = field.split_once(": ").expect("a field");
            dial = dial.field(name, value);
        }
        let client = dial.client("asked");
        let socket = client.local().to_string();
        let mut given = vec!["--listener", listener, "--socket", &socket];
        if !proxy.is_empty() {
            given.extend(["--proxy-text", proxy]);
        }
        for field in fields {
            given.extend(["--header", field]);
        }
        let told = same(&broker, &["asked"], &given, &["consumed"]);
        assert_eq!(told.code, 0, "{told:?}");
        // And it is what everybody else shows.
        let shown = broker.client("asked");
        let peername = shown["peername"].as_str().expect("text");
        let line = told
            .stdout
            .lines()
            .find(|l| l.starts_with(" = peername"))
            .expect("a result");
        assert_eq!(line.split_whitespace().nth(2), Some(peername), "{told:?}");
        assert!(
            line.contains(&format!("kind={}", shown["kind"].as_str().expect("text"))),
            "{line}"
        );
        client.disconnect();
    }
}

const V2: &str = "0d0a0d0a000d0a515549540a2111000ccb007107c0000201c822075b";
/// With a command that does not exist.
const BROKEN: &str = "0d0a0d0a000d0a515549540a2711000ccb007107c0000201c822075b";

/// Exit status and arguments.
const GIVEN: &[(i32, &[&str])] = &[
    (0, &["--listener", "tcp", "--socket", "198.51.100.9:5000"]),
    (
        1,
        &[
            "--listener",
            "tcp",
            "--socket",
            "198.51.100.9:5000",
            "--proxy-hex",
            V2,
        ],
    ),
    (
        0,
        &[
            "--listener",
            "lb",
            "--socket",
            "127.16.0.5:5000",
            "--proxy-hex",
            V2,
        ],
    ),
    (
        0,
        &["--listener", "lb", "--socket", "10.0.0.5:5000", "--proxy-hex", V2],
    ),
    (
        1,
        &[
            "--listener",
            "lb",
            "--socket",
            "127.16.0.5:5000",
            "--proxy-hex",
            BROKEN,
        ],
    ),
    (1, &["--listener", "both", "--socket", "127.16.0.200:5000"]),
    (
        1,
        &[
            "--listener",
            "both",
            "--socket",
            "127.16.0.201:5000",
            "--proxy-hex",
            V2,
        ],
    ),
    (
        0,
        &[
            "--listener",
            "lb",
            "--socket",
            "127.16.0.5:5000",
            "--proxy-text",
            "PROXY UNKNOWN\\r\\n",
        ],
    ),
    (
        1,
        &[
            "--listener",
            "ws",
            "--socket",
            "127.16.0.5:5000",
            "--header",
            "X-Forwarded-For: me",
        ],
    ),
    (
        0,
        &[
            "--listener",
            "ws",
            "--socket",
            "[2001:db8::1]:5000",
            "--header",
            "X-Forwarded-For: me",
        ],
    ),
];

/// Of given bytes, also of such as are refused, and of what nobody can answer.
#[test]
fn given_bytes() {
    let broker = broker();
    for (code, args) in GIVEN {
        let told = same(&broker, args, args, &[]);
        assert_eq!(told.code, *code, "{args:?}: {told:?}");
        assert!(
            told.stdout.starts_with(&format!("listener {} (", args[1])),
            "{told:?}"
        );
    }
    for wrong in [
        &["--listener", "tcp", "--socket", "nowhere"][..],
        &["--listener", "tcp", "--socket", "1.2.3.4:5", "--proxy-hex", "xy"],
    ] {
        assert_eq!(
            (live(&broker, wrong).code, offline(&broker, wrong).code),
            (2, 2),
            "{wrong:?}"
        );
    }
    // Nobody was connected to, and nothing was recorded.
    assert!(
        broker.audit().iter().all(|r| r["event"] == "start"),
        "{:?}",
        broker.audit()
    );
    let refused = broker.dial("both").from("127.0.0.50").try_login(&Login::new("x"));
    assert!(refused.is_err());
}
