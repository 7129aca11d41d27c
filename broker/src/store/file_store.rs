//! Both logs of a data directory.
//!
//! Not here: how one log works (`file_log`), how it is read at start (`recover`).

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;

use super::disk::{DirLock, Disk, RealDisk};
use super::file_log::{SLOW, Shared, Usage, Writer};
use super::index::{Index, Live};
use super::recover::{OpenError, Progress, Recovered, recover};
use super::segments::Files;
use super::{Ids, Listener, Log, Rec, Room, Settings, StoreStats, StoredMessage, Ticket, record};

/// The store on disk.
pub struct FileStore {
    logs: [Arc<Shared>; 2],
    threads: Vec<JoinHandle<()>>,
    files: Files,
    usage: Arc<Usage>,
    listeners: Arc<RwLock<Vec<Listener>>>,
    ids: Ids,
    /// Held, never asked.
    lock: Option<DirLock>,
}

impl std::fmt::Debug for FileStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileStore")
            .field("usage", &self.usage)
            .finish_non_exhaustive()
    }
}

impl FileStore {
    pub(super) fn open(
        settings: &Settings,
        visit: &mut dyn FnMut(Rec<'_>),
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(Self, Recovered), OpenError> {
        let fail = |e| OpenError::Io(settings.dir.clone(), e);
        let disk = |log: Log| RealDisk::create(&settings.dir.join(log.as_str()));
        let disks: [Arc<dyn Disk>; 2] = [
            Arc::new(disk(Log::State).map_err(fail)?),
            Arc::new(disk(Log::Queue).map_err(fail)?),
        ];
        let lock = DirLock::take(&settings.dir).map_err(fail)?;
        let lock = lock.ok_or_else(|| OpenError::Locked(settings.dir.clone()))?;
        let (mut store, recovered) = Self::on(disks, settings, visit, progress)?;
        store.lock = Some(lock);
        Ok((store, recovered))
    }

    /// On any disks.
    pub(super) fn on(
        disks: [Arc<dyn Disk>; 2],
        settings: &Settings,
        visit: &mut dyn FnMut(Rec<'_>),
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(Self, Recovered), OpenError> {
        let (opened, recovered) = recover(disks, settings, visit, progress)?;
        let usage = Arc::new(Usage::new(settings.max_bytes));
        let listeners: Arc<RwLock<Vec<Listener>>> = Arc::default();
        let ids = Ids::after(opened.sid, opened.mid);
        let files = opened.queue.segments.files();
        let mut threads = Vec::new();
        let logs = [(Log::State, opened.state), (Log::Queue, opened.queue)].map(|(log, o)| {
            let shared = Arc::new(Shared::new(
                log,
                settings,
                o.index,
                Arc::clone(&usage),
                Arc::clone(&listeners),
            ));
            let writer = Writer::new(Arc::clone(&shared), o.segments, settings.clone(), o.next_frame);
            let thread = std::thread::Builder::new().name(format!("store-{}", log.as_str()));
            threads.push(thread.spawn(move || writer.run()));
            shared
        });
        let threads = threads
            .into_iter()
            .collect::<io::Result<_>>()
            .map_err(OpenError::Thread)?;
        Ok((
            Self {
                logs,
                threads,
                files,
                usage,
                listeners,
                ids,
                lock: None,
            },
            recovered,
        ))
    }

    fn log(&self, log: Log) -> &Shared {
        let [state, queue] = &self.logs;
        match log {
            Log::State => state,
            Log::Queue => queue,
        }
    }

    pub(super) fn ids(&self) -> &Ids {
        &self.ids
    }

    pub(super) fn append(&self, log: Log, records: &[Rec<'_>]) -> Ticket {
        self.log(log).append(records)
    }

    pub(super) fn last(&self, log: Log) -> Ticket {
        self.log(log).last()
    }

    pub(super) fn completed(&self, log: Log) -> Ticket {
        self.log(log).completed()
    }

    pub(super) fn on_complete(&self, listener: Listener) {
        self.listeners
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(listener);
    }

    pub(super) fn room(&self) -> Room {
        let u = &self.usage;
        if u.full.iter().any(|f| f.load(Relaxed)) || u.failed.load(Relaxed) || u.total() >= u.max {
            Room::Full
        } else if u.pending.iter().any(|p| p.load(Relaxed) > SLOW) {
            Room::Slow
        } else {
            Room::Free
        }
    }

    pub(super) fn read(&self, mid: u64) -> io::Result<Option<StoredMessage>> {
        let found = match &*self.log(Log::Queue).index() {
            Index::Queue(i) => i.find(mid),
            Index::State(_) => None,
        };
        let Some((at, len)) = found else { return Ok(None) };
        let file = self
            .files
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&at.segment())
            .cloned();
        // It was moved and its old segment removed since: look again.
        let Some(file) = file else { return self.read(mid) };
        let mut bytes = vec![0; len as usize];
        file.read_at(&mut bytes, at.offset())?;
        let record = record::Fields(&bytes).record().map(<[u8]>::to_vec);
        let record = record.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        Ok(Some(StoredMessage { record }))
    }

    pub(super) fn flush(&self) -> bool {
        // State first: Queue records are worth nothing without their sessions.
        self.log(Log::State).flush() && self.log(Log::Queue).flush()
    }

    pub(super) fn stats(&self) -> StoreStats {
        let mut live = Live::default();
        for log in &self.logs {
            log.index().count(&mut live);
        }
        StoreStats {
            state: self.log(Log::State).stats(),
            queue: self.log(Log::Queue).stats(),
            live,
            full: self.usage.full.iter().any(|f| f.load(Relaxed)),
            failed: self.usage.failed.load(Relaxed),
        }
    }
}

impl Drop for FileStore {
    /// Writes and syncs everything.
    fn drop(&mut self) {
        for log in &self.logs {
            log.stop();
        }
        for thread in self.threads.drain(..) {
            // A panic there has already been printed.
            let _ = thread.join();
        }
    }
}
