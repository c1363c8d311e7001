//! A DHT as futures and streams.

use crate::common::{self, both, give_up_in, sites::run};
use core::{num::NonZeroUsize, time::Duration};
use drywire::{
    identity::PeerId,
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    protocol::{
        identify::Identify,
        kad::{
            Config, Kademlia, Key, Mode, PeerRecord, QueryOptions, QueryRefused, Quorum, Record,
            RoutingUpdate,
        },
    },
    protocols,
    swarm::{DialOptions, Event},
};
use drywire_engine::{Host, KadError, KadHandle};
use drywire_sim::SimRuntime;
use std::collections::BTreeSet;

const DHT: ProtocolName = ProtocolName::from_static("/test/kad/1");
const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

protocols! {
    struct Speech => SpeechEvent {
        identify: Identify => Identify,
        kad: Kademlia => Kad,
    }
}

/// A node that listens.
struct Site {
    host: Host<Speech>,
    kad: KadHandle<Speech>,
    address: Multiaddr,
}

fn config() -> Config {
    let mut config = Config::new(DHT);
    config.periodic_bootstrap_interval = None;
    config.automatic_bootstrap_throttle = None;
    config
}

async fn site_with(runtime: &SimRuntime, config: Config, mode: Mode) -> Site {
    let speech = Speech {
        identify: Identify::default(),
        kad: Kademlia::new(config).with_mode(mode),
    };
    let host = Host::builder(runtime.clone(), speech).start().unwrap();
    let any = "/ip4/127.0.0.1/tcp/0".parse().unwrap();
    let address = host.listen(any).await.unwrap().address;
    let kad = host.kad(Speech::Kad);
    Site { host, kad, address }
}

/// Servers that all know each other.
async fn sites(runtime: &SimRuntime, count: usize, config: &Config) -> Vec<Site> {
    let mut sites = Vec::new();
    for _ in 0..count {
        sites.push(site_with(runtime, config.clone(), Mode::Server).await);
    }
    for site in &sites {
        for other in &sites {
            if other.host.peer_id() != site.host.peer_id() {
                let update = site.kad.add_address(other.host.peer_id(), &other.address);
                assert_eq!(update, RoutingUpdate::Success);
            }
        }
    }
    sites
}

impl Site {
    /// Queries under way.
    fn queries(&self) -> usize {
        self.kad.with(|kad, _| kad.iter_queries().count())
    }
}

fn count(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).unwrap()
}

/// All nodes but this one.
fn others(sites: &[Site], than: usize) -> BTreeSet<PeerId> {
    let others = sites.iter().enumerate();
    let others = others.filter(|(number, _)| *number != than);
    others.map(|(_, site)| site.host.peer_id()).collect()
}

#[test]
fn records_are_put_and_found_among_five() {
    for seed in 0..5 {
        run(seed, async |runtime| {
            let sites = sites(&runtime, 5, &config()).await;
            let [ada, bob, cleo, dan, _] = &sites[..] else {
                panic!("five")
            };
            // Four others take it, and that is all there are.
            let record = Record::new("the key", "the value");
            let put = ada.kad.put(record.clone(), Quorum::AllFound).await.unwrap();
            assert_eq!(BTreeSet::from_iter(put.success), others(&sites, 0));
            let short = ada.kad.put(record.clone(), Quorum::Majority).await;
            let Err(KadError::QuorumFailed {
                success,
                quorum,
                asked,
            }) = short
            else {
                panic!("{short:?}")
            };
            assert_eq!((success.len(), quorum.get(), asked), (4, 11, 4));

            let got = bob.kad.get("the key").await.unwrap();
            assert_eq!(got.record.value, "the value");
            let mut all = bob.kad.get_all("the key").unwrap();
            let mut holders = BTreeSet::new();
            while let Some(found) = all.next().await {
                let PeerRecord { peer, record } = found.unwrap();
                assert_eq!(record.value, "the value");
                assert!(holders.insert(peer), "twice of {peer:?}");
            }
            assert_eq!((holders.len(), all.dropped()), (5, 0), "with its own");
            assert_eq!(all.best().unwrap().record.value, "the value");
            assert!(all.stats().num_successes() >= 4, "{:?}", all.stats());
            let missing = bob.kad.get("another").await;
            let Err(KadError::NotFound { closest_peers }) = missing else {
                panic!("{missing:?}")
            };
            assert_eq!(BTreeSet::from_iter(closest_peers), others(&sites, 1));
            let demanded = QueryOptions::new().quorum(count(6));
            let few = bob.kad.get_with("the key", demanded).await;
            assert!(
                matches!(&few, Err(KadError::TooFewAnswers { found: 5, .. })),
                "{few:?}"
            );

            // At one peer alone, not here.
            let elsewhere = Record::new("elsewhere", "the value");
            let to = [cleo.host.peer_id()];
            let put = bob.kad.put_to(elsewhere, to, Quorum::All).await.unwrap();
            assert_eq!(put.success, to);
            let found = dan.kad.get("elsewhere").await.unwrap();
            assert_eq!(found.peer, Some(cleo.host.peer_id()));

            // Whoever should have had it is told, and can be given it.
            let mut all = dan.kad.get_all("elsewhere").unwrap();
            assert!(all.cache_candidates().is_empty(), "not yet known");
            while all.next().await.is_some() {}
            let record = all.best().unwrap().record.clone();
            let caching: Vec<PeerId> = all.cache_candidates().values().copied().collect();
            let [caching] = caching[..] else {
                panic!("{caching:?}")
            };
            assert!(others(&sites, 3).contains(&caching) && caching != cleo.host.peer_id());
            let put = dan.kad.put_to(record, [caching], Quorum::All).await;
            assert_eq!(put.unwrap().success, [caching]);
            assert!(sites.iter().all(|site| site.queries() == 0));
        });
    }
}

#[test]
fn providers_are_found_among_five() {
    for seed in 0..5 {
        run(seed, async |runtime| {
            let sites = sites(&runtime, 5, &config()).await;
            let [ada, .., dan, eve] = &sites[..] else {
                panic!("five")
            };
            assert_eq!(dan.kad.provide("file").await.unwrap().told, 4);
            assert_eq!(eve.kad.provide("file").await.unwrap().told, 4);
            let mut providers = ada.kad.providers("file").unwrap();
            let mut found = BTreeSet::new();
            while let Some(provider) = providers.next().await {
                let provider = provider.unwrap();
                assert!(!provider.addresses.is_empty(), "{provider:?}");
                assert!(found.insert(provider.peer), "twice");
            }
            let both = BTreeSet::from([dan.host.peer_id(), eve.host.peer_id()]);
            assert_eq!(found, both);
            let one = ada.kad.find_providers("file", count(1)).await.unwrap();
            assert_eq!(one.len(), 1);
            let all = ada.kad.find_providers("file", count(9)).await.unwrap();
            assert_eq!(all.len(), 2);
            let none = ada.kad.find_providers("nothing", count(9)).await;
            assert_eq!(none, Ok(vec![]));

            // Others remember it; it does not.
            eve.kad.stop_providing("file");
            let own =
                |kad: &KadHandle<Speech>| kad.with(|kad, _| kad.store_mut().provided().count());
            assert_eq!((own(&dan.kad), own(&eve.kad)), (1, 0));
            assert!(sites.iter().all(|site| site.queries() == 0));
        });
    }
}

#[test]
fn peers_are_found_among_five() {
    for seed in 0..5 {
        run(seed, async |runtime| {
            let sites = sites(&runtime, 5, &config()).await;
            let [ada, bob, cleo, ..] = &sites[..] else {
                panic!("five")
            };
            ada.kad.bootstrap().await.unwrap();
            let mut bootstrap = bob.kad.bootstrap_progress().unwrap();
            let own = bootstrap.next().await.unwrap().unwrap();
            assert_eq!(own.peer, bob.host.peer_id());
            while let Some(lookup) = bootstrap.next().await {
                lookup.unwrap();
            }
            let closest = cleo.kad.closest("anything").await.unwrap();
            let target = Key::of("anything".as_bytes());
            let mut expected: Vec<_> = others(&sites, 2).into_iter().collect();
            expected.sort_by_key(|peer| Key::of_peer(peer).distance(&target));
            let found: Vec<_> = closest.iter().map(|info| info.peer).collect();
            assert_eq!(found, expected);
            let two = QueryOptions::new().num_results(count(2));
            let closest = cleo.kad.closest_with("anything", two).await.unwrap();
            assert_eq!(closest.len(), 2);
            assert!(sites.iter().all(|site| site.queries() == 0));
        });
    }
}

/// Fails if a node that has just dialed another is taken for one that is in the DHT.
#[test]
fn who_has_dialed_waits_for_the_table() {
    for seed in 0..10 {
        run(seed, async |runtime| {
            let servers = sites(&runtime, 3, &config()).await;
            let newcomer = site_with(&runtime, config(), Mode::Client).await;
            servers[1]
                .kad
                .put(Record::new("key", "value"), Quorum::One)
                .await
                .unwrap();
            let nobody = newcomer.kad.get("key").await;
            assert_eq!(
                nobody,
                Err(KadError::NotFound {
                    closest_peers: vec![]
                })
            );
            assert_eq!(
                newcomer.kad.bootstrap().await,
                Err(KadError::Refused(QueryRefused::NoKnownPeers))
            );
            let early = newcomer.kad.wait_until_ready();
            assert!(give_up_in(&runtime, SECOND, early).await.is_none());
            both(
                async { newcomer.kad.wait_until_ready().await.unwrap() },
                async {
                    let options = DialOptions::address(servers[0].address.clone());
                    newcomer.host.dial(options).await.unwrap();
                },
            )
            .await;
            newcomer.kad.wait_until_ready().await.unwrap();
            let table = newcomer.kad.table();
            assert_eq!(table.len(), 1);
            assert_eq!(*table[0].peer(), servers[0].host.peer_id());
            assert_eq!(table[0].addresses(), [servers[0].address.clone()]);
            let got = newcomer.kad.get("key").await.unwrap();
            assert_eq!(got.record.value, "value");

            // By its own wish, this time: it has heard of the others from the first.
            let far = servers[2].host.peer_id();
            let found = newcomer.kad.find_peer(far).await.unwrap();
            assert_eq!((found.peer, found.addresses.len()), (far, 1));
            let stranger = site_with(&runtime, config(), Mode::Client).await;
            let unknown = newcomer.kad.find_peer(stranger.host.peer_id()).await;
            assert!(
                matches!(&unknown, Err(KadError::NotFound { closest_peers }) if closest_peers.len() == 3),
                "{unknown:?}"
            );
            // Nobody asks a client.
            assert!(servers.iter().all(|site| site.kad.table().len() == 2));
            assert!(newcomer.kad.remove_peer(&far));
            assert!(!newcomer.kad.remove_peer(&far));
            assert_eq!(newcomer.kad.mode(), Mode::Client);
            newcomer.kad.set_mode(Some(Mode::Server));
            assert_eq!(newcomer.kad.mode(), Mode::Server);
            runtime.sleep(SECOND).await;
            assert!(servers[0].kad.table().len() == 3, "it is told of at once");
        });
    }
}

/// Fails if a query goes on that nobody waits for.
#[test]
fn a_query_ends_with_its_future() {
    for seed in 0..10u32 {
        run(seed.into(), async |runtime| {
            let sites = sites(&runtime, 5, &config()).await;
            let (kad, peer) = (&sites[0].kad, sites[3].host.peer_id());
            let mut events = sites[0].host.events(1024);
            sites[1].kad.provide("key").await.unwrap();
            let record = || Record::new("key", "value");
            // Before anybody is connected, in the middle, near the end.
            let time = MILLISECOND / 4 + MILLISECOND * seed * seed / 4;
            macro_rules! dropped {
                ($future:expr) => {
                    let _ = give_up_in(&runtime, time, $future).await;
                    assert_eq!(sites[0].queries(), 0, "{}", stringify!($future));
                };
            }
            dropped!(kad.get("key"));
            dropped!(kad.put(record(), Quorum::All));
            dropped!(kad.put_to(record(), [peer], Quorum::All));
            dropped!(kad.provide("key"));
            dropped!(kad.find_providers("key", count(20)));
            dropped!(kad.closest("key"));
            dropped!(kad.find_peer(peer));
            dropped!(kad.bootstrap());
            dropped!(async { kad.get_all("key").unwrap().next().await });
            dropped!(async { kad.providers("key").unwrap().next().await });
            dropped!(async { kad.bootstrap_progress().unwrap().next().await });
            // One that is told to end does so with what it has.
            let providers = kad.providers("key").unwrap();
            providers.finish();
            runtime.sleep(MILLISECOND).await;
            assert_eq!(sites[0].queries(), 0);
            drop(providers);
            sites[0].host.shutdown().await;
            while let Some(event) = events.next().await {
                assert!(
                    !matches!(
                        event,
                        Event::Protocol(SpeechEvent::Kad(
                            drywire::protocol::kad::Event::OutboundQueryProgressed { .. }
                        ))
                    ),
                    "{event:?}"
                );
            }
        });
    }
}

#[test]
fn queries_end_with_their_host() {
    for seed in 0..5 {
        run(seed, async |runtime| {
            let sites = sites(&runtime, 3, &config()).await;
            let lonely = site_with(&runtime, config(), Mode::Server).await;
            let kad = sites[0].kad.clone();
            let mut stream = kad.get_all("key").unwrap();
            both(
                async {
                    both(
                        async { assert_eq!(kad.get("key").await, Err(KadError::HostClosed)) },
                        async {
                            let late = lonely.kad.wait_until_ready().await;
                            assert_eq!(late, Err(KadError::HostClosed));
                        },
                    )
                    .await;
                },
                async {
                    runtime.sleep(MILLISECOND).await;
                    both(sites[0].host.shutdown(), lonely.host.shutdown()).await;
                },
            )
            .await;
            assert_eq!(stream.next().await, Some(Err(KadError::HostClosed)));
            assert_eq!(stream.next().await, None);
            assert_eq!(kad.get("key").await, Err(KadError::HostClosed));
            assert_eq!(kad.closest("key").await, Err(KadError::HostClosed));
            assert_eq!(kad.providers("key").err(), Some(KadError::HostClosed));
            let late = lonely.kad.wait_until_ready().await;
            assert_eq!(late, Err(KadError::HostClosed));
        });
    }
}

/// Fails if a query is begun whose end nobody could be told.
#[test]
fn there_are_as_many_queries_as_may_be() {
    run(1, async |runtime| {
        let mut config = config();
        config.max_queries = 10;
        let sites = sites(&runtime, 3, &config).await;
        let kad = &sites[0].kad;
        let mut begun = Vec::new();
        for number in 0..10 {
            begun.push(kad.get_all(format!("key {number}").as_str()).unwrap());
        }
        let full = KadError::Refused(QueryRefused::TooManyQueries);
        assert_eq!(kad.get_all("one more").err(), Some(full.clone()));
        assert_eq!(kad.get("one more").await, Err(full.clone()));
        assert_eq!(kad.provide("one more").await, Err(full));
        for mut query in begun.drain(..5) {
            let end = query.next().await;
            assert!(
                matches!(end, Some(Err(KadError::NotFound { .. }))),
                "{end:?}"
            );
            assert!(query.next().await.is_none());
        }
        drop(begun);
        assert_eq!(sites[0].queries(), 0);
        assert!(kad.get_all("one more").is_ok());
    });
}

/// The peers are there and say nothing.
#[test]
fn a_query_does_not_wait_for_ever() {
    run(1, async |runtime| {
        let mut config = config();
        config.query_timeout = 3 * SECOND;
        let site = site_with(&runtime, config, Mode::Server).await;
        let mut mute = Vec::new();
        for _ in 0..3 {
            let host = common::host(&runtime);
            let address = common::listen(&host).await;
            let streams = host.accept(DHT, 64).unwrap();
            let _ = site.kad.add_address(host.peer_id(), &address);
            mute.push((host, streams));
        }
        let kad = &site.kad;
        let own = Record::new("own", "value");
        let late = kad.put(own, Quorum::One).await;
        assert!(matches!(late, Err(KadError::Timeout { .. })), "{late:?}");
        // What was found until then is not lost.
        let got = kad.get("own").await;
        let Err(KadError::Timeout { best, .. }) = got else {
            panic!("{got:?}")
        };
        assert_eq!(best.unwrap().record.value, "value");
        let providers = kad.find_providers("key", count(1)).await;
        assert!(
            matches!(providers, Err(KadError::Timeout { .. })),
            "{providers:?}"
        );
        let closest = kad.closest("key").await;
        assert!(
            matches!(&closest, Err(KadError::Timeout { peers, .. }) if peers.is_empty()),
            "{closest:?}"
        );
        assert_eq!(site.queries(), 0);
    });
}
