//! Every answer compared with `libp2p-identity`.

#[cfg(feature = "rsa")]
use super::key_type_tests::RSA_PRIVATE;
#[cfg(feature = "secp256k1")]
use super::key_type_tests::SECP256K1_PRIVATE;
use super::key_type_tests::{ECDSA_PUBLIC, RSA_PUBLIC, SECP256K1_PUBLIC, hex};
use super::*;
use libp2p_identity as oracle;
use proptest::prelude::*;
use std::string::ToString;
use std::vec::Vec;

/// What both sides know of a key: peer id and message.
fn compare_keys(ours: &PublicKey, theirs: &oracle::PublicKey) {
    assert_eq!(ours.to_protobuf(), theirs.encode_protobuf());
    let peer = theirs.to_peer_id();
    assert_eq!(ours.peer_id().to_bytes(), peer.to_bytes());
    assert_eq!(ours.peer_id().to_string(), peer.to_string());
    assert_eq!(oracle::PeerId::from(ours.peer_id()), peer);
    assert_eq!(PeerId::try_from(peer), Ok(ours.peer_id()));
    assert_eq!(&oracle::PublicKey::from(ours), theirs);
    assert_eq!(PublicKey::try_from(theirs).as_ref(), Ok(ours));
}

/// Ours refuses some of what the oracle takes, but then never the form that the oracle itself writes, except for keys
/// that are weak or too large.
fn compare_key_message(message: &[u8]) {
    match (
        PublicKey::from_protobuf(message),
        oracle::PublicKey::try_decode_protobuf(message),
    ) {
        (Ok(ours), Ok(theirs)) => compare_keys(&ours, &theirs),
        (Ok(ours), Err(error)) => panic!("the oracle refuses {ours:?}: {error}"),
        (Err(ours), Ok(theirs)) => match PublicKey::from_protobuf(&theirs.encode_protobuf()) {
            Ok(key) => compare_keys(&key, &theirs),
            Err(KeyError::Invalid(KeyType::Ed25519)) => {
                let key = theirs.try_into_ed25519().unwrap().to_bytes();
                assert!(
                    ed25519_dalek::VerifyingKey::from_bytes(&key)
                        .unwrap()
                        .is_weak()
                );
            }
            Err(KeyError::RsaBits(_) | KeyError::Invalid(KeyType::Rsa)) => {}
            Err(again) => panic!("refused with {ours:?} and again with {again:?}"),
        },
        (Err(_), Err(_)) => {}
    }
}

fn ed25519() -> impl Strategy<Value = Keypair> {
    any::<[u8; 32]>().prop_map(|secret| Keypair::from_ed25519_secret(&secret))
}

/// One of the keys of the specification, damaged.
fn damaged_message() -> impl Strategy<Value = Vec<u8>> {
    let messages = [
        "080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e",
        SECP256K1_PUBLIC,
        ECDSA_PUBLIC,
        RSA_PUBLIC,
    ];
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4), 1..4);
    (prop::sample::select(messages.map(hex).to_vec()), edits).prop_map(|(mut message, edits)| {
        for (index, byte, edit) in edits {
            let len = message.len();
            let at = index.index(len.max(1));
            match edit {
                // Most damage goes to the head, where the structure is.
                0 if len > 0 => message[at % 48 % len] = byte,
                1 => message.insert(at % 48 % (len + 1), byte),
                2 if len > 0 => drop(message.remove(at)),
                _ => message.truncate(at),
            }
        }
        message
    })
}

proptest! {
    #[test]
    fn ed25519_keys_and_signatures_agree(pair in ed25519(), message in prop::collection::vec(any::<u8>(), 0..200)) {
        let theirs = oracle::Keypair::from(&pair);
        compare_keys(&pair.public(), &theirs.public());
        let stored = theirs.to_protobuf_encoding().unwrap();
        prop_assert_eq!(&*pair.to_protobuf(), &stored);
        prop_assert_eq!(Keypair::try_from(&theirs).unwrap().public(), pair.public());
        let signature = pair.sign(&message);
        prop_assert_eq!(&signature, &theirs.sign(&message).unwrap());
        prop_assert!(theirs.public().verify(&message, &signature));
        prop_assert!(pair.public().verify(&message, &signature).is_ok());
    }

    #[test]
    fn ed25519_verification_agrees_on_damaged_signatures(
        pair in ed25519(),
        at in 0..64usize,
        byte: u8,
        message in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut signature = pair.sign(&message);
        signature[at] = byte;
        let theirs = oracle::PublicKey::from(&pair.public());
        prop_assert_eq!(pair.public().verify(&message, &signature).is_ok(), theirs.verify(&message, &signature));
    }

    #[test]
    fn key_messages_agree(message in damaged_message()) {
        compare_key_message(&message);
    }

    #[test]
    fn random_key_messages_agree(
        kind in 0..5u8,
        data in prop::collection::vec(any::<u8>(), 0..100),
        tail in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        let len = u8::try_from(data.len()).unwrap();
        compare_key_message(&[&[8, kind, 0x12, len], data.as_slice(), &tail].concat());
        compare_key_message(&data);
    }

    #[test]
    fn ed25519_points_agree(bytes: [u8; 32]) {
        compare_key_message(&[&[8, 1, 0x12, 32], bytes.as_slice()].concat());
    }

    #[test]
    fn peer_id_bytes_agree(
        code in prop::sample::select(std::vec![0u8, 0x12, 0x13]),
        len in 0..70u8,
        actual in prop::option::of(0..70usize),
        digest in prop::collection::vec(any::<u8>(), 70),
    ) {
        let digest = &digest[..actual.unwrap_or(len.into())];
        let bytes = [&[code, len], digest].concat();
        match (PeerId::from_bytes(&bytes), oracle::PeerId::from_bytes(&bytes)) {
            (Ok(ours), Ok(theirs)) => {
                prop_assert_eq!(ours.to_base58(), theirs.to_base58());
                prop_assert_eq!(theirs.to_base58().parse(), Ok(ours));
                prop_assert_eq!(PeerId::try_from(theirs), Ok(ours));
            }
            (Err(error), Ok(theirs)) => {
                prop_assert_eq!(&error, &PeerIdError::DigestLength(len.into()));
                prop_assert_eq!(PeerId::try_from(theirs), Err(error));
            }
            (ours, theirs) => prop_assert_eq!(ours.is_ok(), theirs.is_ok()),
        }
    }

    #[test]
    fn peer_ids_are_ordered_alike(a in any_peer_id(), b in any_peer_id()) {
        let theirs = |peer: PeerId| oracle::PeerId::from(peer);
        prop_assert_eq!(a.cmp(&b), theirs(a).cmp(&theirs(b)));
    }

    #[test]
    fn random_text_does_not_panic(text in "\\PC{0,80}", ascii in "[1Qmbkzfu][a-zA-Z0-9]{0,80}") {
        for text in [text, ascii] {
            if let Ok(theirs) = text.parse::<oracle::PeerId>() {
                let ours = text.parse::<PeerId>();
                prop_assert!(matches!(ours, Err(PeerIdError::DigestLength(_))) || ours == PeerId::try_from(theirs));
            } else if let Ok(ours) = text.parse::<PeerId>() {
                prop_assert_eq!(ours.to_string().parse(), Ok(ours));
            }
        }
    }
}

fn any_peer_id() -> impl Strategy<Value = PeerId> {
    let inline = prop::collection::vec(0..3u8, 1..=42).prop_map(|key| (0, key));
    let hashed = prop::collection::vec(0..3u8, 32).prop_map(|digest| (0x12, digest));
    prop_oneof![inline, hashed].prop_map(|(code, digest)| {
        let len = u8::try_from(digest.len()).unwrap();
        PeerId::from_bytes(&[&[code, len], digest.as_slice()].concat()).unwrap()
    })
}

#[test]
fn all_vectors_agree() {
    for message in [SECP256K1_PUBLIC, ECDSA_PUBLIC, RSA_PUBLIC] {
        compare_key_message(&hex(message));
    }
}

#[cfg(feature = "secp256k1")]
#[test]
fn secp256k1_signatures_agree() {
    let pair = Keypair::from_protobuf(&hex(SECP256K1_PRIVATE)).unwrap();
    let theirs = oracle::Keypair::from(&pair);
    for number in 0..16u8 {
        assert_eq!(pair.sign(&[number]), theirs.sign(&[number]).unwrap());
    }
    assert_eq!(
        Keypair::try_from(&theirs).unwrap().to_protobuf(),
        pair.to_protobuf()
    );
}

#[cfg(feature = "ecdsa")]
#[test]
fn ecdsa_keys_and_signatures_agree() {
    let mut rng = crate::seed::Seed::for_tests(1).rng();
    for number in 0..16u8 {
        let pair = Keypair::generate_ecdsa(&mut rng);
        let theirs = oracle::Keypair::from(&pair);
        compare_keys(&pair.public(), &theirs.public());
        assert_eq!(pair.sign(&[number]), theirs.sign(&[number]).unwrap());
        assert_eq!(
            Keypair::try_from(&theirs).unwrap().to_protobuf(),
            pair.to_protobuf()
        );
    }
}

#[cfg(feature = "rsa")]
#[test]
fn rsa_signatures_of_the_oracle_verify() {
    let theirs = oracle::Keypair::from_protobuf_encoding(&hex(RSA_PRIVATE)).unwrap();
    let public = PublicKey::try_from(&theirs.public()).unwrap();
    compare_keys(&public, &theirs.public());
    for number in 0..8u8 {
        assert_eq!(
            public.verify(&[number], &theirs.sign(&[number]).unwrap()),
            Ok(())
        );
    }
    assert_eq!(
        Keypair::try_from(&theirs).err(),
        Some(KeyError::Unsupported(KeyType::Rsa))
    );
}
