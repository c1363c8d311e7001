//! A server of a DHT with peers in its table, and what it is asked.

use bytes::Bytes;
use drywire::{
    connection::ConnectionId,
    identity::Keypair,
    multistream::ProtocolName,
    protocol::kad::{
        Config, Dht, MemoryStore, MemoryStoreConfig, Mode,
        dht::{Inbound, InboundId, Moment, Output},
        message::{Message, request},
    },
    seed::Seed,
    time::{Instant, UnixTime},
};

/// A machine that answers.
pub struct Server {
    dht: Dht<MemoryStore>,
    inbound: Inbound,
    at: Moment,
}

impl Server {
    /// A server that knows so many peers, with two addresses each.
    ///
    /// # Panics
    ///
    /// Not with less than 60,000.
    pub fn knowing(peers: u16) -> Self {
        let at = Moment {
            now: Instant::from_nanos(1),
            unix: UnixTime::from_secs(1_800_000_000),
        };
        let peer =
            |number: u16| Keypair::ed25519_from_seed(&Seed::for_tests(number.into())).peer_id();
        let local = peer(0);
        let store = MemoryStore::new(&local, MemoryStoreConfig::default());
        let config = Config::new(ProtocolName::from_static("/bench/kad/1.0.0"));
        let mut dht = Dht::new(local, config, store, &Seed::for_tests(0), at);
        dht.set_mode(Some(Mode::Server));
        for number in 1..=peers {
            let [high, low] = number.to_be_bytes();
            let udp = format!("/ip4/198.51.{high}.{low}/udp/4001/quic-v1");
            for address in [format!("/ip4/192.0.{high}.{low}/tcp/4001"), udp] {
                let address = address.parse().expect("sound");
                let _ = dht.add_address(at, peer(number), &address);
            }
        }
        let inbound = Inbound {
            id: InboundId(1),
            from: peer(u16::MAX),
            connection: ConnectionId::new(1),
        };
        let mut server = Self { dht, inbound, at };
        server.rest();
        server
    }

    fn rest(&mut self) {
        while self.dht.poll_output().is_some() {}
    }

    /// Decodes a request and answers it.
    pub fn answer(&mut self, request: &Bytes) -> Option<Bytes> {
        let nowhere = |_: &_| Vec::new();
        self.dht
            .handle_request(self.at, self.inbound, request, &nowhere);
        let mut answer = None;
        while let Some(output) = self.dht.poll_output() {
            if let Output::Respond { message, .. } = output {
                answer = message;
            }
        }
        answer
    }
}

/// FIND_NODE for some key.
#[must_use]
pub fn find_node() -> Bytes {
    let mut message = Vec::new();
    request::find_node(&mut message, b"some key");
    message.into()
}

/// Reads all of a message: how many closer peers it names, and their addresses.
///
/// # Panics
///
/// If it is none.
#[must_use]
pub fn read(message: &[u8]) -> (usize, usize) {
    let message = Message::decode(message).expect("sound");
    let peers = message.closer_peers();
    peers.fold((0, 0), |(peers, addresses), peer| {
        (peers + 1, addresses + peer.addresses().count())
    })
}
