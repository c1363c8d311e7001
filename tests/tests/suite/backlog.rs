//! What waits for somebody else: messages for a swarm that is behind, data lent to protocols, messages that are longer than
//! the memory there is. All of it is bounded, and charged to the connection.

use drywire::{
    connection::{ConnectionError, Event, Slot, StreamError, StreamKind, StreamOwner, code},
    mux::yamux::Flags,
    resource::Lease,
};
use drywire_tests::{
    hostile::{self, Hostile},
    pair::{Pair, Secure, Setup},
    victim::Victim,
};
use std::time::Duration;

const KIB: usize = 1024;
const SECOND: Duration = Duration::from_secs(1);

/// A listener whose streams belong to a protocol that says nothing, and a peer of ill intent.
fn protocol_owned(lease: Lease) -> (Victim, Hostile) {
    let setup = Setup {
        owner: StreamOwner::Protocol(Slot(0)),
        lease,
        ..Setup::default()
    };
    let mut victim = Victim::new(&setup, 1);
    let hostile = Hostile::dial(&mut victim, Secure::Noise, 1);
    (victim, hostile)
}

/// A stream opened, with some data on it.
fn opened(id: u32, data: usize) -> Vec<u8> {
    let mut payload = hostile::propose("/raw");
    payload.resize(payload.len() + data, 7);
    hostile::data(Flags::SYN, id, &payload)
}

/// Streams that come and go lead to three messages each. Fails if nothing but the peer limits how many of them wait for a
/// swarm that is behind.
#[test]
fn messages_for_a_slow_swarm_do_not_pile_up() {
    const STREAMS: u32 = 900;
    let (mut victim, mut hostile) = protocol_owned(Lease::new(1 << 20, 1024));
    victim.side.carries = false;
    let before = victim.side.carried;
    for n in 0..STREAMS {
        let id = 2 * n + 1;
        hostile.send(&mut victim, &opened(id, 1));
        // The answer is taken, so that what follows is nothing unusual.
        hostile.frames(&mut victim);
        hostile.send(&mut victim, &hostile::window(Flags::RST, id, 0));
    }
    assert!(victim.waiting() > 0, "reads on");
    assert!(!victim.is_reading());
    let kept = victim.meter.total.kept;
    assert!(kept <= 256 * KIB as isize, "{kept}");
    // The swarm catches up, and hears everything.
    victim.side.carries = true;
    victim.turn();
    let at_once = victim.side.carried - before;
    assert!((500..800).contains(&at_once), "{at_once}");
    victim.wait(SECOND);
    assert_eq!(victim.waiting(), 0);
    assert!(victim.side.connection.is_open());
    let heard = victim.side.carried - before;
    assert!(heard >= 3 * STREAMS as usize, "{heard}");
}

/// Fails if data given to a protocol, which may keep it as long as it likes, is not charged to the connection.
#[test]
fn what_a_paused_protocol_holds_is_charged() {
    const LEASE: usize = 256 * KIB;
    let (mut victim, mut hostile) = protocol_owned(Lease::new(LEASE as u64, 1024));
    let before = victim.taken;
    for n in 0..40 {
        hostile.send(&mut victim, &opened(2 * n + 1, 60 * KIB));
    }
    let taken = victim.taken - before;
    assert!(victim.waiting() > 0, "reads on");
    assert!((LEASE..LEASE + 600 * KIB).contains(&taken), "{taken}");
    victim.wait(SECOND * 29);
    assert!(victim.side.connection.is_open());
    victim.wait(SECOND * 2);
    assert_eq!(
        victim.side.connection.error(),
        Some(&ConnectionError::SlowReader)
    );
}

/// Fails if data on its way to the swarm is no longer charged once its stream is gone.
#[test]
fn data_on_its_way_is_charged_although_its_stream_is_gone() {
    const LEASE: usize = 256 * KIB;
    let (mut victim, mut hostile) = protocol_owned(Lease::new(LEASE as u64, 1024));
    victim.side.carries = false;
    for n in 0..100 {
        let mut frames = opened(2 * n + 1, 60 * KIB);
        frames.extend(hostile::window(Flags::RST, 2 * n + 1, 0));
        hostile.send(&mut victim, &frames);
    }
    assert!(victim.waiting() > 0, "reads on");
    let kept = victim.meter.total.kept;
    assert!(kept <= (LEASE + 600 * KIB) as isize, "{kept}");
    victim.side.carries = true;
    victim.turn();
    victim.wait(SECOND);
    assert_eq!(victim.waiting(), 0, "goes on once the swarm has it");
    assert!(victim.side.connection.is_open());
}

/// A pair whose listener has little memory and gets no more.
fn poor() -> Pair {
    let setup = Setup {
        lease: Lease::new(200 * KIB as u64, 256),
        ..Setup::default()
    };
    let mut pair = setup.established();
    pair.sides[1].lends = Some(Lease::EMPTY);
    pair
}

fn limited(pair: &Pair, side: usize, expected: &StreamError) -> bool {
    pair.time_of(
        side,
        |event| matches!(event, Event::Reset { error, .. } if error == expected),
    )
    .is_some()
}

/// Fails if a message that can never be whole waits until the connection is taken for one that nobody reads.
#[test]
fn a_message_longer_than_the_memory_fails_its_stream_at_once() {
    for (name, kind) in [
        ("/framed", StreamKind::Framed { max_len: 1 << 20 }),
        ("/to-end", StreamKind::ToEnd { max_len: 1 << 20 }),
    ] {
        let mut pair = poor();
        let long = pair.open(0, name, kind);
        let other = pair.open(0, "/raw", StreamKind::Raw);
        pair.settle_for(SECOND);
        pair.write(0, long, &vec![1; 900 * KIB]);
        pair.write(0, other, b"before");
        pair.settle_for(SECOND);
        assert!(
            limited(&pair, 1, &StreamError::ResourceLimitExceeded),
            "{name}"
        );
        let by_peer = StreamError::ResetByPeer(code::RESOURCE_LIMIT_EXCEEDED);
        assert!(limited(&pair, 0, &by_peer), "{name}");
        // Nobody else suffers.
        assert_eq!(pair.write(0, other, b", after"), 7);
        pair.settle_for(SECOND * 60);
        let raw = pair.inbound(1)[1];
        assert_eq!(pair.read(1, raw), (b"before, after".to_vec(), Ok(false)));
        assert!(pair.sides.iter().all(|side| side.connection.is_open()));
    }
}

/// Fails if a message is given up although its turn comes when somebody else has read.
#[test]
fn a_message_waits_for_readers_that_could_make_room() {
    let mut pair = poor();
    let raw = pair.open(0, "/raw", StreamKind::Raw);
    let framed = pair.open(0, "/framed", StreamKind::Framed { max_len: 1 << 20 });
    pair.settle_for(SECOND);
    let [raw_in, framed_in] = pair.inbound(1)[..] else {
        panic!("two streams");
    };
    pair.write(0, raw, &vec![1; 120 * KIB]);
    pair.settle_for(SECOND);
    pair.write(0, framed, &vec![2; 140 * KIB]);
    pair.settle_for(SECOND * 5);
    assert!(!limited(&pair, 1, &StreamError::ResourceLimitExceeded));
    let mut bytes = 0;
    for _ in 0..20 {
        bytes += pair.read(1, raw_in).0.len();
        pair.settle_for(SECOND);
    }
    assert_eq!(bytes, 120 * KIB);
    assert_eq!(pair.read(1, framed_in).0.len(), 140 * KIB);
    assert!(pair.sides.iter().all(|side| side.connection.is_open()));
}
