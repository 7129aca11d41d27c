//! MQTT 3.1, 3.1.1 and 5.0: packets and topics to and from bytes.
//!
//! The way in is [`frame::check`] (is a whole packet here?), then [`decode_connect`] for the first packet of a
//! connection and [`decode`] for all later ones. Decoded packets borrow from the frame and allocate nothing; what is
//! decoded is valid: strings, topic names, filters, flags, properties, reason codes, direction. The way out is each
//! packet's `encode`, and [`PublishOut`] with [`copy_patched`] for a message with many receivers.
//!
//! No I/O, no clock, no session state, no policy: whether a topic alias is known, a `QoS` offered, a client identifier
//! acceptable or a packet identifier free is the broker's to say.
//!
//! One file per packet holds all three versions: they differ in a line or two each, and stand beside each other.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used
)]
#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        reason = "tests may fail loudly"
    )
)]

mod error;
pub mod frame;
mod packet;
mod primitive;
mod properties;
mod reason;
pub mod topic;

pub use error::{DecodeError, EncodeError};
pub use frame::Frame;
pub use packet::ack::{Ack, AckKind};
pub use packet::auth::Auth;
pub use packet::connack::ConnAck;
pub use packet::connect::{
    Connect, ConnectProperties, Will, WillProperties, connect_version, decode_connect,
};
pub use packet::disconnect::Disconnect;
pub use packet::publish::{Publish, PublishProperties};
pub use packet::publish_out::{PublishOut, copy_patched, publish_first_byte};
pub use packet::suback::{SubAck, UnsubAck};
pub use packet::subscribe::{
    FilterIter, Filters, RetainHandling, Subscribe, SubscribeFilter, SubscribeOptions, encode_subscribe,
};
pub use packet::unsubscribe::{TopicFilters, TopicFiltersIter, Unsubscribe, encode_unsubscribe};
pub use packet::{Packet, decode, decode_from_server, encode_pingreq, encode_pingresp};
pub use properties::{Properties, PropertiesBuf, Property, PropertyIter};
pub use reason::ReasonCode;
pub use topic::{TopicError, TopicFilter};

/// Most user properties in one packet. MQTT 5 sets no limit; this one bounds the work and memory that a packet can
/// cause behind the codec.
pub const MAX_USER_PROPERTIES: usize = 1024;

/// Most topic filters in one SUBSCRIBE or UNSUBSCRIBE, bounded for the same reason.
pub const MAX_FILTERS: usize = 8192;

/// An MQTT version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// MQTT 3.1: `MQIsdp`, level 3.
    V31,
    /// MQTT 3.1.1: `MQTT`, level 4.
    V311,
    /// MQTT 5.0: `MQTT`, level 5.
    V5,
}

impl Version {
    /// The protocol level byte of CONNECT.
    pub const fn level(self) -> u8 {
        match self {
            Self::V31 => 3,
            Self::V311 => 4,
            Self::V5 => 5,
        }
    }

    /// The protocol name of CONNECT.
    pub const fn protocol_name(self) -> &'static str {
        match self {
            Self::V31 => "MQIsdp",
            Self::V311 | Self::V5 => "MQTT",
        }
    }
}

/// Quality of service.
#[expect(clippy::enum_variant_names, reason = "the standard's names")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum QoS {
    /// `QoS` 0.
    #[default]
    AtMostOnce = 0,
    /// `QoS` 1.
    AtLeastOnce = 1,
    /// `QoS` 2.
    ExactlyOnce = 2,
}

impl QoS {
    /// The level of this number, 0 to 2.
    #[inline]
    pub const fn from_u8(level: u8) -> Option<Self> {
        match level {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }

    /// The number, 0 to 2.
    #[inline]
    pub const fn level(self) -> u8 {
        self as u8
    }
}
