//! What connections say.

use super::{
    connections::{MessageState, Phase, StreamState},
    protocol::StreamRef,
    state::{State, Targeted},
};
use crate::{
    connection::{
        ConnectionId, Direction, ENDS_AT_ONCE, Slot, StreamId, StreamOwner, ToConnectionMessage,
        ToSwarmMessage, code,
    },
    multistream::ProtocolName,
    resource::Lease,
};
use alloc::vec::Vec;

/// Ends of streams that may wait for another message to travel with.
const MOST_ENDS: usize = 8 * ENDS_AT_ONCE;

impl State {
    /// Takes in one message. Those of a connection that is gone, or about a stream that is, change nothing.
    pub(super) fn message(&mut self, id: ConnectionId, message: ToSwarmMessage) {
        let known = self
            .connections
            .get(id)
            .is_some_and(|entry| entry.phase != Phase::Down);
        if !known {
            return;
        }
        match message {
            ToSwarmMessage::Secured(secured) => self.secured(id, &secured),
            ToSwarmMessage::Inbound { stream, slot, name } => {
                self.inbound_stream(id, stream, slot, name)
            }
            ToSwarmMessage::Opened { stream, name } => {
                self.about_stream(id, stream, |stream, _| {
                    Some(Targeted::Opened { stream, name })
                });
            }
            ToSwarmMessage::Data { stream, bytes } => {
                self.about_stream(id, stream, |stream, state| {
                    state.message = MessageState::Waiting;
                    Some(Targeted::Message { stream, bytes })
                })
            }
            ToSwarmMessage::RemoteFinished { stream } => {
                self.about_stream(id, stream, |stream, _| {
                    Some(Targeted::RemoteFinished { stream })
                });
            }
            ToSwarmMessage::Ended { stream, end } => {
                let known = self.connections.get(id);
                if !known.is_some_and(|entry| entry.streams.contains_key(&stream)) {
                    return self.end_heard(id, stream);
                }
                self.about_stream(id, stream, |stream, _| {
                    Some(Targeted::Ended { stream, end })
                });
            }
            ToSwarmMessage::Processed { commands, bytes } => {
                if let Some(entry) = self.connections.get_mut(id) {
                    entry.outbox.processed(commands, bytes);
                }
                self.unblock(id);
            }
            ToSwarmMessage::RoundTrip(round_trip) => {
                if let Some(entry) = self.connections.get_mut(id) {
                    entry.round_trip = Some(round_trip);
                }
            }
            ToSwarmMessage::NeedLease(request) => self.lend(id, request),
            ToSwarmMessage::ReturnLease(lease) => {
                if let Some(Phase::Up { scope, .. }) =
                    self.connections.get(id).map(|entry| &entry.phase)
                {
                    self.ledger.release(*scope, lease);
                }
            }
            ToSwarmMessage::Closed(reason) => self.connection_down(id, reason),
            ToSwarmMessage::Sent { stream } => {
                self.about_stream(id, stream, |stream, _| Some(Targeted::Sent { stream }));
            }
        }
    }

    fn inbound_stream(
        &mut self,
        id: ConnectionId,
        stream: StreamId,
        slot: Slot,
        name: ProtocolName,
    ) {
        let registered = self
            .table
            .entries()
            .iter()
            .find(|entry| entry.name == name && entry.owner == StreamOwner::Protocol(slot));
        if registered.is_none() {
            // Agreed on under an older table.
            let code = code::PROTOCOL_NEGOTIATION_FAILED;
            return self.control(id, ToConnectionMessage::Reset { stream, code });
        }
        let Some(entry) = self.connections.get_mut(id) else {
            return;
        };
        let Some(peer) = entry.peer() else {
            return;
        };
        let state = StreamState {
            slot,
            direction: Direction::Inbound,
            finished: false,
            paused: false,
            message: MessageState::Consumed,
            blocked: false,
        };
        entry.streams.insert(stream, state);
        let stream = StreamRef {
            connection: id,
            stream,
        };
        self.deliver(slot, Targeted::Inbound { stream, peer, name });
    }

    /// Delivers what concerns a stream, if its protocol still has it.
    fn about_stream(
        &mut self,
        id: ConnectionId,
        stream: StreamId,
        input: impl FnOnce(StreamRef, &mut StreamState) -> Option<Targeted>,
    ) {
        let entry = self.connections.get_mut(id);
        let Some(state) = entry.and_then(|entry| entry.streams.get_mut(&stream)) else {
            return;
        };
        let slot = state.slot;
        if let Some(input) = input(
            StreamRef {
                connection: id,
                stream,
            },
            state,
        ) {
            self.deliver(slot, input);
        }
    }

    /// Tells streams that were refused room that there is some again, once half of it is free.
    fn unblock(&mut self, id: ConnectionId) {
        self.tell_openers(id);
        let limits = &self.config.queues;
        let Some(entry) = self.connections.get_mut(id) else {
            return;
        };
        let half_empty = entry.outbox.messages() <= limits.commands / 2
            && entry.outbox.bytes() <= limits.command_bytes / 2;
        if entry.blocked.is_empty() || !half_empty {
            return;
        }
        let mut writable = Vec::with_capacity(entry.blocked.len());
        for stream in core::mem::take(&mut entry.blocked) {
            if let Some(state) = entry.streams.get_mut(&stream) {
                state.blocked = false;
                writable.push((
                    state.slot,
                    StreamRef {
                        connection: id,
                        stream,
                    },
                ));
            }
        }
        for (slot, stream) in writable {
            self.deliver(slot, Targeted::Writable { stream });
        }
    }

    /// Tells protocols that were refused a stream that there is room again.
    pub(super) fn tell_openers(&mut self, id: ConnectionId) {
        let (limits, max_streams) = (&self.config.queues, self.config.connection.max_streams);
        let Some(entry) = self
            .connections
            .get_mut(id)
            .filter(|entry| !entry.openers.is_empty())
        else {
            return;
        };
        let room = entry.outbox.messages() <= limits.commands / 2
            && entry.outbox.bytes() <= limits.command_bytes / 2
            && entry.outbound < max_streams;
        if !room {
            return;
        }
        for slot in core::mem::take(&mut entry.openers) {
            self.deliver(slot, Targeted::StreamsAvailable { connection: id });
        }
    }

    fn lend(&mut self, id: ConnectionId, request: Lease) {
        let Some(Phase::Up { scope, .. }) = self.connections.get(id).map(|entry| &entry.phase)
        else {
            return;
        };
        let granted = self
            .ledger
            .lend(*scope, request, self.config.resources.block);
        self.connections
            .post(id, |outbox| outbox.answer_lease(granted));
    }

    /// Queues a message that cannot be refused. A connection that lets too many of them wait is closed.
    pub(super) fn control(&mut self, id: ConnectionId, message: ToConnectionMessage) {
        let limit = self.config.queues.commands.saturating_mul(8);
        let heard = self.connections.get_mut(id).and_then(|entry| {
            let enough = entry.ends_heard.len() >= ENDS_AT_ONCE;
            enough.then(|| core::mem::take(&mut entry.ends_heard))
        });
        let waiting = self.connections.post(id, |outbox| {
            // It travels with others, and wakes nobody by itself.
            if let Some(streams) = heard {
                outbox.push(ToConnectionMessage::EndsHeard { streams });
            }
            outbox.push(message);
            outbox.messages()
        });
        if waiting.is_some_and(|waiting| waiting > limit) {
            self.give_up(id);
        }
    }

    /// Nothing more will be said of a stream that is over: its connection need not remember how it ended.
    pub(super) fn end_heard(&mut self, id: ConnectionId, stream: StreamId) {
        let Some(entry) = self.connections.get_mut(id) else {
            return;
        };
        entry.ends_heard.push(stream);
        if entry.ends_heard.len() >= MOST_ENDS {
            let streams = core::mem::take(&mut entry.ends_heard);
            self.control(id, ToConnectionMessage::EndsHeard { streams });
        }
    }

    /// A protocol is about to be given a message.
    pub(super) fn handling(&mut self, stream: StreamRef) {
        let entry = self.connections.get_mut(stream.connection);
        if let Some(state) = entry.and_then(|entry| entry.streams.get_mut(&stream.stream)) {
            state.message = MessageState::Handled;
        }
    }

    /// A message was handled by its protocol: the next may come, unless the protocol paused.
    pub(super) fn consumed(&mut self, stream: StreamRef) {
        let entry = self.connections.get_mut(stream.connection);
        let Some(state) = entry.and_then(|entry| entry.streams.get_mut(&stream.stream)) else {
            return;
        };
        if state.message == MessageState::Handled && !state.paused {
            state.message = MessageState::Consumed;
            let message = ToConnectionMessage::Consumed {
                stream: stream.stream,
            };
            self.control(stream.connection, message);
        }
    }
}
