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

use drywire_sim::explore::{Campaign, Plan};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
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
        to: "let mut grant = self.grant(now, place);\n            if crate::has_bug(0) && now.as_nanos() % 5 == 0 { grant = 0; }",
        invariant: "I45",
    },
    Mutant {
        name: "the deadline of a handshake is forgotten",
        file: "core/src/connection/machine.rs",
        from: "phase_deadline: Some(now + config.handshake_timeout),",
        to: "phase_deadline: (!crate::has_bug(1)).then_some(now + config.handshake_timeout),",
        invariant: "I16",
    },
    Mutant {
        name: "a refused connection goes on counting as one in its handshake",
        file: "core/src/swarm/admission.rs",
        from: "    fn refuse(&mut self, id: ConnectionId, reason: ConnectionError) {\n        self.settle(id);",
        to: "    fn refuse(&mut self, id: ConnectionId, reason: ConnectionError) {\n        if !crate::has_bug(2) { self.settle(id); }",
        invariant: "I31",
    },
];

/// Added to the core: which of the bugs is there, so that one build has them all, and none.
const CHOICE: &str = r#"
#[cfg(not(test))]
extern crate std;

#[allow(missing_docs, unreachable_pub)]
pub fn has_bug(number: u32) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<u32>> = std::sync::OnceLock::new();
    *CHOSEN.get_or_init(|| std::env::var("DRYWIRE_BUG").ok()?.parse().ok()) == Some(number)
}
"#;

/// What is copied: all that the members of the workspace need to be built.
const SOURCES: [&str; 10] = [
    "Cargo.toml",
    "Cargo.lock",
    "README.md",
    "core",
    "adapters",
    "benches/hosts",
    "benches/micro",
    "examples",
    "fuzz/bodies",
    "tests",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Where cargo builds the copy. Not where it builds the sources themselves: it takes one for the other, and would run what
/// was built without the bug, or leave there what was built with it.
fn target_of_copy() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutants-target")
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        // What an earlier copy has and the sources no longer do: a file that has become a directory is found twice.
        for entry in fs::read_dir(to).unwrap() {
            let entry = entry.unwrap();
            if from.join(entry.file_name()).exists() {
                continue;
            }
            let is_directory = entry.file_type().unwrap().is_dir();
            let remove = if is_directory {
                fs::remove_dir_all
            } else {
                fs::remove_file
            };
            remove(entry.path()).unwrap();
        }
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

/// Runs cargo there, building there or where it always does, with this bug or none.
fn cargo(
    directory: &Path,
    target: Option<&Path>,
    bug: Option<usize>,
    arguments: &[&str],
) -> Output {
    let mut command = Command::new(env!("CARGO"));
    command.args(arguments).current_dir(directory);
    // What the outer cargo says of this package would have dependencies built again.
    for (name, _) in env::vars() {
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    if let Some(target) = target {
        command.env("CARGO_TARGET_DIR", target);
    }
    if let Some(bug) = bug {
        command.env("DRYWIRE_BUG", bug.to_string());
    }
    command.output().expect("cargo runs")
}

/// Runs the reproducers in the copy.
fn reproduce(sources: &Path, bug: Option<usize>, arguments: &[&str]) -> (bool, String) {
    let all = [
        "test",
        "--quiet",
        "-p",
        "drywire-sim",
        "--test",
        "reproducers",
    ];
    let all = [&all, arguments].concat();
    let output = cargo(sources, Some(&target_of_copy()), bug, &all);
    (output.status.success(), text(&output))
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

/// Puts the bugs into a copy of the sources.
fn infect(sources: &Path) {
    for mutant in &MUTANTS {
        let file = sources.join(mutant.file);
        let good = fs::read_to_string(&file).unwrap();
        let places = good.matches(mutant.from).count();
        assert_eq!(places, 1, "{}: {} has changed", mutant.name, mutant.file);
        fs::write(&file, good.replace(mutant.from, mutant.to)).unwrap();
    }
    let file = sources.join("core/src/lib.rs");
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, good + CHOICE).unwrap();
}

/// Explores with one of the bugs: the test that is printed, after what is said of its size was looked at.
fn hunt(sources: &Path, bug: usize) -> String {
    let mutant = &MUTANTS[bug];
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
    let output = cargo(sources, Some(&target_of_copy()), Some(bug), &explore);
    let report = text(&output);
    assert_eq!(
        output.status.code(),
        Some(1),
        "{} is not caught: {report}",
        mutant.name
    );
    let (before, after) = (
        numbers(&report, "found: "),
        numbers(&report, "reproducer: "),
    );
    let test = report.split_once("#[test]\n").expect("a test").1;
    let test = format!(
        "#[test]\n{}\n}}\n",
        test.split_once("\n}\n").expect("its end").0
    );
    println!(
        "{}: {before:?} to {after:?} (hosts, seconds)\n{test}",
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
    test
}

#[test]
fn bugs_put_into_the_core_are_caught_and_shrink() {
    let sources = copy_of_sources();
    infect(&sources);
    let tests: Vec<String> = (0..MUTANTS.len()).map(|bug| hunt(&sources, bug)).collect();
    let all = format!(
        "#![allow(missing_docs, clippy::panic)]\n{}",
        tests.join("\n")
    );
    fs::write(sources.join("adapters/sim/tests/reproducers.rs"), all).unwrap();
    // The tests compile, and each fails with its bug as the simulator did; without bugs they pass.
    for (bug, (mutant, test)) in MUTANTS.iter().zip(&tests).enumerate() {
        let name = test
            .split_once("fn ")
            .and_then(|(_, rest)| rest.split_once('('));
        let name = name.expect("a function").0;
        let (passed, report) = reproduce(&sources, Some(bug), &["--", "--exact", name]);
        let failed = report.contains("1 failed") && report.contains(mutant.invariant);
        assert!(!passed && failed, "{}: {report}", mutant.name);
    }
    let (passed, report) = reproduce(&sources, None, &[]);
    assert!(passed && report.contains("3 passed"), "{report}");
}

#[test]
fn optimised_and_checked_builds_show_the_same() {
    let summary = Campaign::new(0..50).plans(Plan::draw_short).run(1, |_| {});
    let checked: String = summary
        .hashes
        .iter()
        .map(|(seed, hash)| format!("{seed} {hash}\n"))
        .collect();
    assert_eq!(checked.lines().count(), 50);
    let arguments = [
        "run",
        "--quiet",
        "--release",
        "-p",
        "drywire-sim",
        "--example",
        "hashes",
        "--",
        "0..50",
    ];
    let output = cargo(&root(), None, None, &arguments);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(checked, String::from_utf8_lossy(&output.stdout));
}
