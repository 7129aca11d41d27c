//! DISCONNECT (MQTT 5 section 3.14).

use super::{Sender, reason_of};
use crate::Version;
use crate::error::DecodeError;
use crate::primitive::{Reader, packet_len, put_fixed_header};
use crate::properties::{Properties, Property, Scanner, id};
use crate::reason::ReasonCode;

/// A DISCONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disconnect<'a> {
    /// [`ReasonCode::NORMAL_DISCONNECTION`] before MQTT 5.
    pub reason: ReasonCode,
    /// From a client: the new session expiry interval in seconds. Writing takes it from `properties`.
    pub session_expiry: Option<u32>,
    /// All properties; empty before MQTT 5.
    pub properties: Properties<'a>,
}

impl<'a> Disconnect<'a> {
    /// A DISCONNECT without properties.
    pub const fn new(reason: ReasonCode) -> Self {
        Self {
            reason,
            session_expiry: None,
            properties: Properties::EMPTY,
        }
    }

    /// A DISCONNECT with these properties.
    pub const fn with_properties(reason: ReasonCode, properties: Properties<'a>) -> Self {
        Self {
            reason,
            session_expiry: None,
            properties,
        }
    }

    /// Size of the whole packet in bytes.
    pub const fn encoded_len(&self, version: Version) -> usize {
        packet_len(self.remaining_len(version))
    }

    /// Appends the packet in its shortest form. Before MQTT 5 only clients send it.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        let remaining = self.remaining_len(version);
        put_fixed_header(out, 0xe0, remaining);
        if remaining > 0 {
            out.push(self.reason.code());
        }
        if remaining > 1 {
            self.properties.put(out);
        }
    }

    const fn remaining_len(&self, version: Version) -> usize {
        match (version, self.properties.is_empty(), self.reason) {
            (Version::V31 | Version::V311, _, _) | (_, true, ReasonCode::Success) => 0,
            (_, true, _) => 1,
            _ => self.properties.encoded_len().saturating_add(1),
        }
    }
}

const ALLOWED: u64 = id::set(&[
    id::SESSION_EXPIRY,
    id::REASON_STRING,
    id::USER_PROPERTY,
    id::SERVER_REFERENCE,
]);
const ALLOWED_FROM_CLIENT: u64 = id::set(&[id::SESSION_EXPIRY, id::REASON_STRING, id::USER_PROPERTY]);

pub(crate) fn decode(body: &[u8], version: Version, sender: Sender) -> Result<Disconnect<'_>, DecodeError> {
    let mut reader = Reader::new(body);
    let mut disconnect = Disconnect::new(ReasonCode::NORMAL_DISCONNECTION);
    if version == Version::V5 && !reader.is_empty() {
        disconnect.reason = reason_of(reader.u8()?, reasons(sender))?;
        if !reader.is_empty() {
            let raw = reader.property_area()?;
            disconnect.session_expiry = scan(raw, sender)?;
            disconnect.properties = Properties::validated(raw);
        }
    }
    reader.end()?;
    Ok(disconnect)
}

/// The session expiry interval, if there is one.
fn scan(raw: &[u8], sender: Sender) -> Result<Option<u32>, DecodeError> {
    let allowed = if sender == Sender::Client {
        ALLOWED_FROM_CLIENT
    } else {
        ALLOWED
    };
    let mut scanner = Scanner::new(raw, allowed);
    let mut session_expiry = None;
    while let Some(property) = scanner.next()? {
        if let Property::SessionExpiryInterval(seconds) = property {
            if sender == Sender::Server {
                return Err(DecodeError::ServerSessionExpiry); // [MQTT-3.14.2-2]
            }
            session_expiry = Some(seconds);
        }
    }
    Ok(session_expiry)
}

/// MQTT 5 table 3-10, column "sent by" [MQTT-3.14.2-1].
const fn reasons(sender: Sender) -> &'static [ReasonCode] {
    use ReasonCode as R;
    match sender {
        Sender::Client => &[
            R::Success,
            R::DisconnectWithWill,
            R::UnspecifiedError,
            R::MalformedPacket,
            R::ProtocolError,
            R::ImplementationSpecificError,
            R::TopicNameInvalid,
            R::ReceiveMaximumExceeded,
            R::TopicAliasInvalid,
            R::PacketTooLarge,
            R::MessageRateTooHigh,
            R::QuotaExceeded,
            R::AdministrativeAction,
            R::PayloadFormatInvalid,
        ],
        Sender::Server => &[
            R::Success,
            R::UnspecifiedError,
            R::MalformedPacket,
            R::ProtocolError,
            R::ImplementationSpecificError,
            R::NotAuthorized,
            R::ServerBusy,
            R::ServerShuttingDown,
            R::BadAuthenticationMethod,
            R::KeepAliveTimeout,
            R::SessionTakenOver,
            R::TopicFilterInvalid,
            R::TopicNameInvalid,
            R::ReceiveMaximumExceeded,
            R::TopicAliasInvalid,
            R::PacketTooLarge,
            R::MessageRateTooHigh,
            R::QuotaExceeded,
            R::AdministrativeAction,
            R::PayloadFormatInvalid,
            R::RetainNotSupported,
            R::QosNotSupported,
            R::UseAnotherServer,
            R::ServerMoved,
            R::SharedSubscriptionsNotSupported,
            R::ConnectionRateExceeded,
            R::MaximumConnectTime,
            R::SubscriptionIdentifiersNotSupported,
            R::WildcardSubscriptionsNotSupported,
        ],
    }
}
