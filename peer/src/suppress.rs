//! How often a refusal is logged: one line per code and address in ten seconds (peername 9).
//! `now` is a parameter. Not here: the texts (`code`).

use crate::addr::Addr;
use crate::code::Code;
use crate::rate::RateKey;
use std::collections::HashMap;

/// One listener's gate before its log.
#[derive(Debug, Default)]
pub struct LogGate {
    lines: HashMap<(Code, RateKey), Line>,
    /// Refusals that found no room among `lines`; told with the next line of any kind.
    beyond: u64,
}

#[derive(Debug)]
struct Line {
    logged_ms: u64,
    suppressed: u64,
}

const QUIET_MS: u64 = 10_000;

/// Codes and addresses that are kept apart; an attacker with many addresses fills no more than this.
const LINES_MAX: usize = 4096;

impl LogGate {
    /// Whether a refusal at `now_ms` (a monotonic clock) is to be logged, and how many were not since the
    /// last line (`suppressed=N`, left out if 0). `None`: it is not logged. Addresses count as for rates:
    /// all ports of an address, and all of an IPv6 /64, are one.
    pub fn admit(&mut self, now_ms: u64, code: Code, socket: &Addr) -> Option<u64> {
        let key = (code, RateKey::of(socket));
        if let Some(line) = self.lines.get_mut(&key) {
            if now_ms.saturating_sub(line.logged_ms) < QUIET_MS {
                line.suppressed += 1;
                return None;
            }
            line.logged_ms = now_ms;
            return Some(std::mem::take(&mut line.suppressed) + std::mem::take(&mut self.beyond));
        }
        if self.lines.len() >= LINES_MAX {
            self.make_room(now_ms);
        }
        if self.lines.len() >= LINES_MAX {
            self.beyond += 1;
            return None;
        }
        self.lines.insert(
            key,
            Line {
                logged_ms: now_ms,
                suppressed: 0,
            },
        );
        Some(std::mem::take(&mut self.beyond))
    }

    /// Forgets lines that are quiet no longer; what they suppressed is told with the next line.
    fn make_room(&mut self, now_ms: u64) {
        let beyond = &mut self.beyond;
        self.lines.retain(|_, line| {
            let quiet = now_ms.saturating_sub(line.logged_ms) < QUIET_MS;
            if !quiet {
                *beyond += line.suppressed;
            }
            quiet
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_in_ten_seconds_for_each_code_and_address() {
        let mut gate = LogGate::default();
        let addr = |text: &str| text.parse::<Addr>().unwrap();
        let (a, b) = (addr("10.0.0.5:1"), addr("10.0.0.6:1"));
        assert_eq!(gate.admit(0, Code::ProxyPeer, &a), Some(0));
        assert_eq!(gate.admit(1, Code::ProxyPeer, &addr("10.0.0.5:2")), None);
        assert_eq!(gate.admit(1, Code::ProxyCrc, &a), Some(0));
        assert_eq!(gate.admit(1, Code::ProxyPeer, &b), Some(0));
        assert_eq!(gate.admit(9_999, Code::ProxyPeer, &a), None);
        assert_eq!(gate.admit(10_000, Code::ProxyPeer, &a), Some(2));
        assert_eq!(gate.admit(10_001, Code::ProxyPeer, &a), None);
    }

    #[test]
    fn many_addresses_fill_bounded_memory_and_are_counted() {
        let mut gate = LogGate::default();
        let addr = |n: u32| Addr::new(std::net::Ipv4Addr::from_bits(n).into(), 1);
        let total = LINES_MAX as u32 + 10;
        let logged = (0..total)
            .filter(|n| gate.admit(0, Code::ProxyPeer, &addr(*n)).is_some())
            .count();
        assert_eq!((logged, gate.lines.len()), (LINES_MAX, LINES_MAX));
        assert_eq!(gate.admit(QUIET_MS, Code::ProxyPeer, &addr(total)), Some(10));
        assert_eq!(gate.lines.len(), 1);
    }
}
