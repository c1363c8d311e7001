//! The end that proposes.

use super::{Budget, Error, MAX_ROUNDS, Progress, line, name};
use alloc::vec::Vec;

/// The end that proposes. The table of its states is in the [module's documentation](super).
///
/// Give the same names to every call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Dialer {
    state: State,
    /// The proposal that awaits its answer, or was agreed on.
    proposal: u8,
    pub(super) budget: Budget,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    AwaitHeader,
    AwaitAnswer,
    Agreed,
    Failed(Error),
}

impl Dialer {
    /// Appends the header and the first proposal to `out`.
    ///
    /// With exactly one name the caller may append bytes of the proposed protocol right behind it, without waiting for
    /// the answer.
    ///
    /// # Errors
    ///
    /// [`Error::NoNames`], [`Error::TooManyNames`], [`Error::InvalidName`]; nothing is appended then.
    pub fn start<N: AsRef<str>>(names: &[N], out: &mut Vec<u8>) -> Result<Self, Error> {
        let first = names.first().ok_or(Error::NoNames)?.as_ref();
        if names.len() > MAX_ROUNDS {
            return Err(Error::TooManyNames);
        }
        for name in names {
            name::validate(name.as_ref()).map_err(Error::InvalidName)?;
        }
        let mut dialer = Self {
            state: State::AwaitHeader,
            proposal: 0,
            budget: Budget::new(),
        };
        dialer.budget.spend(line::HEADER.len())?;
        dialer.budget.spend(line::encoded_len(first))?;
        out.extend_from_slice(line::HEADER);
        line::encode(first, out);
        Ok(dialer)
    }

    /// Takes the lines at the start of `input`; may append the next proposal to `out`. The outcome is the index of the
    /// agreed name.
    ///
    /// # Errors
    ///
    /// [`Error`]; the first one is final. What was appended to `out` before it may still be sent.
    pub fn advance<N: AsRef<str>>(
        &mut self,
        names: &[N],
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Progress<usize>, Error> {
        let mut consumed = 0usize;
        loop {
            let rest = input.get(consumed..).unwrap_or_default();
            match self.step(names, rest, out) {
                Ok(0) => break,
                Ok(used) => consumed = consumed.saturating_add(used),
                Err(error) => {
                    self.state = State::Failed(error);
                    return Err(error);
                }
            }
        }
        Ok(Progress {
            consumed,
            outcome: (self.state == State::Agreed).then_some(usize::from(self.proposal)),
        })
    }

    /// Takes one line; the bytes it took, none if there is no whole line or nothing left to do.
    fn step<N: AsRef<str>>(
        &mut self,
        names: &[N],
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<usize, Error> {
        match self.state {
            State::AwaitHeader => {
                let Some(used) = line::decode_header(input)? else {
                    return Ok(0);
                };
                self.budget.spend(used)?;
                self.state = State::AwaitAnswer;
                Ok(used)
            }
            State::AwaitAnswer => {
                let Some((answer, used)) = line::decode(input)? else {
                    return Ok(0);
                };
                self.budget.spend(used)?;
                let proposed = names
                    .get(usize::from(self.proposal))
                    .ok_or(Error::NamesChanged)?;
                if answer == proposed.as_ref().as_bytes() {
                    self.state = State::Agreed;
                } else if answer == line::NOT_AVAILABLE.as_bytes() {
                    self.propose_next(names, out)?;
                } else {
                    return Err(Error::UnexpectedAnswer);
                }
                Ok(used)
            }
            State::Agreed => Ok(0),
            State::Failed(error) => Err(error),
        }
    }

    fn propose_next<N: AsRef<str>>(&mut self, names: &[N], out: &mut Vec<u8>) -> Result<(), Error> {
        let index = self.proposal.checked_add(1).ok_or(Error::TooManyNames)?;
        let next = names
            .get(usize::from(index))
            .ok_or(Error::Unsupported)?
            .as_ref();
        name::validate(next).map_err(|_| Error::NamesChanged)?;
        self.budget.spend(line::encoded_len(next))?;
        self.proposal = index;
        line::encode(next, out);
        Ok(())
    }
}
