//! The file of the log: opened 0640 and locked, appended in whole lines, rotated, old ones compressed.
//!
//! Not here: what is written and when (`writer`).

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use super::chain;
use super::log::OpenError;
use super::writer::{Last, Sink};

/// The part of a file that appending needs; tests put a failing one in its place.
pub(super) trait RawFile: Send {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()>;
    fn set_len(&mut self, len: u64) -> io::Result<()>;
    fn sync(&mut self) -> io::Result<()>;
}

impl RawFile for File {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        io::Write::write_all(self, bytes)
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Appends to a file so that it only ever holds whole lines.
pub(super) struct Appender<F> {
    pub(super) file: F,
    len: u64,
    /// A failed write left bytes behind that could not be cut off yet.
    torn: bool,
}

impl<F: RawFile> Appender<F> {
    pub(super) fn new(file: F, len: u64) -> Self {
        Self {
            file,
            len,
            torn: false,
        }
    }

    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.torn {
            self.file.set_len(self.len)?;
            self.torn = false;
        }
        match self.file.write_all(lines) {
            Ok(()) => {
                self.len += lines.len() as u64;
                Ok(())
            }
            Err(e) => {
                self.torn = self.file.set_len(self.len).is_err();
                Err(e)
            }
        }
    }
}

/// The log on disk.
pub(super) struct FileSink {
    path: PathBuf,
    appender: Appender<File>,
    last: Last,
    packing: Option<JoinHandle<()>>,
}

impl FileSink {
    /// Opens or creates the file and its directory, and reads where it ended. A last line without an
    /// end (the machine stopped in the middle of it) is cut off.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let fail = |e: io::Error| OpenError::File(path.to_owned(), e);
        if let Some(dir) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
            std::fs::create_dir_all(dir).map_err(fail)?;
        }
        let mut file = open_locked(path).map_err(|e| match e {
            TryLockError::Error(e) => fail(e),
            TryLockError::WouldBlock => OpenError::Locked(path.to_owned()),
        })?;
        let (last, len) = read_end(&mut file).map_err(fail)?;
        if file.metadata().map_err(fail)?.len() > len {
            file.set_len(len).map_err(fail)?;
        }
        Ok(Self {
            path: path.to_owned(),
            appender: Appender::new(file, len),
            last,
            packing: None,
        })
    }

    /// `audit.log.1`, `audit.log.2.gz`...
    fn old(&self, n: usize, packed: bool) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(format!(".{n}{}", if packed { ".gz" } else { "" }));
        name.into()
    }
}

impl Sink for FileSink {
    fn last(&self) -> Last {
        self.last.clone()
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.appender.append(lines)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.appender.file.sync()
    }

    fn size(&self) -> u64 {
        self.appender.len
    }

    fn rotate(&mut self, keep: usize) -> io::Result<()> {
        if let Some(thread) = self.packing.take() {
            // It reports its own errors; an old file left unpacked is moved along as it is.
            let _ = thread.join();
        }
        for n in (1..=keep.max(1)).rev() {
            for packed in [false, true] {
                let (from, to) = (self.old(n, packed), self.old(n + 1, packed));
                let moved = if n >= keep {
                    std::fs::remove_file(&from)
                } else {
                    std::fs::rename(&from, &to)
                };
                match moved {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                    _ => {}
                }
            }
        }
        let first = self.old(1, false);
        std::fs::rename(&self.path, &first)?;
        let opened = self.reopen();
        if opened.is_err() {
            // Go on in the old file under its old name.
            let _ = std::fs::rename(&first, &self.path);
        } else if keep == 0 {
            std::fs::remove_file(&first)?;
        } else {
            let target = self.old(1, true);
            self.packing = std::thread::Builder::new()
                .name("audit-gzip".to_owned())
                .spawn(move || {
                    if let Err(e) = pack(&first, &target) {
                        tracing::error!(target: "audit", file = %first.display(), error = %e, "rotated audit log cannot be compressed; it is kept as it is");
                    }
                })
                .ok();
        }
        opened
    }

    fn reopen(&mut self) -> io::Result<()> {
        // The name may still lead to the file we hold: our own lock must not be in the way.
        self.appender.file.unlock()?;
        let mut file = match open_locked(&self.path) {
            Ok(file) => file,
            Err(e) => {
                self.appender.file.lock()?;
                return Err(match e {
                    TryLockError::Error(e) => e,
                    TryLockError::WouldBlock => io::Error::other("another process is writing it"),
                });
            }
        };
        let len = file.seek(SeekFrom::End(0))?;
        self.appender = Appender::new(file, len);
        Ok(())
    }
}

impl Drop for FileSink {
    fn drop(&mut self) {
        if let Some(thread) = self.packing.take() {
            let _ = thread.join();
        }
    }
}

fn open_locked(path: &Path) -> Result<File, TryLockError> {
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
        .map_err(TryLockError::Error)?;
    file.try_lock()?;
    Ok(file)
}

/// Compresses `from` into `to`, which appears whole or not at all.
fn pack(from: &Path, to: &Path) -> io::Result<()> {
    let mut part = to.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let out = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o640)
        .open(&part)?;
    let mut z = flate2::write::GzEncoder::new(BufWriter::new(out), flate2::Compression::default());
    let copied = File::open(from).and_then(|mut f| io::copy(&mut f, &mut z));
    let done = copied
        .and_then(|_| z.finish())
        .and_then(|b| b.into_inner().map_err(io::Error::from));
    match done.and_then(|f| f.sync_all()) {
        Ok(()) => {
            std::fs::rename(&part, to)?;
            std::fs::remove_file(from)
        }
        Err(e) => {
            // The half-written one only takes space, perhaps the space that was missing.
            let _ = std::fs::remove_file(&part);
            Err(e)
        }
    }
}

/// Number and hash of the last whole line, and where that line ends.
fn read_end(file: &mut File) -> io::Result<(Last, u64)> {
    /// Longer than any record.
    const TAIL: u64 = 1 << 20;
    let len = file.seek(SeekFrom::End(0))?;
    let start = len.saturating_sub(TAIL);
    file.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    let Some(end) = tail.iter().rposition(|b| *b == b'\n') else {
        return Ok((Last::default(), if start == 0 { 0 } else { len }));
    };
    let whole = start + end as u64 + 1;
    let line = tail
        .get(..end)
        .and_then(|t| t.rsplit(|b| *b == b'\n').next())
        .unwrap_or_default();
    let seq = serde_json::from_slice::<serde_json::Value>(line)
        .ok()
        .and_then(|v| v.get("seq")?.as_u64())
        .unwrap_or(0);
    let hash = chain::split(line).map(|(_, hash)| hash.to_owned());
    Ok((Last { seq, hash }, whole))
}
