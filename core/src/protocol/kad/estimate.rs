//! How many peers a DHT has.

use super::key::Distance;
use crate::time::Instant;
use alloc::collections::VecDeque;
use core::time::Duration;

/// Lookups that an estimate is made of, at least.
const MIN_LOOKUPS: usize = 5;
/// Lookups that are remembered.
const MAX_LOOKUPS: usize = 150;
/// For how long.
const MAX_AGE: Duration = Duration::from_secs(2 * 3600);
/// Peers of a lookup that are looked at.
const PEERS: usize = 20;

/// How many peers a DHT has, estimated from what lookups found.
///
/// In a network of n peers at random positions the i-th closest to any key is at i / (n + 1) of the key space on average. The
/// estimate is the n that fits the averages of the last lookups best, by least squares
/// ([go-libp2p-kad-dht](https://github.com/libp2p/go-libp2p-kad-dht/tree/master/netsize) does so too).
#[derive(Clone, Debug, Default)]
pub struct NetworkSize {
    lookups: VecDeque<(Instant, [f32; PEERS])>,
}

impl NetworkSize {
    /// Nothing is known.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            lookups: VecDeque::new(),
        }
    }

    /// A whole lookup found peers at these distances from its target, the closest first. One with fewer than 20 tells nothing.
    pub fn observe(&mut self, now: Instant, distances: impl IntoIterator<Item = Distance>) {
        let mut fractions = [0.0; PEERS];
        let mut distances = distances.into_iter();
        for fraction in &mut fractions {
            let Some(distance) = distances.next() else {
                return;
            };
            *fraction = distance.as_fraction() as f32;
        }
        if self.lookups.len() >= MAX_LOOKUPS {
            self.lookups.pop_front();
        }
        self.lookups.push_back((now, fractions));
    }

    /// How many peers there are, this one not counted. `None` if fewer than five lookups of the last two hours tell.
    #[must_use]
    pub fn estimate(&self, now: Instant) -> Option<f64> {
        let recent = self.lookups.iter().filter(|(at, _)| now - *at <= MAX_AGE);
        let (mut count, mut sums) = (0_usize, [0.0_f64; PEERS]);
        for (_, fractions) in recent {
            count = count.saturating_add(1);
            for (sum, fraction) in sums.iter_mut().zip(fractions) {
                *sum += f64::from(*fraction);
            }
        }
        if count < MIN_LOOKUPS {
            return None;
        }
        // The slope of a line through the origin that is closest to the averages.
        let (mut products, mut squares) = (0.0, 0.0);
        for (place, sum) in (1_u32..).zip(sums) {
            let place = f64::from(place);
            products += place * sum / count as f64;
            squares += place * place;
        }
        (products > 0.0).then(|| squares / products - 1.0)
    }
}
