//! Conversions to and from `multiaddr` 0.19 (feature `interop`).
//!
//! Addresses of ours always convert. The other way is checked: that crate also takes empty addresses, names and paths,
//! names that hold `/`, onion ports of 0, I2P addresses of any length, and addresses of any size.

use super::{Error, Multiaddr};

impl From<&Multiaddr> for multiaddr::Multiaddr {
    #[expect(
        clippy::expect_used,
        reason = "our rules for addresses are a subset of that crate's; tests compare them"
    )]
    fn from(address: &Multiaddr) -> Self {
        Self::try_from(address.as_bytes().to_vec()).expect("a valid address")
    }
}

impl From<Multiaddr> for multiaddr::Multiaddr {
    fn from(address: Multiaddr) -> Self {
        Self::from(&address)
    }
}

impl TryFrom<&multiaddr::Multiaddr> for Multiaddr {
    type Error = Error;

    fn try_from(address: &multiaddr::Multiaddr) -> Result<Self, Error> {
        Self::from_bytes(address.as_ref())
    }
}

impl TryFrom<multiaddr::Multiaddr> for Multiaddr {
    type Error = Error;

    fn try_from(address: multiaddr::Multiaddr) -> Result<Self, Error> {
        Self::try_from(&address)
    }
}
