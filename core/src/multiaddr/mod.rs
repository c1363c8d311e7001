//! Self-describing network addresses, `/ip4/192.0.2.1/tcp/4001/p2p/12D3KooW..`
//! ([multiaddr specification](https://github.com/multiformats/multiaddr)).
//!
//! A [`Multiaddr`] is a list of [`Protocol`]s in binary form. Every value is valid: both forms are checked when read,
//! by the same rules, and each prints to text that reads back as itself. Unknown protocols are refused; an address
//! of a newer kind is for its reader to skip. Where implementations differ the strict one is followed: no empty
//! names or paths, no `/` or control characters within names, no port 0 for onion addresses, 32-byte SHA-256 peer
//! ids, and nothing after a `unix` path, which is absolute.

mod error;
#[cfg(feature = "interop")]
mod interop;
#[cfg(test)]
#[cfg(feature = "interop")]
mod oracle_tests;
mod plain;
mod protocol;
mod scope;
#[cfg(test)]
mod tests;
mod text;

use crate::identity::PeerId;
use alloc::vec::Vec;
use bytes::Bytes;
pub use error::Error;
use plain::Plain;
pub use protocol::Protocol;
pub use scope::IpTransport;

/// A network address of one or more components. Cloning shares the bytes.
///
/// ```
/// use drywire::multiaddr::{Multiaddr, Protocol};
///
/// let address: Multiaddr = "/ip4/192.0.2.1/tcp/4001".parse()?;
/// assert_eq!(address.iter().last(), Some(Protocol::Tcp(4001)));
/// assert_eq!(Multiaddr::from_bytes(address.as_bytes())?, address);
///
/// let peer = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA".parse()?;
/// let with_peer = address.with_peer_id(peer)?;
/// assert_eq!(with_peer.peer_id(), Some(peer));
/// assert_eq!(with_peer.without_peer_id(), address);
/// # Ok::<(), drywire::multiaddr::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Multiaddr(Bytes);

impl Multiaddr {
    /// The most bytes of an address. Real ones stay below 300, or 550 with an I2P key.
    pub const MAX_LEN: usize = 1024;

    /// Reads the binary form, which must be exactly `bytes`, and copies it.
    ///
    /// # Errors
    /// [`Error`] tells what is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        Self::check(bytes)?;
        Ok(Self(Bytes::copy_from_slice(bytes)))
    }

    /// Takes over the binary form without copying. The address then keeps alive the whole buffer that `bytes` is a
    /// part of.
    ///
    /// # Errors
    /// [`Error`] tells what is wrong.
    pub fn from_shared(bytes: Bytes) -> Result<Self, Error> {
        Self::check(&bytes)?;
        Ok(Self(bytes))
    }

    fn from_vec(bytes: Vec<u8>) -> Result<Self, Error> {
        Self::check(&bytes)?;
        Ok(Self(bytes.into()))
    }

    /// For components whose values cannot be invalid nor too long.
    fn from_known<const N: usize>(components: [Protocol<'_>; N]) -> Self {
        let mut bytes = Vec::with_capacity(32);
        components
            .iter()
            .for_each(|component| component.write(&mut bytes));
        Self(bytes.into())
    }

    fn check(bytes: &[u8]) -> Result<(), Error> {
        Self::split_peer_id(bytes).map(|_| ())
    }

    /// Reads the binary form where it lies: splits off the last component if that is `p2p`. Nothing is copied, so this is
    /// for addresses of which only some will be kept. The first part is empty if there is nothing else, and is an address
    /// otherwise.
    ///
    /// # Errors
    /// [`Error`] tells what is wrong, as for [`Self::from_bytes`].
    ///
    /// ```
    /// # use drywire::multiaddr::{Error, Multiaddr, Protocol};
    /// let address: Multiaddr = "/ip4/192.0.2.1/tcp/4001".parse()?;
    /// let peer = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA".parse()?;
    /// let long = address.with_peer_id(peer)?;
    /// assert_eq!(Multiaddr::split_peer_id(long.as_bytes()), Ok((address.as_bytes(), Some(peer))));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn split_peer_id(bytes: &[u8]) -> Result<(&[u8], Option<PeerId>), Error> {
        if bytes.len() > Self::MAX_LEN {
            return Err(Error::TooLong);
        }
        if bytes.is_empty() {
            return Err(Error::Empty);
        }
        if Plain::read(bytes).is_some() {
            return Ok((bytes, None));
        }
        let (mut rest, mut last) = (bytes, (bytes, None));
        while !rest.is_empty() {
            let (protocol, after) = Protocol::read(rest)?;
            last = (rest, Some(protocol));
            rest = after;
        }
        let (last, Some(Protocol::P2p(peer))) = last else {
            return Ok((bytes, None));
        };
        let end = bytes.len().saturating_sub(last.len());
        Ok((bytes.get(..end).unwrap_or_default(), Some(peer)))
    }

    /// An address of these components.
    ///
    /// # Errors
    /// [`Error`] for an invalid value, for none at all, and above [`Self::MAX_LEN`].
    pub fn from_protocols<'a>(
        protocols: impl IntoIterator<Item = Protocol<'a>>,
    ) -> Result<Self, Error> {
        let mut bytes = Vec::new();
        for protocol in protocols {
            protocol.write(&mut bytes);
            if bytes.len() > Self::MAX_LEN {
                return Err(Error::TooLong);
            }
        }
        Self::from_vec(bytes)
    }

    /// The binary form.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The binary form, shared.
    #[must_use]
    pub fn to_shared(&self) -> Bytes {
        self.0.clone()
    }

    /// The components, first to last.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter(&self.0)
    }

    /// Appends a component.
    ///
    /// # Errors
    /// [`Error`] for an invalid value, above [`Self::MAX_LEN`], and after a `unix` path; the address is unchanged
    /// then.
    pub fn push(&mut self, protocol: Protocol<'_>) -> Result<(), Error> {
        let mut bytes = Vec::with_capacity(self.0.len().saturating_add(48));
        bytes.extend_from_slice(&self.0);
        protocol.write(&mut bytes);
        *self = Self::from_vec(bytes)?;
        Ok(())
    }

    /// This address with a component appended.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn with(mut self, protocol: Protocol<'_>) -> Result<Self, Error> {
        self.push(protocol)?;
        Ok(self)
    }

    /// All components of this address, then all of `tail`.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn join(&self, tail: &Self) -> Result<Self, Error> {
        Self::from_vec([self.as_bytes(), tail.as_bytes()].concat())
    }

    /// Takes off the last component and returns it, as an address of its own that shares the bytes. `None`, and no
    /// change, if it is the only one: an address is never empty.
    pub fn pop(&mut self) -> Option<Self> {
        let last = self.0.split_off(self.last_start()?);
        Some(Self(last))
    }

    /// Whether the first components of this address are those of `head`.
    #[must_use]
    pub fn starts_with(&self, head: &Self) -> bool {
        // A component is never a prefix of another one, so bytes tell.
        self.0.starts_with(&head.0)
    }

    /// The peer this address leads to: the value of its last component, if that is `p2p`.
    ///
    /// In `/../p2p/RELAY/p2p-circuit` the peer is not named, so this is `None`.
    #[must_use]
    pub fn peer_id(&self) -> Option<PeerId> {
        if Plain::read(self.as_bytes()).is_some() {
            return None;
        }
        match self.iter().last() {
            Some(Protocol::P2p(peer)) => Some(peer),
            _ => None,
        }
    }

    /// This address without its last component if that is `p2p`, unless there is no other.
    #[must_use]
    pub fn without_peer_id(&self) -> Self {
        let mut address = self.clone();
        if self.peer_id().is_some() {
            address.pop();
        }
        address
    }

    /// This address ending with `p2p` and `peer`.
    ///
    /// # Errors
    /// [`Error::OtherPeer`] if it ends with another peer, and as [`Self::push`].
    pub fn with_peer_id(&self, peer: PeerId) -> Result<Self, Error> {
        match self.peer_id() {
            Some(same) if same == peer => Ok(self.clone()),
            Some(_) => Err(Error::OtherPeer),
            None => self.clone().with(Protocol::P2p(peer)),
        }
    }

    /// Where the last component starts; `None` if it is the only one.
    fn last_start(&self) -> Option<usize> {
        let mut components = self.iter();
        let mut start = 0;
        loop {
            let here = self.0.len().checked_sub(components.0.len())?;
            if components.next().is_none() {
                return Some(start).filter(|start| *start > 0);
            }
            start = here;
        }
    }
}

impl AsRef<[u8]> for Multiaddr {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<&[u8]> for Multiaddr {
    type Error = Error;

    fn try_from(bytes: &[u8]) -> Result<Self, Error> {
        Self::from_bytes(bytes)
    }
}

impl<'a> IntoIterator for &'a Multiaddr {
    type Item = Protocol<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The components of a [`Multiaddr`], first to last.
#[derive(Clone, Debug)]
pub struct Iter<'a>(&'a [u8]);

impl<'a> Iterator for Iter<'a> {
    type Item = Protocol<'a>;

    fn next(&mut self) -> Option<Protocol<'a>> {
        // The bytes were checked when the address was made, so this fails only at the end.
        let (protocol, rest) = Protocol::read(self.0).ok()?;
        self.0 = rest;
        Some(protocol)
    }
}

impl core::iter::FusedIterator for Iter<'_> {}
