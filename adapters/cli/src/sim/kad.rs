//! `drywire sim --kad`: a DHT of many nodes, and attacks on it.

use super::{
    Picture, broken, number_of,
    summary::{self, Cost, Table, clock, grouped, millis, percentiles, volume},
};
use crate::{
    args::{JoinKind, SimOptions},
    executor::interrupted,
    failure::Failure,
    output::Output,
    session::stoppable,
};
use drywire_sim::{
    Violation,
    kad::{
        Join, KadChurn, KadConfig, KadWorld, Report, Tally, Workload,
        attacks::{Attack, Experiment, ExperimentError, Scale},
    },
    population::Churn,
};
use serde_json::{Map, Value};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// With more nodes bootstrapping all of them takes minutes.
const MOST_BOOTSTRAPS: usize = 1_000;

pub(super) async fn run(options: SimOptions, output: &Output) -> Result<(), Failure> {
    let seed = number_of(options.seed)?;
    let output = *output;
    if let Some(attacks) = options.attack {
        let scale = Scale::default()
            .nodes(options.nodes)
            .lookups(options.lookups)
            .flood(options.flood)
            .seed(seed);
        let interrupted = interrupted();
        return stoppable(interrupted, move |stop| {
            run_attacks(&attacks.0, &scale, stop, &output)
        })
        .await;
    }
    let picture = options
        .timeline
        .as_deref()
        .map(Picture::create)
        .transpose()?;
    let plan = Plan::new(&options, seed);
    let interrupted = interrupted();
    plan.announce(&output)?;
    stoppable(interrupted, move |stop| plan.run(picture, stop, &output)).await
}

fn run_attacks(
    attacks: &[Attack],
    scale: &Scale,
    stop: &AtomicBool,
    output: &Output,
) -> Result<(), Failure> {
    let count = attacks.len() as u64;
    let bar = output.progress_steps(count.max(1));
    for (number, attack) in (0_u64..).zip(attacks) {
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        bar.at(number, format!("{attack}"));
        let experiment = attack.run(scale).map_err(|error| match error {
            ExperimentError::Violation(violation) => broken(&violation),
            other => Failure::usage(other),
        })?;
        let end = if number.saturating_add(1) < count {
            "\n"
        } else {
            ""
        };
        output.say(
            &format!("{experiment}{end}"),
            "attack",
            &fields(&experiment, scale),
        )?;
    }
    Ok(())
}

fn fields(experiment: &Experiment, scale: &Scale) -> Vec<(&'static str, Value)> {
    let rows = experiment.rows.iter().map(|row| {
        let mut object = Map::new();
        object.insert("setting".to_owned(), row.setting.as_str().into());
        object.insert("defended".to_owned(), row.defended.into());
        for (name, value) in &row.figures {
            object.insert((*name).to_owned(), value.number().into());
        }
        object.insert("goal_reached".to_owned(), row.kept.into());
        Value::Object(object)
    });
    vec![
        ("attack", experiment.attack.name().into()),
        ("title", experiment.title.as_str().into()),
        ("goal", experiment.promise.into()),
        ("seed", scale.seed.into()),
        ("nodes", scale.nodes.into()),
        ("rows", rows.collect()),
    ]
}

/// What is to be run.
#[derive(Debug)]
struct Plan {
    seed: u64,
    config: KadConfig,
    lookups: usize,
    length: Duration,
}

impl Plan {
    fn new(options: &SimOptions, seed: u64) -> Self {
        let mut config = KadConfig::nodes(options.nodes);
        config.bootstrappers = config.bootstrappers.min(options.nodes);
        config.join = match options.join {
            Some(JoinKind::Bootstrap) => Join::Bootstrap,
            Some(JoinKind::Lookup) => Join::Lookup,
            Some(JoinKind::Known) => Join::Known,
            None if options.nodes > MOST_BOOTSTRAPS => Join::Known,
            None => Join::Bootstrap,
        };
        config.latency = options.latency;
        config.link.spikes = options.spikes;
        config.audit_every = if options.nodes > MOST_BOOTSTRAPS {
            1_024
        } else {
            64
        };
        config.churn = options.churn.0.map(|speed| {
            let mut churn = KadChurn::measured();
            churn.law = Churn::measured().faster(speed);
            churn
        });
        Self {
            seed,
            config,
            lookups: options.lookups,
            length: options.minutes,
        }
    }

    fn how(&self) -> &'static str {
        match self.config.join {
            Join::Bootstrap => "each bootstrapped",
            Join::Lookup => "each looked itself up",
            _ => "tables were filled, nobody joined",
        }
    }

    fn title(&self) -> String {
        format!(
            "{} Kademlia nodes ({}) for {} of virtual time",
            grouped(self.config.nodes as u64),
            self.how(),
            clock(self.length)
        )
    }

    fn announce(&self, output: &Output) -> Result<(), Failure> {
        let fields = [
            ("seed", self.seed.into()),
            ("nodes", self.config.nodes.into()),
            ("virtual_seconds", self.length.as_secs_f64().into()),
        ];
        let text = format!("{}, seed {}", self.title(), self.seed);
        output.say(&text, "start", &fields)
    }

    fn run(
        self,
        picture: Option<Picture>,
        stop: &AtomicBool,
        output: &Output,
    ) -> Result<(), Failure> {
        let before = Cost::now();
        let world = KadWorld::new(self.seed, self.config.clone());
        let mut world = world.map_err(Failure::usage)?;
        let (report, joined) =
            self.simulate(&mut world, &before, stop, output)
                .map_err(|violation| {
                    // Programs hear of it as of any broken promise; what cannot be told is told by the exit status.
                    let _ = output.report("violation", &summary::violation_fields(&violation));
                    broken(&violation)
                })?;
        let cost = Cost::now().since(&before);
        if let Some(mut picture) = picture {
            picture.write(&report.svg(&self.title()))?;
        }
        let text = self.text(&report, &joined, &cost);
        output.say(&text, "kad", &self.fields(&report, &joined, &cost))
    }

    fn simulate(
        &self,
        world: &mut KadWorld,
        before: &Cost,
        stop: &AtomicBool,
        output: &Output,
    ) -> Result<(Report, Cost), Box<Violation>> {
        let go_on = || !stop.load(Ordering::Relaxed);
        let bar = output.progress_steps(100);
        world.populate_with(|now, of| {
            let part = now.saturating_mul(50).checked_div(of).unwrap_or(0);
            bar.at(part, format!("nodes join, {now} of {of} s"));
            go_on()
        })?;
        let joined = Cost::now().since(before);
        // A record and a provided key for each twenty lookups.
        let some = self.lookups.div_ceil(20);
        let workload = Workload::new(self.lookups)
            .records(some)
            .provided(some)
            .over(self.length);
        let report = workload.run(world, |begun, of| {
            if begun % 16 == 0 {
                let part = begun.saturating_mul(50).checked_div(of).unwrap_or(0);
                bar.at(part.saturating_add(50), format!("{begun} of {of} lookups"));
            }
            go_on()
        })?;
        Ok((report, joined))
    }

    /// The table for people.
    fn text(&self, report: &Report, joined: &Cost, cost: &Cost) -> String {
        let mut table = Table::default();
        let cpu = |cost: &Cost| match cost.cpu {
            Some(cpu) => format!(" ({:.2} s of one core)", cpu.as_secs_f64()),
            None => String::new(),
        };
        table.row(
            "time",
            format!(
                "{} simulated in {:.2} s{}; until all were there {:.2} s{}",
                clock(report.time),
                cost.wall.as_secs_f64(),
                cpu(cost),
                joined.wall.as_secs_f64(),
                cpu(joined)
            ),
        );
        table.row(
            "nodes",
            format!(
                "{}, {} of them there at the end; {} clients; {}",
                grouped(report.nodes.into()),
                grouped(report.up.into()),
                grouped(report.clients.into()),
                self.how()
            ),
        );
        lookups(&mut table, report);
        for (name, tally) in others(report) {
            table.row(name, outcome(tally));
        }
        let health = report.health;
        let share = |part: u64| percent(part as f64 / health.tables.max(1) as f64);
        table.row(
            "tables",
            format!(
                "{:.1} entries, {} of them dead; {} of nodes know all 20 nearest, {} fewer than 18",
                health.entries_mean(),
                percent(health.dead_share()),
                share(health.know_all),
                share(health.know_few)
            ),
        );
        let traffic = report.traffic;
        table.row(
            "messages",
            format!(
                "{} requests, {} responses, {}; {} dials, {} in vain",
                grouped(traffic.requests),
                grouped(traffic.responses),
                volume(traffic.bytes),
                grouped(traffic.dials),
                grouped(traffic.dials_failed)
            ),
        );
        if let Some(memory) = cost.memory {
            let each = memory.checked_div(report.nodes.into()).unwrap_or(0);
            table.row(
                "memory",
                format!("{} per node, {} in all", volume(each), volume(memory)),
            );
        }
        table.row("trace hash", report.hash.to_string());
        table.0
    }

    /// The same for programs.
    fn fields(&self, report: &Report, joined: &Cost, cost: &Cost) -> Vec<(&'static str, Value)> {
        let lookups = &report.lookups;
        let mut fields: Vec<(&'static str, Value)> = vec![
            ("seed", self.seed.into()),
            ("nodes", report.nodes.into()),
            ("nodes_up", report.up.into()),
            ("clients", report.clients.into()),
            ("join", self.how().into()),
            ("virtual_seconds", report.time.as_secs_f64().into()),
            ("wall_seconds", cost.wall.as_secs_f64().into()),
            ("cpu_seconds", cost.cpu.map(|cpu| cpu.as_secs_f64()).into()),
            ("join_wall_seconds", joined.wall.as_secs_f64().into()),
            ("memory_bytes", cost.memory.into()),
            ("lookups", lookups.ended.into()),
            ("closest_found", lookups.success().into()),
            ("recall", lookups.recall().into()),
            ("all_20_found", lookups.completeness().into()),
            ("timed_out", lookups.timed_out.into()),
            ("hops_mean", lookups.hops_mean().into()),
            ("hops", lookups.hops.to_vec().into()),
            ("requests_per_lookup", lookups.requests_mean().into()),
            ("lookup_p50_ms", millis(&lookups.latencies, 0.5).into()),
            ("lookup_p90_ms", millis(&lookups.latencies, 0.9).into()),
            ("lookup_p99_ms", millis(&lookups.latencies, 0.99).into()),
            ("table_entries_mean", report.health.entries_mean().into()),
            ("table_dead_share", report.health.dead_share().into()),
            ("tables", report.health.tables.into()),
            ("tables_that_know_all_20", report.health.know_all.into()),
            ("tables_that_know_below_18", report.health.know_few.into()),
            ("requests", report.traffic.requests.into()),
            ("bytes", report.traffic.bytes.into()),
            ("dials", report.traffic.dials.into()),
            ("dials_failed", report.traffic.dials_failed.into()),
            ("trace_hash", report.hash.to_string().into()),
        ];
        for (name, tally) in others(report) {
            fields.push((name, tally.success().into()));
        }
        fields
    }
}

fn lookups(table: &mut Table, report: &Report) {
    let tally = &report.lookups;
    let late = match tally.timed_out {
        0 => String::new(),
        late => format!("; {late} had no time left"),
    };
    table.row(
        "lookups",
        format!(
            "{}; {} found the closest node, {} all 20; {} of the 20 on average{late}",
            grouped(tally.ended),
            percent(tally.success()),
            percent(tally.completeness()),
            percent(tally.recall())
        ),
    );
    table.row(
        "took",
        percentiles(&tally.latencies)
            .trim_start_matches(", ")
            .to_owned(),
    );
    table.row(
        "",
        format!(
            "{:.2} hops, {:.1} messages on average",
            tally.hops_mean(),
            tally.requests_mean()
        ),
    );
}

fn others(report: &Report) -> [(&'static str, &Tally); 4] {
    [
        ("puts", &report.puts),
        ("gets", &report.gets),
        ("provides", &report.provides),
        ("providers", &report.providers),
    ]
}

fn outcome(tally: &Tally) -> String {
    format!(
        "{}; {} succeeded{}",
        grouped(tally.ended),
        percent(tally.success()),
        percentiles(&tally.latencies)
    )
}

fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if (99.0..100.0).contains(&percent) {
        format!("{percent:.2} %")
    } else {
        format!("{percent:.1} %")
    }
}
