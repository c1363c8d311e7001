//! [`KadNode`] with rust-libp2p.
//!
//! Its Kademlia learns nothing from identify by itself: the node tells it, as that crate's documentation demands.

use super::{Found, KadNode, KadOptions, Put, Told};
use crate::{Error, Options, rust_libp2p};
use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, identify,
    kad::{
        self, AddProviderOk, Event, GetClosestPeersError, GetClosestPeersOk, GetProvidersOk,
        GetRecordError, GetRecordOk, InboundRequest, Mode, PeerRecord, PutRecordError, PutRecordOk,
        QueryId, QueryResult, Quorum, Record, RecordKey, StoreInserts,
        store::{MemoryStore, MemoryStoreConfig, RecordStore},
    },
    multiaddr::Protocol,
    swarm::{ConnectionId, NetworkBehaviour, SwarmEvent, dial_opts::DialOpts},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot};

/// Everything below fits, so that values are limited by what drywire allows.
const PACKET: usize = 128 * 1024;

/// What a node of a DHT speaks.
#[derive(NetworkBehaviour)]
struct Behaviour {
    identify: identify::Behaviour,
    kad: kad::Behaviour<MemoryStore>,
}

type Reply<T> = oneshot::Sender<T>;
type Begin = Box<dyn FnOnce(&mut kad::Behaviour<MemoryStore>) -> Result<QueryId, Error> + Send>;
type Look = Box<dyn FnOnce(&mut Node) + Send>;
type Results = mpsc::UnboundedSender<Result<QueryResult, Error>>;

enum Command {
    Connect(Multiaddr, Reply<Result<(), Error>>),
    Query(Begin, Results),
    With(Look),
}

/// A rust-libp2p node of a DHT, run by a task of its own.
#[derive(Clone, Debug)]
pub struct Libp2pKad {
    id: PeerId,
    address: String,
    commands: mpsc::UnboundedSender<Command>,
    offered: Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<Record>>>,
}

/// The task that owns the swarm.
struct Node {
    swarm: Swarm<Behaviour>,
    connecting: HashMap<ConnectionId, Reply<Result<(), Error>>>,
    asking: HashMap<QueryId, Results>,
    /// Where peers were found to be, other than by identify.
    found_at: BTreeMap<PeerId, BTreeSet<String>>,
    name: &'static str,
    offer: mpsc::UnboundedSender<Record>,
}

fn node(error: impl std::fmt::Debug) -> Error {
    Error::Node(format!("{error:?}"))
}

fn parse<T: std::str::FromStr>(text: &str) -> Result<T, Error> {
    text.parse().map_err(|_| Error::Address(text.to_owned()))
}

impl Node {
    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.obey(command),
                    // All handles are gone.
                    None => return,
                },
                event = self.swarm.select_next_some() => self.hear(event),
            }
        }
    }

    // Who no longer waits does not need the answer, here and below.
    fn obey(&mut self, command: Command) {
        match command {
            Command::Connect(address, reply) => {
                let options = DialOpts::unknown_peer_id().address(address).build();
                let id = options.connection_id();
                match self.swarm.dial(options) {
                    Ok(()) => {
                        self.connecting.insert(id, reply);
                    }
                    Err(error) => {
                        let _ = reply.send(Err(Error::Dial(error.to_string())));
                    }
                }
            }
            Command::Query(begin, results) => match begin(&mut self.swarm.behaviour_mut().kad) {
                Ok(id) => {
                    self.asking.insert(id, results);
                }
                Err(error) => {
                    let _ = results.send(Err(error));
                }
            },
            Command::With(look) => look(self),
        }
    }
    fn hear(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::ConnectionEstablished { connection_id, .. } => {
                if let Some(reply) = self.connecting.remove(&connection_id) {
                    let _ = reply.send(Ok(()));
                }
            }
            SwarmEvent::OutgoingConnectionError {
                connection_id,
                error,
                ..
            } => {
                if let Some(reply) = self.connecting.remove(&connection_id) {
                    let _ = reply.send(Err(Error::Dial(error.to_string())));
                }
            }
            SwarmEvent::NewExternalAddrOfPeer { peer_id, address } => {
                let known = self.found_at.entry(peer_id).or_default();
                known.insert(address.to_string());
            }
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received {
                peer_id,
                info,
                ..
            })) => {
                let serves = info.protocols.iter().any(|name| name.as_ref() == self.name);
                for address in info.listen_addrs.into_iter().filter(|_| serves) {
                    let kad = &mut self.swarm.behaviour_mut().kad;
                    kad.add_address(&peer_id, address);
                }
            }
            SwarmEvent::Behaviour(BehaviourEvent::Kad(event)) => self.hear_kad(event),
            _ => {}
        }
    }

    fn hear_kad(&mut self, event: Event) {
        match event {
            Event::OutboundQueryProgressed {
                id, result, step, ..
            } => {
                if let Some(results) = self.asking.get(&id) {
                    let _ = results.send(Ok(result));
                }
                if step.last {
                    self.asking.remove(&id);
                }
            }
            Event::InboundRequest {
                request:
                    InboundRequest::PutRecord {
                        record: Some(record),
                        ..
                    },
            } => {
                let _ = self.offer.send(record);
            }
            _ => {}
        }
    }
}

impl Libp2pKad {
    async fn with<T: Send + 'static>(
        &self,
        look: impl FnOnce(&mut Node) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let look = Box::new(move |node: &mut Node| {
            let _ = reply.send(look(node));
        });
        // A task that has ended drops the reply.
        let _ = self.commands.send(Command::With(look));
        answer.await.map_err(|_| Error::NotConnected)
    }

    /// All results of a query.
    async fn query(
        &self,
        begin: impl FnOnce(&mut kad::Behaviour<MemoryStore>) -> Result<QueryId, Error> + Send + 'static,
    ) -> Result<Vec<QueryResult>, Error> {
        let (tell, mut results) = mpsc::unbounded_channel();
        let query = Command::Query(Box::new(begin), tell);
        self.commands.send(query).map_err(|_| Error::NotConnected)?;
        let mut all = Vec::new();
        // The sender goes with the last result.
        while let Some(result) = results.recv().await {
            all.push(result?);
        }
        Ok(all)
    }
}

fn told(peer: &PeerId, addresses: &[Multiaddr]) -> Told {
    Told {
        peer: peer.to_string(),
        addresses: addresses.iter().map(ToString::to_string).collect(),
    }
}

fn found(PeerRecord { record, .. }: &PeerRecord) -> Found {
    Found {
        value: record.value.clone(),
        publisher: record.publisher.map(|peer| peer.to_string()),
        ttl: record
            .expires
            .map(|at| at.saturating_duration_since(Instant::now())),
    }
}

fn config(options: &KadOptions) -> kad::Config {
    let mut config = kad::Config::new(StreamProtocol::new(options.name));
    if options.roomy {
        config.set_max_packet_size(PACKET);
    }
    if options.filter {
        config.set_record_filtering(StoreInserts::FilterBoth);
    }
    config
}

fn mode(server: bool) -> Option<Mode> {
    Some(match server {
        true => Mode::Server,
        false => Mode::Client,
    })
}

impl KadNode for Libp2pKad {
    const NAME: &'static str = "libp2p";

    async fn start(options: KadOptions) -> Result<Self, Error> {
        let with_key = Options {
            secret: Some(super::secret()),
            ..Options::bare()
        };
        let mut swarm = rust_libp2p::swarm(&with_key, |keypair| {
            let local = keypair.public().to_peer_id();
            let store = MemoryStoreConfig {
                max_value_bytes: PACKET,
                ..MemoryStoreConfig::default()
            };
            let store = MemoryStore::with_config(local, store);
            let mut kad = kad::Behaviour::with_config(local, store, config(&options));
            kad.set_mode(mode(options.server));
            let identify = identify::Config::new("ipfs/0.1.0".to_owned(), keypair.public());
            Behaviour {
                identify: identify::Behaviour::new(identify.with_push_listen_addr_updates(true)),
                kad,
            }
        })?;
        let loopback = Multiaddr::from(std::net::Ipv4Addr::LOCALHOST);
        let listening = swarm.listen_on(loopback.with(Protocol::Tcp(0)));
        listening.map_err(node)?;
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address;
            }
        };
        // What it says of itself when it provides something.
        swarm.add_external_address(address.clone());
        let id = *swarm.local_peer_id();
        let (commands, receiver) = mpsc::unbounded_channel();
        let (offer, offered) = mpsc::unbounded_channel();
        let task = Node {
            swarm,
            connecting: HashMap::new(),
            asking: HashMap::new(),
            found_at: BTreeMap::new(),
            name: options.name,
            offer,
        };
        tokio::spawn(task.run(receiver));
        Ok(Self {
            id,
            address: address.to_string(),
            commands,
            offered: Arc::new(tokio::sync::Mutex::new(offered)),
        })
    }

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn address(&self) -> String {
        self.address.clone()
    }

    async fn connect(&self, peer: &str, address: &str) -> Result<(), Error> {
        let address: Multiaddr = parse(address)?;
        let address = address.with(Protocol::P2p(parse(peer)?));
        let (reply, answer) = oneshot::channel();
        let connect = Command::Connect(address, reply);
        let gone = || Error::NotConnected;
        self.commands.send(connect).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    async fn introduce(&self, peer: &str, address: &str) -> Result<(), Error> {
        let (peer, address) = (parse(peer)?, parse(address)?);
        self.with(move |node| {
            let kad = &mut node.swarm.behaviour_mut().kad;
            kad.add_address(&peer, address);
        })
        .await
    }

    async fn table(&self) -> Result<BTreeSet<String>, Error> {
        self.with(|node| {
            let kad = &mut node.swarm.behaviour_mut().kad;
            let mut peers = BTreeSet::new();
            for bucket in kad.kbuckets() {
                let connected = bucket
                    .iter()
                    .filter(|entry| entry.status == kad::NodeStatus::Connected);
                peers.extend(connected.map(|entry| entry.node.key.preimage().to_string()));
            }
            peers
        })
        .await
    }

    async fn closest(&self, key: &[u8]) -> Result<Vec<Told>, Error> {
        let key = key.to_vec();
        let results = self.query(move |kad| Ok(kad.get_closest_peers(key)));
        match results.await?.pop() {
            Some(QueryResult::GetClosestPeers(
                Ok(GetClosestPeersOk { peers, .. })
                | Err(GetClosestPeersError::Timeout { peers, .. }),
            )) => {
                let peers = peers.iter().map(|info| told(&info.peer_id, &info.addrs));
                Ok(peers.collect())
            }
            other => Err(node(other)),
        }
    }

    async fn put(
        &self,
        key: &[u8],
        value: &[u8],
        quorum: usize,
        ttl: Option<Duration>,
    ) -> Result<Put, Error> {
        let mut record = Record::new(key.to_vec(), value.to_vec());
        record.expires = ttl.map(|ttl| Instant::now() + ttl);
        let quorum = NonZeroUsize::new(quorum).map_or(Quorum::One, Quorum::N);
        let results = self.query(move |kad| kad.put_record(record, quorum).map_err(node));
        let (enough, by) = match results.await?.pop() {
            // Whom it was stored by is not told.
            Some(QueryResult::PutRecord(Ok(PutRecordOk { .. }))) => (true, Vec::new()),
            Some(QueryResult::PutRecord(Err(PutRecordError::QuorumFailed { success, .. }))) => {
                (false, success)
            }
            other => return Err(node(other)),
        };
        let by = by.iter().map(ToString::to_string).collect();
        Ok(Put { enough, by })
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Found>, Error> {
        let key = RecordKey::from(key.to_vec());
        let results = self.query(move |kad| Ok(kad.get_record(key))).await?;
        let mut records = results.iter().filter_map(|result| match result {
            QueryResult::GetRecord(Ok(GetRecordOk::FoundRecord(record))) => Some(found(record)),
            _ => None,
        });
        match (records.next(), results.last()) {
            (Some(found), _) => Ok(Some(found)),
            (None, Some(QueryResult::GetRecord(Err(GetRecordError::NotFound { .. })))) => Ok(None),
            (None, other) => Err(node(other)),
        }
    }

    async fn provide(&self, key: &[u8]) -> Result<(), Error> {
        let key = RecordKey::from(key.to_vec());
        let results = self.query(move |kad| kad.start_providing(key).map_err(node));
        match results.await?.pop() {
            Some(QueryResult::StartProviding(Ok(AddProviderOk { .. }))) => Ok(()),
            other => Err(node(other)),
        }
    }

    async fn providers(&self, key: &[u8]) -> Result<Vec<Told>, Error> {
        let key = RecordKey::from(key.to_vec());
        let results = self.query(move |kad| Ok(kad.get_providers(key))).await?;
        let mut all = BTreeSet::new();
        for result in results {
            if let QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders {
                providers, ..
            })) = result
            {
                all.extend(providers);
            }
        }
        let known = self.with(|node| node.found_at.clone()).await?;
        let addresses = |peer: &PeerId| known.get(peer).into_iter().flatten().cloned().collect();
        let told = all.iter().map(|peer| Told {
            peer: peer.to_string(),
            addresses: addresses(peer),
        });
        Ok(told.collect())
    }

    async fn bootstrap(&self) -> Result<(), Error> {
        let results = self.query(|kad| kad.bootstrap().map_err(node)).await?;
        let failed = |result: &&QueryResult| matches!(result, QueryResult::Bootstrap(Err(_)));
        match results.iter().find(failed) {
            Some(failed) => Err(node(failed)),
            None => Ok(()),
        }
    }

    async fn serve(&self, server: bool) -> Result<(), Error> {
        self.with(move |node| node.swarm.behaviour_mut().kad.set_mode(mode(server)))
            .await
    }

    async fn stored(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let key = RecordKey::from(key.to_vec());
        self.with(move |node| {
            let store = node.swarm.behaviour_mut().kad.store_mut();
            store.get(&key).map(|record| record.value.clone())
        })
        .await
    }

    async fn offered(&self) -> Result<(Vec<u8>, Vec<u8>), Error> {
        let record = self.offered.lock().await.recv().await;
        let record = record.ok_or(Error::NotConnected)?;
        Ok((record.key.to_vec(), record.value))
    }
}
