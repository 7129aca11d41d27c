//! The least MQTT a load generator needs: encoders that append to a buffer, and a reader that walks packets
//! in place. It trusts the broker's bytes (they are checked for length only); the strict codec is `codec`.

/// Protocol level of the CONNECT packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1
    V311,
    /// MQTT 5.0
    V5,
}

/// One packet from the broker, borrowed from the read buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// CONNACK with its return or reason code.
    Connack(u8),
    /// A PUBLISH: QoS, packet identifier (0 at QoS 0) and payload.
    Publish {
        /// 0, 1 or 2
        qos: u8,
        /// packet identifier, 0 at QoS 0
        id: u16,
        /// the application message
        payload: &'a [u8],
    },
    /// PUBACK: packet identifier and reason (0 where absent).
    Puback(u16, u8),
    /// PUBREC: packet identifier and reason.
    Pubrec(u16, u8),
    /// PUBREL of a message sent to us.
    Pubrel(u16),
    /// PUBCOMP: packet identifier.
    Pubcomp(u16),
    /// SUBACK: packet identifier, and whether every filter was granted.
    Suback(u16, bool),
    /// Anything else (PINGRESP, DISCONNECT, …) by its first byte.
    Other(u8),
    /// The connection is gone; not a packet, told in the same stream of events.
    Closed,
}

/// Length of the packet that starts `buf` (fixed header included), or `None` while the length itself is cut.
pub fn frame_len(buf: &[u8]) -> Option<usize> {
    let mut value = 0usize;
    for at in 0..4 {
        let byte = *buf.get(at + 1)?;
        value |= ((byte & 0x7f) as usize) << (7 * at);
        if byte & 0x80 == 0 {
            return Some(at + 2 + value);
        }
    }
    Some(usize::MAX) // five length bytes: never whole, so the connection stalls and the run shows it
}

/// The packet at the start of `buf` and its length; `None` if it is not whole yet.
pub fn next(buf: &[u8], version: Version) -> Option<(Packet<'_>, usize)> {
    let len = frame_len(buf)?;
    let packet = buf.get(..len)?;
    Some((read(packet, version).unwrap_or(Packet::Other(packet[0])), len))
}

fn read(packet: &[u8], version: Version) -> Option<Packet<'_>> {
    let head = packet[0];
    let mut at = 2;
    while packet.get(at - 1)? & 0x80 != 0 {
        at += 1;
    }
    let body = packet.get(at..)?;
    Some(match head >> 4 {
        3 => return publish(head, body, version),
        2 => Packet::Connack(*body.get(1)?),
        4 => Packet::Puback(u16_at(body, 0)?, reason(body)),
        5 => Packet::Pubrec(u16_at(body, 0)?, reason(body)),
        6 => Packet::Pubrel(u16_at(body, 0)?),
        7 => Packet::Pubcomp(u16_at(body, 0)?),
        9 => {
            let skip = if version == Version::V5 {
                properties(body.get(2..)?)?
            } else {
                0
            };
            Packet::Suback(
                u16_at(body, 0)?,
                body.get(2 + skip..)?.iter().all(|code| *code < 0x80),
            )
        }
        _ => Packet::Other(head),
    })
}

fn publish(head: u8, body: &[u8], version: Version) -> Option<Packet<'_>> {
    let qos = head >> 1 & 3;
    let mut at = 2 + u16_at(body, 0)? as usize;
    let id = if qos > 0 {
        at += 2;
        u16_at(body, at - 2)?
    } else {
        0
    };
    if version == Version::V5 {
        at += properties(body.get(at..)?)?;
    }
    Some(Packet::Publish {
        qos,
        id,
        payload: body.get(at..)?,
    })
}

/// Length of a property block with its own length field.
fn properties(body: &[u8]) -> Option<usize> {
    let (mut value, mut at) = (0usize, 0);
    loop {
        let byte = *body.get(at)?;
        value |= ((byte & 0x7f) as usize) << (7 * at);
        at += 1;
        if byte & 0x80 == 0 || at == 4 {
            return Some(at + value);
        }
    }
}

fn reason(body: &[u8]) -> u8 {
    body.get(2).copied().unwrap_or(0)
}

fn u16_at(body: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?]))
}

/// Appends a CONNECT with clean session (clean start) and the keep-alive in seconds (0: none).
pub fn connect(out: &mut Vec<u8>, version: Version, client_id: &str, keep_alive: u16) {
    let properties = usize::from(version == Version::V5);
    head(out, 0x10, 10 + properties + 2 + client_id.len());
    out.extend_from_slice(b"\x00\x04MQTT");
    out.push(if version == Version::V5 { 5 } else { 4 });
    out.push(0x02);
    out.extend_from_slice(&keep_alive.to_be_bytes());
    out.extend(std::iter::repeat_n(0, properties));
    string(out, client_id);
}

/// Appends a SUBSCRIBE of all `filters` at one QoS.
pub fn subscribe(out: &mut Vec<u8>, version: Version, id: u16, filters: &[String], qos: u8) {
    let properties = usize::from(version == Version::V5);
    let body: usize = filters.iter().map(|filter| filter.len() + 3).sum();
    head(out, 0x82, 2 + properties + body);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend(std::iter::repeat_n(0, properties));
    for filter in filters {
        string(out, filter);
        out.push(qos);
    }
}

/// Appends an acknowledgement: `kind` is the first byte (0x40 PUBACK, 0x50 PUBREC, 0x62 PUBREL, 0x70 PUBCOMP).
pub fn ack(out: &mut Vec<u8>, kind: u8, id: u16) {
    let [high, low] = id.to_be_bytes();
    out.extend_from_slice(&[kind, 2, high, low]);
}

/// Appends a DISCONNECT without a reason.
pub fn disconnect(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xe0, 0]);
}

fn head(out: &mut Vec<u8>, first: u8, mut remaining: usize) {
    out.push(first);
    loop {
        let byte = (remaining & 0x7f) as u8;
        remaining >>= 7;
        if remaining == 0 {
            return out.push(byte);
        }
        out.push(byte | 0x80);
    }
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// The smallest payload: publisher number (4 bytes) and time stamp (8 bytes).
pub const STAMP: usize = 12;

/// A PUBLISH encoded once; each copy differs only in packet identifier and stamp.
pub struct Template {
    bytes: Vec<u8>,
    id_at: Option<usize>,
    payload_at: usize,
}

impl Template {
    /// `size` is the payload's length in bytes, at least [`STAMP`].
    pub fn new(version: Version, topic: &str, qos: u8, size: usize) -> Self {
        let size = size.max(STAMP);
        let properties = usize::from(version == Version::V5);
        let id = if qos > 0 { 2 } else { 0 };
        let mut bytes = Vec::new();
        head(
            &mut bytes,
            0x30 | qos << 1,
            2 + topic.len() + id + properties + size,
        );
        string(&mut bytes, topic);
        let id_at = (qos > 0).then_some(bytes.len());
        bytes.extend(std::iter::repeat_n(0, id + properties));
        let payload_at = bytes.len();
        bytes.extend((0..size).map(|n| b'a' + (n % 26) as u8));
        Self {
            bytes,
            id_at,
            payload_at,
        }
    }

    /// Appends one copy, stamped with who sends it and when (or when it was due), in nanoseconds of the run.
    pub fn append(&self, out: &mut Vec<u8>, id: u16, publisher: u32, stamp: u64) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        if let Some(at) = self.id_at {
            out[start + at..start + at + 2].copy_from_slice(&id.to_be_bytes());
        }
        let at = start + self.payload_at;
        out[at..at + 4].copy_from_slice(&publisher.to_le_bytes());
        out[at + 4..at + STAMP].copy_from_slice(&stamp.to_le_bytes());
    }
}

/// Publisher number and stamp of a payload written by [`Template::append`].
pub fn stamp(payload: &[u8]) -> Option<(u32, u64)> {
    let publisher = u32::from_le_bytes(payload.get(..4)?.try_into().ok()?);
    let stamp = u64::from_le_bytes(payload.get(4..STAMP)?.try_into().ok()?);
    Some((publisher, stamp))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_read_back() {
        for version in [Version::V311, Version::V5] {
            for qos in 0..3 {
                let mut out = Vec::new();
                Template::new(version, "a/b", qos, 200).append(&mut out, 7, 3, 99);
                let (packet, len) = next(&out, version).unwrap();
                assert_eq!(len, out.len());
                let Packet::Publish {
                    qos: got,
                    id,
                    payload,
                } = packet
                else {
                    panic!("{packet:?}")
                };
                assert_eq!((got, id, payload.len()), (qos, if qos > 0 { 7 } else { 0 }, 200));
                assert_eq!(stamp(payload), Some((3, 99)));
            }
        }
    }

    #[test]
    fn a_cut_packet_is_not_whole() {
        let mut out = Vec::new();
        Template::new(Version::V311, "a", 0, 300).append(&mut out, 0, 0, 0);
        for cut in 0..out.len() {
            assert_eq!(next(&out[..cut], Version::V311), None, "cut at {cut}");
        }
    }

    #[test]
    fn a_refused_filter_is_seen() {
        assert_eq!(
            next(&[0x90, 4, 0, 1, 0, 0x80], Version::V311),
            Some((Packet::Suback(1, false), 6))
        );
        assert_eq!(
            next(&[0x90, 4, 0, 1, 0, 2], Version::V5),
            Some((Packet::Suback(1, true), 6))
        );
    }
}
