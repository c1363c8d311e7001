//! Runs every target's body over its committed corpus, and checks that no target lacks a wrapper or seeds.

use std::{collections::BTreeSet, fs, panic, path::PathBuf};

fn fuzz_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn names() -> BTreeSet<String> {
    drywire_fuzz_bodies::TARGETS
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect()
}

#[test]
fn every_seed_of_every_target() {
    for (name, body) in drywire_fuzz_bodies::TARGETS {
        let corpus = fuzz_dir().join("corpus").join(name);
        let mut seeds: Vec<PathBuf> = fs::read_dir(&corpus)
            .unwrap_or_else(|error| panic!("{}: {error}", corpus.display()))
            .map(|entry| entry.unwrap().path())
            .collect();
        seeds.sort();
        assert!(!seeds.is_empty(), "{name} has no seeds");
        body(&[]);
        for seed in seeds {
            let data = fs::read(&seed).unwrap();
            // The seed, and each of its shorter forms: inputs end anywhere.
            for len in (0..=data.len()).rev().take(256) {
                let shorter = data.get(..len).unwrap();
                let run = panic::catch_unwind(|| body(shorter));
                assert!(
                    run.is_ok(),
                    "{name}: first {len} bytes of {}",
                    seed.display()
                );
            }
        }
    }
}

#[test]
fn every_target_has_its_wrapper_and_corpus() {
    let manifest = fs::read_to_string(fuzz_dir().join("Cargo.toml")).unwrap();
    let bins: BTreeSet<String> = manifest
        .split("[[bin]]")
        .skip(1)
        .filter_map(|bin| bin.split('"').nth(1).map(str::to_owned))
        .collect();
    assert_eq!(bins, names());
    for (folder, suffix) in [("fuzz_targets", ".rs"), ("corpus", "")] {
        let found: BTreeSet<String> = fs::read_dir(fuzz_dir().join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .map(|file| file.trim_end_matches(suffix).to_owned())
            .collect();
        assert_eq!(found, names(), "{folder}");
    }
    for name in names() {
        let wrapper = fuzz_dir().join("fuzz_targets").join(format!("{name}.rs"));
        let text = fs::read_to_string(wrapper).unwrap();
        assert!(text.contains(&format!("drywire_fuzz_bodies::{name}(data)")));
    }
}
