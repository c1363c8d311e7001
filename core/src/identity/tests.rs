use super::*;
use crate::seed::Seed;
use data_encoding::HEXLOWER_PERMISSIVE;
use std::string::ToString;
use std::vec::Vec;
use std::{format, vec};

fn hex(text: &str) -> Vec<u8> {
    HEXLOWER_PERMISSIVE.decode(text.as_bytes()).unwrap()
}

// The vectors of the peer-ids specification.
const ED25519_PRIVATE: &str = "080112407e0830617c4a7de83925dfb2694556b12936c477a0e1feb2e148ec9da60fee7d1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e";
const ED25519_PUBLIC: &str =
    "080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e";
const CID: &str = "bafzbeie5745rpv2m6tjyuugywy4d5ewrqgqqhfnf445he3omzpjbx5xqxe";
const CID_AS_BASE58: &str = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N";
const INLINE: &str = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";

fn keypair(number: u64) -> Keypair {
    Keypair::ed25519_from_seed(&Seed::for_tests(number))
}

#[test]
fn peer_id_texts_of_the_specification() {
    let peer: PeerId = CID.parse().unwrap();
    assert_eq!(peer.to_string(), CID_AS_BASE58);
    assert_eq!(CID_AS_BASE58.parse(), Ok(peer));
    assert_eq!(peer.to_cid(), CID);
    assert_eq!(peer.as_bytes().len(), 34);
    assert!(peer.public_key().is_none());

    let peer: PeerId = INLINE.parse().unwrap();
    assert_eq!(peer.to_string(), INLINE);
    assert_eq!(peer.to_base58(), INLINE);
    assert_eq!(peer.to_cid().parse(), Ok(peer));
    assert_eq!(peer.as_bytes().len(), 38);
    assert_eq!(peer.public_key().map(|key| key.peer_id()), Some(peer));
    assert_eq!(
        format!("{peer:?} {}", peer.short()),
        "PeerId(12*AJU5SA) 12*AJU5SA"
    );
    assert!(size_of::<PeerId>() <= 45);
}

#[test]
fn ed25519_vector_of_the_specification() {
    let pair = Keypair::from_protobuf(&hex(ED25519_PRIVATE)).unwrap();
    let public = PublicKey::from_protobuf(&hex(ED25519_PUBLIC)).unwrap();
    assert_eq!(pair.public(), public);
    assert_eq!(pair.to_protobuf().as_slice(), hex(ED25519_PRIVATE));
    assert_eq!(public.to_protobuf(), hex(ED25519_PUBLIC));
    assert!(public.peer_id().is_of(&public));
}

#[test]
fn the_old_private_key_form_with_a_repeated_public_half() {
    let key = hex(ED25519_PRIVATE);
    let old = [&[8, 1, 0x12, 96], &key[4..], &key[36..]].concat();
    let pair = Keypair::from_protobuf(&old).unwrap();
    assert_eq!(
        pair.to_protobuf().as_slice(),
        key,
        "written in the new form"
    );
    for at in 36..100 {
        let mut wrong = old.clone();
        wrong[at] ^= 1;
        assert_eq!(
            Keypair::from_protobuf(&wrong).err(),
            Some(KeyError::Mismatch),
            "byte {at}"
        );
    }
    for len in [0, 32, 63, 65, 95, 97] {
        let wrong = [&[8, 1, 0x12, len][..], &vec![1; len.into()]].concat();
        assert_eq!(
            Keypair::from_protobuf(&wrong).err(),
            Some(KeyError::Invalid(KeyType::Ed25519))
        );
    }
}

/// T19 (RUSTSEC-2020-0068): a truncated or otherwise damaged multihash is an error.
#[test]
fn peer_ids_are_read_strictly() {
    let bytes = keypair(1).peer_id().to_bytes();
    for end in 0..bytes.len() {
        assert_eq!(
            PeerId::from_bytes(&bytes[..end]),
            Err(PeerIdError::Truncated),
            "{end}"
        );
    }
    let read = |bytes: &[u8]| PeerId::from_bytes(bytes);
    assert_eq!(
        read(&[bytes.as_slice(), &[0]].concat()),
        Err(PeerIdError::TrailingBytes)
    );
    assert_eq!(read(&[0x12, 31]), Err(PeerIdError::DigestLength(31)));
    assert_eq!(
        read(&[[0x12, 33].as_slice(), &[0; 33]].concat()),
        Err(PeerIdError::DigestLength(33))
    );
    assert_eq!(read(&[0, 0]), Err(PeerIdError::DigestLength(0)));
    assert_eq!(
        read(&[[0, 43].as_slice(), &[0; 43]].concat()),
        Err(PeerIdError::DigestLength(43))
    );
    assert_eq!(read(&[0x13, 32]), Err(PeerIdError::UnsupportedHash(0x13)));
    assert_eq!(
        read(&[0xb2, 0x20, 32]),
        Err(PeerIdError::UnsupportedHash(0x1032))
    );
    assert_eq!(
        read(&[0x92, 0x00, 32]),
        Err(PeerIdError::Varint),
        "0x12 in two bytes"
    );
    assert_eq!(read(&[0x12, 0xa0, 0x00]), Err(PeerIdError::Varint));
    assert_eq!(read(&[0xff; 10]), Err(PeerIdError::Varint));
    assert_eq!(
        read(&[
            0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1
        ]),
        Err(PeerIdError::DigestLength(u64::MAX))
    );
    let longest = read(&[[0, 42].as_slice(), &[0xff; 42]].concat()).unwrap();
    assert_eq!(longest.as_bytes().len(), PeerId::MAX_LEN);
    assert_eq!(longest.to_string().parse(), Ok(longest));
    assert_eq!(longest.to_cid().parse(), Ok(longest));
}

#[test]
fn peer_id_texts_are_read_strictly() {
    let parse = |text: &str| text.parse::<PeerId>();
    for text in ["1", "12D3KooW", "Qm", &INLINE[..51]] {
        assert!(parse(text).is_err(), "{text}");
    }
    assert_eq!(parse(""), Err(PeerIdError::Text));
    assert_eq!(parse("1O"), Err(PeerIdError::Text));
    assert_eq!(parse(&"1".repeat(1 << 20)), Err(PeerIdError::Text));
    assert_eq!(
        parse(&format!("Qm{}", "z".repeat(1 << 20))),
        Err(PeerIdError::Text)
    );
    assert_eq!(parse("xyz"), Err(PeerIdError::UnsupportedBase('x')));
    assert_eq!(parse("é"), Err(PeerIdError::UnsupportedBase('é')));
    let cid = |bytes: &[u8]| parse(&format!("f{}", HEXLOWER_PERMISSIVE.encode(bytes)));
    let peer = keypair(1).peer_id();
    assert_eq!(
        cid(&[[1, 0x72].as_slice(), peer.as_bytes()].concat()),
        Ok(peer)
    );
    assert_eq!(
        cid(&[[0, 0x72].as_slice(), peer.as_bytes()].concat()),
        Err(PeerIdError::CidVersion(0))
    );
    assert_eq!(
        cid(&[[1, 0x55].as_slice(), peer.as_bytes()].concat()),
        Err(PeerIdError::CidCodec(0x55))
    );
    assert_eq!(
        cid(&[[1, 0x72].as_slice(), peer.as_bytes(), &[0]].concat()),
        Err(PeerIdError::TrailingBytes)
    );
    assert_eq!(cid(&[1, 0x72]), Err(PeerIdError::Truncated));
}

/// T12 (RUSTSEC-2019-0004): no flipped bit of signature, key or message goes unnoticed. Fails if `verify` takes any
/// well-formed signature.
#[test]
fn every_flipped_bit_of_an_ed25519_signature_key_or_message_is_refused() {
    let pair = keypair(12);
    let (public, message) = (pair.public(), b"which peer said this?".to_vec());
    let signature = pair.sign(&message);
    assert_eq!(public.verify(&message, &signature), Ok(()));
    for bit in 0..signature.len() * 8 {
        let mut flipped = signature.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(
            public.verify(&message, &flipped),
            Err(InvalidSignature),
            "signature bit {bit}"
        );
    }
    for bit in 0..message.len() * 8 {
        let mut flipped = message.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(
            public.verify(&flipped, &signature),
            Err(InvalidSignature),
            "message bit {bit}"
        );
    }
    let bytes = public.ed25519_bytes().unwrap();
    let mut points = 0;
    for bit in 0..bytes.len() * 8 {
        let mut flipped = *bytes;
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(other) = PublicKey::from_ed25519_bytes(&flipped) {
            points += 1;
            assert_eq!(
                other.verify(&message, &signature),
                Err(InvalidSignature),
                "key bit {bit}"
            );
            assert_ne!(other.peer_id(), public.peer_id());
        }
    }
    assert!(
        points > 64,
        "about half of all flips are points of the curve, got {points}"
    );
    for len in 0..64 {
        assert!(
            public.verify(&message, &signature[..len]).is_err(),
            "truncated to {len}"
        );
    }
    assert!(
        public
            .verify(&message, &[signature.as_slice(), &[0]].concat())
            .is_err()
    );
}

/// A key of small order accepts signatures that anyone can make. Fails without the check for weak keys.
#[test]
fn keys_of_small_order_are_refused() {
    // The eight points of small order, then the non-canonical encodings of the identity.
    let points = [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    for point in points {
        let message = [&[8, 1, 0x12, 32], hex(point).as_slice()].concat();
        assert_eq!(
            PublicKey::from_protobuf(&message),
            Err(KeyError::Invalid(KeyType::Ed25519)),
            "{point}"
        );
    }
}

#[test]
fn key_messages_that_are_not_keys() {
    let read = PublicKey::from_protobuf;
    assert_eq!(read(&[]), Err(KeyError::MissingField));
    assert_eq!(read(&[8, 1]), Err(KeyError::MissingField));
    assert_eq!(read(&hex(ED25519_PUBLIC)[2..]), Err(KeyError::MissingField));
    assert_eq!(read(&[8, 4, 0x12, 0]), Err(KeyError::UnknownType(4)));
    assert_eq!(
        read(&[8, 1, 0x12, 0]),
        Err(KeyError::Invalid(KeyType::Ed25519))
    );
    assert_eq!(
        read(&[8, 1, 0x12, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        Err(KeyError::Malformed(crate::wire::protobuf::Error::Truncated))
    );
    let whole = hex(ED25519_PUBLIC);
    for end in 0..whole.len() {
        assert!(read(&whole[..end]).is_err(), "truncated to {end}");
    }
    let whole = hex(ED25519_PRIVATE);
    for end in 0..whole.len() {
        assert!(
            Keypair::from_protobuf(&whole[..end]).is_err(),
            "truncated to {end}"
        );
    }
}

#[test]
fn keys_follow_from_seeds_and_secrets_are_not_printed() {
    assert_eq!(keypair(1).peer_id(), keypair(1).peer_id());
    assert_ne!(keypair(1).peer_id(), keypair(2).peer_id());
    let pair = Keypair::from_ed25519_secret(&[0x5a; 32]);
    assert_eq!(pair.ed25519_secret(), Some(&[0x5a; 32]));
    let printed = format!("{pair:?}");
    assert_eq!(
        printed,
        format!("Keypair(Ed25519, {})", pair.peer_id().short())
    );
    assert!(
        !printed.contains("90") && !printed.contains("5a"),
        "{printed}"
    );
}
