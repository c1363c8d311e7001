//! `drywire node`: serves until it is told to stop.

use crate::{
    args::NodeOptions,
    failure::Failure,
    keys,
    output::Output,
    services,
    session::{Host, ProtocolEvent, dial, interrupted, race, start},
};
use drywire::{
    multiaddr::Multiaddr,
    protocol::{identify, ping},
    swarm::Event,
};
use std::{process, time::Duration};

/// Events that may wait to be printed.
const EVENTS: usize = 1024;
/// From one try to reach a bootstrap peer to the next.
const BOOTSTRAP_EVERY: Duration = Duration::from_secs(60);
const BOOTSTRAP_TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) async fn run(options: NodeOptions, output: &Output) -> Result<(), Failure> {
    if let Some(nameless) = options
        .bootstrap
        .iter()
        .find(|address| address.peer_id().is_none())
    {
        return Err(Failure::usage(format!(
            "the bootstrap address {nameless} does not end with /p2p/ and a peer id"
        )));
    }
    let host = start(keys::load(options.key.as_ref())?, true)?;
    // Before anything is said, so that a signal sent in answer to it is not missed.
    let mut stop = core::pin::pin!(interrupted());
    let mut events = host.events(EVENTS);
    let failed = |error: &dyn core::fmt::Display| Failure::failed(error);
    services::serve_echo(&host).map_err(|error| failed(&error))?;
    if options.perf {
        services::serve_perf(&host).map_err(|error| failed(&error))?;
    }
    for address in options.listen {
        let bound = host.listen(address.clone()).await;
        let bound = bound
            .map_err(|error| Failure::failed(format!("cannot listen on {address}: {error}")))?;
        announce(&host, &bound.address, output)?;
    }
    for address in options.bootstrap {
        tokio::spawn(keep_connected(host.clone(), address, *output));
    }
    let watch = async {
        while let Some(event) = events.next().await {
            report(event, output);
        }
    };
    race(stop.as_mut(), watch).await;
    // Who insists is obeyed.
    tokio::spawn(async {
        interrupted().await;
        process::exit(130);
    });
    host.shutdown().await;
    Ok(())
}

/// Says where the node listens: at the interfaces' addresses, if it was told to listen on all of them.
fn announce(host: &Host, bound: &Multiaddr, output: &Output) -> Result<(), Failure> {
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
        );
    }
    Ok(())
}

/// Connects to a peer, again and again.
async fn keep_connected(host: Host, address: Multiaddr, output: Output) {
    loop {
        if let Err(failure) = dial(&host, &address, BOOTSTRAP_TIMEOUT).await {
            output.log(&failure.to_string());
        }
        tokio::time::sleep(BOOTSTRAP_EVERY).await;
    }
}

/// Tells programs on stdout, and people on stderr, what happens.
fn report(event: Event<ProtocolEvent>, output: &Output) {
    match event {
        Event::ConnectionEstablished { peer, point, .. } => {
            let (peer, remote) = (peer.to_base58(), point.remote.to_string());
            output.report(
                "connected",
                &[
                    ("peer", peer.as_str().into()),
                    ("address", remote.as_str().into()),
                ],
            );
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
            );
            output.log(&format!("disconnected: {peer}: {reason}"));
        }
        Event::IncomingFailed { remote, error, .. } => {
            output.log(&format!("from {remote}: {error}"))
        }
        Event::AcceptFailed { error, .. } => {
            output.log(&format!("cannot accept a connection: {error}"))
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
                    );
                }
                Err(failure) => output.log(&format!("ping of {peer}: {failure}")),
            }
        }
        Event::Protocol(ProtocolEvent::Identify(identify::Event::Received {
            peer, info, ..
        })) => {
            let fields = [
                ("peer", peer.to_base58().into()),
                ("agent", info.agent_version.as_str().into()),
            ];
            output.report("identified", &fields);
        }
        _ => {}
    }
}
