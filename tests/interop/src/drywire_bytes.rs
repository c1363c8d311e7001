//! [`DrywirePeer`] whose bulk data moves as [`Bytes`], without a copy between the application and the stream.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use drywire::identity::PeerId;
use drywire_engine::{IncomingStreams, Stream};
use futures::{AsyncRead, AsyncWrite};

use crate::{
    DrywirePeer,
    peer::{Error, Identified, Options, Peer, Transfer},
};

/// A drywire node, see the [module](self).
#[derive(Clone, Debug)]
pub struct DrywireBytesPeer(DrywirePeer);

/// A stream that sends and receives [`Bytes`].
#[derive(Debug)]
pub struct BytesStream(Stream);

/// The inbound streams of one protocol.
#[derive(Debug)]
pub struct BytesIncoming(IncomingStreams);

impl Transfer for BytesStream {
    async fn send(&mut self, mut data: Bytes) -> io::Result<()> {
        Ok(self.0.write_bytes(&mut data).await?)
    }

    async fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.0.read_bytes(buffer.len()).await;
        let bytes = bytes.map_err(io::Error::other)?;
        Ok(bytes.map_or(0, |bytes| bytes.len()))
    }
}

impl AsyncRead for BytesStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        AsyncRead::poll_read(Pin::new(&mut self.0), cx, buffer)
    }
}

impl AsyncWrite for BytesStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.0), cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.0), cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_close(Pin::new(&mut self.0), cx)
    }
}

impl futures::Stream for BytesIncoming {
    type Item = (PeerId, BytesStream);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = Pin::new(&mut self.0).poll_next(cx);
        next.map(|next| next.map(|(peer, stream)| (peer, BytesStream(stream))))
    }
}

impl Peer for DrywireBytesPeer {
    const NAME: &'static str = "drywire-bytes";
    type Id = PeerId;
    type Stream = BytesStream;
    type Incoming = BytesIncoming;

    fn start(options: Options) -> Result<Self, Error> {
        DrywirePeer::start(options).map(Self)
    }

    fn id(&self) -> PeerId {
        self.0.id()
    }

    async fn listen(&self, address: &str) -> Result<String, Error> {
        self.0.listen(address).await
    }

    async fn connect(&self, address: &str) -> Result<PeerId, Error> {
        self.0.connect(address).await
    }

    async fn open(&self, peer: &PeerId, name: &'static str) -> Result<BytesStream, Error> {
        self.0.open(peer, name).await.map(BytesStream)
    }

    async fn open_optimistic(
        &self,
        peer: &PeerId,
        name: &'static str,
    ) -> Result<BytesStream, Error> {
        self.0.open_optimistic(peer, name).await.map(BytesStream)
    }

    fn accept(&self, name: &'static str) -> Result<BytesIncoming, Error> {
        self.0.accept(name).map(BytesIncoming)
    }

    async fn ping(&self, peer: &PeerId) -> Result<Duration, Error> {
        self.0.ping(peer).await
    }

    async fn identify(&self, peer: &PeerId) -> Result<Identified, Error> {
        self.0.identify(peer).await
    }

    async fn disconnect(&self, peer: &PeerId) -> Result<(), Error> {
        self.0.disconnect(peer).await
    }

    fn reset(stream: BytesStream) {
        DrywirePeer::reset(stream.0);
    }
}
