//! Populations do what is said of them.

use core::time::Duration;
use drywire_sim::{
    Fault, WorldError,
    population::{Churn, Population, PopulationConfig},
};

const MINUTE: Duration = Duration::from_secs(60);

fn config(nodes: usize, connections: usize) -> PopulationConfig {
    let mut config = PopulationConfig::default();
    config.nodes = nodes;
    config.connections = connections;
    config
}

fn dialed(population: &mut Population) -> Vec<(usize, usize)> {
    let hosts = population.hosts().to_vec();
    let members = hosts.into_iter().map(|host| {
        let member = population.world().application(host).unwrap();
        (member.dialed(), member.wanted())
    });
    members.collect()
}

#[test]
fn every_node_reaches_its_connections_and_nothing_fails() {
    for (nodes, connections) in [(30, 6), (9, 8), (10, 9), (12, 5), (2, 1), (9, 3), (5, 3)] {
        let mut population = Population::new(3, config(nodes, connections)).unwrap();
        population.world().run_for(MINUTE).unwrap();
        for (dialed, wanted) in dialed(&mut population) {
            assert_eq!(dialed, wanted, "{nodes} nodes, {connections} connections");
        }
        let hosts = population.hosts().to_vec();
        let counts: Vec<usize> = hosts
            .iter()
            .map(|host| population.world().connection_count(*host))
            .collect();
        // An odd number of nodes cannot all have an odd number of connections: one has one less.
        let lacking = counts.iter().filter(|count| **count + 1 == connections);
        assert_eq!(lacking.count(), nodes * connections % 2, "{counts:?}");
        assert!(
            counts
                .iter()
                .all(|count| (connections - 1..=connections).contains(count)),
            "{counts:?}"
        );
        let statistics = population.world().statistics();
        assert_eq!((statistics.dials_failed, statistics.closed), (0, 0));
        assert_eq!(statistics.faults.total(), 0);
        let echoes = population.echoes();
        assert_eq!(echoes.failed, 0);
        assert!(echoes.succeeded as usize >= nodes * 55, "{echoes:?}");
        assert!(echoes.latencies.quantile(0.5) > Duration::from_millis(2));
    }
}

#[test]
fn latencies_are_those_of_regions_or_the_one_given() {
    let mut regions = config(20, 4);
    regions.link.jitter = 0.0;
    let mut uniform = regions.clone();
    uniform.latency = Some(Duration::from_millis(25));
    let spread = |config: PopulationConfig| {
        let mut population = Population::new(1, config).unwrap();
        population.world().run_for(MINUTE).unwrap();
        let latencies = population.echoes().latencies;
        [0.5, 0.99].map(|share| latencies.quantile(share).as_millis())
    };
    assert_eq!(spread(uniform), [50, 50]);
    let [half, most] = spread(regions);
    assert!(most > 3 * half / 2 && most > 150, "{half} {most}");
}

#[test]
fn churn_really_churns_and_who_stays_dials_again() {
    let mut fast = config(20, 4);
    fast.churn = Some(Churn::measured().faster(300.0));
    let mut population = Population::new(5, fast).unwrap();
    let (mut least, mut full) = (usize::MAX, 0);
    for _ in 0..60 {
        population.world().run_for(Duration::from_secs(10)).unwrap();
        least = least.min(population.running());
        full += dialed(&mut population)
            .iter()
            .filter(|(dialed, wanted)| dialed == wanted)
            .count();
    }
    let statistics = population.world().statistics();
    let count = |fault| statistics.faults.of(fault);
    let left = count(Fault::Crash) + count(Fault::PowerLoss);
    // A session and the time away last 5.9 hours on average, here 71 seconds; so 20 nodes leave about 169 times.
    assert!((110..240).contains(&left), "{left}");
    for fault in [
        Fault::Crash,
        Fault::PowerLoss,
        Fault::Restart,
        Fault::RestartAnew,
    ] {
        assert!(
            count(fault) > left / 20,
            "{fault}: {} of {left}",
            count(fault)
        );
    }
    assert!(least < 20 && least > 5, "{least}");
    // Of the 1,200 nodes looked at most had all connections they wanted, though many times they were lost.
    assert!(full > 600, "{full}");
    assert!(statistics.dials > 300 && statistics.dials_failed > 0);
    let echoes = population.echoes();
    assert!(echoes.succeeded > 10 * echoes.failed, "{echoes:?}");
}

#[test]
fn partitions_come_and_go() {
    let mut parted = config(12, 4);
    parted.partition_every = Some(Duration::from_secs(20));
    let mut population = Population::new(2, parted).unwrap();
    population.world().run_for(10 * MINUTE).unwrap();
    let faults = population.world().statistics().faults;
    let count = faults.of(Fault::Bisection) + faults.of(Fault::OneWayPartition);
    // Each 20 s and then 17.5 s, on average.
    assert!((8..28).contains(&count), "{count}");
    assert!(faults.of(Fault::OneWayPartition) > 0 && faults.of(Fault::Bisection) > 0);
    assert!(population.echoes().failed > 0);
    assert!(population.echoes().succeeded > 12 * 300);
}

#[test]
fn the_seed_decides() {
    let mut harsh = config(12, 4);
    harsh.churn = Some(Churn::measured().faster(600.0));
    harsh.link = harsh.link.loss(0.02);
    let hash = |seed| {
        let mut population = Population::new(seed, harsh.clone()).unwrap();
        population.world().run_for(MINUTE).unwrap();
        population.world().trace_hash()
    };
    assert_eq!(hash(1), hash(1));
    assert_ne!(hash(1), hash(2));
}

#[test]
fn what_makes_no_sense_is_named() {
    let name = |config: PopulationConfig| match Population::new(1, config) {
        Err(WorldError::BadRate { name, .. }) => name,
        other => panic!("{other:?}"),
    };
    assert_eq!(name(config(1, 1)), "number of nodes");
    assert_eq!(name(config(5, 5)), "number of connections");
    assert_eq!(name(config(5, 0)), "number of connections");
    let mut bad = config(5, 2);
    bad.link.loss = 2.0;
    assert_eq!(name(bad), "loss");
    let mut bad = config(5, 2);
    bad.echo_every = Some(Duration::ZERO);
    assert_eq!(name(bad), "time between calls");
    let mut bad = config(5, 2);
    bad.partition_every = Some(Duration::ZERO);
    assert_eq!(name(bad), "time between partitions");
    for speed in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let mut bad = config(5, 2);
        bad.churn = Some(Churn::measured().faster(speed));
        assert_eq!(name(bad), "speed of churn");
    }
}
