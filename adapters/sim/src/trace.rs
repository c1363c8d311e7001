//! What happened, as a hash for comparing runs and as lines for people.

use core::fmt;
use drywire::{
    recording::{Machine, Recorder, SharedRecorder},
    time::Instant,
};
use sha2::{Digest, Sha256};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
};

/// Bytes gathered before they are hashed.
const BLOCK: usize = 16 * 1024;

/// A rolling hash over everything hosts are given and give. Equal runs have equal hashes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceHash([u8; 32]);

impl TraceHash {
    /// The bytes of the SHA-256.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for TraceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TraceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceHash({self})")
    }
}

/// The hash as it grows. Machines write to it themselves, as their recorder.
#[derive(Debug, Default)]
struct Tape {
    hash: Sha256,
    block: Vec<u8>,
}

impl Tape {
    fn add(&mut self, host: u32, kind: u8, number: u64, bytes: &[u8]) {
        let [a, b, c, d] = host.to_le_bytes();
        self.block.extend_from_slice(&[a, b, c, d, kind]);
        let numbers = u128::from(number) | u128::from(bytes.len() as u64) << 64;
        self.block.extend_from_slice(&numbers.to_le_bytes());
        self.block.extend_from_slice(bytes);
        if self.block.len() >= BLOCK {
            self.hash.update(&self.block);
            self.block.clear();
        }
    }
}

/// Writes the entries of a host's machines to the hash, and passes them on.
struct HostTape {
    host: u32,
    tape: Arc<Mutex<Tape>>,
    next: Option<SharedRecorder>,
}

impl Recorder for HostTape {
    fn record(&self, machine: Machine, entry: &[u8]) {
        let (kind, number) = match machine {
            Machine::Swarm => (kind::SWARM, 0),
            Machine::Connection(id) => (kind::CONNECTION, id.number()),
        };
        lock(&self.tape).add(self.host, kind, number, entry);
        if let Some(next) = &self.next {
            next.record(machine, entry);
        }
    }
}

/// What the hash tells apart.
pub(crate) mod kind {
    pub(super) const SWARM: u8 = 0;
    pub(super) const CONNECTION: u8 = 1;
    pub(crate) const READ: u8 = 2;
    pub(crate) const WRITE: u8 = 3;
    pub(crate) const LOST: u8 = 4;
    pub(crate) const WAKE: u8 = 5;
    pub(crate) const TASK: u8 = 6;
}

/// Gathers the hash and the last lines.
#[derive(Debug)]
pub(crate) struct Trace {
    tape: Arc<Mutex<Tape>>,
    lines: VecDeque<(Instant, String)>,
    /// How many lines to keep.
    keep: usize,
}

impl Trace {
    pub(crate) fn new(keep: usize) -> Self {
        Self {
            tape: Arc::default(),
            lines: VecDeque::new(),
            keep,
        }
    }

    pub(crate) fn keep(&mut self, lines: usize) {
        self.keep = lines;
        let surplus = self.lines.len().saturating_sub(lines);
        self.lines.drain(..surplus);
    }

    /// Adds to the hash: at this time, this host, this kind of thing, these bytes.
    pub(crate) fn hash(&self, now: Instant, host: u32, kind: u8, bytes: &[u8]) {
        lock(&self.tape).add(host, kind, now.as_nanos(), bytes);
    }

    /// The recorder of a host's machines: all they are given and give goes into the hash, and to `next`.
    pub(crate) fn recorder(&self, host: u32, next: Option<SharedRecorder>) -> SharedRecorder {
        let tape = self.tape.clone();
        SharedRecorder::new(HostTape { host, tape, next })
    }

    /// The hash so far.
    pub(crate) fn value(&self) -> TraceHash {
        let tape = lock(&self.tape);
        let mut hash = tape.hash.clone();
        hash.update(&tape.block);
        TraceHash(hash.finalize().into())
    }

    /// Notes a line, if lines are kept.
    pub(crate) fn note(&mut self, now: Instant, line: impl FnOnce() -> String) {
        if self.keep == 0 {
            return;
        }
        if self.lines.len() >= self.keep {
            self.lines.pop_front();
        }
        self.lines.push_back((now, line()));
    }

    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        self.lines.iter().map(|(at, line)| format!("{at:?} {line}"))
    }
}

/// A panic elsewhere leaves the hash as good as it was.
fn lock(tape: &Mutex<Tape>) -> MutexGuard<'_, Tape> {
    tape.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
