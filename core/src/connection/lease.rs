//! What a connection may hold, and what it owes the swarm a word about.

use super::{
    Connection,
    delivery::Holding,
    error::StreamError,
    id::StreamId,
    message::{BYTES_AT_ONCE, COMMANDS_AT_ONCE, ToSwarm, ToSwarmMessage},
};
use crate::{buffer::Loan, mux::code, resource::Lease};
use alloc::vec::Vec;
use core::time::Duration;

/// Bytes asked of the swarm at once.
const LEASE_BLOCK: u64 = 1024 * 1024;
/// Messages for the swarm that may wait before nothing more is processed of what the peer sends; soft by what one message
/// of the peer leads to.
const MESSAGES_AT_ONCE: usize = 512;
/// A refused lease is asked for again after this long.
pub(super) const LEASE_RETRY: Duration = Duration::from_secs(1);

impl Connection {
    /// Whether more memory is held than the swarm has leased. Then nothing is processed until the application reads.
    pub(super) fn is_over_lease(&self) -> bool {
        self.over_lease_by() > 0
    }

    fn over_lease_by(&self) -> u64 {
        let held = u64::try_from(self.session.held_bytes()).unwrap_or(u64::MAX);
        if held == 0 {
            return 0;
        }
        held.saturating_add(self.session.growth())
            .saturating_sub(self.lease.bytes)
    }

    /// Whether the swarm is behind with taking messages. What a peer provokes of them must not pile up.
    pub(super) fn is_backlogged(&self) -> bool {
        self.messages.len() >= MESSAGES_AT_ONCE
    }

    /// Whether nothing more is processed of what the peer sends, until the application reads or the swarm takes messages.
    pub(super) fn is_held_up(&self) -> bool {
        self.is_over_lease() || self.is_backlogged()
    }

    pub(super) fn check_lease(&mut self) {
        if !self.is_open() {
            return;
        }
        let over = self.is_over_lease();
        if !over {
            self.slow_reader_deadline = None;
        } else if self.slow_reader_deadline.is_none() {
            self.slow_reader_deadline = Some(self.now + self.config.slow_reader_timeout);
        }
        let streams_short = self.session.inbound_streams() > self.lease.streams / 2
            && self.lease.streams < self.config.max_streams;
        let bytes_short = self.session.take_growth_wanted() || over;
        if (bytes_short || streams_short)
            && self.lease_asked.is_none()
            && self.lease_refused.is_none()
        {
            let bytes = if bytes_short {
                LEASE_BLOCK.max(u64::from(self.config.yamux.max_window) / 4)
            } else {
                0
            };
            let streams = if streams_short {
                self.config.max_streams.saturating_sub(self.lease.streams)
            } else {
                0
            };
            let request = Lease::new(bytes, streams);
            self.lease_asked = Some(request);
            self.tell_swarm(ToSwarmMessage::NeedLease(request));
        }
    }

    pub(super) fn leased(&mut self, more: Lease) {
        let asked = self.lease_asked.take().unwrap_or_default();
        self.lease = self.lease.plus(more);
        self.bytes_refused = asked.bytes > 0 && more.bytes == 0;
        self.streams_refused = asked.streams > 0 && more.streams == 0;
        if more.is_empty() {
            self.lease_refused = Some(self.now);
        }
        self.apply_lease();
        self.process();
    }

    /// Over the lease, with no more to be had, and what could be read is less than what is missing: a message is longer than
    /// what may be held, and would wait for ever. Gives up the stream that holds most of one; false if there is none.
    pub(super) fn give_up_gathering(&mut self) -> bool {
        let stuck = self.bytes_refused && self.lease_refused.is_some() && self.is_over_lease();
        if !stuck || !self.is_open() {
            return false;
        }
        let places: Vec<usize> = self.session.iter().map(|(place, _)| place).collect();
        let (mut most, mut readable) = (None, 0u64);
        for place in places {
            match self.holding(place) {
                Holding::Nothing => {}
                Holding::Readable(len) => {
                    readable = readable.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
                }
                Holding::Incomplete(len) => most = most.max(Some((len, place))),
            }
        }
        let Some((_, place)) = most.filter(|_| readable < self.over_lease_by()) else {
            return false;
        };
        let code = code::RESOURCE_LIMIT_EXCEEDED;
        self.fail_stream(place, StreamError::ResourceLimitExceeded, code);
        true
    }

    /// A refused request may be made again.
    pub(super) fn retry_lease(&mut self) {
        self.lease_refused = None;
        self.bytes_refused = false;
        self.streams_refused = false;
        self.apply_lease();
        self.check_lease();
    }

    /// The streams of a burst come faster than the swarm answers. They are let in, up to the connection's own limit, as
    /// long as the answer may be yes; those beyond the lease are reset when it is no.
    pub(super) fn apply_lease(&mut self) {
        self.session.set_growth_budget(self.lease.bytes / 2);
        let most = self
            .config
            .max_streams
            .min(self.config.yamux.max_inbound_streams);
        let leased = self.lease.streams.min(most);
        if self.streams_refused {
            self.session.set_max_inbound_streams(leased);
            self.reset_beyond(usize::try_from(leased).unwrap_or(usize::MAX));
        } else {
            self.session.set_max_inbound_streams(most);
        }
    }

    /// Resets the youngest inbound streams, all but `leased`.
    fn reset_beyond(&mut self, leased: usize) {
        let mut streams: Vec<(u32, usize)> = self
            .session
            .iter()
            .filter(|(_, stream)| !stream.is_outbound() && stream.reset_code().is_none())
            .map(|(place, stream)| (stream.wire_id(), place))
            .collect();
        streams.sort_unstable();
        for (_, place) in streams.into_iter().skip(leased) {
            let code = code::RESOURCE_LIMIT_EXCEEDED;
            self.fail_stream(place, StreamError::Reset(code), code);
        }
    }

    pub(super) fn tell_swarm(&mut self, message: ToSwarmMessage) {
        self.messages.push_back(ToSwarm(message));
    }

    /// What to carry to the swarm, one at a time, in order.
    pub fn poll_message(&mut self) -> Option<ToSwarm> {
        let message = self.next_message();
        when_recorded!(self, self.note_message(message.as_ref()));
        message
    }

    fn next_message(&mut self) -> Option<ToSwarm> {
        if let Some(message) = self.messages.pop_front() {
            if let ToSwarmMessage::Data { stream, .. } = &message.0
                && let Some(loan) = self.orphaned_loans.remove(stream)
            {
                self.session.end_loan(loan);
            }
            return Some(message);
        }
        self.round_trip
            .take()
            .map(|round_trip| ToSwarm(ToSwarmMessage::RoundTrip(round_trip)))
    }

    /// The swarm will not say that it has consumed the last message of a stream, which is charged until the swarm has it.
    pub(super) fn outlived_by_message(&mut self, id: StreamId, loan: Loan) {
        if self.messages.iter().any(|message| message.is_data_of(id)) {
            self.orphaned_loans.insert(id, loan);
        } else {
            self.session.end_loan(loan);
        }
    }

    pub(super) fn note_command(&mut self) {
        self.commands_handled = self.commands_handled.saturating_add(1);
        self.report_processed();
    }

    /// A command brought `len` bytes, which the swarm counts, of which `queued` now wait in a stream's queue.
    pub(super) fn note_sent(&mut self, len: usize, queued: usize) {
        let count = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
        self.bytes_accepted = self.bytes_accepted.saturating_add(count(len.max(queued)));
        // A length prefix is not the swarm's: it is reported as if it had gone before.
        self.bytes_reported = self
            .bytes_reported
            .saturating_add(count(queued.saturating_sub(len)));
        self.note_command();
    }

    /// A length prefix of `len` bytes was queued, which the swarm did not count.
    pub(super) fn note_prefix(&mut self, len: usize) {
        let len = u64::try_from(len).unwrap_or(u64::MAX);
        self.bytes_accepted = self.bytes_accepted.saturating_add(len);
        self.bytes_reported = self.bytes_reported.saturating_add(len);
    }

    /// Tells the swarm what left its budget, in batches.
    pub(super) fn report_processed(&mut self) {
        let queued = self
            .session
            .metered_bytes()
            .saturating_add(self.early_bytes);
        let queued = u64::try_from(queued).unwrap_or(u64::MAX);
        let gone = self
            .bytes_accepted
            .saturating_sub(queued)
            .saturating_sub(self.bytes_reported);
        let enough = gone >= BYTES_AT_ONCE / 4 || self.commands_handled >= COMMANDS_AT_ONCE / 4;
        if enough && !self.is_closed() {
            self.bytes_reported = self.bytes_reported.saturating_add(gone);
            let commands = core::mem::take(&mut self.commands_handled);
            self.tell_swarm(ToSwarmMessage::Processed {
                commands,
                bytes: gone,
            });
        }
    }
}
