//! What each packet of a logged-in client does.
//!
//! What does not live here: subscriptions (`subscribe.rs`), delivery (`publish.rs`), the end (`end.rs`).

use codec::{Ack, AckKind, Packet, Publish, ReasonCode, Version};

use super::Shard;
use super::end::Cause;
use crate::router::trie::SessionRef;
use crate::session::message::{NEVER, Publication};
use crate::session::publish_in::Incoming;

impl Shard {
    /// Handles one packet; an error ends the connection.
    pub(super) fn handle(&mut self, who: SessionRef, packet: &Packet<'_>) -> Result<(), Cause> {
        let done = self.handle_one(who, packet);
        self.settle_unanswered();
        done
    }

    fn handle_one(&mut self, who: SessionRef, packet: &Packet<'_>) -> Result<(), Cause> {
        match packet {
            Packet::Publish(publish) => self.on_publish(who, publish),
            Packet::PubAck(ack) => {
                if let Some(client) = self.client(who)
                    && let Some(item) = client.session.acknowledged(ack.packet_id)
                {
                    let sid = client.session.sid;
                    self.forget(sid, &item);
                }
                self.pump(who.slot);
                Ok(())
            }
            Packet::PubRec(ack) => {
                self.on_pubrec(who, ack.packet_id, ack.reason.is_error());
                Ok(())
            }
            Packet::PubRel(ack) => {
                self.on_pubrel(who, ack.packet_id);
                Ok(())
            }
            Packet::PubComp(ack) => {
                if let Some(client) = self.client(who) {
                    let (sid, stored) = (client.session.sid, client.session.stored(ack.packet_id));
                    if client.session.completed(ack.packet_id) {
                        self.forget_message(sid, stored);
                    }
                }
                self.pump(who.slot);
                Ok(())
            }
            Packet::Subscribe(subscribe) => self.on_subscribe(who, subscribe),
            Packet::Unsubscribe(unsubscribe) => self.on_unsubscribe(who, unsubscribe),
            Packet::PingReq => {
                if let Some(out) = self.out(who.slot) {
                    codec::encode_pingresp(out.buffer_mut());
                    self.count_sent(who, 0xD0);
                }
                Ok(())
            }
            Packet::Disconnect(disconnect) => self.on_disconnect(who, disconnect),
            Packet::Auth(auth) => self.on_auth(who, auth),
            // A second CONNECT is a protocol error ([MQTT-3.1.0-2]); the rest only a server sends.
            _ => Err(Cause::Protocol(
                ReasonCode::ProtocolError,
                "unexpected packet type",
            )),
        }
    }

    fn on_publish(&mut self, who: SessionRef, packet: &Publish<'_>) -> Result<(), Cause> {
        let now = self.now;
        let Some(client) = self.client(who) else {
            return Ok(());
        };
        let Some(conn) = client.conn.as_ref() else {
            return Ok(());
        };
        let offer = conn.listener.mqtt.offer;
        conn.counters.messages_received[usize::from(packet.qos.level())].inc();
        let incoming = client
            .session
            .publish_in(packet, &offer)
            .map_err(|reason| Cause::Protocol(reason, "PUBLISH refused"))?;
        let qos = packet.qos.level();
        let by_alias = match incoming {
            Incoming::Duplicate => {
                self.acknowledge(who, packet, ReasonCode::Success);
                return Ok(());
            }
            Incoming::Route(topic) => topic,
        };
        let topic = by_alias.as_deref().unwrap_or(packet.topic);
        if !packet.payload_as_declared() {
            self.refuse_publish(who, packet, ReasonCode::PayloadFormatInvalid); // 3.3.2.3.2
            return Ok(());
        }
        if let Err(reason) = self.may_publish(who, topic, qos, packet.retain) {
            return self.deny_publish(who, packet, reason);
        }
        if let Err(reason) = self.pace(who, topic, packet.payload.len()) {
            self.refuse_publish(who, packet, reason);
            return Ok(());
        }
        let properties = packet.properties.forwardable();
        let mut publication = Publication::new(topic, &properties, packet.payload);
        publication.qos = qos;
        publication.retain = packet.retain;
        publication.publisher = Some(who);
        publication.expires_at = packet
            .properties
            .message_expiry
            .map_or(NEVER, |seconds| now + u64::from(seconds) * 1000);
        publication.answered = qos > 0;
        if (qos > 0 || packet.retain) && self.keeps() && !self.room_to_keep(who, &publication) {
            return self.refuse_to_keep(who, packet);
        }
        if packet.retain && !self.retain(&mut publication) {
            self.refuse_publish(who, packet, ReasonCode::QuotaExceeded);
            return Ok(());
        }
        if qos == 2 {
            self.will_receive(who, packet.packet_id);
        }
        let routed = self.publish(&mut publication);
        let reason = if routed {
            ReasonCode::Success
        } else {
            ReasonCode::NoMatchingSubscribers
        };
        self.acknowledge_written(who, packet, reason);
        Ok(())
    }

    /// There is no room on disk. MQTT 3 has no word for that, and an acknowledgement would be a lie: the connection ends.
    fn refuse_to_keep(&mut self, who: SessionRef, packet: &Publish<'_>) -> Result<(), Cause> {
        let version = self.client(who).map(|c| c.session.link.version);
        let reason = ReasonCode::QuotaExceeded;
        if version != Some(Version::V5) && packet.qos.level() > 0 {
            return Err(Cause::Protocol(reason, "the store is full"));
        }
        self.refuse_publish(who, packet, reason);
        Ok(())
    }

    /// Answers QoS 1 and 2; QoS 0 has no answer.
    pub(super) fn acknowledge(&mut self, who: SessionRef, packet: &Publish<'_>, reason: ReasonCode) {
        if packet.qos.level() == 2 && !reason.is_error() {
            self.note_received(who, packet.packet_id);
        }
        self.acknowledge_written(who, packet, reason);
    }

    /// The same, when what is to be written about it is written already.
    fn acknowledge_written(&mut self, who: SessionRef, packet: &Publish<'_>, reason: ReasonCode) {
        let qos = packet.qos.level();
        if qos == 0 {
            return;
        }
        let Some(client) = self.client(who) else { return };
        if qos == 2 && !reason.is_error() && !client.session.awaiting_rel.contains(&packet.packet_id) {
            client.session.received_qos2(packet.packet_id);
        }
        let kind = if qos == 1 {
            AckKind::PubAck
        } else {
            AckKind::PubRec
        };
        self.send_ack(who, kind, packet.packet_id, reason);
    }

    /// Answers an error where the protocol has room for one; a 3.x client is answered as if all were well.
    fn refuse_publish(&mut self, who: SessionRef, packet: &Publish<'_>, reason: ReasonCode) {
        let version = self.client(who).map(|c| c.session.link.version);
        if version == Some(Version::V5) {
            self.acknowledge(who, packet, reason);
        } else {
            self.acknowledge(who, packet, ReasonCode::Success);
        }
    }

    fn deny_publish(
        &mut self,
        who: SessionRef,
        packet: &Publish<'_>,
        reason: ReasonCode,
    ) -> Result<(), Cause> {
        if self.snapshot.disconnect_denied {
            return Err(Cause::Denied(reason));
        }
        self.refuse_publish(who, packet, reason);
        Ok(())
    }

    fn on_pubrec(&mut self, who: SessionRef, packet_id: u16, refused: bool) {
        let Some(client) = self.client(who) else { return };
        let version = client.session.link.version;
        let (sid, stored) = (client.session.sid, client.session.stored(packet_id));
        let (known, _) = client.session.received(packet_id, refused);
        if refused {
            self.forget_message(sid, stored);
            self.pump(who.slot);
            return;
        }
        if known {
            self.note_released(sid, stored, packet_id);
        }
        // Before MQTT 5 the encoder leaves the reason out.
        let reason = if known {
            ReasonCode::Success
        } else {
            ReasonCode::PacketIdentifierNotFound
        };
        self.answer(who, |out| {
            Ack::new(packet_id, reason).encode(AckKind::PubRel, version, out);
        });
    }

    fn on_pubrel(&mut self, who: SessionRef, packet_id: u16) {
        let Some(client) = self.client(who) else { return };
        let version = client.session.link.version;
        let known = client.session.released(packet_id);
        if known {
            self.forget_received(who, packet_id);
        }
        let reason = if known {
            ReasonCode::Success
        } else {
            ReasonCode::PacketIdentifierNotFound
        };
        self.answer(who, |out| {
            Ack::new(packet_id, reason).encode(AckKind::PubComp, version, out);
        });
    }

    fn on_disconnect(&mut self, who: SessionRef, packet: &codec::Disconnect<'_>) -> Result<(), Cause> {
        let max = self.snapshot.session_expiry_max;
        let Some(client) = self.client(who) else {
            return Ok(());
        };
        if let Some(expiry) = packet.session_expiry {
            if client.session.expiry == 0 && expiry > 0 {
                // [MQTT-3.14.2-2]
                return Err(Cause::Protocol(
                    ReasonCode::ProtocolError,
                    "session expiry set in DISCONNECT",
                ));
            }
            client.session.expiry = expiry.min(max);
        }
        if packet.reason == ReasonCode::DisconnectWithWill {
            return Err(Cause::Left { with_will: true });
        }
        // [MQTT-3.14.4-3]: a normal goodbye discards the Will; an error reason does not.
        Err(Cause::Left {
            with_will: packet.reason.is_error(),
        })
    }

    /// Sends what waits for the client in `slot`.
    pub(super) fn pump(&mut self, slot: u32) {
        let now = self.now;
        let Some(client) = self.at(slot) else { return };
        if !client.session.has_waiting() {
            return;
        }
        let Some(conn) = client.conn.as_mut() else { return };
        let before = conn.out.len();
        let (mut gone, mut held) = (Vec::new(), listeners::OutBuf::new());
        let max = super::pressure::HIGH;
        let went = client.session.pump(now, &mut conn.out, &mut held, max, &mut gone);
        for (sent, went) in conn.counters.messages_sent.iter().zip(went) {
            sent.add(went);
        }
        conn.counters.packets_sent[3].add(went.iter().sum());
        let who = client.session.me;
        let grown = conn.out.len() - before;
        let (sid, sent) = (client.session.sid, client.session.take_sent());
        if grown > 0 {
            self.unflushed += grown;
            self.touch(slot);
        }
        self.note_sent(sid, &sent);
        self.hold_until_written(who, held);
        for (item, reason) in gone {
            self.count_drop(reason);
            self.forget(sid, &item);
        }
    }
}
