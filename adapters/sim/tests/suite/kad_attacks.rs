//! Each defence of a DHT node: with it an attack fails, without it the attack succeeds.

use core::time::Duration;
use drywire::{
    multiaddr::Multiaddr,
    protocol::kad::{BucketInserts, Key, message::ConnectionType, message::ResponseWriter},
};
use drywire_sim::kad::{
    Adversary, Answer, Asked, Join, KadConfig, KadWorld, Operation, View,
    attacks::{Attack, Experiment, Row, Scale},
};

fn small() -> Scale {
    Scale::default().nodes(150).lookups(40).flood(1_500)
}

fn run(attack: Attack) -> Experiment {
    attack.run(&small()).unwrap()
}

fn row<'a>(experiment: &'a Experiment, setting: &str, defended: bool) -> &'a Row {
    experiment
        .row(setting, defended)
        .unwrap_or_else(|| panic!("{setting} is not in\n{experiment}"))
}

fn figure(experiment: &Experiment, setting: &str, defended: bool, name: &str) -> f64 {
    row(experiment, setting, defended).figure(name).unwrap()
}

#[test]
fn liars_are_passed_by_on_other_paths() {
    let experiment = run(Attack::D1);
    let closest = |setting: &str, defended| figure(&experiment, setting, defended, "closest found");
    assert!(
        closest("10 % malicious, 8 disjoint", true) >= 0.95,
        "{experiment}"
    );
    assert!(
        closest("30 % malicious, 8 disjoint", true) >= 0.9,
        "{experiment}"
    );
    let recall = |setting: &str, defended| {
        figure(&experiment, setting, defended, "of the 20 closest honest")
    };
    assert!(
        recall("30 % malicious, 8 disjoint", true)
            >= recall("30 % malicious, one path, 1 at", false),
        "{experiment}"
    );
}

#[test]
fn sybils_of_one_network_cannot_hide_a_record() {
    let experiment = run(Attack::D2);
    let found = |defended| {
        figure(
            &experiment,
            "20 sybils, in one network",
            defended,
            "records found",
        )
    };
    assert!(found(false) <= 0.2, "{experiment}");
    assert!(found(true) >= 0.95, "{experiment}");
}

#[test]
fn sybils_of_one_network_cannot_hide_a_provider_behind_false_ones() {
    let experiment = run(Attack::D3);
    let found = |setting, defended| figure(&experiment, setting, defended, "providers found");
    assert!(
        found("20 sybils, in one network", false) <= 0.2,
        "{experiment}"
    );
    assert!(
        found("20 sybils, in one network", true) >= 0.95,
        "{experiment}"
    );
}

#[test]
fn one_network_gets_three_places_in_a_table() {
    let experiment = run(Attack::D4);
    let entries = |defended| figure(&experiment, "1 networks", defended, "entries");
    assert!(entries(true) <= 3.0, "{experiment}");
    assert!(entries(false) > 20.0, "{experiment}");
    let near = |defended| figure(&experiment, "1 networks", defended, "of the 20 nearest");
    assert!(near(true) <= 0.2 && near(false) >= 0.5, "{experiment}");
    for row in experiment.rows.iter().filter(|row| row.defended) {
        assert_eq!(row.figure("honest evicted"), Some(0.0), "{experiment}");
    }
}

#[test]
fn addresses_outside_of_the_scope_are_not_believed() {
    let experiment = run(Attack::D5);
    let stored = |defended| {
        figure(
            &experiment,
            "30 % malicious",
            defended,
            "bad addresses in tables",
        )
    };
    assert!(stored(true) < 0.5, "{experiment}");
    assert!(stored(false) > 100.0, "{experiment}");
}

#[test]
fn a_flood_of_providers_stays_within_the_store_and_crowds_nobody_out() {
    let experiment = run(Attack::D6);
    for setting in ["honest first, sybils in one", "honest last, sybils in one"] {
        assert!(
            figure(&experiment, setting, true, "honest named") > 0.5,
            "{experiment}"
        );
    }
    assert!(
        figure(&experiment, "honest first", true, "other keys kept") <= 1024.0,
        "{experiment}"
    );
    assert!(
        figure(&experiment, "honest first", false, "other keys kept") > 1024.0,
        "{experiment}"
    );
    let told = |defended| {
        figure(
            &experiment,
            "honest first, sybils everywhere",
            defended,
            "named for the key",
        )
    };
    assert!(told(true) <= 20.0 && told(false) > 20.0, "{experiment}");
}

#[test]
fn bad_records_are_not_kept() {
    let experiment = run(Attack::D7);
    for row in &experiment.rows {
        let kept = row.figure("kept").unwrap();
        let most = if row.setting.contains("of one peer") {
            64.0
        } else {
            0.0
        };
        assert_eq!(kept > most, !row.defended, "{experiment}");
    }
}

#[test]
fn an_answer_is_at_most_16_kib_and_dials_nobody() {
    let experiment = run(Attack::D8);
    let answer = |defended| figure(&experiment, "FIND_NODE", defended, "answer");
    assert!(
        answer(true) <= 16_384.0 && answer(false) > 16_384.0,
        "{experiment}"
    );
    assert_eq!(
        row(&experiment, "FIND_NODE", true).figure("dials"),
        Some(0.0)
    );
}

#[test]
fn who_never_answers_is_waited_for_five_seconds() {
    let experiment = run(Attack::D9);
    let half = |defended| figure(&experiment, "50 % never answer", defended, "half take");
    assert!(half(true) < half(false) / 2.0, "{experiment}");
    for row in experiment.rows.iter().filter(|row| row.defended) {
        assert!(row.figure("longest").unwrap() <= 60.5, "{experiment}");
    }
}

/// Everybody who asks is told of as many peers as it likes to hear, all of them invented.
#[derive(Debug)]
struct Talkative(Vec<(drywire::identity::PeerId, Multiaddr)>);

impl Adversary for Talkative {
    fn answer(&mut self, asked: &Asked<'_>, _: &View<'_>) -> Answer {
        let mut out = Vec::new();
        let mut writer =
            ResponseWriter::new(&mut out, 1 << 20, asked.request.kind, asked.request.key);
        for (peer, address) in &self.0 {
            writer.closer_peer(peer, [address.as_bytes()], ConnectionType::Connected);
        }
        Answer::Message(out)
    }
}

/// Of one response only so many peers are believed.
#[test]
fn a_response_with_a_thousand_peers_leads_to_forty_requests() {
    let asked = |cap: usize| {
        let mut config = KadConfig::nodes(2);
        config.bootstrappers = 2;
        config.join = Join::Known;
        config.node.max_closer_peers = cap;
        config.node.diversity = None;
        config.node.max_response_peers_per_group = None;
        let mut world = KadWorld::new(1, config).unwrap();
        let mut others = Vec::new();
        let donor = KadWorld::new(2, KadConfig::nodes(1_000)).unwrap();
        for number in 0..donor.len() {
            others.push((
                donor.peer(number).unwrap(),
                donor.address(number).unwrap().clone(),
            ));
        }
        let (peer, address) = others.pop().unwrap();
        world.add_attacker(peer, address);
        world.set_adversary(Talkative(others));
        world.populate().unwrap();
        world.start(0, Operation::Closest(b"key".to_vec()));
        world.run_until_done(Duration::from_secs(100)).unwrap();
        world.take_outcomes().pop().unwrap().requests
    };
    let (with, without) = (asked(40), asked(1_024));
    assert!(with <= 42, "{with}");
    assert!(without > 90, "{without}");
}

/// Connects and says that it is a server, but answers nothing.
#[derive(Debug)]
struct Mute;

impl Adversary for Mute {
    fn answer(&mut self, _: &Asked<'_>, _: &View<'_>) -> Answer {
        Answer::Nothing
    }
}

#[test]
fn who_does_not_answer_does_not_come_into_a_table() {
    let entries = |inserts: BucketInserts| {
        let mut config = KadConfig::nodes(20).known();
        config.node.kbucket_inserts = inserts;
        config.node.liveness_interval = None;
        let mut world = KadWorld::new(4, config).unwrap();
        world.set_adversary(Mute);
        world.populate().unwrap();
        let donor = KadWorld::new(5, KadConfig::nodes(30)).unwrap();
        for number in 0..donor.len() {
            let (peer, address) = (
                donor.peer(number).unwrap(),
                donor.address(number).unwrap().clone(),
            );
            let attacker = world.add_attacker(peer, address);
            world.meet(attacker, 0);
        }
        world.run_for(Duration::from_secs(60)).unwrap();
        let table = world.dht(0).unwrap().table();
        let is_attacker = |peer| world.number(peer).unwrap() >= 20;
        table
            .iter()
            .filter(|entry| is_attacker(entry.peer()))
            .count()
    };
    assert_eq!(entries(BucketInserts::Checked), 0);
    assert!(entries(BucketInserts::OnConnected) > 10);
}

/// Answers with many peers of one network, all nearer to the key than anybody.
#[derive(Debug)]
struct OneNetwork;

impl Adversary for OneNetwork {
    fn answer(&mut self, asked: &Asked<'_>, view: &View<'_>) -> Answer {
        let target = Key::of(asked.request.key);
        let others = view.colluders(&target, 20);
        Answer::Message(drywire_sim::kad::response(
            asked.request.kind,
            asked.request.key,
            &others,
        ))
    }
}

/// More than three peers of one network in one response are not believed, none of them.
#[test]
fn many_of_one_network_in_a_response_are_passed_over() {
    let found = |counted: bool| {
        let mut config = KadConfig::nodes(2).known();
        config.bootstrappers = 2;
        if !counted {
            config.node.max_response_peers_per_group = None;
        }
        let mut world = KadWorld::new(6, config).unwrap();
        world.set_adversary(OneNetwork);
        let donor = KadWorld::new(7, KadConfig::nodes(60)).unwrap();
        for number in 0..donor.len() {
            let address = format!("/ip4/45.77.0.{}/tcp/4001", number + 1)
                .parse()
                .unwrap();
            world.add_attacker(donor.peer(number).unwrap(), address);
        }
        world.populate().unwrap();
        world.start(0, Operation::Closest(b"key".to_vec()));
        world.run_until_done(Duration::from_secs(100)).unwrap();
        let outcome = world.take_outcomes().pop().unwrap();
        let is_attacker = |peer| world.number(peer).unwrap() >= 2;
        outcome
            .peers
            .iter()
            .filter(|peer| is_attacker(peer))
            .count()
    };
    let (with, without) = (found(true), found(false));
    assert!(with <= 6, "{with}: three of each table");
    assert!(without >= 15, "{without}");
}
