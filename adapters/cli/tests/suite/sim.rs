//! `drywire sim` as its users run it.

use crate::common::{Directory, fails, lines, run};
#[cfg(unix)]
use crate::common::{drywire, signal, wait};
use serde_json::Value;
#[cfg(unix)]
use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::Stdio,
};

fn sim(arguments: &[&str]) -> Value {
    let mut all = vec!["sim", "--json", "--nodes", "6", "--minutes", "0.5"];
    all.extend(arguments);
    let mut lines = lines(&run(&all));
    assert_eq!(lines.len(), 2, "{lines:?}");
    let start = lines.remove(0);
    assert_eq!(
        (&start["event"], &start["nodes"]),
        (&"start".into(), &6.into())
    );
    lines.remove(0)
}

#[test]
fn a_small_network_is_told_to_people_and_to_programs() {
    let output = run(&["sim", "--nodes", "6", "--minutes", "0.5"]);
    assert!(output.status.success());
    assert!(output.stderr.is_empty(), "nothing but the table");
    let text = String::from_utf8(output.stdout).unwrap();
    let (head, table) = text.split_once('\n').unwrap();
    assert_eq!(head, "6 nodes for 0:30 of virtual time, seed 1");
    let summary = sim(&[]);
    assert_eq!(summary["event"], "sim");
    assert_eq!(
        (&summary["nodes"], &summary["seed"]),
        (&6.into(), &1.into())
    );
    assert_eq!(summary["virtual_seconds"], 30.0);
    assert_eq!(summary["interrupted"], false);
    // Each of 6 nodes has 5 connections, so there are 15.
    assert_eq!(summary["handshakes"], 15);
    assert_eq!(summary["connections_per_node"], 5.0);
    assert_eq!(summary["dials_failed"], 0);
    assert_eq!(summary["echoes_failed"], 0);
    // One call a second, but for the first.
    let echoes = summary["echoes_succeeded"].as_u64().unwrap();
    assert!((6 * 27..=6 * 30).contains(&echoes), "{echoes}");
    let latency = |name: &str| summary[name].as_f64().unwrap();
    assert!(0.0 < latency("echo_p50_ms") && latency("echo_p50_ms") <= latency("echo_p99_ms"));
    assert!(
        latency("handshake_p50_ms") > latency("echo_p50_ms"),
        "more round trips"
    );
    assert!(latency("events_per_second") > 0.0 && latency("node_hours_per_core_second") > 0.0);
    // The table has the same, each thing in its row, and all texts begin in one column.
    for (name, text) in [
        ("time", "0:30 simulated in ".to_owned()),
        ("nodes", "6; 5.0 connections each".to_owned()),
        ("dials", "15".to_owned()),
        ("handshakes", "15, p50 ".to_owned()),
        ("echoes", format!("{echoes}, p50 ")),
        ("speed", format!("{} events, ", grouped(&summary["events"]))),
        (
            "trace hash",
            summary["trace_hash"].as_str().unwrap().to_owned(),
        ),
    ] {
        let row = table
            .lines()
            .find(|line| line.starts_with(name))
            .expect(name);
        assert!(row[12..].starts_with(&text), "{row}");
        assert!(row[name.len()..12].trim().is_empty(), "{row}");
    }
}

fn grouped(number: &Value) -> String {
    let number = number.as_u64().unwrap();
    match number {
        0..1000 => number.to_string(),
        _ => format!("{},{:03}", number / 1000, number % 1000),
    }
}

#[test]
fn a_seed_and_what_is_asked_for_decide_everything() {
    let harsh = [
        "--churn",
        "fast",
        "--loss",
        "2%",
        "--spikes",
        "0.01",
        "--partition-every",
        "10",
    ];
    let hash = |more: &[&str]| {
        let arguments: Vec<&str> = harsh.iter().chain(more).copied().collect();
        let summary = sim(&arguments);
        summary["trace_hash"].as_str().unwrap().to_owned()
    };
    let first = hash(&[]);
    assert_eq!(first, hash(&[]));
    let others = [
        hash(&["--seed", "2"]),
        hash(&["--plaintext"]),
        hash(&["--connections", "3"]),
        hash(&["--latency", "5"]),
        hash(&["--echo-every", "0.5"]),
        hash(&["--echo-size", "1K"]),
    ];
    for (index, other) in others.iter().enumerate() {
        assert_ne!(*other, first);
        assert!(!others[..index].contains(other), "number {index}");
    }
    // Looking does not change what is seen.
    let directory = Directory::new("sim-looking");
    assert_eq!(
        first,
        hash(&["--timeline", &directory.file("a.svg"), "--trace", "5"])
    );
}

#[test]
fn a_random_seed_is_told_and_gives_the_same_again() {
    let first = sim(&["--seed", "random"]);
    let other = sim(&["--seed", "random"]);
    assert_ne!(first["seed"], other["seed"]);
    let again = sim(&["--seed", &first["seed"].to_string()]);
    assert_eq!(first["trace_hash"], again["trace_hash"]);
}

#[test]
fn faults_are_met_and_counted() {
    let summary = sim(&[
        "--churn",
        "3000",
        "--loss",
        "0.05",
        "--spikes",
        "1%",
        "--partition-every",
        "2",
    ]);
    let faults = summary["faults"].as_object().unwrap();
    for name in [
        "retransmission",
        "latency spike",
        "process crash",
        "power loss",
        "restart",
        "bisection",
    ] {
        assert!(
            faults.get(name).and_then(Value::as_u64) > Some(0),
            "{name}: {faults:?}"
        );
    }
    assert!(summary["dials_failed"].as_u64() > Some(0));
    assert!(!summary["ends"].as_object().unwrap().is_empty());
    assert!(summary["nodes_up"].as_u64().unwrap() <= 6);
}

#[test]
fn the_last_lines_of_the_trace_are_shown_on_request() {
    let output = run(&["sim", "--nodes", "2", "--minutes", "0.1", "--trace", "7"]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 7, "{text}");
    assert!(
        text.contains(" reads ") || text.contains(" writes "),
        "{text}"
    );
}

#[test]
fn a_timeline_is_a_picture_of_the_run() {
    let directory = Directory::new("sim-timeline");
    let file = directory.file("picture.svg");
    let summary = sim(&["--churn", "600", "--timeline", &file]);
    let svg = std::fs::read_to_string(&file).unwrap();
    let document = roxmltree::Document::parse(&svg).unwrap();
    assert_eq!(document.root_element().tag_name().name(), "svg");
    let texts: Vec<&str> = document
        .descendants()
        .filter_map(|node| node.text())
        .collect();
    let hash = summary["trace_hash"].as_str().unwrap();
    for text in [
        "6 drywire nodes for 0:30 of virtual time, seed 1",
        &format!("trace hash {hash}"),
        "h0",
        "h5",
    ] {
        assert!(texts.contains(&text), "{text}");
    }
    // One that cannot be written is told before anything runs.
    let nowhere = directory.file("no/such/directory.svg");
    let (code, text) = fails(&["sim", "--minutes", "100000", "--timeline", &nowhere]);
    assert_eq!(code, 1);
    assert!(
        text.starts_with(&format!("error: cannot write {nowhere}: ")),
        "{text}"
    );
}

#[test]
fn a_network_that_makes_no_sense_is_bad_usage() {
    for (arguments, told) in [
        (&["--nodes", "1"][..], "at least 2 nodes"),
        (&["--nodes", "-5"], "not a whole number"),
        (&["--nodes", "1000000"], "at most 100000"),
        (
            &["--nodes", "4", "--connections", "4"],
            "1 to 3 connections, not 4",
        ),
        (&["--connections", "0"], "1 to 99 connections, not 0"),
        (&["--minutes", "0"], "there must be some time"),
        (&["--minutes", "-1"], "there must be some time"),
        (&["--minutes", "soon"], "not a number of minutes"),
        (&["--minutes", "1e9"], "at most a year"),
        (
            &["--seed", "one"],
            "not a whole number; a seed is one, or \"random\"",
        ),
        (&["--loss", "1.5"], "a share is between 0 and 1"),
        (&["--loss", "101%"], "a share is between 0 and 1"),
        (&["--loss", "nan"], "a share is between 0 and 1"),
        (&["--loss", "some"], "not a share"),
        (&["--spikes", "-1"], "a share is between 0 and 1"),
        (&["--churn", "sometimes"], "neither \"off\""),
        (&["--churn", "0"], "more than 0"),
        (&["--churn", "inf"], "at most 1000000 times"),
        (&["--latency", "-1"], "cannot be negative"),
        (&["--latency", "1e6"], "at most 60000"),
        (&["--partition-every", "0"], "too short"),
        (&["--echo-size", "2G"], "at most 1G"),
    ] {
        let all: Vec<&str> = ["sim"].iter().chain(arguments).copied().collect();
        let (code, text) = fails(&all);
        assert_eq!(code, 2, "{arguments:?}: {text}");
        assert!(text.contains(told), "{arguments:?}: {text}");
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_tells_how_far_it_came() {
    let mut child = drywire(&["sim", "--json", "--nodes", "10", "--minutes", "500000"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    let start: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&start["event"], &start["seed"]),
        (&"start".into(), &1.into())
    );
    signal(&child, "-INT");
    assert_eq!(wait(&mut child), Some(0));
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    let summary: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(summary["interrupted"], true);
    assert!(summary["virtual_seconds"].as_f64().unwrap() < 30_000_000.0);
}

#[test]
fn seeds_are_explored_and_told() {
    let text = String::from_utf8(run(&["explore", "1..3"]).stdout).unwrap();
    assert!(text.starts_with("2 seeds passed in "), "{text}");
    let all = lines(&run(&["--json", "explore", "2"]));
    let [explored] = all.as_slice() else {
        panic!("{all:?}")
    };
    assert_eq!(explored["event"], "explored");
    assert_eq!(
        (&explored["passed"], &explored["failed"]),
        (&1.into(), &0.into())
    );
    assert!(explored["events"].as_u64().unwrap() > 1000);
    for (wrong, told) in [
        ("3..3", "no seed among these"),
        ("4..2", "no seed among these"),
        (
            "x",
            "not a whole number; seeds are as 0..1000, or one number",
        ),
        ("1..y", "not a whole number"),
        ("18446744073709551615", "too large"),
    ] {
        let (code, text) = fails(&["explore", wrong]);
        assert_eq!(code, 2, "{wrong}: {text}");
        assert!(text.contains(told), "{wrong}: {text}");
    }
}

#[test]
fn a_dht_is_measured_and_drawn() {
    let directory = Directory::new("sim-kad");
    let file = directory.file("lookups.svg");
    let arguments = [
        "--kad",
        "--nodes",
        "40",
        "--lookups",
        "20",
        "--minutes",
        "0.2",
    ];
    let mut all = vec!["sim", "--json", "--timeline", &file];
    all.extend(arguments);
    let told = lines(&run(&all)).remove(1);
    assert_eq!(
        (&told["event"], &told["lookups"]),
        (&"kad".into(), &20.into())
    );
    assert!(told["closest_found"].as_f64().unwrap() > 0.99, "{told}");
    let svg = std::fs::read_to_string(&file).unwrap();
    assert!(svg.contains(told["trace_hash"].as_str().unwrap()));
    let again = lines(&run(&all)).remove(1);
    assert_eq!(again["trace_hash"], told["trace_hash"]);
}

#[test]
fn attacks_on_a_dht_are_shown_with_their_defence_and_without() {
    let all = ["sim", "--json", "--kad", "--attack", "d8", "--lookups", "5"];
    let told = lines(&run(&all)).remove(0);
    assert_eq!(told["attack"], "D8");
    let rows = told["rows"].as_array().unwrap();
    let reached: Vec<_> = rows.iter().map(|row| &row["goal_reached"]).collect();
    assert_eq!(reached, [&Value::Null, &Value::Bool(true)]);
    assert_eq!(fails(&["sim", "--kad", "--attack", "d11"]).0, 2);
}
