//! The data types of MQTT 5 section 1.5, read from and written to bytes: integers, strings, binary data.

use crate::error::{DecodeError, EncodeError};
use crate::frame;

/// Reads fields off the front of a packet's body; past its end is [`DecodeError::Truncated`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[inline]
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    #[inline]
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Refuses bytes after the last field.
    #[inline]
    pub(crate) fn end(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::TrailingBytes)
        }
    }

    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (chunk, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*chunk)
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.chunk::<1>().map(|[byte]| byte)
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.chunk().map(u16::from_be_bytes)
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.chunk().map(u32::from_be_bytes)
    }

    /// A variable byte integer, 0 to 268,435,455.
    #[inline]
    pub(crate) fn variable(&mut self) -> Result<u32, DecodeError> {
        let (value, width) = frame::variable_integer(self.rest)?.ok_or(DecodeError::Truncated)?;
        self.take(width)?;
        Ok(value as u32)
    }

    /// Binary data: a two-byte length and that many bytes.
    #[inline]
    pub(crate) fn binary(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    /// A UTF-8 string without U+0000.
    #[inline]
    pub(crate) fn string(&mut self) -> Result<&'a str, DecodeError> {
        let bytes = self.binary()?;
        text(bytes, survey(bytes))
    }

    /// A UTF-8 string without U+0000, and whether `+` or `#` stands in it.
    #[inline]
    pub(crate) fn string_and_wildcards(&mut self) -> Result<(&'a str, bool), DecodeError> {
        let bytes = self.binary()?;
        let survey = survey(bytes);
        Ok((text(bytes, survey)?, survey & WILDCARD != 0))
    }

    /// The property area: its length and that many bytes, not looked at yet (MQTT 5 section 2.2.2).
    #[inline]
    pub(crate) fn property_area(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.variable()?;
        self.take(len as usize)
    }

    /// A packet identifier, never 0.
    #[inline]
    pub(crate) fn packet_id(&mut self) -> Result<u16, DecodeError> {
        match self.u16()? {
            0 => Err(DecodeError::PacketIdZero), // [MQTT-2.2.1-3]
            id => Ok(id),
        }
    }
}

/// Bits of [`survey`].
const NUL: u8 = 1 << 0;
const WILDCARD: u8 = 1 << 1;

/// One pass over a string: does it contain U+0000, `+` or `#`?
///
/// Blocks of a fixed size become vector code; the last one overlaps its neighbour instead of leaving a remainder. A topic
/// of 30 bytes takes a third of the time of a byte-by-byte pass.
#[inline]
fn survey(bytes: &[u8]) -> u8 {
    if let Some(last) = bytes.last_chunk::<16>() {
        let (blocks, _) = bytes.as_chunks::<16>();
        return blocks
            .iter()
            .fold(survey_block(last), |found, block| found | survey_block(block));
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        return survey_block(first) | survey_block(last);
    }
    survey_block(bytes)
}

#[inline]
fn survey_block(block: &[u8]) -> u8 {
    let (mut nul, mut wildcard) = (0, 0);
    for &byte in block {
        nul |= u8::from(byte == 0);
        wildcard |= u8::from(byte == b'+') | u8::from(byte == b'#');
    }
    nul | (wildcard << 1)
}

#[inline]
fn text(bytes: &[u8], survey: u8) -> Result<&str, DecodeError> {
    if survey & NUL != 0 {
        return Err(DecodeError::NullCharacter); // [MQTT-1.5.4-2]
    }
    std::str::from_utf8(bytes).map_err(|_| DecodeError::Utf8) // [MQTT-1.5.4-1]
}

/// Length of a string or binary field on the wire.
#[inline]
pub(crate) const fn field_len(bytes: &[u8]) -> usize {
    bytes.len().saturating_add(2)
}

/// Refuses what a two-byte length cannot say.
#[inline]
pub(crate) fn check_field(bytes: &[u8]) -> Result<(), EncodeError> {
    if bytes.len() > usize::from(u16::MAX) {
        Err(EncodeError::FieldTooLong)
    } else {
        Ok(())
    }
}

/// Writes a string or binary field; its length was checked with [`check_field`].
#[inline]
pub(crate) fn put_field(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Writes a variable byte integer of at most 268,435,455.
#[inline]
pub(crate) fn put_variable(out: &mut Vec<u8>, value: usize) {
    let mut rest = value.min(frame::MAX_REMAINING_LENGTH);
    loop {
        let byte = (rest & 0x7f) as u8;
        rest >>= 7;
        if rest == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

/// Writes the first byte and the remaining length.
#[inline]
pub(crate) fn put_fixed_header(out: &mut Vec<u8>, first: u8, remaining: usize) {
    out.push(first);
    put_variable(out, remaining);
}

/// Size of a whole packet of this remaining length.
#[inline]
pub(crate) const fn packet_len(remaining: usize) -> usize {
    remaining
        .saturating_add(frame::variable_width(remaining))
        .saturating_add(1)
}
