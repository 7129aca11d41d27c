//! The Will: what is published when a client goes without saying goodbye (MQTT 5, 3.1.2.5).

use super::message::{NEVER, Publication};

/// A client's Will.
#[derive(Clone, Debug)]
pub struct Will {
    /// Its topic.
    pub topic: Box<str>,
    /// Its payload.
    pub payload: Box<[u8]>,
    /// Forwardable MQTT 5 properties, encoded, without their length.
    pub properties: Box<[u8]>,
    /// Its QoS.
    pub qos: u8,
    /// Its retain flag.
    pub retain: bool,
    /// Will Delay Interval in seconds.
    pub delay: u32,
    /// Message Expiry Interval in seconds, counted from its publication.
    pub expiry: Option<u32>,
}

impl Will {
    /// From a CONNECT.
    pub fn of(will: &codec::Will<'_>) -> Self {
        Self {
            topic: will.topic.into(),
            payload: will.payload.into(),
            properties: will.properties.forwardable().into(),
            qos: will.qos.level(),
            retain: will.retain,
            delay: will.properties.delay,
            expiry: will.properties.message_expiry,
        }
    }

    /// As a publication at `now` (ms since 1970).
    pub fn publication(&self, now: u64) -> Publication<'_> {
        let mut publication = Publication::new(&self.topic, &self.properties, &self.payload);
        publication.qos = self.qos;
        publication.retain = self.retain;
        publication.expires_at = self.expiry.map_or(NEVER, |s| now + u64::from(s) * 1000);
        publication
    }
}
