//! SUBACK and UNSUBACK (MQTT 5 sections 3.9 and 3.11).

use super::reason_of;
use crate::Version;
use crate::error::DecodeError;
use crate::primitive::{Reader, packet_len, put_fixed_header};
use crate::properties::{Properties, id};
use crate::reason::ReasonCode;

/// A SUBACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubAck<'a> {
    /// That of the SUBSCRIBE.
    pub packet_id: u16,
    /// Reason string and user properties; not written before MQTT 5.
    pub properties: Properties<'a>,
    /// One [`ReasonCode`] number per filter, in order. Before MQTT 5 every failure is written as 0x80.
    pub codes: &'a [u8],
}

/// An UNSUBACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnsubAck<'a> {
    /// That of the UNSUBSCRIBE.
    pub packet_id: u16,
    /// Reason string and user properties; not written before MQTT 5.
    pub properties: Properties<'a>,
    /// One [`ReasonCode`] number per filter, in order; not written before MQTT 5.
    pub codes: &'a [u8],
}

impl SubAck<'_> {
    /// Size of the whole packet in bytes.
    pub const fn encoded_len(&self, version: Version) -> usize {
        packet_len(remaining_len(version, &self.properties, self.codes.len()))
    }

    /// Appends the packet.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        put_fixed_header(
            out,
            0x90,
            remaining_len(version, &self.properties, self.codes.len()),
        );
        out.extend_from_slice(&self.packet_id.to_be_bytes());
        if version == Version::V5 {
            self.properties.put(out);
            out.extend_from_slice(self.codes);
        } else {
            out.extend(self.codes.iter().map(|&code| code.min(0x80)));
        }
    }
}

impl UnsubAck<'_> {
    /// Size of the whole packet in bytes.
    pub const fn encoded_len(&self, version: Version) -> usize {
        packet_len(self.remaining_len(version))
    }

    /// Appends the packet.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        put_fixed_header(out, 0xb0, self.remaining_len(version));
        out.extend_from_slice(&self.packet_id.to_be_bytes());
        if version == Version::V5 {
            self.properties.put(out);
            out.extend_from_slice(self.codes);
        }
    }

    const fn remaining_len(&self, version: Version) -> usize {
        let codes = if matches!(version, Version::V5) {
            self.codes.len()
        } else {
            0
        };
        remaining_len(version, &self.properties, codes)
    }
}

const fn remaining_len(version: Version, properties: &Properties<'_>, codes: usize) -> usize {
    let properties = if matches!(version, Version::V5) {
        properties.encoded_len()
    } else {
        0
    };
    properties.saturating_add(codes).saturating_add(2)
}

const ALLOWED: u64 = id::set(&[id::REASON_STRING, id::USER_PROPERTY]);

/// [MQTT-3.9.3-2].
const SUBACK_REASONS: &[ReasonCode] = &[
    ReasonCode::Success,
    ReasonCode::GrantedQos1,
    ReasonCode::GrantedQos2,
    ReasonCode::UnspecifiedError,
    ReasonCode::ImplementationSpecificError,
    ReasonCode::NotAuthorized,
    ReasonCode::TopicFilterInvalid,
    ReasonCode::PacketIdentifierInUse,
    ReasonCode::QuotaExceeded,
    ReasonCode::SharedSubscriptionsNotSupported,
    ReasonCode::SubscriptionIdentifiersNotSupported,
    ReasonCode::WildcardSubscriptionsNotSupported,
];

/// 3.1.1: [MQTT-3.9.3-2].
const SUBACK_REASONS_V4: &[ReasonCode] = &[
    ReasonCode::Success,
    ReasonCode::GrantedQos1,
    ReasonCode::GrantedQos2,
    ReasonCode::UnspecifiedError,
];

/// [MQTT-3.11.3-2].
const UNSUBACK_REASONS: &[ReasonCode] = &[
    ReasonCode::Success,
    ReasonCode::NoSubscriptionExisted,
    ReasonCode::UnspecifiedError,
    ReasonCode::ImplementationSpecificError,
    ReasonCode::NotAuthorized,
    ReasonCode::TopicFilterInvalid,
    ReasonCode::PacketIdentifierInUse,
];

pub(crate) fn decode_suback(body: &[u8], version: Version) -> Result<SubAck<'_>, DecodeError> {
    let mut reader = Reader::new(body);
    let packet_id = reader.packet_id()?;
    let properties = properties(&mut reader, version)?;
    let allowed = if version == Version::V5 {
        SUBACK_REASONS
    } else {
        SUBACK_REASONS_V4
    };
    Ok(SubAck {
        packet_id,
        properties,
        codes: codes(&reader, allowed)?,
    })
}

pub(crate) fn decode_unsuback(body: &[u8], version: Version) -> Result<UnsubAck<'_>, DecodeError> {
    let mut reader = Reader::new(body);
    let packet_id = reader.packet_id()?;
    let properties = properties(&mut reader, version)?;
    if version != Version::V5 {
        reader.end()?;
        return Ok(UnsubAck {
            packet_id,
            properties,
            codes: &[],
        });
    }
    Ok(UnsubAck {
        packet_id,
        properties,
        codes: codes(&reader, UNSUBACK_REASONS)?,
    })
}

fn properties<'a>(reader: &mut Reader<'a>, version: Version) -> Result<Properties<'a>, DecodeError> {
    if version == Version::V5 {
        Properties::read(reader, ALLOWED)
    } else {
        Ok(Properties::EMPTY)
    }
}

/// The rest of the packet: at least one code.
fn codes<'a>(reader: &Reader<'a>, allowed: &[ReasonCode]) -> Result<&'a [u8], DecodeError> {
    let codes = reader.rest();
    if codes.is_empty() {
        return Err(DecodeError::Truncated);
    }
    for &code in codes {
        reason_of(code, allowed)?;
    }
    Ok(codes)
}
