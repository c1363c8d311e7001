//! Targets of addresses and identities.

use crate::input::Input;
use drywire::identity::{Keypair, PeerId, PublicKey};
use drywire::multiaddr::Multiaddr;
use drywire::record::{EnvelopeError, PeerRecord, SignedEnvelope};

/// Addresses: each form that is accepted, binary or text, converts to the other and back to itself.
pub fn multiaddr(data: &[u8]) {
    if let Ok(address) = Multiaddr::from_bytes(data) {
        assert_eq!(address.as_bytes(), data);
        check_address(&address);
    }
    if let Some(address) = core::str::from_utf8(data)
        .ok()
        .and_then(|text| text.parse::<Multiaddr>().ok())
    {
        check_address(&address);
    }
}

fn check_address(address: &Multiaddr) {
    assert!(address.as_bytes().len() <= Multiaddr::MAX_LEN);
    let text = address.to_string();
    assert_eq!(text.parse().as_ref(), Ok(address), "{text}");
    assert_eq!(Multiaddr::from_protocols(address).as_ref(), Ok(address));
    assert!(address.starts_with(address));
    let bare = address.without_peer_id();
    assert!(address.starts_with(&bare));
    if let Some(peer) = address.peer_id()
        && bare.peer_id().is_none()
    {
        assert_eq!(bare.with_peer_id(peer).as_ref(), Ok(address));
    }
    // Questions about its scope: any answer, no panic, and not two that exclude each other.
    assert!(!(address.is_global() && (address.is_loopback() || address.is_private())));
    let _ = (
        address.socket_addr(),
        address.ip(),
        address.dns_name(),
        address.is_relayed(),
    );
}

/// Peer ids: binary, base58 and CID forms lead back to the same id.
pub fn peer_id(data: &[u8]) {
    if let Ok(peer) = PeerId::from_bytes(data) {
        assert_eq!(peer.as_bytes(), data);
        check_peer(&peer);
    }
    if let Some(peer) = core::str::from_utf8(data)
        .ok()
        .and_then(|text| text.parse::<PeerId>().ok())
    {
        check_peer(&peer);
    }
}

fn check_peer(peer: &PeerId) {
    assert_eq!(PeerId::from_bytes(peer.as_bytes()).as_ref(), Ok(peer));
    assert_eq!(peer.to_base58().parse().as_ref(), Ok(peer));
    assert_eq!(peer.to_cid().parse().as_ref(), Ok(peer));
    assert_eq!(peer.to_string().parse().as_ref(), Ok(peer));
    if let Some(key) = peer.public_key() {
        assert!(peer.is_of(&key));
        assert_eq!(key.peer_id(), *peer);
    }
}

/// Public keys: what is accepted encodes and decodes to itself, and verifies no signature made of input.
pub fn public_key(data: &[u8]) {
    let Ok(key) = PublicKey::from_protobuf(data) else {
        return;
    };
    assert_eq!(
        PublicKey::from_protobuf(&key.to_protobuf()).as_ref(),
        Ok(&key)
    );
    check_peer(&key.peer_id());
    assert!(key.peer_id().is_of(&key));
    assert!(key.verify(b"message", data).is_err());
}

/// Signed envelopes and peer records. An even first byte: the rest is an envelope, which nobody has signed. Odd: the
/// rest is the payload of an envelope signed for this run, so that the reader of records is reached.
pub fn signed_record(data: &[u8]) {
    let mut input = Input::new(data);
    let choice = input.byte();
    if choice & 1 == 0 {
        let Ok(envelope) = SignedEnvelope::from_protobuf(input.rest()) else {
            return;
        };
        assert_eq!(
            SignedEnvelope::from_protobuf(&envelope.to_protobuf()).as_ref(),
            Ok(&envelope)
        );
        assert!(PeerRecord::from_envelope(&envelope).is_err());
        return;
    }
    const DOMAIN: &str = "libp2p-peer-record";
    const TYPE: &[u8] = &[0x03, 0x01];
    let keypair = Keypair::from_ed25519_secret(&[7; 32]);
    let payload = input.rest();
    let envelope = SignedEnvelope::seal(&keypair, DOMAIN, TYPE, payload);
    assert_eq!(
        envelope.open(DOMAIN, TYPE),
        Ok((keypair.peer_id(), payload))
    );
    assert!(matches!(
        envelope.open("another domain", TYPE),
        Err(EnvelopeError::Signature)
    ));
    if let Ok(record) = PeerRecord::from_envelope(&envelope) {
        assert_eq!(record.peer_id(), keypair.peer_id());
        assert!(record.addresses().len() <= PeerRecord::MAX_ADDRESSES);
        for address in record.addresses() {
            assert!(
                address
                    .peer_id()
                    .is_none_or(|peer| peer == keypair.peer_id())
            );
        }
        let sealed = PeerRecord::seal(&keypair, record.seq(), record.addresses()).unwrap();
        assert_eq!(PeerRecord::open(&sealed), Ok(record));
    }
}
