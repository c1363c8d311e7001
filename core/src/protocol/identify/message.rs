//! The message itself.

use crate::{
    identity::{KeyError, PeerId, PublicKey},
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    record::{PeerRecord, PeerRecordError},
    wire::protobuf::{self, Reader},
};
use alloc::{string::String, vec::Vec};
use core::fmt;

pub(super) const PUBLIC_KEY: u32 = 1;
pub(super) const LISTEN_ADDRESSES: u32 = 2;
pub(super) const PROTOCOLS: u32 = 3;
pub(super) const OBSERVED_ADDRESS: u32 = 4;
pub(super) const PROTOCOL_VERSION: u32 = 5;
pub(super) const AGENT_VERSION: u32 = 6;
pub(super) const SIGNED_PEER_RECORD: u32 = 8;

/// Protocols kept of what a peer says.
pub(super) const MAX_PROTOCOLS: usize = 128;
/// Addresses kept of what a peer says.
const MAX_ADDRESSES: usize = 64;
/// Bytes kept of each version text.
pub(super) const MAX_VERSION: usize = 256;

/// What a peer said of itself. Only the peer id is proven; everything else is its word.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Info {
    /// Its key, if it was told. It is the one the peer id is made of.
    pub public_key: Option<PublicKey>,
    /// The family of protocols it speaks.
    pub protocol_version: String,
    /// Its program.
    pub agent_version: String,
    /// Where it says it can be reached: from its signed record if there is one. At most 64.
    pub listen_addresses: Vec<Multiaddr>,
    /// What it supports. At most 128.
    pub protocols: Vec<ProtocolName>,
    /// Where it sees this node.
    pub observed_address: Option<Multiaddr>,
    /// Whether the addresses come from a record signed by the peer. As the peer itself tells it, where it has proved to have
    /// the key, the signature is checked only if the record says something else than the list beside it.
    pub certified: bool,
    pub(super) tells_addresses: bool,
    pub(super) tells_protocols: bool,
}

/// Why a message was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageError {
    /// Violation: not a message of protocol buffers.
    Malformed(protobuf::Error),
    /// The key is of a type that is not known here, or malformed.
    Key(KeyError),
    /// Violation: the key is not the one the peer proved to have.
    OtherKey,
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "malformed message: {error}"),
            Self::Key(error) => write!(f, "public key: {error}"),
            Self::OtherKey => f.write_str("the key told is not the peer's"),
        }
    }
}

impl core::error::Error for MessageError {}

/// What is to be thought of the signed record in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Certificate {
    /// There is none, or it cannot be read: the unsigned list counts.
    None,
    /// The peer signed it about itself.
    Valid(PeerRecord),
    /// It is by or about somebody else: no address counts.
    OfAnother,
}

/// Reads a message of `peer`. What it does not say is taken from `before`, where there is something.
/// Names of protocols that this node speaks too are its `own`: peers have much in common, and each is remembered.
pub(super) fn read(
    message: &[u8],
    peer: PeerId,
    before: Option<&Info>,
    own: impl Fn(&str) -> Option<ProtocolName>,
) -> Result<(Info, Certificate), MessageError> {
    let mut info = Info {
        public_key: None,
        protocol_version: String::new(),
        agent_version: String::new(),
        listen_addresses: Vec::new(),
        protocols: Vec::new(),
        observed_address: None,
        certified: false,
        tells_addresses: false,
        tells_protocols: false,
    };
    let (mut key, mut record) = (None, None);
    for field in Reader::new(message) {
        let field = field.map_err(MessageError::Malformed)?;
        let bytes = || field.as_bytes().map_err(MessageError::Malformed);
        match field.number {
            PUBLIC_KEY => key = Some(bytes()?),
            LISTEN_ADDRESSES => {
                info.tells_addresses = true;
                push_address(&mut info.listen_addresses, bytes()?, peer);
            }
            PROTOCOLS => {
                info.tells_protocols = true;
                push_protocol(&mut info.protocols, bytes()?, &own);
            }
            OBSERVED_ADDRESS => info.observed_address = Multiaddr::from_bytes(bytes()?).ok(),
            PROTOCOL_VERSION => info.protocol_version = text(bytes()?),
            AGENT_VERSION => info.agent_version = text(bytes()?),
            SIGNED_PEER_RECORD => record = Some(bytes()?),
            _ => {}
        }
    }
    if let Some(key) = key {
        info.public_key = Some(own_key(key, peer)?);
    }
    let certificate = record.map_or(Certificate::None, |record| {
        judge(record, peer, &info.listen_addresses)
    });
    match &certificate {
        Certificate::Valid(record) => {
            (info.listen_addresses, info.certified) = (record.addresses().to_vec(), true);
            info.tells_addresses = true;
        }
        Certificate::OfAnother => info.listen_addresses.clear(),
        Certificate::None => {}
    }
    if let Some(before) = before {
        fill_in(&mut info, before);
    }
    Ok((info, certificate))
}

fn own_key(message: &[u8], peer: PeerId) -> Result<PublicKey, MessageError> {
    // Nearly always it is the very key that the peer has proved to have.
    if let Some(key) = PublicKey::of_authenticated(&peer, message) {
        return Ok(key);
    }
    let key = PublicKey::from_protobuf(message).map_err(MessageError::Key)?;
    if !peer.is_of(&key) {
        return Err(MessageError::OtherKey);
    }
    Ok(key)
}

fn judge(record: &[u8], peer: PeerId, unsigned: &[Multiaddr]) -> Certificate {
    let same = |own: &PeerRecord| {
        let addresses = own.addresses().iter().map(Multiaddr::without_peer_id);
        addresses.eq(unsigned.iter().cloned())
    };
    // It says what the peer has said: the signature, a costly thing, proves no more than the connection does.
    if let Some(own) = PeerRecord::read_own(record, &peer).filter(same) {
        return Certificate::Valid(own);
    }
    match PeerRecord::open(record) {
        Ok(record) if record.peer_id() == peer => Certificate::Valid(record),
        Ok(_) | Err(PeerRecordError::OtherSigner) => Certificate::OfAnother,
        Err(_) => Certificate::None,
    }
}

fn push_address(addresses: &mut Vec<Multiaddr>, bytes: &[u8], peer: PeerId) {
    if addresses.len() >= MAX_ADDRESSES {
        return;
    }
    let Ok(address) = Multiaddr::from_bytes(bytes) else {
        return;
    };
    let of_peer = address.peer_id().is_none_or(|named| named == peer);
    let address = address.without_peer_id();
    if of_peer && !addresses.contains(&address) {
        addresses.push(address);
    }
}

fn push_protocol(
    protocols: &mut Vec<ProtocolName>,
    bytes: &[u8],
    own: impl Fn(&str) -> Option<ProtocolName>,
) {
    if protocols.len() >= MAX_PROTOCOLS {
        return;
    }
    let name = core::str::from_utf8(bytes)
        .ok()
        .and_then(|name| own(name).or_else(|| ProtocolName::try_from(name).ok()));
    if let Some(name) = name.filter(|name| !protocols.contains(name)) {
        protocols.push(name);
    }
}

/// At most [`MAX_VERSION`] bytes of a text, what is no text replaced.
fn text(bytes: &[u8]) -> String {
    let kept = bytes.get(..MAX_VERSION).unwrap_or(bytes);
    String::from_utf8_lossy(kept).into_owned()
}

fn fill_in(info: &mut Info, before: &Info) {
    if info.public_key.is_none() {
        info.public_key.clone_from(&before.public_key);
    }
    if info.protocol_version.is_empty() {
        info.protocol_version.clone_from(&before.protocol_version);
    }
    if info.agent_version.is_empty() {
        info.agent_version.clone_from(&before.agent_version);
    }
    if !info.tells_addresses {
        info.listen_addresses.clone_from(&before.listen_addresses);
        info.certified = before.certified;
    }
    if !info.tells_protocols {
        info.protocols.clone_from(&before.protocols);
    }
    if info.observed_address.is_none() {
        info.observed_address.clone_from(&before.observed_address);
    }
}
