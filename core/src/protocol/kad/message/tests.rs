//! Against prost as oracle, and against the limits.

use super::*;
use crate::{
    identity::PeerId,
    multiaddr::{Multiaddr, Protocol},
    protocol::kad::{Record, RecordKey},
    time::UnixTime,
};
use core::time::Duration;
use proptest::{collection::vec, prelude::*};
use prost::Message as _;
use std::{string::String, vec, vec::Vec};

/// The schema, as others generate their code from it.
mod oracle {
    use std::{string::String, vec::Vec};

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Message {
        #[prost(int32, tag = "1")]
        pub(super) kind: i32,
        #[prost(bytes = "vec", tag = "2")]
        pub(super) key: Vec<u8>,
        #[prost(message, optional, tag = "3")]
        pub(super) record: Option<Record>,
        #[prost(message, repeated, tag = "8")]
        pub(super) closer: Vec<Peer>,
        #[prost(message, repeated, tag = "9")]
        pub(super) providers: Vec<Peer>,
        #[prost(int32, tag = "10")]
        pub(super) level: i32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Record {
        #[prost(bytes = "vec", tag = "1")]
        pub(super) key: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")]
        pub(super) value: Vec<u8>,
        #[prost(string, tag = "5")]
        pub(super) time_received: String,
        #[prost(bytes = "vec", tag = "666")]
        pub(super) publisher: Vec<u8>,
        #[prost(uint32, tag = "777")]
        pub(super) ttl: u32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Peer {
        #[prost(bytes = "vec", tag = "1")]
        pub(super) id: Vec<u8>,
        #[prost(bytes = "vec", repeated, tag = "2")]
        pub(super) addrs: Vec<Vec<u8>>,
        #[prost(int32, tag = "3")]
        pub(super) connection: i32,
    }
}

const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

fn peer(number: u8) -> PeerId {
    let digest = [0x12, 32].into_iter().chain([number; 32]);
    PeerId::from_bytes(&digest.collect::<Vec<u8>>()).unwrap()
}

fn address(port: u16) -> Multiaddr {
    std::format!("/ip4/192.0.2.1/tcp/{port}").parse().unwrap()
}

fn to(port: u16, number: u8) -> Multiaddr {
    address(port).with_peer_id(peer(number)).unwrap()
}

fn a_peer() -> impl Strategy<Value = oracle::Peer> {
    let id = prop_oneof![
        4 => (0..3_u8).prop_map(|number| peer(number).to_bytes()),
        1 => vec(any::<u8>(), 0..40),
    ];
    let one = prop_oneof![
        3 => any::<u16>().prop_map(|port| address(port).as_bytes().to_vec()),
        3 => (any::<u16>(), 0..3_u8).prop_map(|(port, of)| to(port, of).as_bytes().to_vec()),
        1 => (0..3_u8).prop_map(|of| {
            let only = Multiaddr::from_protocols([Protocol::P2p(peer(of))]);
            only.unwrap().as_bytes().to_vec()
        }),
        1 => (0..3_u8, 0..3_u8).prop_map(|(one, other)| {
            let twice = to(1, one).with(Protocol::P2p(peer(other)));
            twice.unwrap().as_bytes().to_vec()
        }),
        1 => vec(any::<u8>(), 0..20),
        1 => (0..2000_usize).prop_map(|len| [&[53, 0x80 | (len % 128) as u8, (len / 128) as u8][..], &vec![b'a'; len]].concat()),
    ];
    (id, vec(one, 0..40), -1..6_i32).prop_map(|(id, addrs, connection)| oracle::Peer {
        id,
        addrs,
        connection,
    })
}

fn a_record() -> impl Strategy<Value = oracle::Record> {
    (
        vec(any::<u8>(), 0..9),
        vec(any::<u8>(), 0..9),
        ".{0,5}",
        vec(any::<u8>(), 0..3),
        any::<u32>(),
    )
        .prop_map(
            |(key, value, time_received, publisher, ttl)| oracle::Record {
                key,
                value,
                time_received,
                publisher,
                ttl,
            },
        )
}

fn a_message() -> impl Strategy<Value = oracle::Message> {
    (
        -1..7_i32,
        vec(any::<u8>(), 0..9),
        proptest::option::of(a_record()),
        vec(a_peer(), 0..4),
        vec(a_peer(), 0..4),
        any::<i32>(),
    )
        .prop_map(
            |(kind, key, record, closer, providers, level)| oracle::Message {
                kind,
                key,
                record,
                closer,
                providers,
                level,
            },
        )
}

/// What is to be read of a peer, said in another way.
fn expected(peer: &oracle::Peer) -> Option<(PeerId, i32, Vec<Multiaddr>)> {
    let id = PeerId::from_bytes(&peer.id).ok()?;
    let mut room = MAX_PEER_BYTES as i64 - (peer.id.len() as i64 + 2) - 2;
    let mut addresses = Vec::new();
    for bytes in &peer.addrs {
        room -= bytes.len() as i64 + if bytes.len() < 128 { 2 } else { 3 };
        if room < 0 || addresses.len() == MAX_ADDRESSES {
            break;
        }
        if let Ok(address) = Multiaddr::from_bytes(bytes)
            && address.peer_id().is_none_or(|named| named == id)
            && address.without_peer_id().peer_id().is_none()
        {
            addresses.push(address.without_peer_id());
        }
    }
    ((0..4).contains(&peer.connection)).then_some((id, peer.connection, addresses))
}

fn seen(peers: Peers<'_>) -> Vec<(PeerId, i32, Vec<Multiaddr>)> {
    peers
        .map(|peer| (peer.peer, peer.connection as i32, peer.to_info().addresses))
        .collect()
}

/// Compares the view of a frame with what prost reads; returns whether there is one.
fn compare(frame: &[u8]) -> bool {
    let ours = Message::decode(frame);
    let Ok(theirs) = oracle::Message::decode(frame) else {
        // Where they give up on a peer, we pass it over.
        if let Ok(ours) = ours {
            let _ = (seen(ours.closer_peers()), seen(ours.provider_peers()));
        }
        return false;
    };
    let ours = match ours {
        Ok(ours) => ours,
        Err(MessageError::UnknownType(kind)) => {
            assert_eq!(kind, theirs.kind);
            assert!(MessageType::from_wire(kind).is_none());
            return false;
        }
        // Groups, which they pass over.
        Err(MessageError::Malformed(protobuf::Error::WireType)) => return false,
        Err(error) => panic!("{error} but prost reads {theirs:?}"),
    };
    assert_eq!(ours.kind as i32, theirs.kind);
    assert_eq!(ours.key, theirs.key);
    assert_eq!(ours.record.is_some(), theirs.record.is_some());
    if let (Some(ours), Some(theirs)) = (ours.record, &theirs.record) {
        assert_eq!((ours.key, ours.value), (&theirs.key[..], &theirs.value[..]));
        assert_eq!(ours.time_received, theirs.time_received);
        assert_eq!(ours.publisher, PeerId::from_bytes(&theirs.publisher).ok());
        assert_eq!(ours.ttl, theirs.ttl);
    }
    for (ours, theirs) in [
        (ours.closer_peers(), &theirs.closer),
        (ours.provider_peers(), &theirs.providers),
    ] {
        let theirs: Vec<_> = theirs.iter().filter_map(expected).collect();
        assert_eq!(seen(ours), theirs);
    }
    true
}

proptest! {
    #[test]
    fn a_message_is_read_as_prost_reads_it(message in a_message()) {
        let known = (0..6).contains(&message.kind);
        prop_assert_eq!(compare(&message.encode_to_vec()), known);
    }

    #[test]
    fn two_messages_in_a_row_are_merged(one in a_message(), other in a_message()) {
        let known = (0..6).contains(if other.kind == 0 { &one.kind } else { &other.kind });
        let frame = [one.encode_to_vec(), other.encode_to_vec()].concat();
        prop_assert_eq!(compare(&frame), known);
    }

    #[test]
    fn a_message_cut_or_garbled_anywhere_does_not_panic(
        message in a_message(),
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut frame = message.encode_to_vec();
        let at = at.index(frame.len().max(1));
        compare(&frame[..at.min(frame.len())]);
        if let Some(place) = frame.get_mut(at) {
            *place = byte;
        }
        compare(&frame);
    }

    #[test]
    fn any_bytes_are_read_or_refused(frame in vec(any::<u8>(), 0..200)) {
        compare(&frame);
    }

    #[test]
    fn a_response_never_passes_its_budget_and_is_read_as_written(
        budget in 0_usize..3000,
        before in vec(any::<u8>(), 0..3),
        key in vec(any::<u8>(), 0..9),
        peers in vec((any::<bool>(), 0..9_u8, 0..80_u16, 0..4_i32), 0..20),
    ) {
        let mut out = before.clone();
        let mut response = ResponseWriter::new(&mut out, budget, MessageType::GetProviders, &key);
        let head = budget.checked_sub(response.remaining());
        let mut added = [Vec::new(), Vec::new()];
        for (closer, number, count, connection) in peers {
            let addresses: Vec<_> = (0..count).map(address).collect();
            let connection = ConnectionType::from_wire(connection).unwrap();
            let room = response.remaining();
            let fits = if closer {
                response.closer_peer(&peer(number), &addresses, connection)
            } else {
                response.provider_peer(&peer(number), &addresses, connection)
            };
            prop_assert_eq!(fits, room >= 40);
            if fits {
                // With each address, the length of what holds it may take one byte more.
                let most = (room - 40) / 10;
                added[usize::from(closer)].push((peer(number), connection, most, addresses));
            } else {
                prop_assert_eq!(response.remaining(), room);
            }
        }
        prop_assert_eq!(&out[..before.len()], &before);
        let frame = &out[before.len()..];
        prop_assert!(frame.len() <= budget || head.is_none_or(|head| head == budget));
        let message = Message::decode(frame).unwrap();
        prop_assert_eq!((message.kind, message.key), (MessageType::GetProviders, &key[..]));
        prop_assert!(compare(frame));
        for (peers, added) in [message.provider_peers(), message.closer_peers()].into_iter().zip(added) {
            let peers: Vec<_> = peers.collect();
            prop_assert_eq!(peers.len(), added.len());
            for (seen, (peer, connection, most, addresses)) in peers.iter().zip(added) {
                prop_assert_eq!((seen.peer, seen.connection), (peer, connection));
                let seen = seen.to_info().addresses;
                prop_assert_eq!(&seen, &addresses[..seen.len()]);
                let wanted = addresses.len().min(MAX_ADDRESSES);
                prop_assert!(seen.len() <= wanted);
                prop_assert!(seen.len() + 1 >= wanted.min(most), "{} of {wanted}, {most}", seen.len());
            }
        }
    }

    #[test]
    fn a_record_comes_back_with_the_time_it_has_left(
        key in vec(any::<u8>(), 0..9),
        value in vec(any::<u8>(), 0..300),
        left in proptest::option::of(0_u64..10_000_000_000_000),
        publisher in proptest::option::of(0..9_u8),
    ) {
        let publisher = publisher.map(peer);
        let expires = left.map(|nanos| NOW.saturating_add(Duration::from_nanos(nanos)));
        let record = Record { key: key.into(), value: value.into(), publisher: Some(peer(77)), expires };
        let mut out = Vec::new();
        request::put_value(&mut out, &record, NOW, publisher.as_ref());
        prop_assert!(compare(&out));
        let message = Message::decode(&out).unwrap();
        prop_assert_eq!(message.key, record.key.as_bytes());
        let back = message.record.unwrap().to_record(NOW);
        let whole = left.map(|nanos| NOW.saturating_add(Duration::from_secs((nanos / 1_000_000_000).max(1))));
        prop_assert_eq!(back, Record { publisher, expires: whole, ..record });
    }
}

/// The bytes that prost writes are those that others write.
#[test]
fn requests_are_the_bytes_that_others_send() {
    let plain = |kind: MessageType, key: &[u8]| oracle::Message {
        kind: kind as i32,
        key: key.to_vec(),
        level: 10,
        ..oracle::Message::default()
    };
    let written = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = vec![7];
        write(&mut out);
        assert_eq!(out.remove(0), 7, "what was there stays");
        out
    };
    let message = written(&|out| request::find_node(out, b"key"));
    assert_eq!(message, *b"\x08\x04\x12\x03key\x50\x0a");
    assert_eq!(
        message,
        plain(MessageType::FindNode, b"key").encode_to_vec()
    );
    let message = written(&|out| request::get_value(out, b"k"));
    assert_eq!(message, plain(MessageType::GetValue, b"k").encode_to_vec());
    let message = written(&|out| request::get_providers(out, b"k"));
    assert_eq!(
        message,
        plain(MessageType::GetProviders, b"k").encode_to_vec()
    );
    let message = written(&|out| request::ping(out));
    assert_eq!(message, *b"\x08\x05\x50\x0a");

    let provided = written(&|out| request::add_provider(out, b"k", &peer(1), [&address(1)]));
    let mut theirs = plain(MessageType::AddProvider, b"k");
    theirs.providers.push(oracle::Peer {
        id: peer(1).to_bytes(),
        addrs: vec![address(1).as_bytes().to_vec()],
        connection: 1,
    });
    assert_eq!(provided, theirs.encode_to_vec());

    let mut record = Record::new("/pk/x", &b"value"[..]);
    record.expires = Some(NOW.saturating_add(Duration::from_millis(2900)));
    let put = written(&|out| request::put_value(out, &record, NOW, Some(&peer(2))));
    let mut theirs = plain(MessageType::PutValue, b"/pk/x");
    theirs.record = Some(oracle::Record {
        key: b"/pk/x".to_vec(),
        value: b"value".to_vec(),
        time_received: String::new(),
        publisher: peer(2).to_bytes(),
        ttl: 2,
    });
    assert_eq!(put, theirs.encode_to_vec());
    record.expires = None;
    let put = written(&|out| request::put_value(out, &record, NOW, None));
    assert_eq!(
        put,
        *b"\x12\x05/pk/x\x1a\x0e\x0a\x05/pk/x\x12\x05value\x50\x0a"
    );
}

#[test]
fn an_expired_record_is_sent_with_a_second_left_and_a_distant_end_with_all_there_are() {
    let ttl = |expires| {
        let mut record = Record::new("k", &b""[..]);
        record.expires = expires;
        let mut out = Vec::new();
        request::put_value(&mut out, &record, NOW, None);
        Message::decode(&out).unwrap().record.unwrap().ttl
    };
    assert_eq!(ttl(None), 0);
    assert_eq!(ttl(Some(UnixTime::EPOCH)), 1);
    assert_eq!(ttl(Some(NOW)), 1);
    let almost = NOW.saturating_add(Duration::from_millis(999));
    assert_eq!(ttl(Some(almost)), 1, "0 would be for ever");
    assert_eq!(ttl(Some(UnixTime::from_secs(u64::MAX))), u32::MAX);
}

#[test]
fn a_response_tells_the_key_where_go_does() {
    for (kind, tells) in [
        (MessageType::PutValue, true),
        (MessageType::GetValue, true),
        (MessageType::AddProvider, true),
        (MessageType::GetProviders, true),
        (MessageType::FindNode, false),
        (MessageType::Ping, false),
    ] {
        let mut out = Vec::new();
        let _ = ResponseWriter::new(&mut out, 100, kind, b"k");
        let message = Message::decode(&out).unwrap();
        assert_eq!((message.kind, message.key == b"k"), (kind, tells));
    }
}

#[test]
fn a_record_that_does_not_fit_is_left_out() {
    let record = Record::new("key", vec![1; 100]);
    let mut whole = Vec::new();
    let response = ResponseWriter::new(&mut whole, 1000, MessageType::GetValue, b"key");
    let head = 1000 - response.remaining();
    let full = head + 2 + 5 + 102;
    for budget in 0..200 {
        let mut out = vec![9];
        let mut response = ResponseWriter::new(&mut out, budget, MessageType::GetValue, b"key");
        assert_eq!(response.record(&record, NOW, None), budget >= full);
        let message = Message::decode(&out[1..]).unwrap();
        let found = message.record.map(|record| record.to_record(NOW));
        assert_eq!(found, (budget >= full).then(|| record.clone()));
    }
}

#[test]
fn a_frame_of_empty_elements_is_refused_after_its_first_ones() {
    for (number, max) in [
        (CLOSER_PEERS, MAX_CLOSER_PEERS),
        (PROVIDER_PEERS, MAX_PROVIDER_PEERS),
        (RECORD, MAX_OTHER_FIELDS),
        (KEY, MAX_OTHER_FIELDS),
        (15, MAX_OTHER_FIELDS),
    ] {
        let element = [(number << 3 | 2) as u8, 0];
        let mut frame = element.repeat(max);
        assert!(Message::decode(&frame).is_ok());
        frame.extend(element.repeat((4 << 20) / 2 - max));
        // No message, if it were read to its end.
        frame.push(0);
        assert_eq!(Message::decode(&frame), Err(MessageError::TooMany { max }));
    }
    let nested = [&[0x1a, 0x82, 0x04][..], &[0x12, 0].repeat(257)].concat();
    let max = MAX_OTHER_FIELDS;
    assert_eq!(Message::decode(&nested), Err(MessageError::TooMany { max }));
}

fn frame_with(peer: oracle::Peer) -> Vec<u8> {
    let message = oracle::Message {
        kind: 4,
        closer: vec![peer],
        ..oracle::Message::default()
    };
    message.encode_to_vec()
}

#[test]
fn a_peer_with_too_much_is_cut_down_but_kept() {
    let long = |port: u16| {
        let name = [&[53, 0x80 | 0x68, 0x07][..], &vec![b'a'; 1000 - 12]].concat();
        let name = Multiaddr::from_bytes(&[&name[..1], &[0xdc, 0x07], &name[3..]].concat());
        name.unwrap().with(Protocol::Tcp(port)).unwrap()
    };
    for (addresses, kept) in [
        ((0..100).map(address).collect::<Vec<_>>(), MAX_ADDRESSES),
        ((0..20).map(long).collect(), 8),
        (
            (0..7).map(long).chain((0..100).map(address)).collect(),
            MAX_ADDRESSES,
        ),
    ] {
        let frame = frame_with(oracle::Peer {
            id: peer(1).to_bytes(),
            addrs: addresses.iter().map(|a| a.as_bytes().to_vec()).collect(),
            connection: 2,
        });
        assert!(compare(&frame));
        let view = Message::decode(&frame)
            .unwrap()
            .closer_peers()
            .next()
            .unwrap();
        assert_eq!(view.connection, ConnectionType::CanConnect);
        assert_eq!(view.to_info().addresses, addresses[..kept]);

        let mut out = Vec::new();
        let mut response = ResponseWriter::new(&mut out, 1 << 20, MessageType::FindNode, b"");
        assert!(response.closer_peer(&peer(1), &addresses, ConnectionType::Connected));
        assert!(out.len() <= MAX_PEER_BYTES + 5);
        let theirs = oracle::Message::decode(&out[..]).unwrap();
        assert_eq!(theirs.closer[0].addrs.len(), kept, "no more is written");
        let view = Message::decode(&out)
            .unwrap()
            .closer_peers()
            .next()
            .unwrap();
        assert_eq!(view.to_info().addresses, addresses[..kept]);
    }
    let empty = oracle::Peer {
        id: peer(1).to_bytes(),
        addrs: vec![Vec::new(); MAX_PEER_FIELDS],
        connection: 0,
    };
    let frame = frame_with(empty);
    assert_eq!(Message::decode(&frame).unwrap().closer_peers().count(), 0);
}

#[test]
fn addresses_that_lead_to_another_peer_are_passed_over() {
    let relayed = std::format!("/ip4/192.0.2.1/tcp/1/p2p/{}/p2p-circuit", peer(2));
    let relayed: Multiaddr = relayed.parse().unwrap();
    let addrs = [
        to(1, 1),
        to(2, 2),
        address(3),
        relayed.clone(),
        relayed.with_peer_id(peer(1)).unwrap(),
    ];
    let frame = frame_with(oracle::Peer {
        id: peer(1).to_bytes(),
        addrs: addrs.iter().map(|a| a.as_bytes().to_vec()).collect(),
        connection: 0,
    });
    let view = Message::decode(&frame)
        .unwrap()
        .closer_peers()
        .next()
        .unwrap();
    let kept = [address(1), address(3), relayed.clone(), relayed];
    assert_eq!(view.to_info().addresses, kept);
    assert!(view.addresses().eq(kept.iter().map(Multiaddr::as_bytes)));
}

#[test]
fn a_message_cut_anywhere_ends_between_fields_or_is_refused() {
    let mut out = Vec::new();
    let record = Record::new(RecordKey::of_public_key(&peer(1)), vec![5; 10]);
    let mut response = ResponseWriter::new(&mut out, 1000, MessageType::GetValue, b"key");
    let mut ends = vec![0, 2, 7];
    assert!(response.record(&record, NOW, None));
    ends.push(1000 - response.remaining());
    assert!(response.closer_peer(&peer(1), [&address(1)], ConnectionType::Connected));
    ends.push(1000 - response.remaining());
    assert!(response.provider_peer(&peer(2), [&address(2)], ConnectionType::NotConnected));
    ends.push(out.len());
    for len in 0..=out.len() {
        let message = Message::decode(&out[..len]);
        if ends.contains(&len) {
            assert!(message.is_ok(), "{len}");
        } else {
            assert_eq!(
                message,
                Err(MessageError::Malformed(protobuf::Error::Truncated))
            );
        }
    }
}

#[test]
fn what_a_record_says_of_time_is_read() {
    let read = |time: &str| {
        let message = oracle::Message {
            record: Some(oracle::Record {
                time_received: time.into(),
                ..oracle::Record::default()
            }),
            ..oracle::Message::default()
        };
        Message::decode(&message.encode_to_vec())
            .unwrap()
            .record
            .unwrap()
            .received()
    };
    assert_eq!(
        read("1970-01-01T00:00:01.5Z"),
        Some(UnixTime::from_nanos(1_500_000_000))
    );
    assert_eq!(read("yesterday"), None);
}
