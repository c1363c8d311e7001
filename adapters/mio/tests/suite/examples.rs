//! The example does what it says.

#[path = "../../examples/mio_echo.rs"]
mod mio_echo;

#[test]
fn everything_comes_back_and_the_program_ends() {
    let said = mio_echo::run().unwrap();
    assert!(said.starts_with("67108864 bytes there and back"), "{said}");
}
