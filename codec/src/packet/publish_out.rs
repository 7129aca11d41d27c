//! PUBLISH as it is written (MQTT 5 section 3.3): from parts, or a ready frame copied and patched per receiver.
//!
//! A message is written once per shape (version, `QoS` 0 or above) and copied for each subscriber: only the first byte
//! and the packet identifier differ. Subscription identifiers, a topic alias or a running message expiry change the
//! property length; then the head is written anew and the payload shared.

use crate::error::EncodeError;
use crate::frame::{MAX_REMAINING_LENGTH, variable_width};
use crate::primitive::{check_field, field_len, packet_len, put_field, put_fixed_header, put_variable};
use crate::properties::id;
use crate::{QoS, Version};

/// The parts of a PUBLISH to be sent. For a topic alias alone, `topic` is empty.
#[derive(Debug, Clone, Copy)]
pub struct PublishOut<'a> {
    /// The receiver's version; before MQTT 5 no property is written.
    pub version: Version,
    /// Sent before, perhaps.
    pub dup: bool,
    /// Quality of service.
    pub qos: QoS,
    /// The RETAIN flag.
    pub retain: bool,
    /// A valid topic name.
    pub topic: &'a str,
    /// Packet identifier; not written at `QoS` 0, and not 0 above.
    pub packet_id: u16,
    /// Topic alias.
    pub topic_alias: Option<u16>,
    /// Message expiry interval in seconds: what is left of it.
    pub message_expiry: Option<u32>,
    /// Identifiers of all subscriptions that match, each 1 to 268,435,455.
    pub subscription_ids: &'a [u32],
    /// Raw forwardable properties, as [`PublishProperties::forwardable`](crate::PublishProperties::forwardable) gives
    /// them.
    pub properties: &'a [u8],
    /// The application message.
    pub payload: &'a [u8],
}

impl PublishOut<'_> {
    /// Size of the whole packet in bytes, to be held against the receiver's Maximum Packet Size [MQTT-3.1.2-24] before
    /// anything is written. Exact whenever [`encode`](Self::encode) does not fail.
    #[inline]
    pub fn encoded_len(&self) -> usize {
        packet_len(self.remaining_len())
    }

    /// Appends the packet.
    ///
    /// Errors, with nothing appended: a topic over 65,535 bytes, a packet over 268,435,455, packet identifier 0 above
    /// `QoS` 0.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.reserve(self.encoded_len());
        self.encode_head(out)?;
        out.extend_from_slice(self.payload);
        Ok(())
    }

    /// Appends all but the payload, which the caller writes behind it (vectored, or shared among receivers). The
    /// length counts the payload. Errors as [`encode`](Self::encode).
    #[inline]
    pub fn encode_head(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        check_field(self.topic.as_bytes())?;
        let remaining = self.remaining_len();
        if remaining > MAX_REMAINING_LENGTH {
            return Err(EncodeError::PacketTooLong);
        }
        if self.qos != QoS::AtMostOnce && self.packet_id == 0 {
            return Err(EncodeError::PacketIdZero);
        }
        put_fixed_header(
            out,
            publish_first_byte(self.dup, self.qos, self.retain),
            remaining,
        );
        put_field(out, self.topic.as_bytes());
        if self.qos != QoS::AtMostOnce {
            out.extend_from_slice(&self.packet_id.to_be_bytes());
        }
        if self.version == Version::V5 {
            put_variable(out, self.properties_len());
            self.put_properties(out);
        }
        Ok(())
    }

    /// Where the packet identifier stands, counted from the packet's first byte; `None` at `QoS` 0. For
    /// [`copy_patched`].
    #[inline]
    pub fn packet_id_offset(&self) -> Option<usize> {
        (self.qos != QoS::AtMostOnce).then(|| {
            let header = variable_width(self.remaining_len()).saturating_add(1);
            header.saturating_add(field_len(self.topic.as_bytes()))
        })
    }

    fn remaining_len(&self) -> usize {
        let id = if self.qos == QoS::AtMostOnce { 0 } else { 2 };
        let head = field_len(self.topic.as_bytes()).saturating_add(id);
        let properties = if self.version == Version::V5 {
            let len = self.properties_len();
            len.saturating_add(variable_width(len))
        } else {
            0
        };
        head.saturating_add(properties).saturating_add(self.payload.len())
    }

    fn properties_len(&self) -> usize {
        let own = usize::from(self.topic_alias.is_some())
            .saturating_mul(3)
            .saturating_add(usize::from(self.message_expiry.is_some()).saturating_mul(5));
        self.subscription_ids
            .iter()
            .fold(own, |len, &id| {
                len.saturating_add(variable_width(id as usize)).saturating_add(1)
            })
            .saturating_add(self.properties.len())
    }

    fn put_properties(&self, out: &mut Vec<u8>) {
        if let Some(alias) = self.topic_alias {
            out.push(id::TOPIC_ALIAS);
            out.extend_from_slice(&alias.to_be_bytes());
        }
        if let Some(seconds) = self.message_expiry {
            out.push(id::MESSAGE_EXPIRY);
            out.extend_from_slice(&seconds.to_be_bytes());
        }
        for &subscription in self.subscription_ids {
            out.push(id::SUBSCRIPTION_ID);
            put_variable(out, subscription as usize);
        }
        out.extend_from_slice(self.properties);
    }
}

/// The first byte of a PUBLISH.
#[inline]
pub const fn publish_first_byte(dup: bool, qos: QoS, retain: bool) -> u8 {
    0x30 | ((dup as u8) << 3) | (qos.level() << 1) | retain as u8
}

/// Appends a copy of a ready PUBLISH (or of its head) with another first byte and, where `packet_id` says so, another
/// packet identifier: `(offset, identifier)`, the offset from [`PublishOut::packet_id_offset`].
///
/// The new first byte must be of the same shape: `QoS` above 0 exactly if the frame has an identifier.
#[inline]
pub fn copy_patched(frame: &[u8], first: u8, packet_id: Option<(usize, u16)>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(frame);
    let Some(copy) = out.get_mut(start..) else { return };
    if let Some(byte) = copy.first_mut() {
        *byte = first;
    }
    if let Some((offset, packet_id)) = packet_id
        && let Some(bytes) = copy.get_mut(offset..).and_then(<[u8]>::first_chunk_mut::<2>)
    {
        *bytes = packet_id.to_be_bytes();
    }
}
