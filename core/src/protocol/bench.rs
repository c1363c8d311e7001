//! A protocol on a swarm whose connections are played by the test.

use crate::{
    connection::{
        ConnectedPoint, ConnectionError, ConnectionId, Direction, SecuredPeer, Slot, StreamEnd,
        StreamId, ToConnectionMessage, ToSwarm, ToSwarmMessage,
    },
    identity::{Keypair, PeerId},
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    seed::Seed,
    swarm::{
        Action, AttemptId, Config, Context, Event, ListenerUpdate, Protocol, SecurityConfig, Swarm,
    },
    time::{Instant, UnixTime},
};
use bytes::Bytes;
use core::time::Duration;
use std::{boxed::Box, vec::Vec};

pub(super) fn key(number: u64) -> Keypair {
    Keypair::ed25519_from_seed(&Seed::for_tests(number))
}

pub(super) fn peer(number: u64) -> PeerId {
    key(number).peer_id()
}

pub(super) fn address(text: &str) -> Multiaddr {
    text.parse().unwrap()
}

pub(super) struct Bench<P: Protocol> {
    pub(super) swarm: Swarm<P>,
    pub(super) now: Instant,
    streams: u32,
}

impl<P: Protocol> Bench<P> {
    pub(super) fn new(protocol: P) -> Self {
        let config = Config::new(SecurityConfig::InsecurePlaintext);
        let unix = UnixTime::from_secs(1_800_000_000);
        let (seed, now) = (Seed::for_tests(77), Instant::ZERO);
        let swarm = Swarm::new(config, key(1000), protocol, seed, now, unix).unwrap();
        Self {
            swarm,
            now,
            streams: 0,
        }
    }

    pub(super) fn listen(&mut self, text: &str) {
        let listener = self.swarm.listen(self.now, address(text)).unwrap();
        self.swarm
            .handle_listener(self.now, listener, ListenerUpdate::Bound(address(text)));
        self.told();
    }

    /// A connection that is up.
    pub(super) fn connect(
        &mut self,
        number: u64,
        remote: &str,
        direction: Direction,
    ) -> ConnectionId {
        let connection = match direction {
            Direction::Inbound => {
                let point = ConnectedPoint::accepted(address(remote), None);
                self.swarm.handle_accept(self.now, point).unwrap().id()
            }
            Direction::Outbound => {
                let to = address(remote).with_peer_id(peer(number)).unwrap();
                self.swarm
                    .dial(self.now, crate::swarm::DialOptions::address(to))
                    .unwrap();
                let attempt = self.attempts()[0];
                self.connected(attempt, remote).unwrap()
            }
        };
        self.secure(connection, number);
        connection
    }

    pub(super) fn attempts(&mut self) -> Vec<AttemptId> {
        let actions = core::iter::from_fn(|| self.swarm.poll_action());
        actions
            .filter_map(|action| match action {
                Action::Dial { attempt, .. } => Some(attempt),
                _ => None,
            })
            .collect()
    }

    pub(super) fn connected(&mut self, attempt: AttemptId, remote: &str) -> Option<ConnectionId> {
        let point = ConnectedPoint::dialed(address(remote), None);
        Some(self.swarm.handle_dialed(self.now, attempt, Ok(point))?.id())
    }

    pub(super) fn secure(&mut self, connection: ConnectionId, number: u64) {
        let secured = SecuredPeer {
            peer: peer(number),
            public_key: key(number).public(),
        };
        self.say(connection, ToSwarmMessage::Secured(Box::new(secured)));
    }

    pub(super) fn say(&mut self, connection: ConnectionId, message: ToSwarmMessage) {
        self.swarm
            .handle_message(self.now, connection, ToSwarm(message));
    }

    pub(super) fn inbound(&mut self, connection: ConnectionId, name: ProtocolName) -> StreamId {
        let stream = StreamId::by_connection(self.streams, 0);
        self.streams += 1;
        self.say(
            connection,
            ToSwarmMessage::Inbound {
                stream,
                slot: Slot(0),
                name,
            },
        );
        stream
    }

    pub(super) fn data(&mut self, connection: ConnectionId, stream: StreamId, bytes: &[u8]) {
        let bytes = Bytes::copy_from_slice(bytes);
        self.say(connection, ToSwarmMessage::Data { stream, bytes });
    }

    pub(super) fn finish(&mut self, connection: ConnectionId, stream: StreamId) {
        self.say(connection, ToSwarmMessage::RemoteFinished { stream });
    }

    pub(super) fn ended(&mut self, connection: ConnectionId, stream: StreamId, end: StreamEnd) {
        self.say(connection, ToSwarmMessage::Ended { stream, end });
    }

    pub(super) fn close(&mut self, connection: ConnectionId) {
        self.say(
            connection,
            ToSwarmMessage::Closed(ConnectionError::ClosedByPeer),
        );
        self.swarm.handle_closed(self.now, connection);
    }

    /// The connection works off everything it was told.
    pub(super) fn processed(&mut self, connection: ConnectionId) {
        self.say(
            connection,
            ToSwarmMessage::Processed {
                commands: u32::MAX,
                bytes: u64::MAX,
            },
        );
    }

    /// What connections were told about streams since it was asked last.
    pub(super) fn told(&mut self) -> Vec<(ConnectionId, ToConnectionMessage)> {
        let actions = core::iter::from_fn(|| self.swarm.poll_action());
        actions
            .filter_map(|action| match action {
                Action::ToConnection(connection, message) => Some((connection, message.0)),
                _ => None,
            })
            .filter(|(_, message)| {
                !matches!(
                    message,
                    ToConnectionMessage::Admit { .. }
                        | ToConnectionMessage::Table(_)
                        | ToConnectionMessage::Consumed { .. }
                )
            })
            .collect()
    }

    /// The streams that were opened since it was asked last.
    pub(super) fn opened(&mut self) -> Vec<(ConnectionId, StreamId, ProtocolName)> {
        let told = self.told().into_iter();
        told.filter_map(|(connection, message)| match message {
            ToConnectionMessage::Open { stream, names, .. } => {
                Some((connection, stream, names[0].clone()))
            }
            _ => None,
        })
        .collect()
    }

    /// The messages that were sent on a stream since it was asked last.
    pub(super) fn sent(&mut self, on: StreamId) -> Vec<Bytes> {
        let told = self.told().into_iter();
        told.filter_map(|(_, message)| match message {
            ToConnectionMessage::Send { stream, bytes } if stream == on => Some(bytes),
            _ => None,
        })
        .collect()
    }

    /// The peer agrees to a name on a stream of this side.
    pub(super) fn agree(&mut self, connection: ConnectionId, stream: StreamId, name: ProtocolName) {
        self.say(connection, ToSwarmMessage::Opened { stream, name });
    }

    /// Messages that say all of a side's part at once, since it was asked last: on a stream that is opened with it, under
    /// these names, or on one that is there.
    pub(super) fn exchanges(&mut self) -> Vec<(ConnectionId, StreamId, Bytes)> {
        let told = self.told().into_iter();
        told.filter_map(|(connection, message)| match message {
            ToConnectionMessage::OpenWith { stream, bytes, .. }
            | ToConnectionMessage::SendLast { stream, bytes } => Some((connection, stream, bytes)),
            _ => None,
        })
        .collect()
    }

    /// What the protocol told the host since it was asked last.
    pub(super) fn events(&mut self) -> Vec<P::Event> {
        let events = core::iter::from_fn(|| self.swarm.poll_event());
        events
            .filter_map(|event| match event {
                Event::Protocol(event) => Some(event),
                _ => None,
            })
            .collect()
    }

    /// Lets time pass; what is due is done at its time.
    pub(super) fn wait(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let at = self
                .swarm
                .protocols()
                .poll_timeout()
                .filter(|at| *at <= end);
            let Some(at) = at else { break };
            self.now = self.now.max(at);
            self.swarm.handle_timeout(self.now);
        }
        self.now = end;
        self.swarm.handle_timeout(end);
    }

    pub(super) fn run<R>(
        &mut self,
        run: impl FnOnce(&mut P, &mut Context<'_, P::Event>) -> R,
    ) -> R {
        self.swarm.with(self.now, run)
    }
}
