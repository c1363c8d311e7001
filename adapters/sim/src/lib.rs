//! A deterministic network: whole [`drywire`] nodes in virtual time, with everything that goes wrong between them, from one
//! seed.
//!
//! A [`World`] holds hosts and what is between them, in one thread. The hosts run the real swarm and the real connections over
//! real wire bytes, Noise and yamux included. Time is a number that jumps to the next thing that happens, so a minute takes
//! milliseconds. Chance comes from the seed, so whatever went wrong goes wrong again, for you and for everybody you send the
//! number to.
//!
//! It is for people who write protocols and applications over drywire: to test them where links are bad, hosts crash and
//! networks part, without a network and without flaky tests.
//!
//! | you want to | read |
//! |---|---|
//! | see it work | [a world in a few lines](#a-world-in-a-few-lines), and the examples `bad_link`, `partition`, `own_protocol` |
//! | break something at a certain time | [scripts](#scripts-what-happens-when), [links](#links-and-their-faults), [crashes, partitions, clocks](#crashes-partitions-clocks) |
//! | know what happened | [looking at events](#looking-at-what-happens) |
//! | test your protocol | [your own protocol](#your-own-protocol), [invariants](#what-must-always-hold) |
//! | test your application | [streams](#applications-and-their-streams), [async code](#async-code), [hostile peers](#peers-that-break-the-rules) |
//! | find what you did not think of | [exploring seeds](#exploring-seeds) |
//! | see hundreds of nodes | [`population`], [`timeline`], and `drywire sim` of the program |
//!
//! # A world in a few lines
//!
//! ```
//! use core::time::Duration;
//! use drywire_sim::{HostBuilder, Link, World};
//!
//! let mut world = World::new(7);
//! world.set_default_link(Link::default().latency(Duration::from_millis(40)))?;
//! let alice = world.add(HostBuilder::standard("alice"))?;
//! let bob = world.add(HostBuilder::standard("bob"))?;
//!
//! world.connect(alice, bob)?;
//! // Dialing, Noise and yamux over 40 ms each way.
//! assert!(world.elapsed() > Duration::from_millis(160));
//! assert!(world.elapsed() < Duration::from_millis(300));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`HostBuilder`] says what a host is to be: its protocols, key, addresses, region, limits. [`World::add`] starts it and gives
//! back a [`Host`], a name that is copied freely and knows the host's types. Hosts can be added at any time, also in the middle
//! of a run. A host's name resolves as a domain does: `/dns4/bob/tcp/4001` is where bob listens, known before bob is there.
//! [`World::address`] is the address with the peer id.
//!
//! Time passes in [`World::run_for`], [`World::run_until`] (a condition, checked after each step), [`World::wait_for`] (an
//! event), [`World::block_on`] (a future) and [`World::step`] (one thing). Between these calls it stands still.
//!
//! # Scripts: what happens when
//!
//! [`World::after`] and [`World::at`] do something at its time, while the world runs. A script may write another one.
//!
//! ```
//! # use core::time::Duration;
//! # use drywire_sim::{HostBuilder, Link, World};
//! # let mut world = World::new(7);
//! # let alice = world.add(HostBuilder::standard("alice"))?;
//! # let bob = world.add(HostBuilder::standard("bob"))?;
//! world.connect(alice, bob)?;
//! world.after(Duration::from_secs(5), move |world| world.crash(bob));
//! world.after(Duration::from_secs(8), move |world| world.restart(bob));
//! // A result is given back as it is: an error would end the run.
//! world.after(Duration::from_secs(9), move |world| world.dial(alice, bob));
//!
//! world.run_for(Duration::from_secs(7))?;
//! assert!(!world.are_connected(alice, bob));
//! world.run_for(Duration::from_secs(7))?;
//! assert!(world.are_connected(alice, bob));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What a script draws, it draws from [`World::chance`], or from a stream of its own, [`World::draws`].
//!
//! # Links and their faults
//!
//! A [`Link`] is how bytes fare on their way: latency and jitter, bandwidth and buffers, and the probabilities of everything
//! that goes wrong. [`World::set_default_link`] is for all pairs, [`World::set_link`] for one; both may change while the world
//! runs. With [`HostBuilder::region`] latencies follow from where hosts are.
//!
//! ```
//! # use core::time::Duration;
//! # use drywire_sim::{Fault, HostBuilder, Link, World};
//! # let mut world = World::new(7);
//! # let alice = world.add(HostBuilder::standard("alice"))?;
//! # let bob = world.add(HostBuilder::standard("bob"))?;
//! let mut bad = Link::default()
//!     .latency(Duration::from_millis(80))
//!     .jitter(0.3)
//!     .bandwidth(100_000)
//!     .loss(0.05)
//!     .biased_pieces();
//! // What has no method of its own is a field.
//! bad.stalls = 0.01;
//! world.set_link(alice, bob, bad)?;
//! world.connect(alice, bob)?;
//! world.run_for(Duration::from_secs(60))?;
//!
//! let faults = world.statistics().faults;
//! assert!(faults.of(Fault::PartialRead) > 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Pipes behave as TCP does: lost bytes come later, never wrong. Bits are flipped only where you ask for it, by
//! [`Link::corruption`]. A pipe on which nothing gets through is given up after 15 minutes, or after what
//! [`Network::set_pipe_timeout`](network::Network::set_pipe_timeout) says; [`World::network`] gives you the network. To cut one
//! connection at a certain byte, see [`Network::cut_next`](network::Network::cut_next).
//!
//! # Crashes, partitions, clocks
//!
//! | command | what happens |
//! |---|---|
//! | [`World::crash`] | a process dies; its peers see their sockets close |
//! | [`World::lose_power`] | a machine vanishes; nobody is told |
//! | [`World::restart`], [`World::restart_anew`] | it comes back, as it was or as somebody else |
//! | [`World::isolate`], [`World::part`], [`World::heal`] | hosts cannot reach each other: both ways, one way, or but for their neighbours |
//! | [`World::jump_clock`] | a host's monotonic clock jumps ahead, as after a suspension |
//! | [`World::set_calendar`] | a host takes it for another day |
//! | [`World::make_timers_late`] | a host's timers fire late |
//! | [`World::exhaust_descriptors`] | a host gets no new sockets for a while |
//! | [`World::shut_down`] | a node ends in good order |
//!
//! ```
//! # use core::time::Duration;
//! # use drywire_sim::{HostBuilder, World};
//! # let mut world = World::new(7);
//! # let alice = world.add(HostBuilder::standard("alice"))?;
//! # let bob = world.add(HostBuilder::standard("bob"))?;
//! # let carol = world.add(HostBuilder::standard("carol"))?;
//! world.connect(alice, carol)?;
//! world.connect(bob, carol)?;
//! let parted = world.isolate([alice, bob]);
//! // Nobody is told of a partition. Ping gives up in the end.
//! world.run_for(Duration::from_secs(5))?;
//! assert!(world.has_connection(alice, carol));
//! world.run_for(Duration::from_secs(120))?;
//! assert!(!world.has_connection(alice, carol));
//!
//! world.heal(parted);
//! world.connect(alice, carol)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Looking at what happens
//!
//! Without an application of its own a host collects its [`Events`]. [`World::events`] takes them all;
//! [`World::wait_for`] lets time pass until one is the one you want, and gives you of it what you need.
//!
//! ```
//! # use core::time::Duration;
//! use drywire::{node::NodeEvent, protocol::StandardEvent, swarm::Event};
//! # use drywire_sim::{HostBuilder, World};
//! # let mut world = World::new(7);
//! # let alice = world.add(HostBuilder::standard("alice"))?;
//! # let bob = world.add(HostBuilder::standard("bob"))?;
//! world.dial(alice, bob)?;
//! let connection = world.wait_for(bob, Duration::from_secs(5), |event| match event {
//!     NodeEvent::Swarm(Event::ConnectionEstablished { connection, .. }) => Some(*connection),
//!     _ => None,
//! })?;
//! let round_trip = world.wait_for(alice, Duration::from_secs(30), |event| {
//!     match event.protocol()? {
//!         StandardEvent::Ping(ping) => ping.result.clone().ok(),
//!         _ => None,
//!     }
//! })?;
//! assert_eq!(round_trip, Duration::from_millis(2));
//! // The node itself can be looked at, too.
//! let node = world.node(bob).ok_or("bob is down")?;
//! assert!(node.swarm().connection(connection).is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! If the event does not come, the error lists those that came instead. [`World::statistics`] counts dials, handshakes,
//! streams, bytes, faults and errors; [`World::trace`] has the last lines of all that happened, for people;
//! [`timeline`] draws it; [`World::record_to`] writes down all that goes in and out of the machines, to be replayed.
//!
//! # Your own protocol
//!
//! A host runs any [`Protocol`](drywire::swarm::Protocol), or a set of them made by [`protocols!`](drywire::protocols).
//! [`HostBuilder::new`] takes a closure that makes it, because it is made again when the host restarts. [`World::with`] runs a
//! command on it.
//!
//! ```
//! use core::time::Duration;
//! use drywire::{
//!     connection::{Accept, Slot, StreamKind},
//!     multistream::ProtocolName,
//!     protocol::ping::Ping,
//!     protocols,
//!     swarm::{Context, Input, Protocol},
//!     time::Instant,
//! };
//! use drywire_sim::{HostBuilder, Link, World};
//!
//! const NEWS: ProtocolName = ProtocolName::from_static("/news/1.0.0");
//! const MESSAGE: StreamKind = StreamKind::Framed { max_len: 1024 };
//!
//! /// Tells every peer it meets the same thing.
//! struct News(&'static str);
//!
//! impl Protocol for News {
//!     type Event = String;
//!
//!     fn start(&mut self, cx: &mut Context<'_, String>) {
//!         cx.accept(NEWS, Accept::new(MESSAGE)).expect("the name is free");
//!     }
//!
//!     fn handle(&mut self, _: Slot, input: Input<'_>, cx: &mut Context<'_, String>) {
//!         match input {
//!             Input::ConnectionUp { connection, .. } => {
//!                 if let Ok(stream) = cx.open(connection, &[NEWS], MESSAGE, false) {
//!                     let _ = cx.send(stream, self.0.into());
//!                     cx.finish(stream);
//!                 }
//!             }
//!             Input::Message { stream, bytes } => {
//!                 cx.emit(String::from_utf8_lossy(&bytes).into_owned());
//!                 cx.finish(stream);
//!             }
//!             _ => {}
//!         }
//!     }
//!
//!     fn poll_timeout(&self) -> Option<Instant> {
//!         None
//!     }
//! }
//!
//! protocols! {
//!     struct Reporter => ReporterEvent {
//!         ping: Ping => Ping,
//!         news: News => News,
//!     }
//! }
//!
//! let reporter = |text| move || Reporter { ping: Ping::default(), news: News(text) };
//! let mut world = World::new(7);
//! world.set_default_link(Link::default().loss(0.1).biased_pieces())?;
//! let alice = world.add(HostBuilder::new("alice", reporter("it rains")))?;
//! let bob = world.add(HostBuilder::new("bob", reporter("it snows")))?;
//! world.dial(alice, bob)?;
//! let heard = world.wait_for(bob, Duration::from_secs(10), |event| {
//!     match event.protocol()? {
//!         ReporterEvent::News(text) => Some(text.clone()),
//!         _ => None,
//!     }
//! })?;
//! assert_eq!(heard, "it rains");
//! // A command: from the next connection on alice says something else.
//! world.with(alice, |all, cx| all.news(cx, |news, _| news.0 = "the sun shines"))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What must always hold
//!
//! The world checks what concerns the machines themselves after every step: that turns end, that limits and reservations add
//! up, that handshakes end in time, that both ends know each other, and more (the table in [`explore`] has them all). Your own
//! invariants are checked as often: [`World::add_invariant`]. In code that runs on a host, say
//! [`HostContext::violation`]; in a script, [`World::fail`].
//!
//! The first [`Violation`] ends the run: [`World::run_for`] and the like give it back. Printed, it is a report: the last lines
//! of the trace, then what was violated where and when, and the seed.
//!
//! ```
//! # use core::time::Duration;
//! # use drywire_sim::{HostBuilder, World};
//! # let mut world = World::new(7);
//! # let hub = world.add(HostBuilder::standard("hub"))?;
//! world.add_invariant("the hub is not crowded", move |world| match world.connection_count(hub) {
//!     0..3 => Ok(()),
//!     many => Err(format!("{many} connections")),
//! });
//! for number in 0..3 {
//!     let guest = world.add(HostBuilder::standard(format!("guest {number}")))?;
//!     world.dial(guest, hub)?;
//! }
//! let violation = world.run_for(Duration::from_secs(5)).unwrap_err();
//! let report = violation.to_string();
//! assert!(report.contains("guest 2 connects to"));
//! assert!(report.contains("the hub is not crowded: 3 connections (seed 7, step"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Applications and their streams
//!
//! An [`Application`] is the code of a host's user: it gets the node's events and acts on the node, as the code around a
//! [`Node`](drywire::node::Node) would. Streams that the host owns are read and written there. It outlives crashes, as users
//! do. A closure is one; [`workload::Echo`] is one that calls and serves calls, and checks every byte.
//!
//! ```
//! use core::time::Duration;
//! use drywire::{
//!     connection::{Accept, Event, OpenOptions, StreamKind},
//!     multistream::ProtocolName,
//!     node::NodeEvent,
//!     protocol::{Standard, StandardEvent},
//! };
//! use drywire_sim::{Application, HostBuilder, HostContext, World};
//!
//! const TIME: ProtocolName = ProtocolName::from_static("/time/1.0.0");
//!
//! /// Tells everybody who asks what time it is.
//! struct Clock;
//!
//! impl Application<Standard> for Clock {
//!     fn start(&mut self, host: &mut HostContext<'_, Standard>) {
//!         let accept = Accept::new(StreamKind::Raw).host_owned();
//!         host.node.with(host.now, |_, cx| cx.accept(TIME, accept)).expect("the name is free");
//!     }
//!
//!     fn handle(&mut self, event: NodeEvent<StandardEvent>, host: &mut HostContext<'_, Standard>) {
//!         if let NodeEvent::Connection(connection, Event::Inbound { stream, .. }) = event
//!             && let Some(mut stream) = host.node.stream(connection, stream)
//!         {
//!             let _ = stream.write(format!("{}", host.unix.as_secs()).as_bytes());
//!             let _ = stream.finish();
//!         }
//!     }
//! }
//!
//! let mut world = World::new(7);
//! let clock = world.add(HostBuilder::standard("clock").application(Clock))?;
//! let alice = world.add(HostBuilder::standard("alice"))?;
//! world.connect(alice, clock)?;
//! // The same by hand: what is run on a host has its application and its node.
//! let (connection, stream) = world.run_on(alice, |_, host| {
//!     let (connection, _) = host.connections()[0];
//!     let options = OpenOptions::default();
//!     let stream = host.node.open(host.now, connection, &[TIME], StreamKind::Raw, options);
//!     stream.map(|stream| (connection, stream))
//! })??;
//! world.wait_for(alice, Duration::from_secs(5), |event| {
//!     matches!(event, NodeEvent::Connection(_, Event::Readable { .. })).then_some(())
//! })?;
//! let answer = world.run_on(alice, |_, host| {
//!     host.node.stream(connection, stream).and_then(|mut stream| stream.read(100).ok().flatten())
//! })?;
//! assert_eq!(answer.as_deref(), Some(b"1795132801".as_slice()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Async code
//!
//! [`SimRuntime`] is the engine's [`Runtime`](drywire_engine::Runtime) on one host. An application that is generic over the
//! runtime runs on it unchanged: tasks, timers, sockets, names and randomness are the world's.
//!
//! ```
//! use core::error::Error;
//! use drywire::{multistream::ProtocolName, protocol::Standard, swarm::DialOptions};
//! use drywire_engine::{Host, Runtime};
//! use drywire_sim::{Link, World};
//! # use core::time::Duration;
//!
//! const UPPER: ProtocolName = ProtocolName::from_static("/upper/1.0.0");
//!
//! // The application: it knows nothing of worlds.
//! async fn serve<R: Runtime>(runtime: R) -> Result<(), Box<dyn Error>> {
//!     let host = Host::builder(runtime, Standard::default()).start()?;
//!     host.listen("/ip4/0.0.0.0/tcp/4001".parse()?).await?;
//!     let mut incoming = host.accept(UPPER, 16)?;
//!     while let Some((_, mut stream)) = incoming.next().await {
//!         while let Some(bytes) = stream.read_bytes(1024).await? {
//!             stream.write_bytes(&mut bytes.to_ascii_uppercase().into()).await?;
//!         }
//!         stream.finish()?;
//!     }
//!     Ok(())
//! }
//!
//! async fn ask<R: Runtime>(runtime: R, text: &'static str) -> Result<Vec<u8>, Box<dyn Error>> {
//!     let host = Host::builder(runtime, Standard::default()).start()?;
//!     let dialed = host.dial(DialOptions::address("/dns4/server/tcp/4001".parse()?)).await?;
//!     let mut stream = host.open_stream(dialed.peer, UPPER).await?;
//!     stream.write_bytes(&mut text.into()).await?;
//!     stream.finish()?;
//!     let mut answer = Vec::new();
//!     while let Some(bytes) = stream.read_bytes(1024).await? {
//!         answer.extend_from_slice(&bytes);
//!     }
//!     Ok(answer)
//! }
//!
//! let mut world = World::new(7);
//! world.set_default_link(Link::default().latency(Duration::from_millis(30)).loss(0.05))?;
//! let (server, client) = (world.add_runtime("server")?, world.add_runtime("client")?);
//! server.spawn({
//!     let runtime = server.clone();
//!     async move {
//!         let _ = serve(runtime).await;
//!     }
//! });
//! assert_eq!(world.block_on(ask(client, "hello"))??, b"HELLO");
//! # Ok::<(), Box<dyn Error>>(())
//! ```
//!
//! If the future can never complete, [`World::block_on`] says so at once: no task can run and nothing else will ever happen, so
//! somebody has forgotten to wake somebody. [`World::shuffle_tasks`] runs tasks in any order that is legal. Hosts with async
//! code and hosts added with [`World::add`] meet in one world, and code on a runtime can crash with its host.
//!
//! # Peers that break the rules
//!
//! A runtime without the engine is a bare host with sockets: write whatever you like to them.
//!
//! ```
//! # use core::time::Duration;
//! # use drywire::swarm::Event;
//! # use drywire::node::NodeEvent;
//! use drywire_engine::Runtime;
//! # use drywire_sim::{HostBuilder, PORT, World};
//! # let mut world = World::new(7);
//! let alice = world.add(HostBuilder::standard("alice"))?;
//! let mallory = world.add_runtime("mallory")?;
//! let address = world.network().addresses(alice.id())[0];
//! let answer = world.block_on(async move {
//!     let mut pipe = mallory.connect((address, PORT).into()).await?;
//!     pipe.write_all(b"GET / HTTP/1.1\r\n\r\n").await?;
//!     let mut answer = bytes::BytesMut::with_capacity(1024);
//!     while pipe.read(&mut answer).await? > 0 {}
//!     Ok::<_, std::io::Error>(answer)
//! })??;
//! // Alice hangs up without a word, and tells her user why.
//! assert!(answer.is_empty());
//! let error = world.wait_for(alice, Duration::from_secs(1), |event| match event {
//!     NodeEvent::Swarm(Event::IncomingFailed { error, .. }) => Some(error.to_string()),
//!     _ => None,
//! })?;
//! assert!(error.contains("multistream"), "{error}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Determinism
//!
//! The same seed and the same script give the same run: the same bytes on every wire, the same events at the same times, on
//! every machine, with debug and with release builds. [`World::trace_hash`] is a hash over everything the machines were given and
//! gave; two runs with equal hashes were equal.
//!
//! ```
//! # use core::time::Duration;
//! # use drywire_sim::{HostBuilder, Link, TraceHash, World};
//! # use core::error::Error;
//! fn run(seed: u64) -> Result<TraceHash, Box<dyn Error>> {
//!     let mut world = World::new(seed);
//!     world.set_default_link(Link::default().jitter(0.3).loss(0.1))?;
//!     let alice = world.add(HostBuilder::standard("alice"))?;
//!     let bob = world.add(HostBuilder::standard("bob"))?;
//!     world.connect(alice, bob)?;
//!     world.run_for(Duration::from_secs(10))?;
//!     Ok(world.trace_hash())
//! }
//! assert_eq!(run(1)?, run(1)?);
//! assert_ne!(run(1)?, run(2)?);
//! # Ok::<(), Box<dyn Error>>(())
//! ```
//!
//! Your own code keeps the promise if it takes nothing from elsewhere:
//!
//! | instead of | use |
//! |---|---|
//! | `Instant::now`, `SystemTime::now` | `cx.now()` and `cx.unix()` in a protocol, [`HostContext::now`] in an application, the runtime's `now()` in a task |
//! | a random generator of the thread or the system | `cx.rng()`, [`HostContext::chance`], the runtime's `entropy()` |
//! | walking a `HashMap` or `HashSet` | `BTreeMap`, `BTreeSet`: the order of a hash map differs from process to process |
//! | threads, and waiting for them | the runtime's tasks |
//! | addresses in memory, file systems, environment variables | nothing; give them as values |
//!
//! To find what breaks it, run one seed twice and compare: the first line of [`World::trace`] that differs is near the culprit.
//! A test that does so belongs into your suite. What a seed gives may change with the version of this crate.
//!
//! # Exploring seeds
//!
//! One world with the faults you thought of shows little. [`explore`] runs many, each with a [`Plan`](explore::Plan) drawn from
//! its seed: how many hosts, which troubles, how strong. First comes the storm, in which nothing wrong may happen; then
//! everything heals, and in the calm all that ought to happen must.
//!
//! ```
//! use drywire_sim::explore::{Campaign, Plan};
//!
//! let campaign = Campaign::new(0..8).plans(|seed| Plan::draw(seed).storm_ms(5_000));
//! let summary = campaign.run(1, |_| {});
//! // A failure, printed, is a report to read.
//! assert_eq!(summary.passed, 8, "{}", summary.failures[0]);
//! println!("{:?} of virtual time, {} faults", summary.time, summary.faults.total());
//! ```
//!
//! Hosts and rules of your own are a [`Scenario`](explore::Scenario): what to build, and what must hold in the end. The example
//! `own_protocol` has one. When a seed fails, its report ends like this:
//!
//! ```text
//!     t+63.204s h1 event Swarm(Protocol(Tally(171)))
//!     t+63.5s h2 c3 writes 1022 bytes
//! all agree in the end: their totals are [87, 87, 62] (seed 5, step 9127, t+181s)
//! plan: Plan::new(5).hosts(3)...
//! ```
//!
//! Read it from below: the rule that was broken and what was seen, then what happened just before, the oldest line first.
//! `t+63.5s` is the world's time, `h2` the host. The last line is source code: run that plan again, with more trace
//! ([`World::keep_trace`]), a debugger, or prints of your own; it will be the same run. Then make it small:
//!
//! ```
//! use drywire_sim::explore::{Plan, shrink};
//! # use drywire_sim::{HostBuilder, Violation, World, WorldError, explore::Scenario};
//! # #[derive(Default)]
//! # struct Mine;
//! # impl Scenario for Mine {
//! #     fn build(&mut self, world: &mut World, plan: &Plan) -> Result<(), WorldError> {
//! #         for number in 0..plan.hosts {
//! #             world.add(HostBuilder::standard(format!("h{number}")))?;
//! #         }
//! #         Ok(())
//! #     }
//! #     fn calm(&mut self, world: &mut World, _: &Plan) -> Result<(), Box<Violation>> {
//! #         match world.hosts().count() {
//! #             0..2 => Ok(()),
//! #             hosts => Err(world.fail(None, "few hosts", format!("{hosts} hosts"))),
//! #         }
//! #     }
//! # }
//! let run = |plan: &Plan| plan.run_scenario(&mut Mine::default()).err().map(|failure| *failure);
//! let failure = run(&Plan::draw(5).storm_ms(1_000)).expect("this seed fails");
//! let shrunk = shrink(failure, 100, run, |_| {});
//! assert_eq!(shrunk.failure.plan.hosts, 2);
//! assert!(shrunk.failure.plan.troubles.is_empty());
//! // A test to be pasted into your suite.
//! println!("{}", shrunk.to_scenario_test("Mine::default()"));
//! ```
//!
//! # Making it fast
//!
//! - [`World::keep_trace`]`(0)` keeps no lines, which cost more than most of what they tell of. Turn them on again for the seed
//!   that failed.
//! - [`World::check_every`]`(1000)` checks invariants after every thousandth step instead of each.
//! - [`HostBuilder::plaintext`] leaves encryption out: handshakes cost next to nothing. What flips bits then goes unnoticed.
//! - Build with optimisation: `opt-level = 2` for tests is enough, and keeps debug assertions on.
//! - Worlds share nothing: run seeds on as many threads as you have cores, as [`explore::Campaign`] does.
//! - `drywire sim --nodes 1000` and the like show what your machine can do; [`population`] is the code behind it.
//!
//! # What is not modelled
//!
//! - **Congestion.** There is no slow start and no congestion window: a pipe sends as fast as its link's bandwidth lets it, and
//!   pipes do not compete for one line. Throughput over lossy links is better than in the real world.
//! - **Time spent computing.** Code takes no virtual time. A host that is too slow for its load is not seen here.
//! - **Packets.** Pipes move pieces: what one write gives, cut as the link says. There is no Nagle, no delayed acknowledgement.
//! - **NAT, firewalls, routing.** Every host reaches every other one, unless a partition is between them. Datagrams
//!   ([`network`]) have loss, order, copies and a size limit, but no transport uses them yet.
//! - **Disks and memory.** A host that restarts remembers its key and its application, nothing else; no host runs out of memory.
//! - **Other implementations.** All hosts run this stack. That it understands others is tested elsewhere.
#![forbid(unsafe_code)]
#![warn(missing_docs)]
// Nothing here is counted or measured by a peer: numbers come from the test's author, and overflow is checked in tests.
#![allow(clippy::arithmetic_side_effects)]
// A tool with a clock and tasks of its own, if only pretended: it needs std.
#![allow(clippy::std_instead_of_alloc, clippy::std_instead_of_core)]

mod agenda;
pub mod chance;
mod chronicle;
mod error;
pub mod explore;
mod fault;
pub mod kad;
pub mod network;
pub mod population;
mod runtime;
mod statistics;
pub mod timeline;
mod trace;
pub mod usage;
mod violation;
pub mod workload;
mod world;

pub use chronicle::{Chronicle, Moment};
pub use error::WorldError;
pub use fault::{Fault, FaultCounts};
pub use network::{HostId, Link, Region};
pub use runtime::{SimListener, SimPipe, SimRuntime, SimTimer};
pub use statistics::{Latencies, Statistics};
pub use trace::TraceHash;
pub use violation::Violation;
pub use world::{
    Application, Events, Host, HostBuilder, HostContext, Outcome, PORT, Stopped, World,
};
