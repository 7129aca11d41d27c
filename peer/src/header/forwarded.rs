//! RFC 7239: elements, pairs and the node of `for` (peername 6.4).

use super::element::{GARBAGE, Node, UNKNOWN, address};
use crate::addr;
use crate::text::trim;
use std::borrow::Cow;
use std::net::IpAddr;

const OBFUSCATED: Node = Node::Other("obfuscated");
const NO_FOR: Node = Node::Other("no_for");

/// The elements of one line, cut at commas outside quotes. A line with an unclosed quote is one element
/// (which is garbage, since a quote is open in it), so that an open quote cannot reach beyond its line.
pub(super) fn elements(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let separator = if ends_in_quote(line) { None } else { Some(b',') };
    SplitUnquoted {
        rest: Some(line),
        separator,
    }
}

/// What the element's `for` says.
pub(super) fn node(element: &[u8]) -> Node {
    if ends_in_quote(element) {
        return GARBAGE;
    }
    let mut names: Vec<&[u8]> = Vec::new();
    let mut found = NO_FOR;
    for pair in (SplitUnquoted {
        rest: Some(element),
        separator: Some(b';'),
    }) {
        let pair = trim(pair);
        if pair.is_empty() {
            continue;
        }
        let Some((name, value)) = parse_pair(pair) else {
            return GARBAGE;
        };
        if names.iter().any(|n| n.eq_ignore_ascii_case(name)) {
            return GARBAGE;
        }
        names.push(name);
        if name.eq_ignore_ascii_case(b"for") {
            found = parse_node(&value);
        }
    }
    found
}

/// `IPv4`, `[IPv6]`, `unknown` or `_name`, each with `:port` or `:_name`.
fn parse_node(node: &[u8]) -> Node {
    let name_len = match node.strip_prefix(b"[") {
        Some(inner) => inner.iter().position(|b| *b == b']').map(|close| close + 2),
        None => node.iter().position(|b| *b == b':').or(Some(node.len())),
    };
    let Some((name, port)) = name_len.and_then(|len| node.split_at_checked(len)) else {
        return GARBAGE;
    };
    let port = match port.strip_prefix(b":") {
        None if port.is_empty() => None,
        None => return GARBAGE,
        Some(port) if is_obfuscated(port) => None,
        Some(port) => match addr::parse_port(port) {
            Some(port) => Some(port),
            None => return GARBAGE,
        },
    };
    let ip = match name.strip_prefix(b"[") {
        _ if name.eq_ignore_ascii_case(b"unknown") => return UNKNOWN,
        _ if is_obfuscated(name) => return OBFUSCATED,
        Some(inner) => inner.strip_suffix(b"]").and_then(addr::parse_v6).map(IpAddr::V6),
        None => addr::parse_v4(name).map(IpAddr::V4),
    };
    ip.and_then(|ip| address(ip, port, false)).unwrap_or(GARBAGE)
}

/// `_` and one or more of `A-Za-z0-9._-`.
fn is_obfuscated(name: &[u8]) -> bool {
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"._-".contains(b);
    name.strip_prefix(b"_")
        .is_some_and(|rest| !rest.is_empty() && rest.iter().all(allowed))
}

/// `token=token` or `token="quoted-string"` without blanks at `=`.
fn parse_pair(pair: &[u8]) -> Option<(&[u8], Cow<'_, [u8]>)> {
    let equals = pair.iter().position(|b| *b == b'=')?;
    let (name, value) = pair.split_at_checked(equals)?;
    let value = value.strip_prefix(b"=")?;
    if !is_token(name) {
        return None;
    }
    match value.strip_prefix(b"\"") {
        Some(quoted) => Some((name, unquote(quoted)?)),
        None => is_token(value).then_some((name, Cow::Borrowed(value))),
    }
}

/// The content of a quoted-string after its opening quote; its closing quote must be the last byte.
fn unquote(quoted: &[u8]) -> Option<Cow<'_, [u8]>> {
    let inner = quoted.strip_suffix(b"\"")?;
    if inner.iter().all(|b| is_qdtext(*b)) {
        return Some(Cow::Borrowed(inner));
    }
    let mut text = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied();
    while let Some(b) = bytes.next() {
        match b {
            b'\\' => text.push(bytes.next().filter(|b| is_quotable(*b))?),
            b if is_qdtext(b) => text.push(b),
            _ => return None,
        }
    }
    Some(Cow::Owned(text))
}

/// RFC 9110 5.6.4: what may stand in quotes as itself.
fn is_qdtext(b: u8) -> bool {
    is_quotable(b) && b != b'"' && b != b'\\'
}

/// RFC 9110 5.6.4: what may stand behind a backslash.
fn is_quotable(b: u8) -> bool {
    b == b'\t' || b == b' ' || b.is_ascii_graphic() || b >= 0x80
}

/// RFC 9110 5.6.2.
fn is_token(text: &[u8]) -> bool {
    !text.is_empty()
        && text
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}

/// Whether a quote is open at the end.
fn ends_in_quote(text: &[u8]) -> bool {
    let mut quotes = Quotes::default();
    for b in text {
        quotes.pass(*b);
    }
    quotes.open
}

/// A quote runs from any `"` to the next one that is not behind a `\`.
#[derive(Default)]
struct Quotes {
    open: bool,
    escaped: bool,
}

impl Quotes {
    fn pass(&mut self, b: u8) {
        match b {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.open => self.escaped = true,
            b'"' => self.open = !self.open,
            _ => {}
        }
    }
}

/// Cuts at a byte outside quotes; not at all without one.
struct SplitUnquoted<'a> {
    rest: Option<&'a [u8]>,
    separator: Option<u8>,
}

impl<'a> Iterator for SplitUnquoted<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest.take()?;
        let mut quotes = Quotes::default();
        let cut = rest.iter().position(|b| {
            let here = !quotes.open && Some(*b) == self.separator;
            quotes.pass(*b);
            here
        });
        let Some((item, after)) = cut.and_then(|at| rest.split_at_checked(at)) else {
            return Some(rest);
        };
        self.rest = after.get(1..);
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(element: &str, expected: Result<(&str, Option<u16>), &'static str>) {
        let expected = match expected {
            Ok((ip, port)) => Node::Addr {
                ip: ip.parse().unwrap(),
                port,
                zone: false,
            },
            Err(class) => Node::Other(class),
        };
        assert_eq!(node(element.as_bytes()), expected, "{element}");
    }

    #[test]
    fn nodes() {
        check("for=1.2.3.4", Ok(("1.2.3.4", None)));
        check("By=x;FOR=\"1.2.3.4:80\"", Ok(("1.2.3.4", Some(80))));
        check("for=\"[2001:db8::1]:80\"", Ok(("2001:db8::1", Some(80))));
        check("for=\"[2001:db8::1]:_p\"", Ok(("2001:db8::1", None)));
        check("for=\"[::ffff:1.2.3.4]\"", Ok(("1.2.3.4", None)));
        check(" ;; for=1.2.3.4 ; ", Ok(("1.2.3.4", None)));
        check("for=\"1.2.3\\.4\"", Ok(("1.2.3.4", None)));
        check("for=UNKNOWN", Err("unknown"));
        check("for=\"unknown:80\"", Err("unknown"));
        check("for=_a.b-c", Err("obfuscated"));
        check("for=\"_a:_b\"", Err("obfuscated"));
        check("proto=https", Err("no_for"));
        check(";", Err("no_for"));
    }

    #[test]
    fn broken_elements_are_garbage() {
        for element in [
            "for",
            "for=",
            "for =1.2.3.4",
            "for= 1.2.3.4",
            "=x",
            "for=1.2.3.4;for=1.2.3.5",
            "a=b;A=c;for=1.2.3.4",
            "for=1.2.3.4:80",
            "for=[::2]",
            "for=\"::2\"",
            "for=\"[::2]x\"",
            "for=\"[::2\"",
            "for=\"1.2.3.4",
            "for=\"1.2.3.4\"x",
            "for=\"1.2.3.4:\"",
            "for=\"1.2.3.4:_\"",
            "for=_",
            "for=\"fe80::1%eth0\"",
            "for=\"[fe80::1%eth0]\"",
            "for=0.0.0.0",
            "for=\"a\u{1}b\"",
            "for=\"\"",
            "x=\"a\"b\";for=1.2.3.4",
        ] {
            check(element, Err("garbage"));
        }
    }

    #[test]
    fn commas_in_quotes_do_not_cut() {
        let cut = |line: &'static str| {
            elements(line.as_bytes())
                .map(|e| str::from_utf8(e).unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(cut("a=\"x,y\\\",z\", b=c"), ["a=\"x,y\\\",z\"", " b=c"]);
        assert_eq!(cut("a=\"x\\\\\",b"), ["a=\"x\\\\\"", "b"]);
        assert_eq!(cut("a=\"x, b, c"), ["a=\"x, b, c"]);
        assert_eq!(cut("a,,b"), ["a", "", "b"]);
    }
}
