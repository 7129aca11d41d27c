//! What a process costs: CPU time of all its threads and resident bytes, from /proc; and latencies.

use std::fs;
use std::time::Instant;

/// CPU nanoseconds used so far by all threads of `pid`; `None` if there is no such process.
///
/// Summed from `task/*/schedstat` (nanoseconds). A thread that ends takes its share with it, so the coarser
/// `stat` (10 ms ticks, ended threads included) wins where it is larger by more than its own error.
pub fn cpu_ns(pid: u32) -> Option<u64> {
    let mut threads = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        if let Ok(text) = fs::read_to_string(task.path().join("schedstat")) {
            threads += text.split_ascii_whitespace().next()?.parse::<u64>().ok()?;
        }
    }
    let ticks = ticks(pid)? * 10_000_000;
    Some(if ticks > threads + 50_000_000 {
        ticks
    } else {
        threads
    })
}

/// utime + stime of /proc/PID/stat, in ticks of 10 ms (USER_HZ is 100 on every Linux port we build for).
fn ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after_name = stat.rsplit_once(')')?.1;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Resident bytes of `pid`: exact from `smaps_rollup`, else `VmRSS` of `status`.
pub fn rss(pid: u32) -> Option<u64> {
    let line = |file: &str, key: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
        let line = text.lines().find(|line| line.starts_with(key))?;
        line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()
    };
    line("smaps_rollup", "Rss:")
        .or_else(|| line("status", "VmRSS:"))
        .map(|kib| kib * 1024)
}

/// CPU and wall time from a start to a stop.
pub struct Meter {
    pid: Option<u32>,
    cpu: Option<u64>,
    at: Instant,
}

impl Meter {
    /// Starts now; without a pid only wall time is measured.
    pub fn start(pid: Option<u32>) -> Self {
        Self {
            pid,
            cpu: pid.and_then(cpu_ns),
            at: Instant::now(),
        }
    }

    /// Wall seconds and CPU microseconds since the start.
    pub fn stop(&self) -> (f64, Option<f64>) {
        let cpu = self.cpu.zip(self.pid.and_then(cpu_ns));
        (
            self.at.elapsed().as_secs_f64(),
            cpu.map(|(before, after)| after.saturating_sub(before) as f64 / 1e3),
        )
    }
}

/// The value below which `share` (0 to 1) of the samples lie; sorts them. 0 without samples.
pub fn percentile(samples: &mut [u64], share: f64) -> u64 {
    samples.sort_unstable();
    let at = ((samples.len() as f64 * share) as usize).min(samples.len().saturating_sub(1));
    samples.get(at).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_figures_are_there() {
        let pid = std::process::id();
        assert!(rss(pid).unwrap() > 100_000);
        assert!(cpu_ns(pid).is_some());
        assert_eq!(rss(u32::MAX), None);
    }

    #[test]
    fn percentiles() {
        let mut samples: Vec<u64> = (1..=1000).rev().collect();
        assert_eq!(percentile(&mut samples, 0.5), 501);
        assert_eq!(percentile(&mut samples, 0.999), 1000);
        assert_eq!(percentile(&mut [], 0.5), 0);
    }
}
