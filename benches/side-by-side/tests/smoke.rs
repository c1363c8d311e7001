//! Every row of the table once, with hardly any work: the figures mean nothing, but the program must not rot.

use std::process::Command;

#[test]
fn every_row_is_measured() {
    let output = Command::new(env!("CARGO_BIN_EXE_side-by-side"))
        .args([
            "--json",
            "--runs",
            "1",
            "--scale",
            "0.01",
            "--size-mib",
            "4",
            "--settle-ms",
            "20",
        ])
        .output()
        .unwrap();
    let (rows, error) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{error}");
    assert_eq!(rows.lines().count(), 19, "{rows}");
    for row in rows.lines() {
        assert!(
            row.contains(r#""median":"#) && !row.contains(r#""median":null"#),
            "{row}"
        );
    }
}

#[test]
fn bad_usage_says_so() {
    let output = Command::new(env!("CARGO_BIN_EXE_side-by-side"))
        .arg("nothing-like-it")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("unknown work"));
}
