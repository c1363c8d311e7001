//! The program as its users run it.
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

use serde_json::Value;
use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

fn drywire(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_drywire"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    drywire(arguments).output().unwrap()
}

/// Runs a command that must fail: its status, and the one line it says why.
fn fails(arguments: &[&str]) -> (i32, String) {
    let output = run(arguments);
    assert!(
        output.stdout.is_empty(),
        "{arguments:?} printed {:?}",
        String::from_utf8_lossy(&output.stdout)
    );
    let text = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), text.trim_end().to_owned())
}

fn lines(output: &Output) -> Vec<Value> {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}")))
        .collect()
}

/// A running node, ended with the test.
struct Node {
    child: Child,
    address: String,
}

impl Node {
    fn start(arguments: &[&str]) -> Self {
        let mut child = drywire(&["node"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line
            .trim_end()
            .strip_prefix("LISTEN ")
            .expect(&line)
            .to_owned();
        Self { child, address }
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([name, &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    fn wait(&mut self) -> Option<i32> {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(10) {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the node does not end");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("drywire-program-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_node_is_pinged_identified_echoed_and_measured() {
    let node = Node::start(&["--perf"]);
    let address = node.address.as_str();

    let pings = lines(&run(&[
        "ping",
        address,
        "--count",
        "3",
        "--interval",
        "0.01",
        "--json",
    ]));
    assert_eq!(pings.len(), 4);
    assert!(
        pings[..3]
            .iter()
            .all(|ping| ping["event"] == "ping" && ping["rtt_ms"].as_f64().unwrap() > 0.0)
    );
    assert_eq!(pings[3]["event"], "ping_summary");
    assert_eq!(pings[3]["count"], 3);

    let identify = &lines(&run(&["--json", "identify", address]))[0];
    assert!(address.ends_with(identify["peer"].as_str().unwrap()));
    assert!(identify["agent"].as_str().unwrap().starts_with("drywire/"));
    let protocols = identify["protocols"].as_array().unwrap();
    for name in [
        "/ipfs/ping/1.0.0",
        "/ipfs/id/1.0.0",
        "/ipfs/id/push/1.0.0",
        "/echo/1.0.0",
        "/perf/1.0.0",
    ] {
        assert!(
            protocols.iter().any(|protocol| protocol == name),
            "{name} in {protocols:?}"
        );
    }

    let echo = run(&["echo", address, "--data", "what a day"]);
    assert_eq!(String::from_utf8_lossy(&echo.stdout), "what a day\n");
    let echo = &lines(&run(&["echo", address, "--size", "20M", "--json"]))[0];
    assert_eq!(echo["bytes"], 20 << 20);

    let perf = &lines(&run(&[
        "perf",
        address,
        "--upload",
        "5M",
        "--download",
        "7M",
        "--json",
    ]))[0];
    assert_eq!(
        (&perf["upload_bytes"], &perf["download_bytes"]),
        (&Value::from(5 << 20), &Value::from(7 << 20))
    );

    // The same for people.
    for command in [
        &["ping", address, "-n", "1"][..],
        &["identify", address],
        &["perf", address, "--upload", "1"],
    ] {
        let output = run(command);
        assert!(
            output.status.success() && !output.stdout.is_empty(),
            "{command:?}"
        );
    }
}

#[test]
fn perf_is_served_only_if_asked_for() {
    let node = Node::start(&[]);
    let (code, text) = fails(&["perf", &node.address, "--upload", "1K"]);
    assert_eq!(code, 1);
    assert_eq!(
        text,
        "error: cannot open /perf/1.0.0: the peer does not support /perf/1.0.0"
    );
}

#[test]
fn a_node_keeps_its_identity_and_announces_each_address_as_json() {
    let directory = Directory::new("identity");
    let key = directory.file("key");
    let created = &lines(&run(&["key", "new", &key, "--json"]))[0];
    let shown = run(&["key", "show", &key]);
    let peer = String::from_utf8(shown.stdout)
        .unwrap()
        .trim_end()
        .to_owned();
    assert_eq!(created["peer"], peer.as_str());
    let (code, text) = fails(&["key", "new", &key]);
    assert_eq!((code, text), (1, format!("error: {key} exists already")));

    let mut child = drywire(&[
        "--json",
        "node",
        "--key",
        &key,
        "--listen",
        "/ip4/127.0.0.1/tcp/0",
        "/ip6/::1/tcp/0",
    ])
    .stdout(Stdio::piped())
    .stderr(Stdio::null())
    .spawn()
    .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    for family in ["/ip4/127.0.0.1/tcp/", "/ip6/::1/tcp/"] {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let event: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(event["event"], "listen");
        let address = event["address"].as_str().unwrap();
        assert!(
            address.starts_with(family) && address.ends_with(&format!("/p2p/{peer}")),
            "{address}"
        );
        assert!(run(&["ping", address, "--count", "1"]).status.success());
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[cfg(unix)]
#[test]
fn signals_end_a_node_in_good_order() {
    for signal in ["-INT", "-TERM"] {
        let mut node = Node::start(&[]);
        // A peer that is in the middle of something is told.
        let mut ping = drywire(&["ping", &node.address, "--count", "0", "--interval", "0.01"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(ping.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert!(line.contains("ping 1"), "{line}");
        node.signal(signal);
        assert_eq!(node.wait(), Some(0), "{signal}");
        let ended = ping.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&ended.stderr).starts_with("error: the ping failed: "));
    }
}

#[test]
fn what_cannot_be_is_told_in_one_sentence_and_by_the_status() {
    let node = Node::start(&[]);
    let address = node.address.as_str();
    let (plain, peer) = address.split_once("/p2p/").unwrap();

    // The port is in use.
    let (code, text) = fails(&["node", "--listen", plain]);
    assert_eq!(
        (code, text),
        (
            1,
            format!("error: cannot listen on {plain}: address in use")
        )
    );

    // Nobody is there: the port belonged to a node that has ended.
    let gone = Node::start(&[]).address.clone();
    let (code, text) = fails(&["ping", &gone]);
    assert_eq!(
        (code, text),
        (
            1,
            format!("error: cannot connect to {gone}: connection refused")
        )
    );

    // Somebody else is there.
    let other = gone.split_once("/p2p/").unwrap().1;
    let wrong = format!("{plain}/p2p/{other}");
    let (code, text) = fails(&["identify", &wrong]);
    assert_eq!(
        (code, text),
        (
            1,
            format!("error: cannot connect to {wrong}: another peer answered: {peer}")
        )
    );

    // No transport for it.
    let (code, text) = fails(&["ping", "/ip4/127.0.0.1/udp/1/quic-v1"]);
    assert_eq!(
        (code, text),
        (
            1,
            "error: cannot connect to /ip4/127.0.0.1/udp/1/quic-v1: not supported".to_owned()
        )
    );

    // No such name.
    let (code, text) = fails(&["ping", "/dns4/no-such-host.invalid/tcp/1"]);
    assert_eq!(code, 1);
    assert!(text.contains("name lookup failed"), "{text}");

    // Not a key.
    let directory = Directory::new("bad");
    let file = directory.file("bad");
    std::fs::write(&file, "no key").unwrap();
    let (code, text) = fails(&["node", "--key", &file]);
    assert_eq!(code, 1);
    assert!(
        text.starts_with(&format!("error: {file} is not a key file: ")),
        "{text}"
    );
    let (code, _) = fails(&["key", "show", &directory.file("missing")]);
    assert_eq!(code, 1);

    // Nothing that makes sense.
    for bad in [
        &["ping", "/ip4/300.1.1.1/tcp/1"][..],
        &["ping", "not-an-address"],
        &["ping"],
        &["fly"],
        &["--runtime", "fast", "demo"],
        &["perf", address],
        &["echo", address, "--size", "many"],
        &["node", "--bootstrap", plain],
    ] {
        let (code, text) = fails(bad);
        assert_eq!(code, 2, "{bad:?}: {text}");
        assert!(text.starts_with("error: "), "{text}");
    }
}

#[test]
fn errors_are_json_too_if_asked_for() {
    let output = run(&["--json", "ping", "/ip4/127.0.0.1/udp/1"]);
    assert_eq!(output.status.code(), Some(1));
    let event: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(event["event"], "error");
    assert!(event["message"].as_str().unwrap().contains("not supported"));
}

#[test]
fn the_demo_runs_by_itself() {
    let events = lines(&run(&["demo", "--json"]));
    let count = |name: &str| events.iter().filter(|event| event["event"] == name).count();
    assert_eq!(
        (
            count("listen"),
            count("ping"),
            count("refused"),
            count("done")
        ),
        (4, 5, 2, 1)
    );
    let output = run(&["demo"]);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("done in"));
}
