//! The laws of a yamux session, shown with two of them.

use drywire::{
    buffer::Incoming,
    mux::yamux::{Config, Flags, GoAway, Header, Kind, Notice, Role, Session},
    time::Instant,
};
use drywire_tests::{
    dice::Dice,
    heap::{self, Meter},
    hostile,
};
use std::time::Duration;

const KIB: usize = 1024;
const SPACE_AT: usize = 4 * KIB;

/// How a run is disturbed; that may not show.
#[derive(Clone, Debug, Default)]
struct Manner {
    /// Calls that should change nothing, at places that follow from this.
    nosy: Option<u64>,
    /// Each call is made a second late, after one that was on time.
    backwards: bool,
    /// Sizes of the pieces in which input is given.
    pieces: Vec<usize>,
}

/// All that can be seen of one run.
#[derive(Debug, Default, PartialEq)]
struct Trace {
    wire: [Vec<u8>; 2],
    /// Notices, those left out that tell of data, for there is one for each piece of it.
    notices: [Vec<String>; 2],
    results: Vec<String>,
}

/// Two sessions and the way between them.
struct Duo {
    sessions: [Session<u32>; 2],
    now: Instant,
    manner: Manner,
    dice: Dice,
    next_piece: usize,
    trace: Trace,
}

impl Duo {
    fn new(manner: &Manner) -> Self {
        let session = |role| {
            let mut session = Session::new(role, Config::default());
            session.set_growth_budget(1 << 20);
            session
        };
        Self {
            sessions: [session(Role::Dialer), session(Role::Listener)],
            now: Instant::ZERO + Duration::from_secs(5),
            manner: manner.clone(),
            dice: Dice::new(manner.nosy.unwrap_or(0)),
            next_piece: 0,
            trace: Trace::default(),
        }
    }

    /// What time to tell a session, and before it what should change nothing.
    fn clock(&mut self, side: usize) -> Instant {
        let session = &mut self.sessions[side];
        let now = self.now;
        if self.manner.nosy.is_some() {
            for _ in 0..self.dice.below(4) {
                let at = if self.dice.once_in(2) {
                    Instant::ZERO
                } else {
                    now
                };
                nothing(session, at);
            }
        }
        if !self.manner.backwards {
            return now;
        }
        nothing(session, now);
        Instant::ZERO
    }

    fn transmit(&mut self, from: usize) -> Vec<u8> {
        let now = self.clock(from);
        let mut out = Vec::new();
        let session = &mut self.sessions[from];
        let wanted = session.wants_transmit();
        session.fill(now, &mut out, 60 * KIB, SPACE_AT);
        assert!(wanted || out.is_empty(), "law 4: sends without wanting to");
        let stays = out.is_empty() && session.wants_transmit();
        assert!(
            !stays,
            "law 4: wants to send, sends nothing, and wants to again"
        );
        while let Some(notice) = session.poll_sent() {
            self.trace.notices[from].push(format!("{notice:?}"));
        }
        self.trace.wire[from].extend_from_slice(&out);
        out
    }

    fn deliver(&mut self, to: usize, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let size = match &self.manner.pieces[..] {
                [] => rest.len(),
                pieces => pieces[self.next_piece % pieces.len()],
            };
            self.next_piece += 1;
            let (piece, after) = rest.split_at(size.clamp(1, rest.len()));
            rest = after;
            let mut incoming = Incoming::Borrowed(piece);
            let now = self.clock(to);
            loop {
                match self.sessions[to].receive(now, &mut incoming) {
                    Ok(None) => break,
                    Ok(Some(Notice::Data(_))) => {}
                    Ok(Some(notice)) => self.trace.notices[to].push(format!("{notice:?}")),
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }

    /// Carries everything over, both ways, until nothing is left.
    fn exchange(&mut self) {
        for _ in 0..1000 {
            let said = [self.transmit(0), self.transmit(1)];
            if said.iter().all(Vec::is_empty) {
                return;
            }
            self.now = self.now + Duration::from_millis(5);
            self.deliver(1, &said[0]);
            self.deliver(0, &said[1]);
        }
        panic!("law 4: never rests");
    }

    /// Much is sent on one stream, and read at once, so that its window grows.
    fn bulk(&mut self, side: usize, place: usize) {
        let wire_id = self.sessions[side]
            .stream(place)
            .map(|stream| stream.wire_id());
        for _ in 0..6 {
            self.sessions[side].write_copy(place, &[1; 140 * KIB]);
            for _ in 0..3 {
                let said = self.transmit(side);
                self.deliver(1 - side, &said);
            }
            let other = &mut self.sessions[1 - side];
            let theirs = other
                .iter()
                .find(|(_, stream)| Some(stream.wire_id()) == wire_id);
            if let Some(theirs) = theirs.map(|(place, _)| place) {
                let read = other.read_into(theirs, &mut vec![0; 300 * KIB]);
                self.trace.results.push(format!("{read}"));
            }
            let said = self.transmit(1 - side);
            self.now = self.now + Duration::from_millis(2);
            self.deliver(side, &said);
        }
        let grown = self.sessions.each_ref().map(Session::growth);
        self.trace.results.push(format!("{grown:?}"));
    }

    /// The place of the `index`th stream, wrapping around.
    fn pick(&self, side: usize, index: usize) -> Option<usize> {
        let places: Vec<usize> = self.sessions[side].iter().map(|(place, _)| place).collect();
        places.get(index % places.len().max(1)).copied()
    }

    /// One thing that a layer above does.
    fn act(&mut self, dice: &mut Dice) {
        let (side, index, size) = (dice.below(2), dice.below(9), dice.below(3));
        let len = dice.below([40, 3000, 70 * KIB][size]);
        match dice.below(16) {
            0 | 1 => {
                let now = self.clock(side);
                let opened = self.sessions[side].open(now, 7);
                self.trace.results.push(format!("{opened:?}"));
                return;
            }
            2 | 3 => {
                let said = self.transmit(side);
                return self.deliver(1 - side, &said);
            }
            4 => return self.exchange(),
            5 => {
                self.now = self.now + Duration::from_millis(dice.below(3000) as u64);
                return;
            }
            _ => {}
        }
        let Some(place) = self.pick(side, index) else {
            return;
        };
        if dice.once_in(12) {
            return self.bulk(side, place);
        }
        let session = &mut self.sessions[side];
        let result = match dice.below(12) {
            0..=3 => {
                let data = vec![index as u8; len];
                let written = session.write_copy(place, &data);
                session.want_space(place);
                format!("{written}")
            }
            4..=8 => {
                let mut buffer = vec![0; len];
                let count = session.read_into(place, &mut buffer);
                format!("{:?}", &buffer[..count])
            }
            9 => {
                session.finish(place);
                String::new()
            }
            10 => {
                session.set_priority(place, len as u8);
                String::new()
            }
            _ => format!("{:?}", session.reset(place, len as u32)),
        };
        self.trace.results.push(result);
        let done: Vec<usize> = session
            .iter()
            .filter(|(_, stream)| stream.is_finished() || stream.reset_code().is_some())
            .map(|(place, _)| place)
            .collect();
        for place in done {
            self.sessions[side].remove(place);
        }
    }
}

/// Calls that are legal at any time and change nothing.
fn nothing(session: &mut Session<u32>, now: Instant) {
    let notice = session.receive(now, &mut Incoming::Borrowed(&[]));
    assert_eq!(notice, Ok(None));
    if !session.wants_transmit() {
        let mut out = Vec::new();
        session.fill(now, &mut out, 60 * KIB, SPACE_AT);
        assert!(out.is_empty());
    }
    let _ = (session.may_open().is_ok(), session.round_trip());
}

fn run(seed: u64, manner: &Manner) -> Trace {
    let mut duo = Duo::new(manner);
    let mut dice = Dice::new(seed);
    for _ in 0..150 {
        duo.act(&mut dice);
    }
    duo.exchange();
    duo.trace
}

/// Law 1. Fails if an earlier `now` counts as such: a window then looks as if it had been granted long ago.
pub fn any_order() {
    for seed in 0..60 {
        let calm = run(seed, &Manner::default());
        for backwards in [false, true] {
            let nosy = Some(seed);
            let manner = Manner {
                nosy,
                backwards,
                ..Manner::default()
            };
            assert_eq!(run(seed, &manner), calm, "seed {seed}, {backwards}");
        }
    }
}

/// Law 2. Fails if half a header that came is forgotten.
pub fn chunking() {
    for seed in 0..25 {
        let whole = run(seed, &Manner::default());
        let mut dice = Dice::new(seed);
        for pieces in [vec![1], vec![11], dice.pieces(), dice.pieces()] {
            let manner = Manner {
                pieces: pieces.clone(),
                ..Manner::default()
            };
            assert_eq!(run(seed, &manner), whole, "seed {seed}, {pieces:?}");
        }
    }
}

/// Law 4, the part of it that concerns a machine without deadlines: it wants to transmit if and only if it has something to
/// send, so that a host that asks does not spin. Fails if it wants to for as long as there are
/// streams.
pub fn deadlines() {
    for seed in 0..200 {
        // The assertions are in the harness.
        run(seed + 1000, &Manner::default());
    }
}

/// Two sessions with so many streams, all of them used once.
fn with_streams(count: usize) -> Duo {
    let mut duo = Duo::new(&Manner::default());
    for role in [Role::Dialer, Role::Listener] {
        let mut config = Config::default();
        config.max_inbound_streams = 1 << 20;
        config.max_outbound_streams = 1 << 20;
        config.max_unacknowledged = 1 << 20;
        duo.sessions[usize::from(role == Role::Listener)] = Session::new(role, config);
    }
    for _ in 0..count {
        let place = duo.sessions[0].open(duo.now, 0).expect("may");
        duo.sessions[0].write_copy(place, b"hello");
    }
    duo.exchange();
    assert_eq!(duo.sessions.each_ref().map(Session::len), [count; 2]);
    let mut buffer = [0; 5];
    for place in 0..count {
        assert_eq!(duo.sessions[1].read_into(place, &mut buffer), 5);
    }
    duo.exchange();
    duo
}

/// Law 5. Fails if the streams are gathered in a list to know whether one has something to send.
pub fn idle() {
    for streams in [1, 10_000] {
        let mut duo = with_streams(streams);
        let mut out = Vec::with_capacity(60 * KIB);
        for session in &mut duo.sessions {
            let (used, ()) = heap::measure(|| {
                for _ in 0..100 {
                    assert!(!session.wants_transmit());
                    assert_eq!(session.poll_sent(), None);
                    let notice = session.receive(duo.now, &mut Incoming::Borrowed(&[]));
                    assert_eq!(notice, Ok(None));
                    session.fill(duo.now, &mut out, 60 * KIB, SPACE_AT);
                }
            });
            assert_eq!((used.calls, out.len()), (0, 0), "{streams} streams");
        }
    }
}

/// What a peer can say over and over; `n` counts up.
fn provocations() -> Vec<fn(u32) -> Vec<u8>> {
    use hostile::{data, go_away, header, ping, window};
    vec![
        |n| ping(n),
        |n| header(Kind::Ping, Flags::ACK, 0, n),
        |n| data(Flags::SYN, 2 * n + 1, b""),
        |n| data(Flags::SYN.with(Flags::FIN), 2 * n + 1, b""),
        |n| data(Flags::SYN.with(Flags::RST), 2 * n + 1, b""),
        |n| window(Flags::SYN, 2 * n + 1, 0),
        |n| {
            [
                data(Flags::SYN, 2 * n + 1, b"x"),
                window(Flags::RST, 2 * n + 1, 0),
            ]
            .concat()
        },
        |n| {
            [
                data(Flags::SYN, 2 * n + 1, b""),
                data(Flags::NONE, 2 * n + 1, b""),
            ]
            .concat()
        },
        |n| window(Flags::NONE, 2 * n + 1, 1),
        |n| window(Flags::RST, 2 * n + 1, 1),
        |n| data(Flags::NONE, 2 * n + 1, b"for a stream that never was"),
        |n| [data(Flags::SYN, 2 * n + 1, &[1; 2000])].concat(),
        |_| go_away(0),
    ]
}

/// Law 6: with a peer that does not read, and a layer above that resets or ignores what it is told. Beyond the data that
/// windows promise, there is a bound. Fails if neither useless frames nor the resets that wait are counted.
pub fn bounded() {
    for (number, provoke) in provocations().into_iter().enumerate() {
        for resets in [false, true] {
            let mut meter = Meter::default();
            let mut session: Session<u32> =
                meter.run(|| Session::new(Role::Listener, Config::default()));
            let (mut held, mut ended) = (0, false);
            for n in 0..50_000 {
                let frames = provoke(n);
                let now = Instant::ZERO + Duration::from_millis(u64::from(n) / 10);
                let mut incoming = Incoming::Borrowed(&frames);
                meter.run(|| {
                    while let Ok(Some(notice)) = session.receive(now, &mut incoming) {
                        match notice {
                            Notice::Inbound(place) if resets => {
                                session.refuse(place, 1);
                                session.remove(place);
                            }
                            Notice::Reset(place) => {
                                session.remove(place);
                            }
                            _ => {}
                        }
                    }
                });
                held = session.held_bytes();
                if !incoming.is_empty() {
                    ended = true;
                    break;
                }
            }
            // Each stream promises a window, and what fills it is not the session's to refuse.
            let rest = meter.total.peak - isize::try_from(held).expect("small");
            assert!(rest <= 600 * 1024, "{number}, resets {resets}: {rest}");
            // Ids in order are remembered for nothing, and GoAway may be repeated.
            assert!(
                ended || number == 12 || rest < 200 * 1024,
                "{number}: goes on"
            );
        }
    }
}

/// Frames as they pass in one direction.
fn transcript(seed: u64) -> Vec<u8> {
    let [wire, _] = run(seed, &Manner::default()).wire;
    wire
}

/// Frames of a transcript, some of them repeated, left out, moved or changed in one field.
fn reshuffled(dice: &mut Dice, bytes: &[u8]) -> Vec<u8> {
    let mut frames: Vec<&[u8]> = Vec::new();
    let mut rest = bytes;
    while let Some(header) = rest.first_chunk::<{ Header::LEN }>() {
        let header = Header::decode(*header).expect("a sound header");
        let body = match header.kind {
            Kind::Data => header.length as usize,
            _ => 0,
        };
        let (frame, after) = rest.split_at(Header::LEN + body);
        frames.push(frame);
        rest = after;
    }
    let mut all = Vec::new();
    let end = frames.len();
    for at in 0..end {
        let at = if dice.once_in(10) {
            dice.below(end)
        } else {
            at
        };
        let mut frame = frames[at].to_vec();
        // Type, flags, stream, and the numbers of those that carry no data.
        match dice.below(20) {
            0 => frame[1] = dice.below(5) as u8,
            1 => frame[3] ^= 1 << dice.below(4),
            2 => frame[7] = frame[7].wrapping_add(dice.below(5) as u8),
            3 if frame.len() == Header::LEN => frame[8] = dice.roll() as u8,
            4 => continue,
            _ => {}
        }
        for _ in 0..1 + usize::from(dice.once_in(10)) {
            all.extend_from_slice(&frame);
        }
    }
    all
}

fn receive_all(session: &mut Session<u32>, bytes: &[u8]) -> Result<(), drywire::mux::yamux::Error> {
    let mut incoming = Incoming::Borrowed(bytes);
    while let Some(notice) = session.receive(Instant::ZERO, &mut incoming)? {
        if let Notice::Reset(place) = notice {
            session.remove(place);
        }
    }
    assert!(incoming.is_empty());
    Ok(())
}

/// Law 7. Fails if a window that overflows is added up unchecked.
pub fn no_panic() {
    let mut failed = 0;
    for seed in 0..100 {
        let honest = transcript(seed);
        let mut dice = Dice::new(seed);
        for _ in 0..20 {
            let mut wrong = reshuffled(&mut dice, &honest);
            for _ in 0..dice.below(3) {
                dice.mutate(&mut wrong);
            }
            let mut session: Session<u32> = Session::new(Role::Listener, Config::default());
            let (mut rest, mut out) = (&wrong[..], Vec::new());
            while !rest.is_empty() {
                let (piece, after) = rest.split_at((1 + dice.below(3000)).min(rest.len()));
                rest = after;
                if let Err(error) = receive_all(&mut session, piece) {
                    assert!(!error.to_string().is_empty());
                    failed += 1;
                    break;
                }
                // The application acts in between.
                let first = session.iter().next().map(|(place, _)| place);
                if let Some(place) = first {
                    session.write_copy(place, b"answer");
                    session.pop(place, dice.below(5000));
                }
                session.fill(Instant::ZERO, &mut out, 60 * KIB, SPACE_AT);
                while session.poll_sent().is_some() {}
            }
        }
    }
    assert!(failed > 200, "only {failed} were noticed");
}

/// Law 8. Fails if the session takes frames after an error.
pub fn errors() {
    let mut failed = 0;
    for seed in 0..40 {
        let honest = transcript(seed);
        let mut dice = Dice::new(seed);
        for _ in 0..20 {
            let mut wrong = honest.clone();
            dice.mutate(&mut wrong);
            let mut session = Session::new(Role::Listener, Config::default());
            let Err(first) = receive_all(&mut session, &wrong) else {
                continue;
            };
            failed += 1;
            let streams = session.len();
            let open = hostile::data(Flags::SYN, 0x7fff_ffff, b"more");
            for again in [&[][..], &honest, &open, &[0xff; 24]] {
                let mut incoming = Incoming::Borrowed(again);
                let result = session.receive(Instant::FAR_FUTURE, &mut incoming);
                assert_eq!(result, Err(first.clone()));
            }
            assert_eq!(session.len(), streams);
            // The peer can still be told.
            session.go_away(GoAway::ProtocolError);
            assert!(session.wants_transmit());
        }
    }
    assert!(failed > 100, "only {failed} were noticed");
}

/// Law 9. Fails if a stream that is refused stays among those that live.
pub fn quiet_end() {
    let (used, ()) = heap::measure(|| {
        for seed in 0..20 {
            let mut duo = Duo::new(&Manner::default());
            let mut dice = Dice::new(seed);
            for _ in 0..100 {
                duo.act(&mut dice);
            }
            for session in &mut duo.sessions {
                let places: Vec<usize> = session.iter().map(|(place, _)| place).collect();
                for place in places {
                    session.reset(place, 0);
                }
                session.go_away(GoAway::Normal);
            }
            duo.exchange();
            // Streams that the other side opened just before the end.
            for session in &mut duo.sessions {
                assert!(
                    session
                        .iter()
                        .all(|(_, stream)| stream.reset_code().is_some())
                );
                let places: Vec<usize> = session.iter().map(|(place, _)| place).collect();
                for place in places {
                    session.remove(place);
                }
                assert!(session.is_empty() && !session.wants_transmit());
                assert_eq!(
                    (
                        session.queued_bytes(),
                        session.held_bytes(),
                        session.growth()
                    ),
                    (0, 0, 0)
                );
                assert!(session.open(duo.now, 0).is_err());
            }
        }
    });
    assert_eq!(used.kept, 0);
    refused_streams_leave_nothing();
}

/// Refused means as if it had never come, but for the word that it is.
fn refused_streams_leave_nothing() {
    let mut config = Config::default();
    config.max_inbound_streams = 1;
    let mut session: Session<u32> = Session::new(Role::Listener, config);
    receive_all(&mut session, &hostile::data(Flags::SYN, 1, b"first")).expect("may");
    let mut out = Vec::with_capacity(KIB);
    let mut answer = |session: &mut Session<u32>| {
        out.clear();
        session.fill(Instant::ZERO, &mut out, KIB, SPACE_AT);
        session.trim();
        out.len()
    };
    answer(&mut session);
    let before = heap::bytes();
    let mut id = 1;
    for _ in 0..100 {
        id += 2;
        let frame = hostile::data(Flags::SYN, id, b"one too many");
        receive_all(&mut session, &frame).expect("may");
        assert_eq!((session.len(), answer(&mut session)), (1, 12));
    }
    assert_eq!(heap::bytes(), before);
}
