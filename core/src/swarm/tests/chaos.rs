//! Any sequence of what a host, connections and protocols may do: every dial, stream and connection ends once, every
//! bound holds at every step, and at the end nothing is left.

use super::*;
use crate::connection::StreamError;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// What a host could know of one of its connections.
#[derive(Debug, Default)]
struct Live {
    secured: bool,
    admitted: bool,
    down: bool,
    last_word: bool,
    /// Streams both sides know of; true for those the protocol has given up.
    streams: BTreeMap<StreamId, bool>,
    inbound: u32,
    commands: u32,
}

struct World {
    node: Node,
    live: BTreeMap<ConnectionId, Live>,
    attempts: BTreeMap<AttemptId, Multiaddr>,
    lookups: BTreeSet<ResolveId>,
    listeners: BTreeMap<ListenerId, bool>,
    /// Dials of the host and of the protocol that have no outcome.
    dials: BTreeSet<DialId>,
    protocol_dials: BTreeSet<DialId>,
    /// Up, as the protocol was told, and as the host was.
    up: BTreeSet<ConnectionId>,
    announced: BTreeSet<ConnectionId>,
    complete: bool,
}

const PEERS: u64 = 5;
const MAX_ATTEMPTS: usize = 6;
const MAX_BUSY: usize = 3;

impl World {
    fn new() -> Self {
        let node = Node::with(|config| {
            (
                config.limits.connections,
                config.limits.inbound,
                config.limits.per_peer,
            ) = (12, 9, 3);
            (config.limits.pending, config.limits.pending_per_address) = (6, 3);
            (config.dial.max_attempts, config.dial.max_attempts_per_peer) =
                (MAX_ATTEMPTS as u32, MAX_BUSY as u32);
            (
                config.dial.max_dials,
                config.limits.listeners,
                config.queues.events,
            ) = (12, 3, 120);
            config.address_book.max_peers = 4;
            config.resources.node = Lease::new(4 * 1024 * 1024, 600);
        });
        Self {
            node,
            live: BTreeMap::new(),
            attempts: BTreeMap::new(),
            lookups: BTreeSet::new(),
            listeners: BTreeMap::new(),
            dials: BTreeSet::new(),
            protocol_dials: BTreeSet::new(),
            up: BTreeSet::new(),
            announced: BTreeSet::new(),
            complete: false,
        }
    }

    fn address(number: u8) -> Multiaddr {
        let text = match number % 8 {
            0 => "/ip4/192.0.2.1/tcp/1".into(),
            1 => format!("/ip4/8.8.8.8/tcp/{}", number / 8 % 4 + 1),
            2 => format!("/ip6/2a00:{:x}::1/tcp/1", number / 8),
            3 => format!("/ip4/10.0.0.{}/tcp/1", number / 8),
            4 => "/dns4/example.org/tcp/1".into(),
            5 => format!("/dnsaddr/{}.example.org", number / 8 % 3),
            6 => "/memory/1".into(),
            _ => format!(
                "/ip4/127.0.0.1/tcp/{}/p2p/{}",
                number / 8 % 3,
                peer(u64::from(number) % PEERS)
            ),
        };
        address(&text)
    }

    fn options(a: u8, b: u8, c: u8) -> DialOptions {
        let options = if a.is_multiple_of(4) {
            DialOptions::address(Self::address(b))
        } else {
            DialOptions::peer(peer(u64::from(a) % (PEERS + 1) + u64::from(a / 128) * SELF))
        };
        let options =
            options.addresses((0..c % 5).map(|index| Self::address(b.wrapping_mul(index + 3))));
        let options = options.timeout(Duration::from_secs(u64::from(b % 40)));
        if c > 200 {
            options.condition(DialCondition::Always)
        } else {
            options
        }
    }

    fn pick<T: Copy>(from: impl ExactSizeIterator<Item = T>, number: u8) -> Option<T> {
        let len = from.len().max(1);
        let mut from = from;
        from.nth(usize::from(number) % len)
    }

    fn step(&mut self, (what, a, b, c): (u8, u8, u8, u8)) {
        let now = self.node.now;
        match what {
            0 => {
                let remote = Self::address(a & !7 | [0, 1, 2, 3, 6][usize::from(a) % 5]);
                let point = ConnectedPoint::accepted(remote, None);
                if let Ok(start) = self.node.swarm.handle_accept(now, point) {
                    self.live.insert(start.id(), Live::default());
                }
            }
            1 => match self.node.swarm.dial(now, Self::options(a, b, c)) {
                Ok(dial) => assert!(self.dials.insert(dial)),
                Err(error) => assert!(error.failures().is_empty()),
            },
            2 => {
                if let Ok(dial) = self.node.run(|cx| cx.dial(Self::options(a, b, c))) {
                    assert!(self.protocol_dials.insert(dial));
                }
            }
            3 => {
                if let Some(dial) = Self::pick(
                    self.dials.iter().copied().collect::<Vec<_>>().into_iter(),
                    a,
                ) {
                    let waiting = self.node.swarm.cancel_dial(now, dial);
                    // Otherwise its outcome is among the events.
                    if waiting {
                        self.dials.remove(&dial);
                    }
                    // What waited for room has its turn, and the protocol's dial may be over by that.
                    self.check();
                }
                if let Some(dial) = Self::pick(
                    self.protocol_dials
                        .iter()
                        .copied()
                        .collect::<Vec<_>>()
                        .into_iter(),
                    a,
                ) {
                    assert!(self.node.run(|cx| cx.cancel_dial(dial)));
                    self.protocol_dials.remove(&dial);
                }
            }
            4 | 5 => {
                let attempts: Vec<_> = self.attempts.keys().copied().collect();
                let Some(attempt) = Self::pick(attempts.into_iter(), a) else {
                    return;
                };
                let remote = self.attempts.remove(&attempt).unwrap();
                let result = if b % 2 == 0 {
                    Ok(ConnectedPoint::dialed(remote, None))
                } else {
                    Err(TransportError::Refused)
                };
                if let Some(start) = self.node.swarm.handle_dialed(now, attempt, result) {
                    self.live.insert(start.id(), Live::default());
                }
            }
            6 | 7 => {
                let open: Vec<_> = self
                    .live
                    .iter()
                    .filter(|(_, live)| !live.secured && !live.last_word)
                    .map(|(id, _)| *id)
                    .collect();
                if let Some(id) = Self::pick(open.into_iter(), a) {
                    self.live.get_mut(&id).unwrap().secured = true;
                    self.node
                        .secure(id, u64::from(b) % (PEERS + 1) + u64::from(b / 128) * SELF);
                }
            }
            8 => {
                if let Some(id) =
                    Self::pick(self.live.keys().copied().collect::<Vec<_>>().into_iter(), a)
                {
                    self.live.get_mut(&id).unwrap().last_word = true;
                    self.node
                        .say(id, ToSwarmMessage::Closed(ConnectionError::ClosedByPeer));
                }
            }
            9 => {
                if let Some(id) =
                    Self::pick(self.live.keys().copied().collect::<Vec<_>>().into_iter(), a)
                {
                    self.node.swarm.handle_closed(now, id);
                    self.live.remove(&id);
                }
            }
            10..=14 => self.stream_step(what, a, b, c),
            15 => {
                let lookups: Vec<_> = self.lookups.iter().copied().collect();
                let Some(lookup) = Self::pick(lookups.into_iter(), a) else {
                    return;
                };
                self.lookups.remove(&lookup);
                let answer = match b % 4 {
                    0 => Err(TransportError::NameNotFound),
                    1 => Ok(Resolved::Addresses(std::vec![
                        "192.0.2.9".parse().unwrap(),
                        "10.0.0.1".parse().unwrap()
                    ])),
                    _ => Ok(Resolved::Text(
                        (0..c % 4)
                            .map(|index| {
                                format!("dnsaddr={}", Self::address(c.wrapping_add(index * 5)))
                            })
                            .collect(),
                    )),
                };
                self.node.swarm.handle_resolved(now, lookup, answer);
            }
            16 => {
                let bound = Self::address(a & !7 | 1);
                match b % 5 {
                    0 => {
                        if let Ok(listener) = self.node.swarm.listen(now, bound) {
                            self.listeners.insert(listener, false);
                        }
                    }
                    step => {
                        let listeners: Vec<_> = self.listeners.keys().copied().collect();
                        let Some(listener) = Self::pick(listeners.into_iter(), c) else {
                            return;
                        };
                        let update = match step {
                            1 => ListenerUpdate::Bound(bound),
                            2 => ListenerUpdate::Unbound(bound),
                            3 => ListenerUpdate::AcceptFailed(TransportError::OutOfDescriptors),
                            _ => {
                                self.listeners.remove(&listener);
                                ListenerUpdate::Closed(Some(TransportError::AddressInUse))
                            }
                        };
                        self.node.swarm.handle_listener(now, listener, update);
                    }
                }
            }
            17 => {
                self.node.now = now + Duration::from_millis(u64::from(a) * u64::from(b));
                self.node.swarm.handle_timeout(self.node.now);
            }
            18 => {
                self.node
                    .swarm
                    .add_address(now, peer(u64::from(a) % PEERS), &Self::address(b));
            }
            19 => match a % 4 {
                0 => self.node.swarm.deny_peer(now, peer(u64::from(b) % PEERS)),
                1 => drop(self.node.swarm.allow_peer(&peer(u64::from(b) % PEERS))),
                2 => drop(self.node.swarm.disconnect(now, &peer(u64::from(b) % PEERS))),
                _ => self
                    .node
                    .swarm
                    .remove_address(peer(u64::from(b) % PEERS), &Self::address(c)),
            },
            _ => self.drain(),
        }
        self.check();
    }

    fn stream_step(&mut self, what: u8, a: u8, b: u8, c: u8) {
        let up: Vec<_> = self.up.iter().copied().collect();
        let Some(id) = Self::pick(up.into_iter(), a) else {
            return;
        };
        let Some(live) = self.live.get_mut(&id) else {
            return;
        };
        if live.last_word {
            return;
        }
        let streams: Vec<_> = live.streams.keys().copied().collect();
        let picked = Self::pick(streams.into_iter(), b);
        match (what, picked) {
            (10, _) => {
                let stream = inbound(live.inbound);
                live.inbound += 1;
                live.streams.insert(stream, false);
                self.node.say(
                    id,
                    ToSwarmMessage::Inbound {
                        stream,
                        slot: Slot(0),
                        name: NAME,
                    },
                );
            }
            (11, _) => {
                if let Ok(stream) = self
                    .node
                    .run(|cx| cx.open(id, &[NAME], KIND, b.is_multiple_of(2)))
                {
                    assert_eq!(stream.connection, id);
                    assert_eq!(
                        live.streams.insert(stream.stream, false),
                        None,
                        "an id was used twice"
                    );
                }
            }
            (12, Some(stream)) => {
                let bytes = Bytes::from(std::vec![c; usize::from(c)]);
                let message = match c % 4 {
                    0 => ToSwarmMessage::Opened { stream, name: NAME },
                    1 => ToSwarmMessage::Data { stream, bytes },
                    2 => ToSwarmMessage::RemoteFinished { stream },
                    _ => {
                        live.streams.remove(&stream);
                        let failed = StreamEnd::Failed(StreamError::ResetByPeer(0));
                        let end = if c > 128 { StreamEnd::Finished } else { failed };
                        ToSwarmMessage::Ended { stream, end }
                    }
                };
                self.node.say(id, message);
            }
            (13, Some(stream)) => {
                let reference = StreamRef {
                    connection: id,
                    stream,
                };
                let given_up = live.streams.get_mut(&stream).unwrap();
                self.node.run(|cx| match c % 6 {
                    0 | 1 => {
                        let _ = cx.send(reference, Bytes::from(std::vec![c; usize::from(c) * 4]));
                    }
                    2 => drop(cx.finish(reference)),
                    3 => {
                        let found = cx.reset(reference, 0);
                        assert_eq!(found, !core::mem::replace(given_up, true));
                    }
                    4 => drop(cx.pause(reference)),
                    _ => drop(cx.resume(reference)),
                });
            }
            (14, _) => {
                let commands = live.commands.min(u32::from(b));
                live.commands -= commands;
                self.node.say(
                    id,
                    ToSwarmMessage::Processed {
                        commands,
                        bytes: u64::from(c) * 100,
                    },
                );
                if c.is_multiple_of(8) {
                    self.node.say(
                        id,
                        ToSwarmMessage::NeedLease(Lease::new(u64::from(c) * 10_000, u32::from(b))),
                    );
                }
            }
            _ => {}
        }
    }

    /// The host collects everything.
    fn drain(&mut self) {
        for action in self.node.actions() {
            match action {
                Action::Dial { attempt, address } => {
                    assert!(address.dns_name().is_none() && address.peer_id().is_none());
                    assert_eq!(self.attempts.insert(attempt, address), None);
                }
                Action::CancelDial { attempt } => drop(self.attempts.remove(&attempt)),
                Action::Resolve { lookup, .. } => assert!(self.lookups.insert(lookup)),
                Action::ToConnection(id, message) => {
                    let live = self
                        .live
                        .get_mut(&id)
                        .expect("of a connection that is gone");
                    match message.0 {
                        ToConnectionMessage::Admit { .. } => {
                            assert!(live.secured && !live.admitted);
                            live.admitted = true;
                        }
                        ToConnectionMessage::Open { .. }
                        | ToConnectionMessage::Send { .. }
                        | ToConnectionMessage::Finish { .. }
                        | ToConnectionMessage::Reset { .. }
                        | ToConnectionMessage::Consumed { .. } => {
                            assert!(live.admitted);
                            live.commands += 1;
                        }
                        _ => {}
                    }
                }
                Action::StopListen { listener } => drop(self.listeners.insert(listener, true)),
                Action::Listen { .. } | Action::PauseAccept | Action::ResumeAccept => {}
            }
        }
        for event in self.node.events() {
            match event {
                Event::Dialed { dial, .. } | Event::DialFailed { dial, .. } => {
                    assert!(self.dials.remove(&dial), "{dial} has ended before");
                }
                Event::ConnectionEstablished { connection, .. } => {
                    assert!(self.announced.insert(connection));
                }
                Event::ConnectionClosed { connection, .. } => {
                    assert!(self.announced.remove(&connection));
                }
                Event::ShutdownComplete => self.complete = true,
                _ => {}
            }
        }
    }

    /// What must hold after every step.
    fn check(&mut self) {
        for seen in self.node.seen() {
            match seen {
                Seen::Up(id, ..) => {
                    assert!(self.up.insert(id));
                    assert!(!self.live.get(&id).is_some_and(|live| live.down));
                }
                Seen::Down(id, ..) => {
                    assert!(self.up.remove(&id), "down without up");
                    if let Some(live) = self.live.get_mut(&id) {
                        live.down = true;
                        assert!(
                            live.streams.values().all(|given_up| *given_up),
                            "{id}: {:?}",
                            live.streams
                        );
                    }
                }
                Seen::Inbound(stream)
                | Seen::Opened(stream)
                | Seen::Message(stream, _)
                | Seen::RemoteFinished(stream)
                | Seen::Writable(stream) => {
                    assert!(self.up.contains(&stream.connection));
                    let live = self.live.get(&stream.connection).unwrap();
                    assert_eq!(
                        live.streams.get(&stream.stream),
                        Some(&false),
                        "told of a stream that is over"
                    );
                }
                Seen::Ended(stream, end) => {
                    assert!(self.up.contains(&stream.connection));
                    let lost = matches!(end, StreamEnd::Failed(StreamError::Connection(_)));
                    if let Some(live) = self.live.get_mut(&stream.connection).filter(|_| lost) {
                        assert_eq!(
                            live.streams.remove(&stream.stream),
                            Some(false),
                            "ended twice"
                        );
                    }
                }
                Seen::Dialed(dial, _) | Seen::DialFailed(dial, _) => {
                    assert!(self.protocol_dials.remove(&dial), "{dial} has ended before");
                }
                _ => {}
            }
        }
        let state = &self.node.swarm.state;
        assert!(state.connections.len() <= 12 && state.inbound <= 9 && state.pending <= 6);
        assert_eq!(state.connections.len(), self.live.len());
        assert!(state.attempts.len() <= MAX_ATTEMPTS);
        let (mut targets, mut by_job) = (BTreeSet::new(), BTreeMap::<u64, usize>::new());
        for (job, expected, address) in state.attempts.all() {
            let Some(job) = job else { continue };
            assert!(
                targets.insert((job, expected, address)),
                "one address, one attempt"
            );
            *by_job.entry(job).or_default() += 1;
        }
        assert!(by_job.values().all(|count| *count <= MAX_BUSY));
        let all: Vec<_> = state.attempts.all().collect();
        for (at, (job, expected, address)) in all.iter().enumerate() {
            for (other, also, same) in all.iter().skip(at + 1) {
                let compatible = expected.is_none() || also.is_none() || expected == also;
                assert!(
                    job == other || address != same || !compatible,
                    "two jobs try one address"
                );
            }
        }
        assert!(state.book.len() <= 4);
        for number in 0..PEERS {
            assert!(state.connection_count(&peer(number)) <= 3);
        }
        let waiting = state.has_output();
        assert!(
            !waiting || self.node.swarm.poll_timeout() <= Some(state.now),
            "the whole truth"
        );
    }

    fn end(mut self) {
        let now = self.node.now;
        self.node.swarm.shutdown(now);
        self.check();
        self.drain();
        for listener in self.listeners.keys().copied().collect::<Vec<_>>() {
            self.node
                .swarm
                .handle_listener(now, listener, ListenerUpdate::Closed(None));
        }
        for connection in self.live.keys().copied().collect::<Vec<_>>() {
            self.node.swarm.handle_closed(now, connection);
            self.live.remove(&connection);
        }
        self.check();
        self.drain();
        assert_eq!(
            (self.dials.len(), self.protocol_dials.len(), self.up.len()),
            (0, 0, 0)
        );
        assert!(self.complete && self.announced.is_empty());
        for number in 0..PEERS {
            for address in self.node.swarm.addresses(&peer(number)) {
                self.node.swarm.remove_address(peer(number), &address);
            }
        }
        self.node.assert_empty();
    }
}

fn steps() -> impl Strategy<Value = Vec<(u8, u8, u8, u8)>> {
    prop::collection::vec((0u8..24, any::<u8>(), any::<u8>(), any::<u8>()), 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn everything_ends_once_and_nothing_is_left(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.end();
    }

    /// Same seed, same calls: the same actions and events.
    #[test]
    fn the_same_calls_give_the_same_answers(steps in steps()) {
        let run = || {
            let mut world = World::new();
            let mut trace = String::new();
            for step in &steps {
                world.step(*step);
                let waits = world.node.swarm.poll_timeout();
                trace += &format!("{:?} {:?} {waits:?}\n", world.attempts, world.dials);
            }
            trace + &format!("{:?}", world.node.actions()) + &format!("{:?}", world.node.events())
        };
        prop_assert_eq!(run(), run());
    }
}
