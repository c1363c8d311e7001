//! The memory of empty queues, kept for the next one that fills.

use alloc::{boxed::Box, vec::Vec};

/// So much is kept, in bytes. Streams in steady use take turns with it and allocate nothing, while an idle stream owns
/// none.
const KEPT: usize = 512 * 1024;
/// So much of it outlasts the last stream: enough for short streams that follow each other.
const KEPT_WITHOUT_STREAMS: usize = 512;

/// What can be kept.
pub(super) trait Emptied: Default {
    /// The bytes it occupies although it holds nothing.
    fn occupied(&self) -> usize;
}

/// Emptied values with the capacity they have come to.
#[derive(Debug)]
pub(super) struct Spare<T> {
    #[allow(clippy::vec_box, reason = "they go from and to queues as they are")]
    values: Vec<Box<T>>,
    bytes: usize,
}

impl<T> Default for Spare<T> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            bytes: 0,
        }
    }
}

impl<T: Emptied> Spare<T> {
    pub(super) fn take(&mut self) -> Box<T> {
        let value = self.values.pop().unwrap_or_default();
        self.bytes = self.bytes.saturating_sub(value.occupied());
        value
    }

    /// `emptied` must hold nothing but capacity.
    pub(super) fn give(&mut self, emptied: Box<T>) {
        let bytes = self.bytes.saturating_add(emptied.occupied());
        if bytes <= KEPT {
            self.bytes = bytes;
            self.values.push(emptied);
        }
    }

    /// There is no stream any more.
    pub(super) fn without_streams(&mut self) {
        while self.bytes > KEPT_WITHOUT_STREAMS {
            self.take();
        }
    }

    pub(super) fn trim(&mut self) {
        *self = Self::default();
    }
}
