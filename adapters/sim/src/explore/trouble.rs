//! What may be wrong in a run, and putting it there.

use crate::{
    chance::Chance,
    error::WorldError,
    fault::Fault,
    network::{HostId, Link, Partition, Pieces},
    world::World,
};
use core::time::Duration;
use drywire::{seed::Seed, time::Instant};
use std::collections::BTreeSet;

/// One kind of trouble, with its strength. Its debug form is its source code.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
#[allow(
    missing_docs,
    reason = "the fields say it: probabilities of one piece, dial or timer; mean times between; longest times"
)]
pub enum Trouble {
    /// Hosts are all over the world.
    Regions,
    /// Latencies differ from piece to piece.
    Jitter { sigma: f64 },
    /// Some pieces are very late.
    Spikes { probability: f64 },
    /// Lines are slow.
    Bandwidth { bytes_per_second: u64 },
    /// Little fits between writer and reader.
    SmallBuffers { bytes: usize },
    /// Reads and writes are cut around the sizes of headers.
    Pieces,
    /// Pipes stall for a while.
    Stalls { probability: f64, longest_ms: u64 },
    /// Pipes are reset.
    Resets { probability: f64 },
    /// Pipes end in one direction.
    OneWayEnds { probability: f64 },
    /// Pipes fall silent in one direction.
    Silences { probability: f64 },
    /// Bits are flipped.
    BitFlips { probability: f64 },
    /// Pieces are lost and sent again.
    Loss { probability: f64 },
    /// Pipes on which nothing gets through are given up soon.
    ImpatientPipes { timeout_ms: u64 },
    /// Attempts to connect are refused.
    Refusals { probability: f64 },
    /// Attempts to connect are never answered.
    BlackHoles { probability: f64 },
    /// Attempts to connect succeed late.
    LateConnects { probability: f64 },
    /// The hosts are parted in two, for a while.
    Bisections { every_ms: u64, longest_ms: u64 },
    /// Some hosts are not heard by the others, for a while.
    OneWayPartitions { every_ms: u64, longest_ms: u64 },
    /// Hosts reach only their neighbours in a ring, for a while.
    RingPartitions { every_ms: u64, longest_ms: u64 },
    /// A partition comes and goes with this period.
    Flapping { period_ms: u64 },
    /// Hosts are cut off one after the other, and come back in another order.
    SwizzleClogs { every_ms: u64, longest_ms: u64 },
    /// Processes die and start again, with their keys or without.
    Crashes { every_ms: u64, longest_ms: u64 },
    /// Machines vanish and come back, with their keys or without.
    PowerLosses { every_ms: u64, longest_ms: u64 },
    /// Clocks jump forward, from a second to ten years.
    ClockJumps { every_ms: u64 },
    /// Calendars are set forward or back.
    CalendarJumps { every_ms: u64 },
    /// Timers fire late.
    LateTimers { probability: f64, longest_ms: u64 },
    /// Hosts have no file descriptors left, for a while.
    OutOfDescriptors { every_ms: u64, longest_ms: u64 },
    /// Things of one instant come in any order.
    PermutedTies,
    /// Applications read so many bytes of a stream every 100 ms.
    SlowReaders { bytes: usize },
    /// Nodes have small limits.
    TightLimits,
    /// Applications close connections.
    Hangups { every_ms: u64 },
}

impl Trouble {
    /// The name of its kind.
    #[must_use]
    pub fn kind(&self) -> String {
        let text = format!("{self:?}");
        text.split(' ').next().unwrap_or_default().into()
    }

    /// The same trouble, more often.
    #[must_use]
    pub(super) fn stronger(mut self) -> Self {
        match &mut self {
            Self::Spikes { probability }
            | Self::Stalls { probability, .. }
            | Self::Resets { probability }
            | Self::OneWayEnds { probability }
            | Self::Silences { probability }
            | Self::BitFlips { probability }
            | Self::Loss { probability }
            | Self::Refusals { probability }
            | Self::BlackHoles { probability }
            | Self::LateConnects { probability }
            | Self::LateTimers { probability, .. } => {
                *probability = round((*probability * 10.0).min(0.5))
            }
            Self::Bisections { every_ms, .. }
            | Self::OneWayPartitions { every_ms, .. }
            | Self::RingPartitions { every_ms, .. }
            | Self::SwizzleClogs { every_ms, .. }
            | Self::Crashes { every_ms, .. }
            | Self::PowerLosses { every_ms, .. }
            | Self::ClockJumps { every_ms }
            | Self::CalendarJumps { every_ms }
            | Self::OutOfDescriptors { every_ms, .. }
            | Self::Hangups { every_ms } => *every_ms = (*every_ms / 10).max(100),
            _ => {}
        }
        self
    }

    /// Every kind of trouble, each with a strength drawn for it.
    #[must_use]
    pub fn draw_all(chance: &mut Chance) -> Vec<Self> {
        let mut rare = |from: &[f64]| chance.pick(from).copied().unwrap_or_default();
        let probabilities: Vec<f64> = (0..16)
            .map(|_| rare(&[0.0001, 0.0003, 0.001, 0.003, 0.01, 0.02]))
            .collect();
        let likely = rare(&[0.02, 0.05, 0.1, 0.2, 0.3]);
        // Each size as likely as one ten times larger.
        let mut size = |from: &[u64]| chance.pick(from).copied().unwrap_or_default();
        let bandwidth = size(&[20_000, 125_000, 1_250_000, 12_500_000, 125_000_000]);
        let buffer = size(&[1_000, 16 * 1024, 64 * 1024, 1 << 20, 4 << 20]) as usize;
        let period_ms = size(&[100, 1_000, 10_000, 100_000]);
        let read = size(&[1, 100, 5_000, 50_000]) as usize;
        let [
            spikes,
            stalls,
            resets,
            ends,
            silences,
            flips,
            loss,
            refusals,
            holes,
            late,
            timers,
            ..,
        ] = probabilities.as_slice()
        else {
            return Vec::new();
        };
        let mut ms = |low: u64, high: u64| chance.between(low, high) / 100 * 100;
        vec![
            Self::Regions,
            Self::Jitter { sigma: likely },
            Self::Spikes {
                probability: *spikes,
            },
            Self::Bandwidth {
                bytes_per_second: bandwidth,
            },
            Self::SmallBuffers { bytes: buffer },
            Self::Pieces,
            Self::Stalls {
                probability: *stalls,
                longest_ms: ms(1_000, 60_000),
            },
            Self::Resets {
                probability: *resets,
            },
            Self::OneWayEnds { probability: *ends },
            Self::Silences {
                probability: *silences,
            },
            Self::BitFlips {
                probability: *flips,
            },
            Self::Loss {
                probability: round(*loss * 5.0),
            },
            Self::ImpatientPipes {
                timeout_ms: ms(2_000, 20_000),
            },
            Self::Refusals {
                probability: round(*refusals * 20.0),
            },
            Self::BlackHoles {
                probability: round(*holes * 20.0),
            },
            Self::LateConnects {
                probability: round(*late * 20.0),
            },
            Self::Bisections {
                every_ms: ms(10_000, 60_000),
                longest_ms: ms(500, 40_000),
            },
            Self::OneWayPartitions {
                every_ms: ms(10_000, 60_000),
                longest_ms: ms(500, 40_000),
            },
            Self::RingPartitions {
                every_ms: ms(10_000, 60_000),
                longest_ms: ms(500, 40_000),
            },
            Self::Flapping { period_ms },
            Self::SwizzleClogs {
                every_ms: ms(20_000, 60_000),
                longest_ms: ms(1_000, 20_000),
            },
            Self::Crashes {
                every_ms: ms(10_000, 80_000),
                longest_ms: ms(100, 30_000),
            },
            Self::PowerLosses {
                every_ms: ms(10_000, 80_000),
                longest_ms: ms(100, 30_000),
            },
            Self::ClockJumps {
                every_ms: ms(10_000, 60_000),
            },
            Self::CalendarJumps {
                every_ms: ms(10_000, 60_000),
            },
            Self::LateTimers {
                probability: round(*timers * 20.0),
                longest_ms: ms(100, 5_000),
            },
            Self::OutOfDescriptors {
                every_ms: ms(10_000, 60_000),
                longest_ms: ms(500, 20_000),
            },
            Self::PermutedTies,
            Self::SlowReaders { bytes: read },
            Self::TightLimits,
            Self::Hangups {
                every_ms: ms(2_000, 30_000),
            },
        ]
    }

    /// Changes the link all hosts have between them.
    pub(super) fn bend(&self, link: &mut Link) {
        match *self {
            Self::Regions => link.jitter = link.jitter.max(0.05),
            Self::Jitter { sigma } => link.jitter = sigma,
            Self::Spikes { probability } => link.spikes = probability,
            Self::Bandwidth { bytes_per_second } => link.bandwidth = Some(bytes_per_second),
            Self::SmallBuffers { bytes } => link.buffer = bytes,
            Self::Pieces => {
                link.pieces = Pieces::Biased;
                link.partial_writes = 0.25;
            }
            Self::Stalls {
                probability,
                longest_ms,
            } => {
                link.stalls = probability;
                link.longest_stall = Duration::from_millis(longest_ms);
            }
            Self::Resets { probability } => link.resets = probability,
            Self::OneWayEnds { probability } => link.one_way_ends = probability,
            Self::Silences { probability } => link.silences = probability,
            Self::BitFlips { probability } => link.corruption = probability,
            Self::Loss { probability } => link.loss = probability,
            Self::Refusals { probability } => link.refusals = probability,
            Self::BlackHoles { probability } => link.black_holes = probability,
            Self::LateConnects { probability } => link.late_connects = probability,
            _ => {}
        }
    }

    /// Has it happen from now until then.
    ///
    /// # Errors
    /// Which number makes no sense.
    pub(super) fn schedule(
        &self,
        world: &mut World,
        seed: &Seed,
        until: Instant,
    ) -> Result<(), WorldError> {
        let chance = |what: &str| Chance::new(seed, &format!("{} {what}", self.kind()));
        match *self {
            Self::Flapping { period_ms } => {
                let some = some_hosts(world, &mut chance(""));
                flap(world, some, Duration::from_millis(period_ms.max(1)), until);
            }
            Self::PermutedTies => world.permute_ties(true),
            Self::ImpatientPipes { timeout_ms } => {
                let timeout = Duration::from_millis(timeout_ms);
                world.network().set_pipe_timeout(timeout);
            }
            Self::LateTimers {
                probability,
                longest_ms,
            } => {
                for host in world.hosts() {
                    let longest = Duration::from_millis(longest_ms);
                    world.make_timers_late(host, probability, longest)?;
                }
            }
            _ => {
                if let Some((every_ms, act)) = self.of_all() {
                    repeat(world, every_ms, until, chance(""), act);
                }
                for host in world.hosts() {
                    // The draws of one host do not shift another's.
                    if let Some((every_ms, act)) = self.of_host(host) {
                        repeat(world, every_ms, until, chance(&host.to_string()), act);
                    }
                }
            }
        }
        Ok(())
    }

    /// What happens to all hosts again and again, and how often.
    fn of_all(&self) -> Option<(u64, Act)> {
        Some(match *self {
            Self::Bisections {
                every_ms,
                longest_ms,
            } => {
                let which = |world: &World, chance: &mut Chance| {
                    Partition::Apart(some_hosts(world, chance))
                };
                (every_ms, parting(longest_ms, which))
            }
            Self::OneWayPartitions {
                every_ms,
                longest_ms,
            } => {
                let which = |world: &World, chance: &mut Chance| {
                    Partition::OneWay(some_hosts(world, chance))
                };
                (every_ms, parting(longest_ms, which))
            }
            Self::RingPartitions {
                every_ms,
                longest_ms,
            } => (every_ms, parting(longest_ms, |_, _| Partition::Ring(1))),
            Self::SwizzleClogs {
                every_ms,
                longest_ms,
            } => (
                every_ms,
                Box::new(move |world, chance| swizzle_clog(world, chance, longest_ms)),
            ),
            _ => return None,
        })
    }

    /// What happens to one host again and again, and how often.
    fn of_host(&self, host: HostId) -> Option<(u64, Act)> {
        Some(match *self {
            Self::Crashes {
                every_ms,
                longest_ms,
            } => (every_ms, falling(host, longest_ms, false)),
            Self::PowerLosses {
                every_ms,
                longest_ms,
            } => (every_ms, falling(host, longest_ms, true)),
            Self::ClockJumps { every_ms } => (
                every_ms,
                Box::new(move |world, chance| {
                    // Ten years as likely as ten seconds: each power of ten the same.
                    let seconds = 10u64.pow(chance.below(9) as u32) * chance.between(1, 3);
                    let _ = world.jump_clock(host, Duration::from_secs(seconds.min(315_360_000)));
                }),
            ),
            Self::CalendarJumps { every_ms } => (
                every_ms,
                Box::new(move |world, chance| {
                    let by = Duration::from_secs(chance.below(100_000_000));
                    let (ahead, behind) = if chance.happens(0.5) {
                        (by, Duration::ZERO)
                    } else {
                        (Duration::ZERO, by)
                    };
                    let _ = world.set_calendar(host, ahead, behind);
                }),
            ),
            Self::OutOfDescriptors {
                every_ms,
                longest_ms,
            } => (
                every_ms,
                Box::new(move |world, chance| {
                    let time = chance.time(Duration::from_millis(longest_ms));
                    let _ = world.exhaust_descriptors(host, time);
                }),
            ),
            Self::Hangups { every_ms } => (
                every_ms,
                Box::new(move |world, chance| world.hang_up(host, chance)),
            ),
            _ => return None,
        })
    }
}

/// A product of decimal fractions, without the digits that binary ones leave.
fn round(probability: f64) -> f64 {
    (probability * 1e5).round() / 1e5
}

type Act = Box<dyn FnMut(&mut World, &mut Chance)>;

/// Does something again and again, at times drawn.
fn repeat(world: &mut World, every_ms: u64, until: Instant, mut chance: Chance, mut act: Act) {
    let wait = chance.exponential(Duration::from_millis(every_ms.max(1)));
    let at = world.now().saturating_add(wait);
    if at < until {
        world.at(at, move |world| {
            act(world, &mut chance);
            repeat(world, every_ms, until, chance, act);
        });
    }
}

/// Parts hosts, for so long at most.
fn parting(longest_ms: u64, which: impl Fn(&World, &mut Chance) -> Partition + 'static) -> Act {
    Box::new(move |world, chance| {
        let partition = which(world, chance);
        let id = world.part(partition);
        let time = chance.time(Duration::from_millis(longest_ms));
        world.after(time, move |world| world.heal(id));
    })
}

/// At least one host and not all, if there are two.
fn some_hosts(world: &World, chance: &mut Chance) -> BTreeSet<HostId> {
    let mut all: Vec<HostId> = world.hosts().collect();
    chance.shuffle(&mut all);
    let most = all.len().saturating_sub(1).max(1);
    all.truncate(chance.between(1, most as u64) as usize);
    all.into_iter().collect()
}

fn flap(world: &mut World, some: BTreeSet<HostId>, period: Duration, until: Instant) {
    if world.now() + period >= until {
        return;
    }
    world.fault(None, Fault::FlappingPartition);
    let id = world.part(Partition::Apart(some.clone()));
    world.after(period / 2, move |world| {
        world.heal(id);
        world.after(period / 2, move |world| flap(world, some, period, until));
    });
}

fn swizzle_clog(world: &mut World, chance: &mut Chance, longest_ms: u64) {
    world.fault(None, Fault::SwizzleClog);
    let longest = Duration::from_millis(longest_ms);
    for host in some_hosts(world, chance) {
        let from = chance.time(longest / 2);
        let to = from + chance.time(longest / 2);
        world.after(from, move |world| {
            let id = world.isolate([host]);
            world.after(to - from, move |world| world.heal(id));
        });
    }
}

/// Has a host go down, and come back after so long at most.
fn falling(host: HostId, longest_ms: u64, silently: bool) -> Act {
    Box::new(move |world, chance| {
        if !world.network().is_up(host) || world.go_down(host, silently).is_err() {
            return;
        }
        let time = chance.time(Duration::from_millis(longest_ms));
        let anew = chance.happens(0.3);
        world.after(time, move |world| {
            let _ = world.come_up(host, anew);
        });
    })
}
