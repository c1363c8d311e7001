//! The examples do what they say.

#[path = "../../examples/kad.rs"]
mod kad;
#[path = "../../examples/requests.rs"]
mod requests;

#[tokio::test]
async fn requests_are_answered_omitted_late_and_streamed() {
    let said = requests::run().await.unwrap();
    assert_eq!(
        said,
        [
            "99 squares make 328181",
            "a large number is not answered",
            "13: timed out while waiting for the response",
            "a file of 33554432 bytes, of which little was ever in memory",
        ]
    );
}

#[tokio::test]
async fn a_record_and_a_provider_are_found() {
    let said = kad::run().await.unwrap();
    assert_eq!(
        said,
        [
            "stored at 4 others",
            "found: hello",
            "no farewell at any of 5 peers",
            "the right provider: true",
            "goes on after it was dropped: false",
        ]
    );
}
