//! Draws from a seed: the only randomness there is.
//!
//! Distributions come from `rand_distr` without its `std` feature, so that the mathematics behind them is the same code on
//! every platform and at every optimisation level.

use core::time::Duration;
use drywire::seed::Seed;
use rand_core::{Rng as _, SeedableRng as _};
use rand_distr::{Distribution, LogNormal, Pareto, Weibull};
use rand_pcg::Pcg64Mcg;

/// A stream of draws. Two with the same seed and label draw the same; draws of one do not shift another's.
///
/// It is small (16 bytes) and fast, so that everything can have its own; nothing here is a secret.
#[derive(Debug)]
pub struct Chance {
    rng: Pcg64Mcg,
}

impl Chance {
    /// The draws of the component named `label`.
    #[must_use]
    pub fn new(seed: &Seed, label: &str) -> Self {
        Self {
            rng: Pcg64Mcg::from_rng(&mut seed.derive(label).rng()),
        }
    }

    /// A stream of its own, begun with one draw of this one.
    #[must_use]
    pub fn child(&mut self) -> Self {
        Self {
            rng: Pcg64Mcg::from_rng(&mut self.rng),
        }
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.rng.next_u64()
    }

    /// A number below `end`; 0 if there is none.
    pub fn below(&mut self, end: u64) -> u64 {
        // The high half of a product: its bias is far below what any run could notice.
        let wide = u128::from(self.rng.next_u64()) * u128::from(end);
        (wide >> 64) as u64
    }

    /// An index below `len`; 0 if there is none.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low.saturating_add(self.below(high.saturating_sub(low).saturating_add(1)))
    }

    /// A number from 0 to 1, 1 excluded.
    pub fn fraction(&mut self) -> f64 {
        (self.rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True with this probability. Draws nothing for 0 and 1.
    pub fn happens(&mut self, probability: f64) -> bool {
        probability > 0.0 && (probability >= 1.0 || self.fraction() < probability)
    }

    /// A time up to `longest`.
    pub fn time(&mut self, longest: Duration) -> Duration {
        let nanos = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.between(0, nanos))
    }

    /// A time from `shortest` to `longest`.
    pub fn time_between(&mut self, shortest: Duration, longest: Duration) -> Duration {
        shortest.saturating_add(self.time(longest.saturating_sub(shortest)))
    }

    /// One of these, `None` if there is none.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let at = self.index(from.len());
        from.get(at)
    }

    /// Flips one bit of these, if there is one.
    pub fn flip_bit(&mut self, bytes: &mut [u8]) {
        let bit = self.index(bytes.len().saturating_mul(8));
        if let Some(byte) = bytes.get_mut(bit / 8) {
            *byte ^= 1 << (bit % 8);
        }
    }

    /// Puts these in any order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            let other = self.index(end.saturating_add(1));
            items.swap(end, other);
        }
    }

    /// A factor around 1 whose logarithm is normal with this standard deviation. 1 if `sigma` is no such thing.
    pub fn log_normal(&mut self, sigma: f64) -> f64 {
        LogNormal::new(0.0, sigma).map_or(1.0, |law| law.sample(&mut self.rng))
    }

    /// A time of at least `scale`, rarely much longer: Pareto's law, at most `longest`.
    pub fn pareto(&mut self, scale: Duration, alpha: f64, longest: Duration) -> Duration {
        let seconds =
            Pareto::new(scale.as_secs_f64(), alpha).map_or(0.0, |law| law.sample(&mut self.rng));
        Duration::try_from_secs_f64(seconds)
            .unwrap_or(longest)
            .min(longest)
    }

    /// A time with Weibull's law: session lengths in peer-to-peer networks follow it.
    pub fn weibull(&mut self, scale: Duration, shape: f64) -> Duration {
        let seconds =
            Weibull::new(scale.as_secs_f64(), shape).map_or(0.0, |law| law.sample(&mut self.rng));
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// A time with an exponential law of this mean: the time to the next of independent events.
    pub fn exponential(&mut self, mean: Duration) -> Duration {
        self.weibull(mean, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chance(number: u64) -> Chance {
        Chance::new(&Seed::for_tests(number), "test")
    }

    #[test]
    fn session_lengths_are_those_measured() {
        // Of the sessions in the measurement 18 % end within 15 minutes, 26 % within 30, 96 % within a day.
        let mut chance = chance(1);
        let scale = Duration::from_secs_f64(3.66 * 3600.0);
        let sessions: Vec<_> = (0..20_000).map(|_| chance.weibull(scale, 0.61)).collect();
        for (minutes, share) in [(15, 0.18), (30, 0.26), (24 * 60, 0.96)] {
            let ended = sessions
                .iter()
                .filter(|length| **length <= Duration::from_secs(minutes * 60))
                .count();
            let measured = ended as f64 / 20_000.0;
            assert!((measured - share).abs() < 0.01, "{minutes} min: {measured}");
        }
    }

    #[test]
    fn draws_stay_in_their_bounds() {
        let mut chance = chance(2);
        let mut seen = [false; 5];
        for _ in 0..1000 {
            if let Some(seen) = seen.get_mut(chance.index(5)) {
                *seen = true;
            }
            assert!((3..=4).contains(&chance.between(3, 4)));
            assert!((0.0..1.0).contains(&chance.fraction()));
            let longest = Duration::from_secs(5);
            let spike = chance.pareto(Duration::from_millis(100), 1.5, longest);
            assert!(spike >= Duration::from_millis(100) && spike <= longest);
        }
        assert_eq!(seen, [true; 5]);
        assert_eq!(
            (chance.below(0), chance.index(0), chance.between(7, 7)),
            (0, 0, 7)
        );
        assert!(!chance.happens(0.0) && chance.happens(1.0));
        let mut items = [1, 2, 3, 4, 5, 6, 7, 8];
        chance.shuffle(&mut items);
        assert_ne!(items, [1, 2, 3, 4, 5, 6, 7, 8]);
        items.sort_unstable();
        assert_eq!(items, [1, 2, 3, 4, 5, 6, 7, 8]);
    }
}
