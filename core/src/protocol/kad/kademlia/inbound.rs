//! Streams of peers, each with any number of requests, one after another.
//!
//! | state | input | next state |
//! |---|---|---|
//! | (none) | a stream is opened; there is room | waiting for the first request |
//! | (none) | a stream is opened; there is none | the stream that has been idle the longest is reset for it; if none is idle, the new one |
//! | waiting | a request | answering; no other request is read meanwhile |
//! | waiting | nothing for [`inbound_timeout`](super::super::Config::inbound_timeout), or between two requests for [`inbound_idle_timeout`](super::super::Config::inbound_idle_timeout) | reset |
//! | waiting | the peer finishes | finished |
//! | waiting | a request of a peer that [asks too often](super::super::Config::request_rate) | delayed; no other request is read meanwhile |
//! | delayed | the time at which it may ask | answering |
//! | answering | the answer, or there is none for this request | waiting; finished, if the peer has |
//! | answering | the request is malformed or refused | reset |
//! | any | the node becomes a client | reset |

use super::{Cx, Deadline, Kademlia, Use};
use crate::{
    connection::{Accept, StreamKind, code},
    identity::PeerId,
    multiaddr::Multiaddr,
    protocol::kad::{
        dht::{self, InboundId},
        store::RecordStore,
    },
    swarm::{SendError, StreamRef},
    time::Instant,
};
use alloc::vec::Vec;
use bytes::Bytes;

/// A stream of a peer.
#[derive(Clone, Debug)]
pub(super) struct Inbound {
    peer: PeerId,
    /// The request that is being answered.
    answering: Option<InboundId>,
    /// An answer there was no room for yet.
    unsent: Option<Bytes>,
    /// A request that waits, for its peer asks too often.
    delayed: Option<Bytes>,
    /// Since when it is idle, after a first request.
    idle: Option<Instant>,
    finished: bool,
}

impl<S: RecordStore> Kademlia<S> {
    pub(super) fn accept_options(&self) -> Accept {
        let config = self.dht.config();
        let max_len = u32::try_from(config.max_request_len).unwrap_or(u32::MAX);
        // One more than allowed, so that an idle one can be given up for it.
        let max_streams = config.max_inbound_streams.saturating_add(1);
        Accept::new(StreamKind::Framed { max_len }).max_streams(max_streams)
    }

    pub(super) fn opened_by_peer(&mut self, stream: StreamRef, peer: PeerId, cx: &mut Cx<'_>) {
        let config = self.dht.config();
        let (per_connection, per_peer) = (
            config.max_inbound_streams,
            config.max_inbound_streams_per_peer,
        );
        let timeout = config.inbound_timeout;
        let on_connection = self
            .links
            .get(&stream.connection)
            .map_or(0, |link| link.inbound);
        let of_peer = self.peers.get(&peer).map_or(0, |known| known.inbound);
        if on_connection >= per_connection || of_peer >= per_peer {
            let same_link = on_connection >= per_connection;
            let idle = self.inbound.iter().filter_map(|(other, inbound)| {
                let here = !same_link || other.connection == stream.connection;
                let since = inbound.idle.filter(|_| here && inbound.peer == peer)?;
                Some((since, *other))
            });
            let Some((_, idle)) = idle.min() else {
                cx.reset(stream, code::RESOURCE_LIMIT_EXCEEDED);
                return;
            };
            cx.reset(idle, code::RESOURCE_LIMIT_EXCEEDED);
            self.stream_over(idle, cx);
        }
        if let Some(link) = self.links.get_mut(&stream.connection) {
            link.inbound = link.inbound.saturating_add(1);
        }
        if let Some(known) = self.peers.get_mut(&peer) {
            known.inbound = known.inbound.saturating_add(1);
        }
        let inbound = Inbound {
            peer,
            answering: None,
            unsent: None,
            delayed: None,
            idle: None,
            finished: false,
        };
        self.inbound.insert(stream, inbound);
        self.streams.insert(stream, Use::Inbound);
        let late = cx.now().saturating_add(timeout);
        self.timers.set(Deadline::Inbound(stream), late);
    }

    /// A request of a peer.
    pub(super) fn request(&mut self, stream: StreamRef, bytes: &Bytes, cx: &mut Cx<'_>) {
        let Some(inbound) = self.inbound.get_mut(&stream) else {
            return;
        };
        if let Err(later) = self.dht.admit_request(super::moment(cx), &inbound.peer) {
            (inbound.delayed, inbound.idle) = (Some(bytes.clone()), None);
            self.timers.set(Deadline::Delayed(stream), later);
            cx.pause(stream);
            return;
        }
        let id = InboundId(self.received);
        self.received = self.received.saturating_add(1);
        let late = cx
            .now()
            .saturating_add(self.dht.config().inbound_idle_timeout);
        let Some(inbound) = self.inbound.get_mut(&stream) else {
            return;
        };
        (inbound.answering, inbound.idle) = (Some(id), None);
        let from = inbound.peer;
        self.timers.set(Deadline::Inbound(stream), late);
        self.answering.insert(id, stream);
        let request = dht::Inbound {
            id,
            from,
            connection: stream.connection,
        };
        // The machine is borrowed together with what the swarm knows, so not by `with_dht`.
        self.dht.set_waker(cx.waker());
        let at = super::moment(cx);
        let known = |peer: &PeerId| -> Vec<Multiaddr> { cx.addresses(peer) };
        self.dht.handle_request(at, request, bytes, &known);
        self.carry_out(cx);
        if self.answering.contains_key(&id) {
            cx.pause(stream);
        }
    }

    /// A request has waited long enough.
    pub(super) fn delay_over(&mut self, stream: StreamRef, cx: &mut Cx<'_>) {
        let inbound = self.inbound.get_mut(&stream);
        if let Some(bytes) = inbound.and_then(|inbound| inbound.delayed.take()) {
            self.request(stream, &bytes, cx);
        }
    }

    /// The answer to a request, if it has one.
    pub(super) fn respond(&mut self, to: InboundId, message: Option<Bytes>, cx: &mut Cx<'_>) {
        let Some(stream) = self.answering.remove(&to) else {
            return;
        };
        if let Some(inbound) = self.inbound.get_mut(&stream) {
            inbound.answering = None;
            inbound.unsent = message;
        }
        self.send_answer(stream, cx);
    }

    /// Sends what there is to send, and lets the peer go on.
    fn send_answer(&mut self, stream: StreamRef, cx: &mut Cx<'_>) {
        let Some(inbound) = self.inbound.get_mut(&stream) else {
            return;
        };
        if let Some(message) = inbound.unsent.take() {
            match cx.send(stream, message.clone()) {
                Ok(()) => {}
                Err(SendError::Full) => {
                    inbound.unsent = Some(message);
                    cx.pause(stream);
                    return;
                }
                Err(_) => return,
            }
        }
        if inbound.finished {
            cx.finish(stream);
            return;
        }
        inbound.idle = Some(cx.now());
        cx.resume(stream);
    }

    pub(super) fn writable(&mut self, stream: StreamRef, cx: &mut Cx<'_>) {
        if self.inbound.contains_key(&stream) {
            self.send_answer(stream, cx);
        }
    }

    /// A request is refused, and with it everything else on its stream.
    pub(super) fn refuse(&mut self, to: InboundId, cx: &mut Cx<'_>) {
        if let Some(stream) = self.answering.remove(&to) {
            cx.reset(stream, code::PROTOCOL_VIOLATION);
            self.stream_over(stream, cx);
        }
    }

    /// The peer has no more requests.
    pub(super) fn requests_finished(&mut self, stream: StreamRef, cx: &mut Cx<'_>) {
        let Some(inbound) = self.inbound.get_mut(&stream) else {
            return;
        };
        inbound.finished = true;
        inbound.idle = None;
        let waits = inbound.answering.is_some() || inbound.delayed.is_some();
        if !waits && inbound.unsent.is_none() {
            cx.finish(stream);
        }
    }

    /// Nobody is answered any more.
    pub(super) fn refuse_all(&mut self, cx: &mut Cx<'_>) {
        let streams: Vec<StreamRef> = self.inbound.keys().copied().collect();
        for stream in streams {
            cx.reset(stream, code::PROTOCOL_NEGOTIATION_FAILED);
            self.stream_over(stream, cx);
        }
    }

    /// A stream is over, or given up.
    pub(super) fn stream_over(&mut self, stream: StreamRef, _cx: &mut Cx<'_>) {
        self.streams.remove(&stream);
        self.timers.clear(Deadline::Inbound(stream));
        self.timers.clear(Deadline::Delayed(stream));
        self.timers.clear(Deadline::Drain(stream));
        let Some(inbound) = self.inbound.remove(&stream) else {
            return;
        };
        if let Some(id) = inbound.answering {
            self.answering.remove(&id);
        }
        if let Some(link) = self.links.get_mut(&stream.connection) {
            link.inbound = link.inbound.saturating_sub(1);
            if let Some(known) = self.peers.get_mut(&inbound.peer) {
                known.inbound = known.inbound.saturating_sub(1);
            }
        }
    }
}
