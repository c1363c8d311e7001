//! A DHT of many nodes in virtual time: `kad_population [nodes] [lookups] [bootstrap|lookup|known] [seconds] [churn]`; or an attack:
//! `kad_population d1 [nodes]`.
#![allow(clippy::std_instead_of_core)]

use core::time::Duration;
use drywire_sim::kad::{
    Join, KadChurn, KadConfig, KadWorld, Workload,
    attacks::{Attack, Scale},
};
use std::{env, error::Error, time::Instant};

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(attack) = env::args()
        .nth(1)
        .and_then(|word| word.parse::<Attack>().ok())
    {
        let nodes = env::args().nth(2).map_or(Ok(500), |word| word.parse())?;
        let began = Instant::now();
        println!("{}", attack.run(&Scale::default().nodes(nodes))?);
        println!("in {:?}", began.elapsed());
        return Ok(());
    }
    let mut words = env::args().skip(1);
    let mut number = |default: usize| -> Result<usize, Box<dyn Error>> {
        Ok(words.next().map_or(Ok(default), |word| word.parse())?)
    };
    let (nodes, lookups) = (number(1_000)?, number(1_000)?);
    let mut words = env::args().skip(3);
    let mut config = KadConfig::nodes(nodes);
    config.join = match words.next().as_deref() {
        Some("lookup") => Join::Lookup,
        Some("known") => Join::Known,
        _ => Join::Bootstrap,
    };
    let seconds = words.next().map_or(Ok(60), |word| word.parse())?;
    config.churn = words.next().map(|_| KadChurn::measured());
    config.audit_every = if nodes > 1_000 { 4_096 } else { 64 };
    let began = Instant::now();
    let mut world = KadWorld::new(1, config)?;
    world.populate()?;
    println!("populated in {:?}, {:?}", began.elapsed(), world.traffic());
    let report = Workload::new(lookups)
        .records(lookups / 20)
        .provided(lookups / 20)
        .over(Duration::from_secs(seconds))
        .run(&mut world, |_, _| true)?;
    println!("done in {:?}, {:?}", began.elapsed(), report.traffic);
    let tally = &report.lookups;
    println!(
        "success {} recall {} complete {} hops {:.2} messages {:.1} p50 {:?} p99 {:?} timeouts {}",
        tally.success(),
        tally.recall(),
        tally.completeness(),
        tally.hops_mean(),
        tally.requests_mean(),
        tally.latencies.quantile(0.5),
        tally.latencies.quantile(0.99),
        tally.timed_out
    );
    println!(
        "puts {} gets {} provides {} providers {}",
        report.puts.success(),
        report.gets.success(),
        report.provides.success(),
        report.providers.success()
    );
    println!(
        "{:?} dead {} entries {}",
        report.health,
        report.health.dead_share(),
        report.health.entries_mean()
    );
    println!("{}", report.hash);
    Ok(())
}
