//! Two connections against a model of what they promise: byte queues, ends and errors.
//!
//! [`run`] carries out a list of operations on both ends of a [`Pair`] and compares everything the connections tell and
//! deliver with the model; then it reads and finishes what is left, closes both ends, and looks whether anything remains.
//! It panics at the first difference. The same lists serve property tests and the fuzzer.

mod ending;
mod expect;

use crate::pair::{Pair, Secure, Setup, Told};
use bytes::Bytes;
use drywire::{
    connection::{
        Config, ConnectionError, Event, OpenError, OpenOptions, ReadError, StreamId, StreamKind,
        WriteError,
    },
    multistream::ProtocolName,
    recording::SharedRecorder,
    resource::Lease,
    time::Instant,
};
use std::{collections::BTreeMap, sync::LazyLock, time::Duration};

/// Streams of one run; opens beyond are skipped.
const MAX_OPENS: usize = 40;
/// Nothing a stream carries is longer.
const MAX_LEN: usize = 64 * 1024;

static NAMES: LazyLock<Vec<(&'static str, StreamKind)>> = LazyLock::new(|| {
    let max_len = u32::try_from(MAX_LEN).expect("short");
    (0..MAX_OPENS)
        .flat_map(|n| {
            [
                ("r", StreamKind::Raw),
                ("f", StreamKind::Framed { max_len }),
                ("t", StreamKind::ToEnd { max_len }),
            ]
            .map(|(letter, kind)| (&*format!("/{letter}/{n}").leak(), kind))
        })
        .collect()
});

/// What an opener offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// The right name.
    One,
    /// A name the peer does not know, then the right one.
    Second,
    /// Only a name the peer does not know.
    Unknown,
}

/// Something an application, a host or the network does. Streams are counted from the oldest that is still there; numbers
/// beyond wrap around.
#[derive(Clone, Debug)]
pub enum Op {
    /// Opens a stream of the kind: 0 raw, 1 framed, 2 to the end.
    Open(usize, u8, Offer),
    /// Writes bytes, or one message. By copy or shared.
    Write(usize, usize, usize, bool),
    /// Reads a chunk of at most so many bytes, or a message.
    Read(usize, usize, usize),
    /// Reads into a buffer (raw streams only).
    ReadInto(usize, usize, usize),
    /// Half-closes.
    Finish(usize, usize),
    /// Stops reading.
    Stop(usize, usize),
    /// Aborts.
    Reset(usize, usize, u32),
    /// Lets go.
    Release(usize, usize),
    /// Sets the priority.
    Priority(usize, usize, u8),
    /// Time passes: milliseconds.
    Wait(u16),
    /// One turn of both hosts.
    Turn,
    /// From now on, what arrives comes in pieces of these sizes; empty: all at once.
    Pieces(Vec<usize>),
    /// From now on, each transmission is about that long.
    Limit(usize),
    /// Holds back what a side sends, or lets it go.
    Stall(usize, bool),
    /// Spurious calls of everything that may be called at any time.
    Nosy,
    /// A side closes its end.
    Close(usize),
}

/// The limits of both connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limits {
    /// The defaults, and memory for everything.
    Ample,
    /// Few streams, short queues, and memory for everything.
    Few,
    /// Hardly any memory.
    Tight,
}

/// How a list of operations is run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Security.
    pub secure: Secure,
    /// Everything random follows from it.
    pub seed: u64,
    /// The limits.
    pub limits: Limits,
    /// Takes the place of every [`Op::Pieces`].
    pub pieces: Option<Vec<usize>>,
    /// Whether [`Op::Nosy`] is done after every operation.
    pub nosy: bool,
    /// See [`Pair::told`].
    pub told: Told,
    /// See [`Setup::recorder`].
    pub recorder: Option<SharedRecorder>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            secure: Secure::Plaintext,
            seed: 1,
            limits: Limits::Ample,
            pieces: None,
            nosy: false,
            told: Told::Plainly,
            recorder: None,
        }
    }
}

/// Everything that is to be the same when a run is repeated.
#[derive(Debug, PartialEq)]
pub struct Trace {
    /// What each side sent.
    pub wire: [Vec<u8>; 2],
    /// What each side told, and when.
    pub events: [Vec<(Instant, Event)>; 2],
    /// What operations gave back, as text.
    pub results: Vec<String>,
}

/// One end of a stream.
#[derive(Debug, Default)]
struct End {
    id: Option<StreamId>,
    /// Lengths of what was written: bytes for raw, else messages (for `ToEnd` their sum is one).
    messages: Vec<usize>,
    written: usize,
    finished: bool,
    /// Bytes, and messages, received.
    received: usize,
    messages_received: usize,
    saw_end: bool,
    stopped: bool,
    /// Neither the application nor the connection knows it any more.
    gone: bool,
    /// The application reset it or let it go unfinished, or has seen it fail.
    aborted: bool,
    /// The application let it go finished, at this time.
    released_at: Option<Instant>,
    /// `Failed`, `Finished` or `Reset` was told.
    terminal: bool,
    opened: bool,
    /// How often a call was blocked and not yet told of. An event may be on its way while another call is blocked, so that
    /// it looks late; but there is never one more of them.
    read_blocked: u32,
    write_blocked: u32,
    /// The last call was blocked, and nothing was told since.
    waits_to_read: bool,
    waits_to_write: bool,
    started_at: Instant,
}

/// One stream.
#[derive(Debug)]
struct Logical {
    kind: u8,
    offer: Offer,
    opener: usize,
    ends: [End; 2],
}

impl Logical {
    /// The byte at `at` of what side `side` writes.
    fn byte(number: usize, side: usize, at: usize) -> u8 {
        let mixed =
            (number * 2 + side + 1).wrapping_mul(0x9e37_79b9) ^ at.wrapping_mul(0x85eb_ca6b);
        (mixed >> 7) as u8
    }

    fn bytes(number: usize, side: usize, at: usize, len: usize) -> Vec<u8> {
        (at..at + len)
            .map(|at| Self::byte(number, side, at))
            .collect()
    }
}

struct Model {
    pair: Pair,
    limits: Limits,
    streams: Vec<Logical>,
    by_id: [BTreeMap<StreamId, usize>; 2],
    events_seen: [usize; 2],
    established: [bool; 2],
    closed: [bool; 2],
    results: Vec<String>,
    config: Config,
}

/// Carries out `ops` and compares; see the [module](self).
///
/// # Panics
///
/// If the connections do not keep what they promise.
pub fn run(plan: &Plan, ops: &[Op]) -> Trace {
    let mut config = Config::default();
    let mut lease = Lease::new(64 << 20, 256);
    match plan.limits {
        Limits::Ample => {}
        Limits::Few => {
            config.max_streams = 6;
            config.max_negotiating_streams = 3;
            config.stream_send_queue = 3000;
            config.connection_send_queue = 8000;
        }
        Limits::Tight => {
            lease = Lease::new(16 * 1024, 256);
            config.max_receive_buffer = 8 * 1024;
        }
    }
    let setup = Setup {
        secure: plan.secure,
        seed: plan.seed,
        names: NAMES.clone(),
        pieces: plan.pieces.clone().unwrap_or_default(),
        config: config.clone(),
        lease,
        recorder: plan.recorder.clone(),
        ..Setup::default()
    };
    let mut pair = setup.established();
    pair.told = plan.told;
    for side in &mut pair.sides {
        side.connection.set_keep_alive(true);
    }
    let mut model = Model {
        pair,
        limits: plan.limits,
        streams: Vec::new(),
        by_id: Default::default(),
        events_seen: [0; 2],
        established: [false; 2],
        closed: [false; 2],
        results: Vec::new(),
        config,
    };
    for op in ops {
        match op {
            Op::Pieces(_) if plan.pieces.is_some() => {}
            op => model.operation(op),
        }
        if plan.nosy {
            model.nosy();
        }
        model.observe();
    }
    model.finish_everything();
    model.close();
    let Model { pair, results, .. } = model;
    let [dialer, listener] = pair.sides;
    Trace {
        wire: [dialer.wire, listener.wire],
        events: [dialer.events, listener.events],
        results,
    }
}

impl Model {
    fn now(&self) -> Instant {
        self.pair.now
    }

    /// The `index`th stream, wrapping around, that `side` still has.
    fn pick(&mut self, side: usize, index: usize) -> Option<usize> {
        self.note_gone(side);
        let live: Vec<usize> = (0..self.streams.len())
            .filter(|n| {
                let end = &self.streams[*n].ends[side];
                end.id.is_some() && !end.gone
            })
            .collect();
        live.get(index % live.len().max(1)).copied()
    }

    /// Streams may finish within any call; the event follows.
    fn note_gone(&mut self, side: usize) {
        for stream in &mut self.streams {
            let end = &mut stream.ends[side];
            if let Some(id) = end.id {
                let gone = self.pair.sides[side].connection.stream(id).is_none();
                assert!(
                    gone || !end.gone || end.released_at.is_some(),
                    "let go, and still there"
                );
                end.gone |= gone;
            }
        }
    }

    fn operation(&mut self, op: &Op) {
        match op.clone() {
            Op::Open(side, kind, offer) => self.open(side & 1, kind % 3, offer),
            Op::Write(side, index, len, shared) => {
                if let Some(n) = self.pick(side & 1, index) {
                    self.write(side & 1, n, len, shared);
                }
            }
            Op::Read(side, index, max) => {
                if let Some(n) = self.pick(side & 1, index) {
                    self.read(side & 1, n, max);
                }
            }
            Op::ReadInto(side, index, max) => {
                if let Some(n) = self.pick(side & 1, index) {
                    self.read_into(side & 1, n, max);
                }
            }
            Op::Finish(side, index) => {
                if let Some(n) = self.pick(side & 1, index) {
                    self.finish(side & 1, n);
                }
            }
            Op::Stop(side, index) => {
                if let Some(n) = self.pick(side & 1, index) {
                    self.stop(side & 1, n);
                }
            }
            Op::Reset(side, index, code) => {
                if let Some(n) = self.pick(side & 1, index) {
                    self.reset(side & 1, n, code);
                }
            }
            Op::Release(side, index) => {
                if let Some(n) = self.pick(side & 1, index) {
                    self.release(side & 1, n);
                }
            }
            Op::Priority(side, index, priority) => {
                if let Some(n) = self.pick(side & 1, index) {
                    let id = self.streams[n].ends[side & 1].id.expect("picked");
                    let connection = &mut self.pair.sides[side & 1].connection;
                    connection.stream(id).expect("known").set_priority(priority);
                }
            }
            Op::Wait(ms) => self.pair.settle_for(Duration::from_millis(u64::from(ms))),
            Op::Turn => {
                self.pair.turn_once();
            }
            Op::Pieces(pieces) => self.pair.pieces = pieces,
            Op::Limit(limit) => self.pair.limit = limit.max(1),
            Op::Stall(side, stalled) => self.pair.stall(side & 1, stalled),
            Op::Nosy => self.nosy(),
            Op::Close(side) => {
                let now = self.now();
                self.pair.sides[side & 1]
                    .connection
                    .close(now, ConnectionError::Closed);
            }
        }
    }

    /// Calls that are legal at any time and change nothing.
    fn nosy(&mut self) {
        for side in &mut self.pair.sides {
            let connection = &mut side.connection;
            connection.handle_timeout(Instant::ZERO);
            connection.handle_recv(Instant::ZERO);
            assert_eq!(connection.handle_input(Instant::ZERO, &[]), 0);
            if !connection.wants_transmit() {
                let mut out = Vec::new();
                let transmit = connection.poll_transmit(Instant::ZERO, &mut out, 1 << 20);
                assert!(out.is_empty() && !transmit.shutdown);
            }
            let _ = connection.poll_timeout();
        }
    }

    fn open(&mut self, side: usize, kind: u8, offer: Offer) {
        let n = self.streams.len();
        if n >= MAX_OPENS {
            return;
        }
        // Messages that have to be gathered whole need the memory for it.
        let kind = if self.limits == Limits::Tight {
            0
        } else {
            kind
        };
        let (name, stream_kind) = NAMES[n * 3 + usize::from(kind)];
        let right = ProtocolName::from_static(name);
        let wrong = ProtocolName::from_static("/unknown");
        let names = match offer {
            Offer::One => vec![right],
            Offer::Second => vec![wrong, right],
            Offer::Unknown => vec![wrong],
        };
        let now = self.now();
        let connection = &mut self.pair.sides[side].connection;
        let open = connection.is_open();
        match connection.open(now, &names, stream_kind, OpenOptions::default()) {
            Ok(id) => {
                assert!(open);
                let mut stream = Logical {
                    kind,
                    offer,
                    opener: side,
                    ends: Default::default(),
                };
                let end = &mut stream.ends[side];
                end.id = Some(id);
                end.started_at = now;
                // Before the first read nothing was refused, and yet the first data is told.
                end.read_blocked += 1;
                end.waits_to_read = true;
                assert!(self.by_id[side].insert(id, n).is_none(), "ids are new");
                self.streams.push(stream);
            }
            Err(OpenError::NotConnected) => assert!(!open),
            Err(OpenError::GoingAway) => {}
            Err(OpenError::TooManyStreams) => {
                let there = self
                    .streams
                    .iter()
                    .filter(|stream| stream.opener == side)
                    .count();
                let limit = usize::try_from(self.config.max_streams).expect("small");
                assert!(open && there >= limit);
            }
            Err(error) => panic!("{error:?}"),
        }
    }

    fn write(&mut self, side: usize, n: usize, len: usize, shared: bool) {
        let stream = &mut self.streams[n];
        let kind = stream.kind;
        let may_write_early = stream.offer != Offer::Second;
        let end = &mut stream.ends[side];
        let id = end.id.expect("picked");
        let len = len.min(MAX_LEN);
        if kind == 2 && end.written + len > MAX_LEN {
            return;
        }
        let data = Logical::bytes(n, side, end.written, len);
        let mut view = self.pair.sides[side].connection.stream(id).expect("known");
        let result = if shared {
            let mut bytes = Bytes::from(data);
            let result = view.write_bytes(&mut bytes);
            if let Ok(count) = result {
                assert_eq!(bytes.len(), len - count);
            }
            result
        } else {
            view.write(&data)
        };
        self.results.push(format!("write {result:?}"));
        match result {
            Ok(count) => {
                assert!(!end.finished && !end.aborted);
                assert!(count == len || (kind == 0 && count < len));
                end.written += count;
                if kind == 1 {
                    end.messages.push(count);
                }
                let early = side == stream.opener && !end.opened && !may_write_early;
                assert!(!early, "nobody knows the protocol yet");
            }
            Err(WriteError::Blocked) => {
                end.write_blocked += 1;
                end.waits_to_write = true;
            }
            Err(WriteError::Finished) => assert!(end.finished),
            Err(WriteError::Stream(error)) => self.justified(side, n, &error),
            Err(error) => panic!("{error:?}"),
        }
    }

    fn read(&mut self, side: usize, n: usize, max: usize) -> bool {
        let id = self.streams[n].ends[side].id.expect("picked");
        let connection = &mut self.pair.sides[side].connection;
        let result = connection.stream(id).expect("known").read(max);
        let gone = connection.stream(id).is_none();
        self.results.push(format!("read {result:?}"));
        let more = match result {
            Ok(Some(bytes)) => {
                assert!(self.streams[n].kind != 0 || bytes.len() <= max.max(1));
                self.check_received(side, n, &bytes);
                true
            }
            Ok(None) => {
                self.end_seen(side, n);
                false
            }
            Err(ReadError::Blocked) => {
                let end = &mut self.streams[n].ends[side];
                end.read_blocked += 1;
                end.waits_to_read = true;
                false
            }
            Err(ReadError::Stream(error)) => {
                self.justified(side, n, &error);
                false
            }
            Err(error) => panic!("{error:?}"),
        };
        self.streams[n].ends[side].gone |= gone;
        more
    }

    fn read_into(&mut self, side: usize, n: usize, max: usize) {
        if self.streams[n].kind != 0 {
            return;
        }
        let id = self.streams[n].ends[side].id.expect("picked");
        let mut buffer = vec![0; max.min(MAX_LEN)];
        let connection = &mut self.pair.sides[side].connection;
        let result = connection.stream(id).expect("known").read_into(&mut buffer);
        let gone = connection.stream(id).is_none();
        self.results.push(format!("read into {result:?}"));
        match result {
            Ok(0) if buffer.is_empty() => {}
            Ok(0) => self.end_seen(side, n),
            Ok(count) => self.check_received(side, n, &buffer[..count]),
            Err(ReadError::Blocked) => {
                let end = &mut self.streams[n].ends[side];
                end.read_blocked += 1;
                end.waits_to_read = true;
            }
            Err(ReadError::Stream(error)) => self.justified(side, n, &error),
            Err(error) => panic!("{error:?}"),
        }
        self.streams[n].ends[side].gone |= gone;
    }

    fn finish(&mut self, side: usize, n: usize) {
        let id = self.streams[n].ends[side].id.expect("picked");
        let connection = &mut self.pair.sides[side].connection;
        let result = connection.stream(id).expect("known").finish();
        match result {
            Ok(()) => self.streams[n].ends[side].finished = true,
            Err(WriteError::Stream(error)) => self.justified(side, n, &error),
            Err(error) => panic!("{error:?}"),
        }
    }

    fn stop(&mut self, side: usize, n: usize) {
        let end = &mut self.streams[n].ends[side];
        let connection = &mut self.pair.sides[side].connection;
        let id = end.id.expect("picked");
        connection.stream(id).expect("known").stop();
        end.stopped = true;
        end.gone |= connection.stream(id).is_none();
    }

    fn reset(&mut self, side: usize, n: usize, code: u32) {
        let end = &mut self.streams[n].ends[side];
        let connection = &mut self.pair.sides[side].connection;
        let id = end.id.expect("picked");
        connection.stream(id).expect("known").reset(code);
        assert!(connection.stream(id).is_none());
        (end.gone, end.aborted) = (true, true);
    }

    fn release(&mut self, side: usize, n: usize) {
        let now = self.now();
        let end = &mut self.streams[n].ends[side];
        let connection = &mut self.pair.sides[side].connection;
        connection
            .stream(end.id.expect("picked"))
            .expect("known")
            .release();
        end.gone = true;
        if end.finished && !end.aborted {
            end.released_at = Some(now);
        } else {
            end.aborted = true;
        }
    }
}
