//! CONNECT (MQTT 5 section 3.1), the first packet of a connection; it says which version is spoken.

use std::borrow::Cow;

use crate::error::{DecodeError, EncodeError};
use crate::frame::{self, MAX_REMAINING_LENGTH};
use crate::primitive::{Reader, check_field, field_len, packet_len, put_field, put_fixed_header};
use crate::properties::{Forwardable, Properties, Property, Scanner, id};
use crate::{QoS, Version};

/// A CONNECT, borrowing from its frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect<'a> {
    /// The version the client speaks.
    pub version: Version,
    /// Clean Start; Clean Session before MQTT 5.
    pub clean_start: bool,
    /// Keep-alive in seconds; 0 switches it off.
    pub keep_alive: u16,
    /// May be empty; whether that is acceptable is the broker's to say ([MQTT-3.1.3-6]; 3.1.1: [MQTT-3.1.3-8]).
    pub client_id: &'a str,
    /// The will, if any.
    pub will: Option<Will<'a>>,
    /// User name; absent and empty are different things.
    pub username: Option<&'a str>,
    /// Password: any bytes; absent and empty are different things.
    pub password: Option<&'a [u8]>,
    /// Properties; the defaults before MQTT 5.
    pub properties: ConnectProperties<'a>,
}

/// The message a server publishes when the client is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Will<'a> {
    /// A valid topic name.
    pub topic: &'a str,
    /// The application message.
    pub payload: &'a [u8],
    /// Quality of service.
    pub qos: QoS,
    /// To be retained.
    pub retain: bool,
    /// Properties; the defaults before MQTT 5.
    pub properties: WillProperties<'a>,
}

/// Properties of CONNECT, with MQTT 5's defaults for absent ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectProperties<'a> {
    /// Seconds; 0 ends the session with the connection, `u32::MAX` keeps it for ever.
    pub session_expiry: u32,
    /// `QoS` 1 and 2 publications the client takes unacknowledged, 1 to 65,535.
    pub receive_maximum: u16,
    /// Largest whole packet in bytes the client takes; never 0.
    pub maximum_packet_size: Option<u32>,
    /// Highest topic alias the client takes; 0 means none.
    pub topic_alias_maximum: u16,
    /// The client asks for Response Information.
    pub request_response_information: bool,
    /// Reason strings and user properties may go into any packet.
    pub request_problem_information: bool,
    /// Enhanced authentication: the method.
    pub authentication_method: Option<&'a str>,
    /// Enhanced authentication: the first data.
    pub authentication_data: Option<&'a [u8]>,
    all: Properties<'a>,
}

impl Default for ConnectProperties<'_> {
    fn default() -> Self {
        Self {
            session_expiry: 0,
            receive_maximum: u16::MAX,
            maximum_packet_size: None,
            topic_alias_maximum: 0,
            request_response_information: false,
            request_problem_information: true,
            authentication_method: None,
            authentication_data: None,
            all: Properties::EMPTY,
        }
    }
}

const ALLOWED: u64 = id::set(&[
    id::SESSION_EXPIRY,
    id::RECEIVE_MAXIMUM,
    id::MAXIMUM_PACKET_SIZE,
    id::TOPIC_ALIAS_MAXIMUM,
    id::REQUEST_RESPONSE_INFO,
    id::REQUEST_PROBLEM_INFO,
    id::USER_PROPERTY,
    id::AUTH_METHOD,
    id::AUTH_DATA,
]);

impl<'a> ConnectProperties<'a> {
    /// Checks a property area for use in a CONNECT (MQTT 5 section 3.1.2.11).
    pub fn parse(all: Properties<'a>) -> Result<Self, DecodeError> {
        let mut found = Self {
            all,
            ..Self::default()
        };
        let mut scanner = Scanner::new(all.raw(), ALLOWED);
        while let Some(property) = scanner.next()? {
            match property {
                Property::SessionExpiryInterval(seconds) => found.session_expiry = seconds,
                Property::ReceiveMaximum(number) => found.receive_maximum = number,
                Property::MaximumPacketSize(bytes) => found.maximum_packet_size = Some(bytes),
                Property::TopicAliasMaximum(number) => found.topic_alias_maximum = number,
                Property::RequestResponseInformation(on) => found.request_response_information = on,
                Property::RequestProblemInformation(on) => found.request_problem_information = on,
                Property::AuthenticationMethod(method) => found.authentication_method = Some(method),
                Property::AuthenticationData(data) => found.authentication_data = Some(data),
                _ => {}
            }
        }
        if found.authentication_data.is_some() && found.authentication_method.is_none() {
            return Err(DecodeError::AuthDataWithoutMethod);
        }
        Ok(found)
    }

    /// All properties.
    pub const fn all(&self) -> Properties<'a> {
        self.all
    }
}

/// Properties of a will (MQTT 5 section 3.1.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WillProperties<'a> {
    /// Seconds between the loss of the connection and the will.
    pub delay: u32,
    /// Message expiry interval in seconds, counted from publication.
    pub message_expiry: Option<u32>,
    /// The Payload Format Indicator is 1.
    pub payload_is_utf8: bool,
    all: Properties<'a>,
    forwardable: Forwardable,
}

const WILL_ALLOWED: u64 = id::set(&[
    id::WILL_DELAY,
    id::PAYLOAD_FORMAT,
    id::MESSAGE_EXPIRY,
    id::CONTENT_TYPE,
    id::RESPONSE_TOPIC,
    id::CORRELATION_DATA,
    id::USER_PROPERTY,
]);

impl<'a> WillProperties<'a> {
    /// Checks a property area for use in a will.
    pub fn parse(all: Properties<'a>) -> Result<Self, DecodeError> {
        let mut found = Self {
            all,
            ..Self::default()
        };
        let mut scanner = Scanner::new(all.raw(), WILL_ALLOWED);
        while let Some(property) = scanner.next()? {
            match property {
                Property::WillDelayInterval(seconds) => found.delay = seconds,
                Property::MessageExpiryInterval(seconds) => found.message_expiry = Some(seconds),
                Property::PayloadFormatIndicator(utf8) => found.payload_is_utf8 = utf8,
                _ => {}
            }
        }
        found.forwardable = scanner.forwardable();
        Ok(found)
    }

    /// All properties.
    pub const fn all(&self) -> Properties<'a> {
        self.all
    }

    /// The raw bytes of what goes out with the will, as
    /// [`PublishProperties::forwardable`](crate::PublishProperties::forwardable).
    pub fn forwardable(&self) -> Cow<'a, [u8]> {
        self.forwardable.bytes(self.all.raw())
    }
}

/// Decodes the first packet of a connection; the packet itself says its version.
///
/// [`DecodeError::UnsupportedVersion`] and [`DecodeError::ProtocolName`] stand apart from malformed packets, as they are
/// answered with CONNACK 0x84 (return code 1 before MQTT 5); for the form of the answer to other errors see
/// [`connect_version`].
pub fn decode_connect(frame: &[u8]) -> Result<Connect<'_>, DecodeError> {
    let (first, body) = frame::split(frame)?;
    match first {
        0x10 => decode_body(body, None),
        0x11..=0x1f => Err(DecodeError::FixedHeaderFlags),
        0x00..=0x0f => Err(DecodeError::ReservedType),
        _ => Err(DecodeError::ConnectExpected), // [MQTT-3.1.0-1]
    }
}

/// The version a CONNECT claims, even when the rest of it is malformed: the form in which a refusal is written. Levels
/// above 5 read 5.0's CONNACK, if any. `None`: not recognisable as MQTT, so no answer is due.
pub fn connect_version(frame: &[u8]) -> Option<Version> {
    let (0x10, body) = frame::split(frame).ok()? else {
        return None;
    };
    let mut reader = Reader::new(body);
    let name = reader.binary().ok()?;
    match (name, reader.u8().ok()?) {
        (b"MQIsdp", _) => Some(Version::V31),
        (b"MQTT", level) if level >= 5 && level & 0x80 == 0 => Some(Version::V5),
        (b"MQTT", _) => Some(Version::V311),
        _ => None,
    }
}

/// Decodes what follows the fixed header; `wanted` refuses every other version.
pub(crate) fn decode_body(body: &[u8], wanted: Option<Version>) -> Result<Connect<'_>, DecodeError> {
    let mut reader = Reader::new(body);
    let version = protocol(&mut reader)?;
    if wanted.is_some_and(|wanted| wanted != version) {
        return Err(DecodeError::UnsupportedVersion {
            level: version.level(),
        });
    }
    let flags = ConnectFlags::read(reader.u8()?, version)?;
    let keep_alive = reader.u16()?;
    let properties = match version {
        Version::V5 => ConnectProperties::parse(Properties::validated(reader.property_area()?))?,
        _ => ConnectProperties::default(),
    };
    let client_id = reader.string()?;
    let will = match flags.will {
        Some((qos, retain)) => Some(will(&mut reader, version, qos, retain)?),
        None => None,
    };
    // MQTT 3.1 section 3.1: the remaining length takes precedence over the user name and password flags.
    let may_miss = version == Version::V31;
    let username = if flags.username && !(may_miss && reader.is_empty()) {
        Some(reader.string()?)
    } else {
        None
    };
    let password = if flags.password && !(may_miss && reader.is_empty()) {
        Some(reader.binary()?)
    } else {
        None
    };
    reader.end()?;
    let clean_start = flags.clean_start;
    Ok(Connect {
        version,
        clean_start,
        keep_alive,
        client_id,
        will,
        username,
        password,
        properties,
    })
}

/// Protocol name and level [MQTT-3.1.2-1], [MQTT-3.1.2-2].
fn protocol(reader: &mut Reader<'_>) -> Result<Version, DecodeError> {
    let name = reader.binary()?;
    if name != b"MQTT" && name != b"MQIsdp" {
        return Err(DecodeError::ProtocolName);
    }
    match (name, reader.u8()?) {
        (b"MQIsdp", 3) => Ok(Version::V31),
        (b"MQTT", 4) => Ok(Version::V311),
        (b"MQTT", 5) => Ok(Version::V5),
        (_, level) => Err(DecodeError::UnsupportedVersion { level }),
    }
}

fn will<'a>(
    reader: &mut Reader<'a>,
    version: Version,
    qos: QoS,
    retain: bool,
) -> Result<Will<'a>, DecodeError> {
    let properties = match version {
        Version::V5 => WillProperties::parse(Properties::validated(reader.property_area()?))?,
        _ => WillProperties::default(),
    };
    let topic = match reader.string_and_wildcards()? {
        (_, true) => return Err(DecodeError::TopicWildcard), // [MQTT-4.7.0-1]
        ("", _) => return Err(DecodeError::TopicEmpty),      // [MQTT-4.7.3-1]
        (topic, false) => topic,
    };
    Ok(Will {
        topic,
        payload: reader.binary()?,
        qos,
        retain,
        properties,
    })
}

/// The connect flags (MQTT 5 section 3.1.2.3).
struct ConnectFlags {
    clean_start: bool,
    will: Option<(QoS, bool)>,
    username: bool,
    password: bool,
}

impl ConnectFlags {
    fn read(byte: u8, version: Version) -> Result<Self, DecodeError> {
        if byte & 0x01 != 0 {
            return Err(DecodeError::ConnectReservedFlag); // [MQTT-3.1.2-3]
        }
        let qos = QoS::from_u8((byte >> 3) & 3);
        let retain = byte & 0x20 != 0;
        let will = if byte & 0x04 != 0 {
            Some((qos.ok_or(DecodeError::WillQos3)?, retain)) // [MQTT-3.1.2-12]
        } else {
            None
        };
        // MQTT 3.1 disregards both fields when there is no will.
        if will.is_none() && version != Version::V31 {
            if qos != Some(QoS::AtMostOnce) {
                return Err(DecodeError::WillQosWithoutWill); // [MQTT-3.1.2-11]
            }
            if retain {
                return Err(DecodeError::WillRetainWithoutWill); // [MQTT-3.1.2-13]
            }
        }
        let (username, password) = (byte & 0x80 != 0, byte & 0x40 != 0);
        if password && !username && version != Version::V5 {
            return Err(DecodeError::PasswordWithoutUserName); // 3.1.1: [MQTT-3.1.2-22]
        }
        Ok(Self {
            clean_start: byte & 0x02 != 0,
            will,
            username,
            password,
        })
    }
}

impl<'a> Connect<'a> {
    /// A CONNECT with a clean start, a keep-alive of 60 s, and nothing else; for clients.
    pub fn new(version: Version, client_id: &'a str) -> Self {
        Self {
            version,
            clean_start: true,
            keep_alive: 60,
            client_id,
            will: None,
            username: None,
            password: None,
            properties: ConnectProperties::default(),
        }
    }

    /// Size of the whole packet in bytes.
    pub fn encoded_len(&self) -> usize {
        packet_len(self.remaining_len())
    }

    /// Appends the packet. Properties are written as [`ConnectProperties::all`] and [`WillProperties::all`] hold them,
    /// not from the single fields.
    ///
    /// Errors, with nothing appended: a field over 65,535 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let name = self.version.protocol_name();
        let will = self.will.as_ref();
        let fields = [
            Some(self.client_id.as_bytes()),
            will.map(|will| will.topic.as_bytes()),
            will.map(|will| will.payload),
            self.username.map(str::as_bytes),
            self.password,
        ];
        for field in fields.iter().flatten() {
            check_field(field)?;
        }
        let remaining = self.remaining_len();
        if remaining > MAX_REMAINING_LENGTH {
            return Err(EncodeError::PacketTooLong);
        }
        put_fixed_header(out, 0x10, remaining);
        put_field(out, name.as_bytes());
        out.extend_from_slice(&[self.version.level(), self.flags()]);
        out.extend_from_slice(&self.keep_alive.to_be_bytes());
        if self.version == Version::V5 {
            self.properties.all.put(out);
        }
        let [client_id, rest @ ..] = fields;
        put_field(out, client_id.unwrap_or_default());
        if let Some(will) = will
            && self.version == Version::V5
        {
            will.properties.all.put(out);
        }
        for field in rest.iter().flatten() {
            put_field(out, field);
        }
        Ok(())
    }

    fn flags(&self) -> u8 {
        let will = self.will.as_ref().map_or(0, |will| {
            0x04 | (will.qos.level() << 3) | (u8::from(will.retain) << 5)
        });
        will | (u8::from(self.clean_start) << 1)
            | (u8::from(self.password.is_some()) << 6)
            | (u8::from(self.username.is_some()) << 7)
    }

    fn remaining_len(&self) -> usize {
        let v5 = self.version == Version::V5;
        let properties = if v5 { self.properties.all.encoded_len() } else { 0 };
        let will = self.will.as_ref().map_or(0, |will| {
            let properties = if v5 { will.properties.all.encoded_len() } else { 0 };
            properties
                .saturating_add(field_len(will.topic.as_bytes()))
                .saturating_add(field_len(will.payload))
        });
        // Level, flags, keep-alive.
        field_len(self.version.protocol_name().as_bytes())
            .saturating_add(4)
            .saturating_add(properties)
            .saturating_add(field_len(self.client_id.as_bytes()))
            .saturating_add(will)
            .saturating_add(self.username.map_or(0, |name| field_len(name.as_bytes())))
            .saturating_add(self.password.map_or(0, field_len))
    }
}
