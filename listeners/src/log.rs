//! The log lines of refused connections: peername 9's texts, one line per (code, listener, socket
//! address) in 10 s. What does not live here: audit records (the handler's).

use crate::error::{Cause, Refusal};
use peer::{Level, LogContext};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One line per key in this time.
const QUIET: Duration = Duration::from_secs(10);
/// Keys remembered; when they are all younger than [`QUIET`], further ones share one key.
const KEYS_MAX: usize = 4096;

type Key = (&'static str, Option<IpAddr>);

/// Lets one line per key through in [`QUIET`] and counts the others. One per listener.
#[derive(Debug, Default)]
pub(crate) struct LogGate(Mutex<HashMap<Key, Entry>>);

#[derive(Debug)]
struct Entry {
    last: Instant,
    suppressed: u32,
}

impl LogGate {
    /// How many lines were suppressed since the last one, if this one may be written.
    pub(crate) fn pass(&self, code: &'static str, ip: Option<IpAddr>, now: Instant) -> Option<u32> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = (code, ip);
        if entries.len() >= KEYS_MAX && !entries.contains_key(&key) {
            entries.retain(|_, e| now.duration_since(e.last) < QUIET);
            if entries.len() >= KEYS_MAX {
                key = ("other", None);
            }
        }
        match entries.get_mut(&key) {
            Some(entry) if now.duration_since(entry.last) < QUIET => {
                entry.suppressed += 1;
                None
            }
            Some(entry) => {
                entry.last = now;
                Some(std::mem::take(&mut entry.suppressed))
            }
            None => {
                entries.insert(
                    key,
                    Entry {
                        last: now,
                        suppressed: 0,
                    },
                );
                Some(0)
            }
        }
    }
}

/// Writes the line of a refusal, unless too many of its kind were written.
pub(crate) fn refusal(gate: &LogGate, refusal: &Refusal<'_>, address_header: &str, now: Instant) {
    let code = code(refusal.cause);
    let level = level(refusal.cause);
    if level == Level::Debug {
        // Not counted: nobody reads them, so nothing is to be kept small.
        tracing::debug!(code, "{}", text(refusal, address_header));
        return;
    }
    let Some(suppressed) = gate.pass(code, refusal.socket.ip(), now) else {
        return;
    };
    let text = text(refusal, address_header);
    let socket = refusal.socket;
    let suppressed = (suppressed > 0).then_some(suppressed);
    let (ip, port) = (socket.host_text(), socket.port());
    if level == Level::Error {
        tracing::error!(code, network.peer.address = %ip, network.peer.port = port, suppressed, "{text}");
    } else {
        tracing::warn!(code, network.peer.address = %ip, network.peer.port = port, suppressed, "{text}");
    }
}

fn code(cause: &Cause) -> &'static str {
    match cause {
        Cause::Peername(code, _) => code.as_str(),
        Cause::Denied(crate::Denied::Rate) => peer::Code::Rate.as_str(),
        Cause::Denied(crate::Denied::HalfOpen) => peer::Code::HalfOpen.as_str(),
        Cause::Denied(_) => "denied",
        Cause::Full => "full",
        Cause::Evicted => "pending",
        Cause::Upgrade(_) => peer::Code::HttpBadRequest.as_str(),
        Cause::Tls(_) => "tls",
        Cause::Timeout => "timeout",
        Cause::Gone => "gone",
        Cause::Io(_) => "io",
    }
}

fn level(cause: &Cause) -> Level {
    match cause {
        Cause::Peername(code, _) => code.level(),
        Cause::Io(_) => Level::Error,
        Cause::Timeout | Cause::Gone => Level::Debug,
        _ => Level::Warn,
    }
}

fn text(refusal: &Refusal<'_>, address_header: &str) -> String {
    let at = LogContext {
        listener: refusal.listener,
        socket: refusal.socket,
        hop: refusal.hop,
        address_header,
    };
    match refusal.cause {
        Cause::Peername(code, detail) => code.log_text(*detail, &at),
        cause => {
            let hop = refusal.hop.unwrap_or(refusal.socket);
            let class = refusal.class.map(|c| format!(" ({c})")).unwrap_or_default();
            format!(
                "listener {}: connection from {hop} refused in stage {}: {cause}{class}",
                refusal.listener,
                refusal.stage.as_str()
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_in_ten_seconds_and_the_next_tells_how_many() {
        let (gate, t) = (LogGate::default(), Instant::now());
        let ip = Some(IpAddr::from([10, 0, 0, 1]));
        assert_eq!(gate.pass("A", ip, t), Some(0));
        assert_eq!(gate.pass("A", ip, t + Duration::from_secs(1)), None);
        assert_eq!(gate.pass("A", ip, t + Duration::from_secs(9)), None);
        assert_eq!(gate.pass("B", ip, t), Some(0), "another code");
        assert_eq!(gate.pass("A", None, t), Some(0), "another address");
        assert_eq!(gate.pass("A", ip, t + Duration::from_secs(11)), Some(2));
        assert_eq!(gate.pass("A", ip, t + Duration::from_secs(22)), Some(0));
    }

    #[test]
    fn the_table_is_bounded() {
        let (gate, t) = (LogGate::default(), Instant::now());
        let ip = |i: u32| Some(IpAddr::from(i.to_be_bytes()));
        for i in 0..KEYS_MAX as u32 {
            assert_eq!(gate.pass("A", ip(i), t), Some(0));
        }
        assert_eq!(gate.pass("A", ip(1 << 30), t), Some(0), "the shared key");
        assert_eq!(gate.pass("A", ip(2 << 30), t), None);
        assert!(gate.0.lock().unwrap().len() <= KEYS_MAX + 1);
        let later = t + QUIET;
        assert_eq!(gate.pass("A", ip(3 << 30), later), Some(0));
        assert_eq!(gate.0.lock().unwrap().len(), 1, "old keys are gone");
    }
}
