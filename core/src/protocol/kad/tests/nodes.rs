//! Whole nodes, with identify beside the DHT, on pipes.

use crate::{
    identity::PeerId,
    multistream::ProtocolName,
    node::net::{Net, address, peer},
    protocol::{
        identify::{self, Identify},
        kad::{
            Config, Event, GetProvidersOk, GetRecordError, GetRecordOk, Kademlia, Mode,
            PutRecordError, QueryId, QueryOptions, QueryResult, Quorum, Record, RoutingUpdate,
        },
    },
    protocols,
    swarm::{Config as SwarmConfig, SecurityConfig},
};
use core::time::Duration;
use std::vec::Vec;

protocols! {
    struct Town => TownEvent {
        identify: Identify => Identify,
        kad: Kademlia => Kad,
    }
}

const NAME: ProtocolName = ProtocolName::from_static("/test/kad/1");

fn config() -> Config {
    let mut config = Config::new(NAME);
    config.automatic_bootstrap_throttle = None;
    config.periodic_bootstrap_interval = None;
    config
}

/// Nodes that are servers, or clients until they learn of an external address.
fn town(modes: &[Option<Mode>]) -> Net<Town> {
    Net::new(
        modes.len(),
        &SwarmConfig::new(SecurityConfig::InsecurePlaintext),
        |number| {
            let mut kad = Kademlia::new(config());
            if let Some(mode) = modes[number] {
                kad = kad.with_mode(mode);
            }
            Town {
                identify: Identify::new(identify::Config::default()),
                kad,
            }
        },
    )
}

fn with<R>(
    net: &mut Net<Town>,
    number: usize,
    run: impl FnOnce(&mut Kademlia, &mut crate::swarm::Context<'_, Event>) -> R,
) -> R {
    let now = net.now;
    let result = net.nodes[number].with(now, |town, cx| town.kad(cx, run));
    net.settle();
    result
}

fn told(net: &mut Net<Town>, number: usize) -> Vec<Event> {
    let told = net.told(number).into_iter();
    told.filter_map(|event| match event {
        TownEvent::Kad(event) => Some(event),
        TownEvent::Identify(_) => None,
    })
    .collect()
}

fn knows(net: &Net<Town>, number: usize, other: usize) -> bool {
    let kad = &net.nodes[number].swarm().protocols().kad;
    kad.dht().table().contains(&peer(other))
}

fn results(net: &mut Net<Town>, number: usize, query: QueryId) -> Vec<(QueryResult, bool)> {
    let told = told(net, number).into_iter();
    told.filter_map(|event| match event {
        Event::OutboundQueryProgressed {
            id, result, step, ..
        } if id == query => Some((result, step.last)),
        _ => None,
    })
    .collect()
}

const SERVER: Option<Mode> = Some(Mode::Server);
const CLIENT: Option<Mode> = Some(Mode::Client);

#[test]
fn a_server_is_added_by_a_client_and_not_the_other_way_round() {
    let mut net = town(&[CLIENT, SERVER]);
    net.dial(0, 1);
    net.run_for(Duration::from_secs(1));
    assert!(knows(&net, 0, 1));
    assert!(!knows(&net, 1, 0));
}

#[test]
fn two_servers_add_each_other() {
    let mut net = town(&[SERVER, SERVER]);
    net.dial(0, 1);
    net.run_for(Duration::from_secs(1));
    assert!(knows(&net, 0, 1) && knows(&net, 1, 0));
}

#[test]
fn an_external_address_makes_a_server_on_connections_that_are_up() {
    let mut net = town(&[SERVER, None]);
    net.dial(0, 1);
    net.run_for(Duration::from_secs(1));
    assert!(!knows(&net, 0, 1));
    let now = net.now;
    net.nodes[1].with(now, |_, cx| cx.confirm_external(&address(1)));
    net.run_for(Duration::from_secs(5));
    assert!(knows(&net, 0, 1), "the push of identify was not followed");
    let modes = told(&mut net, 1);
    let changed = Event::ModeChanged {
        new_mode: Mode::Server,
    };
    assert_eq!(modes.iter().filter(|event| **event == changed).count(), 1);
}

/// Regression: rust-libp2p 4639: a server that becomes a client stays in tables.
#[test]
fn a_server_that_becomes_a_client_is_dropped_and_refuses() {
    let mut net = town(&[SERVER, SERVER]);
    net.dial(0, 1);
    net.run_for(Duration::from_secs(1));
    assert!(knows(&net, 0, 1));
    with(&mut net, 1, |kad, cx| kad.set_mode(CLIENT, cx));
    net.run_for(Duration::from_secs(5));
    assert!(!knows(&net, 0, 1));
    let events = told(&mut net, 1);
    let changed = |event: &Event| matches!(event, Event::ModeChanged { .. });
    assert!(!events.iter().any(changed), "it was told to, not by itself");
    // Who asks it all the same is refused.
    let put = with(&mut net, 0, |kad, cx| {
        kad.put_record_to(Record::new("key", "value"), [peer(1)], Quorum::One, cx)
    })
    .unwrap();
    net.run_for(Duration::from_secs(5));
    let results = results(&mut net, 0, put);
    let [(QueryResult::PutRecord(Err(error)), true)] = results.as_slice() else {
        panic!("{results:?}")
    };
    assert!(matches!(error, PutRecordError::QuorumFailed { success, .. } if success.is_empty()));
    let kad = &net.nodes[1].swarm().protocols().kad;
    assert_eq!(kad.dht().store().records().count(), 0);
}

#[test]
fn records_and_providers_go_around_on_streams() {
    let mut net = town(&[SERVER; 6]);
    for number in 1..6 {
        net.dial(number, 0);
    }
    net.run_for(Duration::from_secs(1));
    for number in 0..6 {
        with(&mut net, number, |kad, cx| kad.bootstrap(cx)).unwrap();
        net.run_for(Duration::from_secs(1));
    }
    for number in 0..6 {
        let kad = &net.nodes[number].swarm().protocols().kad;
        assert_eq!(kad.dht().table().len(), 5, "{number}: {kad:?}");
        told(&mut net, number);
    }
    let put = with(&mut net, 1, |kad, cx| {
        kad.put_record(Record::new("key", "value"), Quorum::AllFound, cx)
    })
    .unwrap();
    net.run_for(Duration::from_secs(1));
    let stored = results(&mut net, 1, put);
    assert!(
        matches!(stored.as_slice(), [(QueryResult::PutRecord(Ok(ok)), true)] if ok.success.len() == 5),
        "{stored:?}"
    );
    let get = with(&mut net, 4, |kad, cx| kad.get_record("key", cx)).unwrap();
    net.run_for(Duration::from_secs(1));
    let got = results(&mut net, 4, get);
    let Some((
        QueryResult::GetRecord(Ok(GetRecordOk::FinishedWithNoAdditionalRecord { best, .. })),
        true,
    )) = got.last()
    else {
        panic!("{got:?}")
    };
    assert_eq!(best.record.value, "value");
    let provide = with(&mut net, 2, |kad, cx| kad.start_providing("thing", cx)).unwrap();
    net.run_for(Duration::from_secs(1));
    let provided = results(&mut net, 2, provide);
    assert!(
        matches!(provided.as_slice(), [(QueryResult::StartProviding(Ok(ok)), true)] if ok.told == 5),
        "{provided:?}"
    );
    let find = with(&mut net, 5, |kad, cx| kad.get_providers("thing", cx)).unwrap();
    net.run_for(Duration::from_secs(1));
    let found = results(&mut net, 5, find);
    let Some((
        QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })),
        false,
    )) = found.first()
    else {
        panic!("{found:?}")
    };
    assert_eq!(providers[0].peer, peer(2));
    assert!(providers[0].addresses.contains(&address(2)));
    // Nothing is left over.
    net.run_for(Duration::from_secs(20));
    for number in 0..6 {
        let kad = &net.nodes[number].swarm().protocols().kad;
        assert_eq!(kad.open_requests(), 0, "{number}");
        kad.dht().audit().unwrap();
    }
}

/// A peer that is gone costs a lookup nothing but the dial, and is in no result.
#[test]
fn a_peer_that_cannot_be_reached_is_in_no_result() {
    let mut net = town(&[SERVER; 3]);
    net.dial(0, 1);
    net.run_for(Duration::from_secs(1));
    let nobody: PeerId = peer(77);
    let added = with(&mut net, 0, |kad, cx| {
        kad.add_address(nobody, &address(77), cx)
    });
    assert_eq!(added, RoutingUpdate::Success);
    let find = with(&mut net, 0, |kad, cx| kad.get_closest_peers("key", cx)).unwrap();
    net.run_for(Duration::from_secs(30));
    let found = results(&mut net, 0, find);
    let [(QueryResult::GetClosestPeers(Ok(ok)), true)] = found.as_slice() else {
        panic!("{found:?}")
    };
    let peers: Vec<_> = ok.peers.iter().map(|info| info.peer).collect();
    assert_eq!(peers, [peer(1)]);
}

/// Regression: a peer that could not be dialed was told of within the call, and so was the next one, a call in a call for each.
#[test]
fn a_thousand_peers_that_cannot_be_dialed_are_no_thousand_calls_in_each_other() {
    let mut swarm = SwarmConfig::new(SecurityConfig::InsecurePlaintext);
    swarm.dial.max_dials = 0;
    let mut net = Net::new(1, &swarm, |_| {
        let mut config = config();
        config.kbucket_size = core::num::NonZeroUsize::new(1_000).unwrap();
        Town {
            identify: Identify::new(identify::Config::default()),
            kad: Kademlia::new(config),
        }
    });
    let query = with(&mut net, 0, |kad, cx| {
        for number in 1..=1_000_usize {
            let [.., high, low] = number.to_be_bytes();
            let at = std::format!("/ip4/10.0.{high}.{low}/tcp/4001");
            let added = kad.add_address(peer(number), &at.parse().unwrap(), cx);
            assert_eq!(added, RoutingUpdate::Success);
        }
        let mut options = QueryOptions::new();
        options.num_results = core::num::NonZeroUsize::new(1_000);
        kad.get_record_with("key", options, cx).unwrap()
    });
    let results = results(&mut net, 0, query);
    assert!(
        matches!(
            &results[..],
            [(
                QueryResult::GetRecord(Err(GetRecordError::NotFound { .. })),
                true
            )]
        ),
        "{results:?}"
    );
}

/// Addresses that lead nowhere leave the table when another one has led to the peer. Where all have failed, nobody knows why.
#[test]
fn addresses_that_lead_nowhere_are_forgotten() {
    // The newest is tried first.
    for (added, left) in [
        ([address(77), address(78)], 2),
        ([address(1), address(78)], 1),
        ([address(78), address(1)], 2),
    ] {
        let mut net = town(&[SERVER; 2]);
        for address in added.clone() {
            let added = with(&mut net, 0, |kad, cx| {
                kad.add_address(peer(1), &address, cx)
            });
            assert_eq!(added, RoutingUpdate::Success);
        }
        with(&mut net, 0, |kad, cx| kad.get_closest_peers("key", cx)).unwrap();
        net.run_for(Duration::from_secs(30));
        let kad = &net.nodes[0].swarm().protocols().kad;
        let known = kad.dht().table().get(&peer(1)).unwrap().addresses();
        assert_eq!(known.len(), left, "{added:?}: {known:?}");
        if added.contains(&address(1)) {
            assert_eq!(known[0], address(1));
        }
    }
}

/// The name is accepted once, though the node was told to be a server before it began.
#[test]
fn a_server_from_the_beginning_refuses_no_name() {
    let net = town(&[SERVER]);
    let kad = &net.nodes[0].swarm().protocols().kad;
    assert_eq!(kad.refused_names().len(), 0);
}
