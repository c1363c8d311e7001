//! From a bare pipe to an authenticated, multiplexed one.
//!
//! | state | waits for | then |
//! |---|---|---|
//! | `Negotiating` | the listener: a proposal of the security protocol | `Securing` |
//! | `Securing` | the rest of the handshake; the dialer first skips the answer to its optimistic proposal | `Multiplexing`, or `AwaitingAdmission` if the handshake agreed on the muxer |
//! | `Multiplexing` | the answer to, or the proposal of, the muxer, inside the channel | `AwaitingAdmission` (the dialer is there at once: its proposal is optimistic) |
//! | `AwaitingAdmission` | `Admit` or `Refuse` from the swarm | established, or closing |
//!
//! One deadline covers it all. The dialer sends the header, its only proposal and the first handshake message together, and
//! its last handshake message together with the first stream: the round trips are those of the handshake itself.

use super::{
    ConnectionError,
    config::{Direction, Security},
};
use crate::{
    multistream::{self, Dialer, Listener, ProtocolName},
    mux::yamux,
    security::{self, Secured, noise, plaintext},
    seed::Seed,
};
use alloc::{boxed::Box, vec::Vec};

pub(super) const YAMUX: ProtocolName = ProtocolName::from_static(yamux::PROTOCOL_NAME);

/// A connection on its way up.
#[derive(Debug)]
pub(super) struct Upgrade {
    direction: Direction,
    state: State,
    security: Security,
    seed: Seed,
}

#[derive(Debug)]
enum State {
    Negotiating(Listener),
    Securing {
        proposal: Option<Dialer>,
        handshake: Handshake,
    },
    Failed,
}

#[derive(Debug)]
enum Handshake {
    Noise(Box<noise::Handshake>),
    Plaintext(Box<plaintext::Handshake>),
}

impl Handshake {
    fn new(
        security: &Security,
        direction: Direction,
        seed: &Seed,
    ) -> Result<Self, security::Error> {
        let role = match direction {
            Direction::Outbound => security::Role::Initiator,
            Direction::Inbound => security::Role::Responder,
        };
        Ok(match security {
            Security::Noise(local) => {
                let handshake =
                    noise::Handshake::new(local, role, &[YAMUX], seed.derive("noise").rng())?;
                Self::Noise(Box::new(handshake))
            }
            Security::InsecurePlaintext(local) => {
                Self::Plaintext(Box::new(plaintext::Handshake::new(local)))
            }
        })
    }

    fn advance(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, security::Error> {
        match self {
            Self::Noise(handshake) => handshake.advance(input, out),
            Self::Plaintext(handshake) => handshake.advance(input, out),
        }
    }

    fn is_finished(&self) -> bool {
        match self {
            Self::Noise(handshake) => handshake.is_finished(),
            Self::Plaintext(handshake) => handshake.is_finished(),
        }
    }

    fn finish(self) -> Result<Secured, security::Error> {
        match self {
            Self::Noise(handshake) => handshake.finish(),
            Self::Plaintext(handshake) => handshake.finish(),
        }
    }
}

/// What one step of the upgrade did.
#[derive(Debug)]
pub(super) enum Step {
    /// So many bytes of the input were used.
    Consumed(usize),
    /// The channel is secured; so many bytes of the input were used.
    Secured(usize, Box<Secured>),
}

impl Upgrade {
    /// Begins; the dialer's first bytes are appended to `out`.
    pub(super) fn start(
        direction: Direction,
        security: Security,
        seed: Seed,
        out: &mut Vec<u8>,
    ) -> Result<Self, ConnectionError> {
        let state = match direction {
            Direction::Inbound => State::Negotiating(Listener::new()),
            Direction::Outbound => {
                let proposal = Dialer::start(&[name_of(&security)], out)
                    .map_err(ConnectionError::Negotiation)?;
                let handshake = Handshake::new(&security, direction, &seed);
                let mut handshake = handshake.map_err(ConnectionError::Security)?;
                handshake
                    .advance(&[], out)
                    .map_err(ConnectionError::Security)?;
                State::Securing {
                    proposal: Some(proposal),
                    handshake,
                }
            }
        };
        Ok(Self {
            direction,
            state,
            security,
            seed,
        })
    }

    /// Takes what it can of `input`; call again until nothing is consumed.
    pub(super) fn advance(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Step, ConnectionError> {
        let names = [name_of(&self.security)];
        match &mut self.state {
            State::Negotiating(listener) => {
                let progress = listener
                    .advance(&names[..], input, out)
                    .map_err(ConnectionError::Negotiation)?;
                if progress.outcome.is_some() {
                    let handshake = Handshake::new(&self.security, self.direction, &self.seed);
                    let handshake = handshake.map_err(ConnectionError::Security)?;
                    self.state = State::Securing {
                        proposal: None,
                        handshake,
                    };
                }
                Ok(Step::Consumed(progress.consumed))
            }
            State::Securing {
                proposal: Some(dialer),
                ..
            } => {
                let progress = dialer
                    .advance(&names, input, out)
                    .map_err(ConnectionError::Negotiation)?;
                if progress.outcome.is_some()
                    && let State::Securing { proposal, .. } = &mut self.state
                {
                    *proposal = None;
                }
                Ok(Step::Consumed(progress.consumed))
            }
            State::Securing {
                proposal: None,
                handshake,
            } => {
                let consumed = handshake
                    .advance(input, out)
                    .map_err(ConnectionError::Security)?;
                if !handshake.is_finished() {
                    return Ok(Step::Consumed(consumed));
                }
                let State::Securing { handshake, .. } =
                    core::mem::replace(&mut self.state, State::Failed)
                else {
                    return Err(ConnectionError::EndOfInput);
                };
                let secured = handshake.finish().map_err(ConnectionError::Security)?;
                Ok(Step::Secured(consumed, Box::new(secured)))
            }
            State::Failed => Err(ConnectionError::EndOfInput),
        }
    }
}

fn name_of(security: &Security) -> ProtocolName {
    match security {
        Security::Noise(_) => noise::PROTOCOL,
        Security::InsecurePlaintext(_) => plaintext::PROTOCOL,
    }
}

/// Agreeing on the muxer inside the channel, with a peer whose handshake did not settle it.
#[derive(Debug)]
pub(super) struct MuxNegotiation {
    machine: MuxMachine,
    /// Plaintext not yet used: part of a line, then the muxer's first bytes.
    input: Vec<u8>,
}

#[derive(Debug)]
enum MuxMachine {
    Dialing(Dialer),
    Listening(Listener),
    Agreed,
}

impl MuxNegotiation {
    pub(super) fn start(
        direction: Direction,
        out: &mut Vec<u8>,
    ) -> Result<Self, multistream::Error> {
        let machine = match direction {
            Direction::Outbound => MuxMachine::Dialing(Dialer::start(&[YAMUX], out)?),
            Direction::Inbound => MuxMachine::Listening(Listener::new()),
        };
        Ok(Self {
            machine,
            input: Vec::new(),
        })
    }

    /// Takes plaintext; true once the muxer is agreed, and then [`into_rest`](Self::into_rest) is the muxer's.
    pub(super) fn advance(
        &mut self,
        plaintext: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<bool, multistream::Error> {
        self.input.extend_from_slice(plaintext);
        let progress = match &mut self.machine {
            MuxMachine::Dialing(dialer) => dialer.advance(&[YAMUX], &self.input, out)?,
            MuxMachine::Listening(listener) => listener.advance(&[YAMUX][..], &self.input, out)?,
            MuxMachine::Agreed => return Ok(true),
        };
        self.input.drain(..progress.consumed.min(self.input.len()));
        if progress.outcome.is_some() {
            self.machine = MuxMachine::Agreed;
        }
        Ok(progress.outcome.is_some())
    }

    /// What came behind the agreement.
    pub(super) fn into_rest(self) -> Vec<u8> {
        self.input
    }
}
