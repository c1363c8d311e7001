//! The stream programs: what the served protocols do, and the clients that use them.

use std::{
    io,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt, future};

use crate::peer::{Error, Peer, Transfer};

/// Returns the bytes it receives, until the end of the input; then closes.
pub const ECHO: &str = "/echo/1.0.0";
/// Reads eight bytes (big-endian: how many to send), then to the end of the input, then sends that many and closes.
pub const PERF: &str = "/perf/1.0.0";
/// Reads to the end of the input and closes.
pub const SINK: &str = "/sink/1.0.0";
/// Answers the first byte with the same byte and keeps the stream open for as long as the program runs, without a
/// task or a buffer: what an idle stream costs.
pub const HOLD: &str = "/hold/1.0.0";

/// The size of the pieces in which bulk data is read, and by default written.
pub const CHUNK: usize = 64 * 1024;

/// Serves all programs in tasks of the current runtime. They end with the node.
pub fn serve<P: Peer>(peer: &P) -> Result<(), Error> {
    spawn_each(peer.accept(ECHO)?, |stream| async move {
        echo_server(stream).await
    });
    spawn_each(peer.accept(PERF)?, |stream| async move {
        perf_server(stream).await
    });
    spawn_each(peer.accept(SINK)?, |stream| async move {
        sink_server(stream).await.map(drop)
    });
    let mut holding = peer.accept(HOLD)?;
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Some((_, mut stream)) = holding.next().await {
            if hold_server(&mut stream).await.is_ok() {
                held.push(stream);
            }
        }
    });
    Ok(())
}

fn spawn_each<I, S, F>(
    mut incoming: impl futures::Stream<Item = (I, S)> + Unpin + Send + 'static,
    program: fn(S) -> F,
) where
    I: Send + 'static,
    S: Send + 'static,
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    tokio::spawn(async move {
        while let Some((_, stream)) = incoming.next().await {
            // A failed stream is its client's concern: it sees the end of the stream.
            tokio::spawn(program(stream));
        }
    });
}

/// The server of [`ECHO`]. Its buffer starts small, so that a short exchange does not pay for a large one.
pub async fn echo_server<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> io::Result<()> {
    let mut buffer = vec![0; 1024];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return stream.close().await;
        }
        stream.write_all(&buffer[..count]).await?;
        stream.flush().await?;
        if count == buffer.len() && count < CHUNK {
            buffer.resize(count * 4, 0);
        }
    }
}

/// The server of [`PERF`].
pub async fn perf_server<S: Transfer>(mut stream: S) -> io::Result<()> {
    let mut length = [0; 8];
    stream.read_exact(&mut length).await?;
    sink_input(&mut stream).await?;
    send(&mut stream, u64::from_be_bytes(length), CHUNK).await?;
    stream.close().await
}

/// The server of [`SINK`]; returns how many bytes came.
pub async fn sink_server<S: Transfer>(mut stream: S) -> io::Result<u64> {
    let count = sink_input(&mut stream).await?;
    stream.close().await?;
    Ok(count)
}

async fn hold_server<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> io::Result<()> {
    let mut byte = [0; 1];
    stream.read_exact(&mut byte).await?;
    stream.write_all(&byte).await?;
    stream.flush().await
}

/// Reads and drops all input; returns how many bytes came.
pub async fn sink_input<S: Transfer>(stream: &mut S) -> io::Result<u64> {
    let mut buffer = vec![0; CHUNK];
    let mut total = 0;
    loop {
        match stream.receive(&mut buffer).await? {
            0 => return Ok(total),
            count => total += count as u64,
        }
    }
}

/// Sends `count` bytes in writes of `chunk`, without flushing.
pub async fn send<S: Transfer>(stream: &mut S, count: u64, chunk: usize) -> io::Result<()> {
    let data = Bytes::from(vec![0x5a; chunk]);
    let mut left = count;
    while left > 0 {
        let now = left.min(chunk as u64) as usize;
        stream.send(data.slice(..now)).await?;
        left -= now as u64;
    }
    Ok(())
}

/// How long the two halves of a [`perf`] exchange took.
#[derive(Clone, Copy, Debug)]
pub struct PerfTimes {
    /// From the first byte written to the first byte of the answer, or its end.
    pub upload: Duration,
    /// From there to the end of the answer.
    pub download: Duration,
}

/// The client of [`PERF`]: sends `upload` bytes in writes of `chunk`, and expects exactly `download` bytes back.
pub async fn perf<S: Transfer>(
    mut stream: S,
    upload: u64,
    download: u64,
    chunk: usize,
) -> Result<PerfTimes, Error> {
    let start = Instant::now();
    stream.write_all(&download.to_be_bytes()).await?;
    send(&mut stream, upload, chunk).await?;
    stream.close().await?;
    let mut first = [0; 1];
    let mut count = stream.read(&mut first).await? as u64;
    let uploaded = Instant::now();
    count += sink_input(&mut stream).await?;
    if count != download {
        let message = format!("{count} bytes came back instead of {download}");
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message).into());
    }
    Ok(PerfTimes {
        upload: uploaded - start,
        download: uploaded.elapsed(),
    })
}

/// The client of [`ECHO`]: sends `size` bytes of a pattern that does not repeat, reads at the same time, and compares
/// every byte. Returns the checksum of what came back.
pub async fn echo<S: AsyncRead + AsyncWrite + Unpin>(stream: S, size: u64) -> Result<u64, Error> {
    let (mut reader, mut writer) = stream.split();
    let write = async {
        let (mut pattern, mut buffer, mut left) = (Pattern::new(), vec![0; CHUNK], size);
        while left > 0 {
            let now = left.min(CHUNK as u64) as usize;
            pattern.fill(&mut buffer[..now]);
            writer.write_all(&buffer[..now]).await?;
            left -= now as u64;
        }
        writer.close().await?;
        Ok::<_, io::Error>(pattern.checksum())
    };
    let read = async {
        let (mut checksum, mut buffer, mut total) = (Checksum::new(), vec![0; CHUNK], 0);
        loop {
            match reader.read(&mut buffer).await? {
                0 => return Ok::<_, io::Error>((total, checksum.finish())),
                count => {
                    checksum.update(&buffer[..count]);
                    total += count as u64;
                }
            }
        }
    };
    let (sent, (total, received)) = future::try_join(write, read).await?;
    if total != size || sent != received {
        let message = format!(
            "sent {size} bytes with checksum {sent:016x}, got {total} with {received:016x}"
        );
        return Err(io::Error::new(io::ErrorKind::InvalidData, message).into());
    }
    Ok(received)
}

/// One small exchange on a stream that stays open: writes `data`, flushes, reads as many bytes back into `answer`.
pub async fn echo_once<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    data: &[u8],
    answer: &mut [u8],
) -> io::Result<()> {
    stream.write_all(data).await?;
    stream.flush().await?;
    stream.read_exact(answer).await
}

/// A reproducible byte sequence with a period far beyond any transfer, and the checksum of what was taken from it.
#[derive(Clone, Debug)]
pub struct Pattern {
    state: u64,
    word: [u8; 8],
    used: usize,
    checksum: Checksum,
}

impl Pattern {
    /// The sequence from its beginning.
    #[allow(
        clippy::new_without_default,
        reason = "it is a generator, not a value with a default"
    )]
    pub fn new() -> Self {
        Self {
            state: 0,
            word: [0; 8],
            used: 8,
            checksum: Checksum::new(),
        }
    }

    /// Takes the next bytes.
    pub fn fill(&mut self, out: &mut [u8]) {
        for byte in out.iter_mut() {
            if self.used == 8 {
                // The output function of splitmix64 over a counter.
                self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut word = self.state;
                word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                self.word = (word ^ (word >> 31)).to_le_bytes();
                self.used = 0;
            }
            *byte = self.word[self.used];
            self.used += 1;
        }
        self.checksum.update(out);
    }

    /// The checksum of all bytes taken so far.
    pub fn checksum(&self) -> u64 {
        self.checksum.finish()
    }
}

/// FNV-1a with 64 bits: depends on every byte and its place, however the input was split.
#[derive(Clone, Debug)]
pub struct Checksum(u64);

impl Checksum {
    /// The checksum of nothing.
    #[allow(clippy::new_without_default, reason = "pairs with Pattern::new")]
    pub fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// The checksum of all bytes added.
    pub fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pattern_and_checksum_do_not_depend_on_the_split() {
        let mut whole = vec![0; 1000];
        let mut pattern = Pattern::new();
        pattern.fill(&mut whole);
        let mut parts = vec![0; 1000];
        let mut again = Pattern::new();
        for part in parts.chunks_mut(7) {
            again.fill(part);
        }
        assert_eq!(whole, parts);
        assert_eq!(pattern.checksum(), again.checksum());
        let mut changed = Checksum::new();
        whole.swap(3, 4);
        changed.update(&whole);
        assert_ne!(changed.finish(), again.checksum());
    }

    #[test]
    fn checksum_is_fnv_1a() {
        let mut checksum = Checksum::new();
        checksum.update(b"foobar");
        assert_eq!(checksum.finish(), 0x8594_4171_f739_67e8);
    }
}
