//! What messages of Kademlia take of the heap.

use drywire::{
    connection::ConnectionId,
    multistream::ProtocolName,
    protocol::kad::{
        Config, Dht, MemoryStore, MemoryStoreConfig, Mode,
        dht::{Inbound, InboundId, Moment, Output},
        message::{Message, request},
    },
    seed::Seed,
    time::{Instant, UnixTime},
};
use drywire_counting::calls;
use drywire_tests::net::{address, peer};

fn server(peers: usize) -> (Dht<MemoryStore>, Moment) {
    let at = Moment {
        now: Instant::from_nanos(1),
        unix: UnixTime::from_secs(1_800_000_000),
    };
    let store = MemoryStore::new(&peer(0), MemoryStoreConfig::default());
    let config = Config::new(ProtocolName::from_static("/test/kad/1.0.0"));
    let mut dht = Dht::new(peer(0), config, store, &Seed::for_tests(0), at);
    dht.set_mode(Some(Mode::Server));
    for number in 1..=peers {
        let _ = dht.add_address(at, peer(number), &address(number));
    }
    while dht.poll_output().is_some() {}
    (dht, at)
}

/// Answers FIND_NODE, and how often that allocated.
fn answer(peers: usize) -> (bytes::Bytes, u64) {
    let (mut dht, at) = server(peers);
    let inbound = Inbound {
        id: InboundId(1),
        from: peer(200),
        connection: ConnectionId::new(1),
    };
    let mut message = Vec::new();
    request::find_node(&mut message, b"some key");
    let message = message.into();
    let mut last = None;
    // The second time, queues have grown.
    for _ in 0..2 {
        let before = calls();
        dht.handle_request(at, inbound, &message, &|_| Vec::new());
        let taken = calls() - before;
        while let Some(output) = dht.poll_output() {
            if let Output::Respond {
                message: Some(message),
                ..
            } = output
            {
                last = Some((message, taken));
            }
        }
    }
    last.expect("answered")
}

#[test]
fn reading_a_response_of_20_peers_allocates_nothing() {
    let (response, _) = answer(100);
    let before = calls();
    let message = Message::decode(&response).unwrap();
    let peers = message.closer_peers();
    let addresses: usize = peers.map(|peer| peer.addresses().count()).sum();
    assert_eq!(addresses, 20);
    assert_eq!(calls() - before, 0);
}

#[test]
fn answering_with_more_peers_allocates_only_what_the_buffer_grows() {
    let [(few, of_few), (many, of_many)] = [answer(2), answer(100)];
    println!("{of_few} and {of_many} allocations");
    // A buffer doubles.
    let doublings = (many.len() / few.len()).ilog2() + 1;
    assert!(
        of_many <= of_few + u64::from(doublings),
        "{of_few} and {of_many}"
    );
}
