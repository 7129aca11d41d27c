//! A listener's keys as written, and their way to a [`Policy`].
//! Not here: the rules between keys (`check`).

use super::check::{self, ConfigCode, Problem};
use super::{HeaderKind, HeaderPolicy, Policy, ProxyMode, ProxyPolicy, ProxyVersions, Transport, TypeSet};
use crate::peer::Strategy;
use crate::trust::{Range, TrustSet};
use std::time::Duration;

/// The keys of peername 3.1.
pub const KEYS: &[&str] = &[
    "proxy_protocol",
    "proxy_versions",
    "trusted_proxies",
    "untrusted_proxy_header",
    "proxy_header_timeout",
    "proxy_header_max",
    "proxy_local",
    "proxy_unknown",
    "pp2_require_tls",
    "pp2_require_client_cert",
    "pp2_cn_as_username",
    "pp2_expose_tlvs",
    "address_header",
    "address_header_kind",
    "port_header",
    "strategy",
    "hops",
    "edge_overwrites",
    "header_trusted_proxies",
    "untrusted_header",
    "missing_header",
    "on_unresolvable",
    "scope_check",
    "header_max_bytes",
    "header_max_elements",
];

/// A value as a configuration file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `true`, `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A string; durations (`"5s"`, `"500ms"`) and sizes (`"4KiB"`) too.
    Str(String),
    /// A list.
    List(Vec<Value>),
}

/// The keys that a listener sets, as written. [`RawPolicy::check`] says what is wrong with them.
#[derive(Clone, Debug, Default)]
pub struct RawPolicy(Vec<(String, Value)>);

/// The outcome of [`RawPolicy::check`].
#[derive(Debug)]
pub struct Checked {
    /// What the keys mean, if every key and value is known. With errors among the problems it must not
    /// be served with; only `explain` and the vectors look at it then.
    pub policy: Option<Policy>,
    /// Errors and warnings, in the order of peername 3.4.
    pub problems: Vec<Problem>,
}

/// All keys with their types, defaults where not set. Numbers may still be out of range, ranges are parsed.
pub(super) struct Typed {
    pub(super) mode: ProxyMode,
    pub(super) versions: ProxyVersions,
    pub(super) trusted: RangeList,
    pub(super) ignore_untrusted: bool,
    pub(super) timeout_ms: i64,
    pub(super) header_max: i64,
    pub(super) close_local: bool,
    pub(super) reject_unknown: bool,
    pub(super) require_tls: bool,
    pub(super) require_client_cert: bool,
    pub(super) cn_as_username: bool,
    pub(super) expose: Vec<i64>,
    pub(super) address_header: String,
    pub(super) kind: HeaderKind,
    pub(super) port_header: String,
    pub(super) strategy: Strategy,
    pub(super) hops: Option<i64>,
    pub(super) edge_overwrites: bool,
    /// `None`: the same as `trusted`.
    pub(super) header_trusted: Option<RangeList>,
    pub(super) reject_untrusted: bool,
    pub(super) reject_missing: bool,
    pub(super) keep_last_trusted: bool,
    pub(super) scope_check: bool,
    pub(super) bytes_max: i64,
    pub(super) elements_max: i64,
}

/// A range list with what the checks want to know of its text.
#[derive(Clone, Default)]
pub(super) struct RangeList {
    pub(super) set: TrustSet,
    /// Entries with host bits set, as written.
    pub(super) host_bits: Vec<String>,
}

impl RawPolicy {
    /// Sets a key; a later value replaces an earlier one.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<Value>) -> &mut Self {
        let key = key.into();
        self.0.retain(|(k, _)| *k != key);
        self.0.push((key, value.into()));
        self
    }

    /// Reads the keys. `networks` looks up a named set without its `@` and gives its ranges as text.
    pub fn check(&self, transport: Transport, networks: &dyn Fn(&str) -> Option<Vec<String>>) -> Checked {
        let mut reader = Reader {
            entries: &self.0,
            networks,
            problems: Vec::new(),
        };
        let typed = reader.read();
        if !reader.problems.is_empty() {
            return Checked {
                policy: None,
                problems: reader.problems,
            };
        }
        let problems = check::check(&typed, transport);
        let policy = if problems.iter().any(|p| p.code == ConfigCode::Ce12) {
            None
        } else {
            typed.build(transport)
        };
        Checked { policy, problems }
    }
}

impl Checked {
    /// The policy and its warnings, or all problems if any of them is an error.
    pub fn into_result(self) -> Result<(Policy, Vec<Problem>), Vec<Problem>> {
        match self.policy {
            Some(policy) if !self.problems.iter().any(|p| p.code.is_error()) => Ok((policy, self.problems)),
            _ => Err(self.problems),
        }
    }
}

/// Reads typed values; unknown keys, unknown values and broken ranges are collected.
struct Reader<'a> {
    entries: &'a [(String, Value)],
    networks: &'a dyn Fn(&str) -> Option<Vec<String>>,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn read(&mut self) -> Typed {
        for (key, _) in self.entries {
            if !KEYS.contains(&key.as_str()) {
                self.problems
                    .push(Problem::new(ConfigCode::Ce12, key, "unknown key".to_owned()));
            }
        }
        let address_header = self.text("address_header");
        Typed {
            mode: self.proxy_mode(),
            versions: self.one_of("proxy_versions", ProxyVersions::from_name, ProxyVersions::Any),
            trusted: self.ranges("trusted_proxies").unwrap_or_default(),
            ignore_untrusted: self.choice("untrusted_proxy_header", "reject", "ignore"),
            timeout_ms: self.number("proxy_header_timeout", duration_ms).unwrap_or(5000),
            header_max: self.number("proxy_header_max", size_bytes).unwrap_or(4096),
            close_local: self.choice("proxy_local", "accept", "close"),
            reject_unknown: self.choice("proxy_unknown", "socket", "reject"),
            require_tls: self.flag("pp2_require_tls", false),
            require_client_cert: self.flag("pp2_require_client_cert", false),
            cn_as_username: self.flag("pp2_cn_as_username", false),
            expose: self.numbers("pp2_expose_tlvs"),
            kind: self.header_kind(&address_header),
            address_header,
            port_header: self.text("port_header"),
            strategy: self.one_of("strategy", Strategy::from_name, Strategy::RightmostUntrusted),
            hops: self.number("hops", |_| None),
            edge_overwrites: self.flag("edge_overwrites", false),
            header_trusted: self.ranges("header_trusted_proxies"),
            reject_untrusted: self.choice("untrusted_header", "ignore", "reject"),
            reject_missing: self.choice("missing_header", "hop", "reject"),
            keep_last_trusted: self.choice("on_unresolvable", "reject", "last_trusted"),
            scope_check: self.flag("scope_check", true),
            bytes_max: self.number("header_max_bytes", size_bytes).unwrap_or(4096),
            elements_max: self.number("header_max_elements", |_| None).unwrap_or(32),
        }
    }

    fn value(&self, key: &str) -> Option<Value> {
        self.entries
            .iter()
            .find(|(k, _)| k == key)
            .map(|(_, v)| v.clone())
    }

    fn unknown_value(&mut self, key: &str, expected: &str) {
        self.problems.push(Problem::new(
            ConfigCode::Ce12,
            key,
            format!("expected {expected}"),
        ));
    }

    fn proxy_mode(&mut self) -> ProxyMode {
        match self.value("proxy_protocol") {
            Some(Value::Bool(true)) => ProxyMode::Required,
            Some(Value::Bool(false)) => ProxyMode::Off,
            _ => self.one_of("proxy_protocol", ProxyMode::from_name, ProxyMode::Off),
        }
    }

    fn header_kind(&mut self, address_header: &str) -> HeaderKind {
        let named = |name: &str| match name {
            "auto" => Some(HeaderKind::of_name(address_header)),
            _ => HeaderKind::from_name(name),
        };
        self.one_of("address_header_kind", named, HeaderKind::of_name(address_header))
    }

    fn one_of<T>(&mut self, key: &str, parse: impl Fn(&str) -> Option<T>, default: T) -> T {
        match self.value(key) {
            None => default,
            Some(Value::Str(text)) => parse(&text).unwrap_or_else(|| {
                self.unknown_value(key, "one of the listed words");
                default
            }),
            Some(_) => {
                self.unknown_value(key, "a word");
                default
            }
        }
    }

    /// Two words of which the first is the default; true for the second.
    fn choice(&mut self, key: &str, first: &str, second: &str) -> bool {
        let parse = |text: &str| (text == first || text == second).then_some(text == second);
        self.one_of(key, parse, false)
    }

    fn flag(&mut self, key: &str, default: bool) -> bool {
        match self.value(key) {
            None => default,
            Some(Value::Bool(value)) => value,
            Some(_) => {
                self.unknown_value(key, "true or false");
                default
            }
        }
    }

    fn text(&mut self, key: &str) -> String {
        match self.value(key) {
            None => String::new(),
            Some(Value::Str(text)) => text,
            Some(_) => {
                self.unknown_value(key, "a field name");
                String::new()
            }
        }
    }

    fn number(&mut self, key: &str, from_text: impl Fn(&str) -> Option<i64>) -> Option<i64> {
        let number = match self.value(key)? {
            Value::Int(number) => Some(number),
            Value::Str(text) => from_text(&text),
            Value::Bool(_) | Value::List(_) => None,
        };
        if number.is_none() {
            self.unknown_value(key, "a number");
        }
        number
    }

    fn numbers(&mut self, key: &str) -> Vec<i64> {
        let items = match self.value(key) {
            None => Vec::new(),
            Some(Value::List(items)) => items,
            Some(other) => vec![other],
        };
        let numbers: Vec<i64> = items
            .iter()
            .filter_map(|v| if let Value::Int(n) = v { Some(*n) } else { None })
            .collect();
        if numbers.len() != items.len() {
            self.unknown_value(key, "a list of numbers");
        }
        numbers
    }

    fn ranges(&mut self, key: &str) -> Option<RangeList> {
        let items = match self.value(key)? {
            Value::List(items) => items,
            other => vec![other],
        };
        let mut list = RangeList::default();
        for item in items {
            match item {
                Value::Str(text) => self.range(key, &text, &mut list),
                _ => self.unknown_value(key, "a list of ranges"),
            }
        }
        Some(list)
    }

    fn range(&mut self, key: &str, text: &str, list: &mut RangeList) {
        let Some(name) = text.strip_prefix('@') else {
            return self.plain_range(key, text, list);
        };
        match (self.networks)(name) {
            Some(texts) => texts.iter().for_each(|t| self.plain_range(key, t, list)),
            None => self.broken_range(key, format!("unknown network {text}")),
        }
    }

    fn plain_range(&mut self, key: &str, text: &str, list: &mut RangeList) {
        match Range::parse(text) {
            Some(parsed) => {
                if parsed.host_bits {
                    list.host_bits.push(text.to_owned());
                }
                list.set.push(parsed.range, text);
            }
            None => self.broken_range(key, format!("{text:?} is no address, range or \"unix\"")),
        }
    }

    fn broken_range(&mut self, key: &str, message: String) {
        self.problems.push(Problem::new(ConfigCode::Ce07, key, message));
    }
}

impl HeaderKind {
    /// What `auto` means for a field name (peername 6.2).
    fn of_name(name: &str) -> Self {
        const SINGLE: [&str; 12] = [
            "X-Real-IP",
            "CF-Connecting-IP",
            "CF-Connecting-IPv6",
            "True-Client-IP",
            "Fastly-Client-IP",
            "Fly-Client-IP",
            "X-Client-IP",
            "X-Azure-ClientIP",
            "X-Azure-SocketIP",
            "X-Envoy-External-Address",
            "X-Cluster-Client-IP",
            "X-Appengine-User-IP",
        ];
        match name {
            _ if name.eq_ignore_ascii_case("Forwarded") => Self::Forwarded,
            _ if SINGLE.iter().any(|s| name.eq_ignore_ascii_case(s)) => Self::Single,
            _ => Self::List,
        }
    }
}

impl Typed {
    /// The list that the header stage uses.
    pub(super) fn header_list(&self) -> &RangeList {
        self.header_trusted.as_ref().unwrap_or(&self.trusted)
    }

    /// `None` if a number does not fit its type; the checks report that as out of range.
    fn build(self, transport: Transport) -> Option<Policy> {
        let has_http = matches!(transport, Transport::Ws | Transport::Wss);
        let header = if has_http && !self.address_header.is_empty() {
            Some(self.header()?)
        } else {
            None
        };
        let mut expose = TypeSet::default();
        for kind in &self.expose {
            expose.insert(u8::try_from(*kind).ok()?);
        }
        let proxy = ProxyPolicy {
            mode: self.mode,
            versions: self.versions,
            trusted: self.trusted.set,
            ignore_untrusted: self.ignore_untrusted,
            timeout: Duration::from_millis(u64::try_from(self.timeout_ms).ok()?),
            header_max: usize::try_from(self.header_max).ok()?,
            close_local: self.close_local,
            reject_unknown: self.reject_unknown,
            require_tls: self.require_tls,
            require_client_cert: self.require_client_cert,
            cn_as_username: self.cn_as_username,
            expose,
        };
        Some(Policy {
            transport,
            proxy,
            header,
            scope_check: self.scope_check,
        })
    }

    fn header(&self) -> Option<HeaderPolicy> {
        let hops = match self.strategy {
            Strategy::TrustedHops => u8::try_from(self.hops?).ok()?,
            _ => 0,
        };
        Some(HeaderPolicy {
            name: self.address_header.as_str().into(),
            kind: self.kind,
            port_name: (!self.port_header.is_empty()).then(|| self.port_header.as_str().into()),
            strategy: self.strategy,
            hops,
            edge_overwrites: self.edge_overwrites,
            trusted: self.header_list().set.clone(),
            reject_untrusted: self.reject_untrusted,
            reject_missing: self.reject_missing,
            keep_last_trusted: self.keep_last_trusted,
            bytes_max: usize::try_from(self.bytes_max).ok()?,
            elements_max: usize::try_from(self.elements_max).ok()?,
        })
    }
}

/// `"5s"`, `"500ms"`, `"1m"`, `"1h"`.
fn duration_ms(text: &str) -> Option<i64> {
    with_unit(text, &[("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)])
}

/// `"4096"`, `"4KiB"`, `"1MiB"`.
fn size_bytes(text: &str) -> Option<i64> {
    with_unit(text, &[("KiB", 1024), ("MiB", 1024 * 1024), ("B", 1), ("", 1)])
}

fn with_unit(text: &str, units: &[(&str, i64)]) -> Option<i64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at_checked(digits)?;
    let factor = units.iter().find(|(name, _)| *name == unit.trim_start())?.1;
    number.parse::<i64>().ok()?.checked_mul(factor)
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Str(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Str(value)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(values: Vec<T>) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Value>, const N: usize> From<[T; N]> for Value {
    fn from(values: [T; N]) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}
