//! The bounded queue of events, with room reserved for last words.

use super::{
    action::{ListenerId, TransportError},
    dial::{DialError, DialId},
    event::Event,
};
use crate::{
    buffer::pop_front,
    connection::{ConnectedPoint, ConnectionError, ConnectionId},
    identity::PeerId,
    multiaddr::Multiaddr,
};
use alloc::collections::VecDeque;

/// The swarm's own events, and a mark for each of the protocols', whose values wait in a queue of their own type.
#[derive(Debug)]
pub(super) enum Notice {
    Protocol,
    ConnectionEstablished {
        connection: ConnectionId,
        peer: PeerId,
        point: ConnectedPoint,
        connections: u32,
    },
    ConnectionClosed {
        connection: ConnectionId,
        peer: PeerId,
        reason: ConnectionError,
        connections: u32,
    },
    IncomingFailed {
        connection: ConnectionId,
        remote: Multiaddr,
        error: ConnectionError,
    },
    Dialed {
        dial: DialId,
        connection: ConnectionId,
        peer: PeerId,
    },
    DialFailed {
        dial: DialId,
        peer: Option<PeerId>,
        error: DialError,
    },
    Listening {
        listener: ListenerId,
        address: Multiaddr,
    },
    ListenAddressGone {
        listener: ListenerId,
        address: Multiaddr,
    },
    AcceptFailed {
        listener: ListenerId,
        error: TransportError,
    },
    ListenerClosed {
        listener: ListenerId,
        error: Option<TransportError>,
    },
    ExternalCandidate(Multiaddr),
    ExternalConfirmed(Multiaddr),
    ExternalExpired(Multiaddr),
    ShutdownComplete,
}

impl Notice {
    /// The event, or `None` for the mark of a protocol's.
    pub(super) fn into_event<E>(self) -> Option<Event<E>> {
        Some(match self {
            Self::Protocol => return None,
            Self::ConnectionEstablished {
                connection,
                peer,
                point,
                connections,
            } => Event::ConnectionEstablished {
                connection,
                peer,
                point,
                connections,
            },
            Self::ConnectionClosed {
                connection,
                peer,
                reason,
                connections,
            } => Event::ConnectionClosed {
                connection,
                peer,
                reason,
                connections,
            },
            Self::IncomingFailed {
                connection,
                remote,
                error,
            } => Event::IncomingFailed {
                connection,
                remote,
                error,
            },
            Self::Dialed {
                dial,
                connection,
                peer,
            } => Event::Dialed {
                dial,
                connection,
                peer,
            },
            Self::DialFailed { dial, peer, error } => Event::DialFailed { dial, peer, error },
            Self::Listening { listener, address } => Event::Listening { listener, address },
            Self::ListenAddressGone { listener, address } => {
                Event::ListenAddressGone { listener, address }
            }
            Self::AcceptFailed { listener, error } => Event::AcceptFailed { listener, error },
            Self::ListenerClosed { listener, error } => Event::ListenerClosed { listener, error },
            Self::ExternalCandidate(address) => Event::ExternalCandidate { address },
            Self::ExternalConfirmed(address) => Event::ExternalConfirmed { address },
            Self::ExternalExpired(address) => Event::ExternalExpired { address },
            Self::ShutdownComplete => Event::ShutdownComplete,
        })
    }
}

/// Waiting events and reserved places together never exceed the capacity.
#[derive(Debug)]
pub(super) struct EventQueue {
    queue: VecDeque<Notice>,
    capacity: usize,
    reserved: usize,
    dropped: u64,
}

impl EventQueue {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            capacity,
            reserved: 0,
            dropped: 0,
        }
    }

    fn has_room(&self, places: usize) -> bool {
        self.queue
            .len()
            .saturating_add(self.reserved)
            .saturating_add(places)
            <= self.capacity
    }

    /// Reserves places for events that must not be lost, all or none.
    pub(super) fn reserve(&mut self, places: usize) -> bool {
        let granted = self.has_room(places);
        if granted {
            self.reserved = self.reserved.saturating_add(places);
        }
        granted
    }

    /// Reserves a place for an event that may be lost, which is counted then.
    pub(super) fn reserve_or_count(&mut self) -> bool {
        let room = self.reserve(1);
        if !room {
            self.dropped = self.dropped.saturating_add(1);
        }
        room
    }

    /// Gives places back unused.
    pub(super) fn release(&mut self, places: usize) {
        debug_assert!(places <= self.reserved, "a place was released twice");
        self.reserved = self.reserved.saturating_sub(places);
    }

    /// Queues an event in a place reserved for it.
    pub(super) fn push_reserved(&mut self, notice: Notice) {
        self.release(1);
        self.queue.push_back(notice);
    }

    /// Queues an event if there is room, and counts it otherwise.
    pub(super) fn push(&mut self, notice: Notice) -> bool {
        let room = self.has_room(1);
        if room {
            self.queue.push_back(notice);
        } else {
            self.dropped = self.dropped.saturating_add(1);
        }
        room
    }

    pub(super) fn pop(&mut self) -> Option<Notice> {
        pop_front(&mut self.queue)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(super) const fn reserved(&self) -> usize {
        self.reserved
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    proptest! {
        /// Whatever is done, reserved places are there when they are needed and the queue stays within its capacity.
        #[test]
        fn never_exceeds_its_capacity(operations in prop::collection::vec(0u8..5, 0..200), capacity in 0usize..8) {
            let mut events = EventQueue::new(capacity);
            let (mut queued, mut reserved, mut dropped) = (0usize, 0usize, 0u64);
            for operation in operations {
                match operation {
                    0 => {
                        let granted = events.reserve(2);
                        prop_assert_eq!(granted, queued + reserved + 2 <= capacity);
                        reserved += if granted { 2 } else { 0 };
                    }
                    1 if reserved > 0 => {
                        events.release(1);
                        reserved -= 1;
                    }
                    2 if reserved > 0 => {
                        events.push_reserved(Notice::ShutdownComplete);
                        (reserved, queued) = (reserved - 1, queued + 1);
                    }
                    3 => {
                        let taken = events.push(Notice::Protocol);
                        prop_assert_eq!(taken, queued + reserved < capacity);
                        if taken { queued += 1 } else { dropped += 1 }
                    }
                    _ => {
                        prop_assert_eq!(events.pop().is_some(), queued > 0);
                        queued = queued.saturating_sub(1);
                    }
                }
                prop_assert!(queued + reserved <= capacity);
                prop_assert_eq!(events.queue.len(), queued);
                prop_assert_eq!(events.reserved(), reserved);
                prop_assert_eq!(events.dropped(), dropped);
            }
            let left: Vec<_> = core::iter::from_fn(|| events.pop()).collect();
            prop_assert_eq!(left.len(), queued);
        }
    }
}
