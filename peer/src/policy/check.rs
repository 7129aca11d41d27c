//! The checks between keys, at load time (peername 3.4): every CE and CW code but those of reading a value.

use super::raw::{RangeList, Typed};
use super::{HeaderKind, ProxyMode, ProxyVersions, Transport};
use crate::addr::Class;
use crate::code::codes;
use crate::peer::Strategy;
use crate::trust::Range;
use ipnet::IpNet;
use std::fmt;

codes! {
    /// A configuration error (`CE`) or warning (`CW`) of a listener's own keys.
    ConfigCode {
        /// proxy_protocol is on, and nobody is trusted.
        Ce01 = "CE01",
        /// address_header on tcp or tls.
        Ce02 = "CE02",
        /// address_header, and nobody is trusted.
        Ce03 = "CE03",
        /// trusted_hops and hops do not go together.
        Ce04 = "CE04",
        /// edge_overwrites without leftmost.
        Ce05 = "CE05",
        /// A wildcard among those whose elements are walked.
        Ce06 = "CE06",
        /// A range that does not parse, or an unknown `@name`.
        Ce07 = "CE07",
        /// A header kind that does not go with strategy or port_header.
        Ce08 = "CE08",
        /// A certificate policy without `required` and v2.
        Ce09 = "CE09",
        /// pp2_cn_as_username with a wildcard.
        Ce10 = "CE10",
        /// port_header without address_header.
        Ce11 = "CE11",
        /// Unknown key, unknown value, number out of range.
        Ce12 = "CE12",
        /// A header name that is none, or both the same.
        Ce13 = "CE13",
        /// `optional` with a wildcard.
        Ce14 = "CE14",
        /// A wildcard elsewhere.
        Cw01 = "CW01",
        /// A wide public range.
        Cw02 = "CW02",
        /// Host bits set in a range.
        Cw03 = "CW03",
        /// leftmost(_public) fills `claimed` only.
        Cw04 = "CW04",
        /// leftmost with edge_overwrites.
        Cw05 = "CW05",
        /// last_trusted, or scope_check off.
        Cw06 = "CW06",
        /// `optional`.
        Cw07 = "CW07",
        /// port_header X-Forwarded-Port.
        Cw08 = "CW08",
    }
}

impl ConfigCode {
    /// Whether it keeps the broker from starting.
    pub fn is_error(self) -> bool {
        self <= Self::Ce14
    }
}

/// What is wrong or doubtful about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which check.
    pub code: ConfigCode,
    /// The key to look at.
    pub key: String,
    /// What is the matter, for people; without code and key.
    pub message: String,
    /// The range it is about, if it is about one.
    pub range: Option<Range>,
}

impl Problem {
    pub(super) fn new(code: ConfigCode, key: &str, message: String) -> Self {
        Self {
            code,
            key: key.to_owned(),
            message,
            range: None,
        }
    }

    fn about(mut self, range: Range) -> Self {
        self.range = Some(range);
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.code, self.key, self.message)
    }
}

/// All problems between keys, errors first, each code in the order of its number.
pub(super) fn check(keys: &Typed, transport: Transport) -> Vec<Problem> {
    let mut found = Found(Vec::new());
    proxy_keys(keys, &mut found);
    header_keys(keys, transport, &mut found);
    strategy_keys(keys, &mut found);
    numbers(keys, &mut found);
    wildcards(keys, &mut found);
    for (key, list) in lists(keys) {
        range_texts(key, list, &mut found);
    }
    let mut problems = found.0;
    problems.sort_by_key(|p| p.code);
    problems
}

struct Found(Vec<Problem>);

impl Found {
    fn when(&mut self, condition: bool, code: ConfigCode, key: &str, message: &str) {
        if condition {
            self.0.push(Problem::new(code, key, message.to_owned()));
        }
    }
}

impl Found {
    /// One problem for each wildcard of the list.
    fn wild(&mut self, condition: bool, code: ConfigCode, key: &str, list: &RangeList, message: &str) {
        for range in list.set.ranges().filter(|r| condition && r.is_wildcard()) {
            self.0
                .push(Problem::new(code, key, message.to_owned()).about(range));
        }
    }
}

fn proxy_keys(keys: &Typed, found: &mut Found) {
    let on = keys.mode != ProxyMode::Off;
    found.when(
        on && keys.trusted.set.is_empty(),
        ConfigCode::Ce01,
        "trusted_proxies",
        "proxy_protocol is on but nobody is trusted to send the header; list the proxies",
    );
    let certain = keys.mode == ProxyMode::Required && keys.versions == ProxyVersions::V2;
    for (set, key) in [
        (keys.require_tls, "pp2_require_tls"),
        (keys.require_client_cert, "pp2_require_client_cert"),
        (keys.cn_as_username, "pp2_cn_as_username"),
    ] {
        let message = "needs proxy_protocol=\"required\" and proxy_versions=\"v2\"";
        found.when(set && !certain, ConfigCode::Ce09, key, message);
    }
    found.when(
        keys.cn_as_username && keys.trusted.set.has_wildcard(),
        ConfigCode::Ce10,
        "pp2_cn_as_username",
        "with a wildcard in trusted_proxies anybody could choose a username",
    );
    found.when(
        keys.mode == ProxyMode::Optional,
        ConfigCode::Cw07,
        "proxy_protocol",
        "optional: a listed proxy that forgets the header shows as itself",
    );
    found.when(
        !keys.scope_check,
        ConfigCode::Cw06,
        "scope_check",
        "off: another host may claim a loopback or private address",
    );
}

fn header_keys(keys: &Typed, transport: Transport, found: &mut Found) {
    let (address, port) = (&keys.address_header, &keys.port_header);
    let named = !address.is_empty();
    found.when(
        named && matches!(transport, Transport::Tcp | Transport::Tls),
        ConfigCode::Ce02,
        "address_header",
        "there is no HTTP header on a tcp or tls listener; use ws or wss, or the PROXY protocol",
    );
    found.when(
        named && keys.header_list().set.is_empty(),
        ConfigCode::Ce03,
        "header_trusted_proxies",
        "address_header is set but nobody is trusted to send it; list the proxies",
    );
    found.when(
        !named && !port.is_empty(),
        ConfigCode::Ce11,
        "port_header",
        "means nothing without address_header",
    );
    for (name, key) in [(address, "address_header"), (port, "port_header")] {
        found.when(
            !name.is_empty() && !is_token(name),
            ConfigCode::Ce13,
            key,
            "is no field name",
        );
    }
    found.when(
        named && address.eq_ignore_ascii_case(port),
        ConfigCode::Ce13,
        "port_header",
        "is the same field as address_header",
    );
    found.when(
        keys.keep_last_trusted,
        ConfigCode::Cw06,
        "on_unresolvable",
        "last_trusted: clients with a broken header are shown as the proxy",
    );
    found.when(
        port.eq_ignore_ascii_case("X-Forwarded-Port"),
        ConfigCode::Cw08,
        "port_header",
        "many proxies put the server's port into X-Forwarded-Port",
    );
}

fn strategy_keys(keys: &Typed, found: &mut Found) {
    let counted = keys.strategy == Strategy::TrustedHops;
    let in_range = keys.hops.is_none_or(|h| (1..=16).contains(&h));
    found.when(
        counted != keys.hops.is_some() || !in_range,
        ConfigCode::Ce04,
        "hops",
        "strategy=\"trusted_hops\" needs hops=1 to 16, and nothing else has hops",
    );
    found.when(
        keys.edge_overwrites && keys.strategy != Strategy::Leftmost,
        ConfigCode::Ce05,
        "edge_overwrites",
        "belongs to strategy=\"leftmost\"",
    );
    found.when(
        keys.kind == HeaderKind::Single && keys.strategy != Strategy::RightmostUntrusted,
        ConfigCode::Ce08,
        "strategy",
        "a header with a single value has no list to choose from; use rightmost_untrusted",
    );
    found.when(
        keys.kind == HeaderKind::Forwarded && !keys.port_header.is_empty(),
        ConfigCode::Ce08,
        "port_header",
        "Forwarded carries ports itself",
    );
    let leftmost = matches!(keys.strategy, Strategy::Leftmost | Strategy::LeftmostPublic);
    let overwritten = keys.strategy == Strategy::Leftmost && keys.edge_overwrites;
    found.when(
        leftmost && !keys.edge_overwrites,
        ConfigCode::Cw04,
        "strategy",
        "fills `claimed` only; the peername is still that of rightmost_untrusted",
    );
    found.when(
        overwritten,
        ConfigCode::Cw05,
        "edge_overwrites",
        "forgeable by every client unless the outermost proxy replaces the header",
    );
}

fn numbers(keys: &Typed, found: &mut Found) {
    for (value, min, max, key, expected) in [
        (
            keys.timeout_ms,
            1000,
            60_000,
            "proxy_header_timeout",
            "expected 1s to 60s",
        ),
        (
            keys.header_max,
            536,
            65_551,
            "proxy_header_max",
            "expected 536 to 65551 bytes",
        ),
        (
            keys.bytes_max,
            64,
            16_384,
            "header_max_bytes",
            "expected 64 to 16384",
        ),
        (
            keys.elements_max,
            1,
            256,
            "header_max_elements",
            "expected 1 to 256",
        ),
    ] {
        found.when(!(min..=max).contains(&value), ConfigCode::Ce12, key, expected);
    }
    let outside = keys.expose.iter().any(|kind| !(0..=255).contains(kind));
    found.when(
        outside,
        ConfigCode::Ce12,
        "pp2_expose_tlvs",
        "expected types from 0 to 255",
    );
}

/// Wildcards by the use that is made of their list. A list that both stages use is judged once for each.
fn wildcards(keys: &Typed, found: &mut Found) {
    let named = !keys.address_header.is_empty();
    let proxy_wild = keys.trusted.set.has_wildcard();
    let header_wild = keys.header_list().set.has_wildcard();
    let walked = keys.kind != HeaderKind::Single
        && match keys.strategy {
            Strategy::RightmostUntrusted | Strategy::LeftmostPublic => true,
            Strategy::Leftmost => !keys.edge_overwrites,
            Strategy::TrustedHops => false,
        };
    let disguised = named && walked && header_wild;
    let optional = keys.mode == ProxyMode::Optional && proxy_wild;
    let (own_key, header_list) = match &keys.header_trusted {
        Some(list) => ("header_trusted_proxies", list),
        None => ("trusted_proxies", &keys.trusted),
    };
    let message = "with a wildcard every element is trusted, which is leftmost in disguise";
    found.wild(disguised, ConfigCode::Ce06, own_key, header_list, message);
    let message = "optional with a wildcard: anyone could send or omit the header at will";
    found.wild(
        optional,
        ConfigCode::Ce14,
        "trusted_proxies",
        &keys.trusted,
        message,
    );
    // trusted_proxies that serve the header stage alone are reported for that use.
    let header_only = keys.mode == ProxyMode::Off && keys.header_trusted.is_none();
    let message = "a wildcard believes everybody who can connect: only behind a firewall";
    let reported = optional || (header_only && disguised);
    found.wild(
        !reported,
        ConfigCode::Cw01,
        "trusted_proxies",
        &keys.trusted,
        message,
    );
    let header_elsewhere = keys.header_trusted.is_some() && !disguised;
    found.wild(header_elsewhere, ConfigCode::Cw01, own_key, header_list, message);
}

fn lists(keys: &Typed) -> impl Iterator<Item = (&'static str, &RangeList)> {
    let header = keys
        .header_trusted
        .as_ref()
        .map(|list| ("header_trusted_proxies", list));
    [("trusted_proxies", &keys.trusted)].into_iter().chain(header)
}

fn range_texts(key: &str, list: &RangeList, found: &mut Found) {
    for range in list.set.ranges().filter(is_wide_and_public) {
        let message = format!("{range} is wide and public: anyone in it is believed");
        found
            .0
            .push(Problem::new(ConfigCode::Cw02, key, message).about(range));
    }
    for text in &list.host_bits {
        let message = format!("{text} has host bits set; they are ignored");
        found.0.push(Problem::new(ConfigCode::Cw03, key, message));
    }
}

/// Wider than /16 (IPv4) or /32 (IPv6), with public addresses in it. Wildcards have codes of their own.
fn is_wide_and_public(range: &Range) -> bool {
    let Range::Net(net) = range else { return false };
    let wide_below = if matches!(net, IpNet::V4(_)) { 16 } else { 32 };
    let wide = net.prefix_len() > 0 && net.prefix_len() < wide_below;
    // Every non-public block begins or ends at one end of any range that is wide and covers more than it,
    // so both ends being non-public is not enough only for ranges that hold several blocks.
    wide && (Class::of(net.network()) == Class::Public
        || Class::of(net.broadcast()) == Class::Public
        || holds_public_between(net))
}

/// Whether a wide range with non-public ends has public addresses inside: true if it is wider than the
/// widest non-public block.
fn holds_public_between(net: &IpNet) -> bool {
    match net {
        // 224.0.0.0/3 is multicast and class E; 8.0.0.0/5 and the like have a public end.
        IpNet::V4(net) => net.prefix_len() < 3,
        // fc00::/7 is the widest; fc00::/6 holds fe00::/9.
        IpNet::V6(net) => net.prefix_len() < 7,
    }
}

/// RFC 9110 5.6.2.
fn is_token(name: &str) -> bool {
    name.bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
