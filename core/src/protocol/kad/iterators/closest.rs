//! Towards the peers closest to a position.

use super::{super::Key, Step};
use crate::{identity::PeerId, protocol::kad::Distance, time::Instant};
use alloc::vec::Vec;
use core::{num::NonZeroUsize, time::Duration};

/// How to look for the closest peers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClosestConfig {
    /// How many peers are asked at a time (α): 10, as the specification recommends. While the search stands still,
    /// `num_results` if that is more.
    pub parallelism: NonZeroUsize,
    /// How many peers to find (k): 20.
    pub num_results: NonZeroUsize,
    /// How long a peer may take to answer before another one is asked in its place: 10 s. Its answer still counts
    /// if it comes while the search lasts.
    pub peer_timeout: Duration,
    /// How many peers are kept in mind, those asked included: 1024, at least `num_results` and `parallelism`. Above
    /// that the farthest that was not asked is forgotten.
    pub max_candidates: usize,
    /// When enough peers have answered: [`Termination::AllAnswered`].
    pub termination: Termination,
}

impl Default for ClosestConfig {
    fn default() -> Self {
        const fn count(count: usize) -> NonZeroUsize {
            NonZeroUsize::MIN.saturating_add(count.saturating_sub(1))
        }
        Self {
            parallelism: count(10),
            num_results: count(20),
            peer_timeout: Duration::from_secs(10),
            max_candidates: 1024,
            termination: Termination::AllAnswered,
        }
    }
}

impl ClosestConfig {
    /// How many are asked at a time while the search stands still.
    pub(super) fn raised_parallelism(&self) -> NonZeroUsize {
        self.num_results.max(self.parallelism)
    }
}

/// When a search has found the closest peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Termination {
    /// When the `num_results` closest that did not fail have all answered: the specification, rust-libp2p.
    #[default]
    AllAnswered,
    /// When that many closest have answered (β, 3 in go-libp2p). Then the rest of the `num_results` closest known is
    /// asked as well, all at once, but not followed any further: they only prove that they are there. If one fails
    /// the result is shorter.
    Beta(NonZeroUsize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    NotContacted,
    Waiting,
    /// Out of time; an answer still counts.
    Unresponsive,
    Failed,
    Succeeded,
}

#[derive(Clone, Debug)]
struct Candidate {
    distance: Distance,
    peer: PeerId,
    state: State,
}

/// How the search goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// So many answers in a row have brought nothing closer.
    Iterating(usize),
    /// α in a row: more peers are asked at a time.
    Stalled,
    /// Only those up to this distance are still asked, see [`Termination::Beta`].
    FollowUp(Distance),
    Finished,
}

/// Asks peers for closer peers, the closest known first, until the closest are found: the lookup of the
/// [specification](https://github.com/libp2p/specs/blob/master/kad-dht/README.md#peer-routing).
///
/// The own peer id is a peer like others here: leave it out.
///
/// ```
/// use drywire::{protocol::kad::{Key, iterators::{ClosestConfig, ClosestPeers, Step}}, time::Instant};
///
/// let (now, peer) = (Instant::ZERO, "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA".parse()?);
/// let mut search = ClosestPeers::new(ClosestConfig::default(), Key::of(b"target"), [peer]);
/// assert_eq!(search.next(now), Step::Ask(peer));
/// assert_eq!(search.next(now), Step::Wait);
/// assert!(search.on_success(&peer, [], now));
/// assert_eq!(search.next(now), Step::Finished);
/// assert!(search.result().eq([peer]));
/// # Ok::<(), drywire::identity::PeerIdError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClosestPeers {
    config: ClosestConfig,
    target: Key,
    /// By distance.
    candidates: Vec<Candidate>,
    /// Until when those in [`State::Waiting`] have time.
    waiting: Vec<(Instant, Distance)>,
    progress: Progress,
}

impl ClosestPeers {
    /// A search that starts with `known` peers: the `num_results` closest to the target, or more.
    #[must_use]
    pub fn new(
        config: ClosestConfig,
        target: Key,
        known: impl IntoIterator<Item = PeerId>,
    ) -> Self {
        let mut search = Self {
            config,
            target,
            candidates: Vec::new(),
            waiting: Vec::new(),
            progress: Progress::Iterating(0),
        };
        for peer in known {
            search.insert(peer);
        }
        search
    }

    /// What is looked for.
    #[must_use]
    pub const fn target(&self) -> &Key {
        &self.target
    }

    /// The next thing to do. Peers whose time to answer is over no longer count as waited for.
    pub fn next(&mut self, now: Instant) -> Step {
        let step = self.peek(now);
        if let Step::Ask(peer) = step {
            self.ask(&peer, now);
        }
        step
    }

    /// A peer is asked now.
    pub(super) fn ask(&mut self, peer: &PeerId, now: Instant) {
        self.await_answer(peer, now + self.config.peer_timeout);
    }

    /// The next thing to do; whoever is to be asked is not regarded as asked.
    pub(super) fn peek(&mut self, now: Instant) -> Step {
        self.expire(now);
        loop {
            match self.progress {
                Progress::Finished => return Step::Finished,
                Progress::FollowUp(limit) => return self.follow_up(&limit),
                Progress::Iterating(_) | Progress::Stalled => {}
            }
            if let Some(step) = self.iterate() {
                return step;
            }
        }
    }

    /// The next step of the search proper; `None` when it has ended.
    fn iterate(&mut self) -> Option<Step> {
        let at_capacity = self.waiting.len() >= self.capacity();
        let enough = match self.config.termination {
            Termination::AllAnswered => self.config.num_results,
            Termination::Beta(beta) => beta.min(self.config.num_results),
        };
        let spare = self.config.parallelism.get();
        let most = self.config.num_results.get().saturating_add(spare);
        // How many of the closest have answered, unless a closer one is waited for; and how many may yet be the closest.
        let (mut answered, mut alive) = (Some(0_usize), 0_usize);
        for candidate in &self.candidates {
            match candidate.state {
                State::Unresponsive | State::Failed => continue,
                State::Waiting => answered = None,
                // It could be among the closest only if several of those should fail.
                State::NotContacted if alive >= most => break,
                State::NotContacted if at_capacity => return Some(Step::Wait),
                State::NotContacted => return Some(Step::Ask(candidate.peer)),
                State::Succeeded => {
                    answered = answered.map(|count| count.saturating_add(1));
                    if answered.is_some_and(|count| count >= enough.get()) {
                        self.progress = self.after_enough();
                        return None;
                    }
                }
            }
            alive = alive.saturating_add(1);
        }
        if !self.waiting.is_empty() {
            return Some(Step::Wait);
        }
        self.progress = Progress::Finished;
        None
    }

    fn after_enough(&self) -> Progress {
        if self.config.termination == Termination::AllAnswered {
            return Progress::Finished;
        }
        let alive = |candidate: &&Candidate| {
            !matches!(candidate.state, State::Unresponsive | State::Failed)
        };
        let closest = self.candidates.iter().filter(alive);
        let last = closest.take(self.config.num_results.get()).last();
        last.map_or(Progress::Finished, |last| Progress::FollowUp(last.distance))
    }

    fn follow_up(&mut self, limit: &Distance) -> Step {
        let at_capacity = self.waiting.len() >= self.capacity();
        let mut waiting = false;
        for candidate in &self.candidates {
            if candidate.distance > *limit {
                break;
            }
            match candidate.state {
                State::Waiting => waiting = true,
                State::NotContacted if at_capacity => return Step::Wait,
                State::NotContacted => return Step::Ask(candidate.peer),
                State::Unresponsive | State::Failed | State::Succeeded => {}
            }
        }
        if waiting {
            return Step::Wait;
        }
        self.progress = Progress::Finished;
        Step::Finished
    }

    /// How many may be waited for.
    fn capacity(&self) -> usize {
        match self.progress {
            Progress::Iterating(_) => self.config.parallelism.get(),
            _ => self.config.raised_parallelism().get(),
        }
    }

    /// Whether more peers than usual are asked at a time.
    pub(super) const fn is_raised(&self) -> bool {
        !matches!(self.progress, Progress::Iterating(_))
    }

    fn expire(&mut self, now: Instant) {
        let Self {
            waiting,
            candidates,
            ..
        } = self;
        waiting.retain(|(deadline, distance)| {
            let waits = now < *deadline;
            if !waits && let Some(candidate) = find(candidates, distance) {
                candidate.state = State::Unresponsive;
            }
            waits
        });
    }

    /// A peer that is to be asked is waited for until `deadline`.
    pub(super) fn await_answer(&mut self, peer: &PeerId, deadline: Instant) {
        let distance = self.distance(peer);
        if let Some(candidate) = find(&mut self.candidates, &distance)
            && candidate.state == State::NotContacted
        {
            candidate.state = State::Waiting;
            self.waiting.push((deadline, distance));
        }
    }

    /// Until when a peer is waited for.
    pub(super) fn deadline_of(&self, peer: &PeerId) -> Option<Instant> {
        let distance = self.distance(peer);
        let mut waiting = self.waiting.iter();
        waiting
            .find(|(_, waited)| *waited == distance)
            .map(|(deadline, _)| *deadline)
    }

    /// A peer has answered, and knows `closer` peers. Whether that made a difference: `false` for peers never asked,
    /// for a second answer, for one after a failure, and once finished.
    ///
    /// All of `closer` are considered: a limit on how many one answer may name is for the caller to set.
    pub fn on_success(
        &mut self,
        peer: &PeerId,
        closer: impl IntoIterator<Item = PeerId>,
        now: Instant,
    ) -> bool {
        self.expire(now);
        if !self.settle(peer, State::Succeeded) {
            return false;
        }
        if matches!(self.progress, Progress::FollowUp(_)) {
            return true;
        }
        let num_results = self.config.num_results.get();
        let range = self.candidates.get(num_results.saturating_sub(1));
        let range = range.or_else(|| self.candidates.last());
        let range = range.map_or(Distance::MAX, |candidate| candidate.distance);
        let mut progress = self.candidates.len() < num_results;
        for peer in closer {
            progress |= self.insert(peer).is_some_and(|distance| distance < range);
        }
        self.progress = match self.progress {
            Progress::Iterating(_) | Progress::Stalled if progress => Progress::Iterating(0),
            Progress::Iterating(before) => {
                let in_vain = before.saturating_add(1);
                if in_vain >= self.config.parallelism.get() {
                    Progress::Stalled
                } else {
                    Progress::Iterating(in_vain)
                }
            }
            other => other,
        };
        true
    }

    /// A peer cannot be asked, or has not answered as it should. Whether that made a difference, as for
    /// [`on_success`](Self::on_success).
    pub fn on_failure(&mut self, peer: &PeerId) -> bool {
        self.settle(peer, State::Failed)
    }

    /// The end of waiting for a peer.
    fn settle(&mut self, peer: &PeerId, as_what: State) -> bool {
        if self.is_finished() {
            return false;
        }
        let distance = self.distance(peer);
        match find(&mut self.candidates, &distance) {
            Some(candidate) if matches!(candidate.state, State::Waiting | State::Unresponsive) => {
                candidate.state = as_what;
                self.waiting.retain(|(_, waited)| *waited != distance);
                true
            }
            _ => false,
        }
    }

    /// Takes a peer in. Its distance, if it is new and there is room.
    fn insert(&mut self, peer: PeerId) -> Option<Distance> {
        let distance = self.distance(&peer);
        let search = self
            .candidates
            .binary_search_by(|known| known.distance.cmp(&distance));
        let at = search.err()?;
        if self.candidates.len() >= self.max_candidates() {
            let unasked = |known: &Candidate| known.state == State::NotContacted;
            let farthest = self.candidates.iter().rposition(unasked)?;
            if farthest < at {
                return None;
            }
            self.candidates.remove(farthest);
        }
        let candidate = Candidate {
            distance,
            peer,
            state: State::NotContacted,
        };
        self.candidates.insert(at, candidate);
        Some(distance)
    }

    fn max_candidates(&self) -> usize {
        let least = self.config.raised_parallelism().get();
        self.config.max_candidates.max(least)
    }

    /// Asks nobody more; what comes is ignored.
    pub fn finish(&mut self) {
        self.progress = Progress::Finished;
    }

    /// Whether there is nothing left to do.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.progress == Progress::Finished
    }

    /// Whether this peer was asked and still has time to answer.
    #[must_use]
    pub fn is_waiting_for(&self, peer: &PeerId) -> bool {
        self.deadline_of(peer).is_some()
    }

    /// How many peers were asked and still have time to answer, as of the last [`next`](Self::next).
    #[must_use]
    pub const fn num_waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The distances of those waited for.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Distance> {
        self.waiting.iter().map(|(_, distance)| distance)
    }

    /// When the first of those waited for runs out of time: call [`next`](Self::next) then.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let deadlines = self.waiting.iter().map(|(deadline, _)| *deadline);
        deadlines.min().filter(|_| !self.is_finished())
    }

    /// Whether this peer is among those asked or to be asked.
    #[must_use]
    pub fn contains(&self, peer: &PeerId) -> bool {
        let distance = self.distance(peer);
        let candidates = &self.candidates;
        candidates
            .binary_search_by(|known| known.distance.cmp(&distance))
            .is_ok()
    }

    /// The closest `num_results` that are known and have not failed, whether asked or not, with their distances.
    pub fn closest_known(&self) -> impl Iterator<Item = (Distance, PeerId)> {
        let usable = |candidate: &&Candidate| candidate.state != State::Failed;
        let closest = self.candidates.iter().filter(usable);
        closest
            .take(self.config.num_results.get())
            .map(|candidate| (candidate.distance, candidate.peer))
    }

    /// Who has answered: at most `num_results`, the closest first. Before the end, those so far.
    pub fn result(&self) -> impl Iterator<Item = PeerId> {
        self.answers().map(|(_, peer)| peer)
    }

    /// The result with its distances.
    pub(super) fn answers(&self) -> impl Iterator<Item = (Distance, PeerId)> {
        let answered = |candidate: &&Candidate| candidate.state == State::Succeeded;
        let closest = self.candidates.iter().filter(answered);
        closest
            .take(self.config.num_results.get())
            .map(|candidate| (candidate.distance, candidate.peer))
    }

    pub(super) fn distance(&self, peer: &PeerId) -> Distance {
        Key::of_peer(peer).distance(&self.target)
    }
}

fn find<'a>(candidates: &'a mut [Candidate], distance: &Distance) -> Option<&'a mut Candidate> {
    let search = candidates.binary_search_by(|known| known.distance.cmp(distance));
    candidates.get_mut(search.ok()?)
}
