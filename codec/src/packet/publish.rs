//! PUBLISH as it is read (MQTT 5 section 3.3). Writing it is `publish_out`'s.

use std::borrow::Cow;

use super::Sender;
use crate::error::DecodeError;
use crate::primitive::Reader;
use crate::properties::{Forwardable, Properties, Property, Scanner, id};
use crate::{QoS, Version};

/// A PUBLISH, borrowing from its frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Sent before, perhaps.
    pub dup: bool,
    /// Quality of service.
    pub qos: QoS,
    /// To be retained; from a server: was retained.
    pub retain: bool,
    /// A valid topic name; empty only when a topic alias stands for it.
    pub topic: &'a str,
    /// Packet identifier; 0 at `QoS` 0, never 0 above.
    pub packet_id: u16,
    /// Its properties; empty before MQTT 5.
    pub properties: PublishProperties<'a>,
    /// The application message.
    pub payload: &'a [u8],
}

impl Publish<'_> {
    /// Whether the payload is what its Payload Format Indicator says: `false` only when it claims to be UTF-8 and is
    /// not (reason 0x99, MQTT 5 section 3.3.2.3.2). A pass over the payload, made only when asked.
    pub fn payload_as_declared(&self) -> bool {
        !self.properties.payload_is_utf8 || simdutf8::basic::from_utf8(self.payload).is_ok()
    }
}

/// Properties of a PUBLISH: the ones a broker acts on, and the whole area.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PublishProperties<'a> {
    /// Topic alias, never 0.
    pub topic_alias: Option<u16>,
    /// Message expiry interval in seconds.
    pub message_expiry: Option<u32>,
    /// The Payload Format Indicator is 1.
    pub payload_is_utf8: bool,
    /// There are subscription identifiers (from servers only).
    pub has_subscription_ids: bool,
    all: Properties<'a>,
    forwardable: Forwardable,
}

impl<'a> PublishProperties<'a> {
    /// Checks a property area for use in a PUBLISH of either side.
    pub fn parse(all: Properties<'a>) -> Result<Self, DecodeError> {
        scan(all.raw(), Sender::Server)
    }

    /// All properties.
    pub const fn all(&self) -> Properties<'a> {
        self.all
    }

    /// The raw bytes of what a server forwards unaltered, in order: payload format, content type, response topic,
    /// correlation data, user properties. They go into [`PublishOut::properties`](crate::PublishOut::properties).
    pub fn forwardable(&self) -> Cow<'a, [u8]> {
        self.forwardable.bytes(self.all.raw())
    }

    /// Subscription identifiers in order.
    pub fn subscription_ids(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.all.iter().filter_map(|property| match property {
            Property::SubscriptionIdentifier(id) => Some(id),
            _ => None,
        })
    }
}

#[inline]
pub(crate) fn decode(
    first: u8,
    body: &[u8],
    version: Version,
    sender: Sender,
) -> Result<Publish<'_>, DecodeError> {
    let qos = QoS::from_u8((first >> 1) & 3).ok_or(DecodeError::Qos3)?; // [MQTT-3.3.1-4]
    let dup = first & 0x08 != 0;
    if dup && qos == QoS::AtMostOnce {
        return Err(DecodeError::DupQos0); // [MQTT-3.3.1-2]
    }
    let mut reader = Reader::new(body);
    let (topic, wildcard) = reader.string_and_wildcards()?;
    if wildcard {
        return Err(DecodeError::TopicWildcard); // [MQTT-3.3.2-2]
    }
    let packet_id = if qos == QoS::AtMostOnce {
        0
    } else {
        reader.packet_id()?
    };
    let properties = if version == Version::V5 {
        match reader.property_area()? {
            [] => PublishProperties::default(),
            raw => scan(raw, sender)?,
        }
    } else {
        PublishProperties::default()
    };
    if topic.is_empty() && properties.topic_alias.is_none() {
        // Section 3.3.2.1 of MQTT 5 makes it a protocol error; before, [MQTT-4.7.3-1].
        let v5 = version == Version::V5;
        return Err(if v5 {
            DecodeError::TopicMissing
        } else {
            DecodeError::TopicEmpty
        });
    }
    let retain = first & 0x01 != 0;
    Ok(Publish {
        dup,
        qos,
        retain,
        topic,
        packet_id,
        properties,
        payload: reader.rest(),
    })
}

const ALLOWED: u64 = id::set(&[
    id::PAYLOAD_FORMAT,
    id::MESSAGE_EXPIRY,
    id::CONTENT_TYPE,
    id::RESPONSE_TOPIC,
    id::CORRELATION_DATA,
    id::SUBSCRIPTION_ID,
    id::TOPIC_ALIAS,
    id::USER_PROPERTY,
]);

fn scan(raw: &[u8], sender: Sender) -> Result<PublishProperties<'_>, DecodeError> {
    let mut found = PublishProperties {
        all: Properties::validated(raw),
        ..PublishProperties::default()
    };
    let mut scanner = Scanner::new(raw, ALLOWED).repeat_subscription_ids();
    while let Some(property) = scanner.next()? {
        match property {
            Property::TopicAlias(alias) => found.topic_alias = Some(alias),
            Property::MessageExpiryInterval(seconds) => found.message_expiry = Some(seconds),
            Property::PayloadFormatIndicator(utf8) => found.payload_is_utf8 = utf8,
            Property::SubscriptionIdentifier(_) if sender == Sender::Client => {
                return Err(DecodeError::SubscriptionIdFromClient); // [MQTT-3.3.4-6]
            }
            Property::SubscriptionIdentifier(_) => found.has_subscription_ids = true,
            _ => {}
        }
    }
    found.forwardable = scanner.forwardable();
    Ok(found)
}
