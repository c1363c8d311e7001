//! Dialing: from a wish to reach a peer to one admitted connection, or a full account of what failed.
//!
//! A *dial* is one caller's wish, with its own id, deadline and outcome. Dials for one peer share one *job*, which tries
//! each address at most once, several at a time; each try is an *attempt*. The job ends with the first connection that
//! is admitted, when every address has failed, or when its last caller is gone. An address that another job is trying waits
//! for the end of that, and whoever wants whoever is there takes the connection it leads to.
//!
//! Order of attempts ([`rank`]): addresses of this machine and private networks, and names to look up, at once; public
//! addresses one every 250 ms, TCP first, IPv6 and IPv4 in turn; relayed ones last. Whenever nothing is being tried the
//! next address is tried without waiting.
//!
//! An address that failed for a peer is not tried again for 5 s, then 6 s, 9 s, .. up to 300 s; any connection with
//! the peer forgets that.

mod attempts;
mod backoff;
mod job;
mod options;
mod outcome;
mod rank;
mod resolve;

use attempts::Attempt;
pub(super) use attempts::Attempts;
pub(super) use backoff::Backoff;
pub(super) use job::{Caller, Jobs};
pub use options::{
    AddressFailure, AttemptError, AttemptId, DialCondition, DialError, DialId, DialOptions,
};
pub use rank::rank;
