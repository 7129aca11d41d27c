//! Files as the store needs them, behind a boundary, so that tests can fail them and cut the power.
//!
//! Not here: what is in them.

use std::fmt::Debug;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One file.
pub(super) trait DiskFile: Debug + Send + Sync {
    /// Writes all bytes at this place.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Fills `buf` from this place.
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<()>;
    /// Makes what was written safe (fdatasync).
    fn sync(&self) -> io::Result<()>;
    /// Its size.
    fn size(&self) -> io::Result<u64>;
    /// Cuts it off.
    fn truncate(&self, size: u64) -> io::Result<()>;
}

/// A directory of files.
pub(super) trait Disk: Debug + Send + Sync {
    /// Names of its files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Opens a file; creates it (it must not exist) with `create`.
    fn open(&self, name: &str, create: bool) -> io::Result<Arc<dyn DiskFile>>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations and removals safe.
    fn sync_dir(&self) -> io::Result<()>;
}

impl DiskFile for File {
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<()> {
        self.read_exact_at(buf, at)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.set_len(size)?;
        self.sync_all()
    }
}

/// A directory of the real file system.
#[derive(Debug)]
pub(super) struct RealDisk {
    dir: PathBuf,
}

impl RealDisk {
    /// Creates the directory (0750) if it is missing.
    pub(super) fn create(dir: &Path) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(dir)?;
        // The directory's own name has to be safe too.
        if let Some(parent) = dir.parent() {
            File::open(parent)?.sync_all()?;
        }
        Ok(Self { dir: dir.to_owned() })
    }
}

impl Disk for RealDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.dir)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn open(&self, name: &str, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(create)
            .mode(0o640)
            .open(self.dir.join(name))?;
        Ok(Arc::new(file))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.dir.join(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }
}

/// Keeps other processes out of a data directory as long as it lives.
#[derive(Debug)]
pub(super) struct DirLock {
    _file: File,
}

impl DirLock {
    /// `None` if another process has it.
    pub(super) fn take(dir: &Path) -> io::Result<Option<Self>> {
        let path = dir.join("LOCK");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o640)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(e),
        }
    }
}
