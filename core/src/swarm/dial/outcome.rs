//! How dials end: who is told what, and what stops with the last caller.

use super::{
    AddressFailure, AttemptId, DialCondition, DialError, DialId,
    job::{Caller, Job},
};
use crate::{
    connection::{ConnectionError, ConnectionId},
    identity::PeerId,
    swarm::{
        action::Action,
        event_queue::Notice,
        state::{State, Targeted},
        timers::Timer,
    },
};
use alloc::{collections::BTreeSet, vec::Vec};

impl State {
    /// A connection is up: whoever waits for its peer is answered.
    pub(in crate::swarm) fn answer_dials(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        attempt: Option<AttemptId>,
    ) {
        let known = attempt.and_then(|attempt| {
            self.timers.clear(Timer::Attempt(attempt));
            self.attempts.attempts.remove(&attempt)
        });
        if let Some((number, index)) = known.as_ref().and_then(|known| known.job) {
            if let Some(job) = self.jobs.get_mut(number) {
                job.done(index);
            }
            self.answer_job(number, connection, peer, true);
            self.end_job(number, false);
        }
        if let Some(known) = known {
            // Those who waited for whoever is at that address have it.
            for number in self.jobs.waiting_for(&known.address, peer) {
                self.answer_job(number, connection, peer, true);
                self.end_job(number, false);
            }
        }
        if let Some(number) = self.jobs.of_peer(&peer) {
            self.answer_job(number, connection, peer, false);
            let done = self
                .jobs
                .get_mut(number)
                .is_some_and(|job| job.callers.is_empty());
            if done {
                // The peer may count on a connection that is nearly there: those are kept.
                self.end_job(number, true);
            }
        }
        self.feed_starved();
    }

    /// Answers the callers that this connection satisfies.
    pub(super) fn answer_job(
        &mut self,
        number: u64,
        connection: ConnectionId,
        peer: PeerId,
        dialed: bool,
    ) {
        let Some(job) = self.jobs.jobs.get_mut(&number) else {
            return;
        };
        let (jobs, mut answered) = (&self.jobs.callers, Vec::new());
        job.callers.retain(|dial| {
            let any = jobs
                .get(dial)
                .is_some_and(|waiting| waiting.condition == DialCondition::IfDisconnected);
            let satisfied = dialed || any;
            if satisfied {
                answered.push(*dial);
            }
            !satisfied
        });
        let failures = job.failures.clone();
        for dial in answered {
            self.timers.clear(Timer::Caller(dial));
            if let Some(waiting) = self.jobs.callers.remove(&dial) {
                self.tell_dialed(dial, waiting.caller, (connection, peer), &failures);
            }
        }
    }

    /// Forgets a job and stops its attempts; those in their handshake may be kept to become connections.
    pub(super) fn end_job(&mut self, number: u64, keep_handshakes: bool) -> Option<Job> {
        let job = self.jobs.jobs.remove(&number)?;
        if let Some(peer) = &job.peer {
            self.jobs.by_peer.remove(peer);
        }
        if let Some(first) = &job.first {
            self.jobs.by_address.remove(first);
        }
        self.jobs.starved.remove(&number);
        self.timers.clear(Timer::Job(number));
        let (timers, actions) = (&mut self.timers, &mut self.actions);
        self.jobs.lookups.retain(|lookup, (owner, _)| {
            if *owner == number {
                timers.clear(Timer::Lookup(*lookup));
                // The host need not look up what nobody waits for.
                actions.retain(
                    |action| !matches!(action, Action::Resolve { lookup: other, .. } if other == lookup),
                );
            }
            *owner != number
        });
        let attempts = self.attempts.attempts.iter_mut();
        let mut own: Vec<AttemptId> = Vec::new();
        for (attempt, known) in attempts {
            if known.job.is_some_and(|(owner, _)| owner == number) {
                known.job = None;
                if !(keep_handshakes && known.connection.is_some()) {
                    own.push(*attempt);
                }
            }
        }
        for attempt in own {
            self.abandon(attempt, ConnectionError::Closed);
            self.timers.clear(Timer::Attempt(attempt));
            self.attempts.attempts.remove(&attempt);
        }
        Some(job)
    }

    /// Every address has failed.
    pub(super) fn fail_job(&mut self, number: u64) {
        if let Some(job) = self.end_job(number, false) {
            let error = DialError::AllFailed {
                failures: job.failures,
            };
            self.tell_all_failed(job.callers, job.peer, &error);
        }
    }

    fn tell_all_failed(
        &mut self,
        callers: BTreeSet<DialId>,
        peer: Option<PeerId>,
        error: &DialError,
    ) {
        for dial in callers {
            self.timers.clear(Timer::Caller(dial));
            if let Some(waiting) = self.jobs.callers.remove(&dial) {
                self.tell_dial_failed(dial, waiting.caller, peer, error.clone());
            }
        }
    }

    pub(in crate::swarm) fn caller_timed_out(&mut self, dial: DialId) {
        let Some(waiting) = self.jobs.callers.remove(&dial) else {
            return;
        };
        let (mut failures, mut peer) = (Vec::new(), None);
        if let Some(job) = self.jobs.get_mut(waiting.job) {
            (failures, peer) = (job.failures.clone(), job.peer);
        }
        self.leave_job(waiting.job, dial);
        self.tell_dial_failed(dial, waiting.caller, peer, DialError::TimedOut { failures });
    }

    /// A caller gives up; nothing more is said to it. Returns whether there was such a caller.
    pub(in crate::swarm) fn cancel_dial(&mut self, dial: DialId, caller: Caller) -> bool {
        if self
            .jobs
            .callers
            .get(&dial)
            .is_none_or(|waiting| waiting.caller != caller)
        {
            return false;
        }
        let Some(waiting) = self.jobs.callers.remove(&dial) else {
            return false;
        };
        self.timers.clear(Timer::Caller(dial));
        if waiting.caller == Caller::Host {
            self.events.release(1);
        }
        self.leave_job(waiting.job, dial);
        true
    }

    /// Takes a caller out of its job; the last one ends it.
    pub(super) fn leave_job(&mut self, number: u64, dial: DialId) {
        let Some(job) = self.jobs.get_mut(number) else {
            return;
        };
        job.callers.remove(&dial);
        if job.callers.is_empty() {
            self.end_job(number, false);
            self.feed_starved();
        }
    }

    /// Ends every dial.
    pub(in crate::swarm) fn end_all_dials(&mut self, error: &DialError) {
        for number in self.jobs.ids() {
            self.end_dials(number, error);
        }
        let orphans: Vec<AttemptId> = self.attempts.attempts.keys().copied().collect();
        for attempt in orphans {
            self.abandon(attempt, ConnectionError::Shutdown);
            self.timers.clear(Timer::Attempt(attempt));
            self.attempts.attempts.remove(&attempt);
        }
    }

    /// Ends one job for a reason that lies with this node.
    pub(in crate::swarm) fn end_dials(&mut self, number: u64, error: &DialError) {
        if let Some(job) = self.end_job(number, false) {
            self.tell_all_failed(job.callers, job.peer, error);
            self.feed_starved();
        }
    }

    pub(super) fn tell_dialed(
        &mut self,
        dial: DialId,
        caller: Caller,
        (connection, peer): (ConnectionId, PeerId),
        failures: &[AddressFailure],
    ) {
        match caller {
            Caller::Host => self.events.push_reserved(Notice::Dialed {
                dial,
                connection,
                peer,
            }),
            Caller::Protocol(slot) => self.deliver(
                slot,
                Targeted::Dialed {
                    dial,
                    connection,
                    peer,
                    failures: failures.to_vec(),
                },
            ),
        }
    }

    fn tell_dial_failed(
        &mut self,
        dial: DialId,
        caller: Caller,
        peer: Option<PeerId>,
        error: DialError,
    ) {
        match caller {
            Caller::Host => self
                .events
                .push_reserved(Notice::DialFailed { dial, peer, error }),
            Caller::Protocol(slot) => {
                self.deliver(slot, Targeted::DialFailed { dial, peer, error })
            }
        }
    }
}
