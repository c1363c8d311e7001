//! The program `libp2p-peer`: what other test suites and people rely on when they use it as the other end.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Output, Stdio},
};

/// A node in a process of its own; it ends with its standard input, at the latest when this drops.
struct Node {
    process: Child,
    address: String,
}

impl Node {
    fn start(options: &[&str]) -> Self {
        let mut process = program()
            .args(["node", "--until-eof"])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line
            .trim_end()
            .strip_prefix("LISTEN ")
            .expect("the ready line")
            .to_owned();
        Self { process, address }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_libp2p-peer"))
}

fn run(arguments: &[&str]) -> Output {
    program().args(arguments).output().unwrap()
}

fn succeeds(arguments: &[&str]) -> String {
    let output = run(arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn serves_every_client_command() {
    let node = Node::start(&["--max-streams", "2048"]);
    let address = node.address.as_str();
    assert!(
        address.starts_with("/ip4/127.0.0.1/tcp/") && address.contains("/p2p/12D3KooW"),
        "{address}"
    );

    let pings = succeeds(&["ping", address, "--count", "2"]);
    assert_eq!(
        pings
            .lines()
            .filter(|line| line.contains(r#""event":"ping""#))
            .count(),
        2,
        "{pings}"
    );

    let info = succeeds(&["identify", address]);
    for part in [
        r#""agent_version":"libp2p-peer/"#,
        r#""/echo/1.0.0""#,
        r#""/perf/1.0.0""#,
    ] {
        assert!(info.contains(part), "{part} is missing in {info}");
    }

    let echo = succeeds(&["echo", address, "--size", "1000003", "--lazy"]);
    assert!(echo.contains(r#""bytes":1000003,"checksum":""#), "{echo}");

    let perf = succeeds(&[
        "perf",
        address,
        "--upload",
        "1000000",
        "--download",
        "2000000",
    ]);
    assert!(
        perf.contains(r#""upload_bytes":1000000"#) && perf.contains(r#""download_bytes":2000000"#),
        "{perf}"
    );
}

#[test]
fn an_identity_can_be_given() {
    let secret = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    let first = Node::start(&["--secret", secret]);
    let second = Node::start(&["--secret", secret]);
    let id = |node: &Node| node.address.split_once("/p2p/").unwrap().1.to_owned();
    assert_eq!(id(&first), id(&second));
}

#[test]
fn failures_are_one_sentence_and_a_status() {
    let node = Node::start(&[]);
    let (bare, _) = node.address.split_once("/p2p/").unwrap();
    let wrong = format!("{bare}/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN");
    let cases: [(&[&str], i32, &str); 6] = [
        (&["ping", &wrong], 1, "another peer"),
        (&["ping", "/ip4/127.0.0.1/tcp/1"], 1, "cannot connect"),
        (&["ping", "127.0.0.1:1"], 1, "bad address"),
        (&["ping"], 2, "needs a multiaddr"),
        (&["ping", bare, "--count"], 2, "needs a value"),
        (&["sing"], 2, "unknown command"),
    ];
    for (arguments, status, message) in cases {
        let output = run(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {error}");
        assert!(
            error.lines().next().unwrap().contains(message),
            "{arguments:?}: {error}"
        );
    }
}
