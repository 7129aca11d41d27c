//! MQTT 5 properties (section 2.2.2): their values, validated areas of them, and building such areas.
//! Which packet takes which property is said beside the packet; the checking pass is in `scan`.

mod scan;

use crate::error::{DecodeError, EncodeError};
use crate::primitive::{Reader, check_field, field_len, put_field, put_variable};
use crate::{MAX_USER_PROPERTIES, QoS};

pub(crate) use scan::{Forwardable, Scanner, read_value};

/// Property identifiers (MQTT 5 table 2-4).
pub(crate) mod id {
    pub(crate) const PAYLOAD_FORMAT: u8 = 0x01;
    pub(crate) const MESSAGE_EXPIRY: u8 = 0x02;
    pub(crate) const CONTENT_TYPE: u8 = 0x03;
    pub(crate) const RESPONSE_TOPIC: u8 = 0x08;
    pub(crate) const CORRELATION_DATA: u8 = 0x09;
    pub(crate) const SUBSCRIPTION_ID: u8 = 0x0b;
    pub(crate) const SESSION_EXPIRY: u8 = 0x11;
    pub(crate) const ASSIGNED_CLIENT_ID: u8 = 0x12;
    pub(crate) const SERVER_KEEP_ALIVE: u8 = 0x13;
    pub(crate) const AUTH_METHOD: u8 = 0x15;
    pub(crate) const AUTH_DATA: u8 = 0x16;
    pub(crate) const REQUEST_PROBLEM_INFO: u8 = 0x17;
    pub(crate) const WILL_DELAY: u8 = 0x18;
    pub(crate) const REQUEST_RESPONSE_INFO: u8 = 0x19;
    pub(crate) const RESPONSE_INFO: u8 = 0x1a;
    pub(crate) const SERVER_REFERENCE: u8 = 0x1c;
    pub(crate) const REASON_STRING: u8 = 0x1f;
    pub(crate) const RECEIVE_MAXIMUM: u8 = 0x21;
    pub(crate) const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
    pub(crate) const TOPIC_ALIAS: u8 = 0x23;
    pub(crate) const MAXIMUM_QOS: u8 = 0x24;
    pub(crate) const RETAIN_AVAILABLE: u8 = 0x25;
    pub(crate) const USER_PROPERTY: u8 = 0x26;
    pub(crate) const MAXIMUM_PACKET_SIZE: u8 = 0x27;
    pub(crate) const WILDCARD_AVAILABLE: u8 = 0x28;
    pub(crate) const SUBSCRIPTION_ID_AVAILABLE: u8 = 0x29;
    pub(crate) const SHARED_AVAILABLE: u8 = 0x2a;

    /// A set of identifiers as a bit mask.
    pub(crate) const fn set(ids: &[u8]) -> u64 {
        let mut mask = 0;
        let mut rest = ids;
        while let [first, tail @ ..] = rest {
            mask |= 1 << (*first & 63);
            rest = tail;
        }
        mask
    }
}

/// One property.
#[expect(clippy::enum_variant_names, reason = "the standard's names")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Property<'a> {
    /// 0x01: the payload is UTF-8 text.
    PayloadFormatIndicator(bool),
    /// 0x02, seconds.
    MessageExpiryInterval(u32),
    /// 0x03.
    ContentType(&'a str),
    /// 0x08: a topic name.
    ResponseTopic(&'a str),
    /// 0x09.
    CorrelationData(&'a [u8]),
    /// 0x0B: 1 to 268,435,455.
    SubscriptionIdentifier(u32),
    /// 0x11, seconds; `u32::MAX` is "never".
    SessionExpiryInterval(u32),
    /// 0x12.
    AssignedClientIdentifier(&'a str),
    /// 0x13, seconds.
    ServerKeepAlive(u16),
    /// 0x15.
    AuthenticationMethod(&'a str),
    /// 0x16.
    AuthenticationData(&'a [u8]),
    /// 0x17.
    RequestProblemInformation(bool),
    /// 0x18, seconds.
    WillDelayInterval(u32),
    /// 0x19.
    RequestResponseInformation(bool),
    /// 0x1A.
    ResponseInformation(&'a str),
    /// 0x1C.
    ServerReference(&'a str),
    /// 0x1F.
    ReasonString(&'a str),
    /// 0x21: 1 to 65,535.
    ReceiveMaximum(u16),
    /// 0x22.
    TopicAliasMaximum(u16),
    /// 0x23: 1 to 65,535.
    TopicAlias(u16),
    /// 0x24: `QoS` 0 or 1; `QoS` 2 is said by leaving the property out, and pushing it writes nothing.
    MaximumQos(QoS),
    /// 0x25.
    RetainAvailable(bool),
    /// 0x26: name and value; may appear many times, in order.
    UserProperty(&'a str, &'a str),
    /// 0x27, bytes of a whole packet; never 0.
    MaximumPacketSize(u32),
    /// 0x28.
    WildcardSubscriptionAvailable(bool),
    /// 0x29.
    SubscriptionIdentifierAvailable(bool),
    /// 0x2A.
    SharedSubscriptionAvailable(bool),
}

/// A validated property area, without its length; read lazily.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Properties<'a> {
    raw: &'a [u8],
}

impl<'a> Properties<'a> {
    /// No properties.
    pub const EMPTY: Self = Self { raw: &[] };

    /// Wraps an area that a [`Scanner`] has walked to its end.
    #[inline]
    pub(crate) const fn validated(raw: &'a [u8]) -> Self {
        Self { raw }
    }

    /// Reads and checks an area with only the properties of `allowed`.
    pub(crate) fn read(reader: &mut Reader<'a>, allowed: u64) -> Result<Self, DecodeError> {
        let raw = reader.property_area()?;
        let mut scanner = Scanner::new(raw, allowed);
        while scanner.next()?.is_some() {}
        Ok(Self { raw })
    }

    /// The bytes of the area.
    pub const fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// The properties in the order they were sent.
    pub const fn iter(&self) -> PropertyIter<'a> {
        PropertyIter {
            reader: Reader::new(self.raw),
        }
    }

    /// Names and values of the user properties in order.
    pub fn user_properties(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.iter().filter_map(|property| match property {
            Property::UserProperty(name, value) => Some((name, value)),
            _ => None,
        })
    }

    /// The Reason String, if any.
    pub fn reason_string(&self) -> Option<&'a str> {
        self.iter().find_map(|property| match property {
            Property::ReasonString(text) => Some(text),
            _ => None,
        })
    }

    /// Size on the wire in bytes, the length included.
    pub(crate) const fn encoded_len(&self) -> usize {
        self.raw
            .len()
            .saturating_add(crate::frame::variable_width(self.raw.len()))
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_variable(out, self.raw.len());
        out.extend_from_slice(self.raw);
    }
}

impl<'a> IntoIterator for &Properties<'a> {
    type Item = Property<'a>;
    type IntoIter = PropertyIter<'a>;

    fn into_iter(self) -> PropertyIter<'a> {
        self.iter()
    }
}

/// Walks a validated property area.
#[derive(Debug, Clone)]
pub struct PropertyIter<'a> {
    reader: Reader<'a>,
}

impl<'a> Iterator for PropertyIter<'a> {
    type Item = Property<'a>;

    fn next(&mut self) -> Option<Property<'a>> {
        let id = self.reader.u8().ok()?;
        read_value(id, &mut self.reader).ok()
    }
}

/// Builds a property area for a packet to be sent.
///
/// It checks lengths, not meaning: pushing a property that the packet may not carry is the caller's mistake.
#[derive(Debug, Clone, Default)]
pub struct PropertiesBuf {
    raw: Vec<u8>,
    user: usize,
}

impl PropertiesBuf {
    /// An empty area.
    pub const fn new() -> Self {
        Self {
            raw: Vec::new(),
            user: 0,
        }
    }

    /// Appends one property.
    ///
    /// Errors, with nothing appended: [`EncodeError::FieldTooLong`], [`EncodeError::TooManyUserProperties`].
    pub fn push(&mut self, property: Property<'_>) -> Result<(), EncodeError> {
        use Property as P;
        match property {
            P::PayloadFormatIndicator(on) => self.flag(id::PAYLOAD_FORMAT, on),
            P::MessageExpiryInterval(seconds) => self.u32(id::MESSAGE_EXPIRY, seconds),
            P::ContentType(text) => return self.field(id::CONTENT_TYPE, text.as_bytes()),
            P::ResponseTopic(text) => return self.field(id::RESPONSE_TOPIC, text.as_bytes()),
            P::CorrelationData(data) => return self.field(id::CORRELATION_DATA, data),
            P::SubscriptionIdentifier(number) => {
                self.raw.push(id::SUBSCRIPTION_ID);
                put_variable(&mut self.raw, number as usize);
            }
            P::SessionExpiryInterval(seconds) => self.u32(id::SESSION_EXPIRY, seconds),
            P::AssignedClientIdentifier(text) => return self.field(id::ASSIGNED_CLIENT_ID, text.as_bytes()),
            P::ServerKeepAlive(seconds) => self.u16(id::SERVER_KEEP_ALIVE, seconds),
            P::AuthenticationMethod(text) => return self.field(id::AUTH_METHOD, text.as_bytes()),
            P::AuthenticationData(data) => return self.field(id::AUTH_DATA, data),
            P::RequestProblemInformation(on) => self.flag(id::REQUEST_PROBLEM_INFO, on),
            P::WillDelayInterval(seconds) => self.u32(id::WILL_DELAY, seconds),
            P::RequestResponseInformation(on) => self.flag(id::REQUEST_RESPONSE_INFO, on),
            P::ResponseInformation(text) => return self.field(id::RESPONSE_INFO, text.as_bytes()),
            P::ServerReference(text) => return self.field(id::SERVER_REFERENCE, text.as_bytes()),
            P::ReasonString(text) => return self.field(id::REASON_STRING, text.as_bytes()),
            P::ReceiveMaximum(number) => self.u16(id::RECEIVE_MAXIMUM, number),
            P::TopicAliasMaximum(number) => self.u16(id::TOPIC_ALIAS_MAXIMUM, number),
            P::TopicAlias(number) => self.u16(id::TOPIC_ALIAS, number),
            P::MaximumQos(QoS::ExactlyOnce) => {}
            P::MaximumQos(qos) => self.flag(id::MAXIMUM_QOS, qos == QoS::AtLeastOnce),
            P::RetainAvailable(on) => self.flag(id::RETAIN_AVAILABLE, on),
            P::UserProperty(name, value) => return self.user_property(name, value),
            P::MaximumPacketSize(bytes) => self.u32(id::MAXIMUM_PACKET_SIZE, bytes),
            P::WildcardSubscriptionAvailable(on) => self.flag(id::WILDCARD_AVAILABLE, on),
            P::SubscriptionIdentifierAvailable(on) => self.flag(id::SUBSCRIPTION_ID_AVAILABLE, on),
            P::SharedSubscriptionAvailable(on) => self.flag(id::SHARED_AVAILABLE, on),
        }
        Ok(())
    }

    /// The area built so far.
    pub fn as_properties(&self) -> Properties<'_> {
        Properties { raw: &self.raw }
    }

    /// Empties the area, keeping its memory.
    pub fn clear(&mut self) {
        self.raw.clear();
        self.user = 0;
    }

    fn flag(&mut self, id: u8, on: bool) {
        self.raw.extend_from_slice(&[id, u8::from(on)]);
    }

    fn u16(&mut self, id: u8, value: u16) {
        self.raw.push(id);
        self.raw.extend_from_slice(&value.to_be_bytes());
    }

    fn u32(&mut self, id: u8, value: u32) {
        self.raw.push(id);
        self.raw.extend_from_slice(&value.to_be_bytes());
    }

    fn field(&mut self, id: u8, bytes: &[u8]) -> Result<(), EncodeError> {
        check_field(bytes)?;
        self.raw.reserve(field_len(bytes).saturating_add(1));
        self.raw.push(id);
        put_field(&mut self.raw, bytes);
        Ok(())
    }

    fn user_property(&mut self, name: &str, value: &str) -> Result<(), EncodeError> {
        check_field(value.as_bytes())?;
        if self.user >= MAX_USER_PROPERTIES {
            return Err(EncodeError::TooManyUserProperties);
        }
        self.field(id::USER_PROPERTY, name.as_bytes())?;
        put_field(&mut self.raw, value.as_bytes());
        self.user = self.user.saturating_add(1);
        Ok(())
    }
}
