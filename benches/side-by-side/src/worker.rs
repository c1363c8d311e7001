//! The two processes of a run: a server, and a client that does the work and measures both.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    process::{Child, Command, Stdio},
    time::Duration,
};

use drywire_interop::{Error, Options, Peer, programs};

use crate::{
    meter::{self, Meter},
    requests::Requester,
    subject::{Implementation, Subject, with_peer, with_requests},
    work::Work,
    workload::{self, Measured, Task},
};

/// How the processes of a run are set up.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// The processors that client and server are bound to, if any.
    pub(crate) pin: Option<(usize, usize)>,
    /// A multi-thread runtime in both.
    pub(crate) multi: bool,
    /// Bytes of bulk work.
    pub(crate) bytes: u64,
    /// Multiplies the number of operations.
    pub(crate) scale: f64,
    /// How long memory settles before it is measured.
    pub(crate) settle: Duration,
}

/// Runs one piece of work in two fresh processes. With `trace`, counts their system calls into `trace.client` and
/// `trace.server`.
pub(crate) fn run(
    work: Work,
    subject: Subject,
    setup: &Setup,
    trace: Option<&str>,
) -> io::Result<Measured> {
    let mut setup = setup.clone();
    if work == Work::UploadSmallWritesMulti {
        setup.multi = true;
        setup.pin = None;
    }
    let mut server = Process(
        worker(
            &setup,
            setup.pin.map(|pin| pin.1),
            trace.map(|file| format!("{file}.server")),
        )?
        .args(["server", subject.server.name(), work.describe().0])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?,
    );
    let (pid, address) = server
        .read_line()?
        .split_once(' ')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap_or_default();
    let operations = ((work.operations() as f64 * setup.scale) as u64).max(1);
    let mut client = Process(
        worker(
            &setup,
            setup.pin.map(|pin| pin.0),
            trace.map(|file| format!("{file}.client")),
        )?
        .args([
            "client",
            subject.client.name(),
            work.describe().0,
            &address,
            &pid,
        ])
        .arg(operations.to_string())
        .arg(setup.bytes.to_string())
        .arg(setup.settle.as_millis().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?,
    );
    let line = client.read_line()?;
    if !client.0.wait()?.success() {
        return Err(io::Error::other("the client process failed"));
    }
    drop(server.0.stdin.take());
    server.0.wait()?;
    parse_result(&line).ok_or_else(|| io::Error::other(format!("the client process said: {line}")))
}

/// A child process that does not outlive its run.
struct Process(Child);

impl Process {
    fn read_line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if let Some(stdout) = &mut self.0.stdout {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already ended in the good case.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn worker(setup: &Setup, pin: Option<usize>, trace: Option<String>) -> io::Result<Command> {
    let program = std::env::current_exe()?;
    let mut command = match trace {
        Some(file) => {
            let mut command = Command::new("strace");
            command
                .args(["-f", "-qq", "-c", "-o"])
                .arg(file)
                .arg(program);
            command
        }
        None => Command::new(program),
    };
    command.arg("worker");
    command.arg(pin.map_or("-".to_owned(), |processor| processor.to_string()));
    command.arg(if setup.multi { "multi" } else { "current" });
    Ok(command)
}

/// The entry of a worker process: `PROCESSOR|- current|multi server|client ..`.
pub(crate) fn main(arguments: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [pin, runtime, role @ ..] = words.as_slice() else {
        return Err("worker processes are started by this program only".into());
    };
    meter::raise_file_limit()?;
    if *pin != "-" {
        meter::pin(pin.parse()?)?;
    }
    let runtime = match *runtime {
        "multi" => tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?,
        _ => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?,
    };
    let known =
        |name: &str| Implementation::parse(name).ok_or(format!("unknown implementation {name}"));
    match role {
        ["server", name, work] => {
            let implementation = known(name)?;
            let options = implementation.options();
            if Work::parse(work).and_then(Work::requests).is_some() {
                with_requests!(implementation, serve_requests(&runtime, options))?;
            } else {
                with_peer!(implementation, serve(&runtime, options))?;
            }
        }
        [
            "client",
            name,
            work,
            address,
            server,
            operations,
            bytes,
            settle,
        ] => {
            let implementation = known(name)?;
            let task = Task {
                work: Work::parse(work).ok_or("unknown work")?,
                address: (*address).to_owned(),
                operations: operations.parse()?,
                bytes: bytes.parse()?,
                settle: Duration::from_millis(settle.parse()?),
            };
            let meter = Meter::new(server.parse()?)?;
            let options = implementation.options();
            let measured = if task.work.requests().is_some() {
                with_requests!(
                    implementation,
                    request_from(&runtime, &task, options, meter)
                )?
            } else {
                with_peer!(implementation, work_on(&runtime, &task, options, meter))?
            };
            println!(
                "RESULT {} {} {}",
                measured.client,
                measured.server,
                measured.wall.as_secs_f64()
            );
        }
        _ => return Err("worker processes are started by this program only".into()),
    }
    // Whatever still runs ends with the process.
    runtime.shutdown_background();
    Ok(())
}

fn work_on<P: Peer>(
    runtime: &tokio::runtime::Runtime,
    task: &Task,
    options: Options,
    meter: Meter,
) -> Result<Measured, Error> {
    runtime.block_on(workload::run::<P>(task, options, meter))
}

fn request_from<R: Requester>(
    runtime: &tokio::runtime::Runtime,
    task: &Task,
    options: Options,
    meter: Meter,
) -> Result<Measured, Error> {
    let task = task.clone();
    let work =
        runtime.spawn(async move { workload::run_requests::<R>(&task, options, meter).await });
    join(runtime, work)
}

/// Runs until this task has ended.
fn join<T>(
    runtime: &tokio::runtime::Runtime,
    work: tokio::task::JoinHandle<Result<T, Error>>,
) -> Result<T, Error> {
    let ended = runtime.block_on(work);
    ended.map_err(|error| Error::Node(error.to_string()))?
}

/// Ends the process when its standard input ends.
fn end_with_input() {
    std::thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
}

/// Says the process id (under strace the parent knows another one) and the address.
fn announce(address: &str) {
    println!("{} {address}", std::process::id());
    // Nobody reads it any more: nobody will ask either.
    let _ = io::stdout().flush();
}

/// Serves until the standard input ends.
fn serve<P: Peer>(runtime: &tokio::runtime::Runtime, options: Options) -> Result<(), Error> {
    end_with_input();
    runtime.block_on(async {
        let peer = P::start(options)?;
        programs::serve(&peer)?;
        announce(&peer.listen("/ip4/127.0.0.1/tcp/0").await?);
        std::future::pending().await
    })
}

/// Answers requests until the standard input ends.
fn serve_requests<R: Requester>(
    runtime: &tokio::runtime::Runtime,
    options: Options,
) -> Result<(), Error> {
    end_with_input();
    let work = runtime.spawn(R::serve(options, announce));
    join(runtime, work)
}

fn parse_result(line: &str) -> Option<Measured> {
    let mut numbers = line
        .strip_prefix("RESULT ")?
        .split(' ')
        .map(|number| number.parse::<f64>().ok());
    Some(Measured {
        client: numbers.next()??,
        server: numbers.next()??,
        wall: Duration::from_secs_f64(numbers.next()??),
    })
}
