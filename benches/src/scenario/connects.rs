//! Connections that come and go: CONNECT, CONNACK, DISCONNECT, close, with a number of them at once.

use std::io;
use std::time::Instant;

use crate::meter::{Meter, percentile};
use crate::mqtt::{self, Packet};
use crate::report::Report;
use crate::scenario::{Run, TICK};
use crate::world::World;

/// Keeps `at_once` connections in the making and reports connections/s, CPU each, and time to CONNACK.
pub fn run(run: &Run, at_once: usize) -> io::Result<Report> {
    let mut world = World::new()?;
    let prefix = format!("c{}-", std::process::id());
    let (mut opened, mut done, mut failed) = (0u32, 0u64, 0u64);
    let mut begun = vec![0u64; at_once];
    let mut free: Vec<usize> = (0..at_once).collect();
    let mut slots: Vec<Option<usize>> = Vec::new(); // connection number -> slot
    let mut samples = Vec::new();
    let start = Instant::now();
    let mut meter: Option<(Meter, u64)> = None;
    loop {
        if meter.is_none() && start.elapsed() >= run.warm_up() {
            meter = Some((Meter::start(run.pid), done));
            samples.clear();
        }
        if start.elapsed() >= run.warm_up() + run.duration {
            break;
        }
        while let Some(slot) = free.pop() {
            begun[slot] = world.now();
            let id = world.open(&run.target, &format!("{prefix}{opened}"), opened)?;
            opened = opened.wrapping_add(1);
            slots.resize(slots.len().max(id + 1), None);
            slots[id] = Some(slot);
        }
        let (now, clock) = (world.now(), Instant::now());
        let mut finished = Vec::new();
        world.turn(Some(TICK), |id, conn, packet| match packet {
            Packet::Connack(0) => {
                mqtt::disconnect(&mut conn.out);
                finished.push((id, true, now + clock.elapsed().as_nanos() as u64));
            }
            Packet::Connack(_) | Packet::Closed => finished.push((id, false, 0)),
            _ => {}
        })?;
        for (id, well, at) in finished {
            world.close(id);
            let Some(slot) = slots.get_mut(id).and_then(Option::take) else {
                continue;
            };
            free.push(slot);
            if well {
                done += 1;
                samples.push(at.saturating_sub(begun[slot]));
            } else {
                failed += 1;
            }
        }
    }
    let Some((meter, before)) = meter else {
        return Err(io::Error::other("no time to measure"));
    };
    let (seconds, cpu) = meter.stop();
    if done == before {
        return Err(io::Error::other(format!(
            "no connection came through; {failed} failed"
        )));
    }
    let counted = (done - before) as f64;
    let mut report = Report::default();
    report
        .put("connects_per_s", counted / seconds)
        .put_if("cpu_us", cpu.map(|micros| micros / counted.max(1.0)))
        .put("p50_us", percentile(&mut samples, 0.5) as f64 / 1e3)
        .put("p99_us", percentile(&mut samples, 0.99) as f64 / 1e3)
        .put("failed", failed as f64);
    Ok(report)
}
