//! What a simulation tells at its end.

use super::Plan;
use crate::output::printable;
use core::{fmt::Write as _, time::Duration};
use drywire_sim::{
    Latencies, Statistics, Violation,
    population::Population,
    usage::{resident, thread_cpu},
    workload::EchoResults,
};
use serde_json::{Map, Value};
use std::time::Instant;

/// What time and memory were used, or how much more than before.
#[derive(Clone, Debug)]
pub(super) struct Cost {
    began: Instant,
    pub(super) wall: Duration,
    /// Of this thread, where the system tells.
    pub(super) cpu: Option<Duration>,
    /// Bytes of memory in use, where the system tells.
    pub(super) memory: Option<u64>,
}

impl Cost {
    pub(super) fn now() -> Self {
        Self {
            began: Instant::now(),
            wall: Duration::ZERO,
            cpu: thread_cpu(),
            memory: resident(),
        }
    }

    /// How much more it is than before.
    pub(super) fn since(&self, before: &Self) -> Self {
        let cpu = self.cpu.zip(before.cpu);
        let memory = self.memory.zip(before.memory);
        Self {
            began: before.began,
            wall: self.began.duration_since(before.began),
            // A system that does not count says zero.
            cpu: cpu
                .map(|(now, before)| now.saturating_sub(before))
                .filter(|time| !time.is_zero()),
            memory: memory.map(|(now, before)| now.saturating_sub(before)),
        }
    }

    /// The time of one core, or what comes closest to it.
    fn core_seconds(&self) -> f64 {
        self.cpu.unwrap_or(self.wall).as_secs_f64().max(1e-9)
    }
}

/// What became of a network.
#[derive(Debug)]
pub(super) struct Summary {
    seed: u64,
    nodes: usize,
    running: usize,
    connection_ends: usize,
    length: Duration,
    passed: Duration,
    cost: Cost,
    statistics: Statistics,
    echoes: EchoResults,
    hash: String,
}

impl Summary {
    pub(super) fn of(
        population: &mut Population,
        plan: &Plan,
        passed: Duration,
        cost: &Cost,
    ) -> Self {
        Self {
            seed: plan.seed,
            nodes: plan.config.nodes,
            running: population.running(),
            connection_ends: population.connection_ends(),
            length: plan.length,
            passed,
            cost: cost.clone(),
            statistics: population.world().statistics(),
            echoes: population.echoes(),
            hash: population.world().trace_hash().to_string(),
        }
    }

    fn interrupted(&self) -> bool {
        self.passed < self.length
    }

    fn events_per_second(&self) -> f64 {
        self.statistics.steps as f64 / self.cost.wall.as_secs_f64().max(1e-9)
    }

    fn node_hours_per_core_second(&self) -> f64 {
        self.nodes as f64 * self.passed.as_secs_f64() / 3600.0 / self.cost.core_seconds()
    }

    fn connections_per_node(&self) -> f64 {
        self.connection_ends as f64 / self.running.max(1) as f64
    }

    fn memory_per_node(&self) -> Option<u64> {
        self.cost.memory?.checked_div(self.nodes as u64)
    }

    /// The table for people.
    pub(super) fn text(&self) -> String {
        let Statistics {
            steps,
            dials_succeeded,
            dials_failed,
            handshakes,
            handshake_latencies,
            streams,
            bytes,
            ..
        } = &self.statistics;
        let mut table = Table::default();
        table.row("time", self.time());
        table.row("nodes", {
            let up = match self.nodes.saturating_sub(self.running) {
                0 => String::new(),
                down => format!(", {} down at the end", grouped(down as u64)),
            };
            let (nodes, each) = (grouped(self.nodes as u64), self.connections_per_node());
            format!("{nodes}{up}; {each:.1} connections each")
        });
        table.row("dials", outcome(*dials_succeeded, *dials_failed));
        table.row(
            "handshakes",
            format!(
                "{}{}",
                grouped(*handshakes),
                percentiles(handshake_latencies)
            ),
        );
        table.row("streams", grouped(*streams));
        let echoes = outcome(self.echoes.succeeded, self.echoes.failed);
        table.row(
            "echoes",
            format!("{echoes}{}", percentiles(&self.echoes.latencies)),
        );
        table.row("bytes", volume(*bytes));
        for (index, (name, count)) in self.faults().into_iter().enumerate() {
            let head = if index == 0 { "faults met" } else { "" };
            table.row(head, format!("{:>9}  {name}", grouped(count)));
        }
        for (index, (name, count)) in self.statistics.errors.iter().enumerate() {
            let head = if index == 0 { "what ended" } else { "" };
            table.row(head, format!("{:>9}  {}", grouped(*count), printable(name)));
        }
        table.row(
            "speed",
            format!(
                "{} events, {} per second; {:.2} node-hours per {}second",
                grouped(*steps),
                grouped(self.events_per_second() as u64),
                self.node_hours_per_core_second(),
                self.cost.cpu.map_or("", |_| "core-")
            ),
        );
        if let (Some(each), Some(all)) = (self.memory_per_node(), self.cost.memory) {
            table.row(
                "memory",
                format!("{} per node, {} in all", volume(each), volume(all)),
            );
        }
        table.row("trace hash", self.hash.clone());
        table.0
    }

    fn time(&self) -> String {
        let stopped = if self.interrupted() {
            format!(" of {} (interrupted)", clock(self.length))
        } else {
            String::new()
        };
        let cpu = match self.cost.cpu {
            Some(cpu) => format!(" ({:.2} s of one core)", cpu.as_secs_f64()),
            None => String::new(),
        };
        let wall = self.cost.wall.as_secs_f64();
        format!(
            "{}{stopped} simulated in {wall:.2} s{cpu}",
            clock(self.passed)
        )
    }

    fn faults(&self) -> Vec<(&'static str, u64)> {
        let met = self.statistics.faults.met();
        met.map(|(fault, count)| (fault.name(), count)).collect()
    }

    /// The same for programs.
    pub(super) fn fields(&self) -> Vec<(&'static str, Value)> {
        let statistics = &self.statistics;
        let faults: Map<String, Value> = self
            .faults()
            .into_iter()
            .map(|(name, count)| (name.to_owned(), count.into()))
            .collect();
        let errors: Map<String, Value> = statistics
            .errors
            .iter()
            .map(|(name, count)| (name.clone(), (*count).into()))
            .collect();
        let handshake = &statistics.handshake_latencies;
        let echo = &self.echoes.latencies;
        vec![
            ("seed", self.seed.into()),
            ("nodes", self.nodes.into()),
            ("nodes_up", self.running.into()),
            ("interrupted", self.interrupted().into()),
            ("virtual_seconds", self.passed.as_secs_f64().into()),
            ("wall_seconds", self.cost.wall.as_secs_f64().into()),
            (
                "cpu_seconds",
                self.cost.cpu.map(|cpu| cpu.as_secs_f64()).into(),
            ),
            ("events", statistics.steps.into()),
            ("events_per_second", self.events_per_second().into()),
            (
                "node_hours_per_core_second",
                self.node_hours_per_core_second().into(),
            ),
            ("connections_per_node", self.connections_per_node().into()),
            ("dials_succeeded", statistics.dials_succeeded.into()),
            ("dials_failed", statistics.dials_failed.into()),
            ("handshakes", statistics.handshakes.into()),
            ("handshake_p50_ms", millis(handshake, 0.5).into()),
            ("handshake_p99_ms", millis(handshake, 0.99).into()),
            ("incoming_failed", statistics.incoming_failed.into()),
            ("connection_ends_closed", statistics.closed.into()),
            ("streams", statistics.streams.into()),
            ("echoes_begun", self.echoes.begun.into()),
            ("echoes_succeeded", self.echoes.succeeded.into()),
            ("echoes_failed", self.echoes.failed.into()),
            ("echo_p50_ms", millis(echo, 0.5).into()),
            ("echo_p90_ms", millis(echo, 0.9).into()),
            ("echo_p99_ms", millis(echo, 0.99).into()),
            ("echo_max_ms", millis(echo, 1.0).into()),
            ("bytes", statistics.bytes.into()),
            ("faults", faults.into()),
            ("ends", errors.into()),
            ("memory_bytes", self.cost.memory.into()),
            ("memory_bytes_per_node", self.memory_per_node().into()),
            ("trace_hash", self.hash.as_str().into()),
        ]
    }
}

/// What programs are told of a broken promise.
pub(super) fn violation_fields(violation: &Violation) -> Vec<(&'static str, Value)> {
    vec![
        ("invariant", violation.invariant.into()),
        ("message", violation.message.as_str().into()),
        ("host", violation.host.map(|host| host.number()).into()),
        ("step", violation.step.into()),
        ("seed", violation.seed.into()),
        ("trace", violation.trace.clone().into()),
    ]
}

/// Rows of a name and what there is to say.
#[derive(Debug, Default)]
pub(super) struct Table(pub(super) String);

impl Table {
    pub(super) fn row(&mut self, name: &str, text: String) {
        let end = if self.0.is_empty() { "" } else { "\n" };
        // Writing to memory does not fail.
        let _ = write!(self.0, "{end}{name:<12}{text}");
    }
}

fn outcome(succeeded: u64, failed: u64) -> String {
    match failed {
        0 => grouped(succeeded),
        _ => format!("{}, {} failed", grouped(succeeded), grouped(failed)),
    }
}

pub(super) fn percentiles(latencies: &Latencies) -> String {
    let mut text = String::new();
    if latencies.count() > 0 {
        for (name, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)] {
            let _ = write!(text, ", {name} {:.0} ms", millis(latencies, share));
        }
    }
    text
}

pub(super) fn millis(latencies: &Latencies, share: f64) -> f64 {
    latencies.quantile(share).as_secs_f64() * 1e3
}

/// Bytes, for people.
pub(super) fn volume(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            let digits = usize::from(unit != "B" && value < 100.0);
            return format!("{value:.digits$} {unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// A number with its thousands apart.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && digits.len().saturating_sub(index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A length of time as minutes and seconds, or hours.
pub(super) fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let tenths = time.subsec_millis() / 100;
    let rest = seconds % 60;
    match (hours, tenths) {
        (0, 0) => format!("{minutes}:{rest:02}"),
        (0, _) => format!("{minutes}:{rest:02}.{tenths}"),
        _ => format!("{hours}:{minutes:02}:{rest:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_easy_to_read() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (12_345_678, "12,345,678"),
        ] {
            assert_eq!(grouped(number), text);
        }
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (200 << 20, "200 MiB"),
            (5 << 40, "5.0 TiB"),
        ] {
            assert_eq!(volume(bytes), text);
        }
        for (millis, text) in [
            (0, "0:00"),
            (600_000, "10:00"),
            (61_500, "1:01.5"),
            (3_661_000, "1:01:01"),
        ] {
            assert_eq!(clock(Duration::from_millis(millis)), text);
        }
    }
}
