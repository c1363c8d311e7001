//! The laws of a connection, over Noise and over plaintext.

use drywire::{
    connection::{Connection, ConnectionError, Event, OpenOptions, StreamId, StreamKind},
    multistream::ProtocolName,
    mux::yamux::Flags,
    resource::Lease,
    time::Instant,
};
use drywire_tests::{
    dice::Dice,
    heap,
    hostile::{self, Hostile},
    model::{self, Limits, Offer, Op, Plan, Trace},
    pair::{Cut, Pair, Secure, Setup, Side, Told},
    victim::{Target, Victim},
};
use std::time::Duration;

const KIB: usize = 1024;
const SECOND: Duration = Duration::from_secs(1);
const RAW: ProtocolName = ProtocolName::from_static("/raw");

/// What applications, hosts and the network do in the run numbered `seed`.
fn ops(seed: u64) -> Vec<Op> {
    let mut dice = Dice::new(seed);
    let ops = (0..80).map(|_| {
        let (side, stream, size) = (dice.below(2), dice.below(8), dice.below(4));
        let len = dice.below([40, 40, 3000, 60 * KIB][size]);
        match dice.below(24) {
            0..=2 => {
                let offers = [
                    Offer::One,
                    Offer::One,
                    Offer::One,
                    Offer::Second,
                    Offer::Unknown,
                ];
                Op::Open(side, dice.below(3) as u8, *dice.pick(&offers))
            }
            3..=8 => Op::Write(side, stream, len, dice.once_in(2)),
            // Not `Read`, whose chunks are those in which the bytes came.
            9..=12 => Op::ReadInto(side, stream, len),
            13 => Op::Finish(side, stream),
            14 => Op::Stop(side, stream),
            15 => Op::Reset(side, stream, len as u32),
            16 => Op::Release(side, stream),
            17 => Op::Priority(side, stream, len as u8),
            18 => Op::Stall(side, dice.once_in(3)),
            19 => Op::Limit(1 + len),
            20 | 21 => Op::Wait(len.min(4000) as u16),
            _ => Op::Turn,
        }
    });
    let mut ops: Vec<Op> = ops.collect();
    if dice.once_in(6) {
        ops.push(Op::Close(dice.below(2)));
    }
    ops
}

fn plan(secure: Secure, seed: u64) -> Plan {
    Plan {
        secure,
        seed,
        limits: [Limits::Ample, Limits::Few][(seed % 2) as usize],
        ..Plan::default()
    }
}

/// Law 1. Fails if the clock follows a `now` that goes back, or if `handle_recv` with nothing appended counts as traffic.
pub fn any_order(secure: Secure) {
    for seed in 0..40 {
        let ops = ops(seed);
        for (nosy, told, like) in [
            (true, Told::Plainly, Told::Plainly),
            // Calls that tell no time go by the last one told.
            (false, Told::Backwards, Told::Twice),
            (true, Told::Backwards, Told::Twice),
        ] {
            let plan = Plan {
                told: like,
                ..plan(secure, seed)
            };
            let calm = model::run(&plan, &ops);
            let plan = Plan { nosy, told, ..plan };
            let disturbed = model::run(&plan, &ops);
            assert_same(&disturbed, &calm, &plan);
        }
    }
    asking_for_room_changes_nothing(secure);
}

/// Room that is asked for in vain shows in nothing but memory.
fn asking_for_room_changes_nothing(secure: Secure) {
    let run = |asks: bool| {
        let setup = Setup {
            secure,
            ..Setup::default()
        };
        let mut pair = setup.established();
        let stream = pair.open(0, "/raw", StreamKind::Raw);
        pair.write(0, stream, &[3; 50_000]);
        for _ in 0..200 {
            for side in &mut pair.sides {
                if asks {
                    side.connection.recv_buf();
                    side.connection.handle_recv(Instant::ZERO);
                }
            }
            pair.settle_for(Duration::from_millis(1));
        }
        pair.sides.map(|side| (side.wire, side.events))
    };
    assert!(run(false) == run(true));
}

/// Panics with the first difference.
fn assert_same(a: &Trace, b: &Trace, plan: &Plan) {
    for side in [0, 1] {
        for (a, b) in a.events[side].iter().zip(&b.events[side]) {
            assert_eq!(a, b, "side {side}, {plan:?}");
        }
        let differs = a.wire[side]
            .iter()
            .zip(&b.wire[side])
            .position(|(a, b)| a != b);
        assert_eq!(differs, None, "side {side} sends other bytes, {plan:?}");
    }
    for (number, (a, b)) in a.results.iter().zip(&b.results).enumerate() {
        assert_eq!(a, b, "operation {number}, {plan:?}");
    }
    assert!(a == b, "one of them goes on: {plan:?}");
}

/// Law 2. Fails if the beginning of a message is dropped that has not come whole; over plaintext, that of a frame's header.
pub fn chunking(secure: Secure) {
    for seed in 0..40 {
        let ops = ops(seed + 100);
        let mut whole = model::run(&plan(secure, seed), &ops);
        let mut dice = Dice::new(seed);
        for pieces in [vec![1], dice.pieces(), dice.pieces()] {
            let plan = Plan {
                pieces: Some(pieces.clone()),
                ..plan(secure, seed)
            };
            let mut cut = model::run(&plan, &ops);
            if secure == Secure::Plaintext {
                // It knows no messages: chunks are as they came, and what they hold the model has compared.
                (cut.results, whole.results) = Default::default();
            }
            assert_same(&cut, &whole, &plan);
        }
    }
    handshake_at_every_split(secure);
}

fn handshake_at_every_split(secure: Secure) {
    let run = |pieces: Vec<usize>| {
        let setup = Setup {
            secure,
            pieces,
            ..Setup::default()
        };
        let mut pair = setup.established();
        pair.settle_for(SECOND);
        pair.sides.map(|side| (side.wire, side.events))
    };
    let whole = run(vec![]);
    let longest = whole.iter().map(|(wire, _)| wire.len()).max();
    for at in 1..longest.unwrap_or(0) {
        assert!(run(vec![at, usize::MAX]) == whole, "cut at {at}");
    }
}

/// Law 3. Fails if handshakes draw from a generator of the process.
pub fn same_seed(secure: Secure) {
    let mut wires = Vec::new();
    for seed in 0..20 {
        let ops = ops(seed + 200);
        let trace = model::run(&plan(secure, seed), &ops);
        assert!(
            model::run(&plan(secure, seed), &ops) == trace,
            "seed {seed}"
        );
        wires.push(trace.wire);
    }
    // Another seed, the same operations: with Noise other bytes, of the same lengths and at the same times.
    let [a, b] = [1, 3].map(|seed| model::run(&plan(secure, seed), &ops(1)));
    assert!(a.wire != b.wire);
    let times = |trace: &Trace| {
        let [a, b] = &trace.events;
        [a, b].map(|events| events.iter().map(|(at, _)| *at).collect::<Vec<_>>())
    };
    assert_eq!(times(&a), times(&b));
    assert_eq!(
        a.wire.each_ref().map(Vec::len),
        b.wire.each_ref().map(Vec::len)
    );
}

/// Takes what waits, and checks before each that [`Connection::poll_timeout`] had said so.
fn drain(side: &mut Side, now: Instant, told: &mut Vec<Event>) {
    for _ in 0..10_000 {
        let due = side.connection.poll_timeout();
        if let Some(event) = side.connection.poll_event() {
            assert!(
                due.is_some_and(|at| at <= now),
                "law 4: {event:?} waits unannounced"
            );
            told.push(event);
            continue;
        }
        let before = side.events.len();
        if !side.drain(now) {
            return;
        }
        assert!(
            due.is_some_and(|at| at <= now),
            "law 4: a message waits unannounced"
        );
        told.extend(side.events.drain(before..).map(|(_, event)| event));
    }
    panic!("law 4: it never runs out of things to tell");
}

/// What the two hosts of law 4 carry through.
const TOTAL: usize = 3 << 20;

/// Two hosts that know nothing but what they are told, and a pipe that takes everything. The first writes, the second
/// reads what there is every 100 ms.
struct Sleepers {
    sides: [Side; 2],
    told: [Vec<Event>; 2],
    /// On its way to each side.
    pipes: [Vec<u8>; 2],
    now: Instant,
    transmits: usize,
    stream: Option<StreamId>,
    inbound: Option<StreamId>,
    written: usize,
    read: usize,
    reads_at: Instant,
}

impl Sleepers {
    fn receive(&mut self, index: usize) {
        let (now, connection) = (self.now, &mut self.sides[index].connection);
        if connection.poll_timeout().is_some_and(|at| at <= now) {
            connection.handle_timeout(now);
        }
        // Readable while there is room.
        let taken = connection.handle_input(now, &self.pipes[index]);
        self.pipes[index].drain(..taken);
        drain(&mut self.sides[index], now, &mut self.told[index]);
    }

    fn write(&mut self) {
        let connection = &mut self.sides[0].connection;
        if connection.is_open() && self.stream.is_none() {
            let options = OpenOptions::default();
            let opened = connection.open(self.now, &[RAW], StreamKind::Raw, options);
            self.stream = Some(opened.expect("may"));
        }
        let Some(mut view) = self.stream.and_then(|id| connection.stream(id)) else {
            return;
        };
        while self.written < TOTAL
            && let Ok(count) = view.write(&vec![7; (TOTAL - self.written).min(50_000)])
        {
            self.written += count;
        }
        if self.written == TOTAL {
            let _ = view.finish();
        }
        let _ = view.read(1);
    }

    fn read(&mut self) {
        self.inbound = self.inbound.or_else(|| {
            self.told[1].iter().find_map(|event| match event {
                Event::Inbound { stream, .. } => Some(*stream),
                _ => None,
            })
        });
        let connection = &mut self.sides[1].connection;
        if let Some(mut view) = self.inbound.and_then(|id| connection.stream(id))
            && self.reads_at <= self.now
        {
            self.reads_at = self.now + Duration::from_millis(100);
            while let Ok(bytes) = view.read(usize::MAX) {
                let Some(bytes) = bytes else {
                    view.finish().expect("alive");
                    break;
                };
                self.read += bytes.len();
            }
        }
    }

    fn transmit(&mut self, index: usize) {
        // Writable if it wants to transmit.
        while self.sides[index].connection.wants_transmit() {
            let (mut out, now) = (Vec::new(), self.now);
            let connection = &mut self.sides[index].connection;
            let transmit = connection.poll_transmit(now, &mut out, 64 * KIB);
            self.transmits += 1;
            assert!(self.transmits < 4000, "law 4: it spins");
            self.pipes[1 - index].extend(out);
            drain(&mut self.sides[index], now, &mut self.told[index]);
            if transmit.shutdown {
                self.sides[1 - index].connection.handle_eof(now);
            }
        }
    }

    /// Jumps to when there is something to do; false if there never is.
    fn sleep(&mut self) -> bool {
        for index in [0, 1] {
            let readable = self.sides[index].connection.recv_buf().is_some();
            if readable && !self.pipes[index].is_empty() {
                return true;
            }
        }
        let deadlines = self
            .sides
            .each_ref()
            .map(|side| side.connection.poll_timeout());
        let reader = (self.read < TOTAL && self.reads_at > self.now).then_some(self.reads_at);
        let next = deadlines.into_iter().chain([reader]).flatten().min();
        self.now = next.map_or(self.now, |next| next.max(self.now));
        next.is_some()
    }
}

/// Law 4. Two hosts carry a transfer through, with pauses of the reader, and then idle until the end. Nothing is lost, and
/// neither wakes more often than there is reason to. Fails if `poll_timeout` forgets the events that wait, or if a
/// connection wants to transmit for as long as it has streams.
pub fn deadlines(secure: Secure) {
    let setup = Setup {
        secure,
        ..Setup::default()
    };
    let mut hosts = Sleepers {
        sides: [setup.side(0), setup.side(1)],
        told: Default::default(),
        pipes: Default::default(),
        now: Instant::ZERO,
        transmits: 0,
        stream: None,
        inbound: None,
        written: 0,
        read: 0,
        reads_at: Instant::ZERO,
    };
    let mut wakes = 0;
    loop {
        wakes += 1;
        assert!(wakes < 4000, "law 4: {wakes} wakes, at {:?}", hosts.now);
        hosts.receive(0);
        hosts.receive(1);
        hosts.write();
        hosts.read();
        hosts.transmit(0);
        hosts.transmit(1);
        if !hosts.sleep() {
            break;
        }
    }
    assert_eq!(hosts.read, TOTAL, "law 4: bytes are lost");
    // Nobody did anything any more, and the connection closed itself.
    for (side, told) in hosts.sides.iter().zip(&hosts.told) {
        assert!(
            side.connection.is_closed(),
            "law 4: it is never woken to close"
        );
        assert!(
            matches!(told.last(), Some(Event::Closed { .. })),
            "{told:?}"
        );
        assert_eq!(side.connection.poll_timeout(), None);
    }
}

/// A pair with so many open streams.
fn with_streams(secure: Secure, count: usize) -> Pair {
    let mut setup = Setup {
        secure,
        lease: Lease::new(1 << 26, 1 << 20),
        ..Setup::default()
    };
    setup.config.max_streams = 1 << 20;
    setup.config.yamux.max_inbound_streams = 1 << 20;
    setup.config.yamux.max_outbound_streams = 1 << 20;
    setup.config.yamux.max_unacknowledged = 1 << 20;
    let mut pair = setup.established();
    for side in &mut pair.sides {
        side.connection.set_keep_alive(true);
    }
    let mut opened = 0;
    while opened < count {
        // In portions: few may negotiate at once.
        let portion = (count - opened).min(32);
        for _ in 0..portion {
            let stream = pair.open(0, "/raw", StreamKind::Raw);
            pair.write(0, stream, b"hello");
        }
        opened += portion;
        pair.settle_for(Duration::from_millis(30));
        for stream in pair.inbound(1) {
            assert_eq!(pair.read(1, stream), (b"hello".to_vec(), Ok(false)));
        }
        for side in &mut pair.sides {
            assert!(side.connection.is_open());
            side.events.clear();
        }
    }
    pair.settle_for(SECOND * 5);
    pair
}

/// Law 5. Fails if `poll_timeout` gathers all streams in a list.
pub fn idle(secure: Secure) {
    for streams in [1, 10_000] {
        let mut pair = with_streams(secure, streams);
        let now = pair.now;
        let mut out = Vec::with_capacity(64 * KIB);
        for side in &mut pair.sides {
            let connection = &mut side.connection;
            let (used, ()) = heap::measure(|| {
                for _ in 0..100 {
                    assert_eq!(connection.poll_event(), None);
                    assert!(connection.poll_message().is_none());
                    assert!(connection.poll_timeout().is_none_or(|at| at > now));
                    assert!(!connection.wants_transmit());
                    connection.poll_transmit(now, &mut out, 64 * KIB);
                    connection.handle_timeout(now);
                }
            });
            assert_eq!((used.calls, out.len()), (0, 0), "{streams} streams");
        }
    }
}

/// Frames a peer can say over and over; `n` counts up.
fn provocations() -> Vec<fn(u32) -> Vec<u8>> {
    use hostile::{data, ping, propose, window};
    vec![
        |n| ping(n),
        |n| data(Flags::SYN, 2 * n + 1, b""),
        |n| data(Flags::SYN, 2 * n + 1, &propose("/unknown")),
        |n| data(Flags::SYN, 2 * n + 1, &propose("/raw")),
        |n| data(Flags::SYN.with(Flags::FIN), 2 * n + 1, &propose("/raw")),
        |n| {
            let open = data(Flags::SYN, 2 * n + 1, &propose("/raw"));
            [open, window(Flags::RST, 2 * n + 1, 0)].concat()
        },
        |n| {
            let mut body = propose("/raw");
            body.resize(16 * KIB, 1);
            data(Flags::SYN, 2 * n + 1, &body)
        },
        |n| {
            let mut body = propose("/framed");
            body.extend([0xff, 0xff, 0x3f, 0]);
            data(Flags::SYN, 2 * n + 1, &body)
        },
        |n| {
            let flags = if n == 0 { Flags::SYN } else { Flags::NONE };
            let proposal = propose("/unknown");
            data(flags, 1, &proposal[if n == 0 { 0 } else { 20 }..])
        },
        |n| window(Flags::NONE, 2 * n + 1, 1),
        |n| data(Flags::FIN, 2 * n + 1, b""),
    ]
}

/// Law 6: a peer that never reads provokes what it can, and the application does nothing. What is held stays within the
/// lease and a constant. Fails if a connection over its lease goes on reading.
pub fn bounded(secure: Secure) {
    for (number, provoke) in provocations().into_iter().enumerate() {
        let lease = Lease::new(1 << 20, 256);
        let setup = Setup {
            secure,
            lease,
            ..Setup::default()
        };
        let mut victim = Victim::new(&setup, 1);
        let mut hostile = Hostile::dial(&mut victim, secure, 1);
        victim.peer_reads = false;
        let mut sent = 0;
        for n in 0..20_000 {
            let frames = provoke(n);
            sent += frames.len();
            hostile.send(&mut victim, &frames);
            if victim.side.connection.is_closed() || victim.waiting() > 0 {
                break;
            }
            if n % 100 == 0 {
                victim.wait(Duration::from_millis(50));
                // The list is the harness's.
                victim.side.events.truncate(64);
            }
        }
        let peak = victim.meter.total.peak;
        assert!(
            peak <= (1 << 20) + 1024 * 1024,
            "{number}: {peak} of {sent} sent"
        );
        // And it is not for ever.
        victim.wait(SECOND * 120);
        let kept = victim.meter.total.kept;
        assert!(
            victim.side.connection.is_closed() || kept <= (1 << 20) + 512 * 1024,
            "{number}: {kept}"
        );
    }
}

/// Law 7: what one side said, changed, is said to the other side as it was at that time; and with Noise, frames that are
/// changed before they are sealed. Fails if it is taken for granted that no frame follows a stream's last.
pub fn no_panic(secure: Secure) {
    let mut endings = 0;
    for seed in 0..30 {
        let trace = model::run(&plan(secure, 0), &ops(seed));
        let mut dice = Dice::new(seed);
        for _ in 0..10 {
            for index in [0, 1] {
                let mut wrong = trace.wire[1 - index].clone();
                wrong.truncate(20 * KIB);
                for _ in 0..1 + dice.below(3) {
                    dice.mutate(&mut wrong);
                }
                let mut victim = Victim::new(&setup(secure), index as u64);
                abuse(&mut victim, &wrong, &mut dice);
                endings += usize::from(victim.side.connection.is_closed());
            }
            let mut victim = Victim::new(&setup(secure), 1);
            let mut hostile = Hostile::dial(&mut victim, secure, 1);
            let mut frames: Vec<u8> = (0..8)
                .flat_map(|_| dice.pick(&provocations())(dice.below(4) as u32))
                .collect();
            for _ in 0..dice.below(3) {
                dice.mutate(&mut frames);
            }
            frames.truncate(60 * KIB);
            let sealed = hostile.seal(&frames);
            abuse(&mut victim, &sealed, &mut dice);
        }
    }
    assert!(endings > 100, "{endings}");
}

/// That of the model, so that its wire fits.
fn setup(secure: Secure) -> Setup {
    Setup {
        secure,
        seed: 0,
        lease: Lease::new(64 << 20, 256),
        ..Setup::default()
    }
}

/// Says `bytes` in pieces; the application acts in between.
fn abuse(victim: &mut Victim, bytes: &[u8], dice: &mut Dice) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((1 + dice.below(3000)).min(rest.len()));
        rest = after;
        victim.input(piece);
        let inbound: Vec<StreamId> = inbound(&victim.side);
        for id in inbound {
            if let Some(mut stream) = victim.side.connection.stream(id) {
                let _ = (stream.read(dice.below(5000)), stream.write(b"answer"));
            }
        }
        victim.wait(Duration::from_millis(dice.below(2000) as u64));
    }
    if let Some(error) = victim.side.connection.error() {
        assert!(!error.to_string().is_empty());
    }
}

fn inbound(side: &Side) -> Vec<StreamId> {
    let events = side.events.iter();
    events
        .filter_map(|(_, event)| match event {
            Event::Inbound { stream, .. } => Some(*stream),
            _ => None,
        })
        .collect()
}

/// Ways in which a connection meets its end, at any phase.
fn ends() -> Vec<fn(&mut Connection, Instant)> {
    vec![
        |c, now| c.close(now, ConnectionError::Shutdown),
        |c, now| c.handle_lost(now, "cut".into()),
        |c, now| c.handle_eof(now),
        |c, now| {
            c.handle_input(now, &[0; 300]);
        },
        |c, _| c.handle_timeout(Instant::from_nanos(3_600_000_000_000)),
    ]
}

/// Law 8. Fails if a later reason replaces the first.
pub fn errors(secure: Secure) {
    for first in 0..ends().len() {
        for second in 0..ends().len() {
            for established in [false, true] {
                let setup = Setup {
                    secure,
                    ..Setup::default()
                };
                let mut pair = if established {
                    setup.established()
                } else {
                    setup.pair()
                };
                let now = pair.now;
                let side = &mut pair.sides[1];
                ends()[first](&mut side.connection, now);
                let Some(error) = side.connection.error().cloned() else {
                    // An early end of the input, say, which ends nothing yet.
                    continue;
                };
                ends()[second](&mut side.connection, now);
                ends()[1](&mut side.connection, now);
                assert_eq!(side.connection.error(), Some(&error), "{first}, {second}");
                side.drain(now);
                let told = side.events.iter().filter_map(|(_, event)| match event {
                    Event::Closed { error } => Some(error),
                    _ => None,
                });
                assert_eq!(told.collect::<Vec<_>>(), [&error], "{first}, {second}");
            }
        }
    }
}

/// Law 9. Fails if a closed connection keeps the deadline for closing.
pub fn quiet_end(secure: Secure) {
    // The last of them is a deadline, of which there is none amid a transfer.
    for way in 0..ends().len() - 1 {
        // What is made once in a process, and the keys.
        drop(Setup::default().pair());
        let setup = Setup {
            secure,
            ..Setup::default()
        };
        let (used, ()) = heap::measure(|| {
            let mut pair = setup.established();
            for index in 0..20 {
                let stream = pair.open(index % 2, "/raw", StreamKind::Raw);
                pair.write(index % 2, stream, &[1; 30 * KIB]);
            }
            pair.settle_for(Duration::from_millis(15));
            pair.cut(1, 0, Cut::Stall);
            let now = pair.now;
            ends()[way](&mut pair.sides[1].connection, now);
            pair.settle_for(SECOND * 120);
            let side = &mut pair.sides[1];
            let connection = &mut side.connection;
            assert!(connection.is_closed(), "{way}");
            let known: Vec<StreamId> = side
                .events
                .iter()
                .filter_map(|(_, event)| match event {
                    Event::Inbound { stream, .. } => Some(*stream),
                    _ => None,
                })
                .collect();
            for stream in known {
                if let Some(mut stream) = connection.stream(stream) {
                    stream.release();
                }
                assert!(connection.stream(stream).is_none(), "{way}");
            }
            let mut out = Vec::new();
            for time in [pair.now, Instant::FAR_FUTURE] {
                assert_eq!(connection.poll_timeout(), None);
                assert!(!connection.wants_transmit() && connection.recv_buf().is_none());
                assert_eq!(connection.handle_input(time, b"more"), 0);
                connection.handle_recv(time);
                connection.handle_eof(time);
                connection.handle_timeout(time);
                connection.close(time, ConnectionError::Closed);
                connection.poll_transmit(time, &mut out, KIB);
                assert_eq!(connection.poll_event(), None);
                assert!(connection.poll_message().is_none() && out.is_empty());
            }
        });
        assert_eq!(used.kept, 0, "{way}: something is kept");
    }
}
