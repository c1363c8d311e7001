use super::*;
use crate::crypto::Provider;
use proptest::prelude::*;
use std::{vec, vec::Vec};

fn pair_at(counter: u64) -> (SendCipher, ReceiveCipher) {
    let key = || Provider::default().aead_key(&[3; 32]).unwrap();
    (
        SendCipher(Half::Noise {
            key: key(),
            counter,
        }),
        ReceiveCipher(Half::Noise {
            key: key(),
            counter,
        }),
    )
}

fn pair() -> (SendCipher, ReceiveCipher) {
    pair_at(0)
}

fn seal(cipher: &mut SendCipher, plaintext: &[u8]) -> Vec<u8> {
    let mut out = vec![0xaa, 0xaa];
    out.extend_from_slice(plaintext);
    cipher.seal_in_place(&mut out, 0).unwrap();
    out
}

/// Opens a message that has its length.
fn open(cipher: &mut ReceiveCipher, message: &[u8]) -> Result<Vec<u8>, Error> {
    let mut body = message[2..].to_vec();
    let length = cipher.open_in_place(&mut body)?;
    Ok(body[..length].to_vec())
}

fn decrypt_failed() -> Error {
    Violation::DecryptFailed.into()
}

/// An idle connection keeps both halves: they must stay small.
#[test]
fn the_two_halves_are_small() {
    assert!(size_of::<SendCipher>() <= 96, "{}", size_of::<SendCipher>());
    assert!(size_of::<ReceiveCipher>() <= 96);
    fn is_send<T: Send + 'static>() {}
    is_send::<SendCipher>();
    is_send::<ReceiveCipher>();
}

#[test]
fn sealing_leaves_what_stands_before_the_message() {
    let (mut send, mut receive) = pair();
    let mut out = b"before".to_vec();
    for text in [&b"one"[..], b"", b"three"] {
        let start = out.len();
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(text);
        send.seal_in_place(&mut out, start).unwrap();
        assert_eq!(out.len(), start + text.len() + SendCipher::OVERHEAD);
    }
    assert_eq!(&out[..6], b"before");
    let mut rest = &mut out[6..];
    for text in [&b"one"[..], b"", b"three"] {
        let range = receive.next_message(rest).unwrap().unwrap();
        let (message, after) = rest.split_at_mut(range.end);
        let message = &mut message[range.start..];
        let length = receive.open_in_place(message).unwrap();
        assert_eq!(&message[..length], text);
        rest = after;
    }
    assert!(rest.is_empty());
    assert_eq!(receive.next_message(rest), Ok(None));
}

#[test]
fn misuse_changes_nothing() {
    let (mut send, _) = pair();
    let before = vec![1, 2, 3];
    for start in [2, 3, 4, usize::MAX] {
        let mut out = before.clone();
        assert_eq!(
            send.seal_in_place(&mut out, start),
            Err(Misuse::NoRoom.into())
        );
        assert_eq!(out, before);
    }
    let mut long = vec![9; 2 + SendCipher::MAX_PLAINTEXT + 1];
    assert_eq!(
        send.seal_in_place(&mut long, 0),
        Err(Misuse::PlaintextTooLong.into())
    );
    assert!(long.iter().all(|byte| *byte == 9));
    long.pop();
    assert_eq!(send.counter(), 0);
    assert_eq!(send.seal_in_place(&mut long, 0), Ok(()));
    assert_eq!((long.len(), &long[..2]), (2 + 65535, &[0xff, 0xff][..]));
}

/// T18 and T21: a message that does not authenticate ends the direction, its counter stands still, and nothing of it can
/// be read. Seen to fail without the wiping, without `die`, and with a counter that moves on failure.
#[test]
fn a_bad_message_is_wiped_and_is_the_last() {
    let text = b"a message of some length";
    let honest = seal(&mut pair().0, text);
    for bit in 16..honest.len() * 8 {
        let (mut send, mut receive) = pair();
        let good = seal(&mut send, text);
        assert_eq!(open(&mut receive, &good).unwrap(), text);
        let next = seal(&mut send, text);
        let mut bad = next[2..].to_vec();
        bad[bit / 8 - 2] ^= 1 << (bit % 8);
        assert_eq!(receive.open_in_place(&mut bad), Err(decrypt_failed()));
        assert!(bad.iter().all(|byte| *byte == 0), "wiped");
        assert_eq!(receive.counter(), 1, "the counter has not moved");
        // Not even the right message opens any more.
        let mut right = next[2..].to_vec();
        assert_eq!(receive.open_in_place(&mut right), Err(decrypt_failed()));
        assert!(right.iter().all(|byte| *byte == 0));
        assert_eq!(receive.next_message(&next), Err(decrypt_failed()));
        assert_eq!(receive.counter(), 1);
    }
}

#[test]
fn replayed_dropped_swapped_and_foreign_messages_fail() {
    let (mut send, mut receive) = pair();
    let messages: Vec<_> = (0..3u8).map(|n| seal(&mut send, &[n; 40])).collect();
    open(&mut receive, &messages[0]).unwrap();
    assert_eq!(
        open(&mut receive, &messages[0]),
        Err(decrypt_failed()),
        "replayed"
    );
    let (_, mut receive) = pair();
    assert_eq!(
        open(&mut receive, &messages[1]),
        Err(decrypt_failed()),
        "one dropped or swapped"
    );
    let key = Provider::default().aead_key(&[4; 32]).unwrap();
    let mut receive = ReceiveCipher::noise(key);
    assert_eq!(
        open(&mut receive, &messages[0]),
        Err(decrypt_failed()),
        "another key"
    );
}

#[test]
fn messages_shorter_than_a_tag_are_refused_by_their_length() {
    for length in 0..16u16 {
        let (_, mut receive) = pair();
        // And what follows is not believed.
        for received in [&length.to_be_bytes()[..], &[], &[0xff; 2 + 65535]] {
            let refused = receive.next_message(received);
            assert_eq!(refused, Err(Violation::BadLength.into()));
        }
        let (_, mut receive) = pair();
        let mut message = vec![1; usize::from(length)];
        assert_eq!(
            receive.open_in_place(&mut message),
            Err(Violation::BadLength.into())
        );
        assert!(message.iter().all(|byte| *byte == 0));
        assert_eq!(receive.counter(), 0);
    }
    let (_, mut receive) = pair();
    assert_eq!(receive.next_message(&[]), Ok(None));
    assert_eq!(receive.next_message(&[0]), Ok(None));
    assert_eq!(receive.next_message(&[0xff; 2 + 65534]), Ok(None));
    assert_eq!(receive.next_message(&[0xff; 2 + 65535]), Ok(Some(2..65537)));
    assert_eq!(receive.next_message(&[0xff; 2 + 65536]), Ok(Some(2..65537)));
}

/// T18. Seen to fail without the check in `nonce`.
#[test]
fn the_last_nonce_is_never_used() {
    let (mut send, mut receive) = pair_at(u64::MAX - 1);
    let last = seal(&mut send, b"last");
    assert_eq!(send.counter(), u64::MAX);
    assert_eq!(open(&mut receive, &last).unwrap(), b"last");
    for _ in 0..2 {
        let mut out = vec![0, 0, 1, 2];
        assert_eq!(send.seal_in_place(&mut out, 0), Err(Limit::Nonces.into()));
        assert_eq!(out, [0, 0, 1, 2], "nothing is sealed");
        assert_eq!(open(&mut receive, &last), Err(Limit::Nonces.into()));
        assert_eq!((send.counter(), receive.counter()), (u64::MAX, u64::MAX));
    }
}

#[test]
fn plaintext_ciphers_do_nothing() {
    let (mut send, mut receive) = (SendCipher::plaintext(), ReceiveCipher::plaintext());
    let mut out = b"before..after".to_vec();
    send.seal_in_place(&mut out, 6).unwrap();
    assert_eq!(out, b"beforeafter");
    assert_eq!(send.seal_in_place(&mut out, 10), Err(Misuse::NoRoom.into()));
    assert_eq!(receive.next_message(b""), Ok(None));
    assert_eq!(receive.next_message(b"x"), Ok(Some(0..1)));
    let mut message = *b"hello";
    assert_eq!(receive.open_in_place(&mut message), Ok(5));
    assert_eq!(&message, b"hello");
}

proptest! {
    /// Any messages, cut into any pieces, arrive as they were.
    #[test]
    fn a_stream_of_messages_arrives(
        texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..10),
        pieces in prop::collection::vec(1usize..100, 1..10),
    ) {
        for (mut send, mut receive) in [pair(), (SendCipher::plaintext(), ReceiveCipher::plaintext())] {
            let mut wire = Vec::new();
            for text in &texts {
                let start = wire.len();
                wire.extend_from_slice(&[0, 0]);
                wire.extend_from_slice(text);
                send.seal_in_place(&mut wire, start).unwrap();
            }
            let (mut buffer, mut received) = (Vec::new(), Vec::new());
            let mut pieces = pieces.iter().cycle();
            let mut rest = &wire[..];
            while !rest.is_empty() {
                let (piece, after) = rest.split_at((*pieces.next().unwrap()).min(rest.len()));
                buffer.extend_from_slice(piece);
                rest = after;
                while let Some(range) = receive.next_message(&buffer).unwrap() {
                    let end = range.end;
                    let message = &mut buffer[range];
                    let length = receive.open_in_place(message).unwrap();
                    received.extend_from_slice(&message[..length]);
                    buffer.drain(..end);
                }
            }
            prop_assert!(buffer.is_empty());
            prop_assert_eq!(received, texts.concat());
        }
    }
}
