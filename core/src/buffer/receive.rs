//! From the socket to the reader without a copy.
//!
//! The host reads into a [`ReceiveBuffer`]. Messages are decrypted in place and cut out of it as [`Bytes`]; large payloads
//! go to the stream's [`ReceiveQueue`](super::ReceiveQueue) as slices of that same memory. A slice pins the whole buffer it was cut from, so a
//! peer that leaves a small unread payload in each buffer could pin far more than it sent: [`HeldMemory`](super::HeldMemory) therefore counts
//! pinned buffers, not payload bytes, and small payloads are copied.

use bytes::{Buf, Bytes, BytesMut};

/// Where receive buffers start, in bytes.
const SMALLEST: usize = 4 * 1024;

/// The connection's receive buffer: starts at 4 KiB, doubles when a read fills it, halves when reads leave it mostly empty.
///
/// What the host makes of it depends on its capacity, and so do the books of what streams pin. Of both everything is a
/// function of what the host appended and of one thing more: how much memory [`prepare`](Self::prepare) got when it made
/// room, which depends on whether somebody still holds what was cut off.
#[derive(Debug)]
pub struct ReceiveBuffer {
    bytes: BytesMut,
    /// The size aimed at for the next allocation.
    target: usize,
    largest: usize,
    /// Numbers the allocation the buffer now lives in.
    allocation: u64,
    capacity: usize,
    quiet_reads: u8,
    /// The first bytes, of which [`adapt`](Self::adapt) knows.
    seen: usize,
    /// Where the buffer was and what it could hold when it was lent to the host, until that is looked at.
    lent: Option<(usize, usize)>,
    #[cfg(feature = "recording")]
    recording: Recording,
}

/// What a recording needs to know of the buffer.
#[cfg(feature = "recording")]
#[derive(Debug, Default)]
struct Recording {
    /// The first bytes, which were written down.
    noted: usize,
    /// The largest capacity there was.
    most: usize,
    /// What [`ReceiveBuffer::prepare`] got when this was recorded.
    imposed: Option<usize>,
}

impl ReceiveBuffer {
    /// An empty buffer that allocates nothing until it is used, and never aims above `largest` bytes.
    #[must_use]
    pub fn new(largest: usize) -> Self {
        Self {
            bytes: BytesMut::new(),
            target: SMALLEST,
            largest: largest.max(SMALLEST),
            allocation: 0,
            capacity: 0,
            quiet_reads: 0,
            seen: 0,
            lent: None,
            #[cfg(feature = "recording")]
            recording: Recording::default(),
        }
    }

    /// The buffer with room for more bytes, for the host to append to: for `expected` if that is no more than the size the
    /// buffer has earned so far. What a peer only announces is no reason to allocate.
    pub fn prepare(&mut self, expected: usize) -> &mut BytesMut {
        self.settle();
        let needed = expected.min(self.target);
        let spare = self.bytes.capacity().saturating_sub(self.bytes.len());
        let wanted = self
            .target
            .saturating_sub(self.bytes.len())
            .max(SMALLEST / 2)
            .max(needed);
        let enough = (self.target / 4)
            .clamp(SMALLEST / 2, 4 * SMALLEST)
            .max(needed);
        if spare < enough {
            self.renew(wanted);
        }
        self.lend();
        &mut self.bytes
    }

    fn renew(&mut self, wanted: usize) {
        let plain = self.bytes.len().saturating_add(wanted);
        #[cfg(feature = "recording")]
        if let Some(imposed) = self.recording.imposed.take() {
            // No recording can ask for more than there was.
            return self.replace(imposed.min(plain.max(self.recording.most)));
        }
        if self.capacity >= self.target && self.bytes.try_reclaim(wanted) {
            // Nothing that was cut off before can pin what is used from now on.
            self.renumber();
        } else {
            self.replace(plain);
        }
    }

    /// Moves into an allocation of its own.
    fn replace(&mut self, capacity: usize) {
        let mut fresh = BytesMut::with_capacity(capacity.max(self.bytes.len()));
        fresh.extend_from_slice(&self.bytes);
        self.bytes = fresh;
        self.renumber();
    }

    fn lend(&mut self) {
        self.lent = Some((self.bytes.as_ptr().addr(), self.bytes.capacity()));
    }

    /// Whether the host has moved the bytes elsewhere since they were lent, which it need not.
    #[must_use]
    pub fn is_moved(&self) -> bool {
        self.lent.is_some_and(|(start, capacity)| {
            self.bytes.as_ptr().addr() != start || self.bytes.capacity() != capacity
        })
    }

    /// Looks at what the host did. Where it has moved the bytes, they move once more: how much it took is its own affair.
    pub(crate) fn settle(&mut self) {
        if self.is_moved()
            && let Some((_, capacity)) = self.lent
        {
            self.replace(capacity);
        }
        self.lent = None;
    }

    /// Learns from how full the last read left the buffer. Returns whether there was a read: that nothing was appended
    /// since the last time teaches nothing.
    pub fn adapt(&mut self) -> bool {
        self.settle();
        let read = self.bytes.len().saturating_sub(self.seen);
        if read == 0 {
            return false;
        }
        self.seen = self.bytes.len();
        if self.bytes.len() == self.bytes.capacity() {
            self.target = self.target.saturating_mul(2).min(self.largest);
            self.quiet_reads = 0;
        } else if read < self.target / 4 {
            self.quiet_reads = self.quiet_reads.saturating_add(1);
            if self.quiet_reads >= 16 {
                self.target = (self.target / 2).max(SMALLEST);
                self.quiet_reads = 0;
            }
        } else {
            self.quiet_reads = 0;
        }
        true
    }

    fn renumber(&mut self) {
        self.capacity = self.bytes.capacity();
        self.allocation = self.allocation.wrapping_add(1);
        #[cfg(feature = "recording")]
        {
            self.recording.most = self.recording.most.max(self.capacity);
        }
    }

    /// What was received and not yet taken.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// The same, to decrypt in place.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Drops the first `count` bytes (fewer, if there are fewer).
    pub fn consume(&mut self, count: usize) {
        self.forget(count);
        self.bytes.advance(count.min(self.bytes.len()));
    }

    /// Cuts off the first `count` bytes (fewer, if there are fewer) without copying them.
    pub fn split(&mut self, count: usize) -> Incoming<'static> {
        self.forget(count);
        let bytes = self.bytes.split_to(count.min(self.bytes.len())).freeze();
        Incoming::Shared {
            bytes,
            allocation: self.allocation,
            capacity: self.capacity,
        }
    }

    /// Gives the memory back if nothing is in it.
    pub fn trim(&mut self) {
        if self.bytes.is_empty() {
            self.bytes = BytesMut::new();
            self.lent = None;
            self.capacity = 0;
            self.target = SMALLEST;
        }
    }

    /// The first `count` bytes are about to go.
    fn forget(&mut self, count: usize) {
        self.settle();
        self.seen = self.seen.saturating_sub(count);
        #[cfg(feature = "recording")]
        {
            self.recording.noted = self.recording.noted.saturating_sub(count);
        }
    }
}

#[cfg(feature = "recording")]
impl ReceiveBuffer {
    /// What was lent to the host, once more.
    pub(crate) const fn lent_mut(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    /// Counts how often room was made.
    pub(crate) const fn allocation(&self) -> u64 {
        self.allocation
    }

    /// What it could hold when it last made room.
    pub(crate) const fn capacity(&self) -> usize {
        self.capacity
    }

    /// What was appended and not written down.
    pub(crate) fn unnoted(&self) -> &[u8] {
        self.bytes.get(self.recording.noted..).unwrap_or_default()
    }

    pub(crate) fn has_unnoted(&self) -> bool {
        self.bytes.len() > self.recording.noted
    }

    pub(crate) fn set_noted(&mut self) {
        self.recording.noted = self.bytes.len();
    }

    /// What the next [`prepare`](Self::prepare) is to get, if it makes room.
    pub(crate) const fn impose(&mut self, capacity: Option<usize>) {
        self.recording.imposed = capacity;
    }

    /// Appends as a host did that was recorded.
    pub(crate) fn append(&mut self, bytes: &[u8], moved: bool) {
        if bytes.is_empty() && moved == self.is_moved() {
            return;
        }
        self.settle();
        self.lend();
        self.bytes.extend_from_slice(bytes);
        if moved && !self.is_moved() {
            let more = self.bytes.capacity().saturating_sub(self.bytes.len());
            self.bytes.reserve(more.saturating_add(1));
        }
    }
}

/// A run of received plaintext on its way to the streams.
#[derive(Debug)]
pub enum Incoming<'a> {
    /// To be copied.
    Borrowed(&'a [u8]),
    /// May be kept.
    Shared {
        /// The bytes.
        bytes: Bytes,
        /// Which allocation they pin.
        allocation: u64,
        /// Its size.
        capacity: usize,
    },
}

impl Incoming<'_> {
    /// Bytes left.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes left.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Borrowed(slice) => slice,
            Self::Shared { bytes, .. } => bytes,
        }
    }

    /// Skips `count` bytes (fewer, if there are fewer).
    pub fn advance(&mut self, count: usize) {
        match self {
            Self::Borrowed(slice) => *slice = slice.get(count..).unwrap_or_default(),
            Self::Shared { bytes, .. } => bytes.advance(count.min(bytes.len())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Being asked again and again teaches nothing. Fails if each call counts as a read: the size aimed at then doubles as
    /// long as the buffer is full, and halves when it is not.
    #[test]
    fn the_buffer_learns_from_each_read_once() {
        let mut buffer = ReceiveBuffer::new(256 * 1024);
        let room = buffer.prepare(1);
        room.resize(room.capacity(), 1);
        assert!(buffer.adapt());
        let learnt = buffer.target;
        assert_eq!(learnt, 2 * SMALLEST);
        for _ in 0..100 {
            assert!(!buffer.adapt());
        }
        buffer.prepare(1);
        buffer.consume(usize::MAX);
        for _ in 0..100 {
            assert!(!buffer.adapt());
        }
        assert_eq!((buffer.target, buffer.quiet_reads), (learnt, 0));
    }

    #[test]
    fn the_buffer_grows_under_load_and_shrinks_after_it() {
        let mut buffer = ReceiveBuffer::new(64 * 1024);
        for _ in 0..8 {
            let room = buffer.prepare(1);
            let spare = room.capacity() - room.len();
            room.resize(room.len() + spare, 1);
            buffer.adapt();
            buffer.consume(usize::MAX);
        }
        assert_eq!(buffer.target, 64 * 1024);
        for _ in 0..200 {
            buffer.prepare(1).extend_from_slice(&[1]);
            buffer.adapt();
            buffer.consume(1);
        }
        assert_eq!(buffer.target, SMALLEST);
        buffer.trim();
        assert_eq!(buffer.bytes.capacity(), 0);
    }
}
