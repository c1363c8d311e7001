//! Events of protocols, on their way to whoever has asked for them: before the application's queue of events.

use crate::state::Settled;
use std::sync::Arc;

/// Takes the events of an operation, or of some other kind, out of a host's.
///
/// It is called with the swarm locked. Its own state is behind a lock of its own, which is the last one taken: nothing else
/// is locked under it, nobody is woken, and nothing is dropped that would.
pub(crate) trait Tap<E>: Send + Sync {
    /// Takes the event, or gives it back.
    fn event(&self, event: E, settled: &mut Settled) -> Option<E>;

    /// Whether nothing more is expected of it, once nobody else has it.
    fn is_idle(&self) -> bool;

    /// The host is gone: nothing more comes.
    fn close(&self, settled: &mut Settled);
}

/// All taps of a host, the oldest first.
pub(crate) struct Taps<E>(Vec<Arc<dyn Tap<E>>>);

impl<E> Default for Taps<E> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<E> Taps<E> {
    pub(crate) fn add(&mut self, tap: Arc<dyn Tap<E>>) {
        self.purge();
        self.0.push(tap);
    }

    /// Lets each see the event until one takes it.
    pub(crate) fn offer(&mut self, event: E, settled: &mut Settled) -> Option<E> {
        if self.0.iter().any(is_over) {
            self.purge();
        }
        let mut event = event;
        for tap in &self.0 {
            event = tap.event(event, settled)?;
        }
        Some(event)
    }

    /// Nothing more comes.
    pub(crate) fn close(&mut self, settled: &mut Settled) {
        for tap in self.0.drain(..) {
            tap.close(settled);
        }
    }

    /// Forgets those whose handles are gone.
    fn purge(&mut self) {
        self.0.retain(|tap| !is_over(tap));
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Nobody can take another handle of it in the meantime: they are only cloned from others.
fn is_over<E>(tap: &Arc<dyn Tap<E>>) -> bool {
    Arc::strong_count(tap) == 1 && tap.is_idle()
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicBool, Ordering};

    /// Takes one number.
    struct One {
        number: u32,
        idle: AtomicBool,
    }

    impl One {
        fn tap(number: u32) -> Arc<Self> {
            let idle = AtomicBool::new(true);
            Arc::new(Self { number, idle })
        }
    }

    impl Tap<u32> for One {
        fn event(&self, event: u32, _: &mut Settled) -> Option<u32> {
            (event != self.number).then_some(event)
        }

        fn is_idle(&self) -> bool {
            self.idle.load(Ordering::Relaxed)
        }

        fn close(&self, _: &mut Settled) {}
    }

    #[test]
    fn taps_stay_while_they_are_held_or_expect_something() {
        let (mut taps, mut settled) = (Taps::default(), Settled::default());
        let (one, two) = (One::tap(1), One::tap(2));
        taps.add(one.clone());
        taps.add(two.clone());
        let mut offer = |taps: &mut Taps<u32>, event| taps.offer(event, &mut settled);
        assert_eq!(
            [1, 2, 3].map(|event| offer(&mut taps, event)),
            [None, None, Some(3)]
        );
        two.idle.store(false, Ordering::Relaxed);
        drop(two);
        assert_eq!((offer(&mut taps, 2), taps.len()), (None, 2));
        drop(one);
        // It does not see the event that finds it dead.
        assert_eq!((offer(&mut taps, 1), taps.len()), (Some(1), 1));
        // A hundred more that are made and forgotten leave one.
        for _ in 0..100 {
            taps.add(One::tap(3));
        }
        assert_eq!(taps.len(), 2);
    }
}
