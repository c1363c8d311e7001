//! `/plaintext/2.0.0`: **no security at all**, for simulation and fuzzing only.
//!
//! Both sides say who they are and nobody proves it; nothing is encrypted, and nothing protects against alteration.
//! Whoever accepts this protocol on a real network accepts to talk to anybody under any name. It exists so that
//! simulations of many nodes need no time for ciphers, and fuzzers get past the handshake.
//!
//! Each side at once sends one length-prefixed message `Exchange { id = 1: bytes, pubkey = 2: PublicKey }`
//! ([specification](https://github.com/libp2p/specs/blob/master/plaintext/README.md)); what follows is sent as it is.

use super::{Error, Limit, Misuse, ReceiveCipher, Secured, SendCipher, Violation};
use crate::{
    identity::{PeerId, PublicKey},
    multistream::ProtocolName,
    wire::{
        framing,
        protobuf::{self, Reader, Writer},
    },
};
use alloc::{sync::Arc, vec::Vec};
use core::mem;

/// The name under which this protocol is negotiated.
pub const PROTOCOL: ProtocolName = ProtocolName::from_static("/plaintext/2.0.0");

/// The longest `Exchange` message read.
pub const MAX_EXCHANGE: usize = 4096;

const ID: u32 = 1;
const PUBLIC_KEY: u32 = 2;

/// What a node says about itself. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Local {
    public_key: PublicKey,
    exchange: Arc<[u8]>,
}

impl Local {
    /// A node with this identity key.
    #[must_use]
    pub fn new(public_key: &PublicKey) -> Self {
        let mut message = Vec::new();
        Writer::new(&mut message)
            .bytes(ID, public_key.peer_id().as_bytes())
            .bytes(PUBLIC_KEY, &public_key.to_protobuf());
        let mut exchange = Vec::new();
        framing::encode(&message, &mut exchange);
        Self {
            public_key: public_key.clone(),
            exchange: exchange.into(),
        }
    }

    /// The node's identity key.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public_key
    }
}

/// One connection's exchange of names.
#[derive(Debug)]
pub struct Handshake {
    local: Local,
    sent: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The beginning of the peer's message.
    Waiting(Vec<u8>),
    Finished(PublicKey),
    Failed(Error),
}

impl Handshake {
    /// An exchange; both sides do the same.
    #[must_use]
    pub fn new(local: &Local) -> Self {
        Self {
            local: local.clone(),
            sent: false,
            state: State::Waiting(Vec::new()),
        }
    }

    /// Takes received bytes and appends to `out` what must be sent; returns how many bytes were taken. The first call,
    /// with or without input, appends this side's message.
    ///
    /// # Errors
    /// [`Error`], fatal and the same from then on.
    pub fn advance(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, Error> {
        if !self.sent {
            self.sent = true;
            out.extend_from_slice(&self.local.exchange);
        }
        match self.receive(input) {
            Ok(used) => Ok(used),
            Err(error) => {
                self.state = State::Failed(error.clone());
                Err(error)
            }
        }
    }

    fn receive(&mut self, input: &[u8]) -> Result<usize, Error> {
        let partial = match &mut self.state {
            State::Waiting(partial) => partial,
            State::Finished(_) => return Ok(0),
            State::Failed(error) => return Err(error.clone()),
        };
        let before = partial.len();
        // Never more than a message of the greatest length, so that no more than that is ever held.
        let room = framing::header_len(MAX_EXCHANGE)
            .saturating_add(MAX_EXCHANGE)
            .saturating_sub(before);
        let taken = input.get(..room).unwrap_or(input);
        partial.extend_from_slice(taken);
        let frame = framing::decode(partial, MAX_EXCHANGE).map_err(|error| match error {
            framing::Error::TooLong { .. } => Error::from(Limit::HandshakeMessage),
            _ => Violation::BadLength.into(),
        })?;
        let Some((body, after)) = frame.and_then(|frame| frame.split(partial)) else {
            return Ok(taken.len());
        };
        let used = taken.len().saturating_sub(after.len());
        let public_key = read_exchange(body)?;
        self.state = State::Finished(public_key);
        Ok(used)
    }

    /// Whether nothing is left but [`Handshake::finish`].
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        self.sent && matches!(self.state, State::Finished(_))
    }

    /// The channel, with ciphers that do nothing.
    ///
    /// # Errors
    /// [`Misuse::NotFinished`], or the error that ended the exchange.
    pub fn finish(mut self) -> Result<Secured, Error> {
        match mem::replace(&mut self.state, State::Waiting(Vec::new())) {
            State::Finished(public_key) if self.sent => Ok(Secured {
                peer: public_key.peer_id(),
                public_key,
                muxer: None,
                webtransport_certhashes: Vec::new(),
                send: SendCipher::plaintext(),
                receive: ReceiveCipher::plaintext(),
            }),
            State::Failed(error) => Err(error),
            _ => Err(Misuse::NotFinished.into()),
        }
    }
}

fn read_exchange(message: &[u8]) -> Result<PublicKey, Error> {
    let bad = |_: protobuf::Error| Error::from(Violation::BadPayload);
    let (mut id, mut key) = (&[][..], &[][..]);
    for field in Reader::new(message) {
        let field = field.map_err(bad)?;
        match field.number {
            ID => id = field.as_bytes().map_err(bad)?,
            PUBLIC_KEY => key = field.as_bytes().map_err(bad)?,
            _ => {}
        }
    }
    if id.is_empty() || key.is_empty() {
        return Err(Violation::MissingPayload.into());
    }
    let public_key = PublicKey::from_protobuf(key)?;
    if PeerId::from_bytes(id) != Ok(public_key.peer_id()) {
        return Err(Violation::KeyMismatch.into());
    }
    Ok(public_key)
}

#[cfg(test)]
#[path = "plaintext_tests.rs"]
mod tests;
