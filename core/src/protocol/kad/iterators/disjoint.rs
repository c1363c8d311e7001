//! Towards the closest peers, on paths that share no peer.

use super::{ClosestConfig, ClosestPeers, Step};
use crate::{
    identity::PeerId,
    protocol::kad::{Distance, Key},
    time::Instant,
};
use alloc::vec::Vec;
use core::num::NonZeroUsize;

/// Several searches for the same closest peers, on paths that share no peer
/// ([S/Kademlia](https://doi.org/10.1109/ICPADS.2007.4447808), section 4.4): who lies leads one of them astray, the
/// others find what there is.
///
/// All paths start with the same peers. A peer is asked once, for the path that came to it first; only this path
/// learns the closer peers it names, while all others learn no more than that it answered. Each path has its share of
/// the requests that are allowed at a time, so that no path can use up that of others.
///
/// The own peer id is a peer like others here: leave it out.
#[derive(Clone, Debug)]
pub struct DisjointPeers {
    target: Key,
    pub(super) paths: Vec<ClosestPeers>,
    /// Whose turn it is.
    turn: usize,
    /// By distance: everyone who was asked.
    asked: Vec<Asked>,
    /// How many requests each path may have at a time, and how many while it stands still.
    pub(super) share: usize,
    pub(super) raised_share: usize,
}

#[derive(Clone, Debug)]
struct Asked {
    distance: Distance,
    /// The path it was asked for.
    path: usize,
    answer: Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Awaited,
    Failed,
    Succeeded,
}

impl DisjointPeers {
    /// A search on this many paths, at most `config.parallelism`, that starts with `known` peers.
    ///
    /// The paths divide `parallelism` and `max_candidates` among them. Each finds `num_results`, or as many as there
    /// are paths if that is more.
    #[must_use]
    pub fn new(
        paths: NonZeroUsize,
        config: ClosestConfig,
        target: Key,
        known: impl IntoIterator<Item = PeerId>,
    ) -> Self {
        let paths = paths.min(config.parallelism);
        let share = config.parallelism.get().div_euclid(paths.get());
        let raised_share = config.raised_parallelism().get().div_euclid(paths.get());
        let config = ClosestConfig {
            max_candidates: config.max_candidates.div_euclid(paths.get()),
            // No path may end before one of its own has answered.
            num_results: config.num_results.max(paths),
            ..config
        };
        let path = ClosestPeers::new(config, target, known);
        Self {
            target,
            paths: core::iter::repeat_n(path, paths.get()).collect(),
            turn: 0,
            asked: Vec::new(),
            share,
            raised_share,
        }
    }

    /// What is looked for.
    #[must_use]
    pub const fn target(&self) -> &Key {
        &self.target
    }

    /// How many paths there are.
    #[must_use]
    pub const fn num_paths(&self) -> usize {
        self.paths.len()
    }

    /// The next thing to do. Peers whose time to answer is over no longer count as waited for.
    pub fn next(&mut self, now: Instant) -> Step {
        let mut next = Step::Finished;
        for _ in 0..self.paths.len() {
            let path = self.turn;
            self.turn = path.saturating_add(1);
            if self.turn >= self.paths.len() {
                self.turn = 0;
            }
            match self.next_on(path, now) {
                Step::Finished => {}
                Step::Wait => next = Step::Wait,
                ask @ Step::Ask(_) => return ask,
            }
        }
        next
    }

    /// The next thing to do for one path. Each round settles one peer that was asked for another path.
    fn next_on(&mut self, at: usize, now: Instant) -> Step {
        loop {
            let Some(path) = self.paths.get_mut(at) else {
                return Step::Finished;
            };
            let step = path.peek(now);
            let Step::Ask(peer) = step else {
                return step;
            };
            let distance = path.distance(&peer);
            match self.find(&distance) {
                Ok(known) => self.learn_of(at, known, &peer, now),
                Err(_) if self.has_no_share_left(at) => return Step::Wait,
                Err(place) => {
                    let asked = Asked {
                        distance,
                        path: at,
                        answer: Answer::Awaited,
                    };
                    self.asked.insert(place, asked);
                    if let Some(path) = self.paths.get_mut(at) {
                        path.ask(&peer, now);
                    }
                    return Step::Ask(peer);
                }
            }
        }
    }

    /// A path has come to a peer that was asked for another one.
    fn learn_of(&mut self, at: usize, known: usize, peer: &PeerId, now: Instant) {
        let Some(asked) = self.asked.get(known) else {
            return;
        };
        let first = self.paths.get(asked.path);
        // The time is that of the one request, and over if it is.
        let deadline = first.and_then(|path| path.deadline_of(peer));
        let answer = asked.answer;
        let Some(path) = self.paths.get_mut(at) else {
            return;
        };
        path.await_answer(peer, deadline.unwrap_or(now));
        match answer {
            Answer::Awaited => {}
            Answer::Failed => {
                path.on_failure(peer);
            }
            Answer::Succeeded => {
                path.on_success(peer, [], now);
            }
        }
    }

    fn has_no_share_left(&self, at: usize) -> bool {
        let raised = self.paths.get(at).is_some_and(ClosestPeers::is_raised);
        let share = if raised {
            self.raised_share
        } else {
            self.share
        };
        self.waiting_on(at).count() >= share
    }

    /// Those waited for that were asked for this path.
    pub(super) fn waiting_on(&self, at: usize) -> impl Iterator<Item = &Distance> {
        let path = self.paths.get(at).into_iter();
        let own = move |distance: &&Distance| {
            let asked = self.find(distance).ok().and_then(|at| self.asked.get(at));
            asked.is_some_and(|asked| asked.path == at)
        };
        path.flat_map(ClosestPeers::waiting).filter(own)
    }

    fn find(&self, distance: &Distance) -> Result<usize, usize> {
        self.asked
            .binary_search_by(|asked| asked.distance.cmp(distance))
    }

    /// A peer has answered, and knows `closer` peers, which only the path it was asked for learns. Whether that is its
    /// first answer and may make a difference: `false` for peers never asked, after a failure, and once finished.
    pub fn on_success(
        &mut self,
        peer: &PeerId,
        closer: impl IntoIterator<Item = PeerId>,
        now: Instant,
    ) -> bool {
        let Some(first) = self.settle(peer, Answer::Succeeded) else {
            return false;
        };
        let mut closer = Some(closer);
        for (at, path) in self.paths.iter_mut().enumerate() {
            let closer = if at == first { closer.take() } else { None };
            path.on_success(peer, closer.into_iter().flatten(), now);
        }
        true
    }

    /// A peer cannot be asked, or has not answered as it should. Whether that may make a difference, as for
    /// [`on_success`](Self::on_success).
    pub fn on_failure(&mut self, peer: &PeerId) -> bool {
        if self.settle(peer, Answer::Failed).is_none() {
            return false;
        }
        for path in &mut self.paths {
            path.on_failure(peer);
        }
        true
    }

    /// Notes the only answer of a peer. The path it was asked for.
    fn settle(&mut self, peer: &PeerId, answer: Answer) -> Option<usize> {
        if self.is_finished() {
            return None;
        }
        let distance = Key::of_peer(peer).distance(&self.target);
        let at = self.find(&distance).ok()?;
        let asked = self.asked.get_mut(at)?;
        if asked.answer != Answer::Awaited {
            return None;
        }
        asked.answer = answer;
        Some(asked.path)
    }

    /// Ends all paths.
    pub fn finish(&mut self) {
        self.paths.iter_mut().for_each(ClosestPeers::finish);
    }

    /// The path a peer was asked for.
    pub(super) fn path_of(&self, peer: &PeerId) -> Option<usize> {
        let distance = Key::of_peer(peer).distance(&self.target);
        let asked = self.asked.get(self.find(&distance).ok()?);
        asked.map(|asked| asked.path)
    }

    /// Ends the paths that these peers were asked for. Whether all are finished then.
    pub fn finish_paths<'a>(&mut self, peers: impl IntoIterator<Item = &'a PeerId>) -> bool {
        for peer in peers {
            let path = self.path_of(peer).and_then(|at| self.paths.get_mut(at));
            if let Some(path) = path {
                path.finish();
            }
        }
        self.is_finished()
    }

    /// Whether all paths have ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.paths.iter().all(ClosestPeers::is_finished)
    }

    /// Whether this peer was asked and still has time to answer.
    #[must_use]
    pub fn is_waiting_for(&self, peer: &PeerId) -> bool {
        self.paths.iter().any(|path| path.is_waiting_for(peer))
    }

    /// How many peers were asked and still have time to answer, as of the last [`next`](Self::next).
    #[must_use]
    pub fn num_waiting(&self) -> usize {
        let paths = 0..self.paths.len();
        paths.map(|at| self.waiting_on(at).count()).sum()
    }

    /// When the first of those waited for runs out of time: call [`next`](Self::next) then.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.paths
            .iter()
            .filter_map(ClosestPeers::next_deadline)
            .min()
    }

    /// Whether this peer is among those asked or to be asked, on any path.
    #[must_use]
    pub fn contains(&self, peer: &PeerId) -> bool {
        self.paths.iter().any(|path| path.contains(peer))
    }

    /// Who has answered, the closest first: the results of all paths, each limited. Which path was led
    /// astray cannot be told, so none is cut off.
    pub fn result(&self) -> impl Iterator<Item = PeerId> {
        let mut all: Vec<_> = self.paths.iter().flat_map(ClosestPeers::answers).collect();
        all.sort_unstable();
        all.dedup();
        all.into_iter().map(|(_, peer)| peer)
    }
}
