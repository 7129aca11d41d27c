//! What we tell systemd, and the sockets it hands us. Everything here does nothing when systemd did not start us.
//!
//! What does not live here: when to say it (`server`), binding sockets ourselves (`listeners`).

use std::os::fd::OwnedFd;
use std::time::Duration;

use sd_notify::NotifyState;

/// Whether somebody listens to what the functions below say.
pub fn is_listening() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Listeners are bound and clients are served; `status` is the line of `systemctl status`.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// A reload begins. [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!("systemd is not told of the reload: {error}"),
    }
}

/// The broker stops.
pub fn stopping() {
    send(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// The line of `systemctl status`: clients and the worst finding.
pub fn status(text: &str) {
    send(&[NotifyState::Status(text)]);
}

/// Start or stop takes longer (the store recovers): wait for this much more.
pub fn extend(time: Duration) {
    let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
    send(&[NotifyState::ExtendTimeoutUsec(micros)]);
}

/// We are alive.
pub fn watchdog() {
    send(&[NotifyState::Watchdog]);
}

/// How often [`watchdog`] has to be called: half of what systemd waits. `None` = never.
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

fn send(states: &[NotifyState<'_>]) {
    // Without NOTIFY_SOCKET this is no error, so an error is one that the operator should see.
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("systemd cannot be told: {error}");
    }
}

/// A listening socket that systemd opened for us.
#[derive(Debug)]
pub struct Inherited {
    /// `FileDescriptorName=` of the socket unit: the listener's name.
    pub name: String,
    /// The socket; it listens already.
    pub fd: OwnedFd,
}

/// Takes over the sockets of socket activation, once, at start. The second part tells of those that cannot be used.
///
/// `LISTEN_PID` must be ours: variables that a parent process left behind mean nothing.
pub fn inherited() -> (Vec<Inherited>, Vec<String>) {
    let ours = std::env::var("LISTEN_PID").is_ok_and(|pid| pid == std::process::id().to_string());
    if !ours {
        return (Vec::new(), Vec::new());
    }
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut sockets = listenfd::ListenFd::from_env();
    let (mut taken, mut problems) = (Vec::new(), Vec::new());
    for index in 0..sockets.len() {
        let name = name_of(&names, index);
        let tcp = sockets.take_tcp_listener(index).ok().flatten().map(OwnedFd::from);
        let any = tcp.or_else(|| {
            sockets
                .take_unix_listener(index)
                .ok()
                .flatten()
                .map(OwnedFd::from)
        });
        match any {
            Some(_) if taken.iter().any(|other: &Inherited| other.name == name) => {
                problems.push(format!(
                    "systemd passed two sockets named {name}; the second is not used"
                ));
            }
            Some(fd) => taken.push(Inherited { name, fd }),
            None => problems.push(format!("systemd passed {name}, which is no stream socket")),
        }
    }
    (taken, problems)
}

/// The name of the socket at an index; systemd joins them with colons and says `unknown` for none.
fn name_of(names: &str, index: usize) -> String {
    names
        .split(':')
        .nth(index)
        .filter(|name| !name.is_empty())
        .unwrap_or("unknown")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_named_in_order() {
        for (names, index, name) in [
            ("tcp:ws", 0, "tcp"),
            ("tcp:ws", 1, "ws"),
            ("tcp", 1, "unknown"),
            ("", 0, "unknown"),
        ] {
            assert_eq!(name_of(names, index), name, "{names} {index}");
        }
    }

    #[test]
    fn without_systemd_there_is_nothing_to_do() {
        let (sockets, problems) = inherited();
        assert!(sockets.is_empty() && problems.is_empty());
        assert_eq!(watchdog_interval(), None);
        ready("no socket to tell");
    }
}
