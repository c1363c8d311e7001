//! System calls per operation, counted by strace.

use std::{fs, io};

use crate::{
    subject::Subject,
    work::{Unit, Work},
    worker::{self, Setup},
};

const SENDS: [&str; 4] = ["sendto", "sendmsg", "write", "writev"];
const RECEIVES: [&str; 4] = ["recvfrom", "recvmsg", "read", "readv"];
const WAITS: [&str; 2] = ["epoll_wait", "epoll_pwait"];

/// Calls per operation at one end.
#[derive(Clone, Copy, Debug, Default)]
struct Calls {
    sends: f64,
    receives: f64,
    waits: f64,
    futexes: f64,
}

/// One line: the calls of client and server per operation. Start, warm-up and end cancel out, because a run is compared
/// with one of three times as many operations.
pub(crate) fn line(work: Work, subject: Subject, setup: &Setup) -> io::Result<String> {
    if work.unit() != Unit::Micros {
        return Ok(String::new());
    }
    let directory = std::env::temp_dir();
    let file = directory.join(format!("side-by-side-{}", std::process::id()));
    let file = file.to_string_lossy().into_owned();
    let mut ends = [Calls::default(); 2];
    let base = 0.02;
    for (factor, sign) in [(base, -1.0), (3.0 * base, 1.0)] {
        let setup = Setup {
            scale: factor * setup.scale,
            ..setup.clone()
        };
        worker::run(work, subject, &setup, Some(&file))?;
        for (end, name) in ends.iter_mut().zip(["client", "server"]) {
            let path = format!("{file}.{name}");
            let summary = fs::read_to_string(&path)?;
            fs::remove_file(&path)?;
            end.sends += sign * count(&summary, &SENDS);
            end.receives += sign * count(&summary, &RECEIVES);
            end.waits += sign * count(&summary, &WAITS);
            end.futexes += sign * count(&summary, &["futex"]);
        }
    }
    // The warm-up is a tenth on top of the measured operations.
    let operations = work.operations() as f64 * setup.scale * 2.0 * base * 1.1;
    let both = |value: &dyn Fn(&Calls) -> f64| {
        format!(
            "{:.2} + {:.2}",
            value(&ends[0]) / operations,
            value(&ends[1]) / operations
        )
    };
    Ok(format!(
        "{:<44} {:<12} sends {:<14} receives {:<14} waits {:<14} futexes {}",
        work.describe().1,
        subject.to_string(),
        both(&|calls| calls.sends),
        both(&|calls| calls.receives),
        both(&|calls| calls.waits),
        both(&|calls| calls.futexes),
    ))
}

/// The sum of the calls by these names in a summary of `strace -c`.
fn count(summary: &str, names: &[&str]) -> f64 {
    summary
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let name = fields.last()?;
            names
                .contains(name)
                .then(|| fields.get(3)?.parse::<f64>().ok())
                .flatten()
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_calls_with_and_without_errors() {
        let summary = "% time     seconds  usecs/call     calls    errors syscall\n\
                       ------ ----------- ----------- --------- --------- ----------------\n\
                        50.00    0.000100           1       100           sendto\n\
                        25.00    0.000050           1        40         2 write\n\
                        25.00    0.000050           1        30        10 recvfrom\n\
                       ------ ----------- ----------- --------- --------- ----------------\n\
                       100.00    0.000200           1       170        12 total\n";
        assert_eq!(count(summary, &SENDS), 140.0);
        assert_eq!(count(summary, &RECEIVES), 30.0);
    }
}
