//! The lines an operator reads: peername 9's texts, one per cause and address in ten seconds.

use crate::client::{Client, Cut, HEADER, MQTT, upgrade_request};
use crate::world::{World, behind_proxy, list, policy, spec, text};
use listeners::{ListenerSpec, TransportKind};
use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

const TCP: TransportKind = TransportKind::Tcp;
const WS: TransportKind = TransportKind::Ws;

/// Lines above debug: level, message, fields.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() <= Level::WARN {
            let mut line = Line::default();
            event.record(&mut line);
            let line = format!("{} {}{}", event.metadata().level(), line.message, line.fields);
            self.0.lock().expect("no panic").push(line);
        }
    }
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let done = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
        done.expect("a string");
    }
}

/// What is logged when each of `visits` comes to a listener of `spec`; ports are replaced by `PORT`.
async fn logged(spec: ListenerSpec, visits: &[&[u8]]) -> Vec<String> {
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(lines.clone()));
    let mut world = World::new(spec);
    let mut ports = Vec::new();
    for bytes in visits {
        let mut client = Client::socket(world.addr, Cut::Whole).await;
        ports.push(client.port());
        client.send_or_stop(bytes).await;
        world.refusal().await;
    }
    let mut lines = std::mem::take(&mut *lines.0.lock().expect("no panic"));
    for line in &mut lines {
        for port in &ports {
            *line = line.replace(&port.to_string(), "PORT");
        }
    }
    lines
}

#[tokio::test]
async fn the_texts_say_what_to_do() {
    let fields = " network.peer.address=127.0.0.1 network.peer.port=PORT";
    let cases = [
        (
            spec(TCP, policy(TCP, &[])),
            HEADER,
            format!(
                r#"ERROR listener door: 127.0.0.1:PORT sent a PROXY v1 header but proxy_protocol is off; set proxy_protocol="required" and trusted_proxies=["127.0.0.1"], or stop the proxy from sending it code="E_PROXY_UNEXPECTED"{fields}"#
            ),
        ),
        (
            spec(TCP, behind_proxy(TCP)),
            MQTT,
            format!(
                r#"ERROR listener door: 127.0.0.1:PORT sent mqtt where a PROXY header is required; turn on send-proxy there, or use a listener without PROXY code="E_PROXY_REQUIRED"{fields}"#
            ),
        ),
        (
            spec(
                TCP,
                policy(
                    TCP,
                    &[
                        ("proxy_protocol", text("required")),
                        ("trusted_proxies", list(&["192.0.2.1"])),
                    ],
                ),
            ),
            b"",
            format!(
                r#"WARN listener door: 127.0.0.1:PORT is not in trusted_proxies; connection refused code="E_PROXY_PEER"{fields}"#
            ),
        ),
        (
            spec(TCP, behind_proxy(TCP)),
            b"PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n",
            format!(
                r#"WARN listener door: PROXY header from 127.0.0.1:PORT refused: E_PROXY_V1 proto code="E_PROXY_V1"{fields}"#
            ),
        ),
        (
            spec(WS, policy(WS, &[])),
            MQTT,
            format!(
                r#"WARN listener door: connection from 127.0.0.1:PORT refused in stage http: malformed HTTP head (mqtt) code="E_HTTP_BAD_REQUEST"{fields}"#
            ),
        ),
    ];
    for (spec, bytes, line) in cases {
        assert_eq!(logged(spec, &[bytes]).await, [line]);
    }
    let keys = [
        ("address_header", text("X-Forwarded-For")),
        ("trusted_proxies", list(&["127.0.0.1"])),
    ];
    let head = upgrade_request(&[("X-Forwarded-For", "unknown")]);
    assert_eq!(
        logged(spec(WS, policy(WS, &keys)), &[head.as_bytes()]).await,
        [format!(
            r#"WARN listener door: X-Forwarded-For from 127.0.0.1:PORT refused: E_HEADER_UNRESOLVABLE unknown code="E_HEADER_UNRESOLVABLE"{fields}"#
        )]
    );
}

#[tokio::test]
async fn one_line_for_many_of_a_kind_and_none_for_the_quiet_ends() {
    let strangers = [MQTT; 20];
    assert_eq!(logged(spec(TCP, behind_proxy(TCP)), &strangers).await.len(), 1);
    let broken = b"PROXY nonsense\r\n";
    let lines = logged(spec(TCP, behind_proxy(TCP)), &[MQTT, broken, MQTT, broken]).await;
    assert_eq!(lines.len(), 2, "two codes: {lines:?}");
    let quiet = ListenerSpec {
        login_timeout: Duration::from_millis(50),
        ..spec(TCP, behind_proxy(TCP))
    };
    assert_eq!(logged(quiet, &[b""]).await.len(), 0, "Q_IDLE");
}
