//! A Noise peer that keeps to the handshake but proves, in its payload, whatever it likes.
//!
//! `Noise_XX_25519_ChaChaPoly_SHA256` by the letter of the Noise specification (revision 34, section 5), written for these
//! tests alone: what it receives it decrypts and believes.

use crate::victim::Target;
use drywire::{
    crypto::{AeadKey, Provider, X25519Secret},
    identity::Keypair,
    multistream::{Dialer, Listener},
    security::noise,
    seed::Seed,
    wire::protobuf::Writer,
};

const NAME: &[u8; 32] = b"Noise_XX_25519_ChaChaPoly_SHA256";
const TAG: usize = AeadKey::TAG_LEN;

/// What the identity key must have signed, in front of the static key.
pub const DOMAIN: &[u8] = b"noise-libp2p-static-key:";

/// One session of the forger.
#[derive(Debug)]
pub struct Forger {
    provider: Provider,
    /// Who it says it is.
    pub identity: Keypair,
    ephemeral: X25519Secret,
    fixed: X25519Secret,
    theirs: [u8; 32],
    hash: [u8; 32],
    chain: [u8; 32],
    key: Option<[u8; 32]>,
    nonce: u64,
    /// The payload of the other side, as decrypted.
    pub their_payload: Vec<u8>,
}

impl Forger {
    /// A session whose keys follow from `seed`.
    ///
    /// # Panics
    ///
    /// If the crypto backend does not work.
    pub fn new(seed: u64) -> Self {
        let provider = Provider::ring();
        let secret = |label: &str| {
            let seed = Seed::for_tests(seed).derive(label);
            let mut secret = [0; 32];
            let keys = [seed.hash_keys(), seed.derive("more").hash_keys()];
            for (piece, (a, b)) in secret.chunks_mut(16).zip(keys) {
                piece[..8].copy_from_slice(&a.to_le_bytes());
                piece[8..].copy_from_slice(&b.to_le_bytes());
            }
            provider.x25519(secret).expect("ring works")
        };
        let mut forger = Self {
            provider,
            identity: Keypair::ed25519_from_seed(&Seed::for_tests(seed).derive("forger")),
            ephemeral: secret("ephemeral"),
            fixed: secret("static"),
            theirs: [0; 32],
            hash: *NAME,
            chain: *NAME,
            key: None,
            nonce: 0,
            their_payload: Vec::new(),
        };
        // The prologue is empty.
        forger.mix_hash(&[]);
        forger
    }

    /// Its static key.
    pub const fn static_key(&self) -> &[u8; 32] {
        self.fixed.public()
    }

    /// A payload: this key, and what it signed.
    pub fn claim(claimed: &Keypair, signature: &[u8]) -> Vec<u8> {
        let mut payload = Vec::new();
        Writer::new(&mut payload)
            .bytes(1, &claimed.public().to_protobuf())
            .bytes(2, signature);
        payload
    }

    /// The payload of an honest peer.
    pub fn proof(&self) -> Vec<u8> {
        let signed = [DOMAIN, self.static_key()].concat();
        Self::claim(&self.identity, &self.identity.sign(&signed))
    }

    /// Dials the target, which listens, and gives it `payload` in the last message of the handshake.
    ///
    /// # Panics
    ///
    /// If the target does not play its part.
    pub fn dial(&mut self, target: &mut impl Target, payload: impl FnOnce(&Self) -> Vec<u8>) {
        let mut out = Vec::new();
        let mut dialer = Dialer::start(&[noise::PROTOCOL], &mut out).expect("one name");
        let first = self.first();
        out.extend(first);
        target.input(&out);
        let received = target.sent();
        let agreed = dialer
            .advance(&[noise::PROTOCOL], &received, &mut Vec::new())
            .expect("agrees");
        assert_eq!(agreed.outcome, Some(0), "agrees on noise");
        self.read_second(body(&received[agreed.consumed..]));
        let payload = payload(self);
        let last = self.last(&payload);
        target.input(&last);
    }

    /// Is dialed by the target, gives it `payload`, and takes its payload if it sends one.
    ///
    /// # Panics
    ///
    /// If the target does not play its part.
    pub fn accept(&mut self, target: &mut impl Target, payload: impl FnOnce(&Self) -> Vec<u8>) {
        let (received, mut out, mut used) = (target.sent(), Vec::new(), 0);
        let mut listener = Listener::new();
        loop {
            let progress = listener
                .advance(&[noise::PROTOCOL][..], &received[used..], &mut out)
                .expect("proposes");
            used += progress.consumed;
            if progress.outcome.is_some() {
                break;
            }
            assert!(progress.consumed > 0, "proposes noise");
        }
        let first = body(&received[used..]);
        self.theirs.copy_from_slice(first);
        self.mix_hash(first);
        self.mix_hash(&[]);
        let payload = payload(self);
        out.extend(self.second(&payload));
        target.input(&out);
        let last = target.sent();
        if last.len() > 2 {
            self.read_last(body(&last));
        }
    }

    /// e
    fn first(&mut self) -> Vec<u8> {
        let mut message = Vec::new();
        self.write_ephemeral(&mut message);
        self.mix_hash(&[]);
        framed(&message)
    }

    /// e, ee, s, es
    fn second(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut message = Vec::new();
        self.write_ephemeral(&mut message);
        let theirs = self.theirs;
        self.mix_secret(|forger| forger.ephemeral.diffie_hellman(&theirs).expect("a key"));
        let fixed = *self.fixed.public();
        self.seal(&fixed, &mut message);
        self.mix_secret(|forger| forger.fixed.diffie_hellman(&theirs).expect("a key"));
        self.seal(payload, &mut message);
        framed(&message)
    }

    fn read_second(&mut self, message: &[u8]) {
        let (ephemeral, rest) = message.split_at(32);
        let (fixed, payload) = rest.split_at(32 + TAG);
        self.theirs.copy_from_slice(ephemeral);
        self.mix_hash(ephemeral);
        let theirs = self.theirs;
        self.mix_secret(|forger| forger.ephemeral.diffie_hellman(&theirs).expect("a key"));
        let fixed: [u8; 32] = self.open(fixed).try_into().expect("a key");
        self.mix_secret(|forger| forger.ephemeral.diffie_hellman(&fixed).expect("a key"));
        self.their_payload = self.open(payload);
    }

    /// s, se
    fn last(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut message = Vec::new();
        let (fixed, theirs) = (*self.fixed.public(), self.theirs);
        self.seal(&fixed, &mut message);
        self.mix_secret(|forger| forger.fixed.diffie_hellman(&theirs).expect("a key"));
        self.seal(payload, &mut message);
        framed(&message)
    }

    fn read_last(&mut self, message: &[u8]) {
        let (fixed, payload) = message.split_at(32 + TAG);
        let fixed: [u8; 32] = self.open(fixed).try_into().expect("a key");
        self.mix_secret(|forger| forger.ephemeral.diffie_hellman(&fixed).expect("a key"));
        self.their_payload = self.open(payload);
    }

    fn write_ephemeral(&mut self, message: &mut Vec<u8>) {
        let public = *self.ephemeral.public();
        message.extend_from_slice(&public);
        self.mix_hash(&public);
    }

    fn seal(&mut self, plaintext: &[u8], message: &mut Vec<u8>) {
        let (key, nonce) = self.next_key();
        let mut sealed = plaintext.to_vec();
        let tag = key
            .seal_in_place(&nonce, &self.hash, &mut sealed)
            .expect("short");
        sealed.extend_from_slice(&tag);
        self.mix_hash(&sealed);
        message.extend_from_slice(&sealed);
    }

    fn open(&mut self, sealed: &[u8]) -> Vec<u8> {
        let (key, nonce) = self.next_key();
        let mut opened = sealed.to_vec();
        let len = key
            .open_in_place(&nonce, &self.hash, &mut opened)
            .expect("sound");
        opened.truncate(len);
        self.mix_hash(sealed);
        opened
    }

    fn next_key(&mut self) -> (AeadKey, [u8; 12]) {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.nonce.to_le_bytes());
        self.nonce += 1;
        let key = self.key.expect("keyed by now");
        (self.provider.aead_key(&key).expect("ring works"), nonce)
    }

    fn sha256(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut hash = self.provider.sha256();
        parts.iter().for_each(|part| hash.update(part));
        hash.finish()
    }

    fn hmac(&self, key: &[u8; 32], data: &[u8]) -> [u8; 32] {
        let mut block = [0; 64];
        block[..32].copy_from_slice(key);
        let inner = self.sha256(&[&block.map(|byte| byte ^ 0x36), data]);
        self.sha256(&[&block.map(|byte| byte ^ 0x5c), &inner])
    }

    fn mix_hash(&mut self, data: &[u8]) {
        self.hash = self.sha256(&[&self.hash, data]);
    }

    fn mix_secret<S: AsRef<[u8]>>(&mut self, agree: impl FnOnce(&Self) -> S) {
        let secret = agree(self);
        let extracted = self.hmac(&self.chain, secret.as_ref());
        self.chain = self.hmac(&extracted, &[1]);
        let second = [&self.chain[..], &[2]].concat();
        self.key = Some(self.hmac(&extracted, &second));
        self.nonce = 0;
    }
}

/// A message behind its length.
fn body(message: &[u8]) -> &[u8] {
    let (length, rest) = message.split_first_chunk().expect("a length");
    &rest[..usize::from(u16::from_be_bytes(*length))]
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).expect("short");
    [&length.to_be_bytes()[..], message].concat()
}
