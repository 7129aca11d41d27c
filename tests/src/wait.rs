//! Waiting, with a deadline. Reaching it is a failure that names what did not come.

use std::time::{Duration, Instant};

/// The longest that anything on loopback may take, also on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Looks again and again until there is something; for what the world announces by no event (a file that grows, a
/// port that listens).
///
/// # Panics
/// After [`DEADLINE`], with `what`.
#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "waited too long for {what}");
        std::thread::park_timeout(Duration::from_millis(3));
    }
}
