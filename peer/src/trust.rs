//! Who is believed: sets of address ranges and `unix` (peername 3.1, 3.3).
//! Not here: which set is asked when (`proxy`, `header`), and what is suspicious about a set (`policy`).

use crate::addr::{self, Addr};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::fmt;
use std::net::IpAddr;

/// One entry of a range list: a network in canonical form (`::ffff:10.0.0.0/104` is `10.0.0.0/8`), or
/// unix-domain peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Range {
    /// `unix`: every unix-domain peer.
    Unix,
    /// A network; its host bits are zero.
    Net(IpNet),
}

/// A list of ranges. An entry of prefix length 0 (a wildcard) counts at gates and nowhere else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustSet {
    entries: Vec<Entry>,
    written: Vec<Box<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    range: Range,
    /// Kept apart from the network so that the walk's loop compares two integers and nothing else.
    matcher: Matcher,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Matcher {
    Unix,
    V4 { net: u32, mask: u32 },
    V6 { net: u128, mask: u128 },
}

/// A range as parsed, and whether host bits were masked off on the way (CW03).
pub(crate) struct ParsedRange {
    pub(crate) range: Range,
    pub(crate) host_bits: bool,
}

impl TrustSet {
    /// A set from range texts: networks, addresses, `unix`. For callers with a plain list; a listener's keys
    /// go through [`crate::RawPolicy`], which also resolves `@name` and reports codes. The error is the
    /// first text that does not parse.
    pub fn parse<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Result<Self, String> {
        let mut set = Self::default();
        for text in texts {
            let text = text.as_ref();
            let parsed = Range::parse(text).ok_or_else(|| text.to_owned())?;
            set.push(parsed.range, text);
        }
        Ok(set)
    }

    pub(crate) fn push(&mut self, range: Range, written: &str) {
        self.entries.push(Entry {
            range,
            matcher: range.matcher(),
        });
        self.written.push(written.into());
    }

    /// Whether there is no entry: nobody is believed.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries in the order written.
    pub fn ranges(&self) -> impl Iterator<Item = Range> + '_ {
        self.entries.iter().map(|e| e.range)
    }

    /// The entries as written (`@name` replaced by its ranges).
    pub fn written(&self) -> impl Iterator<Item = &str> {
        self.written.iter().map(AsRef::as_ref)
    }

    /// The first entry, wildcards left out, that covers `addr`. This is what the walk and `kind` ask.
    pub fn contains(&self, addr: &Addr) -> Option<Range> {
        self.find(addr, |range| !range.is_wildcard())
    }

    /// The first entry, wildcards included, that covers `addr`. This is what a gate asks: may it speak at all?
    pub fn gate(&self, addr: &Addr) -> Option<Range> {
        self.find(addr, |_| true)
    }

    /// Whether any entry is a wildcard.
    pub fn has_wildcard(&self) -> bool {
        self.entries.iter().any(|e| e.range.is_wildcard())
    }

    fn find(&self, addr: &Addr, counts: impl Fn(&Range) -> bool) -> Option<Range> {
        let hit = |e: &&Entry| counts(&e.range);
        match addr.ip() {
            None => self
                .entries
                .iter()
                .find(|e| e.matcher == Matcher::Unix)
                .map(|e| e.range),
            Some(IpAddr::V4(ip)) => {
                let bits = ip.to_bits();
                let covers =
                    |e: &&Entry| matches!(e.matcher, Matcher::V4 { net, mask } if bits & mask == net);
                self.entries.iter().filter(covers).find(hit).map(|e| e.range)
            }
            Some(IpAddr::V6(ip)) => {
                let bits = ip.to_bits();
                let covers =
                    |e: &&Entry| matches!(e.matcher, Matcher::V6 { net, mask } if bits & mask == net);
                self.entries.iter().filter(covers).find(hit).map(|e| e.range)
            }
        }
    }
}

impl Range {
    /// `unix`, an address, or address/prefix; `None` if it is none of them.
    pub(crate) fn parse(text: &str) -> Option<ParsedRange> {
        if text == "unix" {
            return Some(ParsedRange {
                range: Self::Unix,
                host_bits: false,
            });
        }
        let (host, prefix) = match text.split_once('/') {
            Some((host, prefix)) => (host, Some(parse_prefix(prefix)?)),
            None => (text, None),
        };
        let net = match (addr::parse_v4(host.as_bytes()), addr::parse_v6(host.as_bytes())) {
            (Some(ip), _) => IpNet::V4(Ipv4Net::new(ip, prefix.unwrap_or(32)).ok()?),
            (None, Some(ip)) => {
                let prefix = prefix.unwrap_or(128);
                // From /96 on the whole range lies inside the IPv4-mapped block, so it is an IPv4 range.
                match (ip.to_ipv4_mapped(), prefix.checked_sub(96)) {
                    (Some(v4), Some(v4_prefix)) => IpNet::V4(Ipv4Net::new(v4, v4_prefix).ok()?),
                    _ => IpNet::V6(Ipv6Net::new(ip, prefix).ok()?),
                }
            }
            (None, None) => return None,
        };
        Some(ParsedRange {
            range: Self::Net(net.trunc()),
            host_bits: net != net.trunc(),
        })
    }

    /// Whether this is an entry of prefix length 0.
    pub fn is_wildcard(&self) -> bool {
        matches!(self, Self::Net(net) if net.prefix_len() == 0)
    }

    fn matcher(self) -> Matcher {
        match self {
            Self::Unix => Matcher::Unix,
            Self::Net(IpNet::V4(net)) => Matcher::V4 {
                net: net.network().to_bits(),
                mask: net.netmask().to_bits(),
            },
            Self::Net(IpNet::V6(net)) => Matcher::V6 {
                net: net.network().to_bits(),
                mask: net.netmask().to_bits(),
            },
        }
    }
}

/// A decimal number without sign or leading zeros; the caller's network type checks its bound.
fn parse_prefix(text: &str) -> Option<u8> {
    let prefix = addr::parse_port(text.as_bytes())?;
    u8::try_from(prefix).ok()
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix => f.write_str("unix"),
            Self::Net(net) => net.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(texts: &[&str]) -> TrustSet {
        TrustSet::parse(texts).unwrap()
    }

    #[track_caller]
    fn check(texts: &[&str], addr: &str, contains: Option<&str>, gate: Option<&str>) {
        let (set, addr) = (set(texts), addr.parse().unwrap());
        assert_eq!(set.contains(&addr).map(|r| r.to_string()).as_deref(), contains);
        assert_eq!(set.gate(&addr).map(|r| r.to_string()).as_deref(), gate);
    }

    #[test]
    fn ranges_match_canonical_addresses() {
        check(
            &["10.0.0.0/24"],
            "[::ffff:10.0.0.5]:1",
            Some("10.0.0.0/24"),
            Some("10.0.0.0/24"),
        );
        check(
            &["::ffff:10.0.0.0/104"],
            "10.9.9.9:1",
            Some("10.0.0.0/8"),
            Some("10.0.0.0/8"),
        );
        check(
            &["10.0.0.7/24", "10.0.0.5"],
            "10.0.0.5:1",
            Some("10.0.0.0/24"),
            Some("10.0.0.0/24"),
        );
        check(&["::/0"], "10.0.0.5:1", None, None);
        check(&["::ffff:0:0/95"], "10.0.0.5:1", None, None);
        check(&["unix"], "unix", Some("unix"), Some("unix"));
        check(&["0.0.0.0/0", "::/0"], "unix", None, None);
        check(
            &["2001:db8::/32"],
            "[2001:db8::1]:0",
            Some("2001:db8::/32"),
            Some("2001:db8::/32"),
        );
    }

    #[test]
    fn wildcards_count_at_gates_only() {
        check(&["0.0.0.0/0"], "10.0.0.5:1", None, Some("0.0.0.0/0"));
        check(&["::ffff:0.0.0.0/96"], "10.0.0.5:1", None, Some("0.0.0.0/0"));
        check(
            &["0.0.0.0/0", "10.0.0.0/8"],
            "10.0.0.5:1",
            Some("10.0.0.0/8"),
            Some("0.0.0.0/0"),
        );
    }

    #[test]
    fn broken_ranges() {
        for text in [
            "10.0.0.0/33",
            "10.0.0/8",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/08",
            "/8",
            "",
            "lb",
            "10.0.0.0/+8",
        ] {
            assert_eq!(TrustSet::parse([text]), Err(text.to_owned()));
        }
        assert!(TrustSet::parse(["::ffff:1.2.3.4/129"]).is_err());
    }
}
