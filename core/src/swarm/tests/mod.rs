//! A swarm without connections: the tests are its host and its connections at once.

mod admission;
mod chaos;
mod contracts;
mod dialing;
mod sets;
mod wakers;

use super::*;
use crate::{
    connection::{
        Accept, ConnectionError, SecuredPeer, StreamEnd, StreamId, StreamKind, ToConnectionMessage,
        ToSwarmMessage,
    },
    seed::Seed,
};
use bytes::Bytes;
use core::time::Duration;
use std::{boxed::Box, format, string::String, vec::Vec};

pub(super) const NAME: ProtocolName = ProtocolName::from_static("/probe/1");
pub(super) const KIND: StreamKind = StreamKind::Framed { max_len: 1000 };

/// What a protocol was told, in its own words.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Seen {
    Up(ConnectionId, PeerId, u32),
    Down(ConnectionId, ConnectionError, u32),
    Dialed(DialId, ConnectionId),
    DialFailed(DialId, DialError),
    Inbound(StreamRef),
    Opened(StreamRef),
    Message(StreamRef, Bytes),
    RemoteFinished(StreamRef),
    Writable(StreamRef),
    StreamsAvailable(ConnectionId),
    Ended(StreamRef, StreamEnd),
    Names,
    Addresses,
    Other(String),
}

/// Writes down what it is told.
#[derive(Debug, Default)]
pub(super) struct Probe {
    pub(super) seen: Vec<Seen>,
    pub(super) timeout: Option<Instant>,
    /// Pause every stream on its first message.
    pub(super) pausing: bool,
}

impl Protocol for Probe {
    type Event = u32;

    fn start(&mut self, cx: &mut Context<'_, u32>) {
        cx.accept(NAME, Accept::new(KIND)).unwrap();
    }

    fn handle(&mut self, slot: Slot, input: Input<'_>, cx: &mut Context<'_, u32>) {
        assert_eq!(slot, Slot(0));
        self.seen.push(match input {
            Input::ConnectionUp {
                connection,
                peer,
                connections,
                ..
            } => Seen::Up(connection, peer, connections),
            Input::ConnectionDown {
                connection,
                reason,
                connections,
                ..
            } => Seen::Down(connection, reason.clone(), connections),
            Input::Dialed {
                dial, connection, ..
            } => Seen::Dialed(dial, connection),
            Input::DialFailed { dial, error, .. } => Seen::DialFailed(dial, error.clone()),
            Input::Inbound { stream, .. } => Seen::Inbound(stream),
            Input::Opened { stream, .. } => Seen::Opened(stream),
            Input::Message { stream, bytes } => {
                if self.pausing {
                    cx.pause(stream);
                }
                Seen::Message(stream, bytes)
            }
            Input::RemoteFinished { stream } => Seen::RemoteFinished(stream),
            Input::Writable { stream } => Seen::Writable(stream),
            Input::StreamsAvailable { connection } => Seen::StreamsAvailable(connection),
            Input::StreamEnded { stream, end } => Seen::Ended(stream, end.clone()),
            Input::LocalProtocolsChanged => Seen::Names,
            Input::LocalAddressesChanged => Seen::Addresses,
            Input::Timeout => {
                self.timeout = None;
                Seen::Other("timeout".into())
            }
            other => Seen::Other(format!("{other:?}")),
        });
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timeout
    }
}

pub(super) fn peer(number: u64) -> PeerId {
    std::thread_local! {
        static KNOWN: core::cell::RefCell<std::collections::BTreeMap<u64, PeerId>> = Default::default();
    }
    KNOWN.with_borrow_mut(|known| *known.entry(number).or_insert_with(|| key(number).peer_id()))
}

pub(super) fn key(number: u64) -> Keypair {
    Keypair::ed25519_from_seed(&Seed::for_tests(number))
}

pub(super) fn address(text: &str) -> Multiaddr {
    text.parse().unwrap()
}

/// The number of the node under test.
pub(super) const SELF: u64 = 1000;

/// A swarm, its time, and what it has said.
pub(super) struct Node {
    pub(super) swarm: Swarm<Probe>,
    pub(super) now: Instant,
}

impl Node {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(SecurityConfig::InsecurePlaintext);
        change(&mut config);
        let now = Instant::ZERO;
        let unix = UnixTime::from_secs(1_800_000_000);
        let seed = Seed::for_tests(1);
        let swarm = Swarm::new(config, key(SELF), Probe::default(), seed, now, unix).unwrap();
        let mut node = Self { swarm, now };
        assert_eq!(node.seen(), [Seen::Names]);
        node
    }

    pub(super) fn wait(&mut self, duration: Duration) {
        self.now = self.now + duration;
        self.swarm.handle_timeout(self.now);
    }

    /// Does what is due until `until`, leaving actions and events to wait; returns how often it woke.
    pub(super) fn sleep_until(&mut self, until: Instant) -> usize {
        let mut wakes = 0;
        loop {
            let at = earliest(self.swarm.state.timers.next(), self.swarm.protocols.timeout);
            let Some(at) = at.filter(|at| *at <= until) else {
                break;
            };
            self.now = self.now.max(at);
            self.swarm.handle_timeout(self.now);
            wakes += 1;
            assert!(wakes < 10_000, "never rests");
        }
        self.now = until;
        wakes
    }

    pub(super) fn accept(&mut self, remote: &str) -> Result<ConnectionId, Refused> {
        let point = ConnectedPoint::accepted(address(remote), None);
        self.swarm
            .handle_accept(self.now, point)
            .map(|start| start.id())
    }

    pub(super) fn say(&mut self, connection: ConnectionId, message: ToSwarmMessage) {
        self.swarm
            .handle_message(self.now, connection, ToSwarm(message));
    }

    pub(super) fn secure(&mut self, connection: ConnectionId, number: u64) {
        let secured = SecuredPeer {
            peer: peer(number),
            public_key: key(number).public(),
        };
        self.say(connection, ToSwarmMessage::Secured(Box::new(secured)));
    }

    /// A connection that is up.
    pub(super) fn connect(&mut self, number: u64) -> ConnectionId {
        let connection = self.accept("/memory/1").unwrap();
        self.secure(connection, number);
        assert!(self.swarm.connection(connection).is_some(), "not admitted");
        connection
    }

    /// The connection says its last word, and the host drops it.
    pub(super) fn close(&mut self, connection: ConnectionId, reason: ConnectionError) {
        self.say(connection, ToSwarmMessage::Closed(reason));
        self.swarm.handle_closed(self.now, connection);
    }

    pub(super) fn actions(&mut self) -> Vec<Action> {
        core::iter::from_fn(|| self.swarm.poll_action()).collect()
    }

    /// What connections were told; other actions must not be there.
    pub(super) fn told(&mut self) -> Vec<(ConnectionId, ToConnectionMessage)> {
        self.actions()
            .into_iter()
            .map(|action| match action {
                Action::ToConnection(connection, message) => (connection, message.0),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    /// What one connection was told, admission left out.
    pub(super) fn told_to(&mut self, connection: ConnectionId) -> Vec<ToConnectionMessage> {
        let told = self.told().into_iter();
        told.filter(|(to, message)| {
            *to == connection && !matches!(message, ToConnectionMessage::Admit { .. })
        })
        .map(|(_, message)| message)
        .collect()
    }

    pub(super) fn events(&mut self) -> Vec<Event<u32>> {
        core::iter::from_fn(|| self.swarm.poll_event()).collect()
    }

    /// What the protocol was told since it was asked last.
    pub(super) fn seen(&mut self) -> Vec<Seen> {
        core::mem::take(&mut self.swarm.protocols.seen)
    }

    /// Runs a command on the protocol's context.
    pub(super) fn run<R>(&mut self, run: impl FnOnce(&mut Context<'_, u32>) -> R) -> R {
        self.swarm.with(self.now, |_, cx| run(cx))
    }

    /// The attempts that were begun since it was asked last.
    pub(super) fn attempts(&mut self) -> Vec<(AttemptId, String)> {
        self.actions()
            .into_iter()
            .filter_map(|action| match action {
                Action::Dial { attempt, address } => Some((attempt, format!("{address}"))),
                _ => None,
            })
            .collect()
    }

    pub(super) fn dialed(&mut self, attempt: AttemptId, remote: &str) -> Option<ConnectionId> {
        let point = ConnectedPoint::dialed(address(remote), None);
        let start = self.swarm.handle_dialed(self.now, attempt, Ok(point));
        start.map(|start| start.id())
    }

    pub(super) fn dial_failed(&mut self, attempt: AttemptId, error: TransportError) {
        assert!(
            self.swarm
                .handle_dialed(self.now, attempt, Err(error))
                .is_none()
        );
    }

    /// Nothing is left of any connection, dial or listener, and nothing is reserved for one.
    pub(super) fn assert_empty(&mut self) {
        // Accept rates, backoff and addresses outlast connections, for a while.
        self.now = self.now + Duration::from_secs(10_000);
        while self.swarm.poll_timeout().is_some_and(|at| at <= self.now) {
            self.swarm.handle_timeout(self.now);
            self.actions();
            self.events();
        }
        let state = &self.swarm.state;
        assert_eq!(state.connections.len(), 0);
        assert!(!state.connections.has_messages());
        assert!(state.peers.is_empty() && state.sources.is_empty() && state.jobs.is_empty());
        assert_eq!(
            (state.inbound, state.pending, state.attempts.len()),
            (0, 0, 0)
        );
        assert_eq!(
            (
                state.ledger.scopes(),
                state.ledger.used(state.ledger.root())
            ),
            (0, Lease::EMPTY)
        );
        assert_eq!((state.backoff.len(), state.timers.len()), (0, 0));
        assert_eq!(
            (state.deliveries.len(), self.swarm.protocol_events.len()),
            (0, 0)
        );
        let listeners = state.listeners.len();
        let last_word = usize::from(state.running != state::Running::Complete);
        assert_eq!(state.events.reserved(), listeners + last_word);
        assert_eq!(self.swarm.poll_timeout(), None);
    }
}

use crate::resource::Lease;

/// A stream the peer opened.
pub(super) fn inbound(number: u32) -> StreamId {
    StreamId::by_connection(number, 0)
}
