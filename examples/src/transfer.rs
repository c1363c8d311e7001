//! What the programs and the tests carry: a stream that is sent there and back, with a checksum.
//!
//! Both ends are machines as the core's are: they are given the events of one connection, and read and write its streams
//! until those block. Bounded is what they hold: one chunk each.

use crate::socket::Machine;
use bytes::Bytes;
use drywire::{
    connection::{Event, ReadError, StreamId, WriteError},
    multistream::ProtocolName,
};
use std::collections::BTreeMap;

/// What is spoken: everything comes back.
pub const ECHO: ProtocolName = ProtocolName::from_static("/drywire/examples/echo/1.0.0");
/// What each program sends, and gets back.
pub const TOTAL: u64 = 64 * 1024 * 1024;

const CHUNK: usize = 32 * 1024;

/// FNV-1a of 64 bits: enough to notice bytes lost, doubled or out of place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checksum(u64);

impl Default for Checksum {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Checksum {
    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}

/// Bytes that repeat nowhere (xorshift64).
#[derive(Debug)]
struct Pattern(u64);

impl Pattern {
    fn next(&mut self, len: usize) -> Bytes {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            bytes.extend_from_slice(&self.0.to_le_bytes());
        }
        bytes.truncate(len);
        bytes.into()
    }
}

/// Sends back what each stream of [`ECHO`] brings.
#[derive(Debug, Default)]
pub struct Echo {
    /// What was read of each and has to be written before more is read.
    streams: BTreeMap<StreamId, Bytes>,
}

impl Echo {
    /// Takes an event of the connection.
    pub fn handle_event(&mut self, machine: &mut impl Machine, event: &Event) {
        match event {
            Event::Inbound { stream, .. } => {
                self.streams.insert(*stream, Bytes::new());
                self.advance(machine, *stream);
            }
            Event::Readable { stream } | Event::Writable { stream } => {
                self.advance(machine, *stream);
            }
            Event::Finished { stream } => drop(self.streams.remove(stream)),
            Event::Reset { stream, .. } => {
                if self.streams.remove(stream).is_some()
                    && let Some(mut stream) = machine.stream(*stream)
                {
                    stream.release();
                }
            }
            Event::Closed { .. } => self.streams.clear(),
            _ => {}
        }
    }

    /// Streams that have not ended.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Reads and writes until one of both blocks: then an event follows.
    fn advance(&mut self, machine: &mut impl Machine, id: StreamId) {
        let Some(pending) = self.streams.get_mut(&id) else {
            return;
        };
        let Some(mut stream) = machine.stream(id) else {
            return;
        };
        loop {
            while !pending.is_empty() {
                match stream.write_bytes(pending) {
                    Ok(_) => {}
                    Err(WriteError::Blocked) => return,
                    Err(_) => return stream.release(),
                }
            }
            match stream.read(CHUNK) {
                Ok(Some(bytes)) => *pending = bytes,
                // The last bytes are queued: half-close. `Finished` follows.
                Ok(None) => return drop(stream.finish()),
                Err(ReadError::Blocked) => return,
                // `Reset` follows, or has come.
                Err(_) => return,
            }
        }
    }
}

/// Sends `total` bytes on a stream of [`ECHO`], and compares what comes back.
#[derive(Debug)]
pub struct Upload {
    stream: StreamId,
    total: u64,
    sent: u64,
    received: u64,
    pattern: Pattern,
    /// Made and not yet written.
    pending: Bytes,
    checksum_sent: Checksum,
    checksum_received: Checksum,
    outcome: Option<Result<Checksum, String>>,
}

impl Upload {
    /// On this stream, which was just opened; its events do the rest.
    pub fn start(machine: &mut impl Machine, stream: StreamId, total: u64) -> Self {
        let mut upload = Self {
            stream,
            total,
            sent: 0,
            received: 0,
            pattern: Pattern(0x9e37_79b9_7f4a_7c15 ^ stream.number().rotate_left(17)),
            pending: Bytes::new(),
            checksum_sent: Checksum::default(),
            checksum_received: Checksum::default(),
            outcome: None,
        };
        upload.write(machine);
        upload
    }

    /// Its stream.
    #[must_use]
    pub const fn stream(&self) -> StreamId {
        self.stream
    }

    /// Bytes that the stream has taken.
    #[must_use]
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// Bytes that have come back.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// How it ended, once it has.
    #[must_use]
    pub const fn outcome(&self) -> Option<&Result<Checksum, String>> {
        self.outcome.as_ref()
    }

    /// Takes an event of the connection; those of other streams change nothing.
    pub fn handle_event(&mut self, machine: &mut impl Machine, event: &Event) {
        match event {
            Event::Readable { stream } | Event::Opened { stream, .. } if *stream == self.stream => {
                self.read(machine);
                self.write(machine);
            }
            Event::Writable { stream } if *stream == self.stream => self.write(machine),
            Event::Reset { stream, error } | Event::Failed { stream, error }
                if *stream == self.stream =>
            {
                self.end(Err(error.to_string()));
                if let Some(mut stream) = machine.stream(*stream) {
                    stream.release();
                }
            }
            Event::Closed { error } => self.end(Err(error.to_string())),
            _ => {}
        }
    }

    fn write(&mut self, machine: &mut impl Machine) {
        let Some(mut stream) = machine.stream(self.stream) else {
            return;
        };
        loop {
            if self.pending.is_empty() {
                let left = usize::try_from(self.total - self.sent).unwrap_or(usize::MAX);
                if left == 0 {
                    return drop(stream.finish());
                }
                self.pending = self.pattern.next(left.min(CHUNK));
                self.checksum_sent.update(&self.pending);
            }
            match stream.write_bytes(&mut self.pending) {
                Ok(count) => self.sent += u64::try_from(count).unwrap_or(u64::MAX),
                // `Writable` follows; or the stream has failed, which its own event tells.
                Err(_) => return,
            }
        }
    }

    fn read(&mut self, machine: &mut impl Machine) {
        let Some(mut stream) = machine.stream(self.stream) else {
            return;
        };
        loop {
            match stream.read(CHUNK) {
                Ok(Some(bytes)) => {
                    self.checksum_received.update(&bytes);
                    self.received += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                }
                Ok(None) => {
                    let same = self.checksum_sent == self.checksum_received;
                    return self.end(if same && self.received == self.total {
                        Ok(self.checksum_received)
                    } else {
                        Err(format!(
                            "{} of {} bytes came back",
                            self.received, self.total
                        ))
                    });
                }
                Err(ReadError::Blocked) => {
                    return;
                }
                Err(error) => return self.end(Err(error.to_string())),
            }
        }
    }

    fn end(&mut self, outcome: Result<Checksum, String>) {
        self.outcome.get_or_insert(outcome);
    }
}
