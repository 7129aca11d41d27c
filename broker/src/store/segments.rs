//! The files of one log: numbered segments, one of which is written, and reading frames out of them.
//!
//! Not here: what a frame holds (`record`), when a segment goes (`gc`).

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use super::Log;
use super::disk::{Disk, DiskFile};
use super::frame::{self, Frame, NoFrame, SEGMENT_HEAD};
use super::index::Pos;

/// Bytes read from a segment at once.
const READ: usize = 1 << 20;

/// Files by number, shared with those who read messages back.
pub(super) type Files = Arc<RwLock<BTreeMap<u32, Arc<dyn DiskFile>>>>;

/// The segments of a log. The one with the highest number is written.
#[derive(Debug)]
pub(super) struct Segments {
    log: Log,
    disk: Arc<dyn Disk>,
    files: Files,
    sizes: BTreeMap<u32, u64>,
    limit: u64,
    bytes: u64,
}

/// The file name of a segment.
pub(super) fn name(number: u32) -> String {
    format!("{number:010}.log")
}

/// The number in such a name.
fn number(name: &str) -> Option<u32> {
    name.strip_suffix(".log").filter(|n| n.len() == 10)?.parse().ok()
}

impl Segments {
    /// The segments that are there; none is opened for writing yet.
    pub(super) fn open(log: Log, disk: Arc<dyn Disk>, limit: u64) -> io::Result<Self> {
        let (mut files, mut sizes) = (BTreeMap::new(), BTreeMap::new());
        for n in disk.list()?.iter().filter_map(|f| number(f)) {
            let file = disk.open(&name(n), false)?;
            sizes.insert(n, file.size()?);
            files.insert(n, file);
        }
        let bytes = sizes.values().sum();
        Ok(Self {
            log,
            disk,
            files: Arc::new(RwLock::new(files)),
            sizes,
            limit,
            bytes,
        })
    }

    pub(super) fn files(&self) -> Files {
        Arc::clone(&self.files)
    }

    pub(super) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// Numbers and sizes, oldest first.
    pub(super) fn list(&self) -> impl DoubleEndedIterator<Item = (u32, u64)> + '_ {
        self.sizes.iter().map(|(n, size)| (*n, *size))
    }

    /// Bytes of all.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The oldest one, unless it is the one that is written.
    pub(super) fn oldest(&self) -> Option<(u32, u64)> {
        (self.sizes.len() > 1).then(|| self.list().next()).flatten()
    }

    pub(super) fn file(&self, number: u32) -> io::Result<Arc<dyn DiskFile>> {
        let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
        files
            .get(&number)
            .cloned()
            .ok_or_else(|| io::Error::other(format!("segment {number} is missing")))
    }

    fn active(&self) -> Option<(u32, u64)> {
        self.list().next_back()
    }

    /// Whether the next frame should begin a new segment.
    pub(super) fn is_full(&self) -> bool {
        self.active().is_none_or(|(_, size)| size >= self.limit)
    }

    /// Begins a new segment: created, its head and its name made safe, then used. What was written to the
    /// one before must have been synced.
    pub(super) fn roll(&mut self) -> io::Result<()> {
        let number = self.active().map_or(1, |(n, _)| n + 1);
        let file = self.disk.open(&name(number), true)?;
        let head = frame::segment_head(self.log, number);
        let made = file
            .write_at(&head, 0)
            .and_then(|()| file.sync())
            .and_then(|()| self.disk.sync_dir());
        if let Err(e) = made {
            // The next attempt creates it again.
            let _ = self.disk.remove(&name(number));
            return Err(e);
        }
        self.files
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(number, file);
        self.sizes.insert(number, SEGMENT_HEAD as u64);
        self.bytes += SEGMENT_HEAD as u64;
        Ok(())
    }

    /// Writes frames at the end of the active segment; where they begin. After an error they can be
    /// written again: they come to the same place.
    pub(super) fn append(&mut self, frames: &[u8]) -> io::Result<Pos> {
        let (number, size) = self.active().ok_or_else(|| io::Error::other("no segment"))?;
        self.file(number)?.write_at(frames, size)?;
        self.set_size(number, size + frames.len() as u64);
        // A segment is rolled long before 4 GiB, and a batch is bounded.
        Ok(Pos::new(number, size as u32))
    }

    /// Makes the active segment safe.
    pub(super) fn sync(&self) -> io::Result<()> {
        match self.active() {
            Some((number, _)) => self.file(number)?.sync(),
            None => Ok(()),
        }
    }

    fn set_size(&mut self, number: u32, size: u64) {
        let old = self.sizes.insert(number, size).unwrap_or(0);
        self.bytes = self.bytes + size - old;
    }

    /// Cuts a segment off.
    pub(super) fn truncate(&mut self, number: u32, size: u64) -> io::Result<()> {
        self.file(number)?.truncate(size)?;
        self.set_size(number, size);
        Ok(())
    }

    /// Removes a segment.
    pub(super) fn remove(&mut self, number: u32) -> io::Result<()> {
        self.disk.remove(&name(number))?;
        // Else a power loss later on could bring it back, after numbers that it holds were given out anew.
        self.disk.sync_dir()?;
        self.files
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&number);
        self.bytes -= self.sizes.remove(&number).unwrap_or(0);
        Ok(())
    }

    /// Reads the frames of a segment from `at` on.
    pub(super) fn frames(&self, number: u32, at: u64) -> io::Result<FrameReader> {
        let size = self.sizes.get(&number).copied().unwrap_or(0);
        Ok(FrameReader {
            file: self.file(number)?,
            at,
            end: size,
            buf: Vec::new(),
            used: 0,
        })
    }

    /// The version of the format that a segment's head names; `None` if it cannot be told.
    pub(super) fn version(&self, number: u32) -> io::Result<Option<u8>> {
        if self
            .sizes
            .get(&number)
            .is_none_or(|size| *size < SEGMENT_HEAD as u64)
        {
            return Ok(None);
        }
        let mut head = [0; SEGMENT_HEAD];
        self.file(number)?.read_at(&mut head, 0)?;
        Ok(frame::version(&head))
    }
}

/// Reads frame after frame.
#[derive(Debug)]
pub(super) struct FrameReader {
    file: Arc<dyn DiskFile>,
    /// Offset in the file of the first byte of `buf`.
    at: u64,
    end: u64,
    buf: Vec<u8>,
    /// Bytes of `buf` that were handed out.
    used: usize,
}

impl FrameReader {
    /// Offset of the next frame.
    pub(super) fn offset(&self) -> u64 {
        self.at + self.used as u64
    }

    /// The next frame with its offset; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Result<Option<(u64, Frame<'_>)>, NoFrame>> {
        loop {
            let left = self.end - self.offset();
            if left == 0 {
                return Ok(Ok(None));
            }
            let have = self.buf.len() - self.used;
            match frame::read(self.buf.get(self.used..).unwrap_or_default()) {
                Ok(f) => {
                    let (offset, len) = (self.offset(), f.len);
                    self.used += len;
                    // Read again to hand it out: the borrow of the check above ends with the loop.
                    let bytes = self.buf.get(self.used - len..self.used).unwrap_or_default();
                    return Ok(frame::read_checked(bytes).map(|f| Some((offset, f))));
                }
                Err(NoFrame::Short) if (have as u64) < left => self.fill(left)?,
                Err(e) => return Ok(Err(e)),
            }
        }
    }

    /// Moves what is left to the front and reads at least as much again.
    fn fill(&mut self, left: u64) -> io::Result<()> {
        self.at += self.used as u64;
        self.buf.drain(..self.used);
        self.used = 0;
        let have = self.buf.len();
        let want = (have as u64 + READ.max(have) as u64).min(left) as usize;
        self.buf.resize(want, 0);
        let tail = self.buf.get_mut(have..).unwrap_or_default();
        self.file.read_at(tail, self.at + have as u64)
    }
}
