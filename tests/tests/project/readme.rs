//! What the README says about the project is so.

use super::{read, root};

/// The commands of the README: the lines of its shell blocks.
fn commands() -> Vec<String> {
    let readme = read("README.md");
    let blocks = readme.split("```sh\n").skip(1);
    let lines = blocks.flat_map(|block| block.split("```").next().unwrap_or_default().lines());
    lines.map(str::to_owned).collect()
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

/// The values that follow `option` in the README's commands.
fn values_of(option: &str) -> Vec<String> {
    let commands = commands();
    let words: Vec<&str> = commands
        .iter()
        .flat_map(|line| line.split_whitespace())
        .collect();
    let pairs = words.windows(2).filter(|pair| pair[0] == option);
    pairs.map(|pair| pair[1].to_owned()).collect()
}

#[test]
fn what_its_commands_and_links_name_exists() {
    let manifests = values_of("--manifest-path");
    assert!(!manifests.is_empty());
    for path in manifests {
        assert!(root().join(&path).is_file(), "{path}");
    }
    let names: Vec<String> = [
        "core",
        "adapters/engine",
        "adapters/sim",
        "adapters/tokio",
        "adapters/smol",
        "adapters/async-std",
        "adapters/mio",
        "adapters/store-redb",
        "adapters/system",
        "adapters/cli",
    ]
    .map(|package| value(&format!("{package}/Cargo.toml"), "name"))
    .into();
    let readme = read("README.md");
    for name in &names {
        assert!(
            readme.contains(&format!("| [`{name}`](")),
            "{name} is not in the table"
        );
    }
    for name in values_of("-p") {
        assert!(names.contains(&name), "{name}");
    }
    for document in [
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
    ] {
        for link in read(document)
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let local = !link.contains("://") && !link.starts_with('#');
            assert!(!local || root().join(link).exists(), "{document}: {link}");
        }
    }
}
