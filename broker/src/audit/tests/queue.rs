//! The way in: numbers, filter, a full queue, denials counted together, live readers.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::super::writer::{Last, Sink};
use super::*;

/// A sink whose every write waits for a permit, or fails.
pub(super) struct TestSink {
    pub(super) out: Arc<Mutex<Vec<u8>>>,
    pub(super) permits: Option<Receiver<bool>>,
    pub(super) begun: Option<SyncSender<()>>,
}

impl Sink for TestSink {
    fn last(&self) -> Last {
        Last::default()
    }

    fn append(&mut self, lines: &[u8]) -> std::io::Result<()> {
        if let Some(begun) = &self.begun {
            begun.send(()).unwrap();
        }
        // Without a permit giver every write succeeds.
        if let Some(permits) = &self.permits
            && permits.recv() == Ok(false)
        {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        self.out.lock().unwrap().extend_from_slice(lines);
        Ok(())
    }

    fn sync(&mut self) -> std::io::Result<()> {
        Ok(())
    }

    fn size(&self) -> u64 {
        0
    }

    fn rotate(&mut self, _keep: usize) -> std::io::Result<()> {
        Ok(())
    }

    fn reopen(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub(super) fn lines(out: &Mutex<Vec<u8>>) -> Vec<String> {
    String::from_utf8(out.lock().unwrap().clone())
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_full_queue_drops_counts_and_tells_the_gap_first() {
    let out = Arc::new(Mutex::new(Vec::new()));
    let (permit, permits) = sync_channel(100);
    let (begun, writing) = sync_channel(100);
    let sink = TestSink {
        out: Arc::clone(&out),
        permits: Some(permits),
        begun: Some(begun),
    };
    let small = Settings {
        queue: 4,
        ..Settings::new(None, "n")
    };
    let log = AuditLog::start(small, Some(Box::new(sink))).unwrap();
    log.record(authn_fail());
    // The writer is now stuck in the disk.
    writing.recv().unwrap();
    for _ in 0..10 {
        log.record(authn_fail());
    }
    let stats = log.stats();
    assert_eq!((stats.dropped, stats.queued), (6, 4));
    for _ in 0..10 {
        permit.send(true).unwrap();
    }
    log.flush();
    log.record(Event::Stop);
    log.flush();
    let got = lines(&out);
    let seqs: Vec<u64> = got.iter().map(|l| json(l)["seq"].as_u64().unwrap()).collect();
    assert_eq!(names(&got)[5..], ["audit_gap", "stop"]);
    assert_eq!(seqs, [1, 2, 3, 4, 5, 12, 13]);
    let gap = json(&got[5]);
    assert_eq!(
        (&gap["dropped"], &gap["from_seq"], &gap["to_seq"]),
        (&6.into(), &6.into(), &11.into())
    );
    assert_eq!(log.stats().dropped, 6);
}

#[test]
fn alike_denials_become_one_record_and_counts_add_up() {
    let out = Arc::new(Mutex::new(Vec::new()));
    let sink = TestSink {
        out: Arc::clone(&out),
        permits: None,
        begun: None,
    };
    let slow = Settings {
        coalesce: Duration::from_secs(3600),
        ..Settings::new(None, "n")
    };
    let log = AuditLog::start(slow, Some(Box::new(sink))).unwrap();
    for _ in 0..5 {
        log.record(denied("a"));
        log.record(denied("b"));
        log.record(authn_fail());
    }
    log.record(Event::Connect(facts(), Connect::new(ConnectReason::Banned)));
    log.record(Event::Connect(facts(), Connect::new(ConnectReason::Banned)));
    log.flush();
    assert_eq!(
        lines(&out).len(),
        2 + 5 + 1,
        "the first of each kind at once, logins each"
    );
    drop(log);
    let got = lines(&out);
    assert_eq!(got.len(), 8 + 3);
    let counts: u64 = got.iter().filter_map(|l| json(l)["count"].as_u64()).sum();
    assert_eq!(counts, 10 + 1);
    let last = json(got.last().unwrap());
    assert_eq!((&last["event"], &last["count"]), (&"connect".into(), &1.into()));
    let summary = json(&got[8]);
    assert_eq!((&summary["topic"], &summary["count"]), (&"a".into(), &4.into()));
    assert!(summary["first_ts"].as_str() <= summary["ts"].as_str());
}

#[test]
fn a_denial_that_goes_on_is_told_once_in_each_time() {
    use super::super::coalesce::Coalescer;
    use super::super::log::Entry;
    let start = std::time::Instant::now();
    let at = |s| start + Duration::from_secs(s);
    let mut c = Coalescer::new(Duration::from_secs(10));
    let deny = |c: &mut Coalescer, s| {
        c.pass(
            Entry {
                seq: s,
                ts: s,
                event: Box::new(denied("a")),
            },
            at(s),
        )
        .is_some()
    };
    assert!(deny(&mut c, 0));
    assert!(!deny(&mut c, 3) && !deny(&mut c, 4));
    assert_eq!(c.deadline(), Some(at(10)));
    assert!(c.due(Some(at(9))).is_empty());
    let due = c.due(Some(at(10)));
    assert_eq!(
        (
            due.len(),
            due[0].repeats.count,
            due[0].repeats.first_ts,
            due[0].ts
        ),
        (1, 2, 3, 4)
    );
    assert!(!deny(&mut c, 12));
    assert_eq!(c.due(Some(at(20))).len(), 1);
    assert!(c.due(Some(at(30))).is_empty());
    assert_eq!(c.deadline(), None);
    assert!(deny(&mut c, 31));
}

#[test]
fn the_filter_decides_before_anything_is_counted() {
    let filter = EventFilter::parse(&["*", "-publish_ok", "-connect"]).unwrap();
    assert!(!filter.wants(EventKind::Connect) && filter.wants(EventKind::Disconnect));
    assert_eq!(
        EventFilter::parse(&["*", "-publish_ok"]),
        Ok(EventFilter::default())
    );
    assert_eq!(
        EventFilter::parse(&["stop", "-nonsense"]),
        Err("-nonsense".to_owned())
    );
    let log = AuditLog::in_memory("n").unwrap();
    log.record(Event::PublishOk(facts(), "t".into(), 0, None));
    log.record(Event::Stop);
    log.flush();
    assert_eq!(log.recent(None, 10, |_| true)[0].seq, 1);
    log.reconfigure(Settings {
        events: EventFilter::parse(&["publish_ok"]).unwrap(),
        ..Settings::new(None, "n")
    })
    .unwrap();
    log.record(Event::Stop);
    log.record(Event::PublishOk(facts(), "t".into(), 0, None));
    log.flush();
    let kinds: Vec<_> = log.recent(None, 10, |_| true).iter().map(|r| r.event).collect();
    assert_eq!(kinds, [EventKind::Stop, EventKind::PublishOk]);
}

#[test]
fn memory_keeps_the_newest_ten_thousand() {
    let log = AuditLog::in_memory("n").unwrap();
    for _ in 0..11_000 {
        log.record(authn_fail());
    }
    log.flush();
    let all = log.recent(None, usize::MAX, |_| true);
    assert!((10_000..10_200).contains(&all.len()), "{}", all.len());
    assert_eq!(all.last().unwrap().seq, 11_000);
    assert_eq!(all[0].peer_ip, Some("203.0.113.9".parse().unwrap()));
    assert!(all.windows(2).all(|w| w[1].seq == w[0].seq + 1));
    let some = log.recent(Some(10_990), 5, |r| r.seq % 2 == 0);
    assert_eq!(
        some.iter().map(|r| r.seq).collect::<Vec<_>>(),
        [10_992, 10_994, 10_996, 10_998, 11_000]
    );
}

#[tokio::test]
async fn live_readers_get_what_comes_and_a_slow_one_a_count() {
    let log = AuditLog::in_memory("n").unwrap();
    log.record(Event::Start("1"));
    log.flush();
    let mut now = log.subscribe(None);
    let mut all = log.subscribe(Some(0));
    assert_eq!(all.next().await.records[0].event, EventKind::Start);
    log.record(Event::Stop);
    let batch = now.next().await;
    assert_eq!(
        (batch.lagged, batch.records.len(), batch.records[0].event),
        (0, 1, EventKind::Stop)
    );
    assert_eq!(all.next().await.records[0].seq, 2);
    for _ in 0..1500 {
        log.record(authn_fail());
    }
    log.flush();
    let batch = now.next().await;
    assert_eq!((batch.lagged, batch.records.len()), (1500, 0));
    log.record(Event::Stop);
    let batch = now.next().await;
    assert_eq!((batch.lagged, batch.records[0].seq), (0, 1503));
    let mut missed = log.subscribe(Some(2));
    let mut seqs = Vec::new();
    while seqs.len() < 1501 {
        seqs.extend(missed.next().await.records.iter().map(|r| r.seq));
    }
    assert!(seqs.iter().copied().eq(3..=1503));
}
