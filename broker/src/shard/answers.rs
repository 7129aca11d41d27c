//! SUBACK, UNSUBACK, DISCONNECT with what a client may be told: reason strings only to those who want them, and no
//! packet that is larger than the client takes.
//!
//! What does not live here: what is answered (`packets.rs`, `subscribe.rs`, `end.rs`), CONNACK (`connack.rs`).

use codec::{
    Ack, AckKind, Disconnect, Properties, PropertiesBuf, Property, ReasonCode, SubAck, UnsubAck, Version,
};

use super::Shard;
use super::end::Cause;
use crate::router::trie::SessionRef;
use crate::session::Link;

/// The Reason String of a refusal; `None` where the code says it all, or the reason is not to be told.
fn text(reason: ReasonCode) -> Option<&'static str> {
    Some(match reason {
        ReasonCode::NotAuthorized => "a rule denies it",
        ReasonCode::QuotaExceeded => "a limit is reached",
        ReasonCode::TopicFilterInvalid | ReasonCode::TopicNameInvalid => "too many levels",
        ReasonCode::PayloadFormatInvalid => "the payload is not UTF-8",
        _ => return None,
    })
}

/// A property area with this Reason String alone; empty if the client does not want it ([MQTT-3.1.2-29]).
fn reason_string(link: &Link, text: Option<&str>) -> PropertiesBuf {
    let mut properties = PropertiesBuf::new();
    if link.version == Version::V5
        && link.problem_information
        && let Some(text) = text
    {
        // A short string once: it fits.
        let _ = properties.push(Property::ReasonString(text));
    }
    properties
}

/// What a client of MQTT 5 is told when we close; nothing before MQTT 5, or if it has left.
pub(super) fn goodbye(link: &Link, cause: &Cause) -> Option<Vec<u8>> {
    let code = cause.code().filter(|_| link.version == Version::V5)?;
    let detail = match cause {
        Cause::Malformed(error) => Some(error.to_string()),
        Cause::Protocol(_, text) => Some((*text).to_owned()),
        _ => None,
    };
    let properties = reason_string(link, detail.as_deref());
    let fits = |packet: &Disconnect<'_>| packet.encoded_len(link.version) <= link.max_packet_size as usize;
    let packet = Some(Disconnect::with_properties(code, properties.as_properties()))
        .filter(fits) // [MQTT-3.14.2-3]
        .or_else(|| Some(Disconnect::new(code)).filter(fits))?;
    let mut bytes = Vec::new();
    packet.encode(link.version, &mut bytes);
    Some(bytes)
}

const TOO_LARGE: Cause = Cause::Protocol(
    ReasonCode::PacketTooLarge,
    "the answer is larger than your Maximum Packet Size",
);

impl Shard {
    /// Sends PUBACK or PUBREC.
    pub(super) fn send_ack(&mut self, who: SessionRef, kind: AckKind, packet_id: u16, reason: ReasonCode) {
        let Some(client) = self.client(who) else { return };
        let link = &client.session.link;
        let version = link.version;
        let properties = reason_string(link, text(reason));
        let mut ack = Ack::new(packet_id, reason);
        ack.properties = properties.as_properties();
        if ack.encoded_len(version) > link.max_packet_size as usize {
            ack.properties = Properties::EMPTY; // [MQTT-3.4.2-2], [MQTT-3.5.2-2]
        }
        // A QoS 2 publication that was taken over counts until its PUBREL.
        let publication = kind == AckKind::PubAck || reason.is_error();
        self.answer_as(who, publication, |out| ack.encode(kind, version, out));
    }

    /// Sends SUBACK; an error if the client takes no packet of its size.
    pub(super) fn send_suback(
        &mut self,
        who: SessionRef,
        packet_id: u16,
        codes: &[u8],
        refused: Option<ReasonCode>,
    ) -> Result<(), Cause> {
        let Some(client) = self.client(who) else {
            return Ok(());
        };
        let link = &client.session.link;
        let (version, max) = (link.version, link.max_packet_size as usize);
        let properties = reason_string(link, refused.and_then(text));
        let mut answer = SubAck {
            packet_id,
            properties: properties.as_properties(),
            codes,
        };
        if answer.encoded_len(version) > max {
            answer.properties = Properties::EMPTY; // [MQTT-3.9.2-1]
        }
        if answer.encoded_len(version) > max {
            return Err(TOO_LARGE); // [MQTT-3.1.2-24]
        }
        self.answer(who, |out| answer.encode(version, out));
        Ok(())
    }

    /// Sends UNSUBACK; an error if the client takes no packet of its size.
    pub(super) fn send_unsuback(
        &mut self,
        who: SessionRef,
        packet_id: u16,
        codes: &[u8],
    ) -> Result<(), Cause> {
        let Some(client) = self.client(who) else {
            return Ok(());
        };
        let link = &client.session.link;
        let (version, max) = (link.version, link.max_packet_size as usize);
        let answer = UnsubAck {
            packet_id,
            properties: Properties::EMPTY,
            codes,
        };
        if answer.encoded_len(version) > max {
            return Err(TOO_LARGE); // [MQTT-3.1.2-24]
        }
        self.answer(who, |out| answer.encode(version, out));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use codec::Packet;

    use super::*;

    fn link(max_packet_size: u32, problem_information: bool) -> Link {
        Link {
            version: Version::V5,
            max_packet_size,
            problem_information,
            ..Link::default()
        }
    }

    #[track_caller]
    fn told(link: &Link, cause: &Cause) -> Option<(ReasonCode, Option<String>)> {
        let bytes = goodbye(link, cause)?;
        assert!(bytes.len() <= link.max_packet_size as usize);
        let Ok(Packet::Disconnect(packet)) = codec::decode_from_server(&bytes, Version::V5) else {
            panic!("no DISCONNECT: {bytes:?}");
        };
        Some((
            packet.reason,
            packet.properties.reason_string().map(str::to_owned),
        ))
    }

    #[test]
    fn a_goodbye_fits_and_tells_only_whom_it_may() {
        let cause = Cause::Protocol(ReasonCode::ProtocolError, "why");
        let code = ReasonCode::ProtocolError;
        assert_eq!(
            told(&link(100, true), &cause),
            Some((code, Some("why".to_owned())))
        );
        assert_eq!(told(&link(100, false), &cause), Some((code, None)));
        assert_eq!(told(&link(8, true), &cause), Some((code, None)));
        assert_eq!(told(&link(2, true), &cause), None);
        assert_eq!(told(&Link::default(), &cause), None, "MQTT 3.1.1");
        assert_eq!(told(&link(100, true), &Cause::Gone), None);
    }

    #[test]
    fn every_cause_has_a_code_that_disconnect_may_carry() {
        let causes = [
            Cause::KeepAlive,
            Cause::Lifetime,
            Cause::Malformed(codec::DecodeError::Truncated),
            Cause::Denied(ReasonCode::NotAuthorized),
            Cause::Kicked,
            Cause::Banned,
            Cause::TakenOver,
            Cause::Shutdown,
        ];
        for cause in causes {
            // The decoder refuses codes of other packets ([MQTT-3.14.2-1]).
            assert!(told(&link(100, true), &cause).is_some(), "{cause:?}");
        }
    }
}
