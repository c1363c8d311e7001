//! Targets of what Kademlia reads from peers.

use core::time::Duration;
use drywire::identity::Keypair;
use drywire::multiaddr::Multiaddr;
use drywire::protocol::kad::RecordKey;
use drywire::protocol::kad::message::{
    MAX_ADDRESSES, MAX_PEER_BYTES, Message, PeerView, Peers, ResponseWriter, request,
};
use drywire::protocol::kad::validator::{Validator, ipns};
use drywire::time::UnixTime;
use drywire::wire::protobuf::Writer;

const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

/// Messages: peers and addresses keep to their limits, and what is read of a message says the same when it is written
/// anew; written with less room than that, it keeps to the room and says the beginning.
pub fn kad_message(data: &[u8]) {
    let Ok(message) = Message::decode(data) else {
        return;
    };
    for peer in message.closer_peers().chain(message.provider_peers()) {
        check_peer(&peer);
    }
    if let Some(record) = message.record {
        let copy = record.to_record(NOW);
        assert_eq!(copy.expires, record.expires(NOW));
        let mut put = Vec::new();
        request::put_value(&mut put, &copy, NOW, copy.publisher.as_ref());
        let put = Message::decode(&put).unwrap();
        assert_eq!(put.key, record.key);
        assert_eq!(put.record.unwrap().to_record(NOW), copy);
    }
    let whole = write(&message, usize::MAX);
    let again = Message::decode(&whole).unwrap();
    assert_eq!(again.kind, message.kind);
    same_peers(message.closer_peers(), again.closer_peers());
    same_peers(message.provider_peers(), again.provider_peers());
    assert_eq!(write(&again, usize::MAX), whole);
    let budget = whole.len() / 2;
    let half = write(&message, budget);
    let mut head = Vec::new();
    let _ = ResponseWriter::new(&mut head, 0, message.kind, message.key);
    assert!(half.len() <= budget.max(head.len()));
    let half = Message::decode(&half).unwrap();
    assert!(half.closer_peers().count() <= again.closer_peers().count());
}

fn check_peer(peer: &PeerView<'_>) {
    let (mut count, mut len) = (0, peer.peer.as_bytes().len());
    for address in peer.addresses() {
        let parsed = Multiaddr::from_bytes(address).unwrap();
        assert!(parsed.peer_id().is_none(), "{parsed}");
        (count, len) = (count + 1, len + address.len());
    }
    assert!(count <= MAX_ADDRESSES && len <= MAX_PEER_BYTES);
    assert_eq!(peer.to_info().addresses.len(), count);
}

fn same_peers(one: Peers<'_>, other: Peers<'_>) {
    let read = |peers: Peers<'_>| -> Vec<_> {
        peers
            .map(|peer| (peer.to_info(), peer.connection))
            .collect()
    };
    assert_eq!(read(one), read(other));
}

fn write(message: &Message<'_>, budget: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut response = ResponseWriter::new(&mut out, budget, message.kind, message.key);
    if let Some(record) = message.record {
        let record = record.to_record(NOW);
        response.record(&record, NOW, record.publisher.as_ref());
    }
    for peer in message.closer_peers() {
        response.closer_peer(&peer.peer, peer.addresses(), peer.connection);
    }
    for peer in message.provider_peers() {
        response.provider_peer(&peer.peer, peer.addresses(), peer.connection);
    }
    out
}

/// IPNS records: any bytes, any data under a signature, and any value signed by us. One that is valid is valid until its
/// end, and the best of several does not depend on their order.
pub fn ipns_record(data: &[u8]) {
    let owner = Keypair::from_ed25519_secret(&[1; 32]);
    let key = RecordKey::of_ipns_name(&owner.peer_id());
    let signature = owner.sign(&[b"ipns-signature:", data].concat());
    let mut with_data = Vec::new();
    Writer::new(&mut with_data)
        .bytes(8, &signature)
        .bytes(9, data);
    let ours = ipns::Record::sign(
        &owner,
        data,
        data.len() as u64,
        NOW.saturating_add(Duration::from_secs(1)),
        ipns::DEFAULT_TTL,
    );
    let records = [Some(data.to_vec()), Some(with_data), ours.ok()];
    for record in records.iter().flatten() {
        let valid = ipns::Ipns.validate(&key, record, NOW);
        let parsed = ipns::Record::parse(record);
        assert!(record.len() <= ipns::MAX_LEN || parsed == Err(ipns::Error::TooLong));
        if valid.is_ok() {
            let parsed = parsed.unwrap();
            assert!(NOW < parsed.expires);
            let end = ipns::Ipns.validate(&key, record, parsed.expires);
            assert_eq!(end, Err(ipns::Error::Expired.into()));
        }
    }
    if let Some(ours) = &records[2] {
        assert_eq!(ipns::Ipns.validate(&key, ours, NOW), Ok(()));
        assert_eq!(ipns::Record::parse(ours).unwrap().value, data);
    }
    let mut values: Vec<&[u8]> = records.iter().flatten().map(Vec::as_slice).collect();
    let best = values[ipns::Ipns.select(&key, &values)];
    values.reverse();
    assert_eq!(values[ipns::Ipns.select(&key, &values)], best);
}
