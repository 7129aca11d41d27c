//! Lone messages, open loop: one every 1/rate seconds, whatever the broker does; latency counts from the
//! instant a message was due, so a stall of the broker is seen by every message it delays. The generator spins.

use std::io;
use std::time::{Duration, Instant};

use crate::meter::{Meter, percentile};
use crate::mqtt::{self, Packet, Template};
use crate::report::Report;
use crate::scenario::Run;
use crate::scenario::flow::{Flow, Load, Shape};
use crate::world::World;

/// Parameters of the paced scenario.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// messages per second over all pairs
    pub rate: u64,
    /// publisher and subscriber pairs, used in turn
    pub pairs: usize,
    /// 0, 1 or 2
    pub qos: u8,
    /// payload bytes
    pub size: usize,
    /// saturating pairs on other connections at the same time
    pub flood: usize,
}

/// Publisher numbers and tags of the paced connections start here, so that a flood beside them has its own.
const PACED: u32 = 1 << 20;

/// Runs it and reports CPU per message and latency percentiles in microseconds. With a flood, CPU is not told: it
/// would be the flood's.
pub fn run(run: &Run, pace: Pace) -> io::Result<Report> {
    let mut world = World::new()?;
    let mut flood = match pace.flood {
        0 => None,
        pairs => Some(flood(&mut world, run, pairs, pace.size)?),
    };
    let mut pacer = Pacer::start(&mut world, run, pace)?;
    let mut closed = false;
    let mut metered: Option<(Meter, u64)> = None;
    let mut measured = None;
    while !pacer.finished(world.now()) {
        let (now, clock) = (world.now(), Instant::now());
        if metered.is_none() && now >= pacer.counted_from {
            metered = Some((Meter::start(run.pid), pacer.sent));
        }
        if measured.is_none() && now >= pacer.last {
            measured = metered
                .as_ref()
                .map(|(meter, before)| (meter.stop().1, pacer.sent - before));
        }
        pacer.send_due(&mut world, now);
        if let Some(flood) = &mut flood {
            flood.top_up(&mut world);
        }
        world.turn(Some(Duration::ZERO), |_, conn, packet| {
            let ours = match packet {
                Packet::Publish { payload, .. } => mqtt::stamp(payload)
                    .is_some_and(|stamp| pacer.take(stamp, now + clock.elapsed().as_nanos() as u64)),
                _ => conn.tag >= PACED,
            };
            closed |= matches!(packet, Packet::Closed);
            if let (false, Some(flood)) = (ours, &mut flood) {
                flood.see(conn.tag, &packet);
            }
        })?;
        if closed {
            return Err(io::Error::other("the broker closed a connection"));
        }
    }
    let (cpu, counted) = measured
        .or_else(|| metered.map(|(meter, before)| (meter.stop().1, pacer.sent - before)))
        .unwrap_or((None, 0));
    let mut report = Report::default();
    report.put("messages_per_s", counted as f64 / run.duration.as_secs_f64());
    match &flood {
        None => report.put_if("cpu_us", cpu.map(|micros| micros / counted.max(1) as f64)),
        Some(flood) => report.put(
            "flood_per_s",
            flood.deliveries as f64 / (world.now() as f64 / 1e9),
        ),
    };
    for (name, share) in [("p50_us", 0.5), ("p99_us", 0.99), ("p999_us", 0.999)] {
        report.put(name, percentile(&mut pacer.samples, share) as f64 / 1e3);
    }
    report.put("lost", pacer.sent.saturating_sub(pacer.received) as f64);
    Ok(report)
}

/// Saturating pairs beside the paced ones; a small window, so that the generator itself adds little delay.
fn flood(world: &mut World, run: &Run, pairs: usize, size: usize) -> io::Result<Flow> {
    let load = Load {
        qos: 0,
        size,
        window: 100,
    };
    Flow::start(
        world,
        run,
        Shape::Pairs {
            pubs: pairs,
            subs: pairs,
        },
        load,
    )
}

/// The paced pairs and what was measured on them. All instants are nanoseconds of the world's clock.
struct Pacer {
    pubs: Vec<usize>,
    templates: Vec<Template>,
    qos: u8,
    gap: u64,
    first: u64,
    counted_from: u64,
    last: u64,
    sent: u64,
    received: u64,
    samples: Vec<u64>,
}

/// After the last message was due, this long is waited for stragglers (nanoseconds).
const DRAIN: u64 = 500_000_000;

impl Pacer {
    fn start(world: &mut World, run: &Run, pace: Pace) -> io::Result<Self> {
        let topic = |index: usize| format!("bench/pace/{index}");
        let subs = world.connect_all(&run.target, pace.pairs, "paced-sub")?;
        world.subscribe_all(&run.target, &subs, pace.qos, topic)?;
        let pubs = world.connect_all(&run.target, pace.pairs, "paced-pub")?;
        for &id in subs.iter().chain(&pubs) {
            if let Some(conn) = world.conn(id) {
                conn.tag += PACED;
            }
        }
        let template = |index| Template::new(run.target.version, &topic(index), pace.qos, pace.size);
        let first = world.now();
        let counted_from = first + run.warm_up().as_nanos() as u64;
        Ok(Self {
            pubs,
            templates: (0..pace.pairs).map(template).collect(),
            qos: pace.qos,
            gap: 1_000_000_000 / pace.rate.max(1),
            first,
            counted_from,
            last: counted_from + run.duration.as_nanos() as u64,
            sent: 0,
            received: 0,
            samples: Vec::with_capacity((run.duration.as_secs_f64() * pace.rate as f64) as usize + 1000),
        })
    }

    /// Sends every message that is due, each with the instant it was due as its stamp.
    fn send_due(&mut self, world: &mut World, now: u64) {
        loop {
            let due = self.first + self.sent * self.gap;
            if due > now || due >= self.last {
                return;
            }
            let pair = (self.sent % self.pubs.len() as u64) as usize;
            if let Some(conn) = world.conn(self.pubs[pair]) {
                let id = if self.qos > 0 { conn.packet_id() } else { 0 };
                self.templates[pair].append(&mut conn.out, id, PACED + pair as u32, due);
            }
            world.flush(self.pubs[pair]);
            self.sent += 1;
        }
    }

    /// Counts a delivery that came `at`, if it is one of ours.
    fn take(&mut self, (publisher, due): (u32, u64), at: u64) -> bool {
        if publisher < PACED {
            return false;
        }
        self.received += 1;
        if due >= self.counted_from {
            self.samples.push(at.saturating_sub(due));
        }
        true
    }

    fn finished(&self, now: u64) -> bool {
        now >= self.last && (self.received >= self.sent || now >= self.last + DRAIN)
    }
}
