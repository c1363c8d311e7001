//! Secp256k1, ECDSA and RSA, each with its feature; and what happens without.

use super::*;
use data_encoding::HEXLOWER_PERMISSIVE;
use std::vec::Vec;

pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: std::string::String = text.split_whitespace().collect();
    HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).unwrap()
}

// The vectors of the peer-ids specification.
pub(super) const SECP256K1_PUBLIC: &str =
    "08021221037777e994e452c21604f91de093ce415f5432f701dd8cd1a7a6fea0e630bfca99";
pub(super) const SECP256K1_PRIVATE: &str =
    "0802122053DADF1D5A164D6B4ACDB15E24AA4C5B1D3461BDBD42ABEDB0A4404D56CED8FB";
pub(super) const ECDSA_PUBLIC: &str = "
    0803125b3059301306072a8648ce3d020106082a8648ce3d03010703420004de3d300fa36ae0e8f5d530899d83abab44abf3161f162a4bc901d8
    e6ecda020e8b6d5f8da30525e71d6851510c098e5c47c646a597fb4dcec034e9f77c409e62";
pub(super) const ECDSA_PRIVATE: &str = "
    08031279307702010104203E5B1FE9712E6C314942A750BD67485DE3C1EFE85B1BFB520AE8F9AE3DFA4A4CA00A06082A8648CE3D030107A14403
    420004DE3D300FA36AE0E8F5D530899D83ABAB44ABF3161F162A4BC901D8E6ECDA020E8B6D5F8DA30525E71D6851510C098E5C47C646A597FB4D
    CEC034E9F77C409E62";
pub(super) const RSA_PUBLIC: &str = include_str!("testdata/rsa_public.hex");
pub(super) const RSA_PRIVATE: &str = include_str!("testdata/rsa_private.hex");
/// Made by OpenSSL with the private key above.
#[cfg(feature = "rsa")]
const RSA_SIGNATURE: &str = include_str!("testdata/rsa_signature.hex");
#[cfg(feature = "rsa")]
const RSA_MESSAGE: &[u8] = b"signed by an RSA key";

#[test]
fn a_key_type_that_is_not_compiled_in_is_unsupported() {
    let types = [
        (
            KeyType::Secp256k1,
            SECP256K1_PUBLIC,
            SECP256K1_PRIVATE,
            cfg!(feature = "secp256k1"),
        ),
        (
            KeyType::Ecdsa,
            ECDSA_PUBLIC,
            ECDSA_PRIVATE,
            cfg!(feature = "ecdsa"),
        ),
        (KeyType::Rsa, RSA_PUBLIC, RSA_PRIVATE, cfg!(feature = "rsa")),
    ];
    for (kind, public, private, supported) in types {
        let refused = Some(KeyError::Unsupported(kind));
        let expected = if supported { None } else { refused.clone() };
        assert_eq!(PublicKey::from_protobuf(&hex(public)).err(), expected);
        let expected = if supported && kind != KeyType::Rsa {
            None
        } else {
            refused
        };
        assert_eq!(Keypair::from_protobuf(&hex(private)).err(), expected);
    }
}

/// T12 (RUSTSEC-2019-0004), for keys whose signatures are DER: no flipped bit of the signature, the key or the message is accepted.
#[cfg(any(feature = "secp256k1", feature = "ecdsa", feature = "rsa"))]
fn no_flipped_bit_is_accepted(public: &PublicKey, message: &[u8], signature: &[u8]) {
    assert_eq!(public.verify(message, signature), Ok(()));
    let refused = Err(InvalidSignature);
    let flip = |bytes: &[u8], bit: usize| {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        flipped
    };
    for bit in 0..signature.len() * 8 {
        assert_eq!(
            public.verify(message, &flip(signature, bit)),
            refused,
            "signature bit {bit}"
        );
    }
    for bit in 0..message.len() * 8 {
        assert_eq!(
            public.verify(&flip(message, bit), signature),
            refused,
            "message bit {bit}"
        );
    }
    for end in 0..signature.len() {
        assert_eq!(
            public.verify(message, &signature[..end]),
            refused,
            "cut to {end}"
        );
    }
    assert_eq!(public.verify(message, &[signature, &[0]].concat()), refused);
    let key = public.to_protobuf();
    for bit in 0..key.len() * 8 {
        if let Ok(other) = PublicKey::from_protobuf(&flip(&key, bit)) {
            assert_eq!(other.verify(message, signature), refused, "key bit {bit}");
            assert_ne!(other.peer_id(), public.peer_id());
        }
    }
    for end in 0..key.len() {
        assert!(
            PublicKey::from_protobuf(&key[..end]).is_err(),
            "key cut to {end}"
        );
    }
}

#[cfg(any(feature = "secp256k1", feature = "ecdsa"))]
fn vector_and_signatures(public: &str, private: &str) -> Keypair {
    let pair = Keypair::from_protobuf(&hex(private)).unwrap();
    assert_eq!(
        pair.public(),
        PublicKey::from_protobuf(&hex(public)).unwrap()
    );
    assert_eq!(pair.public().to_protobuf(), hex(public));
    assert_eq!(pair.to_protobuf().as_slice(), hex(private));
    assert_eq!(pair.sign(b"x"), pair.sign(b"x"), "deterministic");
    no_flipped_bit_is_accepted(&pair.public(), b"message", &pair.sign(b"message"));
    let message = hex(private);
    for end in 0..message.len() {
        assert!(
            Keypair::from_protobuf(&message[..end]).is_err(),
            "private key cut to {end}"
        );
    }
    pair
}

#[cfg(feature = "secp256k1")]
mod secp256k1 {
    use super::*;
    use crate::seed::Seed;

    #[test]
    fn vector_of_the_specification() {
        let pair = vector_and_signatures(SECP256K1_PUBLIC, SECP256K1_PRIVATE);
        assert_eq!(
            pair.public().to_protobuf().len(),
            37,
            "short enough to be inlined"
        );
        assert_eq!(pair.peer_id().public_key(), Some(pair.public()));
        assert_eq!(pair.ed25519_secret(), None);
        assert_eq!(pair.public().ed25519_bytes(), None);
    }

    #[test]
    fn generated_keys_sign_with_low_s_and_high_s_is_refused() {
        use k256::ecdsa::Signature;
        let mut rng = Seed::for_tests(5).rng();
        for _ in 0..32 {
            let pair = Keypair::generate_secp256k1(&mut rng);
            let signature = Signature::from_der(&pair.sign(b"m")).unwrap();
            assert_eq!(signature.normalize_s(), signature);
            assert_eq!(
                pair.public().verify(b"m", signature.to_der().as_bytes()),
                Ok(())
            );
            let high = Signature::from_scalars(*signature.r(), -*signature.s()).unwrap();
            assert_ne!(high, signature);
            assert_eq!(
                pair.public().verify(b"m", high.to_der().as_bytes()),
                Err(InvalidSignature)
            );
        }
    }

    #[test]
    fn both_point_forms_are_the_same_key_and_others_are_none() {
        let pair = Keypair::from_protobuf(&hex(SECP256K1_PRIVATE)).unwrap();
        let compressed = hex(SECP256K1_PUBLIC);
        let point = k256::ecdsa::VerifyingKey::from_sec1_bytes(&compressed[4..]).unwrap();
        let point = point.to_sec1_point(false);
        let read = |point: &[u8]| {
            let len = u8::try_from(point.len()).unwrap();
            PublicKey::from_protobuf(&[&[8, 2, 0x12, len], point].concat())
        };
        assert_eq!(read(point.as_bytes()), Ok(pair.public()));
        let invalid = Err(KeyError::Invalid(KeyType::Secp256k1));
        for tag in (0..=255u8).filter(|tag| *tag != 2 && *tag != 3) {
            assert_eq!(
                read(&[&[tag], &compressed[5..]].concat()),
                invalid,
                "tag {tag}"
            );
        }
        assert_eq!(read(&[]), invalid);
        assert_eq!(read(&[0]), invalid);
        for scalar in [[0; 32], [0xff; 32]] {
            let stored = [[8, 2, 0x12, 32].as_slice(), &scalar].concat();
            assert_eq!(Keypair::from_protobuf(&stored).err(), invalid.clone().err());
        }
    }
}

#[cfg(feature = "ecdsa")]
mod ecdsa {
    use super::*;
    use crate::seed::Seed;

    #[test]
    fn vector_of_the_specification() {
        let pair = vector_and_signatures(ECDSA_PUBLIC, ECDSA_PRIVATE);
        assert!(
            pair.public().to_protobuf().len() > 42,
            "hashed into the peer id"
        );
        assert_eq!(pair.peer_id().public_key(), None);
        assert!(pair.peer_id().to_base58().starts_with("Qm"));
    }

    #[test]
    fn generated_keys_store_and_verify() {
        let mut rng = Seed::for_tests(6).rng();
        for _ in 0..8 {
            let pair = Keypair::generate_ecdsa(&mut rng);
            let read = Keypair::from_protobuf(&pair.to_protobuf()).unwrap();
            assert_eq!(read.public().verify(b"m", &pair.sign(b"m")), Ok(()));
        }
    }

    #[test]
    fn parts_of_a_private_key_may_be_missing_but_not_wrong() {
        let stored = hex(ECDSA_PRIVATE);
        let pair = Keypair::from_protobuf(&stored).unwrap();
        let read = |content: &[&[u8]]| {
            let content = content.concat();
            let len = u8::try_from(content.len()).unwrap();
            let message = [&[8, 3, 0x12, len + 2, 0x30, len], content.as_slice()].concat();
            Keypair::from_protobuf(&message).map(|key| key.peer_id())
        };
        let (scalar, curve, point) = (&stored[6..43], &stored[43..55], &stored[55..]);
        let peer = Ok(pair.peer_id());
        let invalid = Err(KeyError::Invalid(KeyType::Ecdsa));
        assert_eq!(read(&[scalar, curve, point]), peer);
        assert_eq!(read(&[scalar, point]), peer);
        assert_eq!(read(&[scalar, curve]), peer);
        assert_eq!(read(&[scalar]), peer);
        assert_eq!(read(&[scalar, point, curve]), invalid);
        assert_eq!(
            read(&[scalar, &[0xa0, 3, 6, 1, 0]]),
            invalid,
            "another curve"
        );
        let mut other = point.to_vec();
        *other.last_mut().unwrap() ^= 1;
        assert_eq!(read(&[scalar, curve, &other]), Err(KeyError::Mismatch));
        assert_eq!(read(&[&[2, 1, 2], &scalar[3..]]), invalid, "version 2");
    }
}

#[cfg(feature = "rsa")]
mod rsa {
    use super::*;
    use std::vec;

    #[test]
    fn vector_of_the_specification_verifies_a_signature_of_openssl() {
        let public = PublicKey::from_protobuf(&hex(RSA_PUBLIC)).unwrap();
        assert_eq!(public.to_protobuf(), hex(RSA_PUBLIC));
        assert_eq!(public.key_type(), KeyType::Rsa);
        no_flipped_bit_is_accepted(&public, RSA_MESSAGE, &hex(RSA_SIGNATURE));
    }

    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let len = u16::try_from(content.len()).unwrap();
        let [high, low] = len.to_be_bytes();
        let head = match len {
            0..=0x7f => vec![tag, low],
            0x80..=0xff => vec![tag, 0x81, low],
            _ => vec![tag, 0x82, high, low],
        };
        [head.as_slice(), content].concat()
    }

    fn key_message(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
        let numbers = [element(2, modulus), element(2, exponent)].concat();
        let bits = [&[0], element(0x30, &numbers).as_slice()].concat();
        let algorithm = hex("300d06092a864886f70d0101010500");
        let stored = element(0x30, &[algorithm, element(3, &bits)].concat());
        let mut message = vec![];
        crate::wire::protobuf::Writer::new(&mut message)
            .uint64(1, 0)
            .bytes(2, &stored);
        message
    }

    /// An odd number of this many bits, as a DER integer.
    fn modulus(bits: usize) -> Vec<u8> {
        let mut number = vec![0xff; bits.div_ceil(8)];
        number[0] >>= (8 - bits % 8) % 8;
        if number[0] >= 0x80 {
            number.insert(0, 0);
        }
        number
    }

    /// T17 (CVE-2023-39533): sizes are judged by length alone, within microseconds, before any arithmetic. Fails without
    /// the comparison with the range of sizes.
    #[test]
    fn a_modulus_outside_2048_to_8192_bits_is_refused_at_once() {
        let read = |bits| PublicKey::from_protobuf(&key_message(&modulus(bits), &[1, 0, 1]));
        for bits in [2048, 2049, 3072, 4096, 8191, 8192] {
            assert!(read(bits).is_ok(), "{bits}");
        }
        for bits in [1, 8, 1024, 2047, 8193, 16_384, 500_000] {
            assert_eq!(read(bits), Err(KeyError::RsaBits(bits)));
        }
        let huge = key_message(&modulus(500_000), &[1, 0, 1]);
        let started = std::time::Instant::now();
        for _ in 0..1000 {
            assert!(PublicKey::from_protobuf(&huge).is_err());
        }
        assert!(started.elapsed() < core::time::Duration::from_micros(50) * 1000);
    }

    #[test]
    fn numbers_that_no_key_has_are_refused() {
        let invalid = Err(KeyError::Invalid(KeyType::Rsa));
        let read = |modulus: &[u8], exponent: &[u8]| {
            PublicKey::from_protobuf(&key_message(modulus, exponent))
        };
        let good = modulus(2048);
        assert!(read(&good, &[3]).is_ok());
        let mut even = good.clone();
        *even.last_mut().unwrap() = 2;
        assert_eq!(read(&even, &[3]), invalid);
        let padded = [&[0], good.as_slice()].concat();
        assert_eq!(read(&padded, &[3]), invalid, "a second sign byte");
        assert_eq!(read(&good[1..], &[3]), invalid, "negative");
        for exponent in [
            &[][..],
            &[0],
            &[1],
            &[2],
            &[0x80],
            &[0, 3],
            &[1, 0, 0, 0, 0, 1],
        ] {
            assert_eq!(read(&good, exponent), invalid, "{exponent:?}");
        }
    }
}
