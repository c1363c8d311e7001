//! Laws of the session: against a byte-queue model, under any chunking, and against peers that break the rules.

use super::{transmit::SentNotice, *};
use crate::{buffer::Incoming, mux::code, time::Instant};
use alloc::{collections::BTreeMap, vec, vec::Vec};
use core::time::Duration;
use proptest::prelude::*;

const T0: Instant = Instant::ZERO;
const SPACE: usize = 128 * 1024;

fn frame(kind: Kind, flags: Flags, stream: u32, length: u32) -> Vec<u8> {
    Header {
        kind,
        flags,
        stream,
        length,
    }
    .encode()
    .to_vec()
}

fn data(flags: Flags, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame(Kind::Data, flags, stream, payload.len() as u32);
    bytes.extend_from_slice(payload);
    bytes
}

fn listener() -> Session<()> {
    Session::new(Role::Listener, Config::default())
}

fn feed(session: &mut Session<()>, bytes: &[u8]) -> Result<Vec<Notice>, Error> {
    feed_at(session, T0, bytes)
}

fn feed_at(session: &mut Session<()>, now: Instant, bytes: &[u8]) -> Result<Vec<Notice>, Error> {
    let mut input = Incoming::Borrowed(bytes);
    let mut notices = Vec::new();
    while let Some(notice) = session.receive(now, &mut input)? {
        notices.push(notice);
    }
    assert!(input.is_empty());
    Ok(notices)
}

fn sent(session: &mut Session<()>) -> Vec<u8> {
    let mut out = Vec::new();
    session.fill(T0, &mut out, usize::MAX, SPACE);
    out
}

fn headers(mut bytes: &[u8]) -> Vec<Header> {
    let mut headers = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<{ Header::LEN }>() {
        let header = Header::decode(*head).unwrap();
        let payload = if header.kind == Kind::Data {
            header.length as usize
        } else {
            0
        };
        bytes = &rest[payload..];
        headers.push(header);
    }
    assert!(bytes.is_empty());
    headers
}

/// Fails if FIN rides on data: with a finished side of its own, js-libp2p drops what comes in one frame with it.
#[test]
fn opening_flags_ride_on_the_first_data_and_fin_has_a_frame_of_its_own() {
    let header = |flags, length| Header {
        kind: Kind::Data,
        flags,
        stream: 1,
        length,
    };
    let mut dialer: Session<()> = Session::new(Role::Dialer, Config::default());
    let mut other = listener();
    let place = dialer.open(T0, ()).unwrap();
    assert!(dialer.write_copy(place, b"hello"));
    dialer.finish(place);
    assert!(!dialer.write_copy(place, b"too late"));
    let bytes = sent(&mut dialer);
    assert_eq!(
        headers(&bytes),
        [header(Flags::SYN, 5), header(Flags::FIN, 0)]
    );
    assert_eq!(
        feed(&mut other, &bytes).unwrap(),
        [Notice::Inbound(0), Notice::Data(0), Notice::Finished(0)]
    );
    assert_eq!(other.pop(0, 100).unwrap(), "hello");
    assert!(other.write_copy(0, b"bye"));
    other.finish(0);
    let bytes = sent(&mut other);
    assert_eq!(
        headers(&bytes),
        [header(Flags::ACK, 3), header(Flags::FIN, 0)]
    );
    assert!(other.stream(0).unwrap().is_finished());
    assert_eq!(
        feed(&mut dialer, &bytes).unwrap(),
        [Notice::Data(0), Notice::Finished(0)]
    );
    assert!(!dialer.stream(0).unwrap().is_finished(), "not yet read");
    assert_eq!(dialer.pop(0, 100).unwrap(), "bye");
    assert!(dialer.stream(0).unwrap().is_finished());
    dialer.remove(0);
    other.remove(0);
    for session in [&dialer, &other] {
        assert!(session.is_empty() && session.by_id.is_empty() && !session.wants_transmit());
        assert_eq!(
            (
                session.held_bytes(),
                session.queued_bytes(),
                session.unacknowledged
            ),
            (0, 0, 0)
        );
    }
}

#[test]
fn an_accepted_stream_is_acknowledged_even_if_nothing_is_said() {
    let mut other = listener();
    feed(&mut other, &frame(Kind::WindowUpdate, Flags::SYN, 7, 0)).unwrap();
    assert_eq!(
        headers(&sent(&mut other)),
        [Header {
            kind: Kind::WindowUpdate,
            flags: Flags::ACK,
            stream: 7,
            length: 0
        }]
    );
    assert!(!other.wants_transmit());
}

#[test]
fn violations_are_named() {
    let open = data(Flags::SYN, 1, b"x");
    let case = |prefix: &[u8], bytes: Vec<u8>| {
        let mut session = listener();
        feed(&mut session, prefix).unwrap();
        feed(&mut session, &bytes).unwrap_err()
    };
    let mut version = frame(Kind::Data, Flags::NONE, 1, 0);
    version[0] = 1;
    assert_eq!(case(&open, version), Error::UnknownVersion(1));
    let mut kind = frame(Kind::Data, Flags::NONE, 1, 0);
    kind[1] = 4;
    assert_eq!(case(&open, kind), Error::UnknownType(4));
    assert_eq!(case(&open, data(Flags::NONE, 0, b"x")), Error::StreamZero);
    assert_eq!(
        case(&open, frame(Kind::Ping, Flags::SYN, 1, 0)),
        Error::SessionFrameOnStream(1)
    );
    assert_eq!(case(&open, data(Flags::SYN, 2, b"x")), Error::WrongSide(2));
    assert_eq!(case(&open, data(Flags::NONE, 2, b"x")), Error::WrongSide(2));
    assert_eq!(
        case(&open, data(Flags::SYN, 1, b"x")),
        Error::AlreadyOpen(1)
    );
    let closed = [open.clone(), frame(Kind::WindowUpdate, Flags::RST, 1, 0)].concat();
    assert_eq!(
        case(&closed, data(Flags::SYN, 1, b"x")),
        Error::IdUsedBefore(1)
    );
    assert_eq!(
        case(
            &open,
            data(Flags::NONE, 1, &vec![0; INITIAL_WINDOW as usize])
        ),
        Error::WindowExceeded(1)
    );
    let finished = [open.clone(), data(Flags::FIN, 1, b"")].concat();
    assert_eq!(
        case(&finished, data(Flags::NONE, 1, b"x")),
        Error::DataAfterFinish(1)
    );
}

/// T2. Without the checked addition in `handle_window_update` this overflows.
#[test]
fn any_credit_is_added_or_refused() {
    let boundaries = [
        0,
        1,
        2,
        INITIAL_WINDOW - 1,
        INITIAL_WINDOW,
        u32::MAX - INITIAL_WINDOW,
        u32::MAX - INITIAL_WINDOW + 1,
        0xFFFF_0000,
        u32::MAX - 1,
        u32::MAX,
    ];
    for first in boundaries {
        for second in boundaries {
            for syn in [
                data(Flags::SYN, 1, b""),
                frame(Kind::WindowUpdate, Flags::SYN, 1, first),
            ] {
                let mut session = listener();
                let sum = |credit: u64, more: u32| {
                    Some(credit + u64::from(more)).filter(|credit| *credit <= u64::from(u32::MAX))
                };
                let mut expected = Some(u64::from(INITIAL_WINDOW));
                if syn[1] == 1 {
                    expected = expected.and_then(|credit| sum(credit, first));
                }
                let mut result = feed(&mut session, &syn).map(|_| ());
                for delta in [first, second] {
                    if result.is_ok() {
                        expected = expected.and_then(|credit| sum(credit, delta));
                        result = feed(
                            &mut session,
                            &frame(Kind::WindowUpdate, Flags::NONE, 1, delta),
                        )
                        .map(|_| ());
                    }
                }
                match (result, expected) {
                    (Ok(()), Some(credit)) => {
                        assert_eq!(u64::from(session.stream(0).unwrap().send_credit), credit)
                    }
                    (Err(error), None) => assert_eq!(error, Error::WindowOverflow(1)),
                    other => panic!("{first} {second}: {other:?}"),
                }
            }
        }
    }
}

/// T3. State made before the length is checked stays behind: move the check below `open_inbound` to see it fail.
#[test]
fn an_oversize_first_frame_leaves_nothing_behind() {
    for flags in 0..16u16 {
        for length in [INITIAL_WINDOW + 1, u32::MAX] {
            let flags = Flags::from_bits(flags).with(Flags::SYN);
            let mut session = listener();
            assert_eq!(
                feed(&mut session, &frame(Kind::Data, flags, 1, length)).unwrap_err(),
                Error::WindowExceeded(1)
            );
            assert!(session.is_empty() && session.by_id.is_empty());
            assert_eq!(session.inbound, 0);
            assert!(session.remote_ids.claim(1), "the id is not used up either");
        }
    }
}

/// T4. The error comes with the header; nothing waits for the body.
#[test]
fn a_declared_length_reserves_nothing() {
    let mut session = listener();
    feed(&mut session, &data(Flags::SYN, 1, b"x")).unwrap();
    assert_eq!(
        feed(&mut session, &frame(Kind::Data, Flags::NONE, 1, u32::MAX)).unwrap_err(),
        Error::WindowExceeded(1)
    );
    let mut session = listener();
    feed(
        &mut session,
        &frame(Kind::Data, Flags::SYN, 1, INITIAL_WINDOW),
    )
    .unwrap();
    assert_eq!(session.held_bytes(), 0, "the declared body has not come");
}

/// T1. Without the bound on pongs the outbox grows with the flood; without the waste bucket the flood never ends.
#[test]
fn pings_that_are_never_read_are_bounded() {
    let mut session = listener();
    let mut result = Ok(vec![]);
    for value in 0..1_000_000 {
        result = feed(&mut session, &frame(Kind::Ping, Flags::SYN, 0, value));
        assert!(session.outbox.pongs.len() <= PONGS);
        if result.is_err() {
            assert!(value <= Config::default().waste_burst);
            break;
        }
    }
    assert_eq!(result, Err(Error::Flooding));
    assert_eq!(headers(&sent(&mut session)).len(), PONGS);
}

/// T7. Without the waste of unanswered resets this goes on for ever.
#[test]
fn opening_and_resetting_in_a_loop_ends_the_connection() {
    let mut session = listener();
    let mut rounds = 0;
    let error = loop {
        let id = rounds * 2 + 1;
        let bytes = [
            data(Flags::SYN, id, b"x"),
            frame(Kind::WindowUpdate, Flags::RST, id, 0),
        ]
        .concat();
        match feed(&mut session, &bytes) {
            Ok(notices) => {
                let [Notice::Inbound(place), Notice::Data(_), Notice::Reset(_)] = notices[..]
                else {
                    panic!("{notices:?}")
                };
                session.remove(place);
            }
            Err(error) => break error,
        }
        rounds += 1;
        assert!(rounds < 1_000_000);
    };
    assert_eq!(error, Error::Flooding);
    assert!(session.len() <= 1 && session.outbox.control.len() <= 1);
}

/// T7, the other half: streams over the limit are refused one by one, and a flood of them ends the connection.
#[test]
fn streams_over_the_limit_are_reset_with_the_reason() {
    let mut session = listener();
    let limit = Config::default().max_inbound_streams;
    for n in 0..limit {
        feed(&mut session, &data(Flags::SYN, n * 2 + 1, b"x")).unwrap();
    }
    assert_eq!(
        feed(&mut session, &data(Flags::SYN, limit * 2 + 1, b"x")).unwrap(),
        []
    );
    let reset = headers(&sent(&mut session))
        .into_iter()
        .find(|header| header.flags.has(Flags::RST))
        .unwrap();
    assert_eq!(
        (reset.stream, reset.length),
        (limit * 2 + 1, code::RESOURCE_LIMIT_EXCEEDED)
    );
    assert_eq!(session.inbound_streams(), limit);
    let mut n = limit;
    let error = loop {
        n += 1;
        if let Err(error) = feed(&mut session, &data(Flags::SYN, n * 2 + 1, b"x")) {
            break error;
        }
        assert!(session.outbox.resets.len() <= 2 * Config::default().waste_burst as usize);
    };
    assert_eq!(error, Error::Flooding);
}

/// T8. Without the waste of empty frames a million of them pass.
#[test]
fn empty_frames_retain_nothing_and_end_the_connection() {
    let mut session = listener();
    feed(&mut session, &data(Flags::SYN, 1, b"")).unwrap();
    let empty = data(Flags::NONE, 1, b"");
    let error = (0..1_000_000).find_map(|_| feed(&mut session, &empty).err());
    assert_eq!(error, Some(Error::Flooding));
    assert_eq!(session.held_bytes(), 0);
}

/// T6. A forgotten removal from any of the lists shows here.
#[test]
fn stream_churn_leaves_nothing() {
    let mut dialer: Session<()> = Session::new(Role::Dialer, Config::default());
    let mut other = listener();
    for round in 0..50_000u32 {
        let place = dialer.open(T0, ()).unwrap();
        dialer.write_copy(place, b"ping");
        if round % 3 == 0 {
            dialer.finish(place);
        }
        feed(&mut other, &sent(&mut dialer)).unwrap();
        other.write_copy(0, b"pong");
        if round % 3 == 0 {
            other.finish(0);
            other.pop(0, 10);
        }
        feed(&mut dialer, &sent(&mut other)).unwrap();
        dialer.pop(place, 10);
        if round % 3 == 0 {
            assert!(
                dialer.stream(place).unwrap().is_finished()
                    && other.stream(0).unwrap().is_finished()
            );
            dialer.remove(place);
            other.remove(0);
        } else {
            dialer.reset(place, 5);
            feed(&mut other, &sent(&mut dialer)).unwrap();
            assert_eq!(other.stream(0).unwrap().reset_code(), Some(5));
            other.remove(0);
        }
        while other.poll_sent().is_some() || dialer.poll_sent().is_some() {}
    }
    for session in [&mut dialer, &mut other] {
        assert!(session.is_empty() && session.by_id.is_empty() && !session.wants_transmit());
        assert_eq!(
            (
                session.held_bytes(),
                session.queued_bytes(),
                session.growth()
            ),
            (0, 0, 0)
        );
        assert!(session.outbox.control.is_empty() && session.outbox.resets.is_empty());
    }
}

/// I27: the last number is used, and then no stream is opened, rather than a number used again.
#[test]
fn numbers_may_be_used_up() {
    for (role, last) in [(Role::Dialer, u32::MAX), (Role::Listener, u32::MAX - 1)] {
        let mut session: Session<()> = Session::new(role, Config::default());
        session.next_id = Some(last);
        let place = session.open(T0, ()).unwrap();
        assert_eq!(session.stream(place).map(StreamState::wire_id), Some(last));
        session.write_copy(place, b"x");
        for _ in 0..2 {
            assert_eq!(session.open(T0, ()), Err(OpenRefused::Exhausted));
        }
        assert_eq!(headers(&sent(&mut session)).len(), 1);
        // A frame for the last of our streams is still one of a stream the peer knows.
        feed(&mut session, &data(Flags::ACK, last, b"y")).unwrap();
        assert_eq!(session.pop(place, 9).unwrap(), "y");
    }
}

/// T5. Close, reset and FIN while a frame is cut at each of its bytes.
#[test]
fn endings_race_with_half_a_frame() {
    for ending in 0..4 {
        let payload = data(Flags::NONE, 1, b"0123456789");
        for cut in 0..=payload.len() {
            let mut session = listener();
            feed(&mut session, &data(Flags::SYN, 1, b"a")).unwrap();
            feed(&mut session, &payload[..cut]).unwrap();
            match ending {
                0 => session.finish(0),
                1 => {
                    session.reset(0, 0);
                }
                2 => session.stop(0),
                _ => session.go_away(GoAway::Normal),
            }
            feed(&mut session, &payload[cut..]).unwrap();
            feed(&mut session, &data(Flags::SYN, 3, b"b")).unwrap();
            let read = session.stream(0).map_or(0, StreamState::readable);
            match ending {
                0 => assert_eq!(read, 11),
                1 => assert_eq!(
                    session.stream(0).map(StreamState::wire_id),
                    Some(3),
                    "its place is taken by the next stream"
                ),
                2 => assert_eq!(read, 0),
                _ => assert_eq!((read, session.len()), (11, 1)),
            }
            sent(&mut session);
        }
    }
}

#[test]
fn a_stopped_stream_keeps_returning_credit() {
    let mut session = listener();
    feed(&mut session, &data(Flags::SYN, 1, b"x")).unwrap();
    session.stop(0);
    let mut credit = i64::from(INITIAL_WINDOW) - 1;
    for _ in 0..100 {
        let bytes = data(Flags::NONE, 1, &[0; 16 * 1024]);
        credit -= 16 * 1024;
        assert!(credit >= 0, "the peer would be stalled");
        feed(&mut session, &bytes).unwrap();
        credit += headers(&sent(&mut session))
            .iter()
            .filter(|h| h.kind == Kind::WindowUpdate)
            .map(|h| i64::from(h.length))
            .sum::<i64>();
    }
    assert_eq!(session.held_bytes(), 0);
}

#[test]
fn the_window_grows_with_the_round_trip_and_within_its_budget() {
    for (budget, expected) in [
        (0, INITIAL_WINDOW),
        (256 * 1024, 512 * 1024),
        (64 << 20, Config::default().max_window),
    ] {
        let mut session = listener();
        session.set_growth_budget(budget);
        let mut now = T0;
        feed(&mut session, &data(Flags::SYN, 1, b"x")).unwrap();
        session.pop(0, 1);
        let mut credit = INITIAL_WINDOW - 1;
        // The peer sends all it may at once; a grant reaches it at once, an answer to a ping after 100 ms.
        for _ in 0..5000 {
            let count = credit.min(16 * 1024);
            feed_at(
                &mut session,
                now,
                &data(Flags::NONE, 1, &vec![0; count as usize]),
            )
            .unwrap();
            while session.pop(0, usize::MAX).is_some() {}
            credit -= count;
            let mut out = Vec::new();
            session.fill(now, &mut out, usize::MAX, SPACE);
            for header in headers(&out) {
                match header.kind {
                    Kind::WindowUpdate => credit += header.length,
                    Kind::Ping => {
                        let pong = frame(Kind::Ping, Flags::ACK, 0, header.length);
                        feed_at(&mut session, now + Duration::from_millis(100), &pong).unwrap();
                    }
                    _ => {}
                }
            }
            now = now + Duration::from_micros(10);
        }
        assert_eq!(session.stream(0).unwrap().window, expected);
        assert_eq!(session.growth(), u64::from(expected - INITIAL_WINDOW));
        assert_eq!(
            session.take_growth_wanted(),
            budget < 64 << 20,
            "asks for what it lacks"
        );
        session.remove(0);
        assert_eq!(session.growth(), 0);
    }
}

#[test]
fn streams_of_one_priority_take_turns_and_a_higher_one_goes_first() {
    let mut session: Session<()> = Session::new(Role::Dialer, Config::default());
    let bulk: Vec<_> = (0..3).map(|_| session.open(T0, ()).unwrap()).collect();
    for place in &bulk {
        session.write_copy(*place, &vec![0; 100_000]);
    }
    let urgent = session.open(T0, ()).unwrap();
    session.set_priority(urgent, 200);
    session.write_copy(urgent, b"now");
    let order: Vec<_> = headers(&sent(&mut session))
        .iter()
        .map(|header| header.stream)
        .collect();
    assert_eq!(order[0], 7);
    assert_eq!(order[1..8], [1, 3, 5, 1, 3, 5, 1]);
}

#[test]
fn a_message_never_exceeds_its_room() {
    let mut session: Session<()> = Session::new(Role::Dialer, Config::default());
    let place = session.open(T0, ()).unwrap();
    session.write_copy(place, &vec![0; 200_000]);
    for room in [0, 11, 12, 13, 600, 1000, 65_519] {
        let mut out = vec![9; 5];
        session.fill(T0, &mut out, room, SPACE);
        assert!(out.len() <= 5 + room);
    }
}

#[derive(Clone, Debug)]
enum Op {
    Open(bool),
    Write(bool, usize, usize),
    WriteShared(bool, usize, usize),
    Read(bool, usize, usize),
    Finish(bool, usize),
    Reset(bool, usize),
    Stop(bool, usize),
    Priority(bool, usize, u8),
    Transmit(bool, usize),
    Deliver(bool, usize),
    Tick(u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let side = any::<bool>;
    let op = prop_oneof![
        2 => side().prop_map(Op::Open),
        6 => (side(), 0usize..8, prop_oneof![0usize..200, 0usize..80_000]).prop_map(|(a, s, n)| Op::Write(a, s, n)),
        2 => (side(), 0usize..8, 0usize..80_000).prop_map(|(a, s, n)| Op::WriteShared(a, s, n)),
        6 => (side(), 0usize..8, prop_oneof![0usize..200, 0usize..200_000]).prop_map(|(a, s, n)| Op::Read(a, s, n)),
        1 => (side(), 0usize..8).prop_map(|(a, s)| Op::Finish(a, s)),
        1 => (side(), 0usize..8).prop_map(|(a, s)| Op::Reset(a, s)),
        1 => (side(), 0usize..8).prop_map(|(a, s)| Op::Stop(a, s)),
        1 => (side(), 0usize..8, any::<u8>()).prop_map(|(a, s, p)| Op::Priority(a, s, p)),
        6 => (side(), prop_oneof![0usize..100, 0usize..100_000]).prop_map(|(a, n)| Op::Transmit(a, n)),
        6 => (side(), prop_oneof![0usize..30, 0usize..100_000]).prop_map(|(a, n)| Op::Deliver(a, n)),
        1 => (0u64..20_000).prop_map(Op::Tick),
    ];
    prop::collection::vec(op, 0..150)
}

/// What one side wrote to the other on one stream, keyed by the stream's wire id.
#[derive(Default)]
struct Model {
    written: Vec<u8>,
    read: usize,
    finished: bool,
    stopped: bool,
    aborted: bool,
}

struct Side {
    session: Session<()>,
    wire: Vec<u8>,
    places: BTreeMap<u32, usize>,
}

impl Side {
    fn pick(&self, index: usize) -> Option<(u32, usize)> {
        let ids: Vec<_> = self.places.iter().collect();
        (!ids.is_empty())
            .then(|| ids[index % ids.len()])
            .map(|(id, place)| (*id, *place))
    }

    fn transmit(&mut self, now: Instant, room: usize) {
        self.session.fill(now, &mut self.wire, room, SPACE);
        while let Some(notice) = self.session.poll_sent() {
            if let SentNotice::Finished(place) = notice {
                self.tidy(place);
            }
        }
    }

    fn deliver(&mut self, now: Instant, bytes: &[u8]) {
        let mut input = Incoming::Borrowed(bytes);
        while let Some(notice) = self
            .session
            .receive(now, &mut input)
            .expect("both sides keep the rules")
        {
            match notice {
                Notice::Inbound(place) => {
                    let id = self.session.stream(place).unwrap().wire_id();
                    assert!(self.places.insert(id, place).is_none());
                }
                Notice::Finished(place) | Notice::Reset(place) => self.tidy(place),
                _ => {}
            }
        }
    }

    /// Forgets the stream if nothing more can happen on it.
    fn tidy(&mut self, place: usize) {
        let Some(stream) = self.session.stream(place) else {
            return;
        };
        if stream.is_finished() || (stream.reset_code().is_some() && stream.readable() == 0) {
            self.places.remove(&stream.wire_id());
            self.session.remove(place);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// I11, I12, I25, I27 and law 2: whatever is done in whatever order, and however the bytes are cut, each stream is a
    /// byte queue; credit is never exceeded (the receiver would say so), and nothing is left in the end.
    #[test]
    fn two_sessions_are_byte_queues(ops in ops()) {
        let side = |role| {
            let mut session = Session::new(role, Config::default());
            session.set_growth_budget(1 << 20);
            Side { session, wire: Vec::new(), places: BTreeMap::new() }
        };
        let mut sides = [side(Role::Dialer), side(Role::Listener)];
        let mut models: BTreeMap<(u32, bool), Model> = BTreeMap::new();
        let mut now = T0;
        let mut counter = 0u8;
        for op in ops {
            match op {
                Op::Open(a) => if let Ok(place) = sides[a as usize].session.open(now, ()) {
                    let id = sides[a as usize].session.stream(place).unwrap().wire_id();
                    sides[a as usize].places.insert(id, place);
                },
                Op::Write(a, index, count) | Op::WriteShared(a, index, count) => if let Some((id, place)) = sides[a as usize].pick(index) {
                    counter = counter.wrapping_add(1);
                    let bytes = vec![counter; count];
                    let shared = matches!(op, Op::WriteShared(..));
                    let session = &mut sides[a as usize].session;
                    let ok = if shared { session.write_shared(place, bytes.clone().into()) } else { session.write_copy(place, &bytes) };
                    let model = models.entry((id, a)).or_default();
                    if ok {
                        prop_assert!(!model.finished);
                        model.written.extend(bytes);
                    }
                },
                Op::Read(a, index, max) => if let Some((id, place)) = sides[a as usize].pick(index) {
                    if let Some(piece) = sides[a as usize].session.pop(place, max.max(1)) {
                        let model = models.entry((id, !a)).or_default();
                        prop_assert_eq!(&piece[..], &model.written[model.read..model.read + piece.len()]);
                        model.read += piece.len();
                    }
                    sides[a as usize].tidy(place);
                },
                Op::Finish(a, index) => if let Some((id, place)) = sides[a as usize].pick(index) {
                    sides[a as usize].session.finish(place);
                    models.entry((id, a)).or_default().finished = true;
                },
                Op::Reset(a, index) => if let Some((id, place)) = sides[a as usize].pick(index) {
                    sides[a as usize].session.reset(place, 1);
                    sides[a as usize].places.remove(&id);
                    models.entry((id, a)).or_default().aborted = true;
                    models.entry((id, !a)).or_default().aborted = true;
                },
                Op::Stop(a, index) => if let Some((id, place)) = sides[a as usize].pick(index) {
                    sides[a as usize].session.stop(place);
                    models.entry((id, !a)).or_default().stopped = true;
                    sides[a as usize].tidy(place);
                },
                Op::Priority(a, index, priority) => if let Some((_, place)) = sides[a as usize].pick(index) {
                    sides[a as usize].session.set_priority(place, priority);
                },
                Op::Transmit(a, room) => sides[a as usize].transmit(now, room),
                Op::Deliver(a, count) => {
                    let count = count.min(sides[!a as usize].wire.len());
                    let bytes: Vec<u8> = sides[!a as usize].wire.drain(..count).collect();
                    sides[a as usize].deliver(now, &bytes);
                }
                Op::Tick(micros) => now = now + Duration::from_micros(micros),
            }
            for side in &sides {
                prop_assert_eq!(side.session.audit(), Ok(()));
            }
        }
        // Let everything out, and read it.
        for _ in 0..200 {
            for a in [0, 1] {
                sides[a].transmit(now, usize::MAX);
                let bytes = core::mem::take(&mut sides[a].wire);
                sides[1 - a].deliver(now, &bytes);
                for (id, place) in sides[1 - a].places.clone() {
                    while let Some(piece) = sides[1 - a].session.pop(place, 9000) {
                        let model = models.entry((id, a != 0)).or_default();
                        prop_assert_eq!(&piece[..], &model.written[model.read..model.read + piece.len()]);
                        model.read += piece.len();
                    }
                    sides[1 - a].tidy(place);
                }
            }
        }
        for ((id, a), model) in &models {
            if !model.aborted && !model.stopped {
                prop_assert_eq!(model.read, model.written.len(), "stream {} from {}", id, a);
            }
        }
        for side in &mut sides {
            for (_, place) in core::mem::take(&mut side.places) {
                side.session.reset(place, 0);
            }
            prop_assert!(side.session.is_empty() && side.session.by_id.is_empty());
            prop_assert_eq!((side.session.held_bytes(), side.session.queued_bytes(), side.session.growth()), (0, 0, 0));
            prop_assert_eq!((side.session.inbound, side.session.outbound, side.session.unacknowledged), (0, 0, 0));
        }
    }

    /// Law 2 and law 7: arbitrary bytes do the same whole and byte by byte, and never panic.
    #[test]
    fn garbage_is_the_same_however_it_is_cut(frames in prop::collection::vec((0u8..5, 0u16..20, 0u32..9, prop_oneof![0u32..40, any::<u32>()]), 0..30), cut in any::<u8>()) {
        let mut bytes = Vec::new();
        for (kind, flags, stream, length) in frames {
            bytes.extend([0, kind]);
            bytes.extend(flags.to_be_bytes());
            bytes.extend(stream.to_be_bytes());
            bytes.extend(length.to_be_bytes());
            bytes.resize(bytes.len() + (length as usize % 50), cut);
        }
        let mut whole = listener();
        let mut pieces = listener();
        let run = |session: &mut Session<()>, step: usize| {
            let mut notices = Vec::new();
            for piece in bytes.chunks(step) {
                let mut input = Incoming::Borrowed(piece);
                loop {
                    match session.receive(T0, &mut input) {
                        Ok(Some(Notice::Data(_))) => {}
                        Ok(Some(notice)) => notices.push(notice),
                        Ok(None) => break,
                        Err(error) => return (notices, Some(error)),
                    }
                }
            }
            (notices, None)
        };
        let step = usize::from(cut).max(1);
        prop_assert_eq!(run(&mut whole, bytes.len().max(1)), run(&mut pieces, step));
        prop_assert_eq!(sent(&mut whole), sent(&mut pieces));
    }
}
