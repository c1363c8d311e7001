//! What runs on a host, and what is left of it.

use super::outside::Outside;
use crate::{
    chance::Chance,
    network::{End, Signal},
};
use core::{any::Any, marker::PhantomData};
use drywire::{connection::ConnectionId, identity::PeerId, time::Instant};

/// Something that can run on a host.
pub(crate) trait Machine: Any {
    /// The host has started.
    fn start(&mut self, outside: &mut Outside<'_>);
    /// The network has something for it.
    fn signal(&mut self, signal: Signal, outside: &mut Outside<'_>);
    /// Its deadline has come, or may have.
    fn wake(&mut self, outside: &mut Outside<'_>);
    /// When to wake it, by its own clock.
    fn deadline(&self) -> Option<Instant>;
    /// What must hold whenever it has had its turn.
    fn check(&mut self, outside: &mut Outside<'_>);
    /// What must hold when everything is over: nothing is left.
    fn check_end(&self, outside: &mut Outside<'_>);
    /// Ends the node in good order.
    fn shut_down(&mut self, outside: &mut Outside<'_>);
    /// The connections it believes to have.
    fn ends(&self) -> Vec<(ConnectionId, End)>;
    /// Which connection runs over this pipe, and whether it is up.
    fn connection_at(&self, end: End) -> Option<(ConnectionId, bool)>;
    /// The connections to one of these peers that are up.
    fn connections_to(&self, peers: &[PeerId]) -> Vec<(ConnectionId, End)>;
    /// Closes one of its connections.
    fn hang_up(&mut self, chance: &mut Chance, outside: &mut Outside<'_>);
    /// Whether it has a connection to this peer that is up.
    fn is_connected(&self, peer: &PeerId) -> bool;
    /// The calendar was set.
    fn set_calendar(&mut self, outside: &mut Outside<'_>);
    /// The host went down: what is left of it.
    fn bury(self: Box<Self>) -> Box<dyn Machine>;
}

/// What is left of a host that is down: what its user knows.
pub(super) struct Remains<P, A> {
    pub(super) application: A,
    protocols: PhantomData<fn() -> P>,
}

impl<P, A> Remains<P, A> {
    pub(super) const fn new(application: A) -> Self {
        Self {
            application,
            protocols: PhantomData,
        }
    }
}

impl<P: 'static, A: 'static> Machine for Remains<P, A> {
    fn start(&mut self, _: &mut Outside<'_>) {}
    fn signal(&mut self, _: Signal, _: &mut Outside<'_>) {}
    fn wake(&mut self, _: &mut Outside<'_>) {}
    fn deadline(&self) -> Option<Instant> {
        None
    }
    fn check(&mut self, _: &mut Outside<'_>) {}
    fn check_end(&self, _: &mut Outside<'_>) {}
    fn shut_down(&mut self, _: &mut Outside<'_>) {}
    fn ends(&self) -> Vec<(ConnectionId, End)> {
        Vec::new()
    }
    fn connection_at(&self, _: End) -> Option<(ConnectionId, bool)> {
        None
    }
    fn connections_to(&self, _: &[PeerId]) -> Vec<(ConnectionId, End)> {
        Vec::new()
    }
    fn hang_up(&mut self, _: &mut Chance, _: &mut Outside<'_>) {}
    fn is_connected(&self, _: &PeerId) -> bool {
        false
    }
    fn set_calendar(&mut self, _: &mut Outside<'_>) {}
    fn bury(self: Box<Self>) -> Box<dyn Machine> {
        self
    }
}
