//! Bodies in pieces on drywire's side, whole ones on the other: 64 MiB each, which no whole body may be by default.

use crate::scenarios::{Pair, run, soon};
use drywire_interop::requests::{
    Body, DrywireRequester, Format, Libp2pRequester, Outcome, RequestOptions, Requester,
};
use futures::{AsyncReadExt, AsyncWriteExt, future::join};

const LONG: usize = 64 << 20;
const PIECE: usize = 64 * 1024;

fn options() -> RequestOptions {
    RequestOptions {
        max_request: LONG as u32,
        max_response: LONG as u32,
        ..RequestOptions::new(Format::Bytes)
    }
}

/// drywire's limits are lower: they are not for bodies in pieces.
fn drywire_options() -> RequestOptions {
    RequestOptions::new(Format::Bytes)
}

/// The piece that begins at this place: different at each.
fn piece(at: usize) -> String {
    let mut piece = format!("{at:08x}").repeat(PIECE / 8);
    piece.truncate(PIECE.min(LONG - at));
    piece
}

fn pieces() -> impl Iterator<Item = String> {
    (0..LONG).step_by(PIECE).map(piece)
}

fn whole() -> Body {
    Body::text(pieces().collect::<String>())
}

async fn write(stream: &mut (impl AsyncWriteExt + Unpin)) {
    for piece in pieces() {
        stream.write_all(piece.as_bytes()).await.unwrap();
    }
    stream.close().await.unwrap();
}

async fn read(first: &[u8], stream: &mut (impl AsyncReadExt + Unpin)) {
    let (mut buffer, mut held) = (vec![0; PIECE], 0);
    buffer[..first.len()].copy_from_slice(first);
    held += first.len();
    for piece in pieces() {
        while held < piece.len() {
            let read = stream.read(&mut buffer[held..]).await.unwrap();
            assert_ne!(read, 0, "it ends early");
            held += read;
        }
        assert!(buffer == piece.as_bytes());
        held = 0;
    }
    assert_eq!(stream.read(&mut buffer).await.unwrap(), 0);
}

#[test]
fn drywire_streams_a_response() {
    run(async {
        let asks = Libp2pRequester::start(options()).unwrap();
        let answers = DrywireRequester::start(drywire_options()).unwrap();
        let pair = Pair::of(asks, answers).await;
        let answering = async {
            let asked = pair.b.asked().await;
            let mut stream = pair.b.answer_by_stream(asked.channel).await.unwrap();
            write(&mut stream).await;
        };
        let asking = pair.a.ask(&pair.b_id, Body::text("all of it"));
        let (answer, ()) = soon(join(asking, answering)).await;
        assert!(answer.unwrap() == whole());
    });
}

#[test]
fn drywire_reads_a_response_in_pieces() {
    run(async {
        let asks = DrywireRequester::start(drywire_options()).unwrap();
        let answers = Libp2pRequester::start(options()).unwrap();
        let pair = Pair::of(asks, answers).await;
        let answering = async {
            let asked = pair.b.asked().await;
            assert_eq!(asked.body, Body::text("all of it"));
            let answered = pair.b.answer(asked.channel, whole()).await;
            assert_eq!(answered, Ok(()));
            assert_eq!(pair.b.outcome().await, Outcome::Sent);
        };
        let asking = async {
            let request = Body::text("all of it");
            let asked = pair.a.ask_for_stream(&pair.b_id, request).await;
            let (first, mut stream) = asked.unwrap();
            read(&first, &mut stream).await;
        };
        soon(join(asking, answering)).await;
    });
}

#[test]
fn drywire_streams_a_request() {
    run(async {
        let asks = DrywireRequester::start(drywire_options()).unwrap();
        let answers = Libp2pRequester::start(options()).unwrap();
        let pair = Pair::of(asks, answers).await;
        let answering = async {
            let asked = pair.b.asked().await;
            assert!(asked.body == whole());
            let answered = pair.b.answer(asked.channel, Body::text("thanks")).await;
            assert_eq!(answered, Ok(()));
        };
        let asking = async {
            let mut stream = pair.a.open_request(&pair.b_id).await.unwrap();
            write(&mut stream).await;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert_eq!(answer, "thanks");
        };
        soon(join(asking, answering)).await;
    });
}

#[test]
fn drywire_reads_a_request_in_pieces() {
    run(async {
        let asks = Libp2pRequester::start(options()).unwrap();
        let streams =
            |config: drywire::protocol::request_response::Config| config.stream_requests();
        let answers = DrywireRequester::start_with(drywire_options(), streams).unwrap();
        let pair = Pair::of(asks, answers).await;
        let answering = async {
            let mut stream = pair.b.inbound_stream().await.unwrap();
            read(&[], &mut stream).await;
            stream.write_all(b"thanks").await.unwrap();
            stream.close().await.unwrap();
        };
        let asking = pair.a.ask(&pair.b_id, whole());
        let (answer, ()) = soon(join(asking, answering)).await;
        assert_eq!(answer, Ok(Body::text("thanks")));
    });
}
