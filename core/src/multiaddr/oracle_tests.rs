//! Every answer compared with the `multiaddr` crate.

use super::tests::{any_bytes, samples};
use super::*;
use ::multiaddr as oracle;
use proptest::prelude::*;
use std::string::{String, ToString};
use std::vec::Vec;

/// What the oracle takes and we refuse, as documented: a second, separate statement of our rules.
fn is_refused_here(address: &oracle::Multiaddr) -> bool {
    use oracle::Protocol as P;
    let bad_name = |name: &str| {
        name.is_empty()
            || name
                .chars()
                .any(|c| c == '/' || c.is_control() || c.is_whitespace())
    };
    let components: Vec<_> = address.iter().collect();
    let bad_component = |component: &P<'_>| match component {
        P::Dns(name)
        | P::Dns4(name)
        | P::Dns6(name)
        | P::Dnsaddr(name)
        | P::Sni(name)
        | P::Ip6zone(name) => bad_name(name),
        P::Unix(path) => {
            !path.starts_with('/') || path.ends_with('/') || path.chars().any(char::is_control)
        }
        P::Ws(path) | P::Wss(path) | P::HttpPath(path) => path.is_empty(),
        P::Onion(_, port) => *port == 0,
        P::Onion3(address) => address.port() == 0,
        P::Garlic64(key) => key.len() < 386,
        P::Garlic32(key) => key.len() < 35 && key.len() != 32,
        P::P2p(peer) => PeerId::try_from(*peer).is_err(),
        _ => false,
    };
    let not_last = components.len().saturating_sub(1);
    components.is_empty()
        || address.len() > Multiaddr::MAX_LEN
        || components.iter().any(bad_component)
        || components
            .iter()
            .take(not_last)
            .any(|component| matches!(component, P::Unix(_)))
}

/// Texts differ in how much of a path is percent-encoded.
fn has_escaped_text(address: &Multiaddr) -> bool {
    let escaped = |component: Protocol<'_>| {
        matches!(
            component,
            Protocol::HttpPath(_) | Protocol::XParityWs(_) | Protocol::XParityWss(_)
        )
    };
    address.iter().any(escaped)
}

/// What the oracle has no proper text for: it writes the path of `unix` as a single segment, and takes a WebSocket
/// path of `/` for none.
fn has_other_text(address: &Multiaddr) -> bool {
    let other = |component: Protocol<'_>| {
        matches!(
            component,
            Protocol::XParityWs("/") | Protocol::XParityWss("/") | Protocol::Unix(_)
        )
    };
    address.iter().any(other)
}

fn compare_bytes(bytes: &[u8]) {
    match (
        Multiaddr::from_bytes(bytes),
        oracle::Multiaddr::try_from(bytes.to_vec()),
    ) {
        (Ok(ours), Ok(theirs)) => {
            assert!(
                !is_refused_here(&theirs),
                "{theirs} should have been refused"
            );
            assert_eq!(oracle::Multiaddr::from(&ours), theirs);
            assert_eq!(Multiaddr::try_from(&theirs), Ok(ours.clone()));
            if has_other_text(&ours) {
                return;
            }
            if !has_escaped_text(&ours) {
                assert_eq!(ours.to_string(), theirs.to_string());
            }
            compare_texts(&ours, &theirs);
            let names: Vec<_> = ours.iter().map(|component| component.name()).collect();
            assert_eq!(names, theirs.protocol_stack().collect::<Vec<_>>());
        }
        (Ok(ours), Err(error)) => panic!("the oracle refuses {ours}: {error}"),
        // The oracle drops the upper bits of a code above 32 bits, and so finds a protocol where none is.
        (Err(Error::UnknownCode(4_294_967_296..)), _) => {}
        (Err(error), Ok(theirs)) => assert!(is_refused_here(&theirs), "{theirs} refused: {error}"),
        (Err(ours), Err(theirs)) => compare_errors(&ours, &theirs),
    }
}

/// Each side reads the other's text as the same address.
fn compare_texts(ours: &Multiaddr, theirs: &oracle::Multiaddr) {
    let text: String = theirs.to_string();
    assert_eq!(text.parse().as_ref(), Ok(ours), "{text}");
    let text = ours.to_string();
    assert_eq!(
        text.parse::<oracle::Multiaddr>().unwrap(),
        *theirs,
        "{text}"
    );
}

/// The first thing wrong is the same, where both name it.
fn compare_errors(ours: &Error, theirs: &oracle::Error) {
    if let (Error::UnknownCode(code), oracle::Error::UnknownProtocolId(id)) = (ours, theirs) {
        assert_eq!(*code, u64::from(*id));
    }
}

#[test]
fn samples_and_their_truncations_agree() {
    for text in samples() {
        let bytes = text.parse::<Multiaddr>().unwrap().as_bytes().to_vec();
        for end in 0..=bytes.len() {
            compare_bytes(&bytes[..end]);
        }
    }
}

#[test]
fn every_flipped_bit_of_the_samples_agrees() {
    for text in samples() {
        let bytes = text.parse::<Multiaddr>().unwrap().as_bytes().to_vec();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            compare_bytes(&flipped);
        }
    }
}

#[test]
fn every_two_byte_code_agrees() {
    for code in 0..=0x3fff_u64 {
        for tail in [&[][..], &[0], &[1, b'a'], &[1, 2, 3, 4], &[0; 37]] {
            let mut bytes = Vec::new();
            varint_encode(code, &mut bytes);
            bytes.extend_from_slice(tail);
            compare_bytes(&bytes);
        }
    }
}

fn varint_encode(value: u64, out: &mut Vec<u8>) {
    crate::wire::varint::encode(value, out);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn bytes_agree(bytes in any_bytes()) {
        compare_bytes(&bytes);
    }

    #[test]
    fn random_bytes_agree(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        compare_bytes(&bytes);
    }

    #[test]
    fn texts_agree(
        text in "(/(ip4|ip6|tcp|udp|dns|p2p|certhash|onion|garlic32|http-path|memory|tls|ws|ipcidr)(/[a-z0-9:.%-]{1,10})?){1,4}",
    ) {
        match (text.parse::<Multiaddr>(), text.parse::<oracle::Multiaddr>()) {
            (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours.as_bytes(), theirs.as_ref()),
            (Ok(ours), Err(error)) => prop_assert!(false, "the oracle refuses {}: {}", ours, error),
            // The oracle takes a `%` without digits for itself.
            (Err(Error::InvalidValue("http-path")), Ok(_)) => prop_assert!(text.contains('%')),
            (Err(error), Ok(theirs)) => prop_assert!(is_refused_here(&theirs), "{} refused: {}", theirs, error),
            (Err(_), Err(_)) => {}
        }
    }

    /// Numbers and addresses in all spellings.
    #[test]
    fn values_agree(name in "ip4|ip6|tcp|memory|ipcidr", value in "[0-9a-f:.]{0,12}|[0-9]{0,21}|([0-9]{1,3}\\.){3}[0-9]{1,3}") {
        let text = std::format!("/{name}/{value}");
        let ours = text.parse::<Multiaddr>().ok().map(|address| address.as_bytes().to_vec());
        let theirs = text.parse::<oracle::Multiaddr>().ok().map(|address| address.to_vec());
        prop_assert_eq!(ours, theirs);
    }
}
