//! The scenarios: each opens its connections, warms up, measures for a while, and returns a `Report`.

pub mod connects;
pub mod flow;
pub mod idle;
pub mod overload;
pub mod paced;
pub mod subs;

use std::time::Duration;

use crate::target::Target;

/// What every scenario needs.
#[derive(Clone)]
pub struct Run {
    /// the broker
    pub target: Target,
    /// its process, for CPU time and resident bytes
    pub pid: Option<u32>,
    /// how long is measured, after a warm-up of a quarter of it (one second at most)
    pub duration: Duration,
}

impl Run {
    /// Time before the measurement starts.
    pub fn warm_up(&self) -> Duration {
        (self.duration / 4).min(Duration::from_secs(1))
    }
}

/// A turn never waits longer, so that ends and stalls are seen.
const TICK: Duration = Duration::from_millis(20);
