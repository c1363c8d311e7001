//! Whole nodes with the standard protocols.

use drywire::{
    connection::{Accept, ConnectionId, StreamKind},
    multistream::ProtocolName,
    protocol::{Standard, stream::OpenOptions},
    recording::{ConnectionsOnly, Script},
    swarm::{Config, Context, Protocol, Rate, SecurityConfig},
    time::UnixTime,
};
use drywire_tests::{
    dice::Dice,
    net::{Apart, Host, Manner, Net, Together, Trace, address, peer},
    pair::Told,
    tape::{Tape, replay},
};
use std::time::Duration;

const ECHO: ProtocolName = ProtocolName::from_static("/echo/1");

/// Nodes without closures.
pub struct Standards;

impl Script for Standards {
    type Protocols = Standard;

    fn protocols(&mut self, _: u32) -> Option<Standard> {
        Some(Standard::default())
    }
}

/// What an application does in closures.
#[derive(Clone, Copy, Debug)]
enum Command {
    SetUp,
    Ping(usize),
    Ask(ConnectionId),
    Open(usize),
}

impl Command {
    fn run(self, set: &mut Standard, cx: &mut Context<'_, <Standard as Protocol>::Event>) {
        match self {
            Self::SetUp => {
                let accept = Accept::new(StreamKind::Raw).max_streams(1 << 20);
                set.streams(cx, |streams, cx| streams.register_with(ECHO, accept, cx))
                    .expect("a new name");
            }
            Self::Ping(to) => {
                set.ping(cx, |ping, cx| ping.ping(&peer(to), cx));
            }
            Self::Ask(connection) => {
                set.identify(cx, |identify, cx| identify.ask(connection, cx));
            }
            Self::Open(to) => {
                let options = OpenOptions::new(peer(to)).addresses([address(to)]);
                let _ = set.streams(cx, |streams, cx| streams.open(options, cx));
            }
        }
    }
}

/// Nodes, and the closures each was given.
struct Story<H: Host> {
    net: Net<H>,
    closures: Vec<Vec<Command>>,
}

impl<H: Host<Protocol = Standard>> Story<H> {
    fn new(seed: u64, manner: &Manner) -> Self {
        let mut config = if seed.is_multiple_of(2) {
            Config::default()
        } else {
            Config::new(SecurityConfig::InsecurePlaintext)
        };
        config.limits.rate_per_address = Rate::UNLIMITED;
        let net = Net::new(3, &config, seed, manner, Standard::default);
        let mut story = Self {
            net,
            closures: vec![Vec::new(); 3],
        };
        (0..3).for_each(|number| story.command(number, Command::SetUp));
        story
    }

    fn command(&mut self, number: usize, command: Command) {
        let now = self.net.now;
        self.closures[number].push(command);
        let host = &mut self.net.hosts[number];
        host.command(now, |swarm| {
            swarm.with(now, |set, cx| command.run(set, cx));
        });
    }

    fn tell(&mut self, seed: u64) {
        let mut dice = Dice::new(seed);
        let _ = self.net.dial(0, 1);
        for _ in 0..40 {
            let from = dice.below(3);
            let to = (from + 1 + dice.below(2)) % 3;
            let now = self.net.now;
            let connections = self.net.connections(from);
            let connection = connections.get(dice.below(connections.len().max(1)));
            match (dice.below(18), connection) {
                (0 | 1, _) => _ = self.net.dial(from, to),
                (2..=5, _) => self
                    .net
                    .run_for(Duration::from_millis(dice.below(200) as u64)),
                (6, _) => self
                    .net
                    .run_for(Duration::from_millis(dice.below(20_000) as u64)),
                (7, _) => self.command(from, Command::Ping(to)),
                (8, Some(connection)) => self.command(from, Command::Ask(*connection)),
                (9, _) => self.command(from, Command::Open(to)),
                (10..=12, Some(connection)) => {
                    let length = dice.below(60 * 1024);
                    let _ = self.net.request(from, *connection, "/echo/1", length);
                }
                (13, Some(connection)) => self.net.cut(from, *connection),
                (14, _) => self.manage(from, to, &mut dice),
                (15, _) => {
                    let peer = peer(to);
                    self.net.hosts[from].command(now, |swarm| swarm.disconnect(now, &peer));
                }
                _ => {
                    let unix = UnixTime::from_secs(1_800_000_000 + dice.below(100_000) as u64);
                    let interfaces = vec![[10, 0, 0, dice.below(3) as u8].into()];
                    self.net.hosts[from].command(now, |swarm| {
                        swarm.handle_wall_clock(now, unix);
                        swarm.handle_interfaces(now, interfaces);
                    });
                }
            }
        }
        self.net.run_for(Duration::from_secs(40));
    }

    /// Commands of a host that have nothing to do with connections, or end them.
    fn manage(&mut self, from: usize, to: usize, dice: &mut Dice) {
        let (now, peer, address) = (self.net.now, peer(to), address(to));
        let kind = dice.below(10);
        let name = ProtocolName::from_static("/now/and/then");
        self.net.hosts[from].command(now, |swarm| match kind {
            0 => swarm.deny_peer(now, peer),
            1 => _ = swarm.allow_peer(&peer),
            2 => swarm.deny_network([198, 51, 100, 0].into(), 24),
            3 => _ = swarm.allow_network([198, 51, 100, 0].into(), 24),
            4 => _ = swarm.add_address(now, peer, &address),
            5 => swarm.remove_address(peer, &address),
            6 => _ = swarm.accept(now, name, Accept::new(StreamKind::Raw)),
            7 => _ = swarm.unaccept(now, &name),
            8 => swarm.add_external_address(now, &address),
            _ => swarm.remove_external_address(now, &address),
        });
    }
}

impl<H: Host> Script for &Story<H> {
    type Protocols = Standard;

    fn protocols(&mut self, _: u32) -> Option<Standard> {
        Some(Standard::default())
    }

    fn closure(
        &mut self,
        host: u32,
        number: u64,
        set: &mut Standard,
        cx: &mut Context<'_, <Standard as Protocol>::Event>,
    ) -> bool {
        let command = self.closures[host as usize].get(number as usize);
        if let Some(command) = command {
            command.run(set, cx);
        }
        command.is_some()
    }
}

fn manner(seed: u64, tape: Option<&Tape>) -> Manner {
    Manner {
        nosy: (seed % 4 == 1).then_some(seed),
        told: [Told::Plainly, Told::Twice, Told::Backwards][(seed % 3) as usize],
        pieces: Dice::new(seed).pieces(),
        tape: tape.cloned(),
        ..Manner::default()
    }
}

fn record<H: Host<Protocol = Standard>>(seed: u64) -> (Story<H>, Tape) {
    let tape = Tape::default();
    let mut story = Story::<H>::new(seed, &manner(seed, Some(&tape)));
    story.tell(seed);
    (story, tape)
}

fn plain<H: Host<Protocol = Standard>>(seed: u64) -> Vec<Trace> {
    let mut story = Story::<H>::new(seed, &manner(seed, None));
    story.tell(seed);
    story.net.traces
}

fn whole_nodes<H: Host<Protocol = Standard>>() {
    for seed in 0..24 {
        let (story, tape) = record::<H>(seed);
        assert!(story.net.traces == plain::<H>(seed), "seed {seed}");
        let lines = tape.lines();
        let (_again, other) = record::<H>(seed);
        assert!(other.lines() == lines, "seed {seed}");
        let report = replay(&lines, &story);
        let report = report.unwrap_or_else(|error| panic!("seed {seed}: {error}\n{}", tape.text()));
        assert_eq!((report.swarms, report.swarms_left_out), (3, 0));
        assert!(report.connections >= 2, "seed {seed}");
        assert_eq!(report.entries, lines.len() as u64);
    }
}

/// What has no script is left out from there, and its connections run.
#[test]
fn swarms_without_their_closures_are_left_out() {
    let (_story, tape) = record::<Together<Standard>>(0);
    let lines = tape.lines();
    let report = replay(&lines, Standards).unwrap();
    assert_eq!((report.swarms, report.swarms_left_out), (0, 3));
    let only = replay(&lines, ConnectionsOnly).unwrap();
    assert_eq!((only.swarms, only.swarms_left_out), (0, 3));
    assert_eq!(only.connections, report.connections);
    assert!(report.connections >= 2);
}

#[test]
fn nodes_in_one_object_run_again() {
    whole_nodes::<Together<Standard>>();
}

#[test]
fn nodes_in_parts_run_again() {
    whole_nodes::<Apart<Standard>>();
}
