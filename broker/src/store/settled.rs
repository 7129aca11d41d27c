//! What need not be written: messages that were acknowledged while they waited for the disk.
//!
//! Subscribers that are connected acknowledge within a millisecond as a rule, often before the sync of the
//! batch before is over: then neither the message nor its acknowledgement has to reach the disk.

use std::collections::{HashMap, HashSet};

use smallvec::SmallVec;

use super::record::{self, Fields, tag};

/// Offsets of the records that need not be written: messages that every target has acknowledged within
/// the same batch, with all that is said about them; ascending.
pub(super) fn settled(records: &[u8]) -> Vec<usize> {
    let mut acks: HashMap<u64, SmallVec<[u64; 2]>> = HashMap::new();
    let mut messages = 0_usize;
    for_each(records, |_, rec| match tag_of(rec) {
        tag::ACK => {
            if let Some((sid, mid)) = sid_and_mid(rec) {
                acks.entry(mid).or_default().push(sid);
            }
        }
        tag::MSG_ENQ => messages += 1,
        _ => {}
    });
    if acks.is_empty() || messages == 0 {
        return Vec::new();
    }
    let mut gone = HashSet::new();
    for_each(records, |_, rec| {
        let mut f = Fields(rec);
        if f.byte() != Some(tag::MSG_ENQ) {
            return;
        }
        let Some(mid) = Fields(f.0).number() else { return };
        let Some(by) = acks.get(&mid) else { return };
        let head = record::message_head(&mut f);
        if head.is_some_and(|(_, targets)| targets.iter().all(|t| by.contains(&t.sid))) {
            gone.insert(mid);
        }
    });
    let mut out = Vec::new();
    if gone.is_empty() {
        return out;
    }
    for_each(records, |at, rec| {
        let mid = match tag_of(rec) {
            tag::MSG_ENQ => Fields(rec.get(1..).unwrap_or_default()).number(),
            tag::ACK | tag::OUT => sid_and_mid(rec).map(|(_, mid)| mid),
            _ => None,
        };
        if mid.is_some_and(|m| gone.contains(&m)) {
            out.push(at);
        }
    });
    out
}

fn tag_of(rec: &[u8]) -> u8 {
    rec.first().copied().unwrap_or(0)
}

/// Of an `Ack` or `Out`.
fn sid_and_mid(rec: &[u8]) -> Option<(u64, u64)> {
    let mut f = Fields(rec.get(1..)?);
    Some((f.number()?, f.number()?))
}

fn for_each<'a>(records: &'a [u8], mut each: impl FnMut(usize, &'a [u8])) {
    let mut f = Fields(records);
    loop {
        let at = records.len() - f.0.len();
        let Some(rec) = f.record() else { return };
        each(at, rec);
    }
}
