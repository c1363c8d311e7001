//! In which order, and how long after another, addresses are tried.

use crate::multiaddr::{IpTransport, Multiaddr};
use alloc::vec::Vec;
use core::{net::IpAddr, time::Duration};

/// What an address is to the one who dials it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    /// This machine, a private network, or a name to look up: tried at once.
    AtOnce,
    /// A public TCP address.
    PublicTcp,
    /// Any other public address.
    PublicOther,
    /// Through a relay.
    Relayed,
}

fn class(address: &Multiaddr) -> Class {
    if address.is_relayed() {
        return Class::Relayed;
    }
    if address.is_loopback() || address.is_private() || address.ip().is_none() {
        return Class::AtOnce;
    }
    match address.socket_addr() {
        Some((_, _, IpTransport::Tcp)) => Class::PublicTcp,
        _ => Class::PublicOther,
    }
}

/// The order in which to try addresses, by their place in `addresses`, and how long after the start each is due.
///
/// Loopback and private addresses, and names (their lookup only) are due at once; public ones `stagger` apart, TCP first
/// and within it IPv6 and IPv4 in turn (RFC 8305); then relayed ones, the first of them two steps after the last
/// direct public one. A pure function, stable for equals.
///
/// ```
/// use core::time::Duration;
/// use drywire::swarm::rank;
///
/// let addresses = ["/ip4/8.8.8.8/tcp/1", "/ip4/127.0.0.1/tcp/1", "/ip6/2a00::1/tcp/1"]
///     .map(|text| text.parse().unwrap());
/// let step = Duration::from_millis(250);
/// assert_eq!(rank(&addresses, step), [(1, step * 0), (2, step * 0), (0, step)]);
/// ```
#[must_use]
pub fn rank(addresses: &[Multiaddr], stagger: Duration) -> Vec<(usize, Duration)> {
    let mut order: Vec<(Class, usize, bool, usize)> = Vec::with_capacity(addresses.len());
    let mut seen = Vec::new();
    for (index, address) in addresses.iter().enumerate() {
        let (class, four) = (class(address), matches!(address.ip(), Some(IpAddr::V4(_))));
        // The first of each family, then the second of each, and so on.
        let round = seen.iter().filter(|other| **other == (class, four)).count();
        seen.push((class, four));
        order.push((class, round, four, index));
    }
    order.sort();
    let mut due = Duration::ZERO;
    let mut last = Class::AtOnce;
    order
        .into_iter()
        .map(|(class, _, _, index)| {
            let steps = match (last, class) {
                (_, Class::AtOnce) | (Class::AtOnce, _) => 0,
                (before, Class::Relayed) if before != Class::Relayed => 2,
                _ => 1,
            };
            due = due.saturating_add(stagger.saturating_mul(steps));
            last = class;
            (index, due)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STEP: Duration = Duration::from_millis(250);

    fn table(texts: &[&str]) -> Vec<(usize, u32)> {
        let addresses: Vec<_> = texts.iter().map(|text| text.parse().unwrap()).collect();
        let ranked = rank(&addresses, STEP);
        ranked
            .into_iter()
            .map(|(index, due)| (index, (due.as_millis() / 250) as u32))
            .collect()
    }

    #[test]
    fn near_addresses_first_families_in_turn_relays_last() {
        assert_eq!(table(&[]), []);
        let relayed = "/ip4/8.8.8.8/tcp/1/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA/p2p-circuit";
        assert_eq!(table(&[relayed]), [(0, 0)], "nothing to wait for");
        assert_eq!(
            table(&[
                relayed,
                "/ip4/8.8.8.8/udp/1/quic-v1",
                "/ip4/8.8.8.8/tcp/1",
                "/ip4/8.8.4.4/tcp/1",
                "/ip6/2a00::1/tcp/1",
                "/dns4/example.org/tcp/1",
                "/ip4/192.168.1.2/tcp/1",
                "/ip4/127.0.0.1/tcp/1",
            ]),
            [
                (5, 0),
                (6, 0),
                (7, 0),
                (4, 0),
                (2, 1),
                (3, 2),
                (1, 3),
                (0, 5)
            ]
        );
    }

    proptest! {
        #[test]
        fn is_a_permutation_with_growing_delays(kinds in prop::collection::vec(0u8..6, 0..30)) {
            let texts = [
                "/ip4/8.8.8.8/tcp/1", "/ip6/2a00::1/tcp/1", "/ip4/10.0.0.1/tcp/1", "/ip4/8.8.8.8/udp/1/quic-v1",
                "/dns/example.org/tcp/1", "/memory/1",
            ];
            let addresses: Vec<Multiaddr> = kinds.iter().map(|kind| texts[*kind as usize].parse().unwrap()).collect();
            let ranked = rank(&addresses, STEP);
            let mut places: Vec<usize> = ranked.iter().map(|(index, _)| *index).collect();
            places.sort_unstable();
            prop_assert_eq!(places, (0..addresses.len()).collect::<Vec<_>>());
            prop_assert!(ranked.windows(2).all(|pair| pair[0].1 <= pair[1].1));
            if let Some((_, first)) = ranked.first() {
                prop_assert_eq!(*first, Duration::ZERO);
            }
        }
    }
}
