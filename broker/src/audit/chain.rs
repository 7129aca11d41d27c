//! Tamper evidence: each line ends with the hash of the line before it and itself.
//!
//! `hash` = SHA-256(hash of the line before, as 64 hex digits ‖ the line without its `hash` key and
//! without the line end), so a shell can check one: `printf '%s%s' PREV LINE | sha256sum`.

use sha2::{Digest, Sha256};

use super::format::hex;

/// What the first line of all is chained to.
pub(super) const ROOT: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The hash of a line that follows one with hash `previous`.
pub(super) fn link(previous: &str, line: &[u8]) -> String {
    let mut h = Sha256::new();
    h.update(previous.as_bytes());
    h.update(line);
    hex(&h.finalize())
}

/// Splits a chained line into the line without its hash, and the hash.
pub(super) fn split(line: &[u8]) -> Option<(Vec<u8>, &str)> {
    const KEY: &[u8] = b",\"hash\":\"";
    // `"}` ends it, 64 digits stand before.
    let at = line.len().checked_sub(KEY.len() + 64 + 2)?;
    let (head, tail) = line.split_at(at);
    let digits = tail.strip_prefix(KEY)?.strip_suffix(b"\"}")?;
    if !digits
        .iter()
        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b))
    {
        return None;
    }
    let mut bare = head.to_vec();
    bare.push(b'}');
    Some((bare, std::str::from_utf8(digits).ok()?))
}
