//! What a stream's owner has written and the muxer has not yet sent.

use super::spare::{Emptied, Spare};
use alloc::{boxed::Box, collections::VecDeque, vec::Vec};
use bytes::{Buf, Bytes};

/// Payloads below this many bytes are copied even when they could be shared: cheaper than a reference count.
const SHARE_FROM: usize = 1024;

/// A queue of bytes to send: copied writes in a ring, shared ones as they are, in order.
///
/// Most streams of a node send nothing most of the time, so an empty queue owns no memory: it takes what it needs from the
/// [`SendMemory`] of its connection, and gives it back when it is empty.
#[derive(Debug, Default)]
pub struct SendQueue {
    /// `None` if nothing waits.
    pieces: Option<Box<Pieces>>,
}

/// The memory of send queues that are empty, for those that will not be.
#[derive(Debug, Default)]
pub struct SendMemory(Spare<Pieces>);

impl SendMemory {
    /// Gives it back.
    pub fn trim(&mut self) {
        self.0.trim();
    }

    /// Gives most of it back: there is no stream any more.
    pub fn without_streams(&mut self) {
        self.0.without_streams();
    }
}

#[derive(Debug, Default)]
struct Pieces {
    /// Older than everything in `ring`.
    shared: VecDeque<Bytes>,
    ring: VecDeque<u8>,
    len: usize,
}

impl Emptied for Pieces {
    fn occupied(&self) -> usize {
        let shared = self.shared.capacity().saturating_mul(size_of::<Bytes>());
        shared
            .saturating_add(self.ring.capacity())
            .saturating_add(size_of::<Self>())
    }
}

impl SendQueue {
    /// Bytes waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pieces.as_ref().map_or(0, |pieces| pieces.len)
    }

    /// Whether nothing waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.pieces.is_none()
    }

    /// Queues a copy of `data`.
    pub fn push_copy(&mut self, data: &[u8], memory: &mut SendMemory) {
        if data.is_empty() {
            return;
        }
        let pieces = self.pieces.get_or_insert_with(|| memory.0.take());
        pieces.ring.extend(data);
        pieces.len = pieces.len.saturating_add(data.len());
    }

    /// Queues `data` without copying it, unless it is small.
    pub fn push_shared(&mut self, data: Bytes, memory: &mut SendMemory) {
        if data.len() < SHARE_FROM {
            return self.push_copy(&data, memory);
        }
        let Pieces { shared, ring, len } =
            &mut **self.pieces.get_or_insert_with(|| memory.0.take());
        if !ring.is_empty() {
            let copied = core::mem::take(ring);
            shared.push_back(Bytes::from(Vec::from(copied)));
        }
        *len = len.saturating_add(data.len());
        shared.push_back(data);
    }

    /// Moves up to `max` bytes to the end of `out`; returns how many.
    pub fn take_into(&mut self, max: usize, out: &mut Vec<u8>, memory: &mut SendMemory) -> usize {
        let Some(pieces) = self.pieces.as_deref_mut() else {
            return 0;
        };
        let Pieces { shared, ring, len } = pieces;
        let mut left = max.min(*len);
        let taken = left;
        while left > 0 {
            let Some(front) = shared.front_mut() else {
                break;
            };
            let piece = left.min(front.len());
            out.extend_from_slice(front.get(..piece).unwrap_or_default());
            front.advance(piece);
            if front.is_empty() {
                shared.pop_front();
            }
            left = left.saturating_sub(piece);
        }
        if left > 0 {
            let (first, second) = ring.as_slices();
            let from_first = left.min(first.len());
            out.extend_from_slice(first.get(..from_first).unwrap_or_default());
            out.extend_from_slice(
                second
                    .get(..left.saturating_sub(from_first))
                    .unwrap_or_default(),
            );
            ring.drain(..left);
        }
        *len = len.saturating_sub(taken);
        if *len == 0 {
            self.give_back(memory);
        }
        taken
    }

    /// Forgets everything.
    pub fn clear(&mut self, memory: &mut SendMemory) {
        if let Some(pieces) = &mut self.pieces {
            pieces.shared.clear();
            pieces.ring.clear();
            pieces.len = 0;
        }
        self.give_back(memory);
    }

    /// Nothing waits any more.
    fn give_back(&mut self, memory: &mut SendMemory) {
        if let Some(pieces) = self.pieces.take() {
            memory.0.give(pieces);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Op {
        Copy(Vec<u8>),
        Share(Vec<u8>),
        Take(usize),
        Clear,
        Trim,
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..3000);
        let op = prop_oneof![
            bytes().prop_map(Op::Copy),
            bytes().prop_map(Op::Share),
            (0usize..4000).prop_map(Op::Take),
            Just(Op::Clear),
            Just(Op::Trim)
        ];
        prop::collection::vec(op, 0..40)
    }

    proptest! {
        #[test]
        fn bytes_leave_in_the_order_they_came(ops in ops()) {
            let (mut queue, mut memory, mut model) = (SendQueue::default(), SendMemory::default(), VecDeque::new());
            for op in ops {
                match op {
                    Op::Copy(data) => { queue.push_copy(&data, &mut memory); model.extend(data); }
                    Op::Share(data) => { queue.push_shared(data.clone().into(), &mut memory); model.extend(data); }
                    Op::Take(max) => {
                        let mut out = Vec::new();
                        let taken = queue.take_into(max, &mut out, &mut memory);
                        prop_assert_eq!(taken, max.min(model.len()));
                        prop_assert_eq!(out, model.drain(..taken).collect::<Vec<_>>());
                    }
                    Op::Clear => { queue.clear(&mut memory); model.clear(); }
                    Op::Trim => memory.trim(),
                }
                prop_assert_eq!(queue.len(), model.len());
                prop_assert_eq!(queue.pieces.is_none(), model.is_empty(), "an empty queue owns nothing");
            }
        }
    }
}
