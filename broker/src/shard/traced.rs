//! Shows packets to the traces that run (`ctl trace`). All of it is off the path while none does.

use codec::Packet;
use codec::frame::{self, Frame};

use super::Shard;
use crate::router::trie::SessionRef;
use crate::trace::Direction;

impl Shard {
    /// A packet came from a client.
    #[cold]
    pub(super) fn trace_in(&mut self, who: SessionRef, packet: &Packet<'_>, bytes: usize) {
        let node = std::sync::Arc::clone(&self.node);
        let Some(client) = self.client(who) else { return };
        let Some(conn) = client.conn.as_ref() else { return };
        node.tracer.packet(
            Direction::In,
            &client.session.client_id,
            &conn.peer,
            packet,
            bytes,
        );
    }

    /// A connection's buffer is about to be written: shows the packets in it that were not shown before. What a
    /// slow socket had left before the trace began may start within a packet, and is then passed over.
    #[cold]
    pub(super) fn trace_out(&mut self, slot: u32) {
        let node = std::sync::Arc::clone(&self.node);
        let Some(client) = self.at(slot) else { return };
        let (id, version) = (
            std::sync::Arc::clone(&client.session.client_id),
            client.session.link.version,
        );
        let Some(conn) = client.conn.as_mut() else { return };
        let (key, peer) = ((slot, conn.number), std::sync::Arc::clone(&conn.peer));
        let (begin, bytes) = (conn.sent, conn.out.copy());
        let shown = self.traced.get(&key).copied().unwrap_or(begin);
        let fresh = usize::try_from(shown.saturating_sub(begin)).unwrap_or(usize::MAX);
        self.traced.insert(key, begin + bytes.len() as u64);
        for packet in frames(bytes.get(fresh..).unwrap_or_default()) {
            if let Ok(decoded) = codec::decode_from_server(packet, version) {
                node.tracer
                    .packet(Direction::Out, &id, &peer, &decoded, packet.len());
            }
        }
    }

    /// Nobody traces any more.
    pub(super) fn forget_traced(&mut self) {
        if !self.traced.is_empty() {
            self.traced = std::collections::HashMap::new();
        }
    }
}

/// The whole packets of a buffer; none if it does not end with a whole one.
fn frames(bytes: &[u8]) -> Vec<&[u8]> {
    let mut rest = bytes;
    let mut packets = Vec::new();
    while !rest.is_empty() {
        let Ok(Frame::Complete { len }) = frame::check(rest, u32::MAX) else {
            return Vec::new();
        };
        let (packet, after) = rest.split_at(len);
        packets.push(packet);
        rest = after;
    }
    packets
}

#[cfg(test)]
mod tests {
    use codec::Version;

    use super::*;

    #[test]
    fn only_buffers_of_whole_packets_are_shown() {
        let two = b"\xd0\x00\x40\x02\x00\x01";
        assert_eq!(frames(two), [&two[..2], &two[2..]]);
        assert!(frames(&two[..5]).is_empty());
        assert!(frames(b"").is_empty());
        assert!(codec::decode_from_server(&two[2..], Version::V311).is_ok());
    }
}
