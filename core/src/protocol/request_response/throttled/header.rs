//! The header in front of every body: what it is, and the numbers of a credit.
//!
//! On the wire: `uvarint(length of the header) || header`, the header a CBOR map with integer keys of which only those are
//! there that have something to say. `0`: the kind, an array of the kind's number and an empty array; `1`: the credit; `2`:
//! the grant's number. What rust-libp2p's minicbor makes, and what it reads: keys that are not known are skipped.

use crate::{protocol::request_response::CodecError, wire::varint};
use alloc::{borrow::Cow, vec::Vec};

/// The longest header that is read, in bytes.
pub const MAX_HEADER_LEN: usize = 8192;

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// A request of the inner protocol follows.
    Request,
    /// A response of the inner protocol follows.
    Response,
    /// The sender allows so many more requests.
    Credit {
        /// How many.
        credit: u16,
        /// The number of this grant.
        ident: u64,
    },
    /// A grant was received.
    Ack {
        /// Its number.
        ident: u64,
    },
}

const REQUEST: u64 = 0;
const RESPONSE: u64 = 1;
const CREDIT: u64 = 2;
const ACK: u64 = 3;

/// The upper three bits of an item's first byte.
mod major {
    pub(super) const UNSIGNED: u8 = 0;
    pub(super) const NEGATIVE: u8 = 1;
    pub(super) const BYTES: u8 = 2;
    pub(super) const TEXT: u8 = 3;
    pub(super) const ARRAY: u8 = 4;
    pub(super) const MAP: u8 = 5;
    pub(super) const TAG: u8 = 6;
    pub(super) const SIMPLE: u8 = 7;
}

const NULL: u8 = 0xf6;

impl Header {
    /// Appends the header with its length in front.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (kind, credit, ident) = match *self {
            Self::Request => (REQUEST, None, None),
            Self::Response => (RESPONSE, None, None),
            Self::Credit { credit, ident } => (CREDIT, Some(u64::from(credit)), Some(ident)),
            Self::Ack { ident } => (ACK, None, Some(ident)),
        };
        let entries = [(1, credit), (2, ident)];
        let entries = entries
            .iter()
            .filter_map(|(key, value)| Some((*key, (*value)?)));
        let mut header = Vec::with_capacity(24);
        let pairs = u64::try_from(entries.clone().count()).unwrap_or_default();
        write_item(major::MAP, pairs.saturating_add(1), &mut header);
        write_item(major::UNSIGNED, 0, &mut header);
        write_item(major::ARRAY, 2, &mut header);
        write_item(major::UNSIGNED, kind, &mut header);
        write_item(major::ARRAY, 0, &mut header);
        for (key, value) in entries {
            write_item(major::UNSIGNED, key, &mut header);
            write_item(major::UNSIGNED, value, &mut header);
        }
        varint::encode(u64::try_from(header.len()).unwrap_or_default(), out);
        out.extend_from_slice(&header);
    }

    /// Reads the header in front of `body`: what it says, and how many bytes it and its length take.
    ///
    /// # Errors
    /// [`CodecError::UnexpectedEnd`] if the body ends inside it, [`CodecError::Malformed`] if it is none.
    pub fn decode(body: &[u8]) -> Result<(Self, usize), CodecError> {
        let length = varint::decode(body).map_err(|_| malformed("length of the header"))?;
        let (len, prefix) = length.ok_or(CodecError::UnexpectedEnd)?;
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if len > MAX_HEADER_LEN {
            return Err(malformed("the header is too long"));
        }
        let used = prefix.saturating_add(len);
        let header = body.get(prefix..used).ok_or(CodecError::UnexpectedEnd)?;
        // A short map within a header that is all there is no short body.
        let header = Self::read(header).ok_or_else(|| malformed("no valid header"))?;
        Ok((header, used))
    }

    fn read(header: &[u8]) -> Option<Self> {
        let mut reader = Reader { rest: header };
        let (mut kind, mut credit, mut ident) = (None, None, None);
        for _ in 0..reader.item(major::MAP)? {
            // Each turn takes bytes or fails: there are not more of them than bytes.
            match reader.item(major::UNSIGNED)? {
                0 => set(&mut kind, reader.optional(Reader::kind)?)?,
                1 => set(&mut credit, reader.optional(Reader::unsigned)?)?,
                2 => set(&mut ident, reader.optional(Reader::unsigned)?)?,
                _ => reader.skip()?,
            }
        }
        if !reader.rest.is_empty() {
            return None;
        }
        // Numbers that do not belong to the kind say nothing, but must be numbers.
        let credit = match credit.flatten() {
            Some(credit) => Some(u16::try_from(credit).ok()?),
            None => None,
        };
        let ident = ident.flatten();
        match kind.flatten()? {
            REQUEST => Some(Self::Request),
            RESPONSE => Some(Self::Response),
            CREDIT => Some(Self::Credit {
                credit: credit?,
                ident: ident?,
            }),
            ACK => Some(Self::Ack { ident: ident? }),
            _ => None,
        }
    }
}

/// Takes the value of a key, of which there is one.
fn set<T>(slot: &mut Option<T>, value: T) -> Option<()> {
    slot.replace(value).is_none().then_some(())
}

fn malformed(what: &'static str) -> CodecError {
    CodecError::Malformed(Cow::Borrowed(what))
}

/// The head of an item in its shortest form: kind of item, and its number.
fn write_item(major: u8, value: u64, out: &mut Vec<u8>) {
    let head = major << 5;
    let bytes = value.to_be_bytes();
    let (short, wide) = match value {
        0..24 => (bytes.get(7).copied().unwrap_or_default(), 0),
        24..0x100 => (24, 1),
        0x100..0x1_0000 => (25, 2),
        0x1_0000..0x1_0000_0000 => (26, 4),
        _ => (27, 8),
    };
    out.push(head | short);
    let from = bytes.len().saturating_sub(wide);
    out.extend_from_slice(bytes.get(from..).unwrap_or_default());
}

/// Reads well-formed items of definite length.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(usize::try_from(count).ok()?)?;
        self.rest = rest;
        Some(taken)
    }

    /// The head of the next item: its kind and its number.
    fn head(&mut self) -> Option<(u8, u64)> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        let (major, short) = (first >> 5, first & 0x1f);
        let wide = match short {
            0..24 => return Some((major, u64::from(short))),
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            // Reserved, or of indefinite length.
            _ => return None,
        };
        let value = self.take(wide)?;
        let value = value
            .iter()
            .fold(0u64, |value, byte| (value << 8) | u64::from(*byte));
        Some((major, value))
    }

    /// The number of the next item, which is of this kind.
    fn item(&mut self, expected: u8) -> Option<u64> {
        let (major, value) = self.head()?;
        (major == expected).then_some(value)
    }

    fn unsigned(&mut self) -> Option<u64> {
        self.item(major::UNSIGNED)
    }

    /// An array of the kind's number and anything.
    fn kind(&mut self) -> Option<u64> {
        if self.item(major::ARRAY)? != 2 {
            return None;
        }
        let kind = self.unsigned()?;
        self.skip()?;
        Some(kind)
    }

    /// A value, or null for none.
    fn optional<T>(&mut self, read: fn(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if self.rest.first() == Some(&NULL) {
            self.take(1)?;
            return Some(None);
        }
        read(self).map(Some)
    }

    /// Passes over one item, whatever is in it.
    fn skip(&mut self) -> Option<()> {
        let mut items = 1u64;
        while items > 0 {
            items = items.saturating_sub(1);
            let (major, value) = self.head()?;
            let inside = match major {
                major::BYTES | major::TEXT => {
                    self.take(value)?;
                    0
                }
                major::ARRAY => value,
                major::MAP => value.checked_mul(2)?,
                major::TAG => 1,
                major::UNSIGNED | major::NEGATIVE | major::SIMPLE => 0,
                _ => return None,
            };
            // Every item takes a byte at least, so each turn has taken one or there is an end of it here.
            items = items.checked_add(inside)?;
            if items > u64::try_from(self.rest.len()).ok()? {
                return None;
            }
        }
        Some(())
    }
}
