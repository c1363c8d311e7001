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
