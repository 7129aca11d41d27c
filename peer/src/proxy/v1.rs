//! PROXY version 1: a line of text (peername 5.2).

use super::sniff::V1_SIGNATURE;
use super::{Bad, Header, Parsed};
use crate::addr::{self, Addr};
use crate::code::{Code, Warning, Warnings};
use crate::info::Info;
use crate::peer::{Command, Family};
use std::net::IpAddr;

/// CR LF lie within so many bytes.
const LINE_MAX: usize = 107;

/// `bytes` begin with the signature.
pub(super) fn parse(bytes: &[u8]) -> Parsed {
    let Some(line_len) = line_len(bytes)? else {
        return Ok(None);
    };
    let line = bytes.get(V1_SIGNATURE.len()..line_len - 2).unwrap_or_default();
    parse_line(line, line_len).map(Some)
}

/// The length of the line with its CR LF; `None` if it is not there yet.
fn line_len(bytes: &[u8]) -> Result<Option<usize>, Bad> {
    let mut rest = bytes
        .get(..LINE_MAX)
        .unwrap_or(bytes)
        .iter()
        .enumerate()
        .skip(V1_SIGNATURE.len());
    match rest.find(|(_, b)| matches!(b, b'\r' | b'\n')) {
        None if bytes.len() >= LINE_MAX => Err(Bad {
            code: Code::ProxyTooLarge,
            detail: None,
        }),
        None => Ok(None),
        Some((_, b'\n')) => Err(bad("lf")),
        Some((at, _)) if at + 1 == LINE_MAX => Err(Bad {
            code: Code::ProxyTooLarge,
            detail: None,
        }),
        Some((at, _)) => match bytes.get(at + 1) {
            None => Ok(None),
            Some(b'\n') => Ok(Some(at + 2)),
            Some(_) => Err(bad("cr")),
        },
    }
}

fn parse_line(line: &[u8], line_len: usize) -> Result<Header, Bad> {
    let mut header = Header {
        version: 1,
        len: line_len,
        command: Command::Unknown,
        family: Family::Unspec,
        ends: None,
        info: Info::default(),
        warnings: Warnings::default(),
    };
    let mut fields = line.split(|b| *b == b' ');
    header.family = match fields.next().unwrap_or_default() {
        b"UNKNOWN" => return Ok(header),
        b"TCP4" => Family::Tcp4,
        b"TCP6" => Family::Tcp6,
        _ => return Err(bad("proto")),
    };
    let (Some(source), Some(destination), Some(source_port), Some(destination_port), None) = (
        fields.next(),
        fields.next(),
        fields.next(),
        fields.next(),
        fields.next(),
    ) else {
        return Err(bad("tokens"));
    };
    let source = parse_as(header.family, source).ok_or(bad("src"))?;
    let destination = if let Some(ip) = parse_as(header.family, destination) {
        ip
    } else {
        // nginx writes the family of the client's side when the two sides differ.
        header.warnings.insert(Warning::V1DstFamily);
        addr::parse_ip(destination).ok_or(bad("dst"))?
    };
    let port = |text| addr::parse_port(text).ok_or(bad("port"));
    header.ends = Some((
        Addr::new(source, port(source_port)?),
        Addr::new(destination, port(destination_port)?),
    ));
    header.command = Command::Proxy;
    Ok(header)
}

/// An address written in that family; IPv4-mapped text is IPv6.
fn parse_as(family: Family, text: &[u8]) -> Option<IpAddr> {
    match family {
        Family::Tcp4 => addr::parse_v4(text).map(IpAddr::V4),
        _ => addr::parse_v6(text).map(IpAddr::V6),
    }
}

fn bad(detail: &'static str) -> Bad {
    Bad::new(Code::ProxyV1, detail)
}
