//! [`KadNode`] with drywire.

use super::{Found, KadNode, KadOptions, Put, Told};
use crate::{Error, Options, drywire_peer};
use drywire::{
    identity::PeerId,
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    protocol::{
        identify::Identify,
        kad::{
            Config, Event, GetClosestPeersError, GetClosestPeersOk, GetProvidersOk, GetRecordError,
            GetRecordOk, InboundRequest, Kademlia, Mode, PeerRecord, PutRecordError, PutRecordOk,
            QueryId, QueryRefused, QueryResult, Quorum, Record, StoreInserts, validator,
        },
        ping::Ping,
    },
    protocols,
    swarm::{self, Context, DialOptions},
};
use drywire_engine::{Events, Host};
use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::mpsc;

/// Events that wait for the task that reads them.
const EVENTS: usize = 4096;

protocols! {
    /// What a node of a DHT speaks.
    #[derive(Debug)]
    pub struct Protocols => ProtocolsEvent {
        identify: Identify => Identify,
        // js-libp2p takes nobody into its table who does not answer this.
        ping: Ping => Ping,
        kad: Kademlia => Kad,
    }
}

/// A drywire node of a DHT.
#[derive(Clone, Debug)]
pub struct DrywireKad {
    host: Host<Protocols>,
    address: String,
    asking: Asking,
    offered: Queue<Record>,
}

type Results = mpsc::UnboundedSender<(QueryResult, bool)>;
type Asking = Arc<Mutex<BTreeMap<QueryId, Results>>>;
type Queue<T> = Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<T>>>;

fn lock(asking: &Asking) -> MutexGuard<'_, BTreeMap<QueryId, Results>> {
    asking.lock().unwrap_or_else(PoisonError::into_inner)
}

fn node(error: impl std::fmt::Debug) -> Error {
    Error::Node(format!("{error:?}"))
}

fn parse<T: std::str::FromStr>(text: &str) -> Result<T, Error> {
    text.parse().map_err(|_| Error::Address(text.to_owned()))
}

/// The task that hears the node's events. It ends with the node.
async fn hear(mut events: Events<Protocols>, asking: Asking, offer: mpsc::UnboundedSender<Record>) {
    while let Some(event) = events.next().await {
        let swarm::Event::Protocol(ProtocolsEvent::Kad(event)) = event else {
            continue;
        };
        // Who no longer waits does not need the answer.
        match event {
            Event::OutboundQueryProgressed {
                id, result, step, ..
            } => {
                let mut asking = lock(&asking);
                if let Some(results) = asking.get(&id) {
                    let _ = results.send((result, step.last));
                }
                if step.last {
                    asking.remove(&id);
                }
            }
            Event::InboundRequest {
                request:
                    InboundRequest::PutRecord {
                        record: Some(record),
                        ..
                    },
            } => {
                let _ = offer.send(record);
            }
            _ => {}
        }
    }
}

impl DrywireKad {
    /// The node, to look into.
    pub fn host(&self) -> &Host<Protocols> {
        &self.host
    }

    fn with<T>(&self, run: impl FnOnce(&mut Kademlia, &mut Context<'_, Event>) -> T) -> T {
        self.host.with(|protocols, cx| protocols.kad(cx, run))
    }

    /// All results of a query.
    async fn query(
        &self,
        begin: impl FnOnce(&mut Kademlia, &mut Context<'_, Event>) -> Result<QueryId, QueryRefused>,
    ) -> Result<Vec<QueryResult>, Error> {
        let (tell, mut results) = mpsc::unbounded_channel();
        {
            // The task that hears the results waits for this.
            let mut asking = lock(&self.asking);
            let id = self.with(begin).map_err(node)?;
            asking.insert(id, tell);
        }
        let mut all = Vec::new();
        while let Some((result, last)) = results.recv().await {
            all.push(result);
            if last {
                return Ok(all);
            }
        }
        Err(Error::Node("it has shut down".to_owned()))
    }
}

fn config(options: &KadOptions) -> Config {
    let mut config = Config::new(ProtocolName::from_static(options.name));
    if options.public {
        config.validator = Arc::new(validator::public_dht());
        config.entry_correction = true;
    }
    if options.filter {
        config.record_filtering = StoreInserts::FilterBoth;
    }
    config
}

fn told(peer: &PeerId, addresses: &[Multiaddr]) -> Told {
    Told {
        peer: peer.to_string(),
        addresses: addresses.iter().map(ToString::to_string).collect(),
    }
}

fn found(found: &PeerRecord) -> Found {
    let unix = std::time::SystemTime::UNIX_EPOCH.elapsed();
    let unix = unix.unwrap_or_default().as_secs();
    let expires = found.record.expires.map(|at| at.as_secs());
    Found {
        value: found.record.value.to_vec(),
        publisher: found.record.publisher.map(|peer| peer.to_string()),
        ttl: expires.map(|at| Duration::from_secs(at.saturating_sub(unix))),
    }
}

fn names(peers: &[PeerId]) -> BTreeSet<String> {
    peers.iter().map(ToString::to_string).collect()
}

impl KadNode for DrywireKad {
    const NAME: &'static str = "drywire";

    async fn start(options: KadOptions) -> Result<Self, Error> {
        let secret = super::secret();
        let mode = match options.server {
            true => Mode::Server,
            false => Mode::Client,
        };
        let kad = Kademlia::new(config(&options)).with_mode(mode);
        let protocols = Protocols {
            identify: Identify::default(),
            ping: Ping::default(),
            kad,
        };
        let with_key = Options {
            secret: Some(secret),
            ..Options::bare()
        };
        let host = drywire_peer::start(&with_key, protocols)?;
        let asking = Asking::default();
        let (offer, offered) = mpsc::unbounded_channel();
        tokio::spawn(hear(host.events(EVENTS), asking.clone(), offer));
        let bound = host.listen(parse("/ip4/127.0.0.1/tcp/0")?).await;
        let address = bound.map_err(node)?.address.to_string();
        Ok(Self {
            host,
            address,
            asking,
            offered: Arc::new(tokio::sync::Mutex::new(offered)),
        })
    }

    fn id(&self) -> String {
        self.host.peer_id().to_string()
    }

    fn address(&self) -> String {
        self.address.clone()
    }

    async fn connect(&self, peer: &str, address: &str) -> Result<(), Error> {
        let address: Multiaddr = parse(address)?;
        let address = address.with_peer_id(parse(peer)?).map_err(node)?;
        let options = DialOptions::address(address).without_address_book();
        let dialed = self.host.dial(options).await;
        dialed.map_err(|error| Error::Dial(error.to_string()))?;
        Ok(())
    }

    async fn introduce(&self, peer: &str, address: &str) -> Result<(), Error> {
        let (peer, address) = (parse(peer)?, parse(address)?);
        // One it will not have is none of the tests' concern.
        let _ = self.with(|kad, cx| kad.add_address(peer, &address, cx));
        Ok(())
    }

    async fn table(&self) -> Result<BTreeSet<String>, Error> {
        let peers = self.with(|kad, _| {
            let peers = kad.kbuckets().flat_map(|bucket| bucket.iter());
            peers.map(|entry| *entry.peer()).collect::<Vec<_>>()
        });
        Ok(names(&peers))
    }

    async fn closest(&self, key: &[u8]) -> Result<Vec<Told>, Error> {
        let results = self.query(|kad, cx| kad.get_closest_peers(key, cx));
        match results.await?.pop() {
            Some(QueryResult::GetClosestPeers(
                Ok(GetClosestPeersOk { peers, .. })
                | Err(GetClosestPeersError::Timeout { peers, .. }),
            )) => {
                let peers = peers.iter().map(|info| told(&info.peer, &info.addresses));
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
        let quorum = NonZeroUsize::new(quorum).map_or(Quorum::One, Quorum::N);
        let results = self.query(|kad, cx| {
            record.expires = ttl.map(|ttl| cx.unix().saturating_add(ttl));
            kad.put_record(record, quorum, cx)
        });
        let (enough, by) = match results.await?.pop() {
            Some(QueryResult::PutRecord(Ok(PutRecordOk { success, .. }))) => (true, success),
            Some(QueryResult::PutRecord(Err(PutRecordError::QuorumFailed { success, .. }))) => {
                (false, success)
            }
            other => return Err(node(other)),
        };
        let by = names(&by);
        Ok(Put { enough, by })
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Found>, Error> {
        let results = self.query(|kad, cx| kad.get_record(key.to_vec(), cx));
        match results.await?.pop() {
            Some(QueryResult::GetRecord(Ok(GetRecordOk::FinishedWithNoAdditionalRecord {
                best,
                ..
            }))) => Ok(Some(found(&best))),
            Some(QueryResult::GetRecord(Err(GetRecordError::NotFound { .. }))) => Ok(None),
            other => Err(node(other)),
        }
    }

    async fn provide(&self, key: &[u8]) -> Result<(), Error> {
        let results = self.query(|kad, cx| kad.start_providing(key.to_vec(), cx));
        match results.await?.pop() {
            Some(QueryResult::StartProviding(Ok(_))) => Ok(()),
            other => Err(node(other)),
        }
    }

    async fn providers(&self, key: &[u8]) -> Result<Vec<Told>, Error> {
        let results = self.query(|kad, cx| kad.get_providers(key.to_vec(), cx));
        let mut all = Vec::new();
        for result in results.await? {
            if let QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders {
                providers, ..
            })) = result
            {
                all.extend(providers.iter().map(|it| told(&it.peer, &it.addresses)));
            }
        }
        Ok(all)
    }

    async fn bootstrap(&self) -> Result<(), Error> {
        let results = self.query(Kademlia::bootstrap).await?;
        match results.iter().find(|result| !result.is_ok()) {
            Some(failed) => Err(node(failed)),
            None => Ok(()),
        }
    }

    async fn serve(&self, server: bool) -> Result<(), Error> {
        let mode = match server {
            true => Mode::Server,
            false => Mode::Client,
        };
        self.with(|kad, cx| kad.set_mode(Some(mode), cx));
        Ok(())
    }

    async fn stored(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.with(|kad, _| {
            let mut records = kad.store_mut().records();
            let record = records.find(|stored| stored.record.key.as_bytes() == key);
            record.map(|stored| stored.record.value.to_vec())
        }))
    }

    async fn offered(&self) -> Result<(Vec<u8>, Vec<u8>), Error> {
        let record = self.offered.lock().await.recv().await;
        let record = record.ok_or(Error::NotConnected)?;
        Ok((record.key.as_bytes().to_vec(), record.value.to_vec()))
    }
}
