//! Adversaries: for each known way to break a stack like this one, a peer that tries it against real connections, or a
//! whole node, through the public interface.
//!
//! The table maps each attack to its tests, here or beside the code; [`table`] checks that it is complete.

mod admission;
mod amplification;
mod everything;
mod kad_limits;
mod limits;
mod liveness;
mod muxer;
mod negotiation;
mod records;
mod request_limits;
mod requests;
mod security;
mod table;

use drywire::{connection::ConnectionError, multiaddr::Multiaddr, mux::yamux};
use drywire_tests::{
    hostile::Hostile,
    pair::{Secure, Setup},
    victim::Victim,
};
use std::time::Duration;

const KIB: usize = 1024;
const SECOND: Duration = Duration::from_secs(1);

/// A connection that listens, and a proven peer that is about to attack it.
fn attacked(secure: Secure) -> (Victim, Hostile) {
    let setup = Setup {
        secure,
        ..Setup::default()
    };
    let mut victim = Victim::new(&setup, 1);
    let hostile = Hostile::dial(&mut victim, secure, 1);
    assert!(victim.side.connection.is_open());
    (victim, hostile)
}

/// What the connection has of the heap; from here on its highest use is measured anew.
fn quiet(victim: &mut Victim) -> isize {
    victim.meter.total.peak = victim.meter.total.kept;
    victim.meter.total.kept
}

/// The highest use since [`quiet`].
fn peak_of(victim: &Victim) -> isize {
    victim.meter.total.peak
}

/// The muxer's rule that the peer broke, if it broke one.
fn yamux_error(victim: &Victim) -> Option<yamux::Error> {
    match victim.side.connection.error() {
        Some(ConnectionError::Muxer(error)) => Some(error.clone()),
        None => None,
        other => panic!("{other:?}"),
    }
}

/// An address somewhere on the Internet: a host of its own for each number.
fn address(number: u32) -> Multiaddr {
    let [_, a, b, c] = number.to_be_bytes();
    let text = format!("/ip4/45.{a}.{b}.{c}/tcp/4001");
    text.parse().expect("an address")
}
