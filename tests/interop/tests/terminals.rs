//! The two programs, `drywire` and `libp2p-peer`, as people run them: each in a process of its own.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

/// The program `drywire`. It belongs to another workspace, hence it is built here if it is not there yet.
fn drywire() -> Command {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| {
        let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");
        let mut cargo = Command::new(env!("CARGO"));
        // What cargo tells a test of its package: build scripts there would run again for it, and everything that stands on
        // them would be built once more.
        for (name, _) in std::env::vars_os() {
            let told = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_EXE_"];
            if told
                .iter()
                .any(|start| name.to_string_lossy().starts_with(start))
            {
                cargo.env_remove(name);
            }
        }
        let built = cargo
            .args(["build", "--workspace", "--all-features", "--bin", "drywire"])
            // With a test, the libraries have the features that the workspace's tests have built them with: without one,
            // everything would be built once more. This one is the smallest.
            .args(["--test", "examples"])
            .args(["--manifest-path", workspace, "--message-format", "json"])
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(built.status.success(), "drywire-cli cannot be built");
        let messages = String::from_utf8(built.stdout).unwrap();
        let mut programs = messages
            .lines()
            .filter(|line| line.contains(r#""kind":["bin"]"#));
        let found = programs.find_map(|message| {
            let (_, path) = message.split_once(r#""executable":""#)?;
            Some(PathBuf::from(path.split_once('"')?.0))
        });
        found.expect("cargo names the program it has built")
    });
    Command::new(program)
}

fn libp2p() -> Command {
    Command::new(env!("CARGO_BIN_EXE_libp2p-peer"))
}

/// A node that serves until this drops.
struct Node {
    process: Child,
    address: String,
}

impl Node {
    fn start(mut program: Command, options: &[&str]) -> Self {
        let mut process = program
            .args(["node", "--listen", "/ip4/127.0.0.1/tcp/0"])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = lines
            .find_map(|line| Some(line.ok()?.strip_prefix("LISTEN ")?.to_owned()))
            .expect("the ready line");
        // Nobody reads further: what else it says must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, address }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs a client command and gives what it said.
fn succeeds(mut program: Command, arguments: &[&str]) -> String {
    let output = program.args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// What a client command must say: of pings, of identify, of an echo and of a transfer.
fn meets(client: fn() -> Command, address: &str, agent: &str, expected: [&str; 4]) {
    let (_, peer) = address.split_once("/p2p/").unwrap();
    let pings = succeeds(client(), &["ping", address, "--count", "2"]);
    assert!(
        pings.contains(peer) && pings.contains(expected[0]),
        "{pings}"
    );
    let info = succeeds(client(), &["identify", address]);
    for part in [peer, agent, "/echo/1.0.0", "/ipfs/ping/1.0.0", expected[1]] {
        assert!(info.contains(part), "{part} is missing in {info}");
    }
    let echo = succeeds(client(), &["echo", address, "--size", "1000003"]);
    assert!(echo.contains(expected[2]), "{echo}");
    let transfer = ["--upload", "1000000", "--download", "2000000"];
    let perf = succeeds(client(), &[&["perf", address], &transfer[..]].concat());
    assert!(perf.contains(expected[3]), "{perf}");
}

const DRYWIRE_SAYS: [&str; 4] = [
    "2 pings",
    "supports",
    "1000003 bytes there and back",
    "downloaded 2000000 bytes",
];
const LIBP2P_SAYS: [&str; 4] = [
    r#""sequence":2"#,
    r#""observed_address":"/ip4/127.0.0.1/tcp/"#,
    r#""bytes":1000003,"checksum":""#,
    r#""download_bytes":2000000"#,
];

#[test]
fn a_drywire_node_serves_both_programs() {
    let node = Node::start(drywire(), &["--perf"]);
    meets(drywire, &node.address, "drywire/", DRYWIRE_SAYS);
    meets(libp2p, &node.address, "drywire/", LIBP2P_SAYS);
}

#[test]
fn a_libp2p_node_serves_drywire() {
    let node = Node::start(libp2p(), &[]);
    meets(drywire, &node.address, "libp2p-peer/", DRYWIRE_SAYS);
}
