//! multistream-select 1.0: two ends agree on the name of the protocol to speak next.
//!
//! Sources: the [multistream-select](https://github.com/multiformats/multistream-select) document and the
//! [connection specification](https://github.com/libp2p/specs/blob/master/connections/README.md) of libp2p.
//!
//! Each message is a line: an unsigned varint length, then that many bytes of which the last is a newline. Both ends
//! send the header `/multistream/1.0.0` once. The dialer proposes one name after the other; the listener answers with
//! the same name, which ends the negotiation, or with `na`. A listener asked `ls` lists what it supports.
//!
//! [`Dialer`] and [`Listener`] are functions of slices with a few words of state. They keep no input, no output and no
//! name: the caller holds the unread bytes and gives its list of names to every call. They consume whole lines only,
//! and nothing behind the line that ends the negotiation, so what follows belongs to the agreed protocol.
//!
//! ```
//! use drywire::multistream::{Dialer, Listener};
//!
//! let wanted = ["/chat/2", "/chat/1"];
//! let supported = ["/chat/1"];
//! let (mut to_listener, mut to_dialer) = (Vec::new(), Vec::new());
//!
//! let mut dialer = Dialer::start(&wanted, &mut to_listener)?;
//! let mut listener = Listener::new();
//! let (mut heard, mut answered) = (0, 0);
//! let (theirs, ours) = loop {
//!     let listened = listener.advance(&supported, &to_listener[heard..], &mut to_dialer)?;
//!     heard += listened.consumed;
//!     let dialed = dialer.advance(&wanted, &to_dialer[answered..], &mut to_listener)?;
//!     answered += dialed.consumed;
//!     if let (Some(theirs), Some(ours)) = (listened.outcome, dialed.outcome) {
//!         break (theirs, ours);
//!     }
//! };
//! assert_eq!(supported[theirs], wanted[ours]);
//! # Ok::<(), drywire::multistream::Error>(())
//! ```
//!
//! # The dialer
//!
//! | state | input | next state | sends |
//! |---|---|---|---|
//! | (start) | names `0..n`, 1 to [`MAX_ROUNDS`] of them | awaiting header | header, name 0 |
//! | awaiting header | header | awaiting answer to name 0 | |
//! | awaiting header | anything else | failed: [`Error::NotMultistream`] | |
//! | awaiting answer to `i` | name `i` | agreed on `i` | |
//! | awaiting answer to `i` | `na`, and `i + 1 < n` | awaiting answer to `i + 1` | name `i + 1` |
//! | awaiting answer to `i` | `na`, and `i + 1 = n` | failed: [`Error::Unsupported`] | |
//! | awaiting answer to `i` | any other line | failed: [`Error::UnexpectedAnswer`] | |
//! | agreed, failed | anything | unchanged, nothing consumed | |
//!
//! # The listener
//!
//! | state | input | next state | sends |
//! |---|---|---|---|
//! | awaiting header | header | awaiting proposal | header |
//! | awaiting header | anything else | failed: [`Error::NotMultistream`] | |
//! | awaiting proposal | supported name | agreed on it | the name |
//! | awaiting proposal | another name | awaiting proposal after a refusal | `na` |
//! | awaiting proposal | `ls`, for the first time | awaiting proposal | at most [`MAX_LISTED`] names |
//! | awaiting proposal | `ls` again | failed: [`Error::TooManyRounds`] | |
//! | awaiting proposal | a line that is no name | failed: [`Error::InvalidProposal`] | |
//! | awaiting proposal after a refusal | a line that is no name, or no line at all | failed: [`Error::Unsupported`] | |
//! | agreed, failed | anything | unchanged, nothing consumed | |
//!
//! In every waiting state a malformed line, more than [`MAX_ROUNDS`] proposals and more than [`MAX_TOTAL_LEN`] bytes
//! fail with the error that names it. A line that has not wholly arrived changes nothing.
//!
//! # Without a round trip
//!
//! A dialer with exactly one name may send the agreed protocol's bytes right behind its proposal, before any answer.
//! The listener cannot tell, and need not. If it refuses, it reads those bytes as a proposal; that is why garbage after
//! a refusal is an ordinary failed negotiation and not a violation. The dialer must give the stream up on
//! [`Error::Unsupported`]: bytes that happen to form a well-formed proposal could otherwise select a second protocol.

mod dialer;
mod line;
mod listener;
mod name;

#[cfg(test)]
mod tests;

pub use dialer::Dialer;
pub use listener::{Listener, Supported};
pub use name::{InvalidName, MAX_NAME_LEN, ProtocolName};

use core::fmt;

/// The longest line in bytes, its newline included, its length prefix not.
///
/// A caller that holds `MAX_LINE_LEN + 2` unread bytes holds a whole line: the machines never ask for more.
pub const MAX_LINE_LEN: usize = 1024;

/// How many proposals (and `ls` requests) one negotiation may take.
pub const MAX_ROUNDS: usize = 64;

/// How many bytes one negotiation may take, both directions together.
pub const MAX_TOTAL_LEN: usize = 64 * 1024;

/// How many names a listener tells to a dialer that asks `ls`.
pub const MAX_LISTED: usize = 128;

/// The longest answer to `ls` in bytes, its length prefix not counted: what the length-delimited reader of
/// rust-libp2p still accepts. Names that would not fit are left out.
const MAX_LIST_LEN: usize = (1 << 14) - 1;

/// What one call of `advance` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<T> {
    /// Bytes of the input that are used up. Give the rest again, with what arrives next, if `outcome` is `None`;
    /// hand it to the agreed protocol otherwise.
    pub consumed: usize,
    /// The agreement, or `None` while more input is needed.
    pub outcome: Option<T>,
}

/// Why a negotiation failed. The first error is final: the machine repeats it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Error {
    /// No common protocol: an honest outcome of a negotiation between well-behaved ends.
    Unsupported,

    /// Violation: the first line was not the header of multistream-select 1.0.
    NotMultistream,
    /// Violation: a line longer than [`MAX_LINE_LEN`] was announced.
    LineTooLong,
    /// Violation: the length of a line was not in its shortest form.
    NonMinimalLength,
    /// Violation: a line did not end with a newline.
    MissingNewline,
    /// Violation: the answer to a proposal was neither that name nor `na`.
    UnexpectedAnswer,
    /// Violation: a proposal was neither a protocol name nor `ls`.
    InvalidProposal,
    /// Violation: more than [`MAX_ROUNDS`] proposals, or more than one request for a list.
    TooManyRounds,
    /// Limit: more than [`MAX_TOTAL_LEN`] bytes in both directions together.
    TooManyBytes,

    /// Misuse: a dialer was started without a name.
    NoNames,
    /// Misuse: a dialer was started with more names than [`MAX_ROUNDS`].
    TooManyNames,
    /// Misuse: a dialer was started with a name that is no [`ProtocolName`].
    InvalidName(InvalidName),
    /// Misuse: a call was given another list of names than the one before.
    NamesChanged,
}

impl Error {
    /// Whether the peer broke the protocol (or a limit on it), as opposed to an honest refusal or own misuse.
    #[must_use]
    pub const fn is_violation(&self) -> bool {
        matches!(
            self,
            Self::NotMultistream
                | Self::LineTooLong
                | Self::NonMinimalLength
                | Self::MissingNewline
                | Self::UnexpectedAnswer
                | Self::InvalidProposal
                | Self::TooManyRounds
                | Self::TooManyBytes
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsupported => "no common protocol",
            Self::NotMultistream => "peer does not speak multistream-select 1.0",
            Self::LineTooLong => "negotiation line is over the limit",
            Self::NonMinimalLength => "negotiation line length is not in its shortest form",
            Self::MissingNewline => "negotiation line does not end with a newline",
            Self::UnexpectedAnswer => "peer answered with a protocol that was not proposed",
            Self::InvalidProposal => "peer proposed something that is not a protocol name",
            Self::TooManyRounds => "negotiation took too many proposals",
            Self::TooManyBytes => "negotiation took too many bytes",
            Self::NoNames => "no protocol to propose",
            Self::TooManyNames => "too many protocols to propose",
            Self::InvalidName(_) => "a protocol to propose has an invalid name",
            Self::NamesChanged => "the list of protocols changed during the negotiation",
        })
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::InvalidName(error) => Some(error),
            _ => None,
        }
    }
}

/// Bytes that a negotiation may still take.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Budget(u32);

impl Budget {
    const fn new() -> Self {
        Self(MAX_TOTAL_LEN as u32)
    }

    fn spend(&mut self, len: usize) -> Result<(), Error> {
        let left = u32::try_from(len)
            .ok()
            .and_then(|len| self.0.checked_sub(len));
        self.0 = left.ok_or(Error::TooManyBytes)?;
        Ok(())
    }
}
