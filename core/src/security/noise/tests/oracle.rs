//! A peer made of snow with its own primitives, which says whatever a test wants it to.

use super::*;
use crate::wire::protobuf::Writer;
use rand_core::Rng;
use snow::{params, resolvers::DefaultResolver, types};

pub(super) struct Oracle {
    pub(super) state: HandshakeState,
    pub(super) static_key: [u8; 32],
}

/// snow's own primitives; a seeded generator; and, if wanted, a static key of the test's choice.
struct OracleResolver {
    fake_static: Option<[u8; 32]>,
}

struct Fake {
    inner: Box<dyn types::Dh>,
    fake: Option<[u8; 32]>,
    is_static: bool,
}

impl types::Dh for Fake {
    fn name(&self) -> &'static str {
        self.inner.name()
    }
    fn pub_len(&self) -> usize {
        32
    }
    fn priv_len(&self) -> usize {
        32
    }
    fn set(&mut self, key: &[u8]) {
        self.is_static = true;
        self.inner.set(key);
    }
    fn generate(&mut self, rng: &mut dyn types::Random) -> Result<(), snow::Error> {
        self.inner.generate(rng)
    }
    fn pubkey(&self) -> &[u8] {
        match &self.fake {
            Some(fake) if self.is_static => fake,
            _ => self.inner.pubkey(),
        }
    }
    fn privkey(&self) -> &[u8] {
        self.inner.privkey()
    }
    fn dh(&self, theirs: &[u8], out: &mut [u8]) -> Result<(), snow::Error> {
        if self.fake.is_some() && self.is_static {
            out.fill(0); // what the other side gets with a key of small order
            return Ok(());
        }
        self.inner.dh(theirs, out)
    }
}

struct Seeded(crate::seed::Rng);

impl types::Random for Seeded {
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), snow::Error> {
        self.0.fill_bytes(out);
        Ok(())
    }
}

impl snow::resolvers::CryptoResolver for OracleResolver {
    fn resolve_rng(&self) -> Option<Box<dyn types::Random>> {
        Some(Box::new(Seeded(Seed::for_tests(77).rng())))
    }
    fn resolve_dh(&self, choice: &params::DHChoice) -> Option<Box<dyn types::Dh>> {
        let inner = DefaultResolver.resolve_dh(choice)?;
        Some(Box::new(Fake {
            inner,
            fake: self.fake_static,
            is_static: false,
        }))
    }
    fn resolve_hash(&self, choice: &params::HashChoice) -> Option<Box<dyn types::Hash>> {
        DefaultResolver.resolve_hash(choice)
    }
    fn resolve_cipher(&self, choice: &params::CipherChoice) -> Option<Box<dyn types::Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}

impl Oracle {
    pub(super) fn new(role: Role) -> Self {
        Self::with(role, None, PATTERN)
    }

    pub(super) fn with(role: Role, fake_static: Option<[u8; 32]>, pattern: &str) -> Self {
        let secret = [42; 32];
        let resolver = OracleResolver { fake_static };
        let builder = snow::Builder::with_resolver(pattern.parse().unwrap(), Box::new(resolver))
            .local_private_key(&secret)
            .unwrap();
        let state = match role {
            Role::Initiator => builder.build_initiator().unwrap(),
            Role::Responder => builder.build_responder().unwrap(),
        };
        let static_key =
            fake_static.unwrap_or_else(|| *Provider::default().x25519(secret).unwrap().public());
        Self { state, static_key }
    }

    /// The next message, with its length.
    pub(super) fn write(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut message = vec![0; 65535];
        let length = self.state.write_message(payload, &mut message).unwrap();
        frame(&message[..length])
    }

    /// The payload of a message that has its length.
    pub(super) fn read(&mut self, message: &[u8]) -> Vec<u8> {
        let (length, body) = message.split_first_chunk().unwrap();
        assert_eq!(usize::from(u16::from_be_bytes(*length)), body.len());
        let mut payload = vec![0; 65535];
        let length = self.state.read_message(body, &mut payload).unwrap();
        payload.truncate(length);
        payload
    }

    /// Plays the initiator against a responder up to message 3 with this payload; the responder's verdict.
    pub(super) fn attack_responder(
        mut self,
        responder: &mut Handshake,
        payload: &[u8],
    ) -> Result<(), Error> {
        let second = feed(responder, &self.write(&[])).unwrap();
        self.read(&second);
        feed(responder, &self.write(payload)).map(|out| assert_eq!(out, [0_u8; 0]))
    }

    /// Plays the responder with this payload in message 2; the initiator's verdict.
    pub(super) fn attack_initiator(
        mut self,
        initiator: &mut Handshake,
        payload: &[u8],
    ) -> Result<(), Error> {
        let first = feed(initiator, &[]).unwrap();
        assert_eq!(self.read(&first), [0_u8; 0]);
        let mut out = Vec::new();
        let verdict = initiator
            .advance(&self.write(payload), &mut out)
            .map(|_| ());
        assert!(
            verdict.is_ok() != out.is_empty(),
            "nothing is told to a peer who failed"
        );
        verdict
    }

    pub(super) fn keypair(&self) -> Keypair {
        Keypair::ed25519_from_seed(&Seed::for_tests(50))
    }

    /// An honest proof of identity.
    pub(super) fn proof(&self) -> Vec<u8> {
        let keypair = self.keypair();
        proof(
            &keypair,
            &keypair.sign(&[b"noise-libp2p-static-key:", &self.static_key[..]].concat()),
        )
    }
}

pub(super) fn proof(keypair: &Keypair, signature: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Writer::new(&mut out)
        .bytes(1, &keypair.public().to_protobuf())
        .bytes(2, signature);
    out
}

pub(super) fn frame(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap();
    [&length.to_be_bytes()[..], message].concat()
}

/// What our side says to another implementation.
#[test]
fn another_implementation_understands_us_in_both_roles() {
    for role in [Role::Initiator, Role::Responder] {
        let mut ours = handshake(1, role, &[YAMUX, MPLEX]);
        let (payload, oracle) = match role {
            Role::Initiator => {
                let mut oracle = Oracle::new(Role::Responder);
                oracle.read(&feed(&mut ours, &[]).unwrap());
                let second = oracle.write(&oracle.proof());
                (oracle.read(&feed(&mut ours, &second).unwrap()), oracle)
            }
            Role::Responder => {
                let mut oracle = Oracle::new(Role::Initiator);
                let second = feed(&mut ours, &oracle.write(&[])).unwrap();
                let payload = oracle.read(&second);
                let third = oracle.write(&oracle.proof());
                assert_eq!(feed(&mut ours, &third).unwrap(), [0_u8; 0]);
                (payload, oracle)
            }
        };
        // Spelled out byte by byte, as the schema of the specification encodes.
        let node = local(1);
        let key = node.public_key().to_protobuf();
        let seed = Seed::for_tests(1);
        let static_key = oracle.state.get_remote_static().unwrap();
        let signature = Keypair::ed25519_from_seed(&seed)
            .sign(&[b"noise-libp2p-static-key:", static_key].concat());
        let expected = [
            &[0x0a, 36][..],
            &key,
            &[0x12, 64],
            &signature,
            &[0x22, 28, 0x12, 12],
            b"/yamux/1.0.0",
            &[0x12, 12],
            b"/mplex/6.7.0",
        ]
        .concat();
        assert_eq!(payload, expected);

        let mut secured = ours.finish().unwrap();
        assert_eq!(secured.public_key, oracle.keypair().public());
        assert_eq!(secured.muxer, None, "the oracle offered none");
        let mut transport = oracle.state.into_transport_mode().unwrap();
        let mut buffer = vec![0; 65535];
        for length in [0, 1, 15, 16, 17, 1000, SendCipher::MAX_PLAINTEXT] {
            let text: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let sealed = seal(&mut secured.send, &text);
            assert_eq!(sealed.len(), length + SendCipher::OVERHEAD);
            let read = transport.read_message(&sealed[2..], &mut buffer).unwrap();
            assert_eq!(buffer[..read], text);
            let written = transport.write_message(&text, &mut buffer).unwrap();
            assert_eq!(
                open(&mut secured.receive, &frame(&buffer[..written])),
                Ok(text)
            );
        }
    }
}
