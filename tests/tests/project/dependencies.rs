//! What the core is made of.

use super::{read, root};
use std::process::Command;

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(root())
        .output();
    let output = output.expect("cargo starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("text")
}

/// The crates under `drywire` with these features, itself left out.
fn tree(features: &[&str]) -> Vec<String> {
    let mut arguments = vec![
        "tree",
        "--package=drywire",
        "--edges=normal",
        "--prefix=none",
    ];
    arguments.extend(["--format={p}", "--no-dedupe", "--quiet"]);
    arguments.extend(features);
    let mut crates: Vec<String> = cargo(&arguments)
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("drywire "))
        .map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "))
        .collect();
    crates.sort();
    crates.dedup();
    crates
}

/// No backend, one at a time, and one at a time of the codecs that stand on libraries.
fn feature_sets() -> [&'static [&'static str]; 6] {
    [
        &["--no-default-features"],
        &["--no-default-features", "--features=ring"],
        &["--no-default-features", "--features=aws-lc-rs"],
        &["--no-default-features", "--features=rustcrypto"],
        &["--no-default-features", "--features=cbor"],
        &["--no-default-features", "--features=json"],
    ]
}

#[test]
fn the_core_has_no_crate_in_two_versions() {
    for features in feature_sets() {
        let crates = tree(features);
        assert!(crates.len() > 20, "{crates:?}");
        let names: Vec<&str> = crates
            .iter()
            .filter_map(|line| line.split(' ').next())
            .collect();
        let twice = names.windows(2).find(|pair| pair[0] == pair[1]);
        assert_eq!(twice, None, "{features:?}: {crates:#?}");
    }
}

/// A new dependency of the core is a decision: whoever takes it raises this number, and says why in the change.
#[test]
fn the_core_stays_small() {
    let counts = feature_sets().map(|features| tree(features).len());
    let allowed = [30, 34, 32, 38, 33, 35];
    assert!(
        counts
            .iter()
            .zip(allowed)
            .all(|(count, allowed)| *count <= allowed),
        "{counts:?}"
    );
}

/// The core and everything it depends on link into a program that has no std, and work there.
#[test]
fn a_program_without_std_runs_the_core() {
    let manifest = "tests/no-std-link/Cargo.toml";
    assert!(read(manifest).contains(
        "default-features = false, features = [\"cbor\", \"json\", \"recording\", \"rustcrypto\"]"
    ));
    cargo(&[
        "run",
        "--quiet",
        "--locked",
        "--target-dir",
        env!("CARGO_TARGET_TMPDIR"),
        "--manifest-path",
        manifest,
    ]);
}
