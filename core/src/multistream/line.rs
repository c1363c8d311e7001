//! Lines: a varint length, then that many bytes of which the last is a newline.

use super::{Error, MAX_LINE_LEN};
use crate::wire::{framing, varint};
use alloc::vec::Vec;

/// The first line of both ends, with its length.
pub(super) const HEADER: &[u8] = b"\x13/multistream/1.0.0\n";

/// The listener's "not available".
pub(super) const NOT_AVAILABLE: &str = "na";

/// The dialer's "which protocols are there".
pub(super) const LIST: &str = "ls";

/// The bytes that the header at the start of `input` takes, `None` if more are needed. Every other byte is an error as
/// soon as it is seen, so that a peer that speaks something else is not waited for.
pub(super) fn decode_header(input: &[u8]) -> Result<Option<usize>, Error> {
    if input.starts_with(HEADER) {
        Ok(Some(HEADER.len()))
    } else if HEADER.starts_with(input) {
        Ok(None)
    } else {
        Err(Error::NotMultistream)
    }
}

/// The line at the start of `input`, without its newline, and the bytes it takes; `None` if more are needed.
pub(super) fn decode(input: &[u8]) -> Result<Option<(&[u8], usize)>, Error> {
    let frame = framing::decode(input, MAX_LINE_LEN).map_err(|error| match error {
        framing::Error::Length(varint::Error::NotMinimal) => Error::NonMinimalLength,
        _ => Error::LineTooLong,
    })?;
    let Some(frame) = frame else {
        return Ok(None);
    };
    match frame.split(input) {
        None => Ok(None),
        Some(([line @ .., b'\n'], _)) => Ok(Some((line, frame.total_len()))),
        Some(_) => Err(Error::MissingNewline),
    }
}

/// The bytes that [`encode`] appends.
pub(super) const fn encoded_len(line: &str) -> usize {
    let body = line.len().saturating_add(1);
    framing::header_len(body).saturating_add(body)
}

/// Appends `line`, with its length and newline.
pub(super) fn encode(line: &str, out: &mut Vec<u8>) {
    framing::encode_header(line.len().saturating_add(1), out);
    out.extend_from_slice(line.as_bytes());
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_a_line_like_any_other() {
        let mut out = Vec::new();
        encode("/multistream/1.0.0", &mut out);
        assert_eq!(out, HEADER);
        assert_eq!(encoded_len("/multistream/1.0.0"), HEADER.len());
        assert_eq!(
            decode(HEADER),
            Ok(Some((&b"/multistream/1.0.0"[..], HEADER.len())))
        );
    }

    #[test]
    fn the_longest_line_is_exactly_the_cap() {
        let longest = "x".repeat(MAX_LINE_LEN - 1);
        let mut out = Vec::new();
        encode(&longest, &mut out);
        assert_eq!(out.len(), MAX_LINE_LEN + 2);
        assert_eq!(out.len(), encoded_len(&longest));
        assert_eq!(decode(&out), Ok(Some((longest.as_bytes(), out.len()))));
        for cut in 0..out.len() {
            assert_eq!(decode(&out[..cut]), Ok(None));
        }

        let mut out = Vec::new();
        encode(&"x".repeat(MAX_LINE_LEN), &mut out);
        assert_eq!(decode(&out[..1]), Ok(None));
        assert_eq!(decode(&out[..2]), Err(Error::LineTooLong));
    }

    #[test]
    fn malformed_lines_are_named() {
        assert_eq!(decode(&[0]), Err(Error::MissingNewline));
        assert_eq!(decode(b"\x02na"), Err(Error::MissingNewline));
        assert_eq!(decode(b"\x02\nx"), Err(Error::MissingNewline));
        assert_eq!(decode(b"\x83\x00na\n"), Err(Error::NonMinimalLength));
        assert_eq!(decode(&[0xff; 10]), Err(Error::LineTooLong));
        assert_eq!(decode(b"\x01\n"), Ok(Some((&b""[..], 2))));
    }
}
