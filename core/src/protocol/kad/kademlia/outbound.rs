//! Requests to peers: one stream for each.
//!
//! A request goes out together with the proposal of its name, and the stream is half-closed when the peer has agreed to it:
//! js-libp2p 3 loses what comes together with the end of a stream that it still negotiates.

use super::{Cx, Deadline, Kademlia, Use};
use crate::{
    connection::{OpenError, StreamEnd, StreamError, StreamKind},
    identity::PeerId,
    protocol::kad::{
        dht::{RpcFailure, RpcId},
        scope::AddressScope,
        store::RecordStore,
    },
    swarm::{AddressFailure, DialError, DialId, DialOptions, StreamRef},
};
use alloc::collections::VecDeque;
use bytes::Bytes;
use core::time::Duration;

/// After which time a stream is reset whose peer does not finish it after its response.
const DRAIN: Duration = Duration::from_secs(5);

/// A request that has had no answer.
#[derive(Clone, Debug)]
pub(super) struct Outbound {
    peer: PeerId,
    message: Bytes,
    responds: bool,
    stream: Option<StreamRef>,
    /// The message is with the connection.
    handed_over: bool,
    /// The peer has agreed to the name.
    agreed: bool,
}

/// A peer that is connected, or waited for.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    pub(super) connections: u32,
    /// Streams of the peer on all of them.
    pub(super) inbound: u32,
    /// Requests for which there is no connection yet, or no room on it. There are no more than the machine has under way.
    waiting: VecDeque<RpcId>,
    dial: Option<DialId>,
}

impl<S: RecordStore> Kademlia<S> {
    /// Sends a request, once there is a connection.
    pub(super) fn ask(
        &mut self,
        rpc: RpcId,
        peer: PeerId,
        message: Bytes,
        responds: bool,
        cx: &mut Cx<'_>,
    ) {
        let request = Outbound {
            peer,
            message,
            responds,
            stream: None,
            handed_over: false,
            agreed: false,
        };
        self.outbound.insert(rpc, request);
        if !self.send(rpc, cx) {
            let known = self.peers.entry(peer).or_default();
            known.waiting.push_back(rpc);
            self.dial(peer, cx);
        }
    }

    /// Puts a request on a stream; false if it must wait.
    fn send(&mut self, rpc: RpcId, cx: &mut Cx<'_>) -> bool {
        let Some(request) = self.outbound.get_mut(&rpc) else {
            return true;
        };
        let Some(connection) = cx.best_connection(&request.peer) else {
            return false;
        };
        let config = self.dht.config();
        let kind = StreamKind::Framed {
            max_len: u32::try_from(config.max_response_len).unwrap_or(u32::MAX),
        };
        let names = &config.protocol_names;
        match cx.open(connection, names, kind, false) {
            Ok(stream) => {
                request.stream = Some(stream);
                (request.handed_over, request.agreed) = (false, false);
                self.streams.insert(stream, Use::Outbound(rpc));
                self.hand_over(rpc, cx);
                true
            }
            Err(_) => false,
        }
    }

    /// Gives the message to the connection, if it has not been, and ends the stream once the peer has agreed. Without room
    /// on the connection, it is tried again when there is.
    pub(super) fn hand_over(&mut self, rpc: RpcId, cx: &mut Cx<'_>) {
        let Some(request) = self.outbound.get_mut(&rpc) else {
            return;
        };
        let Some(stream) = request.stream else {
            return;
        };
        if !request.handed_over {
            // A stream that is gone tells so by itself.
            request.handed_over = cx.send(stream, request.message.clone()).is_ok();
        }
        if request.handed_over && request.agreed && cx.finish(stream) && !request.responds {
            cx.report_sent(stream);
        }
    }

    /// The peer has agreed to the name of a stream.
    pub(super) fn agreed(&mut self, rpc: RpcId, cx: &mut Cx<'_>) {
        if let Some(request) = self.outbound.get_mut(&rpc) {
            request.agreed = true;
            self.hand_over(rpc, cx);
        }
    }

    /// Sends what waits for a connection to a peer.
    pub(super) fn ask_waiting(&mut self, peer: &PeerId, cx: &mut Cx<'_>) {
        loop {
            let waiting = self.peers.get(peer).map(|known| &known.waiting);
            let Some(rpc) = waiting.and_then(VecDeque::front).copied() else {
                return;
            };
            if !self.send(rpc, cx) {
                return;
            }
            if let Some(known) = self.peers.get_mut(peer) {
                known.waiting.pop_front();
            }
        }
    }

    /// What could not be asked on a connection that is gone is asked on another one.
    pub(super) fn dial_for_waiting(&mut self, peer: PeerId, cx: &mut Cx<'_>) {
        let waits = |known: &Peer| !known.waiting.is_empty();
        if self.peers.get(&peer).is_some_and(waits) {
            self.dial(peer, cx);
        }
    }

    fn dial(&mut self, peer: PeerId, cx: &mut Cx<'_>) {
        let known = self.peers.entry(peer).or_default();
        if known.connections > 0 || known.dial.is_some() {
            return;
        }
        let scope = self.dht.config().address_scope;
        let mut addresses = self.dht.addresses_of(&peer);
        let mut options = DialOptions::peer(peer);
        if scope != AddressScope::Any {
            addresses.extend(cx.addresses(&peer));
            addresses.retain(|address| scope.allows(address));
            options = options.without_address_book();
            if scope == AddressScope::Public {
                options = options.names_lead_to_public();
            }
        }
        match cx.dial(options.addresses(addresses)) {
            Ok(dial) => {
                known.dial = Some(dial);
                self.dials.insert(dial, peer);
            }
            Err(error) => self.fail_waiting(&peer, failure(&error), cx),
        }
    }

    pub(super) fn dialed(&mut self, dial: DialId, failures: &[AddressFailure], cx: &mut Cx<'_>) {
        if let Some(peer) = self.dial_over(dial) {
            // Another one did lead there. Where all have failed, it may have been this node that was cut off.
            for failure in failures {
                if failure.error.blames_address() {
                    self.dht.handle_address_failed(&peer, &failure.address);
                }
            }
            self.ask_waiting(&peer, cx);
        }
    }

    pub(super) fn dial_failed(&mut self, dial: DialId, error: &DialError, cx: &mut Cx<'_>) {
        let Some(peer) = self.dial_over(dial) else {
            return;
        };
        if self
            .peers
            .get(&peer)
            .is_none_or(|known| known.connections == 0)
        {
            self.fail_waiting(&peer, failure(error), cx);
        }
        self.forget_if_idle(&peer);
    }

    fn dial_over(&mut self, dial: DialId) -> Option<PeerId> {
        let peer = self.dials.remove(&dial)?;
        if let Some(known) = self.peers.get_mut(&peer) {
            known.dial = None;
        }
        Some(peer)
    }

    fn fail_waiting(&mut self, peer: &PeerId, failure: RpcFailure, cx: &mut Cx<'_>) {
        let waiting = self
            .peers
            .get_mut(peer)
            .map(|known| core::mem::take(&mut known.waiting));
        for rpc in waiting.into_iter().flatten() {
            self.outbound.remove(&rpc);
            self.failed.push_back((rpc, failure));
        }
        self.forget_if_idle(peer);
        self.carry_out(cx);
    }

    pub(super) fn forget_if_idle(&mut self, peer: &PeerId) {
        let idle = self.peers.get(peer).is_some_and(|known| {
            known.connections == 0 && known.waiting.is_empty() && known.dial.is_none()
        });
        if idle {
            self.peers.remove(peer);
        }
    }

    /// A request is no longer wanted.
    pub(super) fn cancel(&mut self, rpc: RpcId, cx: &mut Cx<'_>) {
        let Some(request) = self.outbound.remove(&rpc) else {
            return;
        };
        if let Some(stream) = request.stream {
            cx.reset(stream, crate::connection::code::NO_ERROR);
            self.stream_over(stream, cx);
            return;
        }
        let Some(known) = self.peers.get_mut(&request.peer) else {
            return;
        };
        known.waiting.retain(|waiting| *waiting != rpc);
        if known.waiting.is_empty()
            && let Some(dial) = known.dial.take()
        {
            cx.cancel_dial(dial);
            self.dials.remove(&dial);
        }
        self.forget_if_idle(&request.peer);
    }

    /// The response to a request is there.
    pub(super) fn response(
        &mut self,
        rpc: RpcId,
        stream: StreamRef,
        bytes: Bytes,
        cx: &mut Cx<'_>,
    ) {
        let Some(request) = self.outbound.remove(&rpc) else {
            return;
        };
        self.drain(stream, cx);
        if request.responds {
            self.with_dht(cx, |dht, at| dht.handle_response(at, rpc, Ok(bytes)));
        } else {
            // Some implementations echo what needs no answer.
            self.with_dht(cx, |dht, at| dht.handle_sent(at, rpc));
        }
    }

    /// A stream has done its work: what is left is its end.
    fn drain(&mut self, stream: StreamRef, cx: &Cx<'_>) {
        self.streams.insert(stream, Use::Draining);
        self.timers
            .set(Deadline::Drain(stream), cx.now().saturating_add(DRAIN));
    }

    /// A request without a response has left.
    pub(super) fn request_left(&mut self, rpc: RpcId, stream: StreamRef, cx: &mut Cx<'_>) {
        if self
            .outbound
            .get(&rpc)
            .is_none_or(|request| request.responds)
        {
            return;
        }
        self.outbound.remove(&rpc);
        self.drain(stream, cx);
        self.with_dht(cx, |dht, at| dht.handle_sent(at, rpc));
    }

    /// The stream of a request is over before its response came.
    pub(super) fn outbound_ended(
        &mut self,
        rpc: RpcId,
        stream: StreamRef,
        end: &StreamEnd,
        cx: &mut Cx<'_>,
    ) {
        // Nothing was sent: another connection may do, or the same one later.
        let not_begun = matches!(
            end,
            StreamEnd::Failed(StreamError::Open(
                OpenError::NotConnected | OpenError::TooManyStreams | OpenError::GoingAway
            ))
        );
        let Some(request) = self.outbound.get_mut(&rpc) else {
            return;
        };
        if not_begun {
            request.stream = None;
            let peer = request.peer;
            self.streams.remove(&stream);
            let known = self.peers.entry(peer).or_default();
            known.waiting.push_back(rpc);
            return self.dial(peer, cx);
        }
        let failure = match end {
            StreamEnd::Failed(StreamError::UnsupportedProtocol) => RpcFailure::Unsupported,
            StreamEnd::Failed(StreamError::MessageTooLong) => RpcFailure::TooLarge,
            StreamEnd::Failed(StreamError::ResourceLimitExceeded) => RpcFailure::Busy,
            _ => RpcFailure::Interrupted,
        };
        let peer = request.peer;
        self.outbound.remove(&rpc);
        if failure == RpcFailure::Unsupported {
            // Or it would stay away when it says again what it said before: that it is a server.
            cx.peer_refused(peer, &self.dht.config().protocol_names);
        }
        self.with_dht(cx, |dht, at| dht.handle_response(at, rpc, Err(failure)));
    }
}

/// What a failed dial says about the peer.
const fn failure(error: &DialError) -> RpcFailure {
    match error {
        DialError::ShuttingDown | DialError::TooManyDials | DialError::EventsFull => {
            RpcFailure::Busy
        }
        _ => RpcFailure::Unreachable,
    }
}
