//! A payload with its signature.

use crate::identity::{InvalidSignature, KeyError, Keypair, PeerId, PublicKey};
use crate::wire::protobuf::{self, Reader, Writer};
use crate::wire::varint;
use alloc::vec::Vec;
use core::fmt;

/// A payload, its type, the key of who signed it, and the signature.
///
/// The content of an envelope that was read is not to be believed, and not accessible, before [`Self::open`].
///
/// ```
/// use drywire::identity::Keypair;
/// use drywire::record::SignedEnvelope;
/// use drywire::seed::Seed;
///
/// let keypair = Keypair::ed25519_from_seed(&Seed::for_tests(1));
/// let sealed = SignedEnvelope::seal(&keypair, "my-domain", b"greeting", b"hello").to_protobuf();
///
/// let envelope = SignedEnvelope::from_protobuf(&sealed)?;
/// assert_eq!(envelope.open("my-domain", b"greeting")?, (keypair.peer_id(), b"hello".as_slice()));
/// assert!(envelope.open("other-domain", b"greeting").is_err());
/// # Ok::<(), drywire::record::EnvelopeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedEnvelope {
    public_key: PublicKey,
    payload_type: Vec<u8>,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl SignedEnvelope {
    /// The most bytes of an encoded envelope that is read.
    pub const MAX_LEN: usize = 64 * 1024;

    /// Signs `payload` for the purpose `domain`.
    #[must_use]
    pub fn seal(keypair: &Keypair, domain: &str, payload_type: &[u8], payload: &[u8]) -> Self {
        Self {
            public_key: keypair.public(),
            payload_type: payload_type.to_vec(),
            payload: payload.to_vec(),
            signature: keypair.sign(&signed_bytes(domain, payload_type, payload)),
        }
    }

    /// Reads an envelope. Its signature is checked by [`Self::open`], when the domain is known.
    ///
    /// # Errors
    /// [`EnvelopeError`]: malformed, too long, or without a usable key.
    pub fn from_protobuf(message: &[u8]) -> Result<Self, EnvelopeError> {
        let [key, payload_type, payload, signature] = fields(message)?;
        Ok(Self {
            public_key: PublicKey::from_protobuf(key)?,
            payload_type: payload_type.to_vec(),
            payload: payload.to_vec(),
            signature: signature.to_vec(),
        })
    }

    /// The envelope in the form to send.
    #[must_use]
    pub fn to_protobuf(&self) -> Vec<u8> {
        let mut message = Vec::with_capacity(self.payload.len().saturating_add(256));
        Writer::new(&mut message)
            .bytes(1, &self.public_key.to_protobuf())
            .bytes(2, &self.payload_type)
            .bytes(3, &self.payload)
            .bytes(5, &self.signature);
        message
    }

    /// What kind of payload the envelope claims to hold.
    #[must_use]
    pub fn payload_type(&self) -> &[u8] {
        &self.payload_type
    }

    /// The key whose owner is said to have signed.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// Checks type and signature, and gives the signer and the payload.
    ///
    /// Whether this signer may say such a thing is for the caller to judge.
    ///
    /// # Errors
    /// [`EnvelopeError::PayloadType`] if the payload is of another type, [`EnvelopeError::Signature`] if the signature
    /// is wrong or was made for another domain.
    pub fn open(
        &self,
        domain: &str,
        payload_type: &[u8],
    ) -> Result<(PeerId, &[u8]), EnvelopeError> {
        if self.payload_type != payload_type {
            return Err(EnvelopeError::PayloadType);
        }
        let signed = signed_bytes(domain, payload_type, &self.payload);
        self.public_key.verify(&signed, &self.signature)?;
        Ok((self.public_key.peer_id(), &self.payload))
    }
}

/// Key, payload type, payload and signature of an envelope, unchecked.
pub(super) fn fields(message: &[u8]) -> Result<[&[u8]; 4], EnvelopeError> {
    if message.len() > SignedEnvelope::MAX_LEN {
        return Err(EnvelopeError::TooLong);
    }
    let [mut key, mut payload_type, mut payload, mut signature] = [[].as_slice(); 4];
    for field in Reader::new(message) {
        let field = field?;
        match field.number {
            1 => key = field.as_bytes()?,
            2 => payload_type = field.as_bytes()?,
            3 => payload = field.as_bytes()?,
            5 => signature = field.as_bytes()?,
            _ => {}
        }
    }
    Ok([key, payload_type, payload, signature])
}

/// What is signed: domain, type and payload, each after its length, so that no two triples share their bytes.
fn signed_bytes(domain: &str, payload_type: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(payload.len().saturating_add(128));
    for part in [domain.as_bytes(), payload_type, payload] {
        varint::encode(part.len() as u64, &mut bytes);
        bytes.extend_from_slice(part);
    }
    bytes
}

/// Why an envelope is not to be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// Longer than [`SignedEnvelope::MAX_LEN`].
    TooLong,
    /// Not a valid envelope message.
    Malformed(protobuf::Error),
    /// The signer's key is missing, invalid or of an unsupported type.
    Key(KeyError),
    /// The payload is of another type than asked for.
    PayloadType,
    /// The signature does not fit key, domain, type and payload.
    Signature,
}

impl fmt::Display for EnvelopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => f.write_str("signed envelope is too long"),
            Self::Malformed(error) => write!(f, "malformed signed envelope: {error}"),
            Self::Key(error) => write!(f, "signed envelope without a usable key: {error}"),
            Self::PayloadType => f.write_str("signed envelope holds another type of payload"),
            Self::Signature => f.write_str("signed envelope with an invalid signature"),
        }
    }
}

impl core::error::Error for EnvelopeError {}

impl From<protobuf::Error> for EnvelopeError {
    fn from(error: protobuf::Error) -> Self {
        Self::Malformed(error)
    }
}

impl From<KeyError> for EnvelopeError {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

impl From<InvalidSignature> for EnvelopeError {
    fn from(_: InvalidSignature) -> Self {
        Self::Signature
    }
}
