//! Everything of a swarm that does not depend on its protocols.

use super::{
    action::Action,
    address_book::{AddressBook, AddressSource},
    config::Config,
    connections::Connections,
    dial::{AddressFailure, Attempts, Backoff, DialError, DialId, Jobs},
    event_queue::EventQueue,
    hash::{KeyedHash, KeyedMap},
    listeners::Listeners,
    protocol::{Input, StreamRef},
    sources::Sources,
    timers::{Timer, Timers},
};
use crate::{
    connection::{
        self, BYTES_AT_ONCE, COMMANDS_AT_ONCE, ConnectedPoint, ConnectionError, ConnectionId,
        InboundTable, Security, Slot, StreamEnd,
    },
    identity::{Keypair, PeerId},
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    resource::{Ledger, ScopeId},
    seed::{Rng, Seed},
    time::{Instant, UnixTime},
};
use alloc::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    vec::Vec,
};
use bytes::Bytes;
use core::{fmt, net::IpAddr, task::Waker};
use smallvec::SmallVec;

/// Something protocols are to be told, in the order it happened.
#[derive(Debug)]
pub(super) enum Delivery {
    One(Slot, Targeted),
    All(Broadcast),
}

#[derive(Debug)]
pub(super) enum Targeted {
    Dialed {
        dial: DialId,
        connection: ConnectionId,
        peer: PeerId,
        failures: Vec<AddressFailure>,
    },
    DialFailed {
        dial: DialId,
        peer: Option<PeerId>,
        error: DialError,
    },
    Inbound {
        stream: StreamRef,
        peer: PeerId,
        name: ProtocolName,
    },
    Opened {
        stream: StreamRef,
        name: ProtocolName,
    },
    Message {
        stream: StreamRef,
        bytes: Bytes,
    },
    RemoteFinished {
        stream: StreamRef,
    },
    Writable {
        stream: StreamRef,
    },
    Sent {
        stream: StreamRef,
    },
    StreamsAvailable {
        connection: ConnectionId,
    },
    Ended {
        stream: StreamRef,
        end: StreamEnd,
    },
}

impl Targeted {
    /// The stream this is about.
    pub(super) const fn stream(&self) -> Option<StreamRef> {
        match self {
            Self::Dialed { .. } | Self::DialFailed { .. } | Self::StreamsAvailable { .. } => None,
            Self::Inbound { stream, .. }
            | Self::Opened { stream, .. }
            | Self::Message { stream, .. }
            | Self::RemoteFinished { stream }
            | Self::Writable { stream }
            | Self::Sent { stream }
            | Self::Ended { stream, .. } => Some(*stream),
        }
    }
}

#[derive(Debug)]
pub(super) enum Broadcast {
    ConnectionUp {
        connection: ConnectionId,
        peer: PeerId,
        point: ConnectedPoint,
        connections: u32,
    },
    ConnectionDown {
        connection: ConnectionId,
        peer: PeerId,
        reason: ConnectionError,
        connections: u32,
    },
    Timeout,
    LocalProtocolsChanged,
    LocalAddressesChanged,
    ExternalCandidate(Multiaddr),
    PeerProtocols {
        peer: PeerId,
        names: Arc<[ProtocolName]>,
    },
    PeerAddresses(PeerId),
}

impl Targeted {
    /// As the protocol is told it; `None` for a message, whose bytes are moved.
    pub(super) const fn as_input(&self) -> Option<Input<'_>> {
        Some(match self {
            Self::Dialed {
                dial,
                connection,
                peer,
                failures,
            } => Input::Dialed {
                dial: *dial,
                connection: *connection,
                peer: *peer,
                failures: failures.as_slice(),
            },
            Self::DialFailed { dial, peer, error } => Input::DialFailed {
                dial: *dial,
                peer: *peer,
                error,
            },
            Self::Inbound { stream, peer, name } => Input::Inbound {
                stream: *stream,
                peer: *peer,
                name,
            },
            Self::Opened { stream, name } => Input::Opened {
                stream: *stream,
                name,
            },
            Self::Message { .. } => return None,
            Self::RemoteFinished { stream } => Input::RemoteFinished { stream: *stream },
            Self::Writable { stream } => Input::Writable { stream: *stream },
            Self::Sent { stream } => Input::Sent { stream: *stream },
            Self::StreamsAvailable { connection } => Input::StreamsAvailable {
                connection: *connection,
            },
            Self::Ended { stream, end } => Input::StreamEnded {
                stream: *stream,
                end,
            },
        })
    }
}

impl Broadcast {
    pub(super) fn as_input(&self) -> Input<'_> {
        match self {
            Self::ConnectionUp {
                connection,
                peer,
                point,
                connections,
            } => Input::ConnectionUp {
                connection: *connection,
                peer: *peer,
                point,
                connections: *connections,
            },
            Self::ConnectionDown {
                connection,
                peer,
                reason,
                connections,
            } => Input::ConnectionDown {
                connection: *connection,
                peer: *peer,
                reason,
                connections: *connections,
            },
            Self::Timeout => Input::Timeout,
            Self::LocalProtocolsChanged => Input::LocalProtocolsChanged,
            Self::LocalAddressesChanged => Input::LocalAddressesChanged,
            Self::ExternalCandidate(address) => Input::ExternalCandidate { address },
            Self::PeerProtocols { peer, names } => Input::PeerProtocols { peer: *peer, names },
            Self::PeerAddresses(peer) => Input::PeerAddresses { peer: *peer },
        }
    }
}

/// A peer with at least one connection that is up.
#[derive(Debug)]
pub(super) struct Peer {
    /// Oldest first.
    pub(super) connections: SmallVec<[ConnectionId; 2]>,
    pub(super) scope: ScopeId,
    /// What it supports, once known.
    pub(super) protocols: Option<Arc<[ProtocolName]>>,
}

/// What belongs to one protocol of the set.
#[derive(Debug)]
pub(super) struct SlotState {
    pub(super) seed: Seed,
    pub(super) rng: Rng,
}

impl SlotState {
    pub(super) fn new(seed: Seed) -> Self {
        let rng = seed.derive("rng").rng();
        Self { seed, rng }
    }
}

/// What belongs to each protocol. There is always one.
#[derive(Debug)]
pub(super) struct Slots {
    first: SlotState,
    rest: Vec<SlotState>,
}

impl Slots {
    fn new(count: u16, seed: &Seed) -> Self {
        let rest = (1..count).map(|_| SlotState::new(seed.clone())).collect();
        Self {
            first: SlotState::new(seed.clone()),
            rest,
        }
    }

    /// Gives a slot its seed.
    pub(super) fn seed(&mut self, slot: u16, seed: &Seed) {
        if usize::from(slot) <= self.rest.len() {
            *self.get_mut(slot) = SlotState::new(seed.clone());
        }
    }

    /// The state of a slot, or that of the first one for a slot that does not exist.
    pub(super) fn get_mut(&mut self, slot: u16) -> &mut SlotState {
        match self.rest.get_mut(usize::from(slot.wrapping_sub(1))) {
            Some(state) => state,
            None => &mut self.first,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Running {
    Yes,
    ShuttingDown,
    Complete,
}

/// Whom protocols may call from outside the swarm.
pub(super) struct HostWaker(pub(super) Option<Waker>);

impl fmt::Debug for HostWaker {
    /// Without the addresses in it, which differ from run to run.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HostWaker").field(&self.0.is_some()).finish()
    }
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) config: Config,
    pub(super) connection_config: Arc<connection::Config>,
    pub(super) security: Security,
    pub(super) keypair: Keypair,
    pub(super) local_peer: PeerId,
    pub(super) seed: Seed,
    pub(super) now: Instant,
    /// A wall-clock time and when it was.
    pub(super) wall_clock: (Instant, UnixTime),
    pub(super) running: Running,
    pub(super) waker: HostWaker,

    pub(super) slots: Slots,
    /// The seed of the protocol that is being started.
    pub(super) starting: Option<Seed>,
    pub(super) table: Arc<InboundTable>,

    pub(super) connections: Connections,
    pub(super) peers: KeyedMap<PeerId, Peer>,
    pub(super) ledger: Ledger,
    pub(super) sources: Sources,
    /// Accepted connections, and those of them still in their handshake.
    pub(super) inbound: u32,
    pub(super) pending: u32,
    pub(super) refusals: u64,
    pub(super) denied_peers: BTreeSet<PeerId>,
    pub(super) denied_networks: Vec<(IpAddr, u8)>,
    /// Accepting rests, because of too many handshakes or for want of descriptors.
    pub(super) pending_full: bool,
    pub(super) out_of_descriptors: bool,
    /// What the host was told last.
    pub(super) accept_paused: bool,

    pub(super) jobs: Jobs,
    pub(super) attempts: Attempts,
    pub(super) backoff: Backoff,
    pub(super) book: AddressBook,
    pub(super) listeners: Listeners,

    pub(super) timers: Timers<Timer>,
    pub(super) actions: VecDeque<Action>,
    pub(super) events: EventQueue,
    pub(super) deliveries: VecDeque<Delivery>,
    pub(super) protocols_changed: bool,
    pub(super) addresses_changed: bool,
}

impl State {
    pub(super) fn new(
        mut config: Config,
        security: Security,
        keypair: Keypair,
        slots: u16,
        seed: Seed,
        now: Instant,
        unix: UnixTime,
    ) -> Self {
        // A connection reports after a quarter of these; less would wait for ever.
        config.queues.commands = config.queues.commands.max(COMMANDS_AT_ONCE);
        config.queues.command_bytes = config.queues.command_bytes.max(BYTES_AT_ONCE);
        let hash = KeyedHash::new(&seed);
        let protocols = seed.derive("protocols");
        let mut events =
            EventQueue::new(usize::try_from(config.queues.events).unwrap_or(usize::MAX));
        // For the last event of all.
        events.reserve(1);
        Self {
            connection_config: Arc::new(config.connection.clone()),
            local_peer: keypair.peer_id(),
            slots: Slots::new(slots, &protocols),
            starting: Some(protocols),
            table: Arc::new(InboundTable::default()),
            connections: Connections::default(),
            peers: KeyedMap::with_hasher(hash.clone()),
            ledger: Ledger::new(config.resources.node),
            sources: Sources::new(&hash),
            inbound: 0,
            pending: 0,
            refusals: 0,
            denied_peers: BTreeSet::new(),
            denied_networks: Vec::new(),
            pending_full: false,
            out_of_descriptors: false,
            accept_paused: false,
            jobs: Jobs::new(&hash),
            attempts: Attempts::default(),
            backoff: Backoff::new(&hash),
            book: AddressBook::new(config.address_book.clone(), hash),
            listeners: Listeners::default(),
            timers: Timers::default(),
            actions: VecDeque::new(),
            events,
            deliveries: VecDeque::new(),
            protocols_changed: false,
            addresses_changed: false,
            wall_clock: (now, unix),
            running: Running::Yes,
            waker: HostWaker(None),
            config,
            security,
            keypair,
            seed,
            now,
        }
    }

    /// Time never goes back.
    pub(super) fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    pub(super) fn unix(&self) -> UnixTime {
        let (then, unix) = self.wall_clock;
        unix.saturating_add(self.now - then)
    }

    pub(super) fn is_shutting_down(&self) -> bool {
        self.running != Running::Yes
    }

    /// Tells one protocol, or the host, according to who asked.
    pub(super) fn deliver(&mut self, slot: Slot, input: Targeted) {
        self.deliveries.push_back(Delivery::One(slot, input));
    }

    pub(super) fn broadcast(&mut self, input: Broadcast) {
        self.deliveries.push_back(Delivery::All(input));
    }

    /// The next thing to tell a protocol. What concerns a stream that its protocol has given up since is dropped.
    pub(super) fn next_delivery(&mut self) -> Option<Delivery> {
        loop {
            let Some(delivery) = self.deliveries.pop_front() else {
                if core::mem::take(&mut self.protocols_changed) {
                    return Some(Delivery::All(Broadcast::LocalProtocolsChanged));
                }
                if core::mem::take(&mut self.addresses_changed) {
                    return Some(Delivery::All(Broadcast::LocalAddressesChanged));
                }
                return None;
            };
            let Delivery::One(_, targeted) = &delivery else {
                return Some(delivery);
            };
            let Some(stream) = targeted.stream() else {
                return Some(delivery);
            };
            let entry = self.connections.get_mut(stream.connection);
            let live = match (entry, targeted) {
                (Some(entry), Targeted::Ended { .. }) => {
                    let removed = entry.remove_stream(stream.stream).is_some();
                    self.tell_openers(stream.connection);
                    self.end_heard(stream.connection, stream.stream);
                    removed
                }
                (Some(entry), _) => entry.streams.contains_key(&stream.stream),
                (None, _) => false,
            };
            if live {
                return Some(delivery);
            }
        }
    }

    /// Whether somebody is to be told something: then the time to call back is now.
    pub(super) fn has_output(&self) -> bool {
        !self.actions.is_empty()
            || !self.events.is_empty()
            || self.connections.has_messages()
            || self.accept_paused != self.wants_accept_paused()
    }

    pub(super) const fn wants_accept_paused(&self) -> bool {
        self.pending_full || self.out_of_descriptors
    }

    pub(super) fn connection_count(&self, peer: &PeerId) -> u32 {
        let count = self
            .peers
            .get(peer)
            .map_or(0, |peer| peer.connections.len());
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// The connection to use for a peer: one that is not closing, direct before relayed, the newest.
    pub(super) fn best_connection(&self, peer: &PeerId) -> Option<ConnectionId> {
        let usable = |id: &ConnectionId| {
            let entry = self.connections.get(*id)?;
            entry
                .is_usable()
                .then(|| (!entry.point.remote.is_relayed(), *id))
        };
        let all = self.peers.get(peer)?.connections.iter();
        all.filter_map(usable).max().map(|(_, id)| id)
    }

    /// Learns addresses from one source.
    pub(super) fn learn_address(
        &mut self,
        peer: PeerId,
        address: &Multiaddr,
        source: AddressSource,
        time_to_live: Option<core::time::Duration>,
    ) -> bool {
        let new = self.book.add(self.now, peer, address, source, time_to_live);
        self.after_learning(peer, new);
        new
    }

    pub(super) fn after_learning(&mut self, peer: PeerId, new: bool) {
        if new {
            if self.peers.contains_key(&peer) {
                self.book.set_connected(self.now, peer, true);
            }
            self.broadcast(Broadcast::PeerAddresses(peer));
        }
        self.timers
            .set_or_clear(Timer::AddressBook, self.book.next_expiry());
    }

    /// Does what is due, one thing at a time.
    pub(super) fn fire(&mut self, timer: Timer) {
        match timer {
            Timer::Job(job) => self.pump_job(job),
            Timer::Attempt(attempt) => self.attempt_timed_out(attempt),
            Timer::Lookup(lookup) => self.lookup_timed_out(lookup),
            Timer::Caller(dial) => self.caller_timed_out(dial),
            Timer::Accept => self.out_of_descriptors = false,
            Timer::AddressBook => {
                self.book.expire(self.now);
                self.timers
                    .set_or_clear(Timer::AddressBook, self.book.next_expiry());
            }
            Timer::Rates => {
                self.sources.forget_full(self.now);
                self.timers
                    .set_or_clear(Timer::Rates, self.sources.next_forgotten());
            }
            Timer::Backoff => {
                self.backoff.forget(self.now);
                self.timers
                    .set_or_clear(Timer::Backoff, self.backoff.next_forgotten());
            }
        }
    }
}
