//! Turns are short, and few.

use crate::common::{ECHO, Loop, ask};
use core::time::Duration;
use drywire::{connection, swarm};
use drywire_mio::{Event, Host, Listener, Socket, Tcp, Transport};
use mio::{
    Interest, Registry, Token,
    event::Source,
    net::{TcpListener, TcpStream},
};
use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Instant,
};

const MIB: usize = 1024 * 1024;
/// Enough to want more in a turn than all may have.
const FLOODED: usize = 40;

/// Bytes read from each socket, by its number.
type Counts = Arc<Mutex<BTreeMap<usize, usize>>>;

/// TCP whose reads are counted.
#[derive(Clone, Default)]
struct Counting {
    read: Counts,
    sockets: Arc<Mutex<usize>>,
}

impl Counting {
    fn count(&self, socket: TcpStream) -> Counted {
        let mut sockets = self.sockets.lock().unwrap();
        *sockets += 1;
        Counted {
            socket,
            number: *sockets,
            read: self.read.clone(),
        }
    }
}

struct Counted {
    socket: TcpStream,
    number: usize,
    read: Counts,
}

struct CountedListener(TcpListener, Counting);

impl Transport for Counting {
    type Listener = CountedListener;
    type Socket = Counted;

    fn connect(&mut self, remote: SocketAddr) -> io::Result<Counted> {
        Ok(self.count(Tcp.connect(remote)?))
    }

    fn listen(&mut self, local: SocketAddr) -> io::Result<CountedListener> {
        Ok(CountedListener(Tcp.listen(local)?, self.clone()))
    }
}

impl Listener for CountedListener {
    type Socket = Counted;

    fn accept(&mut self) -> io::Result<(Counted, SocketAddr)> {
        let (socket, remote) = Listener::accept(&mut self.0)?;
        Ok((self.1.count(socket), remote))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Socket for Counted {
    fn is_connected(&mut self) -> io::Result<bool> {
        self.socket.is_connected()
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.socket.shutdown_write()
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        Socket::local_addr(&self.socket)
    }

    fn short_is_last(&self) -> bool {
        self.socket.short_is_last()
    }
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.socket.read(buffer)?;
        *self.read.lock().unwrap().entry(self.number).or_default() += count;
        Ok(count)
    }
}

impl Write for Counted {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.socket.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

macro_rules! forward_source {
    ($type:ty, $field:tt) => {
        impl Source for $type {
            fn register(&mut self, r: &Registry, t: Token, i: Interest) -> io::Result<()> {
                self.$field.register(r, t, i)
            }

            fn reregister(&mut self, r: &Registry, t: Token, i: Interest) -> io::Result<()> {
                self.$field.reregister(r, t, i)
            }

            fn deregister(&mut self, r: &Registry) -> io::Result<()> {
                self.$field.deregister(r)
            }
        }
    };
}

forward_source!(Counted, socket);
forward_source!(CountedListener, 0);

/// Connections are flooded, on another thread, as fast as they can be; one more wants an echo now and then.
#[test]
fn a_turn_is_bounded_and_each_socket_gets_its_share() {
    let transport = Counting::default();
    let read = transport.read.clone();
    let mut server = Host::builder(()).transport(transport).event_loop().unwrap();
    server.host().accept(ECHO).unwrap();
    let sink = drywire::multistream::ProtocolName::from_static("/sink/1.0.0");
    server.host().accept(sink.clone()).unwrap();
    server
        .host()
        .listen("/ip4/127.0.0.1/tcp/0".parse().unwrap())
        .unwrap();
    let address = server
        .run(|_, event| match event {
            Event::Swarm(swarm::Event::Listening { address, .. }) => {
                core::ops::ControlFlow::Break(address)
            }
            _ => core::ops::ControlFlow::Continue(()),
        })
        .unwrap();
    let flooding = std::thread::spawn(move || {
        let mut hosts = Loop::<Tcp>::new();
        let mut connections = Vec::new();
        for number in 0..=FLOODED {
            let builder = Host::builder(()).tokens(number * 4..(number + 1) * 4);
            let host = builder.start(hosts.poll.registry()).unwrap();
            hosts.add(host);
            let connection = hosts.dial(number, address.clone());
            connections.push(connection);
        }
        let mut streams = Vec::new();
        let names = [sink];
        for (host, connection) in hosts.hosts.iter_mut().zip(&connections).take(FLOODED) {
            streams.push(host.open(*connection, &names).unwrap());
        }
        let (mut answers, data) = (0, vec![7; MIB]);
        let end = Instant::now() + Duration::from_secs(20);
        let mut flooded = 0;
        while answers < 20 {
            assert!(Instant::now() < end, "{answers} answers under a flood");
            for number in 0..FLOODED {
                let host = &mut hosts.hosts[number];
                let stream = host.stream(connections[number], streams[number]);
                flooded += stream.unwrap().write(&data).unwrap_or(0);
            }
            if flooded > 20 * MIB {
                ask(&mut hosts, FLOODED, connections[FLOODED]);
                answers += 1;
            }
            hosts.turn(Duration::from_millis(1));
        }
        flooded
    });
    let (mut most, mut most_of_one, mut buffer) = (0, 0, vec![0; MIB]);
    while !flooding.is_finished() {
        read.lock().unwrap().clear();
        server.turn(Some(Duration::from_millis(5))).unwrap();
        {
            let read = read.lock().unwrap();
            most = most.max(read.values().sum());
            most_of_one = most_of_one.max(read.values().copied().max().unwrap_or(0));
        }
        while let Some(event) = server.host().poll_event() {
            if let Event::Connection(
                connection,
                connection::Event::Inbound { stream, .. } | connection::Event::Readable { stream },
            ) = event
                && let Some(mut stream) = server.host().stream(connection, stream)
            {
                let is_echo = stream.protocol() == Some(&ECHO);
                while let Ok(count) = stream.read(&mut buffer) {
                    if is_echo && count > 0 {
                        stream.write_all(&buffer[..count]).unwrap();
                    }
                    if count == 0 {
                        stream.finish().unwrap();
                        break;
                    }
                }
            }
        }
    }
    assert!(flooding.join().unwrap() > 20 * MIB);
    // One buffer more than the share: the last read may fill it.
    assert!(most_of_one <= MIB / 2, "{most_of_one} bytes of one socket");
    assert!(most <= 9 * MIB / 2, "{most} bytes in a turn");
    assert!(most > 0);
}

#[test]
fn a_host_with_nothing_to_do_is_not_woken() {
    let mut hosts = Loop::<Tcp>::new();
    for number in 0..2 {
        let mut config = swarm::Config::default();
        config.connection.idle_timeout = Duration::from_secs(3600);
        let builder = Host::builder(())
            .config(config)
            .tokens(number * 10..(number + 1) * 10);
        let host = builder.start(hosts.poll.registry()).unwrap();
        hosts.add(host);
    }
    let address = hosts.listen(0);
    let connection = hosts.dial(1, address);
    ask(&mut hosts, 1, connection);
    // Buffers are given back a little later.
    let end = Instant::now() + Duration::from_secs(8);
    while Instant::now() < end && hosts.turns < 10_000 {
        hosts.turn(Duration::from_secs(1));
    }
    hosts.turns = 0;
    let end = Instant::now() + Duration::from_millis(700);
    while Instant::now() < end {
        hosts.turn(Duration::from_millis(200));
    }
    assert!(hosts.turns <= 5, "{} turns", hosts.turns);
    let due = hosts.hosts.iter().filter_map(Host::poll_timeout).min();
    assert!(
        due.is_none_or(|due| due > Duration::from_secs(60)),
        "{due:?}"
    );
}

#[test]
fn dropping_a_host_closes_its_sockets_at_once() {
    let mut hosts = Loop::<Tcp>::new();
    for number in 0..2 {
        let builder = Host::builder(()).tokens(number * 10..(number + 1) * 10);
        let host = builder.start(hosts.poll.registry()).unwrap();
        hosts.add(host);
    }
    let address = hosts.listen(0);
    hosts.dial(1, address);
    hosts.until(0, |event| match event {
        Event::Swarm(swarm::Event::ConnectionEstablished { .. }) => Some(()),
        _ => None,
    });
    assert_eq!((hosts.hosts[0].sockets(), hosts.hosts[1].sockets()), (2, 1));
    drop(hosts.hosts.pop());
    hosts.until(0, |event| match event {
        Event::Swarm(swarm::Event::ConnectionClosed { .. }) => Some(()),
        _ => None,
    });
}
