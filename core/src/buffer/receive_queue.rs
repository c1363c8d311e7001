//! What has arrived for a stream, and the memory it pins.

use super::{
    receive::Incoming,
    spare::{Emptied, Spare},
};
use alloc::{boxed::Box, collections::VecDeque, vec::Vec};
use bytes::{Buf, Bytes};

/// Payloads below this many bytes are copied into the stream's own memory instead of pinning the receive buffer.
const COPY_BELOW: usize = 1024;
/// Copied payloads are gathered until this many bytes, then closed as one chunk.
const GATHER: usize = 16 * 1024;

/// Memory pinned by what was received and not read, over all streams of a connection.
#[derive(Debug, Default)]
pub struct HeldMemory {
    /// Pinned receive buffers in the order of their numbers, which is the order they came in.
    pinned: VecDeque<Pinned>,
    bytes: usize,
    /// Of queues that are empty.
    spare: Spare<Pieces>,
}

#[derive(Debug)]
struct Pinned {
    allocation: u64,
    capacity: usize,
    chunks: u32,
}

impl HeldMemory {
    /// Bytes of memory pinned.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    fn pin(&mut self, allocation: u64, capacity: usize) {
        match self.pinned.back_mut() {
            Some(last) if last.allocation == allocation => {
                last.chunks = last.chunks.saturating_add(1)
            }
            _ => {
                self.pinned.push_back(Pinned {
                    allocation,
                    capacity,
                    chunks: 1,
                });
                self.bytes = self.bytes.saturating_add(capacity);
            }
        }
    }

    /// One more piece of a buffer that is pinned already.
    fn pin_again(&mut self, allocation: u64) {
        if let Some((_, pinned)) = self.find(allocation) {
            pinned.chunks = pinned.chunks.saturating_add(1);
        }
    }

    fn find(&mut self, allocation: u64) -> Option<(usize, &mut Pinned)> {
        let at = self
            .pinned
            .binary_search_by(|pinned| pinned.allocation.cmp(&allocation))
            .ok()?;
        Some((at, self.pinned.get_mut(at)?))
    }

    fn unpin(&mut self, allocation: u64) {
        let Some((at, pinned)) = self.find(allocation) else {
            return;
        };
        pinned.chunks = pinned.chunks.saturating_sub(1);
        let (chunks, capacity) = (pinned.chunks, pinned.capacity);
        if chunks == 0 {
            self.bytes = self.bytes.saturating_sub(capacity);
            self.pinned.remove(at);
        }
    }

    fn add(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn sub(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Whoever was lent a piece is done with it.
    pub fn end_loan(&mut self, loan: Loan) {
        match loan.allocation {
            Some(allocation) => self.unpin(allocation),
            None => self.sub(loan.len),
        }
    }

    /// Gives back spare capacity.
    pub fn trim(&mut self) {
        if self.pinned.is_empty() {
            self.pinned = VecDeque::new();
        }
        self.spare.trim();
    }

    /// Gives back most of what queues had: there is no stream any more.
    pub fn without_streams(&mut self) {
        self.spare.without_streams();
    }
}

/// The charge for a piece that has left its queue and is still held by somebody: until [`HeldMemory::end_loan`].
#[derive(Debug)]
#[must_use = "what is lent stays charged until the loan ends"]
pub struct Loan {
    /// The receive buffer the piece pins; `None` for memory of its own.
    allocation: Option<u64>,
    len: usize,
}

impl Loan {
    /// Bytes lent.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether that is nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[derive(Debug)]
struct Chunk {
    bytes: Bytes,
    /// The receive buffer it pins; `None` for memory of its own.
    allocation: Option<u64>,
}

impl Chunk {
    const fn own(bytes: Bytes) -> Self {
        Self {
            bytes,
            allocation: None,
        }
    }
}

/// What a stream has received and its owner has not read.
///
/// Most streams of a node hold nothing most of the time, so an empty queue owns no memory: it takes what it needs from the
/// [`HeldMemory`] of its connection, and gives it back when it is empty.
#[derive(Debug, Default)]
pub struct ReceiveQueue {
    /// `None` if nothing waits.
    pieces: Option<Box<Pieces>>,
}

#[derive(Debug, Default)]
struct Pieces {
    /// Older than everything in `gathered`.
    chunks: VecDeque<Chunk>,
    /// Copied small payloads; the first `read` bytes are gone.
    gathered: Vec<u8>,
    read: usize,
    len: usize,
}

impl Emptied for Pieces {
    fn occupied(&self) -> usize {
        let chunks = self.chunks.capacity().saturating_mul(size_of::<Chunk>());
        chunks
            .saturating_add(self.gathered.capacity())
            .saturating_add(size_of::<Self>())
    }
}

impl ReceiveQueue {
    /// Bytes waiting to be read.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pieces.as_ref().map_or(0, |pieces| pieces.len)
    }

    /// Whether nothing waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.pieces.is_none()
    }

    /// Takes the first `count` bytes of `incoming` (fewer, if there are fewer) to the end of the queue.
    pub fn push(&mut self, incoming: &mut Incoming<'_>, count: usize, held: &mut HeldMemory) {
        let count = count.min(incoming.len());
        if count == 0 {
            return;
        }
        let pieces = self.pieces.get_or_insert_with(|| held.spare.take());
        match incoming {
            Incoming::Shared {
                bytes,
                allocation,
                capacity,
            } if count >= COPY_BELOW => {
                pieces.close_gathered();
                let chunk = bytes.split_to(count);
                held.pin(*allocation, *capacity);
                pieces.chunks.push_back(Chunk {
                    bytes: chunk,
                    allocation: Some(*allocation),
                });
            }
            _ => {
                if pieces.gathered.len() >= GATHER {
                    pieces.close_gathered();
                }
                pieces
                    .gathered
                    .extend_from_slice(incoming.as_slice().get(..count).unwrap_or_default());
                held.add(count);
                incoming.advance(count);
            }
        }
        pieces.len = pieces.len.saturating_add(count);
    }

    /// The next piece of at most `max` bytes, without a copy; `None` if nothing waits.
    pub fn pop(&mut self, max: usize, held: &mut HeldMemory) -> Option<Bytes> {
        let pieces = self.pieces.as_mut()?;
        let piece = pieces.pop(max, held)?;
        pieces.len = pieces.len.saturating_sub(piece.len());
        self.give_back_if_empty(held);
        Some(piece)
    }

    /// Copies what fits into `out`; returns how much that was.
    pub fn read_into(&mut self, out: &mut [u8], held: &mut HeldMemory) -> usize {
        let mut filled = 0usize;
        while let Some(room) = out.get_mut(filled..).filter(|room| !room.is_empty()) {
            let front = self.front();
            let count = room.len().min(front.len());
            if count == 0 {
                break;
            }
            if let (Some(to), Some(from)) = (room.get_mut(..count), front.get(..count)) {
                to.copy_from_slice(from);
            }
            self.consume_front(count, held);
            filled = filled.saturating_add(count);
        }
        filled
    }

    /// The first `count` bytes as one piece; `None` if fewer wait. Copies only where they are not already together.
    pub fn take(&mut self, count: usize, held: &mut HeldMemory) -> Option<Bytes> {
        if count > self.len() {
            return None;
        }
        if count == 0 {
            return Some(Bytes::new());
        }
        if self.front().len() >= count {
            return self.pop(count, held);
        }
        let mut whole = alloc::vec![0; count];
        self.read_into(&mut whole, held);
        Some(whole.into())
    }

    /// As [`pop`](Self::pop), but the piece stays charged.
    pub fn lend(&mut self, max: usize, held: &mut HeldMemory) -> Option<(Bytes, Loan)> {
        let front = self.pieces.as_ref()?.chunks.front();
        let allocation = front.and_then(|chunk| chunk.allocation);
        if let Some(allocation) = allocation {
            held.pin_again(allocation);
        }
        let piece = self.pop(max, held)?;
        let len = piece.len();
        if allocation.is_none() {
            held.add(len);
        }
        Some((piece, Loan { allocation, len }))
    }

    /// As [`take`](Self::take), but the piece stays charged.
    pub fn lend_whole(&mut self, count: usize, held: &mut HeldMemory) -> Option<(Bytes, Loan)> {
        if count > 0 && self.front().len() >= count {
            return self.lend(count, held);
        }
        let whole = self.take(count, held)?;
        let len = whole.len();
        held.add(len);
        let allocation = None;
        Some((whole, Loan { allocation, len }))
    }

    /// Makes what was lent the front of the queue again, behind a copy of `prefix`.
    pub fn put_back(&mut self, prefix: &[u8], bytes: Bytes, loan: Loan, held: &mut HeldMemory) {
        let count = prefix.len().saturating_add(bytes.len());
        if count == 0 {
            return held.end_loan(loan);
        }
        let pieces = self.pieces.get_or_insert_with(|| held.spare.take());
        pieces.len = pieces.len.saturating_add(count);
        if bytes.is_empty() {
            held.end_loan(loan);
        } else {
            pieces.chunks.push_front(Chunk {
                bytes,
                allocation: loan.allocation,
            });
        }
        if !prefix.is_empty() {
            held.add(prefix.len());
            let prefix = Bytes::copy_from_slice(prefix);
            pieces.chunks.push_front(Chunk::own(prefix));
        }
    }

    /// The front of the queue as one slice of at least `min(wanted, len)` bytes.
    pub fn peek(&mut self, wanted: usize, held: &mut HeldMemory) -> &[u8] {
        let wanted = wanted.min(self.len());
        if self.front().len() < wanted {
            let mut joined = alloc::vec![0; wanted];
            self.read_into(&mut joined, held);
            held.add(wanted);
            let pieces = self.pieces.get_or_insert_with(|| held.spare.take());
            pieces.len = pieces.len.saturating_add(wanted);
            pieces.chunks.push_front(Chunk::own(joined.into()));
        }
        self.front()
    }

    /// Drops the first `count` bytes (fewer, if there are fewer).
    pub fn consume(&mut self, mut count: usize, held: &mut HeldMemory) {
        while count > 0 && !self.is_empty() {
            let piece = count.min(self.front().len());
            self.consume_front(piece, held);
            count = count.saturating_sub(piece);
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self, held: &mut HeldMemory) {
        self.consume(self.len(), held);
    }

    fn give_back_if_empty(&mut self, held: &mut HeldMemory) {
        if let Some(mut pieces) = self.pieces.take_if(|pieces| pieces.len == 0) {
            pieces.gathered.clear();
            pieces.read = 0;
            held.spare.give(pieces);
        }
    }

    fn front(&self) -> &[u8] {
        self.pieces.as_ref().map_or(&[], |pieces| pieces.front())
    }

    /// `count` must not exceed the length of [`front`](Self::front).
    fn consume_front(&mut self, count: usize, held: &mut HeldMemory) {
        if let Some(pieces) = &mut self.pieces {
            pieces.len = pieces.len.saturating_sub(count);
            pieces.consume_front(count, held);
            self.give_back_if_empty(held);
        }
    }
}

impl Pieces {
    fn front(&self) -> &[u8] {
        match self.chunks.front() {
            Some(chunk) => &chunk.bytes,
            None => self.gathered.get(self.read..).unwrap_or_default(),
        }
    }

    fn pop(&mut self, max: usize, held: &mut HeldMemory) -> Option<Bytes> {
        if self.chunks.is_empty() {
            let mut piece = self.take_gathered()?;
            if piece.len() > max {
                let rest = piece.split_off(max);
                self.chunks.push_back(Chunk::own(rest));
            }
            held.sub(piece.len());
            return Some(piece);
        }
        let front = self.chunks.front_mut()?;
        if front.bytes.len() > max {
            if front.allocation.is_none() {
                held.sub(max);
            }
            return Some(front.bytes.split_to(max));
        }
        let chunk = self.chunks.pop_front()?;
        Self::released(&chunk, chunk.bytes.len(), held);
        Some(chunk.bytes)
    }

    fn consume_front(&mut self, count: usize, held: &mut HeldMemory) {
        let Some(chunk) = self.chunks.front_mut() else {
            self.read = self.read.saturating_add(count);
            held.sub(count);
            if self.read >= self.gathered.len() {
                self.gathered.clear();
                self.read = 0;
            }
            return;
        };
        if count < chunk.bytes.len() {
            chunk.bytes.advance(count);
            if chunk.allocation.is_none() {
                held.sub(count);
            }
        } else if let Some(chunk) = self.chunks.pop_front() {
            Self::released(&chunk, count, held);
        }
    }

    fn released(chunk: &Chunk, count: usize, held: &mut HeldMemory) {
        match chunk.allocation {
            Some(allocation) => held.unpin(allocation),
            None => held.sub(count),
        }
    }

    fn close_gathered(&mut self) {
        if let Some(bytes) = self.take_gathered() {
            self.chunks.push_back(Chunk::own(bytes));
        }
    }

    /// What was gathered and is not read; `None` if that is nothing.
    fn take_gathered(&mut self) -> Option<Bytes> {
        if self.gathered.is_empty() {
            return None;
        }
        let mut bytes = Bytes::from(core::mem::take(&mut self.gathered));
        bytes.advance(self.read.min(bytes.len()));
        self.read = 0;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::ReceiveBuffer;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Op {
        Receive(Vec<u8>, bool),
        Pop(usize),
        Read(usize),
        Take(usize),
        Peek(usize),
        Consume(usize),
        Lend(usize),
        LendWhole(usize),
        EndLoan(usize),
        PutBack,
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let size = || prop_oneof![0usize..40, 0usize..5000];
        let op = prop_oneof![
            (prop::collection::vec(any::<u8>(), 0..5000), any::<bool>())
                .prop_map(|(data, shared)| Op::Receive(data, shared)),
            (1usize..4000).prop_map(Op::Pop),
            size().prop_map(Op::Read),
            size().prop_map(Op::Take),
            size().prop_map(Op::Peek),
            size().prop_map(Op::Consume),
            (1usize..4000).prop_map(Op::Lend),
            size().prop_map(Op::LendWhole),
            (0usize..4).prop_map(Op::EndLoan),
            Just(Op::PutBack),
        ];
        prop::collection::vec(op, 0..60)
    }

    proptest! {
        #[test]
        fn a_receive_queue_is_a_byte_queue_and_holds_nothing_when_empty(ops in ops()) {
            let mut buffer = ReceiveBuffer::new(16 * 1024);
            let (mut queue, mut held, mut model) = (ReceiveQueue::default(), HeldMemory::default(), VecDeque::new());
            let mut lent = Vec::new();
            for op in ops {
                match op {
                    Op::Receive(data, shared) => {
                        let mut incoming = if shared {
                            buffer.prepare(data.len()).extend_from_slice(&data);
                            buffer.adapt();
                            buffer.split(data.len())
                        } else {
                            Incoming::Borrowed(&data)
                        };
                        queue.push(&mut incoming, data.len(), &mut held);
                        prop_assert!(incoming.is_empty());
                        model.extend(data.iter().copied());
                    }
                    Op::Pop(max) => {
                        let piece = queue.pop(max, &mut held);
                        prop_assert_eq!(piece.is_none(), model.is_empty());
                        let piece = piece.unwrap_or_default();
                        prop_assert!(piece.len() <= max);
                        prop_assert_eq!(&piece[..], &model.drain(..piece.len()).collect::<Vec<_>>()[..]);
                    }
                    Op::Read(max) => {
                        let mut out = std::vec![0; max];
                        let count = queue.read_into(&mut out, &mut held);
                        prop_assert_eq!(count, max.min(model.len()));
                        prop_assert_eq!(&out[..count], &model.drain(..count).collect::<Vec<_>>()[..]);
                    }
                    Op::Take(count) => match queue.take(count, &mut held) {
                        Some(whole) => prop_assert_eq!(&whole[..], &model.drain(..count).collect::<Vec<_>>()[..]),
                        None => prop_assert!(count > model.len()),
                    },
                    Op::Peek(wanted) => {
                        let front = queue.peek(wanted, &mut held);
                        prop_assert!(front.len() >= wanted.min(model.len()));
                        prop_assert_eq!(front, &model.make_contiguous()[..front.len()]);
                    }
                    Op::Consume(count) => {
                        queue.consume(count, &mut held);
                        model.drain(..count.min(model.len()));
                    }
                    Op::Lend(_) | Op::LendWhole(_) => {
                        let piece = match op {
                            Op::Lend(max) => queue.lend(max, &mut held),
                            Op::LendWhole(count) => queue.lend_whole(count, &mut held),
                            _ => None,
                        };
                        if let Some((piece, loan)) = piece {
                            prop_assert_eq!(&piece[..], &model.drain(..piece.len()).collect::<Vec<_>>()[..]);
                            lent.push((piece, loan));
                        }
                    }
                    Op::PutBack => {
                        if let Some((piece, loan)) = lent.pop() {
                            for byte in b"ab".iter().chain(&piece).rev() {
                                model.push_front(*byte);
                            }
                            queue.put_back(b"ab", piece, loan, &mut held);
                        }
                    }
                    Op::EndLoan(which) => {
                        if which < lent.len() {
                            held.end_loan(lent.swap_remove(which).1);
                        }
                    }
                }
                prop_assert_eq!(queue.len(), model.len());
                let lent_bytes: usize = lent.iter().map(|(piece, _)| piece.len()).sum();
                prop_assert!(held.bytes() >= queue.len() + lent_bytes);
                prop_assert_eq!(queue.pieces.is_none(), queue.is_empty(), "an empty queue owns nothing");
                if queue.is_empty() && lent.is_empty() {
                    prop_assert_eq!(held.bytes(), 0);
                }
            }
            queue.clear(&mut held);
            for (_, loan) in lent {
                held.end_loan(loan);
            }
            prop_assert_eq!(held.bytes(), 0);
        }
    }

    #[test]
    fn a_small_unread_slice_is_charged_for_the_buffer_it_pins() {
        let mut buffer = ReceiveBuffer::new(256 * 1024);
        let (mut queue, mut held) = (ReceiveQueue::default(), HeldMemory::default());
        let data = std::vec![7; 8192];
        buffer.prepare(data.len()).extend_from_slice(&data);
        buffer.adapt();
        let mut incoming = buffer.split(data.len());
        queue.push(&mut incoming, 2000, &mut held);
        assert!(
            held.bytes() >= 8192,
            "charged {} for 2000 bytes of an 8 KiB buffer",
            held.bytes()
        );
    }
}
