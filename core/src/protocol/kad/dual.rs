//! Two DHTs at once: that of the internet, and that of the local network.

use super::{
    config::Config,
    dht::QueryRefused,
    event::{Event, GetClosestPeersOk, GetRecordOk, PeerRecord, QueryResult},
    kademlia::Kademlia,
    key::RecordKey,
    query::{QueryId, QueryOptions, QueryStats},
    record::{PeerInfo, Quorum, Record},
    store::{MemoryStore, RecordStore},
    validator::Validator,
};
use crate::{
    connection::Slot,
    identity::PeerId,
    swarm::{Context, EventPermit, Input, Protocol},
    time::{Instant, earliest},
};
use alloc::{boxed::Box, collections::BTreeMap, sync::Arc, vec::Vec};
use core::fmt;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The internet.
    Wan,
    /// The local network.
    Lan,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wan => "WAN",
            Self::Lan => "LAN",
        })
    }
}

/// Names a query of a [`Dual`]. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DualQueryId(u64);

impl fmt::Display for DualQueryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "query {} of both", self.0)
    }
}

/// What a [`Dual`] tells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DualEvent {
    /// One of the two tells something that no query of both is about.
    Side {
        /// Which.
        side: Side,
        /// What.
        event: Event,
    },
    /// One of the two has found something, and goes on.
    Progressed {
        /// The query.
        id: DualQueryId,
        /// Where.
        side: Side,
        /// What.
        result: QueryResult,
    },
    /// A query is over on both. The last event of each query that was not [given up](Dual::give_up).
    Finished {
        /// The query.
        id: DualQueryId,
        /// What it found.
        results: DualResults,
    },
}

/// The last results of the sides that were asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DualResults {
    /// That of the internet, if it was asked.
    pub wan: Option<Box<QueryResult>>,
    /// That of the local network, if it was asked.
    pub lan: Option<Box<QueryResult>>,
    /// What it took, on both.
    pub stats: QueryStats,
}

impl DualResults {
    /// The one to go by: that of the internet if it is no failure, else that of the local network if that is none.
    #[must_use]
    pub fn preferred(&self) -> Option<(Side, &QueryResult)> {
        let wan = self.wan.as_deref().map(|result| (Side::Wan, result));
        let lan = self.lan.as_deref().map(|result| (Side::Lan, result));
        let good = |found: &(Side, &QueryResult)| found.1.is_ok();
        wan.filter(good)
            .or_else(|| lan.filter(good))
            .or(wan)
            .or(lan)
    }

    /// The record found by a get: the internet's, unless only the local network has one.
    #[must_use]
    pub fn record(&self) -> Option<&PeerRecord> {
        match self.preferred()?.1 {
            QueryResult::GetRecord(Ok(GetRecordOk::FinishedWithNoAdditionalRecord {
                best,
                ..
            })) => Some(best),
            _ => None,
        }
    }

    /// The closest peers found, those of the internet first.
    pub fn closest_peers(&self) -> impl Iterator<Item = &PeerInfo> {
        let both = [self.wan.as_deref(), self.lan.as_deref()];
        both.into_iter().flatten().flat_map(|result| match result {
            QueryResult::GetClosestPeers(Ok(GetClosestPeersOk { peers, .. })) => &peers[..],
            _ => &[],
        })
    }
}

/// A query that runs on one or both.
struct Running {
    wan: Option<QueryId>,
    lan: Option<QueryId>,
    results: DualResults,
    permit: EventPermit,
}

/// Two instances of the protocol and a router over them, as go-libp2p-kad-dht's `dual` package: one for the internet, which
/// believes and dials public addresses only, and one for the local network, which does so with private ones and is a server
/// always.
///
/// What is looked for is looked for in both, and the internet's answer preferred. What is stored is stored on the internet if
/// a peer is known there, else on the local network.
///
/// ```
/// use drywire::protocol::kad::Dual;
///
/// let dual = Dual::default();
/// assert_ne!(dual.wan().protocol_names(), dual.lan().protocol_names());
/// ```
pub struct Dual<S = MemoryStore> {
    wan: Kademlia<S>,
    lan: Kademlia<S>,
    running: BTreeMap<DualQueryId, Running>,
    begun: u64,
}

type Cx<'a> = Context<'a, DualEvent>;

/// The public DHT and its local twin, with records in memory.
impl Default for Dual<MemoryStore> {
    fn default() -> Self {
        let wan = Kademlia::new(Config::public_dht());
        let lan = Kademlia::new(Config::local_dht());
        Self::of(wan, lan)
    }
}

impl Dual<MemoryStore> {
    /// The public DHT and its local twin with another choice of records.
    #[must_use]
    pub fn with_validator(validator: Arc<dyn Validator>) -> Self {
        let (mut wan, mut lan) = (Config::public_dht(), Config::local_dht());
        wan.validator = validator.clone();
        lan.validator = validator;
        Self::of(Kademlia::new(wan), Kademlia::new(lan))
    }
}

impl<S: RecordStore> Dual<S> {
    /// Any two. Their protocol names must differ. The one for the local network is made a server.
    #[must_use]
    pub fn of(wan: Kademlia<S>, lan: Kademlia<S>) -> Self {
        Self {
            wan,
            lan: lan.with_mode(super::Mode::Server),
            running: BTreeMap::new(),
            begun: 0,
        }
    }

    /// The one of the internet.
    #[must_use]
    pub const fn wan(&self) -> &Kademlia<S> {
        &self.wan
    }

    /// The one of the local network.
    #[must_use]
    pub const fn lan(&self) -> &Kademlia<S> {
        &self.lan
    }

    /// Which one takes what is stored: the internet's, once it knows a peer.
    #[must_use]
    pub fn writes_to(&self) -> Side {
        if self.wan.dht().table().is_empty() {
            Side::Lan
        } else {
            Side::Wan
        }
    }

    /// Runs a command on one of the two. Its events appear as [`DualEvent::Side`].
    pub fn with_side<R>(
        &mut self,
        side: Side,
        cx: &mut Cx<'_>,
        run: impl FnOnce(&mut Kademlia<S>, &mut Context<'_, Event>) -> R,
    ) -> R {
        let kad = match side {
            Side::Wan => &mut self.wan,
            Side::Lan => &mut self.lan,
        };
        let (result, events) = cx.intercept(|cx| scoped(side, cx, |cx| run(kad, cx)));
        for (permit, (side, event)) in events {
            self.told(side, event, permit, cx);
        }
        result
    }

    /// Looks for the closest peers in both.
    ///
    /// # Errors
    /// If neither begins; see [`QueryRefused`].
    pub fn get_closest_peers(
        &mut self,
        key: &[u8],
        cx: &mut Cx<'_>,
    ) -> Result<DualQueryId, QueryRefused> {
        self.begin(&[Side::Wan, Side::Lan], cx, |kad, cx| {
            kad.get_closest_peers(key, cx)
        })
    }

    /// Looks for a peer in both, until it is found.
    ///
    /// # Errors
    /// If neither begins; see [`QueryRefused`].
    pub fn find_peer(
        &mut self,
        peer: PeerId,
        options: QueryOptions,
        cx: &mut Cx<'_>,
    ) -> Result<DualQueryId, QueryRefused> {
        self.begin(&[Side::Wan, Side::Lan], cx, |kad, cx| {
            kad.find_peer_with(peer, options, cx)
        })
    }

    /// Looks for a record in both.
    ///
    /// # Errors
    /// If neither begins; see [`QueryRefused`].
    pub fn get_record(
        &mut self,
        key: &RecordKey,
        options: QueryOptions,
        cx: &mut Cx<'_>,
    ) -> Result<DualQueryId, QueryRefused> {
        self.begin(&[Side::Wan, Side::Lan], cx, |kad, cx| {
            kad.get_record_with(key.clone(), options, cx)
        })
    }

    /// Looks for providers in both.
    ///
    /// # Errors
    /// If neither begins; see [`QueryRefused`].
    pub fn get_providers(
        &mut self,
        key: &RecordKey,
        options: QueryOptions,
        cx: &mut Cx<'_>,
    ) -> Result<DualQueryId, QueryRefused> {
        self.begin(&[Side::Wan, Side::Lan], cx, |kad, cx| {
            kad.get_providers_with(key.clone(), options, cx)
        })
    }

    /// Stores a record where [`writes_to`](Self::writes_to) says.
    ///
    /// # Errors
    /// See [`QueryRefused`].
    pub fn put_record(
        &mut self,
        record: &Record,
        quorum: Quorum,
        cx: &mut Cx<'_>,
    ) -> Result<DualQueryId, QueryRefused> {
        let side = self.writes_to();
        self.begin(&[side], cx, |kad, cx| {
            kad.put_record(record.clone(), quorum, cx)
        })
    }

    /// Stores a record at these peers alone, on one side: see [`Kademlia::put_record_to`].
    ///
    /// # Errors
    /// See [`QueryRefused`].
    pub fn put_record_to(
        &mut self,
        side: Side,
        record: &Record,
        peers: &[PeerId],
        quorum: Quorum,
        cx: &mut Cx<'_>,
    ) -> Result<DualQueryId, QueryRefused> {
        self.begin(&[side], cx, |kad, cx| {
            kad.put_record_to(record.clone(), peers.iter().copied(), quorum, cx)
        })
    }

    /// Forgets a record that this node has put, on both sides. Peers keep it until it expires.
    pub fn remove_record(&mut self, key: &RecordKey, cx: &mut Cx<'_>) {
        for side in [Side::Wan, Side::Lan] {
            self.with_side(side, cx, |kad, cx| kad.remove_record(key.clone(), cx));
        }
    }

    /// Announces a provider where [`writes_to`](Self::writes_to) says.
    ///
    /// # Errors
    /// See [`QueryRefused`].
    pub fn start_providing(
        &mut self,
        key: &RecordKey,
        cx: &mut Cx<'_>,
    ) -> Result<DualQueryId, QueryRefused> {
        let side = self.writes_to();
        self.begin(&[side], cx, |kad, cx| kad.start_providing(key.clone(), cx))
    }

    /// Announces it no more.
    pub fn stop_providing(&mut self, key: &RecordKey, cx: &mut Cx<'_>) {
        for side in [Side::Wan, Side::Lan] {
            self.with_side(side, cx, |kad, cx| kad.stop_providing(key.clone(), cx));
        }
    }

    /// Bootstraps both.
    ///
    /// # Errors
    /// If neither begins; see [`QueryRefused`].
    pub fn bootstrap(&mut self, cx: &mut Cx<'_>) -> Result<DualQueryId, QueryRefused> {
        self.begin(&[Side::Wan, Side::Lan], cx, Kademlia::bootstrap)
    }

    /// Gives a query up: nothing more is told of it. Whether it ran.
    pub fn give_up(&mut self, id: &DualQueryId, cx: &mut Cx<'_>) -> bool {
        let Some(running) = self.running.remove(id) else {
            return false;
        };
        cx.release_event(running.permit);
        for (side, query) in [(Side::Wan, running.wan), (Side::Lan, running.lan)] {
            if let Some(query) = query {
                self.with_side(side, cx, |kad, cx| kad.give_up(&query, cx));
            }
        }
        true
    }

    fn begin(
        &mut self,
        sides: &[Side],
        cx: &mut Cx<'_>,
        mut run: impl FnMut(&mut Kademlia<S>, &mut Context<'_, Event>) -> Result<QueryId, QueryRefused>,
    ) -> Result<DualQueryId, QueryRefused> {
        let Some(permit) = cx.reserve_event() else {
            return Err(QueryRefused::EventsFull);
        };
        let id = DualQueryId(self.begun);
        self.begun = self.begun.saturating_add(1);
        let mut running = Running {
            wan: None,
            lan: None,
            results: DualResults::default(),
            permit,
        };
        let (mut refused, mut early) = (None, Vec::new());
        for side in sides {
            let kad = match side {
                Side::Wan => &mut self.wan,
                Side::Lan => &mut self.lan,
            };
            let (begun, events) = cx.intercept(|cx| scoped(*side, cx, |cx| run(kad, cx)));
            early.extend(events);
            match (begun, side) {
                (Ok(query), Side::Wan) => running.wan = Some(query),
                (Ok(query), Side::Lan) => running.lan = Some(query),
                (Err(error), _) => refused = refused.or(Some(error)),
            }
        }
        let begun = running.wan.is_some() || running.lan.is_some();
        if begun {
            self.running.insert(id, running);
        } else {
            cx.release_event(running.permit);
        }
        // What a query has told within the call is known to be its own only now.
        for (permit, (side, event)) in early {
            self.told(side, event, permit, cx);
        }
        match refused {
            Some(error) if !begun => Err(error),
            _ => Ok(id),
        }
    }

    /// One of the two tells something.
    fn told(&mut self, side: Side, event: Event, permit: EventPermit, cx: &mut Cx<'_>) {
        let Event::OutboundQueryProgressed {
            id: query,
            result,
            stats,
            step,
        } = event
        else {
            return cx.emit_reserved(permit, DualEvent::Side { side, event });
        };
        let of = |running: &Running| match side {
            Side::Wan => running.wan == Some(query),
            Side::Lan => running.lan == Some(query),
        };
        let Some(id) = self
            .running
            .iter()
            .find_map(|(id, running)| of(running).then_some(*id))
        else {
            let event = Event::OutboundQueryProgressed {
                id: query,
                result,
                stats,
                step,
            };
            return cx.emit_reserved(permit, DualEvent::Side { side, event });
        };
        if !step.last {
            return cx.emit_reserved(permit, DualEvent::Progressed { id, side, result });
        }
        cx.release_event(permit);
        let Some(mut running) = self.running.remove(&id) else {
            return;
        };
        let results = &mut running.results;
        results.stats = results.stats.merge(stats);
        match side {
            Side::Wan => (running.wan, results.wan) = (None, Some(Box::new(result))),
            Side::Lan => (running.lan, results.lan) = (None, Some(Box::new(result))),
        }
        if running.wan.is_some() || running.lan.is_some() {
            self.running.insert(id, running);
            return;
        }
        let results = running.results;
        cx.emit_reserved(running.permit, DualEvent::Finished { id, results });
    }
}

/// The context of one of the two, with events that say whose they are.
fn scoped<R>(
    side: Side,
    cx: &mut Context<'_, (Side, Event)>,
    run: impl FnOnce(&mut Context<'_, Event>) -> R,
) -> R {
    match side {
        Side::Wan => cx.scoped(0, "wan", |event| (Side::Wan, event), run),
        Side::Lan => cx.scoped(1, "lan", |event| (Side::Lan, event), run),
    }
}

impl<S: RecordStore> Protocol for Dual<S> {
    type Event = DualEvent;

    const SLOTS: u16 = 2;

    fn start(&mut self, cx: &mut Cx<'_>) {
        for side in [Side::Wan, Side::Lan] {
            self.with_side(side, cx, Protocol::start);
        }
    }

    fn handle(&mut self, slot: Slot, input: Input<'_>, cx: &mut Cx<'_>) {
        let side = if slot.0 == 0 { Side::Wan } else { Side::Lan };
        self.with_side(side, cx, |kad, cx| kad.handle(Slot(0), input, cx));
    }

    fn poll_timeout(&self) -> Option<Instant> {
        earliest(self.wan.poll_timeout(), self.lan.poll_timeout())
    }
}

impl<S> fmt::Debug for Dual<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dual")
            .field("wan", &self.wan)
            .field("lan", &self.lan)
            .field("running", &self.running.len())
            .finish()
    }
}
