//! The packets: one model for all versions, one file per packet. Here: which packet it is, and the two that have no
//! content.

pub(crate) mod ack;
pub(crate) mod auth;
pub(crate) mod connack;
pub(crate) mod connect;
pub(crate) mod disconnect;
pub(crate) mod publish;
pub(crate) mod publish_out;
pub(crate) mod suback;
pub(crate) mod subscribe;
pub(crate) mod unsubscribe;

use crate::Version;
use crate::error::DecodeError;
use crate::frame;
use crate::reason::ReasonCode;
use ack::{Ack, AckKind};
use auth::Auth;
use connack::ConnAck;
use connect::Connect;
use disconnect::Disconnect;
use publish::Publish;
use suback::{SubAck, UnsubAck};
use subscribe::Subscribe;
use unsubscribe::Unsubscribe;

/// Who sent a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sender {
    Client,
    Server,
}

/// A decoded packet, borrowing from its frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    /// CONNECT, from clients.
    Connect(Connect<'a>),
    /// CONNACK, from servers.
    ConnAck(ConnAck<'a>),
    /// PUBLISH.
    Publish(Publish<'a>),
    /// PUBACK.
    PubAck(Ack<'a>),
    /// PUBREC.
    PubRec(Ack<'a>),
    /// PUBREL.
    PubRel(Ack<'a>),
    /// PUBCOMP.
    PubComp(Ack<'a>),
    /// SUBSCRIBE, from clients.
    Subscribe(Subscribe<'a>),
    /// SUBACK, from servers.
    SubAck(SubAck<'a>),
    /// UNSUBSCRIBE, from clients.
    Unsubscribe(Unsubscribe<'a>),
    /// UNSUBACK, from servers.
    UnsubAck(UnsubAck<'a>),
    /// PINGREQ, from clients.
    PingReq,
    /// PINGRESP, from servers.
    PingResp,
    /// DISCONNECT.
    Disconnect(Disconnect<'a>),
    /// AUTH, MQTT 5.
    Auth(Auth<'a>),
}

impl Packet<'_> {
    /// The packet's name as the standard writes it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Connect(_) => "CONNECT",
            Self::ConnAck(_) => "CONNACK",
            Self::Publish(_) => "PUBLISH",
            Self::PubAck(_) => "PUBACK",
            Self::PubRec(_) => "PUBREC",
            Self::PubRel(_) => "PUBREL",
            Self::PubComp(_) => "PUBCOMP",
            Self::Subscribe(_) => "SUBSCRIBE",
            Self::SubAck(_) => "SUBACK",
            Self::Unsubscribe(_) => "UNSUBSCRIBE",
            Self::UnsubAck(_) => "UNSUBACK",
            Self::PingReq => "PINGREQ",
            Self::PingResp => "PINGRESP",
            Self::Disconnect(_) => "DISCONNECT",
            Self::Auth(_) => "AUTH",
        }
    }
}

/// Decodes a packet that a client of this version sent. `frame` is exactly one whole packet, as [`frame::check`] found
/// it.
///
/// Server packets are refused ([`DecodeError::WrongDirection`]), as is a CONNECT of another version.
#[inline]
pub fn decode(frame: &[u8], version: Version) -> Result<Packet<'_>, DecodeError> {
    decode_as(frame, version, Sender::Client)
}

/// Decodes a packet that a server sent to a client of this version; for test clients and benches.
#[inline]
pub fn decode_from_server(frame: &[u8], version: Version) -> Result<Packet<'_>, DecodeError> {
    decode_as(frame, version, Sender::Server)
}

#[inline]
fn decode_as(frame: &[u8], version: Version, sender: Sender) -> Result<Packet<'_>, DecodeError> {
    let (first, body) = frame::split(frame)?;
    // The hot one first.
    if first >> 4 == 3 {
        return publish::decode(first, body, version, sender).map(Packet::Publish);
    }
    decode_cold(first, body, version, sender)
}

fn decode_cold(first: u8, body: &[u8], version: Version, sender: Sender) -> Result<Packet<'_>, DecodeError> {
    check_direction(first >> 4, version, sender)?;
    check_flags(first, version)?;
    match first >> 4 {
        1 => connect::decode_body(body, Some(version)).map(Packet::Connect),
        2 => connack::decode(body, version).map(Packet::ConnAck),
        4 => ack::decode(AckKind::PubAck, body, version).map(Packet::PubAck),
        5 => ack::decode(AckKind::PubRec, body, version).map(Packet::PubRec),
        6 => ack::decode(AckKind::PubRel, body, version).map(Packet::PubRel),
        7 => ack::decode(AckKind::PubComp, body, version).map(Packet::PubComp),
        8 => subscribe::decode(body, version).map(Packet::Subscribe),
        9 => suback::decode_suback(body, version).map(Packet::SubAck),
        10 => unsubscribe::decode(body, version).map(Packet::Unsubscribe),
        11 => suback::decode_unsuback(body, version).map(Packet::UnsubAck),
        12 => empty(body).map(|()| Packet::PingReq),
        13 => empty(body).map(|()| Packet::PingResp),
        14 => disconnect::decode(body, version, sender).map(Packet::Disconnect),
        15 => auth::decode(body, sender).map(Packet::Auth),
        _ => Err(DecodeError::ReservedType),
    }
}

/// MQTT 5 table 2-1: who sends what.
fn check_direction(kind: u8, version: Version, sender: Sender) -> Result<(), DecodeError> {
    let allowed = match kind {
        0 => return Err(DecodeError::ReservedType),
        15 if version != Version::V5 => return Err(DecodeError::ReservedType),
        1 | 8 | 10 | 12 => sender == Sender::Client,
        2 | 9 | 11 | 13 => sender == Sender::Server,
        14 => sender == Sender::Client || version == Version::V5,
        _ => true,
    };
    if allowed {
        Ok(())
    } else {
        Err(DecodeError::WrongDirection)
    }
}

/// [MQTT-2.1.3-1]: PUBREL, SUBSCRIBE and UNSUBSCRIBE carry 0b0010, all others but PUBLISH 0. MQTT 3.1 still had the
/// DUP flag on those three (its section 2.1).
fn check_flags(first: u8, version: Version) -> Result<(), DecodeError> {
    let flags = first & 0x0f;
    let right = match first >> 4 {
        6 | 8 | 10 => flags == 0b0010 || (version == Version::V31 && flags == 0b1010),
        _ => flags == 0,
    };
    if right {
        Ok(())
    } else {
        Err(DecodeError::FixedHeaderFlags)
    }
}

fn empty(body: &[u8]) -> Result<(), DecodeError> {
    if body.is_empty() {
        Ok(())
    } else {
        Err(DecodeError::TrailingBytes)
    }
}

/// Reads a reason code that must be one of `allowed`.
pub(crate) fn reason_of(code: u8, allowed: &[ReasonCode]) -> Result<ReasonCode, DecodeError> {
    ReasonCode::from_u8(code)
        .filter(|reason| allowed.contains(reason))
        .ok_or(DecodeError::ReasonCode(code))
}

/// Appends a PINGREQ.
pub fn encode_pingreq(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xc0, 0]);
}

/// Appends a PINGRESP.
pub fn encode_pingresp(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xd0, 0]);
}
