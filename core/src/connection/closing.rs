//! How a connection ends: in good order, or at once.

#[cfg(feature = "recording")]
use super::recorded::ConnectionInput;
use super::{
    Connection, Event,
    error::ConnectionError,
    machine::Phase,
    message::{ToSwarm, ToSwarmMessage},
};
use crate::{
    buffer::ReceiveBuffer,
    mux::yamux::{self, GoAway},
    time::Instant,
};
#[cfg(feature = "recording")]
use alloc::borrow::Cow;
use alloc::{collections::BTreeSet, vec::Vec};

impl Connection {
    /// Closes in good order: what finished streams still owe is sent, then GoAway. The first reason is kept.
    pub fn close(&mut self, now: Instant, reason: ConnectionError) {
        self.advance_clock(now);
        when_recorded!(
            self,
            self.note(ConnectionInput::Close(Cow::Borrowed(&reason)))
        );
        self.close_with(reason, GoAway::Normal);
    }

    /// The peer broke the rules, or a layer below failed.
    pub(super) fn fail(&mut self, error: ConnectionError) {
        match error {
            ConnectionError::Muxer(_) | ConnectionError::Flooding => {
                self.close_with(error, GoAway::ProtocolError)
            }
            other => self.end(other),
        }
    }

    pub(super) fn close_with(&mut self, error: ConnectionError, go_away: GoAway) {
        let orderly =
            go_away == GoAway::Normal && !matches!(error, ConnectionError::ReportedByPeer(_));
        match self.phase {
            Phase::Closing => {
                // The rest of the message in which it came is not looked at, so nothing behind it can be understood.
                self.deaf |= !orderly;
                return;
            }
            Phase::Closed => return,
            Phase::Established => {}
            // Refused before it was established: the muxer is agreed, so that the peer can be told.
            Phase::AwaitingAdmission { asked: true } if self.channel.is_some() => {}
            Phase::Upgrading(_) | Phase::AwaitingAdmission { .. } => return self.end(error),
        }
        self.error = Some(error);
        self.phase = Phase::Closing;
        self.phase_deadline = Some(self.now + self.config.close_timeout);
        self.idle_deadline = None;
        self.deaf = !orderly;
        let places: Vec<usize> = self.session.iter().map(|(place, _)| place).collect();
        for place in places {
            let Some(stream) = self.session.stream(place) else {
                continue;
            };
            let owes = stream.send_state() == yamux::SendState::FinQueued;
            if !orderly || !owes {
                self.session.silence(place);
            }
        }
        self.session.drop_control();
        self.session.refuse_new();
        if !orderly || self.owes_nothing() {
            self.session.go_away(go_away);
        }
        // Whoever waits to write need not wait for the end to hear that there is no use in it.
        self.note_freed();
    }

    /// Ends at once, without telling the peer anything.
    pub(super) fn end(&mut self, error: ConnectionError) {
        if self.is_closed() {
            return;
        }
        self.error.get_or_insert(error);
        self.finish_closing();
    }

    pub(super) fn finish_closing(&mut self) {
        let error = self.error.clone().unwrap_or(ConnectionError::Closed);
        self.phase = Phase::Closed;
        self.end_streams(&error);
        self.upgrade_out = Vec::new();
        self.receive = ReceiveBuffer::new(0);
        self.mux_negotiation = None;
        self.channel = None;
        self.blocked = BTreeSet::new();
        self.stream_deadlines = BTreeSet::new();
        self.phase_deadline = None;
        self.idle_deadline = None;
        self.slow_reader_deadline = None;
        self.lease_refused = None;
        self.held_back = false;
        self.trim_at = None;
        // The last message is the one below.
        self.round_trip = None;
        self.events.push_back(Event::Closed {
            error: error.clone(),
        });
        self.messages
            .push_back(ToSwarm(ToSwarmMessage::Closed(error)));
    }

    /// After sending, and whenever a stream is gone: a peer that goes away is let go with its last stream, and a closing
    /// connection says GoAway when the last byte is sent.
    pub(super) fn check_drained(&mut self) {
        match self.phase {
            Phase::Established
                if self.session.is_remote_going_away() && self.session.is_empty() =>
            {
                self.close_with(ConnectionError::ClosedByPeer, GoAway::Normal);
            }
            Phase::Closing if self.owes_nothing() => self.say_go_away_once(),
            _ => {}
        }
        self.note_openable();
    }

    /// After a stream is gone, and whenever the peer may have acknowledged one: whoever was refused a stream may have it.
    pub(super) fn note_openable(&mut self) {
        if self.open_wanted && self.is_open() && self.session.may_open().is_ok() {
            self.open_wanted = false;
            self.events.push_back(Event::StreamsAvailable);
        }
    }

    /// Whether every finished stream has sent all of its data, and its FIN.
    fn owes_nothing(&self) -> bool {
        self.session.queued_bytes() == 0 && !self.session.is_sending()
    }

    pub(super) fn say_go_away_once(&mut self) {
        if !self.session.has_said_go_away() {
            self.session.go_away(GoAway::Normal);
        }
    }

    pub(super) fn after_sending(&mut self) {
        while let Some(notice) = self.session.poll_sent() {
            match notice {
                yamux::SentNotice::Space(place) => self.notify_writable(place),
                yamux::SentNotice::Finished(place) => {
                    self.note_fin_sent(place);
                    self.settle(place);
                }
            }
        }
        self.note_freed();
        self.check_drained();
        // Windows grow and shrink while sending.
        if self.is_over_lease() {
            self.check_lease();
        } else {
            self.resume();
        }
    }

    /// Tells the protocol of a stream, if it asked, that all it sent has left. When the peer has finished too, the end of
    /// the stream says so.
    fn note_fin_sent(&mut self, place: usize) {
        let Some(stream) = self.session.stream_mut(place) else {
            return;
        };
        if core::mem::take(&mut stream.extra.sent_interest) && !stream.extra.remote_end_reported {
            let stream = stream.extra.id;
            self.tell_swarm(ToSwarmMessage::Sent { stream });
        }
    }

    /// Something may have left the send queues or the receive queues, be it by a reset: whoever waited for that goes on.
    /// For the ends of calls from outside, where nothing else is under way.
    pub(super) fn note_freed(&mut self) {
        if !self.blocked.is_empty()
            && self
                .session
                .queued_bytes()
                .saturating_sub(self.session.bytes_aside())
                <= self.config.connection_send_queue / 2
        {
            for place in core::mem::take(&mut self.blocked) {
                self.notify_writable(place);
            }
        }
        self.report_processed();
    }
}
