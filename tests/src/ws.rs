//! The client's half of WebSocket: the upgrade request, masked frames out, frames in. Nothing is checked that a
//! browser would check.

/// An upgrade request for `/mqtt` with further field lines.
pub fn request(fields: &[(String, String)]) -> String {
    let mut more = String::new();
    for (name, value) in fields {
        more.extend([name, ": ", value, "\r\n"]);
    }
    format!(
        "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: mqtt\r\n{more}\r\n"
    )
}

/// A masked binary frame.
pub fn frame(payload: &[u8]) -> Vec<u8> {
    let mask = [0x11, 0x22, 0x33, 0x44];
    let mut bytes = vec![0x82];
    match payload.len() {
        n @ 0..=125 => bytes.push(0x80 | n as u8),
        n @ 126..=0xFFFF => {
            bytes.push(0xFE);
            bytes.extend((n as u16).to_be_bytes());
        }
        n => {
            bytes.push(0xFF);
            bytes.extend((n as u64).to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
    bytes
}

/// Takes the first frame off `bytes`, if a whole one is there: its opcode and payload.
pub fn take(bytes: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (start, len) = match second & 0x7F {
        126 => (4, u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?) as usize),
        127 => (10, u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?) as usize),
        short => (2, usize::from(short)),
    };
    if bytes.len() < start + len {
        return None;
    }
    let rest = bytes.split_off(start + len);
    let payload = std::mem::replace(bytes, rest).split_off(start);
    Some((first & 0x0F, payload))
}
