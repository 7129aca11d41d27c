//! An event as one line of JSON: fixed key order, hand-written, nothing a client sent can end a value.
//!
//! Not here: which events there are (`event`), when and where lines are written (`log`), and the
//! other schemas an operator may want (`export`). Anchored patterns (fail2ban) depend on the order.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use peer::{Addr, Peer};

use super::event::{
    Actor, Addresses, AdminCall, ClientFacts, Connect, ConnectReason, Event, EventKind, Sanction, TlsFacts,
};

/// What every record begins with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head<'a> {
    /// Microseconds since 1970.
    pub(super) ts: u64,
    /// Sequence number.
    pub(super) seq: u64,
    /// Name of this node.
    pub(super) node: &'a str,
}

/// How often an alike event happened, and when first (microseconds since 1970).
#[derive(Clone, Copy, Debug)]
pub(super) struct Repeats {
    pub(super) count: u64,
    pub(super) first_ts: u64,
}

/// Appends `event` as one JSON object without a line end.
pub(super) fn write_event(out: &mut Vec<u8>, head: Head<'_>, event: &Event, repeats: Option<Repeats>) {
    let mut w = Writer { out };
    w.begin(head, event.kind());
    if let Some((success, reason)) = outcome(event) {
        w.text("outcome", if success { "success" } else { "failure" });
        w.text("reason", reason);
    }
    match event.client() {
        Some(client) => w.client(client, head.node),
        None => w.text("node", head.node),
    }
    extras(&mut w, event);
    if let Some(r) = repeats {
        w.number("count", r.count);
        w.time("first_ts", r.first_ts);
    }
    w.end();
}

/// Appends an `audit_gap`: `dropped` records, with numbers from `from` to `to`, were lost.
pub(super) fn write_gap(out: &mut Vec<u8>, head: Head<'_>, dropped: u64, from: u64, to: u64) {
    let mut w = Writer { out };
    w.begin(head, EventKind::AuditGap);
    w.text("node", head.node);
    w.number("dropped", dropped);
    w.number("from_seq", from);
    w.number("to_seq", to);
    w.end();
}

/// Appends an `audit_checkpoint` that names the hash of the line before it.
pub(super) fn write_checkpoint(out: &mut Vec<u8>, head: Head<'_>, chain: &str) {
    let mut w = Writer { out };
    w.begin(head, EventKind::AuditCheckpoint);
    w.text("node", head.node);
    w.text("head", chain);
    w.end();
}

/// Success and reason; `None` for records about the log or the process itself.
fn outcome(event: &Event) -> Option<(bool, &'static str)> {
    Some(match event {
        Event::Connect(_, c) => (c.reason == ConnectReason::Ok, c.reason.as_str()),
        Event::AuthnFail(_, reason, _) => (false, reason.as_str()),
        Event::PeernameReject(_, r) => (false, r.code.as_str()),
        Event::ProtoError(_, reason, _) => (false, reason),
        Event::AclDeny(_, d) => (false, d.reason.as_str()),
        Event::Disconnect(_, d) => (true, d.reason.as_str()),
        Event::Admin(a) | Event::ConfigReload(a) => (a.success, if a.success { "ok" } else { "error" }),
        Event::Start(_) | Event::Stop => return None,
        Event::Subscribe(..)
        | Event::Unsubscribe(..)
        | Event::PublishOk(..)
        | Event::Takeover(..)
        | Event::Kick(..)
        | Event::Ban(_)
        | Event::Unban(_) => (true, "ok"),
    })
}

fn extras(w: &mut Writer<'_>, event: &Event) {
    match event {
        Event::Connect(client, c) => connect(w, client, c),
        Event::AuthnFail(_, _, method) => w.text("method", method),
        Event::PeernameReject(_, r) => {
            w.maybe("detail", r.detail.as_deref());
            if let Some(hop) = r.hop {
                w.text("hop", &hop.to_string());
            }
            if let Some((class, bytes)) = &r.first_bytes {
                w.key("first_bytes");
                w.out.push(b'{');
                w.text("class", class);
                w.text("hex", &hex(bytes));
                w.out.push(b'}');
            }
            w.maybe("header", r.header.as_deref());
        }
        Event::ProtoError(_, _, detail) => w.text("detail", detail),
        Event::AclDeny(_, d) => {
            w.text("action", d.action.as_str());
            w.maybe("topic", d.topic.as_deref());
            w.maybe_number("qos", d.qos.map(u64::from));
            w.maybe_flag("retain", d.retain);
            w.maybe("rule", d.rule.as_deref());
        }
        Event::Subscribe(_, filter, qos, rule) => {
            w.text("filter", filter);
            w.number("qos", u64::from(*qos));
            w.maybe("rule", rule.as_deref());
        }
        Event::Unsubscribe(_, filter) => w.text("filter", filter),
        Event::PublishOk(_, topic, qos, rule) => {
            w.text("topic", topic);
            w.number("qos", u64::from(*qos));
            w.maybe("rule", rule.as_deref());
        }
        Event::Disconnect(_, d) => {
            w.number("code", u64::from(d.code));
            w.number("duration_ms", d.duration_ms);
            w.number("rx_bytes", d.rx_bytes);
            w.number("tx_bytes", d.tx_bytes);
        }
        Event::Takeover(_, old_peer, old_socket) => {
            w.ip("old_peer_ip", *old_peer);
            w.ip("old_socket_ip", *old_socket);
        }
        Event::Kick(_, s) | Event::Ban(s) | Event::Unban(s) => sanction(w, s),
        Event::Admin(a) | Event::ConfigReload(a) => admin(w, a),
        Event::Start(version) => w.text("version", version),
        Event::Stop => {}
    }
}

fn connect(w: &mut Writer<'_>, client: &ClientFacts, c: &Connect) {
    w.maybe_flag("clean_start", c.clean_start);
    w.maybe_number("keepalive", c.keepalive.map(u64::from));
    w.maybe_flag("session_present", c.session_present);
    w.maybe("will_topic", c.will_topic.as_deref());
    w.maybe("rule", c.rule.as_deref());
    w.maybe("ban", c.ban.as_deref());
    let Addresses::Peer(peer) = &client.addresses else {
        return;
    };
    if let Some(info) = peer.info().filter(|i| !i.is_empty()) {
        // Through a value, so that its strings are escaped as all others.
        let value = serde_json::to_value(info).unwrap_or_default();
        w.key("info");
        w.value(&value);
    }
}

fn sanction(w: &mut Writer<'_>, s: &Sanction) {
    if let Some(actor) = &s.actor {
        w.actor(actor);
    }
    w.text("what", &s.what);
    if let Some(until) = s.until {
        w.time("until", micros(until));
    }
    w.maybe("by", s.by.as_deref());
    w.maybe_number("matched", s.matched);
}

fn admin(w: &mut Writer<'_>, a: &AdminCall) {
    w.actor(&a.actor);
    w.text("call", &a.call);
    w.list("changed", &a.changed);
    w.list("errors", &a.errors);
}

/// Microseconds since 1970; 0 before that.
pub(super) fn micros(t: SystemTime) -> u64 {
    t.duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX))
}

/// Lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut s = String::with_capacity(bytes.len() * 2);
    for b in bytes {
        for nibble in [b >> 4, b & 15] {
            s.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
    }
    s
}

/// Writes keys and values into one object.
struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl Writer<'_> {
    fn begin(&mut self, head: Head<'_>, kind: EventKind) {
        self.out.push(b'{');
        self.time("ts", head.ts);
        self.number("v", 1);
        self.number("seq", head.seq);
        self.text("event", kind.as_str());
    }

    fn end(&mut self) {
        self.out.push(b'}');
    }

    /// `,"name":`, without the comma at the start of an object. Names are ours: never escaped.
    fn key(&mut self, name: &str) {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn text(&mut self, name: &str, value: &str) {
        self.key(name);
        escape(self.out, value);
    }

    fn maybe(&mut self, name: &str, value: Option<&str>) {
        if let Some(v) = value {
            self.text(name, v);
        }
    }

    fn text_or_null(&mut self, name: &str, value: Option<&str>) {
        self.key(name);
        match value {
            Some(v) => escape(self.out, v),
            None => self.out.extend_from_slice(b"null"),
        }
    }

    fn number(&mut self, name: &str, value: u64) {
        self.key(name);
        // A Vec takes every write.
        let _ = write!(self.out, "{value}");
    }

    fn maybe_number(&mut self, name: &str, value: Option<u64>) {
        if let Some(v) = value {
            self.number(name, v);
        }
    }

    fn maybe_flag(&mut self, name: &str, value: Option<bool>) {
        if let Some(v) = value {
            self.key(name);
            self.out.extend_from_slice(if v { b"true" } else { b"false" });
        }
    }

    fn list<S: AsRef<str>>(&mut self, name: &str, values: impl IntoIterator<Item = S>) {
        self.key(name);
        self.out.push(b'[');
        for (i, v) in values.into_iter().enumerate() {
            if i > 0 {
                self.out.push(b',');
            }
            escape(self.out, v.as_ref());
        }
        self.out.push(b']');
    }

    fn time(&mut self, name: &str, micros: u64) {
        self.key(name);
        self.out.push(b'"');
        write_time(self.out, micros);
        self.out.push(b'"');
    }

    fn ip(&mut self, name: &str, value: Addr) {
        self.key(name);
        let _ = write!(self.out, "\"{}\"", value.host_text());
    }

    fn null(&mut self, name: &str) {
        self.key(name);
        self.out.extend_from_slice(b"null");
    }

    /// The block of keys that every record about a client has, in the order patterns rely on.
    fn client(&mut self, c: &ClientFacts, node: &str) {
        match &c.addresses {
            Addresses::Peer(peer) => self.peer(peer),
            Addresses::Refused(socket) => {
                for name in ["kind", "peer_ip", "peer_port"] {
                    self.null(name);
                }
                self.ip("socket_ip", *socket);
                self.number("socket_port", u64::from(socket.port()));
                self.null("via");
            }
        }
        self.text("listener", &c.listener);
        self.text("node", node);
        self.text_or_null("clientid", c.clientid.as_deref());
        self.text_or_null("username", c.username.as_deref());
        self.text_or_null("proto", c.proto);
        self.key("tls");
        self.out.push(b'{');
        match (&c.tls, &c.addresses) {
            (Some(own), _) => self.own_tls(own),
            (None, Addresses::Peer(peer)) => self.proxy_tls(peer),
            (None, Addresses::Refused(_)) => self.text("by", "none"),
        }
        self.out.push(b'}');
    }

    fn peer(&mut self, p: &Peer) {
        let (peername, socket) = (p.peername().addr(), p.socket());
        self.text("kind", p.kind().as_str());
        self.ip("peer_ip", peername);
        self.number("peer_port", u64::from(peername.port()));
        self.ip("socket_ip", socket);
        self.number("socket_port", u64::from(socket.port()));
        self.text("via", p.source().as_str());
        if !p.chain().is_empty() {
            self.list("chain", p.chain().iter().map(ToString::to_string));
        }
        if let Some(claimed) = p.claimed() {
            self.text("claimed", &claimed.to_string());
        }
        if !p.warnings().is_empty() {
            self.list("warnings", p.warnings().iter().map(peer::Warning::as_str));
        }
    }

    fn own_tls(&mut self, t: &TlsFacts) {
        self.text("by", "broker");
        self.maybe("version", t.version.as_deref());
        self.maybe("cipher", t.cipher.as_deref());
        self.maybe("sni", t.sni.as_deref());
        self.maybe("cn", t.cn.as_deref());
        if !t.san.is_empty() {
            self.list("san", &t.san);
        }
        self.maybe("cert_sha256", t.cert_sha256.as_deref());
    }

    /// What a trusted proxy told of the TLS it ended; a name only if it verified the certificate.
    fn proxy_tls(&mut self, p: &Peer) {
        let info = p.info();
        let Some(ssl) = info.and_then(|i| i.ssl.as_deref()).filter(|s| s.client_tls) else {
            self.text("by", "none");
            return;
        };
        self.text("by", "proxy");
        self.maybe("version", ssl.version.as_deref());
        self.maybe("cipher", ssl.cipher.as_deref());
        self.maybe("sni", info.and_then(|i| i.authority.as_deref()));
        self.maybe("cn", ssl.cn.as_deref().filter(|_| ssl.verified));
    }

    fn actor(&mut self, actor: &Actor) {
        self.key("actor");
        self.out.push(b'{');
        match actor {
            Actor::Uid(uid) => {
                self.number("uid", u64::from(*uid));
                self.ip("peer_ip", Addr::UNIX);
            }
            Actor::Token { name, peer_ip } => {
                self.text("token", name);
                self.ip("peer_ip", Addr::new(*peer_ip, 0));
            }
            Actor::Signal(name) => self.text("signal", name),
        }
        self.out.push(b'}');
    }

    /// An object whose keys are ours but whose strings may not be.
    fn object(&mut self, map: &serde_json::Map<String, serde_json::Value>) {
        self.out.push(b'{');
        for (i, (k, v)) in map.iter().enumerate() {
            if i > 0 {
                self.out.push(b',');
            }
            escape(self.out, k);
            self.out.push(b':');
            self.value(v);
        }
        self.out.push(b'}');
    }

    fn value(&mut self, v: &serde_json::Value) {
        match v {
            serde_json::Value::String(s) => escape(self.out, s),
            serde_json::Value::Object(map) => self.object(map),
            serde_json::Value::Array(items) => {
                self.out.push(b'[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        self.out.push(b',');
                    }
                    self.value(item);
                }
                self.out.push(b']');
            }
            other => {
                let _ = write!(self.out, "{other}");
            }
        }
    }
}

/// A JSON string in which no character can move a terminal's cursor, end a line or turn its direction:
/// beside what JSON demands, DEL, C1, line separators and bidirectional controls are escaped.
fn escape(out: &mut Vec<u8>, s: &str) {
    out.push(b'"');
    let mut plain = 0;
    for (at, c) in s.char_indices() {
        let short: &[u8] = match c {
            '"' => b"\\\"",
            '\\' => b"\\\\",
            '\n' => b"\\n",
            '\r' => b"\\r",
            '\t' => b"\\t",
            '\0'..='\x1f'
            | '\x7f'..='\u{9f}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}' => b"",
            _ => continue,
        };
        out.extend_from_slice(s.as_bytes().get(plain..at).unwrap_or_default());
        plain = at + c.len_utf8();
        if short.is_empty() {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.extend_from_slice(short);
        }
    }
    out.extend_from_slice(s.as_bytes().get(plain..).unwrap_or_default());
    out.push(b'"');
}

/// `2026-11-21T22:55:01.123456Z` (RFC 3339, UTC, six digits).
fn write_time(out: &mut Vec<u8>, micros: u64) {
    let secs = micros / 1_000_000;
    let (days, rest) = (secs / 86_400, secs % 86_400);
    let (y, m, d) = civil(days);
    let _ = write!(
        out,
        "{y:04}-{m:02}-{d:02}T{:02}:{:02}:{:02}.{:06}Z",
        rest / 3600,
        rest / 60 % 60,
        rest % 60,
        micros % 1_000_000
    );
}

/// Year, month, day of a day number since 1970 (Gregorian; years counted from March so that the
/// leap day is the last of its year, 400 years = 146,097 days).
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let doe = z % 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let d = doy - (153 * mp + 2) / 5 + 1;
    let m = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + u64::from(m <= 2), m, d)
}
