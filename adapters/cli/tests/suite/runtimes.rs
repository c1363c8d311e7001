//! The commands on every runtime.

use crate::common::{Directory, Node, RUNTIMES, drywire, fails, lines, run};
#[cfg(unix)]
use crate::common::{signal, wait};
#[cfg(unix)]
use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

/// A command that needs a peer: its words before and after the peer's address, and what it says at the end.
const CLIENTS: [(&[&str], &[&str], &str); 7] = [
    (
        &["ping"],
        &["--count", "2", "--interval", "0.01"],
        "ping_summary",
    ),
    (&["identify"], &[], "identify"),
    (&["echo"], &["--data", "hello"], "echo"),
    (&["echo"], &["--size", "3M"], "echo"),
    (&["request"], &["--size", "100K"], "response"),
    (&["perf"], &["--upload", "3M", "--download", "2M"], "perf"),
    (&["kad", "closest", "--bootstrap"], &["a key"], "closest"),
];

/// Fails if a command works on one runtime alone, or if two runtimes do not understand each other.
#[test]
fn every_command_runs_on_every_runtime_with_a_peer_on_any_other() {
    for serving in RUNTIMES {
        let node = Node::start(&["--perf", "--runtime", serving]);
        for asking in RUNTIMES {
            for (command, options, event) in CLIENTS {
                let address = [node.address.as_str(), "--json", "--runtime", asking];
                let said = lines(&run(&[command, &address, options].concat()));
                let last = said.last().map(|line| &line["event"]);
                assert_eq!(last, Some(&event.into()), "{command:?} {asking} {serving}");
            }
        }
    }
}

#[test]
fn the_demo_and_the_simulator_run_on_every_runtime() {
    for runtime in RUNTIMES {
        let demo = lines(&run(&["demo", "--json", "--runtime", runtime]));
        assert_eq!(demo.last().unwrap()["event"], "done", "{runtime}");
        let sim = ["sim", "-n", "5", "-m", "0.1", "--connections", "2"];
        let sim = lines(&run(&[&sim[..], &["--json", "--runtime", runtime]].concat()));
        assert_eq!(sim.last().unwrap()["event"], "sim", "{runtime}");
        let explored = lines(&run(&["explore", "0..2", "--json", "--runtime", runtime]));
        assert_eq!(explored.last().unwrap()["event"], "explored", "{runtime}");
    }
}

#[test]
fn troubles_are_the_same_on_every_runtime() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("/ip4/{}", silent.local_addr().unwrap()).replace(':', "/tcp/");
    for runtime in RUNTIMES {
        let node = Node::start(&["--runtime", runtime]);
        let address = node.address.as_str();
        let (plain, _) = address.split_once("/p2p/").unwrap();
        for (command, told) in [
            (&["node", "--listen", plain][..], "address in use"),
            (&["ping", "/ip4/127.0.0.1/tcp/1"], "connection refused"),
            (
                &["ping", "/dns4/no-such-host.invalid/tcp/1"],
                "name lookup failed",
            ),
            (
                &["perf", address, "--upload", "1"],
                "does not support /perf/1.0.0",
            ),
            (
                &["ping", &silent, "--timeout", "0.2"],
                "timed out after 0.2 s",
            ),
        ] {
            let (code, text) = fails(&[command, &["--runtime", runtime]].concat());
            assert_eq!(code, 1, "{runtime}: {text}");
            let sentence = text.starts_with("error: ") && text.lines().count() == 1;
            assert!(sentence && text.contains(told), "{runtime}: {text}");
        }
    }
}

/// Fails if a runtime's signals are not heard, or if what ends then is not ended in good order.
#[cfg(unix)]
#[test]
fn signals_end_commands_in_good_order_on_every_runtime() {
    for runtime in RUNTIMES {
        for name in ["-INT", "-TERM"] {
            let mut node = Node::start(&["--runtime", runtime]);
            let mut ping = drywire(&["ping", &node.address, "--runtime", runtime])
                .args(["--count", "0", "--interval", "0.01"])
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut out = BufReader::new(ping.stdout.take().unwrap()).lines();
            assert!(out.next().unwrap().unwrap().contains("ping 1"));
            signal(&ping, name);
            assert_eq!(wait(&mut ping), Some(0), "{runtime} {name}");
            let summary = out.map(Result::unwrap).last().unwrap();
            assert!(summary.contains("round trip min/avg/max"), "{summary}");
            signal(&node.child, name);
            assert_eq!(wait(&mut node.child), Some(0), "{runtime} {name}");
        }
        // A command without an end of its own for whom stops it.
        let sim = ["explore", "0..100000", "--json", "--runtime", runtime];
        let mut explore = drywire(&sim)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Its handlers are there when its thread is.
        std::thread::sleep(std::time::Duration::from_millis(500));
        signal(&explore, "-INT");
        assert_eq!(wait(&mut explore), Some(1), "{runtime}");
    }
}

/// Fails if a recording depends on the runtime it was made on.
#[cfg(unix)]
#[test]
fn what_was_recorded_on_any_runtime_runs_again() {
    for runtime in RUNTIMES {
        let directory = Directory::new(&format!("runtime-{runtime}"));
        let (served, asked) = (directory.file("served"), directory.file("asked"));
        let mut node = Node::start(&["--runtime", runtime, "--record", &served]);
        let echo = [
            "echo",
            &node.address,
            "--size",
            "300K",
            "--runtime",
            runtime,
        ];
        assert!(
            run(&[&echo[..], &["--record", &asked]].concat())
                .status
                .success()
        );
        signal(&node.child, "-TERM");
        assert_eq!(wait(&mut node.child), Some(0));
        for file in [&served, &asked] {
            let report = &lines(&run(&["replay", file, "--json"]))[0];
            assert_eq!(
                (&report["nodes"], &report["connections"]),
                (&1.into(), &1.into())
            );
        }
    }
}

/// Fails if another runtime than the one that was asked for is started too.
#[cfg(target_os = "linux")]
#[test]
fn only_the_chosen_runtime_is_started() {
    for (runtime, own, others) in [
        ("tokio", "tokio-", ["smol-", "async-"]),
        ("smol", "smol-", ["tokio-", "async-std"]),
        ("async-std", "async-std", ["tokio-", "smol-"]),
    ] {
        let node = Node::start(&["--runtime", runtime]);
        assert!(run(&["ping", &node.address, "-n", "1"]).status.success());
        let threads = format!("/proc/{}/task", node.child.id());
        let names: Vec<String> = std::fs::read_dir(threads)
            .unwrap()
            .map(|thread| std::fs::read_to_string(thread.unwrap().path().join("comm")).unwrap())
            .collect();
        let any = |start: &str| names.iter().any(|name| name.starts_with(start));
        assert!(any(own), "{names:?}");
        assert!(!others.into_iter().any(any), "{runtime}: {names:?}");
    }
}
