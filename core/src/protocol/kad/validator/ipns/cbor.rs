//! As much DAG-CBOR as a record needs.
//!
//! The reader takes what the [specification](https://ipld.io/specs/codecs/dag-cbor/spec/) allows and nothing else: each
//! value has one form. Integers and lengths in their shortest form, lengths definite, keys of a map text in ascending
//! order (the shorter first), floating point numbers finite and of 64 bits, no tag but that of links.

use alloc::vec::Vec;
use core::fmt;

const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;
const SIMPLE: u8 = 7;

/// The tag of links.
const LINK: u64 = 42;
/// How deep values may be in each other.
const MAX_DEPTH: usize = 16;

/// Why bytes are not DAG-CBOR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CborError {
    /// They end inside a value.
    Truncated,
    /// There are bytes after the value.
    TrailingBytes,
    /// Not a map, or with a key that is no text.
    Type,
    /// An integer or length in more bytes than needed, or an indefinite length.
    NotShortest,
    /// Two keys of a map are equal or in the wrong order.
    Order,
    /// Text that is not UTF-8.
    NotUtf8,
    /// A tag, simple value or floating point number that DAG-CBOR has not.
    Forbidden,
    /// Values in each other, more than 16 deep.
    TooDeep,
}

impl fmt::Display for CborError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "ends inside a value",
            Self::TrailingBytes => "bytes after the value",
            Self::Type => "no map with text as keys",
            Self::NotShortest => "integer or length is not in its shortest form",
            Self::Order => "keys are not in ascending order",
            Self::NotUtf8 => "text is not valid UTF-8",
            Self::Forbidden => "value that DAG-CBOR does not have",
            Self::TooDeep => "values are too deep in each other",
        })
    }
}

impl core::error::Error for CborError {}

/// A value in a map, as far as records need to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Unsigned(u64),
    Bytes(&'a [u8]),
    /// Something else, which is valid.
    Other,
}

/// Reads the one map that `input` must be, and calls `entry` for each of its entries.
pub(super) fn read_map<'a>(
    input: &'a [u8],
    mut entry: impl FnMut(&'a [u8], Value<'a>),
) -> Result<(), CborError> {
    let mut reader = Reader { rest: input };
    let (MAP, entries) = reader.head()? else {
        return Err(CborError::Type);
    };
    reader.entries(entries, MAX_DEPTH, &mut entry)?;
    if reader.rest.is_empty() {
        Ok(())
    } else {
        Err(CborError::TrailingBytes)
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: u64) -> Result<&'a [u8], CborError> {
        let parts = usize::try_from(len)
            .ok()
            .and_then(|len| self.rest.split_at_checked(len));
        let (taken, rest) = parts.ok_or(CborError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn number<const LEN: usize>(&mut self) -> Result<u64, CborError> {
        let (bytes, rest) = self
            .rest
            .split_first_chunk::<LEN>()
            .ok_or(CborError::Truncated)?;
        self.rest = rest;
        Ok(bytes
            .iter()
            .fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    /// The major type of the next value, and the integer that goes with it.
    fn head(&mut self) -> Result<(u8, u64), CborError> {
        let (first, rest) = self.rest.split_first().ok_or(CborError::Truncated)?;
        self.rest = rest;
        let (major, info) = (first >> 5, first & 31);
        if major == SIMPLE {
            return self.simple(info).map(|()| (SIMPLE, 0));
        }
        let (value, least) = match info {
            0..24 => return Ok((major, info.into())),
            24 => (self.number::<1>()?, 24),
            25 => (self.number::<2>()?, 1 << 8),
            26 => (self.number::<4>()?, 1 << 16),
            27 => (self.number::<8>()?, 1 << 32),
            _ => return Err(CborError::NotShortest),
        };
        if value < least {
            return Err(CborError::NotShortest);
        }
        Ok((major, value))
    }

    /// False, true, null, and numbers of 64 bits.
    fn simple(&mut self, info: u8) -> Result<(), CborError> {
        let valid = match info {
            20..=22 => true,
            27 => f64::from_bits(self.number::<8>()?).is_finite(),
            _ => false,
        };
        valid.then_some(()).ok_or(CborError::Forbidden)
    }

    fn text(&mut self, len: u64) -> Result<&'a [u8], CborError> {
        let text = self.take(len)?;
        core::str::from_utf8(text).map_err(|_| CborError::NotUtf8)?;
        Ok(text)
    }

    fn entries(
        &mut self,
        count: u64,
        depth: usize,
        entry: &mut impl FnMut(&'a [u8], Value<'a>),
    ) -> Result<(), CborError> {
        let depth = depth.checked_sub(1).ok_or(CborError::TooDeep)?;
        let mut before = None;
        for _ in 0..count {
            let (TEXT, len) = self.head()? else {
                return Err(CborError::Type);
            };
            let key = self.text(len)?;
            if before >= Some((key.len(), key)) {
                return Err(CborError::Order);
            }
            before = Some((key.len(), key));
            entry(key, self.value(depth)?);
        }
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, CborError> {
        let (major, number) = self.head()?;
        match major {
            UNSIGNED => return Ok(Value::Unsigned(number)),
            BYTES => return self.take(number).map(Value::Bytes),
            TEXT => drop(self.text(number)?),
            ARRAY => {
                let depth = depth.checked_sub(1).ok_or(CborError::TooDeep)?;
                // Each takes a byte at least, so that a great number ends with the input.
                for _ in 0..number {
                    self.value(depth)?;
                }
            }
            MAP => self.entries_of_other(number, depth)?,
            TAG => self.link(number)?,
            // Simple values are read with their head, negative numbers too.
            NEGATIVE | SIMPLE => {}
            _ => return Err(CborError::Type),
        }
        Ok(Value::Other)
    }

    /// Not generic, unlike [`Self::entries`], and so an end to the types that call each other.
    fn entries_of_other(&mut self, count: u64, depth: usize) -> Result<(), CborError> {
        self.entries(count, depth, &mut |_, _| ())
    }

    /// A CID: bytes, the first of them 0.
    fn link(&mut self, tag: u64) -> Result<(), CborError> {
        match (tag, self.head()?) {
            (LINK, (BYTES, len)) if self.take(len)?.first() == Some(&0) => Ok(()),
            _ => Err(CborError::Forbidden),
        }
    }
}

/// Appends the head of a value, in its shortest form.
fn write_head(out: &mut Vec<u8>, major: u8, value: u64) {
    let bytes = value.to_be_bytes();
    let (info, len) = match value {
        0..24 => {
            out.push(major << 5 | bytes.last().copied().unwrap_or(0));
            return;
        }
        24..0x100 => (24, 1),
        0x100..0x1_0000 => (25, 2),
        0x1_0000..0x1_0000_0000 => (26, 4),
        _ => (27, 8),
    };
    out.push(major << 5 | info);
    let start = bytes.len().saturating_sub(len);
    out.extend_from_slice(bytes.get(start..).unwrap_or_default());
}

/// Appends a map; its entries must be in order.
pub(super) fn write_map(out: &mut Vec<u8>, entries: &[(&str, Value<'_>)]) {
    write_head(out, MAP, entries.len() as u64);
    for (key, value) in entries {
        write_head(out, TEXT, key.len() as u64);
        out.extend_from_slice(key.as_bytes());
        match value {
            Value::Unsigned(number) => write_head(out, UNSIGNED, *number),
            Value::Bytes(bytes) => {
                write_head(out, BYTES, bytes.len() as u64);
                out.extend_from_slice(bytes);
            }
            // Null.
            Value::Other => out.push(0xf6),
        }
    }
}

#[cfg(test)]
mod tests;
