//! PUBLISH from the client: aliases, limits, QoS 2's first half. What is right is routed by the caller.

use codec::{Publish, ReasonCode, Version};

use super::Session;
use super::alias::AliasesIn;

/// What the broker offers to a client, as told in CONNACK and enforced here.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    /// Highest QoS.
    pub max_qos: u8,
    /// Whether messages may be retained.
    pub retain: bool,
    /// Levels a topic may have.
    pub max_topic_levels: usize,
}

/// What to do with a PUBLISH.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming {
    /// Route it; the topic is the packet's, or this one if it was sent by alias.
    Route(Option<Box<str>>),
    /// A QoS 2 message that was routed before: only acknowledge it ([MQTT-4.3.3-10]).
    Duplicate,
}

impl Session {
    /// Checks a PUBLISH and takes notes of it. An error ends the connection with that reason.
    pub fn publish_in(&mut self, packet: &Publish<'_>, offer: &Offer) -> Result<Incoming, ReasonCode> {
        let qos = packet.qos as u8;
        if qos > offer.max_qos {
            return Err(ReasonCode::QosNotSupported); // [MQTT-3.2.2-11]
        }
        if packet.retain && !offer.retain {
            return Err(ReasonCode::RetainNotSupported); // [MQTT-3.2.2-14]
        }
        let by_alias = self.resolve_alias(packet)?;
        let topic = by_alias.as_deref().unwrap_or(packet.topic);
        if topic.len() >= offer.max_topic_levels
            && topic.bytes().filter(|&b| b == b'/').count() >= offer.max_topic_levels
        {
            return Err(ReasonCode::TopicNameInvalid);
        }
        if qos == 2 && self.awaiting_rel.contains(&packet.packet_id) {
            return Ok(Incoming::Duplicate);
        }
        let unfinished =
            self.awaiting_rel.len() - usize::from(self.link.inherited_rel) + usize::from(self.unacknowledged);
        if qos > 0 && self.link.version == Version::V5 && unfinished >= usize::from(self.link.receive_maximum)
        {
            return Err(ReasonCode::ReceiveMaximumExceeded); // [MQTT-3.3.4-9]
        }
        Ok(Incoming::Route(by_alias))
    }

    /// Notes that a QoS 2 message was taken over, until its PUBREL. Called with the PUBREC's success only.
    pub fn received_qos2(&mut self, packet_id: u16) {
        self.awaiting_rel.push_back(packet_id);
    }

    /// PUBREL: false if nothing waits for it.
    pub fn released(&mut self, packet_id: u16) -> bool {
        let Some(at) = self.awaiting_rel.iter().position(|&id| id == packet_id) else {
            return false;
        };
        self.awaiting_rel.remove(at);
        if at < usize::from(self.link.inherited_rel) {
            self.link.inherited_rel -= 1;
        }
        if self.awaiting_rel.is_empty() {
            self.awaiting_rel = std::collections::VecDeque::new();
        }
        true
    }

    fn resolve_alias(&mut self, packet: &Publish<'_>) -> Result<Option<Box<str>>, ReasonCode> {
        let Some(alias) = packet.properties.topic_alias else {
            return Ok(None);
        };
        let max = self.link.alias_max_in;
        if alias == 0 || alias > max {
            return Err(ReasonCode::TopicAliasInvalid); // [MQTT-3.3.2-8], [MQTT-3.3.2-9]
        }
        if packet.topic.is_empty() {
            let known = self
                .link
                .aliases_in
                .as_ref()
                .and_then(|aliases| aliases.get(alias));
            return known
                .map(|topic| Some(topic.into()))
                .ok_or(ReasonCode::ProtocolError);
        }
        let aliases = self
            .link
            .aliases_in
            .get_or_insert_with(|| Box::new(AliasesIn::default()));
        aliases.set(alias, packet.topic, max);
        Ok(None)
    }
}
