//! Idle connections, each with one subscription of its own: resident bytes of the broker per connection.

use std::io;
use std::time::{Duration, Instant};

use crate::meter::{Meter, rss};
use crate::report::Report;
use crate::scenario::{Run, TICK};
use crate::world::World;

/// Connections before the first measurement, so that pools and first-use costs are not counted.
const FIRST: usize = 200;

/// Opens `count` connections and reports resident bytes each, the time it took, and the CPU while idle.
pub fn run(run: &Run, count: usize) -> io::Result<Report> {
    let pid = run
        .pid
        .ok_or_else(|| io::Error::other("idle memory needs --pid"))?;
    let read = || rss(pid).ok_or_else(|| io::Error::other(format!("no process {pid}")));
    let mut run = run.clone();
    run.target.spread = true;
    let mut world = World::new()?;
    let ids = world.connect_all(&run.target, FIRST, "first")?;
    world.subscribe_all(&run.target, &ids, 0, |n| format!("first/{n}/state"))?;
    settle(&mut world, run.duration / 2)?;
    let before = read()?;
    let started = Instant::now();
    let ids = world.connect_all(&run.target, count, "idle")?;
    world.subscribe_all(&run.target, &ids, 0, |n| format!("idle/{n}/state"))?;
    let seconds = started.elapsed().as_secs_f64();
    settle(&mut world, run.duration / 2)?;
    let after = read()?;
    let meter = Meter::start(run.pid);
    settle(&mut world, run.duration / 2)?;
    let (idle, cpu) = meter.stop();
    let mut report = Report::default();
    report
        .put("connections", count as f64)
        .put("rss_bytes", after.saturating_sub(before) as f64 / count as f64)
        .put("opened_per_s", count as f64 / seconds)
        .put_if("idle_cpu_share", cpu.map(|micros| micros / 1e6 / idle));
    Ok(report)
}

/// Answers what comes for `time`, so that the broker can give buffers back.
fn settle(world: &mut World, time: Duration) -> io::Result<()> {
    let end = Instant::now() + time;
    while Instant::now() < end {
        world.turn(Some(TICK), |_, _, _| {})?;
    }
    Ok(())
}
