//! A file that grows long hides a concept that wants a file of its own.

use super::{root, rust_files};

const LONG: usize = 800;
const TOO_LONG: usize = 1000;

#[test]
fn no_file_is_too_long() {
    let mut too_long = Vec::new();
    for path in rust_files(".") {
        let lines = std::fs::read_to_string(&path)
            .expect("text")
            .lines()
            .count();
        let name = path
            .strip_prefix(root())
            .expect("inside")
            .display()
            .to_string();
        if lines > TOO_LONG {
            too_long.push(format!("{name}: {lines} lines"));
        } else if lines > LONG {
            println!("long: {name}: {lines} lines");
        }
    }
    assert!(too_long.is_empty(), "split these: {too_long:#?}");
}
