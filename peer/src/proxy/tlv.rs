//! The TLVs of a v2 header: structure, checksum, and the facts in them (peername 5.4).

use super::Bad;
use crate::code::{Code, Warning, Warnings};
use crate::info::{Info, Ssl};
use crate::policy::TypeSet;

const ALPN: u8 = 0x01;
const AUTHORITY: u8 = 0x02;
const CRC32C: u8 = 0x03;
const UNIQUE_ID: u8 = 0x05;
const SSL: u8 = 0x20;
const SSL_VERSION: u8 = 0x21;
const SSL_CN: u8 = 0x22;
const SSL_CIPHER: u8 = 0x23;
const SSL_SIG_ALG: u8 = 0x24;
const SSL_KEY_ALG: u8 = 0x25;
const SSL_GROUP: u8 = 0x26;
const SSL_SIG_SCHEME: u8 = 0x27;
const SSL_CLIENT_CERT: u8 = 0x28;
const NETNS: u8 = 0x30;
const GCP: u8 = 0xe0;
const AWS: u8 = 0xea;
const AZURE: u8 = 0xee;

const TOP_MAX: usize = 64;
const SUB_MAX: usize = 32;

/// Client bits and verify field before an SSL TLV's sub-TLVs.
const SSL_FIXED: usize = 5;

/// Reads the TLVs of the header `whole` from `start` to its end. Errors are the first in the order of
/// peername 5.4: the top level as a whole, each TLV in turn, the checksum.
pub(super) fn parse(whole: &[u8], start: usize, expose: TypeSet) -> Result<(Info, Warnings), Bad> {
    let block = whole.get(start..).unwrap_or_default();
    if block.is_empty() {
        return Ok((Info::default(), Warnings::default()));
    }
    for (number, tlv) in Tlvs::new(block).enumerate() {
        tlv?;
        if number == TOP_MAX {
            return Err(bad("tlv_count"));
        }
    }
    let special = check_each(block)?;
    if let Some(crc_at) = special.crc_at {
        check_crc(whole, start + crc_at)?;
    }
    let mut facts = Facts {
        info: Info::default(),
        warnings: Warnings::default(),
        seen: TypeSet::default(),
    };
    facts.info.crc32c = special.crc_at.is_some();
    for tlv in Tlvs::new(block).flatten() {
        if expose.contains(tlv.kind) {
            facts.info.raw.insert_first(tlv.kind, tlv.value);
        }
        facts.read(&tlv);
    }
    Ok((facts.info, facts.warnings))
}

/// One TLV. Its value is a part of the header; nothing is copied until a fact is kept.
struct Tlv<'a> {
    kind: u8,
    value: &'a [u8],
    /// Where the value begins in the block.
    at: usize,
}

/// The TLVs of a block, which they fill exactly; anything left over is an error, the last item.
struct Tlvs<'a> {
    block: &'a [u8],
    at: usize,
}

impl<'a> Tlvs<'a> {
    fn new(block: &'a [u8]) -> Self {
        Self { block, at: 0 }
    }

    fn read(&self, rest: &'a [u8]) -> Option<Tlv<'a>> {
        let (&[kind, high, low], rest) = rest.split_first_chunk::<3>()?;
        let value = rest.get(..usize::from(u16::from_be_bytes([high, low])))?;
        Some(Tlv {
            kind,
            value,
            at: self.at + 3,
        })
    }
}

impl<'a> Iterator for Tlvs<'a> {
    type Item = Result<Tlv<'a>, Bad>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.block.get(self.at..).filter(|rest| !rest.is_empty())?;
        let Some(tlv) = self.read(rest) else {
            self.at = self.block.len();
            return Some(Err(bad("tlv")));
        };
        self.at = tlv.at + tlv.value.len();
        Some(Ok(tlv))
    }
}

struct Special {
    /// Where the checksum's value begins in the block.
    crc_at: Option<usize>,
}

/// Length and number of those types whose structure is checked; the top level is sound already.
fn check_each(block: &[u8]) -> Result<Special, Bad> {
    let mut special = Special { crc_at: None };
    let mut ssl_seen = false;
    for tlv in Tlvs::new(block).flatten() {
        match tlv.kind {
            CRC32C if tlv.value.len() != 4 => return Err(bad("tlv")),
            CRC32C if special.crc_at.is_some() => return Err(bad("tlv_dup")),
            CRC32C => special.crc_at = Some(tlv.at),
            SSL if ssl_seen => return Err(bad("tlv_dup")),
            SSL => {
                ssl_seen = true;
                check_ssl(tlv.value.get(SSL_FIXED..).ok_or(bad("tlv"))?)?;
            }
            _ => {}
        }
    }
    Ok(special)
}

/// One level only: an SSL TLV in here is an unknown type.
fn check_ssl(block: &[u8]) -> Result<(), Bad> {
    for (number, tlv) in Tlvs::new(block).enumerate() {
        tlv?;
        if number == SUB_MAX {
            return Err(bad("tlv_count"));
        }
    }
    let names = Tlvs::new(block)
        .flatten()
        .filter(|tlv| tlv.kind == SSL_CN)
        .count();
    if names > 1 { Err(bad("tlv_dup")) } else { Ok(()) }
}

/// CRC-32C over the whole header with the four bytes of its value zero.
fn check_crc(whole: &[u8], at: usize) -> Result<(), Bad> {
    let wrong = Bad {
        code: Code::ProxyCrc,
        detail: None,
    };
    let (before, rest) = whole.split_at_checked(at).ok_or(wrong)?;
    let (sent, after) = rest.split_first_chunk::<4>().ok_or(wrong)?;
    let sum = crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(before), &[0; 4]), after);
    if sum == u32::from_be_bytes(*sent) {
        Ok(())
    } else {
        Err(wrong)
    }
}

struct Facts {
    info: Info,
    warnings: Warnings,
    /// Types of which only the first counts, whether its content was kept or not.
    seen: TypeSet,
}

impl Facts {
    fn read(&mut self, tlv: &Tlv<'_>) {
        if matches!(tlv.kind, ALPN | AUTHORITY | UNIQUE_ID | NETNS | 0xe0..=0xef) {
            if self.seen.contains(tlv.kind) {
                return self.warnings.insert(Warning::TlvDup);
            }
            self.seen.insert(tlv.kind);
        }
        let value = tlv.value;
        match tlv.kind {
            ALPN => self.info.alpn = self.kept(ascii(value, 255)),
            AUTHORITY => self.info.authority = self.kept(utf8(value, 255)),
            UNIQUE_ID => self.info.unique_id = self.kept(bytes(value, 128)),
            SSL => self.info.ssl = Some(Box::new(self.ssl(value))),
            NETNS => self.info.netns = self.kept(ascii(value, 255)),
            GCP => self.info.gcp_psc_connection_id = self.kept(number(value).map(u64::from_be_bytes)),
            AWS => {
                if let Some(id) = value.strip_prefix(&[1]) {
                    self.info.aws_vpce_id = self.kept(endpoint_id(id));
                }
            }
            AZURE => {
                if let Some(id) = value.strip_prefix(&[1]) {
                    self.info.azure_link_id = self.kept(number(id).map(u32::from_le_bytes));
                }
            }
            _ => {}
        }
    }

    fn ssl(&mut self, value: &[u8]) -> Ssl {
        let mut ssl = Ssl::default();
        let Some((&[client, verify @ ..], subs)) = value.split_first_chunk::<SSL_FIXED>() else {
            return ssl;
        };
        ssl.client_tls = client & 1 != 0;
        ssl.cert_conn = client & 2 != 0;
        ssl.cert_sess = client & 4 != 0;
        // Zero alone proves nothing: only HAProxy is known to fill it with zero for checked certificates only.
        ssl.verified = ssl.client_tls && (ssl.cert_conn || ssl.cert_sess) && verify == [0; 4];
        for tlv in Tlvs::new(subs).flatten() {
            self.ssl_fact(&mut ssl, &tlv);
        }
        ssl
    }

    /// A repeated sub-type keeps its first value.
    fn ssl_fact(&mut self, ssl: &mut Ssl, tlv: &Tlv<'_>) {
        let field = match tlv.kind {
            SSL_VERSION => &mut ssl.version,
            SSL_CIPHER => &mut ssl.cipher,
            SSL_SIG_ALG => &mut ssl.sig_alg,
            SSL_KEY_ALG => &mut ssl.key_alg,
            SSL_GROUP => &mut ssl.group,
            SSL_SIG_SCHEME => &mut ssl.sig_scheme,
            SSL_CN => return ssl.cn = self.kept(utf8(tlv.value, 256)),
            SSL_CLIENT_CERT => return ssl.client_cert_len = ssl.client_cert_len.or(Some(tlv.value.len())),
            _ => return,
        };
        if field.is_none() {
            *field = self.kept(ascii(tlv.value, 64));
        }
    }

    /// Content that breaks its rule is dropped with a warning.
    fn kept<T>(&mut self, content: Option<T>) -> Option<T> {
        if content.is_none() {
            self.warnings.insert(Warning::TlvContent);
        }
        content
    }
}

/// Printable ASCII, 1 to `max` bytes.
fn ascii(value: &[u8], max: usize) -> Option<Box<str>> {
    let printable = value.iter().all(|b| (0x20..=0x7e).contains(b));
    if printable { utf8(value, max) } else { None }
}

/// UTF-8 without control characters (C0, DEL, C1), 1 to `max` bytes.
fn utf8(value: &[u8], max: usize) -> Option<Box<str>> {
    let value = bytes_within(value, max)?;
    let text = std::str::from_utf8(value).ok()?;
    (!text.chars().any(char::is_control)).then(|| text.into())
}

fn bytes(value: &[u8], max: usize) -> Option<Box<[u8]>> {
    bytes_within(value, max).map(Into::into)
}

fn bytes_within(value: &[u8], max: usize) -> Option<&[u8]> {
    (1..=max).contains(&value.len()).then_some(value)
}

/// `[A-Za-z0-9-]{1,64}`
fn endpoint_id(value: &[u8]) -> Option<Box<str>> {
    let allowed = value.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-');
    if allowed { utf8(value, 64) } else { None }
}

fn number<const N: usize>(value: &[u8]) -> Option<[u8; N]> {
    value.try_into().ok()
}

fn bad(detail: &'static str) -> Bad {
    Bad::new(Code::ProxyV2, detail)
}
