//! Length-delimited frames: an unsigned varint length, then that many bytes.
//!
//! Decoding is a function of the bytes at hand. A declared length is only compared with the caller's cap and with what
//! has arrived; nothing is ever reserved from it.
//!
//! ```
//! use drywire::wire::framing;
//!
//! let mut wire = Vec::new();
//! framing::encode(b"hello", &mut wire);
//! framing::encode(b"!", &mut wire);
//!
//! let frame = framing::decode(&wire, 1024)?.expect("its length is complete");
//! assert_eq!((frame.header_len, frame.body_len), (1, 5));
//! let (body, rest) = frame.split(&wire).expect("its body is complete");
//! assert_eq!((body, rest), (&b"hello"[..], &[1, b'!'][..]));
//!
//! assert!(framing::decode(&wire, 4).is_err(), "five bytes are over a cap of four");
//! # Ok::<(), framing::Error>(())
//! ```

use super::varint;
use alloc::vec::Vec;
use core::fmt;

/// What the peer announced is not acceptable as a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The length is not a valid varint.
    Length(varint::Error),
    /// The declared length is over the cap.
    TooLong {
        /// What the peer declared, in bytes.
        declared: u64,
        /// The cap it was compared with, in bytes.
        max: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(_) => f.write_str("frame length is malformed"),
            Self::TooLong { declared, max } => {
                write!(f, "frame of {declared} bytes is over the limit of {max}")
            }
        }
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Length(error) => Some(error),
            Self::TooLong { .. } => None,
        }
    }
}

/// Where the frame at the start of some input lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Bytes of the length itself: 1 to [`varint::MAX_LEN`].
    pub header_len: usize,
    /// Bytes of the body, at most the cap given to [`decode`]. They may not have arrived yet.
    pub body_len: usize,
}

impl Frame {
    /// Bytes of header and body together.
    #[must_use]
    pub const fn total_len(&self) -> usize {
        self.header_len.saturating_add(self.body_len)
    }

    /// The body of this frame and what follows it, once `input` (which starts with the frame's header) holds all of
    /// the body.
    #[must_use]
    pub fn split<'a>(&self, input: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        input
            .get(self.header_len..)?
            .split_at_checked(self.body_len)
    }
}

/// Decodes the header at the start of `input`: `None` until the length is complete, whether or not the body is there.
///
/// # Errors
///
/// [`Error::Length`] as soon as the bytes cannot begin a valid length; [`Error::TooLong`] with the last byte of a
/// length above `max_len`, which counts the body alone.
pub fn decode(input: &[u8], max_len: usize) -> Result<Option<Frame>, Error> {
    let Some((declared, header_len)) = varint::decode(input).map_err(Error::Length)? else {
        return Ok(None);
    };
    match usize::try_from(declared) {
        Ok(body_len) if body_len <= max_len => Ok(Some(Frame {
            header_len,
            body_len,
        })),
        _ => Err(Error::TooLong {
            declared,
            max: max_len,
        }),
    }
}

/// Bytes that [`encode_header`] appends for a body of `body_len` bytes.
#[must_use]
pub const fn header_len(body_len: usize) -> usize {
    varint::encoded_len(body_len as u64)
}

/// Appends the header of a body of `body_len` bytes, which the caller then appends itself.
pub fn encode_header(body_len: usize, out: &mut Vec<u8>) {
    varint::encode(body_len as u64, out);
}

/// Appends a whole frame.
pub fn encode(body: &[u8], out: &mut Vec<u8>) {
    encode_header(body.len(), out);
    out.extend_from_slice(body);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_cap_is_exact_and_known_with_the_header() {
        for max in [0, 1, 127, 128, 1024, 16_383, 16_384, 70_000] {
            let mut wire = Vec::new();
            encode_header(max, &mut wire);
            let frame = Frame {
                header_len: header_len(max),
                body_len: max,
            };
            assert_eq!(decode(&wire, max), Ok(Some(frame)));
            assert_eq!(frame.total_len(), wire.len() + max);

            let mut wire = Vec::new();
            encode_header(max + 1, &mut wire);
            let error = Error::TooLong {
                declared: max as u64 + 1,
                max,
            };
            assert_eq!(decode(&wire, max), Err(error));
        }
    }

    #[test]
    fn a_length_beyond_memory_is_too_long() {
        let mut wire = Vec::new();
        varint::encode(u64::MAX, &mut wire);
        let error = Error::TooLong {
            declared: u64::MAX,
            max: 4096,
        };
        assert_eq!(decode(&wire, 4096), Err(error));
        assert_eq!(
            decode(&[0x80, 0x00], 4096),
            Err(Error::Length(varint::Error::NotMinimal))
        );
    }

    proptest! {
        #[test]
        fn frames_come_back_at_every_split(
            bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..6),
        ) {
            let mut wire = Vec::new();
            for body in &bodies {
                encode(body, &mut wire);
            }
            // At any cut, exactly the frames that are whole come out, each equal to its body.
            for cut in 0..=wire.len() {
                let mut rest = &wire[..cut];
                let mut used = 0;
                let mut got = 0;
                while let Some((body, after)) =
                    decode(rest, 200).unwrap().and_then(|frame| frame.split(rest))
                {
                    prop_assert_eq!(body, &bodies[got][..]);
                    used += rest.len() - after.len();
                    rest = after;
                    got += 1;
                }
                let whole = bodies.iter().scan(0, |end, body| {
                    *end += header_len(body.len()) + body.len();
                    Some(*end)
                });
                prop_assert_eq!(got, whole.take_while(|end| *end <= cut).count());
                prop_assert_eq!(used + rest.len(), cut);
            }
        }
    }
}
