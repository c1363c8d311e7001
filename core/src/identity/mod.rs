//! Who a peer is: keys, signatures and the ids made of them.
//!
//! Ed25519 is always there. Secp256k1, ECDSA (P-256) and RSA come with the features `secp256k1`, `ecdsa` and `rsa`;
//! without its feature a key of that type is refused as [`KeyError::Unsupported`]. RSA is for verification only.
//!
//! Ed25519 signatures are verified as go-libp2p and rust-libp2p do it: without cofactor, `S` below the group order,
//! and `R` compared byte by byte. Beyond them, keys of small order are refused when they are read: anyone could
//! sign for those.

#[cfg(any(feature = "ecdsa", feature = "rsa"))]
mod der;
#[cfg(feature = "ecdsa")]
mod ecdsa;
mod ed25519;
mod error;
#[cfg(feature = "interop")]
mod interop;
#[cfg(test)]
mod key_type_tests;
mod keypair;
pub(crate) mod multibase;
#[cfg(test)]
#[cfg(feature = "interop")]
mod oracle_tests;
mod peer_id;
mod public_key;
#[cfg(feature = "rsa")]
mod rsa;
#[cfg(feature = "secp256k1")]
mod secp256k1;
#[cfg(test)]
mod tests;

pub use error::{InvalidSignature, KeyError, PeerIdError};
pub use keypair::Keypair;
pub use peer_id::PeerId;
pub use public_key::{KeyType, PublicKey};
