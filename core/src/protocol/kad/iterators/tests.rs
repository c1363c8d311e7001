//! The iterators against plain models, under answers of any kind in any order.

mod closest;
mod disjoint;

use super::*;
use crate::protocol::kad::{Distance, Key};
use core::{num::NonZeroUsize, time::Duration};
use proptest::prelude::*;
use std::{collections::BTreeSet, vec, vec::Vec};

const START: Instant = Instant::from_nanos(1_000_000_000);

fn peer(number: u16) -> PeerId {
    let mut bytes = vec![0x12, 32];
    bytes.extend_from_slice(&[0; 30]);
    bytes.extend_from_slice(&number.to_be_bytes());
    PeerId::from_bytes(&bytes).unwrap()
}

fn peers(numbers: impl IntoIterator<Item = u16>) -> Vec<PeerId> {
    numbers.into_iter().map(peer).collect()
}

fn count(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

fn target() -> Key {
    Key::of(b"target")
}

fn distance(peer: &PeerId) -> Distance {
    Key::of_peer(peer).distance(&target())
}

/// The closest to the target of these.
fn closest(peers: impl IntoIterator<Item = PeerId>, count: usize) -> Vec<PeerId> {
    let mut all: Vec<_> = peers.into_iter().collect();
    all.sort_by_key(distance);
    all.dedup();
    all.truncate(count);
    all
}

fn config(parallelism: usize, num_results: usize) -> ClosestConfig {
    ClosestConfig {
        parallelism: count(parallelism),
        num_results: count(num_results),
        ..ClosestConfig::default()
    }
}

/// How an iterator is treated.
#[derive(Clone, Debug)]
enum Op {
    Next,
    /// The answer of one of those asked so far.
    Answer(usize, Vec<u16>),
    Failure(usize),
    /// An answer of anybody.
    Unasked(u16, Vec<u16>),
    UnaskedFailure(u16),
    Time(u64),
}

fn op(universe: u16) -> impl Strategy<Value = Op> {
    let closer = move || prop::collection::vec(0..universe, 0..12);
    prop_oneof![
        6 => Just(Op::Next),
        4 => (any::<prop::sample::Index>(), closer()).prop_map(|(who, closer)| Op::Answer(who.index(64), closer)),
        2 => any::<prop::sample::Index>().prop_map(|who| Op::Failure(who.index(64))),
        1 => (0..universe, closer()).prop_map(|(who, closer)| Op::Unasked(who, closer)),
        1 => (0..universe).prop_map(Op::UnaskedFailure),
        1 => (0..12_u64).prop_map(Op::Time),
    ]
}

/// Lets all that is still asked for time out. How often was asked.
fn drain(iterator: &mut PeersIterator, mut now: Instant, asked: &mut Vec<PeerId>, limit: usize) {
    for _ in 0..limit {
        match iterator.next(now) {
            Step::Ask(peer) => asked.push(peer),
            Step::Wait => {
                now = iterator
                    .next_deadline()
                    .expect("waits for somebody")
                    .max(now);
            }
            Step::Finished => return,
        }
    }
    panic!("it does not finish");
}

proptest! {
    #[test]
    fn a_fixed_list_is_asked_once_each_in_order_and_never_too_many_at_a_time(
        numbers in prop::collection::vec(0..30_u16, 0..40),
        parallelism in 1..8_usize,
        answers in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 40),
    ) {
        let mut fixed = FixedPeers::new(count(parallelism), peers(numbers.clone()));
        let mut seen = BTreeSet::new();
        let order = peers(numbers.iter().copied().filter(|number| seen.insert(*number)));
        let (mut asked, mut waiting, mut good) = (Vec::new(), Vec::new(), BTreeSet::new());
        let mut answers = answers.into_iter();
        loop {
            match fixed.next(START) {
                Step::Ask(peer) => {
                    prop_assert!(fixed.is_waiting_for(&peer));
                    asked.push(peer);
                    waiting.push(peer);
                }
                Step::Wait => {
                    prop_assert!(waiting.len() == parallelism || asked.len() == order.len());
                    let (success, which) = answers.next().unwrap();
                    let peer = waiting.swap_remove(which.index(waiting.len()));
                    if success {
                        prop_assert!(fixed.on_success(&peer));
                        prop_assert!(!fixed.on_failure(&peer), "an answer is final");
                        good.insert(peer);
                    } else {
                        prop_assert!(fixed.on_failure(&peer));
                        prop_assert!(!fixed.on_success(&peer), "a failure is final");
                    }
                }
                Step::Finished => break,
            }
            prop_assert!(waiting.len() <= parallelism);
            prop_assert_eq!(fixed.num_waiting(), waiting.len());
        }
        prop_assert!(waiting.is_empty() && fixed.is_finished());
        prop_assert_eq!(asked, order);
        prop_assert!(fixed.result().eq(good));
    }
}

#[test]
fn a_finished_list_asks_nobody_and_learns_nothing() {
    let mut fixed = FixedPeers::new(count(2), peers(0..4));
    assert_eq!(fixed.next(START), Step::Ask(peer(0)));
    assert!(fixed.contains(&peer(0)) && fixed.contains(&peer(3)) && !fixed.contains(&peer(4)));
    fixed.finish();
    assert_eq!(fixed.next(START), Step::Finished);
    assert!(!fixed.on_success(&peer(0)));
    assert_eq!(fixed.result().count(), 0);
}

#[test]
fn the_common_methods_are_those_of_each_kind() {
    let known = || peers(0..3);
    let kinds = [
        PeersIterator::Closest(ClosestPeers::new(config(2, 2), target(), known())),
        PeersIterator::Fixed(FixedPeers::new(count(2), known())),
        PeersIterator::Disjoint(DisjointPeers::new(
            count(2),
            config(2, 2),
            target(),
            known(),
        )),
    ];
    for mut iterator in kinds {
        let Step::Ask(first) = iterator.next(START) else {
            panic!()
        };
        assert!(iterator.contains(&first) && iterator.is_waiting_for(&first));
        assert_eq!(iterator.num_waiting(), 1);
        let timeless = matches!(iterator, PeersIterator::Fixed(_));
        assert_eq!(iterator.next_deadline().is_none(), timeless);
        assert!(iterator.on_success(&first, [], START));
        assert!(!iterator.on_failure(&first));
        assert_eq!(iterator.result(), [first]);
        assert!(!iterator.is_finished());
        let one_path = !matches!(iterator, PeersIterator::Disjoint(_));
        assert_eq!(iterator.finish_paths([&first]), one_path);
        iterator.finish();
        assert!(iterator.is_finished());
        assert_eq!(iterator.next(START), Step::Finished);
    }
}
