//! Target of two connections: any calls of their hosts and applications, over a pipe that does anything.
//!
//! Beyond what the model of `connection_model` covers, hosts may be late, idle or careless here: they deliver any number of
//! bytes, let messages and events wait, refuse peers and leases, and lose the pipe; and the input may put frames of its own
//! onto it. The promises that then are left are checked after every operation.

mod end;
mod streams;

use crate::input::Input;
use core::time::Duration;
use drywire::{
    connection::{ConnectionError, OpenError, OpenOptions, StreamId},
    mux::yamux::{Flags, Header, Kind},
    resource::Lease,
    time::Instant,
};
use drywire_tests::hostile;
use end::End;
use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};
use streams::{MAX_STREAMS, Streams, name_of};

/// Operations of one run; the rest of the input is not looked at.
const MAX_OPS: usize = 300;
/// Bytes delivered to an end that is not yet established: beyond 16 KiB it may or may not take more.
const MAX_EARLY: usize = 12 * 1024;
/// Bytes on their way in one direction before its end does not transmit any more.
const MAX_IN_FLIGHT: usize = 1 << 20;

/// Two connections whose hosts do what the input says, over a pipe that does what the input says: no panic; bytes arrive
/// as they were written unless somebody meddled; streams and connections tell their story in the right order and end once;
/// deadlines tell the truth; memory stays within its bound; and the same calls have the same outcome, however the bytes
/// were cut on the way.
pub fn connections(data: &[u8]) {
    let whole = run(data, usize::MAX);
    assert!(run(data, usize::MAX) == whole, "another outcome");
    let step = data
        .get(1)
        .map_or(1, |choice| usize::from(*choice).max(1) * 7);
    // Memory is counted by the buffers that are pinned, which depends on how the bytes came.
    if whole.ample {
        assert!(
            run(data, step).hash == whole.hash,
            "another outcome in pieces of {step}"
        );
    }
}

/// What one run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
struct Outcome {
    /// Of everything that was sent, told and given back, in order.
    hash: u64,
    /// Memory never was an issue.
    ample: bool,
    established: [bool; 2],
    /// Bytes read by the applications.
    delivered: usize,
    /// The most that a connection took of the heap beyond what it was leased.
    beyond_lease: isize,
}

/// One direction of the pipe.
#[derive(Debug, Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    /// Nothing more comes behind the bytes.
    ended: bool,
    end_delivered: bool,
}

struct Run {
    ends: [End; 2],
    /// By where they come from.
    pipes: [Pipe; 2],
    streams: Streams,
    now: Instant,
    /// Bytes that one call delivers.
    step: usize,
    hasher: DefaultHasher,
    ample: bool,
    out: Vec<u8>,
}

fn run(data: &[u8], step: usize) -> Outcome {
    let mut input = Input::new(data);
    let choice = input.byte();
    let _step = input.byte();
    let ample = choice & 1 == 0;
    let mut run = Run {
        ends: [End::new(0, ample), End::new(1, ample)],
        pipes: Default::default(),
        streams: Streams::default(),
        now: Instant::from_nanos(1_000_000_000),
        step,
        hasher: DefaultHasher::new(),
        ample,
        out: Vec::with_capacity(600 * 1024),
    };
    if choice & 2 == 0 {
        // Without that, short inputs would not get far.
        run.settle();
    }
    let mut ops = 0;
    while !input.is_empty() && ops < MAX_OPS {
        run.operation(&mut input);
        run.check();
        ops += 1;
    }
    run.wind_up();
    let beyond_lease = run.ends.iter().map(|end| end.beyond_lease).max();
    Outcome {
        hash: run.hasher.finish(),
        ample,
        established: run.ends.each_ref().map(|end| end.established),
        delivered: run.streams.delivered,
        beyond_lease: beyond_lease.unwrap_or_default(),
    }
}

impl Run {
    fn operation(&mut self, input: &mut Input<'_>) {
        let choice = input.byte();
        let (side, what) = (usize::from(choice & 1), choice >> 1);
        match what % 64 {
            0..6 => self.open(side, input.byte()),
            6..14 => self.on_stream(side, input, Act::Write),
            14..18 => self.on_stream(side, input, Act::WriteBytes),
            18..25 => self.on_stream(side, input, Act::Read),
            25..28 => self.on_stream(side, input, Act::ReadInto),
            28 | 29 => self.on_stream(side, input, Act::Finish),
            30 => self.on_stream(side, input, Act::Stop),
            31 => self.on_stream(side, input, Act::Reset),
            32 => self.on_stream(side, input, Act::Release),
            33 => self.on_stream(side, input, Act::Priority),
            34..40 => {
                self.transmit(side, input.size() * 8);
            }
            40..46 => {
                let count = input.size();
                self.deliver(side, count);
            }
            46..49 => drop(self.drain(side)),
            49 => drop(self.drain_messages(side)),
            50 => drop(self.drain_events(side)),
            51 => self.answer_lease(side, input.byte()),
            52 => self.ends[side].admits = input.byte() & 7 != 0,
            53 | 54 => self.settle(),
            55 => self.pass(Duration::from_millis(u64::from(input.byte()))),
            56 => self.pass(Duration::from_nanos(1 << (input.byte() % 36))),
            57 => self.sleep(side),
            58 => self.now = self.now + Duration::from_millis(u64::from(input.byte()) * 16),
            59 => self.spurious(side),
            60 => self.keep_alive(side, input.byte() & 1 == 1),
            61 => self.inject(side, input),
            62 => self.end_pipe(side, input.byte()),
            _ => self.close(side),
        }
    }

    fn note(&mut self, what: impl std::fmt::Debug) {
        format!("{what:?}").hash(&mut self.hasher);
    }

    fn open(&mut self, side: usize, choice: u8) {
        let (number, kind) = (self.streams.len(), choice % 3);
        if number >= MAX_STREAMS {
            return;
        }
        let (right, stream_kind) = name_of(number, kind);
        let (wrong, protocols) = (name_of(MAX_STREAMS, 0).0, name_of(MAX_STREAMS, 1).0);
        let names = match choice >> 4 {
            0..12 => vec![right],
            12 => vec![wrong, right],
            13 => vec![wrong],
            _ => vec![protocols],
        };
        let now = self.now;
        let end = &mut self.ends[side];
        let open = end.connection.is_open();
        let result = end.call_at(now, |c| {
            c.open(now, &names, stream_kind, OpenOptions::default())
        });
        match &result {
            Ok(id) => {
                assert!(open);
                self.streams.opened(side, *id, kind);
            }
            Err(OpenError::NotConnected) => assert!(!open),
            Err(OpenError::TooManyStreams | OpenError::GoingAway) => assert!(open),
            Err(error) => panic!("{error:?}"),
        }
        self.note(result);
    }

    /// Picks a stream the application still has, and does something with it.
    fn on_stream(&mut self, side: usize, input: &mut Input<'_>, act: Act) {
        let index = usize::from(input.byte());
        let size = match act {
            Act::Write | Act::WriteBytes | Act::Read | Act::ReadInto => input.size(),
            Act::Reset | Act::Priority => usize::from(input.byte()),
            Act::Finish | Act::Stop | Act::Release => 0,
        };
        let live = self.streams.live(side);
        let Some(id) = live.get(index % live.len().max(1)).copied() else {
            return;
        };
        self.act(side, id, act, size);
    }

    fn act(&mut self, side: usize, id: StreamId, act: Act, size: usize) -> bool {
        let (end, streams) = (&mut self.ends[side], &mut self.streams);
        // Whole chunks depend on how the bytes came.
        let act = match act {
            Act::Read if self.ample && streams.is_raw(side, id) => Act::ReadInto,
            act => act,
        };
        let (said, more) = streams.act(side, id, end, act, size);
        self.note(said);
        more
    }

    /// What one end has to send goes onto the pipe.
    fn transmit(&mut self, side: usize, limit: usize) -> bool {
        let now = self.now;
        let (end, pipe) = (&mut self.ends[side], &mut self.pipes[side]);
        if pipe.bytes.len() > MAX_IN_FLIGHT {
            return false;
        }
        let wanted = end.connection.wants_transmit();
        // Made outside, as it is not the connection's.
        let mut out = core::mem::take(&mut self.out);
        out.clear();
        let transmit = end.call_at(now, |c| c.poll_transmit(now, &mut out, limit));
        assert!(
            wanted || out.is_empty(),
            "sends what it did not want to send"
        );
        assert!(out.len() <= limit + 66_000, "{} for {limit}", out.len());
        let stuck = wanted && limit > 0 && out.is_empty() && !transmit.shutdown;
        assert!(
            !stuck || !end.connection.wants_transmit(),
            "wants, and does not"
        );
        assert_eq!(transmit.more, end.connection.wants_transmit());
        out.hash(&mut self.hasher);
        if !pipe.ended {
            pipe.bytes.extend(&out);
            pipe.ended |= transmit.shutdown;
        }
        let progress = !out.is_empty() || transmit.shutdown;
        self.out = out;
        progress
    }

    /// Bytes arrive, in one call or in several; and the end of them.
    fn deliver(&mut self, to: usize, count: usize) -> bool {
        let now = self.now;
        let (end, pipe) = (&mut self.ends[to], &mut self.pipes[1 - to]);
        let mut count = count.min(pipe.bytes.len());
        if !end.established && self.ample {
            count = count.min(MAX_EARLY.saturating_sub(end.early));
        }
        let mut delivered = 0;
        let step = self.step.max(count / 64);
        while delivered < count {
            let piece = step.min(count - delivered);
            let bytes: Vec<u8> = pipe.bytes.iter().take(piece).copied().collect();
            let taken = end.call(|c| c.handle_input(now, &bytes));
            if taken > 0 {
                // Otherwise it was not asked to do anything.
                end.now = end.now.max(now);
            }
            pipe.bytes.drain(..taken);
            delivered += taken;
            if taken < piece {
                break;
            }
        }
        if !end.established {
            end.early += delivered;
        }
        if end.connection.is_closed() {
            // Nothing of the rest matters, nor how much that is.
            pipe.bytes.clear();
            delivered = 0;
        }
        if delivered < count && !end.connection.is_closed() && !end.told_of_end {
            let due = end.connection.poll_timeout();
            assert!(due.is_some(), "stops reading, and nothing will change that");
        }
        let over = pipe.ended && pipe.bytes.is_empty() && !pipe.end_delivered;
        if over {
            pipe.end_delivered = true;
            end.told_of_end = true;
            end.call_at(now, |c| c.handle_eof(now));
        }
        self.note((to, delivered, over));
        delivered > 0 || over
    }

    fn drain(&mut self, side: usize) -> bool {
        let mut progress = false;
        // Messages may lead to events and the other way round.
        for _ in 0..100 {
            let (messages, events) = (self.drain_messages(side), self.drain_events(side));
            if !messages && !events {
                return progress;
            }
            progress = true;
        }
        panic!("never has nothing to say");
    }

    fn drain_messages(&mut self, side: usize) -> bool {
        // Requests for more may come before or behind what they are for.
        let mut told = Vec::new();
        for _ in 0..100_000 {
            let end = &mut self.ends[side];
            let Some(message) = end.poll_message() else {
                told.sort();
                self.note(&told);
                return !told.is_empty();
            };
            told.push(format!("{message:?}"));
            if message.asks_for_admission {
                self.ends[side].admission(self.now);
            }
        }
        panic!("endless messages");
    }

    fn drain_events(&mut self, side: usize) -> bool {
        let mut progress = false;
        for _ in 0..100_000 {
            let end = &mut self.ends[side];
            let Some(event) = end.poll_event() else {
                self.streams.all_told(side);
                return progress;
            };
            progress = true;
            self.note(&event);
            self.ends[side].saw(&event);
            self.streams.event(side, &event);
        }
        panic!("endless events");
    }

    fn answer_lease(&mut self, side: usize, choice: u8) {
        let bytes = if self.ample {
            16 << 20
        } else {
            [0, 0, 4096, 65_536][usize::from(choice & 3)]
        };
        self.ends[side].answer_lease(self.now, Lease::new(bytes, u32::from(choice >> 2)));
    }

    /// Time passes, and both hosts notice.
    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        for end in &mut self.ends {
            if end
                .connection
                .poll_timeout()
                .is_some_and(|at| at <= self.now)
            {
                let now = self.now;
                end.call_at(now, |c| c.handle_timeout(now));
            }
        }
    }

    /// Time passes until a deadline of one end, at which its host does what it has to: then the deadline must be gone.
    fn sleep(&mut self, side: usize) {
        self.drain(side);
        let Some(at) = self.ends[side].connection.poll_timeout() else {
            return;
        };
        self.now = self.now.max(at);
        for _ in 0..50 {
            let now = self.now;
            self.ends[side].call_at(now, |c| c.handle_timeout(now));
            self.drain(side);
            if self.ends[side]
                .connection
                .poll_timeout()
                .is_none_or(|next| next > now)
            {
                return;
            }
        }
        panic!("a deadline that stays");
    }

    /// Calls that change nothing.
    fn spurious(&mut self, side: usize) {
        self.drain(side);
        let (end, now) = (&mut self.ends[side], Instant::ZERO);
        let before = (
            end.connection.poll_timeout(),
            end.connection.wants_transmit(),
        );
        end.call_at(now, |c| {
            c.handle_recv(now);
            assert_eq!(c.handle_input(now, &[]), 0);
        });
        let due = end.connection.poll_timeout();
        if due.is_none_or(|at| at > end.now) {
            end.call_at(now, |c| c.handle_timeout(now));
        }
        assert_eq!(before.1, end.connection.wants_transmit());
        let quiet = end.connection.poll_timeout().is_none_or(|at| at > end.now);
        assert!(quiet || before.0.is_some_and(|at| at <= end.now));
    }

    fn keep_alive(&mut self, side: usize, wanted: bool) {
        self.ends[side].call(|c| c.set_keep_alive(wanted));
    }

    /// Puts a frame, or something else, onto the pipe to `side`.
    fn inject(&mut self, side: usize, input: &mut Input<'_>) {
        let (choice, flags, stream, length) =
            (input.byte(), input.byte(), input.byte(), input.size());
        let kind = match choice & 3 {
            0 => Kind::Data,
            1 => Kind::WindowUpdate,
            2 => Kind::Ping,
            _ => Kind::GoAway,
        };
        let stream = match kind {
            Kind::Data | Kind::WindowUpdate => u32::from(stream),
            _ => 0,
        };
        let length = u32::try_from(length).expect("at most 64 KiB");
        let mut frame = Vec::new();
        if choice & 0xe0 == 0xe0 {
            frame.extend([choice, flags, 0, length as u8]);
        } else if choice & 0xe0 == 0xc0 {
            // A stream with a name and the beginning of its payload.
            let number = usize::from(flags) % (MAX_STREAMS + 1);
            let mut body = hostile::propose(streams::text_of(number, choice >> 2 & 3));
            body.resize(body.len() + length as usize % 3000, choice);
            frame = hostile::data(Flags::SYN, stream.max(1), &body);
        } else {
            let flags = Flags::from_bits(u16::from(flags & 0x0f));
            let length = length << ((choice >> 2 & 1) * 14);
            frame.extend(
                Header {
                    kind,
                    flags,
                    stream,
                    length,
                }
                .encode(),
            );
            if kind == Kind::Data {
                frame.resize(frame.len() + (length as usize).min(70_000), choice);
            }
        }
        self.pipes[1 - side].bytes.extend(frame);
        self.streams.meddled = true;
        for end in &mut self.ends {
            end.meddled = true;
        }
    }

    fn end_pipe(&mut self, from: usize, choice: u8) {
        let now = self.now;
        match choice % 8 {
            0 => {
                for end in &mut self.ends {
                    end.told_of_end = true;
                    end.call_at(now, |c| c.handle_lost(now, "reset".to_owned()));
                }
            }
            1 => self.pipes[from].bytes.clear(),
            2 => {
                let pipe = &mut self.pipes[from];
                pipe.bytes.truncate(pipe.bytes.len() / 2);
            }
            _ => {}
        }
        self.pipes[from].ended = true;
    }

    fn close(&mut self, side: usize) {
        let now = self.now;
        self.ends[side].call_at(now, |c| c.close(now, ConnectionError::Closed));
    }

    /// Both hosts are careful for a while, and time stands still.
    fn settle(&mut self) {
        for _ in 0..1000 {
            let mut progress = false;
            for side in [0, 1] {
                progress |= self.drain(side);
                progress |= self.transmit(side, 256 * 1024);
                progress |= self.deliver(1 - side, usize::MAX);
            }
            if !progress {
                return;
            }
        }
        panic!("never quiet");
    }

    fn check(&mut self) {
        for side in [0, 1] {
            let end = &mut self.ends[side];
            end.check();
            // A truthful deadline: nothing waits before it. Asking changes nothing then.
            if end.connection.poll_timeout().is_none_or(|at| at > end.now) {
                assert!(
                    !self.drain(side),
                    "had something to say before its deadline"
                );
            }
        }
    }

    /// Applications read what there is; then everything ends.
    fn wind_up(&mut self) {
        for _ in 0..30 {
            self.settle();
            let mut progress = false;
            for side in [0, 1] {
                for id in self.streams.live(side) {
                    for _ in 0..1000 {
                        if !self.act(side, id, Act::Read, 1 << 16) {
                            break;
                        }
                        progress = true;
                    }
                }
                self.check();
            }
            if !progress {
                break;
            }
        }
        self.close(0);
        self.settle();
        self.close(1);
        for _ in 0..20 {
            self.settle();
            self.pass(Duration::from_secs(2));
        }
        self.settle();
        for side in [0, 1] {
            for id in self.streams.live(side) {
                self.act(side, id, Act::Release, 0);
            }
            self.ends[side].is_over();
        }
    }
}

/// What an application does with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Write,
    WriteBytes,
    Read,
    ReadInto,
    Finish,
    Stop,
    Reset,
    Release,
    Priority,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the seeds are named for does happen.
    #[test]
    fn seeds_reach_what_they_are_meant_to() {
        let exchange = run(
            include_bytes!("../../corpus/connections/exchange"),
            usize::MAX,
        );
        assert_eq!(exchange.established, [true; 2], "{exchange:?}");
        assert_eq!(exchange.delivered, 100 + 192 * 1024);
        let refused = run(
            include_bytes!("../../corpus/connections/refused"),
            usize::MAX,
        );
        assert_eq!(refused.established, [true, false]);
        let tight = run(
            include_bytes!("../../corpus/connections/over-lease"),
            usize::MAX,
        );
        assert!(!tight.ample && tight.beyond_lease > 0, "{tight:?}");
        for seed in [
            &include_bytes!("../../corpus/connections/lost")[..],
            include_bytes!("../../corpus/connections/meddler"),
        ] {
            assert_eq!(run(seed, usize::MAX).established, [true; 2]);
        }
    }
}
