//! How many peers of one network the table may hold.

use super::entry::Entry;
use crate::multiaddr::Multiaddr;
use alloc::collections::BTreeMap;
use core::net::IpAddr;
use smallvec::SmallVec;

/// How many peers of one group of IP addresses the table takes, so that who owns one network cannot fill it (eclipse
/// attack, [CVE-2020-10937](https://nvd.nist.gov/vuln/detail/CVE-2020-10937)). The defaults are those of
/// go-libp2p-kad-dht.
///
/// A peer is in the group of each of its addresses, and refused if one of these groups is full. Addresses that nobody
/// on the internet can dial (loopback, private, reserved), names, and addresses through relays are in no group: they
/// are not limited. Leave those out where that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiversityLimits {
    /// Peers of one group in the table: 3.
    pub per_table: usize,
    /// Peers of one group in a bucket: 2.
    pub per_bucket: usize,
    /// How many bits make a group of IPv4 addresses, at most 32: 16.
    pub ipv4_prefix: u8,
    /// How many bits make a group of IPv6 addresses, at most 128: 32, what a network usually gets from its registry.
    /// (go-libp2p groups them by autonomous system, from a list it brings along.)
    pub ipv6_prefix: u8,
    /// Whether each of the large IPv4 networks of single companies (12, 17, 19, 38, 48, 53, 56 and 73, all /8) is one
    /// group: yes.
    pub whole_class_a: bool,
}

impl Default for DiversityLimits {
    fn default() -> Self {
        Self {
            per_table: 3,
            per_bucket: 2,
            ipv4_prefix: 16,
            ipv6_prefix: 32,
            whole_class_a: true,
        }
    }
}

/// Networks of /8 that one company has had since before there were others.
const CLASS_A: [u8; 8] = [12, 17, 19, 38, 48, 53, 56, 73];

/// The first address of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum Group {
    V4(u32),
    V6(u128),
}

impl DiversityLimits {
    /// Which group an address is in.
    pub(in super::super) fn group(&self, address: &Multiaddr) -> Option<Group> {
        let survey = address.survey();
        if !survey.is_global || survey.is_relayed {
            return None;
        }
        Some(match survey.ip?.to_canonical() {
            IpAddr::V4(ip) => {
                let [first, ..] = ip.octets();
                let class_a = self.whole_class_a && CLASS_A.contains(&first);
                let prefix = if class_a { 8 } else { self.ipv4_prefix };
                let host = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
                Group::V4(ip.to_bits() & !host)
            }
            IpAddr::V6(ip) => {
                let host = u128::MAX.checked_shr(self.ipv6_prefix.into());
                Group::V6(ip.to_bits() & !host.unwrap_or(0))
            }
        })
    }

    /// The groups of these addresses, each once.
    pub(in super::super) fn groups<'a>(
        &self,
        addresses: impl IntoIterator<Item = &'a Multiaddr>,
    ) -> SmallVec<[Group; 4]> {
        let groups = addresses
            .into_iter()
            .filter_map(|address| self.group(address));
        let mut groups: SmallVec<_> = groups.collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }
}

/// How many peers of each group are in the table.
#[derive(Clone, Debug)]
pub(super) struct Groups {
    limits: Option<DiversityLimits>,
    counts: BTreeMap<Group, usize>,
}

impl Groups {
    pub(super) const fn new(limits: Option<DiversityLimits>) -> Self {
        Self {
            limits,
            counts: BTreeMap::new(),
        }
    }

    /// Counts an entry that has come.
    pub(super) fn count(&mut self, entry: &Entry) {
        for group in self.of(entry) {
            let count = self.counts.entry(group).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// No longer counts an entry, as it was when counted.
    pub(super) fn forget(&mut self, entry: &Entry) {
        for group in self.of(entry) {
            let Some(count) = self.counts.get_mut(&group) else {
                continue;
            };
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.counts.remove(&group);
            }
        }
    }

    fn of(&self, entry: &Entry) -> SmallVec<[Group; 4]> {
        let limits = self.limits.as_ref();
        limits.map_or_else(SmallVec::new, |limits| limits.groups(entry.addresses()))
    }

    /// Whether a peer may have these addresses too, next to those in its bucket, once `leaving` has left. The peer
    /// itself does not count against itself.
    pub(super) fn allow<'a>(
        &self,
        addresses: impl IntoIterator<Item = &'a Multiaddr>,
        bucket: &[Entry],
        leaving: Option<&Entry>,
        itself: Option<&Entry>,
    ) -> bool {
        let Some(limits) = &self.limits else {
            return true;
        };
        let is_in = |entry: &Entry, group: &Group| {
            let mut addresses = entry.addresses().iter();
            addresses.any(|address| limits.group(address) == Some(*group))
        };
        let allows = |group: &Group| {
            if itself.is_some_and(|entry| is_in(entry, group)) {
                return true;
            }
            let gone = usize::from(leaving.is_some_and(|entry| is_in(entry, group)));
            let in_table = self.counts.get(group).copied().unwrap_or(0);
            let in_bucket = bucket.iter().filter(|entry| is_in(entry, group)).count();
            in_table.saturating_sub(gone) < limits.per_table
                && in_bucket.saturating_sub(gone) < limits.per_bucket
        };
        limits.groups(addresses).iter().all(allows)
    }

    #[cfg(test)]
    pub(super) const fn counts(&self) -> &BTreeMap<Group, usize> {
        &self.counts
    }
}
