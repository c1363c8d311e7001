//! What the README says about the project is so.

use super::{read, root};

/// The commands of the README: its lines indented as code.
fn commands() -> Vec<String> {
    let readme = read("README.md");
    let code = readme.lines().filter_map(|line| line.strip_prefix("    "));
    code.filter(|line| line.starts_with("cargo "))
        .map(str::to_owned)
        .collect()
}

/// The value of `key` in the first line of `manifest` that sets it.
fn value(manifest: &str, key: &str) -> String {
    let manifest = read(manifest);
    let line = manifest
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{key} = ")));
    line.expect(key).trim_matches('"').to_owned()
}

#[test]
fn the_test_command_is_the_one_that_is_run_for_every_change() {
    let script = read(".ci/run");
    let command = script
        .lines()
        .find_map(|line| line.strip_prefix("test_command='"));
    let command = command.expect("set in .ci/run").trim_end_matches('\'');
    let tests: Vec<String> = commands();
    let tests: Vec<&String> = tests
        .iter()
        .filter(|line| line.contains("cargo test"))
        .collect();
    assert_eq!(tests, [command]);
}

#[test]
fn it_states_the_compiler_that_is_needed() {
    let version = value("Cargo.toml", "rust-version");
    assert!(
        read("README.md").contains(&format!("Rust {version}")),
        "Rust {version}"
    );
}

#[test]
fn every_manifest_it_names_exists() {
    for command in commands() {
        let mut words = command.split_whitespace();
        while let Some(word) = words.next() {
            if word == "--manifest-path" {
                let path = words.next().expect("a path");
                assert!(root().join(path).is_file(), "{path}");
            }
        }
    }
}
