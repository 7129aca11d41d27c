//! The broker is killed, or stopped, while clients publish and subscribe: what was promised to each of them holds.

use std::sync::mpsc;
use std::time::{SystemTime, UNIX_EPOCH};

use tests::broker::{Broker, Left};
use tests::wait::DEADLINE;

use super::peers::{Chance, End, Publisher, Subscriber};

const CONFIG: &str = "
[node]
workers = 3
[mqtt]
max_queued_messages = 1_000_000
[listeners.tcp]
transport = \"tcp\"
bind = \"127.0.0.1:0\"
";

fn number_from(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Publishers of QoS 1 and 2 and subscribers of QoS 1 and 2, on three shards.
struct Crowd {
    publishers: Vec<Publisher>,
    subscribers: Vec<Subscriber>,
    chance: Chance,
}

impl Crowd {
    fn new(broker: &Broker, seed: u64) -> Self {
        let dial = broker.dial("tcp");
        Self {
            publishers: (0..4).map(|i| Publisher::new(i, 1 + (i % 2) as u8)).collect(),
            subscribers: (0..4)
                .map(|i| Subscriber::new(&format!("sub{i}"), 1 + (i % 2) as u8, &dial, seed + i))
                .collect(),
            chance: Chance(seed),
        }
    }

    /// Everybody works until `stop` has ended the broker; then what is left of it, and how each connection ended. One
    /// subscriber may be away.
    fn round(&mut self, broker: Broker, stop: fn(Broker) -> Left) -> (Left, Vec<End>) {
        let dial = broker.dial("tcp");
        let acks_wanted = self.chance.between(50, 600);
        let away = self.chance.between(0, 8) as usize;
        let (acks, acked) = mpsc::channel();
        std::thread::scope(|scope| {
            let mut workers = Vec::new();
            for publisher in &mut self.publishers {
                let (dial, acks) = (&dial, acks.clone());
                workers.push(scope.spawn(move || publisher.serve(dial, true, &acks)));
            }
            for (at, subscriber) in self.subscribers.iter_mut().enumerate() {
                let dial = &dial;
                if at != away {
                    workers.push(scope.spawn(move || subscriber.serve(dial, None)));
                }
            }
            drop(acks);
            for _ in 0..acks_wanted {
                acked.recv_timeout(DEADLINE).expect("an acknowledgement");
            }
            let left = stop(broker);
            let ends = workers.into_iter().map(|w| w.join().expect("no broken promise"));
            (left, ends.collect())
        })
    }

    /// Publishers finish what is open; then every subscriber gets everything.
    fn finish(mut self, broker: &Broker) {
        let dial = broker.dial("tcp");
        let (acks, _acked) = mpsc::channel();
        for publisher in &mut self.publishers {
            assert_eq!(publisher.serve(&dial, false, &acks), End::Done);
        }
        let wanted: Vec<u32> = self.publishers.iter().map(Publisher::published).collect();
        for subscriber in &mut self.subscribers {
            assert_eq!(subscriber.serve(&dial, Some(&wanted)), End::Done);
        }
    }
}

/// `KILL_ROUNDS` and `KILL_SEED` in the environment make it longer, or the same again.
#[test]
fn kill_9_breaks_no_promise() {
    let seed = number_from("KILL_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        u64::from(now.subsec_nanos())
    });
    println!("KILL_SEED={seed}");
    let mut broker = Broker::start(CONFIG);
    let mut crowd = Crowd::new(&broker, seed);
    for _ in 0..number_from("KILL_ROUNDS").unwrap_or(10) {
        let (left, _) = crowd.round(broker, Broker::kill);
        broker = left.start();
    }
    crowd.finish(&broker);
}

#[test]
fn a_stop_under_load_tells_everybody_and_loses_nothing() {
    let mut broker = Broker::start(CONFIG);
    let mut crowd = Crowd::new(&broker, 7);
    for _ in 0..2 {
        let (left, ends) = crowd.round(broker, Broker::stop_for_restart);
        // A subscriber may have been between two connections.
        let told = ends.iter().filter(|end| **end == End::Told).count();
        assert!(
            told >= 4 && ends[..4].iter().all(|end| *end == End::Told),
            "{ends:?}"
        );
        broker = left.start();
    }
    crowd.finish(&broker);
}
