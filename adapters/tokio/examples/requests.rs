//! Requests and responses on tokio: values, many at once, with a deadline, and a response larger than one would hold.
//!
//! `cargo run -p drywire-tokio --example requests`
#![allow(
    clippy::std_instead_of_alloc,
    clippy::arithmetic_side_effects,
    reason = "a program, not a library"
)]

use bytes::Bytes;
use core::{error::Error, time::Duration};
use drywire::{
    multistream::ProtocolName,
    protocol::request_response::{
        BytesCodec, Codec, CodecError, Config, OutboundFailure, ProtocolSupport, RequestOptions,
        RequestResponse,
    },
    protocols,
    swarm::DialOptions,
};
use drywire_engine::{Host, IncomingRequests, RequestError};
use drywire_tokio::TokioRuntime;

const SQUARE: ProtocolName = ProtocolName::from_static("/square/1");
const FILE: ProtocolName = ProtocolName::from_static("/file/1");
/// Of the file that is streamed, in bytes.
const LENGTH: usize = 32 << 20;

/// Numbers, as eight bytes each.
#[derive(Debug, Default)]
pub struct Numbers;

fn number(bytes: &[u8]) -> Result<u64, CodecError> {
    let bytes = bytes
        .try_into()
        .map_err(|_| CodecError::malformed("not eight bytes"))?;
    Ok(u64::from_be_bytes(bytes))
}

impl Codec for Numbers {
    type Request = u64;
    type Response = u64;

    fn encode_request(&mut self, _: &ProtocolName, request: &u64) -> Result<Bytes, CodecError> {
        Ok(Bytes::copy_from_slice(&request.to_be_bytes()))
    }

    fn decode_request(&mut self, _: &ProtocolName, bytes: Bytes) -> Result<u64, CodecError> {
        number(&bytes)
    }

    fn encode_response(&mut self, _: &ProtocolName, response: &u64) -> Result<Bytes, CodecError> {
        Ok(Bytes::copy_from_slice(&response.to_be_bytes()))
    }

    fn decode_response(&mut self, _: &ProtocolName, bytes: Bytes) -> Result<u64, CodecError> {
        if bytes.is_empty() {
            // The peer dropped the request.
            return Err(CodecError::UnexpectedEnd);
        }
        number(&bytes)
    }
}

protocols! {
    /// What both nodes speak.
    #[derive(Debug)]
    pub struct Speech => SpeechEvent {
        squares: RequestResponse<Numbers> => Squares,
        files: RequestResponse<BytesCodec> => Files,
    }
}

fn speech() -> Speech {
    let full = ProtocolSupport::Full;
    Speech {
        squares: RequestResponse::new([(SQUARE, full)], Config::default()),
        files: RequestResponse::new([(FILE, full)], Config::default()),
    }
}

/// Squares small numbers, thinks too long about 13, and does not answer large ones.
async fn square(mut incoming: IncomingRequests<Speech, Numbers>) {
    let mut thinking = Vec::new();
    while let Some(asked) = incoming.next().await {
        match asked.request {
            13 => thinking.push(asked.responder),
            small @ 0..=1_000 => {
                // It may be late: the peer may have gone.
                let _ = asked.responder.respond(small * small);
            }
            _ => drop(asked.responder),
        }
    }
}

/// Sends as many bytes as the peer reads, never more than fit the stream's window.
async fn serve_files(mut incoming: IncomingRequests<Speech, BytesCodec>) {
    while let Some(asked) = incoming.next().await {
        let Ok(mut body) = asked.responder.stream().await else {
            continue;
        };
        tokio::spawn(async move {
            let piece = Bytes::from(vec![7; 64 * 1024]);
            for _ in 0..LENGTH / piece.len() {
                body.write_bytes(&mut piece.clone()).await?;
            }
            body.finish()
        });
    }
}

/// Runs both nodes; what was said.
///
/// # Errors
/// What went wrong.
pub async fn run() -> Result<Vec<String>, Box<dyn Error>> {
    let mut said = Vec::new();
    let server = Host::builder(TokioRuntime::current()?, speech()).start()?;
    let bound = server.listen("/ip4/127.0.0.1/tcp/0".parse()?).await?;
    // At most so many requests wait to be taken; one more is dropped.
    tokio::spawn(square(server.requests(Speech::Squares).incoming(128)));
    tokio::spawn(serve_files(server.requests(Speech::Files).incoming(16)));

    let client = Host::builder(TokioRuntime::current()?, speech()).start()?;
    let peer = client.dial(DialOptions::address(bound.address)).await?.peer;
    let squares = client.requests(Speech::Squares);

    let mut tasks = Vec::new();
    for number in (0..100).filter(|number| *number != 13) {
        let squares = squares.clone();
        tasks.push(tokio::spawn(
            async move { squares.request(peer, number).await },
        ));
    }
    let mut sum = 0;
    for task in tasks {
        sum += task.await??;
    }
    said.push(format!("99 squares make {sum}"));

    let unanswered = squares.request(peer, 1_000_000).await;
    if let Err(RequestError::Failed(OutboundFailure::ResponseOmitted)) = unanswered {
        said.push("a large number is not answered".to_owned());
    }
    let soon = RequestOptions::new().timeout(Duration::from_millis(100));
    if let Err(error) = squares.request_with(peer, 13, soon).await {
        said.push(format!("13: {error}"));
    }

    let files = client.requests(Speech::Files);
    let name = Bytes::from_static(b"large");
    let mut body = files
        .request_streamed(peer, name, RequestOptions::new())
        .await?;
    let mut length = 0;
    while let Some(piece) = body.read_bytes(64 * 1024).await? {
        length += piece.len();
    }
    said.push(format!(
        "a file of {length} bytes, of which little was ever in memory"
    ));

    client.shutdown().await;
    server.shutdown().await;
    Ok(said)
}

#[allow(dead_code, reason = "a test runs this file too")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    for line in run().await? {
        println!("{line}");
    }
    Ok(())
}
