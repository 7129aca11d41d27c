//! PUBACK, PUBREC, PUBREL, PUBCOMP (MQTT 5 sections 3.4 to 3.7).

use super::reason_of;
use crate::Version;
use crate::error::DecodeError;
use crate::primitive::{Reader, packet_len, put_fixed_header};
use crate::properties::{Properties, id};
use crate::reason::ReasonCode;

/// Which of the four.
#[expect(clippy::enum_variant_names, reason = "the standard's names")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AckKind {
    /// Answers `QoS` 1.
    PubAck,
    /// Answers `QoS` 2: received.
    PubRec,
    /// `QoS` 2: release.
    PubRel,
    /// `QoS` 2: complete.
    PubComp,
}

impl AckKind {
    const fn first_byte(self) -> u8 {
        match self {
            Self::PubAck => 0x40,
            Self::PubRec => 0x50,
            Self::PubRel => 0x62, // [MQTT-3.6.1-1]
            Self::PubComp => 0x70,
        }
    }

    /// [MQTT-3.4.2-1], [MQTT-3.5.2-1], [MQTT-3.6.2-1], [MQTT-3.7.2-1].
    const fn reasons(self) -> &'static [ReasonCode] {
        use ReasonCode as R;
        match self {
            Self::PubAck | Self::PubRec => &[
                R::Success,
                R::NoMatchingSubscribers,
                R::UnspecifiedError,
                R::ImplementationSpecificError,
                R::NotAuthorized,
                R::TopicNameInvalid,
                R::PacketIdentifierInUse,
                R::QuotaExceeded,
                R::PayloadFormatInvalid,
            ],
            Self::PubRel | Self::PubComp => &[R::Success, R::PacketIdentifierNotFound],
        }
    }
}

/// The content of an acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack<'a> {
    /// Never 0 when decoded.
    pub packet_id: u16,
    /// Success before MQTT 5.
    pub reason: ReasonCode,
    /// Reason string and user properties; empty before MQTT 5.
    pub properties: Properties<'a>,
}

impl Ack<'_> {
    /// An acknowledgement without properties.
    pub const fn new(packet_id: u16, reason: ReasonCode) -> Self {
        Self {
            packet_id,
            reason,
            properties: Properties::EMPTY,
        }
    }

    /// Size of the whole packet in bytes.
    pub const fn encoded_len(&self, version: Version) -> usize {
        packet_len(self.remaining_len(version))
    }

    /// Appends the packet in its shortest form: success without properties is four bytes in every version.
    pub fn encode(&self, kind: AckKind, version: Version, out: &mut Vec<u8>) {
        let remaining = self.remaining_len(version);
        put_fixed_header(out, kind.first_byte(), remaining);
        out.extend_from_slice(&self.packet_id.to_be_bytes());
        if remaining > 2 {
            out.push(self.reason.code());
        }
        if remaining > 3 {
            self.properties.put(out);
        }
    }

    const fn remaining_len(&self, version: Version) -> usize {
        match (version, self.properties.is_empty(), self.reason) {
            (Version::V31 | Version::V311, _, _) | (_, true, ReasonCode::Success) => 2,
            (_, true, _) => 3,
            _ => self.properties.encoded_len().saturating_add(3),
        }
    }
}

const ALLOWED: u64 = id::set(&[id::REASON_STRING, id::USER_PROPERTY]);

pub(crate) fn decode(kind: AckKind, body: &[u8], version: Version) -> Result<Ack<'_>, DecodeError> {
    let mut reader = Reader::new(body);
    let mut ack = Ack::new(reader.packet_id()?, ReasonCode::Success);
    // MQTT 5 sections 3.4.2.1 and 3.4.2.2: a remaining length of 2 means success, below 4 means no properties.
    if version == Version::V5 && !reader.is_empty() {
        ack.reason = reason_of(reader.u8()?, kind.reasons())?;
        if !reader.is_empty() {
            ack.properties = Properties::read(&mut reader, ALLOWED)?;
        }
    }
    reader.end()?;
    Ok(ack)
}
