//! What the commands share: a host, a connection to one peer, waiting.

use crate::{
    args::{PeerOptions, RecordingOptions},
    executor,
    failure::Failure,
    keys,
    output::Output,
};
use bytes::Bytes;
use core::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};
use drywire::{
    identity::{Keypair, PeerId},
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    protocol::{
        identify::{self, Identify},
        kad::{self, AddressScope, Kademlia, Mode},
        ping::{self, Ping},
        request_response::{self, BytesCodec, Framing, ProtocolSupport, RequestResponse, Service},
    },
    swarm::{self, AddressFailure, AttemptError, DialError, DialOptions, TransportError},
};
use drywire_engine::{ConnectError, Dialed, Events, Stream, recording::FileRecorder};
use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

pub(crate) use drywire::protocol::ping::PROTOCOL as PING;
pub(crate) const ECHO: ProtocolName = ProtocolName::from_static("/echo/1.0.0");
pub(crate) const PERF: ProtocolName = ProtocolName::from_static("/perf/1.0.0");
/// Requests up to the half-close.
pub(crate) const ECHO_REQUEST: ProtocolName =
    ProtocolName::from_static("/drywire/echo-request/1.0.0");
/// Requests after their length.
pub(crate) const REQRES: ProtocolName = ProtocolName::from_static("/reqres/1.0.0");

/// Answers requests with themselves.
type EchoRequests = Service<BytesCodec, fn(PeerId, Bytes) -> Option<Bytes>>;

drywire::protocols! {
    /// What nodes of this program do besides streams.
    #[derive(Debug)]
    pub(crate) struct Protocols => ProtocolEvent {
        pub(crate) ping: Ping => Ping,
        pub(crate) identify: Identify => Identify,
        pub(crate) echo_requests: EchoRequests => EchoRequests,
        pub(crate) reqres: EchoRequests => Reqres,
        pub(crate) asking: RequestResponse<BytesCodec> => Asking,
        pub(crate) kad: Kademlia => Kad,
    }
}

/// A node of this program.
pub(crate) type Host = drywire_engine::Host<Protocols>;

/// The longest request or response of the `request` command.
const LARGEST_BODY: u32 = 16 * 1024 * 1024;
/// How long an ending program tries to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);
/// How much longer than its user the stack would wait, so that it is the user's time that ends and is named.
const LONGER: Duration = Duration::from_secs(1);

/// A node's part in a DHT.
#[derive(Clone, Debug)]
pub(crate) struct Dht {
    pub(crate) protocol: ProtocolName,
    pub(crate) mode: Mode,
}

impl Default for Dht {
    fn default() -> Self {
        Self {
            protocol: kad::PROTOCOL_NAME,
            mode: Mode::Server,
        }
    }
}

/// What a node is for.
#[derive(Clone, Debug)]
pub(crate) enum Role {
    /// It serves, pings its peers, and has the stack's own timeouts.
    Server(Dht),
    /// It only asks something, and waits so long for each answer.
    Client(Duration),
    /// A client that sends one request.
    Asker(Duration, ProtocolName, Framing),
    /// It asks a DHT, and waits so long for each answer; and which addresses it believes.
    Seeker(Duration, Dht, AddressScope),
    /// It asks and serves, also a DHT of its own kind, and waits so long for each answer.
    Peer(Duration, Box<kad::Config>),
}

/// The nodes a command has started, so that their peers hear a goodbye however the command ends.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    started: Mutex<Vec<Host>>,
    recorder: Mutex<Option<Recording>>,
}

#[derive(Debug)]
struct Recording {
    recorder: FileRecorder,
    file: PathBuf,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Role {
    /// As nodes are named in a recording.
    fn name(&self) -> String {
        match self {
            Self::Server(Dht { protocol, mode }) => format!("{SERVER}{mode} {protocol}"),
            Self::Client(timeout) => format!("{CLIENT}{}", timeout.as_nanos()),
            // What it asks is no part of a recording, so that it cannot be run again.
            Self::Asker(..) => ASKER.to_owned(),
            Self::Seeker(..) => SEEKER.to_owned(),
            Self::Peer(..) => PEER.to_owned(),
        }
    }

    /// Of a node with this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        if let Some(dht) = name.strip_prefix(SERVER) {
            let (mode, protocol) = dht.split_once(' ')?;
            let mode = [Mode::Server, Mode::Client]
                .into_iter()
                .find(|known| known.to_string() == mode)?;
            let protocol = protocol.parse().ok()?;
            return Some(Self::Server(Dht { protocol, mode }));
        }
        let nanos: u128 = name.strip_prefix(CLIENT)?.parse().ok()?;
        let (seconds, nanos) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
        let (seconds, nanos) = (u64::try_from(seconds).ok()?, u32::try_from(nanos).ok()?);
        Some(Self::Client(Duration::new(seconds, nanos)))
    }

    /// What such a node runs.
    pub(crate) fn protocols(&self) -> Protocols {
        configured(self).1
    }
}

const SERVER: &str = "node, of the DHT a ";
const CLIENT: &str = "client that waits for ns: ";
const ASKER: &str = "client that asks";
const SEEKER: &str = "client of a DHT";
const PEER: &str = "peer";

impl Hosts {
    /// A node with this identity.
    pub(crate) fn start(&self, keypair: Keypair, role: Role) -> Result<Host, Failure> {
        let (mut config, protocols) = configured(&role);
        let recording = lock(&self.recorder);
        config.recorder = recording
            .as_ref()
            .map(|recording| recording.recorder.host(&role.name()));
        let host = executor::host(keypair, config, protocols)?;
        lock(&self.started).push(host.clone());
        Ok(host)
    }

    /// Records all nodes started from now on, if that is wanted.
    pub(crate) fn record(
        &self,
        options: &RecordingOptions,
        output: &Output,
    ) -> Result<(), Failure> {
        let Some(file) = &options.record else {
            return Ok(());
        };
        let recorder = FileRecorder::create(file).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                Failure::failed(format!("{} exists already", file.display()))
            }
            _ => not_recorded(file, &error),
        })?;
        let file = file.clone();
        output.log(&format!(
            "recording to {}, which holds this node's secret keys",
            file.display()
        ));
        *lock(&self.recorder) = Some(Recording { recorder, file });
        Ok(())
    }

    /// Ends the recording, if there is one.
    pub(crate) fn finish_recording(&self) -> Result<(), Failure> {
        let recording = lock(&self.recorder).take();
        recording.map_or(Ok(()), |Recording { recorder, file }| {
            let finished = recorder.finish();
            finished
                .map(|_| ())
                .map_err(|error| not_recorded(&file, &error))
        })
    }

    /// Says goodbye to the peers of all nodes, unless that takes long.
    pub(crate) async fn goodbye(&self) {
        let hosts = core::mem::take(&mut *lock(&self.started));
        let goodbye = async {
            for host in &hosts {
                host.shutdown().await;
            }
        };
        let _ = executor::timeout(GOODBYE, goodbye).await;
    }
}

fn not_recorded(file: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!("cannot record to {}: {error}", file.display()))
}

/// Answers requests under this name with themselves, if `serves`.
fn echo_requests(name: ProtocolName, framing: Framing, serves: bool) -> EchoRequests {
    let config = request_response::Config::default().with_framing(framing);
    Service::new(BytesCodec, serves.then_some(name), config, |_, request| {
        Some(request)
    })
}

/// The DHT of a node; without one, it has no part in any.
fn dht(role: &Role) -> Kademlia {
    let dht = match role {
        Role::Server(dht) | Role::Seeker(_, dht, _) => dht.clone(),
        Role::Peer(_, config) => return Kademlia::new((**config).clone()).with_mode(Mode::Server),
        Role::Client(_) | Role::Asker(..) => {
            let mut config = kad::Config::default();
            config.protocol_names.clear();
            (config.periodic_bootstrap_interval, config.sweep_interval) = (None, None);
            config.liveness_interval = None;
            return Kademlia::new(config).with_mode(Mode::Client);
        }
    };
    let mut config = kad::Config::new(dht.protocol);
    if let Role::Seeker(timeout, _, scope) = role {
        config.query_timeout = *timeout;
        config.address_scope = *scope;
    }
    Kademlia::new(config).with_mode(dht.mode)
}

fn configured(role: &Role) -> (swarm::Config, Protocols) {
    let mut config = swarm::Config::default();
    let (mut ping, mut identify) = (ping::Config::default(), identify::Config::default());
    let mut asking = request_response::Config::default();
    let mut asks = None;
    if let Role::Asker(timeout, name, framing) = role {
        asks = Some((name.clone(), ProtocolSupport::Outbound));
        // The user may ask for anything that fits the node's memory.
        asking = asking
            .with_framing(*framing)
            .with_request_timeout(timeout.saturating_add(LONGER))
            .with_max_request_len(LARGEST_BODY)
            .with_max_response_len(LARGEST_BODY);
    }
    if let Role::Peer(..) = role {
        asks = Some((ECHO_REQUEST, ProtocolSupport::Outbound));
    }
    if let Role::Client(timeout)
    | Role::Asker(timeout, ..)
    | Role::Seeker(timeout, ..)
    | Role::Peer(timeout, _) = role
    {
        let longer = timeout.saturating_add(LONGER);
        config.dial.attempt_timeout = longer;
        config.dial.private_attempt_timeout = longer;
        config.connection.handshake_timeout = longer;
        config.connection.negotiation_timeout = longer;
        identify.timeout = longer;
        ping.automatic = false;
    }
    let serves = matches!(role, Role::Server(_) | Role::Peer(..));
    let protocols = Protocols {
        ping: Ping::new(ping),
        identify: Identify::new(identify),
        echo_requests: echo_requests(ECHO_REQUEST, Framing::ToEnd, serves),
        reqres: echo_requests(REQRES, Framing::LengthPrefixed, serves),
        asking: RequestResponse::new(asks, asking),
        kad: dht(role),
    };
    (config, protocols)
}

/// A connection to the peer a command is about.
#[derive(Debug)]
pub(crate) struct Session {
    host: Host,
    events: Events<Protocols>,
    peer: PeerId,
    timeout: Duration,
}

impl Session {
    /// Connects; the peer must be the one its address names, if it names one.
    pub(crate) async fn connect(
        options: &PeerOptions,
        hosts: &Hosts,
        output: &Output,
    ) -> Result<Self, Failure> {
        Self::connect_as(Role::Client(options.timeout), options, hosts, output).await
    }

    /// The same in a role of one's own.
    pub(crate) async fn connect_as(
        role: Role,
        options: &PeerOptions,
        hosts: &Hosts,
        output: &Output,
    ) -> Result<Self, Failure> {
        hosts.record(&options.recording, output)?;
        let host = hosts.start(keys::load(options.key.as_ref())?, role)?;
        let events = host.events(64);
        let dialed = dial(&host, &options.address, options.timeout).await?;
        Ok(Self {
            host,
            events,
            peer: dialed.peer,
            timeout: options.timeout,
        })
    }

    pub(crate) const fn host(&self) -> &Host {
        &self.host
    }

    pub(crate) const fn events(&mut self) -> &mut Events<Protocols> {
        &mut self.events
    }

    pub(crate) const fn peer(&self) -> PeerId {
        self.peer
    }

    pub(crate) async fn open(&self, name: ProtocolName) -> Result<Stream, Failure> {
        let open = async {
            let opened = self.host.open_stream(self.peer, name.clone()).await;
            opened.map_err(|error| Failure::failed(format!("cannot open {name}: {error}")))
        };
        within(self.timeout, "no answer to the opening of a stream", open).await
    }

    /// Says goodbye.
    pub(crate) async fn close(self) {
        self.host.shutdown().await;
    }
}

/// Connects to an address, and says in one sentence why not.
pub(crate) async fn dial(
    host: &Host,
    address: &Multiaddr,
    timeout: Duration,
) -> Result<Dialed, Failure> {
    let dialed = try_dial(host, address, timeout).await;
    dialed.map_err(|error| not_connected(address, timeout, &error))
}

/// Connects to an address.
pub(crate) async fn try_dial(
    host: &Host,
    address: &Multiaddr,
    timeout: Duration,
) -> Result<Dialed, ConnectError> {
    host.dial(DialOptions::address(address.clone()).timeout(timeout))
        .await
}

/// Why a dial of one address led to nothing.
pub(crate) fn not_connected(
    address: &Multiaddr,
    timeout: Duration,
    error: &ConnectError,
) -> Failure {
    let reason = match error {
        ConnectError::Dial(dial) => match (dial, dial.failures()) {
            (DialError::TimedOut { .. }, failures) => {
                let mut reason = format!("timed out after {} s", timeout.as_secs_f64());
                let told = |failure: &&AddressFailure| failure.error != AttemptError::TimedOut;
                for (index, failure) in failures.iter().filter(told).enumerate() {
                    reason.push_str(if index == 0 { "; " } else { ", " });
                    reason.push_str(&failure.to_string());
                }
                reason
            }
            (_, [only]) if only.error == AttemptError::Transport(TransportError::Unsupported) => {
                let reason = format!(
                    "no transport for {}: this program speaks /ip4, /ip6 or /dns* followed by /tcp/PORT",
                    only.address
                );
                if only.address.without_peer_id() == address.without_peer_id() {
                    return Failure::failed(reason);
                }
                reason
            }
            // The only address that was tried is the one just named.
            (_, [only]) => only.error.to_string(),
            _ => error.to_string(),
        },
        _ => error.to_string(),
    };
    Failure::failed(format!("cannot connect to {address}: {reason}"))
}

/// Waits for `future` no longer than `timeout`.
pub(crate) async fn within<T>(
    timeout: Duration,
    late: &str,
    future: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    match executor::timeout(timeout, future).await {
        Some(result) => result,
        None => Err(Failure::failed(format!(
            "{late} within {} s",
            timeout.as_secs_f64()
        ))),
    }
}

/// What `future` gives, or `None` if `stop` is done first.
pub(crate) async fn race<T>(
    stop: impl Future<Output = ()>,
    future: impl Future<Output = T>,
) -> Option<T> {
    let (mut stop, mut future) = (pin!(stop), pin!(future));
    poll_fn(|cx| {
        if stop.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Waits for both, or for the first failure.
pub(crate) async fn both(
    one: impl Future<Output = Result<(), Failure>>,
    other: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let (mut one_done, mut other_done) = (false, false);
    poll_fn(|cx| {
        if !one_done && let Poll::Ready(result) = one.as_mut().poll(cx) {
            result?;
            one_done = true;
        }
        if !other_done && let Poll::Ready(result) = other.as_mut().poll(cx) {
            result?;
            other_done = true;
        }
        if one_done && other_done {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    })
    .await
}

/// Runs `work` on a thread of its own. Once `stop` completes the flag it is given is set, and its end is waited for.
pub(crate) async fn stoppable<T: Send + 'static>(
    stop: impl Future<Output = ()>,
    work: impl FnOnce(&Arc<AtomicBool>) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let flag = Arc::new(AtomicBool::new(false));
    let mut work = executor::spawn_blocking({
        let flag = flag.clone();
        move || work(&flag)
    });
    let done = match race(stop, &mut work).await {
        Some(done) => done,
        None => {
            flag.store(true, Ordering::Relaxed);
            work.await
        }
    };
    done.map_err(Failure::failed)?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when the time a client waits is rounded.
    #[test]
    fn a_recording_tells_what_a_node_ran() {
        let waits = [0, 1, 20_500_000_000, u64::MAX].map(Duration::from_nanos);
        let of_own = Dht {
            protocol: "/my own/kad".parse().unwrap(),
            mode: Mode::Client,
        };
        let servers = [Role::Server(Dht::default()), Role::Server(of_own)];
        let roles = waits.map(Role::Client).into_iter().chain(servers);
        for role in roles.chain([Role::Client(Duration::MAX)]) {
            let again = Role::named(&role.name()).unwrap();
            assert_eq!(again.name(), role.name());
        }
        let strange = format!("{SERVER}king /kad");
        for name in [
            "",
            "nod",
            "node ",
            SERVER,
            &strange,
            "client",
            "client that waits for ns: -1",
        ] {
            assert!(Role::named(name).is_none(), "{name}");
        }
    }

    /// Fails when one of the timeouts keeps its default.
    #[test]
    fn nothing_gives_up_before_the_users_time_is_over() {
        for seconds in [0, 1, 60, 86_400, u64::MAX] {
            let timeout = Duration::from_secs(seconds);
            let (config, _) = configured(&Role::Client(timeout));
            for inner in [
                config.dial.attempt_timeout,
                config.dial.private_attempt_timeout,
                config.connection.handshake_timeout,
                config.connection.negotiation_timeout,
            ] {
                assert!(inner > timeout || timeout == Duration::MAX, "{seconds}");
            }
        }
        let server = Role::Server(Dht::default());
        assert_eq!(configured(&server).0, swarm::Config::default());
    }

    #[test]
    fn a_failed_dial_is_one_sentence() {
        let address: Multiaddr = "/dns/example.com/tcp/1".parse().unwrap();
        let failure = |address: &str, error| AddressFailure {
            address: address.parse().unwrap(),
            error,
        };
        let sentence = |error: DialError| {
            let timeout = Duration::from_millis(1500);
            not_connected(&address, timeout, &ConnectError::Dial(error)).to_string()
        };
        let refused = failure(
            "/ip4/1.2.3.4/tcp/1",
            AttemptError::Transport(TransportError::Refused),
        );
        let late = failure("/ip4/1.2.3.5/tcp/1", AttemptError::TimedOut);
        let strange = failure(
            "/ip4/1.2.3.4/udp/1",
            AttemptError::Transport(TransportError::Unsupported),
        );
        let head = "cannot connect to /dns/example.com/tcp/1: ";
        for (error, tail) in [
            (
                DialError::TimedOut {
                    failures: vec![late.clone()],
                },
                "timed out after 1.5 s",
            ),
            (
                DialError::TimedOut {
                    failures: vec![refused.clone(), late],
                },
                "timed out after 1.5 s; /ip4/1.2.3.4/tcp/1: connection refused",
            ),
            (
                DialError::AllFailed {
                    failures: vec![refused],
                },
                "connection refused",
            ),
            (
                DialError::AllFailed {
                    failures: vec![strange],
                },
                "no transport for /ip4/1.2.3.4/udp/1: this program speaks /ip4, /ip6 or /dns* followed by /tcp/PORT",
            ),
        ] {
            assert_eq!(sentence(error), format!("{head}{tail}"));
        }
    }
}
