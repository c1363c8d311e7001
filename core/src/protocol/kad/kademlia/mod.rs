//! The machine on streams of a swarm.
//!
//! | file | what lives there |
//! |---|---|
//! | `mod.rs` | [`Kademlia`]: what happens, and who deals with it |
//! | `commands.rs` | what the application wants |
//! | `outbound.rs` | requests to peers, one stream for each |
//! | `inbound.rs` | streams of peers, with any number of requests one after another |

mod commands;
mod inbound;
mod outbound;

use super::{
    config::Config,
    dht::{Dht, InboundId, Moment, Output, RpcFailure, RpcId},
    event::{Event, GetClosestPeersOk, GetProvidersOk, Mode, QueryResult},
    query::QueryId,
    store::{MemoryStore, RecordStore},
};
use crate::{
    connection::{ConnectionId, Direction, Slot},
    identity::{Keypair, PeerId},
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    seed::Seed,
    swarm::{
        AcceptError, AddressSource, Context, DialId, EventPermit, Input, Protocol, StreamRef,
        Timers,
    },
    time::{Instant, UnixTime, earliest},
};
use alloc::{
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};
use core::fmt;
use inbound::Inbound;
use outbound::{Outbound, Peer};

/// What the protocol sees and does here.
type Cx<'a> = Context<'a, Event>;

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Deadline {
    /// A peer's stream has been idle for too long.
    Inbound(StreamRef),
    /// A request has waited, for its peer asks too often.
    Delayed(StreamRef),
    /// A stream whose response has come is not finished by the peer.
    Drain(StreamRef),
}

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// A request of this node.
    Outbound(RpcId),
    /// A request of this node that is over.
    Draining,
    /// Requests of a peer.
    Inbound,
}

/// A connection that is up.
#[derive(Clone, Copy, Debug)]
struct Link {
    peer: PeerId,
    /// Streams of the peer.
    inbound: u32,
}

/// The Kademlia protocol, see the [module](super).
pub struct Kademlia<S = MemoryStore> {
    dht: Dht<S>,
    links: BTreeMap<ConnectionId, Link>,
    peers: BTreeMap<PeerId, Peer>,
    dials: BTreeMap<DialId, PeerId>,
    outbound: BTreeMap<RpcId, Outbound>,
    inbound: BTreeMap<StreamRef, Inbound>,
    answering: BTreeMap<InboundId, StreamRef>,
    streams: BTreeMap<StreamRef, Use>,
    timers: Timers<Deadline>,
    permits: BTreeMap<QueryId, EventPermit>,
    received: u64,
    refused_names: Vec<AcceptError>,
    /// Requests that could not even begin, which the machine has not been told yet.
    failed: VecDeque<(RpcId, RpcFailure)>,
    /// What the machine wants is being done.
    carries_out: bool,
    started: bool,
    stopped: bool,
}

impl Kademlia<MemoryStore> {
    /// With its records in memory.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self::with_store(config, MemoryStore::default())
    }
}

/// A node under the name of the public DHT, with its records in memory, that believes any address: for tests and networks of one's
/// own. For the public DHT itself there is [`Config::public_dht`].
impl Default for Kademlia<MemoryStore> {
    fn default() -> Self {
        Self::new(Config::default())
    }
}

impl<S: RecordStore> Kademlia<S> {
    /// With its records in this store. Its identity is that of the swarm it runs in.
    #[must_use]
    pub fn with_store(config: Config, store: S) -> Self {
        let nowhere = Moment {
            now: Instant::ZERO,
            unix: UnixTime::EPOCH,
        };
        let seed = Seed::from_entropy([0; 32]);
        // Until the swarm says who this is.
        let nobody = Keypair::ed25519_from_seed(&seed).peer_id();
        Self {
            dht: Dht::new(nobody, config, store, &seed, nowhere),
            links: BTreeMap::new(),
            peers: BTreeMap::new(),
            dials: BTreeMap::new(),
            outbound: BTreeMap::new(),
            inbound: BTreeMap::new(),
            answering: BTreeMap::new(),
            streams: BTreeMap::new(),
            timers: Timers::new(),
            permits: BTreeMap::new(),
            received: 0,
            refused_names: Vec::new(),
            failed: VecDeque::new(),
            carries_out: false,
            started: false,
            stopped: false,
        }
    }

    /// Does something with the machine, and then what it wants.
    fn with_dht<R>(&mut self, cx: &mut Cx<'_>, run: impl FnOnce(&mut Dht<S>, Moment) -> R) -> R {
        self.dht.set_waker(cx.waker());
        let result = run(&mut self.dht, moment(cx));
        self.carry_out(cx);
        result
    }

    /// Does what the machine wants, and tells it what could not be done. Where that is noticed while something is done, it
    /// comes next, not within: a thousand peers that cannot be dialed would be as many calls in each other.
    fn carry_out(&mut self, cx: &mut Cx<'_>) {
        if core::mem::replace(&mut self.carries_out, true) {
            return;
        }
        loop {
            while let Some(output) = self.dht.poll_output() {
                self.carry_out_one(output, cx);
            }
            let Some((rpc, failure)) = self.failed.pop_front() else {
                break;
            };
            self.dht.handle_response(moment(cx), rpc, Err(failure));
        }
        self.carries_out = false;
    }

    fn carry_out_one(&mut self, output: Output, cx: &mut Cx<'_>) {
        match output {
            Output::Request {
                rpc,
                peer,
                message,
                responds,
            } => self.ask(rpc, peer, message, responds, cx),
            Output::Cancel { rpc } => self.cancel(rpc, cx),
            Output::Respond { to, message } => self.respond(to, message, cx),
            Output::Refuse { to } => self.refuse(to, cx),
            Output::Mode(mode) => self.apply_mode(mode, cx),
            Output::Event(event) => self.tell(event, cx),
        }
    }

    fn tell(&mut self, event: Event, cx: &mut Cx<'_>) {
        remember_addresses(&event, cx);
        let Event::OutboundQueryProgressed { id, step, .. } = &event else {
            cx.emit(event);
            return;
        };
        match self.permits.remove(id) {
            Some(permit) if step.last => cx.emit_reserved(permit, event),
            Some(permit) => {
                self.permits.insert(*id, permit);
                cx.emit(event);
            }
            None => {
                cx.emit(event);
            }
        }
    }

    /// Answers requests, or no longer.
    fn apply_mode(&mut self, mode: Mode, cx: &mut Cx<'_>) {
        if !self.started {
            return;
        }
        let names: Vec<ProtocolName> = self.dht.config().protocol_names.clone();
        for name in names {
            match mode {
                Mode::Server => {
                    if let Err(error) = cx.accept(name, self.accept_options()) {
                        self.refused_names.push(error);
                    }
                }
                Mode::Client => {
                    cx.unaccept(&name);
                }
            }
        }
        if mode == Mode::Client {
            self.refuse_all(cx);
        }
    }

    fn connected(&mut self, input: &Input<'_>, cx: &mut Cx<'_>) {
        let Input::ConnectionUp {
            connection,
            peer,
            point,
            ..
        } = input
        else {
            return;
        };
        let (connection, peer) = (*connection, *peer);
        self.links.insert(connection, Link { peer, inbound: 0 });
        let known = self.peers.entry(peer).or_default();
        known.connections = known.connections.saturating_add(1);
        let (direction, remote) = (point.direction, point.remote.clone());
        self.with_dht(cx, |dht, at| match direction {
            Direction::Outbound => dht.handle_connected(at, peer, Some(&remote)),
            Direction::Inbound => dht.handle_accepted(at, peer, &remote),
        });
        self.ask_waiting(&peer, cx);
    }

    fn disconnected(&mut self, connection: ConnectionId, cx: &mut Cx<'_>) {
        let Some(link) = self.links.remove(&connection) else {
            return;
        };
        let Some(peer) = self.peers.get_mut(&link.peer) else {
            return;
        };
        peer.connections = peer.connections.saturating_sub(1);
        peer.inbound = peer.inbound.saturating_sub(link.inbound);
        if peer.connections == 0 {
            self.with_dht(cx, |dht, at| dht.handle_disconnected(at, &link.peer));
            self.dial_for_waiting(link.peer, cx);
        }
        self.forget_if_idle(&link.peer);
    }

    /// What a peer supports, or where it may be reached, has changed.
    fn peer_changed(&mut self, peer: PeerId, cx: &mut Cx<'_>) {
        let Some(names) = cx.peer_protocols(&peer) else {
            return;
        };
        let ours = &self.dht.config().protocol_names;
        let is_server = names.iter().any(|name| ours.contains(name));
        let addresses = cx.addresses(&peer);
        self.with_dht(cx, |dht, at| {
            dht.handle_protocol(at, peer, is_server, &addresses)
        });
    }

    fn own_addresses_changed(&mut self, cx: &mut Cx<'_>) {
        let listen = cx.listen_addresses().to_vec();
        let external = cx.external_addresses().to_vec();
        self.with_dht(cx, |dht, at| {
            dht.handle_local_addresses(at, &listen, &external)
        });
    }

    /// The node is shutting down.
    fn stop(&mut self, cx: &mut Cx<'_>) {
        self.stopped = true;
        self.with_dht(cx, Dht::stop);
        self.timers = Timers::new();
        self.outbound.clear();
        self.links.clear();
        self.peers.clear();
        self.dials.clear();
    }

    fn timeout(&mut self, cx: &mut Cx<'_>) {
        while let Some(deadline) = self.timers.pop_due(cx.now()) {
            match deadline {
                Deadline::Inbound(stream) | Deadline::Drain(stream) => {
                    cx.reset(stream, crate::connection::code::NO_ERROR);
                    self.stream_over(stream, cx);
                }
                Deadline::Delayed(stream) => self.delay_over(stream, cx),
            }
        }
        self.with_dht(cx, |dht, at| dht.handle_timeout(at));
    }
}

/// Whoever reads of a peer may want to dial it: the address book learns where it is.
fn remember_addresses(event: &Event, cx: &mut Cx<'_>) {
    let mut learn = |peer: PeerId, addresses: &[Multiaddr]| {
        for address in addresses {
            cx.add_address(peer, address, AddressSource::Discovered, None);
        }
    };
    match event {
        Event::RoutingUpdated {
            peer, addresses, ..
        } => learn(*peer, addresses),
        Event::OutboundQueryProgressed { result, .. } => {
            let found = match result {
                QueryResult::GetClosestPeers(Ok(GetClosestPeersOk { peers, .. })) => peers,
                QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders {
                    providers, ..
                })) => providers,
                _ => return,
            };
            found
                .iter()
                .for_each(|info| learn(info.peer, &info.addresses));
        }
        _ => {}
    }
}

fn moment(cx: &Cx<'_>) -> Moment {
    Moment {
        now: cx.now(),
        unix: cx.unix(),
    }
}

impl<S: RecordStore> Protocol for Kademlia<S> {
    type Event = Event;

    fn start(&mut self, cx: &mut Cx<'_>) {
        let seed = cx.next_seed("kad");
        let local = cx.local_peer();
        self.dht.begin(local, &seed, moment(cx));
        // What it is to be is done once, below.
        self.own_addresses_changed(cx);
        self.started = true;
        let mode = self.dht.mode();
        if mode == Mode::Server {
            self.apply_mode(mode, cx);
        }
    }

    fn handle(&mut self, _: Slot, input: Input<'_>, cx: &mut Cx<'_>) {
        if cx.is_shutting_down() && !self.stopped {
            self.stop(cx);
        }
        if self.stopped {
            if let Input::StreamEnded { stream, .. } = input {
                self.stream_over(stream, cx);
            }
            return;
        }
        match input {
            Input::ConnectionUp { .. } => self.connected(&input, cx),
            Input::ConnectionDown { connection, .. } => self.disconnected(connection, cx),
            Input::Dialed { dial, failures, .. } => self.dialed(dial, failures, cx),
            Input::DialFailed { dial, error, .. } => self.dial_failed(dial, error, cx),
            Input::Inbound { stream, peer, .. } => self.opened_by_peer(stream, peer, cx),
            Input::Message { stream, bytes } => match self.streams.get(&stream) {
                Some(Use::Outbound(rpc)) => self.response(*rpc, stream, bytes, cx),
                Some(Use::Inbound) => self.request(stream, &bytes, cx),
                _ => {}
            },
            Input::Sent { stream } => {
                if let Some(Use::Outbound(rpc)) = self.streams.get(&stream) {
                    self.request_left(*rpc, stream, cx);
                }
            }
            Input::RemoteFinished { stream }
                if self.streams.get(&stream) == Some(&Use::Inbound) =>
            {
                self.requests_finished(stream, cx);
            }
            Input::Writable { stream } => match self.streams.get(&stream) {
                Some(Use::Outbound(rpc)) => self.hand_over(*rpc, cx),
                _ => self.writable(stream, cx),
            },
            Input::Opened { stream, .. } => {
                if let Some(Use::Outbound(rpc)) = self.streams.get(&stream) {
                    self.agreed(*rpc, cx);
                }
            }
            Input::StreamEnded { stream, end } => {
                if let Some(Use::Outbound(rpc)) = self.streams.get(&stream) {
                    self.outbound_ended(*rpc, stream, end, cx);
                }
                self.stream_over(stream, cx);
            }
            Input::StreamsAvailable { connection } => {
                if let Some(link) = self.links.get(&connection) {
                    let peer = link.peer;
                    self.ask_waiting(&peer, cx);
                }
            }
            Input::PeerProtocols { peer, .. } | Input::PeerAddresses { peer } => {
                self.peer_changed(peer, cx);
            }
            Input::LocalAddressesChanged => self.own_addresses_changed(cx),
            Input::Timeout => self.timeout(cx),
            _ => {}
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        earliest(self.dht.poll_timeout(), self.timers.next())
    }
}

impl<S> fmt::Debug for Kademlia<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kademlia")
            .field("dht", &self.dht)
            .field("outbound", &self.outbound.len())
            .field("inbound", &self.inbound.len())
            .finish_non_exhaustive()
    }
}
