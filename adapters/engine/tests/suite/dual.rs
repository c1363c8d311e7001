//! Two DHTs at once: here all nodes are on one machine, which is the local network's; those of the wide one are made up.

use crate::common::sites::run;
use core::{num::NonZeroUsize, time::Duration};
use drywire::{
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    protocol::{
        identify::Identify,
        kad::{
            Config, Dual, Kademlia, Mode, QueryOptions, QueryRefused, Quorum, Record,
            RoutingUpdate, Side,
        },
    },
    protocols,
};
use drywire_engine::{DualHandle, Host, KadError};
use drywire_sim::SimRuntime;
use std::collections::BTreeSet;

const WAN: ProtocolName = ProtocolName::from_static("/test/wan/1");
const LAN: ProtocolName = ProtocolName::from_static("/test/lan/1");

protocols! {
    struct Speech => SpeechEvent {
        identify: Identify => Identify,
        dual: Dual => Dual,
    }
}

/// A node that listens.
struct Site {
    host: Host<Speech>,
    dual: DualHandle<Speech>,
    address: Multiaddr,
}

fn kad(name: ProtocolName) -> Kademlia {
    let mut config = Config::new(name);
    config.periodic_bootstrap_interval = None;
    config.automatic_bootstrap_throttle = None;
    Kademlia::new(config)
}

/// Nodes that all know each other in the local one, and the first of them in the wide one.
async fn sites(runtime: &SimRuntime, count: usize) -> Vec<Site> {
    let mut sites: Vec<Site> = Vec::new();
    for number in 0..count {
        let mode = if number == 0 {
            Mode::Server
        } else {
            Mode::Client
        };
        let speech = Speech {
            identify: Identify::default(),
            dual: Dual::of(kad(WAN).with_mode(mode), kad(LAN)),
        };
        let host = Host::builder(runtime.clone(), speech).start().unwrap();
        let any = "/ip4/127.0.0.1/tcp/0".parse().unwrap();
        let address = host.listen(any).await.unwrap().address;
        let dual = host.dual(Speech::Dual);
        sites.push(Site {
            host,
            dual,
            address,
        });
    }
    for site in &sites {
        for (number, other) in sites.iter().enumerate() {
            let peer = other.host.peer_id();
            if peer == site.host.peer_id() {
                continue;
            }
            for side in [Side::Wan, Side::Lan] {
                if side == Side::Lan || number == 0 {
                    let update = site.dual.add_address(side, peer, &other.address);
                    assert_eq!(update, RoutingUpdate::Success);
                }
            }
        }
    }
    sites
}

fn count(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).unwrap()
}

#[test]
fn records_are_put_in_one_and_found_in_both() {
    run(1, async |runtime| {
        let sites = sites(&runtime, 4).await;
        let [server, ada, bob, cleo] = &sites[..] else {
            panic!("four")
        };
        assert_eq!(
            server.dual.writes_to(),
            Side::Lan,
            "nobody else is in the wide one"
        );
        assert_eq!(ada.dual.writes_to(), Side::Wan);
        for (site, key) in [(server, "narrow"), (ada, "wide")] {
            let put = site.dual.put(Record::new(key, key), Quorum::One).await;
            assert!(!put.unwrap().success.is_empty());
            assert_eq!(bob.dual.get(key).await.unwrap().record.value, key);
        }
        // Where it was put, and nowhere else.
        for (key, expected) in [("narrow", Side::Lan), ("wide", Side::Wan)] {
            let mut all = bob.dual.get_all(key).unwrap();
            let mut sides = BTreeSet::new();
            while let Some(found) = all.next().await {
                sides.insert(found.unwrap().0);
            }
            assert_eq!(sides, [expected].into());
            assert_eq!(all.dropped(), 0);
            assert_eq!(all.results().unwrap().record().unwrap().record.value, key);
        }
        let missing = bob.dual.get("another").await;
        assert!(
            matches!(missing, Err(KadError::NotFound { .. })),
            "{missing:?}"
        );
        let mut all = bob.dual.get_all("another").unwrap();
        let end = all.next().await;
        assert!(
            matches!(end, Some(Err(KadError::NotFound { .. }))),
            "{end:?}"
        );
        assert!(all.next().await.is_none());
        let few = QueryOptions::new().quorum(count(9));
        let few = bob.dual.get_with("narrow", few).await;
        assert!(
            matches!(few, Err(KadError::TooFewAnswers { .. })),
            "{few:?}"
        );

        let peers = [cleo.host.peer_id()];
        let given = ada
            .dual
            .put_to(Side::Lan, Record::new("given", "x"), &peers, Quorum::One);
        assert_eq!(given.await.unwrap().success, peers);
        ada.dual.remove_record("wide");
        let own = ada.dual.with(|dual, _| {
            [dual.wan(), dual.lan()].map(|kad| {
                let records = kad.dht().store().records();
                records.filter(|stored| stored.local).count()
            })
        });
        assert_eq!(own, [0, 0]);
    });
}

#[test]
fn providers_and_peers_are_found_in_both() {
    run(2, async |runtime| {
        let sites = sites(&runtime, 4).await;
        let [server, ada, bob, cleo] = &sites[..] else {
            panic!("four")
        };
        server.dual.provide("a file").await.unwrap();
        ada.dual.provide("a file").await.unwrap();
        let expected = BTreeSet::from([server.host.peer_id(), ada.host.peer_id()]);
        let found = bob.dual.find_providers("a file", count(2)).await.unwrap();
        let found: BTreeSet<_> = found.into_iter().map(|info| info.peer).collect();
        assert_eq!(found, expected);
        let one = bob.dual.find_providers("a file", count(1)).await.unwrap();
        assert_eq!(one.len(), 1);
        let none = bob.dual.find_providers("nothing", count(1)).await.unwrap();
        assert_eq!(none, []);
        server.dual.stop_providing("a file");
        ada.dual.stop_providing("a file");

        let closest = bob.dual.closest("anything").await.unwrap();
        let closest: BTreeSet<_> = closest.into_iter().map(|info| info.peer).collect();
        assert_eq!(closest.len(), 3, "each once or twice");
        let stranger = bob.dual.find_peer(
            drywire::identity::Keypair::ed25519_from_seed(&drywire::seed::Seed::for_tests(99))
                .peer_id(),
        );
        assert!(matches!(stranger.await, Err(KadError::NotFound { .. })));
        let found = bob.dual.find_peer(cleo.host.peer_id()).await.unwrap();
        assert!(found.addresses.contains(&cleo.address), "{found:?}");
        bob.dual.bootstrap().await.unwrap();
    });
}

#[test]
fn queries_end_with_their_futures_and_with_their_host() {
    run(3, async |runtime| {
        let sites = sites(&runtime, 3).await;
        let running = |site: &Site| {
            site.dual.with(|dual, _| {
                let [wan, lan] = [dual.wan(), dual.lan()].map(|kad| kad.iter_queries().count());
                wan + lan
            })
        };
        let query = sites[1].dual.providers("a file").unwrap();
        assert_eq!(running(&sites[1]), 2);
        drop(query);
        assert_eq!(running(&sites[1]), 0);

        let mut query = sites[1].dual.get_all("key").unwrap();
        sites[1].host.shutdown().await;
        runtime.sleep(Duration::from_secs(1)).await;
        while let Some(found) = query.next().await {
            assert_eq!(found.map(drop), Err(KadError::HostClosed));
        }
        let refused = sites[1].dual.get("key").await.map(drop);
        let expected = [
            KadError::HostClosed,
            KadError::Refused(QueryRefused::ShuttingDown),
        ];
        assert!(
            matches!(&refused, Err(error) if expected.contains(error)),
            "{refused:?}"
        );
    });
}
