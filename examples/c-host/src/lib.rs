//! A node behind a C interface, as an example of one: `include/drywire_example.h` says what it offers, `host.c` is a program
//! that uses it.
//!
//! **When to choose it:** the event loop is written in C, or in anything that can call C. The loop owns sockets, clock, entropy
//! and threads; this crate owns one [`Node`](drywire::node::Node) per handle and nothing else: no thread, no global, no callback.
//!
//! **The border.** Handles are opaque and belong to whoever made them until `drywire_node_free`. Whatever C passes in is
//! copied before the call returns; what it gets is copied into memory of its own, except the bytes to transmit, which are
//! lent until the next call for that node. Every call returns a status. A panic (there should be none) does not cross: the call
//! returns `DRYWIRE_PANICKED`, and so does every later one on that handle, except freeing it. Built with `panic = "abort"` it
//! ends the process instead. A handle may go from thread to thread, but two threads must not use it at once.
//!
//! **Back-pressure:** `drywire_wants_input` says whether to poll a socket for reading, `drywire_wants_transmit` whether for
//! writing; poll(2) is level-triggered, so both are asked before each call of it. `drywire_handle_input` may take less than all
//! only if that was not asked. **A peer that leaves first:** `drywire_unread` says whether what it sent still waits to be read.
//! **Timers:** `drywire_poll_timeout` is the timeout of poll(2). **Shutdown:** `drywire_shutdown`, then go on until
//! `DRYWIRE_EVENT_SHUTDOWN_COMPLETE`.
//!
//! It is the only crate here with unsafe code: at the border, and nowhere else. A real binding would offer more, IPv6 to begin
//! with.
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "the host is on std"
)]

mod border;
mod handle;

pub use border::*;
