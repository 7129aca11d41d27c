//! The store alone: messages that pass through many queues, a full queue that is drained, bytes written
//! per byte of payload, memory per queued message, and how long a start takes with all of it.
//!
//! `cargo run -p benches --release --features store --bin store_micro -- --help`

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use broker::store::{
    Body, Completion, Durability, Log, Rec, Room, SessionRec, Settings, StoreHandle, Target, Ticket,
};
use clap::Parser;

/// Measures the store.
#[derive(Debug, Parser)]
struct Args {
    /// Messages
    #[arg(long, default_value_t = 1_000_000)]
    messages: u64,
    /// Sessions they are spread over
    #[arg(long, default_value_t = 1000)]
    queues: u64,
    /// Bytes of a payload
    #[arg(long, default_value_t = 100)]
    size: usize,
    /// Retained messages for the second start
    #[arg(long, default_value_t = 1_000_000)]
    retained: u64,
    /// Messages not yet acknowledged while messages pass through
    #[arg(long, default_value_t = 10_000)]
    window: u64,
    /// Tickets do not wait for the disk
    #[arg(long)]
    lazy: bool,
    /// Where; a new temporary directory by default
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// Wakes the driver when tickets complete.
#[derive(Default)]
struct Bell {
    rung: Mutex<Ticket>,
    bell: Condvar,
}

impl Bell {
    /// Waits until the store has room again.
    fn wait(&self, store: &StoreHandle) {
        let mut rung = self.rung.lock().expect("no panic");
        while store.room() != Room::Free {
            (rung, _) = self
                .bell
                .wait_timeout(rung, Duration::from_millis(50))
                .expect("no panic");
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let dir = args.dir.clone().unwrap_or_else(|| temporary.path().to_owned());
    let durability = if args.lazy {
        Durability::Async
    } else {
        Durability::Group
    };
    let settings = Settings {
        durability,
        ..Settings::new(dir)
    };
    println!(
        "{} messages of {} bytes over {} queues, {durability:?}",
        args.messages, args.size, args.queues
    );
    passing(&args, &settings);
    filling(&args, &settings);
    starting(&args, &settings);
    ExitCode::SUCCESS
}

fn open(settings: &Settings) -> (StoreHandle, Arc<Bell>, Duration) {
    let begun = Instant::now();
    let mut count = 0_u64;
    let opened = StoreHandle::open(settings, &mut |_| count += 1, &mut |_| {});
    let (store, _) = opened.expect("the store opens");
    let took = begun.elapsed();
    println!("  start: {count} things in {took:.2?}");
    let bell = Arc::new(Bell::default());
    let ring = Arc::clone(&bell);
    store.on_complete(Arc::new(move |_, what| {
        if let Completion::Done(t) = what {
            *ring.rung.lock().expect("no panic") = t;
            ring.bell.notify_all();
        }
    }));
    (store, bell, took)
}

fn sessions(store: &StoreHandle, n: u64) -> Vec<u64> {
    (0..n)
        .map(|i| {
            let sid = store.next_sid();
            let client_id = format!("device-{i}");
            let s = SessionRec {
                sid,
                client_id: &client_id,
                peername: "203.0.113.7:51234",
                ..SessionRec::default()
            };
            store.append(Log::State, &[Rec::SessionPut(s)]);
            sid
        })
        .collect()
}

fn enqueue(store: &StoreHandle, sid: u64, payload: &[u8]) -> u64 {
    let mid = store.next_mid();
    let topic = "plant/line-7/sensor/temperature";
    let body = Body {
        topic,
        properties: b"",
        payload,
        qos: 1,
        retain: false,
        expires_at: u64::MAX,
    };
    let targets = vec![Target {
        sid,
        qos: 1,
        ..Target::default()
    }];
    store.append(Log::Queue, &[Rec::MsgEnq { mid, body, targets }]);
    mid
}

fn end(store: &StoreHandle, sids: &[u64]) {
    for sid in sids {
        store.append(Log::State, &[Rec::SessionDel { sid: *sid }]);
        store.append(Log::Queue, &[Rec::SessionDel { sid: *sid }]);
    }
    assert!(store.flush(), "the disk failed");
}

fn result(what: &str, n: u64, took: Duration, store: &StoreHandle, payload: u64) {
    let q = store.stats().queue;
    println!(
        "{what}: {:.0} messages/s, {:.2} bytes written per byte of payload, {} syncs, {} bytes on disk",
        n as f64 / took.as_secs_f64(),
        q.written_bytes as f64 / payload.max(1) as f64,
        q.syncs,
        q.bytes
    );
}

/// Every message is acknowledged a window later.
fn passing(args: &Args, settings: &Settings) {
    let (store, bell, _) = open(settings);
    let sids = sessions(&store, args.queues);
    let payload = vec![7; args.size];
    let mut waiting = std::collections::VecDeque::new();
    let begun = Instant::now();
    for i in 0..args.messages {
        let sid = sids[(i % args.queues) as usize];
        waiting.push_back((sid, enqueue(&store, sid, &payload)));
        if waiting.len() as u64 > args.window
            && let Some((sid, mid)) = waiting.pop_front()
        {
            store.append(Log::Queue, &[Rec::Ack { sid, mid }]);
        }
        if i % 64 == 0 && store.room() != Room::Free {
            bell.wait(&store);
        }
    }
    for (sid, mid) in waiting {
        store.append(Log::Queue, &[Rec::Ack { sid, mid }]);
    }
    assert!(store.flush(), "the disk failed");
    result(
        "passing",
        args.messages,
        begun.elapsed(),
        &store,
        args.messages * args.size as u64,
    );
    end(&store, &sids);
}

/// All messages wait, are found again at a start, then are acknowledged.
fn filling(args: &Args, settings: &Settings) {
    let (store, bell, _) = open(settings);
    let sids = sessions(&store, args.queues);
    let payload = vec![7; args.size];
    let (before, begun) = (resident(), Instant::now());
    let mut mids = Vec::with_capacity(args.messages as usize);
    for i in 0..args.messages {
        mids.push(enqueue(&store, sids[(i % args.queues) as usize], &payload));
        if i % 64 == 0 && store.room() != Room::Free {
            bell.wait(&store);
        }
    }
    assert!(store.flush(), "the disk failed");
    result(
        "filling",
        args.messages,
        begun.elapsed(),
        &store,
        args.messages * args.size as u64,
    );
    let grown = resident()
        .saturating_sub(before)
        .saturating_sub(args.messages * 8);
    println!(
        "  memory: {} bytes per queued message in the store",
        grown / args.messages.max(1)
    );
    drop(store);
    let (store, bell, _) = open(settings);
    let begun = Instant::now();
    for (i, mid) in mids.into_iter().enumerate() {
        let sid = sids[i % sids.len()];
        store.append(Log::Queue, &[Rec::Ack { sid, mid }]);
        if i % 64 == 0 && store.room() != Room::Free {
            bell.wait(&store);
        }
    }
    assert!(store.flush(), "the disk failed");
    result(
        "draining",
        args.messages,
        begun.elapsed(),
        &store,
        args.messages * args.size as u64,
    );
    end(&store, &sids);
}

/// A start with many retained messages.
fn starting(args: &Args, settings: &Settings) {
    let (store, bell, _) = open(settings);
    let payload = vec![7; args.size];
    let begun = Instant::now();
    for i in 0..args.retained {
        let topic = format!("plant/line-{}/sensor-{i}/temperature", i % 100);
        let body = Body {
            topic: &topic,
            properties: b"",
            payload: &payload,
            qos: 1,
            retain: true,
            expires_at: u64::MAX,
        };
        store.append(Log::State, &[Rec::RetainPut(body)]);
        if i % 64 == 0 && store.room() != Room::Free {
            bell.wait(&store);
        }
    }
    assert!(store.flush(), "the disk failed");
    println!(
        "retaining: {:.0} messages/s",
        args.retained as f64 / begun.elapsed().as_secs_f64()
    );
    drop(store);
    drop(open(settings));
}

/// Bytes of memory this process uses.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm
        .split_whitespace()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    pages * rustix::param::page_size() as u64
}
