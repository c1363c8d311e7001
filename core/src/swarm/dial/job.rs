//! Jobs, their callers and their attempts.

use super::{
    AddressFailure, Attempt, AttemptError, AttemptId, DialCondition, DialError, DialId,
    DialOptions, rank,
};
use crate::{
    connection::{ConnectedPoint, ConnectionError, ConnectionId, Slot},
    identity::PeerId,
    multiaddr::Multiaddr,
    swarm::{
        ResolveId,
        action::{Action, TransportError},
        connections::Entry,
        hash::{KeyedHash, KeyedMap},
        state::State,
        timers::Timer,
    },
    time::Instant,
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::time::Duration;

/// Failures told to a caller.
const MAX_FAILURES: usize = 32;

/// Who asked for a dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::swarm) enum Caller {
    Host,
    Protocol(Slot),
}

#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) caller: Caller,
    pub(super) job: u64,
    pub(super) condition: DialCondition,
}

/// Where the try of one address stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TargetState {
    /// Not before this time, or when nothing else is being tried.
    Waiting(Instant),
    /// A name is being looked up, or an attempt is under way.
    Busy,
    Done,
}

#[derive(Debug)]
pub(super) struct Target {
    pub(super) address: Multiaddr,
    /// Who must answer.
    pub(super) expected: Option<PeerId>,
    /// `/dnsaddr` lookups that led here.
    pub(super) depth: u32,
    /// What a name leads to must be public.
    pub(super) public_only: bool,
    pub(super) state: TargetState,
}

/// One dial shared by its callers.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) peer: Option<PeerId>,
    /// What the job is found by if no peer is named.
    pub(super) first: Option<Multiaddr>,
    pub(super) callers: BTreeSet<DialId>,
    pub(super) targets: Vec<Target>,
    /// Attempts and lookups under way.
    busy: u32,
    pub(super) lookups: u32,
    pub(super) failures: Vec<AddressFailure>,
    ignore_backoff: bool,
}

impl Job {
    pub(super) fn failed(&mut self, address: Multiaddr, error: AttemptError) {
        if self.failures.len() < MAX_FAILURES {
            self.failures.push(AddressFailure { address, error });
        }
    }

    /// Something that was under way is over.
    pub(super) fn done(&mut self, index: usize) {
        self.busy = self.busy.saturating_sub(1);
        if let Some(target) = self.targets.get_mut(index) {
            target.state = TargetState::Done;
        }
    }

    pub(super) fn begin(&mut self, index: usize) {
        self.busy = self.busy.saturating_add(1);
        if let Some(target) = self.targets.get_mut(index) {
            target.state = TargetState::Busy;
        }
    }

    /// The target to try next of those that `may` be, and when it is due.
    fn next(&self, may: impl Fn(&Target) -> bool) -> Option<(Instant, usize)> {
        let waiting = self.targets.iter().enumerate();
        waiting
            .filter_map(|(index, target)| match target.state {
                TargetState::Waiting(due) if may(target) => Some((due, index)),
                _ => None,
            })
            .min()
    }

    /// Whether any target is still to be tried.
    fn is_waiting(&self) -> bool {
        let waits = |target: &Target| matches!(target.state, TargetState::Waiting(_));
        self.targets.iter().any(waits)
    }
}

/// All jobs.
#[derive(Debug)]
pub(in crate::swarm) struct Jobs {
    pub(super) jobs: BTreeMap<u64, Job>,
    jobs_created: u64,
    pub(super) callers: BTreeMap<DialId, Waiting>,
    dials_created: u64,
    pub(super) by_peer: KeyedMap<PeerId, u64>,
    pub(super) by_address: BTreeMap<Multiaddr, u64>,
    /// Jobs that wait for attempts of others to end, because there are too many or they try the same address; first come
    /// first served.
    pub(super) starved: BTreeSet<u64>,
    /// Lookups under way: whose, and for which target.
    pub(super) lookups: BTreeMap<ResolveId, (u64, usize)>,
    pub(super) lookups_created: u64,
}

impl Jobs {
    pub(in crate::swarm) fn new(hash: &KeyedHash) -> Self {
        Self {
            jobs: BTreeMap::new(),
            jobs_created: 0,
            callers: BTreeMap::new(),
            dials_created: 0,
            by_peer: KeyedMap::with_hasher(hash.clone()),
            by_address: BTreeMap::new(),
            starved: BTreeSet::new(),
            lookups: BTreeMap::new(),
            lookups_created: 0,
        }
    }

    pub(super) fn get_mut(&mut self, job: u64) -> Option<&mut Job> {
        self.jobs.get_mut(&job)
    }

    /// The job's number for a peer being dialed.
    pub(in crate::swarm) fn of_peer(&self, peer: &PeerId) -> Option<u64> {
        self.by_peer.get(peer).copied()
    }

    pub(in crate::swarm) fn ids(&self) -> Vec<u64> {
        self.jobs.keys().copied().collect()
    }

    /// Jobs without a peer that are still to try this address, and would take this peer there.
    pub(super) fn waiting_for(&self, address: &Multiaddr, peer: PeerId) -> Vec<u64> {
        let waits = |target: &Target| {
            matches!(target.state, TargetState::Waiting(_))
                && target.address == *address
                && target.expected.is_none_or(|expected| expected == peer)
        };
        let jobs = self.jobs.iter();
        jobs.filter(|(_, job)| job.peer.is_none() && job.targets.iter().any(waits))
            .map(|(number, _)| *number)
            .collect()
    }

    /// Callers waiting.
    pub(in crate::swarm) fn len(&self) -> usize {
        self.callers.len()
    }

    /// Callers waiting that are the host's.
    pub(in crate::swarm) fn host_callers(&self) -> usize {
        let callers = self.callers.values();
        callers
            .filter(|waiting| waiting.caller == Caller::Host)
            .count()
    }

    #[cfg(test)]
    pub(in crate::swarm) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
            && self.callers.is_empty()
            && self.by_peer.is_empty()
            && self.by_address.is_empty()
            && self.starved.is_empty()
            && self.lookups.is_empty()
    }
}

impl State {
    /// Begins a dial, or joins the one that is under way for the same peer.
    pub(in crate::swarm) fn dial(
        &mut self,
        options: DialOptions,
        caller: Caller,
    ) -> Result<DialId, DialError> {
        if self.is_shutting_down() {
            return Err(DialError::ShuttingDown);
        }
        if options.peer == Some(self.local_peer) {
            return Err(DialError::SelfDial);
        }
        if options
            .peer
            .is_some_and(|peer| self.denied_peers.contains(&peer))
        {
            return Err(DialError::Denied);
        }
        let max_dials = usize::try_from(self.config.dial.max_dials).unwrap_or(usize::MAX);
        if self.jobs.len() >= max_dials {
            return Err(DialError::TooManyDials);
        }
        let existing = match (options.condition, options.peer) {
            (DialCondition::IfDisconnected, Some(peer)) => self
                .best_connection(&peer)
                .map(|connection| (peer, connection)),
            _ => None,
        };
        let found = match (options.peer, options.addresses.first()) {
            (Some(peer), _) => self.jobs.of_peer(&peer),
            (None, Some(first)) => self.jobs.by_address.get(first).copied(),
            (None, None) => None,
        };
        let mut addresses = options.addresses.clone();
        if let (Some(peer), true) = (options.peer, options.address_book) {
            addresses.extend(self.book.addresses(self.now, &peer));
        }
        if addresses.is_empty() && found.is_none() && existing.is_none() {
            return Err(DialError::NoAddresses);
        }
        if caller == Caller::Host && !self.events.reserve(1) {
            return Err(DialError::EventsFull);
        }
        let dial = DialId(self.jobs.dials_created);
        self.jobs.dials_created = self.jobs.dials_created.saturating_add(1);
        if let Some((peer, connection)) = existing {
            self.tell_dialed(dial, caller, (connection, peer), &[]);
            return Ok(dial);
        }
        let number = found.unwrap_or_else(|| self.new_job(&options));
        self.jobs.callers.insert(
            dial,
            Waiting {
                caller,
                job: number,
                condition: options.condition,
            },
        );
        if let Some(job) = self.jobs.get_mut(number) {
            job.callers.insert(dial);
            job.ignore_backoff = job.ignore_backoff || options.ignore_backoff;
        }
        let timeout = options.timeout.unwrap_or(self.config.dial.timeout);
        self.timers.set(Timer::Caller(dial), self.now + timeout);
        self.add_targets(
            number,
            addresses.into_iter().map(|address| (address, None, 0)),
            options.public_only,
        );
        self.pump_job(number);
        Ok(dial)
    }

    fn new_job(&mut self, options: &DialOptions) -> u64 {
        let number = self.jobs.jobs_created;
        self.jobs.jobs_created = self.jobs.jobs_created.saturating_add(1);
        let first = options
            .addresses
            .first()
            .filter(|_| options.peer.is_none())
            .cloned();
        if let Some(peer) = options.peer {
            self.jobs.by_peer.insert(peer, number);
        } else if let Some(first) = &first {
            self.jobs.by_address.insert(first.clone(), number);
        }
        let job = Job {
            peer: options.peer,
            first,
            callers: BTreeSet::new(),
            targets: Vec::new(),
            busy: 0,
            lookups: 0,
            failures: Vec::new(),
            ignore_backoff: options.ignore_backoff,
        };
        self.jobs.jobs.insert(number, job);
        number
    }

    /// Gives a job addresses it does not have yet: the address, who must answer, and how many lookups led to it.
    pub(super) fn add_targets(
        &mut self,
        number: u64,
        addresses: impl Iterator<Item = (Multiaddr, Option<PeerId>, u32)>,
        public_only: bool,
    ) {
        let max = usize::try_from(self.config.dial.max_addresses).unwrap_or(usize::MAX);
        let Some(job) = self.jobs.jobs.get_mut(&number) else {
            return;
        };
        let mut new: Vec<Target> = Vec::new();
        for (address, expected, depth) in addresses {
            let expected = job.peer.or(expected);
            let named = address.peer_id();
            let through_relay = address.is_relayed() && named.is_none();
            let address = if through_relay {
                address
            } else {
                address.without_peer_id()
            };
            let is_same = |target: &Target| {
                target.address == address && target.expected == expected.or(named)
            };
            if job.targets.iter().any(is_same) || new.iter().any(is_same) {
                continue;
            }
            if job.targets.len().saturating_add(new.len()) >= max {
                break;
            }
            let mismatch = expected.is_some_and(|peer| named.is_some_and(|named| named != peer));
            if mismatch {
                job.failed(address, AttemptError::OtherPeer);
                continue;
            }
            let expected = expected.or(named);
            new.push(Target {
                address,
                expected,
                depth,
                public_only,
                state: TargetState::Done,
            });
        }
        let addresses: Vec<Multiaddr> = new.iter().map(|target| target.address.clone()).collect();
        let ranked = rank(&addresses, self.config.dial.stagger);
        let mut place = alloc::vec![(Duration::ZERO, 0); new.len()];
        for (order, (index, delay)) in ranked.into_iter().enumerate() {
            if let Some(place) = place.get_mut(index) {
                *place = (delay, order);
            }
        }
        let mut placed: Vec<_> = place.into_iter().zip(new).collect();
        placed.sort_by_key(|(place, _)| *place);
        job.targets
            .extend(placed.into_iter().map(|((delay, _), target)| Target {
                state: TargetState::Waiting(self.now + delay),
                ..target
            }));
    }

    /// Starts what is due, arms the timer for what is not, and ends a job with nothing left to try.
    pub(in crate::swarm) fn pump_job(&mut self, number: u64) {
        let limits = &self.config.dial;
        let max_attempts = usize::try_from(limits.max_attempts).unwrap_or(usize::MAX);
        let max_busy = limits.max_attempts_per_peer.max(1);
        loop {
            let Some(job) = self.jobs.jobs.get(&number) else {
                return;
            };
            if job.busy >= max_busy {
                self.timers.clear(Timer::Job(number));
                return;
            }
            let attempts = &self.attempts;
            let Some((due, index)) = job.next(|target| !attempts.covers(number, target)) else {
                self.timers.clear(Timer::Job(number));
                if job.is_waiting() {
                    self.jobs.starved.insert(number);
                } else if job.busy == 0 {
                    self.fail_job(number);
                }
                return;
            };
            if due > self.now && job.busy > 0 {
                self.timers.set(Timer::Job(number), due);
                return;
            }
            let is_name = job
                .targets
                .get(index)
                .is_some_and(|target| target.address.dns_name().is_some());
            if is_name {
                self.start_lookup(number, index);
            } else if self.attempts.len() < max_attempts.max(1) {
                self.start_attempt(number, index);
            } else {
                self.timers.clear(Timer::Job(number));
                self.jobs.starved.insert(number);
                return;
            }
        }
    }

    fn start_attempt(&mut self, number: u64, index: usize) {
        let Some(job) = self.jobs.jobs.get_mut(&number) else {
            return;
        };
        let Some(target) = job.targets.get_mut(index) else {
            return;
        };
        let (address, expected) = (target.address.clone(), target.expected);
        let rest = match expected {
            Some(peer) if !job.ignore_backoff => self.backoff.remaining(self.now, &peer, &address),
            _ => None,
        };
        let obstacle = if expected == Some(self.local_peer) || self.listeners.is_own(&address) {
            Some(AttemptError::OwnAddress)
        } else if is_undialable(&address) {
            Some(AttemptError::Undialable)
        } else if address
            .ip()
            .is_some_and(|ip| super::super::admission::is_in(&self.denied_networks, ip))
        {
            Some(AttemptError::Connection(ConnectionError::Denied))
        } else {
            rest.map(AttemptError::Backoff)
        };
        if let Some(error) = obstacle {
            target.state = TargetState::Done;
            job.failed(address, error);
            return;
        }
        job.begin(index);
        let attempt = AttemptId(self.attempts.created);
        self.attempts.created = self.attempts.created.saturating_add(1);
        let near = address.is_loopback() || address.is_private();
        let timeout = if near {
            self.config.dial.private_attempt_timeout
        } else {
            self.config.dial.attempt_timeout
        };
        self.timers.set(Timer::Attempt(attempt), self.now + timeout);
        self.actions.push_back(Action::Dial {
            attempt,
            address: address.clone(),
        });
        let record = Attempt {
            job: Some((number, index)),
            address,
            expected,
            connection: None,
        };
        self.attempts.attempts.insert(attempt, record);
    }

    /// The host has connected, or failed to. Gives the connection's entry for the caller to start.
    pub(in crate::swarm) fn attempt_connected(
        &mut self,
        attempt: AttemptId,
        result: Result<ConnectedPoint, TransportError>,
    ) -> Option<ConnectionId> {
        let known = self.attempts.attempts.get(&attempt)?;
        if known.connection.is_some() {
            return None;
        }
        let expected = known.expected;
        let point = match result {
            Ok(point) => point,
            Err(error) => {
                self.attempt_failed(attempt, AttemptError::Transport(error));
                return None;
            }
        };
        let max = usize::try_from(self.config.limits.connections).unwrap_or(usize::MAX);
        if self.connections.len() >= max || !self.events.reserve(2) {
            self.attempt_failed(attempt, AttemptError::TooManyConnections);
            return None;
        }
        let mut entry = Entry::new(point);
        (entry.attempt, entry.expected, entry.reserved) = (Some(attempt), expected, 2);
        let connection = self.connections.insert(entry);
        if let Some(known) = self.attempts.attempts.get_mut(&attempt) {
            known.connection = Some(connection);
        }
        Some(connection)
    }

    /// An attempt is over without a connection.
    pub(in crate::swarm) fn attempt_failed(&mut self, attempt: AttemptId, error: AttemptError) {
        let Some(known) = self.attempts.attempts.remove(&attempt) else {
            return;
        };
        self.timers.clear(Timer::Attempt(attempt));
        if let Some(peer) = known.expected {
            if matches!(error, AttemptError::WrongPeer { .. }) {
                self.book.remove(peer, &known.address);
            }
            if error.blames_address() {
                self.book.failed(peer, &known.address);
            }
            if is_fault_of_address(&error) {
                self.backoff
                    .failed(self.now, peer, &known.address, &self.config.dial);
                self.timers
                    .set_or_clear(Timer::Backoff, self.backoff.next_forgotten());
            }
        }
        if let Some((number, index)) = known.job {
            if let Some(job) = self.jobs.get_mut(number) {
                job.done(index);
                job.failed(known.address, error);
            }
            self.pump_job(number);
        }
        self.feed_starved();
    }

    pub(in crate::swarm) fn attempt_timed_out(&mut self, attempt: AttemptId) {
        self.abandon(attempt, ConnectionError::HandshakeTimeout);
        self.attempt_failed(attempt, AttemptError::TimedOut);
    }

    /// Stops what the host or a connection is doing for an attempt.
    pub(super) fn abandon(&mut self, attempt: AttemptId, reason: ConnectionError) {
        let connection = self
            .attempts
            .attempts
            .get(&attempt)
            .and_then(|known| known.connection);
        match connection {
            Some(connection) => {
                if let Some(entry) = self.connections.get_mut(connection) {
                    entry.attempt = None;
                }
                self.close_connection(connection, reason);
            }
            None => {
                let queued = self.actions.iter().position(
                    |action| matches!(action, Action::Dial { attempt: other, .. } if *other == attempt),
                );
                match queued {
                    // The host has not even heard of it.
                    Some(index) => drop(self.actions.remove(index)),
                    None => self.actions.push_back(Action::CancelDial { attempt }),
                }
            }
        }
    }

    /// Gives attempts to those who wait for them.
    pub(super) fn feed_starved(&mut self) {
        let max = usize::try_from(self.config.dial.max_attempts)
            .unwrap_or(usize::MAX)
            .max(1);
        for number in core::mem::take(&mut self.jobs.starved) {
            if self.attempts.len() < max {
                self.pump_job(number);
            } else if self.jobs.jobs.contains_key(&number) {
                self.jobs.starved.insert(number);
            }
        }
    }
}

/// Whether a failure says something about the address, so that it should rest.
const fn is_fault_of_address(error: &AttemptError) -> bool {
    !matches!(
        error,
        AttemptError::TooManyConnections
            | AttemptError::Connection(
                ConnectionError::Closed
                    | ConnectionError::Shutdown
                    | ConnectionError::LimitReached(_)
                    | ConnectionError::Denied
            )
            | AttemptError::Transport(TransportError::OutOfDescriptors)
    )
}

/// Addresses that lead nowhere by their nature.
fn is_undialable(address: &Multiaddr) -> bool {
    let port_zero = matches!(address.socket_addr(), Some((_, 0, _)));
    let broadcast = matches!(address.ip(), Some(core::net::IpAddr::V4(ip)) if ip.is_broadcast());
    address.is_unspecified() || address.is_multicast() || broadcast || port_zero
}
