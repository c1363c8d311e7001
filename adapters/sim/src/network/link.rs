//! How a way from one host to another behaves.

use crate::{chance::Chance, error::WorldError};
use core::time::Duration;

/// The longest latency and stall: a day. Sums of them stay far from the end of time.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Beyond this, latencies are nothing but chance.
const MOST_JITTER: f64 = 5.0;

/// How bytes and datagrams fare on their way, and what goes wrong there. Each direction draws for itself.
///
/// [`Link::default()`] is a clean local network: 1 ms, no faults. Probabilities are between 0 and 1.
///
/// ```
/// use core::time::Duration;
/// use drywire_sim::Link;
///
/// let bad = Link::default().latency(Duration::from_millis(80)).loss(0.02).biased_pieces();
/// assert!(bad.check().is_ok());
/// assert!(Link::default().loss(-1.0).check().is_err());
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Link {
    /// How long bytes travel one way, at most a day. 1 ms.
    pub latency: Duration,
    /// Standard deviation of the logarithm of a factor to the latency, drawn for each piece; at most 5. 0.
    pub jitter: f64,
    /// The probability that a piece is late by a time of Pareto's law (alpha 1.5, from 100 ms to 5 s). 0.
    pub spikes: f64,
    /// Bytes per second. `None`: as many as come.
    pub bandwidth: Option<u64>,
    /// The most bytes written and not yet read, in one direction of a pipe: the buffers of both operating systems and
    /// what is between. 256 KiB.
    pub buffer: usize,
    /// How what has arrived is cut into reads.
    pub pieces: Pieces,
    /// The probability that a write takes only a part of what it is given, or nothing. 0.
    pub partial_writes: f64,
    /// The probability that a piece, and everything behind it, stalls for up to [`longest_stall`](Self::longest_stall). 0.
    pub stalls: f64,
    /// At most a day. 60 s.
    pub longest_stall: Duration,
    /// The probability that a piece is cut somewhere and the pipe is reset there. 0.
    pub resets: f64,
    /// The probability that a piece is cut somewhere and nothing more comes this way, as if the sender had finished. 0.
    pub one_way_ends: f64,
    /// The probability that a piece is cut somewhere and nothing ever comes this way again, without a word. 0.
    pub silences: f64,
    /// The probability that one bit of a piece, or of a datagram, is flipped. 0.
    pub corruption: f64,
    /// The probability that a packet is lost: a datagram for good; of a pipe, a piece comes later by the time it takes to be
    /// sent again. 0.
    pub loss: f64,
    /// Once packets are lost, how many are in a row, on average. 1; more makes losses come in bursts.
    pub loss_burst: f64,
    /// The probability that a datagram comes twice. 0.
    pub duplication: f64,
    /// The probability that a datagram is held back by up to three times the latency. 0.
    pub reordering: f64,
    /// The longest datagram, in bytes; longer ones are lost. 1500 less the headers, 1472.
    pub mtu: usize,
    /// The probability that an attempt to connect is refused. 0.
    pub refusals: f64,
    /// The probability that an attempt to connect is never answered. 0.
    pub black_holes: f64,
    /// The probability that an attempt to connect succeeds late, by up to 20 s. 0.
    pub late_connects: f64,
}

/// How what has arrived on a pipe is cut into reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pieces {
    /// A read returns everything there is.
    Whole,
    /// A read returns 1, 2, 11, 12, 13 or 1460 bytes, any number, or everything: around headers, and one packet.
    Biased,
    /// A read returns at most so many bytes.
    AtMost(usize),
}

impl Default for Link {
    fn default() -> Self {
        Self {
            latency: Duration::from_millis(1),
            jitter: 0.0,
            spikes: 0.0,
            bandwidth: None,
            buffer: 256 * 1024,
            pieces: Pieces::Whole,
            partial_writes: 0.0,
            stalls: 0.0,
            longest_stall: Duration::from_secs(60),
            resets: 0.0,
            one_way_ends: 0.0,
            silences: 0.0,
            corruption: 0.0,
            loss: 0.0,
            loss_burst: 1.0,
            duplication: 0.0,
            reordering: 0.0,
            mtu: 1472,
            refusals: 0.0,
            black_holes: 0.0,
            late_connects: 0.0,
        }
    }
}

impl Link {
    /// Sets the [`latency`](Self::latency).
    #[must_use]
    pub const fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// Sets the [`jitter`](Self::jitter).
    #[must_use]
    pub const fn jitter(mut self, sigma: f64) -> Self {
        self.jitter = sigma;
        self
    }

    /// Sets the [`bandwidth`](Self::bandwidth), in bytes per second.
    #[must_use]
    pub const fn bandwidth(mut self, bytes_per_second: u64) -> Self {
        self.bandwidth = Some(bytes_per_second);
        self
    }

    /// Sets the [`buffer`](Self::buffer), in bytes.
    #[must_use]
    pub const fn buffer(mut self, bytes: usize) -> Self {
        self.buffer = bytes;
        self
    }

    /// Sets the [`loss`](Self::loss).
    #[must_use]
    pub const fn loss(mut self, probability: f64) -> Self {
        self.loss = probability;
        self
    }

    /// Reads and writes are cut around the sizes of headers: [`Pieces::Biased`], and one write in four is partial.
    #[must_use]
    pub const fn biased_pieces(mut self) -> Self {
        self.pieces = Pieces::Biased;
        self.partial_writes = 0.25;
        self
    }

    /// Whether every number makes sense.
    ///
    /// # Errors
    /// [`WorldError::BadRate`] names the first that does not.
    pub fn check(&self) -> Result<(), WorldError> {
        let probabilities = [
            ("spikes", self.spikes),
            ("partial_writes", self.partial_writes),
            ("stalls", self.stalls),
            ("resets", self.resets),
            ("one_way_ends", self.one_way_ends),
            ("silences", self.silences),
            ("corruption", self.corruption),
            ("loss", self.loss),
            ("duplication", self.duplication),
            ("reordering", self.reordering),
            ("refusals", self.refusals),
            ("black_holes", self.black_holes),
            ("late_connects", self.late_connects),
        ];
        for (name, value) in probabilities {
            if !(0.0..=1.0).contains(&value) {
                return Err(WorldError::BadRate { name, value });
            }
        }
        let longest = LONGEST.as_secs_f64();
        let rest = [
            ("latency", self.latency.as_secs_f64(), 0.0, longest),
            (
                "longest_stall",
                self.longest_stall.as_secs_f64(),
                0.0,
                longest,
            ),
            ("jitter", self.jitter, 0.0, MOST_JITTER),
            ("loss_burst", self.loss_burst, 1.0, f64::MAX),
            ("buffer", self.buffer as f64, 1.0, f64::MAX),
            (
                "bandwidth",
                self.bandwidth.unwrap_or(1) as f64,
                1.0,
                f64::MAX,
            ),
        ];
        for (name, value, least, most) in rest {
            if !(least..=most).contains(&value) {
                return Err(WorldError::BadRate { name, value });
            }
        }
        Ok(())
    }

    /// How long a piece that leaves now travels, losses of a pipe aside.
    pub(super) fn travel(&self, chance: &mut Chance) -> (Duration, bool) {
        let mut time = self.latency;
        if self.jitter > 0.0 {
            time = scale(time, chance.log_normal(self.jitter));
        }
        let spike = chance.happens(self.spikes);
        if spike {
            time += chance.pareto(Duration::from_millis(100), 1.5, Duration::from_secs(5));
        }
        (time, spike)
    }

    /// The probability of a loss, after a loss or not: losses come in bursts of a mean length, and are as rare as they
    /// should be on the whole (the model of Gilbert and Elliott).
    pub(super) fn loss_now(&self, in_burst: bool) -> f64 {
        let burst = self.loss_burst.max(1.0);
        if self.loss <= 0.0 || self.loss >= 1.0 || burst <= 1.0 {
            return self.loss;
        }
        let stay = 1.0 - 1.0 / burst;
        if in_burst {
            stay
        } else {
            (self.loss * (1.0 - stay) / (1.0 - self.loss)).min(1.0)
        }
    }

    /// How long `bytes` occupy the line.
    pub(super) fn occupation(&self, bytes: usize) -> Duration {
        let Some(bandwidth) = self.bandwidth else {
            return Duration::ZERO;
        };
        let nanos = (bytes as u128 * 1_000_000_000).checked_div(u128::from(bandwidth));
        Duration::from_nanos(
            nanos.map_or(u64::MAX, |nanos| u64::try_from(nanos).unwrap_or(u64::MAX)),
        )
    }
}

impl Pieces {
    /// How much the next read returns of `there`, at least 1.
    pub(super) fn next(self, there: usize, chance: &mut Chance) -> usize {
        let size = match self {
            Self::Whole => there,
            Self::AtMost(size) => size,
            Self::Biased => match chance.index(8) {
                0 => 1,
                1 => 2,
                2 => 11,
                3 => 12,
                4 => 13,
                5 => 1460,
                6 => chance.between(1, there as u64) as usize,
                _ => there,
            },
        };
        size.clamp(1, there.max(1))
    }
}

pub(super) fn scale(time: Duration, factor: f64) -> Duration {
    let scaled = Duration::try_from_secs_f64(time.as_secs_f64() * factor);
    scaled.unwrap_or(LONGEST).min(LONGEST)
}

/// Where in the world a host is: latencies between them are those typical of public clouds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Region {
    /// North America.
    NorthAmerica,
    /// Europe.
    Europe,
    /// Asia.
    Asia,
    /// South America.
    SouthAmerica,
    /// Oceania.
    Oceania,
    /// Africa.
    Africa,
}

impl Region {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::NorthAmerica,
        Self::Europe,
        Self::Asia,
        Self::SouthAmerica,
        Self::Oceania,
        Self::Africa,
    ];

    /// The round-trip time to another region, or within this one.
    #[must_use]
    pub const fn round_trip(self, other: Self) -> Duration {
        use Region::{Africa, Asia, Europe, NorthAmerica, Oceania, SouthAmerica};
        let milliseconds = match (self, other) {
            (NorthAmerica, Europe) | (Europe, NorthAmerica) => 85,
            (NorthAmerica, Asia) | (Asia, NorthAmerica) => 165,
            (Europe, Asia) | (Asia, Europe) => 190,
            (NorthAmerica, SouthAmerica) | (SouthAmerica, NorthAmerica) => 130,
            (Europe, SouthAmerica) | (SouthAmerica, Europe) => 200,
            (Asia, Oceania) | (Oceania, Asia) => 120,
            (NorthAmerica, Oceania) | (Oceania, NorthAmerica) => 150,
            (Africa, Europe) | (Europe, Africa) => 150,
            (Africa, NorthAmerica) | (NorthAmerica, Africa) => 230,
            (Africa, Asia) | (Asia, Africa) => 260,
            (Africa, SouthAmerica) | (SouthAmerica, Africa) => 320,
            (Africa, Oceania) | (Oceania, Africa) => 340,
            (Europe, Oceania) | (Oceania, Europe) => 270,
            (Asia, SouthAmerica) | (SouthAmerica, Asia) => 300,
            (Oceania, SouthAmerica) | (SouthAmerica, Oceania) => 280,
            _ => 8,
        };
        Duration::from_millis(milliseconds)
    }
}
