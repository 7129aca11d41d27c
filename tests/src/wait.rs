//! Waiting, with a deadline. Reaching it is a failure that names what did not come.

use std::time::{Duration, Instant};

/// The longest that anything on loopback may take, also on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Looks again and again until there is something; for what the world announces by no event (a file that grows, a
/// port that listens). `None` after [`DEADLINE`].
pub fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() > end {
            return None;
        }
        std::thread::park_timeout(Duration::from_millis(3));
    }
}

/// [`eventually`].
///
/// # Panics
/// After [`DEADLINE`], with `what`.
#[track_caller]
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    eventually(look).unwrap_or_else(|| panic!("waited too long for {what}"))
}
