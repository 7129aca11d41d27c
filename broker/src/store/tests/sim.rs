//! A disk in memory that can be full, fail, hold back a sync, and lose its power.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::super::disk::{Disk, DiskFile};

/// A number generator (xorshift) that a printed seed repeats.
#[derive(Clone, Debug)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Less than `n`.
    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.next() >> 11) as usize % n.max(1)
    }
}

#[derive(Debug, Default)]
struct Content {
    now: Vec<u8>,
    safe: Vec<u8>,
    /// Written since the last sync.
    unsafe_writes: Vec<(usize, Vec<u8>)>,
}

fn put(into: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if into.len() < at + bytes.len() {
        into.resize(at + bytes.len(), 0);
    }
    into[at..at + bytes.len()].copy_from_slice(bytes);
}

#[derive(Debug, Default)]
struct Inner {
    contents: Vec<Content>,
    names: BTreeMap<String, usize>,
    safe_names: BTreeMap<String, usize>,
    room: Option<usize>,
    fail_sync: bool,
    hold: bool,
    held: bool,
    pub(super) syncs: u64,
    pub(super) written: u64,
}

/// A directory.
#[derive(Clone, Debug, Default)]
pub(super) struct SimDisk(Arc<(Mutex<Inner>, Condvar)>);

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    id: usize,
}

impl SimDisk {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.0.lock().unwrap()
    }

    /// Bytes that can still be written; `None` = any number.
    pub(super) fn set_room(&self, room: Option<usize>) {
        self.lock().room = room;
    }

    pub(super) fn fail_syncs(&self) {
        self.lock().fail_sync = true;
    }

    /// Holds back the next sync of a file until [`Self::release`]; returns once one waits.
    pub(super) fn hold(&self) {
        self.lock().hold = true;
    }

    pub(super) fn wait_held(&self) {
        let mut d = self.lock();
        while !d.held {
            d = self.0.1.wait(d).unwrap();
        }
    }

    pub(super) fn release(&self) {
        self.lock().hold = false;
        self.0.1.notify_all();
    }

    pub(super) fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    pub(super) fn written(&self) -> u64 {
        self.lock().written
    }

    /// What is left after a power loss: all that was synced, and of the rest nothing, or with `rng` any
    /// part in any order, torn anywhere.
    pub(super) fn after_power_loss(&self, mut rng: Option<&mut Rng>) -> Self {
        let old = self.lock();
        let mut new = Inner {
            safe_names: old.safe_names.clone(),
            ..Inner::default()
        };
        if let Some(rng) = rng.as_deref_mut() {
            for (name, id) in &old.names {
                if rng.below(2) == 0 {
                    new.safe_names.insert(name.clone(), *id);
                }
            }
        }
        for c in &old.contents {
            let mut left = c.safe.clone();
            if let Some(rng) = rng.as_deref_mut() {
                for (at, bytes) in &c.unsafe_writes {
                    match rng.below(3) {
                        0 => put(&mut left, *at, bytes),
                        1 => put(&mut left, *at, &bytes[..rng.below(bytes.len() + 1)]),
                        _ => {}
                    }
                }
            }
            new.contents.push(Content {
                now: left.clone(),
                safe: left,
                unsafe_writes: Vec::new(),
            });
        }
        new.names = new.safe_names.clone();
        Self(Arc::new((Mutex::new(new), Condvar::new())))
    }

    /// What a file holds now.
    pub(super) fn content(&self, name: &str) -> Vec<u8> {
        let d = self.lock();
        d.contents[d.names[name]].now.clone()
    }

    /// Replaces (or makes) a file.
    pub(super) fn set_content(&self, name: &str, bytes: &[u8]) {
        let mut d = self.lock();
        let content = Content {
            now: bytes.to_vec(),
            safe: bytes.to_vec(),
            unsafe_writes: Vec::new(),
        };
        d.contents.push(content);
        let id = d.contents.len() - 1;
        d.names.insert(name.to_owned(), id);
        d.safe_names.insert(name.to_owned(), id);
    }
}

impl DiskFile for SimFile {
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut d = self.disk.lock();
        let fits = d.room.unwrap_or(usize::MAX).min(bytes.len());
        if let Some(room) = &mut d.room {
            *room -= fits;
        }
        d.written += fits as u64;
        let c = &mut d.contents[self.id];
        put(&mut c.now, at as usize, &bytes[..fits]);
        c.unsafe_writes.push((at as usize, bytes[..fits].to_vec()));
        if fits < bytes.len() {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            Ok(())
        }
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<()> {
        let d = self.disk.lock();
        let from = d.contents[self.id].now.get(at as usize..at as usize + buf.len());
        buf.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut d = self.disk.lock();
        d.syncs += 1;
        while d.hold {
            d.held = true;
            self.disk.0.1.notify_all();
            d = self.disk.0.1.wait(d).unwrap();
        }
        d.held = false;
        if d.fail_sync {
            return Err(io::Error::other("injected"));
        }
        let c = &mut d.contents[self.id];
        for (at, bytes) in std::mem::take(&mut c.unsafe_writes) {
            put(&mut c.safe, at, &bytes);
        }
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.lock().contents[self.id].now.len() as u64)
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        let c = &mut self.disk.lock().contents[self.id];
        c.now.truncate(size as usize);
        c.safe.clone_from(&c.now);
        c.unsafe_writes.clear();
        Ok(())
    }
}

impl Disk for SimDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().names.keys().cloned().collect())
    }

    fn open(&self, name: &str, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        let mut d = self.lock();
        if create {
            if d.names.contains_key(name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            d.contents.push(Content::default());
            let id = d.contents.len() - 1;
            d.names.insert(name.to_owned(), id);
        }
        let id = *d.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        drop(d);
        Ok(Arc::new(SimFile {
            disk: self.clone(),
            id,
        }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.lock()
            .names
            .remove(name)
            .map(|_| ())
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut d = self.lock();
        d.safe_names = d.names.clone();
        Ok(())
    }
}
