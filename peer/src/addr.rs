//! Addresses: text to address, the canonical form, address to text, classes (peername 2).
//! Not here: which addresses are trusted (`trust`), foreign text that is not an address (`text`).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// An address with its port, or a unix-domain peer, in canonical form: an IPv4-mapped IPv6 address never
/// occurs in it. Port 0 means the port is not known; a unix-domain peer has port 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Addr {
    host: Host,
    port: u16,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Host {
    Unix,
    Ip(IpAddr),
}

/// What kind of place an address names (peername 2, the first that fits).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// 0.0.0.0/8, 224.0.0.0/4, 255.255.255.255, `::`, ff00::/8: nobody's address.
    Invalid,
    /// 127.0.0.0/8, `::1`, and a unix-domain peer.
    Loopback,
    /// Private, shared, link-local, class E, unique local and site-local ranges.
    Local,
    /// Everything else, documentation ranges too.
    Public,
}

/// The text is no address with a port in the forms of [`Addr`]'s `Display`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddrParseError;

impl Addr {
    /// A unix-domain peer.
    pub const UNIX: Self = Self {
        host: Host::Unix,
        port: 0,
    };

    /// The address with its port, made canonical.
    pub fn new(ip: IpAddr, port: u16) -> Self {
        Self {
            host: Host::Ip(canonical(ip)),
            port,
        }
    }

    /// The IP address; `None` for a unix-domain peer.
    pub fn ip(&self) -> Option<IpAddr> {
        match self.host {
            Host::Unix => None,
            Host::Ip(ip) => Some(ip),
        }
    }

    /// The port; 0 if it is not known.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether this is a unix-domain peer.
    pub fn is_unix(&self) -> bool {
        self.host == Host::Unix
    }

    /// Whether both have the same IP address, or both are unix-domain peers; ports do not matter.
    pub fn same_host(&self, other: &Self) -> bool {
        self.host == other.host
    }

    /// The address alone, its port not known; what counts per address goes by it.
    #[must_use]
    pub fn host(&self) -> Self {
        Self {
            host: self.host,
            port: 0,
        }
    }

    /// The class of the address.
    pub fn class(&self) -> Class {
        match self.host {
            Host::Unix => Class::Loopback,
            Host::Ip(ip) => Class::of(ip),
        }
    }

    /// The address without its port: `1.2.3.4`, `2001:db8::1` or `unix`.
    pub fn host_text(&self) -> HostText {
        HostText(self.host)
    }
}

impl Class {
    /// The class of an address; an IPv4-mapped one has the class of its IPv4 address.
    pub fn of(ip: IpAddr) -> Self {
        match canonical(ip) {
            IpAddr::V4(ip) => Self::of_v4(ip),
            IpAddr::V6(ip) => Self::of_v6(ip),
        }
    }

    fn of_v4(ip: Ipv4Addr) -> Self {
        match ip.octets() {
            [0 | 224..=239, ..] | [255, 255, 255, 255] => Self::Invalid,
            [127, ..] => Self::Loopback,
            [10 | 240..=255, ..]
            | [100, 64..=127, ..]
            | [169, 254, ..]
            | [172, 16..=31, ..]
            | [192, 168, ..] => Self::Local,
            _ => Self::Public,
        }
    }

    fn of_v6(ip: Ipv6Addr) -> Self {
        match ip.segments() {
            [0, 0, 0, 0, 0, 0, 0, 0] | [0xff00..=0xffff, ..] => Self::Invalid,
            [0, 0, 0, 0, 0, 0, 0, 1] => Self::Loopback,
            [0xfc00..=0xfdff | 0xfe80..=0xfeff, ..] => Self::Local,
            _ => Self::Public,
        }
    }
}

/// Makes `::ffff:a.b.c.d` the IPv4 address `a.b.c.d`; nothing else is converted.
pub fn canonical(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    }
}

/// Four decimal numbers 0 to 255 without leading zeros; nothing shorter, no hex.
pub(crate) fn parse_v4(text: &[u8]) -> Option<Ipv4Addr> {
    let mut parts = text.split(|b| *b == b'.').map(parse_octet);
    let octets = [parts.next()??, parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then(|| octets.into())
}

fn parse_octet(digits: &[u8]) -> Option<u8> {
    let value = parse_port(digits)?;
    u8::try_from(value).ok()
}

/// RFC 4291 2.2 forms without zone, brackets or blanks. The result is as written: an IPv4-mapped address
/// is still IPv6, since PROXY v1 asks for the family of the text.
pub(crate) fn parse_v6(text: &[u8]) -> Option<Ipv6Addr> {
    let allowed = |b: &u8| b.is_ascii_hexdigit() || *b == b':' || *b == b'.';
    if text.len() > 45 || !text.iter().all(allowed) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Either family, canonical.
pub(crate) fn parse_ip(text: &[u8]) -> Option<IpAddr> {
    parse_v4(text)
        .map(IpAddr::V4)
        .or_else(|| parse_v6(text).map(|ip| canonical(IpAddr::V6(ip))))
}

/// `0` or `[1-9][0-9]{0,4}` up to 65535 (peername 5.2).
pub(crate) fn parse_port(text: &[u8]) -> Option<u16> {
    if text.is_empty() || text.len() > 5 || (text.len() > 1 && text.first() == Some(&b'0')) {
        return None;
    }
    let value = text.iter().try_fold(0u32, |sum, b| {
        b.is_ascii_digit().then(|| sum * 10 + u32::from(b - b'0'))
    })?;
    u16::try_from(value).ok()
}

impl From<SocketAddr> for Addr {
    fn from(addr: SocketAddr) -> Self {
        Self::new(addr.ip(), addr.port())
    }
}

impl FromStr for Addr {
    type Err = AddrParseError;

    /// `unix`, `1.2.3.4:56` or `[2001:db8::1]:56`.
    fn from_str(text: &str) -> Result<Self, AddrParseError> {
        parse_addr(text.as_bytes()).ok_or(AddrParseError)
    }
}

fn parse_addr(text: &[u8]) -> Option<Addr> {
    if text == b"unix" {
        return Some(Addr::UNIX);
    }
    let colon = text.iter().rposition(|b| *b == b':')?;
    let (host, port) = text.split_at_checked(colon)?;
    let port = parse_port(port.strip_prefix(b":")?)?;
    let ip = match host.strip_prefix(b"[") {
        Some(inner) => IpAddr::V6(parse_v6(inner.strip_suffix(b"]")?)?),
        None => IpAddr::V4(parse_v4(host)?),
    };
    Some(Addr::new(ip, port))
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host {
            Host::Unix => f.pad("unix"),
            Host::Ip(ip) => SocketAddr::new(ip, self.port).fmt(f),
        }
    }
}

impl fmt::Debug for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Shows an [`Addr`] without its port; made by [`Addr::host_text`].
#[derive(Clone, Copy)]
pub struct HostText(Host);

impl fmt::Display for HostText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Host::Unix => f.pad("unix"),
            Host::Ip(ip) => ip.fmt(f),
        }
    }
}

impl fmt::Display for AddrParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected ip:port, [ipv6]:port or unix")
    }
}

impl std::error::Error for AddrParseError {}

impl serde::Serialize for Addr {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, shown: Option<&str>) {
        let got = text.parse::<Addr>().ok().map(|a| a.to_string());
        assert_eq!(got.as_deref(), shown, "{text}");
    }

    #[test]
    fn addresses_with_port() {
        check("1.2.3.4:56", Some("1.2.3.4:56"));
        check("[::ffff:1.2.3.4]:56", Some("1.2.3.4:56"));
        check("[2001:DB8:0:0::1]:0", Some("[2001:db8::1]:0"));
        check("[::1.2.3.4]:5", Some("[::102:304]:5"));
        check("unix", Some("unix"));
        check("1.2.3.4", None);
        check("1.2.3.4:056", None);
        check("1.2.3.4:65536", None);
        check("01.2.3.4:5", None);
        check("::1:5", None);
        check("[fe80::1%eth0]:5", None);
        check("[1.2.3.4]:5", None);
    }

    #[test]
    fn ipv6_grammar() {
        let ok: [&[u8]; 6] = [
            b"::",
            b"1:2:3:4:5:6:7:8",
            b"1::8",
            b"1:2:3:4:5:6:7::",
            b"::ffff:1.2.3.4",
            b"A::b",
        ];
        assert!(ok.iter().all(|t| parse_v6(t).is_some()));
        let bad: [&[u8]; 8] = [
            b"1:2:3:4:5:6:7:8::",
            b"1:2:3:4::5:6:7:8",
            b"1::2::3",
            b"12345::",
            b"::1%lo",
            b"[::1]",
            b" ::1",
            b"::ffff:01.2.3.4",
        ];
        assert!(bad.iter().all(|t| parse_v6(t).is_none()));
    }

    #[test]
    fn classes() {
        let of = |t: &str| Class::of(t.parse().unwrap());
        for t in [
            "0.1.2.3",
            "224.0.0.1",
            "239.255.255.255",
            "255.255.255.255",
            "::",
            "ff02::1",
            "::ffff:0.0.0.0",
        ] {
            assert_eq!(of(t), Class::Invalid, "{t}");
        }
        for t in ["127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(of(t), Class::Loopback, "{t}");
        }
        for t in [
            "10.0.0.1",
            "100.64.0.0",
            "100.127.255.255",
            "169.254.1.1",
            "172.31.0.0",
            "240.0.0.1",
            "255.0.0.1",
        ] {
            assert_eq!(of(t), Class::Local, "{t}");
        }
        for t in ["192.168.9.9", "fd00::1", "fe80::1", "fec0::1", "feff::"] {
            assert_eq!(of(t), Class::Local, "{t}");
        }
        for t in [
            "192.0.2.1",
            "100.128.0.0",
            "172.32.0.0",
            "2001:db8::1",
            "::7f00:1",
            "fe00::1",
            "2002:a00:1::",
        ] {
            assert_eq!(of(t), Class::Public, "{t}");
        }
        assert_eq!(Addr::UNIX.class(), Class::Loopback);
    }
}
