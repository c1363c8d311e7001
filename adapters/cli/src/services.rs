//! What a node of this program serves to everybody: echo, and throughput measurement if allowed.

use crate::{
    executor::{self, Task},
    session::{ECHO, Host, PERF},
};
use bytes::Bytes;
use drywire_engine::{AcceptError, IncomingStreams, Stream};
use std::{future::Future, io};
use tokio::io::AsyncReadExt as _;

/// Streams of a service that may wait to be taken up.
const BACKLOG: usize = 256;
/// The most bytes handled at once.
const CHUNK: usize = 256 * 1024;
/// Bytes sent at once by the throughput service: zeros, the same memory again and again.
const ZEROS: Bytes = Bytes::from_static(&[0; 64 * 1024]);

/// Serves `/echo/1.0.0` until the host ends.
pub(crate) fn serve_echo(host: &Host) -> Result<Task<()>, AcceptError> {
    Ok(serve(host.accept(ECHO, BACKLOG)?, echo))
}

/// Serves `/perf/1.0.0` until the host ends.
pub(crate) fn serve_perf(host: &Host) -> Result<Task<()>, AcceptError> {
    Ok(serve(host.accept(PERF, BACKLOG)?, perf))
}

/// Gives each stream a task of its own. A stream that fails concerns nobody else.
fn serve<F>(mut streams: IncomingStreams, service: fn(Stream) -> F) -> Task<()>
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    executor::spawn(async move {
        while let Some((_, stream)) = streams.next().await {
            executor::spawn(async move {
                let _ = service(stream).await;
            });
        }
    })
}

/// Sends back what comes, until the peer finishes.
async fn echo(mut stream: Stream) -> io::Result<()> {
    while let Some(mut bytes) = stream.read_bytes(CHUNK).await.map_err(io::Error::other)? {
        stream.write_bytes(&mut bytes).await?;
    }
    Ok(stream.finish()?)
}

/// Reads how many bytes the peer wants, takes all it sends, then sends those bytes
/// ([perf specification](https://github.com/libp2p/specs/blob/master/perf/perf.md)).
async fn perf(mut stream: Stream) -> io::Result<()> {
    let mut wanted = stream.read_u64().await?;
    while stream
        .read_bytes(CHUNK)
        .await
        .map_err(io::Error::other)?
        .is_some()
    {}
    while wanted > 0 {
        let count = usize::try_from(wanted)
            .unwrap_or(usize::MAX)
            .min(ZEROS.len());
        stream.write_bytes(&mut ZEROS.slice(..count)).await?;
        wanted = wanted.saturating_sub(count as u64);
    }
    Ok(stream.finish()?)
}
