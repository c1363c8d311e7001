//! Sockets that misbehave, and the count of what is alive.

use core::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};
use std::{io, sync::Arc};

/// The trouble a place makes for the sockets of its nodes, and what of it is alive. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Trouble(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// Zero for none.
    seed: AtomicU64,
    sockets: AtomicU64,
    /// Sockets break after about so many bytes; zero for never.
    breaks_after: AtomicU64,
    /// Accepts that will fail.
    accept_failures: AtomicUsize,
    alive: AtomicUsize,
}

/// Something is alive as long as this is.
#[derive(Debug)]
pub struct Alive(Trouble);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.0.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Trouble {
    /// From now on new sockets cut reads and writes short, would block, and wake for nothing, all as the seed says.
    pub fn begin(&self, seed: u64) {
        self.0.seed.store(seed | 1 << 63, Ordering::SeqCst);
    }

    /// From now on new sockets break after about so many bytes.
    pub fn break_after(&self, bytes: u64) {
        self.0.breaks_after.store(bytes, Ordering::SeqCst);
    }

    /// The next accepts fail as if there were no descriptors left.
    pub fn fail_accepts(&self, count: usize) {
        self.0.accept_failures.store(count, Ordering::SeqCst);
    }

    /// Why this accept fails, if it does.
    #[must_use]
    pub fn accept_failure(&self) -> Option<io::Error> {
        let failures = &self.0.accept_failures;
        let left = failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
            left.checked_sub(1)
        });
        // EMFILE.
        left.is_ok().then(|| io::Error::from_raw_os_error(24))
    }

    /// One more thing is alive.
    #[must_use]
    pub fn alive(&self) -> Alive {
        self.0.alive.fetch_add(1, Ordering::SeqCst);
        Alive(self.clone())
    }

    /// How many are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.alive.load(Ordering::SeqCst)
    }

    /// What happens to a new socket.
    #[must_use]
    pub fn dice(&self) -> Dice {
        let seed = self.0.seed.load(Ordering::SeqCst);
        let number = self.0.sockets.fetch_add(1, Ordering::SeqCst);
        let mut dice = Dice {
            on: seed != 0,
            state: seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            breaks_in: None,
        };
        let after = self.0.breaks_after.load(Ordering::SeqCst);
        if after > 0 {
            dice.breaks_in = Some(dice.roll() % (2 * after));
        }
        dice
    }
}

/// Decides what happens to one socket, the same with the same seed.
#[derive(Debug)]
pub struct Dice {
    on: bool,
    state: u64,
    breaks_in: Option<u64>,
}

impl Dice {
    /// `SplitMix64`.
    fn roll(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Whether there is trouble at all.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.on
    }

    /// Whether something would block that need not.
    pub fn would_block(&mut self) -> bool {
        self.on && self.roll().is_multiple_of(4)
    }

    /// Whether a wake-up is for nothing.
    pub fn is_spurious(&mut self) -> bool {
        self.on && self.roll().is_multiple_of(8)
    }

    /// How much of an operation on so many bytes takes place; at least one byte.
    pub fn cut(&mut self, len: usize) -> usize {
        if !self.on || len <= 1 || self.roll().is_multiple_of(4) {
            return len;
        }
        // Mostly pieces that end in the middle of something; now and then single bytes.
        let most = match self.roll() % 8 {
            0 => 1,
            1..=3 => 40,
            _ => 20_000,
        };
        let most = most.min(len as u64);
        1 + usize::try_from(self.roll() % most).unwrap_or(0)
    }

    /// So many bytes went through.
    ///
    /// # Errors
    /// If the socket breaks now, for ever.
    pub fn moved(&mut self, bytes: usize) -> io::Result<()> {
        let Some(left) = &mut self.breaks_in else {
            return Ok(());
        };
        *left = left.saturating_sub(bytes as u64);
        if *left == 0 {
            return Err(io::Error::new(io::ErrorKind::ConnectionReset, "trouble"));
        }
        Ok(())
    }
}

/// How long to wait for the last to be gone.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
