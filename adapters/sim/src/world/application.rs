//! What a host's user does: code over its node.

use crate::{chance::Chance, network::HostId, statistics::Statistics};
use drywire::{
    connection::ConnectionId,
    identity::PeerId,
    node::{Node, NodeEvent},
    swarm::{DialError, DialId, DialOptions, Protocol},
    time::{Instant, UnixTime},
};
use std::collections::{BTreeSet, VecDeque};

/// The most events that [`Events`] keeps.
const KEPT: usize = 65_536;

/// What runs on a host besides its protocols: gets the node's events, reads and writes the streams the host owns, gives
/// commands.
///
/// Any closure `FnMut(NodeEvent<P::Event>, &mut HostContext<P>)` is one. Without one a host collects its
/// [`Events`].
pub trait Application<P: Protocol>: 'static {
    /// The host has started, or started again.
    fn start(&mut self, host: &mut HostContext<'_, P>) {
        let _ = host;
    }

    /// Something happened.
    fn handle(&mut self, event: NodeEvent<P::Event>, host: &mut HostContext<'_, P>);

    /// The time of [`poll_timeout`](Self::poll_timeout) has come.
    fn handle_timeout(&mut self, host: &mut HostContext<'_, P>) {
        let _ = host;
    }

    /// When [`handle_timeout`](Self::handle_timeout) is wanted, by the host's clock.
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

impl<P, F> Application<P> for F
where
    P: Protocol,
    F: FnMut(NodeEvent<P::Event>, &mut HostContext<'_, P>) + 'static,
{
    fn handle(&mut self, event: NodeEvent<P::Event>, host: &mut HostContext<'_, P>) {
        self(event, host);
    }
}

/// A host, as its application sees it.
#[derive(Debug)]
#[non_exhaustive]
pub struct HostContext<'a, P: Protocol> {
    /// The node.
    pub node: &'a mut Node<P>,
    /// The time by the host's clock.
    pub now: Instant,
    /// The time by the host's calendar.
    pub unix: UnixTime,
    /// The host.
    pub host: HostId,
    /// Draws for this application.
    pub chance: &'a mut Chance,
    pub(crate) misdeeds: &'a mut Vec<(&'static str, String)>,
    pub(crate) dials: &'a mut BTreeSet<DialId>,
    pub(crate) statistics: &'a mut Statistics,
}

impl<P: Protocol> HostContext<'_, P> {
    /// The connections that are up, with whom they lead to.
    #[must_use]
    pub fn connections(&self) -> Vec<(ConnectionId, PeerId)> {
        self.node.swarm().connected().collect()
    }

    /// Dials. The world expects the dial's end: exactly one.
    ///
    /// # Errors
    /// [`DialError`] tells why nothing was begun.
    pub fn dial(&mut self, options: DialOptions) -> Result<DialId, DialError> {
        let dial = self.node.dial(self.now, options)?;
        self.statistics.dials += 1;
        self.dials.insert(dial);
        Ok(dial)
    }

    /// Something is wrong: the run ends with a [`Violation`](crate::Violation) of this name.
    pub fn violation(&mut self, invariant: &'static str, message: String) {
        self.misdeeds.push((invariant, message));
    }
}

/// Keeps the events of a host, for [`World::events`](crate::World::events). Of more than 65,536 the oldest are dropped.
#[derive(Debug)]
pub struct Events<P: Protocol> {
    events: VecDeque<(Instant, NodeEvent<P::Event>)>,
    dropped: u64,
}

impl<P: Protocol> Default for Events<P> {
    fn default() -> Self {
        Self {
            events: VecDeque::new(),
            dropped: 0,
        }
    }
}

impl<P: Protocol> Events<P> {
    /// Takes the oldest out, with the host's time.
    pub fn pop(&mut self) -> Option<(Instant, NodeEvent<P::Event>)> {
        self.events.pop_front()
    }

    /// Takes them out, the oldest first, with the host's time.
    pub fn take(&mut self) -> Vec<(Instant, NodeEvent<P::Event>)> {
        self.events.drain(..).collect()
    }

    /// How many were dropped.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }
}

impl<P: Protocol + 'static> Application<P> for Events<P> {
    fn handle(&mut self, event: NodeEvent<P::Event>, host: &mut HostContext<'_, P>) {
        if self.events.len() >= KEPT {
            self.events.pop_front();
            self.dropped += 1;
        }
        self.events.push_back((host.now, event));
    }
}
