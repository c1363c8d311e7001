//! The addresses of a peer, said by itself.

use super::{EnvelopeError, SignedEnvelope};
use crate::identity::{Keypair, PeerId, PeerIdError};
use crate::multiaddr::Multiaddr;
use crate::wire::protobuf::{self, Reader, Writer};
use alloc::vec::Vec;
use core::fmt;

/// Domain and payload type of peer records, as go-libp2p and js-libp2p send and expect them.
const DOMAIN: &str = "libp2p-peer-record";
const PAYLOAD_TYPE: &[u8] = &[0x03, 0x01];
/// What the RFC said before, and rust-libp2p still sends.
const LEGACY_DOMAIN: &str = "libp2p-routing-state";
const LEGACY_PAYLOAD_TYPE: &[u8] = b"/libp2p/routing-state-record";

const PEER_ID: u32 = 1;
const SEQ: u32 = 2;
const ADDRESSES: u32 = 3;

/// A peer's addresses, certified by that peer.
///
/// ```
/// use drywire::identity::Keypair;
/// use drywire::record::PeerRecord;
/// use drywire::seed::Seed;
///
/// let keypair = Keypair::ed25519_from_seed(&Seed::for_tests(1));
/// let addresses = vec!["/ip4/192.0.2.1/tcp/4001".parse()?];
/// let sealed = PeerRecord::seal(&keypair, 7, &addresses)?;
///
/// let record = PeerRecord::open(&sealed)?;
/// assert_eq!(record.peer_id(), keypair.peer_id());
/// assert_eq!((record.seq(), record.addresses()), (7, addresses.as_slice()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRecord {
    peer_id: PeerId,
    seq: u64,
    addresses: Vec<Multiaddr>,
}

impl PeerRecord {
    /// The most addresses of a record.
    pub const MAX_ADDRESSES: usize = 64;

    /// Signs a record of `addresses` for the owner of `keypair`; returns the encoded envelope.
    ///
    /// `seq` must be higher in each new record than in all before, over restarts too: Unix time does it.
    ///
    /// # Errors
    /// [`PeerRecordError::TooManyAddresses`] above [`Self::MAX_ADDRESSES`].
    pub fn seal(
        keypair: &Keypair,
        seq: u64,
        addresses: &[Multiaddr],
    ) -> Result<Vec<u8>, PeerRecordError> {
        if addresses.len() > Self::MAX_ADDRESSES {
            return Err(PeerRecordError::TooManyAddresses);
        }
        let payload = encode(keypair.peer_id(), seq, addresses);
        Ok(SignedEnvelope::seal(keypair, DOMAIN, PAYLOAD_TYPE, &payload).to_protobuf())
    }

    /// Reads and checks an encoded envelope with a record of who signed it.
    ///
    /// The standard domain and type are accepted, and the legacy pair of rust-libp2p. Addresses that cannot be read
    /// (of newer protocols, say) and those that name another peer are left out; the rest of the record stands.
    ///
    /// # Errors
    /// [`PeerRecordError`]: a bad envelope, a bad record, or one of another peer than the signer.
    pub fn open(envelope: &[u8]) -> Result<Self, PeerRecordError> {
        Self::from_envelope(&SignedEnvelope::from_protobuf(envelope)?)
    }

    /// As [`Self::open`], of an envelope already read.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_envelope(envelope: &SignedEnvelope) -> Result<Self, PeerRecordError> {
        let (signer, payload) = if envelope.payload_type() == LEGACY_PAYLOAD_TYPE {
            envelope.open(LEGACY_DOMAIN, LEGACY_PAYLOAD_TYPE)?
        } else {
            envelope.open(DOMAIN, PAYLOAD_TYPE)?
        };
        let record = decode(payload)?;
        if record.peer_id == signer {
            Ok(record)
        } else {
            Err(PeerRecordError::OtherSigner)
        }
    }

    /// Reads an encoded envelope without a look at its signature: for what a peer tells of itself where it has proved to have
    /// the key. `None` unless it is by and about that peer.
    pub(crate) fn read_own(envelope: &[u8], peer: &PeerId) -> Option<Self> {
        let [key, payload_type, payload, _] = super::envelope::fields(envelope).ok()?;
        let known_type = payload_type == PAYLOAD_TYPE || payload_type == LEGACY_PAYLOAD_TYPE;
        if !known_type || PeerId::from_key_message(key) != *peer {
            return None;
        }
        decode(payload)
            .ok()
            .filter(|record| record.peer_id == *peer)
    }

    /// The peer whose addresses these are, and who signed them.
    #[must_use]
    pub const fn peer_id(&self) -> PeerId {
        self.peer_id
    }

    /// Of two records of a peer, the one with the higher number is the newer. Not a time.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// The peer's addresses; each ends with its peer id or with none.
    #[must_use]
    pub fn addresses(&self) -> &[Multiaddr] {
        &self.addresses
    }

    /// The addresses, without a copy.
    #[must_use]
    pub fn into_addresses(self) -> Vec<Multiaddr> {
        self.addresses
    }
}

fn encode(peer_id: PeerId, seq: u64, addresses: &[Multiaddr]) -> Vec<u8> {
    let mut payload = Vec::new();
    let mut writer = Writer::new(&mut payload);
    writer.bytes(PEER_ID, peer_id.as_bytes()).uint64(SEQ, seq);
    for address in addresses {
        writer.message(ADDRESSES, |info| {
            info.bytes(1, address.as_bytes());
        });
    }
    payload
}

fn decode(payload: &[u8]) -> Result<PeerRecord, PeerRecordError> {
    protobuf::check_counts(payload, &[(ADDRESSES, PeerRecord::MAX_ADDRESSES)]).map_err(
        |error| match error {
            protobuf::Error::TooMany { .. } => PeerRecordError::TooManyAddresses,
            other => PeerRecordError::Malformed(other),
        },
    )?;
    let mut peer_id = [].as_slice();
    let mut seq = 0;
    let mut addresses = Vec::new();
    for field in Reader::new(payload) {
        let field = field?;
        match field.number {
            PEER_ID => peer_id = field.as_bytes()?,
            SEQ => seq = field.as_u64()?,
            ADDRESSES => addresses.extend(address(field.as_bytes()?)?),
            _ => {}
        }
    }
    let peer_id = PeerId::from_bytes(peer_id)?;
    addresses.retain(|address| address.peer_id().is_none_or(|named| named == peer_id));
    Ok(PeerRecord {
        peer_id,
        seq,
        addresses,
    })
}

/// The address in an `AddressInfo`, `None` if it cannot be read.
fn address(info: &[u8]) -> Result<Option<Multiaddr>, PeerRecordError> {
    let mut bytes = [].as_slice();
    for field in Reader::new(info) {
        let field = field?;
        if field.number == 1 {
            bytes = field.as_bytes()?;
        }
    }
    Ok(Multiaddr::from_bytes(bytes).ok())
}

/// Why a peer record is not to be believed, or cannot be made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerRecordError {
    /// The envelope around the record.
    Envelope(EnvelopeError),
    /// Not a valid record message.
    Malformed(protobuf::Error),
    /// The peer id in the record is missing or invalid.
    PeerId(PeerIdError),
    /// More addresses than [`PeerRecord::MAX_ADDRESSES`].
    TooManyAddresses,
    /// The record of one peer, signed by another.
    OtherSigner,
}

impl fmt::Display for PeerRecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Envelope(error) => write!(f, "{error}"),
            Self::Malformed(error) => write!(f, "malformed peer record: {error}"),
            Self::PeerId(error) => write!(f, "peer record with an invalid peer id: {error}"),
            Self::TooManyAddresses => f.write_str("peer record with too many addresses"),
            Self::OtherSigner => f.write_str("peer record signed by another peer"),
        }
    }
}

impl core::error::Error for PeerRecordError {}

impl From<EnvelopeError> for PeerRecordError {
    fn from(error: EnvelopeError) -> Self {
        Self::Envelope(error)
    }
}

impl From<protobuf::Error> for PeerRecordError {
    fn from(error: protobuf::Error) -> Self {
        Self::Malformed(error)
    }
}

impl From<PeerIdError> for PeerRecordError {
    fn from(error: PeerIdError) -> Self {
        Self::PeerId(error)
    }
}
