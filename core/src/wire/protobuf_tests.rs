//! Against prost, with the shapes of messages that libp2p exchanges.

use super::*;
use proptest::prelude::*;
use prost::Message;
use std::string::{String, ToString};
use std::vec;

/// The shape of identify (proto2).
#[derive(Clone, PartialEq, Message)]
struct Identify {
    #[prost(bytes = "vec", optional, tag = "1")]
    public_key: Option<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    listen_addrs: Vec<Vec<u8>>,
    #[prost(string, repeated, tag = "3")]
    protocols: Vec<String>,
    #[prost(bytes = "vec", optional, tag = "4")]
    observed_addr: Option<Vec<u8>>,
    #[prost(string, optional, tag = "5")]
    protocol_version: Option<String>,
    #[prost(string, optional, tag = "6")]
    agent_version: Option<String>,
    #[prost(bytes = "vec", optional, tag = "8")]
    signed_peer_record: Option<Vec<u8>>,
}

/// The shape of a Noise handshake payload: a nested message with repeated fields.
#[derive(Clone, PartialEq, Message)]
struct Payload {
    #[prost(bytes = "vec", optional, tag = "1")]
    identity_key: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    identity_sig: Option<Vec<u8>>,
    #[prost(message, optional, tag = "4")]
    extensions: Option<Extensions>,
}

#[derive(Clone, PartialEq, Message)]
struct Extensions {
    #[prost(bytes = "vec", repeated, tag = "1")]
    certhashes: Vec<Vec<u8>>,
    #[prost(string, repeated, tag = "2")]
    muxers: Vec<String>,
}

/// The shape of a peer record (proto3): an integer, and a repeated nested message. The flags are added, to have every
/// kind of integer once.
#[derive(Clone, PartialEq, Message)]
struct PeerRecord {
    #[prost(bytes = "vec", tag = "1")]
    peer_id: Vec<u8>,
    #[prost(uint64, tag = "2")]
    seq: u64,
    #[prost(message, repeated, tag = "3")]
    addresses: Vec<Address>,
    #[prost(int32, tag = "4")]
    kind: i32,
    #[prost(bool, tag = "5")]
    flag: bool,
    #[prost(uint32, tag = "1000")]
    small: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Address {
    #[prost(bytes = "vec", tag = "1")]
    multiaddr: Vec<u8>,
}

/// Decoding and encoding with our reader and writer.
trait Ours: Message + Default + PartialEq + fmt::Debug {
    fn read(input: &[u8]) -> Result<Self, Error>;
    fn write(&self, writer: &mut Writer<'_>);

    fn to_ours(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut Writer::new(&mut out));
        out
    }
}

impl Ours for Identify {
    fn read(input: &[u8]) -> Result<Self, Error> {
        let mut message = Self::default();
        for field in Reader::new(input) {
            let field = field?;
            match field.number {
                1 => message.public_key = Some(field.as_bytes()?.to_vec()),
                2 => message.listen_addrs.push(field.as_bytes()?.to_vec()),
                3 => message.protocols.push(field.as_str()?.to_string()),
                4 => message.observed_addr = Some(field.as_bytes()?.to_vec()),
                5 => message.protocol_version = Some(field.as_str()?.to_string()),
                6 => message.agent_version = Some(field.as_str()?.to_string()),
                8 => message.signed_peer_record = Some(field.as_bytes()?.to_vec()),
                _ => {}
            }
        }
        Ok(message)
    }

    fn write(&self, writer: &mut Writer<'_>) {
        if let Some(bytes) = &self.public_key {
            writer.bytes(1, bytes);
        }
        for bytes in &self.listen_addrs {
            writer.bytes(2, bytes);
        }
        for text in &self.protocols {
            writer.string(3, text);
        }
        if let Some(bytes) = &self.observed_addr {
            writer.bytes(4, bytes);
        }
        if let Some(text) = &self.protocol_version {
            writer.string(5, text);
        }
        if let Some(text) = &self.agent_version {
            writer.string(6, text);
        }
        if let Some(bytes) = &self.signed_peer_record {
            writer.bytes(8, bytes);
        }
    }
}

impl Extensions {
    /// A message that occurs twice is merged: the caller reads into what is there.
    fn merge_ours(&mut self, input: &[u8]) -> Result<(), Error> {
        for field in Reader::new(input) {
            let field = field?;
            match field.number {
                1 => self.certhashes.push(field.as_bytes()?.to_vec()),
                2 => self.muxers.push(field.as_str()?.to_string()),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Ours for Payload {
    fn read(input: &[u8]) -> Result<Self, Error> {
        let mut message = Self::default();
        for field in Reader::new(input) {
            let field = field?;
            match field.number {
                1 => message.identity_key = Some(field.as_bytes()?.to_vec()),
                2 => message.identity_sig = Some(field.as_bytes()?.to_vec()),
                4 => message
                    .extensions
                    .get_or_insert_default()
                    .merge_ours(field.as_bytes()?)?,
                _ => {}
            }
        }
        Ok(message)
    }

    fn write(&self, writer: &mut Writer<'_>) {
        if let Some(bytes) = &self.identity_key {
            writer.bytes(1, bytes);
        }
        if let Some(bytes) = &self.identity_sig {
            writer.bytes(2, bytes);
        }
        if let Some(extensions) = &self.extensions {
            writer.message(4, |nested| {
                for bytes in &extensions.certhashes {
                    nested.bytes(1, bytes);
                }
                for text in &extensions.muxers {
                    nested.string(2, text);
                }
            });
        }
    }
}

impl Ours for PeerRecord {
    fn read(input: &[u8]) -> Result<Self, Error> {
        let mut message = Self::default();
        for field in Reader::new(input) {
            let field = field?;
            match field.number {
                1 => message.peer_id = field.as_bytes()?.to_vec(),
                2 => message.seq = field.as_u64()?,
                3 => {
                    let mut address = Address::default();
                    for field in Reader::new(field.as_bytes()?) {
                        let field = field?;
                        if field.number == 1 {
                            address.multiaddr = field.as_bytes()?.to_vec();
                        }
                    }
                    message.addresses.push(address);
                }
                4 => message.kind = field.as_i32()?,
                5 => message.flag = field.as_bool()?,
                1000 => message.small = field.as_u32()?,
                _ => {}
            }
        }
        Ok(message)
    }

    fn write(&self, writer: &mut Writer<'_>) {
        if !self.peer_id.is_empty() {
            writer.bytes(1, &self.peer_id);
        }
        if self.seq != 0 {
            writer.uint64(2, self.seq);
        }
        for address in &self.addresses {
            writer.message(3, |nested| {
                if !address.multiaddr.is_empty() {
                    nested.bytes(1, &address.multiaddr);
                }
            });
        }
        if self.kind != 0 {
            writer.uint64(4, i64::from(self.kind) as u64);
        }
        if self.flag {
            writer.bool(5, true);
        }
        if self.small != 0 {
            writer.uint64(1000, u64::from(self.small));
        }
    }
}

fn blob() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..200)
}

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,40}"
}

fn identify() -> impl Strategy<Value = Identify> {
    (
        proptest::option::of(blob()),
        proptest::collection::vec(blob(), 0..5),
        proptest::collection::vec(text(), 0..5),
        proptest::option::of(blob()),
        proptest::option::of(text()),
        proptest::option::of(text()),
        proptest::option::of(blob()),
    )
        .prop_map(|fields| Identify {
            public_key: fields.0,
            listen_addrs: fields.1,
            protocols: fields.2,
            observed_addr: fields.3,
            protocol_version: fields.4,
            agent_version: fields.5,
            signed_peer_record: fields.6,
        })
}

fn payload() -> impl Strategy<Value = Payload> {
    let extensions = (
        proptest::collection::vec(blob(), 0..4),
        proptest::collection::vec(text(), 0..4),
    )
        .prop_map(|(certhashes, muxers)| Extensions { certhashes, muxers });
    (
        proptest::option::of(blob()),
        proptest::option::of(blob()),
        proptest::option::of(extensions),
    )
        .prop_map(|(identity_key, identity_sig, extensions)| Payload {
            identity_key,
            identity_sig,
            extensions,
        })
}

fn peer_record() -> impl Strategy<Value = PeerRecord> {
    (
        blob(),
        any::<u64>(),
        proptest::collection::vec(blob().prop_map(|multiaddr| Address { multiaddr }), 0..5),
        any::<i32>(),
        any::<bool>(),
        any::<u32>(),
    )
        .prop_map(|(peer_id, seq, addresses, kind, flag, small)| PeerRecord {
            peer_id,
            seq,
            addresses,
            kind,
            flag,
            small,
        })
}

/// Bytes with the structure of a message, sound or nearly so: what random bytes hardly ever are.
fn near_message() -> impl Strategy<Value = Vec<u8>> {
    let field = (0..11u64, 0..8u64, blob(), any::<u64>(), 0..4usize).prop_map(
        |(number, wire_type, bytes, value, padding)| {
            let mut out = Vec::new();
            varint::encode(number << 3 | wire_type, &mut out);
            let mut length = Vec::new();
            varint::encode(
                if wire_type == 2 {
                    bytes.len() as u64
                } else {
                    value
                },
                &mut length,
            );
            for _ in 0..padding {
                *length.last_mut().unwrap() |= 0x80;
                length.push(0);
            }
            match wire_type {
                0 => out.extend(length),
                1 => out.extend(value.to_le_bytes()),
                2 => {
                    out.extend(length);
                    out.extend(bytes);
                }
                5 => out.extend((value as u32).to_le_bytes()),
                _ => {}
            }
            out
        },
    );
    (proptest::collection::vec(field, 0..6), 0..4usize).prop_map(|(fields, cut)| {
        let mut out = fields.concat();
        out.truncate(out.len().saturating_sub(cut / 2));
        out
    })
}

/// Both parsers give the same message, or both refuse. Only groups differ: prost passes over unknown ones.
fn agree<M: Ours>(input: &[u8]) {
    let ours = M::read(input);
    if ours == Err(Error::WireType) {
        return;
    }
    let theirs = M::decode(input);
    match (&ours, &theirs) {
        (Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs),
        (Err(_), Err(_)) => {}
        _ => panic!("{ours:?} against {theirs:?}"),
    }
}

proptest! {
    #[test]
    fn written_as_prost_writes_and_read_back(
        identify in identify(),
        payload in payload(),
        record in peer_record(),
    ) {
        prop_assert_eq!(identify.to_ours(), identify.encode_to_vec());
        prop_assert_eq!(Identify::read(&identify.to_ours()), Ok(identify));
        prop_assert_eq!(payload.to_ours(), payload.encode_to_vec());
        prop_assert_eq!(Payload::read(&payload.to_ours()), Ok(payload));
        prop_assert_eq!(record.to_ours(), record.encode_to_vec());
        prop_assert_eq!(PeerRecord::read(&record.to_ours()), Ok(record));
    }

    #[test]
    fn any_bytes_read_as_prost_reads_them(input in prop_oneof![blob(), near_message()]) {
        agree::<Identify>(&input);
        agree::<Payload>(&input);
        agree::<PeerRecord>(&input);
    }

    #[test]
    fn damaged_messages_read_as_prost_reads_them(
        record in peer_record(),
        payload in payload(),
        at: proptest::sample::Index,
        bit in 0..8u8,
        cut: bool,
    ) {
        let damage = |mut bytes: Vec<u8>| {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                if cut { bytes.truncate(at) } else { bytes[at] ^= 1u8 << bit }
            }
            bytes
        };
        agree::<PeerRecord>(&damage(record.encode_to_vec()));
        agree::<Payload>(&damage(payload.encode_to_vec()));
    }

    #[test]
    fn counting_is_counting(input in near_message(), max in 0..4usize) {
        let fields: Result<Vec<Field<'_>>, Error> = Reader::new(&input).collect();
        let checked = check_counts(&input, &[(2, max), (3, 0)]);
        if let Ok(fields) = fields {
            let count = |number| fields.iter().filter(|field| field.number == number).count();
            prop_assert_eq!(checked.is_ok(), count(2) <= max && count(3) == 0);
        } else {
            prop_assert!(checked.is_err());
        }
    }
}

#[test]
fn every_prefix_of_a_message_is_a_shorter_message_or_truncated() {
    let message = Identify {
        public_key: Some(vec![7; 130]),
        protocols: vec!["/a".to_string(), "/b".to_string()],
        ..Identify::default()
    };
    let bytes = message.to_ours();
    for cut in 0..bytes.len() {
        let mut reader = Reader::new(&bytes[..cut]);
        let mut whole = 0;
        let end = loop {
            match reader.next() {
                Some(Ok(_)) => whole += 1,
                end => break end,
            }
        };
        assert!(matches!(end, None | Some(Err(Error::Truncated))));
        assert_eq!(reader.next(), None, "nothing after an error");
        let at_boundary = [0, 133, 137].contains(&cut);
        assert_eq!(end.is_none(), at_boundary, "cut at {cut}");
        assert_eq!(whole, [133, 137].iter().filter(|end| **end <= cut).count());
    }
}

#[test]
fn malformed_fields_are_named() {
    for (input, expected) in [
        (&[0x00][..], Error::FieldNumber),
        (&[0x07], Error::FieldNumber),
        (&[0x80, 0x80, 0x80, 0x80, 0x10], Error::FieldNumber),
        (&[0x0b], Error::WireType),
        (&[0x0c], Error::WireType),
        (&[0x0e], Error::WireType),
        (&[0x0f], Error::WireType),
        (&[0x08], Error::Truncated),
        (&[0x08, 0x80], Error::Truncated),
        (&[0x09, 0, 0, 0, 0, 0, 0, 0], Error::Truncated),
        (&[0x0d, 0, 0, 0], Error::Truncated),
        (&[0x0a, 2, 0], Error::Truncated),
        (
            &[
                0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01,
            ],
            Error::Truncated,
        ),
        (
            &[
                0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02,
            ],
            Error::Overflow,
        ),
    ] {
        let fields: Vec<_> = Reader::new(input).collect();
        assert_eq!(fields, [Err(expected)], "{input:?}");
    }
    let highest = [0xf8, 0xff, 0xff, 0xff, 0x0f, 0x01];
    assert_eq!(
        Reader::new(&highest).next(),
        Some(Ok(Field {
            number: MAX_NUMBER,
            value: Value::Varint(1)
        }))
    );
}

#[test]
fn a_known_field_of_another_type_is_a_mismatch() {
    let number = 1;
    let mismatch = Error::Mismatch { number };
    for value in [Value::Varint(1), Value::Fixed32(1), Value::Fixed64(1)] {
        let field = Field { number, value };
        assert_eq!(field.as_bytes(), Err(mismatch));
        assert_eq!(field.as_str(), Err(mismatch));
        assert_eq!(field.as_u64().is_ok(), value == Value::Varint(1));
    }
    let field = Field {
        number,
        value: Value::Bytes(&[0xff]),
    };
    assert_eq!(field.as_str(), Err(Error::NotUtf8 { number }));
    assert_eq!(field.as_u64(), Err(mismatch));
    assert_eq!(field.as_u32(), Err(mismatch));
    assert_eq!(field.as_i32(), Err(mismatch));
    assert_eq!(field.as_bool(), Err(mismatch));
}

/// T38: a frame of nothing but empty elements is refused after as many as are allowed, whatever its length.
#[test]
fn a_frame_of_empty_elements_is_refused_before_it_is_collected() {
    let frame = [0x12, 0x00].repeat(2 << 20);
    assert_eq!(
        check_counts(&frame, &[(1, 1), (2, 64)]),
        Err(Error::TooMany { number: 2, max: 64 })
    );
    assert_eq!(check_counts(&frame[..128], &[(1, 1), (2, 64)]), Ok(()));
    assert_eq!(
        check_counts(&frame[..130], &[(2, 64)]),
        Err(Error::TooMany { number: 2, max: 64 })
    );
}

/// T20: nesting costs nothing, because nobody descends. Each level here is a field that holds all the deeper ones.
#[test]
fn deep_nesting_is_flat() {
    let mut message = Vec::new();
    for _ in 0..2_000 {
        let mut outer = Vec::new();
        Writer::new(&mut outer).bytes(1, &message);
        message = outer;
    }
    assert_eq!(Reader::new(&message).count(), 1);
    assert_eq!(check_counts(&message, &[(1, 1)]), Ok(()));
    // A million opened groups end at the first.
    let groups = vec![0x0b; 1_000_000];
    assert_eq!(Reader::new(&groups).count(), 1);
}

#[test]
fn nested_lengths_of_every_size() {
    for len in [0, 1, 125, 126, 127, 128, 16_380, 16_384, 70_000] {
        let mut ours = vec![0xaa];
        Writer::new(&mut ours)
            .message(1, |nested| {
                nested.message(2, |inner| {
                    inner.bytes(3, &vec![5; len]);
                });
            })
            .bool(4, true);
        let mut innermost = Vec::new();
        Writer::new(&mut innermost).bytes(3, &vec![5; len]);
        let mut middle = Vec::new();
        Writer::new(&mut middle).bytes(2, &innermost);
        let mut expected = vec![0xaa];
        Writer::new(&mut expected).bytes(1, &middle).uint64(4, 1);
        assert_eq!(ours, expected);
    }
}
