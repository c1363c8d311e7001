//! How much memory a channel takes: while its handshake runs, whatever the peer sends, and after it.
#![cfg(any(feature = "ring", feature = "rustcrypto"))]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "the helpers of a test"
)]

use drywire::{
    crypto::Provider,
    identity::Keypair,
    multistream::ProtocolName,
    security::{
        Role, Secured,
        noise::{Handshake, Local, MAX_PAYLOAD},
    },
    seed::Seed,
};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

/// Counts the bytes that are allocated by this thread, and the highest that number was.
struct Counting;

thread_local! {
    static NOW: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

fn count(freed: usize, allocated: usize) {
    let now = NOW.get().wrapping_sub(freed).wrapping_add(allocated);
    NOW.set(now);
    PEAK.set(PEAK.get().max(now));
    CALLS.set(CALLS.get().wrapping_add(1));
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(0, layout.size());
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(layout.size(), 0);
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // While it moves, both the old and the new place are taken.
        count(0, size);
        count(layout.size(), 0);
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that `work` holds at most, and bytes that what it returns holds.
fn measured<R>(work: impl FnOnce() -> R) -> (usize, usize, R) {
    let before = NOW.get();
    PEAK.set(before);
    let result = work();
    (PEAK.get() - before, NOW.get() - before, result)
}

const YAMUX: ProtocolName = ProtocolName::from_static("/yamux/1.0.0");

fn local(number: u64) -> Local {
    let seed = Seed::for_tests(number);
    Local::new(
        Provider::default(),
        &Keypair::ed25519_from_seed(&seed),
        &seed,
    )
    .unwrap()
}

fn handshake(local: &Local, role: Role) -> Handshake {
    Handshake::new(local, role, &[YAMUX], Seed::for_tests(9).rng()).unwrap()
}

/// Runs a handshake; both sides' channels.
fn connect(dialer: &Local, listener: &Local) -> (Secured, Secured) {
    let mut initiator = handshake(dialer, Role::Initiator);
    let mut responder = handshake(listener, Role::Responder);
    let (mut there, mut back) = (Vec::new(), Vec::new());
    initiator.advance(&[], &mut there).unwrap();
    responder.advance(&there, &mut back).unwrap();
    there.clear();
    initiator.advance(&back, &mut there).unwrap();
    responder.advance(&there, &mut back).unwrap();
    (initiator.finish().unwrap(), responder.finish().unwrap())
}

const KIB: usize = 1024;

#[test]
fn a_handshake_takes_at_most_16_kib_whatever_the_peer_sends() {
    let local = local(1);
    let mut first = Vec::new();
    handshake(&local, Role::Initiator)
        .advance(&[], &mut first)
        .unwrap();
    for (role, shortest) in [(Role::Initiator, 96), (Role::Responder, 64)] {
        // The longest message that is read, byte by byte, with nothing in it that could be right.
        let length = u16::try_from(shortest + MAX_PAYLOAD).unwrap();
        let mut input = length.to_be_bytes().to_vec();
        input.resize(2 + usize::from(length), 0x55);
        let mut out = Vec::with_capacity(4 * KIB);
        let (peak, held, result) = measured(|| {
            let mut side = handshake(&local, role);
            if role == Role::Responder {
                side.advance(&first, &mut out).unwrap();
            }
            let mut result = Ok(0);
            for byte in &input {
                result = side.advance(&[*byte], &mut out);
            }
            (result.is_err(), side)
        });
        assert!(result.0, "the message was handled");
        assert!(peak <= 16 * KIB, "{role:?}: {peak} bytes");
        assert!(held <= 2 * KIB, "{role:?}: {held} bytes after the error");
    }
}

#[test]
fn a_channel_takes_next_to_nothing() {
    let (dialer, listener) = (local(1), local(2));
    let (_, held, channels) = measured(|| connect(&dialer, &listener));
    assert_eq!(held, 0, "nothing on the heap");
    assert!(
        size_of_val(&channels.0) <= 288, // with every type of key compiled in
        "{} bytes",
        size_of_val(&channels.0)
    );
}

#[test]
fn messages_allocate_nothing() {
    let (mut dialer, mut listener) = connect(&local(1), &local(2));
    let mut buffer = Vec::with_capacity(70_000);
    let before = CALLS.get();
    for length in [0, 1, 1000, 65_519] {
        buffer.clear();
        buffer.resize(2 + length, 7);
        dialer.send.seal_in_place(&mut buffer, 0).unwrap();
        let message = listener.receive.next_message(&buffer).unwrap().unwrap();
        let opened = listener.receive.open_in_place(&mut buffer[message]);
        assert_eq!(opened, Ok(length));
    }
    assert_eq!(CALLS.get(), before);
}
