use super::*;
use std::collections::BTreeMap;

/// The search as the reference describes it, over a map and without a limit.
struct Model {
    config: ClosestConfig,
    known: BTreeMap<Distance, (PeerId, State)>,
    in_vain: usize,
    stalled: bool,
    follow_up: Option<BTreeSet<Distance>>,
    finished: bool,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum State {
    New,
    Waiting(Instant),
    Late,
    Failed,
    Answered,
}

impl Model {
    fn new(config: ClosestConfig, known: &[PeerId]) -> Self {
        let known = known
            .iter()
            .map(|peer| (distance(peer), (*peer, State::New)));
        Self {
            config,
            known: known.collect(),
            in_vain: 0,
            stalled: false,
            follow_up: None,
            finished: false,
        }
    }

    fn waiting(&self) -> usize {
        let waits = |(_, state): &&(PeerId, State)| matches!(state, State::Waiting(_));
        self.known.values().filter(waits).count()
    }

    fn expire(&mut self, now: Instant) {
        for (_, state) in self.known.values_mut() {
            if matches!(state, State::Waiting(until) if *until <= now) {
                *state = State::Late;
            }
        }
    }

    fn next(&mut self, now: Instant) -> Step {
        self.expire(now);
        if self.finished {
            return Step::Finished;
        }
        if self.follow_up.is_none() && self.has_enough() {
            let alive = self
                .known
                .iter()
                .filter(|(_, (_, state))| !matches!(state, State::Late | State::Failed));
            let top = alive
                .take(self.config.num_results.get())
                .map(|(distance, _)| *distance);
            match self.config.termination {
                Termination::AllAnswered => self.finished = true,
                Termination::Beta(_) => self.follow_up = Some(top.collect()),
            }
        }
        let open = |distance: &Distance| {
            self.follow_up
                .as_ref()
                .is_none_or(|top| top.contains(distance))
        };
        let mut unasked = self
            .known
            .iter()
            .find(|(distance, (_, state))| *state == State::New && open(distance));
        if let (Some((nearest, _)), None) = (unasked, &self.follow_up) {
            let most = self.config.num_results.get() + self.config.parallelism.get();
            let alive = self
                .known
                .range(..nearest)
                .filter(|(_, (_, state))| !matches!(state, State::Late | State::Failed));
            unasked = unasked.filter(|_| alive.count() < most);
        }
        let unasked = unasked.map(|(distance, (peer, _))| (*distance, *peer));
        let awaited = self
            .known
            .iter()
            .any(|(distance, (_, state))| matches!(state, State::Waiting(_)) && open(distance));
        if self.finished || (unasked.is_none() && !awaited) {
            self.finished = true;
            return Step::Finished;
        }
        match unasked {
            Some((distance, peer)) if self.waiting() < self.capacity() => {
                let until = now + self.config.peer_timeout;
                self.known.insert(distance, (peer, State::Waiting(until)));
                Step::Ask(peer)
            }
            _ => Step::Wait,
        }
    }

    fn capacity(&self) -> usize {
        let alpha = self.config.parallelism.get();
        if self.stalled || self.follow_up.is_some() {
            alpha.max(self.config.num_results.get())
        } else {
            alpha
        }
    }

    /// Whether the closest that did not fail have answered.
    fn has_enough(&self) -> bool {
        let k = self.config.num_results.get();
        let enough = match self.config.termination {
            Termination::AllAnswered => k,
            Termination::Beta(beta) => beta.get().min(k),
        };
        let alive = self
            .known
            .values()
            .filter(|(_, state)| !matches!(state, State::Late | State::Failed));
        let answered = alive
            .take_while(|(_, state)| *state == State::Answered)
            .count();
        answered >= enough
    }

    fn on_success(&mut self, peer: &PeerId, closer: &[PeerId], now: Instant) -> bool {
        self.expire(now);
        if !self.settle(peer, State::Answered) {
            return false;
        }
        if self.follow_up.is_some() {
            return true;
        }
        let k = self.config.num_results.get();
        let few = self.known.len() < k;
        let range = *self.known.keys().take(k).next_back().unwrap();
        let mut progress = few;
        for peer in closer {
            let distance = distance(peer);
            if let std::collections::btree_map::Entry::Vacant(entry) = self.known.entry(distance) {
                entry.insert((*peer, State::New));
                progress |= distance < range;
            }
        }
        if progress {
            (self.stalled, self.in_vain) = (false, 0);
        } else if !self.stalled {
            self.in_vain += 1;
            self.stalled = self.in_vain >= self.config.parallelism.get();
        }
        true
    }

    fn settle(&mut self, peer: &PeerId, to: State) -> bool {
        match self.known.get_mut(&distance(peer)) {
            Some((_, state @ (State::Waiting(_) | State::Late))) if !self.finished => {
                *state = to;
                true
            }
            _ => false,
        }
    }

    fn result(&self) -> Vec<PeerId> {
        let answered = self
            .known
            .values()
            .filter(|(_, state)| *state == State::Answered);
        let answered = answered.map(|(peer, _)| *peer);
        answered.take(self.config.num_results.get()).collect()
    }
}

fn any_config() -> impl Strategy<Value = ClosestConfig> {
    let termination = prop_oneof![
        Just(Termination::AllAnswered),
        (1..5_usize).prop_map(|beta| Termination::Beta(count(beta))),
    ];
    (1..6_usize, 1..9_usize, termination).prop_map(|(parallelism, num_results, termination)| {
        ClosestConfig {
            termination,
            ..config(parallelism, num_results)
        }
    })
}

const UNIVERSE: u16 = 48;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_step_is_that_of_the_model(
        config in any_config(),
        known in prop::collection::vec(0..UNIVERSE, 0..10),
        ops in prop::collection::vec(op(UNIVERSE), 0..120),
    ) {
        let known = peers(known);
        let mut search = ClosestPeers::new(config.clone(), target(), known.clone());
        let mut model = Model::new(config, &known);
        let (mut now, mut asked) = (START, Vec::new());
        for op in ops {
            match op {
                Op::Next => {
                    let step = search.next(now);
                    prop_assert_eq!(step, model.next(now));
                    if let Step::Ask(peer) = step {
                        prop_assert!(!asked.contains(&peer), "asked twice");
                        asked.push(peer);
                        prop_assert!(model.waiting() <= model.capacity());
                    }
                }
                Op::Answer(at, closer) => {
                    let Some(peer) = asked.get(at) else { continue };
                    let closer = peers(closer);
                    let expected = model.on_success(peer, &closer, now);
                    prop_assert_eq!(search.on_success(peer, closer, now), expected);
                }
                Op::Failure(at) => {
                    let Some(peer) = asked.get(at) else { continue };
                    prop_assert_eq!(search.on_failure(peer), model.settle(peer, State::Failed));
                }
                Op::Unasked(number, closer) => {
                    let (peer, closer) = (peer(number), peers(closer));
                    let expected = model.on_success(&peer, &closer, now);
                    prop_assert!(!expected || asked.contains(&peer));
                    prop_assert_eq!(search.on_success(&peer, closer, now), expected);
                }
                Op::UnaskedFailure(number) => {
                    let expected = model.settle(&peer(number), State::Failed);
                    prop_assert_eq!(search.on_failure(&peer(number)), expected);
                }
                Op::Time(seconds) => now = now + Duration::from_secs(seconds),
            }
            prop_assert!(search.result().eq(model.result()));
            prop_assert_eq!(search.num_waiting(), model.waiting());
            prop_assert_eq!(search.is_finished(), model.finished);
            let first = model.known.values().filter_map(|(_, state)| match state {
                State::Waiting(until) => Some(*until),
                _ => None,
            });
            prop_assert_eq!(search.next_deadline(), first.min().filter(|_| !model.finished));
        }
        let mut iterator = PeersIterator::Closest(search);
        drain(&mut iterator, now, &mut asked, 200);
        let distinct: BTreeSet<_> = asked.iter().collect();
        prop_assert_eq!(distinct.len(), asked.len());
    }

    /// With few candidates allowed: what is forgotten is the farthest that was not asked.
    #[test]
    fn the_candidates_are_bounded_and_nobody_asked_is_forgotten(
        config in any_config(),
        max_candidates in 0..20_usize,
        known in prop::collection::vec(0..200_u16, 0..40),
        ops in prop::collection::vec(op(200), 0..120),
    ) {
        let config = ClosestConfig { max_candidates, ..config };
        let limit = max_candidates.max(config.num_results.get()).max(config.parallelism.get());
        let start = closest(peers(known.clone()), limit);
        let mut search = ClosestPeers::new(config, target(), peers(known));
        prop_assert!(start.iter().all(|peer| search.contains(peer)), "the closest are kept");
        let (mut now, mut asked, mut answered) = (START, Vec::new(), BTreeSet::new());
        for op in ops {
            match op {
                Op::Next => if let Step::Ask(peer) = search.next(now) {
                    prop_assert!(!asked.contains(&peer), "asked twice");
                    asked.push(peer);
                },
                Op::Answer(at, closer) => {
                    let Some(peer) = asked.get(at) else { continue };
                    if search.on_success(peer, peers(closer), now) {
                        answered.insert(*peer);
                    }
                }
                Op::Failure(at) => if let Some(peer) = asked.get(at) {
                    search.on_failure(peer);
                },
                Op::Time(seconds) => now = now + Duration::from_secs(seconds),
                Op::Unasked(..) | Op::UnaskedFailure(_) => {}
            }
            let result: Vec<_> = search.result().collect();
            prop_assert!(result.iter().all(|peer| answered.contains(peer)));
            prop_assert_eq!(closest(result.clone(), usize::MAX), result, "sorted and distinct");
        }
        prop_assert!(asked.iter().all(|peer| search.contains(peer)));
        prop_assert!((0..200).filter(|number| search.contains(&peer(*number))).count() <= limit);
        drain(&mut PeersIterator::Closest(search), now, &mut asked, 400);
    }

    /// Everybody knows the closest of a random part of the network; some never answer.
    #[test]
    fn all_that_is_closer_than_the_result_was_asked_and_did_not_answer(
        config in any_config(),
        views in prop::collection::vec(prop::collection::vec(0..UNIVERSE, 0..20), usize::from(UNIVERSE)),
        dead in prop::collection::vec(prop::bool::weighted(0.2), usize::from(UNIVERSE)),
        start in prop::collection::vec(0..UNIVERSE, 1..6),
    ) {
        let k = config.num_results.get();
        let beta = config.termination != Termination::AllAnswered;
        let mut search = ClosestPeers::new(config, target(), peers(start.clone()));
        let number = |peer: &PeerId| (0..UNIVERSE).find(|number| super::peer(*number) == *peer).unwrap();
        let (mut now, mut asked, mut heard) = (START, BTreeSet::new(), peers(start));
        let mut waiting = Vec::new();
        loop {
            match search.next(now) {
                Step::Ask(peer) => { asked.insert(peer); waiting.push(peer); }
                Step::Wait => match waiting.pop() {
                    Some(peer) if dead[usize::from(number(&peer))] => {}
                    Some(peer) => {
                        let closer = closest(peers(views[usize::from(number(&peer))].clone()), k);
                        heard.extend(&closer);
                        search.on_success(&peer, closer, now);
                    }
                    None => now = search.next_deadline().unwrap(),
                },
                Step::Finished => break,
            }
        }
        let result: Vec<_> = search.result().collect();
        let alive = |peer: &PeerId| !dead[usize::from(number(peer))];
        prop_assert!(result.iter().all(|peer| alive(peer) && asked.contains(peer)));
        if !beta {
            // Nobody alive that it heard of is closer, and it has fewer than k only if there are no more.
            let heard_alive = closest(heard.into_iter().filter(alive), k);
            prop_assert_eq!(result, heard_alive);
        }
    }
}

fn ask_all(search: &mut ClosestPeers, now: Instant) -> Vec<PeerId> {
    core::iter::from_fn(|| match search.next(now) {
        Step::Ask(peer) => Some(peer),
        _ => None,
    })
    .collect()
}

#[test]
fn a_timed_out_peer_makes_room_and_its_late_answer_counts() {
    let mut search = ClosestPeers::new(config(1, 20), target(), peers(1..3));
    let first = ask_all(&mut search, START);
    assert_eq!(first.len(), 1);
    let deadline = START + Duration::from_secs(10);
    assert_eq!(search.next_deadline(), Some(deadline));
    let second = ask_all(&mut search, deadline);
    assert!(!search.is_waiting_for(&first[0]) && search.is_waiting_for(&second[0]));
    assert!(search.on_success(&first[0], [], deadline));
    assert!(!search.on_success(&first[0], [], deadline));
    assert!(search.on_failure(&second[0]));
    assert_eq!(search.next(deadline), Step::Finished);
    assert!(search.result().eq(first));
    assert_eq!(search.next_deadline(), None);
}

/// A far peer that does not answer must not hold its place until all closer ones have been asked.
#[test]
fn a_silent_peer_behind_unasked_ones_makes_room() {
    let near = closest(peers(0..40), 40);
    let far = near[30..32].to_vec();
    let mut search = ClosestPeers::new(config(2, 20), target(), far.clone());
    assert_eq!(ask_all(&mut search, START), far);
    assert!(search.on_success(&far[0], near[..5].to_vec(), START));
    assert_eq!(ask_all(&mut search, START), near[..1]);
    let deadline = search.next_deadline().unwrap();
    assert_eq!(
        ask_all(&mut search, deadline),
        near[1..3],
        "both were silent"
    );
}

#[test]
fn without_progress_more_are_asked_at_a_time() {
    let all = closest(peers(0..40), 40);
    let mut search = ClosestPeers::new(config(3, 10), target(), all[..30].to_vec());
    let first = ask_all(&mut search, START);
    assert_eq!(first, all[..3]);
    for peer in &first[..2] {
        assert!(search.on_success(peer, [], START));
    }
    assert_eq!(ask_all(&mut search, START).len(), 2);
    assert!(
        search.on_success(&first[2], [all[35]], START),
        "new, but not closer"
    );
    assert_eq!(ask_all(&mut search, START).len(), 8);
    assert_eq!(search.num_waiting(), 10);
}

#[test]
fn any_new_peer_among_the_closest_is_progress() {
    let all = closest(peers(0..60), 60);
    let mut search = ClosestPeers::new(
        config(1, 10),
        target(),
        all[..5].iter().chain(&all[6..20]).copied(),
    );
    assert_eq!(ask_all(&mut search, START), all[..1]);
    // The sixth closest: closer than the tenth, though not than the first.
    assert!(search.on_success(&all[0], [all[5]], START));
    assert_eq!(ask_all(&mut search, START).len(), 1);
    assert!(search.on_success(&all[1], [], START));
    // Two have answered, nine are asked: one more than could be among the closest if all of them answer.
    assert_eq!(ask_all(&mut search, START).len(), 9, "stands still");
    assert_eq!(search.num_waiting(), 9);
    assert!(search.on_failure(&all[2]));
    assert_eq!(ask_all(&mut search, START).len(), 1, "in its place");
}

/// go-libp2p: the three closest have answered; the rest of the closest known is asked, and not followed.
#[test]
fn after_beta_answers_the_rest_of_the_closest_is_asked_once() {
    let all = closest(peers(0..40), 40);
    let config = ClosestConfig {
        termination: Termination::Beta(count(3)),
        ..config(3, 6)
    };
    let mut search = ClosestPeers::new(config, target(), all[1..12].to_vec());
    for peer in ask_all(&mut search, START) {
        assert!(search.on_success(&peer, [], START));
    }
    let rest = ask_all(&mut search, START);
    assert_eq!(rest, all[4..7]);
    assert!(search.on_success(&rest[0], [all[0]], START));
    assert!(search.on_failure(&rest[1]));
    assert_eq!(search.next(START), Step::Wait);
    assert!(search.on_success(&rest[2], [], START));
    assert_eq!(search.next(START), Step::Finished);
    assert!(search.result().eq([all[1], all[2], all[3], all[4], all[6]]));
    assert!(!search.contains(&all[0]));
}

/// Reliability: answers at the last moment, or never, cost the slot of one.
#[test]
fn a_slow_peer_costs_one_slot() {
    let all = closest(peers(0..60), 60);
    let mut search = ClosestPeers::new(config(3, 5), target(), all[..30].to_vec());
    let asked = ask_all(&mut search, START);
    let (slow, mut others) = (asked[0], asked[1..].to_vec());
    let mut failed = 0;
    while !others.is_empty() {
        for peer in others {
            assert!(search.on_failure(&peer));
            failed += 1;
        }
        others = ask_all(&mut search, START);
    }
    assert_eq!(failed, 29, "the others go on");
    assert!(search.is_waiting_for(&slow));
}
