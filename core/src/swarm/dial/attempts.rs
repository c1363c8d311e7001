//! What is being tried.

use super::{AttemptId, job::Target};
use crate::{connection::ConnectionId, identity::PeerId, multiaddr::Multiaddr};
use alloc::{collections::BTreeMap, format, string::String, vec::Vec};

/// One try of one address.
#[derive(Debug)]
pub(in crate::swarm) struct Attempt {
    /// Whose it is; `None` if its job was answered by another connection while this one was in its handshake.
    pub(super) job: Option<(u64, usize)>,
    pub(super) address: Multiaddr,
    pub(super) expected: Option<PeerId>,
    /// The connection, once there is one.
    pub(super) connection: Option<ConnectionId>,
}

/// All attempts under way.
#[derive(Debug, Default)]
pub(in crate::swarm) struct Attempts {
    pub(super) attempts: BTreeMap<AttemptId, Attempt>,
    pub(super) created: u64,
}

impl Attempts {
    pub(in crate::swarm) fn len(&self) -> usize {
        self.attempts.len()
    }

    /// Whether another job's attempt may lead to what this target leads to: it is not tried twice at once.
    pub(super) fn covers(&self, job: u64, target: &Target) -> bool {
        self.attempts.values().any(|attempt| {
            attempt.address == target.address
                && attempt.job.is_none_or(|(other, _)| other != job)
                && may_be_one(attempt.expected, target.expected)
        })
    }

    /// Checks that nothing is tried twice at once: of two attempts at one address, either belongs to a job of its own, and they
    /// lead to different peers; or one job has both, for different peers.
    pub(in crate::swarm) fn audit(&self) -> Result<(), String> {
        let mut by_address: BTreeMap<&[u8], Vec<&Attempt>> = BTreeMap::new();
        for attempt in self.attempts.values() {
            let address = attempt.address.as_bytes();
            let others = by_address.entry(address).or_default();
            let twice = others.iter().any(|other| {
                let jobs = [other, attempt].map(|attempt| attempt.job.map(|(job, _)| job));
                match jobs {
                    [None, None] => false,
                    [one, another] if one == another => other.expected == attempt.expected,
                    _ => may_be_one(other.expected, attempt.expected),
                }
            });
            if twice {
                return Err(format!("{} is dialed twice at once", attempt.address));
            }
            others.push(attempt);
        }
        Ok(())
    }

    /// Of each attempt its job, who is expected and the address.
    #[cfg(test)]
    pub(in crate::swarm) fn all(
        &self,
    ) -> impl Iterator<Item = (Option<u64>, Option<PeerId>, &Multiaddr)> {
        self.attempts.values().map(|attempt| {
            (
                attempt.job.map(|(job, _)| job),
                attempt.expected,
                &attempt.address,
            )
        })
    }
}

/// Whether who is expected at two places may be the same peer: nobody in particular may be anybody.
fn may_be_one(one: Option<PeerId>, other: Option<PeerId>) -> bool {
    one.is_none() || other.is_none() || one == other
}
