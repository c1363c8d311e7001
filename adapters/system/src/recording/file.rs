//! What writer and reader agree on.

use core::hash::Hasher as _;
use drywire::recording::VERSION;
use siphasher::sip::SipHasher13;

/// The first line, up to the format's number.
pub(super) const MAGIC: &str = "drywire recording ";
pub(super) const FORMAT: &str = "1";
/// The second line, up to the version.
pub(super) const MADE_BY: &str = "made by drywire ";
const WARNING: &str = "This file holds secret keys: whoever has it can read all that was recorded, and be these nodes.";

/// In place of a body's length.
pub(super) const END: u32 = u32::MAX;
/// The longest body, in bytes.
pub(super) const MAX_BODY: u32 = 1 << 30;

pub(super) const SWARM: u8 = 0;
pub(super) const CONNECTION: u8 = 1;
pub(super) const NAME: u8 = 2;

pub(super) fn head() -> String {
    format!("{MAGIC}{FORMAT}\n{MADE_BY}{VERSION}\n{WARNING}\n")
}

/// The hash of all that was written or read so far.
#[derive(Debug, Default)]
pub(super) struct Running(SipHasher13);

impl Running {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    /// The check that stands here.
    pub(super) fn check(&self) -> u32 {
        (self.0.finish() & u64::from(u32::MAX)) as u32
    }
}
