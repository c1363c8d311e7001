//! IPNS: what a key's owner last said its name points at
//! ([specification](https://specs.ipfs.tech/ipns/ipns-record/)).
//!
//! ```
//! use core::time::Duration;
//! use drywire::identity::Keypair;
//! use drywire::protocol::kad::{self, RecordKey, validator::{Validator, ipns}};
//! use drywire::{seed::Seed, time::UnixTime};
//!
//! let owner = Keypair::ed25519_from_seed(&Seed::for_tests(1));
//! let now = UnixTime::from_secs(1_700_000_000);
//! let expires = now.saturating_add(Duration::from_secs(48 * 3600));
//! let value = ipns::Record::sign(&owner, b"/ipfs/bafkqaaa", 7, expires, ipns::DEFAULT_TTL)?;
//!
//! // What to put, and what any node does with it.
//! let record = kad::Record::new(RecordKey::of_ipns_name(&owner.peer_id()), value);
//! ipns::Ipns.validate(&record.key, &record.value, now)?;
//!
//! let found = ipns::Record::parse(&record.value)?;
//! found.verify(&owner.peer_id(), now)?;
//! assert_eq!((found.value, found.sequence), (&b"/ipfs/bafkqaaa"[..], 7));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cbor;
mod record;

pub use cbor::CborError;
pub use record::Record;

use super::{InvalidRecord, Validator};
use crate::{identity::KeyError, protocol::kad::RecordKey, time::UnixTime, wire::protobuf};
use core::{fmt, time::Duration};

/// The longest record there may be, in bytes.
pub const MAX_LEN: usize = 10 * 1024;
/// How long a record may be held before asking again, if there is no reason for another time.
pub const DEFAULT_TTL: Duration = Duration::from_secs(300);

/// Why bytes are not a valid IPNS record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// More than [`MAX_LEN`] bytes.
    TooLong,
    /// Not a message of protocol buffers, or one of another schema.
    Malformed(protobuf::Error),
    /// The signature, or what it signs, is missing: records of before 2021 have neither.
    NotSigned,
    /// What is signed is not a DAG-CBOR map.
    Data(CborError),
    /// A field that is signed is missing, or of another type than it must have.
    Field(&'static str),
    /// It is valid in a way that is not known.
    ValidityType(u64),
    /// The end of its validity is no time.
    Validity,
    /// The key in it cannot be read, or is of a type that this build lacks.
    PublicKey(KeyError),
    /// There is no key: neither in it nor in the name.
    NoKey,
    /// The key in it is not that of the name.
    OtherKey,
    /// It was not signed by the owner of the name, or changed since.
    Signature,
    /// A field that is not signed says something else than the signed one.
    Mismatch,
    /// It is no longer valid.
    Expired,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "longer than {MAX_LEN} bytes"),
            Self::Malformed(error) => write!(f, "malformed message: {error}"),
            Self::NotSigned => f.write_str("no signature of version 2"),
            Self::Data(error) => write!(f, "signed data: {error}"),
            Self::Field(name) => write!(f, "field {name} is missing or of another type"),
            Self::ValidityType(kind) => write!(f, "unknown type of validity {kind}"),
            Self::Validity => f.write_str("end of validity is no time"),
            Self::PublicKey(error) => write!(f, "public key: {error}"),
            Self::NoKey => f.write_str("no public key in record or name"),
            Self::OtherKey => f.write_str("public key is not the name's"),
            Self::Signature => f.write_str("invalid signature"),
            Self::Mismatch => f.write_str("unsigned fields differ from signed ones"),
            Self::Expired => f.write_str("expired"),
        }
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Malformed(error) => Some(error),
            Self::Data(error) => Some(error),
            Self::PublicKey(error) => Some(error),
            _ => None,
        }
    }
}

impl From<protobuf::Error> for Error {
    fn from(error: protobuf::Error) -> Self {
        Self::Malformed(error)
    }
}

impl From<CborError> for Error {
    fn from(error: CborError) -> Self {
        Self::Data(error)
    }
}

/// `/ipns/` and a name, which is a peer id: the value is a [`Record`] that the name's owner signed.
///
/// The best is the one with the highest sequence number, then the one that is valid for longer, then the one with the
/// greater bytes, as [boxo](https://github.com/ipfs/boxo/blob/main/ipns/validation.go) has it; the specification says only
/// the first. Where boxo gives up, at a value that cannot be read, the others are compared, and ends of validity after 2554
/// count as equal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ipns;

impl Validator for Ipns {
    fn validate(&self, key: &RecordKey, value: &[u8], now: UnixTime) -> Result<(), InvalidRecord> {
        let name = super::name(key)?;
        Record::parse(value)?.verify(&name, now)?;
        Ok(())
    }

    fn select(&self, _: &RecordKey, values: &[&[u8]]) -> usize {
        let rank = |value: &[u8]| {
            let record = Record::parse(value).ok()?;
            Some((record.sequence, record.expires))
        };
        let mut best = (0, None);
        for (index, value) in values.iter().enumerate() {
            let rank = Some((rank(value), *value));
            if rank > best.1 {
                best = (index, rank);
            }
        }
        best.0
    }
}

#[cfg(test)]
mod tests;
