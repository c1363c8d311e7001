//! The examples run, and are as short as they are meant to be.
#![cfg(feature = "ring")]
#![allow(clippy::unwrap_used)]

use std::{env, fs, path::Path, process::Command};

/// Runs an example. Cargo has built it beside this test, unless it was asked for this test alone.
fn run(name: &str) -> String {
    let test = env::current_exe().unwrap();
    let built = test.ancestors().nth(2).unwrap();
    let program = built
        .join("examples")
        .join(name)
        .with_extension(env::consts::EXE_EXTENSION);
    if !program.exists() {
        let build = Command::new(env!("CARGO"))
            .args(["build", "--package=drywire", "--examples"])
            .status();
        assert!(build.unwrap().success());
    }
    let output = Command::new(program).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_node_on_blocking_sockets_pings_another() {
    let told = run("node_blocking");
    assert_eq!(told.matches("result: Ok(").count(), 3, "{told}");
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let lines = |file: &str| {
        let source = fs::read_to_string(examples.join(file));
        source.unwrap().lines().count()
    };
    assert!(lines("blocking/mod.rs") <= 200 && lines("node_blocking.rs") <= 60);
}

#[test]
fn requests_are_answered_on_blocking_sockets() {
    let told = run("requests_blocking");
    for line in [
        "refused: the peer could not be dialed: no addresses",
        "answered: 5",
    ] {
        assert!(told.lines().any(|told| told == line), "{told}");
    }
}

#[test]
fn a_record_is_stored_and_found_on_blocking_sockets() {
    let told = run("kad_blocking");
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(
        lines,
        ["stored", "found: the value", "nobody has another key"]
    );
}
