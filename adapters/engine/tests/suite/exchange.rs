//! What an exchange of two messages between protocols costs: writes to the socket, and polls of the tasks.
//!
//! Nothing here depends on time: with every exchange the same happens, so that counts are exact.

use crate::common::world;
use bytes::{Bytes, BytesMut};
use core::{
    future::Future,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll},
    time::Duration,
};
use drywire::{
    connection::{Accept, ConnectionId, Direction, Slot, StreamEnd, StreamKind},
    multistream::ProtocolName,
    protocol::request_response::{BytesCodec, Config, ProtocolSupport, RequestResponse},
    swarm::{self, DialOptions, Event, Input, Part, Protocol, StreamRef, Timers},
    time::{Instant, UnixTime},
};
use drywire_engine::{Host, Pipe, Runtime};
use drywire_sim::{SimListener, SimPipe, SimRuntime, SimTimer};
use std::{collections::BTreeMap, io, sync::Arc};

const NAME: ProtocolName = ProtocolName::from_static("/ask/1.0.0");
const KIND: StreamKind = StreamKind::ToEnd { max_len: 1 << 20 };
/// So many are counted, after a few that are not.
const QUESTIONS: usize = 100;
/// So many are asked together.
const WIDTH: usize = 10;
const SECOND: Duration = Duration::from_secs(1);

/// What one host has done so far.
#[derive(Debug, Default)]
struct Counts {
    writes: AtomicUsize,
    spawned: AtomicUsize,
    /// Polls of the swarm's task, which is spawned first, and of the others, which are those of connections and dials.
    swarm: AtomicUsize,
    drivers: AtomicUsize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cost {
    writes: usize,
    swarm: usize,
    drivers: usize,
}

impl Counts {
    fn now(&self) -> Cost {
        let read = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        Cost {
            writes: read(&self.writes),
            swarm: read(&self.swarm),
            drivers: read(&self.drivers),
        }
    }

    fn since(&self, before: Cost) -> Cost {
        let now = self.now();
        Cost {
            writes: now.writes - before.writes,
            swarm: now.swarm - before.swarm,
            drivers: now.drivers - before.drivers,
        }
    }
}

/// Counts what its host does.
#[derive(Clone)]
struct Counting {
    runtime: SimRuntime,
    counts: Arc<Counts>,
}

struct CountingPipe(SimPipe, Arc<Counts>);
struct CountingListener(SimListener, Arc<Counts>);

impl Pipe for CountingPipe {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_readable(cx)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        self.0.poll_read(cx, buf)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.1.writes.fetch_add(1, Ordering::Relaxed);
        self.0.poll_write(cx, data)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_shutdown(cx)
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        self.0.local_addr()
    }
}

impl drywire_engine::Listener for CountingListener {
    type Pipe = CountingPipe;

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(CountingPipe, SocketAddr)>> {
        let accepted = self.0.poll_accept(cx);
        accepted.map_ok(|(pipe, remote)| (CountingPipe(pipe, self.1.clone()), remote))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Runtime for Counting {
    type Pipe = CountingPipe;
    type Listener = CountingListener;
    type Timer = SimTimer;

    fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let first = self.counts.spawned.fetch_add(1, Ordering::Relaxed) == 0;
        let (counts, mut task) = (self.counts.clone(), Box::pin(task));
        self.runtime.spawn(core::future::poll_fn(move |cx| {
            let count = if first {
                &counts.swarm
            } else {
                &counts.drivers
            };
            count.fetch_add(1, Ordering::Relaxed);
            Pin::new(&mut task).poll(cx)
        }));
    }

    fn now(&self) -> Instant {
        self.runtime.now()
    }

    fn unix(&self) -> UnixTime {
        self.runtime.unix()
    }

    fn entropy(&self) -> io::Result<[u8; 32]> {
        self.runtime.entropy()
    }

    fn timer(&self) -> SimTimer {
        self.runtime.timer()
    }

    fn connect(
        &self,
        remote: SocketAddr,
    ) -> impl Future<Output = io::Result<CountingPipe>> + Send + 'static {
        let (connect, counts) = (self.runtime.connect(remote), self.counts.clone());
        async move { Ok(CountingPipe(connect.await?, counts)) }
    }

    fn listen(&self, local: SocketAddr) -> io::Result<CountingListener> {
        let listener = self.runtime.listen(local)?;
        Ok(CountingListener(listener, self.counts.clone()))
    }

    fn lookup(&self, host: &str) -> impl Future<Output = io::Result<Vec<IpAddr>>> + Send + 'static {
        self.runtime.lookup(host)
    }

    fn lookup_txt(
        &self,
        name: &str,
    ) -> impl Future<Output = io::Result<Vec<String>>> + Send + 'static {
        self.runtime.lookup_txt(name)
    }
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answers {
    /// The protocol, while it is told the question.
    Itself,
    /// The application, by a command.
    Application,
}

/// Asks, and answers with what it was asked. A question has a deadline, as in every real protocol.
struct Ask {
    answers: Answers,
    timers: Timers<StreamRef>,
    inbound: BTreeMap<StreamRef, Direction>,
}

#[derive(Debug)]
enum AskEvent {
    Asked(StreamRef, Bytes),
    Answered(StreamRef, Bytes),
}

impl Ask {
    fn new(answers: Answers) -> Self {
        Self {
            answers,
            timers: Timers::default(),
            inbound: BTreeMap::new(),
        }
    }

    fn ask(
        &mut self,
        connection: ConnectionId,
        question: Bytes,
        cx: &mut swarm::Context<'_, AskEvent>,
    ) -> StreamRef {
        let stream = cx.open(connection, &[NAME], KIND, false).unwrap();
        self.timers.set(stream, cx.now() + 10 * SECOND);
        self.inbound.insert(stream, Direction::Outbound);
        cx.send(stream, question).unwrap();
        cx.finish(stream);
        stream
    }

    fn answer(&self, stream: StreamRef, answer: Bytes, cx: &mut swarm::Context<'_, AskEvent>) {
        cx.send(stream, answer).unwrap();
        cx.finish(stream);
    }
}

impl Protocol for Ask {
    type Event = AskEvent;

    fn start(&mut self, cx: &mut swarm::Context<'_, AskEvent>) {
        cx.accept(NAME, Accept::new(KIND)).unwrap();
    }

    fn handle(&mut self, _: Slot, input: Input<'_>, cx: &mut swarm::Context<'_, AskEvent>) {
        match input {
            Input::Inbound { stream, .. } => {
                self.timers.set(stream, cx.now() + 10 * SECOND);
                self.inbound.insert(stream, Direction::Inbound);
            }
            Input::Message { stream, bytes } => match self.inbound[&stream] {
                Direction::Outbound => _ = cx.emit(AskEvent::Answered(stream, bytes)),
                Direction::Inbound if self.answers == Answers::Itself => {
                    self.answer(stream, bytes, cx);
                }
                Direction::Inbound => _ = cx.emit(AskEvent::Asked(stream, bytes)),
            },
            Input::StreamEnded { stream, end } => {
                assert_eq!(*end, StreamEnd::Finished);
                self.timers.clear(stream);
                self.inbound.remove(&stream);
            }
            Input::Timeout => assert!(self.timers.pop_due(cx.now()).is_none(), "an answer is late"),
            _ => {}
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }
}

struct Site {
    host: Host<Ask>,
    counts: Arc<Counts>,
}

fn site(runtime: &SimRuntime, answers: Answers) -> Site {
    let counts = Arc::new(Counts::default());
    let counting = Counting {
        runtime: runtime.clone(),
        counts: counts.clone(),
    };
    let host = Host::builder(counting, Ask::new(answers)).start().unwrap();
    Site { host, counts }
}

/// A server, and a client connected to it.
async fn sites(runtime: &SimRuntime, answers: Answers) -> (Site, Site, ConnectionId) {
    let (server, client) = (site(runtime, answers), site(runtime, answers));
    let local = "/ip4/127.0.0.1/tcp/0".parse().unwrap();
    let bound = server.host.listen(local).await.unwrap().address;
    let dialed = client.host.dial(DialOptions::address(bound)).await.unwrap();
    if answers == Answers::Application {
        let host = server.host.clone();
        let mut events = host.events(1024);
        runtime.spawn(async move {
            while let Some(event) = events.next().await {
                if let Event::Protocol(AskEvent::Asked(stream, question)) = event {
                    host.with(|ask, cx| ask.answer(stream, question, cx));
                }
            }
        });
    }
    (server, client, dialed.connection)
}

/// Asks one question after the other, `width` at a time.
async fn ask(client: &Site, connection: ConnectionId, questions: usize, width: usize) {
    let mut events = client.host.events(1024);
    let mut waiting = BTreeMap::new();
    let (mut asked, mut answered) = (0, 0);
    while answered < questions {
        while asked < questions && waiting.len() < width {
            let question = Bytes::from(asked.to_le_bytes().to_vec());
            let stream = client
                .host
                .with(|ask, cx| ask.ask(connection, question.clone(), cx));
            waiting.insert(stream, question);
            asked += 1;
        }
        if let Some(Event::Protocol(AskEvent::Answered(stream, answer))) = events.next().await {
            assert_eq!(waiting.remove(&stream), Some(answer));
            answered += 1;
        }
    }
}

/// One question at a time costs one write on each side, and no turn of either swarm's task: only the deadlines wake it,
/// once in ten seconds, and these questions take less.
///
/// Fails if messages go through the swarm's task, or if its task is woken by every command.
#[test]
fn a_question_and_its_answer_are_one_write_each() {
    for answers in [Answers::Itself, Answers::Application] {
        let (mut world, runtime) = world(1);
        let (server, client) = world
            .block_on(async {
                let (server, client, connection) = sites(&runtime, answers).await;
                ask(&client, connection, 10, 1).await;
                let before = (server.counts.now(), client.counts.now());
                ask(&client, connection, QUESTIONS, 1).await;
                (server.counts.since(before.0), client.counts.since(before.1))
            })
            .unwrap();
        // Who wakes a task lets it run before writing, which is one more poll.
        let polls = match answers {
            Answers::Itself => 1,
            Answers::Application => 2,
        };
        let cost = |polls| Cost {
            writes: QUESTIONS,
            swarm: 0,
            drivers: polls * QUESTIONS,
        };
        assert_eq!((server, client), (cost(polls), cost(2)), "{answers:?}");
    }
}

/// Many futures in one task, each polled when any is woken.
async fn together<F: Future>(futures: Vec<F>) {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    core::future::poll_fn(|cx| {
        futures.retain_mut(|future| future.as_mut().poll(cx).is_pending());
        if futures.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

/// The same for requests by the handle that the application has for them: what is asked together, or answered together, is
/// one write.
#[test]
fn a_request_and_its_response_are_one_write_each() {
    type Machine = RequestResponse<BytesCodec>;
    for (width, writes) in [(1, QUESTIONS), (10, QUESTIONS / 10), (QUESTIONS, 1)] {
        let (mut world, runtime) = world(1);
        let costs = world
            .block_on(async {
                let start = || {
                    let counts = Arc::new(Counts::default());
                    let counting = Counting {
                        runtime: runtime.clone(),
                        counts: counts.clone(),
                    };
                    let config = Config::default().with_max_concurrent_streams(1000);
                    let machine = Machine::new([(NAME, ProtocolSupport::Full)], config);
                    (Host::builder(counting, machine).start().unwrap(), counts)
                };
                let ((server, server_counts), (client, client_counts)) = (start(), start());
                let local = "/ip4/127.0.0.1/tcp/0".parse().unwrap();
                let bound = server.listen(local).await.unwrap().address;
                let peer = client.dial(DialOptions::address(bound)).await.unwrap().peer;
                let mut incoming = server.requests(Part::whole()).incoming(1000);
                runtime.spawn(async move {
                    while let Some(asked) = incoming.next().await {
                        asked.responder.respond(asked.request).unwrap();
                    }
                });
                let requests = client.requests(Part::whole());
                let ask = async |questions: usize| {
                    for _ in 0..questions / width {
                        let ask = async || {
                            let question = Bytes::from_static(b"hello");
                            let answer = requests.request(peer, question.clone()).await;
                            assert_eq!(answer.unwrap(), question);
                        };
                        together((0..width).map(|_| ask()).collect()).await;
                    }
                };
                ask(QUESTIONS).await;
                let before = (server_counts.now(), client_counts.now());
                ask(QUESTIONS).await;
                [server_counts.since(before.0), client_counts.since(before.1)]
            })
            .unwrap();
        for cost in costs {
            assert_eq!(
                (cost.writes, cost.swarm),
                (writes, 0),
                "{width} at a time: {costs:?}"
            );
            // And one when so many streams have ended that the connection is told that their ends were heard.
            assert!(
                cost.drivers <= 2 * writes + 1,
                "{width} at a time: {costs:?}"
            );
        }
    }
}

/// Questions asked together travel together, and so do their answers.
///
/// Fails if every answer, or every next question, is written on its own.
#[test]
fn many_questions_share_writes() {
    for answers in [Answers::Itself, Answers::Application] {
        let (mut world, runtime) = world(1);
        let (server, client) = world
            .block_on(async {
                let (server, client, connection) = sites(&runtime, answers).await;
                ask(&client, connection, 10, 1).await;
                let before = (server.counts.now(), client.counts.now());
                ask(&client, connection, QUESTIONS, WIDTH).await;
                (server.counts.since(before.0), client.counts.since(before.1))
            })
            .unwrap();
        let writes = QUESTIONS / WIDTH;
        for cost in [server, client] {
            assert_eq!((cost.writes, cost.swarm), (writes, 0), "{answers:?}");
        }
    }
}

/// Sends one message after the other, each as soon as the one before has left, whatever the peer says.
#[derive(Default)]
struct Chain {
    left: usize,
}

impl Chain {
    fn send(&mut self, connection: ConnectionId, cx: &mut swarm::Context<'_, ()>) {
        if self.left == 0 {
            cx.emit(());
            return;
        }
        self.left -= 1;
        let message = Bytes::from_static(b"message");
        let sent = cx.open_with(connection, &[NAME], KIND, false, message);
        cx.report_sent(sent.unwrap());
    }
}

impl Protocol for Chain {
    type Event = ();

    fn start(&mut self, cx: &mut swarm::Context<'_, ()>) {
        cx.accept(NAME, Accept::new(KIND)).unwrap();
    }

    fn handle(&mut self, _: Slot, input: Input<'_>, cx: &mut swarm::Context<'_, ()>) {
        if let Input::Sent { stream } = input {
            self.send(stream.connection, cx);
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

/// What the swarm says to the news that something has left is sent, too, without waiting for anything else to happen.
///
/// Fails if the driver does not look for answers after it has transmitted.
#[test]
fn what_follows_upon_sending_is_sent() {
    let (mut world, runtime) = world(1);
    world
        .block_on(async {
            let start = || {
                let host = Host::builder(runtime.clone(), Chain::default());
                host.start().unwrap()
            };
            let (server, client) = (start(), start());
            let local = "/ip4/127.0.0.1/tcp/0".parse().unwrap();
            let bound = server.listen(local).await.unwrap().address;
            let dialed = client.dial(DialOptions::address(bound)).await.unwrap();
            runtime.sleep(SECOND).await;
            let mut events = client.events(16);
            let began = runtime.now();
            client.with(|chain, cx| {
                chain.left = 50;
                chain.send(dialed.connection, cx);
            });
            while !matches!(events.next().await.unwrap(), Event::Protocol(())) {}
            // The peer's first answer takes longer.
            assert_eq!(runtime.now(), began);
        })
        .unwrap();
}
