//! Prints the trace hash of short runs of some seeds, to compare builds and machines.
//!
//! `cargo run --release -p drywire-sim --example hashes -- 0..50`

use drywire_sim::explore::{Campaign, Plan};
use std::process::ExitCode;

fn main() -> ExitCode {
    let argument = std::env::args().nth(1).unwrap_or_else(|| "0..50".into());
    let bounds = argument.split_once("..");
    let bounds = bounds.and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    let Some((from, to)) = bounds else {
        eprintln!("usage: hashes FROM..TO");
        return ExitCode::from(2);
    };
    let summary = Campaign::new(from..to)
        .plans(Plan::draw_short)
        .run(1, |_| {});
    for (seed, hash) in &summary.hashes {
        println!("{seed} {hash}");
    }
    for failure in &summary.failures {
        eprintln!("{failure}");
    }
    ExitCode::from(u8::from(!summary.failures.is_empty()))
}
