//! Rules between keys: what each value alone cannot show. Everything is looked at before anything is used, so that all
//! findings come at once. What does not live here: single values (`walk`, `value`), the rules of peername 3.4 (crate
//! `peer`), files named in the configuration (`files`).

use std::net::SocketAddr;

use toml::{Table, Value};

use super::effective::{HEADER_KEYS, policy, transport_of};
use super::finding::Finding;
use super::keys::{Branch, Node, Preset, is_reserved, tree};
use super::listener::Transport;
use super::origin::{KeyPath, Origins};
use super::raw::bad_value_code;
use super::suggest::shown;
use super::units::Bind;

/// What the checks read.
pub(super) struct Checks<'a> {
    /// What was set.
    pub(super) merged: &'a Table,
    /// With the defaults.
    pub(super) filled: &'a Table,
    /// Where it came from.
    pub(super) origins: &'a Origins,
    /// What is wrong.
    pub(super) findings: Vec<Finding>,
}

/// A path from its parts.
pub(super) fn path(parts: &[&str]) -> KeyPath {
    parts.iter().map(|p| (*p).to_owned()).collect()
}

/// The value at a path.
pub(super) fn at<'a>(table: &'a Table, parts: &[&str]) -> Option<&'a Value> {
    let (last, parents) = parts.split_last()?;
    parents
        .iter()
        .try_fold(table, |t, part| t.get(*part)?.as_table())?
        .get(*last)
}

impl Checks<'_> {
    /// Reports an error at a key.
    pub(super) fn bad(&mut self, parts: &[&str], code: &'static str, message: String, label: &str) {
        let finding = Finding::error(code, message).at(self.origins.near(&path(parts)));
        self.findings.push(if label.is_empty() {
            finding
        } else {
            finding.label(label)
        });
    }

    fn text(&self, parts: &[&str]) -> &str {
        at(self.filled, parts).and_then(Value::as_str).unwrap_or_default()
    }

    fn was_set(&self, parts: &[&str]) -> bool {
        at(self.merged, parts).is_some()
    }

    /// All checks.
    pub(super) fn run(&mut self) {
        self.required(self.merged, tree(), &mut Vec::new());
        let listeners = self.merged.get("listeners").and_then(Value::as_table);
        for (name, listener) in listeners.into_iter().flatten() {
            if let Value::Table(listener) = listener {
                self.listener(name, listener);
            }
        }
        self.addresses();
        self.store();
        self.admin();
        self.auth();
        self.rows();
        self.ranges();
        self.audit();
    }

    /// Keys that must be given, in tables that exist.
    fn required(&mut self, table: &Table, branch: &Branch, here: &mut KeyPath) {
        for (name, value) in table {
            let Some(Node::Table(inner)) = branch.child(name) else {
                continue;
            };
            here.push(name.clone());
            match (value, &inner.rows) {
                (Value::Table(table), None) => self.required(table, inner, here),
                (Value::Array(rows), Some(inner)) => {
                    for (i, row) in rows.iter().enumerate() {
                        if let Value::Table(row) = row {
                            here.push(i.to_string());
                            self.required(row, inner, here);
                            here.pop();
                        }
                    }
                }
                _ => {}
            }
            here.pop();
        }
        for (name, node) in &branch.named {
            let Node::Leaf(key) = node else { continue };
            if key.preset == Preset::Required && !table.contains_key(*name) && !self.found_at(here, name) {
                let message = format!("{} has no `{name}`: {}", shown(here), key.doc);
                let finding = Finding::error(bad_value_code(here), message);
                self.findings.push(finding.at(self.origins.near(here)));
            }
        }
    }

    /// Whether that key is missing only because its value was bad, which is reported already.
    fn found_at(&self, table: &[String], name: &str) -> bool {
        let mut key = table.to_vec();
        key.push(name.to_owned());
        let message = format!("bad value for {}", shown(&key));
        self.findings.iter().any(|f| f.message == message)
    }

    fn listener(&mut self, name: &str, listener: &Table) {
        let Some(transport) = transport_of(listener) else {
            return;
        };
        let word = transport.as_str();
        let dead = |table: &str| format!("`listeners.{name}.{table}` has no effect with transport {word}");
        if !transport.is_tls() && listener.contains_key("tls") {
            self.bad(
                &["listeners", name, "tls"],
                "CE12",
                dead("tls"),
                "use transport \"tls\" or \"wss\"",
            );
        }
        if !transport.is_websocket() && listener.contains_key("websocket") {
            self.bad(
                &["listeners", name, "websocket"],
                "CE12",
                dead("websocket"),
                "use transport \"ws\" or \"wss\"",
            );
        }
        let username_from = listener
            .get("username_from")
            .and_then(Value::as_str)
            .unwrap_or("connect");
        let asks = self.text(&["listeners", name, "tls", "client_auth"]).to_owned();
        if username_from != "connect" && (!transport.is_tls() || asks == "none") {
            let message =
                format!("`listeners.{name}.username_from` = \"{username_from}\" needs a client certificate");
            let label = if transport.is_tls() {
                "set client_auth in its tls table to \"require\" or \"optional\""
            } else {
                "this listener has no TLS; for a proxy's certificate see pp2_cn_as_username"
            };
            self.bad(&["listeners", name, "username_from"], "CE12", message, label);
        }
        self.client_auth(&["listeners", name, "tls"]);
        self.address_keys(name, listener, transport);
    }

    /// The rules of peername 3.4, unless a key or value of this listener is unknown already.
    fn address_keys(&mut self, name: &str, listener: &Table, transport: Transport) {
        let here = format!("`listeners.{name}");
        if self
            .findings
            .iter()
            .any(|f| f.code == "CE12" && f.message.contains(&here))
        {
            return;
        }
        let without_effect = HEADER_KEYS.iter().find(|key| listener.contains_key(**key));
        if let Some(key) =
            without_effect.filter(|_| !transport.is_websocket() && !listener.contains_key("address_header"))
        {
            let message = format!(
                "{here}.{key}` has no effect with transport {}",
                transport.as_str()
            );
            return self.bad(
                &["listeners", name, key],
                "CE12",
                message,
                "use transport \"ws\" or \"wss\"",
            );
        }
        for problem in policy(listener, transport, self.filled).problems {
            let code = problem.code.as_str();
            let message = format!("{here}.{}`: {}", problem.key, problem.message);
            let found = if problem.code.is_error() {
                Finding::error(code, message)
            } else {
                Finding::warning(code, message)
            };
            let origin = self.origins.near(&path(&["listeners", name, &problem.key]));
            self.findings.push(found.at(origin));
        }
    }

    /// Asking for certificates needs somebody who signs them.
    fn client_auth(&mut self, tls: &[&str]) {
        let asks = at(self.filled, &[tls, &["client_auth"]].concat())
            .and_then(Value::as_str)
            .unwrap_or("none");
        if asks != "none" && self.text(&[tls, &["client_ca_file"]].concat()).is_empty() {
            let key = [tls, &["client_auth"]].concat();
            let message = format!("`{}` = \"{asks}\" needs client_ca_file", key.join("."));
            self.bad(
                &key,
                bad_value_code(&path(&key)),
                message,
                "which authorities sign client certificates?",
            );
        }
    }

    /// CFG005: two sockets on one address. CFG045: nothing to listen on.
    fn addresses(&mut self) {
        let mut used: Vec<(KeyPath, Bind)> = Vec::new();
        let listeners = self.filled.get("listeners").and_then(Value::as_table);
        let mut enabled = 0;
        for (name, listener) in listeners.into_iter().flatten() {
            if listener.get("enabled").and_then(Value::as_bool) == Some(false) {
                continue;
            }
            enabled += 1;
            if let Some(bind) = listener
                .get("bind")
                .and_then(Value::as_str)
                .and_then(|b| b.parse().ok())
            {
                used.push((path(&["listeners", name, "bind"]), bind));
            }
        }
        for key in [["metrics", "bind"], ["admin", "http_bind"]] {
            if let Ok(bind) = self.text(&key).parse() {
                used.push((path(&key), bind));
            }
        }
        for (i, (key, bind)) in used.iter().enumerate() {
            if let Some((first, _)) = used.iter().take(i).find(|(_, other)| overlap(bind, other)) {
                let message = format!(
                    "{} and {} listen on the same address {bind}",
                    shown(first),
                    shown(key)
                );
                let finding = Finding::error("CFG005", message).at(self.origins.of(key));
                self.findings.push(finding);
            }
        }
        let broken = self.findings.iter().any(|f| f.code == "CE12");
        if enabled == 0 && !broken {
            let hint = "write a table [listeners.tcp] with transport and bind, or set enabled = true in one";
            self.findings
                .push(Finding::error("CFG045", "no enabled listener").hint(hint));
        }
    }

    fn store(&mut self) {
        let durability = self.text(&["store", "durability"]).to_owned();
        let key = ["store", "durability"];
        if durability == "replicated" {
            let message = "`store.durability` = \"replicated\" is not in this version".to_owned();
            self.bad(&key, "CFG050", message, "");
        } else if durability != "none" && self.text(&["node", "data_dir"]).is_empty() && self.was_set(&key) {
            let message = format!("`store.durability` = \"{durability}\" needs a directory");
            self.bad(
                &key,
                "CFG004",
                message,
                "set node.data_dir, or durability \"none\"",
            );
        }
    }

    fn admin(&mut self) {
        let tls = self.was_set(&["admin", "tls"]);
        let addr = self.text(&["admin", "http_bind"]).parse::<SocketAddr>();
        if addr.is_ok_and(|addr| !addr.ip().is_loopback()) && !tls {
            let message = "`admin.http_bind` leaves this machine, so it needs TLS".to_owned();
            self.bad(
                &["admin", "http_bind"],
                "CFG004",
                message,
                "write [admin.tls], or bind to 127.0.0.1",
            );
        }
        let list = at(self.filled, &["admin", "trusted_proxies"]).and_then(Value::as_array);
        if !self.text(&["admin", "address_header"]).is_empty() && list.is_none_or(Vec::is_empty) {
            let message =
                "`admin.address_header` without admin.trusted_proxies: nobody may send it".to_owned();
            self.bad(&["admin", "address_header"], "CFG004", message, "");
        }
        self.client_auth(&["admin", "tls"]);
    }

    fn auth(&mut self) {
        let chain = at(self.filled, &["auth", "chain"]).and_then(Value::as_array);
        let in_chain = |method: &str| chain.is_some_and(|c| c.iter().any(|m| m.as_str() == Some(method)));
        let (jwt, http) = (in_chain("jwt"), in_chain("http"));
        if in_chain("scram") && is_reserved(&path(&["auth", "scram"])) {
            let message = "\"scram\" in `auth.chain` is not in this version".to_owned();
            self.bad(&["auth", "chain"], "CFG050", message, "");
        }
        let empty = |name: &str| self.text(&["auth", "jwt", name]).is_empty();
        let hmac = self.text(&["auth", "jwt", "algorithm"]) == "hmac-based";
        let keyless = if hmac {
            empty("secret_file")
        } else {
            empty("public_key_file") && empty("jwks_file") && empty("endpoint")
        };
        if jwt && keyless {
            let needs = if hmac {
                "auth.jwt.secret_file"
            } else {
                "auth.jwt.public_key_file, jwks_file or endpoint"
            };
            self.bad(
                &["auth", "chain"],
                "CFG004",
                format!("\"jwt\" in `auth.chain` needs {needs}"),
                "",
            );
        }
        if http && self.text(&["auth", "http", "url"]).is_empty() {
            self.bad(
                &["auth", "chain"],
                "CFG004",
                "\"http\" in `auth.chain` needs auth.http.url".to_owned(),
                "",
            );
        }
        for key in [
            ["auth", "http", "url"],
            ["auth", "http", "acl_url"],
            ["auth", "jwt", "endpoint"],
        ] {
            let url = self.text(&key).to_owned();
            if !url.is_empty() && !url.starts_with("http://") && !url.starts_with("https://") {
                let message = format!("bad value for `{}`", key.join("."));
                self.bad(
                    &key,
                    "CFG004",
                    message,
                    "a URL that begins with http:// or https://",
                );
            }
        }
    }

    /// Rewrite rules and automatic bans.
    fn rows(&mut self) {
        let rules = self.filled.get("rewrite").and_then(Value::as_array);
        for (i, rule) in rules.into_iter().flatten().enumerate() {
            let re = rule.get("re").and_then(Value::as_str).unwrap_or_default();
            if let Err(error) = regex::Regex::new(re) {
                let text = error.to_string();
                let reason = text
                    .lines()
                    .last()
                    .unwrap_or_default()
                    .trim_start_matches("error: ")
                    .to_owned();
                let message = format!("bad value for `rewrite.{i}.re`");
                self.bad(&["rewrite", &i.to_string(), "re"], "CFG004", message, &reason);
            }
        }
        let bans = at(self.filled, &["bans", "auto"]).and_then(Value::as_array);
        let mut names: Vec<&str> = Vec::new();
        for (i, ban) in bans.into_iter().flatten().enumerate() {
            let name = ban.get("name").and_then(Value::as_str).unwrap_or_default();
            if names.contains(&name) {
                let message = format!("two automatic bans are named \"{}\"", name.escape_debug());
                self.bad(&["bans", "auto", &i.to_string(), "name"], "CFG004", message, "");
            }
            names.push(name);
        }
    }

    /// Range lists outside of listeners, and the networks themselves.
    fn ranges(&mut self) {
        const BUILT_IN: [&str; 3] = ["@loopback", "@private", "@proxies"];
        let networks = self
            .filled
            .get("networks")
            .and_then(Value::as_table)
            .cloned()
            .unwrap_or_default();
        let mut lists: Vec<(KeyPath, bool)> = networks
            .keys()
            .map(|name| (path(&["networks", name]), false))
            .collect();
        lists.push((path(&["bans", "protect"]), true));
        lists.push((path(&["admin", "trusted_proxies"]), true));
        let overrides = at(self.filled, &["quota", "override"])
            .and_then(Value::as_array)
            .map_or(0, Vec::len);
        for i in 0..overrides {
            lists.push((path(&["quota", "override", &i.to_string(), "nets"]), true));
        }
        for (key, names_too) in lists {
            for entry in self.entries(&key) {
                let known = match entry.strip_prefix('@') {
                    Some(name) => {
                        names_too && (networks.contains_key(name) || BUILT_IN.contains(&entry.as_str()))
                    }
                    None => is_range(&entry),
                };
                if !known {
                    let label = if entry.starts_with('@') && names_too {
                        "there is no such set in [networks]"
                    } else {
                        "ranges and addresses: \"10.0.0.0/8\", \"2001:db8::/32\", \"192.0.2.7\""
                    };
                    let message = format!("bad value for {}: \"{}\"", shown(&key), entry.escape_debug());
                    let finding = Finding::error("CFG004", message)
                        .at(self.origins.of(&key))
                        .label(label);
                    self.findings.push(finding);
                }
            }
        }
    }

    fn entries(&self, key: &[String]) -> Vec<String> {
        let mut value = Some(&Value::Table(self.filled.clone())).cloned();
        for part in key {
            value = value.and_then(|v| match part.parse::<usize>() {
                Ok(i) => v.get(i).cloned(),
                Err(_) => v.get(part.as_str()).cloned(),
            });
        }
        let list = value.and_then(|v| v.as_array().cloned()).unwrap_or_default();
        list.iter()
            .filter_map(Value::as_str)
            .map(ToOwned::to_owned)
            .collect()
    }

    fn audit(&mut self) {
        for event in self.entries(&path(&["audit", "events"])) {
            let name = event.trim_start_matches('-');
            if name != "*" && !AUDIT_EVENTS.contains(&name) {
                let near = super::suggest::nearest(name, AUDIT_EVENTS.iter().copied());
                let label = near.map_or("there is no such event".to_owned(), |n| {
                    format!("did you mean \"{n}\"?")
                });
                let message = format!("bad value for `audit.events`: \"{}\"", event.escape_debug());
                self.bad(&["audit", "events"], "CFG004", message, &label);
            }
        }
    }
}

/// The events of the audit log (operator-interface 5).
const AUDIT_EVENTS: &[&str] = &[
    "connect",
    "authn_fail",
    "peername_reject",
    "proto_error",
    "acl_deny",
    "subscribe",
    "unsubscribe",
    "publish_ok",
    "disconnect",
    "takeover",
    "kick",
    "ban",
    "unban",
    "admin",
    "config_reload",
    "start",
    "stop",
    "audit_gap",
    "audit_checkpoint",
];

fn is_range(text: &str) -> bool {
    text != "unix" && peer::TrustSet::parse([text]).is_ok()
}

/// Whether two sockets cannot both be bound.
fn overlap(a: &Bind, b: &Bind) -> bool {
    match (a, b) {
        (Bind::Unix(a), Bind::Unix(b)) => a == b,
        (Bind::Tcp(a), Bind::Tcp(b)) => {
            // `[::]` is dual stack, so it takes the IPv4 addresses too; `0.0.0.0` takes no IPv6 ones.
            let covers =
                |a: &SocketAddr, b: &SocketAddr| a.ip().is_unspecified() && (a.is_ipv6() || b.is_ipv4());
            a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || covers(a, b) || covers(b, a))
        }
        _ => false,
    }
}
