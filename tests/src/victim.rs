//! One connection with a careful host, for others to ill-treat.

use crate::{
    heap::Meter,
    pair::{Setup, Side},
};
use drywire::{connection::Event, time::Instant};
use std::time::Duration;

/// Something that takes bytes from a pipe and gives bytes to it.
pub trait Target {
    /// Gives it bytes. What it will not take now waits in front of it, as in a socket's buffer.
    fn input(&mut self, bytes: &[u8]);

    /// What it has sent since the last time.
    fn sent(&mut self) -> Vec<u8>;
}

/// A connection, with a host that drains every poll and admits the peer. Its application does nothing by itself.
#[derive(Debug)]
pub struct Victim {
    /// The connection, and everything it told.
    pub side: Side,
    /// Virtual time.
    pub now: Instant,
    /// What the connection does to the heap.
    pub meter: Meter,
    /// Whether the peer takes what is sent; if not, the host cannot write.
    pub peer_reads: bool,
    /// Bytes the connection has taken.
    pub taken: usize,
    /// The connection wanted the pipe's write side shut.
    pub shutdown: bool,
    waiting: Vec<u8>,
    sent: Vec<u8>,
    out: Vec<u8>,
}

impl Victim {
    /// A victim that has nothing done yet: 0 dials, 1 listens.
    pub fn new(setup: &Setup, index: u64) -> Self {
        let mut meter = Meter::default();
        // What the connections of a node share is not theirs.
        let (start, shared) = setup.start(index);
        let connection = meter.run(|| start.start(Instant::ZERO));
        let side = setup.side_of(connection, shared);
        let mut victim = Self {
            side,
            now: Instant::ZERO,
            meter,
            peer_reads: true,
            taken: 0,
            shutdown: false,
            waiting: Vec::new(),
            sent: Vec::new(),
            out: Vec::with_capacity(1 << 20),
        };
        victim.turn();
        victim
    }

    /// Bytes given to it that it has not taken.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether it would take bytes now.
    pub fn is_reading(&mut self) -> bool {
        self.side.connection.recv_buf().is_some()
    }

    /// Everything a host does when it is woken.
    pub fn turn(&mut self) {
        while !self.waiting.is_empty() {
            let (connection, now) = (&mut self.side.connection, self.now);
            let waiting = &self.waiting;
            let count = self.meter.run(|| connection.handle_input(now, waiting));
            if count == 0 {
                break;
            }
            self.taken += count;
            self.waiting.drain(..count);
            self.drain();
        }
        self.drain();
        while self.peer_reads && self.side.connection.wants_transmit() {
            self.out.clear();
            let (connection, out, now) = (&mut self.side.connection, &mut self.out, self.now);
            let transmit = self
                .meter
                .run(|| connection.poll_transmit(now, out, 256 * 1024));
            self.sent.extend_from_slice(&self.out);
            self.shutdown |= transmit.shutdown;
            self.drain();
            if self.out.is_empty() {
                break;
            }
        }
    }

    fn drain(&mut self) {
        let (side, now) = (&mut self.side, self.now);
        // The list of events is the harness's.
        side.events.reserve(64);
        self.meter.run(|| side.drain(now));
    }

    /// Lets time pass, with a turn at every deadline.
    ///
    /// # Panics
    ///
    /// If a deadline stays although it was met.
    pub fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        let mut turns = 0;
        while let Some(at) = self.side.connection.poll_timeout().filter(|at| *at <= end) {
            turns = if at > self.now { 0 } else { turns + 1 };
            assert!(turns < 100, "law 4: a deadline that stays");
            self.now = self.now.max(at);
            let (connection, now) = (&mut self.side.connection, self.now);
            self.meter.run(|| connection.handle_timeout(now));
            self.turn();
        }
        self.now = end;
    }

    /// Events told so far for which `matches` holds.
    pub fn count(&self, matches: impl Fn(&Event) -> bool) -> usize {
        self.side
            .events
            .iter()
            .filter(|(_, event)| matches(event))
            .count()
    }
}

impl Target for Victim {
    fn input(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
        self.turn();
    }

    fn sent(&mut self) -> Vec<u8> {
        self.turn();
        std::mem::take(&mut self.sent)
    }
}
