//! A node of the network, and what is known of it from outside.

use super::operation::Watch;
use crate::{chance::Chance, network::Region};
use core::net::Ipv4Addr;
use drywire::{
    identity::PeerId,
    multiaddr::Multiaddr,
    protocol::kad::{Dht, Key},
    time::Instant,
};

/// What a node is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// It answers.
    Server,
    /// It only asks.
    Client,
    /// It does what an [`Adversary`](super::Adversary) wants.
    Attacker,
}

/// A node.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) peer: PeerId,
    pub(super) position: Key,
    pub(super) address: Multiaddr,
    /// Where it says that it may be reached, too.
    pub(super) others: Vec<Multiaddr>,
    pub(super) region: Region,
    pub(super) role: Role,
    /// `None` while it is away, and of attackers.
    pub(super) dht: Option<Box<Dht>>,
    /// Whether it is there.
    pub(super) up: bool,
    /// What was sent to, or planned for, an earlier life is lost.
    pub(super) life: u32,
    pub(super) since: Instant,
    /// For when it is in the agenda.
    pub(super) wake: Option<Instant>,
    /// Whom it has a connection to.
    pub(super) links: Vec<u32>,
    pub(super) watched: Vec<Watch>,
    /// Draws about this node alone.
    pub(super) chance: Chance,
}

impl Member {
    pub(super) const fn is_server(&self) -> bool {
        !matches!(self.role, Role::Client)
    }

    pub(super) fn watch_of(&mut self, id: drywire::protocol::kad::QueryId) -> Option<&mut Watch> {
        self.watched.iter_mut().find(|watch| watch.id == id)
    }
}

/// An id of nobody in particular: the hash of a key.
pub(super) fn draw_peer(chance: &mut Chance) -> PeerId {
    /// SHA-256 in 32 bytes, as a multihash.
    const HEAD: [u8; 2] = [0x12, 0x20];
    loop {
        let mut multihash = [0; 34];
        let (head, digest) = multihash.split_at_mut(2);
        head.copy_from_slice(&HEAD);
        for word in digest.chunks_mut(8) {
            word.copy_from_slice(
                chance
                    .number()
                    .to_le_bytes()
                    .get(..word.len())
                    .unwrap_or(&[]),
            );
        }
        // Every such multihash is an id.
        if let Ok(peer) = PeerId::from_bytes(&multihash) {
            return peer;
        }
    }
}

/// Any address of the public internet.
pub(super) fn draw_address(chance: &mut Chance) -> Multiaddr {
    loop {
        let ip = Ipv4Addr::from_bits(chance.number() as u32);
        let address = address_of(ip);
        if address.is_global() {
            return address;
        }
    }
}

/// A node's address at an IP address.
pub(super) fn address_of(ip: Ipv4Addr) -> Multiaddr {
    Multiaddr::from_tcp((ip, 4001).into())
}
