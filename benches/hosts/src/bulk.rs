//! One stream of bytes, over each kind of host.

use crate::{
    Failure, median,
    meter::{Times, own_times, pin},
    option,
};
use core::future::Future;
use drywire::{
    connection::{self, ConnectionId, StreamId},
    identity::Keypair,
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    node::{Node, NodeAction, NodeEvent},
    seed::Seed,
    swarm::{self, Action, Config, DialOptions, Swarm},
};
use drywire_engine::Runtime;
use drywire_mio::{Event, Host};
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use std::{
    env,
    io::{Read as _, Write as _},
    process::Command,
    sync::Arc,
};

const NAME: ProtocolName = ProtocolName::from_static("/bulk/1.0.0");
/// What an application writes and reads at once.
const PIECE: usize = 64 * 1024;
const WARM_UP: u64 = 64 << 20;
const SUBJECTS: &str = "memory,mio,tokio,smol,async-std";

pub(crate) fn main(words: &[String]) -> Result<(), Failure> {
    let runs: usize = option(words, "--runs")?.unwrap_or(5);
    let mebibytes: u64 = option(words, "--size-mib")?.unwrap_or(1024);
    let subjects: Option<String> = option(words, "--subjects")?;
    let subjects = subjects.unwrap_or_else(|| SUBJECTS.to_owned());
    let mut figures: Vec<_> = subjects
        .split(',')
        .map(|subject| (subject, Vec::new(), Vec::new()))
        .collect();
    for _ in 0..runs {
        for (subject, user, total) in &mut figures {
            let output = Command::new(env::current_exe()?)
                .args(["bulk-worker", subject, &mebibytes.to_string()])
                // One thread for each, as one processor is all there is.
                .env("ASYNC_STD_THREAD_COUNT", "1")
                .output()?;
            if !output.status.success() {
                return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
            }
            let text = String::from_utf8(output.stdout)?;
            let mut seconds = text.split_whitespace().map(str::parse::<f64>);
            let mut next = || seconds.next().ok_or("a worker said too little");
            let (in_user, in_system) = (next()??, next()??);
            user.push(in_user);
            total.push(in_user + in_system);
        }
    }
    println!("subject     user s/GiB       to first   user and system s/GiB   to first");
    let mut first = None;
    for (subject, user, total) in &mut figures {
        let (in_user, in_all) = (median(user), median(total));
        let (first_user, first_all) = *first.get_or_insert((in_user, in_all));
        println!(
            "{subject:<11} {in_user:.3} [{:.3}-{:.3}] {:>6.2}   {in_all:.3} [{:.3}-{:.3}] {:>13.2}",
            user[0],
            user[user.len() - 1],
            in_user / first_user,
            total[0],
            total[total.len() - 1],
            in_all / first_all,
        );
    }
    Ok(())
}

/// Moves the bytes once, and prints seconds of user and system time per GiB.
pub(crate) fn worker(words: &[String]) -> Result<(), Failure> {
    let subject = words.first().map(String::as_str);
    let bytes = words.get(1).and_then(|text| text.parse::<u64>().ok());
    let bytes = bytes.ok_or("no size")? << 20;
    pin(0)?;
    let mut gauge = Gauge::new(bytes);
    match subject {
        Some("memory") => memory(&mut gauge)?,
        Some("mio") => over_mio(&mut gauge)?,
        Some("tokio") => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            gauge = runtime.block_on(async {
                over_engine(drywire_tokio::TokioRuntime::current()?, gauge).await
            })?;
        }
        Some("smol") => {
            let executor = Arc::new(smol::Executor::new());
            let runtime = drywire_smol::SmolRuntime::on(&executor);
            gauge = smol::block_on(executor.run(over_engine(runtime, gauge)))?;
        }
        Some("async-std") => {
            let runtime = drywire_async_std::AsyncStdRuntime::default();
            gauge = async_std::task::block_on(over_engine(runtime, gauge))?;
        }
        Some("engine-over-mio") => {
            let mut executor = drywire_mio::executor::Executor::new()?;
            let runtime = executor.runtime();
            gauge = executor.block_on(over_engine(runtime, gauge))??;
        }
        other => return Err(format!("no such subject: {other:?}").into()),
    }
    let (user, system) = gauge.result()?;
    println!("{user} {system}");
    Ok(())
}

/// Counts what arrives, and takes the time once the warm-up is over.
struct Gauge {
    bytes: u64,
    arrived: u64,
    begun: Option<Times>,
    ended: Option<Times>,
}

impl Gauge {
    const fn new(bytes: u64) -> Self {
        Self {
            bytes,
            arrived: 0,
            begun: None,
            ended: None,
        }
    }

    /// Whether all has arrived.
    fn add(&mut self, count: usize) -> Result<bool, Failure> {
        self.arrived += count as u64;
        if self.begun.is_none() && self.arrived >= WARM_UP {
            self.begun = Some(own_times()?);
        }
        if self.ended.is_none() && self.arrived >= WARM_UP + self.bytes {
            self.ended = Some(own_times()?);
        }
        Ok(self.ended.is_some())
    }

    fn result(&self) -> Result<(f64, f64), Failure> {
        let (Some(begun), Some(ended)) = (self.begun, self.ended) else {
            return Err("not all has arrived".into());
        };
        let gib = self.bytes as f64 / f64::from(1 << 30);
        Ok((
            (ended.user - begun.user).as_secs_f64() / gib,
            (ended.system - begun.system).as_secs_f64() / gib,
        ))
    }
}

fn config() -> Config {
    Config::default()
}

fn node(number: u64) -> Result<Node<()>, Failure> {
    let seed = Seed::for_tests(number);
    let keypair = Keypair::ed25519_from_seed(&seed);
    let (now, unix) = (drywire_system::now(), drywire_system::unix());
    let swarm = Swarm::new(config(), keypair, (), seed, now, unix)?;
    Ok(Node::new(swarm))
}

/// Two nodes and nothing else: what one transmits is copied into the other's buffer.
fn memory(gauge: &mut Gauge) -> Result<(), Failure> {
    use drywire::connection::ConnectedPoint;
    let (mut client, mut server) = (node(1)?, node(2)?);
    let now = drywire_system::now;
    let accept = connection::Accept::new(connection::StreamKind::Raw).host_owned();
    server.command(now(), |swarm| swarm.accept(now(), NAME, accept))?;
    let address: Multiaddr = "/ip4/127.0.0.1/tcp/4001".parse()?;
    client.dial(now(), DialOptions::address(address.clone()))?;
    let (mut out, mut theirs, mut ours) = (Vec::new(), None, None);
    let (mut sending, data) = (None, vec![7; PIECE]);
    let mut buffer = vec![0; PIECE];
    loop {
        while let Some(event) = client.poll_event() {
            if let NodeEvent::Swarm(swarm::Event::Dialed { connection, .. }) = &event {
                let kind = connection::StreamKind::Raw;
                let stream = client.open(now(), *connection, &[NAME], kind, Default::default())?;
                sending = Some((*connection, stream));
            }
        }
        if let Some((connection, stream)) = sending
            && let Some(mut stream) = client.stream(connection, stream)
        {
            while stream.write(&data).is_ok() {}
        }
        while let Some(action) = client.poll_action() {
            match action {
                NodeAction::Swarm(Action::Dial { attempt, address }) => {
                    let point = ConnectedPoint::accepted(address.clone(), None);
                    theirs = server.handle_accept(now(), point).ok();
                    let point = ConnectedPoint::dialed(address, None);
                    ours = client.handle_dialed(now(), attempt, Ok(point));
                }
                NodeAction::Transmit(connection) => {
                    out.clear();
                    client.poll_transmit(now(), connection, &mut out, 256 * 1024);
                    carry(&mut server, theirs, &out);
                }
                _ => {}
            }
        }
        while let Some(event) = server.poll_event() {
            if let NodeEvent::Connection(
                connection,
                connection::Event::Readable { stream } | connection::Event::Inbound { stream, .. },
            ) = event
                && let Some(mut stream) = server.stream(connection, stream)
            {
                while let Ok(count) = stream.read_into(&mut buffer) {
                    if gauge.add(count)? {
                        return Ok(());
                    }
                }
            }
        }
        while let Some(action) = server.poll_action() {
            if let NodeAction::Transmit(connection) = action {
                out.clear();
                server.poll_transmit(now(), connection, &mut out, 256 * 1024);
                carry(&mut client, ours, &out);
            }
        }
    }
}

/// As a socket would: as much at once as there is room for.
fn carry(node: &mut Node<()>, connection: Option<ConnectionId>, mut bytes: &[u8]) {
    let Some(connection) = connection else { return };
    while !bytes.is_empty() {
        let Some(buffer) = node.recv_buf(connection) else {
            panic!("there is always room: the application reads everything");
        };
        let count = bytes.len().min(buffer.capacity() - buffer.len());
        let (now, rest) = bytes.split_at(count);
        buffer.extend_from_slice(now);
        node.handle_recv(drywire_system::now(), connection);
        bytes = rest;
    }
}

/// Two hosts in one loop.
fn over_mio(gauge: &mut Gauge) -> Result<(), Failure> {
    let mut poll = mio::Poll::new()?;
    let mut events = mio::Events::with_capacity(256);
    let host = |tokens| {
        let builder = Host::builder(()).config(config());
        builder.tokens(tokens).start(poll.registry())
    };
    let (mut client, mut server) = (host(0..100)?, host(100..200)?);
    server.accept(NAME)?;
    server.listen("/ip4/127.0.0.1/tcp/0".parse()?)?;
    let (data, mut buffer) = (vec![7; PIECE], vec![0; PIECE]);
    loop {
        while let Some(event) = server.poll_event() {
            match event {
                Event::Swarm(swarm::Event::Listening { address, .. }) => {
                    client.dial(DialOptions::address(address))?;
                }
                Event::Connection(
                    connection,
                    connection::Event::Readable { stream }
                    | connection::Event::Inbound { stream, .. },
                ) => {
                    if let Some(mut stream) = server.stream(connection, stream) {
                        while let Ok(count) = stream.read(&mut buffer) {
                            if gauge.add(count)? {
                                return Ok(());
                            }
                        }
                    }
                }
                _ => {}
            }
        }
        while let Some(event) = client.poll_event() {
            let writable = match event {
                Event::Swarm(swarm::Event::Dialed { connection, .. }) => {
                    Some((connection, client.open(connection, &[NAME])?))
                }
                Event::Connection(connection, connection::Event::Writable { stream }) => {
                    Some((connection, stream))
                }
                _ => None,
            };
            if let Some((connection, stream)) = writable {
                fill(&mut client, connection, stream, &data);
            }
        }
        let due = [client.poll_timeout(), server.poll_timeout()];
        poll.poll(&mut events, due.into_iter().flatten().min())?;
        client.handle_events(&events);
        server.handle_events(&events);
    }
}

fn fill(host: &mut Host<()>, connection: ConnectionId, stream: StreamId, data: &[u8]) {
    if let Some(mut stream) = host.stream(connection, stream) {
        while stream.write(data).is_ok() {}
    }
}

/// Two hosts of the engine, and a task for each.
async fn over_engine<R: Runtime>(runtime: R, mut gauge: Gauge) -> Result<Gauge, Failure> {
    let host = || {
        drywire_engine::Host::builder(runtime.clone(), ())
            .config(config())
            .start()
    };
    let (client, server) = (host()?, host()?);
    let mut incoming = server.accept(NAME, 1)?;
    let address = server
        .listen("/ip4/127.0.0.1/tcp/0".parse()?)
        .await?
        .address;
    let peer = client.dial(DialOptions::address(address)).await?.peer;
    let mut stream = client.open_stream(peer, NAME).await?;
    runtime.spawn(async move {
        let data = vec![7; PIECE];
        while stream.write_all(&data).await.is_ok() {}
    });
    // In a task of its own too: the main one is the last to be run.
    let reading = async move {
        let (_, mut stream) = incoming.next().await.ok_or("the host has ended")?;
        let mut buffer = vec![0; PIECE];
        loop {
            let count = stream.read(&mut buffer).await?;
            if count == 0 || gauge.add(count)? {
                return Ok::<_, Failure>(gauge);
            }
        }
    };
    spawned(&runtime, reading).await
}

async fn spawned<R: Runtime, T: Send + 'static>(
    runtime: &R,
    task: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Result<T, Failure> {
    let (sender, receiver) = futures::channel::oneshot::channel();
    runtime.spawn(async move {
        let _ = sender.send(task.await);
    });
    receiver.await?
}
