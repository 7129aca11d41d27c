//! A million distinct subscriptions `dev/N/+/state`: resident bytes and CPU of each, then CPU per message
//! published to them (each message matches exactly one).

use std::io;
use std::time::{Duration, Instant};

use crate::meter::{Meter, rss};
use crate::mqtt::{self, Packet, Template};
use crate::report::Report;
use crate::scenario::{Run, TICK};
use crate::target::Target;
use crate::world::World;

/// Parameters of the subscriptions scenario.
#[derive(Clone, Copy, Debug)]
pub struct Many {
    /// subscriptions in all
    pub count: usize,
    /// connections they are spread over
    pub conns: usize,
    /// filters per SUBSCRIBE packet
    pub per_packet: usize,
    /// messages under way while publishing
    pub window: u64,
}

/// Publishers of the second phase.
const PUBLISHERS: usize = 10;
/// Topics prepared ahead, so that encoding them costs the generator nothing.
const TOPICS: usize = 100_000;

/// Subscribes, publishes, reports.
pub fn run(run: &Run, many: Many) -> io::Result<Report> {
    let mut world = World::new()?;
    let mut report = Report::default();
    let conns = world.connect_all(&run.target, many.conns, "many")?;
    let before = run.pid.and_then(rss);
    let meter = Meter::start(run.pid);
    subscribe(&mut world, &run.target, &conns, many)?;
    let (seconds, cpu) = meter.stop();
    let after = run.pid.and_then(rss);
    let count = many.count as f64;
    report
        .put("subscribes_per_s", count / seconds)
        .put_if("cpu_us_subscribe", cpu.map(|micros| micros / count))
        .put_if(
            "rss_bytes",
            before
                .zip(after)
                .map(|(low, high)| high.saturating_sub(low) as f64 / count),
        );
    publish(&mut world, run, many, &mut report)?;
    Ok(report)
}

/// One SUBSCRIBE under way per connection until all are granted.
fn subscribe(world: &mut World, target: &Target, conns: &[usize], many: Many) -> io::Result<()> {
    let share = many.count.div_ceil(many.conns);
    let mut next: Vec<usize> = (0..conns.len()).map(|index| index * share).collect();
    let mut open = conns.len();
    let mut todo: Vec<usize> = (0..conns.len()).collect();
    let mut refused = false;
    let mut progress = Instant::now();
    while open > 0 {
        for index in todo.drain(..) {
            let end = ((index + 1) * share).min(many.count);
            let upto = (next[index] + many.per_packet).min(end);
            let filters: Vec<String> = (next[index]..upto).map(|n| format!("dev/{n}/+/state")).collect();
            next[index] = upto.max(next[index]);
            if filters.is_empty() {
                open -= 1;
                continue;
            }
            if let Some(conn) = world.conn(conns[index]) {
                let id = conn.packet_id();
                mqtt::subscribe(&mut conn.out, target.version, id, &filters, 0);
                world.flush(conns[index]);
            }
        }
        world.turn(Some(TICK), |_, conn, packet| match packet {
            Packet::Suback(_, true) => todo.push(conn.tag as usize),
            Packet::Suback(_, false) | Packet::Closed => refused = true,
            _ => {}
        })?;
        if !todo.is_empty() {
            progress = Instant::now();
        }
        if refused || progress.elapsed() > Duration::from_secs(20) {
            return Err(io::Error::other(
                "a subscription was refused, or no SUBACK came for 20 s",
            ));
        }
    }
    Ok(())
}

/// Publishes to topics all over the tree, closed loop.
fn publish(world: &mut World, run: &Run, many: Many, report: &mut Report) -> io::Result<()> {
    let pubs = world.connect_all(&run.target, PUBLISHERS, "pub")?;
    let topics: Vec<Template> = (0..TOPICS.min(many.count))
        .map(|n| {
            // a stride that visits the whole range, neighbours far apart
            let device = (n as u64 * 7_368_787 % many.count as u64) as usize;
            Template::new(run.target.version, &format!("dev/{device}/x/state"), 0, 64)
        })
        .collect();
    let (mut sent, mut received, mut lost) = (0u64, 0u64, 0u64);
    let start = Instant::now();
    let mut progress = start;
    let mut meter: Option<(Meter, u64)> = None;
    while start.elapsed() < run.warm_up() + run.duration {
        if meter.is_none() && start.elapsed() >= run.warm_up() {
            meter = Some((Meter::start(run.pid), received));
        }
        let stamp = world.now();
        let room = (many.window * PUBLISHERS as u64).saturating_sub(sent - received - lost);
        if room > 0 {
            for (index, &id) in pubs.iter().enumerate() {
                let Some(conn) = world.conn(id) else { continue };
                for _ in 0..room / PUBLISHERS as u64 {
                    topics[sent as usize % topics.len()].append(&mut conn.out, 0, index as u32, stamp);
                    sent += 1;
                }
                world.flush(id);
            }
        }
        let before = received;
        let mut closed = false;
        world.turn(Some(TICK), |_, _, packet| match packet {
            Packet::Publish { .. } => received += 1,
            Packet::Closed => closed = true,
            _ => {}
        })?;
        if closed {
            return Err(io::Error::other("the broker closed a connection"));
        }
        if received > before {
            progress = Instant::now();
        } else if progress.elapsed() > Duration::from_millis(500) {
            lost = sent - received;
            progress = Instant::now();
        }
    }
    let Some((meter, before)) = meter else {
        return Err(io::Error::other("no time to measure"));
    };
    let (seconds, cpu) = meter.stop();
    let counted = (received - before) as f64;
    report
        .put("messages_per_s", counted / seconds)
        .put_if("cpu_us_publish", cpu.map(|micros| micros / counted.max(1.0)))
        .put("lost", lost as f64);
    Ok(())
}
