//! `/noise`: the handshake `Noise_XX_25519_ChaChaPoly_SHA256` with libp2p's proof of identity, and the keys for what
//! follows ([specification](https://github.com/libp2p/specs/blob/master/noise/README.md)).
//!
//! Every message, of the handshake and after it, has its length in front: two bytes, big-endian.
//!
//! | message | from | holds |
//! |---|---|---|
//! | 1 | initiator | its ephemeral key; nothing else is allowed here |
//! | 2 | responder | its ephemeral key; encrypted: its static key and its payload |
//! | 3 | initiator | encrypted: its static key and its payload |
//!
//! A payload holds the identity key, its signature over the static key, and extensions. This side sends the names of its
//! muxers in them (`stream_muxers`); if the peer does too, the muxer is agreed on without another round trip: the first
//! of the initiator's that the responder has
//! ([inlined muxer negotiation](https://github.com/libp2p/specs/blob/master/connections/inlined-muxer-negotiation.md)).
//!
//! What costs time is done once per node, in [`Local::new`]: making the static key and signing it. A handshake costs
//! each side one key generation, three Diffie-Hellman computations and one verification.
//!
//! ```
//! # #[cfg(feature = "ring")] {
//! use drywire::crypto::Provider;
//! use drywire::identity::Keypair;
//! use drywire::multistream::ProtocolName;
//! use drywire::security::{Error, Role, noise::{Handshake, Local}};
//! use drywire::seed::Seed;
//!
//! // Each node, once. Real seeds come from the operating system.
//! let node = |number| {
//!     let seed = Seed::for_tests(number);
//!     Local::new(Provider::ring(), &Keypair::ed25519_from_seed(&seed), &seed)
//! };
//! let muxers = [ProtocolName::from_static("/yamux/1.0.0")];
//! // Each connection. A node draws every connection's seed anew.
//! let mut dialer = Handshake::new(&node(1)?, Role::Initiator, &muxers, Seed::for_tests(3).rng())?;
//! let mut listener = Handshake::new(&node(2)?, Role::Responder, &muxers, Seed::for_tests(4).rng())?;
//!
//! let (mut to_listener, mut to_dialer) = (Vec::new(), Vec::new());
//! while !(dialer.is_finished() && listener.is_finished()) {
//!     let used = dialer.advance(&to_dialer, &mut to_listener)?;
//!     to_dialer.drain(..used);
//!     let used = listener.advance(&to_listener, &mut to_dialer)?;
//!     to_listener.drain(..used);
//! }
//! let (mut dialer, mut listener) = (dialer.finish()?, listener.finish()?);
//! assert_eq!(dialer.muxer.as_ref(), Some(&muxers[0]));
//!
//! let mut pipe = vec![0, 0];
//! pipe.extend_from_slice(b"hello");
//! dialer.send.seal_in_place(&mut pipe, 0)?;
//! let message = listener.receive.next_message(&pipe)?.unwrap();
//! let message = &mut pipe[message];
//! let length = listener.receive.open_in_place(message)?;
//! assert_eq!(&message[..length], b"hello");
//! # }
//! # Ok::<(), drywire::security::Error>(())
//! ```

mod payload;
mod resolver;
#[cfg(test)]
#[cfg(any(feature = "ring", feature = "aws-lc-rs", feature = "rustcrypto"))]
mod tests;

use super::{Error, Limit, Misuse, ReceiveCipher, Role, Secured, SendCipher, Violation};
use crate::{
    crypto::{self, Provider, X25519Secret},
    identity::{Keypair, PublicKey},
    multistream::ProtocolName,
    seed::{Rng, Seed},
};
use alloc::{boxed::Box, sync::Arc, vec, vec::Vec};
use core::{cell::Cell, fmt, mem};
use payload::Payload;
use rand_core::Rng as _;
use resolver::Resolver;
use snow::HandshakeState;
use zeroize::Zeroizing;

/// The name under which this protocol is negotiated.
pub const PROTOCOL: ProtocolName = ProtocolName::from_static("/noise");

/// The longest payload read or written. An RSA key of 8192 bits with its signature takes 2.1 KiB of it.
pub const MAX_PAYLOAD: usize = 4096;
/// The most WebTransport certificate hashes a peer may name.
pub const MAX_CERTHASHES: usize = 16;
/// The longest WebTransport certificate hash, in bytes.
pub const MAX_CERTHASH_LEN: usize = 128;

const PATTERN: &str = "Noise_XX_25519_ChaChaPoly_SHA256";
const KEY_LEN: usize = 32;
const TAG_LEN: usize = 16;

/// What a node's handshakes have in common: its static key, signed by its identity key. Cloning shares it.
#[derive(Clone)]
pub struct Local(Arc<Inner>);

struct Inner {
    provider: Provider,
    public_key: PublicKey,
    static_key: Arc<X25519Secret>,
    /// What it was made from.
    #[cfg(feature = "recording")]
    secret: Zeroizing<[u8; KEY_LEN]>,
    /// The beginning of the payload, which proves the identity.
    identity: Vec<u8>,
}

impl Local {
    /// Draws the static key from `seed` and signs it with `identity`.
    ///
    /// # Errors
    /// [`Error::Backend`].
    pub fn new(provider: Provider, identity: &Keypair, seed: &Seed) -> Result<Self, Error> {
        let mut secret = Zeroizing::new([0; KEY_LEN]);
        seed.derive("noise static key")
            .rng()
            .fill_bytes(secret.as_mut_slice());
        let static_key = provider.x25519(*secret).map_err(|_| Error::Backend)?;
        let signature = identity.sign(&payload::to_sign(static_key.public()));
        let public_key = identity.public();
        let mut proof = Vec::new();
        payload::write_identity(&public_key, &signature, &mut proof);
        Ok(Self(Arc::new(Inner {
            provider,
            public_key,
            static_key: Arc::new(static_key),
            #[cfg(feature = "recording")]
            secret,
            identity: proof,
        })))
    }

    /// What [`from_parts`](Self::from_parts) takes beside the identity key: the secret of the static key, and the beginning of
    /// the payload.
    #[cfg(feature = "recording")]
    pub(crate) fn parts(&self) -> ([u8; KEY_LEN], &[u8]) {
        (*self.0.secret, &self.0.identity)
    }

    /// One of another run, with the default backend.
    #[cfg(feature = "recording")]
    pub(crate) fn from_parts(
        public_key: PublicKey,
        secret: [u8; KEY_LEN],
        identity: Vec<u8>,
    ) -> Result<Self, Error> {
        let provider = *Provider::AVAILABLE.first().ok_or(Error::Backend)?;
        let static_key = provider.x25519(secret).map_err(|_| Error::Backend)?;
        Ok(Self(Arc::new(Inner {
            provider,
            public_key,
            static_key: Arc::new(static_key),
            secret: Zeroizing::new(secret),
            identity,
        })))
    }

    /// The node's identity key.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.0.public_key
    }

    /// The backend all this is computed with.
    #[must_use]
    pub fn provider(&self) -> Provider {
        self.0.provider
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local")
            .field("provider", &self.0.provider)
            .field("public_key", &self.0.public_key)
            .finish_non_exhaustive()
    }
}

/// One connection's handshake. Takes at most 16 KiB of memory, whatever the peer sends.
pub struct Handshake {
    local: Local,
    role: Role,
    muxers: Box<[ProtocolName]>,
    state: Box<HandshakeState>,
    step: Step,
    /// The beginning of a message, with its length.
    partial: Vec<u8>,
}

enum Step {
    /// The initiator has not yet sent message 1.
    Start,
    /// Waiting for message 1, 2 or 3.
    Receive1,
    Receive2,
    Receive3,
    Finished(Remote),
    Failed(Error),
}

/// What the peer proved and said.
struct Remote {
    public_key: PublicKey,
    muxer: Option<ProtocolName>,
    webtransport_certhashes: Vec<Box<[u8]>>,
}

impl Handshake {
    /// A handshake that offers `muxers`, the preferred one first; with none of them the extension is not sent. `rng` must
    /// be fresh for each handshake: the ephemeral key is drawn from it.
    ///
    /// # Errors
    /// [`Misuse::TooManyMuxers`] if their names do not fit in [`MAX_PAYLOAD`]; [`Error::Backend`].
    pub fn new(
        local: &Local,
        role: Role,
        muxers: &[ProtocolName],
        rng: Rng,
    ) -> Result<Self, Error> {
        if write_payload(local, muxers).len() > MAX_PAYLOAD {
            return Err(Misuse::TooManyMuxers.into());
        }
        let resolver = Resolver {
            provider: local.0.provider,
            static_key: Arc::clone(&local.0.static_key),
            rng: Cell::new(Some(rng)),
        };
        let params = PATTERN.parse().map_err(|_| Error::Backend)?;
        // Not the key: the resolver has that. This only says that there is one.
        let state = snow::Builder::with_resolver(params, Box::new(resolver))
            .local_private_key(&[])
            .and_then(|builder| match role {
                Role::Initiator => builder.build_initiator(),
                Role::Responder => builder.build_responder(),
            })
            .map_err(|_| Error::Backend)?;
        Ok(Self {
            local: local.clone(),
            role,
            muxers: muxers.into(),
            state: Box::new(state),
            step: match role {
                Role::Initiator => Step::Start,
                Role::Responder => Step::Receive1,
            },
            partial: Vec::new(),
        })
    }

    /// Takes received bytes and appends to `out` what must be sent; returns how many bytes were taken. The initiator's
    /// first call, with or without input, appends its first message.
    ///
    /// All of `input` is taken, except what follows the end of the handshake: that belongs to the channel.
    ///
    /// # Errors
    /// [`Error`], fatal and the same from then on. What was appended before the error stays.
    pub fn advance(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, Error> {
        self.run(input, out).inspect_err(|error| {
            self.partial = Vec::new();
            self.step = Step::Failed(error.clone());
        })
    }

    /// Whether nothing is left but [`Handshake::finish`].
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        matches!(self.step, Step::Finished(_))
    }

    /// The channel.
    ///
    /// # Errors
    /// [`Misuse::NotFinished`], or the error that ended the handshake; [`Error::Backend`].
    pub fn finish(mut self) -> Result<Secured, Error> {
        let remote = match self.step {
            Step::Finished(remote) => remote,
            Step::Failed(error) => return Err(error),
            _ => return Err(Misuse::NotFinished.into()),
        };
        let (from_initiator, from_responder) = self.state.dangerously_get_raw_split();
        let from_initiator = Zeroizing::new(from_initiator);
        let from_responder = Zeroizing::new(from_responder);
        let (send, receive) = match self.role {
            Role::Initiator => (from_initiator, from_responder),
            Role::Responder => (from_responder, from_initiator),
        };
        let key = |bytes| {
            self.local
                .0
                .provider
                .aead_key(bytes)
                .map_err(|_| Error::Backend)
        };
        Ok(Secured {
            peer: remote.public_key.peer_id(),
            public_key: remote.public_key,
            muxer: remote.muxer,
            webtransport_certhashes: remote.webtransport_certhashes,
            send: SendCipher::noise(key(&send)?),
            receive: ReceiveCipher::noise(key(&receive)?),
        })
    }

    fn run(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, Error> {
        if let Step::Failed(error) = &self.step {
            return Err(error.clone());
        }
        if matches!(self.step, Step::Start) {
            self.send(&[], out)?;
            self.step = Step::Receive2;
        }
        let mut rest = input;
        while !self.is_finished() {
            let (missing, known) = self.missing(rest)?;
            let Some((bytes, after)) = rest.split_at_checked(missing) else {
                self.partial.extend_from_slice(rest);
                rest = &[];
                break;
            };
            rest = after;
            if !known {
                self.partial.extend_from_slice(bytes);
            } else if self.partial.is_empty() {
                self.receive(bytes.get(LENGTH_LEN..).unwrap_or_default(), out)?;
            } else {
                let mut whole = mem::take(&mut self.partial);
                whole.extend_from_slice(bytes);
                self.receive(whole.get(LENGTH_LEN..).unwrap_or_default(), out)?;
            }
        }
        Ok(input.len().saturating_sub(rest.len()))
    }

    /// How many bytes of `rest` are missing to complete the message, or only, with `false`, to know its length.
    fn missing(&self, rest: &[u8]) -> Result<(usize, bool), Error> {
        let start = if self.partial.is_empty() {
            rest
        } else {
            &self.partial
        };
        let Some(length) = start.first_chunk::<LENGTH_LEN>() else {
            return Ok((LENGTH_LEN.saturating_sub(self.partial.len()), false));
        };
        let length = usize::from(u16::from_be_bytes(*length));
        let (shortest, longest) = match self.step {
            Step::Receive1 => (KEY_LEN, KEY_LEN),
            Step::Receive2 => (MESSAGE_2, MESSAGE_2.saturating_add(MAX_PAYLOAD)),
            _ => (MESSAGE_3, MESSAGE_3.saturating_add(MAX_PAYLOAD)),
        };
        if length < shortest || (length > longest && shortest == longest) {
            return Err(Violation::BadLength.into());
        }
        if length > longest {
            return Err(Limit::HandshakeMessage.into());
        }
        let whole = LENGTH_LEN.saturating_add(length);
        Ok((whole.saturating_sub(self.partial.len()), true))
    }

    /// Handles one whole message.
    fn receive(&mut self, message: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        // In messages 1 and 2 the ephemeral key stands in the clear. The static keys meet the same check inside.
        let ephemeral = !matches!(self.step, Step::Receive3);
        if ephemeral && message.first_chunk().is_some_and(crypto::is_low_order) {
            return Err(Violation::LowOrderKey.into());
        }
        let mut payload = vec![0; message.len()];
        let length = self
            .state
            .read_message(message, &mut payload)
            .map_err(read_error)?;
        payload.truncate(length);
        self.step = match self.step {
            Step::Receive1 => {
                self.send(&write_payload(&self.local, &self.muxers), out)?;
                Step::Receive3
            }
            Step::Receive2 => {
                let remote = self.authenticate(&payload)?;
                self.send(&write_payload(&self.local, &self.muxers), out)?;
                Step::Finished(remote)
            }
            _ => Step::Finished(self.authenticate(&payload)?),
        };
        Ok(())
    }

    /// Appends the next message.
    fn send(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let start = out.len();
        // The longest there is, and a tag's length more: snow asks for that room even where no tag comes.
        let room = MESSAGE_2
            .saturating_add(payload.len())
            .saturating_add(TAG_LEN);
        out.resize(start.saturating_add(LENGTH_LEN).saturating_add(room), 0);
        let written = out
            .get_mut(start..)
            .and_then(|out| out.split_first_chunk_mut::<LENGTH_LEN>())
            .ok_or(Error::Backend)
            .and_then(|(length, message)| {
                let written = self
                    .state
                    .write_message(payload, message)
                    .map_err(write_error)?;
                *length = u16::try_from(written)
                    .map_err(|_| Error::Backend)?
                    .to_be_bytes();
                Ok(LENGTH_LEN.saturating_add(written))
            });
        out.truncate(start.saturating_add(*written.as_ref().unwrap_or(&0)));
        written.map(|_| ())
    }

    /// Checks that the owner of the identity key vouches for the static key, before anything else in the payload counts.
    fn authenticate(&self, payload: &[u8]) -> Result<Remote, Error> {
        let payload = Payload::read(payload)?;
        let public_key = PublicKey::from_protobuf(payload.identity_key)?;
        let static_key = self
            .state
            .get_remote_static()
            .and_then(|key| key.first_chunk())
            .ok_or(Error::Backend)?;
        let signed = payload::to_sign(static_key);
        let valid = match public_key.ed25519_bytes() {
            Some(key) => self
                .local
                .0
                .provider
                .ed25519_verify(key, &signed, payload.identity_sig)
                .is_ok(),
            None => public_key.verify(&signed, payload.identity_sig).is_ok(),
        };
        if !valid {
            return Err(Violation::BadSignature.into());
        }
        Ok(Remote {
            muxer: payload.agree_on_muxer(self.role, &self.muxers)?,
            webtransport_certhashes: payload.certhashes()?,
            public_key,
        })
    }
}

const LENGTH_LEN: usize = 2;
/// Message 2 without its payload: ephemeral key, static key with a tag, tag of the payload.
const MESSAGE_2: usize = 2 * KEY_LEN + 2 * TAG_LEN;
/// Message 3 without its payload: static key with a tag, tag of the payload.
const MESSAGE_3: usize = KEY_LEN + 2 * TAG_LEN;

fn write_payload(local: &Local, muxers: &[ProtocolName]) -> Vec<u8> {
    let mut payload = local.0.identity.clone();
    payload::write_extensions(muxers, &mut payload);
    payload
}

fn read_error(error: snow::Error) -> Error {
    match error {
        snow::Error::Decrypt => Violation::DecryptFailed.into(),
        snow::Error::Dh => Violation::LowOrderKey.into(),
        snow::Error::Input => Violation::BadLength.into(),
        _ => Error::Backend,
    }
}

/// While writing, too, keys meet: the one the peer sent last.
fn write_error(error: snow::Error) -> Error {
    match error {
        snow::Error::Dh => Violation::LowOrderKey.into(),
        _ => Error::Backend,
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake")
            .field("role", &self.role)
            .field("finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}
