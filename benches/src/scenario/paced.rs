//! Lone messages, open loop: one every 1/rate seconds, whatever the broker does; latency counts from the
//! instant a message was due, so a stall of the broker is seen by every message it delays. The generator spins.

use std::io;
use std::time::{Duration, Instant};

use crate::meter::{Meter, percentile};
use crate::mqtt::{self, Packet, Template};
use crate::report::Report;
use crate::scenario::Run;
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
}

/// Runs it and reports CPU per message and latency percentiles in microseconds.
pub fn run(run: &Run, pace: Pace) -> io::Result<Report> {
    let mut world = World::new()?;
    let subs = world.connect_all(&run.target, pace.pairs, "sub")?;
    let topic = |index: usize| format!("bench/pace/{index}");
    world.subscribe_all(&run.target, &subs, pace.qos, topic)?;
    let pubs = world.connect_all(&run.target, pace.pairs, "pub")?;
    let templates: Vec<Template> = (0..pace.pairs)
        .map(|index| Template::new(run.target.version, &topic(index), pace.qos, pace.size))
        .collect();

    let gap = 1_000_000_000 / pace.rate.max(1);
    let first = world.now();
    let counted_from = first + run.warm_up().as_nanos() as u64;
    let last = counted_from + run.duration.as_nanos() as u64;
    let (mut sent, mut received, mut closed) = (0u64, 0u64, false);
    let mut samples = Vec::with_capacity((run.duration.as_secs() * pace.rate) as usize + 1000);
    let mut meter = None;
    let mut measured = (0.0, None);
    let drained = last + 500_000_000;
    loop {
        let (now, clock) = (world.now(), Instant::now());
        if meter.is_none() && now >= counted_from {
            meter = Some((Meter::start(run.pid), sent));
        }
        if now >= last && measured.0 == 0.0 {
            measured = meter.as_ref().map_or((0.0, None), |(meter, _)| meter.stop());
        }
        while first + sent * gap <= now && first + sent * gap < last {
            let pair = (sent % pace.pairs as u64) as usize;
            if let Some(conn) = world.conn(pubs[pair]) {
                let id = if pace.qos > 0 { conn.packet_id() } else { 0 };
                templates[pair].append(&mut conn.out, id, pair as u32, first + sent * gap);
            }
            world.flush(pubs[pair]);
            sent += 1;
        }
        world.turn(Some(Duration::ZERO), |_, _, packet| match packet {
            Packet::Publish { payload, .. } => {
                received += 1;
                let at = now + clock.elapsed().as_nanos() as u64;
                if let Some((_, due)) = mqtt::stamp(payload)
                    && due >= counted_from
                {
                    samples.push(at.saturating_sub(due));
                }
            }
            Packet::Closed => closed = true,
            _ => {}
        })?;
        if closed {
            return Err(io::Error::other("the broker closed a connection"));
        }
        if now >= last && (received >= sent || now >= drained) {
            break;
        }
    }
    let counted = sent - meter.map_or(0, |(_, before)| before);
    let mut report = Report::default();
    report.put("messages_per_s", counted as f64 / run.duration.as_secs_f64());
    report.put_if("cpu_us", measured.1.map(|micros| micros / counted.max(1) as f64));
    for (name, share) in [("p50_us", 0.5), ("p99_us", 0.99), ("p999_us", 0.999)] {
        report.put(name, percentile(&mut samples, share) as f64 / 1e3);
    }
    report.put("lost", sent.saturating_sub(received) as f64);
    Ok(report)
}
