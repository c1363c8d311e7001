//! drywire and rust-libp2p on the same work, alternately, in fresh processes; prints medians and ratios.

use std::{process::ExitCode, time::Duration};

use meter::Others;
use report::Row;
use subject::{Implementation, Subject};
use work::Work;
use worker::Setup;

mod calls;
mod kad;
mod meter;
mod report;
mod requests;
mod subject;
mod tcp;
mod work;
mod worker;
mod workload;

const USAGE: &str = "\
Compares libp2p implementations over loopback TCP with Noise and yamux. A client and a server process, pinned to one
processor and on current-thread runtimes, do the same work for each implementation in turn. Figures are processor time
(user and system) of both processes, or memory of the server.

side-by-side kad ..         nodes of a DHT in one process; `kad --help` tells more
side-by-side [WORK..]       all work otherwise
    --subjects A,B,..       who is compared, libp2p,drywire otherwise; the first is what the others are compared with.
                            CLIENT:SERVER mixes two; tcp is no libp2p at all, the floor under the echoes
    --runs N                runs of each, 5 otherwise
    --size-mib N            of bulk work, 1024 otherwise (after a warm-up of 64)
    --scale F               multiplies the number of operations, connections and streams
    --settle-ms N           before memory is measured, 3000 otherwise
    --pin N | N,M           the processor of both, or of client and server; 0 otherwise
    --unpinned              no processor in particular
    --runtime multi         multi-thread runtimes
    --calls                 counts system calls per operation (needs strace) instead of measuring
    --json                  one JSON object a line
    --list                  prints the names of all work and implementations";

struct Arguments {
    works: Vec<Work>,
    subjects: Vec<Subject>,
    runs: usize,
    setup: Setup,
    calls: bool,
    json: bool,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == "worker") {
        return match worker::main(&words[1..]) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(1, &error.to_string()),
        };
    }
    match words.first().map(String::as_str) {
        Some("kad") => {
            return match kad::main(&words[1..]) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(2, &error),
            };
        }
        Some("kad-worker") => {
            return match kad::worker(&words[1..]) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(1, &error.to_string()),
            };
        }
        _ => {}
    }
    if words.iter().any(|word| word == "--list") {
        return list();
    }
    match parse(&words) {
        Ok(arguments) => match compare(&arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(1, &error.to_string()),
        },
        Err(message) => fail(2, &format!("{message}\n\n{USAGE}")),
    }
}

fn fail(status: u8, message: &str) -> ExitCode {
    eprintln!("side-by-side: {message}");
    ExitCode::from(status)
}

fn list() -> ExitCode {
    for work in Work::ALL {
        let (name, description) = work.describe();
        println!("{name:<22} {description}");
    }
    let names: Vec<&str> = Implementation::ALL
        .iter()
        .map(|implementation| implementation.name())
        .collect();
    println!("subjects: {}", names.join(", "));
    ExitCode::SUCCESS
}

fn parse(words: &[String]) -> Result<Arguments, String> {
    let mut arguments = Arguments {
        works: Vec::new(),
        subjects: Vec::new(),
        runs: 5,
        setup: Setup {
            pin: Some((0, 0)),
            multi: false,
            bytes: 1 << 30,
            scale: 1.0,
            settle: Duration::from_secs(3),
        },
        calls: false,
        json: false,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--json" => arguments.json = true,
            "--calls" => arguments.calls = true,
            "--unpinned" => arguments.setup.pin = None,
            "--pin" => {
                let value = value()?;
                let (client, server) = value.split_once(',').unwrap_or((value, value));
                arguments.setup.pin = Some((number(word, client)?, number(word, server)?));
            }
            "--runs" => arguments.runs = number(word, value()?)?,
            "--size-mib" => arguments.setup.bytes = number::<u64>(word, value()?)? << 20,
            "--scale" => arguments.setup.scale = number(word, value()?)?,
            "--settle-ms" => {
                arguments.setup.settle = Duration::from_millis(number(word, value()?)?)
            }
            "--runtime" => arguments.setup.multi = value()? == "multi",
            "--subjects" => {
                for name in value()?.split(',') {
                    let subject = Subject::parse(name).ok_or(format!("unknown subject {name}"))?;
                    arguments.subjects.push(subject);
                }
            }
            name => {
                let work = Work::parse(name).ok_or(format!("unknown work or option {name}"))?;
                arguments.works.push(work);
            }
        }
    }
    if arguments.works.is_empty() {
        arguments.works = Work::ALL.to_vec();
    }
    if arguments.subjects.is_empty() {
        let both = Implementation::DEFAULT.map(|implementation| Subject {
            client: implementation,
            server: implementation,
        });
        arguments.subjects = both.to_vec();
    }
    Ok(arguments)
}

fn number<T: std::str::FromStr>(word: &str, value: &str) -> Result<T, String> {
    value
        .parse()
        .map_err(|_| format!("{word} needs a number, not {value}"))
}

fn compare(arguments: &Arguments) -> std::io::Result<()> {
    if arguments.calls {
        return count_calls(arguments);
    }
    if !arguments.json {
        println!("{}", report::heading(&arguments.subjects));
    }
    for work in &arguments.works {
        let others = Others::watch()?;
        let mut row = Row {
            work: *work,
            figures: arguments
                .subjects
                .iter()
                .map(|subject| (*subject, Vec::new()))
                .collect(),
        };
        for _ in 0..arguments.runs {
            for (subject, runs) in &mut row.figures {
                runs.push(worker::run(*work, *subject, &arguments.setup, None)?);
            }
        }
        if arguments.json {
            println!("{}", report::json(&row));
        } else {
            println!("{}", report::line(&row));
        }
        let busy = others.processors()?;
        if busy > 0.1 {
            eprintln!(
                "    (others used {busy:.2} processors meanwhile: do not trust this line far)"
            );
        }
    }
    Ok(())
}

fn count_calls(arguments: &Arguments) -> std::io::Result<()> {
    println!("system calls per operation, client + server");
    for work in &arguments.works {
        for subject in &arguments.subjects {
            let line = calls::line(*work, *subject, &arguments.setup)?;
            if !line.is_empty() {
                println!("{line}");
            }
        }
    }
    Ok(())
}
