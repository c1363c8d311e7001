//! Many connections to one host over mio. The server is a process of its own, and so are the clients: each connection has a
//! node of its own.

use crate::{
    Failure,
    meter::{all_descriptors, resident, time_of},
    option,
};
use core::time::Duration;
use drywire::{
    connection::{self, ConnectionId, StreamId},
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    swarm::{self, Config, DialOptions, Rate},
};
use drywire_mio::{Event, Host};
use std::{
    collections::VecDeque,
    env,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::Instant,
};

const ECHO: ProtocolName = ProtocolName::from_static("/echo/1.0.0");
const MESSAGE: [u8; 32] = [7; 32];
/// One process has not the descriptors for more.
const PER_PROCESS: usize = 5000;
/// Tokens of each node among the clients.
const TOKENS: usize = 4;

/// Nothing is closed for being idle, and nobody is refused.
fn config() -> Config {
    let mut config = Config::default();
    config.connection.idle_timeout = Duration::MAX;
    let limits = &mut config.limits;
    (limits.connections, limits.inbound) = (100_000, 100_000);
    // Each may have 256 streams from the start, and 128 KiB.
    let node = &mut config.resources.node;
    (node.streams, node.bytes) = (256 * 100_000, 128 * 1024 * 100_000);
    config.queues.events = 200_000;
    let limits = &mut config.limits;
    (limits.rate_per_address, limits.rate_per_site) = (Rate::UNLIMITED, Rate::UNLIMITED);
    config
}

/// A process of this program, and the lines it says.
struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Process {
    fn start(words: &[String]) -> Result<Self, Failure> {
        let mut child = Command::new(env::current_exe()?)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().ok_or("no input")?;
        let output = child.stdout.take().ok_or("no output")?;
        Ok(Self {
            child,
            input,
            output: BufReader::new(output),
        })
    }

    fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        match line.trim_end() {
            "" => Err("a process has ended early".into()),
            line => Ok(line.to_owned()),
        }
    }

    fn tell(&mut self, line: &str) -> Result<(), Failure> {
        writeln!(self.input, "{line}")?;
        Ok(self.input.flush()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server, and clients that are connected to it.
struct Crowd {
    server: Process,
    clients: Vec<Process>,
    /// Resident bytes of the server: with the first tenth of the connections, and with all.
    resident: (u64, u64),
}

impl Crowd {
    fn gather(connections: usize) -> Result<Self, Failure> {
        let mut server = Process::start(&["server".to_owned()])?;
        let address = server.line()?;
        let id = server.child.id();
        let mut clients = Vec::new();
        let mut begin = 0;
        let mut left = connections;
        // The first tenth pays for what is allocated once.
        let mut next = connections / 10;
        while left > 0 {
            let count = next.min(left).min(PER_PROCESS);
            let words = ["clients", &address, &count.to_string()].map(str::to_owned);
            let mut process = Process::start(&words)?;
            process.line()?;
            clients.push(process);
            if begin == 0 {
                thread::sleep(Duration::from_secs(3));
                begin = resident(id)?;
            }
            left -= count;
            next = PER_PROCESS;
        }
        // Buffers of the handshakes are given back by then.
        thread::sleep(Duration::from_secs(5));
        let descriptors = std::fs::read_dir(format!("/proc/{id}/fd"))?.count();
        if descriptors < connections {
            return Err(format!("the server has {descriptors} descriptors only").into());
        }
        let resident = (begin, resident(id)?);
        Ok(Self {
            server,
            clients,
            resident,
        })
    }
}

pub(crate) fn idle(words: &[String]) -> Result<(), Failure> {
    let connections: usize = option(words, "--connections")?.unwrap_or(10_000);
    let crowd = Crowd::gather(connections)?;
    let (few, all) = crowd.resident;
    let each = all.saturating_sub(few) as f64 / (connections - connections / 10) as f64;
    println!("{connections} idle connections: {each:.0} bytes resident for each at the server");
    let id = crowd.server.child.id();
    let (before, begun) = (time_of(id)?, Instant::now());
    thread::sleep(Duration::from_secs(20));
    let used = time_of(id)? - before;
    println!(
        "processor time of the server in {:.0} s: {:.3} ms",
        begun.elapsed().as_secs_f64(),
        used.as_secs_f64() * 1e3
    );
    Ok(())
}

pub(crate) fn echoes(words: &[String]) -> Result<(), Failure> {
    let seconds: u64 = option(words, "--seconds")?.unwrap_or(20);
    let counts = match option(words, "--connections")? {
        Some(connections) => vec![connections],
        None => vec![50, 5000],
    };
    let mut first = None;
    for connections in counts {
        let mut crowd = Crowd::gather(connections)?;
        for client in &mut crowd.clients {
            client.tell("echo")?;
            client.line()?;
        }
        // All streams are open.
        thread::sleep(Duration::from_secs(2));
        let id = crowd.server.child.id();
        let before = time_of(id)?;
        for client in &mut crowd.clients {
            client.tell(&seconds.to_string())?;
        }
        let mut latencies: Vec<u64> = Vec::new();
        for client in &mut crowd.clients {
            let line = client.line()?;
            for word in line.split_whitespace() {
                latencies.push(word.parse()?);
            }
        }
        let used = time_of(id)? - before;
        latencies.sort_unstable();
        let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize] / 1000;
        let each = used.as_secs_f64() * 1e6 / latencies.len() as f64;
        let ratio = each / *first.get_or_insert(each);
        println!(
            "{connections} connections, {} echoes: {each:.1} us of the server for each ({ratio:.2}); \
             p50 {} us, p99 {} us",
            latencies.len(),
            at(0.5),
            at(0.99)
        );
    }
    Ok(())
}

/// Echoes, until it is killed.
pub(crate) fn server() -> Result<(), Failure> {
    all_descriptors()?;
    let mut event_loop = Host::builder(()).config(config()).event_loop()?;
    event_loop.host().accept(ECHO)?;
    event_loop.host().listen("/ip4/127.0.0.1/tcp/0".parse()?)?;
    let mut buffer = vec![0; 4096];
    loop {
        while let Some(event) = event_loop.host().poll_event() {
            match event {
                Event::Swarm(swarm::Event::Listening { address, .. }) => {
                    println!("{address}");
                    io::stdout().flush()?;
                }
                Event::Connection(
                    connection,
                    connection::Event::Readable { stream }
                    | connection::Event::Inbound { stream, .. },
                ) => {
                    if let Some(mut stream) = event_loop.host().stream(connection, stream) {
                        while let Ok(count @ 1..) = stream.read(&mut buffer) {
                            stream.write_all(&buffer[..count])?;
                        }
                    }
                }
                _ => {}
            }
        }
        event_loop.turn(None)?;
    }
}

struct Client {
    host: Host<()>,
    connection: Option<ConnectionId>,
    stream: Option<StreamId>,
    asked: Option<Instant>,
}

/// Clients of a server, and their common poll.
struct Clients {
    poll: mio::Poll,
    events: mio::Events,
    clients: Vec<Client>,
    /// Those that something has happened to.
    touched: VecDeque<usize>,
    connected: usize,
    latencies: Vec<u64>,
}

impl Clients {
    /// Sleeps until something happens, but not beyond `until`, and handles it.
    fn turn(&mut self, until: Instant) -> Result<(), Failure> {
        let mut sleep = until.saturating_duration_since(Instant::now());
        for number in &self.touched {
            if let Some(due) = self.clients[*number].host.poll_timeout() {
                sleep = sleep.min(due);
            }
        }
        self.poll.poll(&mut self.events, Some(sleep))?;
        let mut touched: Vec<usize> = self.touched.drain(..).collect();
        touched.extend(self.events.iter().map(|event| event.token().0 / TOKENS));
        touched.sort_unstable();
        touched.dedup();
        for number in touched {
            self.clients[number].host.handle_events(&self.events);
            self.drain(number)?;
        }
        Ok(())
    }

    fn drain(&mut self, number: usize) -> Result<(), Failure> {
        let client = &mut self.clients[number];
        while let Some(event) = client.host.poll_event() {
            match event {
                Event::Swarm(swarm::Event::Dialed { connection, .. }) => {
                    client.connection = Some(connection);
                    self.connected += 1;
                }
                Event::Swarm(swarm::Event::DialFailed { error, .. }) => return Err(error.into()),
                Event::Connection(connection, connection::Event::Readable { stream }) => {
                    let mut answer = [0; 64];
                    if let Some(mut stream) = client.host.stream(connection, stream)
                        && let Ok(count) = stream.read(&mut answer)
                        && count == MESSAGE.len()
                        && let Some(asked) = client.asked.take()
                    {
                        self.latencies.push(asked.elapsed().as_nanos().try_into()?);
                        let _ = stream.read(&mut answer);
                    }
                }
                _ => {}
            }
        }
        if client.host.poll_timeout() == Some(Duration::ZERO) {
            self.touched.push_back(number);
        }
        Ok(())
    }

    fn ask(&mut self, number: usize) -> Result<(), Failure> {
        let client = &mut self.clients[number];
        let connection = client.connection.ok_or("not connected")?;
        let stream = match client.stream {
            Some(stream) => stream,
            None => client.host.open(connection, &[ECHO])?,
        };
        client.stream = Some(stream);
        let mut view = client.host.stream(connection, stream).ok_or("no stream")?;
        // One that is still under way is not asked again.
        if client.asked.is_none() {
            client.asked = Some(Instant::now());
            view.write_all(&MESSAGE)?;
        }
        self.drain(number)
    }
}

/// `clients ADDRESS COUNT`: connects so many nodes and says so; on `echo`, opens a stream each; on a number, sends an echo each
/// second for so many seconds, and prints how long they took, in nanoseconds.
pub(crate) fn clients(words: &[String]) -> Result<(), Failure> {
    all_descriptors()?;
    let address: Multiaddr = words.first().ok_or("no address")?.parse()?;
    let count: usize = words.get(1).ok_or("no count")?.parse()?;
    let mut clients = Clients {
        poll: mio::Poll::new()?,
        events: mio::Events::with_capacity(1024),
        clients: Vec::new(),
        touched: VecDeque::new(),
        connected: 0,
        latencies: Vec::new(),
    };
    for number in 0..count {
        let tokens = number * TOKENS..(number + 1) * TOKENS;
        let builder = Host::builder(()).config(config()).tokens(tokens);
        let mut host = builder.start(clients.poll.registry())?;
        host.dial(DialOptions::address(address.clone()))?;
        clients.clients.push(Client {
            host,
            connection: None,
            stream: None,
            asked: None,
        });
        clients.touched.push_back(number);
        // Not more at once than a server takes.
        while clients.connected + 32 < clients.clients.len() {
            clients.turn(Instant::now() + Duration::from_secs(1))?;
        }
    }
    while clients.connected < count {
        clients.turn(Instant::now() + Duration::from_secs(1))?;
    }
    println!("connected");
    io::stdout().flush()?;
    for line in io::stdin().lines() {
        let line = line?;
        match line.parse::<u32>() {
            Ok(seconds) => clients.echo(seconds)?,
            Err(_) => {
                for number in 0..count {
                    clients.ask(number)?;
                    clients.turn(Instant::now())?;
                }
                let end = Instant::now() + Duration::from_secs(1);
                while Instant::now() < end {
                    clients.turn(end)?;
                }
                println!("open");
            }
        }
        io::stdout().flush()?;
    }
    Ok(())
}

impl Clients {
    /// An echo each second on each connection, evenly spread.
    fn echo(&mut self, seconds: u32) -> Result<(), Failure> {
        self.latencies.clear();
        let begun = Instant::now();
        let count = u32::try_from(self.clients.len())?;
        for number in 0..seconds * count {
            let due = begun + Duration::from_secs(1) * number / count;
            while Instant::now() < due {
                self.turn(due)?;
            }
            self.ask((number % count) as usize)?;
            self.turn(Instant::now())?;
        }
        let end = Instant::now() + Duration::from_secs(1);
        while Instant::now() < end {
            self.turn(end)?;
        }
        let words: Vec<String> = self.latencies.iter().map(u64::to_string).collect();
        println!("{}", words.join(" "));
        Ok(())
    }
}
