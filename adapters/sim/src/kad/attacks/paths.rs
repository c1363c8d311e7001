//! Some of all nodes are malicious.

use super::{Attack, Experiment, ExperimentError, Row, Scale, Value};
use crate::kad::{
    Adversary, Answer, Asked, KadConfig, KadWorld, Kind, Operation, View, member, node_config,
    response,
};
use core::{num::NonZeroUsize, time::Duration};
use drywire::protocol::kad::{Key, QueryOptions};

/// Answers with the accomplices closest to what is looked for, whoever they are.
#[derive(Debug)]
struct Colluder;

impl Adversary for Colluder {
    fn answer(&mut self, asked: &Asked<'_>, view: &View<'_>) -> Answer {
        let key = asked.request.key;
        let others = view.colluders(&Key::of(key), 20);
        Answer::Message(response(asked.request.kind, key, &others))
    }
}

/// D1.
pub(super) fn random_malicious(scale: &Scale) -> Result<Experiment, ExperimentError> {
    let mut rows = Vec::new();
    for percent in [10, 20, 30] {
        let malicious = scale.nodes * percent / 100;
        let mut config = KadConfig::nodes(scale.nodes.saturating_sub(malicious)).known();
        config.node = node_config();
        let mut world = KadWorld::new(scale.seed, config)?;
        let mut draw = world.draws("attackers");
        for _ in 0..malicious {
            let (peer, address) = (
                member::draw_peer(&mut draw),
                member::draw_address(&mut draw),
            );
            world.add_attacker(peer, address);
        }
        world.set_adversary(Colluder);
        world.populate()?;
        let goal = match percent {
            10 => 0.999,
            20 => 0.99,
            _ => 0.9,
        };
        for paths in [None, Some(1), Some(2), Some(4), Some(8), Some(16)] {
            let parallelism = NonZeroUsize::new(paths.unwrap_or(8)).unwrap_or(NonZeroUsize::MIN);
            let options = QueryOptions::new()
                .parallelism(parallelism)
                .disjoint_paths(paths.is_some());
            let row = look_up(&mut world, scale, options, percent, paths)?;
            let reached = row.figure("closest found").unwrap_or(0.0) >= goal;
            rows.push(if paths == Some(8) {
                row.kept(reached)
            } else {
                row
            });
        }
    }
    Ok(Experiment {
        attack: Attack::D1,
        title: format!(
            "of {} nodes some are malicious: they tell of accomplices only",
            scale.nodes
        ),
        promise: "with 8 disjoint paths the closest node is found in 99.9 / 99 / 90 % of lookups",
        rows,
    })
}

fn look_up(
    world: &mut KadWorld,
    scale: &Scale,
    options: QueryOptions,
    percent: usize,
    paths: Option<usize>,
) -> Result<Row, ExperimentError> {
    let mut draw = world.draws("lookups");
    let (mut ended, mut succeeded, mut found, mut wanted, mut requests) = (0, 0, 0, 0, 0);
    for _ in 0..scale.lookups {
        let node = draw.below(world.config().nodes as u64) as u32;
        let key = draw.number().to_le_bytes().to_vec();
        world.start_with(node, Operation::Closest(key), options);
        world.run_for(Duration::from_millis(100))?;
    }
    world.run_until_done(Duration::from_secs(150))?;
    for outcome in world.take_outcomes() {
        if outcome.kind == Kind::Closest {
            ended += 1;
            succeeded += u64::from(outcome.succeeded);
            found += outcome.found as u64;
            wanted += outcome.wanted as u64;
            requests += u64::from(outcome.requests);
        }
    }
    let setting = match paths {
        None => format!("{percent} % malicious, one path, 8 at a time"),
        Some(1) => format!("{percent} % malicious, one path, 1 at a time"),
        Some(paths) => format!("{percent} % malicious, {paths} disjoint paths"),
    };
    Ok(Row::new(setting, paths.is_some_and(|paths| paths > 1))
        .with("closest found", Value::Share(succeeded, ended))
        .with("of the 20 closest honest", Value::Share(found, wanted))
        .with(
            "messages",
            Value::Number(requests as f64 / f64::max(ended as f64, 1.0)),
        ))
}
