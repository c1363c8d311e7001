//! Two DHTs in each of some nodes: go-libp2p-kad-dht's tests of `dual`.

use crate::{
    multistream::ProtocolName,
    node::net::{Net, peer},
    protocol::{
        identify::{self, Identify},
        kad::{
            Config, Dual, DualEvent, DualQueryId, DualResults, GetProvidersOk, Kademlia, Mode,
            QueryOptions, QueryRefused, QueryResult, Quorum, Record, RecordKey, Side,
        },
    },
    protocols,
    swarm::{Config as SwarmConfig, Context, SecurityConfig},
};
use core::time::Duration;
use std::vec::Vec;

protocols! {
    struct Both => BothEvent {
        identify: Identify => Identify,
        dual: Dual => Dual,
    }
}

const WAN: ProtocolName = ProtocolName::from_static("/test/wan/1");
const LAN: ProtocolName = ProtocolName::from_static("/test/lan/1");

fn kad(name: ProtocolName) -> Kademlia {
    let mut config = Config::new(name);
    config.automatic_bootstrap_throttle = None;
    config.periodic_bootstrap_interval = None;
    Kademlia::new(config)
}

/// Nodes that all know node 0, of which those named here are servers of the wide one.
fn nodes(count: usize, wan: &[usize]) -> Net<Both> {
    let config = SwarmConfig::new(SecurityConfig::InsecurePlaintext);
    let mut net = Net::new(count, &config, |number| {
        let mut wide = kad(WAN);
        if wan.contains(&number) {
            wide = wide.with_mode(Mode::Server);
        }
        Both {
            identify: Identify::new(identify::Config::default()),
            dual: Dual::of(wide, kad(LAN)),
        }
    });
    for number in 1..count {
        net.dial(number, 0);
    }
    net.run_for(Duration::from_secs(2));
    for number in 0..count {
        net.told(number);
    }
    net
}

fn with<R>(
    net: &mut Net<Both>,
    number: usize,
    run: impl FnOnce(&mut Dual, &mut Context<'_, DualEvent>) -> R,
) -> R {
    let now = net.now;
    let result = net.nodes[number].with(now, |both, cx| both.dual(cx, run));
    net.settle();
    result
}

/// How a query ended, which it did once.
fn finished(net: &mut Net<Both>, number: usize, query: DualQueryId) -> DualResults {
    net.run_for(Duration::from_secs(5));
    let told = net.told(number).into_iter();
    let ends: Vec<DualResults> = told
        .filter_map(|event| match event {
            BothEvent::Dual(DualEvent::Finished { id, results }) if id == query => Some(results),
            _ => None,
        })
        .collect();
    let [results] = ends.as_slice() else {
        panic!("{ends:?}")
    };
    results.clone()
}

#[test]
fn each_peer_is_in_the_tables_of_those_it_serves() {
    let net = nodes(3, &[0]);
    for number in [1, 2] {
        let dual = &net.nodes[number].swarm().protocols().dual;
        assert!(dual.wan().dht().table().contains(&peer(0)));
        assert!(dual.lan().dht().table().contains(&peer(0)));
    }
    let dual = &net.nodes[0].swarm().protocols().dual;
    assert!(
        dual.wan().dht().table().is_empty(),
        "they are clients there"
    );
    assert_eq!(dual.lan().dht().table().len(), 2);
    assert_eq!(dual.writes_to(), Side::Lan);
}

#[test]
fn records_go_to_the_wide_one_if_it_has_peers_and_are_found_in_either() {
    let mut net = nodes(3, &[0]);
    let wide = Record::new("wide", "1");
    let put = with(&mut net, 1, |dual, cx| {
        dual.put_record(&wide, Quorum::One, cx)
    });
    let results = finished(&mut net, 1, put.unwrap());
    assert!(results.wan.is_some() && results.lan.is_none());
    assert_eq!(results.preferred().unwrap().0, Side::Wan);
    // Node 0 knows nobody in the wide one.
    let narrow = Record::new("narrow", "2");
    let put = with(&mut net, 0, |dual, cx| {
        dual.put_record(&narrow, Quorum::One, cx)
    });
    let results = finished(&mut net, 0, put.unwrap());
    assert!(results.wan.is_none() && results.lan.is_some());
    for (key, value, side) in [("wide", "1", Side::Wan), ("narrow", "2", Side::Lan)] {
        let key = RecordKey::from(key);
        let get = with(&mut net, 2, |dual, cx| {
            dual.get_record(&key, QueryOptions::new(), cx)
        });
        let results = finished(&mut net, 2, get.unwrap());
        assert!(
            results.wan.is_some() && results.lan.is_some(),
            "both are asked"
        );
        assert_eq!(results.record().unwrap().record.value, value);
        assert_eq!(results.preferred().unwrap().0, side);
    }
}

#[test]
fn a_query_that_only_one_begins_ends_with_that_one() {
    let mut net = nodes(2, &[]);
    let begun = with(&mut net, 1, Dual::bootstrap);
    let results = finished(&mut net, 1, begun.unwrap());
    assert!(results.wan.is_none(), "nobody is known there");
    assert!(matches!(
        results.lan.as_deref(),
        Some(QueryResult::Bootstrap(Ok(_)))
    ));
    // And with nobody anywhere it is refused.
    let mut alone = nodes(1, &[]);
    let begun = with(&mut alone, 0, Dual::bootstrap);
    assert_eq!(begun, Err(QueryRefused::NoKnownPeers));
}

#[test]
fn a_query_of_both_that_is_given_up_says_nothing_more() {
    let mut net = nodes(3, &[0]);
    net.silent = true;
    let begun = with(&mut net, 1, |dual, cx| dual.get_closest_peers(b"x", cx));
    let id = begun.unwrap();
    assert!(with(&mut net, 1, |dual, cx| dual.give_up(&id, cx)));
    assert!(!with(&mut net, 1, |dual, cx| dual.give_up(&id, cx)));
    net.run_for(Duration::from_secs(100));
    let told = net.told(1);
    let of_it = |event: &BothEvent| {
        matches!(
            event,
            BothEvent::Dual(DualEvent::Finished { .. } | DualEvent::Progressed { .. })
        )
    };
    assert!(!told.iter().any(of_it));
    let dual = &net.nodes[1].swarm().protocols().dual;
    assert_eq!(dual.wan().open_requests() + dual.lan().open_requests(), 0);
}

#[test]
fn providers_and_peers_are_looked_for_in_both() {
    let mut net = nodes(3, &[0]);
    let key = RecordKey::from("thing");
    // Node 0 knows nobody in the wide one, node 1 does.
    for (number, side) in [(0, Side::Lan), (1, Side::Wan)] {
        let begun = with(&mut net, number, |dual, cx| dual.start_providing(&key, cx));
        let results = finished(&mut net, number, begun.unwrap());
        assert_eq!(results.preferred().unwrap().0, side);
        assert!(matches!(
            results.preferred().unwrap().1,
            QueryResult::StartProviding(Ok(_))
        ));
    }
    let begun = with(&mut net, 2, |dual, cx| {
        dual.get_providers(&key, QueryOptions::new(), cx)
    });
    let begun = begun.unwrap();
    net.run_for(Duration::from_secs(5));
    let mut found = Vec::new();
    for event in net.told(2) {
        if let BothEvent::Dual(DualEvent::Progressed {
            id,
            side,
            result: QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })),
        }) = event
            && id == begun
        {
            found.extend(providers.into_iter().map(|info| (side, info.peer)));
        }
    }
    assert!(found.contains(&(Side::Lan, peer(0))), "{found:?}");
    assert!(found.contains(&(Side::Wan, peer(1))), "{found:?}");
    let begun = with(&mut net, 2, |dual, cx| {
        dual.find_peer(peer(1), QueryOptions::new(), cx)
    });
    let results = finished(&mut net, 2, begun.unwrap());
    assert!(results.closest_peers().any(|info| info.peer == peer(1)));
}

#[test]
fn a_record_is_given_to_some_and_forgotten_on_both_sides() {
    let mut net = nodes(3, &[0]);
    let record = Record::new("some", "1");
    for side in [Side::Wan, Side::Lan] {
        let begun = with(&mut net, 1, |dual, cx| {
            dual.put_record_to(side, &record, &[peer(0)], Quorum::One, cx)
        });
        let results = finished(&mut net, 1, begun.unwrap());
        let (told, result) = results.preferred().unwrap();
        assert!(told == side && matches!(result, QueryResult::PutRecord(Ok(_))));
        let dual = &net.nodes[0].swarm().protocols().dual;
        let kad = if side == Side::Wan {
            dual.wan()
        } else {
            dual.lan()
        };
        assert_eq!(kad.dht().store().records().count(), 1);
    }
    let begun = with(&mut net, 1, |dual, cx| {
        dual.put_record(&record, Quorum::One, cx)
    });
    finished(&mut net, 1, begun.unwrap());
    let own = |net: &Net<Both>| {
        let dual = &net.nodes[1].swarm().protocols().dual;
        let of = |kad: &Kademlia| kad.dht().store().records().count();
        of(dual.wan()) + of(dual.lan())
    };
    assert_eq!(own(&net), 1);
    with(&mut net, 1, |dual, cx| {
        dual.remove_record(&"some".into(), cx)
    });
    assert_eq!(own(&net), 0);
}
