//! Which records are valid, and which of several is the best.
//!
//! A node of a public network judges every record: before it keeps or hands on what a peer puts, when a peer answers with
//! one, and before it puts one itself. [`public_dht`] is what the Amino network demands of its nodes; a network of one's
//! own needs a [`Validator`] of its own, or [`AcceptAll`].
//!
//! ```
//! use drywire::protocol::kad::{RecordKey, validator::{InvalidRecord, Namespaced, Validator}};
//! use drywire::time::UnixTime;
//!
//! /// `/height/..`: a number of eight bytes, where the highest is the best.
//! #[derive(Debug)]
//! struct Heights;
//!
//! impl Validator for Heights {
//!     fn validate(&self, _: &RecordKey, value: &[u8], _: UnixTime) -> Result<(), InvalidRecord> {
//!         let right = value.len() == 8;
//!         right.then_some(()).ok_or(InvalidRecord::Refused("eight bytes are expected"))
//!     }
//!
//!     fn select(&self, _: &RecordKey, values: &[&[u8]]) -> usize {
//!         // Of equal ones the first.
//!         let best = values.iter().enumerate().rev().max_by_key(|(_, value)| **value);
//!         best.map_or(0, |(index, _)| index)
//!     }
//! }
//!
//! let validator = Namespaced::new().with("height", Heights);
//! let (key, now) = (RecordKey::from("/height/chain"), UnixTime::EPOCH);
//! assert_eq!(validator.validate(&key, &[0; 8], now), Ok(()));
//! assert_eq!(validator.select(&key, &[&[0; 8], &[1; 8]]), 1);
//! let unknown = RecordKey::from("/depth/chain");
//! assert_eq!(validator.validate(&unknown, &[0; 8], now), Err(InvalidRecord::Namespace));
//! ```

pub mod ipns;

use super::key::RecordKey;
use crate::{
    identity::{KeyError, PeerId, PeerIdError, PublicKey},
    time::UnixTime,
};
use alloc::{boxed::Box, collections::BTreeMap, string::String, sync::Arc};
use core::fmt;

/// Judges records. All nodes of a network must agree on it.
pub trait Validator: fmt::Debug + Send + Sync {
    /// Whether a value is valid under a key at `now`. The value comes from anybody and may be any bytes: do what is cheap
    /// first, and do not panic.
    ///
    /// # Errors
    ///
    /// [`InvalidRecord`] tells why it is not; [`InvalidRecord::Refused`] is for reasons of your own.
    fn validate(&self, key: &RecordKey, value: &[u8], now: UnixTime) -> Result<(), InvalidRecord>;

    /// The index of the best of these values, all of which are, or once were, valid under the key. There is at least one.
    ///
    /// It must be a function of its arguments alone, and of values that are equally good it must tell the first. A store asks in
    /// both orders: it keeps what is better, and of equals the one that came last. To have nodes agree, and to keep peers from
    /// overwriting each other's records, make as few values as possible equally good.
    fn select(&self, key: &RecordKey, values: &[&[u8]]) -> usize;
}

impl<V: Validator + ?Sized> Validator for Arc<V> {
    fn validate(&self, key: &RecordKey, value: &[u8], now: UnixTime) -> Result<(), InvalidRecord> {
        (**self).validate(key, value, now)
    }

    fn select(&self, key: &RecordKey, values: &[&[u8]]) -> usize {
        (**self).select(key, values)
    }
}

impl<V: Validator + ?Sized> Validator for Box<V> {
    fn validate(&self, key: &RecordKey, value: &[u8], now: UnixTime) -> Result<(), InvalidRecord> {
        (**self).validate(key, value, now)
    }

    fn select(&self, key: &RecordKey, values: &[&[u8]]) -> usize {
        (**self).select(key, values)
    }
}

/// Why a record is not valid.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidRecord {
    /// The key is of no namespace, or of one that nobody judges.
    Namespace,
    /// What follows the namespace is no peer id.
    Name(PeerIdError),
    /// The value under a `/pk/` key is no public key, or of a type that this build lacks.
    PublicKey(KeyError),
    /// The value under a `/pk/` key is the key of another peer, or not written the one way it may be.
    OtherKey,
    /// The value under an `/ipns/` key is not valid.
    Ipns(ipns::Error),
    /// A reason of the application's own.
    Refused(&'static str),
}

impl fmt::Display for InvalidRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace => f.write_str("key is of no known namespace"),
            Self::Name(error) => write!(f, "name in the key: {error}"),
            Self::PublicKey(error) => write!(f, "public key: {error}"),
            Self::OtherKey => f.write_str("public key is not the named peer's"),
            Self::Ipns(error) => write!(f, "IPNS record: {error}"),
            Self::Refused(reason) => f.write_str(reason),
        }
    }
}

impl core::error::Error for InvalidRecord {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Name(error) => Some(error),
            Self::PublicKey(error) => Some(error),
            Self::Ipns(error) => Some(error),
            Self::Namespace | Self::OtherKey | Self::Refused(_) => None,
        }
    }
}

impl From<ipns::Error> for InvalidRecord {
    fn from(error: ipns::Error) -> Self {
        Self::Ipns(error)
    }
}

/// What the public IPFS network, Amino, takes: `/pk/` and `/ipns/`, and nothing else
/// ([specification](https://specs.ipfs.tech/routing/kad-dht/)).
///
/// Many of its names are RSA keys, which are judged only in builds with the `rsa` feature.
#[must_use]
pub fn public_dht() -> Namespaced {
    Namespaced::new()
        .with("pk", PublicKeys)
        .with("ipns", ipns::Ipns)
}

/// A validator for each namespace. Keys of other namespaces, and of none, are refused.
///
/// See the [module](self) for an example.
#[derive(Clone, Debug, Default)]
pub struct Namespaced {
    validators: BTreeMap<String, Arc<dyn Validator>>,
}

impl Namespaced {
    /// Refuses everything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, with a validator for the keys that begin with `/namespace/`; it replaces an earlier one.
    #[must_use]
    pub fn with(mut self, namespace: &str, validator: impl Validator + 'static) -> Self {
        self.validators
            .insert(namespace.into(), Arc::new(validator));
        self
    }

    fn get(&self, key: &RecordKey) -> Option<&Arc<dyn Validator>> {
        let (namespace, _) = key.namespace()?;
        self.validators.get(core::str::from_utf8(namespace).ok()?)
    }
}

impl Validator for Namespaced {
    fn validate(&self, key: &RecordKey, value: &[u8], now: UnixTime) -> Result<(), InvalidRecord> {
        let validator = self.get(key).ok_or(InvalidRecord::Namespace)?;
        validator.validate(key, value, now)
    }

    fn select(&self, key: &RecordKey, values: &[&[u8]]) -> usize {
        self.get(key)
            .map_or(0, |validator| validator.select(key, values))
    }
}

/// `/pk/` and a peer id: the value is the message of the peer's public key, as the
/// [peer-ids specification](https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md) says it is written. go
/// takes one with more in it, too, which would make a place for anything of a public key.
#[derive(Clone, Copy, Debug, Default)]
pub struct PublicKeys;

impl Validator for PublicKeys {
    fn validate(&self, key: &RecordKey, value: &[u8], _: UnixTime) -> Result<(), InvalidRecord> {
        let peer = name(key)?;
        let key = PublicKey::from_protobuf(value).map_err(InvalidRecord::PublicKey)?;
        (peer.is_of(&key) && key.to_protobuf() == value)
            .then_some(())
            .ok_or(InvalidRecord::OtherKey)
    }

    /// There is only one valid value.
    fn select(&self, _: &RecordKey, _: &[&[u8]]) -> usize {
        0
    }
}

/// Takes any value under any key, and all are equally good: for private networks whose nodes trust each other. Anybody in them
/// can overwrite what others have put, as in rust-libp2p; nobody what the node that keeps it has put itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct AcceptAll;

impl Validator for AcceptAll {
    fn validate(&self, _: &RecordKey, _: &[u8], _: UnixTime) -> Result<(), InvalidRecord> {
        Ok(())
    }

    fn select(&self, _: &RecordKey, _: &[&[u8]]) -> usize {
        0
    }
}

/// The peer that the rest of a key names.
fn name(key: &RecordKey) -> Result<PeerId, InvalidRecord> {
    let (_, rest) = key.namespace().ok_or(InvalidRecord::Namespace)?;
    PeerId::from_bytes(rest).map_err(InvalidRecord::Name)
}

#[cfg(test)]
mod tests;
