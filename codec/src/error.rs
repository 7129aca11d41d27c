//! Why bytes are not a packet ([`DecodeError`]), and why values cannot be written as one ([`EncodeError`]).
//!
//! One variant per normative statement. The numbers are those of MQTT 5.0; where 3.1.1 counts differently its
//! number follows in parentheses. Where the standard has prose but no numbered statement, the section stands there.
//! What to do about an error (close, answer, log) is not decided here.

use std::fmt;

use crate::reason::ReasonCode;

/// What is wrong with the bytes of a packet.
///
/// `Display` begins with the violated statement, `[MQTT-3.3.2-2] …`; [`reason`](Self::reason) is the code for an
/// MQTT 5 CONNACK or DISCONNECT, and [`name`](Self::name) a word for logs and counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DecodeError {
    /// A variable byte integer is longer than its value needs.
    NonMinimalInteger,
    /// A variable byte integer has more than four bytes.
    IntegerTooLong,
    /// The whole packet is larger than the receiver allows.
    PacketTooLarge {
        /// Size of the whole packet in bytes, fixed header included.
        len: usize,
        /// The limit it broke, in bytes.
        max: u32,
    },
    /// The bytes handed over are not exactly one packet: a mistake of the caller, never of the client.
    NotOneFrame,
    /// Packet type 0, or 15 before MQTT 5.
    ReservedType,
    /// The low four bits of the first byte are not what the packet type demands.
    FixedHeaderFlags,
    /// A packet that only the other side may send.
    WrongDirection,
    /// The first packet of a connection is not CONNECT.
    ConnectExpected,
    /// A field runs past the end of the packet or of its property area.
    Truncated,
    /// Bytes follow the last field.
    TrailingBytes,
    /// A string is not well-formed UTF-8.
    Utf8,
    /// A string contains U+0000.
    NullCharacter,
    /// Packet identifier 0.
    PacketIdZero,
    /// The protocol name is neither `MQTT` nor `MQIsdp`.
    ProtocolName,
    /// The protocol level is not one of this decoder, or does not fit its name.
    UnsupportedVersion {
        /// The level byte as received (3 = 3.1, 4 = 3.1.1, 5 = 5.0).
        level: u8,
    },
    /// Bit 0 of the CONNECT flags is set.
    ConnectReservedFlag,
    /// Will `QoS` without a will.
    WillQosWithoutWill,
    /// Will `QoS` 3.
    WillQos3,
    /// Will retain without a will.
    WillRetainWithoutWill,
    /// A password without a user name, before MQTT 5.
    PasswordWithoutUserName,
    /// Authentication data without an authentication method.
    AuthDataWithoutMethod,
    /// An AUTH packet without an authentication method.
    AuthMethodMissing,
    /// CONNACK flags other than session present, or session present on a refusal.
    ConnAckFlags,
    /// DUP on a `QoS` 0 PUBLISH.
    DupQos0,
    /// `QoS` 3 on a PUBLISH.
    Qos3,
    /// A topic name with `+` or `#`.
    TopicWildcard,
    /// A topic name of no characters.
    TopicEmpty,
    /// MQTT 5: an empty topic name and no topic alias.
    TopicMissing,
    /// Topic alias 0.
    TopicAliasZero,
    /// A response topic that is empty or has wildcards.
    ResponseTopic,
    /// A subscription identifier in a client's PUBLISH.
    SubscriptionIdFromClient,
    /// A SUBSCRIBE without filters.
    NoFilters,
    /// An UNSUBSCRIBE without filters.
    NoUnsubscribeFilters,
    /// A topic filter of no characters.
    FilterEmpty,
    /// `#` that is not the whole last level of a filter.
    FilterHash,
    /// `+` that is not a whole level of a filter.
    FilterPlus,
    /// `$share` without a name, with a wildcard in it, or without a filter after it.
    ShareName,
    /// Reserved bits of the subscription options (before MQTT 5 also `QoS` 3).
    SubscriptionOptions,
    /// Maximum `QoS` 3 in the subscription options.
    SubscriptionQos3,
    /// Retain handling 3 in the subscription options.
    RetainHandling3,
    /// No Local on a shared subscription.
    NoLocalShared,
    /// More filters in one packet than [`MAX_FILTERS`](crate::MAX_FILTERS).
    TooManyFilters,
    /// A property identifier that MQTT 5 does not define.
    UnknownProperty,
    /// A property that this packet may not carry.
    PropertyNotAllowed(u8),
    /// A property that may appear once appears twice.
    PropertyTwice(u8),
    /// A property value outside its range.
    PropertyValue(u8),
    /// More user properties in one packet than [`MAX_USER_PROPERTIES`](crate::MAX_USER_PROPERTIES).
    TooManyUserProperties,
    /// A reason code that this packet, from this side, may not carry.
    ReasonCode(u8),
    /// A Session Expiry Interval in a server's DISCONNECT.
    ServerSessionExpiry,
}

impl DecodeError {
    /// The MQTT 5 reason code that answers this error.
    pub const fn reason(&self) -> ReasonCode {
        use DecodeError as E;
        match self {
            E::PacketTooLarge { .. } => ReasonCode::PacketTooLarge,
            E::ProtocolName | E::UnsupportedVersion { .. } => ReasonCode::UnsupportedProtocolVersion,
            E::TopicWildcard | E::TopicEmpty => ReasonCode::TopicNameInvalid,
            E::TopicAliasZero => ReasonCode::TopicAliasInvalid,
            E::FilterEmpty | E::FilterHash | E::FilterPlus | E::ShareName => ReasonCode::TopicFilterInvalid,
            E::TooManyFilters | E::TooManyUserProperties => ReasonCode::QuotaExceeded,
            E::WrongDirection
            | E::ConnectExpected
            | E::PacketIdZero
            | E::AuthDataWithoutMethod
            | E::AuthMethodMissing
            | E::TopicMissing
            | E::ResponseTopic
            | E::SubscriptionIdFromClient
            | E::NoFilters
            | E::NoUnsubscribeFilters
            | E::SubscriptionQos3
            | E::RetainHandling3
            | E::NoLocalShared
            | E::PropertyTwice(_)
            | E::PropertyValue(_)
            | E::ReasonCode(_)
            | E::ServerSessionExpiry => ReasonCode::ProtocolError,
            _ => ReasonCode::MalformedPacket,
        }
    }

    /// A short word for logs, audit records and counters: lower case and underscores, stable.
    pub const fn name(&self) -> &'static str {
        self.entry().0
    }

    /// The violated statement (`MQTT-3.3.2-2`) or, where none is numbered, the section (`MQTT-2.2.2.2`).
    pub const fn statement(&self) -> &'static str {
        self.entry().1
    }

    /// Name, statement, text.
    #[expect(clippy::too_many_lines, reason = "a table: one row per variant")]
    const fn entry(&self) -> (&'static str, &'static str, &'static str) {
        use DecodeError as E;
        match self {
            E::NonMinimalInteger => (
                "non_minimal_integer",
                "MQTT-1.5.5-1",
                "a variable byte integer is not in its shortest form",
            ),
            E::IntegerTooLong => (
                "integer_too_long",
                "MQTT-1.5.5",
                "a variable byte integer has more than four bytes",
            ),
            E::PacketTooLarge { .. } => (
                "packet_too_large",
                "MQTT-3.2.2-15",
                "the packet is larger than the maximum packet size",
            ),
            E::NotOneFrame => (
                "not_one_frame",
                "MQTT-2.1.4",
                "the bytes are not exactly one whole packet",
            ),
            E::ReservedType => ("reserved_type", "MQTT-2.1.2", "a reserved packet type"),
            E::FixedHeaderFlags => (
                "fixed_header_flags",
                "MQTT-2.1.3-1",
                "(3.1.1: MQTT-2.2.2-2) wrong flags in the fixed header",
            ),
            E::WrongDirection => (
                "wrong_direction",
                "MQTT-2.1.2",
                "a packet type that only the other side sends",
            ),
            E::ConnectExpected => (
                "connect_expected",
                "MQTT-3.1.0-1",
                "the first packet is not CONNECT",
            ),
            E::Truncated => (
                "truncated",
                "MQTT-4.13.1-1",
                "a field runs past the end of its packet",
            ),
            E::TrailingBytes => (
                "trailing_bytes",
                "MQTT-4.13.1-1",
                "bytes after the last field of the packet",
            ),
            E::Utf8 => (
                "utf8",
                "MQTT-1.5.4-1",
                "(3.1.1: MQTT-1.5.3-1) a string is not well-formed UTF-8",
            ),
            E::NullCharacter => (
                "null_character",
                "MQTT-1.5.4-2",
                "(3.1.1: MQTT-1.5.3-2) a string contains U+0000",
            ),
            E::PacketIdZero => (
                "packet_id_zero",
                "MQTT-2.2.1-3",
                "(3.1.1: MQTT-2.3.1-1) packet identifier 0",
            ),
            E::ProtocolName => (
                "protocol_name",
                "MQTT-3.1.2-1",
                "the protocol name is neither MQTT nor MQIsdp",
            ),
            E::UnsupportedVersion { .. } => (
                "unsupported_version",
                "MQTT-3.1.2-2",
                "the protocol level is not supported",
            ),
            E::ConnectReservedFlag => (
                "connect_reserved_flag",
                "MQTT-3.1.2-3",
                "the reserved flag of CONNECT is set",
            ),
            E::WillQosWithoutWill => (
                "will_qos_without_will",
                "MQTT-3.1.2-11",
                "(3.1.1: MQTT-3.1.2-13) will QoS without a will",
            ),
            E::WillQos3 => ("will_qos_3", "MQTT-3.1.2-12", "(3.1.1: MQTT-3.1.2-14) will QoS 3"),
            E::WillRetainWithoutWill => (
                "will_retain_without_will",
                "MQTT-3.1.2-13",
                "(3.1.1: MQTT-3.1.2-15) will retain without a will",
            ),
            E::PasswordWithoutUserName => (
                "password_without_user_name",
                "MQTT-3.1.2-22",
                "(3.1.1) a password without a user name",
            ),
            E::AuthDataWithoutMethod => (
                "auth_data_without_method",
                "MQTT-3.1.2.11.10",
                "authentication data without an authentication method",
            ),
            E::AuthMethodMissing => (
                "auth_method_missing",
                "MQTT-3.15.2.2.2",
                "AUTH without an authentication method",
            ),
            E::ConnAckFlags => ("connack_flags", "MQTT-3.2.2-1", "wrong acknowledge flags"),
            E::DupQos0 => ("dup_qos_0", "MQTT-3.3.1-2", "DUP on a QoS 0 PUBLISH"),
            E::Qos3 => ("qos_3", "MQTT-3.3.1-4", "both QoS bits of a PUBLISH are set"),
            E::TopicWildcard => (
                "topic_wildcard",
                "MQTT-3.3.2-2",
                "a topic name contains a wildcard",
            ),
            E::TopicEmpty => ("topic_empty", "MQTT-4.7.3-1", "an empty topic name"),
            E::TopicMissing => (
                "topic_missing",
                "MQTT-3.3.2.1",
                "an empty topic name without a topic alias",
            ),
            E::TopicAliasZero => ("topic_alias_zero", "MQTT-3.3.2-8", "topic alias 0"),
            E::ResponseTopic => (
                "response_topic",
                "MQTT-3.3.2-14",
                "a response topic is empty or has a wildcard",
            ),
            E::SubscriptionIdFromClient => (
                "subscription_id_from_client",
                "MQTT-3.3.4-6",
                "a subscription identifier in a client's PUBLISH",
            ),
            E::NoFilters => (
                "no_filters",
                "MQTT-3.8.3-2",
                "(3.1.1: MQTT-3.8.3-3) SUBSCRIBE without a topic filter",
            ),
            E::NoUnsubscribeFilters => (
                "no_unsubscribe_filters",
                "MQTT-3.10.3-2",
                "UNSUBSCRIBE without a topic filter",
            ),
            E::FilterEmpty => ("filter_empty", "MQTT-4.7.3-1", "an empty topic filter"),
            E::FilterHash => (
                "filter_hash",
                "MQTT-4.7.1-1",
                "(3.1.1: MQTT-4.7.1-2) # is not the whole last level of a filter",
            ),
            E::FilterPlus => (
                "filter_plus",
                "MQTT-4.7.1-2",
                "(3.1.1: MQTT-4.7.1-3) + is not a whole level of a filter",
            ),
            E::ShareName => ("share_name", "MQTT-4.8.2-2", "not of the form $share/NAME/FILTER"),
            E::SubscriptionOptions => (
                "subscription_options",
                "MQTT-3.8.3-5",
                "(3.1.1: MQTT-3.8.3-4) reserved bits of the subscription options",
            ),
            E::SubscriptionQos3 => (
                "subscription_qos_3",
                "MQTT-3.8.3.1",
                "maximum QoS 3 in a subscription",
            ),
            E::RetainHandling3 => (
                "retain_handling_3",
                "MQTT-3.8.3.1",
                "retain handling 3 in a subscription",
            ),
            E::NoLocalShared => (
                "no_local_shared",
                "MQTT-3.8.3-4",
                "No Local on a shared subscription",
            ),
            E::TooManyFilters => (
                "too_many_filters",
                "MQTT-4.13.2-1",
                "too many topic filters in one packet",
            ),
            E::UnknownProperty => ("unknown_property", "MQTT-2.2.2.2", "an unknown property"),
            E::PropertyNotAllowed(_) => (
                "property_not_allowed",
                "MQTT-2.2.2.2",
                "a property that this packet may not carry",
            ),
            E::PropertyTwice(_) => ("property_twice", "MQTT-2.2.2.2", "a property appears twice"),
            E::PropertyValue(_) => ("property_value", "MQTT-2.2.2.2", "a property value out of range"),
            E::TooManyUserProperties => (
                "too_many_user_properties",
                "MQTT-4.13.2-1",
                "too many user properties in one packet",
            ),
            E::ReasonCode(_) => (
                "reason_code",
                "MQTT-2.4",
                "a reason code that this packet may not carry",
            ),
            E::ServerSessionExpiry => (
                "server_session_expiry",
                "MQTT-3.14.2-2",
                "a session expiry interval in a server's DISCONNECT",
            ),
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, statement, text) = self.entry();
        write!(f, "[{statement}] {text}")?;
        match self {
            Self::PacketTooLarge { len, max } => write!(f, " ({len} > {max} bytes)"),
            Self::UnsupportedVersion { level } => write!(f, " ({level})"),
            Self::PropertyNotAllowed(id) | Self::PropertyTwice(id) | Self::PropertyValue(id) => {
                write!(f, " (property 0x{id:02x})")
            }
            Self::ReasonCode(code) => write!(f, " (0x{code:02x})"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Why values cannot be written as a packet. Nothing has been written then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EncodeError {
    /// A string or binary field has more than 65,535 bytes.
    FieldTooLong,
    /// The packet's remaining length would exceed 268,435,455 bytes.
    PacketTooLong,
    /// Packet identifier 0 where one is needed.
    PacketIdZero,
    /// More user properties than [`MAX_USER_PROPERTIES`](crate::MAX_USER_PROPERTIES).
    TooManyUserProperties,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FieldTooLong => "[MQTT-1.5.4] a string or binary field is longer than 65,535 bytes",
            Self::PacketTooLong => "[MQTT-2.1.4] the packet is longer than 268,435,455 bytes",
            Self::PacketIdZero => "[MQTT-2.2.1-3] packet identifier 0",
            Self::TooManyUserProperties => "too many user properties in one packet",
        })
    }
}

impl std::error::Error for EncodeError {}
