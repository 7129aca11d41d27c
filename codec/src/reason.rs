//! Reason codes: MQTT 5's (section 2.4), and the return codes of older CONNACKs they stand for.

use std::fmt;

macro_rules! reason_codes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $name:literal;)*) => {
        /// An MQTT 5 reason code. From 0x80 on it reports a failure.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum ReasonCode { $($(#[$doc])* $variant = $code,)* }

        impl ReasonCode {
            /// All codes, ascending.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The code of this number, if MQTT 5 defines one.
            pub const fn from_u8(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)* _ => None }
            }

            /// The name as logs, audit and metrics write it: the standard's in lower case with underscores.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

reason_codes! {
    /// Done; on DISCONNECT a normal disconnection, on SUBACK granted `QoS` 0.
    Success = 0x00, "success";
    /// SUBACK: granted `QoS` 1.
    GrantedQos1 = 0x01, "granted_qos_1";
    /// SUBACK: granted `QoS` 2.
    GrantedQos2 = 0x02, "granted_qos_2";
    /// DISCONNECT: the will is to be published.
    DisconnectWithWill = 0x04, "disconnect_with_will_message";
    /// PUBACK, PUBREC: accepted, and nobody subscribes.
    NoMatchingSubscribers = 0x10, "no_matching_subscribers";
    /// UNSUBACK: there was no such subscription.
    NoSubscriptionExisted = 0x11, "no_subscription_existed";
    /// AUTH: one more step.
    ContinueAuthentication = 0x18, "continue_authentication";
    /// AUTH: the client starts over.
    ReAuthenticate = 0x19, "re_authenticate";
    /// Failure without a better word.
    UnspecifiedError = 0x80, "unspecified_error";
    /// The bytes do not parse.
    MalformedPacket = 0x81, "malformed_packet";
    /// The packet parses and breaks the protocol.
    ProtocolError = 0x82, "protocol_error";
    /// Valid, but not accepted by this implementation.
    ImplementationSpecificError = 0x83, "implementation_specific_error";
    /// The protocol level is not supported.
    UnsupportedProtocolVersion = 0x84, "unsupported_protocol_version";
    /// The client identifier is not accepted.
    ClientIdentifierNotValid = 0x85, "client_identifier_not_valid";
    /// User name or password is wrong.
    BadUserNameOrPassword = 0x86, "bad_user_name_or_password";
    /// Not allowed.
    NotAuthorized = 0x87, "not_authorized";
    /// The server cannot serve at the moment.
    ServerUnavailable = 0x88, "server_unavailable";
    /// The server is busy; try again.
    ServerBusy = 0x89, "server_busy";
    /// Banned by an administrator.
    Banned = 0x8A, "banned";
    /// The server shuts down.
    ServerShuttingDown = 0x8B, "server_shutting_down";
    /// The authentication method is not supported or not the one in use.
    BadAuthenticationMethod = 0x8C, "bad_authentication_method";
    /// Silence for one and a half keep-alives.
    KeepAliveTimeout = 0x8D, "keep_alive_timeout";
    /// Another connection took this client identifier.
    SessionTakenOver = 0x8E, "session_taken_over";
    /// The topic filter is not accepted.
    TopicFilterInvalid = 0x8F, "topic_filter_invalid";
    /// The topic name is not accepted.
    TopicNameInvalid = 0x90, "topic_name_invalid";
    /// The packet identifier is in use.
    PacketIdentifierInUse = 0x91, "packet_identifier_in_use";
    /// The packet identifier is not known.
    PacketIdentifierNotFound = 0x92, "packet_identifier_not_found";
    /// More unacknowledged publications than the Receive Maximum.
    ReceiveMaximumExceeded = 0x93, "receive_maximum_exceeded";
    /// The topic alias is 0 or above the maximum.
    TopicAliasInvalid = 0x94, "topic_alias_invalid";
    /// Larger than the Maximum Packet Size.
    PacketTooLarge = 0x95, "packet_too_large";
    /// Messages come too fast.
    MessageRateTooHigh = 0x96, "message_rate_too_high";
    /// A limit is exceeded.
    QuotaExceeded = 0x97, "quota_exceeded";
    /// An administrator ended the connection.
    AdministrativeAction = 0x98, "administrative_action";
    /// The payload is not of the format it claims.
    PayloadFormatInvalid = 0x99, "payload_format_invalid";
    /// Retained messages are not supported.
    RetainNotSupported = 0x9A, "retain_not_supported";
    /// The `QoS` is above the Maximum `QoS`.
    QosNotSupported = 0x9B, "qos_not_supported";
    /// Use another server for now.
    UseAnotherServer = 0x9C, "use_another_server";
    /// Use another server from now on.
    ServerMoved = 0x9D, "server_moved";
    /// Shared subscriptions are not supported.
    SharedSubscriptionsNotSupported = 0x9E, "shared_subscriptions_not_supported";
    /// Connections come too fast.
    ConnectionRateExceeded = 0x9F, "connection_rate_exceeded";
    /// The connection lasted as long as it may.
    MaximumConnectTime = 0xA0, "maximum_connect_time";
    /// Subscription identifiers are not supported.
    SubscriptionIdentifiersNotSupported = 0xA1, "subscription_identifiers_not_supported";
    /// Wildcard subscriptions are not supported.
    WildcardSubscriptionsNotSupported = 0xA2, "wildcard_subscriptions_not_supported";
}

impl ReasonCode {
    /// DISCONNECT's name for [`Success`](Self::Success).
    pub const NORMAL_DISCONNECTION: Self = Self::Success;
    /// SUBACK's name for [`Success`](Self::Success).
    pub const GRANTED_QOS_0: Self = Self::Success;

    /// The number on the wire.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Whether the code reports a failure (0x80 and above).
    pub const fn is_error(self) -> bool {
        self.code() >= 0x80
    }

    /// The CONNACK return code (0-5) of MQTT 3.1 and 3.1.1 that comes nearest (3.1.1 table 3.1).
    pub const fn connect_return_code(self) -> u8 {
        match self {
            Self::UnsupportedProtocolVersion => 1,
            Self::ClientIdentifierNotValid => 2,
            Self::BadUserNameOrPassword | Self::BadAuthenticationMethod => 4,
            Self::NotAuthorized | Self::Banned => 5,
            code if code.is_error() => 3,
            _ => 0,
        }
    }

    /// The reason code of a CONNACK return code (0-5) of MQTT 3.1 and 3.1.1.
    pub const fn from_connect_return_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Success),
            1 => Some(Self::UnsupportedProtocolVersion),
            2 => Some(Self::ClientIdentifierNotValid),
            3 => Some(Self::ServerUnavailable),
            4 => Some(Self::BadUserNameOrPassword),
            5 => Some(Self::NotAuthorized),
            _ => None,
        }
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
