use super::*;
use proptest::{collection::vec, prelude::*};
use std::{string::String, vec::Vec};

/// Any value of DAG-CBOR.
#[derive(Clone, Debug)]
enum Any {
    Number(u8, u64),
    Bytes(Vec<u8>),
    Text(String),
    Array(Vec<Any>),
    Map(Vec<(String, Any)>),
    Link(Vec<u8>),
    Simple(u8),
    Float(f64),
}

fn any_value() -> impl Strategy<Value = Any> {
    let number = prop_oneof![0..30_u64, 0..70_000_u64, any::<u64>()];
    let leaf = prop_oneof![
        (0..2_u8, number).prop_map(|(major, value)| Any::Number(major, value)),
        vec(any::<u8>(), 0..40).prop_map(Any::Bytes),
        ".{0,10}".prop_map(Any::Text),
        vec(any::<u8>(), 0..40).prop_map(Any::Link),
        (20..23_u8).prop_map(Any::Simple),
        any::<f64>()
            .prop_filter("finite", |value| value.is_finite())
            .prop_map(Any::Float),
    ];
    leaf.prop_recursive(5, 30, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Any::Array),
            vec(("[a-c]{0,3}", inner), 0..5).prop_map(Any::Map),
        ]
    })
}

fn write(value: &Any, out: &mut Vec<u8>) {
    match value {
        Any::Number(major, value) => write_head(out, *major, *value),
        Any::Bytes(bytes) => {
            write_head(out, BYTES, bytes.len() as u64);
            out.extend(bytes);
        }
        Any::Text(text) => {
            write_head(out, TEXT, text.len() as u64);
            out.extend(text.as_bytes());
        }
        Any::Array(values) => {
            write_head(out, ARRAY, values.len() as u64);
            values.iter().for_each(|value| write(value, out));
        }
        Any::Map(entries) => write_entries(entries, out),
        Any::Link(bytes) => {
            write_head(out, TAG, 42);
            write_head(out, BYTES, bytes.len() as u64 + 1);
            out.push(0);
            out.extend(bytes);
        }
        Any::Simple(info) => out.push(SIMPLE << 5 | info),
        Any::Float(value) => {
            out.push(0xfb);
            out.extend(value.to_be_bytes());
        }
    }
}

fn write_entries(entries: &[(String, Any)], out: &mut Vec<u8>) {
    let mut entries: Vec<_> = entries.to_vec();
    entries.sort_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
    entries.dedup_by(|(a, _), (b, _)| a == b);
    write_head(out, MAP, entries.len() as u64);
    for (key, value) in &entries {
        write(&Any::Text(key.clone()), out);
        write(value, out);
    }
}

fn read(input: &[u8]) -> Result<Vec<(Vec<u8>, Value<'_>)>, CborError> {
    let mut entries = Vec::new();
    read_map(input, |key, value| entries.push((key.to_vec(), value)))?;
    Ok(entries)
}

proptest! {
    #[test]
    fn every_map_is_read_whatever_is_in_it(entries in vec(("[a-c]{0,3}", any_value()), 0..5)) {
        let mut out = Vec::new();
        write_entries(&entries, &mut out);
        for (key, value) in read(&out).unwrap() {
            let (_, written) = entries.iter().find(|(name, _)| name.as_bytes() == key).unwrap();
            match (value, written) {
                (Value::Unsigned(read), Any::Number(0, written)) => prop_assert_eq!(read, *written),
                (Value::Bytes(read), Any::Bytes(written)) => prop_assert_eq!(read, &written[..]),
                (Value::Other, Any::Number(0, _) | Any::Bytes(_)) | (Value::Unsigned(_) | Value::Bytes(_), _) => {
                    prop_assert!(false, "{value:?} of {written:?}");
                }
                (Value::Other, _) => {}
            }
        }
        for len in 0..out.len() {
            prop_assert_eq!(read(&out[..len]), Err(CborError::Truncated));
        }
        out.push(0);
        prop_assert_eq!(read(&out), Err(CborError::TrailingBytes));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..60)) {
        let _ = read(&bytes);
        let _ = read(&[&[0xa1, 0x61, b'x'], &bytes[..]].concat());
    }
}

#[test]
fn forms_that_dag_cbor_has_not_are_refused() {
    // In a map, under the key "x".
    for (value, expected) in [
        (&b"\x18\x17"[..], CborError::NotShortest),
        (b"\x19\x00\xff", CborError::NotShortest),
        (b"\x1a\x00\x00\xff\xff", CborError::NotShortest),
        (
            b"\x1b\x00\x00\x00\x00\xff\xff\xff\xff",
            CborError::NotShortest,
        ),
        (b"\x38\x17", CborError::NotShortest),
        (b"\x58\x01\x00", CborError::NotShortest),
        (b"\x5f\x41\x00\xff", CborError::NotShortest),
        (b"\x9f\xff", CborError::NotShortest),
        (b"\xbf\xff", CborError::NotShortest),
        (b"\x61\xff", CborError::NotUtf8),
        (b"\xf7", CborError::Forbidden),
        (b"\xf0", CborError::Forbidden),
        (b"\xf8\x20", CborError::Forbidden),
        (b"\xf9\x00\x00", CborError::Forbidden),
        (b"\xfa\x00\x00\x00\x00", CborError::Forbidden),
        (
            b"\xfb\x7f\xf0\x00\x00\x00\x00\x00\x00",
            CborError::Forbidden,
        ),
        (
            b"\xfb\x7f\xf8\x00\x00\x00\x00\x00\x00",
            CborError::Forbidden,
        ),
        (b"\xff", CborError::Forbidden),
        (b"\xc1\x00", CborError::Forbidden),
        (b"\xd8\x2a\x00", CborError::Forbidden),
        (b"\xd8\x2a\x40", CborError::Forbidden),
        (b"\xd8\x2a\x41\x01", CborError::Forbidden),
        (b"\xa1\x00\x00", CborError::Type),
        (b"\xa2\x61b\x00\x61a\x00", CborError::Order),
        (b"\xa2\x61a\x00\x61a\x00", CborError::Order),
        (b"\xa2\x62aa\x00\x61b\x00", CborError::Order),
        (
            b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
            CborError::Truncated,
        ),
        (
            b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff",
            CborError::Truncated,
        ),
        (
            b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff",
            CborError::Truncated,
        ),
    ] {
        let input = [b"\xa1\x61x", value].concat();
        assert_eq!(read(&input), Err(expected), "{value:x?}");
    }
    for other in [&b"\x00"[..], b"\x80", b"\x61x", b"\xf6"] {
        assert_eq!(read(other), Err(CborError::Type), "{other:x?}");
    }
    assert_eq!(read(b""), Err(CborError::Truncated));
    assert_eq!(read(b"\xa0"), Ok(Vec::new()));
}

#[test]
fn values_may_be_in_each_other_only_so_deep() {
    let nested = |depth: usize| [b"\xa1\x61x", &[0x81].repeat(depth)[..], b"\x00"].concat();
    assert!(read(&nested(MAX_DEPTH - 1)).is_ok());
    assert_eq!(read(&nested(MAX_DEPTH)), Err(CborError::TooDeep));
    assert_eq!(read(&nested(1 << 20)), Err(CborError::TooDeep));
    let maps = [b"\xa1\x61x".repeat(MAX_DEPTH + 1), b"\x00".to_vec()].concat();
    assert_eq!(read(&maps), Err(CborError::TooDeep));
}
