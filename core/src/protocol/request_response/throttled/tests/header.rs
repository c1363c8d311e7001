//! The header's bytes, which are those of others, and its reader, which reads anything.

use super::super::header::{Header, MAX_HEADER_LEN};
use crate::{protocol::request_response::CodecError, wire::varint};
use proptest::prelude::*;
use std::{vec, vec::Vec};

fn encoded(header: Header) -> Vec<u8> {
    let mut out = Vec::new();
    header.encode(&mut out);
    out
}

/// A header with its length in front, made by hand.
fn around(header: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint::encode(header.len() as u64, &mut out);
    out.extend_from_slice(header);
    out
}

fn read(header: &[u8]) -> Option<Header> {
    let body = around(header);
    let (header, used) = Header::decode(&body).ok()?;
    assert_eq!(used, body.len());
    Some(header)
}

/// As minicbor-derive 0.6.4 says them.
#[test]
fn golden_bytes() {
    let (credit, ident) = (5, 7);
    let golden: [(Header, &[u8]); 4] = [
        (Header::Request, &[0x05, 0xa1, 0x00, 0x82, 0x00, 0x80]),
        (Header::Response, &[0x05, 0xa1, 0x00, 0x82, 0x01, 0x80]),
        (
            Header::Credit { credit, ident },
            &[0x09, 0xa3, 0x00, 0x82, 0x02, 0x80, 0x01, 0x05, 0x02, 0x07],
        ),
        (
            Header::Ack { ident },
            &[0x07, 0xa2, 0x00, 0x82, 0x03, 0x80, 0x02, 0x07],
        ),
    ];
    for (header, bytes) in golden {
        assert_eq!(encoded(header), bytes);
        assert_eq!(Header::decode(bytes), Ok((header, bytes.len())));
    }
    // The largest numbers, in their shortest forms.
    let (credit, ident) = (u16::MAX, u64::MAX);
    let mut widest = vec![19, 0xa3, 0, 0x82, 2, 0x80, 1, 0x19, 0xff, 0xff, 2, 0x1b];
    widest.extend([0xff; 8]);
    assert_eq!(encoded(Header::Credit { credit, ident }), widest);
}

#[test]
fn what_is_read() {
    let ack = Some(Header::Ack { ident: 7 });
    let cases: [(&str, &[u8], Option<Header>); 25] = [
        ("another order", &[0xa2, 2, 7, 0, 0x82, 3, 0x80], ack),
        (
            "wide numbers",
            &[0xa2, 0x18, 0, 0x82, 0x19, 0, 3, 0x80, 2, 0x1a, 0, 0, 0, 7],
            ack,
        ),
        (
            "a key not known",
            &[0xa3, 0, 0x82, 3, 0x80, 9, 0x61, b'x', 2, 7],
            ack,
        ),
        (
            "an unknown key with everything in it",
            &[
                0xa3, 0, 0x82, 3, 0x80, 2, 7, 0x19, 1, 0, 0x84, 0xa1, 0x20, 0x42, 1, 2, 0xc1, 0x00,
                0xfb, 0, 0, 0, 0, 0, 0, 0, 0, 0xf8, 0xff,
            ],
            ack,
        ),
        (
            "null is none",
            &[0xa3, 0, 0x82, 3, 0x80, 1, 0xf6, 2, 7],
            ack,
        ),
        (
            "a kind with something inside",
            &[0xa2, 0, 0x82, 3, 0x81, 1, 2, 7],
            ack,
        ),
        (
            "what belongs to another kind",
            &[0xa2, 0, 0x82, 0, 0x80, 2, 7],
            Some(Header::Request),
        ),
        ("nothing", &[], None),
        ("an empty map", &[0xa0], None),
        ("null for the kind", &[0xa1, 0, 0xf6], None),
        ("an unknown kind", &[0xa1, 0, 0x82, 4, 0x80], None),
        ("no number to acknowledge", &[0xa1, 0, 0x82, 3, 0x80], None),
        (
            "a credit without a number",
            &[0xa2, 0, 0x82, 2, 0x80, 1, 5],
            None,
        ),
        (
            "a grant without a credit",
            &[0xa2, 0, 0x82, 2, 0x80, 2, 7],
            None,
        ),
        (
            "a credit of 65536",
            &[0xa3, 0, 0x82, 2, 0x80, 1, 0x1a, 0, 1, 0, 0, 2, 7],
            None,
        ),
        ("a key twice", &[0xa3, 0, 0x82, 3, 0x80, 2, 7, 2, 7], None),
        ("something behind", &[0xa1, 0, 0x82, 0, 0x80, 0], None),
        ("a text key", &[0xa1, 0x61, b'0', 0x82, 0, 0x80], None),
        ("an array", &[0x82, 0, 0x80], None),
        ("a kind of three", &[0xa1, 0, 0x83, 0, 0x80, 0x80], None),
        (
            "fewer than there should be",
            &[0xa2, 0, 0x82, 0, 0x80],
            None,
        ),
        (
            "more than there can be",
            &[
                0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0x82, 0, 0x80,
            ],
            None,
        ),
        (
            "of indefinite length",
            &[0xbf, 0, 0x82, 0, 0x80, 0xff],
            None,
        ),
        (
            "a long text that is not there",
            &[0xa2, 0, 0x82, 0, 0x80, 9, 0x7a, 0xff, 0xff, 0xff, 0xff],
            None,
        ),
        (
            "arrays that are not there",
            &[0xa2, 0, 0x82, 0, 0x80, 9, 0x9b, 0x80, 0, 0, 0, 0, 0, 0, 0],
            None,
        ),
    ];
    for (what, bytes, header) in cases {
        assert_eq!(read(bytes), header, "{what}");
    }
}

#[test]
fn long_headers_are_read_up_to_the_limit() {
    let padded = |len: usize| {
        // A text under a key that is not known fills it up.
        let text = len - 10;
        let mut header = vec![0xa2, 0, 0x82, 0, 0x80, 9, 0x79];
        header.extend((text as u16 + 1).to_be_bytes());
        header.extend(vec![b'x'; text + 1]);
        assert_eq!(header.len(), len);
        header
    };
    assert_eq!(read(&padded(MAX_HEADER_LEN)), Some(Header::Request));
    assert_eq!(read(&padded(MAX_HEADER_LEN + 1)), None);
    // Refused by its length alone: nothing is waited for.
    let announced = Header::decode(&[0x81, 0x40]);
    assert!(matches!(announced, Err(CodecError::Malformed(_))));
    assert_eq!(
        Header::decode(&[0x80, 0x40]),
        Err(CodecError::UnexpectedEnd)
    );
    // As deep as it gets.
    let mut deep = vec![0xa2, 0, 0x82, 0, 0x80, 9];
    deep.extend(vec![0x81; MAX_HEADER_LEN - deep.len() - 1]);
    deep.push(0);
    assert_eq!(read(&deep), Some(Header::Request));
}

fn header() -> impl Strategy<Value = Header> {
    let number = prop_oneof![0u64..300, any::<u64>()];
    prop_oneof![
        Just(Header::Request),
        Just(Header::Response),
        (any::<u16>(), number.clone()).prop_map(|(credit, ident)| Header::Credit { credit, ident }),
        number.prop_map(|ident| Header::Ack { ident }),
    ]
}

proptest! {
    /// What is written is read, whatever follows; every shorter form ends too early.
    #[test]
    fn round_trip_and_every_prefix(header in header(), behind in prop::collection::vec(any::<u8>(), 0..20)) {
        let bytes = encoded(header);
        prop_assert!(bytes.len() <= 24);
        for len in 0..bytes.len() {
            prop_assert_eq!(Header::decode(&bytes[..len]), Err(CodecError::UnexpectedEnd));
        }
        let mut body = bytes.clone();
        body.extend(behind);
        prop_assert_eq!(Header::decode(&body), Ok((header, bytes.len())));
    }

    /// Any bytes: no panic, and what is accepted says the same when it is said anew.
    #[test]
    fn any_bytes(bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0u8..4, 0x80u8..0x84, 0xa0u8..0xa4], 0..60)) {
        for body in [bytes.clone(), around(&bytes)] {
            if let Ok((header, used)) = Header::decode(&body) {
                prop_assert!(used <= body.len());
                let again = encoded(header);
                prop_assert_eq!(Header::decode(&again), Ok((header, again.len())));
            }
        }
    }

    /// A valid header with one byte changed: no panic, and never longer than it says.
    #[test]
    fn mutations(header in header(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut body = encoded(header);
        let len = body.len();
        body[at.index(len)] = byte;
        if let Ok((_, used)) = Header::decode(&body) {
            prop_assert!(used <= len);
        }
    }
}
