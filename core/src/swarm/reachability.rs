//! Listeners and addresses of this node, as events and inputs.

use super::{
    action::{Action, ListenerId, ListenerUpdate, TransportError},
    dial::DialError,
    error::ListenError,
    event_queue::Notice,
    state::{Broadcast, State},
    timers::Timer,
};
use crate::{connection::ConnectionError, identity::PeerId, multiaddr::Multiaddr};
use core::time::Duration;

/// How long accepting rests after the process ran out of descriptors.
const DESCRIPTOR_PAUSE: Duration = Duration::from_secs(1);

impl State {
    pub(super) fn listen(&mut self, address: Multiaddr) -> Result<ListenerId, ListenError> {
        let max = usize::try_from(self.config.limits.listeners).unwrap_or(usize::MAX);
        if self.is_shutting_down() {
            return Err(ListenError::ShuttingDown);
        }
        if self.listeners.len() >= max {
            return Err(ListenError::TooManyListeners);
        }
        if !self.events.reserve(1) {
            return Err(ListenError::EventsFull);
        }
        let listener = self.listeners.insert();
        self.actions.push_back(Action::Listen { listener, address });
        Ok(listener)
    }

    pub(super) fn listener_update(&mut self, id: ListenerId, update: ListenerUpdate) {
        if self.listeners.get_mut(id).is_none() {
            return;
        }
        match update {
            ListenerUpdate::Bound(address) => {
                if self.listeners.bind(id, &address) {
                    self.events.push(Notice::Listening {
                        listener: id,
                        address,
                    });
                }
            }
            ListenerUpdate::Unbound(address) => {
                if self.listeners.unbind(id, &address) {
                    self.events.push(Notice::ListenAddressGone {
                        listener: id,
                        address,
                    });
                }
            }
            ListenerUpdate::AcceptFailed(error) => {
                if error == TransportError::OutOfDescriptors {
                    self.out_of_descriptors = true;
                    self.timers.set(Timer::Accept, self.now + DESCRIPTOR_PAUSE);
                }
                self.events.push(Notice::AcceptFailed {
                    listener: id,
                    error,
                });
            }
            ListenerUpdate::Closed(error) => {
                let gone = self.listeners.remove(id);
                for address in gone.into_iter().flat_map(|listener| listener.bound) {
                    self.events.push(Notice::ListenAddressGone {
                        listener: id,
                        address,
                    });
                }
                self.events.push_reserved(Notice::ListenerClosed {
                    listener: id,
                    error,
                });
            }
        }
        self.review_listen_addresses();
        self.review_shutdown();
    }

    pub(super) fn review_listen_addresses(&mut self) {
        if self.listeners.refresh() {
            self.addresses_changed = true;
        }
    }

    pub(super) fn external_candidate(&mut self, address: &Multiaddr) {
        if self.listeners.add_candidate(address) {
            self.events.push(Notice::ExternalCandidate(address.clone()));
            self.broadcast(Broadcast::ExternalCandidate(address.clone()));
        }
    }

    pub(super) fn external_confirmed(&mut self, address: &Multiaddr) {
        let (new, expired) = self.listeners.confirm(address);
        if let Some(expired) = expired {
            self.events.push(Notice::ExternalExpired(expired));
        }
        if new {
            self.events.push(Notice::ExternalConfirmed(address.clone()));
            self.addresses_changed = true;
        }
    }

    pub(super) fn external_expired(&mut self, address: &Multiaddr) {
        if self.listeners.expire(address) {
            self.events.push(Notice::ExternalExpired(address.clone()));
            self.addresses_changed = true;
        }
    }

    pub(super) fn deny_peer(&mut self, peer: PeerId) {
        self.denied_peers.insert(peer);
        if let Some(job) = self.jobs.of_peer(&peer) {
            self.end_dials(job, &DialError::Denied);
        }
        let known = self.peers.get(&peer).map(|peer| peer.connections.clone());
        for connection in known.unwrap_or_default() {
            self.close_connection(connection, ConnectionError::Denied);
        }
    }
}
