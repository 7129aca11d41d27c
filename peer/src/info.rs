//! What a trusted proxy told about the connection besides the address: TLV facts (peername 5.4).
//! Not here: how they are read (`proxy::tlv`).

use crate::text::hex;
use serde::ser::{Serialize, SerializeMap, Serializer};

/// Facts from the TLVs of a used v2 header. Text fields hold no control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Info {
    /// Application protocol (type 01).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpn: Option<Box<str>>,
    /// Host name the client asked for, as a rule the SNI (type 02).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<Box<str>>,
    /// Whether the header carried a checksum; it was right (type 03).
    #[serde(skip_serializing_if = "is_false")]
    pub crc32c: bool,
    /// The proxy's id of the connection (type 05); printed in hex.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_hex")]
    pub unique_id: Option<Box<[u8]>>,
    /// TLS between client and proxy (type 20).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssl: Option<Box<Ssl>>,
    /// Network namespace (type 30).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netns: Option<Box<str>>,
    /// AWS VPC endpoint id (type EA, subtype 01).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aws_vpce_id: Option<Box<str>>,
    /// Azure private endpoint link id (type EE, subtype 01).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub azure_link_id: Option<u32>,
    /// GCP private service connect id (type E0); printed as a decimal string.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_decimal_string")]
    pub gcp_psc_connection_id: Option<u64>,
    /// Path of the client's unix-domain socket at the proxy; `@name` if abstract.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unix_source: Option<Box<str>>,
    /// Username from a verified certificate (pp2_cn_as_username).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<Box<str>>,
    /// The types of pp2_expose_tlvs, as they came.
    #[serde(skip_serializing_if = "RawTlvs::is_empty")]
    pub raw: RawTlvs,
}

/// TLS between client and proxy, as the proxy tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Ssl {
    /// The client used TLS.
    pub client_tls: bool,
    /// The client showed a certificate on this connection.
    pub cert_conn: bool,
    /// The client showed a certificate in this TLS session.
    pub cert_sess: bool,
    /// TLS, a certificate, and the proxy verified it.
    pub verified: bool,
    /// Protocol version (sub-type 21).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Box<str>>,
    /// Common name of the certificate (22); proves nothing unless `verified`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cn: Option<Box<str>>,
    /// Cipher (23).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cipher: Option<Box<str>>,
    /// Signature algorithm of the certificate (24).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sig_alg: Option<Box<str>>,
    /// Key algorithm of the certificate (25).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_alg: Option<Box<str>>,
    /// Key exchange group (26).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<Box<str>>,
    /// Signature scheme of the handshake (27).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sig_scheme: Option<Box<str>>,
    /// Length in bytes of the certificate, which itself is not kept (28).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_cert_len: Option<usize>,
}

/// Raw TLVs by type; printed as `{"0xe5": "beef"}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawTlvs(Vec<(u8, Box<[u8]>)>);

impl RawTlvs {
    /// The value of that type.
    pub fn value(&self, kind: u8) -> Option<&[u8]> {
        self.0.iter().find(|(k, _)| *k == kind).map(|(_, v)| &**v)
    }

    /// Types and values in the order received.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &[u8])> {
        self.0.iter().map(|(k, v)| (*k, &**v))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps the first value of a type.
    pub(crate) fn insert_first(&mut self, kind: u8, value: &[u8]) {
        if self.value(kind).is_none() {
            self.0.push((kind, value.into()));
        }
    }
}

impl Info {
    /// Whether nothing was told.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The cloud endpoint id, whichever cloud it is of, as text: what the ACL term `vpce=` looks at.
    pub fn endpoint_id(&self) -> Option<String> {
        let azure = || self.azure_link_id.map(|id| id.to_string());
        let gcp = || self.gcp_psc_connection_id.map(|id| id.to_string());
        self.aws_vpce_id
            .as_deref()
            .map(str::to_owned)
            .or_else(azure)
            .or_else(gcp)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_false(value: &bool) -> bool {
    !value
}

#[expect(clippy::ref_option, reason = "the signature serde asks for")]
fn as_hex<S: Serializer>(value: &Option<Box<[u8]>>, to: S) -> Result<S::Ok, S::Error> {
    value.as_ref().map(|v| hex(v)).serialize(to)
}

#[expect(clippy::ref_option, reason = "the signature serde asks for")]
fn as_decimal_string<S: Serializer>(value: &Option<u64>, to: S) -> Result<S::Ok, S::Error> {
    value.map(|v| v.to_string()).serialize(to)
}

impl Serialize for RawTlvs {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(self.0.len()))?;
        for (kind, value) in self.iter() {
            map.serialize_entry(&format!("0x{kind:02x}"), &hex(value))?;
        }
        map.end()
    }
}
