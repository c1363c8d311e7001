//! What a connection does when time passes.

#[cfg(feature = "recording")]
use super::recorded::ConnectionInput;
use super::{
    Connection, error::ConnectionError, lease::LEASE_RETRY, machine::Phase, message::ToSwarmMessage,
};
use crate::{
    buffer::release,
    mux::yamux::GoAway,
    resource::Lease,
    time::{Instant, earliest},
};
use alloc::{collections::VecDeque, vec::Vec};
use core::time::Duration;

/// Spare memory is given back after this long without traffic. Of very many connections, only those with traffic within this
/// time hold any.
pub(super) const TRIM_AFTER: Duration = Duration::from_millis(100);

impl Connection {
    /// When to call [`handle_timeout`](Self::handle_timeout). Not later than the last `now` while an event or a message
    /// waits, or what was received can be processed again after messages were taken.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !self.events.is_empty() || !self.messages.is_empty() || self.round_trip.is_some() {
            return Some(self.now);
        }
        if self.is_closed() {
            return None;
        }
        if self.may_resume() {
            // The swarm has taken the messages for which processing had to wait.
            return Some(self.now);
        }
        let streams = self.stream_deadlines.first().map(|(deadline, _)| *deadline);
        let phase = earliest(self.phase_deadline, self.idle_deadline);
        let memory = earliest(self.slow_reader_deadline, self.trim_at);
        earliest(
            earliest(streams, phase),
            earliest(memory, self.lease_refused.map(|at| at + LEASE_RETRY)),
        )
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance_clock(now);
        when_recorded!(self, self.note(ConnectionInput::Timeout));
        if self.is_closed() {
            return;
        }
        let now = self.now;
        let due = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if due(self.phase_deadline) {
            let error = if matches!(self.phase, Phase::Closing) {
                ConnectionError::CloseTimeout
            } else {
                ConnectionError::HandshakeTimeout
            };
            return self.end(error);
        }
        if due(self.slow_reader_deadline) {
            self.slow_reader_deadline = None;
            return self.close_with(ConnectionError::SlowReader, GoAway::Normal);
        }
        if due(self.idle_deadline) {
            self.idle_deadline = None;
            return self.close_with(ConnectionError::Idle, GoAway::Normal);
        }
        if due(self.lease_refused.map(|at| at + LEASE_RETRY)) {
            self.retry_lease();
        }
        self.expire_streams();
        self.note_freed();
        self.resume();
        if due(self.trim_at) {
            self.trim();
        }
    }

    pub(super) fn advance_clock(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    pub(super) fn note_traffic(&mut self) {
        self.last_traffic = self.now;
        if self.trim_at.is_none() {
            self.trim_at = Some(self.now + TRIM_AFTER);
        }
    }

    /// Gives back what an idle connection does not need, or looks again later if it was not idle.
    pub(super) fn trim(&mut self) {
        let quiet_at = self.last_traffic + TRIM_AFTER;
        if quiet_at > self.now && !self.is_closed() {
            self.trim_at = Some(quiet_at);
            return;
        }
        self.trim_at = None;
        self.receive.trim();
        self.session.trim();
        release(&mut self.swarm_ids);
        release(&mut self.stream_deadlines);
        release(&mut self.blocked);
        release(&mut self.orphaned_loans);
        self.unheard_ends.shrink_to_fit();
        self.scratch = Vec::new();
        self.upgrade_out = core::mem::take(&mut self.upgrade_out);
        if self.upgrade_out.is_empty() {
            self.upgrade_out = Vec::new();
        }
        if self.events.is_empty() {
            self.events = VecDeque::new();
        }
        if self.messages.is_empty() {
            self.messages = VecDeque::new();
        }
        let spare = self.lease.bytes.saturating_sub(self.first_lease.bytes);
        if spare > 0
            && self.session.growth() == 0
            && self.session.held_bytes() == 0
            && self.lease_asked.is_none()
        {
            let back = Lease::new(spare, 0);
            self.lease = self.lease.minus(back);
            self.apply_lease();
            self.tell_swarm(ToSwarmMessage::ReturnLease(back));
        }
    }

    pub(super) fn check_idle(&mut self) {
        let idle =
            self.is_open() && self.foreground == 0 && !self.keep_alive && !self.host_keep_alive;
        if !idle {
            self.idle_deadline = None;
        } else if self.idle_deadline.is_none() {
            self.idle_deadline = Some(self.now + self.config.idle_timeout);
        }
    }
}
