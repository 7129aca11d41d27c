//! Frames: the unit that is written, checked and (in a cluster) replicated; and the head of a segment.
//!
//! `magic u32 | length u32 | crc32c u32 | epoch u64 | number u64 | count u16 | records`, little-endian.
//! The length is of what follows the checksum, the checksum is over it. Not here: records (`record`).

use super::Log;

/// Begins a frame.
const MAGIC: u32 = u32::from_le_bytes(*b"bkF\x01");
/// Magic, length, checksum.
const OUTER: usize = 12;
/// Epoch, number, count.
const INNER: usize = 18;
/// Bytes of a frame without records.
pub(super) const OVERHEAD: usize = OUTER + INNER;
/// Records in a frame.
pub(super) const COUNT_MAX: usize = u16::MAX as usize;

/// Bytes of the head of a segment.
pub(super) const SEGMENT_HEAD: usize = 16;

/// A frame that was read and whose checksum fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    /// Who wrote it: in a cluster each owner of a journal has its own.
    pub(super) epoch: u64,
    /// Its number, one more than the frame before.
    pub(super) number: u64,
    /// How many records.
    pub(super) count: u16,
    /// The records, one after the other.
    pub(super) records: &'a [u8],
    /// Bytes of the whole frame.
    pub(super) len: usize,
}

/// Why there is no frame here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoFrame {
    /// The bytes end before it is whole.
    Short,
    /// It does not begin with the magic number.
    Magic,
    /// Its checksum does not fit.
    Checksum,
}

impl NoFrame {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Short => "cut off",
            Self::Magic => "not a frame",
            Self::Checksum => "wrong checksum",
        }
    }
}

/// Begins a frame at the end of `out`; [`finish`] must follow.
pub(super) fn begin(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.resize(start + OVERHEAD, 0);
    start
}

/// Fills in the head of the frame that begins at `start` and ends with `out`.
pub(super) fn finish(out: &mut [u8], start: usize, epoch: u64, number: u64, count: u16) {
    let Some(frame) = out.get_mut(start..) else { return };
    let Some((outer, inner)) = frame.split_at_mut_checked(OUTER) else {
        return;
    };
    if let Some(head) = inner.first_chunk_mut::<INNER>() {
        head[..8].copy_from_slice(&epoch.to_le_bytes());
        head[8..16].copy_from_slice(&number.to_le_bytes());
        head[16..].copy_from_slice(&count.to_le_bytes());
    }
    outer[..4].copy_from_slice(&MAGIC.to_le_bytes());
    // A batch is far below 4 GiB: `append` refuses larger records.
    outer[4..8].copy_from_slice(&(inner.len() as u32).to_le_bytes());
    outer[8..].copy_from_slice(&crc32c::crc32c(inner).to_le_bytes());
}

/// Reads the frame at the front of `bytes`.
pub(super) fn read(bytes: &[u8]) -> Result<Frame<'_>, NoFrame> {
    let Some((outer, rest)) = bytes.split_first_chunk::<OUTER>() else {
        return Err(NoFrame::Short);
    };
    let [m0, m1, m2, m3, l0, l1, l2, l3, c0, c1, c2, c3] = *outer;
    if u32::from_le_bytes([m0, m1, m2, m3]) != MAGIC {
        return Err(NoFrame::Magic);
    }
    let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    let body = rest.get(..len).ok_or(NoFrame::Short)?;
    if crc32c::crc32c(body) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Err(NoFrame::Checksum);
    }
    read_checked(bytes)
}

/// As [`read`], of bytes that it has already found good.
pub(super) fn read_checked(bytes: &[u8]) -> Result<Frame<'_>, NoFrame> {
    let (outer, rest) = bytes.split_first_chunk::<OUTER>().ok_or(NoFrame::Short)?;
    let [.., l0, l1, l2, l3, _, _, _, _] = *outer;
    let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    let body = rest.get(..len).ok_or(NoFrame::Short)?;
    let (head, records) = body.split_first_chunk::<INNER>().ok_or(NoFrame::Checksum)?;
    let (epoch, head) = head.split_first_chunk::<8>().ok_or(NoFrame::Short)?;
    let (number, head) = head.split_first_chunk::<8>().ok_or(NoFrame::Short)?;
    let (count, _) = head.split_first_chunk::<2>().ok_or(NoFrame::Short)?;
    Ok(Frame {
        epoch: u64::from_le_bytes(*epoch),
        number: u64::from_le_bytes(*number),
        count: u16::from_le_bytes(*count),
        records,
        len: OUTER + len,
    })
}

/// The length that the frame at the front says it has, whether or not it is whole.
pub(super) fn claimed_len(bytes: &[u8]) -> Option<usize> {
    let (outer, _) = bytes.split_first_chunk::<OUTER>()?;
    let [.., l0, l1, l2, l3, _, _, _, _] = *outer;
    Some(OUTER + u32::from_le_bytes([l0, l1, l2, l3]) as usize)
}

/// Where in `bytes` the next frame may begin, from `from` on.
pub(super) fn find(bytes: &[u8], from: usize) -> Option<usize> {
    let magic = MAGIC.to_le_bytes();
    let rest = bytes.get(from..)?;
    memchr::memmem::find(rest, &magic).map(|at| from + at)
}

/// Begins a segment; the last byte is the version of the format.
const SEGMENT_MAGIC: [u8; 8] = *b"bkstore\x01";
/// The version of the format.
pub(super) const VERSION: u8 = SEGMENT_MAGIC[7];

/// The version that such a head names; `None` if it is none.
pub(super) fn version(head: &[u8; SEGMENT_HEAD]) -> Option<u8> {
    let (version, name) = head.first_chunk::<8>()?.split_last()?;
    (name == &SEGMENT_MAGIC[..7]).then_some(*version)
}

/// The head of a segment.
pub(super) fn segment_head(log: Log, number: u32) -> [u8; SEGMENT_HEAD] {
    let mut head = [0; SEGMENT_HEAD];
    head[..8].copy_from_slice(&SEGMENT_MAGIC);
    head[8] = log as u8;
    head[12..].copy_from_slice(&number.to_le_bytes());
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_cut_or_flipped_bit_is_seen() {
        let mut out = b"before".to_vec();
        let start = begin(&mut out);
        out.extend_from_slice(b"records");
        finish(&mut out, start, 3, 9, 2);
        let frame = &out[start..];
        let ok = read(frame).unwrap();
        assert_eq!(
            (ok.epoch, ok.number, ok.count, ok.records, ok.len),
            (3, 9, 2, &b"records"[..], frame.len())
        );
        for n in 0..frame.len() {
            assert_eq!(read(&frame[..n]), Err(NoFrame::Short), "{n}");
        }
        for bit in 0..frame.len() * 8 {
            let mut bad = frame.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&bad).is_err(), "{bit}");
        }
        assert_eq!(find(&out, 0), Some(start));
        assert_eq!(find(&out, start + 1), None);
    }
}
