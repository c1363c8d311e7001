//! drywire's core in event loops of one's own.
//!
//! Each of these is complete: partial writes, errors of `accept`, dials that fail or are cancelled, half-closed and broken
//! sockets, slow peers, bounded work per turn. None sleeps to poll, and none blocks on a socket. They use the public interface of
//! `drywire`, and `drywire-system` for the clock, entropy and listening sockets; copy what you need.
//!
//! | example | choose it when | of |
//! |---|---|---|
//! | [`epoll`] | your program has one thread that waits for sockets: a server, a proxy, an embedded device | `Node` |
//! | [`workers`] | one core is not enough: handshakes, encryption and the application's work are to use all of them | `Swarm` and `Connection` |
//! | [`game_tick`] | your program has a clock of its own and the network must fit into its frames | `Node` |
//! | `c-host` (a crate beside this one) | your program is written in C, or in anything that calls C | `Node` behind an FFI |
//!
//! What they share is [`socket`]: one socket of one connection. What they carry in their programs and tests is
//! [`transfer`]: 64 MiB there and back, with a checksum.
//!
//! # What every loop does
//!
//! 1. Sleep until a socket is ready or `poll_timeout` has come.
//! 2. `handle_timeout`, if it has.
//! 3. Of each ready socket: read while `recv_buf` gives a buffer, up to a budget; drain the events, so that the
//!    application's answers join the same message; `poll_transmit` and write until the socket is full.
//! 4. Do what the actions say: dial, listen, close.
//!
//! | | how it works |
//! |---|---|
//! | back-pressure from the application | whoever does not read a stream lets its window run full; over a connection's byte cap `recv_buf` gives no buffer, so the loop does not read, and TCP holds the peer. After the application has read there is a buffer again: ask after each turn |
//! | back-pressure from the network | `poll_transmit` is called only when the last bytes are written; meanwhile the streams' send queues fill, and `Stream::write` says `Blocked` until `Event::Writable` |
//! | timers | one: the earliest of `poll_timeout` and the loop's own deadlines |
//! | shutdown | `shutdown`; the loop goes on until `Event::ShutdownComplete`, which comes when `handle_closed` was called for each connection, that is when its last bytes are written and its socket is gone |
//! | a peer that leaves first | what it sent can still be read: the socket goes at once, but while `Connection::is_unread` says that something is left, `handle_closed` waits, 10 s at most, and not at all while the node shuts down |
//!
//! None of the loops looks names up: `handle_unsupported` answers `Action::Resolve`. Ask a resolver on a thread of its own, and
//! give what it finds to `Swarm::handle_resolved`.
#![forbid(unsafe_code)]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "these are programs on std; what they add up is bounded by what fits in memory"
)]

#[cfg(target_os = "linux")]
pub mod epoll;
pub mod game_tick;
pub mod socket;
pub mod transfer;
pub mod workers;

use drywire::{
    identity::Keypair,
    seed::Seed,
    swarm::{Config, Protocol, Swarm},
};

/// A swarm with a new identity, on the operating system's clock and entropy.
///
/// # Errors
/// If the operating system has no entropy to give.
pub fn swarm<P: Protocol>(config: Config, protocols: P) -> Result<Swarm<P>, Failed> {
    swarm_with(config, keypair()?, protocols)
}

/// A new identity. A node that is to be found again keeps it in a file.
///
/// # Errors
/// If the operating system has no entropy to give.
pub fn keypair() -> Result<Keypair, Failed> {
    let seed = Seed::from_entropy(drywire_system::entropy()?);
    Ok(Keypair::ed25519_from_seed(&seed))
}

/// A swarm of this identity.
///
/// # Errors
/// If the operating system has no entropy to give.
pub fn swarm_with<P: Protocol>(
    config: Config,
    keypair: Keypair,
    protocols: P,
) -> Result<Swarm<P>, Failed> {
    let seed = Seed::from_entropy(drywire_system::entropy()?);
    let (now, unix) = (drywire_system::now(), drywire_system::unix());
    Ok(Swarm::new(config, keypair, protocols, seed, now, unix)?)
}

/// What went wrong, for programs.
pub type Failed = Box<dyn core::error::Error + Send + Sync>;
