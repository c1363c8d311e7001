//! What each host of drywire costs: the same work, alternately, in fresh processes; medians and ratios.

mod bulk;
mod crowd;
mod meter;

use std::{env, error::Error, process::ExitCode};

const USAGE: &str = "\
hosts bulk [--runs N] [--size-mib N] [--subjects A,B,..]
    One stream, from a node to another of the same process, on one processor: seconds per GiB. Subjects: memory (no sockets at
    all: two nodes), mio, tokio (its current-thread runtime), smol, async-std, engine-over-mio.
hosts idle [--connections N]
    A node over mio, N connections of N peers (10000 otherwise) that say nothing: resident memory and processor time of the
    server's process.
hosts echoes [--connections N] [--seconds N]
    The same with an echo of 32 bytes each second on each connection: processor time of the server for each, and how long
    they take. Without --connections: 50, and 5000.";

/// Whatever goes wrong.
type Failure = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let options = words.get(1..).unwrap_or_default();
    let done = match words.first().map(String::as_str) {
        Some("bulk") => bulk::main(options),
        Some("bulk-worker") => bulk::worker(options),
        Some("idle") => crowd::idle(options),
        Some("echoes") => crowd::echoes(options),
        Some("server") => crowd::server(),
        Some("clients") => crowd::clients(options),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

/// The value after an option.
fn option<T: std::str::FromStr>(words: &[String], name: &str) -> Result<Option<T>, Failure> {
    let Some(at) = words.iter().position(|word| word == name) else {
        return Ok(None);
    };
    let value = words.get(at + 1).and_then(|text| text.parse().ok());
    value
        .map(Some)
        .ok_or_else(|| format!("{name} needs a value").into())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
