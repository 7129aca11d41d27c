//! A message on its way: borrowed while its publisher's packet is handled, one shared block once it must be kept.
//!
//! What does not live here: bytes on the wire (`codec`), who gets it (`router`).

use std::sync::Arc;

use bytes::Bytes;

use crate::router::trie::SessionRef;

/// Never expires.
pub const NEVER: u64 = u64::MAX;

/// A message that is kept: queued, in flight, retained, or on its way to another shard.
#[derive(Debug)]
pub struct Message {
    /// Topic, then the properties a broker forwards (MQTT 5, encoded), then the payload.
    data: Bytes,
    topic_len: u16,
    head_len: u32,
    /// QoS it was published with.
    pub qos: u8,
    /// Retain flag it was published with.
    pub retain: bool,
    /// When it expires, in ms since 1970; [`NEVER`] if it does not.
    pub expires_at: u64,
    /// Who published it; for No Local.
    pub publisher: Option<SessionRef>,
}

impl Message {
    /// The topic it was published to.
    pub fn topic(&self) -> &str {
        // The bytes were a `&str` when the message was made.
        std::str::from_utf8(&self.data[..usize::from(self.topic_len)]).unwrap_or_default()
    }

    /// The forwardable MQTT 5 properties as they stand in a packet, without their length.
    pub fn properties(&self) -> &[u8] {
        &self.data[usize::from(self.topic_len)..self.head_len as usize]
    }

    /// The payload.
    pub fn payload(&self) -> &[u8] {
        &self.data[self.head_len as usize..]
    }

    /// The payload as a slice that shares this message's memory.
    pub fn shared_payload(&self) -> Bytes {
        self.data.slice(self.head_len as usize..)
    }

    /// Bytes of topic, properties and payload.
    pub fn size(&self) -> u64 {
        self.data.len() as u64
    }

    /// True if its Message Expiry Interval has passed at `now` (ms since 1970) ([MQTT-3.3.2-5]).
    pub fn is_expired(&self, now: u64) -> bool {
        self.expires_at <= now
    }
}

/// What is published, while it is being delivered.
#[derive(Debug)]
pub struct Publication<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The forwardable MQTT 5 properties, encoded, without their length.
    pub properties: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
    /// QoS it was published with.
    pub qos: u8,
    /// Retain flag it was published with.
    pub retain: bool,
    /// When it expires, in ms since 1970; [`NEVER`] if it does not.
    pub expires_at: u64,
    /// Who published it; for No Local.
    pub publisher: Option<SessionRef>,
    /// Whether an answer waits for what becomes of it.
    pub answered: bool,
    shared: Option<Arc<Message>>,
}

impl<'a> Publication<'a> {
    /// From the parts of a packet.
    pub fn new(topic: &'a str, properties: &'a [u8], payload: &'a [u8]) -> Self {
        Self {
            topic,
            properties,
            payload,
            qos: 0,
            retain: false,
            expires_at: NEVER,
            publisher: None,
            answered: false,
            shared: None,
        }
    }

    /// From a message that is kept already.
    pub fn of(message: &'a Arc<Message>) -> Self {
        Self {
            topic: message.topic(),
            properties: message.properties(),
            payload: message.payload(),
            qos: message.qos,
            retain: message.retain,
            expires_at: message.expires_at,
            publisher: message.publisher,
            answered: false,
            shared: Some(Arc::clone(message)),
        }
    }

    /// The message as a block that can be kept; copied at the first call only.
    pub fn share(&mut self) -> Arc<Message> {
        if let Some(shared) = &self.shared {
            return Arc::clone(shared);
        }
        let head_len = self.topic.len() + self.properties.len();
        let mut data = Vec::with_capacity(head_len + self.payload.len());
        data.extend_from_slice(self.topic.as_bytes());
        data.extend_from_slice(self.properties);
        data.extend_from_slice(self.payload);
        let shared = Arc::new(Message {
            data: data.into(),
            // A topic comes from a packet, where its length has two bytes; the packet's own has four.
            topic_len: self.topic.len() as u16,
            head_len: head_len as u32,
            qos: self.qos,
            retain: self.retain,
            expires_at: self.expires_at,
            publisher: self.publisher,
        });
        self.shared = Some(Arc::clone(&shared));
        shared
    }

    /// Seconds left of the Message Expiry Interval at `now`, `None` if it has none ([MQTT-3.3.2-6]).
    pub fn expiry_left(&self, now: u64) -> Option<u32> {
        (self.expires_at != NEVER)
            .then(|| u32::try_from(self.expires_at.saturating_sub(now).div_ceil(1000)).unwrap_or(u32::MAX))
    }
}
