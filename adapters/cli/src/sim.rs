//! `drywire sim`: a whole network in virtual time.

mod kad;
mod summary;

use crate::{
    args::{Seed, SimOptions},
    executor::interrupted,
    failure::Failure,
    output::Output,
    session::stoppable,
};
use drywire_sim::{
    Violation,
    population::{Churn, Population, PopulationConfig},
    timeline::Timeline,
};
use std::{
    fs::File,
    io::Write as _,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};
use summary::{Cost, Summary};

/// How far the network runs between looks at the world outside.
const STRIDE: Duration = Duration::from_millis(500);
/// When worlds begin.
const BEGINNING: drywire::time::Instant = drywire::time::Instant::from_nanos(1_000_000_000);
/// Connections of each node, if there are enough others.
const CONNECTIONS: usize = 8;

/// `drywire sim`
pub(crate) async fn run(options: SimOptions, output: &Output) -> Result<(), Failure> {
    if options.kad {
        return kad::run(options, output).await;
    }
    let plan = Plan::new(options)?;
    // Found out now rather than after the run.
    let picture = plan.timeline.as_deref().map(Picture::create).transpose()?;
    let interrupted = interrupted();
    plan.announce(output)?;
    let output = *output;
    stoppable(interrupted, move |stop| plan.run(picture, stop, &output)).await
}

/// What is to be run.
#[derive(Debug)]
struct Plan {
    seed: u64,
    length: Duration,
    config: PopulationConfig,
    timeline: Option<std::path::PathBuf>,
    trace: usize,
}

impl Plan {
    fn new(options: SimOptions) -> Result<Self, Failure> {
        let seed = number_of(options.seed)?;
        let most = options.nodes.saturating_sub(1);
        let connections = options.connections.unwrap_or(CONNECTIONS.min(most));
        if connections == 0 || connections > most {
            return Err(Failure::usage(format!(
                "each of {} nodes can have 1 to {most} connections, not {connections}",
                options.nodes
            )));
        }
        let length = usize::try_from(options.echo_size)
            .ok()
            .filter(|size| *size <= 1 << 30)
            .ok_or_else(|| Failure::usage("a call has at most 1G"))?;
        let mut config = PopulationConfig::default();
        config.nodes = options.nodes;
        config.connections = connections;
        config.echo_every = Some(options.echo_every).filter(|every| !every.is_zero());
        config.echo_lengths = vec![length];
        config.plaintext = options.plaintext;
        config.latency = options.latency;
        config.link = config.link.loss(options.loss);
        config.link.spikes = options.spikes;
        let churn = options.churn.0;
        config.churn = churn.map(|speed| Churn::measured().faster(speed));
        config.partition_every = options.partition_every;
        Ok(Self {
            seed,
            length: options.minutes,
            config,
            timeline: options.timeline,
            trace: options.trace,
        })
    }

    /// What is about to happen: a seed drawn at random is of use even if the run has no end.
    fn announce(&self, output: &Output) -> Result<(), Failure> {
        let text = format!(
            "{} nodes for {} of virtual time, seed {}",
            summary::grouped(self.config.nodes as u64),
            summary::clock(self.length),
            self.seed
        );
        let fields = [
            ("seed", self.seed.into()),
            ("nodes", self.config.nodes.into()),
            ("virtual_seconds", self.length.as_secs_f64().into()),
        ];
        output.say(&text, "start", &fields)
    }

    fn run(
        self,
        picture: Option<Picture>,
        stop: &AtomicBool,
        output: &Output,
    ) -> Result<(), Failure> {
        let before = Cost::now();
        let built = Population::new(self.seed, self.config.clone());
        let mut population = built.map_err(Failure::usage)?;
        population.world().keep_trace(self.trace);
        if picture.is_some() {
            population.world().keep_chronicle();
        }
        let end = self.simulate(&mut population, stop, output);
        let cost = Cost::now().since(&before);
        if let Some(picture) = picture {
            picture.draw(&mut population, &self)?;
        }
        let passed = match end {
            Ok(passed) => passed,
            Err(violation) => {
                output.report("violation", &summary::violation_fields(&violation))?;
                for line in &violation.trace {
                    output.log(line);
                }
                return Err(broken(&violation));
            }
        };
        for line in population.world().trace() {
            output.log(&line);
        }
        let summary = Summary::of(&mut population, &self, passed, &cost);
        output.say(&summary.text(), "sim", &summary.fields())
    }

    fn simulate(
        &self,
        population: &mut Population,
        stop: &AtomicBool,
        output: &Output,
    ) -> Result<Duration, Box<Violation>> {
        let began = Instant::now();
        let bar = output.progress_steps(self.length.as_secs().max(1));
        let mut passed = Duration::ZERO;
        while passed < self.length && !stop.load(Ordering::Relaxed) {
            let stride = STRIDE.min(self.length.saturating_sub(passed));
            population.world().run_for(stride)?;
            passed = passed.saturating_add(stride);
            let events = population.world().steps() as f64;
            let rate = events / began.elapsed().as_secs_f64().max(1e-3);
            let words = format!(
                "{} of {}, {} events/s",
                summary::clock(passed),
                summary::clock(self.length),
                summary::grouped(rate as u64)
            );
            bar.at(passed.as_secs(), words);
        }
        Ok(passed)
    }
}

/// A seed as a number.
fn number_of(seed: Seed) -> Result<u64, Failure> {
    match seed {
        Seed::Number(number) => Ok(number),
        Seed::Random => {
            // Short enough to be typed again.
            let mut bytes = [0; 4];
            getrandom::fill(&mut bytes)
                .map_err(|error| Failure::failed(format!("no randomness: {error}")))?;
            Ok(u32::from_le_bytes(bytes).into())
        }
    }
}

/// A broken promise, in one sentence.
fn broken(violation: &Violation) -> Failure {
    let place = violation.host.map(|host| format!(" at {host}"));
    Failure::failed(format!(
        "a bug: {}{} is violated: {} (seed {}, step {}); the same command does it again, --trace 200 shows what led to it",
        violation.invariant,
        place.unwrap_or_default(),
        violation.message,
        violation.seed,
        violation.step
    ))
}

/// The file for the picture, there before there is anything to draw.
#[derive(Debug)]
struct Picture {
    file: File,
    name: String,
}

impl Picture {
    fn create(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let file = File::create(path);
        let file =
            file.map_err(|error| Failure::failed(format!("cannot write {name}: {error}")))?;
        Ok(Self { file, name })
    }

    fn draw(mut self, population: &mut Population, plan: &Plan) -> Result<(), Failure> {
        let world = population.world();
        let title = format!(
            "{} drywire nodes for {} of virtual time, seed {}",
            summary::grouped(plan.config.nodes as u64),
            summary::clock(world.now() - BEGINNING),
            plan.seed
        );
        let svg = Timeline::of(world).title(title).svg();
        self.write(&svg)
    }

    fn write(&mut self, svg: &str) -> Result<(), Failure> {
        self.file
            .write_all(svg.as_bytes())
            .map_err(|error| Failure::failed(format!("cannot write {}: {error}", self.name)))
    }
}
