//! Each program runs to its end.

use std::process::{Command, Output};

pub(crate) fn assert_all_came_back(program: &str, output: &Output) {
    let (said, complaint) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    let status = output.status;
    assert!(status.success(), "{program}: {status}\n{said}{complaint}");
    assert!(
        said.starts_with("67108864 bytes there and back in "),
        "{program}: {said}"
    );
}

fn run(program: &str) {
    let output = Command::new(program).output().unwrap();
    assert_all_came_back(program, &output);
}

#[test]
#[cfg(target_os = "linux")]
fn a_loop_over_epoll_moves_64_mib_there_and_back() {
    run(env!("CARGO_BIN_EXE_epoll"));
}

#[test]
fn worker_threads_move_64_mib_there_and_back_and_the_connection_to_another_worker() {
    let output = Command::new(env!("CARGO_BIN_EXE_workers"))
        .output()
        .unwrap();
    assert_all_came_back("workers", &output);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains("moved to another worker on the way: true"),
        "{said}"
    );
}

#[test]
fn a_game_moves_64_mib_there_and_back_in_its_ticks() {
    run(env!("CARGO_BIN_EXE_game_tick"));
}
