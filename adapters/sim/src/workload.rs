//! Something to do for hosts: echoes, checked byte by byte.

use crate::{
    statistics::Latencies,
    world::{Application, HostContext},
};
use bytes::Bytes;
use core::time::Duration;
use drywire::{
    connection::{
        Accept, ConnectionId, Event, OpenOptions, ReadError, Stream, StreamId, StreamKind,
        WriteError,
    },
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    node::NodeEvent,
    swarm::{DialCondition, DialOptions, Protocol},
    time::{Instant, earliest},
};
use std::collections::{BTreeMap, VecDeque};

/// What [`Echo`] speaks: whatever is written comes back, until the writer finishes.
pub const ECHO: ProtocolName = ProtocolName::from_static("/echo/1.0.0");

/// What a server holds of one stream before it reads on.
const HELD: usize = 64 * 1024;

/// How an [`Echo`] application behaves.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EchoConfig {
    /// Time between calls, each on a stream of its own over any connection. `None`: only serves.
    pub every: Option<Duration>,
    /// The lengths of calls, in bytes, from which each is drawn.
    pub lengths: Vec<usize>,
    /// A call that takes longer has failed; its stream is reset.
    pub timeout: Duration,
    /// Connections to keep: others are dialed while there are fewer.
    pub connections: usize,
    /// The addresses to dial, with or without peer ids.
    pub targets: Vec<Multiaddr>,
    /// Reads at most so many bytes of each stream every 100 ms. `None`: everything at once.
    pub slow_reader: Option<usize>,
    /// Keeps the connections it has open although they may be idle.
    pub keep_alive: bool,
}

impl Default for EchoConfig {
    fn default() -> Self {
        Self {
            every: None,
            lengths: vec![100],
            timeout: Duration::from_secs(30),
            connections: 0,
            targets: Vec::new(),
            slow_reader: None,
            keep_alive: false,
        }
    }
}

/// How the calls of one host, or of several, went.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct EchoResults {
    /// Calls begun.
    pub begun: u64,
    /// Calls whose every byte came back.
    pub succeeded: u64,
    /// Calls that failed: their stream could not be had, was reset, or took too long.
    pub failed: u64,
    /// Bytes that came back.
    pub bytes: u64,
    /// How long the successful ones took.
    pub latencies: Latencies,
    /// When the last one succeeded, by the host's clock.
    pub last_success: Option<Instant>,
}

impl EchoResults {
    /// Adds those of another host.
    pub fn merge(&mut self, other: &Self) {
        self.begun += other.begun;
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.bytes += other.bytes;
        self.latencies.merge(&other.latencies);
        self.last_success = self.last_success.max(other.last_success);
    }
}

#[derive(Debug)]
struct Call {
    nonce: u64,
    length: usize,
    written: usize,
    returned: usize,
    since: Instant,
    finished: bool,
}

#[derive(Debug, Default)]
struct Served {
    /// Read, and not yet written back.
    held: VecDeque<Bytes>,
    held_bytes: usize,
    read: usize,
    nonce: [u8; 8],
    ended: bool,
    finished: bool,
}

/// Calls other hosts and serves their calls: each byte of a call follows from its first eight, so that both sides notice
/// any byte that is changed, lost, moved, or comes after the end.
///
/// It runs over any set of protocols.
#[derive(Debug)]
pub struct Echo {
    config: EchoConfig,
    results: EchoResults,
    calls: BTreeMap<(ConnectionId, StreamId), Call>,
    served: BTreeMap<(ConnectionId, StreamId), Served>,
    next_call: Option<Instant>,
    next_read: Option<Instant>,
    next_dial: Option<Instant>,
    /// When calls time out, the earliest first: all have the same timeout.
    timeouts: VecDeque<(Instant, (ConnectionId, StreamId))>,
}

/// Eight bytes of a call: the nonce first, then a different sequence for each nonce, of no short period.
fn word_at(nonce: [u8; 8], index: usize) -> [u8; 8] {
    if index == 0 {
        return nonce;
    }
    let step = (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let word = u64::from_le_bytes(nonce).wrapping_add(step);
    let mixed = (word ^ (word >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed.to_le_bytes()
}

/// The bytes of a call from a position on.
fn bytes_from(nonce: [u8; 8], from: usize, count: usize) -> Vec<u8> {
    let (first, skip) = (from / 8, from % 8);
    let words = (skip + count).div_ceil(8);
    let mut bytes = Vec::with_capacity(words * 8);
    for index in first..first + words {
        bytes.extend_from_slice(&word_at(nonce, index));
    }
    bytes.drain(..skip);
    bytes.truncate(count);
    bytes
}

fn matches(nonce: [u8; 8], from: usize, bytes: &[u8]) -> bool {
    bytes_from(nonce, from, bytes.len()) == bytes
}

impl Echo {
    /// An application that behaves like this.
    #[must_use]
    pub fn new(config: EchoConfig) -> Self {
        Self {
            config,
            results: EchoResults::default(),
            calls: BTreeMap::new(),
            served: BTreeMap::new(),
            next_call: None,
            next_read: None,
            next_dial: None,
            timeouts: VecDeque::new(),
        }
    }

    /// One that only serves.
    #[must_use]
    pub fn server() -> Self {
        Self::new(EchoConfig::default())
    }

    /// How the calls went.
    #[must_use]
    pub const fn results(&self) -> &EchoResults {
        &self.results
    }

    /// How it behaves, to change it.
    pub const fn config(&mut self) -> &mut EchoConfig {
        &mut self.config
    }

    /// Calls under way.
    #[must_use]
    pub fn running(&self) -> usize {
        self.calls.len()
    }

    /// Calls over one connection, now. Returns whether it could.
    pub fn call<P: Protocol>(
        &mut self,
        host: &mut HostContext<'_, P>,
        connection: ConnectionId,
        length: usize,
    ) -> bool {
        self.results.begun += 1;
        let opened = host.node.open(
            host.now,
            connection,
            &[ECHO],
            StreamKind::Raw,
            OpenOptions::default(),
        );
        let Ok(stream) = opened else {
            self.results.failed += 1;
            return false;
        };
        let call = Call {
            nonce: host.chance.number(),
            length,
            written: 0,
            returned: 0,
            since: host.now,
            finished: false,
        };
        let key = (connection, stream);
        self.calls.insert(key, call);
        self.timeouts
            .push_back((host.now + self.config.timeout, key));
        self.tend_call(key, host);
        true
    }

    fn call_any<P: Protocol>(&mut self, host: &mut HostContext<'_, P>) {
        let length = host.chance.pick(&self.config.lengths).copied().unwrap_or(0);
        let swarm = host.node.swarm();
        let which = host.chance.index(swarm.connected().count());
        let connection = swarm
            .connected()
            .nth(which)
            .map(|(connection, _)| connection);
        if let Some(connection) = connection {
            self.call(host, connection, length);
        }
    }

    fn dial_any<P: Protocol>(&mut self, host: &mut HostContext<'_, P>) {
        if host.node.swarm().connected().count() >= self.config.connections {
            return;
        }
        if let Some(target) = host.chance.pick(&self.config.targets).cloned() {
            // A refusal is as good as a failure: another is tried in a moment.
            let options = DialOptions::address(target).condition(DialCondition::IfDisconnected);
            let _ = host.dial(options);
        }
    }

    fn tend<P: Protocol>(&mut self, key: (ConnectionId, StreamId), host: &mut HostContext<'_, P>) {
        if self.calls.contains_key(&key) {
            self.tend_call(key, host);
        } else if self.served.contains_key(&key) {
            self.serve(key, host);
        }
    }

    /// Writes and reads what there is of a call.
    fn tend_call<P: Protocol>(
        &mut self,
        key: (ConnectionId, StreamId),
        host: &mut HostContext<'_, P>,
    ) {
        let limit = self.config.slow_reader;
        let Some(call) = self.calls.get_mut(&key) else {
            return;
        };
        let Some(mut stream) = host.node.stream(key.0, key.1) else {
            return self.failed(key);
        };
        let nonce = call.nonce.to_le_bytes();
        write_call(call, &mut stream);
        let mut budget = limit.unwrap_or(usize::MAX);
        let over = loop {
            if budget == 0 {
                self.next_read
                    .get_or_insert(host.now + Duration::from_millis(100));
                return;
            }
            match stream.read(budget) {
                Ok(Some(bytes)) => {
                    budget = budget.saturating_sub(bytes.len());
                    if call.returned + bytes.len() > call.written
                        || !matches(nonce, call.returned, &bytes)
                    {
                        let message = format!(
                            "{} of stream {}: {} bytes after {} are not those written",
                            key.0,
                            key.1,
                            bytes.len(),
                            call.returned
                        );
                        host.violation("I11 bytes arrive as written", message);
                        return;
                    }
                    call.returned += bytes.len();
                    self.results.bytes += bytes.len() as u64;
                }
                Ok(None) => break call.returned == call.length && call.finished,
                Err(ReadError::Blocked) => return,
                Err(_) => break false,
            }
        };
        if over {
            let took = host.now - call.since;
            self.results.succeeded += 1;
            self.results.latencies.add(took);
            self.results.last_success = Some(host.now);
            self.calls.remove(&key);
        } else {
            if call.finished && call.returned < call.length && !is_aborted(&mut stream) {
                let message = format!(
                    "{} of stream {}: a clean end after {} of {} bytes",
                    key.0, key.1, call.returned, call.length
                );
                host.violation("I11 bytes arrive as written", message);
            }
            self.failed(key);
            if let Some(mut stream) = host.node.stream(key.0, key.1) {
                stream.reset(1);
                stream.release();
            }
        }
    }

    fn failed(&mut self, key: (ConnectionId, StreamId)) {
        if self.calls.remove(&key).is_some() {
            self.results.failed += 1;
        }
    }

    /// Reads what there is of a peer's call, and writes it back.
    fn serve<P: Protocol>(&mut self, key: (ConnectionId, StreamId), host: &mut HostContext<'_, P>) {
        let limit = self.config.slow_reader;
        let Some(served) = self.served.get_mut(&key) else {
            return;
        };
        let Some(mut stream) = host.node.stream(key.0, key.1) else {
            self.served.remove(&key);
            return;
        };
        let mut budget = limit.unwrap_or(usize::MAX);
        loop {
            write_back(served, &mut stream);
            if served.ended || served.held_bytes >= HELD {
                break;
            }
            if budget == 0 {
                self.next_read
                    .get_or_insert(host.now + Duration::from_millis(100));
                break;
            }
            match stream.read(budget.min(HELD)) {
                Ok(Some(bytes)) => {
                    budget = budget.saturating_sub(bytes.len());
                    for (byte, place) in bytes.iter().zip(served.nonce.iter_mut().skip(served.read))
                    {
                        *place = *byte;
                    }
                    if !matches(served.nonce, served.read, &bytes) {
                        let message = format!(
                            "{} of stream {}: {} bytes after {} are not those of the call",
                            key.0,
                            key.1,
                            bytes.len(),
                            served.read
                        );
                        host.violation("I11 bytes arrive as written", message);
                        return;
                    }
                    served.read += bytes.len();
                    served.held_bytes += bytes.len();
                    served.held.push_back(bytes);
                }
                Ok(None) => served.ended = true,
                Err(ReadError::Blocked) => break,
                Err(_) => {
                    stream.release();
                    self.served.remove(&key);
                    return;
                }
            }
        }
        if served.finished {
            self.served.remove(&key);
        }
    }
}

fn write_call(call: &mut Call, stream: &mut Stream<'_>) {
    while call.written < call.length {
        let piece = bytes_from(
            call.nonce.to_le_bytes(),
            call.written,
            (call.length - call.written).min(16 * 1024),
        );
        match stream.write(&piece) {
            Ok(count) => call.written += count,
            Err(_) => return,
        }
    }
    if !call.finished {
        call.finished = stream.finish().is_ok();
    }
}

fn write_back(served: &mut Served, stream: &mut Stream<'_>) {
    while let Some(mut front) = served.held.pop_front() {
        let before = front.len();
        let result = stream.write_bytes(&mut front);
        served.held_bytes -= before - front.len();
        if !front.is_empty() {
            served.held.push_front(front);
        }
        match result {
            Ok(_) => {}
            Err(WriteError::Blocked) => return,
            Err(_) => {
                // The peer wants no more: what is read from now on goes nowhere.
                served.held.clear();
                served.held_bytes = 0;
                served.finished = true;
                return;
            }
        }
    }
    if served.ended && !served.finished {
        served.finished = stream.finish().is_ok();
    }
}

/// Whether a stream that ended was aborted rather than finished.
fn is_aborted(stream: &mut Stream<'_>) -> bool {
    !matches!(stream.read(1), Ok(None))
}

impl<P: Protocol> Application<P> for Echo {
    fn start(&mut self, host: &mut HostContext<'_, P>) {
        // Nothing of before a crash is left.
        self.results.failed += self.calls.len() as u64;
        self.calls.clear();
        self.served.clear();
        self.timeouts.clear();
        let now = host.now;
        host.node.with(now, |_, cx| {
            // The only name this application has; whoever registered it before serves it.
            let _ = cx.accept(ECHO, Accept::new(StreamKind::Raw).host_owned());
        });
        let phase = |every: Option<Duration>, host: &mut HostContext<'_, P>| {
            every.map(|every| host.now + host.chance.time(every))
        };
        self.next_call = phase(self.config.every, host);
        let dials = self.config.connections > 0;
        self.next_dial = phase(dials.then_some(Duration::from_secs(1)), host);
        self.next_read = None;
    }

    fn handle(&mut self, event: NodeEvent<P::Event>, host: &mut HostContext<'_, P>) {
        let NodeEvent::Connection(connection, event) = event else {
            return;
        };
        match event {
            Event::Established { .. } if self.config.keep_alive => {
                host.node.set_keep_alive(host.now, connection, true);
            }
            Event::Opened { stream, protocol } => {
                if protocol != ECHO {
                    let message = format!("stream {stream} of {connection} became {protocol}");
                    host.violation("I15 both sides agree on one protocol", message);
                }
                self.tend((connection, stream), host);
            }
            Event::Inbound { stream, protocol } if protocol == ECHO => {
                self.served.insert((connection, stream), Served::default());
                self.serve((connection, stream), host);
            }
            Event::Readable { stream } | Event::Writable { stream } => {
                self.tend((connection, stream), host)
            }
            Event::Failed { stream, .. } | Event::Reset { stream, .. } => {
                let key = (connection, stream);
                // What had arrived is still to be read.
                self.tend(key, host);
                self.failed(key);
                self.served.remove(&key);
                if let Some(mut stream) = host.node.stream(connection, stream) {
                    stream.release();
                }
            }
            Event::Closed { .. } => {
                let of = |key: &(ConnectionId, StreamId)| key.0 == connection;
                let calls: Vec<_> = self.calls.keys().copied().filter(of).collect();
                for key in calls {
                    self.tend(key, host);
                    self.failed(key);
                }
                self.served.retain(|key, _| !of(key));
            }
            _ => {}
        }
    }

    fn handle_timeout(&mut self, host: &mut HostContext<'_, P>) {
        let now = host.now;
        while let Some((at, key)) = self.timeouts.front().copied()
            && at <= now
        {
            self.timeouts.pop_front();
            if self.calls.contains_key(&key) {
                self.failed(key);
                if let Some(mut stream) = host.node.stream(key.0, key.1) {
                    stream.reset(1);
                    stream.release();
                }
            }
        }
        if self.next_read.is_some_and(|at| at <= now) {
            self.next_read = None;
            let keys: Vec<_> = self
                .calls
                .keys()
                .chain(self.served.keys())
                .copied()
                .collect();
            for key in keys {
                self.tend(key, host);
            }
        }
        if self.next_call.is_some_and(|at| at <= now) {
            self.next_call = self.config.every.map(|every| now + every);
            if self.next_call.is_some() {
                self.call_any(host);
            }
        }
        if self.next_dial.is_some_and(|at| at <= now) {
            self.next_dial = (self.config.connections > 0).then(|| now + Duration::from_secs(1));
            self.dial_any(host);
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        // Of calls that are over by now nothing is due; their entries are skipped when others are.
        let timeout = self.timeouts.front().map(|(at, _)| *at);
        let own = earliest(self.next_read, timeout.filter(|_| !self.calls.is_empty()));
        earliest(earliest(self.next_call, self.next_dial), own)
    }
}
