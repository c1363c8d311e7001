//! Experiments with nodes that lie: each attack with its defence and without.
//!
//! | | attack | defence |
//! |---|---|---|
//! | D1 | a share of all nodes tells of accomplices only | disjoint paths |
//! | D2 | sybils nearer to a key than any honest node drop its record | networks are counted, in tables and responses |
//! | D3 | the same, and they name false providers and end searches early | no search ends on providers nobody verified |
//! | D4 | one attacker with many ids wants a node's whole table | networks are counted, newcomers are checked, those alive stay |
//! | D5 | nodes tell of peers at private, unusable or wrong addresses | addresses have a scope |
//! | D6 | a flood of providers | caps of the store, per key, peer and network |
//! | D7 | records that are too long, forged, old, or too many of one peer | validators, limits and caps |
//! | D8 | small requests for large responses | a budget for responses |
//! | D9 | nodes answer late or never | a deadline for each peer and each query |
//! | D10 | no attack: nodes leave and come back | liveness probes |
//!
//! ```
//! use drywire_sim::kad::attacks::{Attack, Scale};
//!
//! let experiment = Attack::D8.run(&Scale::default())?;
//! assert!(experiment.rows.iter().any(|row| row.defended));
//! println!("{experiment}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod flood;
mod lone;
mod paths;
mod sybils;
mod table;
mod time;

use crate::{error::WorldError, violation::Violation};
use core::{fmt, str::FromStr, time::Duration};

/// How large an experiment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Scale {
    /// Nodes of its network, attackers included. 500.
    pub nodes: usize,
    /// Lookups for each figure. 200.
    pub lookups: usize,
    /// Messages or ids of a flood. 10,000.
    pub flood: usize,
    /// What everything follows from. 1.
    pub seed: u64,
}

impl Default for Scale {
    fn default() -> Self {
        Self {
            nodes: 500,
            lookups: 200,
            flood: 10_000,
            seed: 1,
        }
    }
}

impl Scale {
    /// With so many nodes.
    #[must_use]
    pub const fn nodes(mut self, nodes: usize) -> Self {
        self.nodes = nodes;
        self
    }

    /// With so many lookups for each figure.
    #[must_use]
    pub const fn lookups(mut self, lookups: usize) -> Self {
        self.lookups = lookups;
        self
    }

    /// With floods of so many.
    #[must_use]
    pub const fn flood(mut self, flood: usize) -> Self {
        self.flood = flood;
        self
    }

    /// With this seed.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }
}

/// An experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Attack {
    /// Random malicious nodes.
    D1,
    /// A key's neighbourhood taken over, in silence.
    D2,
    /// The same, with lies.
    D3,
    /// A node's table taken over.
    D4,
    /// Tables poisoned with addresses.
    D5,
    /// A flood of providers.
    D6,
    /// Bad records.
    D7,
    /// Amplification.
    D8,
    /// Late answers, and none.
    D9,
    /// Churn.
    D10,
}

impl Attack {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::D1,
        Self::D2,
        Self::D3,
        Self::D4,
        Self::D5,
        Self::D6,
        Self::D7,
        Self::D8,
        Self::D9,
        Self::D10,
    ];

    /// Runs it.
    ///
    /// # Errors
    /// A scale that makes no sense, or the first invariant that does not hold.
    pub fn run(self, scale: &Scale) -> Result<Experiment, ExperimentError> {
        match self {
            Self::D1 => paths::random_malicious(scale),
            Self::D2 => sybils::key_eclipse(scale),
            Self::D3 => sybils::active_key_eclipse(scale),
            Self::D4 => table::node_eclipse(scale),
            Self::D5 => table::poisoning(scale),
            Self::D6 => Ok(flood::providers_flood(scale)),
            Self::D7 => Ok(flood::records(scale)),
            Self::D8 => Ok(flood::amplification(scale)),
            Self::D9 => time::late_answers(scale),
            Self::D10 => time::churn(scale),
        }
    }

    /// Its name: `D1` to `D10`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::D1 => "D1",
            Self::D2 => "D2",
            Self::D3 => "D3",
            Self::D4 => "D4",
            Self::D5 => "D5",
            Self::D6 => "D6",
            Self::D7 => "D7",
            Self::D8 => "D8",
            Self::D9 => "D9",
            Self::D10 => "D10",
        }
    }
}

impl fmt::Display for Attack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no such attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSuchAttack;

impl fmt::Display for NoSuchAttack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("attacks are d1 to d10")
    }
}

impl core::error::Error for NoSuchAttack {}

impl FromStr for Attack {
    type Err = NoSuchAttack;

    fn from_str(text: &str) -> Result<Self, NoSuchAttack> {
        let named = |attack: &Self| attack.name().eq_ignore_ascii_case(text);
        Self::ALL.into_iter().find(named).ok_or(NoSuchAttack)
    }
}

/// Why an experiment has no result.
#[derive(Debug)]
#[non_exhaustive]
pub enum ExperimentError {
    /// Its scale makes no sense.
    Scale(WorldError),
    /// An invariant did not hold.
    Violation(Box<Violation>),
}

impl fmt::Display for ExperimentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scale(error) => error.fmt(f),
            Self::Violation(violation) => violation.fmt(f),
        }
    }
}

impl core::error::Error for ExperimentError {}

impl From<WorldError> for ExperimentError {
    fn from(error: WorldError) -> Self {
        Self::Scale(error)
    }
}

impl From<Box<Violation>> for ExperimentError {
    fn from(violation: Box<Violation>) -> Self {
        Self::Violation(violation)
    }
}

/// A figure.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// So many of so many.
    Share(u64, u64),
    /// A number of things.
    Count(u64),
    /// A number that is no count.
    Number(f64),
    /// Bytes.
    Bytes(u64),
    /// A time.
    Time(Duration),
}

impl Value {
    /// As a number: of shares from 0 to 1, of times in seconds.
    #[must_use]
    pub fn number(self) -> f64 {
        match self {
            Self::Share(part, of) => super::workload::share(part, of),
            Self::Count(count) | Self::Bytes(count) => count as f64,
            Self::Number(number) => number,
            Self::Time(time) => time.as_secs_f64(),
        }
    }
}

/// Shares with their 95 % confidence interval.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share(part, of) => {
                let (low, high) = super::confidence(*part, *of);
                let share = self.number() * 100.0;
                write!(f, "{share:.1} % ({:.1}-{:.1})", low * 100.0, high * 100.0)
            }
            Self::Count(count) => write!(f, "{count}"),
            Self::Number(number) => write!(f, "{number:.2}"),
            Self::Bytes(bytes) => write!(f, "{bytes} B"),
            Self::Time(time) => write!(f, "{:.2} s", time.as_secs_f64()),
        }
    }
}

/// One setting of an experiment, and what came of it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Row {
    /// What was different from other rows.
    pub setting: String,
    /// Whether the defence was on.
    pub defended: bool,
    /// The figures, by their names.
    pub figures: Vec<(&'static str, Value)>,
    /// Whether the [promise](Experiment::promise) is kept, if it says something of this row.
    pub kept: Option<bool>,
}

impl Row {
    pub(super) const fn new(setting: String, defended: bool) -> Self {
        Self {
            setting,
            defended,
            figures: Vec::new(),
            kept: None,
        }
    }

    pub(super) fn with(mut self, name: &'static str, value: Value) -> Self {
        self.figures.push((name, value));
        self
    }

    pub(super) const fn kept(mut self, kept: bool) -> Self {
        self.kept = Some(kept);
        self
    }

    /// A figure as a number, see [`Value::number`]; `None` if there is none of this name.
    #[must_use]
    pub fn figure(&self, name: &str) -> Option<f64> {
        let mut figures = self.figures.iter();
        figures
            .find(|(other, _)| *other == name)
            .map(|(_, value)| value.number())
    }
}

/// An experiment's result.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Experiment {
    /// Which attack.
    pub attack: Attack,
    /// What it is, in a line.
    pub title: String,
    /// What should be reached with the defence, for 10,000 nodes and as many lookups.
    pub promise: &'static str,
    /// Its settings.
    pub rows: Vec<Row>,
}

impl Experiment {
    /// The first row with this in its setting, with the defence or without.
    #[must_use]
    pub fn row(&self, setting: &str, defended: bool) -> Option<&Row> {
        let mut rows = self.rows.iter();
        rows.find(|row| row.defended == defended && row.setting.contains(setting))
    }
}

/// A table for people.
impl fmt::Display for Experiment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.attack, self.title)?;
        write!(f, "goal: {}", self.promise)?;
        let mut table: Vec<Vec<String>> = Vec::new();
        let names = self.rows.first().map(|row| &row.figures);
        let names = names
            .into_iter()
            .flatten()
            .map(|(name, _)| (*name).to_owned());
        let head = ["setting".to_owned(), "defence".to_owned()];
        table.push(
            head.into_iter()
                .chain(names)
                .chain(["goal".to_owned()])
                .collect(),
        );
        for row in &self.rows {
            let defence = if row.defended { "on" } else { "off" };
            let kept = match row.kept {
                Some(true) => "reached",
                Some(false) => "missed",
                None => "",
            };
            let figures = row.figures.iter().map(|(_, value)| value.to_string());
            let head = [row.setting.clone(), defence.to_owned()];
            table.push(
                head.into_iter()
                    .chain(figures)
                    .chain([kept.to_owned()])
                    .collect(),
            );
        }
        let columns = table.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = table.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &table {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("  {cell:<width$}"));
            }
            write!(f, "\n{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attacks_have_names() {
        for attack in Attack::ALL {
            assert_eq!(attack.name().to_lowercase().parse(), Ok(attack));
        }
        assert_eq!("d11".parse::<Attack>(), Err(NoSuchAttack));
    }

    #[test]
    fn an_experiment_is_a_table() {
        let row = |defended| {
            Row::new("20 sybils".to_owned(), defended)
                .with("found", Value::Share(99, 100))
                .with("took", Value::Time(Duration::from_millis(1_500)))
        };
        let experiment = Experiment {
            attack: Attack::D2,
            title: "a key".to_owned(),
            promise: "all of it",
            rows: vec![row(false), row(true).kept(false)],
        };
        let text = experiment.to_string();
        assert!(text.contains("99.0 % (94.6-99.8)"), "{text}");
        assert!(text.contains("1.50 s") && text.contains("missed"), "{text}");
        let found = experiment
            .row("sybils", true)
            .and_then(|row| row.figure("found"));
        assert_eq!(found, Some(0.99));
    }
}
