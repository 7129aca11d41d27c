//! PROXY version 2: the binary header without its TLVs (peername 5.3).

use super::{Bad, Header, Parsed, tlv};
use crate::addr::Addr;
use crate::code::{Code, Warnings};
use crate::info::Info;
use crate::peer::{Command, Family};
use crate::policy::TypeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Signature, version and command, family, length.
const FIXED: usize = 16;

const INET: u8 = 1;
const INET6: u8 = 2;
const UNIX: u8 = 3;

/// Bytes of one address in an AF_UNIX block.
const UNIX_PATH: usize = 108;

/// `bytes` begin with the signature. Each check is made as soon as its bytes are there, so that a length
/// field can neither delay a refusal nor make anybody wait for more than `header_max` bytes.
pub(super) fn parse(bytes: &[u8], header_max: usize, expose: TypeSet) -> Parsed {
    let Some(&version_command) = bytes.get(12) else {
        return Ok(None);
    };
    if version_command >> 4 != 2 {
        return Err(bad("version"));
    }
    let local = match version_command & 0x0f {
        0 => true,
        1 => false,
        _ => return Err(bad("command")),
    };
    let Some(&family) = bytes.get(13) else {
        return Ok(None);
    };
    let (family, transport) = (family >> 4, family & 0x0f);
    if !local && (family > UNIX || transport > 2) {
        return Err(bad("family"));
    }
    let Some(&[high, low]) = bytes.get(14..FIXED).and_then(<[u8]>::first_chunk) else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if FIXED + length > header_max {
        return Err(Bad {
            code: Code::ProxyTooLarge,
            detail: None,
        });
    }
    let named = !local && family != 0 && transport != 0;
    let addresses_len = match family {
        INET => 12,
        INET6 => 36,
        _ => 2 * UNIX_PATH,
    };
    if named && length < addresses_len {
        return Err(bad("addr_len"));
    }
    let Some(whole) = bytes.get(..FIXED + length) else {
        return Ok(None);
    };
    let mut header = Header {
        version: 2,
        len: whole.len(),
        command: if local { Command::Local } else { Command::Unknown },
        family: Family::Unspec,
        ends: None,
        info: Info::default(),
        warnings: Warnings::default(),
    };
    if named {
        (header.info, header.warnings) = tlv::parse(whole, FIXED + addresses_len, expose)?;
        let block = whole.get(FIXED..).unwrap_or_default();
        addresses(&mut header, family, transport == 1, block);
    }
    Ok(Some(header))
}

/// The block is long enough for its family; that is checked above.
fn addresses(header: &mut Header, family: u8, stream: bool, block: &[u8]) {
    if family == UNIX {
        header.family = Family::Unix;
        header.info.unix_source = unix_path(block.get(..UNIX_PATH).unwrap_or_default());
        return;
    }
    header.ends = if family == INET { inet(block) } else { inet6(block) };
    header.command = Command::Proxy;
    header.family = match (family, stream) {
        (INET, true) => Family::Tcp4,
        (INET, false) => Family::Udp4,
        (_, true) => Family::Tcp6,
        (_, false) => Family::Udp6,
    };
}

fn inet(block: &[u8]) -> Option<(Addr, Addr)> {
    let (source, rest) = block.split_first_chunk::<4>()?;
    let (destination, rest) = rest.split_first_chunk::<4>()?;
    let (source_port, destination_port) = ports(rest)?;
    let source = Addr::new(Ipv4Addr::from(*source).into(), source_port);
    Some((
        source,
        Addr::new(Ipv4Addr::from(*destination).into(), destination_port),
    ))
}

fn inet6(block: &[u8]) -> Option<(Addr, Addr)> {
    let (source, rest) = block.split_first_chunk::<16>()?;
    let (destination, rest) = rest.split_first_chunk::<16>()?;
    let (source_port, destination_port) = ports(rest)?;
    let source = Addr::new(Ipv6Addr::from(*source).into(), source_port);
    Some((
        source,
        Addr::new(Ipv6Addr::from(*destination).into(), destination_port),
    ))
}

fn ports(bytes: &[u8]) -> Option<(u16, u16)> {
    let (source, rest) = bytes.split_first_chunk::<2>()?;
    let (destination, _) = rest.split_first_chunk::<2>()?;
    Some((u16::from_be_bytes(*source), u16::from_be_bytes(*destination)))
}

/// The path up to the first NUL, `@name` if abstract; `None` for a socket without a name.
fn unix_path(field: &[u8]) -> Option<Box<str>> {
    let (mark, name) = match field.strip_prefix(b"\0") {
        Some(name) => ("@", name),
        None => ("", field),
    };
    let name = name.split(|b| *b == 0).next().filter(|name| !name.is_empty())?;
    Some(format!("{mark}{}", path_text(name)).into())
}

/// A path as text: control characters and what is not UTF-8 are escaped, so that it can be shown.
fn path_text(name: &[u8]) -> String {
    match std::str::from_utf8(name) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => name.escape_ascii().to_string(),
    }
}

fn bad(detail: &'static str) -> Bad {
    Bad::new(Code::ProxyV2, detail)
}
