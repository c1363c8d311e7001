//! The simulator is trusted for reasons: it finds bugs that are put into the core, shrinks them to small reproducers, and
//! shows the same however it was compiled.
//!
//! Each test builds the simulator, in a copy of the sources or optimised.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::SystemTime,
};

/// A bug, put into the core by changing one place.
struct Mutant {
    name: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
    /// What it violates.
    invariant: &'static str,
}

const MUTANTS: [Mutant; 3] = [
    Mutant {
        name: "a window update is lost now and then",
        file: "core/src/mux/yamux/transmit.rs",
        from: "let grant = self.grant(now, place);",
        to: "let mut grant = self.grant(now, place); if now.as_nanos() % 5 == 0 { grant = 0; }",
        invariant: "I45",
    },
    Mutant {
        name: "the deadline of handshakes and of closing is forgotten",
        file: "core/src/connection/clock.rs",
        from: "let phase = earliest(self.phase_deadline, self.idle_deadline);",
        to: "let phase = self.idle_deadline;",
        invariant: "I16",
    },
    Mutant {
        name: "a refused connection goes on counting as one in its handshake",
        file: "core/src/swarm/admission.rs",
        from: "    fn refuse(&mut self, id: ConnectionId, reason: ConnectionError) {\n        self.settle(id);",
        to: "    fn refuse(&mut self, id: ConnectionId, reason: ConnectionError) {",
        invariant: "I31",
    },
];

/// What is copied: all that the members of the workspace need to be built.
const SOURCES: [&str; 8] = [
    "Cargo.toml",
    "Cargo.lock",
    "README.md",
    "core",
    "adapters",
    "benches/micro",
    "fuzz/bodies",
    "tests",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Where cargo builds, so that dependencies are not built again.
fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("..")
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let name = entry.unwrap().file_name();
            if name != "target" && name != "corpus" {
                copy(&from.join(&name), &to.join(&name));
            }
        }
    } else if fs::read(from).ok() != fs::read(to).ok() {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        // Newer than what was built from it before.
        fs::write(to, fs::read(from).unwrap()).unwrap();
    }
}

/// A copy of the sources, as they are.
fn copy_of_sources() -> PathBuf {
    let copied = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutants");
    for source in SOURCES {
        copy(&root().join(source), &copied.join(source));
    }
    let _ = fs::remove_file(copied.join("adapters/sim/tests/reproducers.rs"));
    copied
}

fn cargo(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO"));
    command.args(arguments).current_dir(directory);
    command.env("CARGO_TARGET_DIR", target());
    command.output().expect("cargo runs")
}

fn text(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{out}{err}")
}

/// The numbers of the line that begins so.
fn numbers(report: &str, line: &str) -> Vec<f64> {
    let found = report.lines().find_map(|text| text.strip_prefix(line));
    let words = found
        .unwrap_or_else(|| panic!("no {line:?}: {report}"))
        .split(' ');
    words.filter_map(|word| word.parse().ok()).collect()
}

/// Runs the simulator on the sources with this bug: the test it prints, and what it says of its size.
fn hunt(sources: &Path, mutant: &Mutant) -> String {
    let file = sources.join(mutant.file);
    let good = fs::read_to_string(&file).unwrap();
    assert_eq!(
        good.matches(mutant.from).count(),
        1,
        "{}: {} has changed",
        mutant.name,
        mutant.file
    );
    fs::write(&file, good.replace(mutant.from, mutant.to)).unwrap();
    let explore = [
        "run",
        "--quiet",
        "-p",
        "drywire-sim",
        "--example",
        "explore",
        "--",
        "0..200",
    ];
    let output = cargo(sources, &explore);
    let report = text(&output);
    assert_eq!(
        output.status.code(),
        Some(1),
        "{} is not caught: {report}",
        mutant.name
    );
    let before = numbers(&report, "found: ");
    let after = numbers(&report, "reproducer: ");
    let test: String = report
        .lines()
        .skip_while(|line| *line != "#[test]")
        .map(|line| format!("{line}\n"))
        .collect();
    let test = test.split("\n}\n").next().expect("a test").to_owned() + "\n}\n";
    println!(
        "{}: found {before:?}, reproducer {after:?} (hosts, seconds)\n{test}",
        mutant.name
    );
    assert!(
        test.contains(&mutant.invariant.to_lowercase()),
        "{}: {test}",
        mutant.name
    );
    assert!(after[0] <= 3.0, "{}: {after:?} hosts", mutant.name);
    assert!(
        after[1] <= before[1] / 10.0,
        "{}: {before:?} to {after:?}",
        mutant.name
    );

    // The test compiles, and fails as the simulator did.
    let reproducer = sources.join("adapters/sim/tests/reproducers.rs");
    fs::write(
        &reproducer,
        format!("#![allow(missing_docs, clippy::panic)]\n{test}"),
    )
    .unwrap();
    let output = cargo(
        sources,
        &[
            "test",
            "--quiet",
            "-p",
            "drywire-sim",
            "--test",
            "reproducers",
        ],
    );
    let report = text(&output);
    let failed = report.contains("1 failed") && report.contains(mutant.invariant);
    assert!(
        !output.status.success() && failed,
        "{}: {report}",
        mutant.name
    );
    fs::remove_file(&reproducer).unwrap();
    fs::write(&file, good).unwrap();
    test
}

#[test]
fn bugs_put_into_the_core_are_caught_and_shrink() {
    let sources = copy_of_sources();
    let started = SystemTime::now();
    let tests: Vec<String> = MUTANTS
        .iter()
        .map(|mutant| hunt(&sources, mutant))
        .collect();
    // Without the bugs the same tests pass.
    let all = format!(
        "#![allow(missing_docs, clippy::panic)]\n{}",
        tests.join("\n")
    );
    fs::write(sources.join("adapters/sim/tests/reproducers.rs"), all).unwrap();
    let output = cargo(
        &sources,
        &[
            "test",
            "--quiet",
            "-p",
            "drywire-sim",
            "--test",
            "reproducers",
        ],
    );
    let report = text(&output);
    assert!(
        output.status.success() && report.contains("3 passed"),
        "{report}"
    );
    println!("{:?}", started.elapsed());
}

#[test]
fn optimised_and_checked_builds_show_the_same() {
    let hashes = |release: bool| {
        let mut arguments = vec!["run", "--quiet", "-p", "drywire-sim", "--example", "hashes"];
        if release {
            arguments.push("--release");
        }
        arguments.extend(["--", "0..50"]);
        let output = cargo(&root(), &arguments);
        assert!(output.status.success(), "{}", text(&output));
        String::from_utf8(output.stdout).expect("text")
    };
    let (checked, optimised) = (hashes(false), hashes(true));
    assert_eq!(checked.lines().count(), 50);
    assert_eq!(checked, optimised);
}
