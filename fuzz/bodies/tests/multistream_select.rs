//! drywire's negotiation against that of rust-libp2p, both roles, eager and lazy, under random schedules.

use drywire::multistream::{Dialer, Error, Listener, Progress};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, task::noop_waker};
use multistream_select::{Version, dialer_select_proto, listener_select_proto};
use proptest::prelude::*;
use std::{
    cell::RefCell,
    collections::VecDeque,
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
};

const REQUEST: &[u8] = b"request";
const RESPONSE: &[u8] = b"response";

/// Their end of the wire: what arrived for them, and what they wrote.
#[derive(Clone, Default)]
struct Wire {
    arrived: Rc<RefCell<VecDeque<u8>>>,
    written: Rc<RefCell<VecDeque<u8>>>,
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut arrived = self.arrived.borrow_mut();
        if arrived.is_empty() {
            return Poll::Pending;
        }
        let len = buffer.len().min(arrived.len());
        for (to, from) in buffer.iter_mut().zip(arrived.drain(..len)) {
            *to = from;
        }
        Poll::Ready(Ok(len))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.written.borrow_mut().extend(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// How the negotiation ended at one end: the name and the bytes received behind it.
type End = Option<(String, Vec<u8>)>;

async fn their_dialer(wire: Wire, names: Vec<String>, version: Version) -> End {
    let (name, mut stream) = dialer_select_proto(wire, names, version).await.ok()?;
    stream.write_all(REQUEST).await.ok()?;
    stream.flush().await.ok()?;
    let mut response = [0; RESPONSE.len()];
    stream.read_exact(&mut response).await.ok()?;
    Some((name, response.to_vec()))
}

async fn their_listener(wire: Wire, names: Vec<String>) -> End {
    let (name, mut stream) = listener_select_proto(wire, names).await.ok()?;
    let mut request = [0; REQUEST.len()];
    stream.read_exact(&mut request).await.ok()?;
    stream.write_all(RESPONSE).await.ok()?;
    stream.flush().await.ok()?;
    Some((name, request.to_vec()))
}

/// Our end, whichever role it has.
struct Ours<F> {
    advance: F,
    unread: Vec<u8>,
    end: Option<Result<usize, Error>>,
}

impl<F: FnMut(&[u8], &mut Vec<u8>) -> Result<Progress<usize>, Error>> Ours<F> {
    /// Takes what arrived; `reply` is what follows an agreement.
    fn receive(&mut self, arrived: &[u8], out: &mut Vec<u8>, reply: &[u8]) {
        self.unread.extend_from_slice(arrived);
        if self.end.is_some() {
            return;
        }
        match (self.advance)(&self.unread, out) {
            Ok(progress) => {
                self.unread.drain(..progress.consumed);
                if let Some(index) = progress.outcome {
                    self.end = Some(Ok(index));
                    out.extend_from_slice(reply);
                }
            }
            Err(error) => self.end = Some(Err(error)),
        }
    }
}

/// Runs both ends until nothing moves; `chunks` are the sizes of deliveries, alternating in direction.
fn run(
    theirs: impl Future<Output = End>,
    wire: &Wire,
    advance: impl FnMut(&[u8], &mut Vec<u8>) -> Result<Progress<usize>, Error>,
    mut out: Vec<u8>,
    reply: &[u8],
    chunks: &[usize],
) -> (Poll<End>, Option<Result<usize, Error>>, Vec<u8>) {
    let mut theirs = pin!(theirs);
    let waker = noop_waker();
    let mut context = Context::from_waker(&waker);
    let mut ours = Ours {
        advance,
        unread: Vec::new(),
        end: None,
    };
    let mut end = Poll::Pending;
    let sizes = chunks.iter().copied().chain(std::iter::repeat(usize::MAX));
    let mut idle = 0;
    for size in sizes {
        let to_them = size.min(out.len());
        wire.arrived.borrow_mut().extend(out.drain(..to_them));
        if end.is_pending() {
            end = theirs.as_mut().poll(&mut context);
        }
        let to_us: Vec<u8> = {
            let mut written = wire.written.borrow_mut();
            let len = size.min(written.len());
            written.drain(..len).collect()
        };
        ours.receive(&to_us, &mut out, reply);
        idle = if to_them == 0 && to_us.is_empty() {
            idle + 1
        } else {
            0
        };
        if size == usize::MAX && idle > 2 {
            break;
        }
    }
    (end, ours.end, ours.unread)
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => (0..6u8).prop_map(|number| format!("/{number}")),
        1 => "/[a-z/]{0,30}",
        1 => (100..1000usize).prop_map(|len| format!("/{}", "x".repeat(len))),
    ]
}

fn names(range: core::ops::Range<usize>) -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(name(), range)
}

fn chunks() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(1..30usize, 0..100)
}

proptest! {
    #[test]
    fn our_dialer_and_their_listener(
        wanted in names(1..8),
        supported in names(0..8),
        chunks in chunks(),
    ) {
        let wire = Wire::default();
        let mut out = Vec::new();
        let mut dialer = Dialer::start(&wanted, &mut out).unwrap();
        // With one name ours is lazy; otherwise it sends its request when they have agreed.
        let lazy = wanted.len() == 1;
        if lazy {
            out.extend_from_slice(REQUEST);
        }
        let (theirs, ours, behind) = run(
            their_listener(wire.clone(), supported.clone()),
            &wire,
            |input, out| dialer.advance(&wanted, input, out),
            out,
            if lazy { &[] } else { REQUEST },
            &chunks,
        );
        match wanted.iter().position(|name| supported.contains(name)) {
            Some(index) => {
                prop_assert_eq!(ours, Some(Ok(index)));
                prop_assert_eq!(theirs, Poll::Ready(Some((wanted[index].clone(), REQUEST.to_vec()))));
                prop_assert_eq!(behind, RESPONSE);
            }
            None => {
                prop_assert_eq!(ours, Some(Err(Error::Unsupported)));
                prop_assert!(matches!(theirs, Poll::Pending | Poll::Ready(None)));
            }
        }
    }

    #[test]
    fn their_dialer_and_our_listener(
        wanted in names(1..8),
        supported in names(0..8),
        lazy: bool,
        chunks in chunks(),
    ) {
        let wire = Wire::default();
        let mut listener = Listener::new();
        let version = if lazy { Version::V1Lazy } else { Version::V1 };
        let (theirs, ours, behind) = run(
            their_dialer(wire.clone(), wanted.clone(), version),
            &wire,
            |input, out| listener.advance(supported.as_slice(), input, out),
            Vec::new(),
            RESPONSE,
            &chunks,
        );
        match wanted.iter().find(|name| supported.contains(name)) {
            Some(name) => {
                prop_assert_eq!(&supported[ours.unwrap().unwrap()], name);
                prop_assert_eq!(theirs, Poll::Ready(Some((name.clone(), RESPONSE.to_vec()))));
                prop_assert_eq!(behind, REQUEST);
            }
            None => {
                prop_assert!(matches!(ours, None | Some(Err(Error::Unsupported))));
                prop_assert_eq!(theirs, Poll::Ready(None));
            }
        }
    }
}
