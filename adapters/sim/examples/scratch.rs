use drywire_sim::{
    HostBuilder, Link, World,
    workload::{Echo, EchoConfig, EchoResults},
};
use std::time::{Duration, Instant};
fn main() {
    let nodes: usize = std::env::args().nth(1).map_or(1000, |a| a.parse().unwrap());
    let minutes: u64 = std::env::args().nth(2).map_or(10, |a| a.parse().unwrap());
    let start = Instant::now();
    let mut world = World::new(1);
    world.keep_trace(0);
    world.check_every(1000);
    world
        .set_default_link(
            Link::default()
                .latency(Duration::from_millis(40))
                .jitter(0.2),
        )
        .unwrap();
    let mut hosts = Vec::new();
    for n in 0..nodes {
        let mut c = EchoConfig::default();
        c.every = Some(Duration::from_secs(1));
        c.keep_alive = true;
        hosts.push(
            world
                .add(HostBuilder::standard(format!("h{n}")).application(Echo::new(c)))
                .unwrap(),
        );
    }
    for n in 0..nodes {
        for k in 1..=4 {
            world.dial(hosts[n], hosts[(n + k * 37) % nodes]).unwrap();
        }
    }
    eprintln!("built {:?}", start.elapsed());
    world.run_for(Duration::from_secs(10)).unwrap();
    eprintln!(
        "10 s {:?} {:?}",
        start.elapsed(),
        world.connection_count(hosts[0])
    );
    for m in 0..minutes {
        world.run_for(Duration::from_secs(60)).unwrap();
        eprintln!(
            "{m} min {:?} steps {}",
            start.elapsed(),
            world.statistics().steps
        );
    }
    let mut r = EchoResults::default();
    for h in hosts {
        r.merge(world.application(h).unwrap().results());
    }
    println!(
        "{:?} begun {} ok {} failed {} p50 {:?} p99 {:?}",
        start.elapsed(),
        r.begun,
        r.succeeded,
        r.failed,
        r.latencies.quantile(0.5),
        r.latencies.quantile(0.99)
    );
    println!("{:#?} {}", world.statistics().errors, world.trace_hash());
    println!(
        "{}",
        std::fs::read_to_string("/proc/self/status")
            .unwrap()
            .lines()
            .filter(|l| l.starts_with("VmHWM"))
            .collect::<String>()
    );
}
