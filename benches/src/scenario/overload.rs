//! Overload: publishers limited only by their socket (open loop), and one subscriber that does not read
//! beside others that do.

use std::io;
use std::time::{Duration, Instant};

use crate::meter::{Meter, rss};
use crate::mqtt::{self, Packet, Template};
use crate::report::Report;
use crate::scenario::flow::{Flow, Load, Shape};
use crate::scenario::{Run, TICK};
use crate::world::World;

/// A publisher's own buffer is kept at least this full (bytes).
const FULL: usize = 64 * 1024;

/// Pairs whose publishers write as fast as their sockets take it. Reports what the broker took (delivered or
/// dropped: steps in each publisher's count show it), what it delivered, and the delivered rate of the last fifth against the first.
pub fn open_loop(run: &Run, pairs: usize, qos: u8, size: usize) -> io::Result<Report> {
    let mut world = World::new()?;
    let subs = world.connect_all(&run.target, pairs, "sub")?;
    let topic = |index: usize| format!("bench/open/{index}");
    world.subscribe_all(&run.target, &subs, qos, topic)?;
    let pubs = world.connect_all(&run.target, pairs, "pub")?;
    let templates: Vec<Template> = (0..pairs)
        .map(|index| Template::new(run.target.version, &topic(index), qos, size))
        .collect();
    let before = run.pid.and_then(rss);
    let (mut delivered, mut lost, mut peak) = (0u64, 0u64, 0u64);
    let (mut written, mut expected) = (vec![0u64; pairs], vec![0u64; pairs]);
    let mut closed = 0u64;
    let mut fifths = Vec::new();
    let meter = Meter::start(run.pid);
    let start = Instant::now();
    while fifths.len() < 5 {
        for (index, &id) in pubs.iter().enumerate() {
            let Some(conn) = world.conn(id) else { continue };
            while conn.backlog() < FULL {
                let packet = if qos > 0 { conn.packet_id() } else { 0 };
                templates[index].append(&mut conn.out, packet, index as u32, written[index]);
                written[index] += 1;
            }
            world.flush(id);
        }
        world.turn(Some(TICK), |_, _, packet| match packet {
            Packet::Publish { payload, .. } => {
                delivered += 1;
                // the stamp is the publisher's count: a step in it is what was dropped
                if let Some((from, count)) = mqtt::stamp(payload)
                    && let Some(expected) = expected.get_mut(from as usize)
                {
                    lost += count.saturating_sub(*expected);
                    *expected = count + 1;
                }
            }
            Packet::Closed => closed += 1,
            _ => {}
        })?;
        if start.elapsed() >= run.duration * (fifths.len() as u32 + 1) / 5 {
            fifths.push(delivered);
            peak = peak.max(run.pid.and_then(rss).unwrap_or(0));
        }
    }
    let (seconds, cpu) = meter.stop();
    let (first, last) = (fifths[0], fifths[4] - fifths[3]);
    let mut report = Report::default();
    report
        .put("taken_per_s", (delivered + lost) as f64 / seconds)
        .put("delivered_per_s", delivered as f64 / seconds)
        .put("dropped_share", lost as f64 / (delivered + lost).max(1) as f64)
        .put("last_against_first", last as f64 / first.max(1) as f64)
        .put_if("cpu_us", cpu.map(|micros| micros / delivered.max(1) as f64))
        .put_if(
            "rss_growth_bytes",
            before.map(|low| peak.saturating_sub(low) as f64),
        )
        .put("closed", closed as f64);
    Ok(report)
}

/// Closed-loop pairs, measured alone, then with a subscriber of all their topics that never reads.
pub fn slow_subscriber(run: &Run, pairs: usize, load: Load) -> io::Result<Report> {
    let mut world = World::new()?;
    let mut flow = Flow::start(
        &mut world,
        run,
        Shape::Pairs {
            pubs: pairs,
            subs: pairs,
        },
        load,
    )?;
    flow.drive(&mut world, run.warm_up())?;
    let mut timed = |world: &mut World, time: Duration| -> io::Result<f64> {
        let (before, start) = (flow.deliveries, Instant::now());
        flow.drive(world, time)?;
        Ok((flow.deliveries - before) as f64 / start.elapsed().as_secs_f64())
    };
    let alone = timed(&mut world, run.duration)?;
    let low = run.pid.and_then(rss);
    let deaf = world.connect_all(&run.target, 1, "deaf")?;
    world.subscribe_all(&run.target, &deaf, load.qos, |_| "bench/pair/+".into())?;
    if let Some(conn) = world.conn(deaf[0]) {
        conn.deaf = true;
    }
    timed(&mut world, run.duration)?; // until every queue on the way to it is full
    let beside = timed(&mut world, run.duration)?;
    let high = run.pid.and_then(rss);
    let mut report = Report::default();
    report
        .put("alone_per_s", alone)
        .put("beside_per_s", beside)
        .put("share_kept", beside / alone.max(1.0))
        .put_if(
            "rss_growth_bytes",
            low.zip(high).map(|(low, high)| high.saturating_sub(low) as f64),
        )
        .put("lost", flow.lost as f64);
    Ok(report)
}
