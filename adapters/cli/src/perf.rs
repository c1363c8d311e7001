//! `drywire perf`: how fast bytes go to a peer and come back.

use crate::{
    args::PerfOptions,
    failure::Failure,
    output::{Output, rate},
    session::{Hosts, PERF, Session, within},
};
use bytes::Bytes;
use std::time::{Duration, Instant};

const CHUNK: usize = 256 * 1024;
const ZEROS: Bytes = Bytes::from_static(&[0; 64 * 1024]);

pub(crate) async fn run(
    options: PerfOptions,
    hosts: &Hosts,
    output: &Output,
) -> Result<(), Failure> {
    let PerfOptions {
        peer,
        upload,
        download,
    } = options;
    if upload == 0 && download == 0 {
        return Err(Failure::usage(
            "nothing to measure: give --upload or --download a number of bytes",
        ));
    }
    let session = Session::connect(&peer, hosts, output).await?;
    let failed =
        |error: &dyn std::fmt::Display| Failure::failed(format!("the transfer failed: {error}"));
    let mut stream = session.open(PERF).await?;

    let bar = output.progress("upload", upload);
    let start = Instant::now();
    stream
        .write_bytes(&mut Bytes::copy_from_slice(&download.to_be_bytes()))
        .await
        .map_err(|error| failed(&error))?;
    let mut left = upload;
    while left > 0 {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(ZEROS.len());
        let mut piece = ZEROS.slice(..count);
        let write = stream.write_bytes(&mut piece);
        within(peer.timeout, "the peer stopped reading", async {
            write.await.map_err(|error| failed(&error))
        })
        .await?;
        left = left.saturating_sub(count as u64);
        bar.add(count as u64);
    }
    stream.finish().map_err(|error| failed(&error))?;
    drop(bar);

    // The upload is over when the peer has seen all of it: then it answers, if only with its end.
    let mut received: u64 = 0;
    let mut uploaded_at = None;
    let bar = output.progress("download", download);
    loop {
        let read = stream.read_bytes(CHUNK);
        let chunk = within(peer.timeout, "the peer stopped sending", async {
            read.await.map_err(|error| failed(&error))
        });
        let chunk = chunk.await?;
        uploaded_at.get_or_insert_with(Instant::now);
        let Some(chunk) = chunk else { break };
        received = received.saturating_add(chunk.len() as u64);
        bar.add(chunk.len() as u64);
    }
    let end = Instant::now();
    drop(bar);
    session.close().await;
    if received != download {
        return Err(Failure::failed(format!(
            "asked the peer for {download} bytes and got {received}"
        )));
    }
    let uploaded_at = uploaded_at.unwrap_or(end);
    let times = [
        uploaded_at.duration_since(start),
        end.duration_since(uploaded_at),
    ];
    tell(upload, download, times, output)
}

fn tell(upload: u64, download: u64, times: [Duration; 2], output: &Output) -> Result<(), Failure> {
    let [up, down] = times.map(|time| time.as_secs_f64());
    let text = format!(
        "uploaded {upload} bytes in {up:.3} s ({}), downloaded {download} bytes in {down:.3} s ({})",
        rate(upload, up),
        rate(download, down)
    );
    let fields = [
        ("upload_bytes", upload.into()),
        ("upload_seconds", up.into()),
        ("download_bytes", download.into()),
        ("download_seconds", down.into()),
    ];
    output.say(&text, "perf", &fields)
}
