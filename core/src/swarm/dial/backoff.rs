//! Addresses that failed a short while ago.

use crate::{
    identity::PeerId,
    multiaddr::Multiaddr,
    swarm::{
        config::DialConfig,
        hash::{KeyedHash, KeyedMap},
    },
    time::Instant,
};
use alloc::{collections::BTreeSet, vec::Vec};
use core::time::Duration;

/// Peers remembered. Beyond, the one whose pauses end soonest is forgotten.
const MAX_PEERS: usize = 4096;

/// Addresses remembered of one peer; the one whose pause ends soonest gives way.
const MAX_ADDRESSES: usize = 64;

#[derive(Debug)]
struct Failed {
    address: Multiaddr,
    tries: u32,
    until: Instant,
    /// When even the number of tries is forgotten: as long after the pause as the pause was.
    forgotten: Instant,
}

/// Which addresses are not to be tried again yet.
#[derive(Debug)]
pub(in crate::swarm) struct Backoff {
    peers: KeyedMap<PeerId, Vec<Failed>>,
    order: BTreeSet<(Instant, PeerId)>,
}

impl Backoff {
    pub(in crate::swarm) fn new(hash: &KeyedHash) -> Self {
        Self {
            peers: KeyedMap::with_hasher(hash.clone()),
            order: BTreeSet::new(),
        }
    }

    /// How long this address must rest.
    pub(super) fn remaining(
        &self,
        now: Instant,
        peer: &PeerId,
        address: &Multiaddr,
    ) -> Option<Duration> {
        let failed = self.peers.get(peer)?;
        let failed = failed.iter().find(|failed| failed.address == *address)?;
        (failed.until > now).then(|| failed.until - now)
    }

    /// The address failed: it rests for the base time, then for one second more times the square of the failures
    /// before, at most for the longest time.
    pub(super) fn failed(
        &mut self,
        now: Instant,
        peer: PeerId,
        address: &Multiaddr,
        config: &DialConfig,
    ) {
        let mut failed = self.take(peer);
        let tries = match failed.iter().position(|failed| failed.address == *address) {
            Some(index) => failed.swap_remove(index).tries,
            None => 0,
        };
        let square = u64::from(tries).saturating_mul(u64::from(tries));
        let pause = config
            .backoff_base
            .saturating_add(Duration::from_secs(square))
            .min(config.backoff_max);
        let until = now + pause;
        if failed.len() >= MAX_ADDRESSES {
            let soonest = failed
                .iter()
                .enumerate()
                .min_by_key(|(_, failed)| failed.until)
                .map(|(index, _)| index);
            soonest.map(|index| failed.swap_remove(index));
        }
        failed.push(Failed {
            address: address.clone(),
            tries: tries.saturating_add(1),
            until,
            forgotten: until + pause,
        });
        self.put(peer, failed);
        while self.peers.len() > MAX_PEERS {
            let Some((_, peer)) = self.order.first().copied() else {
                return;
            };
            self.take(peer);
        }
    }

    /// The peer was met: forget all about it.
    pub(in crate::swarm) fn clear(&mut self, peer: PeerId) {
        self.take(peer);
    }

    pub(in crate::swarm) fn next_forgotten(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    pub(in crate::swarm) fn forget(&mut self, now: Instant) {
        while let Some((at, peer)) = self.order.first().copied() {
            if at > now {
                break;
            }
            let mut failed = self.take(peer);
            failed.retain(|failed| failed.forgotten > now);
            self.put(peer, failed);
        }
    }

    #[cfg(test)]
    pub(in crate::swarm) fn len(&self) -> usize {
        self.peers.len()
    }

    fn take(&mut self, peer: PeerId) -> Vec<Failed> {
        let failed = self.peers.remove(&peer).unwrap_or_default();
        if let Some(at) = next(&failed) {
            self.order.remove(&(at, peer));
        }
        failed
    }

    fn put(&mut self, peer: PeerId, failed: Vec<Failed>) {
        if let Some(at) = next(&failed) {
            self.order.insert((at, peer));
            self.peers.insert(peer, failed);
        }
    }
}

fn next(failed: &[Failed]) -> Option<Instant> {
    failed.iter().map(|failed| failed.forgotten).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{identity::Keypair, seed::Seed};

    fn peer(number: u64) -> PeerId {
        Keypair::ed25519_from_seed(&Seed::for_tests(number)).peer_id()
    }

    #[test]
    fn pauses_grow_to_the_longest_and_end_with_a_meeting() {
        let mut backoff = Backoff::new(&KeyedHash::new(&Seed::for_tests(0)));
        let (config, who) = (DialConfig::default(), peer(1));
        let address: Multiaddr = "/ip4/192.0.2.1/tcp/1".parse().unwrap();
        let mut now = Instant::ZERO;
        let mut pauses = Vec::new();
        for _ in 0..25 {
            backoff.failed(now, who, &address, &config);
            let pause = backoff.remaining(now, &who, &address).unwrap();
            pauses.push(pause.as_secs());
            now = now + pause;
            assert_eq!(backoff.remaining(now, &who, &address), None);
        }
        assert_eq!(pauses[..5], [5, 6, 9, 14, 21]);
        assert_eq!(pauses[24], 300);
        assert_eq!(backoff.remaining(now, &peer(2), &address), None);
        let at = backoff.next_forgotten().unwrap();
        backoff.failed(now, who, &address, &config);
        assert!(backoff.next_forgotten().unwrap() > at);
        backoff.clear(who);
        assert_eq!((backoff.len(), backoff.next_forgotten()), (0, None));
    }

    #[test]
    fn memory_is_bounded_and_given_back() {
        let mut backoff = Backoff::new(&KeyedHash::new(&Seed::for_tests(0)));
        let config = DialConfig::default();
        let addresses: Vec<Multiaddr> = (0..80)
            .map(|port| std::format!("/ip4/192.0.2.1/tcp/{port}").parse().unwrap())
            .collect();
        for address in &addresses {
            backoff.failed(Instant::ZERO, peer(0), address, &config);
        }
        assert_eq!(backoff.peers.get(&peer(0)).unwrap().len(), MAX_ADDRESSES);
        for number in 1..5000 {
            backoff.failed(Instant::ZERO, peer(number), &addresses[0], &config);
        }
        assert_eq!(
            (backoff.peers.len(), backoff.order.len()),
            (MAX_PEERS, MAX_PEERS)
        );
        backoff.forget(Instant::ZERO + Duration::from_secs(9));
        assert_eq!(backoff.peers.len(), MAX_PEERS);
        backoff.forget(Instant::ZERO + Duration::from_secs(10));
        assert_eq!((backoff.peers.len(), backoff.order.len()), (0, 0));
    }
}
