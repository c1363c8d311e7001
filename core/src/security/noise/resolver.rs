//! Our primitives behind snow's traits.
//!
//! snow runs the handshake's state machine only. The static key never passes through it: its key object is ready made,
//! so that neither is its public half computed again, nor its secret half copied, for each handshake.

use crate::{
    crypto::{AeadKey, Provider, Sha256, X25519Secret},
    security::cipher::nonce_bytes,
    seed::Rng,
};
use alloc::{boxed::Box, sync::Arc};
use core::cell::Cell;
use rand_core::Rng as _;
use snow::{
    Error,
    params::{CipherChoice, DHChoice, HashChoice},
    resolvers::CryptoResolver,
    types,
};
use zeroize::Zeroizing;

pub(super) struct Resolver {
    pub(super) provider: Provider,
    pub(super) static_key: Arc<X25519Secret>,
    /// snow asks for the generator once.
    pub(super) rng: Cell<Option<Rng>>,
}

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn types::Random>> {
        self.rng.take().map(|rng| Box::new(Random(rng)) as _)
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn types::Dh>> {
        matches!(choice, DHChoice::Curve25519).then(|| {
            Box::new(Dh {
                provider: self.provider,
                static_key: Arc::clone(&self.static_key),
                pair: Pair::None,
            }) as _
        })
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn types::Hash>> {
        matches!(choice, HashChoice::SHA256).then(|| Box::new(Hash(self.provider.sha256())) as _)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn types::Cipher>> {
        matches!(choice, CipherChoice::ChaChaPoly).then(|| {
            Box::new(Cipher {
                provider: self.provider,
                key: None,
            }) as _
        })
    }
}

struct Random(Rng);

impl types::Random for Random {
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Error> {
        self.0.fill_bytes(out);
        Ok(())
    }
}

struct Dh {
    provider: Provider,
    static_key: Arc<X25519Secret>,
    pair: Pair,
}

enum Pair {
    None,
    Static,
    Ephemeral(X25519Secret),
}

impl Dh {
    fn pair(&self) -> Option<&X25519Secret> {
        match &self.pair {
            Pair::None => None,
            Pair::Static => Some(&self.static_key),
            Pair::Ephemeral(pair) => Some(pair),
        }
    }
}

impl types::Dh for Dh {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        32
    }

    /// snow sets one private key, the static one; which that is, we know better.
    fn set(&mut self, _: &[u8]) {
        self.pair = Pair::Static;
    }

    fn generate(&mut self, rng: &mut dyn types::Random) -> Result<(), Error> {
        let mut secret = Zeroizing::new([0; 32]);
        rng.try_fill_bytes(secret.as_mut_slice())?;
        self.pair = Pair::Ephemeral(self.provider.x25519(*secret).map_err(|_| Error::Rng)?);
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        self.pair().map_or(&[0; 32], |pair| pair.public())
    }

    /// snow asks for it nowhere but in its key generator, which we do not use.
    fn privkey(&self) -> &[u8] {
        &[]
    }

    /// `theirs` is snow's buffer for keys of any curve: ours is its beginning.
    fn dh(&self, theirs: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let pair = self.pair().ok_or(Error::Dh)?;
        let theirs = theirs.first_chunk().ok_or(Error::Dh)?;
        let out = out.first_chunk_mut().ok_or(Error::Dh)?;
        *out = *pair.diffie_hellman(theirs).map_err(|_| Error::Dh)?;
        Ok(())
    }
}

struct Hash(Sha256);

impl types::Hash for Hash {
    fn name(&self) -> &'static str {
        "SHA256"
    }

    fn block_len(&self) -> usize {
        64
    }

    fn hash_len(&self) -> usize {
        32
    }

    fn reset(&mut self) {
        self.0.reset();
    }

    fn input(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn result(&mut self, out: &mut [u8]) {
        if let Some(out) = out.first_chunk_mut() {
            *out = self.0.finish();
        }
    }
}

struct Cipher {
    provider: Provider,
    key: Option<AeadKey>,
}

impl types::Cipher for Cipher {
    fn name(&self) -> &'static str {
        "ChaChaPoly"
    }

    fn set(&mut self, key: &[u8; 32]) {
        self.key = self.provider.aead_key(key).ok();
    }

    /// This signature knows no failure. Should the backend fail, the message becomes zeros, which the peer refuses;
    /// nothing leaks.
    fn encrypt(&self, number: u64, aad: &[u8], plaintext: &[u8], out: &mut [u8]) -> usize {
        let length = plaintext.len().saturating_add(AeadKey::TAG_LEN);
        let Some(out) = out.get_mut(..length) else {
            return 0;
        };
        let (data, tag) = out.split_at_mut(plaintext.len());
        data.copy_from_slice(plaintext);
        let sealed = self
            .key
            .as_ref()
            .and_then(|key| key.seal_in_place(&nonce_bytes(number), aad, data).ok());
        match sealed {
            Some(sealed) => tag.copy_from_slice(&sealed),
            None => out.fill(0),
        }
        length
    }

    fn decrypt(
        &self,
        number: u64,
        aad: &[u8],
        ciphertext: &[u8],
        out: &mut [u8],
    ) -> Result<usize, Error> {
        let key = self.key.as_ref().ok_or(Error::Decrypt)?;
        let mut message = Zeroizing::new(ciphertext.to_vec());
        let length = key
            .open_in_place(&nonce_bytes(number), aad, &mut message)
            .map_err(|_| Error::Decrypt)?;
        let plaintext = message.get(..length).ok_or(Error::Decrypt)?;
        out.get_mut(..length)
            .ok_or(Error::Decrypt)?
            .copy_from_slice(plaintext);
        Ok(length)
    }
}
