//! The program as its users run it.

use crate::common::{Directory, Node, RUNTIMES, drywire, fails, lines, run};
#[cfg(unix)]
use crate::common::{signal, wait};
use serde_json::Value;
use std::{
    io::{BufRead as _, BufReader},
    net::TcpListener,
    process::{Command, Output, Stdio},
};

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
fn requests_are_answered_with_themselves() {
    let node = Node::start(&[]);
    let address = node.address.as_str();
    let said = |arguments: &[&str]| {
        let mut all = vec!["request", address];
        all.extend_from_slice(arguments);
        String::from_utf8(run(&all).stdout).unwrap()
    };
    assert_eq!(said(&[]), "hello from drywire\n");
    let reqres = ["--protocol", "/reqres/1.0.0", "--data", "good morning"];
    assert_eq!(said(&reqres), "good morning\n");
    for size in ["0", "1", "1M"] {
        for protocol in ["/drywire/echo-request/1.0.0", "/reqres/1.0.0"] {
            let arguments = ["request", address, "--json", "--protocol", protocol];
            let events = lines(&run(&[&arguments[..], &["--size", size]].concat()));
            let [event] = &events[..] else {
                panic!("{events:?}")
            };
            let bytes = if size == "1M" {
                1 << 20
            } else {
                size.parse().unwrap()
            };
            assert_eq!(
                (&event["event"], &event["bytes"]),
                (&"response".into(), &bytes.into())
            );
        }
    }
    for (arguments, told) in [
        (
            &["--protocol", "/nothing/1"][..],
            "error: the request failed: the peer supports none of the protocols",
        ),
        // More than the node takes, and more than this program sends.
        (
            &["--size", "1025K"],
            "error: the request failed: stream reset by the peer",
        ),
        (
            &["--size", "17M"],
            "error: the request was not sent: 16777217 bytes are too many: at most 16777216 are allowed",
        ),
        // Not the framing of that protocol.
        (
            &[
                "--protocol",
                "/reqres/1.0.0",
                "--framing",
                "to-end",
                "--data",
                "\u{1}",
            ],
            "error: the request failed: ",
        ),
    ] {
        let (code, text) = fails(&[&["request", address], arguments].concat());
        assert_eq!(code, 1, "{text}");
        assert!(text.starts_with(told), "{text}");
    }
    let (code, text) = fails(&["request", address, "--protocol", "no slash\n"]);
    assert_eq!(code, 2, "{text}");
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
    for name in ["-INT", "-TERM"] {
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
        signal(&node.child, name);
        assert_eq!(wait(&mut node.child), Some(0), "{name}");
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
            "error: no transport for /ip4/127.0.0.1/udp/1/quic-v1: this program speaks /ip4, /ip6 or /dns* followed by \
             /tcp/PORT"
                .to_owned()
        )
    );
    let (code, text) = fails(&["node", "--listen", "/dns4/localhost/tcp/0"]);
    assert_eq!(
        (code, text),
        (
            1,
            "error: no transport for /dns4/localhost/tcp/0: this program listens on /ip4 or /ip6 followed by /tcp/PORT"
                .to_owned()
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
}

/// Fails when a listener's peer id is not looked at, and when the argument parser's words are printed as they come.
#[test]
fn bad_usage_is_told_in_one_sentence_first_and_by_the_status() {
    let directory = Directory::new("usage");
    let key = directory.file("key");
    let created = &lines(&run(&["key", "new", &key, "--json"]))[0];
    let own = format!(
        "/ip4/127.0.0.1/tcp/0/p2p/{}",
        created["peer"].as_str().unwrap()
    );
    let node = Node::start(&["--key", &key, "--listen", &own]);
    let address = node.address.as_str();
    let (plain, _) = address.split_once("/p2p/").unwrap();

    let echo = ["echo", address];
    for (bad, told) in [
        (&["ping", "/ip4/300.1.1.1/tcp/1"][..], "invalid value"),
        (&["ping", "not-an-address"], "looks like /ip4/"),
        (&["ping", "/"], "looks like /ip4/"),
        (&["ping"], "not provided: <MULTIADDR>"),
        (&[], "no command is given"),
        (&["fly"], "unrecognized subcommand 'fly'"),
        (
            &["--runtime", "fast", "demo"],
            "possible values: tokio, async-std, smol, mio",
        ),
        (&["perf", address], "nothing to measure"),
        (
            &[&echo[..], &["--size", "many"]].concat(),
            "not a number of bytes",
        ),
        (
            &[&echo[..], &["--size", "99999999999999999999"]].concat(),
            "too large",
        ),
        (
            &[&echo[..], &["--size", "1.5M"]].concat(),
            "not a whole number",
        ),
        (
            &[&echo[..], &["--timeout", "nan"]].concat(),
            "not a number of seconds",
        ),
        (
            &[&echo[..], &["--timeout", "-1"]].concat(),
            "cannot be negative",
        ),
        (&["ping", address, "--count", "x"], "not a whole number"),
        (
            &["node", "--bootstrap", plain],
            "does not end with /p2p/ and a peer id",
        ),
        // The id is not that of this node, which has a new one.
        (
            &["node", "--listen", &own],
            "ends with the id of another peer",
        ),
    ] {
        let (code, text) = fails(bad);
        assert_eq!(code, 2, "{bad:?}: {text}");
        let sentence = text.lines().next().unwrap().strip_prefix("error: ");
        assert!(
            sentence.expect(&text).contains(told),
            "{bad:?} is told {text}"
        );

        let output = run(&[&["--json"], bad].concat());
        assert_eq!(output.status.code(), Some(2));
        let event: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(event["event"], "error");
        // A node has another identity each time.
        if !told.starts_with("ends with") {
            assert_eq!(event["message"].as_str(), sentence);
        }
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

/// Fails when the descriptors are not tried before the runtime starts: tokio panics with 6 and 7 of them; or when smol's own
/// task, which panics too, is left to find none.
#[cfg(unix)]
#[test]
fn few_descriptors_are_a_sentence_and_no_panic() {
    // A node that has what it needs runs on, so its listening fails: nobody owns this address.
    let node = "node --listen /ip4/192.0.2.1/tcp/4001";
    let commands = [node, "ping /ip4/127.0.0.1/tcp/1", "demo"];
    let on = |runtime: &str| commands.map(|command| format!("--runtime {runtime} {command}"));
    for command in RUNTIMES.map(on).as_flattened() {
        let most = if command.ends_with("demo") { 12 } else { 20 };
        for limit in 4..=most {
            let output = Command::new("sh")
                .args(["-c", &format!("ulimit -n {limit}; exec \"$0\" {command}")])
                .arg(env!("CARGO_BIN_EXE_drywire"))
                .stdin(Stdio::null())
                .output()
                .unwrap();
            let text = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{limit} {command}: {text}");
            assert!(
                text.starts_with("error: ") && text.lines().count() == 1,
                "{limit} {command}: {text}"
            );
        }
    }
}

/// Fails when the demo does not look at what its nodes cannot accept.
#[cfg(target_os = "linux")]
#[test]
fn the_demo_says_when_its_descriptors_are_used_up() {
    let mut refused = 0;
    for limit in 13..=24 {
        let output = Command::new("sh")
            .args(["-c", &format!("ulimit -n {limit}; exec \"$0\" demo")])
            .arg(env!("CARGO_BIN_EXE_drywire"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        if !output.status.success() {
            assert!(
                text.trim_end().ends_with("out of file descriptors"),
                "{limit}: {text}"
            );
            refused += usize::from(text.contains("cannot accept a connection"));
        }
    }
    assert!(refused > 0);
}

/// Somebody who takes connections and says nothing.
fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, format!("/ip4/127.0.0.1/tcp/{port}"))
}

/// Fails when a client has the stack's own timeout for private addresses, 5 s.
#[test]
fn a_client_waits_as_long_as_it_is_told_to() {
    let (_listener, address) = silent();
    for seconds in ["0.3", "5.5"] {
        let (code, text) = fails(&["identify", &address, "--timeout", seconds]);
        assert_eq!(code, 1);
        assert_eq!(
            text,
            format!("error: cannot connect to {address}: timed out after {seconds} s")
        );
    }
}

/// Fails when the commands are not raced with the signals.
#[cfg(unix)]
#[test]
fn a_signal_ends_a_client_with_a_sentence() {
    let mut node = drywire(&["node", "--perf", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut events = BufReader::new(node.stdout.take().unwrap())
        .lines()
        .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let listen = events.next().unwrap();
    let address = listen["address"].as_str().unwrap();
    let mut node = Node {
        child: node,
        address: address.to_owned(),
    };
    let long = [
        (&["echo", address, "--size", "9999G"][..], "all of the echo"),
        (&["perf", address, "--upload", "9999G"], "the measurement"),
        (&["perf", address, "--download", "9999G"], "the measurement"),
    ];
    for (index, (command, before)) in long.into_iter().enumerate() {
        let client = drywire(command)
            .arg("--json")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let connected = events.find(|event| event["event"] == "connected");
        let peer = connected.unwrap()["peer"].clone();
        signal(&client, if index == 0 { "-TERM" } else { "-INT" });
        interrupted(&client.wait_with_output().unwrap(), before);
        let gone = events
            .find(|event| event["event"] == "disconnected")
            .unwrap();
        assert_eq!(gone["peer"], peer);
    }
    signal(&node.child, "-INT");
    assert_eq!(wait(&mut node.child), Some(0));

    // In the middle of connecting.
    let (listener, address) = silent();
    for (command, before) in [
        ("identify", "the peer said"),
        ("ping", "the peer was reached"),
    ] {
        let client = drywire(&[command, &address, "--json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _connection = listener.accept().unwrap();
        signal(&client, "-INT");
        interrupted(&client.wait_with_output().unwrap(), before);
    }
}

/// Fails when the demo is not raced with the signals.
#[cfg(unix)]
#[test]
fn a_signal_ends_the_demo() {
    // It may be over before the signal comes.
    for _ in 0..20 {
        let mut demo = drywire(&["demo"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(demo.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        signal(&demo, "-INT");
        std::io::copy(&mut out, &mut std::io::sink()).unwrap();
        let output = demo.wait_with_output().unwrap();
        if output.status.code() != Some(0) {
            assert_eq!(output.status.code(), Some(1));
            let text = String::from_utf8(output.stderr).unwrap();
            assert_eq!(text, "error: interrupted before the demo was over\n");
            return;
        }
    }
    panic!("the demo is never interrupted");
}

/// What an interrupted command says, to programs and to people.
#[cfg(unix)]
fn interrupted(output: &Output, before: &str) {
    assert_eq!(output.status.code(), Some(1));
    let event: Value = serde_json::from_slice(&output.stdout).unwrap();
    let message = event["message"].as_str().unwrap();
    assert!(
        message.starts_with(&format!("interrupted before {before}")),
        "{message}"
    );
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(text, format!("error: {message}\n"));
}

/// Fails when errors of writing are ignored.
#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let full = || std::fs::File::create("/dev/full").unwrap();
    let node = Node::start(&["--perf"]);
    let address = node.address.as_str();
    for command in [
        &["node"][..],
        &["ping", address, "--count", "0"],
        &["identify", address],
        &["echo", address],
        &["perf", address, "--upload", "1"],
        &["demo", "--json"],
        &["--help"],
        &["--version"],
    ] {
        let child = drywire(command)
            .stdout(full())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Ended with the test, should it go on in spite of this.
        let mut client = Node {
            child,
            address: String::new(),
        };
        let code = wait(&mut client.child);
        let text = std::io::read_to_string(client.child.stderr.take().unwrap()).unwrap();
        assert_eq!(code, Some(1), "{command:?}: {text}");
        let told = "error: cannot write the output: ";
        assert!(
            text.starts_with(told) && text.lines().count() == 1,
            "{text}"
        );
    }
    // A reader who has seen enough is another matter.
    let mut client = drywire(&["identify", address])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(client.stdout.take());
    assert!(client.wait().unwrap().success());
}

#[test]
fn errors_are_json_too_if_asked_for() {
    let output = run(&["--json", "ping", "/ip4/127.0.0.1/udp/1"]);
    assert_eq!(output.status.code(), Some(1));
    let event: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(event["event"], "error");
    assert!(event["message"].as_str().unwrap().contains("no transport"));
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
            count("requests"),
            count("done")
        ),
        (10, 5, 2, 1, 1)
    );
    assert_eq!(
        ["dht", "stored", "rejected", "record", "provider", "asked"].map(count),
        [1, 2, 2, 1, 1, 1]
    );
    let record = events.iter().find(|event| event["event"] == "record");
    assert_eq!(record.unwrap()["value"], "9", "the best of two");
    let output = run(&["demo"]);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("done in"));
}

#[cfg(unix)]
#[test]
fn what_a_node_and_its_clients_did_runs_again() {
    let directory = Directory::new("recording");
    let file = |name: &str| directory.file(name);
    let mut node = Node::start(&["--perf", "--record", &file("node")]);
    let address = node.address.clone();
    for (command, options) in [
        ("ping", &["--count", "2", "--interval", "0"][..]),
        ("identify", &[]),
        ("echo", &["--size", "300K"]),
        ("perf", &["--upload", "1M", "--download", "100K"]),
        ("request", &["--size", "100K"]),
    ] {
        let mut client = drywire(&[command, &address, "--record", &file(command)]);
        assert!(client.args(options).output().unwrap().status.success());
    }
    signal(&node.child, "-TERM");
    assert_eq!(wait(&mut node.child), Some(0));

    for (name, connections) in [
        ("node", 5),
        ("ping", 1),
        ("identify", 1),
        ("echo", 1),
        ("perf", 1),
        ("request", 1),
    ] {
        let events = lines(&run(&["replay", &file(name), "--json"]));
        let [report] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!(report["event"], "replayed", "{name}");
        // What was asked is no part of the recording: of that node only the connection runs again.
        let left_out = u64::from(name == "request");
        assert_eq!(report["nodes"], 1 - left_out, "{name}");
        assert_eq!(report["nodes_left_out"], left_out, "{name}");
        assert_eq!(report["connections"], connections, "{name}");
        assert!(report["outputs"].as_u64().unwrap() > 20, "{name}");
    }
    let printed = run(&["replay", "--print", &file("ping")]).stdout;
    let printed = String::from_utf8(printed).unwrap();
    assert!(
        printed.contains(" <- start\n") && printed.contains("\nOK "),
        "{printed}"
    );
    assert!(printed.lines().all(|line| line.is_ascii()), "{printed}");
    let entries = lines(&run(&["replay", "--print", "--json", &file("ping")]));
    assert_eq!(entries.len(), printed.lines().count());

    let whole = std::fs::read(file("node")).unwrap();
    std::fs::write(file("cut"), &whole[..whole.len() - 1]).unwrap();
    let (code, text) = fails(&["replay", &file("cut")]);
    let told = format!(
        "error: {}: the recording is truncated: its end is missing",
        file("cut")
    );
    assert_eq!((code, text), (1, told));
    let (code, text) = fails(&["replay", &file("nothing")]);
    assert_eq!(code, 1);
    assert!(text.contains("cannot read the recording: "), "{text}");
    let (code, text) = fails(&["ping", &address, "--record", &file("node")]);
    assert_eq!(
        (code, text),
        (1, format!("error: {} exists already", file("node")))
    );
}
