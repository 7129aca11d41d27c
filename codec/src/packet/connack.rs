//! CONNACK (MQTT 5 section 3.2).

use super::reason_of;
use crate::Version;
use crate::error::DecodeError;
use crate::primitive::{Reader, packet_len, put_fixed_header};
use crate::properties::{Properties, id};
use crate::reason::ReasonCode;

/// A CONNACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnAck<'a> {
    /// The server has a session of this client.
    pub session_present: bool,
    /// The outcome; written as the nearest return code before MQTT 5.
    pub reason: ReasonCode,
    /// What the server offers; not written before MQTT 5.
    pub properties: Properties<'a>,
}

impl ConnAck<'_> {
    /// A CONNACK without properties and without a session.
    pub const fn new(reason: ReasonCode) -> Self {
        Self {
            session_present: false,
            reason,
            properties: Properties::EMPTY,
        }
    }

    /// Size of the whole packet in bytes.
    pub const fn encoded_len(&self, version: Version) -> usize {
        packet_len(self.remaining_len(version))
    }

    /// Appends the packet. MQTT 3.1 has no session-present flag: it is written as 0 there, and on every refusal
    /// [MQTT-3.2.2-6].
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        put_fixed_header(out, 0x20, self.remaining_len(version));
        let present = self.session_present && !self.reason.is_error() && version != Version::V31;
        out.push(u8::from(present));
        if version == Version::V5 {
            out.push(self.reason.code());
            self.properties.put(out);
        } else {
            out.push(self.reason.connect_return_code());
        }
    }

    const fn remaining_len(&self, version: Version) -> usize {
        match version {
            Version::V31 | Version::V311 => 2,
            Version::V5 => self.properties.encoded_len().saturating_add(2),
        }
    }
}

const ALLOWED: u64 = id::set(&[
    id::SESSION_EXPIRY,
    id::RECEIVE_MAXIMUM,
    id::MAXIMUM_QOS,
    id::RETAIN_AVAILABLE,
    id::MAXIMUM_PACKET_SIZE,
    id::ASSIGNED_CLIENT_ID,
    id::TOPIC_ALIAS_MAXIMUM,
    id::REASON_STRING,
    id::USER_PROPERTY,
    id::WILDCARD_AVAILABLE,
    id::SUBSCRIPTION_ID_AVAILABLE,
    id::SHARED_AVAILABLE,
    id::SERVER_KEEP_ALIVE,
    id::RESPONSE_INFO,
    id::SERVER_REFERENCE,
    id::AUTH_METHOD,
    id::AUTH_DATA,
]);

/// MQTT 5 table 3-1 [MQTT-3.2.2-8].
const REASONS: &[ReasonCode] = &[
    ReasonCode::Success,
    ReasonCode::UnspecifiedError,
    ReasonCode::MalformedPacket,
    ReasonCode::ProtocolError,
    ReasonCode::ImplementationSpecificError,
    ReasonCode::UnsupportedProtocolVersion,
    ReasonCode::ClientIdentifierNotValid,
    ReasonCode::BadUserNameOrPassword,
    ReasonCode::NotAuthorized,
    ReasonCode::ServerUnavailable,
    ReasonCode::ServerBusy,
    ReasonCode::Banned,
    ReasonCode::BadAuthenticationMethod,
    ReasonCode::TopicNameInvalid,
    ReasonCode::PacketTooLarge,
    ReasonCode::QuotaExceeded,
    ReasonCode::PayloadFormatInvalid,
    ReasonCode::RetainNotSupported,
    ReasonCode::QosNotSupported,
    ReasonCode::UseAnotherServer,
    ReasonCode::ServerMoved,
    ReasonCode::ConnectionRateExceeded,
];

pub(crate) fn decode(body: &[u8], version: Version) -> Result<ConnAck<'_>, DecodeError> {
    let mut reader = Reader::new(body);
    let flags = reader.u8()?;
    let code = reader.u8()?;
    let mut connack = if version == Version::V5 {
        ConnAck::new(reason_of(code, REASONS)?)
    } else {
        ConnAck::new(ReasonCode::from_connect_return_code(code).ok_or(DecodeError::ReasonCode(code))?)
    };
    // [MQTT-3.2.2-1], [MQTT-3.2.2-6]; MQTT 3.1 does not use the byte.
    connack.session_present = match flags {
        _ if version == Version::V31 => false,
        0 => false,
        1 if !connack.reason.is_error() => true,
        _ => return Err(DecodeError::ConnAckFlags),
    };
    if version == Version::V5 {
        connack.properties = Properties::read(&mut reader, ALLOWED)?;
    }
    reader.end()?;
    Ok(connack)
}
