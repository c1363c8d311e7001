//! Peers, and people between peers, that do what they must not.

use super::{oracle::*, *};
use crate::{identity::KeyType, wire::protobuf::Writer};

/// Both roles against an oracle whose payload `make` forges; both verdicts must be the same.
fn verdict(make: impl Fn(&Oracle) -> Vec<u8>) -> Result<Secured, Error> {
    let oracle = Oracle::new(Role::Initiator);
    let payload = make(&oracle);
    let mut responder = handshake(1, Role::Responder, &[YAMUX]);
    let first = oracle.attack_responder(&mut responder, &payload);

    let oracle = Oracle::new(Role::Responder);
    let payload = make(&oracle);
    let mut initiator = handshake(1, Role::Initiator, &[YAMUX]);
    let second = oracle.attack_initiator(&mut initiator, &payload);
    assert_eq!(first, second);
    if let Err(error) = &first {
        for mut handshake in [responder, initiator] {
            assert!(!handshake.is_finished());
            assert_eq!(
                handshake.advance(&[0; 100], &mut Vec::new()),
                Err(error.clone()),
                "sticky"
            );
            assert_eq!(handshake.finish().map(|_| ()), Err(error.clone()));
        }
        return Err(error.clone());
    }
    initiator.finish()
}

fn refused(make: impl Fn(&Oracle) -> Vec<u8>) -> Error {
    verdict(make).map(|_| ()).unwrap_err()
}

fn with_extensions(oracle: &Oracle, write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut payload = oracle.proof();
    Writer::new(&mut payload).message(4, write);
    payload
}

#[test]
fn an_honest_payload_in_any_shape_is_accepted() {
    let peer = verdict(Oracle::proof).unwrap();
    assert_eq!(peer.muxer, None);
    assert!(peer.webtransport_certhashes.is_empty());
    // Fields in another order, unknown ones between, and a wrong one before the last of its kind.
    let peer = verdict(|oracle| {
        let proof = oracle.proof();
        let (key, signature) = proof.split_at(38);
        let mut payload = vec![0x1a, 3, 1, 2, 3];
        Writer::new(&mut payload)
            .bytes(2, b"not this one")
            .uint64(900, 7);
        [&payload, signature, key].concat()
    });
    assert!(peer.is_ok());
}

/// T12, T13. Seen to fail without the verdict on the signature in `authenticate`, and with another signed prefix.
#[test]
fn a_static_key_nobody_vouches_for_is_refused() {
    let bad = Error::from(Violation::BadSignature);
    let sign =
        |oracle: &Oracle, text: &[u8]| proof(&oracle.keypair(), &oracle.keypair().sign(text));
    // Another domain, none, and the right one spelled slightly otherwise.
    for domain in [
        &b"noise-libp2p-static-kex:"[..],
        b"",
        b"noise-libp2p-static-key",
        b"libp2p-peer-record",
    ] {
        assert_eq!(
            refused(|oracle| sign(oracle, &[domain, &oracle.static_key].concat())),
            bad
        );
    }
    // Another static key: the payload of another session of an honest peer.
    assert_eq!(
        refused(|oracle| sign(
            oracle,
            &[b"noise-libp2p-static-key:", &[7; 32][..]].concat()
        )),
        bad
    );
    // Another identity's signature.
    assert_eq!(
        refused(|oracle| {
            let other = Keypair::ed25519_from_seed(&Seed::for_tests(51));
            let text = [b"noise-libp2p-static-key:", &oracle.static_key[..]].concat();
            proof(&oracle.keypair(), &other.sign(&text))
        }),
        bad
    );
    for length in [1, 32, 63, 65, 1000] {
        assert_eq!(
            refused(|oracle| proof(&oracle.keypair(), &vec![1; length])),
            bad
        );
    }
}

/// T12. Seen to fail without the verdict on the signature in `authenticate`.
#[test]
fn every_bit_of_key_and_signature_counts() {
    let oracle = Oracle::new(Role::Initiator);
    let honest = oracle.proof();
    // The tags and lengths of the two fields, whose change makes other messages, are 0, 1 and 38, 39.
    for bit in 0..honest.len() * 8 {
        let mut payload = honest.clone();
        payload[bit / 8] ^= 1 << (bit % 8);
        let mut responder = handshake(1, Role::Responder, &[YAMUX]);
        let verdict = Oracle::new(Role::Initiator).attack_responder(&mut responder, &payload);
        assert!(verdict.is_err(), "bit {bit}");
    }
}

#[test]
fn a_payload_without_proof_is_refused() {
    let missing = Error::from(Violation::MissingPayload);
    assert_eq!(refused(|_| Vec::new()), missing);
    assert_eq!(refused(|oracle| oracle.proof()[..38].to_vec()), missing);
    assert_eq!(refused(|oracle| oracle.proof()[38..].to_vec()), missing);
    assert_eq!(refused(|oracle| proof(&oracle.keypair(), &[])), missing);
}

#[test]
fn a_malformed_payload_is_refused() {
    let bad = Error::from(Violation::BadPayload);
    assert_eq!(refused(|_| vec![0xff; 20]), bad);
    assert_eq!(refused(|oracle| oracle.proof()[..100].to_vec()), bad);
    assert_eq!(
        refused(|oracle| [&oracle.proof()[..], &[0x20, 1]].concat()),
        bad,
        "extensions as a number"
    );
    assert_eq!(
        refused(|oracle| [&oracle.proof()[..], &[0x22, 2, 0x12, 9]].concat()),
        bad,
        "muxer cut short"
    );
    assert_eq!(
        refused(|oracle| [&oracle.proof()[..], &[0x22, 2, 0x10, 9]].concat()),
        bad,
        "muxer as a number"
    );
    assert_eq!(
        refused(|oracle| [&oracle.proof()[..], &[0x22, 2, 0x08, 9]].concat()),
        bad,
        "hash as a number"
    );
    let key = |message: &'static [u8]| {
        move |_: &Oracle| {
            let mut payload = Vec::new();
            Writer::new(&mut payload)
                .bytes(1, message)
                .bytes(2, &[1; 64]);
            payload
        }
    };
    if cfg!(not(feature = "rsa")) {
        assert_eq!(
            refused(key(&[0x08, 0, 0x12, 1, 1])),
            Error::UnsupportedKey(KeyType::Rsa)
        );
    }
    assert!(matches!(
        refused(key(&[0x08, 1, 0x12, 1, 1])),
        Error::PeerMisbehaved(Violation::BadKey(_))
    ));
    assert!(matches!(
        refused(key(&[1])),
        Error::PeerMisbehaved(Violation::BadKey(_))
    ));
}

#[test]
fn muxers_of_the_peer_count_wherever_they_stand() {
    let muxer = |write: &dyn Fn(&Oracle) -> Vec<u8>| verdict(write).map(|peer| peer.muxer);
    assert_eq!(
        muxer(&|oracle| with_extensions(oracle, |w| {
            w.string(2, "/x").string(2, "/yamux/1.0.0");
        })),
        Ok(Some(YAMUX))
    );
    // Two fields of a message type are one message.
    assert_eq!(
        muxer(&|oracle| {
            let mut payload = with_extensions(oracle, |w| {
                w.string(2, "/x");
            });
            Writer::new(&mut payload).message(4, |w| {
                w.string(2, "/yamux/1.0.0");
            });
            payload
        }),
        Ok(Some(YAMUX))
    );
    assert_eq!(
        muxer(&|oracle| with_extensions(oracle, |_| {})),
        Ok(None),
        "extensions without muxers"
    );
    assert_eq!(
        muxer(&|oracle| with_extensions(oracle, |w| {
            w.bytes(2, &[0xff]);
        })),
        Err(Error::NoCommonMuxer)
    );
    assert_eq!(
        muxer(&|oracle| with_extensions(oracle, |w| {
            w.string(2, "");
        })),
        Err(Error::NoCommonMuxer)
    );
}

/// Seen to fail without the cap in `certhashes`.
#[test]
fn certificate_hashes_are_handed_on_and_capped() {
    let hashes = |count: usize, length: usize| {
        verdict(|oracle| {
            with_extensions(oracle, |w| {
                for number in 0..count {
                    w.bytes(1, &vec![number as u8; length]);
                }
            })
        })
        .map(|peer| peer.webtransport_certhashes)
    };
    assert_eq!(hashes(2, 3), Ok(vec![[0; 3].into(), [1; 3].into()]));
    assert_eq!(
        hashes(MAX_CERTHASHES, MAX_CERTHASH_LEN).map(|all| all.len()),
        Ok(MAX_CERTHASHES)
    );
    assert_eq!(hashes(MAX_CERTHASHES + 1, 0), Err(Limit::CertHashes.into()));
    assert_eq!(
        hashes(1, MAX_CERTHASH_LEN + 1),
        Err(Limit::CertHashes.into())
    );
}

/// Seen to fail without the upper bound in `missing`.
#[test]
fn payloads_are_read_up_to_the_limit_and_not_beyond() {
    let padded = |length: usize| {
        move |oracle: &Oracle| {
            let mut payload = oracle.proof();
            let padding = length - payload.len() - 4;
            Writer::new(&mut payload).bytes(100, &vec![0; padding]);
            assert_eq!(payload.len(), length);
            payload
        }
    };
    assert!(verdict(padded(MAX_PAYLOAD)).is_ok());
    let over = padded(MAX_PAYLOAD + 1);
    let mut responder = handshake(1, Role::Responder, &[]);
    let mut oracle = Oracle::new(Role::Initiator);
    let second = feed(&mut responder, &oracle.write(&[])).unwrap();
    oracle.read(&second);
    let third = oracle.write(&over(&oracle));
    // The declared length alone decides.
    assert_eq!(responder.advance(&third[..1], &mut Vec::new()), Ok(1));
    assert_eq!(
        responder.advance(&third[1..2], &mut Vec::new()),
        Err(Limit::HandshakeMessage.into())
    );
}

#[test]
fn lengths_that_cannot_be_are_refused_before_the_message_arrives() {
    let bad = Err(Error::from(Violation::BadLength));
    let limit = Err(Error::from(Limit::HandshakeMessage));
    let cases = [
        (0, 32, 32),
        (1, 96, 96 + MAX_PAYLOAD),
        (2, 64, 64 + MAX_PAYLOAD),
    ];
    for (step, shortest, longest) in cases {
        for length in 0..=65535u16 {
            let wanted = usize::from(length);
            // All lengths near the limits, and some others.
            if !(shortest - 2..shortest + 2).contains(&wanted)
                && !(longest - 2..longest + 2).contains(&wanted)
                && wanted % 4099 != 0
                && wanted != 65535
            {
                continue;
            }
            let mut side = match step {
                1 => handshake(1, Role::Initiator, &[]),
                _ => handshake(2, Role::Responder, &[]),
            };
            if step == 2 {
                feed(&mut side, &run(&[], &[]).messages[0]).unwrap();
            }
            let verdict = side.advance(&length.to_be_bytes(), &mut Vec::new());
            if wanted < shortest || (step == 0 && wanted != 32) {
                assert_eq!(verdict, bad, "{step} {wanted}");
            } else if wanted > longest {
                assert_eq!(verdict, limit, "{step} {wanted}");
            } else {
                assert_eq!(verdict, Ok(2), "{step} {wanted}");
            }
        }
    }
}

/// The seven, and the same with the bit that is ignored.
fn low_order_points() -> Vec<[u8; 32]> {
    let low = |first: u8, middle: u8, last: u8| {
        let mut point = [middle; 32];
        point[0] = first;
        point[31] = last;
        point
    };
    let hex = |text: &str| -> [u8; 32] {
        data_encoding::HEXLOWER
            .decode(text.as_bytes())
            .unwrap()
            .try_into()
            .unwrap()
    };
    let mut points = vec![
        low(0, 0, 0),
        low(1, 0, 0),
        low(0xec, 0xff, 0x7f),
        low(0xed, 0xff, 0x7f),
        low(0xee, 0xff, 0x7f),
        hex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
        hex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    ];
    for mut point in points.clone() {
        point[31] |= 0x80;
        points.push(point);
    }
    points
}

/// Seen to fail when `diffie_hellman` takes such points.
#[test]
fn keys_of_small_order_are_refused_at_once() {
    let low = Error::from(Violation::LowOrderKey);
    for point in low_order_points() {
        let mut responder = handshake(2, Role::Responder, &[]);
        let mut out = Vec::new();
        assert_eq!(
            responder.advance(&frame(&point), &mut out),
            Err(low.clone()),
            "ephemeral, message 1"
        );
        assert_eq!(out, [0_u8; 0], "nothing is answered");

        let mut initiator = handshake(1, Role::Initiator, &[]);
        feed(&mut initiator, &[]).unwrap();
        let message = [&point[..], &[0; 200]].concat();
        let verdict = initiator.advance(&frame(&message), &mut Vec::new());
        assert_eq!(verdict, Err(low.clone()), "ephemeral, message 2");

        let make = |role| Oracle::with(role, Some(point), PATTERN);
        let oracle = make(Role::Initiator);
        let payload = oracle.proof();
        let mut responder = handshake(2, Role::Responder, &[]);
        assert_eq!(
            oracle.attack_responder(&mut responder, &payload),
            Err(low.clone()),
            "static, message 3"
        );
        let oracle = make(Role::Responder);
        let payload = oracle.proof();
        let mut initiator = handshake(1, Role::Initiator, &[]);
        assert_eq!(
            oracle.attack_initiator(&mut initiator, &payload),
            Err(low.clone()),
            "static, message 2"
        );
    }
}

#[test]
fn any_flipped_bit_kills_the_handshake() {
    let messages = run(&[YAMUX], &[YAMUX]).messages;
    let flipped = |number: usize| {
        let message = messages[number].clone();
        (0..message.len() * 8).map(move |bit| {
            let mut message = message.clone();
            message[bit / 8] ^= 1 << (bit % 8);
            (bit, message)
        })
    };
    for (bit, first) in flipped(0) {
        let mut initiator = handshake(1, Role::Initiator, &[YAMUX]);
        feed(&mut initiator, &[]).unwrap();
        let mut responder = handshake(2, Role::Responder, &[YAMUX]);
        let mut second = Vec::new();
        match responder.advance(&first, &mut second) {
            Err(_) => assert!(bit < 16 && second.is_empty(), "bit {bit}"),
            Ok(_) => assert_eq!(
                initiator.advance(&second, &mut Vec::new()),
                Err(Violation::DecryptFailed.into()),
                "bit {bit}"
            ),
        }
    }
    for (bit, second) in flipped(1) {
        let mut initiator = handshake(1, Role::Initiator, &[YAMUX]);
        feed(&mut initiator, &[]).unwrap();
        let mut out = Vec::new();
        let verdict = initiator.advance(&second, &mut out);
        assert!(
            verdict.is_err() || bit < 16,
            "bit {bit}: at most more is awaited"
        );
        assert!(!initiator.is_finished() && out.is_empty());
    }
    let mut bits = 0;
    for (bit, third) in flipped(2) {
        let mut responder = handshake(2, Role::Responder, &[YAMUX]);
        feed(&mut responder, &messages[0]).unwrap();
        let verdict = responder.advance(&third, &mut Vec::new());
        assert!(verdict.is_err() || bit < 16, "bit {bit}");
        assert!(!responder.is_finished());
        bits += 1;
    }
    assert_eq!(bits, messages[2].len() * 8);
}

/// T13, with whole messages.
#[test]
fn messages_of_another_session_are_refused() {
    let messages = run(&[], &[]).messages;
    let fail = Err(Error::from(Violation::DecryptFailed));
    // The same two nodes, later: other ephemeral keys.
    let new = |number, role| {
        Handshake::new(
            &local(number),
            role,
            &[],
            Seed::for_tests(2000 + number).rng(),
        )
        .unwrap()
    };
    let mut initiator = new(1, Role::Initiator);
    feed(&mut initiator, &[]).unwrap();
    assert_eq!(
        initiator.advance(&messages[1], &mut Vec::new()),
        fail,
        "message 2 replayed"
    );
    let mut responder = new(2, Role::Responder);
    feed(&mut responder, &messages[0]).unwrap();
    assert_eq!(
        responder.advance(&messages[2], &mut Vec::new()),
        fail,
        "messages 1 and 3 replayed"
    );
    // A side's own messages sent back to it.
    let mut initiator = handshake(1, Role::Initiator, &[]);
    let first = feed(&mut initiator, &[]).unwrap();
    assert_eq!(
        initiator.advance(&first, &mut Vec::new()),
        Err(Violation::BadLength.into())
    );
    let mut responder = handshake(2, Role::Responder, &[]);
    let second = feed(&mut responder, &messages[0]).unwrap();
    assert_eq!(responder.advance(&second, &mut Vec::new()), fail);
}

#[test]
fn another_pattern_or_cipher_does_not_connect() {
    for pattern in [
        "Noise_IX_25519_ChaChaPoly_SHA256",
        "Noise_NX_25519_ChaChaPoly_SHA256",
    ] {
        let mut responder = handshake(1, Role::Responder, &[]);
        let mut oracle = Oracle::with(Role::Initiator, None, pattern);
        let first = oracle.write(&[]);
        match responder.advance(&first, &mut Vec::new()) {
            Err(error) => assert_eq!(error, Violation::BadLength.into()),
            Ok(_) => assert!(!responder.is_finished()),
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_finish_nor_panic(input in prop::collection::vec(any::<u8>(), 0..300), initiator: bool) {
        let role = if initiator { Role::Initiator } else { Role::Responder };
        let mut side = handshake(1, role, &[YAMUX]);
        let mut rest = &input[..];
        while let Ok(used) = side.advance(rest, &mut Vec::new()) {
            prop_assert_eq!(used, rest.len());
            rest = &[];
            if used == 0 { break; }
        }
        prop_assert!(!side.is_finished());
    }

    #[test]
    fn arbitrary_payloads_are_refused(payload in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut responder = handshake(1, Role::Responder, &[YAMUX]);
        prop_assert!(Oracle::new(Role::Initiator).attack_responder(&mut responder, &payload).is_err());
    }
}
