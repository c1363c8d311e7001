mod exchange;

use super::{cbor, json, *};
use crate::{multistream::ProtocolName, protocol::request_response::Codec};
use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};
use bytes::Bytes;
use core::cell::Cell;
use proptest::{
    collection::{btree_map, vec},
    prelude::*,
};
use serde::{
    Deserialize, Serialize,
    de::DeserializeOwned,
    ser::{SerializeSeq, Serializer},
};
use std::{format, string::ToString, vec};

const NAME: ProtocolName = ProtocolName::from_static("/values/1");

/// One of the two codecs, for requests that are `T`.
trait Format {
    type Codec<T>: Codec<Request = T, Response = T> + Default
    where
        T: Serialize + DeserializeOwned + fmt::Debug;
    /// What the library alone makes of a value.
    fn plain<T: Serialize>(value: &T) -> Vec<u8>;
    /// So many arrays in one another.
    fn nested(depth: usize) -> Vec<u8>;
    /// Whether the error is one of a body that ends too early.
    fn is_cut_short(error: &CodecError) -> bool;
}

struct Cbor;
struct Json;

impl Format for Cbor {
    type Codec<T>
        = cbor::Codec<T, T>
    where
        T: Serialize + DeserializeOwned + fmt::Debug;

    fn plain<T: Serialize>(value: &T) -> Vec<u8> {
        cbor4ii::serde::to_vec(Vec::new(), value).unwrap()
    }

    fn nested(depth: usize) -> Vec<u8> {
        let mut bytes = vec![0x81; depth - 1];
        bytes.push(0x80);
        bytes
    }

    fn is_cut_short(error: &CodecError) -> bool {
        *error == CodecError::UnexpectedEnd
    }
}

impl Format for Json {
    type Codec<T>
        = json::Codec<T, T>
    where
        T: Serialize + DeserializeOwned + fmt::Debug;

    fn plain<T: Serialize>(value: &T) -> Vec<u8> {
        serde_json::to_vec(value).unwrap()
    }

    fn nested(depth: usize) -> Vec<u8> {
        ["[".repeat(depth), "]".repeat(depth)].concat().into_bytes()
    }

    fn is_cut_short(error: &CodecError) -> bool {
        // It wants to know what comes after a number that is a key.
        matches!(error, CodecError::UnexpectedEnd | CodecError::Malformed(_))
    }
}

/// As a request and as a response: the two are the same.
fn encode<F: Format, T>(value: &T, max: u32) -> Result<Bytes, CodecError>
where
    T: Serialize + DeserializeOwned + fmt::Debug,
{
    let mut codec = F::Codec::<T>::default();
    codec.set_limits(max, u32::MAX);
    let request = codec.encode_request(&NAME, value);
    codec.set_limits(0, max);
    assert_eq!(codec.encode_response(&NAME, value), request);
    request
}

fn decode<F: Format, T>(bytes: &[u8]) -> Result<T, CodecError>
where
    T: Serialize + DeserializeOwned + fmt::Debug + PartialEq,
{
    let mut codec = F::Codec::<T>::default();
    let request = codec.decode_request(&NAME, Bytes::copy_from_slice(bytes));
    let response = codec.decode_response(&NAME, Bytes::copy_from_slice(bytes));
    assert_eq!(response, request);
    request
}

/// Bytes that ask for CBOR's bytes.
#[derive(Clone, Debug, PartialEq)]
struct Raw(Vec<u8>);

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Raw;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Raw, E> {
                Ok(Raw(bytes.to_vec()))
            }

            // JSON has no bytes.
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = seq.next_element()? {
                    bytes.push(byte);
                }
                Ok(Raw(bytes))
            }
        }
        deserializer.deserialize_bytes(Visitor)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Wrapped(u32);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Empty,
    One(i64),
    Pair(u8, String),
    Named { x: i16, y: Option<bool> },
    Nested(Box<Shape>),
}

/// All that serde's data model has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Everything {
    nothing: (),
    unit: Unit,
    wrapped: Wrapped,
    truth: bool,
    small: (i8, i16, i32, i64),
    large: (u8, u16, u32, u64),
    wide: (i128, u128),
    floats: (f32, f64),
    letter: char,
    text: String,
    bytes: Raw,
    numbers: Vec<u8>,
    perhaps: Option<Wrapped>,
    shapes: Vec<Shape>,
    by_name: BTreeMap<String, u16>,
    by_number: BTreeMap<i32, bool>,
}

fn shape() -> impl Strategy<Value = Shape> {
    let leaf = prop_oneof![
        Just(Shape::Empty),
        any::<i64>().prop_map(Shape::One),
        (any::<u8>(), ".{0,6}").prop_map(|(number, text)| Shape::Pair(number, text)),
        any::<(i16, Option<bool>)>().prop_map(|(x, y)| Shape::Named { x, y }),
    ];
    leaf.prop_recursive(4, 8, 1, |inner| {
        inner.prop_map(|inner| Shape::Nested(Box::new(inner)))
    })
}

prop_compose! {
    fn everything()(
        truth in any::<bool>(),
        wrapped in any::<u32>(),
        small in any::<(i8, i16, i32, i64)>(),
        large in any::<(u8, u16, u32, u64)>(),
        wide in any::<(i128, u128)>(),
        floats in any::<(f32, f64)>(),
        letter in any::<char>(),
        text in ".{0,6}",
        bytes in vec(any::<u8>(), 0..30),
        perhaps in any::<Option<u32>>(),
        shapes in vec(shape(), 0..4),
    )(
        by_name in btree_map(".{0,6}", any::<u16>(), 0..4),
        by_number in btree_map(any::<i32>(), any::<bool>(), 0..4),
        numbers in vec(any::<u8>(), 0..30),
        truth in Just(truth), wrapped in Just(wrapped), small in Just(small), large in Just(large), wide in Just(wide),
        floats in Just(floats), letter in Just(letter), text in Just(text), bytes in Just(bytes), perhaps in Just(perhaps),
        shapes in Just(shapes),
    ) -> Everything {
        Everything {
            nothing: (), unit: Unit, wrapped: Wrapped(wrapped), truth, small, large, wide, floats, letter, text,
            bytes: Raw(bytes), numbers, perhaps: perhaps.map(Wrapped), shapes, by_name, by_number,
        }
    }
}

/// What one value must keep to in one format.
fn laws<F: Format>(value: &Everything) {
    let plain = F::plain(value);
    let len = u32::try_from(plain.len()).unwrap();
    assert_eq!(encode::<F, _>(value, len).unwrap(), plain, "at the limit");
    assert_eq!(decode::<F, Everything>(&plain).as_ref(), Ok(value));
    for end in 0..plain.len() {
        let cut = decode::<F, Everything>(&plain[..end]);
        assert!(F::is_cut_short(&cut.unwrap_err()), "{end} of {len}");
    }
    let more = [&plain[..], &plain[..1]].concat();
    let read = decode::<F, Everything>(&more);
    assert!(matches!(read, Err(CodecError::Malformed(_))), "{read:?}");
    for max in [0, len / 2, len - 1] {
        match encode::<F, _>(value, max) {
            // Only what the whole text tells: the protocol measures it.
            Ok(bytes) => assert_eq!(bytes, plain),
            Err(CodecError::TooLarge { len: least }) => {
                assert!(least > max as usize && least <= plain.len());
            }
            Err(error) => panic!("{error}"),
        }
    }
}

proptest! {
    #[test]
    fn values_come_back_whole_or_not_at_all(value in everything()) {
        laws::<Cbor>(&value);
        laws::<Json>(&value);
    }

    #[test]
    fn cbor_never_passes_its_limit(value in everything(), max in 0_u32..800) {
        let len = Cbor::plain(&value).len();
        let encoded = encode::<Cbor, _>(&value, max);
        prop_assert_eq!(encoded.is_ok(), len <= max as usize);
    }

    #[test]
    fn no_bytes_are_too_strange(bytes in any::<Vec<u8>>(), shape in shape(), at in any::<prop::sample::Index>(), bit in 0..8) {
        let _ = decode::<Cbor, Everything>(&bytes);
        let _ = decode::<Cbor, Shape>(&bytes);
        let _ = decode::<Json, Everything>(&bytes);
        for mut bytes in [Cbor::plain(&shape), Json::plain(&shape)] {
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            let _ = decode::<Cbor, Shape>(&bytes);
            let _ = decode::<Json, Shape>(&bytes);
        }
    }
}

/// The bytes that rust-libp2p's peers expect, by hand from RFC 8949.
#[test]
fn cbor_on_the_wire() {
    #[track_caller]
    fn check<T: Serialize + DeserializeOwned + fmt::Debug + PartialEq>(value: T, wire: &[u8]) {
        assert_eq!(encode::<Cbor, T>(&value, u32::MAX).unwrap(), wire);
        assert_eq!(decode::<Cbor, T>(wire), Ok(value));
    }
    check((), &[0x80]);
    check(Unit, &[0x80]);
    check(None::<u8>, &[0xf6]);
    check(Some(7_u8), &[0x07]);
    check(true, &[0xf5]);
    check(23_u64, &[0x17]);
    check(24_u64, &[0x18, 24]);
    check(-1_i32, &[0x20]);
    check(70_000_u32, &[0x1a, 0, 1, 0x11, 0x70]);
    check(1.5_f32, &[0xfa, 0x3f, 0xc0, 0, 0]);
    check(1.5_f64, &[0xfb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0]);
    check('a', &[0x61, b'a']);
    check("hi".to_string(), &[0x62, b'h', b'i']);
    check(vec![1_u8, 2], &[0x82, 1, 2]);
    check(Raw(vec![1, 2]), &[0x42, 1, 2]);
    check((1_u8, false), &[0x82, 1, 0xf4]);
    check(Wrapped(5), &[0x05]);
    check(Shape::Empty, b"\x65Empty");
    check(Shape::One(-2), b"\xa1\x63One\x21");
    check(Shape::Pair(1, "a".into()), b"\xa1\x64Pair\x82\x01\x61a");
    check(
        Shape::Named { x: 1, y: None },
        b"\xa1\x65Named\xa2\x61x\x01\x61y\xf6",
    );
    check(BTreeMap::from([(1_u8, 2_u8)]), &[0xa1, 1, 2]);
    // More bits than a u64 has: a bignum.
    check(1_u128 << 64, &[0xc2, 0x49, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    // What it says cannot tell the two kinds of nothing apart.
    assert_eq!(
        encode::<Cbor, _>(&Some(None::<u8>), 9).unwrap(),
        &[0xf6][..]
    );
}

#[test]
fn json_on_the_wire() {
    #[track_caller]
    fn check<T: Serialize + DeserializeOwned + fmt::Debug + PartialEq>(value: T, wire: &str) {
        assert_eq!(encode::<Json, T>(&value, u32::MAX).unwrap(), wire);
        assert_eq!(decode::<Json, T>(wire.as_bytes()), Ok(value));
    }
    check((), "null");
    check(None::<u8>, "null");
    check(Shape::Empty, "\"Empty\"");
    check(Shape::Pair(1, "a\n".into()), r#"{"Pair":[1,"a\n"]}"#);
    check(
        Shape::Named { x: -1, y: None },
        r#"{"Named":{"x":-1,"y":null}}"#,
    );
    check(vec![1_u8, 2], "[1,2]");
    assert_eq!(
        decode::<Json, u8>(b" 1\n"),
        Ok(1),
        "white space is no value"
    );
}

#[test]
fn an_empty_body_is_no_value() {
    assert_eq!(decode::<Cbor, ()>(b""), Err(CodecError::UnexpectedEnd));
    assert_eq!(decode::<Json, ()>(b""), Err(CodecError::UnexpectedEnd));
}

/// A one-way request has no response, and codecs say what stands for it. Fails if success is looked for in an empty body.
#[test]
fn no_response_is_a_value_of_its_own() {
    let name = ProtocolName::from_static("/news/1");
    assert_eq!(cbor::Codec::<u8, ()>::default().no_response(&name), Ok(()));
    assert_eq!(json::Codec::<u8, ()>::default().no_response(&name), Ok(()));
    let mut maybe = json::Codec::<u8, Option<u8>>::default();
    assert_eq!(maybe.no_response(&name), Ok(None));
    let mut never = cbor::Codec::<u8, u8>::default();
    assert!(never.no_response(&name).is_err());
}

/// A tree of any depth, and a type that passes over what it does not know.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Tree(Vec<Tree>);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Picky {
    known: Option<u8>,
}

#[test]
fn nesting_has_an_end() {
    fn check<F: Format>(allowed: usize, unknown: impl Fn(&[u8]) -> Vec<u8>) {
        let deepest = decode::<F, Tree>(&F::nested(allowed)).unwrap();
        assert_eq!(
            encode::<F, _>(&deepest, u32::MAX).unwrap(),
            F::nested(allowed)
        );
        for depth in [allowed + 1, 1_000, 1_000_000] {
            let read = decode::<F, Tree>(&F::nested(depth));
            assert!(matches!(read, Err(CodecError::Malformed(_))), "{depth}");
            // JSON passes over it without going into it.
            if let Ok(value) = decode::<F, Picky>(&unknown(&F::nested(depth))) {
                assert_eq!(value, Picky { known: None });
            }
        }
        let passed_over = decode::<F, Picky>(&unknown(&F::nested(allowed - 1)));
        assert_eq!(passed_over, Ok(Picky { known: None }));
    }
    check::<Cbor>(256, |value| [b"\xa1\x64what", value].concat());
    check::<Json>(127, |value| [b"{\"what\":", value, b"}"].concat());
    let tags = vec![0xc1; 1_000_000];
    let read = decode::<Cbor, Picky>(&[b"\xa1\x64what", &tags[..]].concat());
    assert!(matches!(read, Err(CodecError::Malformed(_))));
}

/// A declared length is not believed.
#[test]
fn declared_lengths_allocate_nothing() {
    for head in [0x5b_u8, 0x7b, 0x9b, 0xbb] {
        let wire = [&[head][..], &[0x7f; 8]].concat();
        assert!(decode::<Cbor, Raw>(&wire).is_err());
        assert!(decode::<Cbor, String>(&wire).is_err());
        assert!(decode::<Cbor, Vec<u64>>(&wire).is_err());
        assert!(decode::<Cbor, BTreeMap<u64, u64>>(&wire).is_err());
    }
}

#[test]
fn what_a_peer_says_is_not_repeated_at_any_length() {
    for text in ["x".repeat(100_000), "\u{20ac}".repeat(100_000)] {
        for error in [
            decode::<Cbor, Shape>(&Cbor::plain(&text)).unwrap_err(),
            decode::<Json, Shape>(&Json::plain(&text)).unwrap_err(),
        ] {
            let CodecError::Malformed(reason) = error else {
                panic!("{error:?}");
            };
            assert!(reason.len() <= MAX_REASON_LEN && reason.contains("unknown variant"));
        }
    }
}

std::thread_local! {
    static ASKED: Cell<u64> = const { Cell::new(0) };
}

/// Says far more than any limit here allows.
#[derive(Debug, PartialEq, Deserialize)]
struct Verbose;

impl Serialize for Verbose {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(None)?;
        for _ in 0..100_000 {
            ASKED.set(ASKED.get() + 1);
            seq.serialize_element("a part of it")?;
        }
        seq.end()
    }
}

#[test]
fn writing_stops_at_the_limit() {
    for encode in [encode::<Cbor, Verbose>, encode::<Json, Verbose>] {
        ASKED.set(0);
        let encoded = encode(&Verbose, 1_000);
        assert!(matches!(encoded, Err(CodecError::TooLarge { len }) if len < 1_020));
        // Twice: as a request and as a response.
        assert!(ASKED.get() <= 2 * 1_000 / 13 + 2);
    }
}

/// Can be said in no format.
#[derive(Debug, PartialEq, Deserialize)]
struct Unsayable;

impl Serialize for Unsayable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("no words"))
    }
}

#[test]
fn values_that_cannot_be_said() {
    let refused = CodecError::unencodable("no words");
    assert_eq!(encode::<Cbor, _>(&Unsayable, 99), Err(refused.clone()));
    assert_eq!(encode::<Json, _>(&Unsayable, 99), Err(refused));
    let pairs = BTreeMap::from([((1, 2), 3)]);
    let error = encode::<Json, _>(&pairs, 99);
    assert!(
        matches!(error, Err(CodecError::Unencodable(_))),
        "{error:?}"
    );
}

#[test]
fn limits_are_those_of_rust_libp2p() {
    for config in [cbor::config(), json::config()] {
        assert_eq!(config.max_request_len, 1_048_576);
        assert_eq!(config.max_response_len, 10_485_760);
    }
    let codec = format!("{:?}", cbor::Codec::<u8, u8>::default());
    assert!(codec.contains("max_request_len"), "{codec}");
}
