//! The swarm: peers, addresses, dials, listeners, limits, and the protocols that live on the connections.
//!
//! A [`Swarm`] owns no connection and no socket. It tells its host what to do by [`Action`]s; connections and swarm talk
//! by messages that the host carries. Each connection may run on a thread of its own.
//!
//! | the host | calls |
//! |---|---|
//! | accepted a socket | [`handle_accept`](Swarm::handle_accept), starts the connection it gets |
//! | carried out [`Action::Dial`] | [`handle_dialed`](Swarm::handle_dialed), starts the connection it gets |
//! | took a message out of a connection | [`handle_message`](Swarm::handle_message) |
//! | dropped a connection and its socket | [`handle_closed`](Swarm::handle_closed) |
//! | carried out [`Action::Listen`], [`Action::Resolve`] | [`handle_listener`](Swarm::handle_listener), [`handle_resolved`](Swarm::handle_resolved) |
//! | learnt the machine's own addresses, the time of day | [`handle_interfaces`](Swarm::handle_interfaces), [`handle_wall_clock`](Swarm::handle_wall_clock) |
//! | reached [`poll_timeout`](Swarm::poll_timeout) | [`handle_timeout`](Swarm::handle_timeout) |
//!
//! After any of these, and any command, drain [`poll_action`](Swarm::poll_action) and [`poll_event`](Swarm::poll_event).
//! Calls may come in any order: one that does not fit changes nothing.
//!
//! # Protocols
//!
//! What the node does on its connections are [`Protocol`]s: machines that are told [`Input`]s and act through their
//! [`Context`]. A set of them is made by [`protocols!`](crate::protocols). A stream has one owner. What a protocol owns
//! arrives at [`Protocol::handle`] as whole messages; what the host owns is read and written on its connection, and never
//! comes here.
//!
//! # Limits
//!
//! Every limit is in [`Config`] and finite. What is refused leaves nothing behind.

mod action;
mod address_book;
mod admission;
mod audit;
mod config;
mod connections;
mod context;
mod dial;
mod error;
mod event;
mod event_queue;
pub(crate) mod hash;
mod listeners;
mod macros;
mod messages;
mod part;
mod protocol;
mod reachability;
#[cfg(feature = "recording")]
pub(crate) mod recorded;
mod sources;
mod state;
mod timers;

#[cfg(test)]
mod tests;

pub use action::{
    Action, ListenerId, ListenerUpdate, LookupKind, ResolveId, Resolved, TransportError,
};
pub use address_book::AddressSource;
pub use config::{
    AddressBookConfig, Config, ConnectionLimits, DialConfig, QueueConfig, Rate, SecurityConfig,
};
pub use context::{ConnectionInfo, Context, EventPermit};
pub use dial::{
    AddressFailure, AttemptError, AttemptId, DialCondition, DialError, DialId, DialOptions, rank,
};
pub use error::{AcceptError, ListenError, OpenStreamError, Refused, SendError};
pub use event::Event;
pub use macros::ProtocolSet;
pub use part::Part;
pub use protocol::{Input, Protocol, StreamRef};
pub use timers::Timers;

#[cfg(feature = "recording")]
use crate::connection::{Machine, Tap};
use crate::{
    buffer::pop_front,
    connection::{
        Accept, ConnectedPoint, ConnectionError, ConnectionId, ConnectionStart, Security, Slot,
        StreamOwner, ToConnection, ToSwarm, when_recorded,
    },
    identity::{Keypair, PeerId},
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    security::{self, noise, plaintext},
    seed::Seed,
    time::{Instant, UnixTime, earliest},
};
#[cfg(feature = "recording")]
use alloc::borrow::Cow;
use alloc::{
    collections::{BTreeSet, VecDeque},
    vec::Vec,
};
use core::{net::IpAddr, task::Waker};
use dial::Caller;
#[cfg(feature = "recording")]
use recorded::SwarmInput as In;
use state::{Broadcast, Delivery, HostWaker, State, Targeted};

/// Peers, addresses, dials, listeners and limits of a node, with its protocols `P`. See the [module](self).
#[derive(Debug)]
pub struct Swarm<P: Protocol> {
    state: State,
    protocols: P,
    /// Events of the protocols, for which the state's queue has marks.
    protocol_events: VecDeque<P::Event>,
    #[cfg(feature = "recording")]
    tap: Tap,
    /// Calls of [`with`](Self::with) so far.
    #[cfg(feature = "recording")]
    closures: u64,
}

impl<P: Protocol> Swarm<P> {
    /// A node with this key and these protocols. `seed` is the source of all its randomness, `now` the first time it
    /// hears of, `unix` the time of day then.
    ///
    /// # Errors
    /// [`security::Error`] if the crypto backend cannot make this node's keys.
    pub fn new(
        config: Config,
        keypair: Keypair,
        protocols: P,
        seed: Seed,
        now: Instant,
        unix: UnixTime,
    ) -> Result<Self, security::Error> {
        #[cfg(feature = "recording")]
        if let Some(recorder) = config.recorder.clone() {
            let tap = Tap::new(Some(recorder), Machine::Swarm);
            return Self::new_noting(config, keypair, protocols, (seed, now, unix), tap);
        }
        Self::make(config, keypair, protocols, seed, now, unix)
    }

    fn make(
        config: Config,
        keypair: Keypair,
        protocols: P,
        seed: Seed,
        now: Instant,
        unix: UnixTime,
    ) -> Result<Self, security::Error> {
        let security = match config.security {
            SecurityConfig::Noise(provider) => Security::Noise(noise::Local::new(
                provider,
                &keypair,
                &seed.derive("security"),
            )?),
            SecurityConfig::InsecurePlaintext => {
                Security::InsecurePlaintext(plaintext::Local::new(&keypair.public()))
            }
        };
        let state = State::new(config, security, keypair, P::SLOTS, seed, now, unix);
        let mut swarm = Self {
            state,
            protocols,
            protocol_events: VecDeque::new(),
            #[cfg(feature = "recording")]
            tap: Tap::off(),
            #[cfg(feature = "recording")]
            closures: 0,
        };
        let events = &mut swarm.protocol_events;
        swarm
            .protocols
            .start(&mut Context::new(&mut swarm.state, &mut |event| {
                events.push_back(event)
            }));
        swarm.state.starting = None;
        swarm.run();
        Ok(swarm)
    }

    // What happens outside

    /// A listener has accepted a connection. Cheap: nothing is computed, and what is refused leaves no trace.
    ///
    /// # Errors
    /// [`Refused`] says why not; close the socket.
    pub fn handle_accept(
        &mut self,
        now: Instant,
        point: ConnectedPoint,
    ) -> Result<ConnectionStart, Refused> {
        self.state.advance(now);
        when_recorded!(self, self.note(In::Accept(Cow::Borrowed(&point))));
        let start = self.state.accept(point);
        when_recorded!(self, self.note_accepted(&start));
        self.run();
        start
    }

    /// An attempt of [`Action::Dial`] is over. `None` means that the connection is not wanted (any more): close the
    /// socket.
    pub fn handle_dialed(
        &mut self,
        now: Instant,
        attempt: AttemptId,
        result: Result<ConnectedPoint, TransportError>,
    ) -> Option<ConnectionStart> {
        self.state.advance(now);
        when_recorded!(
            self,
            self.note(In::Dialed {
                attempt,
                result: result.as_ref().map(Cow::Borrowed).map_err(Cow::Borrowed)
            })
        );
        let point = result.as_ref().ok().cloned();
        let connection = self.state.attempt_connected(attempt, result);
        let start = connection
            .zip(point)
            .map(|(connection, point)| self.state.connection_start(connection, point));
        when_recorded!(self, self.note_started(start.as_ref()));
        self.run();
        start
    }

    /// A connection says something. Messages of one connection must come in their order.
    pub fn handle_message(&mut self, now: Instant, connection: ConnectionId, message: ToSwarm) {
        self.state.advance(now);
        when_recorded!(
            self,
            self.note(In::Message {
                connection,
                message: Cow::Borrowed(&message)
            })
        );
        self.state.message(connection, message.0);
        self.run();
    }

    /// The host has dropped a connection and its socket; nothing more will come of it. Needed for every connection that
    /// was started, or given by [`handle_accept`](Self::handle_accept) or [`handle_dialed`](Self::handle_dialed) and
    /// never started. May come without a last message of the connection, and twice.
    pub fn handle_closed(&mut self, now: Instant, connection: ConnectionId) {
        self.state.advance(now);
        when_recorded!(self, self.note(In::Closed(connection)));
        let reason = ConnectionError::Lost("dropped by the host".into());
        self.state.connection_down(connection, reason);
        self.run();
        self.state.connection_removed(connection);
        self.run();
    }

    /// Something became of a listener.
    pub fn handle_listener(&mut self, now: Instant, listener: ListenerId, update: ListenerUpdate) {
        self.state.advance(now);
        when_recorded!(
            self,
            self.note(In::Listener {
                listener,
                update: Cow::Borrowed(&update)
            })
        );
        self.state.listener_update(listener, update);
        self.run();
    }

    /// The resolver has answered [`Action::Resolve`].
    pub fn handle_resolved(
        &mut self,
        now: Instant,
        lookup: ResolveId,
        answer: Result<Resolved, TransportError>,
    ) {
        self.state.advance(now);
        when_recorded!(
            self,
            self.note(In::Resolved {
                lookup,
                answer: answer.as_ref().map(Cow::Borrowed).map_err(Cow::Borrowed)
            })
        );
        self.state.lookup_answered(lookup, answer);
        self.run();
    }

    /// The IP addresses of the machine's interfaces, loopback among them: what a listener on an unspecified address
    /// stands for. Call it at the start and whenever they change. At most 64 are used.
    pub fn handle_interfaces(&mut self, now: Instant, interfaces: Vec<IpAddr>) {
        self.state.advance(now);
        when_recorded!(self, self.note(In::Interfaces(Cow::Borrowed(&interfaces))));
        self.state.listeners.set_interfaces(interfaces);
        self.state.review_listen_addresses();
        self.run();
    }

    /// What the calendar says now. Not needed while the clock runs true: the swarm counts on from what it was told.
    pub fn handle_wall_clock(&mut self, now: Instant, unix: UnixTime) {
        self.state.advance(now);
        when_recorded!(self, self.note(In::WallClock(unix)));
        self.state.wall_clock = (self.state.now, unix);
    }

    /// The time of [`poll_timeout`](Self::poll_timeout) has come. Early and repeated calls do no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.state.advance(now);
        when_recorded!(self, self.note(In::Timeout));
        while let Some(timer) = self.state.timers.pop_due(self.state.now) {
            self.state.fire(timer);
            self.run();
        }
        if self
            .protocols
            .poll_timeout()
            .is_some_and(|at| at <= self.state.now)
        {
            self.state.broadcast(Broadcast::Timeout);
        }
        self.run();
    }

    /// The host does not know this action: what stands behind it fails as [`TransportError::Unsupported`].
    pub fn handle_unsupported(&mut self, now: Instant, action: Action) {
        match action {
            Action::Dial { attempt, .. } => {
                let _ = self.handle_dialed(now, attempt, Err(TransportError::Unsupported));
            }
            Action::Listen { listener, .. } => {
                let update = ListenerUpdate::Closed(Some(TransportError::Unsupported));
                self.handle_listener(now, listener, update);
            }
            Action::Resolve { lookup, .. } => {
                self.handle_resolved(now, lookup, Err(TransportError::Unsupported));
            }
            Action::StopListen { listener } => {
                self.handle_listener(now, listener, ListenerUpdate::Closed(None));
            }
            Action::ToConnection(connection, _) => self.handle_closed(now, connection),
            Action::CancelDial { .. } | Action::PauseAccept | Action::ResumeAccept => {}
        }
    }

    // Commands

    /// Dials. [`Event::Dialed`] or [`Event::DialFailed`] follows, once.
    ///
    /// # Errors
    /// [`DialError`] tells why nothing was begun; no event follows then.
    pub fn dial(&mut self, now: Instant, options: DialOptions) -> Result<DialId, DialError> {
        self.state.advance(now);
        when_recorded!(self, self.note(In::Dial(Cow::Borrowed(&options))));
        let dial = self.state.dial(options, Caller::Host);
        when_recorded!(self, self.note_dialing(&dial));
        self.run();
        dial
    }

    /// Gives up a dial of the host; no event follows. Others who wait for the same peer are not concerned; with the last
    /// one gone, all attempts are cancelled. Returns whether there was such a dial.
    pub fn cancel_dial(&mut self, now: Instant, dial: DialId) -> bool {
        self.state.advance(now);
        when_recorded!(self, self.note(In::CancelDial(dial)));
        let found = self.state.cancel_dial(dial, Caller::Host);
        when_recorded!(self, self.note_answer(found.into()));
        self.run();
        found
    }

    /// Listens. [`Event::Listening`] follows for each address, and in the end one [`Event::ListenerClosed`].
    ///
    /// # Errors
    /// [`ListenError`] tells why nothing was begun.
    pub fn listen(&mut self, now: Instant, address: Multiaddr) -> Result<ListenerId, ListenError> {
        self.state.advance(now);
        when_recorded!(self, self.note(In::Listen(Cow::Borrowed(&address))));
        let listener = self.state.listen(address);
        when_recorded!(self, self.note_listening(&listener));
        self.run();
        listener
    }

    /// Stops a listener. Its connections stay. Returns whether there is such a listener.
    pub fn stop_listening(&mut self, now: Instant, listener: ListenerId) -> bool {
        self.state.advance(now);
        when_recorded!(self, self.note(In::StopListening(listener)));
        let found = self.state.stop_listener(listener);
        when_recorded!(self, self.note_answer(found.into()));
        self.run();
        found
    }

    /// Closes every connection to a peer, in good order. Returns how many.
    pub fn disconnect(&mut self, now: Instant, peer: &PeerId) -> usize {
        self.state.advance(now);
        when_recorded!(self, self.note(In::Disconnect(*peer)));
        let known = self
            .state
            .peers
            .get(peer)
            .map(|peer| peer.connections.clone());
        let connections = known.unwrap_or_default();
        when_recorded!(
            self,
            self.note_answer(u64::try_from(connections.len()).unwrap_or(u64::MAX))
        );
        for connection in &connections {
            self.state
                .close_connection(*connection, ConnectionError::Closed);
        }
        self.run();
        connections.len()
    }

    /// Closes one connection in good order.
    pub fn close(&mut self, now: Instant, connection: ConnectionId) {
        self.state.advance(now);
        when_recorded!(self, self.note(In::Close(connection)));
        self.state
            .close_connection(connection, ConnectionError::Closed);
        self.run();
    }

    /// Ends the node in good order: listeners stop, dials fail, connections are told and closed.
    /// [`Event::ShutdownComplete`] comes when all are gone.
    pub fn shutdown(&mut self, now: Instant) {
        self.state.advance(now);
        when_recorded!(self, self.note(In::Shutdown));
        self.state.shut_down();
        // So that protocols without a connection hear of it too.
        self.state.broadcast(Broadcast::Timeout);
        self.run();
    }

    /// Has nothing to do with a peer any more: closes its connections, dials it no more, admits it no more.
    pub fn deny_peer(&mut self, now: Instant, peer: PeerId) {
        self.state.advance(now);
        when_recorded!(self, self.note(In::DenyPeer(peer)));
        self.state.deny_peer(peer);
        self.run();
    }

    /// Takes [`deny_peer`](Self::deny_peer) back. Returns whether the peer was denied.
    pub fn allow_peer(&mut self, peer: &PeerId) -> bool {
        when_recorded!(self, self.note(In::AllowPeer(*peer)));
        let found = self.state.denied_peers.remove(peer);
        when_recorded!(self, self.note_answer(found.into()));
        found
    }

    /// Accepts from, and dials, no address of a network: all that share its first `prefix` bits. Connections that are
    /// there stay.
    pub fn deny_network(&mut self, network: IpAddr, prefix: u8) {
        when_recorded!(self, self.note(In::DenyNetwork(network, prefix)));
        let network = (network.to_canonical(), prefix);
        if !self.state.denied_networks.contains(&network) {
            self.state.denied_networks.push(network);
        }
    }

    /// Takes [`deny_network`](Self::deny_network) back. Returns whether this network was denied.
    pub fn allow_network(&mut self, network: IpAddr, prefix: u8) -> bool {
        when_recorded!(self, self.note(In::AllowNetwork(network, prefix)));
        let network = (network.to_canonical(), prefix);
        let before = self.state.denied_networks.len();
        self.state
            .denied_networks
            .retain(|denied| *denied != network);
        let found = self.state.denied_networks.len() < before;
        when_recorded!(self, self.note_answer(found.into()));
        found
    }

    /// Remembers an address of a peer until [`remove_address`](Self::remove_address). Returns whether it was new.
    pub fn add_address(&mut self, now: Instant, peer: PeerId, address: &Multiaddr) -> bool {
        self.state.advance(now);
        when_recorded!(
            self,
            self.note(In::AddAddress(peer, Cow::Borrowed(address)))
        );
        let new = self
            .state
            .learn_address(peer, address, AddressSource::Manual, None);
        when_recorded!(self, self.note_answer(new.into()));
        self.run();
        new
    }

    /// Forgets an address of a peer, whoever told it.
    pub fn remove_address(&mut self, peer: PeerId, address: &Multiaddr) {
        when_recorded!(
            self,
            self.note(In::RemoveAddress(peer, Cow::Borrowed(address)))
        );
        self.state.book.remove(peer, address);
    }

    /// This node is reachable from outside at this address.
    pub fn add_external_address(&mut self, now: Instant, address: &Multiaddr) {
        self.state.advance(now);
        when_recorded!(self, self.note(In::AddExternal(Cow::Borrowed(address))));
        self.state.external_confirmed(address);
        self.run();
    }

    /// This node is no longer reachable from outside at this address.
    pub fn remove_external_address(&mut self, now: Instant, address: &Multiaddr) {
        self.state.advance(now);
        when_recorded!(self, self.note(In::RemoveExternal(Cow::Borrowed(address))));
        self.state.external_expired(address);
        self.run();
    }

    /// Accepts streams of this name from now on, on all connections. They are the host's: each appears on its connection.
    ///
    /// # Errors
    /// As for [`Context::accept`].
    pub fn accept(
        &mut self,
        now: Instant,
        name: ProtocolName,
        accept: Accept,
    ) -> Result<(), AcceptError> {
        self.state.advance(now);
        let accept = accept.host_owned();
        when_recorded!(
            self,
            self.note(In::AcceptStreams(Cow::Borrowed(&name), accept))
        );
        let accepted = self.state.accept_name(name, accept, StreamOwner::Host);
        when_recorded!(self, self.note_accepted_name(&accepted));
        self.run();
        accepted
    }

    /// Accepts no more streams of this name, see [`Context::unaccept`]. Returns whether it was accepted.
    pub fn unaccept(&mut self, now: Instant, name: &ProtocolName) -> bool {
        self.state.advance(now);
        when_recorded!(self, self.note(In::UnacceptStreams(Cow::Borrowed(name))));
        let found = self.state.unaccept_name(name);
        when_recorded!(self, self.note_answer(found.into()));
        self.run();
        found
    }

    /// Runs a command on the protocols, with the context of the whole set. For one protocol of a set, use the method of
    /// the set that [`protocols!`](crate::protocols) made for it.
    pub fn with<R>(
        &mut self,
        now: Instant,
        run: impl FnOnce(&mut P, &mut Context<'_, P::Event>) -> R,
    ) -> R {
        self.state.advance(now);
        when_recorded!(self, self.note_closure());
        let events = &mut self.protocol_events;
        let mut emit = |event| events.push_back(event);
        let result = run(
            &mut self.protocols,
            &mut Context::new(&mut self.state, &mut emit),
        );
        self.run();
        result
    }

    /// Whom to call when something outside the swarm gives it something to do, or nobody.
    ///
    /// A protocol may give the application values that belong to it: a channel for the answer to a request, say. When the
    /// application uses or drops one, that happens outside every call of the swarm, so the protocol learns of it only when
    /// it is next asked, and the host must know to ask. Such a value calls this waker, which the protocol has copied into
    /// it (see [`Context::waker`]), after it has left word where the protocol finds it. From then on
    /// [`poll_timeout`](Self::poll_timeout) says now, and [`handle_timeout`](Self::handle_timeout) does what there is to
    /// do.
    ///
    /// The waker may be called from any thread, also while the host is within a call of this swarm: it must not call the
    /// swarm itself, nor wait for a lock around it, but see to it that the host looks at `poll_timeout` afterwards. A host
    /// that asks `poll_timeout` after everything its application has done, in one thread, needs no waker.
    ///
    /// Set it before the swarm is used: values that were given out keep the waker of their time. It is no input: with or
    /// without one the swarm does the same, and a recording does not hold it.
    pub fn set_waker(&mut self, waker: Option<Waker>) {
        self.state.waker = HostWaker(waker);
    }

    // Polls

    /// The next thing to do, `None` when there is nothing.
    pub fn poll_action(&mut self) -> Option<Action> {
        let action = self.next_action();
        when_recorded!(self, self.note_action(action.as_ref()));
        action
    }

    fn next_action(&mut self) -> Option<Action> {
        let state = &mut self.state;
        if let Some(action) = pop_front(&mut state.actions) {
            return Some(action);
        }
        let paused = state.wants_accept_paused();
        if state.accept_paused != paused {
            state.accept_paused = paused;
            return Some(if paused {
                Action::PauseAccept
            } else {
                Action::ResumeAccept
            });
        }
        let (connection, message) = state.connections.pop_message()?;
        Some(Action::ToConnection(connection, ToConnection(message)))
    }

    /// The next thing that happened, `None` when there is nothing.
    pub fn poll_event(&mut self) -> Option<Event<P::Event>> {
        let event = match self.state.events.pop()?.into_event() {
            Some(event) => Some(event),
            None => pop_front(&mut self.protocol_events).map(Event::Protocol),
        };
        when_recorded!(self, self.note_event(event.as_ref()));
        event
    }

    /// When to call [`handle_timeout`](Self::handle_timeout); not later than now while actions or events wait. It can get
    /// earlier without a call of the swarm, see [`set_waker`](Self::set_waker).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.state.has_output() {
            return Some(self.state.now);
        }
        earliest(self.state.timers.next(), self.protocols.poll_timeout())
    }

    // What is

    /// Who this node is.
    #[must_use]
    pub const fn local_peer_id(&self) -> PeerId {
        self.state.local_peer
    }

    /// The protocols. Commands go through [`with`](Self::with).
    #[must_use]
    pub const fn protocols(&self) -> &P {
        &self.protocols
    }

    /// The addresses this node listens on, those of the interfaces in place of unspecified ones.
    #[must_use]
    pub fn listen_addresses(&self) -> &[Multiaddr] {
        self.state.listeners.addresses()
    }

    /// The listeners, with the addresses each is bound to.
    pub fn listeners(&self) -> impl Iterator<Item = (ListenerId, &[Multiaddr])> {
        self.state
            .listeners
            .iter()
            .map(|(id, listener)| (id, listener.bound.as_slice()))
    }

    /// The addresses at which this node is known to be reachable from outside.
    #[must_use]
    pub fn external_addresses(&self) -> &[Multiaddr] {
        self.state.listeners.external()
    }

    /// The connections that are up, the oldest first.
    pub fn connections(&self) -> impl Iterator<Item = ConnectionInfo> {
        let entries = self.state.connections.iter();
        entries.filter_map(|(id, entry)| ConnectionInfo::of(id, entry))
    }

    /// One connection, if it is up.
    #[must_use]
    pub fn connection(&self, connection: ConnectionId) -> Option<ConnectionInfo> {
        ConnectionInfo::of(connection, self.state.connections.get(connection)?)
    }

    /// Whether connections may be accepted: what [`Action::PauseAccept`] and [`Action::ResumeAccept`] tell, at once. For hosts
    /// that accept several in a row.
    #[must_use]
    pub const fn is_accepting(&self) -> bool {
        !self.state.wants_accept_paused()
    }

    /// Connections there are, in whatever phase, until [`handle_closed`](Self::handle_closed).
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.state.connections.len()
    }

    /// The peers with a connection that is up, in the order of their ids.
    #[must_use]
    pub fn connected_peers(&self) -> BTreeSet<PeerId> {
        self.connected().map(|(_, peer)| peer).collect()
    }

    /// The connections that are up, with whom they lead to; in the order of their ids. Costs less than
    /// [`connections`](Self::connections).
    pub fn connected(&self) -> impl Iterator<Item = (ConnectionId, PeerId)> {
        let entries = self.state.connections.iter();
        entries.filter_map(|(id, entry)| Some((id, entry.peer()?)))
    }

    /// The connection to use for a peer: up and not closing, direct before relayed, the newest.
    #[must_use]
    pub fn best_connection(&self, peer: &PeerId) -> Option<ConnectionId> {
        self.state.best_connection(peer)
    }

    /// Whether a peer has a connection that is up.
    #[must_use]
    pub fn is_connected(&self, peer: &PeerId) -> bool {
        self.state.peers.contains_key(peer)
    }

    /// What a connected peer supports, if that is known.
    #[must_use]
    pub fn peer_protocols(&self, peer: &PeerId) -> Option<&[ProtocolName]> {
        self.state.peers.get(peer)?.protocols.as_deref()
    }

    /// The addresses known of a peer, best first.
    #[must_use]
    pub fn addresses(&self, peer: &PeerId) -> Vec<Multiaddr> {
        self.state.book.addresses(self.state.now, peer)
    }

    /// Peers of whom the address book knows an address.
    #[must_use]
    pub fn known_peers(&self) -> usize {
        self.state.book.len()
    }

    /// The names this node accepts, in the order they were registered.
    pub fn accepted_names(&self) -> impl Iterator<Item = &ProtocolName> {
        self.state.table.entries().iter().map(|entry| &entry.name)
    }

    /// Events lost because the host did not collect them.
    #[must_use]
    pub const fn dropped_events(&self) -> u64 {
        self.state.events.dropped()
    }

    /// Accepted sockets that were [`Refused`].
    #[must_use]
    pub const fn refusals(&self) -> u64 {
        self.state.refusals
    }

    /// What connections have been lent of the node's shared resources.
    #[must_use]
    pub fn leased(&self) -> crate::resource::Lease {
        self.state.ledger.used(self.state.ledger.root())
    }

    /// Whether [`shutdown`](Self::shutdown) was called.
    #[must_use]
    pub fn is_shutting_down(&self) -> bool {
        self.state.is_shutting_down()
    }

    /// Places in the event queue that are promised to last words still to come: of connections, dials and listeners, and
    /// those that protocols hold.
    #[must_use]
    pub const fn reserved_events(&self) -> usize {
        self.state.events.reserved()
    }

    /// Checks the books: whether every count and reservation is what the connections, dials and listeners there are
    /// account for, and within its limit. For tests and simulations; the cost grows with the number of connections.
    ///
    /// # Errors
    /// What does not add up, in words. It would be a bug in this crate.
    pub fn audit(&self) -> Result<(), alloc::string::String> {
        self.state.audit()
    }

    /// Tells the protocols what waits to be told, until nothing is left.
    fn run(&mut self) {
        while let Some(delivery) = self.state.next_delivery() {
            let events = &mut self.protocol_events;
            let mut emit = |event| events.push_back(event);
            let mut cx = Context::new(&mut self.state, &mut emit);
            match delivery {
                Delivery::One(slot, Targeted::Message { stream, bytes }) => {
                    self.state.handling(stream);
                    let mut cx = Context::new(&mut self.state, &mut emit);
                    self.protocols
                        .handle(slot, Input::Message { stream, bytes }, &mut cx);
                    self.state.consumed(stream);
                }
                Delivery::One(slot, input) => {
                    if let Some(input) = input.as_input() {
                        self.protocols.handle(slot, input, &mut cx);
                    }
                }
                Delivery::All(input) => {
                    for slot in 0..P::SLOTS {
                        self.protocols.handle(Slot(slot), input.as_input(), &mut cx);
                    }
                }
            }
        }
    }
}
