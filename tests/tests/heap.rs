//! What connections take of the heap: idle, under way, under attack, and afterwards.
//!
//! Counted are the sizes asked of the allocator. What the connections of a node share (the configuration, the table of
//! names, the static key) is not counted, nor is the connection's own value, whose size is printed.

use drywire::{
    connection::{Connection, ConnectionError, Event, OpenOptions, StreamId, StreamKind},
    multistream::ProtocolName,
    mux::yamux::Flags,
    resource::Lease,
    time::Instant,
};
use drywire_tests::{
    heap::{self, Meter},
    hostile::{self, Hostile},
    pair::{Secure, Setup, Side},
    victim::{Target, Victim},
};
use std::time::Duration;

const KIB: usize = 1024;
const SECOND: Duration = Duration::from_secs(1);

/// Two connections side by side, without a pipe: what one sends the other takes at once.
struct Couple {
    sides: [Side; 2],
    meters: [Meter; 2],
    now: Instant,
    out: Vec<u8>,
}

impl Couple {
    fn new(setup: &Setup) -> Self {
        let mut meters = [Meter::default(); 2];
        let starts = [setup.start(0), setup.start(1)];
        let mut index = 0;
        let sides = starts.map(|(start, shared)| {
            let connection = meters[index].run(|| start.start(Instant::ZERO));
            index += 1;
            let mut side = setup.side_of(connection, shared);
            side.events.reserve(4096);
            side
        });
        let mut couple = Self {
            sides,
            meters,
            now: Instant::ZERO,
            out: Vec::with_capacity(1 << 20),
        };
        couple.run();
        assert!(couple.sides.iter().all(|side| side.connection.is_open()));
        couple
    }

    /// Until nobody has anything to say.
    fn run(&mut self) {
        for _ in 0..10_000 {
            let mut progress = false;
            for index in [0, 1] {
                progress |= self.transmit(index);
            }
            if !progress {
                return;
            }
        }
        panic!("never quiet");
    }

    fn transmit(&mut self, from: usize) -> bool {
        let (now, out) = (self.now, &mut self.out);
        out.clear();
        let [side, other] = self.sides.get_disjoint_mut([from, 1 - from]).unwrap();
        let [meter, other_meter] = self.meters.get_disjoint_mut([from, 1 - from]).unwrap();
        if side.connection.wants_transmit() {
            meter.run(|| side.connection.poll_transmit(now, out, 256 * KIB));
        }
        let mut progress = meter.run(|| side.drain(now)) | !out.is_empty();
        if !out.is_empty() {
            let taken = other_meter.run(|| other.connection.handle_input(now, out));
            assert!(taken == out.len() || other.connection.is_closed());
        }
        progress |= other_meter.run(|| other.drain(now));
        progress
    }

    fn connection<R>(&mut self, index: usize, act: impl FnOnce(&mut Connection) -> R) -> R {
        self.meters[index].run(|| act(&mut self.sides[index].connection))
    }

    fn open(&mut self, index: usize) -> StreamId {
        let (now, names) = (self.now, [ProtocolName::from_static("/raw")]);
        self.connection(index, |connection| {
            connection
                .open(now, &names, StreamKind::Raw, OpenOptions::default())
                .unwrap()
        })
    }

    /// The streams the peer of `index` opened since the events were last cleared.
    fn inbound(&self, index: usize) -> Vec<StreamId> {
        let events = self.sides[index].events.iter();
        events
            .filter_map(|(_, event)| match event {
                Event::Inbound { stream, .. } => Some(*stream),
                _ => None,
            })
            .collect()
    }

    /// Lets time pass, with a turn at every deadline.
    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        for index in [0, 1] {
            while let Some(at) = self.sides[index]
                .connection
                .poll_timeout()
                .filter(|at| *at <= end)
            {
                self.now = self.now.max(at);
                let now = self.now;
                self.connection(index, |connection| connection.handle_timeout(now));
                self.run();
            }
        }
        self.now = end;
    }
}

fn both() -> [Setup; 2] {
    [Secure::Noise, Secure::Plaintext].map(|secure| Setup {
        secure,
        ..Setup::default()
    })
}

/// The bar is 4 KiB. Fails if buffers are kept that an idle connection does not need.
#[test]
fn an_idle_connection_takes_at_most_4_kib() {
    println!("Connection itself: {} B", size_of::<Connection>());
    for setup in both() {
        let mut couple = Couple::new(&setup);
        for side in &mut couple.sides {
            side.connection.set_keep_alive(true);
        }
        let up = couple.meters.map(|meter| meter.total);
        couple.wait(SECOND * 5);
        let idle = couple.meters.map(|meter| meter.total.kept);
        // The same after traffic.
        let stream = couple.open(0);
        couple.connection(0, |c| {
            c.stream(stream).unwrap().write(&[1; 64 * KIB]).unwrap()
        });
        couple.run();
        let inbound = couple.inbound(1)[0];
        couple.connection(1, |c| {
            let mut view = c.stream(inbound).unwrap();
            while view.read(usize::MAX).is_ok() {}
            view.write(&[1; 64 * KIB]).unwrap();
        });
        couple.run();
        couple.connection(0, |c| {
            let mut view = c.stream(stream).unwrap();
            while view.read(usize::MAX).is_ok() {}
            view.finish().unwrap();
        });
        couple.run();
        couple.connection(1, |c| {
            let mut view = c.stream(inbound).unwrap();
            assert_eq!(view.read(1), Ok(None));
            view.finish().unwrap();
        });
        couple.run();
        couple.connection(0, |c| {
            assert_eq!(c.stream(stream).unwrap().read(1), Ok(None));
        });
        couple.run();
        let busy = couple.meters.map(|meter| meter.total.kept);
        couple.wait(SECOND * 5);
        let again = couple.meters.map(|meter| meter.total.kept);
        println!(
            "{:?}: heap when up {:?} (peak {:?}), idle {idle:?}, after 64 KiB each way {busy:?}, idle again {again:?}",
            setup.secure,
            up.map(|total| total.kept),
            up.map(|total| total.peak),
        );
        for side in [0, 1] {
            assert!(idle[side] <= 4096, "idle: {idle:?}");
            assert!(again[side] <= 4096, "idle again: {again:?}");
        }
    }
}

/// Reads that bring nothing leave no buffer behind. Fails if only traffic starts the clock that gives buffers back.
#[test]
fn a_buffer_that_was_asked_for_in_vain_is_given_back() {
    let mut couple = Couple::new(&Setup::default());
    couple.wait(SECOND * 5);
    let before = couple.meters[1].total.kept;
    couple.connection(1, |c| {
        c.recv_buf().unwrap();
    });
    assert!(couple.meters[1].total.kept > before);
    couple.wait(SECOND * 5);
    assert_eq!(couple.meters[1].total.kept, before);
}

#[test]
fn an_idle_stream_takes_little() {
    const STREAMS: usize = 256;
    for used in [false, true] {
        let setup = Setup {
            lease: Lease::new(1 << 20, 1024),
            ..Setup::default()
        };
        let mut couple = Couple::new(&setup);
        couple.wait(SECOND * 5);
        let before = couple.meters.map(|meter| meter.total.kept);
        let mut streams = Vec::new();
        // In portions: the peer lets few negotiate at once.
        for _ in 0..STREAMS / 32 {
            let portion: Vec<_> = (0..32).map(|_| couple.open(0)).collect();
            couple.run();
            let inbound = couple.inbound(1);
            couple.sides[1].events.clear();
            couple.sides[0].events.clear();
            for (mine, theirs) in portion.into_iter().zip(inbound) {
                streams.push(mine);
                if used {
                    couple.connection(0, |c| c.stream(mine).unwrap().write(&[1; 32]).unwrap());
                    couple.run();
                    couple.connection(1, |c| {
                        let mut view = c.stream(theirs).unwrap();
                        assert_eq!(view.read(64).unwrap().unwrap().len(), 32);
                        view.write(&[1; 32]).unwrap();
                    });
                    couple.run();
                    couple.connection(0, |c| {
                        let mut view = c.stream(mine).unwrap();
                        assert_eq!(view.read(64).unwrap().unwrap().len(), 32);
                    });
                }
            }
        }
        assert_eq!(streams.len(), STREAMS);
        couple.wait(SECOND * 5);
        let after = couple.meters.map(|meter| meter.total.kept);
        let each = [0, 1].map(|side| (after[side] - before[side]) / STREAMS as isize);
        println!("heap per idle stream, used: {used}: {each:?} B");
        assert!(each.iter().all(|each| *each <= 1024), "{each:?}");
    }
}

/// A peer that has not proven who it is gets 16 KiB, whatever it sends, and gives them back. Fails without the cap on what
/// waits before admission, or if a buffer is reserved for a declared length.
#[test]
fn an_unauthenticated_connection_takes_at_most_16_kib() {
    let noise = Setup::default();
    let mut long_message = Vec::new();
    drywire::multistream::Dialer::start(&[ProtocolName::from_static("/noise")], &mut long_message)
        .unwrap();
    long_message.extend([0xff, 0xff]);
    long_message.resize(200 * KIB, 7);
    let mut endless_proposals = Vec::new();
    drywire::multistream::Dialer::start(
        &[ProtocolName::from_static("/no")],
        &mut endless_proposals,
    )
    .unwrap();
    let line = endless_proposals[20..].to_vec();
    while endless_proposals.len() < 200 * KIB {
        endless_proposals.extend_from_slice(&line);
    }
    let mut highest = 0;
    for (name, attack) in [
        ("zeros", vec![0; 200 * KIB]),
        ("ones", vec![0xff; 200 * KIB]),
        ("a long handshake message", long_message),
        ("endless proposals", endless_proposals),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".repeat(10_000)),
    ] {
        for piece in [1, 100, 5000, attack.len()] {
            for listener in [true, false] {
                let mut victim = Victim::new(&noise, u64::from(listener));
                victim.peer_reads = false;
                for piece in attack.chunks(piece).take(20_000) {
                    victim.input(piece);
                    if victim.side.connection.is_closed() || victim.waiting() > 0 {
                        break;
                    }
                }
                let peak = victim.meter.total.peak;
                highest = highest.max(peak);
                assert!(
                    peak <= 16 * KIB as isize,
                    "{name} in {piece}: {peak} (listener: {listener})"
                );
                victim.wait(SECOND * 11);
                assert!(victim.side.connection.is_closed(), "{name}");
            }
        }
    }
    println!("highest heap of an unauthenticated connection: {highest} B");
}

/// Two bytes announce a message of 64 KiB. Fails if room is reserved for what is announced.
#[test]
fn a_declared_length_reserves_nothing() {
    for body in [0, 1, 100] {
        let mut victim = Victim::new(&Setup::default(), 1);
        let _hostile = Hostile::dial(&mut victim, Secure::Noise, 1);
        victim.wait(SECOND * 5);
        let before = victim.meter.total.kept;
        let mut declaration = vec![0xff, 0xff];
        declaration.resize(2 + body, 1);
        victim.input(&declaration);
        let connection = &mut victim.side.connection;
        victim.meter.run(|| connection.recv_buf().is_some());
        let grown = victim.meter.total.kept - before;
        assert!(grown <= 8 * KIB as isize, "{grown} for {body} + 2 bytes");
    }
    // A frame of 4 GiB on a new stream.
    let mut victim = Victim::new(&Setup::default(), 1);
    let mut hostile = Hostile::dial(&mut victim, Secure::Noise, 1);
    let before = victim.meter.total;
    let huge = hostile::header(drywire::mux::yamux::Kind::Data, Flags::SYN, 1, u32::MAX);
    hostile.send(&mut victim, &huge);
    assert!(matches!(
        victim.side.connection.error(),
        Some(ConnectionError::Muxer(_))
    ));
    assert!(victim.meter.total.peak <= before.peak.max(before.kept + 8 * KIB as isize));
}

/// Everything is given back when the connection is dropped, and nearly everything when it is closed.
#[test]
fn a_closed_connection_gives_everything_back() {
    for setup in both() {
        let before = heap::bytes();
        {
            let mut couple = Couple::new(&setup);
            let stream = couple.open(0);
            couple.connection(0, |c| {
                c.stream(stream).unwrap().write(&[1; 200 * KIB]).unwrap()
            });
            couple.run();
            let now = couple.now;
            couple.connection(0, |c| c.close(now, ConnectionError::Closed));
            couple.run();
            couple.connection(1, |c| c.handle_eof(now));
            couple.run();
            couple.wait(SECOND * 10);
            for index in [0, 1] {
                assert!(couple.sides[index].connection.is_closed());
                let streams = [stream, couple.inbound(1)[0]];
                couple.connection(index, |c| {
                    if let Some(mut view) = c.stream(streams[index]) {
                        view.release();
                    }
                });
                let kept = couple.meters[index].total.kept;
                assert!(kept <= 4096, "{kept}");
            }
            let Couple {
                sides, mut meters, ..
            } = couple;
            for (index, side) in sides.into_iter().enumerate() {
                // The list of events, and the shared configuration, are not the connection's.
                let Side { connection, .. } = side;
                meters[index].run(|| drop(connection));
            }
        }
        assert_eq!(heap::bytes(), before);
    }
}

/// Steady transfer allocates nothing: not for a frame, a message, a read or a write. The receive buffer is used again as soon
/// as the reader has let go of it; were what is read kept as chunks, a buffer of 256 KiB would be allocated for each 256 KiB.
///
/// Fails if anything is allocated per frame. (The insecure plaintext protocol, which has no messages, is not held to it.)
#[test]
fn steady_transfer_allocates_nothing() {
    for (streams, write, shared) in [
        (1, 64 * KIB, false),
        (1, 64 * KIB, true),
        (1, KIB, false),
        (10, 5 * KIB, false),
        (100, 100, false),
    ] {
        let mut couple = Couple::new(&Setup::default());
        let mine: Vec<_> = (0..streams)
            .map(|n| {
                if n % 32 == 0 {
                    couple.run();
                }
                couple.open(0)
            })
            .collect();
        couple.run();
        let theirs = couple.inbound(1);
        assert_eq!(theirs.len(), streams);
        let payload = bytes::Bytes::from(vec![7; write]);
        let (mut turns, mut received) = (0, 0);
        let mut turn = |couple: &mut Couple| {
            for id in &mine {
                couple.connection(0, |c| {
                    let mut view = c.stream(*id).unwrap();
                    let count = if shared {
                        view.write_bytes(&mut payload.clone())
                    } else {
                        view.write(&payload)
                    };
                    assert_eq!(count, Ok(write));
                });
            }
            couple.run();
            let mut buffer = [0; 16 * KIB];
            for id in &theirs {
                couple.connection(1, |c| {
                    let mut view = c.stream(*id).unwrap();
                    while let Ok(count) = view.read_into(&mut buffer) {
                        received += count;
                    }
                });
            }
            couple.sides[0].events.clear();
            couple.sides[1].events.clear();
            turns += 1;
        };
        for _ in 0..300 {
            turn(&mut couple);
        }
        let before = couple.meters.map(|meter| meter.total.calls);
        for _ in 0..1000 {
            turn(&mut couple);
        }
        let after = couple.meters.map(|meter| meter.total.calls);
        let sent = turns * streams * write;
        assert_eq!(received, sent);
        let measured = 1000 * streams * write;
        let calls = [after[0] - before[0], after[1] - before[1]];
        println!(
            "{streams} streams, writes of {write} B (shared: {shared}): {} KiB in at least {} frames, \
                 {calls:?} allocations",
            measured / KIB,
            1000 * streams * write.div_ceil(16 * KIB),
        );
        assert!(calls.iter().all(|calls| *calls <= 8), "{calls:?}");
    }
}

/// How often a short exchange on a stream of its own allocates, for the record.
#[test]
fn a_short_stream_allocates_a_bounded_number_of_times() {
    let mut couple = Couple::new(&Setup::default());
    let mut calls = [[0; 2]; 2];
    for round in 0..200 {
        if round == 100 {
            calls[0] = couple.meters.map(|meter| meter.total.calls);
        }
        let mine = couple.open(0);
        couple.connection(0, |c| {
            let mut view = c.stream(mine).unwrap();
            view.write(&[1; 32]).unwrap();
            view.finish().unwrap();
        });
        couple.run();
        let theirs = couple.inbound(1)[0];
        couple.connection(1, |c| {
            let mut view = c.stream(theirs).unwrap();
            let mut buffer = [0; 64];
            assert_eq!(view.read_into(&mut buffer), Ok(32));
            assert_eq!(view.read_into(&mut buffer), Ok(0));
            view.write(&buffer[..32]).unwrap();
            view.finish().unwrap();
        });
        couple.run();
        couple.connection(0, |c| {
            let mut view = c.stream(mine).unwrap();
            let mut buffer = [0; 64];
            assert_eq!(view.read_into(&mut buffer), Ok(32));
            assert_eq!(view.read_into(&mut buffer), Ok(0));
        });
        couple.run();
        for side in &mut couple.sides {
            side.events.clear();
        }
    }
    calls[1] = couple.meters.map(|meter| meter.total.calls);
    let each = [0, 1].map(|side| (calls[1][side] - calls[0][side]) as f64 / 100.0);
    println!("allocations per echo on a stream of its own: {each:?}");
    assert!(each.iter().all(|each| *each <= 20.0), "{each:?}");
}
