//! The client's half of WebSocket, as little as a generator needs: the upgrade request, one masked binary
//! frame per MQTT packet (as MQTT.js and paho send them), and taking the broker's frames apart.

use crate::mqtt;

/// State of the WebSocket layer of one connection.
#[derive(Debug, Default)]
pub struct Ws {
    upgraded: bool,
    raw: Vec<u8>,
}

/// What went wrong with the upgrade or a frame.
#[derive(Debug)]
pub struct WsError(pub String);

/// The upgrade request; `forwarded` becomes an X-Forwarded-For line.
pub fn request(host: &str, path: &str, forwarded: Option<&str>) -> Vec<u8> {
    let forwarded = forwarded.map_or(String::new(), |value| format!("X-Forwarded-For: {value}\r\n"));
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{forwarded}\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: mqtt\r\n\r\n"
    )
    .into_bytes()
}

/// Wraps each MQTT packet of `plain` in a frame of its own. The mask is zero: legal on the wire, the broker
/// does its whole work of unmasking, and the generator none.
pub fn frame_packets(plain: &[u8], wire: &mut Vec<u8>) {
    let mut rest = plain;
    while !rest.is_empty() {
        let len = mqtt::frame_len(rest).unwrap_or(rest.len()).min(rest.len());
        let (packet, tail) = rest.split_at(len);
        wire.push(0x82);
        match packet.len() {
            short @ 0..126 => wire.push(0x80 | short as u8),
            medium @ 126..65536 => {
                wire.push(0xfe);
                wire.extend_from_slice(&(medium as u16).to_be_bytes());
            }
            long => {
                wire.push(0xff);
                wire.extend_from_slice(&(long as u64).to_be_bytes());
            }
        }
        wire.extend_from_slice(&[0; 4]);
        wire.extend_from_slice(packet);
        rest = tail;
    }
}

impl Ws {
    /// Whether the broker has granted the upgrade.
    pub fn upgraded(&self) -> bool {
        self.upgraded
    }

    /// Takes bytes from the broker; MQTT bytes found in whole frames are appended to `plain`.
    pub fn feed(&mut self, bytes: &[u8], plain: &mut Vec<u8>) -> Result<(), WsError> {
        if self.raw.is_empty() && self.upgraded {
            let used = frames(bytes, plain)?;
            self.raw.extend_from_slice(&bytes[used..]);
            return Ok(());
        }
        self.raw.extend_from_slice(bytes);
        let mut used = 0;
        if !self.upgraded {
            let Some(end) = self.raw.windows(4).position(|four| four == b"\r\n\r\n") else {
                return Ok(());
            };
            if !self.raw.starts_with(b"HTTP/1.1 101") {
                return Err(WsError(String::from_utf8_lossy(&self.raw[..end]).into_owned()));
            }
            self.upgraded = true;
            used = end + 4;
        }
        used += frames(&self.raw[used..], plain)?;
        self.raw.drain(..used);
        if self.raw.is_empty() {
            self.raw = Vec::new();
        }
        Ok(())
    }
}

/// Appends the payload of each whole data frame; returns how many bytes were used.
fn frames(bytes: &[u8], plain: &mut Vec<u8>) -> Result<usize, WsError> {
    let mut used = 0;
    loop {
        let rest = &bytes[used..];
        if rest.len() < 2 {
            return Ok(used);
        }
        let (len, head) = match rest[1] {
            126 if rest.len() >= 4 => (u16::from_be_bytes([rest[2], rest[3]]) as usize, 4),
            127 if rest.len() >= 10 => {
                let wide: [u8; 8] = rest[2..10].try_into().map_err(|_| WsError("cut".into()))?;
                (u64::from_be_bytes(wide) as usize, 10)
            }
            126 | 127 => return Ok(used),
            short if short < 126 => (short as usize, 2),
            _ => return Err(WsError("the broker masks its frames".into())),
        };
        let Some(payload) = rest.get(head..head + len) else {
            return Ok(used);
        };
        if rest[0] & 0x0f <= 2 {
            plain.extend_from_slice(payload);
        }
        used += head + len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_in_any_pieces() {
        let mut stream = b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec();
        stream.extend_from_slice(&[0x82, 2, 0xd0, 0, 0x89, 0, 0x82, 126, 0, 200]);
        stream.extend_from_slice(&[7; 200]);
        for piece in [1, 3, 64, 500] {
            let (mut ws, mut plain) = (Ws::default(), Vec::new());
            for bytes in stream.chunks(piece) {
                ws.feed(bytes, &mut plain).unwrap();
            }
            assert_eq!(plain.len(), 202, "pieces of {piece}");
            assert_eq!(&plain[..2], &[0xd0, 0]);
        }
    }

    #[test]
    fn a_refused_upgrade_is_told() {
        let told = Ws::default().feed(b"HTTP/1.1 403 Forbidden\r\n\r\n", &mut Vec::new());
        assert!(told.unwrap_err().0.contains("403"));
    }

    #[test]
    fn one_frame_per_packet() {
        let mut wire = Vec::new();
        frame_packets(&[0xc0, 0, 0xe0, 0], &mut wire);
        assert_eq!(
            wire,
            [0x82, 0x82, 0, 0, 0, 0, 0xc0, 0, 0x82, 0x82, 0, 0, 0, 0, 0xe0, 0]
        );
    }
}
