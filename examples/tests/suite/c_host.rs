//! A C program hosts a node.

use crate::programs::assert_all_came_back;
use std::{path::Path, process::Command};

/// Builds the library as anybody would, and returns where cargo says it is.
fn library() -> String {
    let output = Command::new(env!("CARGO"))
        .args([
            "build",
            "--package",
            "drywire-c-host",
            "--locked",
            "--message-format",
            "json",
        ])
        .args(["--target-dir", env!("CARGO_TARGET_TMPDIR")])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    let said = String::from_utf8(output.stdout).unwrap();
    let files = said.split('"').filter(|text| text.ends_with(".a"));
    let mut libraries = files.filter(|file| file.contains("libdrywire_c_host"));
    libraries
        .next()
        .expect("cargo names the library")
        .to_owned()
}

#[test]
fn a_c_program_moves_64_mib_there_and_back() {
    let c_host = Path::new(env!("CARGO_MANIFEST_DIR")).join("c-host");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("c-host");
    let compiled = Command::new("cc")
        .args(["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-I"])
        .arg(c_host.join("include"))
        .arg(c_host.join("host.c"))
        .arg(library())
        .args(["-lpthread", "-ldl", "-lm", "-o"])
        .arg(&program)
        .output()
        .expect("a C compiler");
    let complaint = String::from_utf8_lossy(&compiled.stderr);
    assert!(compiled.status.success(), "{complaint}");
    let output = Command::new(&program).output().unwrap();
    assert_all_came_back("host.c", &output);
}
