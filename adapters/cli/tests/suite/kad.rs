//! A DHT from two terminals.

use crate::common::{Directory, drywire, fails, lines, run, signal, wait};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Stdio},
};

/// A program that goes on, ended with the test.
struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut child = drywire(arguments)
            .arg("--json")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    /// The next line about this.
    fn next(&mut self, event: &str) -> Value {
        loop {
            let mut line = String::new();
            self.out.read_line(&mut line).unwrap();
            let value: Value = serde_json::from_str(&line).expect(&line);
            if value["event"] == event {
                return value;
            }
        }
    }

    fn address(&mut self) -> String {
        self.next("listen")["address"].as_str().unwrap().to_owned()
    }

    fn ends(mut self) -> Option<i32> {
        signal(&self.child, "-TERM");
        wait(&mut self.child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn peer_of(address: &str) -> &str {
    address.rsplit('/').next().unwrap()
}

/// Servers that find each other, and where they listen.
fn network(count: usize, options: &[&str]) -> (Vec<Running>, Vec<String>) {
    let (mut nodes, mut addresses): (Vec<Running>, Vec<String>) = Default::default();
    for _ in 0..count {
        let mut arguments = vec!["node"];
        arguments.extend_from_slice(options);
        if let Some(first) = addresses.first() {
            arguments.extend_from_slice(&["--bootstrap", first]);
        }
        let mut node = Running::start(&arguments);
        let address = node.address();
        if !addresses.is_empty() {
            node.next("kad_peer");
        }
        nodes.push(node);
        addresses.push(address);
    }
    (nodes, addresses)
}

#[test]
fn what_one_terminal_puts_another_gets() {
    let own = ["--kad-protocol", "/test/kad/1"];
    let (_nodes, addresses) = network(4, &own);
    let kad = |command: &str, bootstrap: &str, arguments: &[&str]| {
        let mut all = vec!["kad", command, "--bootstrap", bootstrap];
        all.extend_from_slice(&own);
        all.extend_from_slice(arguments);
        run(&all)
    };
    let put = &lines(&kad("put", &addresses[1], &["greeting", "hello", "--json"]))[0];
    assert_eq!(
        (&put["event"], &put["key"]),
        (&"stored".into(), &"greeting".into())
    );
    assert_eq!(put["peers"].as_array().unwrap().len(), 4, "{put}");
    let got = kad("get", &addresses[3], &["greeting"]);
    assert_eq!(String::from_utf8_lossy(&got.stdout), "hello\n");
    let got = &lines(&kad("get", &addresses[2], &["greeting", "--json"]))[0];
    assert_eq!(got["value"], "hello");
    assert_eq!(got["hex"], "68656c6c6f");
    assert!(
        addresses
            .iter()
            .any(|address| peer_of(address) == got["peer"])
    );

    // Any bytes, from a file into another.
    let directory = Directory::new("kad-file");
    let (from, to) = (directory.file("from"), directory.file("to"));
    let value: Vec<u8> = (0..=255).collect();
    fs::write(&from, &value).unwrap();
    kad("put", &addresses[1], &["binary", "--file", &from]);
    kad("get", &addresses[2], &["binary", "--file", &to]);
    assert_eq!(fs::read(&to).unwrap(), value);

    let closest = lines(&kad("closest", &addresses[2], &["greeting", "--json"]));
    let mut found: Vec<_> = closest
        .iter()
        .map(|line| line["peer"].as_str().unwrap())
        .collect();
    found.sort_unstable();
    let mut all: Vec<_> = addresses.iter().map(|address| peer_of(address)).collect();
    all.sort_unstable();
    assert_eq!(found, all);
    assert!(
        closest
            .iter()
            .all(|line| !line["addresses"].as_array().unwrap().is_empty())
    );

    // Several, of which one is not there.
    let gone = "/ip4/127.0.0.1/tcp/1";
    let got = kad("get", gone, &["greeting", "--bootstrap", &addresses[0]]);
    assert_eq!(String::from_utf8_lossy(&got.stdout), "hello\n");
}

#[test]
fn who_provides_is_found_while_it_stays() {
    let (_nodes, addresses) = network(3, &[]);
    let cid = "QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR";
    let v1 = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi";
    let mut provider = Running::start(&[
        "kad",
        "provide",
        "--bootstrap",
        &addresses[0],
        cid,
        "--stay",
    ]);
    let address = provider.address();
    assert_eq!(provider.next("provided")["told"], 3);
    let ask = ["kad", "providers", "--bootstrap", &addresses[2], v1];
    let found = lines(&run(&[&ask[..], &["--json"]].concat()));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["peer"], peer_of(&address));
    let at = found[0]["addresses"][0].as_str().unwrap();
    let full = format!("{at}/p2p/{}", peer_of(&address));
    assert_eq!(full, address);
    let text = String::from_utf8(run(&ask).stdout).unwrap();
    assert_eq!(text, format!("{} {at}\n", peer_of(&address)));
    // It serves: it can be asked, and is a server of the DHT like the others.
    assert!(run(&["echo", &full]).status.success());
    assert!(
        run(&["kad", "closest", "--bootstrap", &full, "x"])
            .status
            .success()
    );
    assert_eq!(provider.ends(), Some(0));

    // One that does not stay is remembered all the same.
    let brief = lines(&run(&[
        "kad",
        "provide",
        "--bootstrap",
        &addresses[0],
        "else",
        "--json",
    ]));
    assert_eq!(
        (&brief[0]["event"], &brief[1]["told"]),
        (&"listen".into(), &3.into())
    );
    let found = run(&["kad", "providers", "--bootstrap", &addresses[1], "else"]);
    assert_eq!(
        found.stdout.iter().filter(|byte| **byte == b'\n').count(),
        1
    );
}

#[test]
fn public_keys_are_put_by_their_owners() {
    let (_nodes, addresses) = network(2, &[]);
    let directory = Directory::new("kad-keys");
    let file = directory.file("key");
    let peer = String::from_utf8(run(&["key", "new", &file]).stdout).unwrap();
    let key = format!("/pk/{}", peer.trim_end());
    let put = run(&[
        "kad",
        "put",
        "--bootstrap",
        &addresses[0],
        "--key",
        &file,
        &key,
    ]);
    assert_eq!(String::from_utf8_lossy(&put.stdout), "stored at 2 peers\n");
    let got = &lines(&run(&[
        "--json",
        "kad",
        "get",
        "--bootstrap",
        &addresses[1],
        &key,
    ]))[0];
    assert_eq!(got["key"], key);
    // An Ed25519 key in the ecosystem's protobuf.
    let hex = got["hex"].as_str().unwrap();
    assert!(hex.starts_with("08011220") && hex.len() == 72, "{hex}");
    // The public DHT takes nothing else.
    for (key, told) in [
        (key.as_str(), "not valid: public key"),
        ("/app/x", "no known namespace"),
        ("x", "no known namespace"),
    ] {
        let (code, text) = fails(&["kad", "put", "--bootstrap", &addresses[0], key, "nonsense"]);
        assert_eq!(code, 1);
        assert!(text.contains(told), "{text}");
    }
}

#[test]
fn what_cannot_be_is_told_and_by_the_status() {
    let (_nodes, addresses) = network(1, &[]);
    let at = addresses[0].as_str();
    let here = |command: &'static str| ["kad", command, "--bootstrap", at];
    let (code, text) = fails(&[&here("get")[..], &["nothing"]].concat());
    assert_eq!(
        (code, text.as_str()),
        (
            1,
            "error: cannot get nothing: not found at the only peer that answered"
        )
    );
    let (code, text) = fails(&[&here("providers")[..], &["nothing"]].concat());
    assert_eq!((code, text.as_str()), (1, "error: nobody provides nothing"));
    // It is there, and of another network.
    let other = ["--kad-protocol", "/other/kad", "x"];
    for (command, what) in [
        ("get", "cannot get x"),
        ("closest", "cannot find peers closest to x"),
        ("providers", "cannot find providers of x"),
        ("put", "cannot store x"),
    ] {
        let mut arguments = [&here(command)[..], &other].concat();
        if command == "put" {
            arguments.push("y");
        }
        let (code, text) = fails(&arguments);
        let told = format!("error: {what}: no peer that was reached is a server of /other/kad");
        assert_eq!((code, text), (1, told));
    }
    let (code, text) = fails(&["kad", "get", "--bootstrap", "/ip4/127.0.0.1/tcp/1", "x"]);
    assert_eq!(code, 1);
    assert!(
        text.starts_with("error: cannot connect to /ip4/127.0.0.1/tcp/1: "),
        "{text}"
    );
    for (arguments, told) in [
        (&["kad", "get", "x"][..], "--bootstrap"),
        (&["kad", "get", "--bootstrap", at], "KEY"),
        (
            &["kad", "put", "--bootstrap", at, "x"],
            "no VALUE is given for x",
        ),
        (&["kad", "get", "--bootstrap", at, "/pk/me"], "no peer id"),
        (
            &["kad", "get", "--bootstrap", at, ""],
            "at least one character",
        ),
        (
            &["kad", "providers", "-n", "0", "--bootstrap", at, "x"],
            "at least 1",
        ),
        (
            &[
                "kad",
                "get",
                "--kad-protocol",
                "kad",
                "--bootstrap",
                at,
                "x",
            ],
            "invalid value",
        ),
        (&["node", "--kad", "both"], "invalid value"),
    ] {
        let (code, text) = fails(arguments);
        assert_eq!(code, 2, "{arguments:?}: {text}");
        assert!(text.starts_with("error: ") && text.contains(told), "{text}");
    }
}

/// Fails if what a node does in a DHT depends on anything but what comes in.
#[test]
fn what_a_node_of_a_dht_did_runs_again() {
    let directory = Directory::new("kad-recording");
    let (node, client) = (directory.file("node"), directory.file("client"));
    let own = ["--kad-protocol", "/test/kad/1"];
    let (_others, addresses) = network(2, &own);
    let mut recorded = Running::start(
        &[
            &["node", "--record", &node, "--bootstrap", &addresses[0]][..],
            &own,
        ]
        .concat(),
    );
    let address = recorded.address();
    recorded.next("kad_peer");
    let at = ["--bootstrap", &address];
    let put = run(&[&["kad", "put"][..], &at, &own, &["key", "value"]].concat());
    assert!(put.status.success());
    let get = run(&[&["kad", "get", "key", "--record", &client][..], &at, &own].concat());
    assert_eq!(String::from_utf8_lossy(&get.stdout), "value\n");
    let provide = run(&[&["kad", "provide", "key"][..], &at, &own].concat());
    assert!(provide.status.success());
    assert_eq!(recorded.ends(), Some(0));
    let report = &lines(&run(&["replay", &node, "--json"]))[0];
    assert_eq!(
        (&report["nodes"], &report["nodes_left_out"]),
        (&1.into(), &0.into())
    );
    // Those it connected to, and those that asked it.
    assert!(report["connections"].as_u64().unwrap() >= 4, "{report}");
    let printed = String::from_utf8(run(&["replay", &node, "--print"]).stdout).unwrap();
    assert!(
        printed.contains("RoutingUpdated") && printed.contains("PutRecord"),
        "no events"
    );
    // A client's query is no part of a recording.
    let report = &lines(&run(&["replay", &client, "--json"]))[0];
    assert_eq!(
        (&report["nodes"], &report["nodes_left_out"]),
        (&0.into(), &1.into())
    );
}

/// Fails if a client answers, or a node is one by default.
#[test]
fn a_client_of_a_dht_is_not_asked() {
    let mut client = Running::start(&["node", "--kad", "client"]);
    let address = client.address();
    let (code, text) = fails(&["kad", "closest", "--bootstrap", &address, "x"]);
    assert_eq!(code, 1);
    assert!(
        text.ends_with("no peer that was reached is a server of /ipfs/kad/1.0.0"),
        "{text}"
    );
    let identify = &lines(&run(&["--json", "identify", &address]))[0];
    let kad = Value::from("/ipfs/kad/1.0.0");
    assert!(!identify["protocols"].as_array().unwrap().contains(&kad));
    let mut server = Running::start(&["node"]);
    let identify = &lines(&run(&["--json", "identify", &server.address()]))[0];
    assert!(identify["protocols"].as_array().unwrap().contains(&kad));
}
