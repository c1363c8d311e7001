//! The record itself.

use super::{
    Error, MAX_LEN,
    cbor::{self, Value},
};
use crate::{
    identity::{Keypair, PeerId, PublicKey},
    protocol::kad::rfc3339,
    time::UnixTime,
    wire::protobuf::{Reader, Writer},
};
use alloc::vec::Vec;
use core::time::Duration;

const V1_VALUE: u32 = 1;
const V1_SIGNATURE: u32 = 2;
const V1_VALIDITY_TYPE: u32 = 3;
const V1_VALIDITY: u32 = 4;
const V1_SEQUENCE: u32 = 5;
const V1_TTL: u32 = 6;
const PUBLIC_KEY: u32 = 7;
const SIGNATURE: u32 = 8;
const DATA: u32 = 9;

/// What stands before the data when it is signed.
const CONTEXT: &[u8] = b"ipns-signature:";
/// The only type of validity: until the time that is told.
const UNTIL: u64 = 0;

/// A record as a view of its bytes. Nothing in it is proven before [`verify`](Self::verify).
///
/// See the [module](super) for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record<'a> {
    /// What the name points at: usually the text of a path, `/ipfs/..`, `/ipns/..`.
    pub value: &'a [u8],
    /// Which of the owner's records it is. The highest is the latest.
    pub sequence: u64,
    /// When it is no longer valid; a time after 2554 is in 2554.
    pub expires: UnixTime,
    /// How long it may be held before asking again. `None` if it does not say, as no record should.
    pub ttl: Option<Duration>,
    /// The signed fields as they were signed: a DAG-CBOR map, which may have fields of the application's own.
    pub data: &'a [u8],
    /// The text that [`expires`](Self::expires) was.
    validity: &'a [u8],
    signature: &'a [u8],
    /// The owner's key as a message. Empty if it is in the name.
    public_key: &'a [u8],
    legacy: Legacy<'a>,
}

/// Fields of before 2021, which are not signed in a way that could be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
struct Legacy<'a> {
    value: &'a [u8],
    signature: &'a [u8],
    validity_type: u64,
    validity: &'a [u8],
    sequence: u64,
    ttl: u64,
}

impl<'a> Record<'a> {
    /// Reads a record. Fields that are signed and those that merely stand beside them may still differ.
    ///
    /// # Errors
    ///
    /// [`Error`] for one that is too long, which is told before it is read, malformed, without a signature of version 2
    /// or with signed fields that are not as they must be.
    pub fn parse(record: &'a [u8]) -> Result<Self, Error> {
        if record.len() > MAX_LEN {
            return Err(Error::TooLong);
        }
        let mut legacy = Legacy::default();
        let (mut public_key, mut signature, mut data) = (&[][..], &[][..], &[][..]);
        for field in Reader::new(record) {
            let field = field?;
            match field.number {
                V1_VALUE => legacy.value = field.as_bytes()?,
                V1_SIGNATURE => legacy.signature = field.as_bytes()?,
                V1_VALIDITY_TYPE => legacy.validity_type = field.as_u64()?,
                V1_VALIDITY => legacy.validity = field.as_bytes()?,
                V1_SEQUENCE => legacy.sequence = field.as_u64()?,
                V1_TTL => legacy.ttl = field.as_u64()?,
                PUBLIC_KEY => public_key = field.as_bytes()?,
                SIGNATURE => signature = field.as_bytes()?,
                DATA => data = field.as_bytes()?,
                _ => {}
            }
        }
        if signature.is_empty() || data.is_empty() {
            return Err(Error::NotSigned);
        }
        let signed = Signed::read(data)?;
        Ok(Self {
            value: signed.value,
            sequence: signed.sequence,
            expires: rfc3339::parse(signed.validity).ok_or(Error::Validity)?,
            ttl: signed.ttl.map(Duration::from_nanos),
            data,
            validity: signed.validity,
            signature,
            public_key,
            legacy,
        })
    }

    /// Checks that the owner of `name` signed the record, that nothing beside the signed fields contradicts them, and that
    /// it is valid at `now`, which is before [`expires`](Self::expires).
    ///
    /// # Errors
    ///
    /// [`Error`] tells what is wrong first: the key, the signature, the contradiction, the time.
    pub fn verify(&self, name: &PeerId, now: UnixTime) -> Result<(), Error> {
        let key = self.owner(name)?;
        let signed = [CONTEXT, self.data].concat();
        key.verify(&signed, self.signature)
            .map_err(|_| Error::Signature)?;
        if !self.agrees_with_legacy() {
            return Err(Error::Mismatch);
        }
        if now >= self.expires {
            return Err(Error::Expired);
        }
        Ok(())
    }

    /// The key of the name's owner, from the record or the name.
    fn owner(&self, name: &PeerId) -> Result<PublicKey, Error> {
        if self.public_key.is_empty() {
            return name.public_key().ok_or(Error::NoKey);
        }
        let key = PublicKey::from_protobuf(self.public_key).map_err(Error::PublicKey)?;
        name.is_of(&key).then_some(key).ok_or(Error::OtherKey)
    }

    /// Whether there are no fields of before 2021, or they say the same.
    fn agrees_with_legacy(&self) -> bool {
        let signed = Legacy {
            value: self.value,
            signature: self.legacy.signature,
            validity_type: UNTIL,
            validity: self.validity,
            sequence: self.sequence,
            ttl: self.legacy.ttl,
        };
        let ttl = self.ttl == Some(Duration::from_nanos(self.legacy.ttl));
        let none = self.legacy.signature.is_empty() && self.legacy.value.is_empty();
        none || ttl && signed == self.legacy
    }

    /// A record of this value, signed by the owner of the name.
    ///
    /// Each record of a name needs a higher sequence number than those before; Go reads none above `i64::MAX`. `expires`
    /// should be within 48 hours, since DHT nodes keep none for longer, and `ttl`, at most 292 years, is usually
    /// [`DEFAULT_TTL`](super::DEFAULT_TTL).
    ///
    /// # Errors
    ///
    /// [`Error::TooLong`] if it were longer than [`MAX_LEN`] bytes.
    pub fn sign(
        owner: &Keypair,
        value: &[u8],
        sequence: u64,
        expires: UnixTime,
        ttl: Duration,
    ) -> Result<Vec<u8>, Error> {
        write(owner, value, sequence, expires, ttl, false)
    }

    /// A record as by [`sign`](Self::sign), which nodes of before 2021 understand too: with fields and a signature that
    /// others ignore. boxo writes such ones by default.
    ///
    /// # Errors
    ///
    /// As [`sign`](Self::sign).
    pub fn sign_with_v1(
        owner: &Keypair,
        value: &[u8],
        sequence: u64,
        expires: UnixTime,
        ttl: Duration,
    ) -> Result<Vec<u8>, Error> {
        write(owner, value, sequence, expires, ttl, true)
    }
}

/// The fields that are signed.
struct Signed<'a> {
    value: &'a [u8],
    validity: &'a [u8],
    sequence: u64,
    /// In nanoseconds. [boxo](https://github.com/ipfs/boxo) takes records without, too.
    ttl: Option<u64>,
}

impl<'a> Signed<'a> {
    fn read(data: &'a [u8]) -> Result<Self, Error> {
        let (mut value, mut validity, mut kind) = (None, None, None);
        let (mut sequence, mut ttl) = (None, None);
        cbor::read_map(data, |key, found| match key {
            b"Value" => value = Some(found),
            b"Validity" => validity = Some(found),
            b"ValidityType" => kind = Some(found),
            b"Sequence" => sequence = Some(found),
            b"TTL" => ttl = Some(found),
            _ => {}
        })?;
        let kind = number(kind, "ValidityType")?;
        if kind != UNTIL {
            return Err(Error::ValidityType(kind));
        }
        Ok(Self {
            value: bytes(value, "Value")?,
            validity: bytes(validity, "Validity")?,
            sequence: number(sequence, "Sequence")?,
            ttl: ttl.map(|ttl| number(Some(ttl), "TTL")).transpose()?,
        })
    }

    fn write(&self) -> Vec<u8> {
        let mut data = Vec::new();
        let entries = [
            ("TTL", Value::Unsigned(self.ttl.unwrap_or(0))),
            ("Value", Value::Bytes(self.value)),
            ("Sequence", Value::Unsigned(self.sequence)),
            ("Validity", Value::Bytes(self.validity)),
            ("ValidityType", Value::Unsigned(UNTIL)),
        ];
        cbor::write_map(&mut data, &entries);
        data
    }
}

const fn number(value: Option<Value<'_>>, name: &'static str) -> Result<u64, Error> {
    match value {
        Some(Value::Unsigned(value)) => Ok(value),
        _ => Err(Error::Field(name)),
    }
}

const fn bytes<'a>(value: Option<Value<'a>>, name: &'static str) -> Result<&'a [u8], Error> {
    match value {
        Some(Value::Bytes(value)) => Ok(value),
        _ => Err(Error::Field(name)),
    }
}

fn write(
    owner: &Keypair,
    value: &[u8],
    sequence: u64,
    expires: UnixTime,
    ttl: Duration,
    with_v1: bool,
) -> Result<Vec<u8>, Error> {
    if value.len() > MAX_LEN {
        return Err(Error::TooLong);
    }
    let validity = rfc3339::format(expires);
    let validity = validity.as_str().as_bytes();
    // Go reads no greater number.
    let ttl = ttl.as_nanos().min(i64::MAX as u128) as u64;
    let signed = Signed {
        value,
        validity,
        sequence,
        ttl: Some(ttl),
    };
    let data = signed.write();
    let mut record = Vec::new();
    let mut out = Writer::new(&mut record);
    if with_v1 {
        // In the order that the numbers have; the type of validity is signed as its name.
        let signature = owner.sign(&[value, validity, b"EOL"].concat());
        out.bytes(V1_VALUE, value)
            .bytes(V1_SIGNATURE, &signature)
            .uint64(V1_VALIDITY_TYPE, UNTIL)
            .bytes(V1_VALIDITY, validity)
            .uint64(V1_SEQUENCE, sequence)
            .uint64(V1_TTL, ttl);
    }
    let public = owner.public();
    if public.peer_id().public_key().is_none() {
        out.bytes(PUBLIC_KEY, &public.to_protobuf());
    }
    out.bytes(SIGNATURE, &owner.sign(&[CONTEXT, &data].concat()))
        .bytes(DATA, &data);
    if record.len() > MAX_LEN {
        return Err(Error::TooLong);
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Go wrote is what is written here of the same fields.
    #[test]
    fn signed_fields_are_the_bytes_that_others_sign() {
        for vector in super::super::tests::vectors() {
            let Ok(record) = Record::parse(&vector.record) else {
                assert_eq!(vector.expected, Err(Error::NotSigned));
                continue;
            };
            let signed = Signed::read(record.data).unwrap();
            assert_eq!(signed.write(), record.data);
        }
    }
}
