//! "Did you mean": the nearest key of ours, and what keys of other brokers and proxies are called here.

use super::keys::{Branch, all};
use super::origin::{KeyPath, dotted};

/// The nearest of some words: at most two edits away (Damerau-Levenshtein), and at most half of the word.
pub fn nearest<'a>(given: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = words.map(|word| (strsim::damerau_levenshtein(given, word), word));
    near.filter(|(distance, word)| *distance <= 2 && distance * 2 <= word.len())
        .min_by_key(|(d, _)| *d)
        .map(|(_, w)| w)
}

/// What an unknown key in a table was probably meant to be: first among the keys of that table, then of all tables.
pub fn key(branch: &Branch, path: &[String]) -> Option<String> {
    let (name, parents) = path.split_last()?;
    let here = branch.named.iter().map(|(n, _)| *n);
    if let Some(near) = nearest(name, here) {
        return Some(near.to_owned());
    }
    let names = all()
        .iter()
        .map(|k| (k, k.name()))
        .filter(|(_, n)| *n != "*" && *n != "[]");
    let tables = all()
        .iter()
        .filter_map(|k| k.path.split('.').next())
        .filter(|t| *t != name);
    let table = if parents.is_empty() {
        nearest(name, tables)
    } else {
        None
    };
    if let Some(table) = table {
        return Some(table.to_owned());
    }
    let found = names.map(|(k, n)| (strsim::damerau_levenshtein(name, n), k));
    let found = found.filter(|(d, k)| *d <= 2 && d * 2 <= k.name().len());
    let best = found.min_by_key(|(d, k)| (*d, shared(&k.path, parents)))?.1;
    Some(concrete(&best.path, parents))
}

/// The same, always as a whole path.
pub fn full_key(branch: &Branch, path: &[String]) -> Option<String> {
    let near = key(branch, path)?;
    let (_, parents) = path.split_last()?;
    let is_here = branch.named.iter().any(|(name, _)| *name == near);
    if is_here && !parents.is_empty() {
        Some(format!("{}.{near}", dotted(parents)))
    } else {
        Some(near)
    }
}

/// How far a key's table is from where the user was: less is nearer.
fn shared(path: &str, parents: &[String]) -> usize {
    let common = path
        .split('.')
        .zip(parents)
        .take_while(|(a, b)| *a == "*" || a == b)
        .count();
    usize::MAX - common
}

/// A key's path with the user's own names in place of `*`.
fn concrete(path: &str, parents: &[String]) -> String {
    let mut mine = true;
    let parts = path.split('.').enumerate().map(|(i, part)| {
        let own = parents.get(i).filter(|_| mine);
        if part == "*" {
            return own.map_or("NAME", String::as_str);
        }
        mine = own.is_some_and(|own| own == part);
        part
    });
    parts.filter(|part| *part != "[]").collect::<Vec<_>>().join(".")
}

/// What an unknown environment variable was probably meant to be.
pub fn variable(path: &[String]) -> Option<String> {
    let given = env_name(path);
    let candidates = all().iter().filter(|k| !k.path.contains("[]")).map(|k| {
        let parts: KeyPath = k
            .path
            .split('.')
            .zip(path)
            .map(|(part, own)| if part == "*" { own } else { part }.to_owned())
            .collect();
        let rest = k.path.split('.').skip(path.len()).map(ToOwned::to_owned);
        env_name(&parts.into_iter().chain(rest).collect::<Vec<_>>())
    });
    let near = candidates
        .map(|c| (strsim::damerau_levenshtein(&given, &c), c))
        .filter(|(d, _)| *d <= 2);
    near.min_by_key(|(d, _)| *d).map(|(_, c)| c)
}

/// The environment variable of a key.
pub fn env_name(path: &[String]) -> String {
    format!("BROKER__{}", path.join("__").to_uppercase())
}

/// Keys of other programs: name there, program, and what to do here.
#[rustfmt::skip]
const FOREIGN: &[(&str, &str, &str)] = &[
    ("acceptors", "an EMQX", "not needed: accepting is spread over all cores (node.workers)"),
    ("access_rules", "an EMQX", "write `deny connect listener=tcp ip=...` in the ACL file (acl.file)"),
    ("acl_file", "a Mosquitto", "it is `acl.file`; broker acl import mosquitto FILE translates the rules"),
    ("addr", "an RMQTT", "it is `bind`"),
    ("autosave_interval", "a Mosquitto", "it is `store.fsync_interval`, with `store.durability`"),
    ("bind_address", "a Mosquitto", "it is `bind`, with the port"),
    ("cacertfile", "an EMQX", "it is `client_ca_file` in the listener's tls table"),
    ("cafile", "a Mosquitto", "it is `client_ca_file` in the listener's tls table"),
    ("cert_path", "an RMQTT", "it is `cert_file` in the listener's tls table"),
    ("certfile", "a Mosquitto and EMQX", "it is `cert_file` in the listener's tls table"),
    ("check_origins", "an EMQX", "it is `allowed_origins` in the listener's websocket table"),
    ("crlfile", "a Mosquitto", "it is `crl_file` in the listener's tls table"),
    ("enable_authn", "an EMQX", "it is `allow_anonymous` of the listener, and `auth.chain`"),
    ("enable_proxy_protocol", "a Mosquitto", "it is `proxy_protocol`, with `trusted_proxies`"),
    ("idle_timeout", "an EMQX", "it is `mqtt.connect_timeout`"),
    ("key_path", "an RMQTT", "it is `key_file` in the listener's tls table"),
    ("keyfile", "a Mosquitto and EMQX", "it is `key_file` in the listener's tls table"),
    ("log_dest", "a Mosquitto", "logs go to stderr; see [log] and [audit]"),
    ("log_type", "a Mosquitto", "it is `log.level`"),
    ("max_awaiting_rel", "an EMQX", "it is `mqtt.receive_maximum`"),
    ("max_client_id_size", "a VerneMQ", "it is `mqtt.max_clientid_bytes`"),
    ("max_clientid_len", "an EMQX", "it is `mqtt.max_clientid_bytes`"),
    ("max_conn_rate", "an EMQX", "it is `quota.connect_rate`, or `quota.listener.connect_rate`"),
    ("max_handshaking_limit", "an RMQTT", "it is `max_pending`"),
    ("max_inflight_messages", "a Mosquitto", "it is `mqtt.max_inflight`"),
    ("max_message_size", "a VerneMQ", "it is `mqtt.max_packet_size`"),
    ("max_mqueue_len", "an EMQX", "it is `mqtt.max_queued_messages`"),
    ("message_size_limit", "a Mosquitto", "it is `mqtt.max_packet_size`"),
    ("mqtt_path", "an EMQX", "it is `path` in the listener's websocket table"),
    ("mqueue_store_qos0", "an EMQX", "it is `mqtt.queue_qos0`"),
    ("password_file", "a Mosquitto", "it is `auth.password_file.path`; lines made by mosquitto_passwd are read"),
    ("per_listener_settings", "a Mosquitto", "not needed: listeners override [mqtt] and allow_anonymous themselves"),
    ("persistence", "a Mosquitto", "it is `node.data_dir`, with `store.durability`"),
    ("persistence_location", "a Mosquitto", "it is `node.data_dir`"),
    ("persistent_client_expiration", "a Mosquitto", "it is `session.expiry_v3`"),
    ("port", "a Mosquitto", "it is `bind`, with the address"),
    ("protocol", "a Mosquitto", "it is `transport`"),
    ("proxy_address_header", "an EMQX", "it is `address_header` of the listener, with `trusted_proxies`"),
    ("proxy_port_header", "an EMQX", "it is `port_header` of the listener"),
    ("proxy_protocol_timeout", "an EMQX", "it is `proxy_header_timeout`"),
    ("proxy_protocol_use_cn_as_username", "a VerneMQ", "it is `pp2_cn_as_username`"),
    ("proxy_protocol_v2_require_tls", "a Mosquitto", "it is `pp2_require_tls`"),
    ("proxy_xff_support", "a VerneMQ", "it is `address_header` of the listener, with `trusted_proxies`"),
    ("proxy_xff_trusted_intermediate", "a VerneMQ", "it is `header_trusted_proxies`"),
    ("real_ip_header", "an nginx", "it is `address_header` of the listener, with `trusted_proxies`"),
    ("real_ip_recursive", "an nginx", "it is `strategy`; rightmost_untrusted is what it does when on"),
    ("require_certificate", "a Mosquitto", "it is `client_auth` in the listener's tls table"),
    ("retain_available", "an EMQX", "it is `mqtt.retain`"),
    ("session_expiry_interval", "an EMQX", "it is `session.expiry_max`, and `session.expiry_v3` for 3.x"),
    ("set_real_ip_from", "an nginx", "it is `header_trusted_proxies`"),
    ("shared_subscription_strategy", "an EMQX", "it is `mqtt.shared_strategy`"),
    ("ssl_options", "an EMQX", "write a table [listeners.NAME.tls]"),
    ("use_identity_as_username", "a Mosquitto", "it is `username_from`"),
];

/// Whether an unknown key is another program's: which one, and what to do here.
pub fn foreign(name: &str) -> Option<(&'static str, &'static str)> {
    FOREIGN
        .iter()
        .find(|(key, ..)| *key == name)
        .map(|(_, program, hint)| (*program, *hint))
}

/// The path as the user reads it, in backticks.
pub fn shown(path: &[String]) -> String {
    format!("`{}`", dotted(path))
}

#[cfg(test)]
mod tests {
    use super::super::keys::{Node, tree};
    use super::*;

    fn path(text: &str) -> KeyPath {
        text.split('.').map(ToOwned::to_owned).collect()
    }

    #[test]
    fn unknown_keys_get_the_nearest_one() {
        let listener = match tree().child("listeners").unwrap() {
            Node::Table(l) => match l.any.as_deref().unwrap() {
                Node::Table(l) => l,
                Node::Leaf(_) => unreachable!(),
            },
            Node::Leaf(_) => unreachable!(),
        };
        for (given, meant) in [
            ("listeners.tcp.proxy_protocl", Some("proxy_protocol")),
            (
                "listeners.ws.subprotocols",
                Some("listeners.ws.websocket.subprotocols"),
            ),
            ("listeners.ws.max_qos", Some("listeners.ws.mqtt.max_qos")),
            ("listeners.ws.data_dri", Some("node.data_dir")),
            ("listeners.ws.frobnicate", None),
        ] {
            assert_eq!(key(listener, &path(given)).as_deref(), meant, "{given}");
        }
        assert_eq!(key(tree(), &path("listner")).as_deref(), Some("listeners"));
        assert_eq!(
            key(tree(), &path("allow_anonymous")).as_deref(),
            Some("auth.allow_anonymous")
        );
    }

    #[test]
    fn unknown_variables_get_the_nearest_one() {
        for (given, meant) in [
            ("listener.tcp.bind", Some("BROKER__LISTENERS__TCP__BIND")),
            ("node.datadir", Some("BROKER__NODE__DATA_DIR")),
            ("what.ever.this.is", None),
        ] {
            assert_eq!(variable(&path(given)).as_deref(), meant, "{given}");
        }
    }

    #[test]
    fn the_foreign_table_is_sorted_and_names_no_key_of_ours_in_vain() {
        let names: Vec<_> = FOREIGN.iter().map(|(name, ..)| *name).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        assert_eq!(names, sorted);
        for (name, _, hint) in FOREIGN {
            for part in hint
                .split('`')
                .skip(1)
                .step_by(2)
                .filter(|part| !part.contains(' '))
            {
                let known = all().iter().any(|k| *k.path == *part || k.name() == part);
                assert!(known, "{name}: {part} is no key");
            }
        }
    }
}
