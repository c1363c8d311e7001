//! A swarm that others are at work on all the time, and whose task is seldom run, as on a machine that is overloaded: what
//! connections have to say to it does not pile up.

use crate::common::{TestHost, dial, host_with, world_with};
use bytes::Bytes;
use core::{
    future::Future,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    task::{Context, Poll, Waker},
    time::Duration,
};
use drywire::{
    connection::{Accept, Slot, StreamKind},
    multistream::ProtocolName,
    resource::Lease,
    swarm::{self, Config, Input, Protocol},
    time::{Instant, UnixTime},
};
use drywire_engine::{Host, Runtime, Stream};
use drywire_sim::{Link, SimListener, SimPipe, SimRuntime, SimTimer, World};
use std::{
    io,
    sync::{Arc, Mutex},
};

const SECOND: Duration = Duration::from_secs(1);
const NAME: ProtocolName = ProtocolName::from_static("/flooded/1.0.0");
/// Messages of one connection on their way to the swarm.
const MAX_UNDER_WAY: usize = 1024;
/// The peer opens so many streams at once and says something on each: two messages for the swarm.
const STREAMS: usize = 2000;

/// How often the swarm's task may still be run.
#[derive(Default)]
struct Gate(Mutex<(usize, Option<Waker>)>);

impl Gate {
    fn allow(&self, runs: usize) {
        let waker = {
            let mut state = self.0.lock().unwrap();
            state.0 = runs;
            state.1.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    fn runs_left(&self) -> usize {
        self.0.lock().unwrap().0
    }

    fn may_run(&self, cx: &Context<'_>) -> bool {
        let mut state = self.0.lock().unwrap();
        state.1 = Some(cx.waker().clone());
        let may = state.0 > 0;
        state.0 = state.0.saturating_sub(1);
        may
    }
}

/// A runtime on which the first task, which is the swarm's, runs only as often as it is allowed to.
#[derive(Clone)]
struct Starving {
    runtime: SimRuntime,
    gate: Arc<Gate>,
    spawned: Arc<AtomicBool>,
}

impl Runtime for Starving {
    type Pipe = SimPipe;
    type Listener = SimListener;
    type Timer = SimTimer;

    fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if self.spawned.swap(true, Ordering::SeqCst) {
            return self.runtime.spawn(task);
        }
        let (gate, mut task) = (self.gate.clone(), Box::pin(task));
        self.runtime.spawn(core::future::poll_fn(move |cx| {
            if gate.may_run(cx) {
                Pin::new(&mut task).poll(cx)
            } else {
                Poll::Pending
            }
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
    ) -> impl Future<Output = io::Result<SimPipe>> + Send + 'static {
        self.runtime.connect(remote)
    }

    fn listen(&self, local: SocketAddr) -> io::Result<SimListener> {
        self.runtime.listen(local)
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

/// Counts what it is told of its streams.
#[derive(Default)]
struct Heard {
    inbound: AtomicUsize,
    messages: AtomicUsize,
    ended: AtomicUsize,
}

impl Heard {
    fn all(&self) -> usize {
        let counts = [&self.inbound, &self.messages, &self.ended];
        counts
            .map(|count| count.load(Ordering::SeqCst))
            .iter()
            .sum()
    }
}

struct Flooded(Arc<Heard>);

impl Protocol for Flooded {
    type Event = ();

    fn start(&mut self, cx: &mut swarm::Context<'_, ()>) {
        let accept = Accept::new(StreamKind::Raw).max_streams(u32::MAX);
        cx.accept(NAME, accept).unwrap();
    }

    fn handle(&mut self, _: Slot, input: Input<'_>, _: &mut swarm::Context<'_, ()>) {
        let count = match input {
            Input::Inbound { .. } => &self.0.inbound,
            Input::Message { .. } => &self.0.messages,
            Input::StreamEnded { .. } => &self.0.ended,
            _ => return,
        };
        count.fetch_add(1, Ordering::SeqCst);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

/// Room for all the streams, so that nothing but the way to the swarm stands against them.
fn roomy() -> Config {
    let mut config = Config::default();
    config.connection.max_streams = 8192;
    config.connection.max_negotiating_streams = 8192;
    config.connection.yamux.max_inbound_streams = 8192;
    config.connection.yamux.max_outbound_streams = 8192;
    config.connection.yamux.max_unacknowledged = 8192;
    let lease = Lease::new(32 << 20, 8192);
    config.resources.peer = lease;
    config.resources.connection = lease;
    config.resources.initial = lease;
    config
}

/// A host whose swarm somebody holds on to, and which is not run any more; and a peer that has opened all its streams to it.
struct Siege {
    gate: Arc<Gate>,
    heard: Arc<Heard>,
    streams: Vec<Stream>,
    victim: Host<Flooded>,
    _peer: TestHost,
}

impl Siege {
    /// The peer says something on each stream it opens, or nothing.
    fn new((world, runtime): (&mut World, &SimRuntime), says: &'static [u8]) -> Self {
        let gate = Arc::new(Gate::default());
        gate.allow(usize::MAX);
        let starving = Starving {
            runtime: runtime.clone(),
            gate: gate.clone(),
            spawned: Arc::default(),
        };
        let heard = Arc::new(Heard::default());
        let victim = Host::builder(starving, Flooded(heard.clone()))
            .config(roomy())
            .start()
            .unwrap();
        let peer = host_with(runtime, roomy());
        let arrives = async {
            let local = "/ip4/127.0.0.1/tcp/0".parse().unwrap();
            let bound = victim.listen(local).await.unwrap().address;
            let address = bound.with_peer_id(victim.peer_id()).unwrap();
            let id = dial(&peer, &address).await.0;
            runtime.sleep(SECOND).await;
            id
        };
        let id = world.block_on(arrives).expect("never stalls");
        gate.allow(0);
        let opens = async {
            let mut streams = Vec::new();
            for _ in 0..STREAMS {
                let mut stream = peer.open_stream_optimistic(id, NAME).await.unwrap();
                if !says.is_empty() {
                    let mut said = Bytes::from_static(says);
                    stream.write_bytes(&mut said).await.unwrap();
                }
                streams.push(stream);
            }
            runtime.sleep(SECOND).await;
            streams
        };
        let streams = victim.with(|_, _| world.block_on(opens).expect("never stalls"));
        assert_eq!(heard.all(), 0, "the swarm is run");
        Self {
            gate,
            heard,
            streams,
            victim,
            _peer: peer,
        }
    }

    /// Somebody is at work on the swarm for a second.
    fn hold(&self, world: &mut World) {
        self.victim.with(|_, _| world.run_for(SECOND).unwrap());
    }

    /// Runs the swarm once, again and again until it has heard so much; how much it heard each time.
    fn turns(&self, world: &mut World, until: usize) -> Vec<usize> {
        let mut turns = Vec::new();
        while self.heard.all() < until {
            let before = self.heard.all();
            self.gate.allow(1);
            while self.gate.runs_left() > 0 {
                assert!(world.step().unwrap(), "the swarm has nothing to do");
            }
            self.hold(world);
            turns.push(self.heard.all() - before);
            assert!(turns.len() < 20, "it never hears of all: {turns:?}");
        }
        turns
    }
}

/// Tasks run in any order, but for one seed.
fn any_order(seed: u64) -> (World, SimRuntime) {
    world_with(seed, Link::default(), seed > 0)
}

/// Each time the swarm is run it hears so many messages of the connection and no more; the others wait, and all come in
/// the end.
///
/// Fails if any number may be under way.
#[test]
fn messages_on_their_way_to_a_starved_swarm_are_bounded() {
    for seed in 0..10 {
        let (mut world, runtime) = any_order(seed);
        let mut siege = Siege::new((&mut world, &runtime), b"!");
        let mut turns = siege.turns(&mut world, 2 * STREAMS);
        // Each stream is reset.
        siege.streams.clear();
        siege.hold(&mut world);
        turns.extend(siege.turns(&mut world, 3 * STREAMS));
        assert!(
            turns.iter().all(|heard| *heard <= MAX_UNDER_WAY),
            "seed {seed}: {turns:?}"
        );
        // A few are not about streams.
        assert!(turns[0] > MAX_UNDER_WAY - 10, "seed {seed}: {turns:?}");
        let heard = &siege.heard;
        for count in [&heard.inbound, &heard.messages, &heard.ended] {
            assert_eq!(count.load(Ordering::SeqCst), STREAMS, "seed {seed}");
        }
    }
}

/// The driver of a connection that has stopped because the swarm is behind goes on when the swarm has caught up, although
/// the swarm has nothing to say to what it heard.
///
/// Fails if the driver is not woken when the swarm has taken messages.
#[test]
fn a_driver_goes_on_when_the_swarm_has_caught_up() {
    for seed in 0..10 {
        let (mut world, runtime) = any_order(seed);
        let siege = Siege::new((&mut world, &runtime), b"");
        let turns = siege.turns(&mut world, STREAMS);
        assert!(turns.len() <= 3, "seed {seed}: {turns:?}");
    }
}
