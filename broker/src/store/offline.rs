//! `broker store check|stat|repair`: a data directory that no broker is using.
//!
//! Check and stat change nothing. Repair rewrites damaged segments with the frames that are whole, keeps
//! the originals as `.bad` and says what went. Not here: the command line (`cli::store`).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::disk::{DirLock, RealDisk};
use super::frame::{self, SEGMENT_HEAD};
use super::index::{Index, Live, QueueIndex, StateIndex};
use super::recover::{OpenError, Progress, for_each_record};
use super::segments::{Segments, name};
use super::{Log, record};

/// What is wrong at one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// Where in it.
    pub offset: u64,
    /// What.
    pub what: String,
}

/// One log as it was found.
#[derive(Clone, Debug, Serialize)]
pub struct LogReport {
    /// Which.
    pub log: Log,
    /// Files.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of records that are alive.
    pub live_bytes: u64,
    /// Whole frames.
    pub frames: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of a torn end: what was being written when the machine stopped. Cut off at the next start.
    pub torn: u64,
    /// Damage: what was acknowledged may be missing.
    pub problems: Vec<Problem>,
}

/// Both logs.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// State, then Queue.
    pub logs: Vec<LogReport>,
    /// What is alive.
    pub live: Live,
}

/// Reads a data directory through.
///
/// # Errors
/// It cannot be read, or a broker is using it.
pub fn inspect(dir: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Report, OpenError> {
    let _lock = lock(dir)?;
    let fail = |e| OpenError::Io(dir.to_owned(), e);
    let logs = open(dir).map_err(fail)?;
    let total = logs.iter().map(Segments::bytes).sum();
    let mut at = Progress {
        done: 0,
        total,
        records: 0,
    };
    let (mut reports, mut indexes) = (Vec::new(), Vec::new());
    for (log, segments) in Log::ALL.into_iter().zip(&logs) {
        let mut tell = |bytes: u64, records: u64| {
            at.done += bytes;
            at.records += records;
            progress(at);
        };
        let (report, index) = walk(log, segments, &mut tell).map_err(fail)?;
        reports.push(report);
        indexes.push(index);
    }
    if let [Index::State(state), Index::Queue(queue)] = indexes.as_mut_slice() {
        state.drop_orphans();
        queue.keep_sessions(|sid| state.has_session(sid));
    }
    let mut live = Live::default();
    for (report, index) in reports.iter_mut().zip(&indexes) {
        report.live_bytes = index.live_bytes();
        index.count(&mut live);
    }
    Ok(Report { logs: reports, live })
}

fn lock(dir: &Path) -> Result<DirLock, OpenError> {
    let fail = |e| OpenError::Io(dir.to_owned(), e);
    // Opening would make it.
    std::fs::metadata(dir.join(Log::State.as_str())).map_err(fail)?;
    DirLock::take(dir)
        .map_err(fail)?
        .ok_or_else(|| OpenError::Locked(dir.to_owned()))
}

fn open(dir: &Path) -> io::Result<Vec<Segments>> {
    let one = |log: Log| {
        let disk = RealDisk::create(&dir.join(log.as_str()))?;
        Segments::open(log, Arc::new(disk), u64::MAX)
    };
    Log::ALL.into_iter().map(one).collect()
}

/// Reads one log; every frame and every record is checked.
fn walk(log: Log, segments: &Segments, tell: &mut dyn FnMut(u64, u64)) -> io::Result<(LogReport, Index)> {
    let mut index = match log {
        Log::State => Index::State(StateIndex::default()),
        Log::Queue => Index::Queue(QueueIndex::default()),
    };
    let list: Vec<_> = segments.list().collect();
    let mut report = LogReport {
        log,
        segments: list.len() as u64,
        bytes: segments.bytes(),
        live_bytes: 0,
        frames: 0,
        records: 0,
        torn: 0,
        problems: Vec::new(),
    };
    let mut expected = None;
    for (i, (segment, size)) in list.iter().copied().enumerate() {
        let last = i + 1 == list.len();
        let problem = |offset, what: &str| Problem {
            file: format!("{}/{}", log.as_str(), name(segment)),
            offset,
            what: what.to_owned(),
        };
        let bytes = read_all(segments, segment, size)?;
        for found in pieces(&bytes) {
            match found {
                Piece::Frame(offset, f) => {
                    if f.count > 0 && expected.is_some_and(|n| n != f.number) {
                        report
                            .problems
                            .push(problem(offset as u64, "frames are missing before this one"));
                    }
                    expected = Some(f.number + 1);
                    let (mut records, first) = (0, (offset + f.len - f.records.len()) as u64);
                    let good = for_each_record(segment, first, f.records, |rec, at, len| {
                        records += 1;
                        record::decode(rec).is_some() && index.apply(rec, at, len)
                    });
                    if !good || records != u64::from(f.count) {
                        report
                            .problems
                            .push(problem(offset as u64, "a record that this version does not know"));
                    }
                    report.frames += 1;
                    report.records += records;
                    tell(0, records);
                }
                // What follows nothing whole in the last segment was being written when the power went.
                Piece::Bad(from, to, _) if last && to == bytes.len() => report.torn = (to - from) as u64,
                Piece::Bad(from, to, why) => {
                    report.problems.push(problem(
                        from as u64,
                        &format!("{why}: {} bytes are lost", to - from),
                    ));
                }
            }
        }
        tell(size, 0);
    }
    Ok((report, index))
}

fn read_all(segments: &Segments, segment: u32, size: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; size as usize];
    segments.file(segment)?.read_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// A part of a segment.
enum Piece<'a> {
    /// A whole frame at this offset.
    Frame(usize, frame::Frame<'a>),
    /// From here to there is no whole frame, and why.
    Bad(usize, usize, &'static str),
}

/// The parts of a segment after its head. Behind a bad frame the next one is looked for where that one
/// says it ends, then byte by byte (a payload that looks like a frame could be taken for one then).
fn pieces(bytes: &[u8]) -> Vec<Piece<'_>> {
    let mut out = Vec::new();
    let mut at = SEGMENT_HEAD.min(bytes.len());
    if bytes.len() < SEGMENT_HEAD {
        out.push(Piece::Bad(0, bytes.len(), "cut off"));
    }
    while at < bytes.len() {
        match frame::read(bytes.get(at..).unwrap_or_default()) {
            Ok(f) => {
                out.push(Piece::Frame(at, f));
                at += f.len;
            }
            Err(e) => {
                let whole = |from: &usize| frame::read(bytes.get(*from..).unwrap_or_default()).is_ok();
                let next = frame::claimed_len(bytes.get(at..).unwrap_or_default())
                    .map(|len| at + len)
                    .filter(whole)
                    .or_else(|| {
                        let mut from = at + 1;
                        loop {
                            from = frame::find(bytes, from)?;
                            if whole(&from) {
                                return Some(from);
                            }
                            from += 1;
                        }
                    })
                    .unwrap_or(bytes.len());
                out.push(Piece::Bad(at, next, e.as_str()));
                at = next;
            }
        }
    }
    out
}

/// What repair did to one segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Repaired {
    /// The file.
    pub file: PathBuf,
    /// Where its original is kept.
    pub kept: PathBuf,
    /// Bytes that could not be read.
    pub lost_bytes: u64,
    /// Frames that are missing, as far as their numbers tell.
    pub lost_frames: u64,
}

/// Rewrites damaged segments.
///
/// # Errors
/// The directory cannot be read or written, or a broker is using it.
pub fn repair(dir: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Vec<Repaired>, OpenError> {
    let _lock = lock(dir)?;
    let fail = |e| OpenError::Io(dir.to_owned(), e);
    let logs = open(dir).map_err(fail)?;
    let mut at = Progress {
        done: 0,
        total: logs.iter().map(Segments::bytes).sum(),
        records: 0,
    };
    let mut out = Vec::new();
    for (log, segments) in Log::ALL.into_iter().zip(&logs) {
        let mut expected: Option<u64> = None;
        for (segment, size) in segments.list() {
            let path = dir.join(log.as_str()).join(name(segment));
            let bytes = read_all(segments, segment, size).map_err(fail)?;
            out.extend(repair_one(log, segment, &path, &bytes, &mut expected).map_err(fail)?);
            at.done += size;
            progress(at);
        }
    }
    Ok(out)
}

fn repair_one(
    log: Log,
    segment: u32,
    path: &Path,
    bytes: &[u8],
    expected: &mut Option<u64>,
) -> io::Result<Option<Repaired>> {
    let mut good = frame::segment_head(log, segment).to_vec();
    let (mut lost_bytes, mut lost_frames, mut marks) = (0, 0, false);
    for piece in pieces(bytes) {
        match piece {
            Piece::Bad(from, to, _) => lost_bytes += (to - from) as u64,
            Piece::Frame(at, f) => {
                if let Some(missing) = expected.and_then(|n| f.number.checked_sub(n)).filter(|n| *n > 0) {
                    if f.count > 0 {
                        // An empty frame with the number before: reading goes on from it.
                        let start = frame::begin(&mut good);
                        frame::finish(&mut good, start, f.epoch, f.number - 1, 0);
                        marks = true;
                    }
                    lost_frames += missing;
                }
                good.extend_from_slice(bytes.get(at..at + f.len).unwrap_or_default());
                *expected = Some(f.number + 1);
            }
        }
    }
    if lost_bytes == 0 && !marks {
        return Ok(None);
    }
    let with = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let (kept, new) = (with(".bad"), with(".new"));
    let file = std::fs::File::create(&new)?;
    io::Write::write_all(&mut &file, &good)?;
    file.sync_all()?;
    std::fs::hard_link(path, &kept).or_else(|e| match e.kind() {
        // Of an earlier repair: the newer original is worth more.
        io::ErrorKind::AlreadyExists => std::fs::copy(path, &kept).map(|_| ()),
        _ => Err(e),
    })?;
    std::fs::rename(&new, path)?;
    if let Some(dir) = path.parent() {
        std::fs::File::open(dir)?.sync_all()?;
    }
    Ok(Some(Repaired {
        file: path.to_owned(),
        kept,
        lost_bytes,
        lost_frames,
    }))
}
