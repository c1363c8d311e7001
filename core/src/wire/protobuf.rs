//! Messages of protocol buffers, read as borrowed views and written in place.
//!
//! A [`Reader`] walks the fields of one message in the order they came. It borrows from the input, allocates nothing
//! and never recurses: a nested message is a byte string until the caller reads it with a `Reader` of its own. Before
//! anything is collected from repeated fields, [`check_counts`] compares their numbers with caps in one pass, so a frame
//! full of empty elements costs no memory.
//!
//! Accepted is what parsers of protocol buffers must accept: fields in any order, unknown fields, integers in more
//! bytes than needed. Groups, deprecated since long and used by no libp2p protocol, are refused.
//!
//! Source: the [encoding](https://protobuf.dev/programming-guides/encoding/) document.
//!
//! ```
//! use drywire::wire::protobuf::{self, Error, Reader, Writer};
//!
//! let mut out = Vec::new();
//! Writer::new(&mut out)
//!     .uint64(1, 300)
//!     .bytes(2, b"one")
//!     .bytes(2, b"two")
//!     .message(3, |nested| {
//!         nested.string(1, "inside");
//!     });
//!
//! protobuf::check_counts(&out, &[(2, 64)])?;
//! let mut number = 0;
//! let mut list = Vec::new();
//! for field in Reader::new(&out) {
//!     let field = field?;
//!     match field.number {
//!         1 => number = field.as_u64()?,
//!         2 => list.push(field.as_bytes()?),
//!         _ => {} // unknown fields are passed over
//!     }
//! }
//! assert_eq!((number, list), (300, vec![&b"one"[..], b"two"]));
//! # Ok::<(), Error>(())
//! ```

use super::varint;
use alloc::vec::Vec;
use core::{fmt, iter::FusedIterator};

/// The highest field number there is.
pub const MAX_NUMBER: u32 = (1 << 29) - 1;

/// The peer sent something that is no message, or not the expected one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Error {
    /// The message ends inside a field.
    Truncated,
    /// An integer does not fit in 64 bits.
    Overflow,
    /// A field's number is zero or above [`MAX_NUMBER`].
    FieldNumber,
    /// A field's wire type is a group's (3 or 4), or none (6, 7).
    WireType,
    /// A known field has another type than it must have.
    Mismatch {
        /// The field's number.
        number: u32,
    },
    /// A field that must be text is not UTF-8.
    NotUtf8 {
        /// The field's number.
        number: u32,
    },
    /// A field occurs more often than allowed.
    TooMany {
        /// The field's number.
        number: u32,
        /// How often it may occur.
        max: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("message ends inside a field"),
            Self::Overflow => f.write_str("integer does not fit in 64 bits"),
            Self::FieldNumber => f.write_str("field number is out of range"),
            Self::WireType => f.write_str("wire type is unknown or a group"),
            Self::Mismatch { number } => write!(f, "field {number} has an unexpected type"),
            Self::NotUtf8 { number } => write!(f, "field {number} is not valid UTF-8"),
            Self::TooMany { number, max } => {
                write!(f, "field {number} occurs more than {max} times")
            }
        }
    }
}

impl core::error::Error for Error {}

/// The value of a field, as its wire type tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Wire type 0: integers, booleans, enums.
    Varint(u64),
    /// Wire type 1: eight bytes, little endian.
    Fixed64(u64),
    /// Wire type 2: bytes, text, nested messages.
    Bytes(&'a [u8]),
    /// Wire type 5: four bytes, little endian.
    Fixed32(u32),
}

/// One field of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The field's number, 1 to [`MAX_NUMBER`].
    pub number: u32,
    /// Its value.
    pub value: Value<'a>,
}

impl<'a> Field<'a> {
    /// The value of a `uint64`, and the bits of an `int64` (use `as i64`).
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] if it is no varint.
    pub const fn as_u64(&self) -> Result<u64, Error> {
        match self.value {
            Value::Varint(value) => Ok(value),
            _ => Err(self.mismatch()),
        }
    }

    /// The value of a `uint32`: the low 32 bits, as parsers of protocol buffers take it.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] if it is no varint.
    pub fn as_u32(&self) -> Result<u32, Error> {
        self.as_u64().map(|value| value as u32)
    }

    /// The value of an `int32` or an enum: the low 32 bits.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] if it is no varint.
    pub fn as_i32(&self) -> Result<i32, Error> {
        self.as_u64().map(|value| value as i32)
    }

    /// The value of a `bool`.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] if it is no varint.
    pub fn as_bool(&self) -> Result<bool, Error> {
        self.as_u64().map(|value| value != 0)
    }

    /// The value of a `bytes` field or a nested message.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] if it is no byte string.
    pub const fn as_bytes(&self) -> Result<&'a [u8], Error> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(self.mismatch()),
        }
    }

    /// The value of a `string` field.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] if it is no byte string, [`Error::NotUtf8`] if that is no text.
    pub fn as_str(&self) -> Result<&'a str, Error> {
        core::str::from_utf8(self.as_bytes()?).map_err(|_| Error::NotUtf8 {
            number: self.number,
        })
    }

    const fn mismatch(&self) -> Error {
        Error::Mismatch {
            number: self.number,
        }
    }
}

/// The fields of one message, in the order they came. After an error there are no more.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader of the message that `input` holds from start to end.
    #[must_use]
    pub const fn new(input: &'a [u8]) -> Self {
        Self { rest: input }
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Error> {
        // Most keys and lengths are one byte.
        if let Some((byte @ 0..0x80, rest)) = self.rest.split_first() {
            self.rest = rest;
            return Ok(u64::from(*byte));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, Error> {
        match varint::decode_any_form(self.rest) {
            Ok(Some((value, used))) => {
                self.take(used)?;
                Ok(value)
            }
            Ok(None) => Err(Error::Truncated),
            Err(_) => Err(Error::Overflow),
        }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Error::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const LEN: usize>(&mut self) -> Result<[u8; LEN], Error> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Error::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    #[inline]
    fn field(&mut self) -> Result<Field<'a>, Error> {
        let key = u32::try_from(self.varint()?).map_err(|_| Error::FieldNumber)?;
        let number = key >> 3;
        if number == 0 {
            return Err(Error::FieldNumber);
        }
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let len = usize::try_from(self.varint()?).map_err(|_| Error::Truncated)?;
                Value::Bytes(self.take(len)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(Error::WireType),
        };
        Ok(Field { number, value })
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<Field<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

impl FusedIterator for Reader<'_> {}

/// Walks over a message once and compares how often fields occur with `limits`, pairs of field number and cap (at most
/// a handful: the list is searched for each field). Fields that are not listed may occur any number of times.
///
/// # Errors
///
/// [`Error::TooMany`] at the first field over its cap, or what [`Reader`] finds wrong before that.
pub fn check_counts<const LEN: usize>(
    input: &[u8],
    limits: &[(u32, usize); LEN],
) -> Result<(), Error> {
    let mut left = *limits;
    for field in Reader::new(input) {
        let field = field?;
        let limit = left.iter_mut().find(|(number, _)| *number == field.number);
        if let Some((number, left)) = limit {
            *left = left.checked_sub(1).ok_or_else(|| Error::TooMany {
                number: *number,
                max: cap_of(limits, *number),
            })?;
        }
    }
    Ok(())
}

fn cap_of(limits: &[(u32, usize)], number: u32) -> usize {
    limits
        .iter()
        .find(|(listed, _)| *listed == number)
        .map_or(0, |(_, max)| *max)
}

/// Appends the fields of one message to a buffer, in the order of the calls.
///
/// Field numbers are the schema's: 1 to [`MAX_NUMBER`]. Everything that is called is written, zero and empty too; a
/// schema of proto3 leaves those out by not calling.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// A writer that appends to `out`.
    pub const fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// A `uint64`, `uint32`, or (as bits of an `i64` made `u64`) an `int64`, `int32` or enum.
    pub fn uint64(&mut self, number: u32, value: u64) -> &mut Self {
        self.key(number, 0);
        varint::encode(value, self.out);
        self
    }

    /// A `bool`.
    pub fn bool(&mut self, number: u32, value: bool) -> &mut Self {
        self.uint64(number, u64::from(value))
    }

    /// A `bytes` field, or a nested message that is already encoded.
    pub fn bytes(&mut self, number: u32, value: &[u8]) -> &mut Self {
        self.key(number, 2);
        varint::encode(value.len() as u64, self.out);
        self.out.extend_from_slice(value);
        self
    }

    /// A `string` field.
    pub fn string(&mut self, number: u32, value: &str) -> &mut Self {
        self.bytes(number, value.as_bytes())
    }

    /// A nested message, whose fields `write` appends.
    ///
    /// Its length, known only then, is moved in front of it: a copy of the nested message, and no allocation.
    pub fn message(&mut self, number: u32, write: impl FnOnce(&mut Writer<'_>)) -> &mut Self {
        self.key(number, 2);
        let start = self.out.len();
        write(&mut Writer::new(self.out));
        let end = self.out.len();
        varint::encode(end.saturating_sub(start) as u64, self.out);
        let length_len = self.out.len().saturating_sub(end);
        if let Some(tail) = self.out.get_mut(start..) {
            tail.rotate_right(length_len);
        }
        self
    }

    fn key(&mut self, number: u32, wire_type: u64) {
        varint::encode(u64::from(number) << 3 | wire_type, self.out);
    }
}

#[cfg(test)]
#[path = "protobuf_tests.rs"]
mod tests;
