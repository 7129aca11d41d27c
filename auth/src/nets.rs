//! Address ranges as text and as sets: strict CIDR parsing in canonical form (peername 2) and `NetSet`,
//! whose lookup is a binary search over merged ranges, however many were listed.
//!
//! Which ranges a rule or a ban means does not live here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv4Subnets, Ipv6Net, Ipv6Subnets};
use peer::Addr;

/// Why a text is not a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetError {
    /// Neither an address nor `address/length`.
    Syntax,
    /// The length is larger than the address has bits (or not a number).
    Length,
    /// Bits are set behind the length; the network and the host that may have been meant.
    HostBits(IpNet, IpAddr),
}

impl fmt::Display for NetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax => f.write_str("not an IP address or CIDR"),
            Self::Length => f.write_str("the prefix length does not fit the address"),
            Self::HostBits(..) => f.write_str("has host bits set"),
        }
    }
}

/// Reads `address` or `address/length` (peername 2: no leading zeros, no zone, no brackets; an IPv4-mapped
/// range from /96 on is the IPv4 range). Host bits are an error.
pub fn parse_net(text: &str) -> Result<IpNet, NetError> {
    let (addr, len) = match text.split_once('/') {
        None => (text, None),
        Some((addr, len)) => (addr, Some(parse_len(len)?)),
    };
    let ip = parse_ip(addr).ok_or(NetError::Syntax)?;
    let bits = if ip.is_ipv4() { 32 } else { 128 };
    let len = len.unwrap_or(bits);
    let net = canonical_net(IpNet::new(ip, len).map_err(|_| NetError::Length)?);
    if net.addr() == net.network() {
        Ok(net)
    } else {
        Err(NetError::HostBits(net.trunc(), net.addr()))
    }
}

/// Reads an address exactly as peername 2 has it (not yet made canonical).
pub fn parse_ip(text: &str) -> Option<IpAddr> {
    // The standard library's grammar is the one of peername 2 for bare addresses: no zone, no brackets,
    // no leading zeros, `::` for at least one group.
    text.parse().ok()
}

fn parse_len(text: &str) -> Result<u8, NetError> {
    let plain = !text.is_empty() && text.len() <= 3 && text.bytes().all(|b| b.is_ascii_digit());
    let leading_zero = text.len() > 1 && text.starts_with('0');
    if !plain || leading_zero {
        return Err(NetError::Length);
    }
    text.parse().map_err(|_| NetError::Length)
}

/// The canonical form of a range: an IPv4-mapped one of /96 and longer is IPv4 (peername 2).
pub fn canonical_net(net: IpNet) -> IpNet {
    match net {
        IpNet::V6(six) if six.prefix_len() >= 96 => match six.addr().to_ipv4_mapped() {
            Some(four) => Ipv4Net::new(four, six.prefix_len() - 96).map_or(net, IpNet::V4),
            None => net,
        },
        _ => net,
    }
}

/// The prefix of `ip` with `v4_len` or `v6_len` bits (IPv6 bans and quotas take the /64: peername 8).
pub fn prefix_of(ip: IpAddr, v4_len: u8, v6_len: u8) -> IpNet {
    match ip.to_canonical() {
        IpAddr::V4(four) => IpNet::V4(
            Ipv4Net::new(four, v4_len.min(32))
                .unwrap_or(Ipv4Net::from(four))
                .trunc(),
        ),
        IpAddr::V6(six) => IpNet::V6(
            Ipv6Net::new(six, v6_len.min(128))
                .unwrap_or(Ipv6Net::from(six))
                .trunc(),
        ),
    }
}

/// A set of ranges, and whether the unix-domain peer is in it. Immutable once built.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetSet {
    four: Box<[(u32, u32)]>,
    six: Box<[(u128, u128)]>,
    unix: bool,
}

impl NetSet {
    /// The set of all addresses in `nets`; `unix` adds the unix-domain peer.
    pub fn new(nets: impl IntoIterator<Item = IpNet>, unix: bool) -> Self {
        let (mut four, mut six) = (Vec::new(), Vec::new());
        for net in nets {
            match canonical_net(net) {
                IpNet::V4(n) => four.push((u32::from(n.network()), u32::from(n.broadcast()))),
                IpNet::V6(n) => six.push((u128::from(n.network()), u128::from(n.broadcast()))),
            }
        }
        Self {
            four: merged(four, |last, next| last.checked_add(1) == Some(next)),
            six: merged(six, |last, next| last.checked_add(1) == Some(next)),
            unix,
        }
    }

    /// Whether the address is in the set. An IPv4-mapped address is its IPv4 form.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => in_ranges(&self.four, u32::from(ip)),
            IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
                Some(four) => in_ranges(&self.four, u32::from(four)),
                None => in_ranges(&self.six, u128::from(ip)),
            },
        }
    }

    /// Whether the peer's address is in the set; the port does not count.
    pub fn contains_addr(&self, addr: &Addr) -> bool {
        match addr.ip() {
            Some(ip) => self.contains(ip),
            None => self.unix,
        }
    }

    /// Whether every member of `other` is a member.
    pub fn covers(&self, other: &Self) -> bool {
        (self.unix || !other.unix)
            && other.four.iter().all(|r| range_in(&self.four, *r))
            && other.six.iter().all(|r| range_in(&self.six, *r))
    }

    /// Whether the two have a member in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        (self.unix && other.unix)
            || other.four.iter().any(|r| range_meets(&self.four, *r))
            || other.six.iter().any(|r| range_meets(&self.six, *r))
    }

    /// Ranges that make up the set, without the unix-domain peer.
    pub(crate) fn nets(&self) -> impl Iterator<Item = IpNet> {
        let four = self
            .four
            .iter()
            .flat_map(|(a, b)| Ipv4Subnets::new((*a).into(), (*b).into(), 0));
        let six = self
            .six
            .iter()
            .flat_map(|(a, b)| Ipv6Subnets::new((*a).into(), (*b).into(), 0));
        four.map(IpNet::V4).chain(six.map(IpNet::V6))
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.four.is_empty() && self.six.is_empty() && !self.unix
    }
}

fn merged<T: Copy + Ord>(mut ranges: Vec<(T, T)>, adjacent: impl Fn(T, T) -> bool) -> Box<[(T, T)]> {
    ranges.sort_unstable();
    let mut out: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match out.last_mut() {
            Some(open) if first <= open.1 || adjacent(open.1, first) => open.1 = open.1.max(last),
            _ => out.push((first, last)),
        }
    }
    out.into_boxed_slice()
}

/// The range that begins last at or before `at`.
fn range_before<T: Copy + Ord>(ranges: &[(T, T)], at: T) -> Option<(T, T)> {
    let after = ranges.partition_point(|r| r.0 <= at);
    ranges.get(after.checked_sub(1)?).copied()
}

fn in_ranges<T: Copy + Ord>(ranges: &[(T, T)], at: T) -> bool {
    range_before(ranges, at).is_some_and(|r| at <= r.1)
}

fn range_in<T: Copy + Ord>(ranges: &[(T, T)], inner: (T, T)) -> bool {
    range_before(ranges, inner.0).is_some_and(|r| inner.1 <= r.1)
}

fn range_meets<T: Copy + Ord>(ranges: &[(T, T)], other: (T, T)) -> bool {
    range_before(ranges, other.1).is_some_and(|r| r.1 >= other.0)
}

const fn net4(a: u8, b: u8, c: u8, d: u8, len: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), len))
}

const fn net6(first: u16, last: u16, len: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(
        Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, last),
        len,
    ))
}

/// The class loopback of peername 2; the unix-domain peer belongs to it too.
pub const LOOPBACK: [IpNet; 2] = [net4(127, 0, 0, 0, 8), net6(0, 1, 128)];

/// The class local of peername 2.
pub const LOCAL: [IpNet; 9] = [
    net4(10, 0, 0, 0, 8),
    net4(100, 64, 0, 0, 10),
    net4(169, 254, 0, 0, 16),
    net4(172, 16, 0, 0, 12),
    net4(192, 168, 0, 0, 16),
    net4(240, 0, 0, 0, 4),
    net6(0xfc00, 0, 7),
    net6(0xfe80, 0, 10),
    net6(0xfec0, 0, 10),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn net(text: &str, want: &str) {
        assert_eq!(parse_net(text).unwrap().to_string(), want, "{text}");
    }

    #[test]
    fn ranges_are_read_strictly_and_made_canonical() {
        net("10.0.0.0/8", "10.0.0.0/8");
        net("10.0.0.1", "10.0.0.1/32");
        net("::ffff:10.0.0.0/104", "10.0.0.0/8");
        net("::ffff:10.0.0.1", "10.0.0.1/32");
        net("2001:DB8::/32", "2001:db8::/32");
        net("::/0", "::/0");
        for bad in [
            "",
            "10.0.0",
            "010.0.0.1",
            "10.0.0.0/",
            "fe80::1%eth0",
            "[::1]",
            " 10.0.0.1",
            "10.0.0.0/8/8",
        ] {
            assert!(parse_net(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_net("10.0.0.0/33"), Err(NetError::Length));
        assert_eq!(parse_net("10.0.0.0/08"), Err(NetError::Length));
        assert_eq!(
            parse_net("10.20.0.5/16"),
            Err(NetError::HostBits(
                "10.20.0.0/16".parse().unwrap(),
                "10.20.0.5".parse().unwrap()
            ))
        );
    }

    fn set(nets: &[&str]) -> NetSet {
        NetSet::new(nets.iter().map(|n| parse_net(n).unwrap()), false)
    }

    #[test]
    fn a_set_knows_its_members() {
        let s = set(&[
            "10.0.0.0/8",
            "10.1.0.0/16",
            "11.0.0.0/8",
            "2001:db8::/32",
            "255.255.255.255",
        ]);
        for inside in [
            "10.0.0.0",
            "11.255.255.255",
            "2001:db8::1",
            "::ffff:10.1.2.3",
            "255.255.255.255",
        ] {
            assert!(s.contains(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["9.255.255.255", "12.0.0.0", "2001:db9::", "::10.0.0.1", "0.0.0.0"] {
            assert!(!s.contains(outside.parse().unwrap()), "{outside}");
        }
        assert!(s.covers(&set(&["10.0.0.0/7"])), "neighbours are merged");
        assert!(!s.covers(&set(&["8.0.0.0/6"])));
        assert!(s.overlaps(&set(&["0.0.0.0/0"])));
        assert!(!s.overlaps(&set(&["12.0.0.0/8", "::/128"])));
        assert!(set(&[]).is_empty());
    }

    #[test]
    fn the_prefix_of_an_address() {
        let p = |ip: &str| prefix_of(ip.parse().unwrap(), 24, 64).to_string();
        assert_eq!(p("10.1.2.3"), "10.1.2.0/24");
        assert_eq!(p("2001:db8:1:2:3::9"), "2001:db8:1:2::/64");
        assert_eq!(p("::ffff:10.1.2.3"), "10.1.2.0/24");
    }
}
