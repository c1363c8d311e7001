//! The libp2p payload of the handshake's second and third message.
//!
//! `NoiseHandshakePayload { identity_key = 1, identity_sig = 2, extensions = 4 }` with `NoiseExtensions {
//! webtransport_certhashes = 1 (repeated), stream_muxers = 2 (repeated) }`.

use super::{MAX_CERTHASH_LEN, MAX_CERTHASHES};
use crate::{
    identity::PublicKey,
    multistream::ProtocolName,
    security::{Error, Limit, Role, Violation},
    wire::protobuf::{Reader, Writer},
};
use alloc::{boxed::Box, vec::Vec};

const IDENTITY_KEY: u32 = 1;
const IDENTITY_SIG: u32 = 2;
const EXTENSIONS: u32 = 4;
const CERTHASHES: u32 = 1;
const MUXERS: u32 = 2;

/// What the identity key signs: this, then the 32 bytes of the static key.
const SIGNED_PREFIX: &[u8; 24] = b"noise-libp2p-static-key:";

/// The bytes by whose signature an identity key vouches for a static key.
pub(super) fn to_sign(static_key: &[u8; 32]) -> [u8; 56] {
    let mut message = [0; 56];
    let (prefix, key) = message.split_at_mut(SIGNED_PREFIX.len());
    prefix.copy_from_slice(SIGNED_PREFIX);
    key.copy_from_slice(static_key);
    message
}

/// Appends the two fields that prove the identity.
pub(super) fn write_identity(key: &PublicKey, signature: &[u8], out: &mut Vec<u8>) {
    Writer::new(out)
        .bytes(IDENTITY_KEY, &key.to_protobuf())
        .bytes(IDENTITY_SIG, signature);
}

/// Appends the extensions, if there is something to say in them.
pub(super) fn write_extensions(muxers: &[ProtocolName], out: &mut Vec<u8>) {
    if muxers.is_empty() {
        return;
    }
    Writer::new(out).message(EXTENSIONS, |extensions| {
        for muxer in muxers {
            extensions.string(MUXERS, muxer.as_str());
        }
    });
}

/// A received payload, borrowed. The identity is not proven yet.
pub(super) struct Payload<'a> {
    bytes: &'a [u8],
    pub(super) identity_key: &'a [u8],
    pub(super) identity_sig: &'a [u8],
}

impl<'a> Payload<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Error> {
        let (mut identity_key, mut identity_sig) = (&[][..], &[][..]);
        for field in Reader::new(bytes) {
            let field = field.map_err(bad_payload)?;
            match field.number {
                IDENTITY_KEY => identity_key = field.as_bytes().map_err(bad_payload)?,
                IDENTITY_SIG => identity_sig = field.as_bytes().map_err(bad_payload)?,
                _ => {}
            }
        }
        if identity_key.is_empty() || identity_sig.is_empty() {
            return Err(Violation::MissingPayload.into());
        }
        Ok(Self {
            bytes,
            identity_key,
            identity_sig,
        })
    }

    /// The entries of one repeated field of the extensions. A message field given several times counts as their
    /// concatenation.
    fn extension(&self, number: u32) -> impl Iterator<Item = Result<&'a [u8], Error>> {
        Reader::new(self.bytes)
            .filter_map(|field| match field {
                Ok(field) if field.number == EXTENSIONS => Some(field.as_bytes()),
                Ok(_) => None,
                Err(error) => Some(Err(error)),
            })
            .flat_map(move |extensions| {
                let (fields, error) = match extensions {
                    Ok(bytes) => (Reader::new(bytes), None),
                    Err(error) => (Reader::new(&[]), Some(Err(error))),
                };
                fields
                    .filter_map(move |field| match field {
                        Ok(field) if field.number == number => Some(field.as_bytes()),
                        Ok(_) => None,
                        Err(error) => Some(Err(error)),
                    })
                    .chain(error)
            })
            .map(|entry| entry.map_err(bad_payload))
    }

    /// The muxer: the first of the initiator's that the responder has too.
    pub(super) fn agree_on_muxer(
        &self,
        role: Role,
        ours: &[ProtocolName],
    ) -> Result<Option<ProtocolName>, Error> {
        let offers = |name: &ProtocolName| {
            self.extension(MUXERS)
                .any(|theirs| theirs == Ok(name.as_str().as_bytes()))
        };
        let mut any = false;
        let mut first = None;
        for theirs in self.extension(MUXERS) {
            let theirs = theirs?;
            any = true;
            first = first.or_else(|| ours.iter().find(|name| name.as_str().as_bytes() == theirs));
        }
        let agreed = match role {
            Role::Initiator => ours.iter().find(|name| offers(name)),
            Role::Responder => first,
        };
        if agreed.is_none() && any && !ours.is_empty() {
            return Err(Error::NoCommonMuxer);
        }
        Ok(agreed.cloned())
    }

    pub(super) fn certhashes(&self) -> Result<Vec<Box<[u8]>>, Error> {
        let mut hashes = Vec::new();
        for hash in self.extension(CERTHASHES) {
            let hash = hash?;
            if hashes.len() >= MAX_CERTHASHES || hash.len() > MAX_CERTHASH_LEN {
                return Err(Limit::CertHashes.into());
            }
            hashes.push(hash.into());
        }
        Ok(hashes)
    }
}

fn bad_payload(_: crate::wire::protobuf::Error) -> Error {
    Violation::BadPayload.into()
}
