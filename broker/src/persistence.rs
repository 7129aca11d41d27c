//! Opening the store at start and giving what it kept to the shards; waking them when the disk has what they wrote.
//!
//! What does not live here: records and files (`store`), what a shard does with them (`shard::restore`).

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::node::Node;
use crate::shard::restore::Restored;
use crate::store::{Completion, Log, Progress, Settings, StoreHandle};

/// How often a long recovery tells how far it is.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// Opens the store of this configuration; what it kept. The error tells the operator what to do.
pub fn open(config: &Config) -> Result<(StoreHandle, Restored), String> {
    let settings = config
        .node
        .data_dir
        .as_ref()
        .and_then(|dir| Settings::from_config(dir, &config.store));
    let Some(settings) = settings else {
        return Ok((StoreHandle::memory(), Restored::default()));
    };
    std::fs::create_dir_all(&settings.dir)
        .map_err(|error| format!("node.data_dir {}: {error}", settings.dir.display()))?;
    let mut restored = Restored::default();
    let mut told = Instant::now();
    let mut progress = |p: Progress| {
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            let percent = (p.done * 100).checked_div(p.total).unwrap_or(100);
            tracing::info!(
                "the store is read: {percent} % of {} bytes, {} records",
                p.total,
                p.records
            );
            crate::systemd::extend(TELL_EVERY * 5);
        }
    };
    let opened = StoreHandle::open(&settings, &mut |record| restored.take(record), &mut progress);
    let (store, recovered) = opened.map_err(|error| format!("store: {error}"))?;
    for torn in &recovered.cut_off {
        tracing::warn!(
            "store: the torn end of segment {} of the {} log was cut off",
            torn.segment,
            torn.log.as_str()
        );
    }
    if recovered.records > 0 {
        let (sessions, retained) = (restored.sessions(), restored.retained.len());
        tracing::info!(
            "store: {sessions} sessions, {retained} retained messages read in {:?}",
            recovered.took
        );
    }
    Ok((store, restored))
}

/// Gives the shards what is theirs, before anybody connects.
pub fn restore(node: &Arc<Node>, mut restored: Restored) {
    for message in std::mem::take(&mut restored.retained) {
        // Limits that have become smaller meanwhile do not take away what was accepted.
        node.retained
            .put(message, crate::router::retained::RetainedLimits::default());
    }
    node.restore_bans(&std::mem::take(&mut restored.bans));
    let shards = node.inboxes.len();
    let home = |client_id: &Arc<str>| {
        let mut hasher = DefaultHasher::new();
        client_id.hash(&mut hasher);
        node.registry
            .claim(client_id, (hasher.finish() % shards as u64) as u16)
    };
    let dealt = restored.deal(shards, home);
    let (done, waiting) = std::sync::mpsc::channel();
    for (inbox, sessions) in node.inboxes.iter().zip(dealt) {
        let done = done.clone();
        inbox.run(move |shard| {
            shard.restore(sessions);
            // The receiver waits for as many answers as there are shards.
            let _ = done.send(());
        });
    }
    drop(done);
    // Nobody may publish before everybody's subscriptions are back.
    while waiting.recv().is_ok() {}
    for inbox in &node.inboxes {
        inbox.run(crate::shard::Shard::resume_time);
    }
    let orphans = restored.orphans();
    if let Some(inbox) = node.inboxes.first() {
        inbox.run(move |shard| {
            for (sid, will) in orphans {
                shard.publish_orphan(sid, &will);
            }
        });
    }
}

/// Wakes the shards when the disk has something of theirs.
pub fn follow(node: &Arc<Node>) {
    let inboxes = node.inboxes.clone();
    node.store
        .on_complete(Arc::new(move |log: Log, completion| match completion {
            Completion::Done(_) => {
                for inbox in &inboxes {
                    inbox.run(crate::shard::Shard::settle_debts);
                }
            }
            Completion::Failed => {
                // What was acknowledged is on disk; what comes now cannot be.
                tracing::error!(
                    "store: the disk failed writing the {} log; stopping",
                    log.as_str()
                );
                std::process::exit(1);
            }
        }));
}
