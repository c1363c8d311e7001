//! What a protocol can see and do.

use super::{
    address_book::AddressSource,
    connections::{Entry, MessageState, StreamState},
    dial::{Caller, DialError, DialId, DialOptions},
    error::{AcceptError, OpenStreamError, SendError},
    event_queue::Notice,
    protocol::StreamRef,
    state::{Broadcast, State},
};
use crate::{
    connection::{
        Accept, ConnectedPoint, ConnectionError, ConnectionId, Direction, InboundEntry,
        InboundTable, Slot, StreamId, StreamKind, StreamOwner, ToConnectionMessage,
    },
    identity::{Keypair, PeerId},
    multiaddr::Multiaddr,
    multistream::{MAX_ROUNDS, ProtocolName},
    seed::{Rng, Seed},
    time::{Instant, UnixTime},
};
use alloc::{sync::Arc, vec::Vec};
use bytes::Bytes;
use core::{task::Waker, time::Duration};

/// What is known of a connection that is up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// The connection.
    pub connection: ConnectionId,
    /// Who it leads to.
    pub peer: PeerId,
    /// Its two ends, and who dialed.
    pub point: ConnectedPoint,
    /// The latest round-trip time measured.
    pub round_trip: Option<Duration>,
    /// It leads through a relay that limits time and data.
    pub limited: bool,
}

impl ConnectionInfo {
    pub(super) fn of(connection: ConnectionId, entry: &Entry) -> Option<Self> {
        Some(Self {
            connection,
            peer: entry.peer()?,
            point: entry.point.clone(),
            round_trip: entry.round_trip,
            limited: entry.point.remote.is_relayed(),
        })
    }
}

/// A place in the event queue, reserved by [`Context::reserve_event`]. Use it up with [`Context::emit_reserved`] or
/// give it back with [`Context::release_event`]; dropped, the place is lost for as long as the swarm lives.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the place stays reserved until it is used or released"]
pub struct EventPermit(());

/// One protocol's hands: everything it can see and do, within one call.
///
/// What it does takes effect in order; what comes of it is told by later [`Input`](super::Input)s, never within the call.
pub struct Context<'a, E> {
    state: &'a mut State,
    /// The first slot of the protocol this is for.
    first: u16,
    /// Events go to the protocol around this one, each with its place in the queue still reserved.
    intercepted: bool,
    emit: &'a mut dyn FnMut(E),
}

impl<E> core::fmt::Debug for Context<'_, E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Context")
            .field("first", &self.first)
            .finish_non_exhaustive()
    }
}

impl<'a, E> Context<'a, E> {
    pub(super) fn new(state: &'a mut State, emit: &'a mut dyn FnMut(E)) -> Self {
        Self {
            state,
            first: 0,
            intercepted: false,
            emit,
        }
    }

    /// The context of a part of a set: what [`protocols!`](crate::protocols) calls for each of its fields.
    ///
    /// `first` is the part's first slot, counted within this context's protocol; `name` gives the part its seed; `wrap`
    /// makes events of the set out of the part's.
    pub fn scoped<C, R>(
        &mut self,
        first: u16,
        name: &str,
        wrap: fn(C) -> E,
        run: impl FnOnce(&mut Context<'_, C>) -> R,
    ) -> R {
        let first = self.first.saturating_add(first);
        let outer = self.state.starting.clone();
        if let Some(seed) = &outer {
            let seed = seed.derive(name);
            self.state.slots.seed(first, &seed);
            self.state.starting = Some(seed);
        }
        let emit = &mut *self.emit;
        let result = run(&mut Context {
            state: self.state,
            first,
            intercepted: self.intercepted,
            emit: &mut |event| emit(wrap(event)),
        });
        self.state.starting = outer;
        result
    }

    /// The context of a protocol that this one is built on: it has the same slot, and what it would tell the host it tells
    /// this one. Each event comes with its place in the event queue: pass it on, changed or not, with
    /// [`emit_reserved`](Self::emit_reserved), or keep it and [release](Self::release_event) the place. Whichever, events
    /// that must not be lost are not.
    pub fn intercept<C, R>(
        &mut self,
        run: impl FnOnce(&mut Context<'_, C>) -> R,
    ) -> (R, Vec<(EventPermit, C)>) {
        let mut events = Vec::new();
        let result = run(&mut Context {
            state: self.state,
            first: self.first,
            intercepted: true,
            emit: &mut |event| events.push((EventPermit(()), event)),
        });
        (result, events)
    }

    /// Whether the node is shutting down: nothing is dialed nor accepted any more, and all connections are closing. Every
    /// protocol gets an [`Input::Timeout`](super::Input::Timeout) when that begins; one that does things by itself should
    /// rest from then on.
    #[must_use]
    pub fn is_shutting_down(&self) -> bool {
        self.state.is_shutting_down()
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.state.now
    }

    /// The time by the calendar, for what goes on the wire or to disk.
    #[must_use]
    pub fn unix(&self) -> UnixTime {
        self.state.unix()
    }

    /// This protocol's own generator. Other protocols' draws do not shift it.
    pub fn rng(&mut self) -> &mut Rng {
        &mut self.state.slots.get_mut(self.first).rng
    }

    /// A seed for a machine of this protocol's own; each call gives another one.
    pub fn next_seed(&mut self, label: &str) -> Seed {
        self.state.slots.get_mut(self.first).seed.next_child(label)
    }

    /// Who this node is.
    #[must_use]
    pub fn local_peer(&self) -> PeerId {
        self.state.local_peer
    }

    /// This node's key, to sign with.
    #[must_use]
    pub fn keypair(&self) -> &Keypair {
        &self.state.keypair
    }

    /// Whom to call when a value that the application holds has given this protocol something to do; `None` if the host
    /// asks often enough by itself.
    ///
    /// Copy it into each such value as it is made. The value leaves word where the protocol finds it, then calls the
    /// waker; from that moment on [`Protocol::poll_timeout`](super::Protocol::poll_timeout) returns a time that has passed
    /// ([`Instant::ZERO`] will do), and [`Input::Timeout`](super::Input::Timeout) follows. What a protocol does must not
    /// depend on whether there is a waker.
    #[must_use]
    pub const fn waker(&self) -> Option<&Waker> {
        self.state.waker.0.as_ref()
    }

    const fn slot(&self) -> Slot {
        Slot(self.first)
    }

    // Events

    /// Tells the host something, if there is room in the event queue; otherwise the event is lost and counted.
    /// Returns whether it was taken.
    pub fn emit(&mut self, event: E) -> bool {
        let room = if self.intercepted {
            self.state.events.reserve_or_count()
        } else {
            self.state.events.push(Notice::Protocol)
        };
        if room {
            (self.emit)(event);
        }
        room
    }

    /// Reserves room for an event that must not be lost: the last word on an operation. `None` if the queue is full;
    /// then the operation is to be refused.
    pub fn reserve_event(&mut self) -> Option<EventPermit> {
        self.state.events.reserve(1).then_some(EventPermit(()))
    }

    /// Tells the host something for which room was reserved.
    pub fn emit_reserved(&mut self, permit: EventPermit, event: E) {
        let EventPermit(()) = permit;
        if !self.intercepted {
            self.state.events.push_reserved(Notice::Protocol);
        }
        (self.emit)(event);
    }

    /// Gives reserved room back unused.
    pub fn release_event(&mut self, permit: EventPermit) {
        let EventPermit(()) = permit;
        self.state.events.release(1);
    }

    // Names

    /// Accepts streams of this name from now on, on all connections.
    ///
    /// # Errors
    /// [`AcceptError::AlreadyRegistered`] if the name is accepted already, by whatever protocol;
    /// [`AcceptError::TooManyNames`] at the limit.
    pub fn accept(&mut self, name: ProtocolName, accept: Accept) -> Result<(), AcceptError> {
        let owner = if accept.host_owned {
            StreamOwner::Host
        } else {
            StreamOwner::Protocol(self.slot())
        };
        self.state.accept_name(name, accept, owner)
    }

    /// Accepts no more streams of this name. Open ones go on; one that is being negotiated is refused. Returns whether
    /// the name was accepted.
    pub fn unaccept(&mut self, name: &ProtocolName) -> bool {
        self.state.unaccept_name(name)
    }

    /// The names this node accepts, in the order they were registered.
    pub fn protocols(&self) -> impl Iterator<Item = &ProtocolName> {
        self.state.table.entries().iter().map(|entry| &entry.name)
    }

    // Streams

    /// Opens a stream under the first of `names` that the peer accepts, owned by this protocol. `background` streams do
    /// not keep an otherwise idle connection open. Messages can be sent at once.
    ///
    /// # Errors
    /// [`OpenStreamError`] tells why there is no stream; nothing follows then, but
    /// [`Input::StreamsAvailable`](super::Input::StreamsAvailable) where it says so. Otherwise
    /// [`Input::StreamEnded`](super::Input::StreamEnded) follows, sooner or later.
    pub fn open(
        &mut self,
        connection: ConnectionId,
        names: &[ProtocolName],
        kind: StreamKind,
        background: bool,
    ) -> Result<StreamRef, OpenStreamError> {
        let stream = self.new_stream(connection, names, false)?;
        let message = ToConnectionMessage::Open {
            stream: stream.stream,
            slot: self.slot(),
            names: names.iter().cloned().collect(),
            kind,
            background,
        };
        self.state.control(connection, message);
        Ok(stream)
    }

    /// Opens a stream, sends one message and finishes the own side: [`open`](Self::open) and
    /// [`send_last`](Self::send_last) in one, all or nothing.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_with(
        &mut self,
        connection: ConnectionId,
        names: &[ProtocolName],
        kind: StreamKind,
        background: bool,
        bytes: Bytes,
    ) -> Result<StreamRef, OpenStreamError> {
        let stream = self.new_stream(connection, names, true)?;
        let message = ToConnectionMessage::OpenWith {
            stream: stream.stream,
            slot: self.slot(),
            names: names.iter().cloned().collect(),
            kind,
            background,
            bytes,
        };
        self.state.control(connection, message);
        Ok(stream)
    }

    /// Names a stream and counts it, if there is room for one, and for a message if one goes with it.
    fn new_stream(
        &mut self,
        connection: ConnectionId,
        names: &[ProtocolName],
        with_message: bool,
    ) -> Result<StreamRef, OpenStreamError> {
        if names.is_empty() || names.len() > MAX_ROUNDS {
            return Err(OpenStreamError::NoProtocol);
        }
        let (max_streams, slot) = (self.state.config.connection.max_streams, self.slot());
        let limits = &self.state.config.queues;
        let entry = self.state.connections.get_mut(connection);
        let entry = entry
            .filter(|entry| entry.is_usable())
            .ok_or(OpenStreamError::NotConnected)?;
        let full = entry.outbox.messages() >= limits.commands
            || (with_message && entry.outbox.bytes() >= limits.command_bytes);
        let too_many = entry.outbound >= max_streams;
        if too_many || full {
            entry.openers.insert(slot);
            return Err(if too_many {
                OpenStreamError::TooManyStreams
            } else {
                OpenStreamError::Full
            });
        }
        let stream = StreamId::by_swarm(entry.opened);
        entry.opened = entry.opened.saturating_add(1);
        entry.outbound = entry.outbound.saturating_add(1);
        let state = StreamState {
            slot,
            direction: Direction::Outbound,
            finished: with_message,
            paused: false,
            message: MessageState::Consumed,
            blocked: false,
        };
        entry.streams.insert(stream, state);
        Ok(StreamRef { connection, stream })
    }

    /// Sends one message, or on a raw stream bytes.
    ///
    /// # Errors
    /// [`SendError::Full`] if the connection has enough to do, after which
    /// [`Input::Writable`](super::Input::Writable) follows; otherwise [`SendError`] tells what is wrong. Nothing is
    /// sent then.
    pub fn send(&mut self, stream: StreamRef, bytes: Bytes) -> Result<(), SendError> {
        self.may_send(stream)?;
        let message = ToConnectionMessage::Send {
            stream: stream.stream,
            bytes,
        };
        self.state.control(stream.connection, message);
        Ok(())
    }

    /// Sends one message and finishes the own side: [`send`](Self::send) and [`finish`](Self::finish) in one, all or
    /// nothing.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub fn send_last(&mut self, stream: StreamRef, bytes: Bytes) -> Result<(), SendError> {
        self.may_send(stream)?.finished = true;
        let message = ToConnectionMessage::SendLast {
            stream: stream.stream,
            bytes,
        };
        self.state.control(stream.connection, message);
        Ok(())
    }

    /// The stream, if it can take a message now; otherwise it waits for room.
    fn may_send(&mut self, stream: StreamRef) -> Result<&mut StreamState, SendError> {
        let limits = &self.state.config.queues;
        let slot = self.slot();
        let entry = self
            .state
            .connections
            .get_mut(stream.connection)
            .ok_or(SendError::NoStream)?;
        let full = entry.outbox.messages() >= limits.commands
            || entry.outbox.bytes() >= limits.command_bytes;
        let state = entry
            .streams
            .get_mut(&stream.stream)
            .filter(|state| state.slot == slot);
        let state = state.ok_or(SendError::NoStream)?;
        if state.finished {
            return Err(SendError::Finished);
        }
        if full {
            state.blocked = true;
            entry.blocked.insert(stream.stream);
            return Err(SendError::Full);
        }
        Ok(state)
    }

    /// Asks to be told, by [`Input::Sent`](super::Input::Sent), when everything sent on a stream and its finish have left
    /// for the network. Should the peer have finished by then, [`Input::StreamEnded`](super::Input::StreamEnded) comes
    /// instead and says the same. Returns whether there is such a stream.
    pub fn report_sent(&mut self, stream: StreamRef) -> bool {
        let found = self.stream_mut(stream).is_some();
        if found {
            let message = ToConnectionMessage::ReportSent {
                stream: stream.stream,
            };
            self.state.control(stream.connection, message);
        }
        found
    }

    /// Finishes the own side of a stream, after what was sent. The peer's messages still come. Returns whether there was
    /// an unfinished stream.
    pub fn finish(&mut self, stream: StreamRef) -> bool {
        let fresh = self
            .stream_mut(stream)
            .is_some_and(|state| !core::mem::replace(&mut state.finished, true));
        if fresh {
            self.state.control(
                stream.connection,
                ToConnectionMessage::Finish {
                    stream: stream.stream,
                },
            );
        }
        fresh
    }

    /// Aborts a stream. Nothing more is told about it. Returns whether there was such a stream.
    pub fn reset(&mut self, stream: StreamRef, code: u32) -> bool {
        let message = ToConnectionMessage::Reset {
            stream: stream.stream,
            code,
        };
        self.give_up(stream, message)
    }

    /// Gives a stream to the host, where it appears as an event on its connection, as a stream of plain bytes: those of
    /// everything received that this protocol has not handled. (A message being handled is not among them.) Nothing more is
    /// told about it here. Returns whether there was such a stream.
    pub fn hand_over(&mut self, stream: StreamRef) -> bool {
        let Some(state) = self.stream_mut(stream) else {
            return false;
        };
        let message = ToConnectionMessage::HandOver {
            stream: stream.stream,
            had_message: state.message == MessageState::Handled,
        };
        self.give_up(stream, message)
    }

    fn give_up(&mut self, stream: StreamRef, last: ToConnectionMessage) -> bool {
        if self.stream_mut(stream).is_none() {
            return false;
        }
        if let Some(entry) = self.state.connections.get_mut(stream.connection) {
            entry.remove_stream(stream.stream);
        }
        self.state.control(stream.connection, last);
        self.state.tell_openers(stream.connection);
        true
    }

    /// Wants no more messages of a stream after the one being handled; they wait in the stream's window. Returns whether
    /// there is such a stream.
    pub fn pause(&mut self, stream: StreamRef) -> bool {
        self.stream_mut(stream)
            .map(|state| state.paused = true)
            .is_some()
    }

    /// Wants messages again after [`pause`](Self::pause).
    pub fn resume(&mut self, stream: StreamRef) -> bool {
        let found = self
            .stream_mut(stream)
            .map(|state| state.paused = false)
            .is_some();
        if found {
            self.state.consumed(stream);
        }
        found
    }

    fn stream_mut(&mut self, stream: StreamRef) -> Option<&mut StreamState> {
        let slot = self.slot();
        let entry = self.state.connections.get_mut(stream.connection)?;
        entry
            .streams
            .get_mut(&stream.stream)
            .filter(|state| state.slot == slot)
    }

    // Connections

    /// What is known of a connection, if it is up.
    #[must_use]
    pub fn connection(&self, connection: ConnectionId) -> Option<ConnectionInfo> {
        ConnectionInfo::of(connection, self.state.connections.get(connection)?)
    }

    /// A peer's connections that are up, the oldest first.
    #[must_use]
    pub fn connections(&self, peer: &PeerId) -> Vec<ConnectionInfo> {
        let ids = self
            .state
            .peers
            .get(peer)
            .map(|peer| peer.connections.as_slice());
        ids.unwrap_or_default()
            .iter()
            .filter_map(|id| self.connection(*id))
            .collect()
    }

    /// The connection to use for a peer: open, direct before relayed, the newest.
    #[must_use]
    pub fn best_connection(&self, peer: &PeerId) -> Option<ConnectionId> {
        self.state.best_connection(peer)
    }

    /// Whether a peer has a connection that is up.
    #[must_use]
    pub fn is_connected(&self, peer: &PeerId) -> bool {
        self.state.peers.contains_key(peer)
    }

    /// Claims that a connection stays open although it may be idle, or gives the claim up. Each protocol has one claim
    /// on each connection. Returns whether there is such a connection.
    pub fn keep_alive(&mut self, connection: ConnectionId, wanted: bool) -> bool {
        let slot = self.slot();
        let Some(entry) = self
            .state
            .connections
            .get_mut(connection)
            .filter(|entry| entry.is_usable())
        else {
            return false;
        };
        let before = entry.keep_alive.is_empty();
        if wanted {
            entry.keep_alive.insert(slot);
        } else {
            entry.keep_alive.remove(&slot);
        }
        let after = entry.keep_alive.is_empty();
        if before != after {
            self.state
                .connections
                .post(connection, |outbox| outbox.set_keep_alive(!after));
        }
        true
    }

    /// Closes a connection in good order. Its streams end, then
    /// [`Input::ConnectionDown`](super::Input::ConnectionDown) comes.
    pub fn close(&mut self, connection: ConnectionId) {
        self.state
            .close_connection(connection, ConnectionError::Closed);
    }

    // Dialing and addresses

    /// Dials; [`Input::Dialed`](super::Input::Dialed) or [`Input::DialFailed`](super::Input::DialFailed) follows, once.
    ///
    /// # Errors
    /// [`DialError`] tells why nothing was begun; no input follows then.
    pub fn dial(&mut self, options: DialOptions) -> Result<DialId, DialError> {
        let caller = Caller::Protocol(self.slot());
        self.state.dial(options, caller)
    }

    /// Gives up a dial of this protocol. Nothing more is told about it. Returns whether there was such a dial.
    pub fn cancel_dial(&mut self, dial: DialId) -> bool {
        let caller = Caller::Protocol(self.slot());
        self.state.cancel_dial(dial, caller)
    }

    /// The addresses known of a peer, best first.
    #[must_use]
    pub fn addresses(&self, peer: &PeerId) -> Vec<Multiaddr> {
        self.state.book.addresses(self.state.now, peer)
    }

    /// Remembers an address of a peer, for `time_to_live` or as long as its source is worth. Returns whether it was new.
    pub fn add_address(
        &mut self,
        peer: PeerId,
        address: &Multiaddr,
        source: AddressSource,
        time_to_live: Option<Duration>,
    ) -> bool {
        self.state
            .learn_address(peer, address, source, time_to_live)
    }

    /// Remembers all addresses that a source has to tell of a peer; what it told before and does not repeat is forgotten.
    pub fn replace_addresses(
        &mut self,
        peer: PeerId,
        addresses: &[Multiaddr],
        source: AddressSource,
    ) {
        let new = self
            .state
            .book
            .replace(self.state.now, peer, addresses, source);
        self.state.after_learning(peer, new);
    }

    /// The addresses this node listens on; unspecified ones replaced by those of the interfaces.
    #[must_use]
    pub fn listen_addresses(&self) -> &[Multiaddr] {
        self.state.listeners.addresses()
    }

    /// The addresses at which this node is known to be reachable from outside.
    #[must_use]
    pub fn external_addresses(&self) -> &[Multiaddr] {
        self.state.listeners.external()
    }

    /// A peer says that it sees this node at this address. It becomes a candidate, once.
    pub fn report_observed(&mut self, address: &Multiaddr) {
        self.state.external_candidate(address);
    }

    /// This node was proven to be reachable at this address.
    pub fn confirm_external(&mut self, address: &Multiaddr) {
        self.state.external_confirmed(address);
    }

    /// This node is no longer reachable at this address.
    pub fn expire_external(&mut self, address: &Multiaddr) {
        self.state.external_expired(address);
    }

    // What peers support

    /// Tells everyone what a connected peer supports. Without a change nothing happens.
    pub fn set_peer_protocols(&mut self, peer: PeerId, names: Vec<ProtocolName>) {
        let Some(known) = self.state.peers.get_mut(&peer) else {
            return;
        };
        if known.protocols.as_deref() == Some(names.as_slice()) {
            return;
        }
        let names: Arc<[ProtocolName]> = names.into();
        known.protocols = Some(names.clone());
        self.state
            .broadcast(Broadcast::PeerProtocols { peer, names });
    }

    /// A connected peer has refused these names, whatever was said of it: everyone is told what is left. When it says that
    /// it supports them again, that is a change.
    pub fn peer_refused(&mut self, peer: PeerId, names: &[ProtocolName]) {
        if let Some(known) = self.peer_protocols(&peer) {
            let left = known.iter().filter(|name| !names.contains(name));
            let left = left.cloned().collect();
            self.set_peer_protocols(peer, left);
        }
    }

    /// What a connected peer supports, if that is known.
    #[must_use]
    pub fn peer_protocols(&self, peer: &PeerId) -> Option<&[ProtocolName]> {
        self.state.peers.get(peer)?.protocols.as_deref()
    }
}

impl State {
    /// See [`Context::accept`].
    pub(super) fn accept_name(
        &mut self,
        name: ProtocolName,
        accept: Accept,
        owner: StreamOwner,
    ) -> Result<(), AcceptError> {
        let entries = self.table.entries();
        if entries.iter().any(|entry| entry.name == name) {
            return Err(AcceptError::AlreadyRegistered(name));
        }
        let max = usize::try_from(self.config.limits.protocol_names).unwrap_or(usize::MAX);
        if entries.len() >= max {
            return Err(AcceptError::TooManyNames);
        }
        let mut entries = entries.to_vec();
        entries.push(InboundEntry {
            name,
            accept,
            owner,
        });
        self.set_table(entries);
        Ok(())
    }

    /// See [`Context::unaccept`].
    pub(super) fn unaccept_name(&mut self, name: &ProtocolName) -> bool {
        let mut entries = self.table.entries().to_vec();
        let before = entries.len();
        entries.retain(|entry| entry.name != *name);
        let found = entries.len() < before;
        if found {
            self.set_table(entries);
        }
        found
    }

    /// Makes a new table of accepted names, and gives it to every connection.
    fn set_table(&mut self, entries: Vec<InboundEntry>) {
        let version = self.table.version().saturating_add(1);
        self.table = Arc::new(InboundTable::new(version, entries));
        self.protocols_changed = true;
        let up: Vec<ConnectionId> = self
            .connections
            .iter()
            .filter(|(_, entry)| entry.is_usable())
            .map(|(id, _)| id)
            .collect();
        for id in up {
            let table = self.table.clone();
            self.connections.post(id, |outbox| outbox.set_table(&table));
        }
    }
}
