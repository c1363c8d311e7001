//! What std would bring: memory, and an end for panics.

use core::{
    alloc::{GlobalAlloc, Layout},
    cell::UnsafeCell,
    panic::PanicInfo,
    ptr,
    sync::atomic::{AtomicUsize, Ordering},
};

const ARENA: usize = 16 * 1024 * 1024;

/// Hands out memory from one end to the other and takes none back, which does for a program this short.
struct Arena {
    memory: UnsafeCell<[u8; ARENA]>,
    used: AtomicUsize,
}

// SAFETY: every byte of `memory` is handed out at most once, because `used` only grows.
unsafe impl Sync for Arena {}

// SAFETY: blocks lie in `memory`, are aligned as asked, and never overlap.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let base = self.memory.get() as usize;
        let place = |used: usize| {
            let start = (base + used).checked_next_multiple_of(layout.align())? - base;
            let end = start.checked_add(layout.size())?;
            (end <= ARENA).then_some((start, end))
        };
        let claim = |used| place(used).map(|(_, end)| end);
        match self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, claim)
        {
            // SAFETY: `place` said that the block lies inside the arena.
            Ok(used) => place(used).map_or(ptr::null_mut(), |(start, _)| unsafe {
                self.memory.get().cast::<u8>().add(start)
            }),
            Err(_) => ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ARENA_ALLOCATOR: Arena = Arena {
    memory: UnsafeCell::new([0; ARENA]),
    used: AtomicUsize::new(0),
};

#[link(name = "c")]
unsafe extern "C" {
    safe fn abort() -> !;
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    abort()
}

/// The `alloc` library of the toolchain was built to unwind and names this function, although nothing unwinds here.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
