//! Swarm testing: many small worlds, each with its own troubles, all promises checked.
//!
//! A [`Plan`] is drawn from each seed: how many hosts, what they do, which troubles there are and how strong. It runs in two
//! phases. In the storm the troubles happen, and nothing wrong may happen: every invariant is checked after every step. Then
//! everything heals, and in the calm what ought to happen must happen within a bound of virtual time: hosts meet again,
//! calls are answered, and after shutting down nothing is left. (TigerBeetle's simulator has the same two phases.)
//!
//! What the machines promise is named after the invariants I1 to I47 of this project; a [`Failure`] names the one that was
//! violated, and carries the seed, the step and the last lines of the trace. [`shrink`] makes the plan of a failure small.
//!
//! | invariant | where it is checked |
//! |---|---|
//! | I1 no panic, no overflow | panics are caught and reported |
//! | I5 each turn ends, I6 no deadline without delay | the host's turn, and its wakes at one instant, are counted |
//! | I7, I9 nothing is left at the end | after shutting down: connections, pipes, dials, listeners, leases |
//! | I11, I12, I19 bytes arrive as written | each byte of a call follows from its first eight |
//! | I15 both sides agree on one protocol | names reported on both sides |
//! | I16, I47 no stuck half-open | age of handshakes, of closing, and of connections whose other end is gone |
//! | I17 no byte before authentication | the application's bytes are never seen on the wire |
//! | I18, I33 both ends know each other, none is itself | who is reported against who is there |
//! | I10, I28, I31, I35 limits and reservations | [`Swarm::audit`](drywire::swarm::Swarm::audit) after every step |
//! | I32 dials end once, no address is dialed twice at once | counted |
//! | I45 healthy pairs are answered | the calm |
//!
//! To explore your own protocols, implement [`Scenario`].

mod campaign;
mod echoes;
mod plan;
mod run;
mod shrink;
mod trouble;

pub use campaign::{Campaign, Summary};
pub use echoes::Echoes;
pub use plan::Plan;
pub use run::{Failure, Report, Scenario};
pub use shrink::{Shrunk, shrink};
pub use trouble::Trouble;

use run::run;
