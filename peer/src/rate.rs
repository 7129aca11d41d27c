//! Limits before login: the token bucket as peername 12 defines it, and its key. `now` is a parameter:
//! milliseconds of a monotonic clock.
//! Not here: who is exempt ([`crate::Policy::is_listed`], [`crate::Hop::kind`]); the bounded tables that count
//! (`auth`), whose lock-free buckets are tested against this one.

use crate::addr::Addr;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What per-address limits count by: an IPv4 address, an IPv6 /64, or all unix-domain peers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct RateKey(Key);

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
enum Key {
    Unix,
    V4(u32),
    /// The upper half.
    V6(u64),
}

impl RateKey {
    /// The key of an address; its port does not matter.
    pub fn of(addr: &Addr) -> Self {
        Self(match addr.ip() {
            None => Key::Unix,
            Some(IpAddr::V4(ip)) => Key::V4(ip.to_bits()),
            Some(IpAddr::V6(ip)) => Key::V6((ip.to_bits() >> 64) as u64),
        })
    }
}

impl fmt::Display for RateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Key::Unix => f.write_str("unix"),
            Key::V4(bits) => Ipv4Addr::from_bits(bits).fmt(f),
            Key::V6(bits) => write!(f, "{}/64", Ipv6Addr::from_bits(u128::from(bits) << 64)),
        }
    }
}

/// Parts of a token: so many that rates per second, minute and hour are whole numbers of parts a
/// millisecond, and nothing is ever rounded.
const PARTS: u64 = 3_600_000;

/// How fast a bucket fills, and how much it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    parts_per_ms: u64,
    burst: u32,
}

impl Rate {
    /// Tokens a second, and how many the bucket holds.
    pub fn per_second(tokens: u32, burst: u32) -> Self {
        Self {
            parts_per_ms: u64::from(tokens) * 3600,
            burst,
        }
    }

    /// Tokens a minute, and how many the bucket holds.
    pub fn per_minute(tokens: u32, burst: u32) -> Self {
        Self {
            parts_per_ms: u64::from(tokens) * 60,
            burst,
        }
    }

    /// Tokens an hour, and how many the bucket holds.
    pub fn per_hour(tokens: u32, burst: u32) -> Self {
        Self {
            parts_per_ms: u64::from(tokens),
            burst,
        }
    }

    fn capacity(self) -> u64 {
        u64::from(self.burst) * PARTS
    }
}

/// A token bucket. It starts full; each arrival adds what has flowed in since the last one, and takes one
/// token if there is a whole one.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    parts: u64,
    last_ms: Option<u64>,
}

impl Bucket {
    /// A full one.
    pub fn full(rate: Rate) -> Self {
        Self {
            parts: rate.capacity(),
            last_ms: None,
        }
    }

    /// Whether an arrival at `now_ms` is allowed; one that is refused takes nothing. A `now_ms` before the
    /// last one counts as that one.
    pub fn take(&mut self, rate: Rate, now_ms: u64) -> bool {
        let elapsed = now_ms.saturating_sub(self.last_ms.unwrap_or(now_ms));
        self.last_ms = Some(now_ms.max(self.last_ms.unwrap_or(0)));
        let inflow = elapsed.saturating_mul(rate.parts_per_ms);
        self.parts = self.parts.saturating_add(inflow).min(rate.capacity());
        let allowed = self.parts >= PARTS;
        if allowed {
            self.parts -= PARTS;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_of_a_token_are_kept_exactly() {
        let rate = Rate::per_second(3, 1);
        let mut bucket = Bucket::full(rate);
        assert!(bucket.take(rate, 0));
        assert!(!bucket.take(rate, 333));
        assert!(bucket.take(rate, 334));
        let rate = Rate::per_hour(1, 1);
        let mut bucket = Bucket::full(rate);
        assert!(bucket.take(rate, 0));
        assert!(!bucket.take(rate, 3_599_999));
        assert!(bucket.take(rate, 3_600_000));
    }

    #[test]
    fn a_clock_that_goes_back_adds_nothing() {
        let rate = Rate::per_second(1, 1);
        let mut bucket = Bucket::full(rate);
        assert!(bucket.take(rate, 5000));
        assert!(!bucket.take(rate, 0));
        assert!(!bucket.take(rate, 5999));
        assert!(bucket.take(rate, 6000));
    }
}
