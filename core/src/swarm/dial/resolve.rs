//! Names in addresses: `/dns`, `/dns4`, `/dns6` and `/dnsaddr`. The host asks its resolver; the limits are here.

use super::{AttemptError, job::TargetState};
use crate::{
    identity::PeerId,
    multiaddr::{Multiaddr, Protocol},
    swarm::{
        ResolveId,
        action::{Action, LookupKind, Resolved, TransportError},
        state::State,
        timers::Timer,
    },
};
use alloc::{format, string::String, vec::Vec};

/// Entries taken from one answer.
const MAX_ANSWERS: usize = 16;

/// What a `/dnsaddr` record looks like.
const RECORD_PREFIX: &str = "dnsaddr=";

impl State {
    pub(super) fn start_lookup(&mut self, number: u64, index: usize) {
        let (max_lookups, max_depth) = (
            self.config.dial.max_lookups,
            self.config.dial.max_lookup_depth,
        );
        let Some(job) = self.jobs.get_mut(number) else {
            return;
        };
        let lookups = job.lookups;
        let Some(target) = job.targets.get_mut(index) else {
            return;
        };
        let address = target.address.clone();
        let asked = match address.iter().next() {
            Some(Protocol::Dns(name)) => Some((String::from(name), LookupKind::Ip)),
            Some(Protocol::Dns4(name)) => Some((String::from(name), LookupKind::Ip4)),
            Some(Protocol::Dns6(name)) => Some((String::from(name), LookupKind::Ip6)),
            Some(Protocol::Dnsaddr(name)) if target.depth < max_depth => {
                Some((format!("_dnsaddr.{name}"), LookupKind::Text))
            }
            _ => None,
        };
        let Some((name, kind)) = asked.filter(|_| lookups < max_lookups) else {
            target.state = TargetState::Done;
            job.failed(address, AttemptError::TooManyLookups);
            return;
        };
        job.begin(index);
        job.lookups = job.lookups.saturating_add(1);
        let lookup = ResolveId(self.jobs.lookups_created);
        self.jobs.lookups_created = self.jobs.lookups_created.saturating_add(1);
        self.jobs.lookups.insert(lookup, (number, index));
        self.timers.set(
            Timer::Lookup(lookup),
            self.now + self.config.dial.attempt_timeout,
        );
        self.actions
            .push_back(Action::Resolve { lookup, name, kind });
    }

    pub(in crate::swarm) fn lookup_timed_out(&mut self, lookup: ResolveId) {
        self.lookup_answered(lookup, Err(TransportError::TimedOut));
    }

    /// The resolver has answered. Answers that are not asked for (any more) change nothing.
    pub(in crate::swarm) fn lookup_answered(
        &mut self,
        lookup: ResolveId,
        answer: Result<Resolved, TransportError>,
    ) {
        let Some((number, index)) = self.jobs.lookups.remove(&lookup) else {
            return;
        };
        self.timers.clear(Timer::Lookup(lookup));
        let Some(job) = self.jobs.get_mut(number) else {
            return;
        };
        job.done(index);
        let Some(target) = job.targets.get(index) else {
            return;
        };
        let (address, expected, depth) = (target.address.clone(), target.expected, target.depth);
        let public_only = target.public_only;
        let found = answer.map(|answer| {
            let mut found = read_answer(&address, expected, answer);
            found.retain(|address| !public_only || address.survey().is_global);
            found
        });
        match found {
            Err(error) => job.failed(address, AttemptError::Lookup(error)),
            Ok(found) if found.is_empty() => {
                job.failed(address, AttemptError::Lookup(TransportError::NameNotFound));
            }
            Ok(found) => {
                let deeper = depth.saturating_add(1);
                let found = found.into_iter().map(|address| (address, expected, deeper));
                self.add_targets(number, found, public_only);
            }
        }
        self.pump_job(number);
    }
}

/// The addresses an answer makes of `address`, whose first component is a name.
fn read_answer(address: &Multiaddr, expected: Option<PeerId>, answer: Resolved) -> Vec<Multiaddr> {
    match (address.iter().next(), answer) {
        (Some(name), Resolved::Addresses(ips)) => ips
            .into_iter()
            .filter(|ip| match name {
                Protocol::Dns(_) => true,
                Protocol::Dns4(_) => ip.is_ipv4(),
                Protocol::Dns6(_) => ip.is_ipv6(),
                _ => false,
            })
            .take(MAX_ANSWERS)
            .filter_map(|ip| {
                let rest = address.iter().skip(1);
                Multiaddr::from_protocols(core::iter::once(Protocol::from(ip)).chain(rest)).ok()
            })
            .collect(),
        (Some(Protocol::Dnsaddr(_)), Resolved::Text(records)) => {
            let rest: Vec<Protocol<'_>> = address.iter().skip(1).collect();
            records
                .iter()
                .filter_map(|record| record.strip_prefix(RECORD_PREFIX)?.parse().ok())
                .filter(|found: &Multiaddr| {
                    let named = found.peer_id();
                    expected.is_none_or(|peer| named.is_none_or(|named| named == peer))
                })
                .filter(|found| ends_with(&found.without_peer_id(), &rest))
                .take(MAX_ANSWERS)
                .collect()
        }
        _ => Vec::new(),
    }
}

/// Whether the last components of `address` are `tail`: what follows a `/dnsaddr` name selects among its records.
fn ends_with(address: &Multiaddr, tail: &[Protocol<'_>]) -> bool {
    let skipped = address.iter().count().checked_sub(tail.len());
    skipped.is_some_and(|skipped| address.iter().skip(skipped).eq(tail.iter().copied()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{string::ToString, vec};

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    fn peers() -> (PeerId, PeerId) {
        let of = |number| {
            let seed = crate::seed::Seed::for_tests(number);
            crate::identity::Keypair::ed25519_from_seed(&seed).peer_id()
        };
        (of(1), of(2))
    }

    #[test]
    fn names_become_addresses_of_the_asked_family() {
        let ips = Resolved::Addresses(vec![
            "192.0.2.1".parse().unwrap(),
            "2001:db8::1".parse().unwrap(),
        ]);
        let read = |text| read_answer(&address(text), None, ips.clone());
        let (four, six) = (
            address("/ip4/192.0.2.1/tcp/1"),
            address("/ip6/2001:db8::1/tcp/1"),
        );
        assert_eq!(read("/dns/example.org/tcp/1"), [four.clone(), six.clone()]);
        assert_eq!(read("/dns4/example.org/tcp/1"), [four]);
        assert_eq!(read("/dns6/example.org/tcp/1"), [six]);
        assert_eq!(read("/dnsaddr/example.org"), []);
        let many = Resolved::Addresses(vec!["192.0.2.1".parse().unwrap(); 99]);
        assert_eq!(
            read_answer(&address("/dns/example.org/tcp/1"), None, many).len(),
            MAX_ANSWERS
        );
    }

    /// The first 16 that can be used count, whatever stands between them.
    ///
    /// Fails if any number is taken of an answer of addresses, or of one of records.
    #[test]
    fn few_entries_of_an_answer_are_taken() {
        let (a, b) = peers();
        let numbers = || (0..200u32).map(|number| 0x0a00_0000 | number);
        let ip = |number: u32| core::net::Ipv4Addr::from(number);
        let expected: Vec<_> = numbers()
            .take(16)
            .map(|number| address(&std::format!("/ip4/{}/tcp/1", ip(number))))
            .collect();

        let six: core::net::IpAddr = "2001:db8::1".parse().unwrap();
        let ips = Resolved::Addresses(
            numbers()
                .flat_map(|number| [six, ip(number).into()])
                .collect(),
        );
        let found = read_answer(&address("/dns4/example.org/tcp/1"), None, ips);
        assert_eq!(found, expected);

        let records = numbers().flat_map(|number| {
            let of = |peer| std::format!("dnsaddr=/ip4/{}/tcp/1/p2p/{peer}", ip(number));
            ["v=spf1".to_string(), of(b), of(a)]
        });
        let records = Resolved::Text(records.collect());
        let found = read_answer(&address("/dnsaddr/example.org"), Some(a), records);
        let found: Vec<_> = found.iter().map(Multiaddr::without_peer_id).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn dnsaddr_records_are_selected_by_peer_and_by_what_follows() {
        let (a, b) = peers();
        let records = Resolved::Text(vec![
            std::format!("dnsaddr=/ip4/192.0.2.1/tcp/1/p2p/{a}"),
            std::format!("dnsaddr=/ip4/192.0.2.2/tcp/1/p2p/{b}"),
            std::format!("dnsaddr=/ip4/192.0.2.3/udp/1/quic-v1/p2p/{a}"),
            "dnsaddr=/dnsaddr/more.example.org".to_string(),
            "dnsaddr=nonsense".to_string(),
            "v=spf1".to_string(),
        ]);
        let read = |text: &str, peer| -> Vec<_> {
            let found = read_answer(&address(text), peer, records.clone());
            found
                .iter()
                .map(|address| address.without_peer_id().to_string())
                .collect()
        };
        assert_eq!(
            read("/dnsaddr/example.org", Some(a)),
            [
                "/ip4/192.0.2.1/tcp/1",
                "/ip4/192.0.2.3/udp/1/quic-v1",
                "/dnsaddr/more.example.org",
            ]
        );
        assert_eq!(
            read("/dnsaddr/example.org/tcp/1", Some(b)),
            ["/ip4/192.0.2.2/tcp/1"]
        );
        assert_eq!(read("/dnsaddr/example.org", None).len(), 4);
        assert_eq!(read("/dns4/example.org/tcp/1", None), [""; 0]);
    }
}
