//! The one pass that checks a property area, and the pieces of it that a broker forwards.

use std::borrow::Cow;

use super::{Property, id};
use crate::error::DecodeError;
use crate::primitive::Reader;
use crate::{MAX_USER_PROPERTIES, QoS};

/// All identifiers that MQTT 5 defines.
const KNOWN: u64 = id::set(&[
    id::PAYLOAD_FORMAT,
    id::MESSAGE_EXPIRY,
    id::CONTENT_TYPE,
    id::RESPONSE_TOPIC,
    id::CORRELATION_DATA,
    id::SUBSCRIPTION_ID,
    id::SESSION_EXPIRY,
    id::ASSIGNED_CLIENT_ID,
    id::SERVER_KEEP_ALIVE,
    id::AUTH_METHOD,
    id::AUTH_DATA,
    id::REQUEST_PROBLEM_INFO,
    id::WILL_DELAY,
    id::REQUEST_RESPONSE_INFO,
    id::RESPONSE_INFO,
    id::SERVER_REFERENCE,
    id::REASON_STRING,
    id::RECEIVE_MAXIMUM,
    id::TOPIC_ALIAS_MAXIMUM,
    id::TOPIC_ALIAS,
    id::MAXIMUM_QOS,
    id::RETAIN_AVAILABLE,
    id::USER_PROPERTY,
    id::MAXIMUM_PACKET_SIZE,
    id::WILDCARD_AVAILABLE,
    id::SUBSCRIPTION_ID_AVAILABLE,
    id::SHARED_AVAILABLE,
]);

/// What a server hands on unaltered with a message (MQTT 5 section 3.3.2.3: [MQTT-3.3.2-4], -15, -16, -17, -20).
const FORWARDED: u64 = id::set(&[
    id::PAYLOAD_FORMAT,
    id::CONTENT_TYPE,
    id::RESPONSE_TOPIC,
    id::CORRELATION_DATA,
    id::USER_PROPERTY,
]);

const fn bit(id: u8) -> u64 {
    1 << (id & 63)
}

/// Walks a property area once, refusing what is unknown, not allowed here, repeated, or out of range.
#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    reader: Reader<'a>,
    allowed: u64,
    repeatable: u64,
    seen: u64,
    user: usize,
    forwardable: Forwardable,
    len: usize,
}

impl<'a> Scanner<'a> {
    /// `allowed`: the properties of this packet, as [`id::set`] makes it.
    #[inline]
    pub(crate) const fn new(raw: &'a [u8], allowed: u64) -> Self {
        Self {
            reader: Reader::new(raw),
            allowed,
            repeatable: bit(id::USER_PROPERTY),
            seen: 0,
            user: 0,
            forwardable: Forwardable {
                start: 0,
                end: 0,
                len: 0,
            },
            len: raw.len(),
        }
    }

    /// A server's PUBLISH may carry several subscription identifiers (MQTT 5 section 3.3.2.3.8).
    #[inline]
    pub(crate) const fn repeat_subscription_ids(mut self) -> Self {
        self.repeatable |= bit(id::SUBSCRIPTION_ID);
        self
    }

    /// The next property, or `None` at the end of the area.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<Property<'a>>, DecodeError> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        let start = self.position();
        // An identifier is a variable byte integer, but all that exist fit in one byte; 0x80 and above is unknown.
        let id = self.reader.u8()?;
        if id > id::SHARED_AVAILABLE || KNOWN & bit(id) == 0 {
            return Err(DecodeError::UnknownProperty);
        }
        if self.allowed & bit(id) == 0 {
            return Err(DecodeError::PropertyNotAllowed(id));
        }
        if self.seen & bit(id) & !self.repeatable != 0 {
            return Err(DecodeError::PropertyTwice(id));
        }
        self.seen |= bit(id);
        if id == id::USER_PROPERTY {
            self.user = self.user.saturating_add(1);
            if self.user > MAX_USER_PROPERTIES {
                return Err(DecodeError::TooManyUserProperties);
            }
        }
        let property = read_value(id, &mut self.reader)?;
        if FORWARDED & bit(id) != 0 {
            self.forwardable.add(start, self.position());
        }
        Ok(Some(property))
    }

    /// Where the forwardable properties lie among those walked so far.
    #[inline]
    pub(crate) const fn forwardable(&self) -> Forwardable {
        self.forwardable
    }

    #[inline]
    const fn position(&self) -> usize {
        self.len.saturating_sub(self.reader.rest().len())
    }
}

/// Reads the value of property `id` and checks its range.
#[inline]
pub(crate) fn read_value<'a>(id: u8, reader: &mut Reader<'a>) -> Result<Property<'a>, DecodeError> {
    use Property as P;
    Ok(match id {
        id::PAYLOAD_FORMAT => P::PayloadFormatIndicator(flag(id, reader)?),
        id::MESSAGE_EXPIRY => P::MessageExpiryInterval(reader.u32()?),
        id::CONTENT_TYPE => P::ContentType(reader.string()?),
        id::RESPONSE_TOPIC => P::ResponseTopic(response_topic(reader)?),
        id::CORRELATION_DATA => P::CorrelationData(reader.binary()?),
        id::SUBSCRIPTION_ID => P::SubscriptionIdentifier(nonzero(id, reader.variable()?)?),
        id::SESSION_EXPIRY => P::SessionExpiryInterval(reader.u32()?),
        id::ASSIGNED_CLIENT_ID => P::AssignedClientIdentifier(reader.string()?),
        id::SERVER_KEEP_ALIVE => P::ServerKeepAlive(reader.u16()?),
        id::AUTH_METHOD => P::AuthenticationMethod(reader.string()?),
        id::AUTH_DATA => P::AuthenticationData(reader.binary()?),
        id::REQUEST_PROBLEM_INFO => P::RequestProblemInformation(flag(id, reader)?),
        id::WILL_DELAY => P::WillDelayInterval(reader.u32()?),
        id::REQUEST_RESPONSE_INFO => P::RequestResponseInformation(flag(id, reader)?),
        id::RESPONSE_INFO => P::ResponseInformation(reader.string()?),
        id::SERVER_REFERENCE => P::ServerReference(reader.string()?),
        id::REASON_STRING => P::ReasonString(reader.string()?),
        id::RECEIVE_MAXIMUM => P::ReceiveMaximum(nonzero(id, reader.u16()?)?),
        id::TOPIC_ALIAS_MAXIMUM => P::TopicAliasMaximum(reader.u16()?),
        id::TOPIC_ALIAS => P::TopicAlias(match reader.u16()? {
            0 => return Err(DecodeError::TopicAliasZero), // [MQTT-3.3.2-8]
            alias => alias,
        }),
        id::MAXIMUM_QOS => P::MaximumQos(if flag(id, reader)? {
            QoS::AtLeastOnce
        } else {
            QoS::AtMostOnce
        }),
        id::RETAIN_AVAILABLE => P::RetainAvailable(flag(id, reader)?),
        id::USER_PROPERTY => P::UserProperty(reader.string()?, reader.string()?),
        id::MAXIMUM_PACKET_SIZE => P::MaximumPacketSize(nonzero(id, reader.u32()?)?),
        id::WILDCARD_AVAILABLE => P::WildcardSubscriptionAvailable(flag(id, reader)?),
        id::SUBSCRIPTION_ID_AVAILABLE => P::SubscriptionIdentifierAvailable(flag(id, reader)?),
        id::SHARED_AVAILABLE => P::SharedSubscriptionAvailable(flag(id, reader)?),
        _ => return Err(DecodeError::UnknownProperty),
    })
}

#[inline]
fn flag(id: u8, reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::PropertyValue(id)),
    }
}

#[inline]
fn nonzero<T: Default + PartialEq>(id: u8, value: T) -> Result<T, DecodeError> {
    if value == T::default() {
        Err(DecodeError::PropertyValue(id))
    } else {
        Ok(value)
    }
}

/// [MQTT-3.3.2-14], and as any topic name it has at least one character.
#[inline]
fn response_topic<'a>(reader: &mut Reader<'a>) -> Result<&'a str, DecodeError> {
    match reader.string_and_wildcards()? {
        ("", _) | (_, true) => Err(DecodeError::ResponseTopic),
        (topic, false) => Ok(topic),
    }
}

/// Where in a property area those properties lie that go on to the message's subscribers: offsets into the area.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Forwardable {
    /// The first of them begins here.
    start: usize,
    /// The last of them ends here.
    end: usize,
    /// Their bytes together; less than `end - start` when others stand between.
    len: usize,
}

impl Forwardable {
    #[inline]
    fn add(&mut self, start: usize, end: usize) {
        if self.len == 0 {
            self.start = start;
        }
        self.end = end;
        self.len = self.len.saturating_add(end.saturating_sub(start));
    }

    /// Their bytes in order, cut from the area they were found in: borrowed when contiguous, else put together.
    pub(crate) fn bytes<'a>(&self, raw: &'a [u8]) -> Cow<'a, [u8]> {
        let span = raw.get(self.start..self.end).unwrap_or_default();
        if span.len() == self.len {
            return Cow::Borrowed(span);
        }
        let mut kept = Vec::with_capacity(self.len);
        let mut reader = Reader::new(span);
        loop {
            let from = reader.rest();
            let Ok(id) = reader.u8() else {
                return Cow::Owned(kept);
            };
            if read_value(id, &mut reader).is_err() {
                return Cow::Owned(kept);
            }
            if FORWARDED & bit(id) != 0 {
                let taken = from.len().saturating_sub(reader.rest().len());
                kept.extend_from_slice(from.get(..taken).unwrap_or_default());
            }
        }
    }
}
