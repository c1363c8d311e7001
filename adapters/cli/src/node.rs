//! `drywire node`: serves until it is told to stop.

use crate::{
    args::NodeOptions,
    executor::{self, Task, interrupted},
    failure::Failure,
    keys,
    output::Output,
    services,
    session::{Dht, Host, Hosts, ProtocolEvent, Protocols, Role, dial, race},
};
use drywire::{
    connection::{OpenError, StreamError},
    multiaddr::Multiaddr,
    protocol::{identify, kad, ping},
    swarm::{Event, TransportError},
};
use drywire_engine::{Events, ListenError};
use std::time::Duration;

/// Events that may wait to be printed.
const EVENTS: usize = 1024;
/// From one try to reach a bootstrap peer to the next.
const BOOTSTRAP_EVERY: Duration = Duration::from_secs(60);
/// What they need of it is a moment.
const SERVICES_END: Duration = Duration::from_secs(1);
const BOOTSTRAP_TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) async fn run(
    options: NodeOptions,
    hosts: &Hosts,
    output: &Output,
) -> Result<(), Failure> {
    if let Some(nameless) = options
        .bootstrap
        .iter()
        .find(|address| address.peer_id().is_none())
    {
        return Err(Failure::usage(format!(
            "the bootstrap address {nameless} does not end with /p2p/ and a peer id"
        )));
    }
    let keypair = keys::load(options.key.as_ref())?;
    let own = keypair.peer_id();
    let others = |address: &&Multiaddr| address.peer_id().is_some_and(|peer| peer != own);
    if let Some(others) = options.listen.iter().find(others) {
        return Err(Failure::usage(format!(
            "the listen address {others} ends with the id of another peer, this node is {own}"
        )));
    }
    // Before anything is said, so that a signal sent in answer to it is not missed.
    let stop = interrupted();
    hosts.record(&options.recording, output)?;
    let dht = Dht {
        protocol: options.kad_protocol.clone(),
        mode: options.kad.into(),
    };
    let host = hosts.start(keypair, Role::Server(dht))?;
    let events = host.events(EVENTS);
    let mut services = Vec::new();
    let serving = serve(&host, options, &mut services, events, output);
    if let Some(result) = race(stop, serving).await {
        return result;
    }
    host.shutdown().await;
    // They tell the host that they end, which is part of a recording.
    let ended = async {
        for service in services {
            let _ = service.await;
        }
    };
    let _ = executor::timeout(SERVICES_END, ended).await;
    Ok(())
}

/// Serves and tells until the host ends.
async fn serve(
    host: &Host,
    options: NodeOptions,
    services: &mut Vec<Task<()>>,
    mut events: Events<Protocols>,
    output: &Output,
) -> Result<(), Failure> {
    services.push(services::serve_echo(host).map_err(Failure::failed)?);
    if options.perf {
        services.push(services::serve_perf(host).map_err(Failure::failed)?);
    }
    for address in options.listen {
        let bound = host.listen(address.without_peer_id()).await;
        let bound = bound.map_err(|error| not_listening(&address, &error))?;
        announce(host, &bound.address, output)?;
    }
    for address in options.bootstrap {
        executor::spawn(keep_connected(host.clone(), address, *output));
    }
    while let Some(event) = events.next().await {
        report(event, output)?;
    }
    Ok(())
}

pub(crate) fn not_listening(address: &Multiaddr, error: &ListenError) -> Failure {
    Failure::failed(match error {
        ListenError::Transport(TransportError::Unsupported) => format!(
            "no transport for {address}: this program listens on /ip4 or /ip6 followed by /tcp/PORT"
        ),
        _ => format!("cannot listen on {address}: {error}"),
    })
}

/// Says where the node listens: at the interfaces' addresses, if it was told to listen on all of them.
pub(crate) fn announce(host: &Host, bound: &Multiaddr, output: &Output) -> Result<(), Failure> {
    let mut addresses = vec![bound.clone()];
    if bound.is_unspecified() {
        let port = bound.socket_addr().map(|(_, port, _)| port);
        let own = host.listen_addresses();
        let same = |address: &Multiaddr| address.socket_addr().map(|(_, port, _)| port) == port;
        let expanded: Vec<Multiaddr> = own.into_iter().filter(same).collect();
        if !expanded.is_empty() {
            addresses = expanded;
        }
    }
    for address in addresses {
        let full = address
            .with_peer_id(host.peer_id())
            .map_err(Failure::failed)?
            .to_string();
        output.say(
            &format!("LISTEN {full}"),
            "listen",
            &[("address", full.as_str().into())],
        )?;
    }
    Ok(())
}

/// Connects to a peer, again and again.
async fn keep_connected(host: Host, address: Multiaddr, output: Output) {
    loop {
        if let Err(failure) = dial(&host, &address, BOOTSTRAP_TIMEOUT).await {
            output.log(&failure.to_string());
        }
        executor::sleep(BOOTSTRAP_EVERY).await;
    }
}

/// Tells programs on stdout, and people on stderr, what happens.
fn report(event: Event<ProtocolEvent>, output: &Output) -> Result<(), Failure> {
    match event {
        Event::ConnectionEstablished { peer, point, .. } => {
            let (peer, remote) = (peer.to_base58(), point.remote.to_string());
            output.report(
                "connected",
                &[
                    ("peer", peer.as_str().into()),
                    ("address", remote.as_str().into()),
                ],
            )?;
            output.log(&format!("connected: {peer} at {remote}"));
        }
        Event::ConnectionClosed { peer, reason, .. } => {
            let (peer, reason) = (peer.to_base58(), reason.to_string());
            output.report(
                "disconnected",
                &[
                    ("peer", peer.as_str().into()),
                    ("reason", reason.as_str().into()),
                ],
            )?;
            output.log(&format!("disconnected: {peer}: {reason}"));
        }
        Event::IncomingFailed { remote, error, .. } => {
            output.log(&format!("from {remote}: {error}"));
        }
        Event::AcceptFailed { error, .. } => {
            output.log(&format!("cannot accept a connection: {error}"));
        }
        Event::Protocol(ProtocolEvent::Ping(ping::Event { peer, result, .. })) => {
            let peer = peer.to_base58();
            match result {
                Ok(time) => {
                    output.report(
                        "ping",
                        &[
                            ("peer", peer.into()),
                            ("rtt_ms", (time.as_secs_f64() * 1e3).into()),
                        ],
                    )?;
                }
                // A peer that is leaving, which is told by itself.
                Err(ping::Failure::Stream(StreamError::Open(OpenError::GoingAway))) => {}
                Err(failure) => output.log(&format!("ping of {peer}: {failure}")),
            }
        }
        Event::Protocol(ProtocolEvent::Kad(event)) => report_dht(event, output)?,
        Event::Protocol(ProtocolEvent::Identify(identify::Event::Received {
            peer, info, ..
        })) => {
            let fields = [
                ("peer", peer.to_base58().into()),
                ("agent", info.agent_version.as_str().into()),
            ];
            output.report("identified", &fields)?;
        }
        _ => {}
    }
    Ok(())
}

/// Who comes into the routing table, and what peers want of it.
fn report_dht(event: kad::Event, output: &Output) -> Result<(), Failure> {
    match event {
        kad::Event::RoutingUpdated {
            peer,
            is_new_peer: true,
            addresses,
            ..
        } => {
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            let fields = [
                ("peer", peer.to_base58().into()),
                ("addresses", addresses.into()),
            ];
            output.report("kad_peer", &fields)?;
            output.log(&format!("in the routing table: {peer}"));
        }
        kad::Event::InboundRequest {
            request: kad::InboundRequest::PutRecord { source, .. },
        } => output.report("kad_put", &[("peer", source.to_base58().into())])?,
        kad::Event::InboundRequest {
            request: kad::InboundRequest::AddProvider { .. },
        } => output.report("kad_provider", &[])?,
        _ => {}
    }
    Ok(())
}
