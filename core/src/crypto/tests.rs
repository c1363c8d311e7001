use super::*;
use crate::seed::Seed;
use curve25519_dalek::{MontgomeryPoint, constants::EIGHT_TORSION, edwards::CompressedEdwardsY};
use proptest::prelude::*;
use rand_core::Rng;
use std::{string::String, vec, vec::Vec};

fn hex(text: &str) -> Vec<u8> {
    let text: String = text.split_whitespace().collect();
    data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
}

fn hex32(text: &str) -> [u8; 32] {
    hex(text).try_into().unwrap()
}

fn all() -> impl Iterator<Item = Provider> {
    assert!(!Provider::AVAILABLE.is_empty());
    Provider::AVAILABLE.iter().copied()
}

fn x25519(provider: Provider, secret: [u8; 32], public: &[u8; 32]) -> Result<[u8; 32], Error> {
    provider
        .x25519(secret)
        .unwrap()
        .diffie_hellman(public)
        .map(|shared| *shared)
}

fn seal(provider: Provider, key: &[u8; 32], nonce: &[u8; 12], aad: &[u8], text: &[u8]) -> Vec<u8> {
    let mut message = text.to_vec();
    let key = provider.aead_key(key).unwrap();
    let tag = key.seal_in_place(nonce, aad, &mut message).unwrap();
    message.extend_from_slice(&tag);
    message
}

fn open(
    provider: Provider,
    key: &[u8; 32],
    nonce: &[u8; 12],
    aad: &[u8],
    message: &[u8],
) -> Result<Vec<u8>, Error> {
    let mut message = message.to_vec();
    let key = provider.aead_key(key).unwrap();
    match key.open_in_place(nonce, aad, &mut message) {
        Ok(length) => Ok(message[..length].to_vec()),
        Err(error) => {
            assert!(message.iter().all(|byte| *byte == 0), "wiped");
            Err(error)
        }
    }
}

#[test]
fn the_default_is_the_first_available() {
    assert_eq!(Provider::AVAILABLE.first(), Some(&Provider::default()));
    #[cfg(feature = "ring")]
    assert_eq!(Provider::default(), Provider::ring());
    assert!(size_of::<Provider>() <= 1);
    assert!(size_of::<AeadKey>() <= 40);
}

/// FIPS 180-4's examples, as its authors publish them.
#[test]
fn sha256_of_fips_180() {
    for provider in all() {
        let mut hash = provider.sha256();
        assert_eq!(
            hash.finish(),
            hex32("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        );
        hash.update(b"a");
        hash.reset();
        hash.update(b"a");
        hash.update(b"bc");
        assert_eq!(
            hash.finish(),
            hex32("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        );
    }
}

/// Section 2.8.2 of RFC 8439.
#[test]
fn chacha20_poly1305_of_rfc_8439() {
    let text =
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the \
        future, sunscreen would be it.";
    let key = hex32("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f");
    let nonce = hex("070000004041424344454647").try_into().unwrap();
    let aad = hex("50515253c0c1c2c3c4c5c6c7");
    let expected = hex(
        "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6
         3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36
         92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc
         3ff4def08e4b7a9de576d26586cec64b6116
         1ae10b594f09e26a7e902ecbd0600691",
    );
    for provider in all() {
        assert_eq!(seal(provider, &key, &nonce, &aad, text), expected);
        assert_eq!(open(provider, &key, &nonce, &aad, &expected).unwrap(), text);
    }
}

#[test]
fn every_bit_of_a_sealed_message_counts() {
    for provider in all() {
        let (key, nonce, aad) = ([1; 32], [2; 12], [3; 5]);
        let sealed = seal(provider, &key, &nonce, &aad, b"some text");
        let refused = Err(Error::Authentication);
        for bit in 0..sealed.len() * 8 {
            let mut bad = sealed.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(provider, &key, &nonce, &aad, &bad), refused);
        }
        for length in 0..sealed.len() {
            assert_eq!(
                open(provider, &key, &nonce, &aad, &sealed[..length]),
                refused
            );
        }
        assert_eq!(open(provider, &[9; 32], &nonce, &aad, &sealed), refused);
        assert_eq!(open(provider, &key, &[9; 12], &aad, &sealed), refused);
        assert_eq!(open(provider, &key, &nonce, &aad[1..], &sealed), refused);
    }
}

/// Section 5.2 of RFC 7748: two single computations, and a thousand each on the results of those before.
#[test]
fn x25519_of_rfc_7748() {
    for provider in all() {
        assert_eq!(
            x25519(
                provider,
                hex32("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"),
                &hex32("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c"),
            ),
            Ok(hex32(
                "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"
            ))
        );
        assert_eq!(
            x25519(
                provider,
                hex32("4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d"),
                &hex32("e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493"),
            ),
            Ok(hex32(
                "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957"
            ))
        );
        let mut nine = [0; 32];
        nine[0] = 9;
        let (mut secret, mut public) = (nine, nine);
        for round in 1..=1000 {
            let shared = x25519(provider, secret, &public).unwrap();
            public = secret;
            secret = shared;
            if round == 1 {
                assert_eq!(
                    secret,
                    hex32("422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079")
                );
            }
        }
        assert_eq!(
            secret,
            hex32("684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51")
        );
    }
}

/// Section 6.1 of RFC 7748.
#[test]
fn diffie_hellman_of_rfc_7748() {
    for provider in all() {
        let alice = provider
            .x25519(hex32(
                "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
            ))
            .unwrap();
        let bob = provider
            .x25519(hex32(
                "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
            ))
            .unwrap();
        assert_eq!(
            alice.public(),
            &hex32("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
        );
        assert_eq!(
            bob.public(),
            &hex32("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
        );
        let shared = hex32("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
        assert_eq!(*alice.diffie_hellman(bob.public()).unwrap(), shared);
        assert_eq!(*bob.diffie_hellman(alice.public()).unwrap(), shared);
    }
}

/// The first three vectors of section 7.1 of RFC 8032.
#[test]
fn ed25519_of_rfc_8032() {
    let vectors = [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155
             5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac
             18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
    ];
    for provider in all() {
        for (secret, public, message, signature) in vectors {
            let (public, message, signature) = (hex32(public), hex(message), hex(signature));
            assert_eq!(
                provider.ed25519_sign(&hex32(secret), &message).unwrap()[..],
                signature
            );
            assert_eq!(
                provider.ed25519_verify(&public, &message, &signature),
                Ok(())
            );
            for bit in 0..512 {
                let mut bad = signature.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                let verdict = provider.ed25519_verify(&public, &message, &bad);
                assert_eq!(verdict, Err(Error::Signature), "bit {bit}");
            }
            for length in [0, 1, 32, 63] {
                let verdict = provider.ed25519_verify(&public, &message, &signature[..length]);
                assert_eq!(verdict, Err(Error::Signature));
            }
        }
    }
}

/// Little-endian sum of a number and a small one.
fn add(number: [u8; 32], small: i32) -> [u8; 32] {
    let mut sum = number;
    let mut carry = small;
    for byte in &mut sum {
        let value = i32::from(*byte) + carry;
        *byte = value.rem_euclid(256) as u8;
        carry = value.div_euclid(256);
    }
    sum
}

/// The field's prime.
fn prime() -> [u8; 32] {
    let mut p = [0xff; 32];
    p[0] = 0xed;
    p[31] = 0x7f;
    p
}

/// Around all the places where points of small order and second spellings are: refused is exactly what the ladder
/// brings to zero, and every backend gives what the ladder gives.
#[test]
fn exactly_the_points_of_small_order_are_refused() {
    let mut candidates: Vec<_> = (0..300).map(|n| add([0; 32], n)).collect();
    candidates.extend((-300..19).map(|n| add(prime(), n)));
    for point in EIGHT_TORSION {
        candidates.extend((-3..=3).map(|n| add(point.to_montgomery().to_bytes(), n)));
    }
    for point in candidates.clone() {
        let mut high = point;
        high[31] |= 0x80;
        candidates.push(high);
    }
    let secret = [0x5a; 32];
    let mut refused = 0;
    for point in candidates {
        let ladder = MontgomeryPoint(point).mul_clamped(secret).to_bytes();
        assert_eq!(is_low_order(&point), ladder == [0; 32], "{point:02x?}");
        let expected = if ladder == [0; 32] {
            refused += 1;
            Err(Error::LowOrderPoint)
        } else {
            Ok(ladder)
        };
        for provider in all() {
            assert_eq!(
                x25519(provider, secret, &point),
                expected,
                "{provider:?} {point:02x?}"
            );
        }
    }
    assert!(refused >= 14);
}

/// With a key of small order, signatures that fit any message can be made: those keys are refused, in every spelling.
/// Seen to fail without `is_weak`.
#[test]
fn weak_signing_keys_are_refused() {
    let mut keys = Vec::new();
    for point in EIGHT_TORSION {
        let mut key = point.compress().to_bytes();
        keys.push(key);
        key[31] ^= 0x80;
        keys.push(key);
    }
    for small in [0, 1] {
        let mut key = add(prime(), small);
        keys.push(key);
        key[31] ^= 0x80;
        keys.push(key);
    }
    // R and S of zero and neutral element: fits if the key's part vanishes.
    let mut signature = [0; 64];
    signature[0] = 1;
    for key in keys {
        for provider in all() {
            for message in 0..20u8 {
                let verdict = provider.ed25519_verify(&key, &[message], &signature);
                assert_eq!(verdict, Err(Error::Signature), "{provider:?} {key:02x?}");
            }
        }
    }
}

/// What separates implementations of Ed25519: `S` above the order, `R` of small order or in a second spelling, a key
/// that is no point. All backends say the same, and that is dalek's check without cofactor.
#[test]
fn edge_cases_of_signatures_have_one_verdict() {
    use ed25519_dalek::{Signature, Verifier, VerifyingKey};
    let order = hex32("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let mut rng = Seed::for_tests(5).rng();
    let (mut accepted, mut cases) = (0, 0);
    for _ in 0..40 {
        let (mut secret, mut message) = ([0; 32], [0; 8]);
        rng.fill_bytes(&mut secret);
        rng.fill_bytes(&mut message);
        let honest = Provider::default().ed25519_sign(&secret, &message).unwrap();
        let key = ed25519_dalek::SigningKey::from_bytes(&secret).verifying_key();
        let mut above = honest;
        let mut carry = 0u16;
        for (byte, add) in above[32..].iter_mut().zip(order) {
            carry += u16::from(*byte) + u16::from(add);
            *byte = carry as u8;
            carry >>= 8;
        }
        let mut signatures = vec![honest, above];
        let mut keys = vec![key.to_bytes()];
        for torsion in EIGHT_TORSION {
            let r = CompressedEdwardsY(honest[..32].try_into().unwrap())
                .decompress()
                .unwrap();
            let mut mixed = honest;
            mixed[..32].copy_from_slice(&(r + torsion).compress().to_bytes());
            signatures.push(mixed);
            let mut small = honest;
            small[..32].copy_from_slice(&torsion.compress().to_bytes());
            signatures.push(small);
            let mixed = CompressedEdwardsY(key.to_bytes()).decompress().unwrap() + torsion;
            keys.push(mixed.compress().to_bytes());
        }
        for number in [2, 5, 18] {
            keys.push(add(prime(), number));
        }
        for key in &keys {
            for signature in &signatures {
                let expected = VerifyingKey::from_bytes(key)
                    .ok()
                    .filter(|key| !key.is_weak())
                    .is_some_and(|key| {
                        key.verify(&message, &Signature::from_bytes(signature))
                            .is_ok()
                    });
                for provider in all() {
                    let verdict = provider.ed25519_verify(key, &message, signature);
                    assert_eq!(verdict.is_ok(), expected, "{provider:?} {key:02x?}");
                }
                accepted += usize::from(expected);
                cases += 1;
            }
        }
    }
    assert!(accepted >= 40 && accepted < cases / 10);
}

proptest! {
    #[test]
    fn backends_agree_on_x25519(secret: [u8; 32], public: [u8; 32]) {
        let expected = MontgomeryPoint(public).mul_clamped(secret).to_bytes();
        let own = MontgomeryPoint::mul_base_clamped(secret).to_bytes();
        for provider in all() {
            prop_assert_eq!(*provider.x25519(secret).unwrap().public(), own);
            prop_assert_eq!(x25519(provider, secret, &public), Ok(expected));
        }
    }

    #[test]
    fn backends_agree_on_the_cipher(
        key: [u8; 32],
        nonce: [u8; 12],
        aad in prop::collection::vec(any::<u8>(), 0..40),
        text in prop::collection::vec(any::<u8>(), 0..2000),
        flip: prop::sample::Index,
    ) {
        let sealed = seal(Provider::default(), &key, &nonce, &aad, &text);
        let mut bad = sealed.clone();
        bad[flip.index(sealed.len())] ^= 0x10;
        for provider in all() {
            prop_assert_eq!(&seal(provider, &key, &nonce, &aad, &text), &sealed);
            prop_assert_eq!(open(provider, &key, &nonce, &aad, &sealed), Ok(text.clone()));
            prop_assert_eq!(open(provider, &key, &nonce, &aad, &bad), Err(Error::Authentication));
        }
    }

    #[test]
    fn backends_agree_on_signatures(secret: [u8; 32], message in prop::collection::vec(any::<u8>(), 0..200)) {
        let expected = Provider::default().ed25519_sign(&secret, &message).unwrap();
        let public = ed25519_dalek::SigningKey::from_bytes(&secret).verifying_key().to_bytes();
        for provider in all() {
            prop_assert_eq!(provider.ed25519_sign(&secret, &message), Ok(expected));
            prop_assert_eq!(provider.ed25519_verify(&public, &message, &expected), Ok(()));
            prop_assert!(provider.ed25519_verify(&public, b"another", &expected).is_err() || message == b"another");
        }
    }
}
