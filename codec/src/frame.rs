//! Fixed header and remaining length: is a whole packet here, and where does it end?
//! What a packet means is not looked at.

use crate::error::DecodeError;

/// The largest remaining length that four bytes can say: 268,435,455.
pub const MAX_REMAINING_LENGTH: usize = 0x0fff_ffff;

/// What stands at the beginning of a read buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// Not a whole packet yet.
    Incomplete {
        /// How many bytes the buffer must hold, counted from its start, before asking again makes sense. It is the
        /// packet's size once the length is known, and always more than the buffer holds now.
        need: usize,
    },
    /// The first `len` bytes are one packet.
    Complete {
        /// Size of the whole packet in bytes, at least 2.
        len: usize,
    },
}

/// Looks at the first bytes of `buf` for one packet of at most `max_packet_size` bytes, fixed header included
/// (MQTT 5 section 3.1.2.11.4 counts so).
///
/// Errors: [`DecodeError::NonMinimalInteger`], [`DecodeError::IntegerTooLong`], [`DecodeError::PacketTooLarge`]; each
/// as early as the bytes show it, so that nobody reserves memory for an announced length that is refused.
#[inline]
pub fn check(buf: &[u8], max_packet_size: u32) -> Result<Frame, DecodeError> {
    let [_, rest @ ..] = buf else {
        return Ok(Frame::Incomplete { need: 2 });
    };
    let Some((remaining, width)) = variable_integer(rest)? else {
        return Ok(Frame::Incomplete {
            need: buf.len().saturating_add(1),
        });
    };
    let len = remaining.saturating_add(width).saturating_add(1);
    if len > max_packet_size as usize {
        return Err(DecodeError::PacketTooLarge {
            len,
            max: max_packet_size,
        });
    }
    if buf.len() < len {
        Ok(Frame::Incomplete { need: len })
    } else {
        Ok(Frame::Complete { len })
    }
}

/// Splits one whole packet into its first byte and what follows the remaining length.
#[inline]
pub(crate) fn split(frame: &[u8]) -> Result<(u8, &[u8]), DecodeError> {
    let [first, rest @ ..] = frame else {
        return Err(DecodeError::NotOneFrame);
    };
    let Some((remaining, width)) = variable_integer(rest)? else {
        return Err(DecodeError::NotOneFrame);
    };
    match rest.get(width..) {
        Some(body) if body.len() == remaining => Ok((*first, body)),
        _ => Err(DecodeError::NotOneFrame),
    }
}

/// Reads a variable byte integer (MQTT 5 section 1.5.5): its value and its width in bytes, or `None` when `buf` ends
/// inside it.
#[inline]
pub(crate) fn variable_integer(buf: &[u8]) -> Result<Option<(usize, usize)>, DecodeError> {
    let mut value = 0_usize;
    for (width, shift) in (1_usize..=4).zip([0_u32, 7, 14, 21]) {
        let Some(&byte) = buf.get(width.saturating_sub(1)) else {
            return Ok(None);
        };
        value |= usize::from(byte & 0x7f) << (shift & 31);
        if byte & 0x80 == 0 {
            // [MQTT-1.5.5-1]: a last byte of zero adds nothing.
            let minimal = byte != 0 || width == 1;
            return if minimal {
                Ok(Some((value, width)))
            } else {
                Err(DecodeError::NonMinimalInteger)
            };
        }
    }
    Err(DecodeError::IntegerTooLong)
}

/// Width in bytes of a variable byte integer.
#[inline]
pub(crate) const fn variable_width(value: usize) -> usize {
    match value {
        0..=0x7f => 1,
        0x80..=0x3fff => 2,
        0x4000..=0x1f_ffff => 3,
        _ => 4,
    }
}
