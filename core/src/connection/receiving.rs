//! From received bytes to frames, and from frames to streams.

use super::{Connection, error::ConnectionError, machine::Phase, upgrade::Step};
use crate::{
    buffer::{Incoming, ReceiveBuffer},
    mux::yamux::{self, GoAway, Notice},
};

/// Messages with less plaintext are read without cutting them out of the buffer.
const CUT_OUT_FROM: usize = 1024;

impl Connection {
    /// Does all that can be done with what was received.
    pub(super) fn process(&mut self) {
        // The buffer leaves the connection for the while, so that what is cut from it can be given to the streams.
        let mut receive = core::mem::replace(&mut self.receive, ReceiveBuffer::new(0));
        self.held_back = false;
        loop {
            while self.process_once(&mut receive) {}
            if !self.give_up_gathering() {
                break;
            }
        }
        if !self.is_closed() {
            self.receive = receive;
        }
        self.check_lease();
        self.note_freed();
        self.note_openable();
        if self.ended
            && !self.is_held_up()
            && !matches!(self.phase, Phase::AwaitingAdmission { .. })
        {
            match self.phase {
                Phase::Upgrading(_) => self.end(ConnectionError::EndOfInput),
                Phase::Established => {
                    self.close_with(ConnectionError::ClosedByPeer, GoAway::Normal)
                }
                _ => {}
            }
        }
    }

    pub(super) fn process_once(&mut self, receive: &mut ReceiveBuffer) -> bool {
        let result = match &mut self.phase {
            Phase::Upgrading(upgrade) => {
                match upgrade.advance(receive.as_slice(), &mut self.upgrade_out) {
                    Ok(Step::Consumed(0)) => return false,
                    Ok(Step::Consumed(count)) => {
                        receive.consume(count);
                        Ok(true)
                    }
                    Ok(Step::Secured(count, secured)) => {
                        receive.consume(count);
                        self.secured(*secured).map(|()| true)
                    }
                    Err(error) => Err(error),
                }
            }
            Phase::AwaitingAdmission { asked: true } | Phase::Closed => return false,
            Phase::Closing if self.deaf => {
                receive.consume(usize::MAX);
                return false;
            }
            Phase::AwaitingAdmission { asked: false } | Phase::Established | Phase::Closing => {
                if self.is_held_up() {
                    self.held_back |= self.is_backlogged();
                    return false;
                }
                self.process_message(receive)
            }
        };
        match result {
            Ok(more) => more,
            Err(error) => {
                self.fail(error);
                false
            }
        }
    }

    pub(super) fn process_message(
        &mut self,
        receive: &mut ReceiveBuffer,
    ) -> Result<bool, ConnectionError> {
        let Some(channel) = &mut self.channel else {
            return Ok(false);
        };
        let Some(range) = channel
            .receive
            .next_message(receive.as_slice())
            .map_err(ConnectionError::Security)?
        else {
            return Ok(false);
        };
        let end = range.end;
        let message = receive
            .as_mut_slice()
            .get_mut(range.clone())
            .unwrap_or_default();
        let plain = channel
            .receive
            .open_in_place(message)
            .map_err(ConnectionError::Security)?;
        let plain_end = range.start.saturating_add(plain);
        if self.mux_negotiation.is_some() {
            let plaintext = receive
                .as_slice()
                .get(range.start..plain_end)
                .unwrap_or_default();
            let result = self.negotiate_muxer(plaintext);
            receive.consume(end);
            return result.map(|()| true);
        }
        if plain < CUT_OUT_FROM {
            let plaintext = receive
                .as_slice()
                .get(range.start..plain_end)
                .unwrap_or_default();
            let result = self.receive_frames(&mut Incoming::Borrowed(plaintext));
            receive.consume(end);
            result?;
        } else {
            receive.consume(range.start);
            let mut incoming = receive.split(plain);
            receive.consume(end.saturating_sub(plain_end));
            self.receive_frames(&mut incoming)?;
        }
        Ok(true)
    }

    pub(super) fn receive_frames(
        &mut self,
        incoming: &mut Incoming<'_>,
    ) -> Result<(), ConnectionError> {
        loop {
            let notice = self
                .session
                .receive(self.now, incoming)
                .map_err(|error| match error {
                    yamux::Error::Flooding => ConnectionError::Flooding,
                    other => ConnectionError::Muxer(other),
                })?;
            let Some(notice) = notice else { return Ok(()) };
            match notice {
                Notice::Inbound(place) => self.on_inbound(place),
                Notice::Data(place) | Notice::Finished(place) => match self.session.stream(place) {
                    Some(stream) if stream.extra.is_negotiating() => self.negotiate(place),
                    _ => {
                        self.deliver(place);
                        self.settle(place);
                    }
                },
                Notice::Reset(place) => self.on_reset(place),
                Notice::RoundTrip(round_trip) => self.round_trip = Some(round_trip),
                Notice::GoAway(GoAway::Normal) => self.check_drained(),
                Notice::GoAway(reason) => {
                    let code = match reason {
                        GoAway::ProtocolError => 1,
                        GoAway::InternalError => 2,
                        GoAway::Other(code) => code,
                        GoAway::Normal => 0,
                    };
                    self.close_with(ConnectionError::ReportedByPeer(code), GoAway::Normal);
                    return Ok(());
                }
            }
            if self.is_closed() {
                return Ok(());
            }
        }
    }
}
