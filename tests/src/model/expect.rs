//! What connections tell and deliver, compared with what the model expects.

use super::{Limits, Logical, Model, Offer};
use drywire::connection::{ConnectionError, Event, StreamError, StreamId, code};

impl Model {
    /// Everything received is what the other side wrote, in order.
    pub(super) fn check_received(&mut self, side: usize, n: usize, bytes: &[u8]) {
        let stream = &mut self.streams[n];
        let (written, messages, finished) = {
            let other = &stream.ends[1 - side];
            (other.written, other.messages.clone(), other.finished)
        };
        let end = &mut stream.ends[side];
        assert!(!end.stopped && !end.saw_end, "after the end");
        let expected = Logical::bytes(n, 1 - side, end.received, bytes.len());
        assert!(bytes == expected, "stream {n}: other bytes than written");
        end.received += bytes.len();
        assert!(end.received <= written);
        match stream.kind {
            0 => assert!(!bytes.is_empty()),
            1 => {
                assert_eq!(
                    messages.get(end.messages_received),
                    Some(&bytes.len()),
                    "a whole message"
                );
            }
            _ => {
                assert!(finished && end.received == written, "the whole body");
                assert_eq!(end.messages_received, 0);
                // The body ends where the stream does.
                end.saw_end = true;
            }
        }
        end.messages_received += 1;
    }

    pub(super) fn end_seen(&mut self, side: usize, n: usize) {
        let stream = &mut self.streams[n];
        let (written, messages, finished) = {
            let other = &stream.ends[1 - side];
            (other.written, other.messages.len(), other.finished)
        };
        let end = &mut stream.ends[side];
        end.saw_end = true;
        if end.stopped {
            return;
        }
        assert!(finished, "stream {n}: an end that was not made");
        assert_eq!(end.received, written);
        match stream.kind {
            0 => {}
            1 => assert_eq!(end.messages_received, messages),
            _ => assert_eq!(end.messages_received, 1),
        }
    }

    /// A stream may fail only for a reason.
    pub(super) fn justified(&mut self, side: usize, n: usize, error: &StreamError) {
        let timeout = self.config.negotiation_timeout;
        let now = self.now();
        let closed = self
            .pair
            .sides
            .each_ref()
            .map(|s| s.connection.error().cloned());
        let stream = &mut self.streams[n];
        let other = &stream.ends[1 - side];
        let started_at = stream.ends.each_ref().map(|end| end.started_at);
        let expired = now - started_at[stream.opener] >= timeout;
        let other_let_go = other.aborted
            || other.released_at.is_some_and(|at| now - at >= timeout)
            || (other.released_at.is_some() && expired);
        let ok = match error {
            StreamError::UnsupportedProtocol => {
                stream.offer == Offer::Unknown && stream.opener == side
            }
            StreamError::NegotiationTimeout => expired && stream.opener == side,
            StreamError::ResetByPeer(code::RESOURCE_LIMIT_EXCEEDED) => {
                let refuses = self.limits == Limits::Few || closed[1 - side].is_some();
                other_let_go || (refuses && stream.opener == side)
            }
            StreamError::ResetByPeer(code::PROTOCOL_NEGOTIATION_FAILED) => {
                other_let_go || expired || stream.offer == Offer::Unknown
            }
            StreamError::ResetByPeer(_) => other_let_go,
            StreamError::Connection(_) => closed[side].is_some(),
            _ => false,
        };
        assert!(
            ok,
            "stream {n}, side {side}: {error:?} for no reason: {stream:?}"
        );
        stream.ends[side].aborted = true;
    }

    /// Compares what was told since the last time.
    pub(super) fn observe(&mut self) {
        for side in [0, 1] {
            let events: Vec<Event> = self.pair.sides[side].events[self.events_seen[side]..]
                .iter()
                .map(|(_, event)| event.clone())
                .collect();
            self.events_seen[side] += events.len();
            for event in events {
                assert!(!self.closed[side], "{event:?} after Closed");
                self.event(side, event);
            }
            if let Some(error) = self.pair.sides[side].connection.error() {
                let fault = matches!(
                    error,
                    ConnectionError::Flooding
                        | ConnectionError::Muxer(_)
                        | ConnectionError::Security(_)
                        | ConnectionError::ReportedByPeer(_)
                );
                assert!(!fault, "nobody broke the rules: {error:?}");
            }
        }
    }

    pub(super) fn event(&mut self, side: usize, event: Event) {
        let known = |model: &Self, id: &StreamId| {
            let n = *model.by_id[side].get(id).expect("a stream that is known");
            let end = &model.streams[n].ends[side];
            assert!(!end.terminal, "after its terminal event: {n} {end:?}");
            n
        };
        match event {
            Event::Established { .. } => {
                assert!(!std::mem::replace(&mut self.established[side], true));
            }
            Event::Closed { .. } => self.closed[side] = true,
            Event::Inbound { stream, protocol } => {
                let number = protocol.as_str().rsplit('/').next().expect("a number");
                let n: usize = number.parse().expect("a number");
                let logical = &mut self.streams[n];
                assert_eq!(logical.opener, 1 - side);
                let end = &mut logical.ends[side];
                assert_eq!(end.id, None, "told once");
                end.id = Some(stream);
                end.started_at = self.pair.now;
                end.opened = true;
                end.read_blocked += 1;
                end.waits_to_read = true;
                assert!(self.by_id[side].insert(stream, n).is_none());
            }
            Event::Opened { stream, protocol } => {
                let n = known(self, &stream);
                let logical = &mut self.streams[n];
                assert_eq!(logical.opener, side);
                assert_ne!(logical.offer, Offer::Unknown);
                assert!(protocol.as_str().ends_with(&format!("/{n}")));
                assert!(!std::mem::replace(&mut logical.ends[side].opened, true));
            }
            Event::Failed { stream, error } => {
                let n = known(self, &stream);
                assert!(!self.streams[n].ends[side].opened);
                self.fails(side, n, &error);
            }
            Event::Reset { stream, error } => {
                let n = known(self, &stream);
                self.fails(side, n, &error);
            }
            Event::Finished { stream } => {
                let n = known(self, &stream);
                let end = &mut self.streams[n].ends[side];
                assert!(end.finished && (end.saw_end || end.stopped));
                (end.terminal, end.gone) = (true, true);
            }
            Event::Readable { stream } => {
                let n = known(self, &stream);
                let end = &mut self.streams[n].ends[side];
                // Events of streams let go may still have been on their way.
                if !end.gone {
                    end.waits_to_read = false;
                    let waiting = end.read_blocked.checked_sub(1);
                    end.read_blocked = waiting.expect("somebody waits to read");
                }
            }
            Event::Writable { stream } => {
                let n = known(self, &stream);
                let end = &mut self.streams[n].ends[side];
                if !end.gone {
                    end.waits_to_write = false;
                    let waiting = end.write_blocked.checked_sub(1);
                    end.write_blocked = waiting.expect("somebody waits to write");
                }
            }
            Event::StreamsAvailable => {}
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn fails(&mut self, side: usize, n: usize, error: &StreamError) {
        self.justified(side, n, error);
        let end = &mut self.streams[n].ends[side];
        end.terminal = true;
    }
}
