use super::*;
use crate::protocol::kad::Key;
use alloc::vec;
use core::{num::NonZeroUsize, time::Duration};

const START: Instant = Instant::from_nanos(1_000_000_000);

fn peer(number: u32) -> PeerId {
    let mut bytes = vec![0x12, 32];
    bytes.extend_from_slice(&[0; 28]);
    bytes.extend_from_slice(&number.to_be_bytes());
    PeerId::from_bytes(&bytes).unwrap()
}

fn count(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

#[test]
fn a_timed_out_peer_makes_room_and_its_late_answer_counts() {
    let config = ClosestConfig {
        parallelism: count(1),
        ..ClosestConfig::default()
    };
    let mut search = ClosestPeers::new(config, Key::of(b"x"), [peer(1), peer(2)]);
    let Step::Ask(first) = search.next(START) else {
        panic!()
    };
    assert_eq!(search.next(START), Step::Wait);
    let deadline = START + Duration::from_secs(10);
    assert_eq!(search.next_deadline(), Some(deadline));
    let Step::Ask(second) = search.next(deadline) else {
        panic!()
    };
    assert!(!search.is_waiting_for(&first) && search.is_waiting_for(&second));
    assert!(search.on_success(&first, [], deadline));
    assert!(!search.on_success(&first, [], deadline));
    assert!(search.on_failure(&second));
    assert_eq!(search.next(deadline), Step::Finished);
    assert!(search.result().eq([first]));
    assert_eq!(search.next_deadline(), None);
}
