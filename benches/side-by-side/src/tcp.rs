//! Plain TCP: no security, no multiplexing, no negotiation. What the operating system and the runtime cost by themselves,
//! which no libp2p implementation can be below.

use drywire_interop::{Error, Identified, Options, Peer, Transfer};
use futures::{AsyncRead, AsyncWrite, Stream};
use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

type Served = Arc<Mutex<BTreeMap<String, mpsc::UnboundedSender<TcpPipe>>>>;

/// A "node" of which every stream is a TCP connection of its own, opened with one byte of length and the protocol's name.
/// A peer id is the address.
#[derive(Clone, Debug, Default)]
pub(crate) struct TcpPeer {
    served: Served,
}

impl Peer for TcpPeer {
    const NAME: &'static str = "tcp";
    type Id = String;
    type Stream = TcpPipe;
    type Incoming = Incoming;

    fn start(_: Options) -> Result<Self, Error> {
        Ok(Self::default())
    }

    fn id(&self) -> String {
        String::new()
    }

    async fn listen(&self, _: &str) -> Result<String, Error> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let served = self.served.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(welcome(stream, served.clone()));
            }
        });
        Ok(address)
    }

    async fn connect(&self, address: &str) -> Result<String, Error> {
        Ok(address.to_owned())
    }

    async fn open(&self, peer: &String, name: &'static str) -> Result<TcpPipe, Error> {
        let address: SocketAddr = peer.parse().map_err(|_| Error::Address(peer.clone()))?;
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let length = u8::try_from(name.len()).map_err(io::Error::other)?;
        let opening = [&[length], name.as_bytes()].concat();
        stream.write_all(&opening).await?;
        Ok(TcpPipe(stream))
    }

    fn accept(&self, name: &'static str) -> Result<Incoming, Error> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        served.insert(name.to_owned(), sender);
        Ok(Incoming(receiver))
    }

    async fn ping(&self, _: &String) -> Result<Duration, Error> {
        Err(Error::Unsupported)
    }

    async fn identify(&self, _: &String) -> Result<Identified, Error> {
        Err(Error::Unsupported)
    }

    async fn disconnect(&self, _: &String) -> Result<(), Error> {
        Ok(())
    }
}

async fn welcome(mut stream: TcpStream, served: Served) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let length = stream.read_u8().await?;
    let mut name = vec![0; usize::from(length)];
    stream.read_exact(&mut name).await?;
    let name = String::from_utf8(name).map_err(io::Error::other)?;
    let served = served.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(sender) = served.get(&name) {
        sender.send(TcpPipe(stream)).map_err(io::Error::other)?;
    }
    Ok(())
}

/// The inbound connections of one protocol.
#[derive(Debug)]
pub(crate) struct Incoming(mpsc::UnboundedReceiver<TcpPipe>);

impl Stream for Incoming {
    type Item = (String, TcpPipe);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0
            .poll_recv(cx)
            .map(|stream| Some((String::new(), stream?)))
    }
}

/// A TCP connection with the traits of futures.
#[derive(Debug)]
pub(crate) struct TcpPipe(TcpStream);

impl Transfer for TcpPipe {}

impl AsyncRead for TcpPipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(tokio::io::AsyncRead::poll_read(
            Pin::new(&mut self.0),
            cx,
            &mut buffer
        ))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl AsyncWrite for TcpPipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        tokio::io::AsyncWrite::poll_write(Pin::new(&mut self.0), cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_flush(Pin::new(&mut self.0), cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_shutdown(Pin::new(&mut self.0), cx)
    }
}
