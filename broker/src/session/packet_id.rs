//! The choice of packet identifiers for what the broker sends ([MQTT-2.2.1-3]).

use super::inflight::Window;

/// The last identifier given out.
#[derive(Clone, Copy, Debug, Default)]
pub struct PacketIds {
    last: u16,
}

impl PacketIds {
    /// The next identifier that no exchange uses; `None` if all 65,535 are in use.
    pub fn next(&mut self, window: &Window) -> Option<u16> {
        if window.len() >= usize::from(u16::MAX) {
            return None;
        }
        loop {
            self.last = self.last.checked_add(1).unwrap_or(1);
            if !window.contains(self.last) {
                return Some(self.last);
            }
        }
    }
}
