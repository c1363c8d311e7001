//! Through a given list of peers.

use super::Step;
use crate::{identity::PeerId, time::Instant};
use alloc::{
    collections::{BTreeMap, btree_map::Entry},
    vec::{self, Vec},
};
use core::num::NonZeroUsize;

/// Asks each of the given peers once, so many at a time: to store a record with those found to be closest.
///
/// Peers have as long to answer as the owner gives their requests.
#[derive(Clone, Debug)]
pub struct FixedPeers {
    parallelism: NonZeroUsize,
    backlog: vec::IntoIter<PeerId>,
    asked: BTreeMap<PeerId, State>,
    waiting: usize,
    finished: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Failed,
    Succeeded,
}

impl FixedPeers {
    /// Through `peers` in this order, `parallelism` of them at a time. Who is named twice is asked once.
    #[must_use]
    pub fn new(parallelism: NonZeroUsize, peers: impl IntoIterator<Item = PeerId>) -> Self {
        Self {
            parallelism,
            backlog: peers.into_iter().collect::<Vec<_>>().into_iter(),
            asked: BTreeMap::new(),
            waiting: 0,
            finished: false,
        }
    }

    /// The next thing to do. Time has no part in it.
    pub fn next(&mut self, _now: Instant) -> Step {
        if self.finished {
            return Step::Finished;
        }
        if self.waiting >= self.parallelism.get() {
            return Step::Wait;
        }
        for peer in self.backlog.by_ref() {
            if let Entry::Vacant(entry) = self.asked.entry(peer) {
                entry.insert(State::Waiting);
                self.waiting = self.waiting.saturating_add(1);
                return Step::Ask(peer);
            }
        }
        if self.waiting > 0 {
            return Step::Wait;
        }
        self.finished = true;
        Step::Finished
    }

    /// A peer has answered. `false` if it was not waited for, and once finished.
    pub fn on_success(&mut self, peer: &PeerId) -> bool {
        self.settle(peer, State::Succeeded)
    }

    /// A peer has failed. `false` if it was not waited for, and once finished.
    pub fn on_failure(&mut self, peer: &PeerId) -> bool {
        self.settle(peer, State::Failed)
    }

    fn settle(&mut self, peer: &PeerId, as_what: State) -> bool {
        match self.asked.get_mut(peer) {
            Some(state @ State::Waiting) if !self.finished => {
                *state = as_what;
                self.waiting = self.waiting.saturating_sub(1);
                true
            }
            _ => false,
        }
    }

    /// Asks nobody more.
    pub fn finish(&mut self) {
        self.finished = true;
    }

    /// Whether there is nothing left to do.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        self.finished
    }

    /// Whether this peer was asked and has not answered.
    #[must_use]
    pub fn is_waiting_for(&self, peer: &PeerId) -> bool {
        self.asked.get(peer) == Some(&State::Waiting)
    }

    /// How many peers were asked and have not answered.
    #[must_use]
    pub const fn num_waiting(&self) -> usize {
        self.waiting
    }

    /// Never.
    #[must_use]
    pub const fn next_deadline(&self) -> Option<Instant> {
        None
    }

    /// Whether this peer is among those given.
    #[must_use]
    pub fn contains(&self, peer: &PeerId) -> bool {
        self.asked.contains_key(peer) || self.backlog.as_slice().contains(peer)
    }

    /// Who has answered, ordered by peer id.
    pub fn result(&self) -> impl Iterator<Item = PeerId> {
        let answered =
            |(peer, state): (&PeerId, &State)| (*state == State::Succeeded).then_some(*peer);
        self.asked.iter().filter_map(answered)
    }
}
