//! Live packets for `ctl trace`: which traces run, what of a packet they show, and how many lines they get.
//!
//! While nobody traces this costs one relaxed load a batch of packets. What does not live here: the calls from
//! the connections (`shard::traced`), HTTP (`admin`).

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use codec::Packet;
use futures_util::stream::{self, StreamExt};
use ipnet::IpNet;
use peer::Peer;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use crate::admin::backend::Items;
use crate::admin::views::{StreamItem, Timestamp};

/// Lines a second and trace; the rest is counted.
const LINES_MAX: u32 = 1000;
/// Lines that wait for a slow reader; then they are counted too.
const WAITING_MAX: usize = 2048;
/// Payload bytes a line may show.
pub const PAYLOAD_MAX: usize = 4096;

/// What a trace shows; all that is given must match.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this client id.
    pub client: Option<String>,
    /// Of peernames in these ranges; empty = all.
    pub ip: Vec<IpNet>,
    /// Only PUBLISH packets whose topic matches.
    pub topic: Option<String>,
    /// Payload bytes to show.
    pub payload: usize,
}

/// All traces of the broker.
#[derive(Debug, Default)]
pub struct Tracer {
    running: AtomicUsize,
    traces: RwLock<Vec<Arc<Trace>>>,
}

#[derive(Debug)]
struct Trace {
    filter: Filter,
    lines: mpsc::Sender<StreamItem>,
    second: Mutex<Second>,
}

/// The second at hand.
#[derive(Debug)]
struct Second {
    began: Instant,
    lines: u32,
    left_out: u64,
}

/// Which way a packet went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client.
    In,
    /// To the client.
    Out,
}

/// Ends the trace when its reader goes.
struct Guard {
    tracer: Arc<Tracer>,
    trace: Arc<Trace>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut traces = self.tracer.traces.write().unwrap_or_else(PoisonError::into_inner);
        traces.retain(|trace| !Arc::ptr_eq(trace, &self.trace));
        self.tracer.running.store(traces.len(), Relaxed);
    }
}

impl Tracer {
    /// Whether anybody traces.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.running.load(Relaxed) > 0
    }

    /// Starts a trace that ends after `lasts`, or when the stream is dropped.
    pub fn begin(self: &Arc<Self>, filter: Filter, lasts: Duration) -> Items {
        let (lines, reader) = mpsc::channel(WAITING_MAX);
        let second = Second {
            began: Instant::now(),
            lines: 0,
            left_out: 0,
        };
        let trace = Arc::new(Trace {
            filter,
            lines,
            second: Mutex::new(second),
        });
        let mut traces = self.traces.write().unwrap_or_else(PoisonError::into_inner);
        traces.push(Arc::clone(&trace));
        self.running.store(traces.len(), Relaxed);
        drop(traces);
        let guard = Guard {
            tracer: Arc::clone(self),
            trace,
        };
        let end = Box::pin(tokio::time::sleep(lasts));
        stream::unfold((reader, guard, end), |(mut reader, guard, mut end)| async {
            tokio::select! {
                item = reader.recv() => Some((item?, (reader, guard, end))),
                () = &mut end => None,
            }
        })
        .boxed()
    }

    /// A packet of `bytes` bytes went by.
    pub fn packet(&self, way: Direction, client_id: &str, peer: &Peer, packet: &Packet<'_>, bytes: usize) {
        let traces = self.traces.read().unwrap_or_else(PoisonError::into_inner);
        for trace in traces
            .iter()
            .filter(|trace| trace.filter.matches(client_id, peer, packet))
        {
            trace.line(|payload| line(way, client_id, peer, packet, bytes, payload));
        }
    }
}

impl Filter {
    fn matches(&self, client_id: &str, peer: &Peer, packet: &Packet<'_>) -> bool {
        let of_client = self.client.as_deref().is_none_or(|id| id == client_id);
        let ip = peer.peername().ip();
        let from = self.ip.is_empty() || ip.is_some_and(|ip| self.ip.iter().any(|net| net.contains(&ip)));
        let on_topic = self.topic.as_deref().is_none_or(|filter| match packet {
            Packet::Publish(publish) => codec::topic::matches(filter, publish.topic),
            _ => false,
        });
        of_client && from && on_topic
    }
}

impl Trace {
    fn second(&self) -> MutexGuard<'_, Second> {
        self.second.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a line on, unless this second has had enough of them.
    fn line(&self, make: impl FnOnce(usize) -> Value) {
        let mut second = self.second();
        let now = Instant::now();
        if now.duration_since(second.began) >= Duration::from_secs(1) {
            second.began = now;
            second.lines = 0;
            if second.left_out > 0 && self.lines.try_send(StreamItem::Lagged(second.left_out)).is_ok() {
                second.left_out = 0;
            }
        }
        if second.lines >= LINES_MAX {
            second.left_out += 1;
            return;
        }
        second.lines += 1;
        let data = make(self.filter.payload.min(PAYLOAD_MAX));
        if self
            .lines
            .try_send(StreamItem::Record {
                event: "packet".to_owned(),
                id: None,
                data,
            })
            .is_err()
        {
            second.left_out += 1;
        }
    }
}

fn line(
    way: Direction,
    client_id: &str,
    peer: &Peer,
    packet: &Packet<'_>,
    bytes: usize,
    payload: usize,
) -> Value {
    let mut line = Map::new();
    let mut put = |key: &str, value: Value| drop(line.insert(key.to_owned(), value));
    put("ts", json!(Timestamp::from(SystemTime::now())));
    put(
        "direction",
        json!(if way == Direction::In { "in" } else { "out" }),
    );
    put("clientid", json!(client_id));
    put("peername", json!(peer.peername().to_string()));
    put("packet", json!(packet.name()));
    put("bytes", json!(bytes));
    match packet {
        Packet::Publish(publish) => {
            if publish.packet_id != 0 {
                put("packet_id", json!(publish.packet_id));
            }
            put("topic", json!(publish.topic));
            put("qos", json!(publish.qos.level()));
            put("retain", json!(publish.retain));
            put("dup", json!(publish.dup));
            if payload > 0 {
                let cut = publish.payload.get(..payload).unwrap_or(publish.payload);
                match std::str::from_utf8(cut) {
                    Ok(text) => put("payload", json!(text)),
                    Err(_) => put("payload_hex", json!(crate::admin::hex(cut))),
                }
            }
        }
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            put("packet_id", json!(ack.packet_id));
            put("reason", json!(ack.reason.name()));
        }
        Packet::Subscribe(subscribe) => {
            put("packet_id", json!(subscribe.packet_id));
            let filters: Vec<&str> = subscribe.filters.iter().map(|wanted| wanted.filter).collect();
            put("filters", json!(filters));
        }
        Packet::Unsubscribe(unsubscribe) => {
            put("packet_id", json!(unsubscribe.packet_id));
            put("filters", json!(unsubscribe.filters.iter().collect::<Vec<_>>()));
        }
        Packet::SubAck(ack) => put("packet_id", json!(ack.packet_id)),
        Packet::UnsubAck(ack) => put("packet_id", json!(ack.packet_id)),
        Packet::Disconnect(disconnect) => put("reason", json!(disconnect.reason.name())),
        _ => {}
    }
    Value::Object(line)
}

#[cfg(test)]
mod tests {
    use codec::{Ack, ReasonCode, Version};
    use peer::PeerBuilder;

    use super::*;

    const PUBLISH: &[u8] = b"\x30\x09\x00\x03a/bhell\x00";

    fn publish() -> Packet<'static> {
        codec::decode(&PUBLISH[..11], Version::V311).unwrap()
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    }

    #[test]
    fn filters_meet_client_address_and_topic() {
        let peer = PeerBuilder::new("10.0.0.7:4000").build();
        let check = |filter: Filter, packet: &Packet<'_>, expect: bool| {
            assert_eq!(filter.matches("dev-7", &peer, packet), expect, "{filter:?}");
        };
        let ack = Packet::PubAck(Ack::new(7, ReasonCode::Success));
        check(Filter::default(), &ack, true);
        check(
            Filter {
                client: Some("dev-7".into()),
                ..Filter::default()
            },
            &ack,
            true,
        );
        check(
            Filter {
                client: Some("dev-8".into()),
                ..Filter::default()
            },
            &ack,
            false,
        );
        check(
            Filter {
                ip: vec!["10.0.0.0/8".parse().unwrap()],
                ..Filter::default()
            },
            &ack,
            true,
        );
        check(
            Filter {
                ip: vec!["11.0.0.0/8".parse().unwrap()],
                ..Filter::default()
            },
            &ack,
            false,
        );
        check(
            Filter {
                topic: Some("a/+".into()),
                ..Filter::default()
            },
            &publish(),
            true,
        );
        check(
            Filter {
                topic: Some("b/+".into()),
                ..Filter::default()
            },
            &publish(),
            false,
        );
        check(
            Filter {
                topic: Some("#".into()),
                ..Filter::default()
            },
            &ack,
            false,
        );
    }

    #[test]
    fn a_flood_is_cut_and_counted_and_the_end_leaves_nothing_on() {
        runtime().block_on(async {
            let tracer = Arc::new(Tracer::default());
            assert!(!tracer.is_on());
            let filter = Filter {
                payload: 2,
                ..Filter::default()
            };
            let mut items = tracer.begin(filter, Duration::from_secs(600));
            assert!(tracer.is_on());
            let peer = PeerBuilder::new("10.0.0.7:4000").build();
            for _ in 0..LINES_MAX + 5 {
                tracer.packet(Direction::In, "dev-7", &peer, &publish(), 11);
            }
            let Some(StreamItem::Record { data, .. }) = items.next().await else {
                panic!("no line")
            };
            assert_eq!(
                (&data["packet"], &data["topic"], &data["payload"]),
                (&"PUBLISH".into(), &"a/b".into(), &"he".into())
            );
            let left_out = tracer.traces.read().unwrap()[0].second().left_out;
            assert!(left_out == 5 || left_out == 0, "{left_out}");
            drop(items);
            assert!(!tracer.is_on());
        });
    }
}
