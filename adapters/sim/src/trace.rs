//! What happened, as a hash for comparing runs and as lines for people.

use core::fmt::{self, Write};
use drywire::time::Instant;
use sha2::{Digest, Sha256};
use std::collections::VecDeque;

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

/// Gathers the hash and the last lines.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: Sha256,
    block: Vec<u8>,
    lines: VecDeque<(Instant, String)>,
    /// How many lines to keep.
    keep: usize,
}

impl Trace {
    pub(crate) fn new(keep: usize) -> Self {
        Self {
            hash: Sha256::new(),
            block: Vec::with_capacity(2 * BLOCK),
            lines: VecDeque::new(),
            keep,
        }
    }

    pub(crate) fn keep(&mut self, lines: usize) {
        self.keep = lines;
        self.lines.truncate(lines);
    }

    /// Adds to the hash: at this time, this host, this kind of thing, these bytes.
    pub(crate) fn hash(&mut self, now: Instant, host: u32, kind: u8, bytes: &[u8]) {
        self.head(now, host, kind, bytes.len() as u64);
        self.block.extend_from_slice(bytes);
        self.flush();
    }

    /// The same for what has no bytes but a debug form.
    pub(crate) fn hash_debug(
        &mut self,
        now: Instant,
        host: u32,
        kind: u8,
        value: &impl fmt::Debug,
    ) {
        self.head(now, host, kind, u64::MAX);
        // Writing to memory does not fail.
        let _ = write!(Text(&mut self.block), "{value:?}");
        self.flush();
    }

    fn head(&mut self, now: Instant, host: u32, kind: u8, length: u64) {
        self.block.extend_from_slice(&now.as_nanos().to_le_bytes());
        self.block.extend_from_slice(&host.to_le_bytes());
        self.block.push(kind);
        self.block.extend_from_slice(&length.to_le_bytes());
    }

    fn flush(&mut self) {
        if self.block.len() >= BLOCK {
            self.hash.update(&self.block);
            self.block.clear();
        }
    }

    /// The hash so far.
    pub(crate) fn value(&self) -> TraceHash {
        let mut hash = self.hash.clone();
        hash.update(&self.block);
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

struct Text<'a>(&'a mut Vec<u8>);

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}
