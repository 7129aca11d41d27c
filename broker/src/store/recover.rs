//! Reading both logs at start: once to learn what is alive, once more to hand it out.
//!
//! A bad frame in the last segment ends the log there; what is cut off is kept beside it. Anywhere else it
//! is an error, as acknowledged records would be lost silently. Not here: repairing (`offline`).

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::disk::Disk;
use super::frame::{self, NoFrame, SEGMENT_HEAD};
use super::index::{Index, Live, Pos, QueueIndex, StateIndex};
use super::record::{self, Fields, Rec, tag};
use super::segments::{Segments, name};
use super::{Log, Settings};

/// How far reading has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read.
    pub done: u64,
    /// Bytes to read in all.
    pub total: u64,
    /// Records read.
    pub records: u64,
}

/// A torn end that was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutOff {
    /// Of which log.
    pub log: Log,
    /// The segment.
    pub segment: u32,
    /// Where it was cut.
    pub offset: u64,
    /// Bytes cut off, and kept in a file beside it.
    pub bytes: u64,
    /// Numbers of whole frames among them: a torn write leaves none, so the disk has lost something.
    pub frames: Vec<u64>,
}

/// What was found at start.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// What is alive.
    pub live: Live,
    /// Records read.
    pub records: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// How long it took.
    pub took: Duration,
    /// Torn ends.
    pub cut_off: Vec<CutOff>,
}

/// Why the store cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    /// The directory or a file in it.
    Io(PathBuf, io::Error),
    /// Another process uses it.
    Locked(PathBuf),
    /// A segment that is not the last is damaged at this offset.
    Damaged(Log, u32, u64, &'static str),
    /// A segment was written by a version of the broker with another format.
    Version(Log, u32, u8),
    /// A thread did not start.
    Thread(io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const REPAIR: &str = "`broker store repair` saves the rest and says what went";
        match self {
            Self::Io(path, e) => write!(f, "store {}: {e}", path.display()),
            Self::Locked(path) => write!(f, "store {}: another broker is using it", path.display()),
            Self::Damaged(log, segment, offset, why) => {
                write!(
                    f,
                    "store: {}/{} at byte {offset}: {why}; {REPAIR}",
                    log.as_str(),
                    name(*segment)
                )
            }
            Self::Version(log, segment, v) => write!(
                f,
                "store: {}/{} has format {v}, this version writes {}",
                log.as_str(),
                name(*segment),
                frame::VERSION
            ),
            Self::Thread(e) => write!(f, "store: cannot start a thread: {e}"),
        }
    }
}

impl std::error::Error for OpenError {}

/// A log that was read and can be written.
pub(super) struct Opened {
    pub(super) segments: Segments,
    pub(super) index: Index,
    pub(super) next_frame: u64,
}

/// Both, and the highest numbers seen.
pub(super) struct Both {
    pub(super) state: Opened,
    pub(super) queue: Opened,
    pub(super) sid: u64,
    pub(super) mid: u64,
}

/// Reads both logs and hands out what is alive.
pub(super) fn recover(
    disks: [Arc<dyn Disk>; 2],
    settings: &Settings,
    visit: &mut dyn FnMut(Rec<'_>),
    progress: &mut dyn FnMut(Progress),
) -> Result<(Both, Recovered), OpenError> {
    let begun = Instant::now();
    let fail = |e| OpenError::Io(settings.dir.clone(), e);
    let [state, queue] = disks;
    let state = Segments::open(Log::State, state, settings.segment_bytes).map_err(fail)?;
    let queue = Segments::open(Log::Queue, queue, settings.segment_bytes).map_err(fail)?;
    let bytes = state.bytes() + queue.bytes();
    let mut scan = Scan {
        dir: &settings.dir,
        progress,
        at: Progress {
            done: 0,
            total: bytes * 2,
            records: 0,
        },
        told: 0,
        max: (0, 0),
        cut_off: Vec::new(),
    };
    let mut state = scan.learn(Log::State, state)?;
    let mut queue = scan.learn(Log::Queue, queue)?;
    if let (Index::State(s), Index::Queue(q)) = (&mut state.index, &mut queue.index) {
        s.drop_orphans();
        q.keep_sessions(|sid| s.has_session(sid));
    }
    let records = scan.at.records;
    scan.hand_out_state(&state, visit)?;
    scan.hand_out_queue(&queue, visit)?;
    scan.at.done = scan.at.total;
    (scan.progress)(scan.at);
    let mut live = Live::default();
    state.index.count(&mut live);
    queue.index.count(&mut live);
    let ((sid, mid), cut_off) = (scan.max, scan.cut_off);
    let recovered = Recovered {
        live,
        records,
        bytes,
        took: begun.elapsed(),
        cut_off,
    };
    Ok((
        Both {
            state,
            queue,
            sid,
            mid,
        },
        recovered,
    ))
}

/// Reading, with its progress.
struct Scan<'a> {
    dir: &'a std::path::Path,
    progress: &'a mut dyn FnMut(Progress),
    at: Progress,
    told: u64,
    /// Highest session and message numbers.
    max: (u64, u64),
    cut_off: Vec<CutOff>,
}

/// Bytes between two calls of the progress function.
const TELL: u64 = 4 << 20;

impl Scan<'_> {
    fn fail(&self, e: io::Error) -> OpenError {
        OpenError::Io(self.dir.to_owned(), e)
    }

    fn step(&mut self, bytes: u64) {
        self.at.done += bytes;
        if self.at.done - self.told >= TELL {
            self.told = self.at.done;
            (self.progress)(self.at);
        }
    }

    /// The first reading: fills the index.
    fn learn(&mut self, log: Log, mut segments: Segments) -> Result<Opened, OpenError> {
        let mut index = match log {
            Log::State => Index::State(StateIndex::default()),
            Log::Queue => Index::Queue(QueueIndex::default()),
        };
        let list: Vec<_> = segments.list().collect();
        let mut expected = None;
        for (i, (segment, size)) in list.iter().copied().enumerate() {
            let last = i + 1 == list.len();
            // A head that is damaged does not matter: frames tell by themselves what they are.
            if let Some(v) = segments.version(segment).map_err(|e| self.fail(e))?
                && v != frame::VERSION
            {
                return Err(OpenError::Version(log, segment, v));
            }
            let mut reader = segments
                .frames(segment, (SEGMENT_HEAD as u64).min(size))
                .map_err(|e| self.fail(e))?;
            let bad = loop {
                let offset = reader.offset();
                match reader.next().map_err(|e| self.fail(e))? {
                    Ok(None) => break None,
                    Err(e) => break Some((offset, e.as_str())),
                    Ok(Some((offset, f))) => {
                        // An empty frame is a mark of `store repair`: numbers go on from it.
                        if f.count > 0 && expected.is_some_and(|n| n != f.number) {
                            break Some((offset, "frames are missing before this one"));
                        }
                        expected = Some(f.number + 1);
                        let first = offset + (f.len - f.records.len()) as u64;
                        if !learn_records(
                            &mut index,
                            segment,
                            first,
                            f.records,
                            &mut self.max,
                            &mut self.at.records,
                        ) {
                            return Err(OpenError::Damaged(
                                log,
                                segment,
                                offset,
                                "a record that this version does not know",
                            ));
                        }
                        self.step(f.len as u64);
                    }
                }
            };
            let short = size < SEGMENT_HEAD as u64;
            match bad {
                _ if short && last => self.cut(log, &mut segments, segment, 0, size)?,
                _ if short => return Err(OpenError::Damaged(log, segment, 0, "cut off")),
                Some((offset, _)) if last => self.cut(log, &mut segments, segment, offset, size)?,
                Some((offset, why)) => return Err(OpenError::Damaged(log, segment, offset, why)),
                None => {}
            }
        }
        Ok(Opened {
            segments,
            index,
            next_frame: expected.unwrap_or(1),
        })
    }

    /// Cuts the last segment off at `offset` and keeps what goes.
    fn cut(
        &mut self,
        log: Log,
        segments: &mut Segments,
        segment: u32,
        offset: u64,
        size: u64,
    ) -> Result<(), OpenError> {
        let mut tail = vec![0; (size - offset) as usize];
        let kept = format!("{}.bad", name(segment));
        let result = (|| {
            segments.file(segment)?.read_at(&mut tail, offset)?;
            if !tail.is_empty() {
                match segments.disk().remove(&kept) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                    _ => {}
                }
                let file = segments.disk().open(&kept, true)?;
                file.write_at(&tail, 0)?;
                file.sync()?;
            }
            if offset < SEGMENT_HEAD as u64 {
                segments.remove(segment)?;
            } else {
                segments.truncate(segment, offset)?;
            }
            segments.disk().sync_dir()
        })();
        result.map_err(|e| self.fail(e))?;
        let frames = whole_frames(&tail);
        if !tail.is_empty() {
            self.cut_off.push(CutOff {
                log,
                segment,
                offset,
                bytes: tail.len() as u64,
                frames,
            });
        }
        Ok(())
    }

    fn hand_out_state(&mut self, o: &Opened, visit: &mut dyn FnMut(Rec<'_>)) -> Result<(), OpenError> {
        let Index::State(index) = &o.index else {
            return Ok(());
        };
        // What belongs to a session waits until all sessions are there.
        let mut later: Vec<Box<[u8]>> = Vec::new();
        self.again(o, |rec, at| {
            if !index.is_live(rec, at) {
                return;
            }
            match rec.first() {
                Some(&(tag::SESSION_PUT | tag::RETAIN_PUT | tag::BAN_PUT)) => hand_out(rec, visit),
                _ => later.push(rec.into()),
            }
        })?;
        for rec in &later {
            hand_out(rec, visit);
        }
        Ok(())
    }

    fn hand_out_queue(&mut self, o: &Opened, visit: &mut dyn FnMut(Rec<'_>)) -> Result<(), OpenError> {
        let Index::Queue(index) = &o.index else {
            return Ok(());
        };
        let mut messages: Vec<(u64, Box<[u8]>)> = Vec::new();
        self.again(o, |rec, at| {
            let mut f = Fields(rec);
            if f.byte() == Some(tag::MSG_ENQ) && index.is_at(rec, at) {
                messages.extend(f.number().map(|mid| (mid, rec.into())));
            }
        })?;
        messages.sort_unstable_by_key(|(mid, _)| *mid);
        for (mid, rec) in messages {
            let Some(Rec::MsgEnq { targets, body, .. }) = record::decode(&rec) else {
                continue;
            };
            let targets = index.owed(mid, targets);
            if !targets.is_empty() {
                visit(Rec::MsgEnq { mid, body, targets });
            }
        }
        for (sid, pid) in index.in2() {
            visit(Rec::In2 { sid, pid });
        }
        Ok(())
    }

    /// The second reading: every record of segments in which something lives.
    fn again(&mut self, o: &Opened, mut each: impl FnMut(&[u8], Pos)) -> Result<(), OpenError> {
        for (segment, size) in o.segments.list() {
            if o.index.is_dead(segment) {
                self.step(size);
                continue;
            }
            let mut reader = o
                .segments
                .frames(segment, SEGMENT_HEAD as u64)
                .map_err(|e| self.fail(e))?;
            while let Ok(Some((offset, f))) = reader.next().map_err(|e| self.fail(e))? {
                for_each_record(
                    segment,
                    offset + (f.len - f.records.len()) as u64,
                    f.records,
                    |rec, at, _| {
                        each(rec, at);
                        true
                    },
                );
                self.step(f.len as u64);
            }
        }
        Ok(())
    }
}

fn hand_out(rec: &[u8], visit: &mut dyn FnMut(Rec<'_>)) {
    if let Some(rec) = record::decode(rec) {
        visit(rec);
    }
}

fn learn_records(
    index: &mut Index,
    segment: u32,
    first: u64,
    records: &[u8],
    max: &mut (u64, u64),
    count: &mut u64,
) -> bool {
    for_each_record(segment, first, records, |rec, at, len| {
        *count += 1;
        let (sid, mid) = numbers(rec);
        *max = (max.0.max(sid), max.1.max(mid));
        index.apply(rec, at, len)
    })
}

/// Calls `each` with every record, its place and its whole length, as long as it says true.
pub(super) fn for_each_record(
    segment: u32,
    first: u64,
    records: &[u8],
    mut each: impl FnMut(&[u8], Pos, u32) -> bool,
) -> bool {
    let mut f = Fields(records);
    while !f.0.is_empty() {
        let before = f.0.len();
        let at = first + (records.len() - before) as u64;
        let Some(rec) = f.record() else { return false };
        if !each(rec, Pos::new(segment, at as u32), (before - f.0.len()) as u32) {
            return false;
        }
    }
    true
}

/// The highest session and message number in a record; 0 where it has none.
fn numbers(rec: &[u8]) -> (u64, u64) {
    let mut f = Fields(rec);
    let tag = f.byte();
    let first = f.number().unwrap_or(0);
    match tag {
        Some(tag::MSG_ENQ) => {
            let targets = record::message_head(&mut Fields(rec.get(1..).unwrap_or_default()));
            (
                targets.map_or(0, |(_, t)| t.iter().map(|t| t.sid).max().unwrap_or(0)),
                first,
            )
        }
        Some(tag::ACK | tag::OUT) => (first, f.number().unwrap_or(0)),
        Some(tag::RETAIN_PUT | tag::RETAIN_DEL | tag::BAN_PUT | tag::BAN_DEL) | None => (0, 0),
        Some(_) => (first, 0),
    }
}

/// Numbers of frames that are whole in these bytes.
fn whole_frames(bytes: &[u8]) -> Vec<u64> {
    let (mut out, mut from) = (Vec::new(), 0);
    while let Some(at) = frame::find(bytes, from) {
        from = match frame::read(bytes.get(at..).unwrap_or_default()) {
            Ok(f) => {
                out.push(f.number);
                at + f.len
            }
            Err(NoFrame::Short | NoFrame::Magic | NoFrame::Checksum) => at + 1,
        };
    }
    out
}
