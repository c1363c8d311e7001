//! A Noise peer that keeps to the protocol but says what it likes in its payload.
//!
//! `Noise_XX_25519_ChaChaPoly_SHA256` by the letter of the Noise specification (revision 34, section 5), written for
//! this harness alone: it has fixed keys and checks nothing that it receives.

use drywire::{
    crypto::{AeadKey, Provider, X25519Secret},
    identity::{Keypair, PeerId},
    security::Role,
    wire::protobuf::Writer,
};

const NAME: &[u8; 32] = b"Noise_XX_25519_ChaChaPoly_SHA256";
const TAG: usize = AeadKey::TAG_LEN;

/// A Noise peer with an arbitrary payload.
pub(super) struct Adversary {
    provider: Provider,
    /// The role of the other side, the victim.
    victim: Role,
    identity: Keypair,
    ephemeral: X25519Secret,
    fixed: X25519Secret,
    their_ephemeral: [u8; 32],
    started: bool,
    last_len: usize,
    hash: [u8; 32],
    chaining_key: [u8; 32],
    key: Option<[u8; 32]>,
    nonce: u64,
}

impl Adversary {
    pub(super) fn new(victim: Role) -> Self {
        let provider = Provider::default();
        let mut adversary = Self {
            provider,
            victim,
            identity: Keypair::from_ed25519_secret(&[9; 32]),
            ephemeral: provider.x25519([1; 32]).unwrap(),
            fixed: provider.x25519([2; 32]).unwrap(),
            their_ephemeral: [0; 32],
            started: false,
            last_len: 0,
            hash: *NAME,
            chaining_key: *NAME,
            key: None,
            nonce: 0,
        };
        // The prologue is empty.
        adversary.mix_hash(&[]);
        adversary
    }

    pub(super) fn peer_id(&self) -> PeerId {
        self.identity.peer_id()
    }

    /// The length of the last message, with the length in front of it.
    pub(super) const fn last_len(&self) -> usize {
        self.last_len
    }

    /// The two fields of a payload that prove the adversary's own identity.
    pub(super) fn proof(&self) -> Vec<u8> {
        let signed = [b"noise-libp2p-static-key:", &self.fixed.public()[..]].concat();
        let mut payload = Vec::new();
        Writer::new(&mut payload)
            .bytes(1, &self.identity.public().to_protobuf())
            .bytes(2, &self.identity.sign(&signed));
        payload
    }

    /// The next message, given all that the victim has sent since the last one.
    pub(super) fn reply(&mut self, received: &[u8], payload: &[u8]) -> Vec<u8> {
        // Behind the length.
        let received = received.get(2..).unwrap_or_default();
        let mut message = vec![0; 2];
        let public = *self.fixed.public();
        match (self.victim, self.started) {
            // Message 2: e, ee, s, es.
            (Role::Initiator, _) => {
                self.read_ephemeral(received);
                self.mix_hash(&[]);
                self.write_ephemeral(&mut message);
                self.mix_secret(
                    &self
                        .ephemeral
                        .diffie_hellman(&self.their_ephemeral)
                        .unwrap(),
                );
                self.seal(&public, &mut message);
                self.mix_secret(&self.fixed.diffie_hellman(&self.their_ephemeral).unwrap());
                self.seal(payload, &mut message);
            }
            // Message 1: e.
            (Role::Responder, false) => {
                self.write_ephemeral(&mut message);
                self.mix_hash(&[]);
            }
            // Message 3, behind the reading of message 2: s, se.
            (Role::Responder, true) => {
                let (static_key, rest) = received[32..].split_at(32 + TAG);
                self.read_ephemeral(received);
                self.mix_secret(
                    &self
                        .ephemeral
                        .diffie_hellman(&self.their_ephemeral)
                        .unwrap(),
                );
                let static_key: [u8; 32] = self.open(static_key).try_into().unwrap();
                self.mix_secret(&self.ephemeral.diffie_hellman(&static_key).unwrap());
                self.open(rest);
                self.seal(&public, &mut message);
                self.mix_secret(&self.fixed.diffie_hellman(&self.their_ephemeral).unwrap());
                self.seal(payload, &mut message);
            }
        }
        self.started = true;
        self.last_len = message.len();
        let length = u16::try_from(message.len() - 2).unwrap();
        message[..2].copy_from_slice(&length.to_be_bytes());
        message
    }

    fn read_ephemeral(&mut self, message: &[u8]) {
        self.their_ephemeral.copy_from_slice(&message[..32]);
        self.mix_hash(&message[..32]);
    }

    fn write_ephemeral(&mut self, message: &mut Vec<u8>) {
        let public = *self.ephemeral.public();
        message.extend_from_slice(&public);
        self.mix_hash(&public);
    }

    fn seal(&mut self, plaintext: &[u8], message: &mut Vec<u8>) {
        let (key, nonce) = self.next_key();
        let mut sealed = plaintext.to_vec();
        let tag = key.seal_in_place(&nonce, &self.hash, &mut sealed).unwrap();
        sealed.extend_from_slice(&tag);
        self.mix_hash(&sealed);
        message.extend_from_slice(&sealed);
    }

    fn open(&mut self, sealed: &[u8]) -> Vec<u8> {
        let (key, nonce) = self.next_key();
        let mut opened = sealed.to_vec();
        let len = key.open_in_place(&nonce, &self.hash, &mut opened).unwrap();
        opened.truncate(len);
        self.mix_hash(sealed);
        opened
    }

    fn next_key(&mut self) -> (AeadKey, [u8; 12]) {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.nonce.to_le_bytes());
        self.nonce += 1;
        (self.provider.aead_key(&self.key.unwrap()).unwrap(), nonce)
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

    fn mix_secret(&mut self, secret: &[u8; 32]) {
        let extracted = self.hmac(&self.chaining_key, secret);
        self.chaining_key = self.hmac(&extracted, &[1]);
        let second = [&self.chaining_key[..], &[2]].concat();
        self.key = Some(self.hmac(&extracted, &second));
        self.nonce = 0;
    }
}
