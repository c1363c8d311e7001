//! Who cannot reach whom.

use super::{HostId, Network};
use crate::fault::Fault;
use std::collections::BTreeSet;

/// Names a partition that is in force. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId(u64);

/// A way in which hosts cannot reach each other. Several may be in force at once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Partition {
    /// These hosts reach one another, and no others; the others likewise.
    Apart(BTreeSet<HostId>),
    /// Nothing that these hosts send gets out, to any that is not among them. They hear the others.
    OneWay(BTreeSet<HostId>),
    /// Each host reaches only so many neighbours on either side, in the order of their numbers.
    Ring(u32),
}

impl Partition {
    /// What it counts as.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Apart(_) => Fault::Bisection,
            Self::OneWay(_) => Fault::OneWayPartition,
            Self::Ring(_) => Fault::RingPartition,
        }
    }

    /// Whether something passes from one host to another. `hosts` is how many there are.
    #[must_use]
    pub fn passes(&self, from: HostId, to: HostId, hosts: usize) -> bool {
        match self {
            Self::Apart(some) => some.contains(&from) == some.contains(&to),
            Self::OneWay(some) => !some.contains(&from) || some.contains(&to),
            Self::Ring(reach) => {
                let apart = from.0.abs_diff(to.0);
                let around = u32::try_from(hosts)
                    .unwrap_or(u32::MAX)
                    .saturating_sub(apart);
                apart.min(around) <= *reach
            }
        }
    }
}

impl Network {
    /// Puts a partition in force. Bytes that meet it wait, and are sent again when it is gone.
    pub fn part(&mut self, partition: Partition) -> PartitionId {
        let id = PartitionId(self.next_number());
        self.faults.count(partition.fault());
        self.partitions.insert(id, partition);
        id
    }

    /// Takes a partition away. Returns whether it was in force.
    pub fn heal(&mut self, partition: PartitionId) -> bool {
        self.partitions.remove(&partition).is_some()
    }

    /// Takes all partitions away.
    pub fn heal_all(&mut self) {
        self.partitions.clear();
    }

    /// Whether something passes from one host to another now: both machines are there (a process that crashed leaves its
    /// machine), and no partition is between them.
    #[must_use]
    pub fn passes(&self, from: HostId, to: HostId) -> bool {
        let hosts = self.hosts.len();
        self.is_there(from)
            && self.is_there(to)
            && (from == to
                || self
                    .partitions
                    .values()
                    .all(|partition| partition.passes(from, to, hosts)))
    }
}
