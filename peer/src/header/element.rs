//! One element: an address, or what else it is (peername 6.3).
//! Not here: the pairs around it in RFC 7239 (`forwarded`).

use super::forwarded;
use crate::addr::{self, Class};
use crate::policy::HeaderKind;
use std::net::{IpAddr, Ipv6Addr};

/// What an element says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Addr {
        /// Canonical, not of class invalid.
        ip: IpAddr,
        /// The element's own port.
        port: Option<u16>,
        /// A zone was cut off.
        zone: bool,
    },
    /// No address: its class (unknown, garbage, obfuscated, `no_for`).
    Other(&'static str),
}

pub(super) const UNKNOWN: Node = Node::Other("unknown");
pub(super) const GARBAGE: Node = Node::Other("garbage");

/// What the element is, in a header of that kind.
pub(super) fn node(kind: HeaderKind, element: &[u8]) -> Node {
    match kind {
        HeaderKind::Forwarded => forwarded::node(element),
        HeaderKind::List | HeaderKind::Single if element.eq_ignore_ascii_case(b"unknown") => UNKNOWN,
        HeaderKind::List | HeaderKind::Single => plain(element).unwrap_or(GARBAGE),
    }
}

/// `IPv4`, `IPv4:port`, `IPv6`, `[IPv6]`, `[IPv6]:port`.
fn plain(element: &[u8]) -> Option<Node> {
    if let Some(inner) = element.strip_prefix(b"[") {
        let close = inner.iter().position(|b| *b == b']')?;
        let (ip, after) = inner.split_at_checked(close)?;
        let port = match after.strip_prefix(b"]")? {
            [] => None,
            rest => Some(addr::parse_port(rest.strip_prefix(b":")?)?),
        };
        let (ip, zone) = parse_v6_zone(ip)?;
        return address(IpAddr::V6(ip), port, zone);
    }
    let mut parts = element.splitn(3, |b| *b == b':');
    match (parts.next()?, parts.next(), parts.next()) {
        (ip, None, None) => address(IpAddr::V4(addr::parse_v4(ip)?), None, false),
        (ip, Some(port), None) => address(
            IpAddr::V4(addr::parse_v4(ip)?),
            Some(addr::parse_port(port)?),
            false,
        ),
        _ => {
            let (ip, zone) = parse_v6_zone(element)?;
            address(IpAddr::V6(ip), None, zone)
        }
    }
}

/// An address is canonical and not of class invalid.
pub(super) fn address(ip: IpAddr, port: Option<u16>, zone: bool) -> Option<Node> {
    let ip = addr::canonical(ip);
    (Class::of(ip) != Class::Invalid).then_some(Node::Addr { ip, port, zone })
}

/// A zone is allowed on fe80::/10 only, where it is cut off.
fn parse_v6_zone(text: &[u8]) -> Option<(Ipv6Addr, bool)> {
    let Some(percent) = text.iter().position(|b| *b == b'%') else {
        return Some((addr::parse_v6(text)?, false));
    };
    let (ip, zone) = text.split_at_checked(percent)?;
    let zone = zone.strip_prefix(b"%")?;
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"._~-".contains(b);
    let ip = addr::parse_v6(ip)?;
    let fits = (1..=64).contains(&zone.len()) && zone.iter().all(allowed) && ip.is_unicast_link_local();
    fits.then_some((ip, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(element: &str, expected: Option<(&str, Option<u16>, bool)>) {
        let expected = expected.map_or(GARBAGE, |(ip, port, zone)| Node::Addr {
            ip: ip.parse().unwrap(),
            port,
            zone,
        });
        assert_eq!(node(HeaderKind::List, element.as_bytes()), expected, "{element}");
    }

    #[test]
    fn forms_of_an_address() {
        check("1.2.3.4", Some(("1.2.3.4", None, false)));
        check("1.2.3.4:0", Some(("1.2.3.4", Some(0), false)));
        check("1.2.3.4:65535", Some(("1.2.3.4", Some(65535), false)));
        check("2001:db8::7", Some(("2001:db8::7", None, false)));
        check("[2001:db8::7]", Some(("2001:db8::7", None, false)));
        check("[::ffff:1.2.3.4]:80", Some(("1.2.3.4", Some(80), false)));
        check("fe80::1%eth0", Some(("fe80::1", None, true)));
        check("[febf::1%a~b]:9", Some(("febf::1", Some(9), true)));
        check("::7", Some(("::7", None, false)));
    }

    #[test]
    fn everything_else_is_garbage() {
        for text in [
            "",
            "1.2.3",
            "1.2.3.4:",
            "1.2.3.4:080",
            "1.2.3.4:65536",
            "[1.2.3.4]",
            "[::1",
            "[::2]80",
            "[::2]:",
            "::",
            "fec0::1%x",
            "fe80::1%",
            "fe80::1%a b",
            "0.0.0.0",
            "224.0.0.1",
            "0x7f.1.1.1",
            "a",
            "[]",
            "]",
            "[fe80::1]%eth0",
            "1.2.3.4 ",
            "[::2]:80:80",
            "1.2.3.4:80:80",
        ] {
            check(text, None);
        }
        assert_eq!(node(HeaderKind::Single, b"UnKnown"), UNKNOWN);
    }
}
