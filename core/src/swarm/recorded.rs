//! What a swarm writes down: everything that goes in, and everything that comes out.
//!
//! As for a connection: one entry per call that is an input, as the call begins; one per output, as it is given. What is only
//! ever compared or read by people (events, actions, refusals) is written as text.

use super::{
    AcceptError, Action, AttemptId, Config, DialError, DialId, DialOptions, ListenError,
    ListenerId, ListenerUpdate, Protocol, Refused, ResolveId, Resolved, Swarm, TransportError,
};
use crate::{
    connection::{
        Accept, ConnectedPoint, ConnectionId, ConnectionStart, Digest, Machine, Secret, Tap,
        ToSwarm,
    },
    identity::{Keypair, PeerId},
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    security,
    seed::Seed,
    time::{Instant, UnixTime},
};
use alloc::{borrow::Cow, boxed::Box, vec::Vec};
use core::{fmt, net::IpAddr};
use serde::{Deserialize, Serialize};

/// One entry of a swarm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SwarmEntry<'a> {
    /// The swarm is gone: its host has dropped it.
    End,
    /// Something went in.
    Input {
        /// When, by the swarm's clock.
        now: Instant,
        /// What.
        #[serde(borrow)]
        input: SwarmInput<'a>,
    },
    /// Something came out.
    Output(#[serde(borrow)] SwarmOutput<'a>),
}

/// What goes into a swarm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SwarmInput<'a> {
    /// `new`. Holds the node's key and all its secrets.
    Start(Box<RecordedSwarm>),
    /// `handle_accept`.
    Accept(Cow<'a, ConnectedPoint>),
    /// `handle_dialed`.
    Dialed {
        /// The attempt.
        attempt: AttemptId,
        /// What came of it.
        result: Result<Cow<'a, ConnectedPoint>, Cow<'a, TransportError>>,
    },
    /// `handle_message`.
    Message {
        /// Of this connection.
        connection: ConnectionId,
        /// The message.
        message: Cow<'a, ToSwarm>,
    },
    /// `handle_closed`.
    Closed(ConnectionId),
    /// `handle_listener`.
    Listener {
        /// The listener.
        listener: ListenerId,
        /// What became of it.
        update: Cow<'a, ListenerUpdate>,
    },
    /// `handle_resolved`.
    Resolved {
        /// The lookup.
        lookup: ResolveId,
        /// The answer.
        answer: Result<Cow<'a, Resolved>, Cow<'a, TransportError>>,
    },
    /// `handle_interfaces`.
    Interfaces(Cow<'a, [IpAddr]>),
    /// `handle_wall_clock`.
    WallClock(UnixTime),
    /// `handle_timeout`.
    Timeout,
    /// `dial`.
    Dial(Cow<'a, DialOptions>),
    /// `cancel_dial`.
    CancelDial(DialId),
    /// `listen`.
    Listen(Cow<'a, Multiaddr>),
    /// `stop_listening`.
    StopListening(ListenerId),
    /// `disconnect`.
    Disconnect(PeerId),
    /// `close`.
    Close(ConnectionId),
    /// `shutdown`.
    Shutdown,
    /// `deny_peer`.
    DenyPeer(PeerId),
    /// `allow_peer`.
    AllowPeer(PeerId),
    /// `deny_network`.
    DenyNetwork(IpAddr, u8),
    /// `allow_network`.
    AllowNetwork(IpAddr, u8),
    /// `add_address`.
    AddAddress(PeerId, Cow<'a, Multiaddr>),
    /// `remove_address`.
    RemoveAddress(PeerId, Cow<'a, Multiaddr>),
    /// `add_external_address`.
    AddExternal(Cow<'a, Multiaddr>),
    /// `remove_external_address`.
    RemoveExternal(Cow<'a, Multiaddr>),
    /// `accept`.
    AcceptStreams(Cow<'a, ProtocolName>, Accept),
    /// `unaccept`.
    UnacceptStreams(Cow<'a, ProtocolName>),
    /// `with`: the closure itself cannot be written down. To run the swarm again, the same one is needed.
    Closure {
        /// Counts the closures of this swarm, from 0.
        number: u64,
    },
}

/// What comes out of a swarm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SwarmOutput<'a> {
    /// `handle_accept` or `handle_dialed` wants this connection.
    Started {
        /// Its name.
        connection: ConnectionId,
        /// Stands for its seed.
        seed: Digest,
    },
    /// `handle_dialed` does not want the connection.
    Unwanted,
    /// `dial` has begun.
    Dialing(DialId),
    /// `listen` has begun.
    Listening(ListenerId),
    /// Something that may be refused was: why, as text.
    Refused(&'a str),
    /// What a command returned: a number, or whether.
    Answer(u64),
    /// `poll_action`, but for messages to connections; as text.
    Action(&'a str),
    /// `poll_action` gave a message to a connection.
    Message {
        /// The connection.
        connection: ConnectionId,
        /// Its kind.
        kind: &'a str,
        /// Stands for its encoding.
        digest: Digest,
    },
    /// `poll_event`, as text.
    Event(&'a str),
}

/// Everything that a swarm was made with, but for its protocols.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordedSwarm {
    config: Config,
    /// As protobuf.
    keypair: Vec<u8>,
    seed: Secret,
    unix: UnixTime,
}

impl fmt::Debug for RecordedSwarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordedSwarm")
            .field("config", &self.config)
            .field("unix", &self.unix)
            .finish_non_exhaustive()
    }
}

impl RecordedSwarm {
    /// The same swarm once more; it keeps its entries for [`Swarm::replayed`].
    pub(crate) fn start<P: Protocol>(
        self,
        protocols: P,
        now: Instant,
    ) -> Result<Swarm<P>, security::Error> {
        let keypair = Keypair::from_protobuf(&self.keypair).map_err(security::Error::from)?;
        let seed = Seed::from_entropy(self.seed.0);
        let tap = Tap::keeping(Machine::Swarm);
        Swarm::new_noting(self.config, keypair, protocols, (seed, now, self.unix), tap)
    }
}

impl<P: Protocol> Swarm<P> {
    /// [`new`](Self::new), writing down to `tap`.
    pub(super) fn new_noting(
        config: Config,
        keypair: Keypair,
        protocols: P,
        (seed, now, unix): (Seed, Instant, UnixTime),
        mut tap: Tap,
    ) -> Result<Self, security::Error> {
        if tap.is_on() {
            let recorded = RecordedSwarm {
                config: config.clone(),
                keypair: keypair.to_protobuf().to_vec(),
                seed: Secret(seed.to_bytes()),
                unix,
            };
            let input = SwarmInput::Start(Box::new(recorded));
            tap.write(&SwarmEntry::Input { now, input });
        }
        let made = Self::make(config, keypair, protocols, seed, now, unix);
        made.map(|mut swarm| {
            swarm.tap = tap;
            swarm
        })
    }

    /// Writes an input down.
    pub(super) fn note(&mut self, input: SwarmInput<'_>) {
        let now = self.state.now;
        self.tap.write(&SwarmEntry::Input { now, input });
    }

    pub(super) fn note_closure(&mut self) {
        let number = self.closures;
        self.closures = number.saturating_add(1);
        self.note(SwarmInput::Closure { number });
    }

    fn note_output(&mut self, output: SwarmOutput<'_>) {
        self.tap.write(&SwarmEntry::Output(output));
    }

    fn note_text(
        &mut self,
        value: &impl fmt::Debug,
        output: impl for<'a> FnOnce(&'a str) -> SwarmOutput<'a>,
    ) {
        let text = self.tap.text(value);
        self.tap.write(&SwarmEntry::Output(output(&text)));
        self.tap.reuse(text);
    }

    pub(super) fn note_answer(&mut self, answer: u64) {
        self.note_output(SwarmOutput::Answer(answer));
    }

    pub(super) fn note_accepted(&mut self, accepted: &Result<ConnectionStart, Refused>) {
        match accepted {
            Ok(start) => self.note_started(Some(start)),
            Err(refused) => self.note_text(refused, |text| SwarmOutput::Refused(text)),
        }
    }

    pub(super) fn note_started(&mut self, start: Option<&ConnectionStart>) {
        self.note_output(match start {
            Some(start) => SwarmOutput::Started {
                connection: start.id(),
                seed: Digest::of(&start.seed.to_bytes()),
            },
            None => SwarmOutput::Unwanted,
        });
    }

    pub(super) fn note_dialing(&mut self, dialing: &Result<DialId, DialError>) {
        match dialing {
            Ok(dial) => self.note_output(SwarmOutput::Dialing(*dial)),
            Err(error) => self.note_text(error, |text| SwarmOutput::Refused(text)),
        }
    }

    pub(super) fn note_listening(&mut self, listening: &Result<ListenerId, ListenError>) {
        match listening {
            Ok(listener) => self.note_output(SwarmOutput::Listening(*listener)),
            Err(error) => self.note_text(error, |text| SwarmOutput::Refused(text)),
        }
    }

    pub(super) fn note_accepted_name(&mut self, accepted: &Result<(), AcceptError>) {
        if let Err(error) = accepted {
            self.note_text(error, |text| SwarmOutput::Refused(text));
        }
    }

    pub(super) fn note_action(&mut self, action: Option<&Action>) {
        match action {
            None => {}
            Some(Action::ToConnection(connection, message)) => {
                let output = SwarmOutput::Message {
                    connection: *connection,
                    kind: message.kind(),
                    digest: self.tap.digest(message),
                };
                self.note_output(output);
            }
            Some(other) => self.note_text(other, |text| SwarmOutput::Action(text)),
        }
    }

    pub(super) fn note_event(&mut self, event: Option<&impl fmt::Debug>) {
        if let Some(event) = event {
            self.note_text(event, |text| SwarmOutput::Event(text));
        }
    }

    /// The oldest entry that this swarm, run again, has written and nobody has taken.
    pub(crate) fn replayed(&mut self) -> Option<Vec<u8>> {
        self.tap.take_kept()
    }

    /// Does what an entry tells of. `closure` stands for the closure of this number.
    pub(crate) fn replay(
        &mut self,
        entry: SwarmEntry<'_>,
        closure: impl FnOnce(u64, &mut P, &mut super::Context<'_, P::Event>),
    ) {
        match entry {
            SwarmEntry::Input {
                now,
                input: SwarmInput::Closure { number },
            } => self.with(now, |protocols, cx| closure(number, protocols, cx)),
            SwarmEntry::Input { now, input } => self.replay_input(now, input),
            SwarmEntry::Output(SwarmOutput::Action(_) | SwarmOutput::Message { .. }) => {
                self.poll_action();
            }
            SwarmEntry::Output(SwarmOutput::Event(_)) => {
                self.poll_event();
            }
            // What calls return comes of the calls.
            SwarmEntry::End | SwarmEntry::Output(_) => {}
        }
    }

    fn replay_input(&mut self, now: Instant, input: SwarmInput<'_>) {
        use SwarmInput as Input;
        self.state.advance(now);
        match input {
            Input::Start(_) | Input::Closure { .. } => {}
            Input::Accept(point) => _ = self.handle_accept(now, point.into_owned()),
            Input::Dialed { attempt, result } => {
                let result = result.map(Cow::into_owned).map_err(Cow::into_owned);
                let _ = self.handle_dialed(now, attempt, result);
            }
            Input::Message {
                connection,
                message,
            } => self.handle_message(now, connection, message.into_owned()),
            Input::Closed(connection) => self.handle_closed(now, connection),
            Input::Listener { listener, update } => {
                self.handle_listener(now, listener, update.into_owned());
            }
            Input::Resolved { lookup, answer } => {
                let answer = answer.map(Cow::into_owned).map_err(Cow::into_owned);
                self.handle_resolved(now, lookup, answer);
            }
            Input::Interfaces(interfaces) => self.handle_interfaces(now, interfaces.into_owned()),
            Input::WallClock(unix) => self.handle_wall_clock(now, unix),
            Input::Timeout => self.handle_timeout(now),
            Input::Dial(options) => _ = self.dial(now, options.into_owned()),
            Input::CancelDial(dial) => _ = self.cancel_dial(now, dial),
            Input::Listen(address) => _ = self.listen(now, address.into_owned()),
            Input::StopListening(listener) => _ = self.stop_listening(now, listener),
            Input::Disconnect(peer) => _ = self.disconnect(now, &peer),
            Input::Close(connection) => self.close(now, connection),
            Input::Shutdown => self.shutdown(now),
            Input::DenyPeer(peer) => self.deny_peer(now, peer),
            Input::AllowPeer(peer) => _ = self.allow_peer(&peer),
            Input::DenyNetwork(network, prefix) => self.deny_network(network, prefix),
            Input::AllowNetwork(network, prefix) => _ = self.allow_network(network, prefix),
            Input::AddAddress(peer, address) => _ = self.add_address(now, peer, &address),
            Input::RemoveAddress(peer, address) => self.remove_address(peer, &address),
            Input::AcceptStreams(name, accept) => {
                let _ = self.accept(now, name.into_owned(), accept);
            }
            Input::UnacceptStreams(name) => _ = self.unaccept(now, &name),
            Input::AddExternal(address) => self.add_external_address(now, &address),
            Input::RemoveExternal(address) => self.remove_external_address(now, &address),
        }
    }
}
