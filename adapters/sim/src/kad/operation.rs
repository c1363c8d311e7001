//! What nodes are told to do, and what became of it.

use bytes::Bytes;
use core::time::Duration;
use drywire::{
    identity::PeerId,
    protocol::kad::{
        GetClosestPeersError, GetClosestPeersOk, GetProvidersOk, GetRecordError, GetRecordOk, Key,
        QueryId, QueryResult, QueryStats, Quorum, Record, RecordKey, dht::RpcId, message::request,
    },
    time::Instant,
};
use std::collections::{BTreeSet, HashMap};

/// Something a node does.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Operation {
    /// Looks for the peers closest to a key.
    Closest(Vec<u8>),
    /// Stores a record.
    Put(Record, Quorum),
    /// Looks for a record.
    Get(RecordKey),
    /// Says that it provides something.
    Provide(RecordKey),
    /// Looks for providers.
    Providers(RecordKey),
}

/// Kinds of an [`Operation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kind {
    /// [`Operation::Closest`].
    Closest,
    /// [`Operation::Put`].
    Put,
    /// [`Operation::Get`].
    Get,
    /// [`Operation::Provide`].
    Provide,
    /// [`Operation::Providers`].
    Providers,
}

impl Operation {
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Closest(_) => Kind::Closest,
            Self::Put(..) => Kind::Put,
            Self::Get(_) => Kind::Get,
            Self::Provide(_) => Kind::Provide,
            Self::Providers(_) => Kind::Providers,
        }
    }

    fn key(&self) -> &[u8] {
        match self {
            Self::Closest(key) => key,
            Self::Put(record, _) => record.key.as_bytes(),
            Self::Get(key) | Self::Provide(key) | Self::Providers(key) => key.as_bytes(),
        }
    }

    /// What its lookup asks peers.
    fn request(&self) -> Vec<u8> {
        let mut message = Vec::new();
        match self {
            Self::Closest(_) | Self::Put(..) | Self::Provide(_) => {
                request::find_node(&mut message, self.key());
            }
            Self::Get(_) => request::get_value(&mut message, self.key()),
            Self::Providers(_) => request::get_providers(&mut message, self.key()),
        }
        message
    }
}

/// What became of an operation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// The number of the node.
    pub node: u32,
    /// What it did.
    pub kind: Kind,
    /// When it began.
    pub began: Instant,
    /// How long it took.
    pub took: Duration,
    /// Whether it found the closest of all nodes (a lookup), stored the record with its quorum (a put), told anybody (an
    /// announcement), or found anything (the others).
    pub succeeded: bool,
    /// Of a lookup: how many of the true closest nodes it found, of those that were there from its beginning to its end.
    pub found: usize,
    /// How many of those there were, at most 20.
    pub wanted: usize,
    /// Of a lookup: over how many nodes the closest that was found was learnt of, itself included.
    pub hops: Option<u32>,
    /// Messages it sent.
    pub requests: u32,
    /// Of a get: the value.
    pub value: Option<Bytes>,
    /// The closest peers, those that took a record, or the providers.
    pub peers: Vec<PeerId>,
    /// Whether its time was over before it was done.
    pub timed_out: bool,
}

/// Whether a request is one of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    /// It is not.
    Other,
    /// It is, to a peer that was not asked before.
    New,
    /// It could be, but the peer was asked before.
    Again,
}

/// An operation under way.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) id: QueryId,
    pub(super) kind: Kind,
    pub(super) target: Key,
    pub(super) began: Instant,
    request: Vec<u8>,
    /// How far away peers are, and by whom they were learnt of.
    depths: HashMap<PeerId, u32>,
    asked: BTreeSet<RpcId>,
    asked_peers: BTreeSet<PeerId>,
    value: Option<Bytes>,
    peers: Vec<PeerId>,
}

impl Watch {
    pub(super) fn new(id: QueryId, operation: &Operation, began: Instant) -> Self {
        Self {
            id,
            kind: operation.kind(),
            target: Key::of(operation.key()),
            began,
            request: operation.request(),
            depths: HashMap::new(),
            asked: BTreeSet::new(),
            asked_peers: BTreeSet::new(),
            value: None,
            peers: Vec::new(),
        }
    }

    /// The node asks somebody something.
    pub(super) fn asks(&mut self, rpc: RpcId, peer: PeerId, message: &[u8]) -> Asks {
        if message != self.request {
            return Asks::Other;
        }
        if !self.asked_peers.insert(peer) {
            return Asks::Again;
        }
        self.asked.insert(rpc);
        self.depths.entry(peer).or_insert(1);
        Asks::New
    }

    /// Whether a response is one to this operation.
    pub(super) fn is_answered_by(&mut self, rpc: RpcId) -> bool {
        self.asked.remove(&rpc)
    }

    /// A peer told of others.
    pub(super) fn learns(&mut self, from: &PeerId, told: impl Iterator<Item = PeerId>) {
        let depth = self.depths.get(from).map_or(1, |depth| depth + 1);
        for peer in told {
            self.depths.entry(peer).or_insert(depth);
        }
    }

    pub(super) fn depth(&self, peer: &PeerId) -> Option<u32> {
        self.depths.get(peer).copied()
    }

    pub(super) fn has_asked(&self, peer: &PeerId) -> bool {
        self.asked_peers.contains(peer)
    }

    /// A result that may not be the last.
    pub(super) fn progresses(&mut self, result: &QueryResult) {
        match result {
            QueryResult::GetRecord(Ok(GetRecordOk::FoundRecord(found))) => {
                self.value = Some(found.record.value.clone());
            }
            QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })) => {
                self.peers.extend(providers.iter().map(|info| info.peer));
            }
            _ => {}
        }
    }

    /// The last result.
    pub(super) fn ends(
        mut self,
        node: u32,
        now: Instant,
        result: QueryResult,
        stats: &QueryStats,
    ) -> (Outcome, Self) {
        self.progresses(&result);
        let mut timed_out = false;
        let mut value = self.value.take();
        let mut peers = core::mem::take(&mut self.peers);
        let succeeded = match result {
            QueryResult::GetClosestPeers(Ok(GetClosestPeersOk { peers: found, .. })) => {
                peers = found.into_iter().map(|info| info.peer).collect();
                true
            }
            QueryResult::GetClosestPeers(Err(GetClosestPeersError::Timeout {
                peers: found,
                ..
            })) => {
                peers = found.into_iter().map(|info| info.peer).collect();
                timed_out = true;
                true
            }
            QueryResult::PutRecord(Ok(put)) => {
                peers = put.success;
                true
            }
            QueryResult::StartProviding(Ok(ok)) => ok.told > 0,
            QueryResult::GetRecord(Ok(GetRecordOk::FinishedWithNoAdditionalRecord {
                best,
                ..
            })) => {
                value = Some(best.record.value);
                true
            }
            QueryResult::GetRecord(Err(GetRecordError::Timeout { best, .. })) => {
                value = best.map(|best| best.record.value);
                timed_out = true;
                value.is_some()
            }
            QueryResult::GetRecord(_) => false,
            QueryResult::GetProviders(_) => !peers.is_empty(),
            _ => false,
        };
        let outcome = Outcome {
            node,
            kind: self.kind,
            began: self.began,
            took: now - self.began,
            succeeded,
            found: 0,
            wanted: 0,
            hops: None,
            requests: stats.num_requests(),
            value,
            peers,
            timed_out,
        };
        (outcome, self)
    }
}
