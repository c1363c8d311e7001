//! A global allocator that counts what the current thread allocates. To link this crate is to use it.
//!
//! Counted are the sizes asked for, without what the system's allocator adds of its own. Memory that one thread allocates
//! and another frees unbalances both their counts, so measure what stays on one thread.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static BYTES: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

fn grow(bytes: usize) {
    CALLS.set(CALLS.get().wrapping_add(1));
    BYTES.set(BYTES.get().wrapping_add_unsigned(bytes));
    PEAK.set(PEAK.get().max(BYTES.get()));
}

fn shrink(bytes: usize) {
    BYTES.set(BYTES.get().wrapping_sub_unsigned(bytes));
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        shrink(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // While it moves, both places are taken.
        grow(size);
        shrink(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.realloc(at, layout, size) }
    }
}

/// Bytes the current thread has allocated and not freed.
#[must_use]
pub fn bytes() -> isize {
    BYTES.get()
}

/// How often the current thread has allocated or reallocated.
#[must_use]
pub fn calls() -> u64 {
    CALLS.get()
}

/// What became of the heap while something ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Use {
    /// Bytes more than before, at the end.
    pub kept: isize,
    /// Bytes more than before, at the highest point.
    pub peak: isize,
    /// Allocations and reallocations.
    pub calls: u64,
}

/// Runs `work` and says what it did to the heap.
pub fn measure<R>(work: impl FnOnce() -> R) -> (Use, R) {
    let (before, calls, outer_peak) = (BYTES.get(), CALLS.get(), PEAK.get());
    PEAK.set(before);
    let result = work();
    let used = Use {
        kept: BYTES.get() - before,
        peak: PEAK.get() - before,
        calls: CALLS.get().wrapping_sub(calls),
    };
    PEAK.set(outer_peak.max(PEAK.get()));
    (used, result)
}

/// Adds up what many pieces of work do to the heap: that of one machine amid others, say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Meter {
    /// Everything so far.
    pub total: Use,
}

impl Meter {
    /// Runs `work` and adds what it did.
    pub fn run<R>(&mut self, work: impl FnOnce() -> R) -> R {
        let (used, result) = measure(work);
        self.total.peak = self.total.peak.max(self.total.kept + used.peak);
        self.total.kept += used.kept;
        self.total.calls = self.total.calls.wrapping_add(used.calls);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_is_kept_what_was_needed_and_how_often() {
        let (used, kept) = measure(|| {
            drop(vec![0u8; 1000]);
            vec![0u8; 10]
        });
        assert_eq!((used.kept, used.peak, used.calls), (10, 1000, 2));
        let mut meter = Meter::default();
        meter.run(|| drop(kept));
        assert_eq!((meter.total.kept, meter.total.calls), (-10, 0));
        let ((inner, ()), outer) = {
            let mut inner = Use::default();
            let (outer, ()) = measure(|| {
                let big = vec![0u8; 500];
                inner = measure(|| drop(vec![0u8; 100])).0;
                drop(big);
            });
            ((inner, ()), outer)
        };
        assert_eq!((inner.peak, outer.peak, outer.kept), (100, 600, 0));
    }
}
