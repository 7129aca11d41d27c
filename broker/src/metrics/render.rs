//! Counters and levels -> the Prometheus text format: every name, label and help text of
//! operator-interface 6, in its order. Nothing is counted here.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use metrics::{Key, Label};
use metrics_exporter_prometheus::{LabelSet, formatting};

use super::{
    AclAction, AuthMethod, BOUNDS_NS, BanTarget, ConnectReason, Count, Counters, DisconnectReason,
    DropReason, Metrics, PACKET_TYPES, QuotaLimit, Times, Via,
};

/// What is a level now and not a count; asked for at each scrape.
#[derive(Clone, Debug, Default)]
pub struct Levels {
    /// Seconds since 1970 when the broker started.
    pub start_time_seconds: f64,
    /// By listener.
    pub listeners: BTreeMap<String, ListenerLevels>,
    /// Sessions whose client is connected.
    pub sessions_connected: u64,
    /// Sessions whose client is away.
    pub sessions_stored: u64,
    /// Ordinary subscriptions.
    pub subscriptions: u64,
    /// Shared subscriptions.
    pub shared_subscriptions: u64,
    /// Retained messages.
    pub retained_messages: u64,
    /// Their bytes.
    pub retained_bytes: u64,
    /// Messages in sessions' queues.
    pub queued_messages: u64,
    /// ACL rules in force.
    pub acl_rules: u64,
    /// Bans in force.
    pub bans: u64,
    /// Audit records written, by event.
    pub audit_records: BTreeMap<String, u64>,
    /// Audit records dropped.
    pub audit_dropped: u64,
    /// Audit records that wait to be written.
    pub audit_queue: u64,
    /// The newest reload was taken.
    pub reload_successful: bool,
    /// Seconds since 1970 of the newest reload that was taken (or of the start).
    pub reload_success_seconds: f64,
    /// Configuration generation.
    pub generation: u64,
    /// Keys that wait for a restart.
    pub pending_restart: u64,
    /// Findings: info, warn, error.
    pub findings: [u64; 3],
}

/// Levels of one listener.
#[derive(Clone, Debug, Default)]
pub struct ListenerLevels {
    /// Open connections by trust entry (`@lb`, `#2`, `other`).
    pub proxies: BTreeMap<String, u64>,
    /// Distinct prefixes of peernames now.
    pub peer_prefixes: u64,
    /// Distinct socket addresses now.
    pub socket_addresses: u64,
    /// End of the certificate's life, seconds since 1970 (tls, wss).
    pub certificate_expiry_seconds: Option<f64>,
}

/// The whole text of a scrape.
pub fn render(metrics: &Metrics, levels: &Levels) -> String {
    let by = metrics.by_listener();
    let mut text = Text {
        out: String::with_capacity(32 * 1024),
        name: "",
    };
    build(&mut text, levels);
    connections(&mut text, &by);
    connects(&mut text, &by);
    peernames(&mut text, &by);
    addresses(&mut text, levels);
    state(&mut text, levels);
    packets(&mut text, &by);
    decisions(&mut text, &by, levels);
    audit_and_config(&mut text, levels);
    text.out
}

type ByListener = BTreeMap<Arc<str>, Vec<Arc<Counters>>>;

struct Text {
    out: String,
    name: &'static str,
}

impl Text {
    fn family(&mut self, name: &'static str, kind: &str, help: &str) -> &mut Self {
        self.name = name;
        formatting::write_help_line(&mut self.out, name, None, None, help);
        formatting::write_type_line(&mut self.out, name, None, None, kind);
        self
    }

    fn line(&mut self, labels: &[(&'static str, &str)], value: impl Display) -> &mut Self {
        let labels = label_set(self.name, labels);
        let none: Option<(&'static str, &str)> = None;
        formatting::write_metric_line(&mut self.out, self.name, None, &labels, none, value, None);
        self
    }

    /// One line if it counts something: label sets that never happened are left out.
    fn counted(&mut self, labels: &[(&'static str, &str)], value: u64) -> &mut Self {
        if value > 0 {
            self.line(labels, value);
        }
        self
    }

    fn times<'a>(&mut self, labels: &[(&'static str, &str)], all: impl Iterator<Item = &'a Times> + Clone) {
        let set = label_set(self.name, labels);
        let (out, name) = (&mut self.out, self.name);
        let mut count = 0;
        for (i, bound) in BOUNDS_NS.iter().enumerate() {
            count += all
                .clone()
                .filter_map(|t| t.buckets.get(i))
                .map(Count::get)
                .sum::<u64>();
            let le = Some(("le", *bound as f64 / 1e9));
            formatting::write_metric_line(out, name, Some("bucket"), &set, le, count, None);
        }
        count += all.clone().map(|t| t.above.get()).sum::<u64>();
        let sum = all.map(|t| t.sum_ns.get()).sum::<u64>() as f64 / 1e9;
        formatting::write_metric_line(out, name, Some("bucket"), &set, Some(("le", "+Inf")), count, None);
        let none: Option<(&'static str, &str)> = None;
        formatting::write_metric_line(out, name, Some("sum"), &set, none, sum, None);
        formatting::write_metric_line(out, name, Some("count"), &set, none, count, None);
    }
}

fn label_set(name: &'static str, labels: &[(&'static str, &str)]) -> LabelSet {
    let labels: Vec<Label> = labels
        .iter()
        .map(|(key, value)| Label::new(*key, (*value).to_owned()))
        .collect();
    let global = <_>::default();
    LabelSet::from_key_and_global(&Key::from_parts(name, labels), &global)
}

fn sum(shards: &[Arc<Counters>], read: impl Fn(&Counters) -> u64) -> u64 {
    shards.iter().map(|counters| read(counters)).sum()
}

fn sum_all(by: &ByListener, read: impl Fn(&Counters) -> u64) -> u64 {
    by.values().map(|shards| sum(shards, &read)).sum()
}

fn build(text: &mut Text, levels: &Levels) {
    let commit = option_env!("BROKER_COMMIT").unwrap_or("unknown");
    text.family(
        "broker_build_info",
        "gauge",
        "Version and commit of the binary; always 1.",
    )
    .line(&[("version", env!("CARGO_PKG_VERSION")), ("commit", commit)], 1);
    text.family(
        "broker_start_time_seconds",
        "gauge",
        "When the broker started, seconds since 1970.",
    )
    .line(&[], levels.start_time_seconds);
}

fn connections(text: &mut Text, by: &ByListener) {
    text.family("broker_connections", "gauge", "Open connections.");
    for (name, shards) in by {
        let open: i64 = shards.iter().map(|c| c.connections.get()).sum();
        text.line(&[("listener", name)], open.max(0));
    }
    let mut counter = |name, help, read: fn(&Counters) -> u64| {
        text.family(name, "counter", help);
        for (listener, shards) in by {
            text.line(&[("listener", listener)], sum(shards, read));
        }
    };
    counter(
        "broker_connections_accepted_total",
        "Connections accepted.",
        |c| c.accepted.get(),
    );
    counter("broker_received_bytes_total", "MQTT bytes received.", |c| {
        c.received_bytes.get()
    });
    counter("broker_sent_bytes_total", "MQTT bytes sent.", |c| {
        c.sent_bytes.get()
    });
}

fn connects(text: &mut Text, by: &ByListener) {
    text.family(
        "broker_connects_total",
        "counter",
        "CONNECT packets by how they ended.",
    );
    for (listener, shards) in by {
        for reason in ConnectReason::ALL {
            let outcome = if *reason == ConnectReason::Ok {
                "success"
            } else {
                "failure"
            };
            let labels = [
                ("listener", &**listener),
                ("outcome", outcome),
                ("reason", reason.as_str()),
            ];
            text.counted(&labels, sum(shards, |c| c.connects[*reason as usize].get()));
        }
    }
    text.family(
        "broker_disconnects_total",
        "counter",
        "Ends of clients' connections by reason.",
    );
    for (listener, shards) in by {
        for reason in DisconnectReason::ALL {
            let labels = [("listener", &**listener), ("reason", reason.as_str())];
            text.counted(&labels, sum(shards, |c| c.disconnects[*reason as usize].get()));
        }
    }
}

fn peernames(text: &mut Text, by: &ByListener) {
    text.family(
        "broker_peername_total",
        "counter",
        "Results of finding the client's address.",
    );
    for (listener, shards) in by {
        for via in Via::ALL {
            for (i, kind) in ["client", "proxy"].into_iter().enumerate() {
                let labels = [
                    ("listener", &**listener),
                    ("via", via.as_str()),
                    ("kind", kind),
                    ("code", "ok"),
                ];
                text.counted(&labels, sum(shards, |c| c.peername_ok[*via as usize][i].get()));
            }
        }
        let mut refused = BTreeMap::new();
        for c in shards {
            c.peername_refused.add_to(&mut refused);
        }
        for (code, n) in refused {
            text.line(
                &[
                    ("listener", listener),
                    ("via", "none"),
                    ("kind", "none"),
                    ("code", code),
                ],
                n,
            );
        }
    }
    text.family(
        "broker_peername_warnings_total",
        "counter",
        "Warnings on accepted connections.",
    );
    for (listener, shards) in by {
        let mut warnings = BTreeMap::new();
        for c in shards {
            c.peername_warnings.add_to(&mut warnings);
        }
        for (code, n) in warnings {
            text.line(&[("listener", listener), ("code", code)], n);
        }
    }
    text.family(
        "broker_peername_resolve_seconds",
        "histogram",
        "Time from accept until the client's address is known.",
    );
    for (listener, shards) in by {
        text.times(
            &[("listener", listener)],
            shards.iter().map(|c| &c.peername_resolve),
        );
    }
}

fn addresses(text: &mut Text, levels: &Levels) {
    text.family(
        "broker_proxy_connections",
        "gauge",
        "Open connections by the trust entry they came through.",
    );
    for (listener, level) in &levels.listeners {
        for (proxy, n) in &level.proxies {
            text.line(&[("listener", listener), ("proxy", proxy)], n);
        }
    }
    text.family(
        "broker_peer_prefixes",
        "gauge",
        "Distinct prefixes of client addresses now.",
    );
    for (listener, level) in &levels.listeners {
        text.line(&[("listener", listener)], level.peer_prefixes);
    }
    text.family(
        "broker_socket_addresses",
        "gauge",
        "Distinct socket addresses now.",
    );
    for (listener, level) in &levels.listeners {
        text.line(&[("listener", listener)], level.socket_addresses);
    }
}

fn state(text: &mut Text, levels: &Levels) {
    text.family("broker_sessions", "gauge", "Sessions by state.")
        .line(&[("state", "connected")], levels.sessions_connected)
        .line(&[("state", "stored")], levels.sessions_stored);
    text.family("broker_subscriptions", "gauge", "Subscriptions, shared or not.")
        .line(&[("shared", "no")], levels.subscriptions)
        .line(&[("shared", "yes")], levels.shared_subscriptions);
    text.family("broker_retained_messages", "gauge", "Retained messages.")
        .line(&[], levels.retained_messages);
    text.family("broker_retained_bytes", "gauge", "Bytes of retained messages.")
        .line(&[], levels.retained_bytes);
    text.family("broker_queued_messages", "gauge", "Messages in sessions' queues.")
        .line(&[], levels.queued_messages);
}

fn packets(text: &mut Text, by: &ByListener) {
    let mut typed = |name, help, read: fn(&Counters) -> &[Count; 16]| {
        text.family(name, "counter", help);
        for (i, kind) in PACKET_TYPES.iter().enumerate().skip(1) {
            text.counted(&[("type", kind)], sum_all(by, |c| read(c)[i].get()));
        }
    };
    typed(
        "broker_packets_received_total",
        "Packets received by type.",
        |c| &c.packets_received,
    );
    typed("broker_packets_sent_total", "Packets sent by type.", |c| {
        &c.packets_sent
    });
    let mut by_qos = |name, help, read: fn(&Counters) -> &[Count; 3]| {
        text.family(name, "counter", help);
        for (i, qos) in ["0", "1", "2"].into_iter().enumerate() {
            text.line(&[("qos", qos)], sum_all(by, |c| read(c)[i].get()));
        }
    };
    by_qos(
        "broker_messages_received_total",
        "Messages received by QoS.",
        |c| &c.messages_received,
    );
    by_qos("broker_messages_sent_total", "Messages sent by QoS.", |c| {
        &c.messages_sent
    });
    text.family(
        "broker_messages_dropped_total",
        "counter",
        "Messages that did not reach a subscriber.",
    );
    for reason in DropReason::ALL {
        let n = sum_all(by, |c| c.dropped[*reason as usize].get());
        text.counted(&[("reason", reason.as_str())], n);
    }
    text.family(
        "broker_publish_route_seconds",
        "histogram",
        "Time to match and hand on a message (sampled).",
    );
    text.times(&[], by.values().flatten().map(|c| &c.publish_route));
}

fn decisions(text: &mut Text, by: &ByListener, levels: &Levels) {
    text.family(
        "broker_acl_check_seconds",
        "histogram",
        "Time of an uncached ACL decision (sampled).",
    );
    text.times(&[], by.values().flatten().map(|c| &c.acl_check));
    text.family("broker_acl_decisions_total", "counter", "ACL decisions.");
    for action in AclAction::ALL {
        for (i, verdict) in ["deny", "allow"].into_iter().enumerate() {
            let n = sum_all(by, |c| c.acl[*action as usize][i].get());
            text.counted(&[("action", action.as_str()), ("verdict", verdict)], n);
        }
    }
    text.family("broker_acl_rules", "gauge", "ACL rules in force.")
        .line(&[], levels.acl_rules);
    text.family("broker_authn_total", "counter", "Credentials checked.");
    for method in AuthMethod::ALL {
        for (i, outcome) in ["failure", "success"].into_iter().enumerate() {
            let n = sum_all(by, |c| c.authn[*method as usize][i].get());
            text.counted(&[("method", method.as_str()), ("outcome", outcome)], n);
        }
    }
    text.family(
        "broker_quota_rejected_total",
        "counter",
        "Refusals by the limit that was met.",
    );
    for limit in QuotaLimit::ALL {
        let n = sum_all(by, |c| c.quota_rejected[*limit as usize].get());
        text.counted(&[("limit", limit.as_str())], n);
    }
    text.family("broker_bans", "gauge", "Bans in force.")
        .line(&[], levels.bans);
    text.family(
        "broker_ban_hits_total",
        "counter",
        "Connections and clients that met a ban.",
    );
    for target in BanTarget::ALL {
        let n = sum_all(by, |c| c.ban_hits[*target as usize].get());
        text.counted(&[("target", target.as_str())], n);
    }
}

fn audit_and_config(text: &mut Text, levels: &Levels) {
    text.family("broker_audit_records_total", "counter", "Audit records written.");
    for (event, n) in &levels.audit_records {
        text.line(&[("event", event)], n);
    }
    text.family(
        "broker_audit_dropped_total",
        "counter",
        "Audit records dropped: queue or disk full.",
    )
    .line(&[], levels.audit_dropped);
    text.family(
        "broker_audit_queue_records",
        "gauge",
        "Audit records that wait to be written.",
    )
    .line(&[], levels.audit_queue);
    text.family(
        "broker_config_last_reload_successful",
        "gauge",
        "1 if the newest reload was taken.",
    )
    .line(&[], u8::from(levels.reload_successful));
    let name = "broker_config_last_reload_success_timestamp_seconds";
    text.family(
        name,
        "gauge",
        "When a configuration was taken last, seconds since 1970.",
    )
    .line(&[], levels.reload_success_seconds);
    text.family(
        "broker_config_generation",
        "gauge",
        "Configurations taken since the start.",
    )
    .line(&[], levels.generation);
    text.family(
        "broker_config_pending_restart",
        "gauge",
        "Keys whose new value waits for a restart.",
    )
    .line(&[], levels.pending_restart);
    let name = "broker_tls_certificate_expiry_timestamp_seconds";
    text.family(
        name,
        "gauge",
        "End of the certificate's life, seconds since 1970.",
    );
    for (listener, level) in &levels.listeners {
        if let Some(expiry) = level.certificate_expiry_seconds {
            text.line(&[("listener", listener)], expiry);
        }
    }
    text.family("broker_doctor_findings", "gauge", "Findings of the doctor.");
    for (severity, n) in ["info", "warn", "error"].into_iter().zip(levels.findings) {
        text.line(&[("severity", severity)], n);
    }
}
