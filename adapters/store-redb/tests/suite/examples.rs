//! The examples do what they say.

#[path = "../../examples/restart.rs"]
#[allow(dead_code)]
mod restart;

#[test]
fn a_record_outlives_the_store() {
    let path = std::env::temp_dir().join(format!("drywire-restart-{}.redb", std::process::id()));
    for times in 0..3 {
        assert_eq!(
            restart::run(&path).unwrap(),
            format!("this was run {times} times before")
        );
    }
    std::fs::remove_file(path).unwrap();
}
