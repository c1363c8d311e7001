//! Kademlia in the lightweight world: what lookups find, what tables are like, what holds all the time (I36 to I40, I46).

use core::time::Duration;
use drywire::protocol::kad::{Quorum, Record, RecordKey};
use drywire_sim::kad::{
    Join, KadChurn, KadConfig, KadWorld, Kind, Operation, Report, Role, Workload,
};

fn populated(seed: u64, config: KadConfig) -> KadWorld {
    let mut world = KadWorld::new(seed, config).unwrap();
    world.populate().unwrap();
    world
}

fn lookups(world: &mut KadWorld, count: usize, seconds: u64) -> Report {
    let workload = Workload::new(count).over(Duration::from_secs(seconds));
    workload.run(world, |_, _| true).unwrap()
}

#[test]
fn of_a_thousand_nodes_lookups_find_the_closest_and_everything_stored_is_found() {
    let mut config = KadConfig::nodes(1_000);
    (config.join, config.clients) = (Join::Lookup, 0.1);
    let mut world = populated(1, config);
    let report = Workload::new(300)
        .records(30)
        .provided(30)
        .run(&mut world, |_, _| true)
        .unwrap();
    world.audit().unwrap();
    assert_eq!(report.lookups.ended, 300);
    assert!(report.lookups.success() >= 0.99, "{:?}", report.lookups);
    assert!(report.lookups.recall() >= 0.99, "{:?}", report.lookups);
    assert!(report.lookups.hops_mean() < 4.0, "{:?}", report.lookups);
    assert!((report.puts.ended, report.puts.succeeded) == (30, 30));
    assert!((report.gets.ended, report.gets.succeeded) == (30, 30));
    assert!((report.provides.ended, report.provides.succeeded) == (30, 30));
    assert!((report.providers.ended, report.providers.succeeded) == (30, 30));
    let health = report.health;
    assert_eq!(health.dead, 0);
    assert!(health.entries_mean() > 60.0, "{health:?}");
    assert!(health.know_few * 20 < health.tables, "{health:?}");
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let run = |seed| {
        let mut config = KadConfig::nodes(80);
        let mut churn = KadChurn::measured();
        churn.law.speed = 200.0;
        config.churn = Some(churn);
        let mut world = populated(seed, config);
        let report = Workload::new(40)
            .records(5)
            .run(&mut world, |_, _| true)
            .unwrap();
        assert!(report.traffic.requests > 1_000);
        (report.hash, report.svg("a run"))
    };
    let (hash, picture) = run(3);
    assert_eq!(run(3), (hash, picture.clone()));
    assert_ne!(run(4).0, hash);
    let document = roxmltree::Document::parse(&picture).unwrap();
    assert_eq!(document.root_element().tag_name().name(), "svg");
    assert!(picture.contains(&hash.to_string()));
}

#[test]
fn after_a_partition_lookups_find_the_closest_again() {
    let mut config = KadConfig::nodes(80);
    config.join = Join::Lookup;
    let mut world = populated(5, config);
    world.part(|number| number % 2 == 0);
    // Long enough for the half that is not heard to leave the tables.
    world.run_for(Duration::from_secs(1_500)).unwrap();
    let dead = |world: &KadWorld| {
        let mut entries = (0, 0);
        for number in 0..world.len() {
            for entry in world.dht(number).unwrap().table().iter() {
                let other = world.number(entry.peer()).unwrap();
                entries.0 += usize::from(other % 2 != number % 2);
                entries.1 += 1;
            }
        }
        entries.0 as f64 / entries.1 as f64
    };
    let apart = dead(&world);
    assert!(apart < 0.3, "of tables {apart} is the other side");
    world.heal();
    // A half that has forgotten the other one learns of it from the first peer that it asks.
    for number in 0..world.len() {
        let other = (number + 1) % world.len();
        let (peer, address) = (
            world.peer(other).unwrap(),
            world.address(other).unwrap().clone(),
        );
        world.with(number, |dht, at| {
            let _ = dht.add_address(at, peer, &address);
        });
    }
    world.run_for(Duration::from_secs(1_300)).unwrap();
    let report = lookups(&mut world, 150, 60);
    assert!(report.lookups.success() >= 0.99, "{:?}", report.lookups);
    assert!(report.lookups.recall() >= 0.97, "{:?}", report.lookups);
    world.audit().unwrap();
}

#[test]
fn with_churn_lookups_still_find_the_closest_and_every_query_ends() {
    let mut config = KadConfig::nodes(150).known();
    config.churn = Some(KadChurn::measured());
    let mut world = populated(6, config);
    world.run_for(Duration::from_secs(1_200)).unwrap();
    let report = lookups(&mut world, 200, 300);
    let ended = report.lookups.ended;
    assert!(ended >= 195, "the others left in the midst of it: {ended}");
    assert!(report.lookups.success() >= 0.98, "{:?}", report.lookups);
    assert_eq!(report.lookups.timed_out, 0);
    let latency = report.lookups.latencies.quantile(1.0);
    assert!(latency <= Duration::from_secs(60), "{latency:?}");
}

/// Peers that have left for good leave the tables of those who ask them whether they are there, and only of those.
#[test]
fn who_is_silent_leaves_the_tables() {
    let dead = |probed: bool| {
        let mut config = KadConfig::nodes(120).known();
        config.node.periodic_bootstrap_interval = None;
        if !probed {
            config.node.liveness_interval = None;
        }
        let mut world = populated(7, config);
        for number in (10..world.len()).step_by(4) {
            world.leave(number);
        }
        world.run_for(Duration::from_secs(3_600)).unwrap();
        drywire_sim::kad::Health::of(&world).dead_share()
    };
    let (with, without) = (dead(true), dead(false));
    assert!(with < 0.01, "{with}");
    assert!(without > 0.15, "{without}");
}

#[test]
fn clients_ask_and_are_in_nobodys_table() {
    let mut config = KadConfig::nodes(100);
    config.clients = 0.4;
    let mut world = populated(8, config);
    let clients: Vec<u32> = (0..world.len())
        .filter(|number| world.role(*number) == Some(Role::Client))
        .collect();
    assert!(clients.len() > 20);
    for (client, key) in clients.iter().zip(0_u32..10) {
        assert!(world.start(*client, Operation::Closest(key.to_be_bytes().to_vec())));
    }
    world.run_until_done(Duration::from_secs(60)).unwrap();
    let outcomes = world.take_outcomes();
    let closest = outcomes
        .iter()
        .filter(|outcome| outcome.kind == Kind::Closest);
    assert!(closest.filter(|outcome| outcome.found == 20).count() >= 9);
    for number in 0..world.len() {
        let table = world.dht(number).unwrap().table();
        assert!(
            clients
                .iter()
                .all(|client| !table.contains(&world.peer(*client).unwrap()))
        );
    }
}

/// Stored is what is within the limits, and what has expired is not found any more (I40).
#[test]
fn a_record_is_found_until_it_expires() {
    let mut config = KadConfig::nodes(60).known();
    config.node.record_ttl = Some(Duration::from_secs(1_000));
    config.node.publication_interval = None;
    let mut world = populated(9, config);
    let key = RecordKey::from("short-lived");
    let put = Operation::Put(Record::new(key.clone(), "value"), Quorum::Majority);
    world.start(3, put);
    world.run_for(Duration::from_secs(500)).unwrap();
    let mut find = |node| {
        world.take_outcomes();
        world.start(node, Operation::Get(key.clone()));
        world.run_for(Duration::from_secs(100)).unwrap();
        world.take_outcomes().pop().unwrap().value
    };
    assert_eq!(find(40).as_deref(), Some(&b"value"[..]));
    for node in 41..46 {
        find(node);
    }
    assert_eq!(find(50), None);
}

#[test]
fn whole_nodes_find_each_other_on_real_connections() {
    let plan = drywire_sim::kad::full_stack::FullStack::new(25).lookups(10);
    let run = || drywire_sim::kad::full_stack::run(&plan, |_| {}).unwrap();
    let figures = run();
    assert_eq!((figures.bootstrapped, figures.ended), (24, 10));
    assert_eq!((figures.found, figures.wanted), (200, 200), "{figures}");
    assert_eq!(run().hash, figures.hash);
}

#[test]
fn whole_nodes_find_each_other_while_others_leave_and_come_back() {
    let mut churn = KadChurn::measured();
    // A session of hours lasts minutes.
    churn.law = churn.law.faster(60.0);
    let plan = drywire_sim::kad::full_stack::FullStack::new(40).lookups(60);
    let plan = plan.every(Duration::from_secs(5)).churn(churn);
    let run = || drywire_sim::kad::full_stack::run(&plan, |_| {}).unwrap();
    let figures = run();
    // A quarter of all leaves at once, unheard one time in two; later they come back, some under another name.
    assert!(figures.departures > 20 && figures.up < 40, "{figures}");
    assert_eq!(figures.ended + figures.lost, 60, "{figures}");
    assert!(figures.ended > 50 && figures.recall() > 0.85, "{figures}");
    assert!(figures.health.dead_share() < 0.25, "{figures}");
    assert_eq!(run().hash, figures.hash);
}
