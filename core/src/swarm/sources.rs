//! Whence accepted connections come: counts and rates by IP address.

use super::{
    audit::at_most,
    config::{ConnectionLimits, Rate},
    error::Refused,
    hash::{KeyedHash, KeyedMap},
};
use crate::{multiaddr::Multiaddr, time::Instant};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
};
use core::net::IpAddr;

/// Rates remembered. Beyond, the one that will be forgotten soonest is.
const MAX_RATES: usize = 16_384;

/// A part of the address space that is counted as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Network {
    V4([u8; 4]),
    V6Slash56([u8; 7]),
    V6Slash48([u8; 6]),
}

impl Source {
    /// The networks it is counted under.
    pub(super) fn networks(self) -> impl Iterator<Item = Network> {
        core::iter::once(self.address).chain(self.site)
    }
}

/// What one accepted connection is counted under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Source {
    address: Network,
    site: Option<Network>,
}

impl Source {
    /// `None` for addresses without counts and rates: loopback, and those that are not IP.
    pub(super) fn of(remote: &Multiaddr) -> Option<Self> {
        let ip = remote.ip()?.to_canonical();
        if ip.is_loopback() {
            return None;
        }
        Some(match ip {
            IpAddr::V4(ip) => Self {
                address: Network::V4(ip.octets()),
                site: None,
            },
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, g, ..] = ip.octets();
                Self {
                    address: Network::V6Slash56([a, b, c, d, e, f, g]),
                    site: Some(Network::V6Slash48([a, b, c, d, e, f])),
                }
            }
        })
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    all: u32,
    pending: u32,
}

/// Counts and rates of all sources.
#[derive(Debug)]
pub(super) struct Sources {
    counts: KeyedMap<Network, Count>,
    /// When a network will have earned everything back: one instant is a whole token bucket.
    full_at: KeyedMap<Network, Instant>,
    by_full_at: BTreeSet<(Instant, Network)>,
}

impl Sources {
    pub(super) fn new(hash: &KeyedHash) -> Self {
        Self {
            counts: KeyedMap::with_hasher(hash.clone()),
            full_at: KeyedMap::with_hasher(hash.clone()),
            by_full_at: BTreeSet::new(),
        }
    }

    /// Counts one more connection in its handshake, or says why not and changes nothing.
    pub(super) fn enter(
        &mut self,
        now: Instant,
        source: Source,
        limits: &ConnectionLimits,
    ) -> Result<(), Refused> {
        let count = self.count(source.address);
        if count.all >= limits.per_address {
            return Err(Refused::TooManyFromAddress);
        }
        if count.pending >= limits.pending_per_address {
            return Err(Refused::TooManyPendingFromAddress);
        }
        if source
            .site
            .is_some_and(|site| self.count(site).all >= limits.per_site)
        {
            return Err(Refused::TooManyFromAddress);
        }
        self.forget_full(now);
        let address = self.spend(now, source.address, limits.rate_per_address)?;
        let site = match source.site {
            Some(network) => Some((network, self.spend(now, network, limits.rate_per_site)?)),
            None => None,
        };
        self.set_full_at(now, source.address, address);
        if let Some((network, at)) = site {
            self.set_full_at(now, network, at);
        }
        self.change(source, |count| {
            count.all = count.all.saturating_add(1);
            count.pending = count.pending.saturating_add(1);
        });
        Ok(())
    }

    /// The handshake of a counted connection is over.
    pub(super) fn settle(&mut self, source: Source) {
        self.change(source, |count| {
            count.pending = count.pending.saturating_sub(1)
        });
    }

    /// A counted connection whose handshake was over is gone.
    pub(super) fn leave(&mut self, source: Source) {
        self.change(source, |count| count.all = count.all.saturating_sub(1));
    }

    /// When the next rate can be forgotten.
    pub(super) fn next_forgotten(&self) -> Option<Instant> {
        self.by_full_at.first().map(|(at, _)| *at)
    }

    /// Forgets networks that have earned everything back.
    pub(super) fn forget_full(&mut self, now: Instant) {
        while let Some((at, network)) = self.by_full_at.first().copied() {
            if at > now {
                break;
            }
            self.by_full_at.pop_first();
            self.full_at.remove(&network);
        }
    }

    /// Whether the counts are these, and within their limits.
    pub(super) fn audit(
        &self,
        there: &BTreeMap<Network, (u32, u32)>,
        limits: &ConnectionLimits,
    ) -> Result<(), String> {
        if self.counts.len() != there.len() {
            return Err(format!(
                "{} sources counted, {} there",
                self.counts.len(),
                there.len()
            ));
        }
        for (network, (all, pending)) in there {
            let count = self.count(*network);
            if (count.all, count.pending) != (*all, *pending) {
                return Err(format!(
                    "{network:?}: {count:?}, but {all} there, {pending} pending"
                ));
            }
            let (limit, pending_limit) = match network {
                Network::V6Slash48(_) => (limits.per_site, u32::MAX),
                _ => (limits.per_address, limits.pending_per_address),
            };
            at_most("connections of a source", *all, limit)?;
            at_most("handshakes of a source", *pending, pending_limit)?;
        }
        Ok(())
    }

    /// Whether nothing at all is remembered.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.counts.is_empty() && self.full_at.is_empty() && self.by_full_at.is_empty()
    }

    fn count(&self, network: Network) -> Count {
        self.counts.get(&network).copied().unwrap_or_default()
    }

    fn change(&mut self, source: Source, change: impl Fn(&mut Count)) {
        for network in source.networks() {
            let count = self.counts.entry(network).or_default();
            change(count);
            if count.all == 0 && count.pending == 0 {
                self.counts.remove(&network);
            }
        }
    }

    /// When everything would be earned back if one more were spent.
    fn spend(&self, now: Instant, network: Network, rate: Rate) -> Result<Instant, Refused> {
        let full_at = self.full_at.get(&network).copied().unwrap_or(now).max(now);
        let after = full_at + rate.interval;
        if after - now > rate.interval.saturating_mul(rate.burst) {
            return Err(Refused::TooFast);
        }
        Ok(after)
    }

    fn set_full_at(&mut self, now: Instant, network: Network, at: Instant) {
        if at <= now {
            // Nothing is owed: there is no limit.
            return;
        }
        if let Some(old) = self.full_at.insert(network, at) {
            self.by_full_at.remove(&(old, network));
        }
        self.by_full_at.insert((at, network));
        while self.by_full_at.len() > MAX_RATES {
            if let Some((_, network)) = self.by_full_at.pop_first() {
                self.full_at.remove(&network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use core::time::Duration;
    use proptest::prelude::*;
    use std::{format, vec::Vec};

    fn sources() -> Sources {
        Sources::new(&KeyedHash::new(&Seed::for_tests(0)))
    }

    fn source(text: &str) -> Option<Source> {
        Source::of(&text.parse().unwrap())
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn addresses_are_grouped_as_they_are_handed_out() {
        assert_eq!(source("/ip4/127.3.2.1/tcp/1"), None);
        assert_eq!(source("/ip6/::1/tcp/1"), None);
        assert_eq!(source("/memory/7"), None);
        assert_eq!(
            source("/ip6/::ffff:192.0.2.1/tcp/1"),
            source("/ip4/192.0.2.1/tcp/9")
        );
        assert_ne!(
            source("/ip4/192.0.2.1/tcp/1"),
            source("/ip4/192.0.2.2/tcp/1")
        );
        let (a, b) = (
            source("/ip6/2001:db8:1:ff::1/tcp/1").unwrap(),
            source("/ip6/2001:db8:1:1::/tcp/1").unwrap(),
        );
        assert_eq!(a, b, "one /56");
        let c = source("/ip6/2001:db8:1:100::/tcp/1").unwrap();
        assert!(
            a.address != c.address && a.site == c.site,
            "two /56 of one /48"
        );
        assert_ne!(a.site, source("/ip6/2001:db8:2::/tcp/1").unwrap().site);
    }

    #[test]
    fn one_address_may_not_take_every_place() {
        let (mut sources, limits) = (sources(), ConnectionLimits::default());
        let who = source("/ip4/192.0.2.1/tcp/1").unwrap();
        for _ in 0..8 {
            sources.enter(at(0), who, &limits).unwrap();
            sources.settle(who);
        }
        assert_eq!(
            sources.enter(at(0), who, &limits),
            Err(Refused::TooManyFromAddress)
        );
        sources
            .enter(at(0), source("/ip4/192.0.2.2/tcp/1").unwrap(), &limits)
            .unwrap();
        sources.leave(who);
        sources.enter(at(0), who, &limits).unwrap();
    }

    #[test]
    fn pending_and_rate_and_site_are_limited() {
        let (mut sources, mut limits) = (sources(), ConnectionLimits::default());
        limits.per_address = 100;
        let who = source("/ip4/192.0.2.1/tcp/1").unwrap();
        for _ in 0..8 {
            sources.enter(at(0), who, &limits).unwrap();
        }
        assert_eq!(
            sources.enter(at(0), who, &limits),
            Err(Refused::TooManyPendingFromAddress)
        );
        for _ in 0..8 {
            sources.settle(who);
            sources.enter(at(0), who, &limits).unwrap();
        }
        sources.settle(who);
        assert_eq!(sources.enter(at(0), who, &limits), Err(Refused::TooFast));
        assert_eq!(sources.enter(at(4), who, &limits), Err(Refused::TooFast));
        sources.enter(at(5), who, &limits).unwrap();
        sources.settle(who);
        assert_eq!(sources.enter(at(5), who, &limits), Err(Refused::TooFast));

        let mut taken = 0;
        for number in 0..256 {
            let who = source(&format!("/ip6/2001:db8:1:{number:x}00::/tcp/1")).unwrap();
            taken += u32::from(sources.enter(at(100), who, &limits).is_ok());
        }
        assert_eq!(taken, 64, "of one /48");
    }

    #[test]
    fn rates_of_a_flood_are_bounded_and_forgotten() {
        let (mut sources, mut limits) = (sources(), ConnectionLimits::default());
        limits.per_site = u32::MAX;
        limits.rate_per_site = Rate::UNLIMITED;
        for number in 0..40_000u32 {
            let who = source(&format!(
                "/ip4/{}/tcp/1",
                core::net::Ipv4Addr::from(0x0100_0000 + number)
            ))
            .unwrap();
            sources.enter(at(0), who, &limits).unwrap();
            sources.settle(who);
            sources.leave(who);
        }
        assert!(sources.full_at.len() <= MAX_RATES && sources.counts.is_empty());
        sources.forget_full(at(5));
        assert!(sources.is_empty());
    }

    proptest! {
        /// In any window of T seconds one address gets in at most burst + T / interval times, and at the end of all
        /// connections nothing is left.
        #[test]
        fn never_more_than_the_rate(steps in prop::collection::vec((0u64..20, 0u8..3, 0usize..3), 1..200)) {
            let (mut sources, mut limits) = (sources(), ConnectionLimits::default());
            limits.per_address = 20;
            let all = ["/ip4/192.0.2.1/tcp/1", "/ip6/2001:db8::/tcp/1", "/ip6/2001:db8:0:100::/tcp/1"];
            let all: Vec<Source> = all.into_iter().map(|text| source(text).unwrap()).collect();
            let mut now = at(0);
            let mut accepted: Vec<(usize, Instant)> = Vec::new();
            let (mut pending, mut settled): (Vec<usize>, Vec<usize>) = Default::default();
            for (wait, what, who) in steps {
                now = now + Duration::from_secs(wait / 8);
                match what {
                    0 | 1 => {
                        if sources.enter(now, all[who], &limits).is_ok() {
                            accepted.push((who, now));
                            pending.push(who);
                        }
                    }
                    _ => {
                        if let Some(who) = pending.pop() {
                            sources.settle(all[who]);
                            settled.push(who);
                        } else if let Some(who) = settled.pop() {
                            sources.leave(all[who]);
                        }
                    }
                }
                for who in 0..all.len() {
                    prop_assert!(pending.iter().filter(|other| **other == who).count() <= 8);
                }
            }
            for (index, (who, start)) in accepted.iter().enumerate() {
                for (count, (_, end)) in accepted[index..].iter().filter(|(other, _)| other == who).enumerate() {
                    let seconds = (*end - *start).as_secs();
                    prop_assert!(count as u64 <= 16 + seconds / 5);
                }
            }
            for who in pending { sources.settle(all[who]); sources.leave(all[who]); }
            for who in settled { sources.leave(all[who]); }
            sources.forget_full(now + Duration::from_secs(1000));
            prop_assert!(sources.is_empty());
        }
    }
}
