//! The functions that C calls. All unsafe code is here, and rests on what `drywire_example.h` asks of its callers.

use crate::handle::Failure;
pub use crate::handle::{Action, Event, Handle, Ipv4};
use core::{
    ffi::{CStr, c_char},
    ptr, slice,
};
use drywire::time::{Instant, UnixTime};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `run` on what is behind a handle; a panic ends here.
///
/// # Safety
/// `handle` is null, or came from `drywire_node_new`, was not freed, and is used by no other thread meanwhile.
unsafe fn with(handle: *mut Handle, run: impl FnOnce(&mut Handle) -> Result<i32, Failure>) -> i32 {
    // SAFETY: as the caller promises, it is null or points to a `Handle` that nobody else uses now.
    let Some(handle) = (unsafe { handle.as_mut() }) else {
        return Failure::BadArgument as i32;
    };
    if handle.panicked {
        return Failure::Panicked as i32;
    }
    // After a panic nothing behind the handle is looked at any more.
    match catch_unwind(AssertUnwindSafe(|| run(handle))) {
        Ok(Ok(value)) => value,
        Ok(Err(failure)) => failure as i32,
        Err(_) => {
            handle.panicked = true;
            Failure::Panicked as i32
        }
    }
}

/// A text of C's.
///
/// # Safety
/// `text` is null, or ends with a zero byte and is not changed during `'a`.
unsafe fn text<'a>(text: *const c_char) -> Result<&'a str, Failure> {
    if text.is_null() {
        return Err(Failure::BadArgument);
    }
    // SAFETY: as the caller promises, it ends with a zero byte and is not changed meanwhile.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map_err(|_| Failure::BadArgument)
}

/// Bytes of C's.
///
/// # Safety
/// `data` is null, or there are `len` bytes, which are not changed during `'a`.
unsafe fn bytes<'a>(data: *const u8, len: usize) -> Result<&'a [u8], Failure> {
    if data.is_null() || isize::try_from(len).is_err() {
        return Err(Failure::BadArgument);
    }
    // SAFETY: not null, not longer than any object may be, and as the caller promises there and not changed.
    Ok(unsafe { slice::from_raw_parts(data, len) })
}

/// Writes an answer to where C wants it.
///
/// # Safety
/// `place` is null, or a `T` may be written there.
unsafe fn give<T>(place: *mut T, value: T) -> Result<i32, Failure> {
    if place.is_null() {
        return Err(Failure::BadArgument);
    }
    // SAFETY: not null, and as the caller promises valid for writes and aligned.
    unsafe { ptr::write(place, value) };
    Ok(0)
}

/// See the header.
///
/// # Safety
/// `entropy` points to 32 bytes, `node` to a pointer that may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_node_new(
    entropy: *const u8,
    now: u64,
    unix_seconds: u64,
    node: *mut *mut Handle,
) -> i32 {
    // SAFETY: as the header asks.
    let entropy = match unsafe { bytes(entropy, 32) } {
        Ok(entropy) => <[u8; 32]>::try_from(entropy).unwrap_or_default(),
        Err(failure) => return failure as i32,
    };
    let (now, unix) = (Instant::from_nanos(now), UnixTime::from_secs(unix_seconds));
    let made = catch_unwind(|| Handle::new(entropy, now, unix));
    match made {
        Ok(Ok(handle)) if !node.is_null() => {
            // SAFETY: not null, and as the header asks it may be written.
            unsafe { ptr::write(node, Box::into_raw(Box::new(handle))) };
            0
        }
        Ok(Ok(_)) => Failure::BadArgument as i32,
        Ok(Err(failure)) => failure as i32,
        Err(_) => Failure::Panicked as i32,
    }
}

/// See the header.
///
/// # Safety
/// `node` is null, or came from `drywire_node_new`, and is never used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_node_free(node: *mut Handle) {
    if !node.is_null() {
        // SAFETY: it came from `Box::into_raw`, and as the header asks it is freed once.
        let handle = unsafe { Box::from_raw(node) };
        let _ = catch_unwind(AssertUnwindSafe(|| drop(handle)));
    }
}

/// Declares a function of the border that is given the node, and what it does there.
macro_rules! border {
    ($(fn $name:ident($handle:ident $(, $argument:ident: $type:ty)*) $body:block)*) => {$(
        /// See the header.
        ///
        /// # Safety
        /// As the header asks of its callers: every pointer is null or good for what it is used for, and no other thread
        /// uses the node meanwhile.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(node: *mut Handle $(, $argument: $type)*) -> i32 {
            let run = |$handle: &mut Handle| $body;
            // SAFETY: as the header asks.
            unsafe { with(node, run) }
        }
    )*};
}

border! {
    fn drywire_listen(node, now: u64, address: *const c_char) {
        // SAFETY: as the header asks.
        let address = unsafe { text(address) }?;
        node.listen(Instant::from_nanos(now), address).map(|()| 0)
    }

    fn drywire_dial(node, now: u64, address: *const c_char) {
        // SAFETY: as the header asks.
        let address = unsafe { text(address) }?;
        node.dial(Instant::from_nanos(now), address).map(|()| 0)
    }

    fn drywire_accept_streams(node, now: u64, protocol: *const c_char) {
        // SAFETY: as the header asks.
        let name = unsafe { text(protocol) }?;
        node.accept_streams(Instant::from_nanos(now), name).map(|()| 0)
    }

    fn drywire_shutdown(node, now: u64) {
        node.shutdown(Instant::from_nanos(now));
        Ok(0)
    }

    fn drywire_poll_action(node, now: u64, action: *mut Action) {
        match node.poll_action(Instant::from_nanos(now)) {
            // SAFETY: as the header asks.
            Some(next) => unsafe { give(action, next) }.map(|_| 1),
            None => Ok(0),
        }
    }

    fn drywire_handle_listening(node, now: u64, listener: u64, bound: *const Ipv4) {
        // SAFETY: as the header asks, null or an address.
        let bound = unsafe { bound.as_ref() }.copied();
        node.handle_listener(Instant::from_nanos(now), listener, bound).map(|()| 0)
    }

    fn drywire_handle_accepted(node, now: u64, remote: *const Ipv4, connection: *mut u64) {
        // SAFETY: as the header asks, null or an address.
        let remote = unsafe { remote.as_ref() }.ok_or(Failure::BadArgument)?;
        let accepted = node.handle_accepted(Instant::from_nanos(now), *remote)?;
        // SAFETY: as the header asks.
        unsafe { give(connection, accepted) }
    }

    fn drywire_handle_dialed(node, now: u64, attempt: u64, connected: i32, connection: *mut u64) {
        let dialed = node.handle_dialed(Instant::from_nanos(now), attempt, connected != 0)?;
        // SAFETY: as the header asks.
        unsafe { give(connection, dialed) }
    }

    fn drywire_wants_input(node, connection: u64) {
        Ok(node.wants_input(connection).into())
    }

    fn drywire_handle_input(
        node, now: u64, connection: u64, data: *const u8, len: usize, taken: *mut usize
    ) {
        // SAFETY: as the header asks.
        let bytes = unsafe { bytes(data, len) }?;
        let count = node.handle_input(Instant::from_nanos(now), connection, bytes);
        // SAFETY: as the header asks.
        unsafe { give(taken, count) }
    }

    fn drywire_handle_eof(node, now: u64, connection: u64) {
        node.handle_eof(Instant::from_nanos(now), connection);
        Ok(0)
    }

    fn drywire_handle_lost(node, now: u64, connection: u64) {
        node.handle_lost(Instant::from_nanos(now), connection);
        Ok(0)
    }

    fn drywire_unread(node, connection: u64) {
        Ok(node.unread(connection).into())
    }

    fn drywire_handle_closed(node, now: u64, connection: u64) {
        node.handle_closed(Instant::from_nanos(now), connection);
        Ok(0)
    }

    fn drywire_wants_transmit(node, connection: u64) {
        Ok(node.wants_transmit(connection).into())
    }

    fn drywire_poll_transmit(
        node, now: u64, connection: u64, data: *mut *const u8, len: *mut usize, last: *mut i32
    ) {
        let (left, is_last) = node.poll_transmit(Instant::from_nanos(now), connection);
        // SAFETY: as the header asks. The bytes stay where they are until the node is next used.
        unsafe {
            give(data, left.as_ptr())?;
            give(len, left.len())?;
            give(last, is_last.into())
        }
    }

    fn drywire_transmitted(node, connection: u64, count: usize) {
        node.transmitted(connection, count).map(|()| 0)
    }

    fn drywire_poll_timeout(node, at: *mut u64) {
        match node.poll_timeout() {
            // SAFETY: as the header asks.
            Some(deadline) => unsafe { give(at, deadline) }.map(|_| 1),
            None => Ok(0),
        }
    }

    fn drywire_handle_timeout(node, now: u64) {
        node.handle_timeout(Instant::from_nanos(now));
        Ok(0)
    }

    fn drywire_poll_event(node, event: *mut Event) {
        match node.poll_event() {
            // SAFETY: as the header asks.
            Some(next) => unsafe { give(event, next) }.map(|_| 1),
            None => Ok(0),
        }
    }

    fn drywire_open(
        node, now: u64, connection: u64, protocol: *const c_char, stream: *mut u64
    ) {
        // SAFETY: as the header asks.
        let name = unsafe { text(protocol) }?;
        let opened = node.open(Instant::from_nanos(now), connection, name)?;
        // SAFETY: as the header asks.
        unsafe { give(stream, opened) }
    }

    fn drywire_stream_read(
        node, connection: u64, stream: u64, buffer: *mut u8, len: usize, count: *mut usize
    ) {
        if buffer.is_null() || isize::try_from(len).is_err() {
            return Err(Failure::BadArgument);
        }
        // SAFETY: not null, and as the header asks there are `len` initialised bytes that nobody else uses now.
        let buffer = unsafe { slice::from_raw_parts_mut(buffer, len) };
        let read = node.read(connection, stream, buffer)?;
        // SAFETY: as the header asks.
        unsafe { give(count, read) }
    }

    fn drywire_stream_write(
        node, connection: u64, stream: u64, data: *const u8, len: usize, count: *mut usize
    ) {
        // SAFETY: as the header asks.
        let bytes = unsafe { bytes(data, len) }?;
        let written = node.write(connection, stream, bytes)?;
        // SAFETY: as the header asks.
        unsafe { give(count, written) }
    }

    fn drywire_stream_finish(node, connection: u64, stream: u64) {
        node.finish(connection, stream).map(|()| 0)
    }

    fn drywire_stream_release(node, connection: u64, stream: u64) {
        node.release(connection, stream).map(|()| 0)
    }
}
