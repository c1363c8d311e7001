//! What Kademlia takes of the heap: entries of the table, messages that are read, the steps of a query.

use bytes::Bytes;
use drywire::{
    connection::ConnectionId,
    identity::PeerId,
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    protocol::kad::{
        Config, Dht, Key, MemoryStore, Mode, QueryOptions,
        dht::{Inbound, InboundId, Moment, Output, RpcId},
        message::{ConnectionType, Message, MessageType, ResponseWriter, request},
        table::{Entry, Insert, RoutingTable, Status, TableConfig},
    },
    seed::Seed,
    time::{Instant, UnixTime},
};
use drywire_tests::heap;
use std::collections::VecDeque;

const AT: Moment = Moment {
    now: Instant::from_nanos(1_000_000_000),
    unix: UnixTime::from_secs(1_800_000_000),
};

fn peer(number: u32) -> PeerId {
    let mut multihash = [0; 34];
    multihash[..2].copy_from_slice(&[0x12, 0x20]);
    multihash[2..].copy_from_slice(&Key::of(&number.to_be_bytes()).to_bytes());
    PeerId::from_bytes(&multihash).expect("a SHA-256")
}

fn address(number: u32) -> Multiaddr {
    let [_, b, c, d] = number.to_be_bytes();
    format!("/ip4/10.{b}.{c}.{d}/tcp/4001")
        .parse()
        .expect("valid")
}

fn dht() -> Dht {
    let mut config = Config::new(ProtocolName::from_static("/test/kad/1"));
    config.automatic_bootstrap_throttle = None;
    let store = MemoryStore::default();
    let mut dht = Dht::new(peer(0), config, store, &Seed::for_tests(1), AT);
    dht.set_mode(Some(Mode::Server));
    dht
}

/// A response that tells of these peers, four addresses each.
fn response(peers: impl Iterator<Item = u32>) -> Bytes {
    let mut out = Vec::new();
    let mut writer = ResponseWriter::new(&mut out, 1 << 20, MessageType::FindNode, b"");
    for number in peers {
        let addresses: Vec<_> = (0..4).map(|port| address(number + (port << 20))).collect();
        let told = addresses.iter().map(Multiaddr::as_bytes);
        assert!(writer.closer_peer(&peer(number), told, ConnectionType::Connected));
    }
    out.into()
}

/// The issue of memory at scale: an entry is at most 256 bytes and its addresses, whatever the buckets reserve.
#[test]
fn an_entry_of_the_table_costs_256_bytes_and_its_addresses() {
    assert!(size_of::<Entry>() <= 256, "{}", size_of::<Entry>());
    let mut config = TableConfig::default();
    config.diversity = None;
    let (used, table) = heap::measure(|| {
        let mut table = RoutingTable::new(Key::of_peer(&peer(0)), config);
        for number in 1..20_000 {
            let to = address(number);
            let inserted = table.insert(AT.now, peer(number), [&to], Status::Disconnected);
            assert!(
                matches!(inserted, Insert::Added | Insert::Full),
                "{inserted:?}"
            );
        }
        table
    });
    let len = isize::try_from(table.len()).expect("few");
    assert!(len > 150, "{len} entries");
    // An address, and the list it is in: the bytes, and what `Bytes` and `Vec` need to know of them.
    let per_entry = used.kept / len;
    println!("{len} entries, {per_entry} B each, addresses included");
    assert!(per_entry <= 256 + 128, "{per_entry} B for an entry");
}

#[test]
fn reading_a_message_allocates_nothing() {
    let message = response(1..21);
    let (used, read) = heap::measure(|| {
        let message = Message::decode(&message).expect("valid");
        let peers = message.closer_peers();
        peers
            .map(|peer| 1 + peer.addresses().count())
            .sum::<usize>()
    });
    assert_eq!(read, 20 * 5);
    assert_eq!(used.calls, 0);
}

/// Answering costs the response, and the events that tell of it.
#[test]
fn answering_allocates_for_no_peer() {
    let mut dht = dht();
    for number in 1..200 {
        let _ = dht.add_address(AT, peer(number), &address(number));
    }
    let mut message = Vec::new();
    request::find_node(&mut message, b"anything");
    let message = Bytes::from(message);
    let mut answer = |id| {
        let inbound = Inbound {
            id: InboundId(id),
            from: peer(1),
            connection: ConnectionId::new(1),
        };
        dht.handle_request(AT, inbound, &message, &|_| Vec::new());
        let mut told = 0;
        while let Some(output) = dht.poll_output() {
            if let Output::Respond {
                message: Some(message),
                ..
            } = output
            {
                let message = Message::decode(&message).expect("valid");
                told = message.closer_peers().count();
            }
        }
        told
    };
    answer(0);
    let (used, told) = heap::measure(|| answer(1));
    assert_eq!(told, 20);
    println!("an answer with 20 peers: {} allocations", used.calls);
    // The buffer grows as it is written: once for each doubling, not for each peer.
    assert!(used.calls <= 12, "{} allocations", used.calls);
}

/// Peers tell a query of peers it knows: nothing is added to what it has found, so nothing is allocated.
#[test]
fn a_step_of_a_query_allocates_nothing_but_what_it_finds() {
    let mut dht = dht();
    for number in 1..60 {
        let _ = dht.add_address(AT, peer(number), &address(number));
    }
    while dht.poll_output().is_some() {}
    let known = response(1..21);
    let mut steps = 0_u32;
    let mut calls = 0;
    for round in 0..20_u32 {
        let key = round.to_be_bytes();
        let begun = dht.get_closest_peers(AT, &key, QueryOptions::new());
        begun.expect("there is room");
        let mut asked: VecDeque<RpcId> = VecDeque::with_capacity(64);
        loop {
            while let Some(output) = dht.poll_output() {
                if let Output::Request { rpc, .. } = output {
                    asked.push_back(rpc);
                }
            }
            let Some(rpc) = asked.pop_front() else { break };
            // The first answer is the result set: where those peers are is news.
            let first = asked.len() == 9;
            let (used, ()) = heap::measure(|| dht.handle_response(AT, rpc, Ok(known.clone())));
            if round > 0 && !first && dht.queries().next().is_some() {
                (steps, calls) = (steps + 1, calls + used.calls);
            }
        }
        assert_eq!(dht.queries().count(), 0);
    }
    println!("{calls} allocations in {steps} steps");
    assert!(steps > 150, "{steps} steps");
    assert!(
        calls * 4 <= u64::from(steps),
        "{calls} allocations in {steps} steps"
    );
}
