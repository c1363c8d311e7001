//! Namespaces, and public keys. IPNS has tests of its own.

use super::*;
use crate::identity::Keypair;
use std::vec;

fn owner(number: u8) -> Keypair {
    Keypair::from_ed25519_secret(&[number; 32])
}

const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

#[test]
fn the_public_network_takes_keys_of_two_namespaces_and_no_other() {
    let validator = public_dht();
    let key = owner(1).public();
    let peer = key.peer_id();
    let validate = |key: &RecordKey, value: &[u8]| validator.validate(key, value, NOW);
    assert_eq!(
        validate(&RecordKey::of_public_key(&peer), &key.to_protobuf()),
        Ok(())
    );
    let later = UnixTime::from_secs(1_700_000_001);
    let record = ipns::Record::sign(&owner(1), b"/x", 0, later, ipns::DEFAULT_TTL).unwrap();
    assert_eq!(validate(&RecordKey::of_ipns_name(&peer), &record), Ok(()));
    for none in ["", "key", "/pk", "/pk/", "pk/x", "//x"] {
        assert_eq!(
            validate(&none.into(), &record),
            Err(InvalidRecord::Namespace),
            "{none}"
        );
    }
    for unknown in ["/x/y", "/PK/y", "/ipns2/y"] {
        assert_eq!(
            validate(&unknown.into(), &record),
            Err(InvalidRecord::Namespace),
            "{unknown}"
        );
        assert_eq!(validator.select(&unknown.into(), &[b"a", b"b"]), 0);
    }
    let not_text = RecordKey::new(vec![b'/', 0xff, b'/', b'x']);
    assert_eq!(validate(&not_text, &record), Err(InvalidRecord::Namespace));
}

#[test]
fn a_public_key_is_valid_only_for_its_peer_and_in_one_form() {
    let (one, other) = (owner(1).public(), owner(2).public());
    let key = RecordKey::of_public_key(&one.peer_id());
    let validate = |value: &[u8]| PublicKeys.validate(&key, value, NOW);
    let message = one.to_protobuf();
    assert_eq!(validate(&message), Ok(()));
    assert_eq!(validate(&other.to_protobuf()), Err(InvalidRecord::OtherKey));
    let with_more = [&message[..], b"\x1a\x05hello"].concat();
    assert_eq!(PublicKey::from_protobuf(&with_more), Ok(one));
    assert_eq!(validate(&with_more), Err(InvalidRecord::OtherKey));
    for len in 0..message.len() {
        assert!(
            matches!(validate(&message[..len]), Err(InvalidRecord::PublicKey(_))),
            "{len}"
        );
    }
    let text = RecordKey::from("/pk/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA");
    let refused = PublicKeys.validate(&text, &message, NOW);
    assert!(
        matches!(refused, Err(InvalidRecord::Name(_))),
        "{refused:?}"
    );
    assert_eq!(PublicKeys.select(&key, &[&message, &message]), 0);
}

/// The value is the best if it is the greatest.
#[derive(Debug)]
struct Greatest;

impl Validator for Greatest {
    fn validate(&self, _: &RecordKey, value: &[u8], _: UnixTime) -> Result<(), InvalidRecord> {
        (value != b"bad")
            .then_some(())
            .ok_or(InvalidRecord::Refused("bad"))
    }

    fn select(&self, _: &RecordKey, values: &[&[u8]]) -> usize {
        let greatest = values.iter().max().unwrap();
        values.iter().position(|value| value == greatest).unwrap()
    }
}

#[test]
fn each_namespace_has_the_validator_that_was_set_last() {
    let validator = Namespaced::new()
        .with("a", AcceptAll)
        .with("a", Greatest)
        .with("b", AcceptAll);
    let shared: Arc<dyn Validator> = Arc::new(validator.clone());
    let boxed: Box<dyn Validator> = Box::new(Arc::clone(&shared));
    let all: [&dyn Validator; 3] = [&validator, &shared, &boxed];
    for validator in all {
        let validate = |key: &str, value: &[u8]| validator.validate(&key.into(), value, NOW);
        assert_eq!(validate("/a/x", b"bad"), Err(InvalidRecord::Refused("bad")));
        assert_eq!(validate("/a/x", b"good"), Ok(()));
        assert_eq!(validate("/b/x", b"bad"), Ok(()));
        assert_eq!(validate("/c/x", b"good"), Err(InvalidRecord::Namespace));
        assert_eq!(validator.select(&"/a/x".into(), &[b"1", b"3", b"2"]), 1);
        assert_eq!(validator.select(&"/b/x".into(), &[b"1", b"3", b"2"]), 0);
    }
    assert_eq!(AcceptAll.validate(&"anything".into(), b"", NOW), Ok(()));
}
