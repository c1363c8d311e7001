//! The published vectors, and what an attacker or a careless publisher could do.

use super::*;
use crate::{
    identity::{Keypair, PeerId},
    protocol::kad::validator::Namespaced,
    wire::protobuf::{Reader, Value, Writer},
};
use proptest::{collection::vec, prelude::*, sample::Index};
use std::{string::String, vec::Vec};

const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);
const LATER: UnixTime = UnixTime::from_secs(1_700_100_000);

pub(super) struct Vector {
    pub(super) what: String,
    pub(super) name: PeerId,
    pub(super) record: Vec<u8>,
    /// The value, of a valid one.
    pub(super) expected: Result<&'static [u8], Error>,
}

pub(super) fn vectors() -> Vec<Vector> {
    include_str!("testdata/vectors.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let parts: Vec<&str> = line.split(' ').collect();
            let hex = data_encoding::HEXLOWER.decode(parts[2].as_bytes());
            Vector {
                what: parts[0].into(),
                name: parts[1].parse().unwrap(),
                record: hex.unwrap(),
                expected: match parts[0] {
                    "v1" => Err(Error::NotSigned),
                    "v1-v2" => Ok(b"/ipfs/bafkqaddwgevxmmraojswg33smq"),
                    "v1-v2-broken-v1-value" => Err(Error::Mismatch),
                    "v1-v2-broken-signature-v2" => Err(Error::Signature),
                    "v1-v2-broken-signature-v1" => {
                        Ok(b"/ipfs/bafkqahtwgevxmmrao5uxi2bamjzg623fnyqhg2lhnzqxi5lsmuqhmmi")
                    }
                    "v2" => Ok(b"/ipfs/bafkqadtwgiww63tmpeqhezldn5zgi"),
                    other => panic!("{other}"),
                },
            }
        })
        .collect()
}

#[test]
fn records_that_kubo_published_are_valid_for_their_names_alone() {
    let lines = include_str!("testdata/kubo.txt").lines();
    let records: Vec<(PeerId, Vec<u8>)> = lines
        .filter_map(|line| line.split_once(' ').filter(|(name, _)| *name != "#"))
        .filter_map(|(name, record)| {
            let record = data_encoding::HEXLOWER.decode(record.as_bytes()).ok()?;
            Some((name.parse().ok()?, record))
        })
        .collect();
    assert_eq!(records.len(), 3);
    for (name, record) in &records {
        let judged = judge(record, name, NOW);
        let with_key = name.public_key().is_none();
        if with_key && !cfg!(feature = "rsa") {
            let unsupported = KeyError::Unsupported(crate::identity::KeyType::Rsa);
            assert_eq!(judged, Err(Error::PublicKey(unsupported)));
            continue;
        }
        assert_eq!(judged, Ok(()), "{name}");
        let other = judge(record, &owner(1).peer_id(), NOW);
        let expected = if with_key {
            Error::OtherKey
        } else {
            Error::Signature
        };
        assert_eq!(other, Err(expected), "{name}");
    }
}

fn judge(record: &[u8], name: &PeerId, now: UnixTime) -> Result<(), Error> {
    let key = RecordKey::of_ipns_name(name);
    match Ipns.validate(&key, record, now) {
        Ok(()) => Ok(()),
        Err(InvalidRecord::Ipns(error)) => Err(error),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn the_published_vectors_are_judged_as_published() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 6);
    for Vector {
        what,
        name,
        record,
        expected,
    } in vectors
    {
        let judged = judge(&record, &name, NOW);
        assert_eq!(judged, expected.clone().map(drop), "{what}");
        let Ok(value) = expected else { continue };
        let parsed = Record::parse(&record).unwrap();
        assert_eq!((parsed.value, parsed.sequence), (value, 0), "{what}");
        assert_eq!(
            parsed.ttl,
            Some(Duration::from_secs(1_800_000_000_000 / 1_000_000_000))
        );
        // 2123-08-14T12:17:03.694052Z
        let end = UnixTime::from_nanos(4_847_689_023_694_052_000);
        assert_eq!(parsed.expires, end, "{what}");
        assert_eq!(judge(&record, &name, end), Err(Error::Expired), "{what}");
        let last = UnixTime::from_nanos(end.as_nanos() - 1);
        assert_eq!(judge(&record, &name, last), Ok(()), "{what}");
        assert_eq!(
            judge(&record, &owner(1).peer_id(), NOW),
            Err(Error::Signature)
        );
    }
}

fn owner(number: u8) -> Keypair {
    Keypair::from_ed25519_secret(&[number; 32])
}

fn signed(value: &[u8], sequence: u64, expires: UnixTime) -> Vec<u8> {
    Record::sign(&owner(1), value, sequence, expires, DEFAULT_TTL).unwrap()
}

/// A record whose owner signed any data.
fn with_data(data: &[u8]) -> Vec<u8> {
    let signature = owner(1).sign(&[b"ipns-signature:", data].concat());
    let mut out = Vec::new();
    Writer::new(&mut out).bytes(8, &signature).bytes(9, data);
    out
}

/// The data of a record with entries of the test's own; they must be in order.
fn data(entries: &[(&str, cbor::Value<'_>)]) -> Vec<u8> {
    let mut out = Vec::new();
    cbor::write_map(&mut out, entries);
    out
}

fn with_field(record: &[u8], number: u32, value: Value<'_>) -> Vec<u8> {
    let mut out = record.to_vec();
    match value {
        Value::Varint(value) => Writer::new(&mut out).uint64(number, value),
        Value::Bytes(value) => Writer::new(&mut out).bytes(number, value),
        _ => panic!("not in records"),
    };
    out
}

proptest! {
    #[test]
    fn what_is_signed_is_valid_until_it_expires_and_comes_back(
        value in vec(any::<u8>(), 0..200),
        sequence in any::<u64>(),
        left in 1..=u64::MAX - NOW.as_nanos(),
        ttl in 0..=i64::MAX as u64,
        with_v1 in any::<bool>(),
        number in any::<u8>(),
    ) {
        let (owner, ttl) = (owner(number), Duration::from_nanos(ttl));
        let expires = UnixTime::from_nanos(NOW.as_nanos() + left);
        let sign = if with_v1 { Record::sign_with_v1 } else { Record::sign };
        let record = sign(&owner, &value, sequence, expires, ttl).unwrap();
        let name = owner.peer_id();
        prop_assert_eq!(judge(&record, &name, NOW), Ok(()));
        prop_assert_eq!(judge(&record, &name, UnixTime::from_nanos(expires.as_nanos() - 1)), Ok(()));
        prop_assert_eq!(judge(&record, &name, expires), Err(Error::Expired));
        let parsed = Record::parse(&record).unwrap();
        prop_assert_eq!((parsed.value, parsed.sequence), (&value[..], sequence));
        prop_assert_eq!((parsed.expires, parsed.ttl), (expires, Some(ttl)));
        let fields = Reader::new(&record).map(|field| field.unwrap().number);
        let expected: &[u32] = if with_v1 { &[1, 2, 3, 4, 5, 6, 8, 9] } else { &[8, 9] };
        prop_assert_eq!(fields.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_changed_record_is_refused_or_says_what_was_signed(
        with_v1 in any::<bool>(),
        at in any::<Index>(),
        change in 1..=255_u8,
    ) {
        let sign = if with_v1 { Record::sign_with_v1 } else { Record::sign };
        let mut record = sign(&owner(1), b"/ipfs/x", 5, LATER, DEFAULT_TTL).unwrap();
        let at = at.index(record.len());
        record[at] ^= change;
        let changed = Record::parse(&record);
        if judge(&record, &owner(1).peer_id(), NOW).is_ok() {
            let changed = changed.unwrap();
            prop_assert!(with_v1, "a field that is not signed");
            prop_assert_eq!((changed.value, changed.sequence), (&b"/ipfs/x"[..], 5));
            prop_assert_eq!((changed.expires, changed.ttl), (LATER, Some(DEFAULT_TTL)));
        }
    }

    #[test]
    fn any_bytes_are_a_record_or_none(bytes in vec(any::<u8>(), 0..300), data in vec(any::<u8>(), 1..100)) {
        let _ = judge(&bytes, &owner(1).peer_id(), NOW);
        let _ = judge(&with_data(&data), &owner(1).peer_id(), NOW);
    }

    #[test]
    fn the_best_has_the_highest_sequence_then_the_latest_end_then_the_greatest_bytes(
        records in vec((0..3_u64, 0..3_u64, 0..3_u8, any::<bool>()), 1..8),
    ) {
        let key = RecordKey::of_ipns_name(&owner(1).peer_id());
        let records: Vec<_> = records
            .into_iter()
            .map(|(sequence, end, value, readable)| {
                let record = signed(&[value], sequence, UnixTime::from_secs(end));
                let rank = readable.then_some((sequence, end));
                (rank, if readable { record } else { [&[0xff], &record[..]].concat() })
            })
            .collect();
        let values: Vec<&[u8]> = records.iter().map(|(_, record)| &record[..]).collect();
        let best = Ipns.select(&key, &values);
        for (index, record) in records.iter().enumerate() {
            prop_assert!(*record <= records[best]);
            prop_assert!(*record != records[best] || best <= index, "the first of equal ones");
        }
    }
}

#[test]
fn a_record_over_the_limit_is_refused_before_it_is_read() {
    let len = |value: usize| signed(&[b'x'].repeat(value), 0, LATER).len();
    let longest = 10_000 + MAX_LEN - len(10_000);
    let record = signed(&[b'x'].repeat(longest), 0, LATER);
    assert_eq!(record.len(), MAX_LEN);
    assert_eq!(judge(&record, &owner(1).peer_id(), NOW), Ok(()));
    let longer = [b'x'].repeat(longest + 1);
    let refused = Record::sign(&owner(1), &longer, 0, LATER, DEFAULT_TTL);
    assert_eq!(refused, Err(Error::TooLong));
    let garbage = [0xff].repeat(MAX_LEN + 1);
    assert_eq!(
        judge(&garbage, &owner(1).peer_id(), NOW),
        Err(Error::TooLong)
    );
}

#[test]
fn a_record_cut_anywhere_is_refused() {
    let nothing = judge(&with_data(b""), &owner(1).peer_id(), NOW);
    assert_eq!(nothing, Err(Error::NotSigned));
    let record = signed(b"/ipfs/x", 1, LATER);
    for len in 0..record.len() {
        assert!(
            judge(&record[..len], &owner(1).peer_id(), NOW).is_err(),
            "{len}"
        );
    }
}

#[test]
fn the_key_is_in_the_record_or_the_name_and_the_owners() {
    let name = owner(1).peer_id();
    let record = signed(b"/ipfs/x", 1, LATER);
    let key = owner(1).public().to_protobuf();
    let with_key = with_field(&record, 7, Value::Bytes(&key));
    assert_eq!(judge(&with_key, &name, NOW), Ok(()));
    let other = owner(2).public().to_protobuf();
    let with_other = with_field(&record, 7, Value::Bytes(&other));
    assert_eq!(judge(&with_other, &name, NOW), Err(Error::OtherKey));
    // Nor may whoever signed it bring the key along.
    let stolen = Record::sign(&owner(2), b"/ipfs/y", 9, LATER, DEFAULT_TTL).unwrap();
    assert_eq!(judge(&stolen, &name, NOW), Err(Error::Signature));
    let stolen = with_field(&stolen, 7, Value::Bytes(&other));
    assert_eq!(judge(&stolen, &name, NOW), Err(Error::OtherKey));
    let no_key = with_field(&record, 7, Value::Bytes(b"x"));
    assert!(matches!(
        judge(&no_key, &name, NOW),
        Err(Error::PublicKey(_))
    ));
    // A name that is only a hash.
    let hashed = PeerId::from_bytes(&[&[0x12, 32][..], &[5; 32]].concat()).unwrap();
    assert_eq!(judge(&record, &hashed, NOW), Err(Error::NoKey));
    assert_eq!(judge(&with_key, &hashed, NOW), Err(Error::OtherKey));
    let text = RecordKey::from("/ipns/example.com");
    let refused = Ipns.validate(&text, &record, NOW);
    assert!(matches!(refused, Err(InvalidRecord::Name(_))));
    let none = Namespaced::new().with("ipns", Ipns);
    let refused = none.validate(&"/ipns/".into(), &record, NOW);
    assert_eq!(refused, Err(InvalidRecord::Namespace));
}

#[test]
fn fields_beside_the_signed_ones_must_say_the_same() {
    let name = owner(1).peer_id();
    let record = Record::sign_with_v1(&owner(1), b"/ipfs/x", 5, LATER, DEFAULT_TTL).unwrap();
    assert_eq!(judge(&record, &name, NOW), Ok(()));
    for (number, value) in [
        (1, Value::Bytes(b"/ipfs/y")),
        (1, Value::Bytes(b"")),
        (3, Value::Varint(1)),
        (4, Value::Bytes(b"2999-01-01T00:00:00Z")),
        (5, Value::Varint(6)),
        (6, Value::Varint(6)),
    ] {
        let changed = with_field(&record, number, value);
        assert_eq!(
            judge(&changed, &name, NOW),
            Err(Error::Mismatch),
            "{number}"
        );
    }
    // The signature of version 1 counts for nothing, except that it demands the others.
    let changed = with_field(&record, 2, Value::Bytes(b"anything"));
    assert_eq!(judge(&changed, &name, NOW), Ok(()));
    let record = signed(b"/ipfs/x", 5, LATER);
    let alone = with_field(&record, 2, Value::Bytes(b"anything"));
    assert_eq!(judge(&alone, &name, NOW), Err(Error::Mismatch));
    // Of what nobody reads, boxo does not look at the number alone.
    let alone = with_field(&record, 5, Value::Varint(9));
    assert_eq!(judge(&alone, &name, NOW), Ok(()));
    assert_eq!(Record::parse(&alone).unwrap().sequence, 5);
}

#[test]
fn signed_fields_must_be_there_and_of_their_type() {
    use cbor::Value::{Bytes, Other, Unsigned};
    let name = owner(1).peer_id();
    let full = [
        ("TTL", Unsigned(1)),
        ("Value", Bytes(b"/x")),
        ("Sequence", Unsigned(1)),
        ("Validity", Bytes(b"2999-01-01T00:00:00Z")),
        ("ValidityType", Unsigned(0)),
    ];
    let judged = |entries: &[_]| judge(&with_data(&data(entries)), &name, NOW);
    assert_eq!(judged(&full), Ok(()));
    for at in 0..full.len() {
        let (field, value) = full[at];
        let mut entries = full.to_vec();
        entries[at].1 = Other;
        assert_eq!(judged(&entries), Err(Error::Field(field)));
        entries[at].1 = match value {
            Unsigned(_) => Bytes(b"1"),
            _ => Unsigned(1),
        };
        assert_eq!(judged(&entries), Err(Error::Field(field)));
        entries.remove(at);
        let expected = if field == "TTL" {
            Ok(())
        } else {
            Err(Error::Field(field))
        };
        assert_eq!(judged(&entries), expected, "{field}");
    }
    let mut entries = full.to_vec();
    entries[4].1 = Unsigned(1);
    assert_eq!(judged(&entries), Err(Error::ValidityType(1)));
    entries[4].1 = Unsigned(0);
    entries[3].1 = Bytes(b"tomorrow");
    assert_eq!(judged(&entries), Err(Error::Validity));
    entries[3].1 = Bytes(b"2999-01-01T00:00:00Z");
    entries.push(("_application", Other));
    entries.sort_by_key(|(key, _)| (key.len(), *key));
    assert_eq!(judged(&entries), Ok(()));
    entries.swap(0, 1);
    assert_eq!(judged(&entries), Err(Error::Data(CborError::Order)));
    assert_eq!(
        judge(&with_data(b"\x80"), &name, NOW),
        Err(Error::Data(CborError::Type))
    );
}

/// A name that is a hash needs the key in the record.
#[cfg(feature = "ecdsa")]
#[test]
fn a_key_too_long_for_the_name_is_in_the_record() {
    let owner = Keypair::generate_ecdsa(&mut crate::seed::Seed::for_tests(1).rng());
    let record = Record::sign(&owner, b"/x", 0, LATER, DEFAULT_TTL).unwrap();
    assert_eq!(judge(&record, &owner.peer_id(), NOW), Ok(()));
    let numbers = Reader::new(&record).map(|field| field.unwrap().number);
    assert_eq!(numbers.collect::<Vec<_>>(), [7, 8, 9]);
}
