use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn nobody_is_asked_twice_and_only_one_path_learns_from_an_answer(
        paths in 1..5_usize,
        (alpha, k) in (1..7_usize, 1..9_usize),
        known in prop::collection::vec(0..60_u16, 0..12),
        ops in prop::collection::vec(op(60), 0..150),
    ) {
        let mut search = DisjointPeers::new(count(paths), config(alpha, k), target(), peers(known.clone()));
        prop_assert_eq!(search.num_paths(), paths.min(alpha));
        prop_assert!(search.share * search.num_paths() <= alpha);
        prop_assert!(search.raised_share * search.num_paths() <= alpha.max(k));
        let known = peers(known);
        let (mut now, mut asked, mut answered) = (START, Vec::new(), BTreeSet::new());
        // What each path may know.
        let mut told: Vec<BTreeSet<PeerId>> = vec![known.into_iter().collect(); search.num_paths()];
        for op in ops {
            match op {
                Op::Next => if let Step::Ask(peer) = search.next(now) {
                    prop_assert!(!asked.contains(&peer), "asked twice");
                    prop_assert!(search.is_waiting_for(&peer));
                    asked.push(peer);
                    let path = search.path_of(&peer).unwrap();
                    let raised = search.paths[path].is_raised();
                    let share = if raised { search.raised_share } else { search.share };
                    prop_assert!(search.waiting_on(path).count() <= share);
                    prop_assert!(search.num_waiting() <= alpha.max(k));
                },
                Op::Answer(at, closer) => {
                    let Some(peer) = asked.get(at) else { continue };
                    let path = search.path_of(peer).unwrap();
                    told[path].extend(peers(closer.clone()));
                    let finished = search.is_finished();
                    let updated = search.on_success(peer, peers(closer), now);
                    prop_assert!(!updated || !finished);
                    prop_assert!(!updated || answered.insert(*peer), "two answers of one");
                }
                Op::Failure(at) => if let Some(peer) = asked.get(at) {
                    let updated = search.on_failure(peer);
                    prop_assert!(!updated || !answered.contains(peer));
                },
                Op::Unasked(number, closer) => if !asked.contains(&peer(number)) {
                    prop_assert!(!search.on_success(&peer(number), peers(closer), now));
                },
                Op::UnaskedFailure(number) => if !asked.contains(&peer(number)) {
                    prop_assert!(!search.on_failure(&peer(number)));
                },
                Op::Time(seconds) => now = now + Duration::from_secs(seconds),
            }
            let result: Vec<_> = search.result().collect();
            prop_assert!(result.iter().all(|peer| answered.contains(peer)));
            prop_assert_eq!(closest(result.clone(), usize::MAX), result, "sorted and distinct");
            if search.is_finished() {
                prop_assert_eq!(search.next_deadline(), None);
            }
        }
        for (path, told) in search.paths.iter().zip(&told) {
            let knows = |number: &u16| path.contains(&peer(*number));
            prop_assert!((0..60).filter(knows).all(|number| told.contains(&peer(number))));
        }
        drain(&mut PeersIterator::Disjoint(search), now, &mut asked, 1000);
        let distinct: BTreeSet<_> = asked.iter().collect();
        prop_assert_eq!(distinct.len(), asked.len());
    }

    /// Everybody tells the truth: one path or several, the closest are found.
    #[test]
    fn a_benign_network_gives_the_same_result(
        paths in 1..5_usize,
        (alpha, k) in (1..7_usize, 1..9_usize),
        start in prop::collection::btree_set(0..100_u16, 1..8),
    ) {
        let truth = closest(peers(0..100), k);
        let answer = |iterator: &mut PeersIterator| {
            let mut waiting = Vec::new();
            loop {
                match iterator.next(START) {
                    Step::Ask(peer) => waiting.push(peer),
                    Step::Wait => {
                        let peer = waiting.remove(0);
                        iterator.on_success(&peer, truth.clone(), START);
                    }
                    Step::Finished => break iterator.result(),
                }
            }
        };
        let start = peers(start);
        let one = ClosestPeers::new(config(alpha, k), target(), start.clone());
        let several = DisjointPeers::new(count(paths), config(alpha, k), target(), start);
        let one = answer(&mut PeersIterator::Closest(one));
        let mut several = answer(&mut PeersIterator::Disjoint(several));
        several.truncate(k);
        prop_assert_eq!(&one, &truth);
        prop_assert_eq!(several, one);
    }

    /// A liar names its accomplices, who are closer than all others and answer. It leads one path astray.
    #[test]
    fn a_liar_cannot_hide_what_other_paths_find(
        paths in 2..5_usize,
        k in 1..9_usize,
        (liar, liar_first) in (0..2_usize, any::<bool>()),
        order in prop::collection::vec(any::<prop::sample::Index>(), 400),
    ) {
        let all = closest(peers(0..200), 200);
        let (accomplices, honest) = all.split_at(k + 20);
        // As many as there are paths, so that each starts with one of its own.
        let start = honest[80..80 + paths].to_vec();
        let liar = start[liar];
        let mut order = order.into_iter();
        let mut run = |mut iterator: PeersIterator, liar_first: bool| {
            let mut waiting: Vec<PeerId> = Vec::new();
            loop {
                match iterator.next(START) {
                    Step::Ask(peer) => waiting.push(peer),
                    Step::Wait => {
                        let at = order.next().unwrap().index(waiting.len());
                        let liar_at = waiting.iter().position(|peer| *peer == liar);
                        let at = liar_at.filter(|_| liar_first).unwrap_or(at);
                        let peer = waiting.swap_remove(at);
                        let lies = peer == liar || accomplices.contains(&peer);
                        let closer = if lies { &accomplices[..k + 20] } else { &honest[..k] };
                        iterator.on_success(&peer, closer.to_vec(), START);
                    }
                    Step::Finished => break iterator.result(),
                }
            }
        };
        let one = ClosestPeers::new(config(paths, k), target(), start.clone());
        let one = run(PeersIterator::Closest(one), true);
        prop_assert_eq!(one, &accomplices[..k], "one path is led astray");
        let several = DisjointPeers::new(count(paths), config(paths, k), target(), start);
        let several = run(PeersIterator::Disjoint(several), liar_first);
        prop_assert!(honest[..k].iter().all(|peer| several.contains(peer)));
    }
}

#[test]
fn a_failure_does_not_overwrite_an_answer() {
    let mut search = DisjointPeers::new(count(2), config(2, 2), target(), peers(0..1));
    assert_eq!(search.next(START), Step::Ask(peer(0)));
    assert_eq!(
        search.next(START),
        Step::Wait,
        "the other path waits as well"
    );
    assert_eq!(search.num_waiting(), 1);
    assert!(search.on_success(&peer(0), [], START));
    assert!(!search.on_failure(&peer(0)));
    assert_eq!(search.next(START), Step::Finished);
    assert!(search.result().eq([peer(0)]));
}

/// A path that comes to a peer waits for it no longer than the path that asked it.
#[test]
fn no_path_gives_a_silent_peer_more_time() {
    let mut search = DisjointPeers::new(count(2), config(2, 2), target(), peers(0..2));
    assert!(matches!(search.next(START), Step::Ask(_)));
    let later = START + Duration::from_secs(9);
    let Step::Ask(second) = search.next(later) else {
        panic!()
    };
    assert!(search.on_failure(&second));
    assert_eq!(search.next(later), Step::Wait);
    let end = START + Duration::from_secs(10);
    assert_eq!(search.next_deadline(), Some(end));
    assert_eq!(search.next(end), Step::Finished);
}

#[test]
fn a_path_whose_peers_are_silent_does_not_stop_another() {
    let all = closest(peers(0..100), 100);
    let start = all[60..64].to_vec();
    let mut search = DisjointPeers::new(count(2), config(4, 5), target(), start.clone());
    let mut silent = BTreeSet::from([start[0]]);
    let mut waiting = Vec::new();
    let found = loop {
        match search.next(START) {
            Step::Ask(peer) if search.path_of(&peer) == Some(0) => {
                silent.insert(peer);
            }
            Step::Ask(peer) => waiting.push(peer),
            Step::Wait if waiting.is_empty() => break search.result().collect::<Vec<_>>(),
            Step::Wait => {
                search.on_success(&waiting.remove(0), all[..5].to_vec(), START);
            }
            Step::Finished => panic!("the silent path has time yet"),
        }
    };
    assert!(silent.len() <= 2, "no more than its share");
    assert!(found.iter().all(|peer| !silent.contains(peer)));
    assert_eq!(closest(found.clone(), 5), all[..5]);
}

#[test]
fn finishing_a_path_leaves_the_others() {
    let mut search = DisjointPeers::new(count(2), config(2, 4), target(), peers(0..6));
    let Step::Ask(first) = search.next(START) else {
        panic!()
    };
    let Step::Ask(second) = search.next(START) else {
        panic!()
    };
    assert!(search.on_success(&first, [], START));
    assert!(!search.finish_paths([&first]));
    assert!(search.on_success(&second, [], START));
    assert!(matches!(search.next(START), Step::Ask(_)));
    assert!(search.finish_paths([&second]));
    assert_eq!(search.next(START), Step::Finished);
}

#[test]
fn a_path_does_not_wait_for_a_peer_that_was_silent_before() {
    let mut search = DisjointPeers::new(count(2), config(2, 4), target(), peers(0..2));
    let Step::Ask(first) = search.next(START) else {
        panic!()
    };
    assert!(search.on_success(&first, peers(2..3), START));
    let Step::Ask(second) = search.next(START + Duration::from_secs(5)) else {
        panic!()
    };
    assert_eq!(search.path_of(&second), Some(1));
    assert_eq!(search.next(START), Step::Ask(peer(2)));
    let later = START + Duration::from_secs(11);
    assert!(search.on_success(&second, peers(2..3), later));
    assert_eq!(search.next(later), Step::Finished);
    assert!(search.contains(&peer(2)) && !search.is_waiting_for(&peer(2)));
}
