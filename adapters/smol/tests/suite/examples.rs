//! The example does what it says.

#[path = "../../examples/smol_echo.rs"]
mod echo;

#[test]
fn as_many_bytes_come_back_as_were_sent_and_the_same() {
    let told = smol::block_on(echo::run()).unwrap();
    assert_eq!(told, "67108864 bytes there and back, all of them right");
}
