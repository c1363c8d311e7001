//! What is written for a record or a provider record.
//!
//! Each entry begins with the version of its form and ends with a SipHash-1-3 of its key and all before: against disks that
//! give something else back than was written, not against people who can write to them.
//!
//! | entry | key | bytes, numbers little-endian |
//! |---|---|---|
//! | record | its key | version 1, origin, publisher, expiry, length of the value (u32), hash |
//! | value | the record's key | version 1, the value, hash |
//! | provider record | its key, and the provider if it is a peer's | version 1, origin, provider, expiry, count (u16) of addresses, each after its length (u32), hash |
//!
//! A peer is a length (u8) and the bytes of its id, none has length 0; so is the origin, where none is this node. An expiry is
//! nanoseconds since the Unix epoch (u64) after a byte that is 1, or a byte that is 0.

use bytes::Bytes;
use core::hash::Hasher as _;
use drywire::{
    identity::PeerId,
    multiaddr::Multiaddr,
    protocol::kad::{
        ProviderRecord, RecordKey,
        store::{Origin, RecordEntry},
    },
    time::UnixTime,
};
use siphasher::sip::SipHasher13;

const VERSION: u8 = 1;
const CHECK_LEN: usize = 8;

/// Where a value is: on disk alone, or here too until it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Value(pub(crate) Option<Bytes>);

impl From<Bytes> for Value {
    fn from(bytes: Bytes) -> Self {
        Self(Some(bytes))
    }
}

/// What an entry is, so that none is taken for another.
#[derive(Clone, Copy)]
enum Kind {
    Record = 1,
    Value = 2,
    Provider = 3,
}

fn check(kind: Kind, key: &[u8], body: &[u8]) -> [u8; CHECK_LEN] {
    let mut hash = SipHasher13::new();
    hash.write_u8(kind as u8);
    hash.write_usize(key.len());
    hash.write(key);
    hash.write(body);
    hash.finish().to_le_bytes()
}

fn sealed(kind: Kind, key: &[u8], mut body: Vec<u8>) -> Vec<u8> {
    let check = check(kind, key, &body);
    body.extend(check);
    body
}

/// What is between the version and the hash, if both are right.
fn opened<'a>(kind: Kind, key: &[u8], entry: &'a [u8]) -> Option<&'a [u8]> {
    let (body, found) = entry.split_last_chunk::<CHECK_LEN>()?;
    if check(kind, key, body) != *found {
        return None;
    }
    let (version, rest) = body.split_first()?;
    (*version == VERSION).then_some(rest)
}

pub(crate) fn encode_value(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(value.len().saturating_add(CHECK_LEN).saturating_add(1));
    body.push(VERSION);
    body.extend(value);
    sealed(Kind::Value, key, body)
}

pub(crate) fn decode_value(key: &[u8], entry: &[u8]) -> Option<Bytes> {
    opened(Kind::Value, key, entry).map(Bytes::copy_from_slice)
}

pub(crate) fn encode_record<V>(key: &[u8], record: &RecordEntry<V>) -> Vec<u8> {
    let mut body = vec![VERSION];
    push_origin(&mut body, record.origin);
    push_peer(&mut body, record.publisher.as_ref());
    push_time(&mut body, record.expires);
    body.extend(
        u32::try_from(record.value_len)
            .unwrap_or(u32::MAX)
            .to_le_bytes(),
    );
    sealed(Kind::Record, key, body)
}

pub(crate) fn decode_record(key: &[u8], entry: &[u8]) -> Option<RecordEntry<Value>> {
    let mut rest = Reader(opened(Kind::Record, key, entry)?);
    let record = RecordEntry {
        origin: rest.origin()?,
        publisher: rest.peer()?,
        expires: rest.time()?,
        value_len: usize::try_from(u32::from_le_bytes(rest.array()?)).ok()?,
        value: Value(None),
    };
    rest.0.is_empty().then_some(record)
}

pub(crate) fn encode_provider(record: &ProviderRecord, origin: Origin) -> Vec<u8> {
    let mut body = vec![VERSION];
    push_origin(&mut body, origin);
    push_peer(&mut body, Some(&record.provider));
    push_time(&mut body, record.expires);
    let count = u16::try_from(record.addresses.len()).unwrap_or(u16::MAX);
    body.extend(count.to_le_bytes());
    for address in record.addresses.iter().take(usize::from(count)) {
        let bytes = address.as_bytes();
        body.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
        body.extend(bytes);
    }
    sealed(Kind::Provider, record.key.as_bytes(), body)
}

pub(crate) fn decode_provider(key: &[u8], entry: &[u8]) -> Option<(ProviderRecord, Origin)> {
    let mut rest = Reader(opened(Kind::Provider, key, entry)?);
    let (origin, provider, expires) = (rest.origin()?, rest.peer()??, rest.time()?);
    let mut addresses = Vec::new();
    for _ in 0..u16::from_le_bytes(rest.array()?) {
        let len = usize::try_from(u32::from_le_bytes(rest.array()?)).ok()?;
        addresses.push(Multiaddr::from_bytes(rest.take(len)?).ok()?);
    }
    let key = RecordKey::copy_from_slice(key);
    let record = ProviderRecord {
        key,
        provider,
        expires,
        addresses,
    };
    rest.0.is_empty().then_some((record, origin))
}

fn push_origin(body: &mut Vec<u8>, origin: Origin) {
    match origin {
        Origin::Local => push_peer(body, None),
        Origin::Peer(peer) => push_peer(body, Some(&peer)),
    }
}

fn push_peer(body: &mut Vec<u8>, peer: Option<&PeerId>) {
    let bytes = peer.map_or(&[][..], PeerId::as_bytes);
    body.push(u8::try_from(bytes.len()).unwrap_or_default());
    body.extend(bytes);
}

fn push_time(body: &mut Vec<u8>, time: Option<UnixTime>) {
    body.push(u8::from(time.is_some()));
    body.extend(
        time.into_iter()
            .flat_map(|time| time.as_nanos().to_le_bytes()),
    );
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.first_chunk().copied()
    }

    fn peer(&mut self) -> Option<Option<PeerId>> {
        let [len] = self.array()?;
        let bytes = self.take(usize::from(len))?;
        if bytes.is_empty() {
            return Some(None);
        }
        PeerId::from_bytes(bytes).ok().map(Some)
    }

    fn origin(&mut self) -> Option<Origin> {
        Some(self.peer()?.map_or(Origin::Local, Origin::Peer))
    }

    fn time(&mut self) -> Option<Option<UnixTime>> {
        match self.array()? {
            [0] => Some(None),
            [1] => self
                .array()
                .map(|bytes| Some(UnixTime::from_nanos(u64::from_le_bytes(bytes)))),
            _ => None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::std_instead_of_core)]
mod tests {
    use super::*;
    use proptest::{collection::vec, option, prelude::*};

    fn peers() -> impl Strategy<Value = PeerId> {
        any::<[u8; 32]>()
            .prop_map(|digest| PeerId::from_bytes(&[&[0x12, 32], &digest[..]].concat()).unwrap())
    }

    fn origins() -> impl Strategy<Value = Origin> {
        option::of(peers()).prop_map(|peer| peer.map_or(Origin::Local, Origin::Peer))
    }

    fn times() -> impl Strategy<Value = Option<UnixTime>> {
        option::of(any::<u64>().prop_map(UnixTime::from_nanos))
    }

    fn addresses() -> impl Strategy<Value = Vec<Multiaddr>> {
        let address = any::<([u8; 4], u16)>()
            .prop_map(|([a, b, c, d], port)| format!("/ip4/{a}.{b}.{c}.{d}/tcp/{port}"));
        vec(address.prop_map(|address| address.parse().unwrap()), 0..5)
    }

    proptest! {
        #[test]
        fn entries_come_back_as_they_were_and_no_others(
            key in vec(any::<u8>(), 0..9), value in vec(any::<u8>(), 0..40), origin in origins(),
            publisher in option::of(peers()), expires in times(), provider in peers(), addresses in addresses(),
            bit in any::<prop::sample::Index>(),
        ) {
            let record = RecordEntry { value: Value(None), value_len: value.len(), publisher, expires, origin };
            let provided = ProviderRecord { key: RecordKey::copy_from_slice(&key), provider, expires, addresses };
            let mut entries = [encode_record(&key, &record), encode_value(&key, &value), encode_provider(&provided, origin)];
            prop_assert_eq!(decode_record(&key, &entries[0]), Some(record));
            prop_assert_eq!(decode_value(&key, &entries[1]), Some(value.into()));
            prop_assert_eq!(decode_provider(&key, &entries[2]), Some((provided, origin)));
            // Under another key, as another kind, with a bit turned round, or cut short, it is nothing.
            let other = [&key[..], b"x"].concat();
            let is_nothing = |key: &[u8], entry: &[u8]| decode_record(key, entry).is_none()
                && decode_value(key, entry).is_none() && decode_provider(key, entry).is_none();
            for (at, entry) in entries.iter_mut().enumerate() {
                prop_assert!(is_nothing(&other, entry));
                prop_assert!(is_nothing(&key, &entry[..bit.index(entry.len())]));
                prop_assert!(at == 0 || decode_record(&key, entry).is_none());
                prop_assert!(at == 1 || decode_value(&key, entry).is_none());
                prop_assert!(at == 2 || decode_provider(&key, entry).is_none());
                let turned = bit.index(entry.len() * 8);
                entry[turned / 8] ^= 1 << (turned % 8);
                prop_assert!(is_nothing(&key, entry));
            }
        }
    }
}
