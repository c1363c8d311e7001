//! Running machines again.

use super::{ConnectionEntry, ConnectionInput, Entry, Machine, Malformed, SwarmEntry, SwarmInput};
use crate::{
    connection::{Connection, ConnectionId},
    protocol::Standard,
    security,
    swarm::{Context, Protocol, Swarm},
};
use alloc::{
    boxed::Box,
    collections::BTreeMap,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

/// What a recording cannot hold of a swarm, given once more.
pub trait Script {
    /// What the swarms run.
    type Protocols: Protocol;

    /// The protocols of a host's swarm, as they were given to [`Swarm::new`]. `None`: this swarm is not run again, only its
    /// connections.
    fn protocols(&mut self, host: u32) -> Option<Self::Protocols>;

    /// Does what the closure numbered `number` of a host did, counted from 0. Returns whether it is known; if not, the swarm
    /// is not run further. By default none is.
    fn closure(
        &mut self,
        host: u32,
        number: u64,
        protocols: &mut Self::Protocols,
        cx: &mut Context<'_, <Self::Protocols as Protocol>::Event>,
    ) -> bool {
        let _ = (host, number, protocols, cx);
        false
    }
}

/// The [`Script`] of those who want connections only.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConnectionsOnly;

impl Script for ConnectionsOnly {
    type Protocols = Standard;

    fn protocols(&mut self, _: u32) -> Option<Standard> {
        None
    }
}

/// What was run again, all of it as it was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Report {
    /// Entries, those of swarms that were not run included.
    pub entries: u64,
    /// Connections run.
    pub connections: u64,
    /// Swarms run to the end of the recording.
    pub swarms: u64,
    /// Swarms not run, or not to the end, for want of protocols or of a closure.
    pub swarms_left_out: u64,
    /// Entries of what came out of the machines that ran: each was the same.
    pub outputs: u64,
}

/// Why a recording could not be run again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplayError {
    /// An entry cannot be read.
    Malformed(Place),
    /// A machine did something else than recorded.
    Diverged {
        /// Where.
        place: Place,
        /// What was recorded, as text.
        recorded: String,
        /// What the machine did, as text; `None` if nothing.
        replayed: Option<String>,
    },
    /// A machine's first entry is not its start, or it starts twice.
    NotStarted(Place),
    /// A machine could not be started.
    Start(Place, security::Error),
}

/// Where in a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The entry, counted from 0.
    pub entry: u64,
    /// Of which host.
    pub host: u32,
    /// Of which machine of it.
    pub machine: Machine,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            entry,
            host,
            machine,
        } = self;
        write!(f, "entry {entry} (host {host}, {machine})")
    }
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(place) => write!(f, "{place}: {Malformed}"),
            Self::Diverged {
                place,
                recorded,
                replayed,
            } => {
                let replayed = replayed.as_deref().unwrap_or("nothing");
                write!(f, "{place}: recorded `{recorded}`, replayed `{replayed}`")
            }
            Self::NotStarted(place) => write!(f, "{place}: not in the order of a machine's life"),
            Self::Start(place, error) => write!(f, "{place}: cannot start: {error}"),
        }
    }
}

impl core::error::Error for ReplayError {}

enum Running<P: Protocol> {
    Connection(Box<Connection>),
    Swarm(Box<Swarm<P>>),
    /// A swarm that is not run.
    LeftOut,
}

impl<P: Protocol> fmt::Debug for Running<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connection(_) => "Connection",
            Self::Swarm(_) => "Swarm",
            Self::LeftOut => "LeftOut",
        })
    }
}

impl<P: Protocol> Running<P> {
    /// The oldest entry it has written and nobody has taken.
    fn written(&mut self) -> Option<Vec<u8>> {
        match self {
            Self::Connection(connection) => connection.replayed(),
            Self::Swarm(swarm) => swarm.replayed(),
            Self::LeftOut => None,
        }
    }
}

/// Runs the machines of a recording again, entry by entry, and compares. See the [module](super).
#[derive(Debug)]
pub struct Replay<S: Script = ConnectionsOnly> {
    script: S,
    machines: BTreeMap<(u32, Machine), Running<S::Protocols>>,
    report: Report,
}

impl Replay {
    /// Runs connections only.
    #[must_use]
    pub fn connections() -> Self {
        Self::with_swarms(ConnectionsOnly)
    }
}

impl<S: Script> Replay<S> {
    /// Runs connections and swarms.
    pub fn with_swarms(script: S) -> Self {
        Self {
            script,
            machines: BTreeMap::new(),
            report: Report::default(),
        }
    }

    /// Takes the next entry. After an error there is nothing more to be learnt.
    ///
    /// # Errors
    /// [`ReplayError`]: the first entry that cannot be read, or at which a machine did something else.
    pub fn apply(&mut self, host: u32, machine: Machine, bytes: &[u8]) -> Result<(), ReplayError> {
        let place = Place {
            entry: self.report.entries,
            host,
            machine,
        };
        self.report.entries = self.report.entries.saturating_add(1);
        let entry = Entry::decode(machine, bytes).map_err(|_| ReplayError::Malformed(place))?;
        let is_output = entry.is_output();
        if entry.is_end() {
            return self.end(place);
        }
        if let Some(running) = self.machines.get_mut(&(host, machine))
            && let Some(written) = running.written()
        {
            compare(place, bytes, Some(written))?;
        } else {
            self.run(place, entry)?;
            let Some(running) = self.machines.get_mut(&(host, machine)) else {
                return Err(ReplayError::NotStarted(place));
            };
            if let Running::LeftOut = running {
                return Ok(());
            }
            compare(place, bytes, running.written())?;
        }
        self.report.outputs = self.report.outputs.saturating_add(u64::from(is_output));
        Ok(())
    }

    /// All entries were given.
    ///
    /// # Errors
    /// [`ReplayError::Diverged`] if a machine did more than was recorded.
    pub fn finish(mut self) -> Result<Report, ReplayError> {
        while let Some((host, machine)) = self.machines.keys().next().copied() {
            self.end(Place {
                entry: self.report.entries,
                host,
                machine,
            })?;
        }
        Ok(self.report)
    }

    fn end(&mut self, place: Place) -> Result<(), ReplayError> {
        // Of a connection that was never started there is but the end.
        let Some(mut running) = self.machines.remove(&(place.host, place.machine)) else {
            return Ok(());
        };
        if let Some(written) = running.written() {
            return Err(ReplayError::Diverged {
                place,
                recorded: "nothing more".into(),
                replayed: Some(describe(place.machine, &written)),
            });
        }
        if let Running::Swarm(_) = running {
            self.report.swarms = self.report.swarms.saturating_add(1);
        }
        Ok(())
    }

    fn run(&mut self, place: Place, entry: Entry<'_>) -> Result<(), ReplayError> {
        let running = self.machines.get_mut(&(place.host, place.machine));
        match (running, entry) {
            (
                None,
                Entry::Connection(ConnectionEntry::Input {
                    now,
                    input: ConnectionInput::Start(start),
                }),
            ) => {
                let id = match place.machine {
                    Machine::Connection(id) => id,
                    Machine::Swarm => ConnectionId::new(0),
                };
                let connection = start.start(id, now);
                let connection = connection.map_err(|error| ReplayError::Start(place, error))?;
                self.report.connections = self.report.connections.saturating_add(1);
                self.insert(place, Running::Connection(Box::new(connection)));
            }
            (
                None,
                Entry::Swarm(SwarmEntry::Input {
                    now,
                    input: SwarmInput::Start(start),
                }),
            ) => {
                let Some(protocols) = self.script.protocols(place.host) else {
                    self.leave_out(place);
                    return Ok(());
                };
                let swarm = start.start(protocols, now);
                let swarm = swarm.map_err(|error| ReplayError::Start(place, error))?;
                self.insert(place, Running::Swarm(Box::new(swarm)));
            }
            (
                Some(Running::Connection(_)),
                Entry::Connection(ConnectionEntry::Input {
                    input: ConnectionInput::Start(_),
                    ..
                }),
            )
            | (
                Some(Running::Swarm(_)),
                Entry::Swarm(SwarmEntry::Input {
                    input: SwarmInput::Start(_),
                    ..
                }),
            ) => return Err(ReplayError::NotStarted(place)),
            (Some(Running::Connection(connection)), Entry::Connection(entry)) => {
                connection.replay(entry);
            }
            (Some(Running::Swarm(swarm)), Entry::Swarm(entry)) => {
                let (script, mut known) = (&mut self.script, true);
                swarm.replay(entry, |number, protocols, cx| {
                    known = script.closure(place.host, number, protocols, cx);
                });
                if !known {
                    self.leave_out(place);
                }
            }
            (Some(Running::LeftOut), _) => {}
            _ => return Err(ReplayError::NotStarted(place)),
        }
        Ok(())
    }

    fn insert(&mut self, place: Place, running: Running<S::Protocols>) {
        self.machines.insert((place.host, place.machine), running);
    }

    fn leave_out(&mut self, place: Place) {
        self.report.swarms_left_out = self.report.swarms_left_out.saturating_add(1);
        self.insert(place, Running::LeftOut);
    }
}

fn compare(place: Place, recorded: &[u8], written: Option<Vec<u8>>) -> Result<(), ReplayError> {
    if written.as_deref() == Some(recorded) {
        return Ok(());
    }
    Err(ReplayError::Diverged {
        place,
        recorded: describe(place.machine, recorded),
        replayed: written.map(|written| describe(place.machine, &written)),
    })
}

fn describe(machine: Machine, bytes: &[u8]) -> String {
    match Entry::decode(machine, bytes) {
        Ok(entry) => entry.to_string(),
        Err(malformed) => malformed.to_string(),
    }
}
