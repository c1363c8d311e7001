//! The table of machines and laws: its tests, and its print.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The laws in their order, with the head of their column.
pub const LAWS: [(&str, &str); 9] = [
    ("any_order", "1 any order"),
    ("chunking", "2 chunking"),
    ("same_seed", "3 same seed"),
    ("deadlines", "4 deadlines"),
    ("idle", "5 idle is free"),
    ("bounded", "6 a number"),
    ("no_panic", "7 no panic"),
    ("errors", "8 errors"),
    ("quiet_end", "9 quiet end"),
];

/// What shows that a machine keeps a law.
pub enum Proof {
    /// A test of this binary.
    Here,
    /// A test elsewhere: its file, from the root of the repository, and its name.
    Beside(&'static str, &'static str),
    /// None, for a reason.
    Empty(&'static str),
}

/// A machine and its nine cells.
pub struct Row {
    pub machine: &'static str,
    pub cells: &'static [(&'static str, Proof)],
}

/// Makes the tests and the table. A cell is `test(path)`, `beside("file", "test")` or `empty("reason")`.
macro_rules! laws {
    ($($module:ident : $machine:literal { $($law:ident : $kind:ident($($what:tt)*)),* $(,)? })*) => {
        const TABLE: &[$crate::table::Row] = &[$(
            $crate::table::Row {
                machine: $machine,
                cells: &[$( (stringify!($law), laws!(@proof $kind($($what)*))) ),*],
            }
        ),*];

        $(
            mod $module {
                #[allow(unused_imports, reason = "a row may have no test here")]
                use super::*;
                $( laws!(@test $law $kind($($what)*)); )*
            }
        )*
    };
    (@proof test($test:expr)) => { $crate::table::Proof::Here };
    (@proof beside($file:literal, $test:literal)) => { $crate::table::Proof::Beside($file, $test) };
    (@proof empty($reason:literal)) => { $crate::table::Proof::Empty($reason) };
    (@test $law:ident test($test:expr)) => {
        #[test]
        fn $law() {
            $test();
        }
    };
    (@test $law:ident $kind:ident($($what:tt)*)) => {};
}

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("tests/ lies in it").to_path_buf()
}

/// Whether `file` has a function of this name that is a test.
pub fn is_test(file: &str, name: &str) -> bool {
    let Ok(source) = std::fs::read_to_string(root().join(file)) else {
        return false;
    };
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let head = format!("fn {name}(");
    let at = lines.iter().position(|line| line.starts_with(&head));
    // Between the attribute and the function there may be other attributes.
    at.is_some_and(|at| {
        let above = lines[..at].iter().rev();
        above
            .take_while(|line| line.starts_with("#["))
            .any(|line| *line == "#[test]")
    })
}

/// The table as text, with the reasons below it.
pub fn print(rows: &[Row]) -> String {
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    let mut cells: Vec<Vec<String>> = vec![vec!["machine".to_owned()]];
    cells[0].extend(LAWS.iter().map(|(_, head)| (*head).to_owned()));
    for row in rows {
        let mut line = vec![row.machine.to_owned()];
        for (_, proof) in row.cells {
            line.push(match proof {
                Proof::Here => "x".to_owned(),
                Proof::Beside(file, test) => {
                    let next = reasons.len() + 1;
                    let text: &'static str = format!("`{test}` in {file}").leak();
                    format!("x {}", reasons.entry(text).or_insert(next))
                }
                Proof::Empty(reason) => {
                    let next = reasons.len() + 1;
                    format!("- {}", reasons.entry(reason).or_insert(next))
                }
            });
        }
        cells.push(line);
    }
    let width = |column: usize| cells.iter().map(|line| line[column].len()).max();
    let widths: Vec<usize> = (0..=LAWS.len()).filter_map(width).collect();
    let mut text = String::new();
    for line in &cells {
        for (cell, width) in line.iter().zip(&widths) {
            text += &format!("{cell:<width$}  ");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text += "\nx: a test here, or the one named below; -: empty, for the reason below\n";
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, number)| *number);
    for (reason, number) in reasons {
        text += &format!("{number:>2}  {reason}\n");
    }
    text
}

/// The table is whole: every machine has its nine cells, every empty one its reason, and what is named elsewhere is there.
pub fn check(rows: &[Row]) {
    assert_eq!(rows.len(), 17, "the machines");
    for row in rows {
        let laws: Vec<&str> = row.cells.iter().map(|(law, _)| *law).collect();
        assert_eq!(laws, LAWS.map(|(law, _)| law), "{}", row.machine);
        for (law, proof) in row.cells {
            match proof {
                Proof::Here => {}
                Proof::Beside(file, test) => {
                    assert!(
                        is_test(file, test),
                        "{}, {law}: no test {test} in {file}",
                        row.machine
                    );
                }
                Proof::Empty(reason) => assert!(!reason.is_empty(), "{}, {law}", row.machine),
            }
        }
    }
}
