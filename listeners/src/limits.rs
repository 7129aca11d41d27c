//! How many connections a listener holds: all, those of kind=proxy, unfinished logins. What does not
//! live here: limits by address (the `Handler`'s), deadlines (`handshake`).

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Something the [`Handler`](crate::Handler) wants kept while a login is unfinished, such as its
/// count of half-open logins of an address; dropped when the login is done, fails, or the next stage
/// replaces it.
pub type Held = Option<Box<dyn Any + Send + Sync>>;

/// The counters of one listener.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    open: AtomicU32,
    proxies: AtomicU32,
    pending: Mutex<Pending>,
}

#[derive(Debug, Default)]
struct Pending {
    next: u64,
    /// Oldest first.
    logins: BTreeMap<u64, Arc<Notify>>,
}

/// One connection's place; dropping it gives the place back.
pub struct Slot {
    slots: Arc<Slots>,
    login: Option<Box<Login>>,
    proxy: bool,
}

struct Login {
    id: u64,
    evicted: Arc<Notify>,
    held: Held,
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot")
            .field("login", &self.login.as_ref().map(|l| l.id))
            .field("proxy", &self.proxy)
            .finish_non_exhaustive()
    }
}

impl Slots {
    /// Takes a place, or `None` if `max` are taken. If more than `max_pending` logins are then
    /// unfinished the oldest of them is told to end.
    pub(crate) fn take(self: &Arc<Self>, max: Option<u32>, max_pending: u32) -> Option<Slot> {
        if !count(&self.open, max) {
            return None;
        }
        let evicted = Arc::new(Notify::new());
        let mut pending = self.pending();
        let id = pending.next;
        pending.next += 1;
        pending.logins.insert(id, Arc::clone(&evicted));
        let over = pending.logins.len() > max_pending as usize;
        let oldest = if over { pending.logins.pop_first() } else { None };
        drop(pending);
        if let Some((_, oldest)) = oldest {
            oldest.notify_one();
        }
        Some(Slot {
            slots: Arc::clone(self),
            login: Some(Box::new(Login {
                id,
                evicted,
                held: None,
            })),
            proxy: false,
        })
    }

    pub(crate) fn open(&self) -> u32 {
        self.open.load(Ordering::Relaxed)
    }

    pub(crate) fn pending_len(&self) -> u32 {
        self.pending().logins.len() as u32
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// The login is done (CONNACK sent): it is no longer counted as unfinished.
    pub fn login_done(&mut self) {
        if let Some(login) = self.login.take() {
            self.slots.pending().logins.remove(&login.id);
        }
    }

    /// Resolves when this login is the oldest of too many unfinished ones and must end; never, once
    /// it is done.
    pub fn evicted(&self) -> impl Future<Output = ()> + Send + 'static {
        let evicted = self.login.as_ref().map(|l| Arc::clone(&l.evicted));
        async move {
            match evicted {
                Some(evicted) => evicted.notified().await,
                None => std::future::pending().await,
            }
        }
    }

    /// What the handler gave for the stage before.
    pub(crate) fn take_held(&mut self) -> Held {
        self.login.as_mut()?.held.take()
    }

    /// Keeps what the handler gave for this stage instead of what it gave for the last.
    pub(crate) fn hold(&mut self, held: Held) {
        if let Some(login) = &mut self.login {
            login.held = held;
        }
    }

    /// Counts this connection as one of kind=proxy; false if `max` are there.
    pub(crate) fn is_proxy(&mut self, max: Option<u32>) -> bool {
        self.proxy = self.proxy || count(&self.slots.proxies, max);
        self.proxy
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.login_done();
        self.slots.open.fetch_sub(1, Ordering::Relaxed);
        if self.proxy {
            self.slots.proxies.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Adds one unless `max` are counted.
fn count(counter: &AtomicU32, max: Option<u32>) -> bool {
    let max = max.unwrap_or(u32::MAX);
    counter
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| {
            (n < max).then_some(n + 1)
        })
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn is_evicted(slot: &Slot) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        pin!(slot.evicted()).poll(&mut cx) == Poll::Ready(())
    }

    #[test]
    fn places_come_back_when_dropped() {
        let slots = Arc::new(Slots::default());
        let first = slots.take(Some(2), 10).expect("free");
        let _second = slots.take(Some(2), 10).expect("free");
        assert!(slots.take(Some(2), 10).is_none());
        assert_eq!((slots.open(), slots.pending_len()), (2, 2));
        drop(first);
        assert!(slots.take(Some(2), 10).is_some());
        assert_eq!((slots.open(), slots.pending_len()), (1, 1));
    }

    #[test]
    fn the_oldest_unfinished_login_makes_room() {
        let slots = Arc::new(Slots::default());
        let mut done = slots.take(None, 2).expect("free");
        done.login_done();
        let oldest = slots.take(None, 2).expect("free");
        let second = slots.take(None, 2).expect("free");
        assert!(!is_evicted(&oldest));
        let third = slots.take(None, 2).expect("free");
        assert!(is_evicted(&oldest));
        assert!(!is_evicted(&second) && !is_evicted(&third) && !is_evicted(&done));
    }

    #[test]
    fn proxies_are_counted_apart() {
        let slots = Arc::new(Slots::default());
        let mut first = slots.take(None, 10).expect("free");
        let mut second = slots.take(None, 10).expect("free");
        assert!(first.is_proxy(Some(1)) && first.is_proxy(Some(1)));
        assert!(!second.is_proxy(Some(1)));
        drop(first);
        assert!(second.is_proxy(Some(1)));
    }

    #[test]
    fn what_the_handler_gave_goes_with_the_login() {
        let slots = Arc::new(Slots::default());
        let token = Arc::new(());
        let mut slot = slots.take(None, 10).expect("free");
        slot.hold(Some(Box::new(Arc::clone(&token))));
        slot.hold(Some(Box::new(Arc::clone(&token))));
        assert_eq!(Arc::strong_count(&token), 2, "the first was replaced");
        slot.login_done();
        assert_eq!(Arc::strong_count(&token), 1);
    }
}
