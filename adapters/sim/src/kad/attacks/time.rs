//! Nodes that answer late, or never, or are gone.

use super::{Attack, Experiment, ExperimentError, Row, Scale, Value};
use crate::kad::{
    Adversary, Answer, Asked, Join, KadChurn, KadConfig, KadWorld, View, Workload, member, response,
};
use core::time::Duration;
use drywire::protocol::kad::Key;

/// How attackers waste time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slow {
    /// They never answer, or a byte at a time, which never becomes a message.
    Never,
    /// They answer what is true for an accomplice, a millisecond before the request would be given up.
    Late(Duration),
}

impl Adversary for Slow {
    fn answer(&mut self, asked: &Asked<'_>, view: &View<'_>) -> Answer {
        // The newcomer is checked, and is good then.
        let own = view.peer(asked.attacker);
        let is_check = own.is_some_and(|own| asked.request.key == own.as_bytes());
        let key = asked.request.key;
        let bytes = response(asked.request.kind, key, &view.colluders(&Key::of(key), 20));
        match self {
            _ if is_check => Answer::Message(bytes),
            Self::Never => Answer::Nothing,
            Self::Late(late) => Answer::Late(*late, bytes),
        }
    }
}

/// D9.
pub(super) fn late_answers(scale: &Scale) -> Result<Experiment, ExperimentError> {
    let mut rows = Vec::new();
    for percent in [20, 50] {
        for late in [false, true] {
            for defended in [false, true] {
                let slow = scale.nodes * percent / 100;
                let mut config = KadConfig::nodes(scale.nodes.saturating_sub(slow)).known();
                if !defended {
                    config.node.peer_timeout = Duration::from_secs(55);
                    config.node.request_timeout = Duration::from_secs(55);
                }
                let deadline = config.node.request_timeout;
                let mut world = KadWorld::new(scale.seed, config)?;
                let mut draw = world.draws("attackers");
                for _ in 0..slow {
                    let (peer, address) = (
                        member::draw_peer(&mut draw),
                        member::draw_address(&mut draw),
                    );
                    world.add_attacker(peer, address);
                }
                let travels = Duration::from_millis(700);
                world.set_adversary(if late {
                    Slow::Late(deadline.saturating_sub(travels))
                } else {
                    Slow::Never
                });
                world.populate()?;
                let report = Workload::new(scale.lookups)
                    .over(Duration::from_secs(60))
                    .run(&mut world, |_, _| true)?;
                let tally = &report.lookups;
                let longest = tally.latencies.quantile(1.0);
                let kind = if late {
                    "answer at the last moment"
                } else {
                    "never answer"
                };
                let row = Row::new(format!("{percent} % {kind}"), defended)
                    .with("closest found", Value::Share(tally.succeeded, tally.ended))
                    .with("without an end", Value::Share(tally.timed_out, tally.ended))
                    .with("half take", Value::Time(tally.latencies.quantile(0.5)))
                    .with("longest", Value::Time(longest));
                let in_time = longest <= Duration::from_millis(60_500);
                rows.push(if defended { row.kept(in_time) } else { row });
            }
        }
    }
    Ok(Experiment {
        attack: Attack::D9,
        title: format!("of {} nodes some answer late or never", scale.nodes),
        promise: "every lookup ends within 60 s; a slow peer costs one slot, for 5 s",
        rows,
    })
}

/// D10.
pub(super) fn churn(scale: &Scale) -> Result<Experiment, ExperimentError> {
    let mut rows = Vec::new();
    for (speed, defended) in [(1.0, false), (1.0, true), (10.0, false), (10.0, true)] {
        let mut config = KadConfig::nodes(scale.nodes);
        config.join = Join::Known;
        let mut churn = KadChurn::measured();
        churn.law.speed = speed;
        config.churn = Some(churn);
        if !defended {
            config.node.liveness_interval = None;
            config.node.max_failures = u32::MAX;
            config.node.periodic_bootstrap_interval = None;
        }
        let mut world = KadWorld::new(scale.seed, config)?;
        world.populate()?;
        world.run_for(Duration::from_secs(1_800))?;
        let report = Workload::new(scale.lookups)
            .over(Duration::from_secs(600))
            .run(&mut world, |_, _| true)?;
        let (tally, health) = (&report.lookups, report.health);
        let row = Row::new(
            format!("26 % away, sessions {speed:.0} times shorter than measured"),
            defended,
        )
        .with("closest found", Value::Share(tally.succeeded, tally.ended))
        .with("all 20 found", Value::Share(tally.complete, tally.ended))
        .with("half take", Value::Time(tally.latencies.quantile(0.5)))
        .with("99 % take", Value::Time(tally.latencies.quantile(0.99)))
        .with("dead entries", Value::Share(health.dead, health.entries))
        .with("know all 20", Value::Share(health.know_all, health.tables));
        let know = row.figure("know all 20").unwrap_or(0.0) >= 0.61;
        let kept = row.figure("closest found").unwrap_or(0.0) >= 0.995 && know;
        rows.push(if defended && speed <= 1.0 {
            row.kept(kept)
        } else {
            row
        });
    }
    Ok(Experiment {
        attack: Attack::D10,
        title: format!(
            "{} nodes leave and come back as in the public DHT",
            scale.nodes
        ),
        promise: "99.5 % of lookups find the closest node; 61 % of nodes know all 20 closest to them",
        rows,
    })
}
