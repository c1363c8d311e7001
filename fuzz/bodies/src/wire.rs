//! Targets of the codecs.

use drywire::wire::{
    framing,
    protobuf::{self, Reader, Value, Writer},
    varint,
};
use prost::Message;

/// Varints: what decodes encodes to the same bytes, the byte-wise decoder agrees, prost agrees.
pub fn varint(data: &[u8]) {
    let decoded = varint::decode(data);
    let mut decoder = varint::Decoder::new();
    let mut bytewise = Ok(None);
    for (byte, used) in data.iter().zip(1..) {
        bytewise = decoder
            .push(*byte)
            .map(|value| value.map(|value| (value, used)));
        if bytewise != Ok(None) {
            break;
        }
    }
    assert_eq!(decoded, bytewise);
    match decoded {
        Ok(Some((value, used))) => {
            let mut encoded = Vec::new();
            varint::encode(value, &mut encoded);
            assert_eq!(encoded, &data[..used]);
            assert_eq!(varint::encoded_len(value), used);
            let mut rest = data;
            assert_eq!(prost::encoding::decode_varint(&mut rest).unwrap(), value);
            assert_eq!(data.len() - rest.len(), used);
        }
        Ok(None) => assert!(data.len() < varint::MAX_LEN),
        Err(varint::Error::Overflow) => {
            let mut rest = data;
            assert!(prost::encoding::decode_varint(&mut rest).is_err());
        }
        Err(_) => {}
    }
}

/// Frames: the whole input cut into frames encodes back, and every prefix gives the frames that are whole in it.
pub fn framing(data: &[u8]) {
    let max_len = 64;
    let parse = |mut rest: &[u8]| {
        let mut encoded = Vec::new();
        loop {
            match framing::decode(rest, max_len) {
                Ok(Some(frame)) => {
                    assert!(frame.body_len <= max_len);
                    let Some((body, after)) = frame.split(rest) else {
                        assert!(frame.total_len() > rest.len());
                        return (encoded, None);
                    };
                    assert_eq!(body.len() + frame.header_len + after.len(), rest.len());
                    framing::encode(body, &mut encoded);
                    rest = after;
                }
                Ok(None) => return (encoded, None),
                Err(error) => return (encoded, Some(error)),
            }
        }
    };
    let (whole, error) = parse(data);
    assert!(data.starts_with(&whole));
    // Cutting anywhere behind the frames that came out changes nothing about them.
    for cut in [whole.len(), data.len().saturating_sub(1).max(whole.len())] {
        let (shorter, early) = parse(&data[..cut]);
        assert_eq!(shorter, whole);
        assert!(early.is_none() || early == error);
    }
}

/// A message with a field of every kind, as prost reads it.
#[derive(Clone, PartialEq, Message)]
struct Oracle {
    #[prost(bytes = "vec", optional, tag = "1")]
    bytes: Option<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    list: Vec<Vec<u8>>,
    #[prost(string, repeated, tag = "3")]
    texts: Vec<String>,
    #[prost(uint64, tag = "4")]
    number: u64,
    #[prost(int32, tag = "5")]
    kind: i32,
    #[prost(bool, tag = "6")]
    flag: bool,
    #[prost(fixed64, tag = "7")]
    wide: u64,
    #[prost(fixed32, tag = "8")]
    narrow: u32,
    #[prost(message, repeated, tag = "9")]
    nested: Vec<Nested>,
}

#[derive(Clone, PartialEq, Message)]
struct Nested {
    #[prost(bytes = "vec", tag = "1")]
    bytes: Vec<u8>,
}

fn read(data: &[u8]) -> Result<Oracle, protobuf::Error> {
    let mut message = Oracle::default();
    for field in Reader::new(data) {
        let field = field?;
        let mismatch = protobuf::Error::Mismatch {
            number: field.number,
        };
        match field.number {
            1 => message.bytes = Some(field.as_bytes()?.to_vec()),
            2 => message.list.push(field.as_bytes()?.to_vec()),
            3 => message.texts.push(field.as_str()?.to_owned()),
            4 => message.number = field.as_u64()?,
            5 => message.kind = field.as_i32()?,
            6 => message.flag = field.as_bool()?,
            7 => match field.value {
                Value::Fixed64(value) => message.wide = value,
                _ => return Err(mismatch),
            },
            8 => match field.value {
                Value::Fixed32(value) => message.narrow = value,
                _ => return Err(mismatch),
            },
            9 => {
                let mut nested = Nested::default();
                for field in Reader::new(field.as_bytes()?) {
                    let field = field?;
                    if field.number == 1 {
                        nested.bytes = field.as_bytes()?.to_vec();
                    }
                }
                message.nested.push(nested);
            }
            _ => {}
        }
    }
    Ok(message)
}

/// Protocol buffers: read as prost reads them (groups excepted, which drywire refuses), fields copied by the writer
/// read the same, counts hold.
pub fn protobuf(data: &[u8]) {
    let ours = read(data);
    if ours != Err(protobuf::Error::WireType) {
        match (&ours, Oracle::decode(data)) {
            (Ok(ours), Ok(theirs)) => assert_eq!(*ours, theirs),
            (Err(_), Err(_)) => {}
            (ours, theirs) => panic!("{ours:?} against {theirs:?}"),
        }
    }

    let fields: Vec<_> = Reader::new(data).map_while(Result::ok).collect();
    let mut copied = Vec::new();
    let mut writer = Writer::new(&mut copied);
    let mut expected = Vec::new();
    for field in fields {
        match field.value {
            Value::Varint(value) => writer.uint64(field.number, value),
            Value::Bytes(value) => writer.bytes(field.number, value),
            _ => continue,
        };
        expected.push(Ok(field));
    }
    assert!(copied.len() <= data.len());
    assert_eq!(Reader::new(&copied).collect::<Vec<_>>(), expected);

    let count = expected
        .iter()
        .flatten()
        .filter(|field| field.number == 2)
        .count();
    assert!(protobuf::check_counts(&copied, &[(2, count)]).is_ok());
    if let Some(less) = count.checked_sub(1) {
        assert_eq!(
            protobuf::check_counts(&copied, &[(2, less)]),
            Err(protobuf::Error::TooMany {
                number: 2,
                max: less
            })
        );
    }
}
