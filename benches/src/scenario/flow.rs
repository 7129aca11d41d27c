//! Closed-loop message flows: pairs, fan-out, fan-in. A publisher has at most `window` messages that are not
//! yet acknowledged (QoS 1, 2) or not yet with every subscriber (all QoS).

use std::io;
use std::time::{Duration, Instant};

use crate::meter::Meter;
use crate::mqtt::{self, Packet, Template};
use crate::report::Report;
use crate::scenario::{Run, TICK};
use crate::world::World;

/// Without a delivery for this long, what is under way counts as lost.
const STALL: Duration = Duration::from_millis(500);

/// The shape of a flow.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// publisher i to subscriber i modulo their number, a topic each
    Pairs {
        /// publishers
        pubs: usize,
        /// subscribers
        subs: usize,
    },
    /// one publisher, one topic, many subscribers
    FanOut {
        /// subscribers
        subs: usize,
    },
    /// many publishers with a topic each, one subscriber with a wildcard
    FanIn {
        /// publishers
        pubs: usize,
    },
}

impl Shape {
    fn pubs(self) -> usize {
        match self {
            Shape::Pairs { pubs, .. } | Shape::FanIn { pubs } => pubs,
            Shape::FanOut { .. } => 1,
        }
    }

    fn subs(self) -> usize {
        match self {
            Shape::Pairs { subs, .. } | Shape::FanOut { subs } => subs,
            Shape::FanIn { .. } => 1,
        }
    }

    /// Deliveries of one message.
    fn fan(self) -> u64 {
        match self {
            Shape::FanOut { subs } => subs as u64,
            _ => 1,
        }
    }

    fn topic(self, publisher: usize) -> String {
        match self {
            Shape::Pairs { subs, .. } => format!("bench/pair/{}", publisher % subs),
            Shape::FanOut { .. } => "bench/fan/out".into(),
            Shape::FanIn { .. } => format!("bench/in/{publisher}/data"),
        }
    }

    fn filter(self, subscriber: usize) -> String {
        match self {
            Shape::FanIn { .. } => "bench/in/+/data".into(),
            _ => self.topic(subscriber),
        }
    }
}

/// QoS, payload bytes and window of a flow.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// 0, 1 or 2, of publishers and subscriptions
    pub qos: u8,
    /// payload bytes
    pub size: usize,
    /// messages under way per publisher
    pub window: u64,
}

/// One publisher of a flow.
struct Publisher {
    conn: usize,
    template: Template,
    sent: u64,
    acked: u64,
    delivered: u64,
}

/// A running flow: its publishers and what was counted.
pub struct Flow {
    load: Load,
    fan: u64,
    publishers: Vec<Publisher>,
    /// messages that reached a subscriber
    pub deliveries: u64,
    /// acknowledgements with a failure code
    pub refused: u64,
    /// deliveries given up
    pub lost: u64,
    progress: Instant,
}

impl Flow {
    /// Connects, subscribes; nothing is published yet.
    pub fn start(world: &mut World, run: &Run, shape: Shape, load: Load) -> io::Result<Self> {
        let subs = world.connect_all(&run.target, shape.subs(), "sub")?;
        world.subscribe_all(&run.target, &subs, load.qos, |index| shape.filter(index))?;
        let conns = world.connect_all(&run.target, shape.pubs(), "pub")?;
        let publishers = conns
            .into_iter()
            .enumerate()
            .map(|(index, conn)| Publisher {
                conn,
                template: Template::new(run.target.version, &shape.topic(index), load.qos, load.size),
                sent: 0,
                acked: 0,
                delivered: 0,
            })
            .collect();
        Ok(Self {
            load,
            fan: shape.fan(),
            publishers,
            deliveries: 0,
            refused: 0,
            lost: 0,
            progress: Instant::now(),
        })
    }

    /// Publishes and receives for `time`.
    pub fn drive(&mut self, world: &mut World, time: Duration) -> io::Result<()> {
        let end = Instant::now() + time;
        loop {
            self.top_up(world);
            let mut closed = false;
            let before = self.deliveries;
            world.turn(Some(TICK), |_, conn, packet| {
                closed |= self.see(conn.tag, &packet);
            })?;
            let now = Instant::now();
            if closed {
                return Err(io::Error::other("the broker closed a connection"));
            }
            if self.deliveries > before {
                self.progress = now;
            } else if now - self.progress > STALL {
                self.give_up();
                self.progress = now;
            }
            if now >= end {
                return Ok(());
            }
        }
    }

    /// Counts one packet; true when the connection closed.
    pub(crate) fn see(&mut self, tag: u32, packet: &Packet<'_>) -> bool {
        match *packet {
            Packet::Publish { payload, .. } => {
                self.deliveries += 1;
                if let Some(publisher) =
                    mqtt::stamp(payload).and_then(|(from, _)| self.publishers.get_mut(from as usize))
                {
                    publisher.delivered += 1;
                }
            }
            Packet::Puback(_, reason) => self.acked(tag, reason),
            Packet::Pubrec(_, reason) if reason >= 0x80 => self.acked(tag, reason),
            Packet::Pubcomp(_) => self.acked(tag, 0),
            Packet::Closed => return true,
            _ => {}
        }
        false
    }

    fn acked(&mut self, tag: u32, reason: u8) {
        self.refused += u64::from(reason >= 0x80);
        if let Some(publisher) = self.publishers.get_mut(tag as usize) {
            publisher.acked += 1;
        }
    }

    /// Lets every publisher fill its window.
    pub(crate) fn top_up(&mut self, world: &mut World) {
        let stamp = world.now();
        for (index, publisher) in self.publishers.iter_mut().enumerate() {
            let mut done = publisher.delivered / self.fan;
            if self.load.qos > 0 {
                done = done.min(publisher.acked);
            }
            let room = self
                .load
                .window
                .saturating_sub(publisher.sent - done.min(publisher.sent));
            let Some(conn) = world.conn(publisher.conn) else {
                continue;
            };
            if room == 0 || conn.backlog() > 0 {
                continue;
            }
            for _ in 0..room {
                let id = if self.load.qos > 0 { conn.packet_id() } else { 0 };
                publisher.template.append(&mut conn.out, id, index as u32, stamp);
            }
            publisher.sent += room;
            world.flush(publisher.conn);
        }
    }

    /// Nothing moves: what is under way is lost, the windows open again.
    fn give_up(&mut self) {
        for publisher in &mut self.publishers {
            let missing = (publisher.sent * self.fan).saturating_sub(publisher.delivered);
            self.lost += missing;
            publisher.delivered += missing;
            publisher.acked = publisher.sent;
        }
    }
}

/// Runs one flow and reports messages/s, deliveries/s, CPU per delivery and losses.
pub fn run(run: &Run, shape: Shape, load: Load) -> io::Result<Report> {
    let mut world = World::new()?;
    let mut flow = Flow::start(&mut world, run, shape, load)?;
    flow.drive(&mut world, run.warm_up())?;
    let before = flow.deliveries;
    let meter = Meter::start(run.pid);
    let own = Meter::start(Some(std::process::id()));
    flow.drive(&mut world, run.duration)?;
    let (seconds, cpu) = meter.stop();
    let deliveries = (flow.deliveries - before) as f64;
    let mut report = Report::default();
    report
        .put("messages_per_s", deliveries / flow.fan as f64 / seconds)
        .put("deliveries_per_s", deliveries / seconds)
        .put_if("cpu_us", cpu.map(|micros| micros / deliveries.max(1.0)))
        .put_if(
            "generator_cpu_us",
            own.stop().1.map(|micros| micros / deliveries.max(1.0)),
        )
        .put_if("broker_busy", cpu.map(|micros| micros / 1e6 / seconds))
        .put("lost", flow.lost as f64);
    if flow.refused > 0 {
        report.put("refused", flow.refused as f64);
    }
    Ok(report)
}
