//! A connection is cut at every byte of its handshake and its first call, on both sides, in every way: nobody hangs, nothing
//! is left, and whatever was begun ends exactly once.

use drywire::{
    connection::{ConnectionId, Direction, Event as ConnectionEvent},
    node::NodeEvent,
    protocol::{Standard, StandardEvent},
    swarm::Event,
};
use drywire_sim::{
    Application, Host, HostBuilder, HostContext, World,
    network::Cut,
    workload::{Echo, EchoResults},
};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

/// Calls once over each connection it dialed, and counts how connections begin and end.
struct Caller {
    echo: Echo,
    ends: BTreeMap<ConnectionId, u32>,
}

impl Application<Standard> for Caller {
    fn start(&mut self, host: &mut HostContext<'_, Standard>) {
        Application::<Standard>::start(&mut self.echo, host);
    }

    fn handle(&mut self, event: NodeEvent<StandardEvent>, host: &mut HostContext<'_, Standard>) {
        match &event {
            NodeEvent::Swarm(
                Event::ConnectionClosed { connection, .. }
                | Event::IncomingFailed { connection, .. },
            ) => *self.ends.entry(*connection).or_default() += 1,
            NodeEvent::Connection(connection, ConnectionEvent::Established { .. }) => {
                let info = host.node.swarm().connection(*connection);
                if info.is_some_and(|info| info.point.direction == Direction::Outbound) {
                    self.echo.call(host, *connection, 100);
                }
            }
            _ => {}
        }
        self.echo.handle(event, host);
    }

    fn handle_timeout(&mut self, host: &mut HostContext<'_, Standard>) {
        Application::<Standard>::handle_timeout(&mut self.echo, host);
    }

    fn poll_timeout(&self) -> Option<drywire::time::Instant> {
        Application::<Standard>::poll_timeout(&self.echo)
    }
}

type Pair = [Host<Standard, Caller>; 2];

fn pair() -> (World, Pair) {
    let mut world = World::new(1);
    // What they print is not read; what they check is.
    world.keep_trace(0);
    let hosts = ["dialer", "listener"].map(|name| {
        let caller = Caller {
            echo: Echo::server(),
            ends: BTreeMap::new(),
        };
        let builder = HostBuilder::standard(name).application(caller);
        world
            .add(builder.half_open_limit(Duration::from_secs(110)))
            .unwrap()
    });
    (world, hosts)
}

fn results(world: &mut World, host: Host<Standard, Caller>) -> EchoResults {
    world.application(host).unwrap().echo.results().clone()
}

/// What one run shows: how it ended, to see that the cuts were met.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    NotConnected,
    CallFailed,
    CallSucceeded,
}

fn run(by_listener: bool, at: u64, cut: Cut) -> Outcome {
    let context = || {
        format!(
            "{cut:?} after {at} bytes of the {}",
            if by_listener { "listener" } else { "dialer" }
        )
    };
    let (mut world, [dialer, listener]) = pair();
    world
        .network()
        .cut_next(dialer.id(), listener.id(), by_listener, at, cut);
    world.dial(dialer, listener).unwrap();
    // Longer than any timeout: handshake, negotiation, idle, and three pings without an answer.
    if let Err(violation) = world.run_for(Duration::from_secs(200)) {
        panic!("{}: {violation}", context());
    }
    for host in [dialer, listener] {
        assert_eq!(
            world.connection_count(host),
            0,
            "{}: {host:?} hangs",
            context()
        );
    }
    assert_eq!(world.network().pipe_count(), 0, "{}", context());
    let (statistics, calls) = (world.statistics(), results(&mut world, dialer));
    let dials = [
        statistics.dials,
        statistics.dials_succeeded + statistics.dials_failed,
    ];
    assert_eq!(dials, [1, 1], "{}: each dial ends once", context());
    assert_eq!(
        calls.begun,
        calls.succeeded + calls.failed,
        "{}: each call ends once",
        context()
    );
    // A connection may be gone before its application hears of it.
    assert!(calls.begun <= statistics.dials_succeeded, "{}", context());
    for host in [dialer, listener] {
        let ends = &world.application(host).unwrap().ends;
        assert!(
            ends.values().all(|count| *count == 1),
            "{}: {ends:?}",
            context()
        );
        let connections = usize::from(host == listener || statistics.dials_succeeded == 1);
        assert_eq!(ends.len(), connections, "{}: of {host:?}", context());
    }
    // Nothing stands in the way of the next attempt.
    let before = calls.succeeded;
    world.dial(dialer, listener).unwrap();
    world.run_for(Duration::from_secs(2)).unwrap();
    assert_eq!(
        results(&mut world, dialer).succeeded,
        before + 1,
        "{}: again",
        context()
    );
    for host in [dialer, listener] {
        world.shut_down(host).unwrap();
    }
    world.run_for(Duration::from_secs(20)).unwrap();
    if let Err(violation) = world.check_end() {
        panic!("{}: {violation}", context());
    }
    match (statistics.dials_succeeded, before) {
        (0, _) => Outcome::NotConnected,
        (_, 0) => Outcome::CallFailed,
        _ => Outcome::CallSucceeded,
    }
}

/// Bytes each side writes until the call is answered and the streams are closed.
fn lengths() -> [u64; 2] {
    let (mut world, [dialer, listener]) = pair();
    world.dial(dialer, listener).unwrap();
    let mut written = [0, 0];
    let answered = world.run_until(Duration::from_secs(2), |world| {
        for (side, host) in [dialer, listener].into_iter().enumerate() {
            written[side] = world.network().written_by(host.id());
        }
        results(world, dialer).succeeded == 1
    });
    assert!(answered.unwrap());
    written
}

#[test]
fn a_connection_may_be_cut_at_every_byte() {
    let [dialer, listener] = lengths();
    assert!(dialer > 400 && listener > 400, "{dialer} {listener}");
    let mut cases = Vec::new();
    for (by_listener, length) in [(false, dialer), (true, listener)] {
        for cut in [Cut::Reset, Cut::End, Cut::Silence] {
            cases.extend((0..=length).map(|at| (by_listener, at, cut)));
        }
    }
    let next = AtomicU64::new(0);
    let work = || {
        let mut outcomes = BTreeMap::new();
        while let Some((by_listener, at, cut)) =
            cases.get(next.fetch_add(1, Ordering::Relaxed) as usize)
        {
            *outcomes.entry(run(*by_listener, *at, *cut)).or_insert(0u32) += 1;
        }
        outcomes
    };
    let outcomes: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no case fails"))
            .collect()
    });
    let mut all = BTreeMap::new();
    for (outcome, count) in outcomes.into_iter().flatten() {
        *all.entry(outcome).or_insert(0) += count;
    }
    println!("{} cuts: {all:?}", cases.len());
    assert!(
        all.len() == 3 && all.values().all(|count| *count > 50),
        "{all:?}"
    );
}
