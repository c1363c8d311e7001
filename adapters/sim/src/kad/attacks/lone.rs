//! One node, alone with its peers.

use crate::{chance::Chance, kad::member};
use bytes::Bytes;
use core::time::Duration;
use drywire::{
    connection::ConnectionId,
    identity::PeerId,
    multiaddr::Multiaddr,
    protocol::kad::{
        Config, Dht, MemoryStore, MemoryStoreConfig, Mode,
        dht::{Inbound, InboundId, Moment, Output},
    },
    seed::Seed,
    time::{Instant, UnixTime},
};

/// A node, and what goes in and out of it.
pub(super) struct Lone {
    pub(super) dht: Dht,
    pub(super) now: Instant,
    asked: u64,
    /// Requests it sent, and to whom.
    pub(super) sent: Vec<PeerId>,
}

impl Lone {
    pub(super) fn new(seed: u64, config: Config, store: MemoryStoreConfig) -> (Self, Chance) {
        let seed = Seed::for_tests(seed);
        let mut chance = Chance::new(&seed, "lone");
        let peer = member::draw_peer(&mut chance);
        let own = [member::draw_address(&mut chance)];
        let now = Instant::ZERO + Duration::from_secs(1);
        let at = moment(now);
        let store = MemoryStore::new(&peer, store);
        let mut dht = Dht::new(peer, config, store, &seed, at);
        dht.set_mode(Some(Mode::Server));
        dht.handle_local_addresses(at, &own, &own);
        let lone = Self {
            dht,
            now,
            asked: 0,
            sent: Vec::new(),
        };
        (lone, chance)
    }

    pub(super) fn at(&self) -> Moment {
        moment(self.now)
    }

    /// Somebody asks it something: what it answers. `None` if it refuses; empty if it takes it without an answer.
    pub(super) fn ask(&mut self, from: PeerId, message: &[u8]) -> Option<Bytes> {
        self.asked += 1;
        let inbound = Inbound {
            id: InboundId(self.asked),
            from,
            connection: ConnectionId::new(self.asked),
        };
        let at = self.at();
        let message = Bytes::copy_from_slice(message);
        self.dht
            .handle_request(at, inbound, &message, &|_| Vec::new());
        self.settle(&mut |_, _| None)
    }

    /// Does what it wants. `answer` tells what peers answer to its requests; `None` is nothing at all.
    pub(super) fn settle(
        &mut self,
        answer: &mut dyn FnMut(&PeerId, &Bytes) -> Option<Vec<u8>>,
    ) -> Option<Bytes> {
        let mut answered = None;
        while let Some(output) = self.dht.poll_output() {
            match output {
                Output::Respond { message, .. } => {
                    answered = Some(message.unwrap_or_default());
                }
                Output::Request {
                    rpc, peer, message, ..
                } => {
                    self.sent.push(peer);
                    if let Some(response) = answer(&peer, &message) {
                        let at = self.at();
                        self.dht.handle_response(at, rpc, Ok(response.into()));
                    }
                }
                _ => {}
            }
        }
        answered
    }

    /// Lets time pass.
    pub(super) fn run_for(
        &mut self,
        time: Duration,
        answer: &mut dyn FnMut(&PeerId, &Bytes) -> Option<Vec<u8>>,
    ) {
        let end = self.now.saturating_add(time);
        while let Some(due) = self.dht.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            let at = self.at();
            self.dht.handle_timeout(at);
            self.settle(answer);
        }
        self.now = end;
    }

    /// A peer connects, and says that it is a server.
    pub(super) fn meet(
        &mut self,
        peer: PeerId,
        address: &Multiaddr,
        answer: &mut dyn FnMut(&PeerId, &Bytes) -> Option<Vec<u8>>,
    ) {
        let at = self.at();
        self.dht.handle_connected(at, peer, None);
        self.dht
            .handle_protocol(at, peer, true, core::slice::from_ref(address));
        self.settle(answer);
    }

    /// Its connection ends.
    pub(super) fn part(&mut self, peer: &PeerId) {
        let at = self.at();
        self.dht.handle_disconnected(at, peer);
        self.settle(&mut |_, _| None);
    }
}

fn moment(now: Instant) -> Moment {
    Moment {
        now,
        unix: UnixTime::from_secs(1_800_000_000).saturating_add(now - Instant::ZERO),
    }
}
