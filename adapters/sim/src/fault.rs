//! The faults a world can meet, and how often it did.

use core::fmt;

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Something that goes wrong in a world.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Fault {
            $($(#[$doc])* $name,)*
        }

        impl Fault {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its name, in words.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

faults! {
    /// A piece came much later than others.
    Spike = "latency spike",
    /// A piece of a pipe was lost and sent again.
    Retransmission = "retransmission",
    /// A pipe stalled.
    Stall = "stall",
    /// A pipe was reset at some byte.
    Reset = "reset",
    /// A pipe ended in one direction at some byte.
    OneWayEnd = "one-way end",
    /// A pipe fell silent in one direction at some byte.
    Silence = "silence",
    /// A bit was flipped.
    Corruption = "bit flip",
    /// A write took only a part of its data, or nothing.
    PartialWrite = "partial write",
    /// A read returned a part of what there was.
    PartialRead = "partial read",
    /// A datagram was lost.
    DatagramLoss = "datagram loss",
    /// A datagram came twice.
    Duplication = "datagram twice",
    /// A datagram was held back.
    Reordering = "datagram out of order",
    /// A datagram was too long.
    TooLong = "datagram too long",
    /// An attempt to connect was refused.
    RefusedConnect = "connect refused",
    /// An attempt to connect was never answered.
    BlackHole = "connect into a black hole",
    /// An attempt to connect succeeded late.
    LateConnect = "late connect",
    /// A pipe timed out: nothing got through for too long.
    PipeTimeout = "pipe timed out",
    /// The hosts were parted in two.
    Bisection = "bisection",
    /// One half of the hosts was not heard by the other.
    OneWayPartition = "one-way partition",
    /// Hosts reached only their neighbours in a ring.
    RingPartition = "ring partition",
    /// A partition came and went quickly.
    FlappingPartition = "flapping partition",
    /// Hosts were cut off one after the other, and came back in another order.
    SwizzleClog = "swizzle-clog",
    /// A host had no file descriptors left.
    OutOfDescriptors = "out of descriptors",
    /// A process died; its sockets were closed.
    Crash = "process crash",
    /// A machine vanished; nobody was told.
    PowerLoss = "power loss",
    /// A host came back with its key.
    Restart = "restart",
    /// A host came back as somebody else.
    RestartAnew = "restart with nothing",
    /// A clock jumped forward.
    ClockJump = "clock jump",
    /// A calendar was set anew.
    WallClockJump = "calendar jump",
    /// A timer fired late.
    LateTimer = "late timer",
    /// Things of one instant came in another order.
    PermutedTies = "permuted ties",
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How often each fault was met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultCounts {
    counts: Vec<u64>,
}

impl Default for FaultCounts {
    fn default() -> Self {
        Self {
            counts: vec![0; Fault::ALL.len()],
        }
    }
}

impl FaultCounts {
    /// Counts one more.
    pub fn count(&mut self, fault: Fault) {
        if let Some(count) = self.counts.get_mut(fault as usize) {
            *count += 1;
        }
    }

    /// How often a fault was met.
    #[must_use]
    pub fn of(&self, fault: Fault) -> u64 {
        self.counts.get(fault as usize).copied().unwrap_or(0)
    }

    /// Those that were met, and how often.
    pub fn met(&self) -> impl Iterator<Item = (Fault, u64)> {
        Fault::ALL
            .iter()
            .map(|fault| (*fault, self.of(*fault)))
            .filter(|(_, count)| *count > 0)
    }

    /// How many there were in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
    }
}
