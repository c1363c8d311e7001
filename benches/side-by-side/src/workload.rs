//! The client side of each piece of work, for any implementation, and its measurement.

use std::{
    io,
    time::{Duration, Instant},
};

use drywire_interop::{
    Error, Options, Peer,
    programs::{self, CHUNK, ECHO, HOLD, PERF},
};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::{meter::Meter, requests::Requester, work::Work};

/// After this time without work both ends are taken to be quiet.
const QUIET: Duration = Duration::from_millis(50);

const WARM_UP: u64 = 64 << 20;
const SMALL: usize = 32;
const IN_FLIGHT: u64 = 100;
const PARALLEL: u64 = 10;

/// How much of the work to do, and where.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) work: Work,
    pub(crate) address: String,
    /// Operations, connections or streams.
    pub(crate) operations: u64,
    /// Bytes of bulk work.
    pub(crate) bytes: u64,
    /// How long memory settles before it is measured.
    pub(crate) settle: Duration,
}

/// What one run found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    /// The figure in the row's unit, split by end. Memory counts at the server, so there they do not add up.
    pub(crate) client: f64,
    pub(crate) server: f64,
    pub(crate) wall: Duration,
}

/// Runs the task on a node that `start` makes.
pub(crate) async fn run<P: Peer>(
    task: &Task,
    options: Options,
    meter: Meter,
) -> Result<Measured, Error> {
    let memory = matches!(
        task.work,
        Work::IdleConnection | Work::IdleConnectionUsed | Work::IdleStream
    );
    if memory {
        return run_memory::<P>(task, options, meter).await;
    }
    let peer = P::start(options)?;
    if task.work == Work::Connect {
        return run_connect(task, &peer, meter).await;
    }
    let server = peer.connect(&task.address).await?;
    match task.work {
        Work::Upload
        | Work::Download
        | Work::UploadTen
        | Work::UploadSmallWrites
        | Work::UploadSmallWritesMulti => run_bulk(task, &peer, &server, meter).await,
        Work::EchoLasting | Work::EchoLastingHundred => {
            run_lasting(task, &peer, &server, meter).await
        }
        _ => run_new(task, &peer, &server, meter).await,
    }
}

/// Measures `work`, from quiet to quiet. The two clocks and the waiting are left out of the wall-clock time.
async fn measure<F>(meter: Meter, units: f64, work: F) -> Result<Measured, Error>
where
    F: Future<Output = Result<(), Error>>,
{
    tokio::time::sleep(QUIET).await;
    let before = meter.usage()?;
    let start = Instant::now();
    work.await?;
    let wall = start.elapsed();
    tokio::time::sleep(QUIET).await;
    let after = meter.usage()?;
    Ok(Measured {
        client: (after.client - before.client).as_secs_f64() / units,
        server: (after.server - before.server).as_secs_f64() / units,
        wall,
    })
}

/// Makes seconds an operation microseconds.
fn micros(measured: Measured) -> Measured {
    Measured {
        client: measured.client * 1e6,
        server: measured.server * 1e6,
        ..measured
    }
}

async fn run_bulk<P: Peer>(
    task: &Task,
    peer: &P,
    server: &P::Id,
    meter: Meter,
) -> Result<Measured, Error> {
    let chunk = match task.work {
        Work::UploadSmallWrites | Work::UploadSmallWritesMulti => 1024,
        _ => CHUNK,
    };
    let (upload, streams) = match task.work {
        Work::Download => (false, 1),
        Work::UploadTen => (true, PARALLEL),
        _ => (true, 1),
    };
    let transfer = async |bytes: u64| {
        let bytes = bytes / streams;
        let (up, down) = if upload { (bytes, 0) } else { (0, bytes) };
        each(streams, |_| {
            let (peer, server) = (peer.clone(), server.clone());
            async move {
                programs::perf(peer.open(&server, PERF).await?, up, down, chunk)
                    .await
                    .map(drop)
            }
        })
        .await
    };
    transfer(WARM_UP.min(task.bytes)).await?;
    measure(
        meter,
        task.bytes as f64 / (1 << 30) as f64,
        transfer(task.bytes),
    )
    .await
}

async fn run_connect<P: Peer>(task: &Task, peer: &P, meter: Meter) -> Result<Measured, Error> {
    let connect = async |count: u64| {
        for _ in 0..count {
            let server = peer.connect(&task.address).await?;
            request(peer.open(&server, ECHO).await?).await?;
            peer.disconnect(&server).await?;
        }
        Ok(())
    };
    connect(task.operations.div_ceil(10)).await?;
    measure(meter, task.operations as f64, connect(task.operations))
        .await
        .map(micros)
}

async fn run_new<P: Peer>(
    task: &Task,
    peer: &P,
    server: &P::Id,
    meter: Meter,
) -> Result<Measured, Error> {
    let optimistic = matches!(
        task.work,
        Work::EchoOptimistic | Work::EchoOptimisticHundred
    );
    let tasks = match task.work {
        Work::EchoNewHundred | Work::EchoOptimisticHundred => IN_FLIGHT,
        _ => 1,
    };
    let requests = async |count: u64| {
        each(tasks, |_| {
            let (peer, server) = (peer.clone(), server.clone());
            async move {
                for _ in 0..count / tasks {
                    let stream = match optimistic {
                        true => peer.open_optimistic(&server, ECHO).await?,
                        false => peer.open(&server, ECHO).await?,
                    };
                    request(stream).await?;
                }
                Ok(())
            }
        })
        .await
    };
    let operations = task.operations.div_ceil(tasks) * tasks;
    requests(operations.div_ceil(10)).await?;
    measure(meter, operations as f64, requests(operations))
        .await
        .map(micros)
}

async fn run_lasting<P: Peer>(
    task: &Task,
    peer: &P,
    server: &P::Id,
    meter: Meter,
) -> Result<Measured, Error> {
    let count = if task.work == Work::EchoLastingHundred {
        IN_FLIGHT
    } else {
        1
    };
    let mut streams = Vec::new();
    for _ in 0..count {
        let mut stream = peer.open(server, ECHO).await?;
        programs::echo_once(&mut stream, &[1], &mut [0]).await?;
        streams.push(stream);
    }
    let rounds = task.operations.div_ceil(count);
    let streams = echo_rounds(streams, rounds.div_ceil(10)).await?;
    let work = async { echo_rounds(streams, rounds).await.map(drop) };
    measure(meter, (rounds * count) as f64, work)
        .await
        .map(micros)
}

/// Exchanges small messages on all streams at once, and gives the streams back.
async fn echo_rounds<S>(streams: Vec<S>, rounds: u64) -> Result<Vec<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let tasks: Vec<_> = streams
        .into_iter()
        .map(|mut stream| {
            tokio::spawn(async move {
                let (data, mut answer) = ([7; SMALL], [0; SMALL]);
                for _ in 0..rounds {
                    programs::echo_once(&mut stream, &data, &mut answer).await?;
                }
                Ok::<_, io::Error>(stream)
            })
        })
        .collect();
    let mut streams = Vec::new();
    for task in tasks {
        streams.push(
            task.await
                .map_err(|error| Error::Node(error.to_string()))??,
        );
    }
    Ok(streams)
}

/// One request and its answer on a stream of their own.
async fn request<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> Result<(), Error> {
    stream.write_all(&[7; SMALL]).await?;
    stream.close().await?;
    let (mut answer, mut length) = ([0; 2 * SMALL], 0);
    loop {
        match stream.read(&mut answer[length..]).await? {
            0 if length == SMALL => return Ok(()),
            0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            count => length += count,
        }
    }
}

/// Runs `count` tasks at once and waits for all.
async fn each<F>(count: u64, mut task: impl FnMut(u64) -> F) -> Result<(), Error>
where
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    let tasks: Vec<_> = (0..count)
        .map(|number| tokio::spawn(task(number)))
        .collect();
    for task in tasks {
        task.await
            .map_err(|error| Error::Node(error.to_string()))??;
    }
    Ok(())
}

/// Sends the requests of the task from a node of their own.
pub(crate) async fn run_requests<R: Requester>(
    task: &Task,
    options: Options,
    meter: Meter,
) -> Result<Measured, Error> {
    let requests = task
        .work
        .requests()
        .ok_or_else(|| Error::Node("no requests".to_owned()))?;
    let mut requester = R::connect(options, &task.address).await?;
    requester
        .ask(requests, task.operations.div_ceil(10))
        .await?;
    measure(
        meter,
        task.operations as f64,
        requester.ask(requests, task.operations),
    )
    .await
    .map(micros)
}

async fn run_memory<P: Peer>(
    task: &Task,
    options: Options,
    meter: Meter,
) -> Result<Measured, Error> {
    let mut load = Load::<P> {
        task,
        options,
        nodes: Vec::new(),
        streams: Vec::new(),
    };
    // What the first ones allocate once is not what each one costs.
    load.grow(task.operations.div_ceil(10)).await?;
    tokio::time::sleep(task.settle).await;
    let before = meter.resident()?;
    let start = Instant::now();
    load.grow(task.operations).await?;
    let wall = start.elapsed();
    tokio::time::sleep(task.settle).await;
    let after = meter.resident()?;
    let unit = if task.work == Work::IdleStream {
        1.0
    } else {
        1000.0
    };
    let each =
        |before: u64, after: u64| (after as f64 - before as f64) / task.operations as f64 / unit;
    Ok(Measured {
        client: each(before.0, after.0),
        server: each(before.1, after.1),
        wall,
    })
}

/// Idle connections, each from a node of its own, or idle streams on one connection.
struct Load<'a, P: Peer> {
    task: &'a Task,
    options: Options,
    nodes: Vec<(P, P::Id)>,
    streams: Vec<P::Stream>,
}

impl<P: Peer> Load<'_, P> {
    async fn grow(&mut self, count: u64) -> Result<(), Error> {
        if self.task.work == Work::IdleStream {
            return self.grow_streams(count).await;
        }
        for _ in 0..count {
            let node = self.connect().await?;
            if self.task.work == Work::IdleConnectionUsed {
                let stream = node.0.open(&node.1, ECHO).await?;
                programs::echo(stream, 64 * 1024).await?;
            }
            self.nodes.push(node);
        }
        Ok(())
    }

    async fn grow_streams(&mut self, count: u64) -> Result<(), Error> {
        let (peer, server) = match self.nodes.pop() {
            Some(node) => node,
            None => self.connect().await?,
        };
        for _ in 0..count {
            let mut stream = peer.open(&server, HOLD).await?;
            programs::echo_once(&mut stream, &[1], &mut [0]).await?;
            self.streams.push(stream);
        }
        self.nodes.push((peer, server));
        Ok(())
    }

    async fn connect(&self) -> Result<(P, P::Id), Error> {
        let peer = P::start(self.options.clone())?;
        let server = peer.connect(&self.task.address).await?;
        Ok((peer, server))
    }
}
