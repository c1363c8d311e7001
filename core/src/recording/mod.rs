//! Recording: what goes in and out of every machine, kept; and running the machines again from that.
//!
//! Machines are pure, so what went into one is enough to have everything happen again: a failure seen once in the field, or
//! after a million steps of a simulation, is looked at as often as one likes. Recording is per machine. Each call is an entry
//! with all its arguments, each result another, so no scheduler, clock or socket is needed to run them again.
//!
//! Set [`swarm::Config::recorder`](crate::swarm::Config::recorder), and every host records: it has nothing to do for it. A
//! [`Recorder`] gets the entries as bytes; [`Entry`] reads them, and shows each as a line of text. [`Replay`] takes them, runs
//! the machines again, and compares whatever comes out, byte by byte.
//!
//! **A recording holds secrets**: keys, seeds, and with them everything that was encrypted. Keep it as one keeps a private
//! key.
//!
//! # What is in it
//!
//! Of a connection: what it was started with, all bytes it received, the swarm's messages, what the host did to its streams;
//! and as digests the bytes it sent and its messages to the swarm, in full its events. Of a swarm: what it was made with, and
//! every call, messages of connections in full; and the text of its actions and events. Questions that change nothing are not
//! in it, nor are polls that gave nothing.
//!
//! A connection always runs again. For a swarm its protocols are needed, and for each closure that was given to
//! [`Swarm::with`](crate::swarm::Swarm::with), of which there is but a mark, the same closure: see [`Script`].
//!
//! The same seed and the same calls give the same entries, with every crypto backend, optimised or not. A recording is for the
//! version of this crate that made it, and no other.
//!
//! ```
//! use drywire::{
//!     identity::Keypair,
//!     protocol::Standard,
//!     recording::{Machine, Recorder, Replay, Script, SharedRecorder},
//!     seed::Seed,
//!     swarm::{Config, Context, Protocol, Swarm},
//!     time::{Instant, UnixTime},
//! };
//! use std::sync::{Arc, Mutex};
//!
//! #[derive(Default)]
//! struct Memory(Mutex<Vec<(Machine, Vec<u8>)>>);
//!
//! impl Recorder for Memory {
//!     fn record(&self, machine: Machine, entry: &[u8]) {
//!         self.0.lock().unwrap().push((machine, entry.to_vec()));
//!     }
//! }
//!
//! let memory = Arc::new(Memory::default());
//! let mut config = Config::default();
//! config.recorder = Some(SharedRecorder::from(memory.clone() as Arc<dyn Recorder>));
//! let seed = Seed::for_tests(1);
//! let key = Keypair::ed25519_from_seed(&seed);
//! let now = Instant::ZERO;
//! let mut swarm = Swarm::new(config, key, Standard::default(), seed, now, UnixTime::EPOCH)?;
//! let _ = swarm.listen(now, "/ip4/127.0.0.1/tcp/4001".parse().unwrap());
//! while swarm.poll_action().is_some() {}
//! drop(swarm);
//!
//! struct Standards;
//!
//! impl Script for Standards {
//!     type Protocols = Standard;
//!     fn protocols(&mut self, _host: u32) -> Option<Standard> {
//!         Some(Standard::default())
//!     }
//! }
//!
//! let mut replay = Replay::with_swarms(Standards);
//! for (machine, entry) in memory.0.lock().unwrap().iter() {
//!     replay.apply(0, *machine, entry)?;
//! }
//! let report = replay.finish()?;
//! assert_eq!((report.swarms, report.outputs), (1, 2));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod describe;
mod replay;

pub use crate::{
    connection::{
        recorded::{
            ConnectionEntry, ConnectionInput, ConnectionOutput, RecordedStart, StreamInput,
        },
        recorder::{Digest, Machine, Recorder, SharedRecorder},
    },
    swarm::recorded::{RecordedSwarm, SwarmEntry, SwarmInput, SwarmOutput},
};
pub use replay::{ConnectionsOnly, Place, Replay, ReplayError, Report, Script};

use core::fmt;

/// The version of this crate. A recording of another one is not for this one.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// One entry of a recording, read. It shows as a line of text: `<-` for what went in, `->` for what came out.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Entry<'a> {
    /// Of a swarm.
    Swarm(SwarmEntry<'a>),
    /// Of a connection.
    Connection(ConnectionEntry<'a>),
}

/// Bytes that are no entry: of another version, altered, or made with features that this build lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an entry of a recording that this build can read")
    }
}

impl core::error::Error for Malformed {}

impl<'a> Entry<'a> {
    /// Reads what `machine` gave to its [`Recorder`]. Larger pieces of bytes stay where they are.
    ///
    /// # Errors
    /// [`Malformed`], also if anything follows the entry.
    pub fn decode(machine: Machine, bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (entry, rest) = match machine {
            Machine::Swarm => {
                postcard::take_from_bytes(bytes).map(|(entry, rest)| (Self::Swarm(entry), rest))
            }
            Machine::Connection(_) => postcard::take_from_bytes(bytes)
                .map(|(entry, rest)| (Self::Connection(entry), rest)),
        }
        .map_err(|_| Malformed)?;
        if rest.is_empty() {
            Ok(entry)
        } else {
            Err(Malformed)
        }
    }

    /// Whether this came out of the machine.
    #[must_use]
    pub const fn is_output(&self) -> bool {
        matches!(
            self,
            Self::Swarm(SwarmEntry::Output(_)) | Self::Connection(ConnectionEntry::Output(_))
        )
    }

    /// Whether the machine was gone then.
    #[must_use]
    pub const fn is_end(&self) -> bool {
        matches!(
            self,
            Self::Swarm(SwarmEntry::End) | Self::Connection(ConnectionEntry::End)
        )
    }
}
