//! What the engine needs from an async runtime, and nothing more.

use bytes::BytesMut;
use core::{
    future::Future,
    net::{IpAddr, SocketAddr},
    task::{Context, Poll},
};
use drywire::time::{Instant, UnixTime};
use std::io;

/// A source of tasks, time, randomness, and TCP.
///
/// The engine owns no socket, clock or thread of its own: everything impure comes through this trait, so that one engine
/// runs on every async runtime, and in tests on that of `drywire-sim`, in virtual time. Clones share one runtime.
pub trait Runtime: Clone + Send + Sync + 'static {
    /// A connected byte stream.
    type Pipe: Pipe;
    /// A bound listener.
    type Listener: Listener<Pipe = Self::Pipe>;
    /// A timer.
    type Timer: Timer;

    /// Runs `task` in the background until it completes.
    fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static;

    /// Wakes the calling task again once all others that can run have run. Waking it at once is right if the runtime is
    /// fair; some have tasks that come after all others.
    fn yield_now(&self, cx: &mut Context<'_>) {
        cx.waker().wake_by_ref();
    }

    /// Monotonic time since an epoch this runtime picked. Never goes back.
    fn now(&self) -> Instant;

    /// The wall clock.
    fn unix(&self) -> UnixTime;

    /// 32 bytes no adversary can guess; all keys and nonces of a host follow from them.
    ///
    /// # Errors
    /// If the operating system has none to give.
    fn entropy(&self) -> io::Result<[u8; 32]>;

    /// A new timer, not armed.
    fn timer(&self) -> Self::Timer;

    /// Connects to `remote` with Nagle's algorithm off. Dropping the future gives the attempt up.
    fn connect(
        &self,
        remote: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::Pipe>> + Send + 'static;

    /// Binds a listener. An IPv6 listener accepts IPv6 only, so that both families may listen on one port.
    ///
    /// # Errors
    /// As the operating system says: the port is in use, the address is not this machine's, and so on.
    fn listen(&self, local: SocketAddr) -> io::Result<Self::Listener>;

    /// The addresses of a host name. Dropping the future gives the query up.
    fn lookup(&self, host: &str) -> impl Future<Output = io::Result<Vec<IpAddr>>> + Send + 'static;

    /// The TXT records of a name. Dropping the future gives the query up.
    fn lookup_txt(
        &self,
        name: &str,
    ) -> impl Future<Output = io::Result<Vec<String>>> + Send + 'static;

    /// The number of the network interface of this name, for IPv6 addresses with a named zone. `None` where there is none,
    /// or where that cannot be told.
    fn interface_index(&self, name: &str) -> Option<u32> {
        let _ = name;
        None
    }

    /// The addresses of this machine's network interfaces, for listeners bound to the unspecified address. Empty where
    /// they cannot be told.
    fn interfaces(&self) -> Vec<IpAddr> {
        Vec::new()
    }
}

/// A connected, reliable, ordered byte stream.
pub trait Pipe: Send + Unpin + 'static {
    /// Ready when [`poll_read`](Self::poll_read) may find something: bytes, the end, or an error. It makes no system call,
    /// and may be wrong by saying ready.
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Appends what has arrived to `buf`, into the capacity it has beyond its length; 0 bytes means the peer finished.
    ///
    /// `buf` has room. Implementations should tell from a short read that nothing more is there, where the operating
    /// system allows it: the engine reads until this is pending, and a second system call per message costs dearly.
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>>;

    /// Writes some of `data`, which is not empty. 0 bytes means nothing can be written any more.
    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>>;

    /// Finishes the sending direction; the receiving one stays open.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// This side's address, where known.
    fn local_addr(&self) -> Option<SocketAddr>;
}

/// A bound listener.
pub trait Listener: Send + Unpin + 'static {
    /// What it accepts.
    type Pipe: Pipe;

    /// Accepts one connection.
    ///
    /// An error concerns this attempt, not the listener: the engine backs off a little and tries again.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Self::Pipe, SocketAddr)>>;

    /// Where it listens, the port chosen by the system included.
    ///
    /// # Errors
    /// If the system does not tell.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// One deadline.
pub trait Timer: Send + Unpin + 'static {
    /// Sets the deadline, replacing an earlier one; a deadline that has passed fires at the next poll.
    fn arm(&mut self, deadline: Instant);

    /// Ready once the deadline has come: never before [`Runtime::now`] has reached it. Once ready, the timer is unarmed;
    /// an unarmed timer is pending for ever.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}
