//! What follows from the seed, and what does not.

use super::*;

fn bad_link() -> Link {
    Link {
        spikes: 0.05,
        stalls: 0.02,
        loss_burst: 2.0,
        duplication: 0.1,
        reordering: 0.1,
        corruption: 0.05,
        late_connects: 0.3,
        ..Link::default()
            .jitter(0.3)
            .loss(0.05)
            .buffer(3000)
            .biased_pieces()
    }
}

/// Everything that hosts 0 and 1 saw.
fn seen(stage: &Stage) -> Vec<(Instant, HostId, Signal)> {
    let first = |(_, host, _): &&(Instant, HostId, Signal)| host.number() < 2;
    stage.log.iter().filter(first).copied().collect()
}

fn conversation(seed: u64, permute: bool) -> Stage {
    let mut stage = Stage::new(seed, 4, bad_link());
    stage.net.permute_ties(permute);
    stage.plans = [Plan::sends(20_000), Plan::sends(5000)];
    stage.listen(1);
    stage.dial(0, 1);
    stage
}

#[test]
fn the_same_seed_gives_the_same_signals_and_another_seed_others() {
    for permute in [false, true] {
        let mut last = Vec::new();
        for seed in 0..20 {
            let [first, second] = [(), ()].map(|()| {
                let mut stage = conversation(seed, permute);
                stage.dial(0, 1);
                stage.run();
                (stage.log, stage.net.faults().clone(), stage.net.bytes())
            });
            assert_eq!(first, second);
            assert_ne!(first.0, last);
            last = first.0;
        }
    }
}

/// Signals without the names of what they are about: those count what came before.
fn bare(log: &[(Instant, HostId, Signal)]) -> Vec<(Instant, HostId, &'static str)> {
    let name = |signal: &Signal| match signal {
        Signal::Readable(_) => "readable",
        Signal::Writable(_) => "writable",
        Signal::Connected(..) => "connected",
        Signal::Acceptable(_) => "acceptable",
        Signal::Datagram(_) => "datagram",
    };
    let bare = log
        .iter()
        .map(|(at, host, signal)| (*at, *host, name(signal)));
    bare.collect()
}

#[test]
fn what_others_do_changes_nothing_between_two() {
    for seed in 0..20 {
        let mut alone = conversation(seed, false);
        alone.run();
        let mut among = Stage::new(seed, 4, bad_link());
        among.plans = [Plan::sends(20_000), Plan::sends(5000)];
        // Pipes and datagrams of others, before and meanwhile.
        among.listen(3);
        let (socket, at) = among.net.bind(HostId(2), address("10.0.0.3:1")).unwrap();
        for _ in 0..3 {
            among.dial(2, 3);
            among.net.send_to(among.now, socket, at, b"hello").unwrap();
        }
        among.listen(1);
        among.dial(0, 1);
        among.run();
        assert_eq!(bare(&seen(&alone)), bare(&seen(&among)), "seed {seed}");
        assert!(among.log.len() > alone.log.len());
    }
}

#[test]
fn what_one_pipe_carries_changes_nothing_on_the_next_between_the_same_hosts() {
    let run = |seed, before: usize| {
        let mut stage = Stage::new(seed, 2, bad_link());
        stage.listen(1);
        stage.plans = [Plan::sends(before), Plan::default()];
        stage.dial(0, 1);
        stage.run();
        stage.log.clear();
        stage.now = Instant::ZERO + secs(100_000);
        stage.plans = [Plan::sends(9000), Plan::sends(100)];
        stage.dial(0, 1);
        stage.run();
        bare(&stage.log)
    };
    for seed in 0..20 {
        assert_eq!(run(seed, 10), run(seed, 10_000));
    }
}

#[test]
fn latencies_between_regions_are_drawn_once_and_are_those_of_the_table() {
    let mut net = Network::new(&Seed::for_tests(1));
    let mut host = |number: u8, region| {
        let ip = IpAddr::from([10, 0, 0, number]);
        net.add_host(vec![ip], region).unwrap()
    };
    let here = host(1, Some(Region::Europe));
    let others: Vec<HostId> = (2..200)
        .map(|number| host(number, Some(Region::Asia)))
        .collect();
    let nowhere = host(200, None);
    let mut factors = Vec::new();
    for other in &others {
        let latency = net.link(here, *other).latency;
        assert_eq!(net.link(here, *other).latency, latency);
        assert_ne!(net.link(*other, here).latency, latency);
        factors.push((latency.as_secs_f64() / 0.095).ln());
    }
    let count = factors.len() as f64;
    let mean = factors.iter().sum::<f64>() / count;
    let deviation = (factors.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count).sqrt();
    assert!(
        mean.abs() < 0.06 && (deviation - 0.25).abs() < 0.05,
        "{mean} {deviation}"
    );
    assert_eq!(net.link(here, nowhere).latency, ms(1));
    for one in Region::ALL {
        for other in Region::ALL {
            assert_eq!(one.round_trip(other), other.round_trip(one));
            assert_eq!(one.round_trip(other) < ms(10), one == other);
        }
    }
    // What is said of one way is not drawn.
    let link = Link::default().latency(ms(5));
    net.set_link(here, nowhere, link.clone()).unwrap();
    net.set_link(here, others[0], link).unwrap();
    assert_eq!(net.link(here, others[0]).latency, ms(5));
    assert_eq!(
        net.set_link(here, HostId(999), Link::default()),
        Err(WorldError::UnknownHost(HostId(999)))
    );
    let bad = net.set_default_link(Link::default().loss(2.0));
    assert!(matches!(bad, Err(WorldError::BadRate { name: "loss", .. })));
}
