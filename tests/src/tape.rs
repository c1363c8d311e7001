//! A recording in memory.

use drywire::recording::{
    Entry, Machine, Recorder, Replay, ReplayError, Report, Script, SharedRecorder,
};
use std::sync::{Arc, Mutex, PoisonError};

/// An entry, its host and its machine.
pub type Line = (u32, Machine, Vec<u8>);

/// Keeps all entries.
#[derive(Clone, Debug, Default)]
pub struct Tape(Arc<Mutex<Vec<Line>>>);

struct Host(Tape, u32);

impl Recorder for Host {
    fn record(&self, machine: Machine, entry: &[u8]) {
        let mut lines = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push((self.1, machine, entry.to_vec()));
    }
}

impl Tape {
    /// What records the machines of a host.
    #[must_use]
    pub fn recorder(&self, host: u32) -> SharedRecorder {
        SharedRecorder::new(Host(self.clone(), host))
    }

    /// What was recorded so far.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// All of it as text.
    ///
    /// # Panics
    ///
    /// If an entry cannot be read.
    #[must_use]
    pub fn text(&self) -> String {
        let lines = self.lines();
        let lines = lines.iter().map(|(host, machine, entry)| {
            let entry = Entry::decode(*machine, entry).expect("an entry");
            format!("{host} {machine} {entry}\n")
        });
        lines.collect()
    }
}

/// Runs the machines of `lines` again.
///
/// # Errors
///
/// As [`Replay`]'s.
pub fn replay<S: Script>(lines: &[Line], script: S) -> Result<Report, ReplayError> {
    let mut replay = Replay::with_swarms(script);
    for (host, machine, entry) in lines {
        replay.apply(*host, *machine, entry)?;
    }
    replay.finish()
}
