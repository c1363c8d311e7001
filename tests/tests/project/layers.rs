//! The modules of the core are floors of one house: a floor imports lower ones, and its own without a cycle. Which floor
//! a module is on stands in the table of the core's documentation, and only there.

use super::{read, root, rust_files};
use std::collections::{BTreeMap, BTreeSet};

/// The table at the top of the core: the floor of every module.
fn floors(documentation: &str) -> BTreeMap<String, u32> {
    let mut floors = BTreeMap::new();
    for line in documentation.lines() {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let (Some(floor), Some(modules)) = (cells.next(), cells.next()) else {
            continue;
        };
        let Ok(floor) = floor.parse() else { continue };
        for module in modules.split('`').skip(1).step_by(2) {
            let before = floors.insert(module.to_owned(), floor);
            assert_eq!(before, None, "{module} is on two floors");
        }
    }
    floors
}

/// Names and single signs of what is compiled outside tests, without comments.
fn tokens(source: &str) -> Vec<String> {
    let code: String = source
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n");
    let code = code
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default();
    let mut tokens: Vec<String> = Vec::new();
    let mut word = String::new();
    for sign in code.chars() {
        if sign.is_alphanumeric() || sign == '_' {
            word.push(sign);
            continue;
        }
        if !word.is_empty() {
            tokens.push(std::mem::take(&mut word));
        }
        if !sign.is_whitespace() {
            tokens.push(sign.to_string());
        }
    }
    tokens
}

/// The modules directly under the root that `source`, the module at `path`, names.
fn names_of_root(source: &str, path: &[&str]) -> BTreeSet<String> {
    let tokens = tokens(source);
    let is = |at: usize, text: &str| tokens.get(at).is_some_and(|token| token == text);
    let mut found = BTreeSet::new();
    for start in 0..tokens.len() {
        let mut at = start + 1;
        if is(start, "super") && !(start > 1 && is(start - 1, ":")) {
            let mut depth = path.len().saturating_sub(1);
            while is(at, ":") && is(at + 1, ":") && is(at + 2, "super") {
                depth = depth.saturating_sub(1);
                at += 3;
            }
            if depth > 0 {
                continue;
            }
        } else if !is(start, "crate") {
            continue;
        }
        if !(is(at, ":") && is(at + 1, ":")) {
            continue;
        }
        at += 2;
        if !is(at, "{") {
            found.extend(tokens.get(at).cloned());
            continue;
        }
        // A list: the first name of each of its items.
        let (mut depth, mut first) = (0, true);
        while let Some(token) = tokens.get(at) {
            match token.as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                "," => first |= depth == 1,
                name => {
                    if depth == 1 && first {
                        found.insert(name.to_owned());
                        first = false;
                    }
                }
            }
            at += 1;
            if depth == 0 {
                break;
            }
        }
    }
    found
}

/// Who imports whom, between the modules under the root, tests left out.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let source_root = root().join("core/src");
    for file in rust_files("core/src") {
        let path = file
            .strip_prefix(&source_root)
            .expect("inside")
            .with_extension("");
        let path: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
        let path = path.strip_suffix(&["mod"]).unwrap_or(&path);
        if path == ["lib"] || path.iter().any(|part| part.ends_with("tests")) {
            continue;
        }
        let source = std::fs::read_to_string(&file).expect("text");
        let names = names_of_root(&source, path);
        imports.entry(path[0].to_owned()).or_default().extend(names);
    }
    imports
}

#[test]
fn floors_import_downwards() {
    let documentation = read("core/src/lib.rs");
    let floors = floors(&documentation);
    let imports = imports();
    assert!(imports.len() > 10, "the core was not found");
    let (mut upward, mut beside) = (Vec::new(), BTreeMap::<&str, BTreeSet<&str>>::new());
    for (module, imported) in &imports {
        let floor = floors
            .get(module)
            .unwrap_or_else(|| panic!("{module} has no floor"));
        for name in imported.iter().filter(|name| *name != module) {
            match floors.get(name) {
                Some(below) if below < floor => {}
                Some(same) if same == floor => {
                    beside.entry(module).or_default().insert(name);
                }
                Some(_) => upward.push(format!("{module} imports {name}")),
                // An item of the root itself: there are only macros.
                None => {}
            }
        }
    }
    assert!(upward.is_empty(), "{upward:#?}");
    // Take away whoever imports nobody that is left, until nothing changes: what stays is a cycle.
    loop {
        let left: BTreeSet<&str> = beside.keys().copied().collect();
        beside
            .values_mut()
            .for_each(|names| names.retain(|name| left.contains(name)));
        let before = beside.len();
        beside.retain(|_, names| !names.is_empty());
        if beside.len() == before {
            break;
        }
    }
    assert!(beside.is_empty(), "a cycle: {beside:#?}");
}

#[test]
fn every_way_to_name_a_module_is_seen() {
    let names =
        |source: &str, path: &[&str]| names_of_root(source, path).into_iter().collect::<Vec<_>>();
    let list = "use crate::{a::{b, c}, d, e::f as g};\nfn x() { crate::h::i() }";
    assert_eq!(names(list, &["m"]), ["a", "d", "e", "h"]);
    assert_eq!(names("use super::a;", &["m"]), ["a"]);
    assert_eq!(names("use super::a;", &["m", "n"]), [""; 0]);
    assert_eq!(names("use super::super::{a, b};", &["m", "n"]), ["a", "b"]);
    assert_eq!(names("$crate::a::b", &["m"]), ["a"]);
    assert_eq!(names("pub(in crate::a) struct S;", &["m"]), ["a"]);
    assert_eq!(
        names("// crate::a\n/// crate::b\npub(crate) fn f() {}", &["m"]),
        [""; 0]
    );
    let tested = "use crate::a;\n#[cfg(test)]\nmod tests {\n    use crate::b;\n}";
    assert_eq!(names(tested, &["m"]), ["a"]);
    let table = "//! | 2 | [`a`], `b` | things |\n//! | 0 | [`c`] | [`d`] |\n//! |---|---|\n";
    let floors = floors(table).into_iter().collect::<Vec<_>>();
    assert_eq!(floors, [("a".into(), 2), ("b".into(), 2), ("c".into(), 0)]);
}
