use super::*;
use crate::{identity::Keypair, seed::Seed};
use proptest::prelude::*;
use std::{vec, vec::Vec};

fn key(number: u64) -> PublicKey {
    Keypair::ed25519_from_seed(&Seed::for_tests(number)).public()
}

fn handshake(number: u64) -> Handshake {
    Handshake::new(&Local::new(&key(number)))
}

fn message(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    framing::encode(body, &mut out);
    out
}

fn exchange(id: &[u8], key: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    Writer::new(&mut body).bytes(ID, id).bytes(PUBLIC_KEY, key);
    message(&body)
}

/// The verdict on one whole message.
fn verdict(input: &[u8]) -> Result<usize, Error> {
    let mut side = handshake(1);
    let verdict = side.advance(input, &mut Vec::new());
    if let Err(error) = &verdict {
        assert_eq!(
            side.advance(input, &mut Vec::new()),
            Err(error.clone()),
            "sticky"
        );
        assert_eq!(side.finish().map(|_| ()), Err(error.clone()));
    }
    verdict
}

#[test]
fn both_sides_learn_the_others_name() {
    let (mut one, mut two) = (handshake(1), handshake(2));
    let (mut from_one, mut from_two) = (Vec::new(), Vec::new());
    assert_eq!(one.advance(&[], &mut from_one), Ok(0));
    // As the specification encodes it: a length, then the two fields.
    let expected = exchange(key(1).peer_id().as_bytes(), &key(1).to_protobuf());
    assert_eq!(from_one, expected);
    assert!(!one.is_finished());
    assert_eq!(two.advance(&from_one, &mut from_two), Ok(from_one.len()));
    assert!(two.is_finished());
    assert_eq!(one.advance(&from_two, &mut from_one), Ok(from_two.len()));
    assert_eq!(from_one, expected, "said once");
    let (mut one, two) = (one.finish().unwrap(), two.finish().unwrap());
    assert_eq!((one.peer, one.public_key), (key(2).peer_id(), key(2)));
    assert_eq!((two.peer, two.muxer), (key(1).peer_id(), None));
    let mut out = b"..in the clear".to_vec();
    one.send.seal_in_place(&mut out, 0).unwrap();
    assert_eq!(out, b"in the clear");
}

#[test]
fn chunking_is_invisible() {
    let peer = exchange(key(2).peer_id().as_bytes(), &key(2).to_protobuf());
    let input = [&peer[..], b"what follows"].concat();
    for at in 0..=input.len() {
        let mut side = handshake(1);
        let mut out = Vec::new();
        let mut used = side.advance(&input[..at], &mut out).unwrap();
        assert!(used == at || side.is_finished());
        used += side.advance(&input[used..], &mut out).unwrap();
        assert_eq!(used, peer.len(), "nothing is taken that follows");
        assert_eq!(side.finish().unwrap().public_key, key(2));
    }
    let mut side = handshake(1);
    for byte in &peer {
        assert!(!side.is_finished());
        assert_eq!(side.advance(&[*byte], &mut Vec::new()), Ok(1));
    }
    assert!(side.is_finished());
    assert_eq!(side.advance(b"more", &mut Vec::new()), Ok(0));
}

#[test]
fn false_names_are_refused() {
    let id = |number| key(number).peer_id().as_bytes().to_vec();
    let bytes = |number| key(number).to_protobuf();
    assert!(verdict(&exchange(&id(2), &bytes(2))).is_ok());
    assert_eq!(
        verdict(&exchange(&id(3), &bytes(2))),
        Err(Violation::KeyMismatch.into())
    );
    assert_eq!(
        verdict(&exchange(&id(2)[1..], &bytes(2))),
        Err(Violation::KeyMismatch.into())
    );
    assert_eq!(
        verdict(&exchange(&[], &bytes(2))),
        Err(Violation::MissingPayload.into())
    );
    assert_eq!(
        verdict(&exchange(&id(2), &[])),
        Err(Violation::MissingPayload.into())
    );
    assert_eq!(
        verdict(&message(&[])),
        Err(Violation::MissingPayload.into())
    );
    assert_eq!(
        verdict(&message(&[0xff; 30])),
        Err(Violation::BadPayload.into())
    );
    assert_eq!(
        verdict(&message(&[0x08, 1])),
        Err(Violation::BadPayload.into())
    );
    assert!(matches!(
        verdict(&exchange(&id(2), &[1])),
        Err(Error::PeerMisbehaved(Violation::BadKey(_)))
    ));
}

#[test]
fn lengths_are_checked_before_the_message_arrives() {
    let mut declared = Vec::new();
    framing::encode_header(MAX_EXCHANGE, &mut declared);
    assert_eq!(verdict(&declared), Ok(2));
    declared.clear();
    framing::encode_header(MAX_EXCHANGE + 1, &mut declared);
    assert_eq!(verdict(&declared), Err(Limit::HandshakeMessage.into()));
    assert_eq!(verdict(&[0xff; 10]), Err(Violation::BadLength.into()));
    // The longest there is, with everything behind it in one piece.
    let mut body = exchange(key(2).peer_id().as_bytes(), &key(2).to_protobuf()).split_off(1);
    let padding = MAX_EXCHANGE - 3 - body.len();
    Writer::new(&mut body).bytes(9, &vec![0; padding]);
    assert_eq!(body.len(), MAX_EXCHANGE);
    let input = [message(&body), vec![7; 9000]].concat();
    assert_eq!(verdict(&input), Ok(MAX_EXCHANGE + 2));
}

#[test]
fn an_unfinished_exchange_gives_no_channel() {
    assert_eq!(
        handshake(1).finish().map(|_| ()),
        Err(Misuse::NotFinished.into())
    );
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_finish_nor_panic(input in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut side = handshake(1);
        let _ = side.advance(&input, &mut Vec::new());
        prop_assert!(!side.is_finished());
    }
}
