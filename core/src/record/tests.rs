use super::*;
use crate::identity::{KeyError, Keypair};
use crate::multiaddr::Multiaddr;
use crate::seed::Seed;
use crate::wire::protobuf::{self, Writer};
use std::vec::Vec;
use std::{format, vec};

const DOMAINS: [(&str, &[u8]); 2] = [
    ("libp2p-peer-record", &[0x03, 0x01]),
    ("libp2p-routing-state", b"/libp2p/routing-state-record"),
];

fn keypair(number: u64) -> Keypair {
    Keypair::ed25519_from_seed(&Seed::for_tests(number))
}

fn addresses(count: usize) -> Vec<Multiaddr> {
    (0..count)
        .map(|port| format!("/ip4/192.0.2.1/tcp/{port}").parse().unwrap())
        .collect()
}

/// A record's payload, written without the code under test.
fn payload(of: &Keypair, seq: u64, addresses: &[&[u8]]) -> Vec<u8> {
    let mut payload = Vec::new();
    let mut writer = Writer::new(&mut payload);
    writer.bytes(1, of.peer_id().as_bytes()).uint64(2, seq);
    for address in addresses {
        let info = [&[0x0a, u8::try_from(address.len()).unwrap()], *address].concat();
        writer.bytes(3, &info);
    }
    payload
}

#[test]
fn a_sealed_record_is_the_standard_bytes_and_opens() {
    let key = keypair(1);
    let sealed = PeerRecord::seal(&key, 300, &addresses(2)).unwrap();
    let (domain, kind) = DOMAINS[0];
    let payload = payload(
        &key,
        300,
        &[addresses(2)[0].as_bytes(), addresses(2)[1].as_bytes()],
    );
    assert_eq!(
        sealed,
        SignedEnvelope::seal(&key, domain, kind, &payload).to_protobuf()
    );
    // The signature is over lengths and parts, spelled out here once.
    let signed = [
        &[18],
        b"libp2p-peer-record".as_slice(),
        &[2, 3, 1],
        &[u8::try_from(payload.len()).unwrap()],
        &payload,
    ]
    .concat();
    assert!(sealed.ends_with(&key.sign(&signed)));
    let record = PeerRecord::open(&sealed).unwrap();
    assert_eq!((record.peer_id(), record.seq()), (key.peer_id(), 300));
    assert_eq!(record.addresses(), addresses(2));
    assert_eq!(record.into_addresses(), addresses(2));
}

/// T15 (RUSTSEC-2022-0009): signer, owner, domain and type, in every combination. Only a peer's own record under one of the two pairs of
/// domain and type opens. Fails without the comparison of signer and owner.
#[test]
fn only_the_owner_signs_a_record_and_only_for_this_purpose() {
    let keys = [keypair(1), keypair(2)];
    let others = [("libp2p-relay-rsvp", &[0x03, 0x02][..]), ("", b"")];
    let pairs: Vec<_> = DOMAINS.into_iter().chain(others).collect();
    let mut opened = 0;
    for (signer, owner) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        for (domain_at, (domain, _)) in pairs.iter().enumerate() {
            for (type_at, (_, kind)) in pairs.iter().enumerate() {
                let payload = payload(&keys[owner], 1, &[]);
                let envelope = SignedEnvelope::seal(&keys[signer], domain, kind, &payload);
                let expected = match (type_at, domain_at == type_at, signer == owner) {
                    (2.., ..) => Err(PeerRecordError::Envelope(EnvelopeError::PayloadType)),
                    (_, false, _) => Err(PeerRecordError::Envelope(EnvelopeError::Signature)),
                    (_, _, false) => Err(PeerRecordError::OtherSigner),
                    _ => Ok(keys[owner].peer_id()),
                };
                let record = PeerRecord::open(&envelope.to_protobuf());
                assert_eq!(
                    record.map(|record| record.peer_id()),
                    expected,
                    "{signer} {owner} {domain} {kind:?}"
                );
                opened += usize::from(expected.is_ok());
            }
        }
    }
    assert_eq!(opened, 4, "two keys, two pairs");
}

/// T12 for envelopes: whichever bit changes, the record does not open as another one.
#[test]
fn no_flipped_bit_opens_a_record_that_was_not_signed() {
    let sealed = PeerRecord::seal(&keypair(1), 5, &addresses(1)).unwrap();
    let record = PeerRecord::open(&sealed).unwrap();
    for bit in 0..sealed.len() * 8 {
        let mut flipped = sealed.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(PeerRecord::open(&flipped).is_err(), "bit {bit}");
    }
    for end in 0..sealed.len() {
        assert!(
            PeerRecord::open(&sealed[..end]).is_err(),
            "truncated to {end}"
        );
    }
    assert_eq!(PeerRecord::open(&sealed), Ok(record));
}

#[test]
fn envelopes_are_bounded_and_need_a_key() {
    let open = |message: &[u8]| SignedEnvelope::from_protobuf(message).err();
    assert_eq!(open(&[]), Some(EnvelopeError::Key(KeyError::MissingField)));
    assert_eq!(
        open(&[0x08, 1]),
        Some(EnvelopeError::Malformed(protobuf::Error::Mismatch {
            number: 1
        }))
    );
    let key = keypair(1);
    for (len, expected) in [(0, None), (1, Some(EnvelopeError::TooLong))] {
        let small = SignedEnvelope::seal(&key, "d", b"t", &vec![7; 60_000]).to_protobuf();
        let padding = SignedEnvelope::MAX_LEN - small.len() + len;
        // An unknown field of `padding` bytes: key, a length of two bytes, zeros.
        let mut field = vec![0x3a, 0, 0];
        field.resize(padding, 0);
        let inner = padding - 3;
        field[1] = u8::try_from(inner & 0x7f).unwrap() | 0x80;
        field[2] = u8::try_from(inner >> 7).unwrap();
        assert_eq!(open(&[small, field].concat()), expected);
    }
}

/// Fails if the count is checked after decoding, for the empty elements are then gone.
#[test]
fn addresses_are_counted_before_they_are_read() {
    let key = keypair(1);
    let (domain, kind) = DOMAINS[0];
    let sealed = |payload: &[u8]| SignedEnvelope::seal(&key, domain, kind, payload).to_protobuf();
    assert_eq!(
        PeerRecord::open(&PeerRecord::seal(&key, 1, &addresses(64)).unwrap())
            .unwrap()
            .addresses()
            .len(),
        64
    );
    assert_eq!(
        PeerRecord::seal(&key, 1, &addresses(65)),
        Err(PeerRecordError::TooManyAddresses)
    );
    // 65 empty elements: refused by their number, though each of them would be skipped.
    let empty = payload(&key, 1, &[[].as_slice(); 65]);
    assert_eq!(
        PeerRecord::open(&sealed(&empty)),
        Err(PeerRecordError::TooManyAddresses)
    );
    let no_peer = sealed(&[0x10, 1]);
    assert_eq!(
        PeerRecord::open(&no_peer),
        Err(PeerRecordError::PeerId(
            crate::identity::PeerIdError::Truncated
        ))
    );
}

#[test]
fn unreadable_addresses_and_those_of_other_peers_are_left_out() {
    let (key, other) = (keypair(1), keypair(2));
    let good = addresses(1)[0].clone();
    let own = good.with_peer_id(key.peer_id()).unwrap();
    let foreign = good.with_peer_id(other.peer_id()).unwrap();
    let relayed: Multiaddr = format!("{foreign}/p2p-circuit").parse().unwrap();
    let unknown = [0xff, 0x7f, 1, 2, 3];
    let listed = [
        &unknown,
        own.as_bytes(),
        &[],
        foreign.as_bytes(),
        good.as_bytes(),
        relayed.as_bytes(),
    ];
    let (domain, kind) = DOMAINS[0];
    let sealed = SignedEnvelope::seal(&key, domain, kind, &payload(&key, 1, &listed)).to_protobuf();
    assert_eq!(
        PeerRecord::open(&sealed).unwrap().addresses(),
        [own, good, relayed]
    );
}
