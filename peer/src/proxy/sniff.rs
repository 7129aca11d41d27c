//! What the first bytes are: a PROXY header (peername 5.1) or something else (peername 5.6).

use crate::code::codes;

pub(super) const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
pub(super) const V1_SIGNATURE: &[u8; 6] = b"PROXY ";

/// Whether bytes begin a PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature {
    /// They begin a v1 header.
    V1,
    /// They begin a v2 header.
    V2,
    /// They begin one of the two signatures, or there are none yet.
    Undecided,
    /// They are something else, whatever follows.
    None,
}

/// `match` of peername 5.1.
pub fn signature(bytes: &[u8]) -> Signature {
    if bytes.starts_with(V2_SIGNATURE) {
        Signature::V2
    } else if bytes.starts_with(V1_SIGNATURE) {
        Signature::V1
    } else if V2_SIGNATURE.starts_with(bytes) || V1_SIGNATURE.starts_with(bytes) {
        Signature::Undecided
    } else {
        Signature::None
    }
}

codes! {
    /// The class of a connection's first bytes, for logs and the doctor only: it depends on how the bytes
    /// were cut.
    FirstBytes {
        /// No byte.
        Empty = "empty",
        /// A PROXY v2 header.
        ProxyV2 = "proxy_v2",
        /// A PROXY v1 header.
        ProxyV1 = "proxy_v1",
        /// HTTP/2 with prior knowledge.
        Http2 = "http2",
        /// An HTTP/1 request.
        Http = "http",
        /// A TLS record with a handshake.
        Tls = "tls",
        /// An MQTT CONNECT.
        Mqtt = "mqtt",
        /// SSH.
        Ssh = "ssh",
        /// Anything else.
        Unknown = "unknown",
    }
}

/// How many bytes are looked at.
const LOOK_MAX: usize = 16;

/// The class of the first bytes; more than 16 are not looked at.
pub fn sniff(bytes: &[u8]) -> FirstBytes {
    const METHODS: [&[u8]; 9] = [
        b"GET ",
        b"POST ",
        b"PUT ",
        b"HEAD ",
        b"DELETE ",
        b"OPTIONS ",
        b"PATCH ",
        b"CONNECT ",
        b"TRACE ",
    ];
    let bytes = bytes.get(..LOOK_MAX).unwrap_or(bytes);
    match bytes {
        [] => FirstBytes::Empty,
        _ if bytes.starts_with(V2_SIGNATURE) => FirstBytes::ProxyV2,
        _ if bytes.starts_with(V1_SIGNATURE) => FirstBytes::ProxyV1,
        _ if bytes.starts_with(b"PRI * HTTP/2.0") => FirstBytes::Http2,
        _ if METHODS.iter().any(|m| bytes.starts_with(m)) => FirstBytes::Http,
        [0x16, 3, 0..=4, ..] => FirstBytes::Tls,
        [0x10, rest @ ..] if is_connect(rest) => FirstBytes::Mqtt,
        _ if bytes.starts_with(b"SSH-") => FirstBytes::Ssh,
        _ => FirstBytes::Unknown,
    }
}

/// A remaining length of one to four bytes, then the protocol name.
fn is_connect(after_type: &[u8]) -> bool {
    let continued = after_type.iter().take_while(|b| **b & 0x80 != 0).count();
    let name = after_type.get(continued + 1..).unwrap_or_default();
    continued < 4 && (name.starts_with(b"\0\x04MQTT") || name.starts_with(b"\0\x06MQIsdp"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openings_are_decided_by_their_third_byte() {
        for opening in [
            &b"\x10\x0c\0"[..],
            b"\x16\x03\x01",
            b"GET",
            b"POS",
            b"PUT",
            b"PAT",
            b"PRI",
        ] {
            assert_eq!(signature(opening), Signature::None);
        }
        for begun in [&b""[..], b"P", b"PROXY", b"\r", b"\r\n\r\n\0\r\nQUIT"] {
            assert_eq!(signature(begun), Signature::Undecided);
        }
        assert_eq!(signature(b"PROXY x"), Signature::V1);
        assert_eq!(signature(b"\r\n\r\n\0\r\nQUIT\r"), Signature::None);
    }

    #[test]
    fn connect_needs_a_length_of_at_most_four_bytes() {
        assert_eq!(sniff(b"\x10\xff\xff\xff\x7f\0\x04MQTT"), FirstBytes::Mqtt);
        assert_eq!(sniff(b"\x10\xff\xff\xff\xff\x7f\0\x04MQTT"), FirstBytes::Unknown);
        assert_eq!(sniff(b"\x10\xff"), FirstBytes::Unknown);
        assert_eq!(sniff(b"\x16\x03\x05"), FirstBytes::Unknown);
        assert_eq!(sniff(b"GET"), FirstBytes::Unknown);
    }
}
