//! The end that chooses.

use super::{Budget, Error, MAX_LIST_LEN, MAX_LISTED, MAX_ROUNDS, Progress, line, name};
use crate::wire::framing;
use alloc::vec::Vec;

/// The names a [`Listener`] supports. Implemented for slices, arrays and vectors of text, which are searched in order;
/// a table with many names would rather bring an index of its own.
///
/// Between calls of one [`Listener`] the set may change; the index of an agreed name must stay meaningful.
pub trait Supported {
    /// The index of `name`, if it is supported.
    fn find(&self, name: &str) -> Option<usize>;

    /// How many names there are to list.
    fn count(&self) -> usize;

    /// The name to list at `index`, below [`Self::count`]. Those that are no [`ProtocolName`](super::ProtocolName), and
    /// those one would rather not tell (`None`), are not listed.
    fn name(&self, index: usize) -> Option<&str>;
}

impl<N: AsRef<str>> Supported for [N] {
    fn find(&self, name: &str) -> Option<usize> {
        self.iter().position(|supported| supported.as_ref() == name)
    }

    fn count(&self) -> usize {
        self.len()
    }

    fn name(&self, index: usize) -> Option<&str> {
        self.get(index).map(AsRef::as_ref)
    }
}

impl<N: AsRef<str>, const LEN: usize> Supported for [N; LEN] {
    fn find(&self, name: &str) -> Option<usize> {
        self.as_slice().find(name)
    }

    fn count(&self) -> usize {
        LEN
    }

    fn name(&self, index: usize) -> Option<&str> {
        self.as_slice().name(index)
    }
}

impl<N: AsRef<str>> Supported for Vec<N> {
    fn find(&self, name: &str) -> Option<usize> {
        self.as_slice().find(name)
    }

    fn count(&self) -> usize {
        self.len()
    }

    fn name(&self, index: usize) -> Option<&str> {
        self.as_slice().name(index)
    }
}

/// The end that chooses. The table of its states is in the [module's documentation](super).
///
/// It answers the header as soon as it sees it; header and first proposal in the same input are answered in the same
/// output.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Listener {
    state: State,
    /// Proposals and list requests taken.
    rounds: u8,
    /// Whether the last answer was a refusal.
    refused: bool,
    /// Whether the names were listed. Once is enough to know them; more would be a cheap way to have much sent.
    listed: bool,
    pub(super) budget: Budget,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    AwaitHeader,
    AwaitProposal,
    Agreed(u32),
    Failed(Error),
}

impl Default for Listener {
    fn default() -> Self {
        Self::new()
    }
}

impl Listener {
    /// A listener that has seen nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: State::AwaitHeader,
            rounds: 0,
            refused: false,
            listed: false,
            budget: Budget::new(),
        }
    }

    /// Takes the lines at the start of `input` and appends the answers to `out`. The outcome is what
    /// [`Supported::find`] gave for the agreed name.
    ///
    /// # Errors
    ///
    /// [`Error`]; the first one is final. What was appended to `out` before it may still be sent.
    pub fn advance<S: Supported + ?Sized>(
        &mut self,
        supported: &S,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Progress<usize>, Error> {
        let mut consumed = 0usize;
        loop {
            let rest = input.get(consumed..).unwrap_or_default();
            match self.step(supported, rest, out) {
                Ok(0) => break,
                Ok(used) => consumed = consumed.saturating_add(used),
                Err(error) => {
                    let error = self.blame(error);
                    self.state = State::Failed(error);
                    return Err(error);
                }
            }
        }
        let outcome = match self.state {
            State::Agreed(index) => Some(index as usize),
            _ => None,
        };
        Ok(Progress { consumed, outcome })
    }

    /// What is read after a refusal may be bytes of the refused protocol, sent before the answer came. That they are
    /// no proposal is not the peer's fault.
    const fn blame(&self, error: Error) -> Error {
        match error {
            Error::LineTooLong
            | Error::NonMinimalLength
            | Error::MissingNewline
            | Error::InvalidProposal
                if self.refused =>
            {
                Error::Unsupported
            }
            error => error,
        }
    }

    /// Takes one line; the bytes it took, none if there is no whole line or nothing left to do.
    fn step<S: Supported + ?Sized>(
        &mut self,
        supported: &S,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<usize, Error> {
        match self.state {
            State::AwaitHeader => {
                let Some(used) = line::decode_header(input)? else {
                    return Ok(0);
                };
                self.budget.spend(used)?;
                self.budget.spend(line::HEADER.len())?;
                out.extend_from_slice(line::HEADER);
                self.state = State::AwaitProposal;
                Ok(used)
            }
            State::AwaitProposal => {
                let Some((proposal, used)) = line::decode(input)? else {
                    return Ok(0);
                };
                self.budget.spend(used)?;
                self.answer(supported, proposal, out)?;
                Ok(used)
            }
            State::Agreed(_) => Ok(0),
            State::Failed(error) => Err(error),
        }
    }

    fn answer<S: Supported + ?Sized>(
        &mut self,
        supported: &S,
        proposal: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let proposal = core::str::from_utf8(proposal).map_err(|_| Error::InvalidProposal)?;
        let is_list = proposal == line::LIST;
        if !is_list && name::validate(proposal).is_err() {
            return Err(Error::InvalidProposal);
        }
        if usize::from(self.rounds) >= MAX_ROUNDS || (is_list && self.listed) {
            return Err(Error::TooManyRounds);
        }
        self.rounds = self.rounds.saturating_add(1);
        if is_list {
            (self.refused, self.listed) = (false, true);
            return self.list(supported, out);
        }
        let answer = match supported.find(proposal) {
            Some(index) => {
                self.state = State::Agreed(u32::try_from(index).map_err(|_| Error::TooManyNames)?);
                proposal
            }
            None => line::NOT_AVAILABLE,
        };
        self.refused = self.state == State::AwaitProposal;
        self.budget.spend(line::encoded_len(answer))?;
        line::encode(answer, out);
        Ok(())
    }

    /// Appends one message that holds the names as lines, and a newline of its own.
    fn list<S: Supported + ?Sized>(
        &mut self,
        supported: &S,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let names = || {
            let mut len = 1usize;
            (0..supported.count())
                .filter_map(|index| supported.name(index))
                .filter(|name| name::validate(name).is_ok())
                .take(MAX_LISTED)
                .take_while(move |name| {
                    len = len.saturating_add(line::encoded_len(name));
                    len <= MAX_LIST_LEN
                })
        };
        let body_len = names()
            .map(line::encoded_len)
            .fold(1, |sum: usize, len| sum.saturating_add(len));
        self.budget
            .spend(framing::header_len(body_len).saturating_add(body_len))?;
        framing::encode_header(body_len, out);
        for name in names() {
            line::encode(name, out);
        }
        out.push(b'\n');
        Ok(())
    }
}
