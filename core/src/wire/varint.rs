//! Unsigned varints: seven bits a byte, least significant group first, the top bit says "more follow".
//!
//! The [multiformats unsigned-varint](https://github.com/multiformats/unsigned-varint) specification, with one
//! difference: it stops at nine bytes (63 bits), here the whole of `u64` is valid, which takes ten. Lengths and codes
//! of libp2p are far below either bound. Only the minimal form is accepted, so every value has exactly one encoding.
//!
//! ```
//! use drywire::wire::varint;
//!
//! let mut out = Vec::new();
//! varint::encode(300, &mut out);
//! assert_eq!(out, [0xac, 0x02]);
//! assert_eq!(varint::decode(&out), Ok(Some((300, 2))));
//! assert_eq!(varint::decode(&out[..1]), Ok(None), "one byte is missing");
//! ```

use alloc::vec::Vec;
use core::fmt;

/// The longest encoding, of values from 2^63 on, in bytes.
pub const MAX_LEN: usize = 10;

/// The peer sent a varint that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The value does not fit in 64 bits, or there is no last byte among the first [`MAX_LEN`].
    Overflow,
    /// The last byte is zero although it is not the only one: a shorter encoding of the same value exists.
    NotMinimal,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Overflow => "varint does not fit in 64 bits",
            Self::NotMinimal => "varint is not in its shortest form",
        })
    }
}

impl core::error::Error for Error {}

/// How many bytes `value` takes when encoded: 1 to [`MAX_LEN`].
#[must_use]
pub const fn encoded_len(value: u64) -> usize {
    // One byte per started group of seven bits; zero still takes one.
    let bits = u64::BITS.saturating_sub((value | 1).leading_zeros());
    bits.div_ceil(7) as usize
}

/// Appends the encoding of `value` to `out`.
pub fn encode(value: u64, out: &mut Vec<u8>) {
    let mut rest = value;
    while rest >= 0x80 {
        out.push(low_group(rest) | 0x80);
        rest >>= 7;
    }
    out.push(low_group(rest));
}

/// The low seven bits.
const fn low_group(value: u64) -> u8 {
    (value & 0x7f) as u8
}

/// Decodes the varint at the start of `input`: its value and the number of bytes it took.
///
/// `None` means that the input ends inside the varint. Bytes behind the varint are not looked at.
///
/// # Errors
///
/// [`Error`] as soon as the bytes seen cannot begin a valid varint.
#[inline]
pub fn decode(input: &[u8]) -> Result<Option<(u64, usize)>, Error> {
    // Most are one byte.
    if let Some(byte @ 0..0x80) = input.first() {
        return Ok(Some((u64::from(*byte), 1)));
    }
    decode_long(input)
}

fn decode_long(input: &[u8]) -> Result<Option<(u64, usize)>, Error> {
    let mut decoder = Decoder::new();
    for (byte, used) in input.iter().zip(1..) {
        if let Some(value) = decoder.push(*byte)? {
            return Ok(Some((value, used)));
        }
    }
    Ok(None)
}

/// Splits the varint at the start of `input` off: its value and the bytes behind it.
///
/// `None` means that the input ends inside the varint.
///
/// # Errors
///
/// As [`decode`].
pub fn split(input: &[u8]) -> Result<Option<(u64, &[u8])>, Error> {
    let decoded = decode(input)?;
    Ok(decoded.and_then(|(value, used)| Some((value, input.get(used..)?))))
}

/// Decodes a varint one byte at a time, for input that arrives in pieces that cannot be looked at again.
///
/// ```
/// use drywire::wire::varint::Decoder;
///
/// let mut decoder = Decoder::new();
/// assert_eq!(decoder.push(0xac), Ok(None));
/// assert_eq!(decoder.push(0x02), Ok(Some(300)));
/// assert_eq!(decoder.push(0x07), Ok(Some(7)), "ready for the next varint");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decoder {
    value: u64,
    /// Bits decoded so far: 0, 7, .. 63.
    shift: u32,
}

impl Decoder {
    /// A decoder that has seen nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { value: 0, shift: 0 }
    }

    /// Whether bytes of an unfinished varint have been pushed.
    #[must_use]
    pub const fn is_partial(&self) -> bool {
        self.shift != 0
    }

    /// Takes the next byte. Gives the value with its last byte; the decoder is then as new.
    ///
    /// # Errors
    ///
    /// [`Error`]; the decoder is then as new too, though the stream it reads from cannot be trusted any more.
    pub fn push(&mut self, byte: u8) -> Result<Option<u64>, Error> {
        let group = u64::from(byte & 0x7f);
        let last = byte & 0x80 == 0;
        let Self { value, shift } = *self;
        *self = Self::new();
        // The tenth byte holds the 64th bit alone, so it is 0 or 1 and the last one.
        if shift == 63 && byte > 1 {
            return Err(Error::Overflow);
        }
        if last && group == 0 && shift != 0 {
            return Err(Error::NotMinimal);
        }
        let value = value | group << shift;
        if last {
            return Ok(Some(value));
        }
        *self = Self {
            value,
            shift: shift.saturating_add(7),
        };
        Ok(None)
    }
}

/// Decodes as parsers of protocol buffers must: the shortest form is not required, ten bytes and 64 bits are the cap.
pub(super) fn decode_any_form(input: &[u8]) -> Result<Option<(u64, usize)>, Error> {
    let mut value = 0;
    for ((byte, used), shift) in input.iter().zip(1..).zip((0..64).step_by(7)) {
        if shift == 63 && *byte > 1 {
            return Err(Error::Overflow);
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(Some((value, used)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec;

    fn encoded(value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        encode(value, &mut out);
        out
    }

    /// The values around every change of length, and the ends.
    fn boundaries() -> Vec<u64> {
        let mut values = vec![0, 1, u64::MAX, u64::MAX - 1];
        for bits in 1..64 {
            let power = 1u64 << bits;
            values.extend([power - 1, power, power + 1]);
        }
        values
    }

    fn check_round_trip(value: u64) {
        let bytes = encoded(value);
        assert_eq!(bytes.len(), encoded_len(value));
        assert!(bytes.len() <= MAX_LEN);
        assert_eq!(decode(&bytes), Ok(Some((value, bytes.len()))));
        assert_eq!(decode_any_form(&bytes), Ok(Some((value, bytes.len()))));
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut]), Ok(None));
            assert_eq!(decode_any_form(&bytes[..cut]), Ok(None));
        }
        let mut followed = bytes.clone();
        followed.extend([0xff; 12]);
        assert_eq!(decode(&followed), Ok(Some((value, bytes.len()))));
    }

    #[test]
    fn every_boundary_survives_the_round_trip() {
        boundaries().into_iter().for_each(check_round_trip);
        assert_eq!(encoded(0), [0]);
        assert_eq!(encoded(127), [0x7f]);
        assert_eq!(encoded(128), [0x80, 0x01]);
        assert_eq!(encoded(16384), [0x80, 0x80, 0x01]);
        assert_eq!(
            encoded(u64::MAX),
            [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]
        );
    }

    #[test]
    fn all_inputs_of_up_to_two_bytes() {
        for first in 0..=255u8 {
            let expected = if first < 0x80 {
                Ok(Some((u64::from(first), 1)))
            } else {
                Ok(None)
            };
            assert_eq!(decode(&[first]), expected);
            for second in 0..=255u8 {
                let expected = match (first, second) {
                    (..0x80, _) => Ok(Some((u64::from(first), 1))),
                    (_, 0) => Err(Error::NotMinimal),
                    (_, 0x80..) => Ok(None),
                    _ => Ok(Some((u64::from(first & 0x7f) + 128 * u64::from(second), 2))),
                };
                assert_eq!(decode(&[first, second]), expected);
            }
        }
    }

    #[test]
    fn too_long_or_too_large_is_refused_at_the_tenth_byte() {
        assert_eq!(decode(&[0x80; 9]), Ok(None));
        assert_eq!(decode(&[0x80; 10]), Err(Error::Overflow));
        let mut ten = [0xff; 10];
        for last in 0..=255u8 {
            ten[9] = last;
            let expected = match last {
                0 => Err(Error::NotMinimal),
                1 => Ok(Some((u64::MAX, 10))),
                _ => Err(Error::Overflow),
            };
            assert_eq!(decode(&ten), expected);
            let expected = match last {
                0 => Ok(Some((u64::MAX >> 1, 10))),
                1 => Ok(Some((u64::MAX, 10))),
                _ => Err(Error::Overflow),
            };
            assert_eq!(decode_any_form(&ten), expected);
        }
    }

    #[test]
    fn every_padded_form_is_refused() {
        for value in boundaries() {
            let mut bytes = encoded(value);
            while bytes.len() < MAX_LEN {
                *bytes.last_mut().unwrap() |= 0x80;
                bytes.push(0);
                assert_eq!(decode(&bytes), Err(Error::NotMinimal));
                assert_eq!(decode_any_form(&bytes), Ok(Some((value, bytes.len()))));
            }
        }
    }

    proptest! {
        #[test]
        fn any_value_survives_the_round_trip(value: u64) {
            check_round_trip(value);
        }

        #[test]
        fn what_decodes_is_what_encodes(input in proptest::collection::vec(any::<u8>(), 0..12)) {
            if let Ok(Some((value, used))) = decode(&input) {
                prop_assert_eq!(encoded(value), &input[..used]);
            }
        }

        #[test]
        fn protobuf_form_agrees_with_prost(input in proptest::collection::vec(any::<u8>(), 0..12)) {
            let mut rest = &input[..];
            let theirs = prost::encoding::decode_varint(&mut rest).ok();
            let ours = decode_any_form(&input).ok().flatten();
            prop_assert_eq!(ours.map(|(value, _)| value), theirs);
            if let Some((_, used)) = ours {
                prop_assert_eq!(used, input.len() - rest.len());
            }
        }

        #[test]
        fn the_incremental_decoder_agrees(input in proptest::collection::vec(any::<u8>(), 0..24)) {
            let mut whole = Vec::new();
            let mut rest = &input[..];
            let end = loop {
                match decode(rest) {
                    Ok(Some((value, used))) => { whole.push(value); rest = &rest[used..]; }
                    Ok(None) => break Ok(!rest.is_empty()),
                    Err(error) => break Err(error),
                }
            };
            let mut pieces = Vec::new();
            let mut decoder = Decoder::new();
            let mut failed = None;
            for byte in &input {
                match decoder.push(*byte) {
                    Ok(Some(value)) => pieces.push(value),
                    Ok(None) => {}
                    Err(error) => { failed = Some(error); break; }
                }
            }
            prop_assert_eq!(whole, pieces);
            prop_assert_eq!(end, failed.map_or(Ok(decoder.is_partial()), Err));
        }
    }
}
