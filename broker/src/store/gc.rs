//! Garbage collection: the oldest segment's live records are written anew, then it is removed.
//!
//! Strictly oldest first, so that an `Ack` or `Del` never goes before the record it cancels; in steps, so
//! that appends go on meanwhile. A segment is removed only after a sync that covers both the copies and
//! whatever made its other records dead. Not here: what is alive (`index`).

use super::file_log::{Batch, End, Writer};
use super::index::Pos;
use super::record::Fields;
use super::segments::FrameReader;

/// Bytes read in one step.
const STEP: u64 = 256 << 10;

/// Where it stands.
#[derive(Debug, Default)]
pub(super) struct Gc {
    reading: Option<(u32, FrameReader)>,
    /// A segment could not be read: nothing is removed any more, so that `store repair` finds everything.
    broken: bool,
}

impl Gc {
    /// Whether a segment is being read.
    pub(super) fn is_busy(&self) -> bool {
        self.reading.is_some()
    }
}

impl Writer {
    /// One step.
    pub(super) fn collect(&mut self) -> Result<(), End> {
        if self.gc.broken {
            return Ok(());
        }
        let Some((segment, mut reader)) = self.gc.reading.take() else {
            return self.begin();
        };
        let (mut moved, upto) = (Vec::new(), reader.offset() + STEP);
        let over = loop {
            match reader.next() {
                Ok(Ok(Some((offset, frame)))) => {
                    let mut index = self.shared.index();
                    let mut fields = Fields(frame.records);
                    // The records begin where the frame ends, less their own length.
                    let first = offset + (frame.len - frame.records.len()) as u64;
                    loop {
                        let at = first + (frame.records.len() - fields.0.len()) as u64;
                        let Some(record) = fields.record() else { break };
                        index.relive(record, Pos::new(segment, at as u32), &mut moved);
                    }
                }
                Ok(Ok(None)) => break true,
                Ok(Err(e)) => {
                    self.give_up(segment, e.as_str());
                    return Ok(());
                }
                Err(e) => {
                    self.give_up(segment, &e.to_string());
                    return Ok(());
                }
            }
            if reader.offset() >= upto {
                break false;
            }
        };
        if !moved.is_empty() {
            self.shared
                .counters
                .moved
                .fetch_add(moved.len() as u64, std::sync::atomic::Ordering::Relaxed);
            self.write(&Batch::of(moved))?;
        }
        if over {
            self.sync()?;
            return self.remove(segment);
        }
        self.gc.reading = Some((segment, reader));
        Ok(())
    }

    /// Takes on the oldest segment if it is time.
    fn begin(&mut self) -> Result<(), End> {
        if self.remove_dead()? {
            return Ok(());
        }
        let Some((segment, _)) = self.segments.oldest() else {
            return Ok(());
        };
        let (live, total) = (self.shared.index().live_bytes(), self.segments.bytes());
        let usage = &self.shared.usage;
        let scarce = usage.total() > usage.max / 4 * 3 && live < total / 10 * 9;
        if live < total / 2 || scarce {
            match self.segments.frames(segment, super::frame::SEGMENT_HEAD as u64) {
                Ok(reader) => self.gc.reading = Some((segment, reader)),
                Err(e) => self.give_up(segment, &e.to_string()),
            }
        }
        Ok(())
    }

    /// Removes oldest segments in which nothing lives; true if any was. Needs no space.
    pub(super) fn remove_dead(&mut self) -> Result<bool, End> {
        let mut any = false;
        while let Some((segment, _)) = self.segments.oldest() {
            let busy = self.gc.reading.as_ref().is_some_and(|(n, _)| *n == segment);
            if busy || self.gc.broken || !self.shared.index().is_dead(segment) {
                break;
            }
            // What killed its records must be safe first.
            self.sync()?;
            self.remove(segment)?;
            any = true;
        }
        Ok(any)
    }

    fn remove(&mut self, segment: u32) -> Result<(), End> {
        self.segments
            .remove(segment)
            .map_err(|e| End::Failed("remove", e))?;
        self.shared.index().removed(segment);
        self.publish_sizes();
        Ok(())
    }

    fn give_up(&mut self, segment: u32, why: &str) {
        tracing::error!(target: "broker::store", segment, why, "STO003 an old segment cannot be read; nothing is removed any more: stop the broker and run `broker store repair`");
        self.gc.broken = true;
    }
}
