//! Nodes that do as somebody wants.

use super::{member::Member, truth::Truth};
use core::{fmt, time::Duration};
use drywire::{
    identity::PeerId,
    multiaddr::Multiaddr,
    protocol::kad::{
        Key,
        message::{ConnectionType, Message, MessageType, ResponseWriter},
    },
    time::Instant,
};

/// Decides what all attackers of a [`KadWorld`](super::KadWorld) answer.
pub trait Adversary: fmt::Debug {
    /// An attacker is asked something.
    fn answer(&mut self, asked: &Asked<'_>, view: &View<'_>) -> Answer;
}

/// A request to an attacker.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Asked<'a> {
    /// The number of the attacker.
    pub attacker: u32,
    /// Who asks.
    pub from: u32,
    /// What.
    pub request: &'a Message<'a>,
}

/// What an attacker answers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Answer {
    /// This.
    Message(Vec<u8>),
    /// This, so much later.
    Late(Duration, Vec<u8>),
    /// Never.
    Nothing,
    /// It resets the stream.
    Refuse,
}

/// What attackers know: everything.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub(super) now: Instant,
    pub(super) members: &'a [Member],
    pub(super) attackers: &'a Truth,
    pub(super) servers: &'a Truth,
}

impl View<'_> {
    /// The time.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// The attackers closest to a position: who they are and where.
    #[must_use]
    pub fn colluders(&self, target: &Key, count: usize) -> Vec<(PeerId, Multiaddr)> {
        let closest = self.attackers.closest(target, count, |_| true);
        let members = closest.into_iter().filter_map(|number| self.member(number));
        members
            .map(|member| (member.peer, member.address.clone()))
            .collect()
    }

    /// The honest servers closest to a position, those that are away included.
    #[must_use]
    pub fn honest(&self, target: &Key, count: usize) -> Vec<(PeerId, Multiaddr)> {
        let closest = self.servers.closest(target, count, |_| true);
        let members = closest.into_iter().filter_map(|number| self.member(number));
        members
            .map(|member| (member.peer, member.address.clone()))
            .collect()
    }

    /// The peer of a number.
    #[must_use]
    pub fn peer(&self, number: u32) -> Option<PeerId> {
        self.member(number).map(|member| member.peer)
    }

    fn member(&self, number: u32) -> Option<&Member> {
        self.members.get(number as usize)
    }
}

impl fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View")
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

/// A response that tells of these peers.
#[must_use]
pub fn response(kind: MessageType, key: &[u8], closer: &[(PeerId, Multiaddr)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = ResponseWriter::new(&mut out, 1 << 20, kind, key);
    for (peer, address) in closer {
        writer.closer_peer(peer, [address.as_bytes()], ConnectionType::Connected);
    }
    out
}

/// A response to a put: the record as it was sent.
#[must_use]
pub fn echo(request: &Message<'_>, now: drywire::time::UnixTime) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = ResponseWriter::new(&mut out, 1 << 20, MessageType::PutValue, request.key);
    if let Some(record) = &request.record {
        writer.record(&record.to_record(now), now, None);
    }
    out
}
