//! A peer that speaks the protocols by hand, with sound keys and whatever intentions.

use crate::{pair::Secure, victim::Target};
use drywire::{
    connection::Security,
    identity::{Keypair, PeerId},
    multistream::{Dialer, Listener, ProtocolName},
    mux::yamux::{self, Flags, Header, Kind},
    security::{ReceiveCipher, Role, Secured, SendCipher, noise, plaintext},
    seed::Seed,
};

const YAMUX: ProtocolName = ProtocolName::from_static(yamux::PROTOCOL_NAME);

/// The far end of a secured channel, in the attacker's hands.
#[derive(Debug)]
pub struct Hostile {
    send: SendCipher,
    receive: ReceiveCipher,
    /// Whom it attacks, as proven.
    pub peer: PeerId,
    received: Vec<u8>,
    plain: Vec<u8>,
}

enum Handshake {
    Noise(Box<noise::Handshake>),
    Plaintext(plaintext::Handshake),
}

impl Handshake {
    fn new(secure: Secure, seed: &Seed, role: Role) -> (Self, ProtocolName) {
        match secure.security(seed) {
            Security::Noise(local) => {
                let rng = seed.derive("ephemeral").rng();
                let handshake = noise::Handshake::new(&local, role, &[YAMUX], rng);
                let handshake = handshake.expect("ring works");
                (Self::Noise(Box::new(handshake)), noise::PROTOCOL)
            }
            Security::InsecurePlaintext(local) => (
                Self::Plaintext(plaintext::Handshake::new(&local)),
                plaintext::PROTOCOL,
            ),
            other => unreachable!("{other:?}"),
        }
    }

    fn advance(&mut self, input: &[u8], out: &mut Vec<u8>) -> usize {
        let used = match self {
            Self::Noise(handshake) => handshake.advance(input, out),
            Self::Plaintext(handshake) => handshake.advance(input, out),
        };
        used.expect("an honest handshake")
    }

    fn is_finished(&self) -> bool {
        match self {
            Self::Noise(handshake) => handshake.is_finished(),
            Self::Plaintext(handshake) => handshake.is_finished(),
        }
    }

    fn finish(self) -> Secured {
        let secured = match self {
            Self::Noise(handshake) => handshake.finish(),
            Self::Plaintext(handshake) => handshake.finish(),
        };
        secured.expect("finished")
    }
}

impl Hostile {
    /// The identity that follows from `seed`.
    pub fn identity(seed: u64) -> Keypair {
        let seed = Seed::for_tests(seed).derive("hostile");
        Keypair::ed25519_from_seed(&seed.derive("identity"))
    }

    /// Dials the target, which listens, with the identity that follows from `seed`, up to the point where streams can be
    /// opened.
    ///
    /// # Panics
    ///
    /// If the target does not play its part.
    pub fn dial(target: &mut impl Target, secure: Secure, seed: u64) -> Self {
        let seed = Seed::for_tests(seed).derive("hostile");
        let (mut handshake, name) = Handshake::new(secure, &seed, Role::Initiator);
        let mut out = Vec::new();
        let mut dialer = Dialer::start(std::slice::from_ref(&name), &mut out).expect("one name");
        handshake.advance(&[], &mut out);
        target.input(&out);
        let mut received = target.sent();
        let agreed = dialer
            .advance(&[name], &received, &mut Vec::new())
            .expect("agrees");
        assert_eq!(agreed.outcome, Some(0), "agrees on the security protocol");
        received.drain(..agreed.consumed);
        Self::secure(target, handshake, received, |plain, out| {
            let mut dialer = Dialer::start(&[YAMUX], out).expect("one name");
            let agreed = dialer
                .advance(&[YAMUX], plain, &mut Vec::new())
                .expect("agrees");
            (agreed.outcome.is_some(), agreed.consumed)
        })
    }

    /// Is dialed by the target.
    ///
    /// # Panics
    ///
    /// If the target does not play its part.
    pub fn accept(target: &mut impl Target, secure: Secure, seed: u64) -> Self {
        let seed = Seed::for_tests(seed).derive("hostile");
        let (handshake, name) = Handshake::new(secure, &seed, Role::Responder);
        let (mut received, mut out) = (target.sent(), Vec::new());
        let mut listener = Listener::new();
        loop {
            let progress = listener
                .advance(&[name.clone()][..], &received, &mut out)
                .expect("proposes");
            received.drain(..progress.consumed);
            if progress.outcome.is_some() {
                break;
            }
            assert!(progress.consumed > 0, "proposes the security protocol");
        }
        target.input(&out);
        Self::secure(target, handshake, received, |plain, out| {
            let mut listener = Listener::new();
            let (mut used, mut agreed) = (0, false);
            while !agreed {
                let progress = listener
                    .advance(&[YAMUX][..], &plain[used..], out)
                    .expect("proposes");
                if progress.consumed == 0 {
                    break;
                }
                used += progress.consumed;
                agreed = progress.outcome.is_some();
            }
            (agreed, used)
        })
    }

    /// The handshake, and the muxer if that did not settle it. `negotiate` is called with all plaintext received and
    /// appends what is to be sent; it begins anew each time.
    fn secure(
        target: &mut impl Target,
        mut handshake: Handshake,
        mut received: Vec<u8>,
        negotiate: impl Fn(&[u8], &mut Vec<u8>) -> (bool, usize),
    ) -> Self {
        for _ in 0..4 {
            let mut out = Vec::new();
            let used = handshake.advance(&received, &mut out);
            received.drain(..used);
            target.input(&out);
            received.extend(target.sent());
            if handshake.is_finished() {
                break;
            }
        }
        let Secured {
            send,
            receive,
            peer,
            muxer,
            ..
        } = handshake.finish();
        let mut hostile = Self {
            send,
            receive,
            peer,
            received,
            plain: Vec::new(),
        };
        let mut said = 0;
        for _ in 0..3 {
            if muxer.is_some() {
                break;
            }
            hostile.open(target);
            let mut out = Vec::new();
            let (agreed, used) = negotiate(&hostile.plain, &mut out);
            let fresh = out.split_off(said);
            said += fresh.len();
            if !fresh.is_empty() {
                hostile.send(target, &fresh);
            }
            if agreed {
                hostile.plain.drain(..used);
                break;
            }
        }
        hostile
    }

    /// Encrypts one message.
    ///
    /// # Panics
    ///
    /// If it is longer than a message may be.
    pub fn seal(&mut self, plaintext: &[u8]) -> Vec<u8> {
        let mut message = vec![0, 0];
        message.extend_from_slice(plaintext);
        self.send
            .seal_in_place(&mut message, 0)
            .expect("not too long");
        message
    }

    /// Sends plaintext, in as many messages as it takes.
    pub fn send(&mut self, target: &mut impl Target, plaintext: &[u8]) {
        for piece in plaintext.chunks(SendCipher::MAX_PLAINTEXT) {
            let message = self.seal(piece);
            target.input(&message);
        }
    }

    fn open(&mut self, target: &mut impl Target) {
        self.received.extend(target.sent());
        while let Some(range) = self
            .receive
            .next_message(&self.received)
            .expect("sound messages")
        {
            let end = range.end;
            let message = &mut self.received[range];
            let length = self.receive.open_in_place(message).expect("sound messages");
            self.plain.extend_from_slice(&message[..length]);
            self.received.drain(..end);
        }
    }

    /// The whole frames the target has sent since the last time.
    ///
    /// # Panics
    ///
    /// If what it sent is not sound.
    pub fn frames(&mut self, target: &mut impl Target) -> Vec<(Header, Vec<u8>)> {
        self.open(target);
        let mut frames = Vec::new();
        while let Some((head, rest)) = self.plain.split_first_chunk::<{ Header::LEN }>() {
            let header = Header::decode(*head).expect("a sound header");
            let length = match header.kind {
                Kind::Data => header.length as usize,
                _ => 0,
            };
            let Some(payload) = rest.get(..length) else {
                break;
            };
            frames.push((header, payload.to_vec()));
            self.plain.drain(..Header::LEN + length);
        }
        frames
    }

    /// Everything the target has sent on one stream since the last time, other frames dropped.
    pub fn data(&mut self, target: &mut impl Target, stream: u32) -> Vec<u8> {
        self.frames(target)
            .into_iter()
            .filter(|(header, _)| header.stream == stream && header.kind == Kind::Data)
            .flat_map(|(_, payload)| payload)
            .collect()
    }
}

/// A data frame.
pub fn data(flags: Flags, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short");
    let mut frame = header(Kind::Data, flags, stream, length);
    frame.extend_from_slice(payload);
    frame
}

/// A window update.
pub fn window(flags: Flags, stream: u32, credit: u32) -> Vec<u8> {
    header(Kind::WindowUpdate, flags, stream, credit)
}

/// A ping request.
pub fn ping(value: u32) -> Vec<u8> {
    header(Kind::Ping, Flags::SYN, 0, value)
}

/// A GoAway.
pub fn go_away(code: u32) -> Vec<u8> {
    header(Kind::GoAway, Flags::NONE, 0, code)
}

/// Any header.
pub fn header(kind: Kind, flags: Flags, stream: u32, length: u32) -> Vec<u8> {
    let header = Header {
        kind,
        flags,
        stream,
        length,
    };
    header.encode().to_vec()
}

/// What a dialer says to have a stream's protocol.
///
/// # Panics
///
/// If that is not a valid name.
pub fn propose(name: &'static str) -> Vec<u8> {
    let mut out = Vec::new();
    Dialer::start(&[ProtocolName::from_static(name)], &mut out).expect("valid");
    out
}
