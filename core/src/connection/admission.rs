//! The upgrade's end: a secured channel, an agreed muxer, and the swarm's word.

use super::{
    Connection, Event,
    config::Direction,
    error::ConnectionError,
    machine::{Channel, Phase},
    message::{SecuredPeer, ToSwarmMessage},
    table::InboundTable,
    upgrade::MuxNegotiation,
};
use crate::{buffer::Incoming, resource::Lease, security::Secured};
use alloc::{boxed::Box, sync::Arc, vec::Vec};

impl Connection {
    pub(super) fn secured(&mut self, secured: Secured) -> Result<(), ConnectionError> {
        let Secured {
            public_key,
            peer,
            muxer,
            send,
            receive,
            ..
        } = secured;
        self.peer = Some(peer);
        self.channel = Some(Channel { send, receive });
        self.phase = Phase::AwaitingAdmission { asked: false };
        self.secured = Some(Box::new(SecuredPeer { peer, public_key }));
        if muxer.is_some() {
            self.ask_for_admission();
            return Ok(());
        }
        let mut plaintext = Vec::new();
        let negotiation = MuxNegotiation::start(self.point.direction, &mut plaintext)
            .map_err(ConnectionError::Negotiation)?;
        self.mux_negotiation = Some(Box::new(negotiation));
        self.seal_upgrade(&plaintext)?;
        if self.point.direction == Direction::Outbound {
            self.ask_for_admission();
        }
        Ok(())
    }

    pub(super) fn ask_for_admission(&mut self) {
        if let (Phase::AwaitingAdmission { asked }, Some(secured)) =
            (&mut self.phase, self.secured.take())
        {
            *asked = true;
            self.tell_swarm(ToSwarmMessage::Secured(secured));
        }
    }

    pub(super) fn negotiate_muxer(&mut self, plaintext: &[u8]) -> Result<(), ConnectionError> {
        let Some(mut negotiation) = self.mux_negotiation.take() else {
            return Ok(());
        };
        let mut answer = Vec::new();
        let agreed = negotiation
            .advance(plaintext, &mut answer)
            .map_err(ConnectionError::Negotiation)?;
        self.seal_upgrade(&answer)?;
        if agreed && self.is_open() {
            let rest = negotiation.into_rest();
            return self.receive_frames(&mut Incoming::Borrowed(&rest));
        }
        self.mux_negotiation = Some(negotiation);
        if agreed {
            self.ask_for_admission();
        }
        Ok(())
    }

    pub(super) fn seal_upgrade(&mut self, plaintext: &[u8]) -> Result<(), ConnectionError> {
        let Some(channel) = self.channel.as_mut().filter(|_| !plaintext.is_empty()) else {
            return Ok(());
        };
        let begin = self.upgrade_out.len();
        self.upgrade_out.extend_from_slice(&[0, 0]);
        self.upgrade_out.extend_from_slice(plaintext);
        channel
            .send
            .seal_in_place(&mut self.upgrade_out, begin)
            .map_err(ConnectionError::Security)
    }

    pub(super) fn admitted(&mut self, table: Arc<InboundTable>, lease: Lease) {
        let (Phase::AwaitingAdmission { asked: true }, Some(peer)) = (&self.phase, self.peer)
        else {
            return;
        };
        self.phase = Phase::Established;
        self.phase_deadline = None;
        self.set_table(table);
        self.lease = lease;
        self.first_lease = lease;
        self.apply_lease();
        self.events.push_back(Event::Established { peer });
        self.check_idle();
        // The listener has agreed on the muxer by now, and may hold what came behind the agreement.
        if self.point.direction == Direction::Inbound
            && let Some(negotiation) = self.mux_negotiation.take()
        {
            let rest = negotiation.into_rest();
            if let Err(error) = self.receive_frames(&mut Incoming::Borrowed(&rest)) {
                self.fail(error);
            }
        }
        self.process();
    }
}
