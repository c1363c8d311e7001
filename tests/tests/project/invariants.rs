//! The table of invariants in the simulator's documentation: complete, and true about the tests it names.

use super::read;

const TABLE: &str = "adapters/sim/src/explore/mod.rs";

/// The rows of the table, cut into their cells.
fn rows() -> Vec<[String; 3]> {
    let source = read(TABLE);
    let rows = source
        .lines()
        .filter_map(|line| line.strip_prefix("//! | I"));
    rows.map(|row| {
        let cells: Vec<&str> = row
            .trim_end_matches('|')
            .split('|')
            .map(str::trim)
            .collect();
        <[&str; 3]>::try_from(cells)
            .unwrap_or_else(|cells| panic!("three cells: {cells:?}"))
            .map(str::to_owned)
    })
    .collect()
}

/// The numbers at the head of a row: those before each word that is none.
fn numbers(head: &str) -> Vec<u32> {
    format!("I{head}")
        .split([' ', ','])
        .filter_map(|word| word.strip_prefix('I')?.parse().ok())
        .collect()
}

#[test]
fn every_invariant_of_what_exists_is_in_the_table_once() {
    let found: Vec<u32> = rows().iter().flat_map(|[head, ..]| numbers(head)).collect();
    let wanted: Vec<u32> = (1..=33).chain(35..=41).chain([45, 46, 47]).collect();
    let mut sorted = found.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, wanted);
}

#[test]
fn every_invariant_is_looked_at_or_tested_and_the_tests_exist() {
    let mut named = 0;
    for [head, runs, tests] in rows() {
        assert!(!(runs.is_empty() && tests.is_empty()), "I{head}");
        for test in tests.split("; ").filter(|test| !test.is_empty()) {
            let (name, file) = test
                .trim_matches('`')
                .split_once("` in `")
                .unwrap_or_else(|| panic!("I{head}: {test}"));
            assert!(
                read(file).contains(&format!("fn {name}(")),
                "I{head}: there is no {name} in {file}"
            );
            named += 1;
        }
    }
    assert!(named > 30, "{named}");
}
