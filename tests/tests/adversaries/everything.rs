//! Everything at once, against a node with its default limits.

use crate::{KIB, SECOND, address};
use drywire::{
    connection::{Config as ConnectionConfig, ConnectionId},
    identity::Keypair,
    mux::yamux::Flags,
    record::PeerRecord,
    resource,
    seed::Seed,
    swarm::{ConnectionLimits, DialOptions},
    wire::varint,
};
use drywire_tests::{
    hostile::{self, Hostile},
    pair::Secure,
    site::{Port, Site},
    victim::Target,
};

/// What a node may take in all, in bytes: what its connections are lent, and for each of them what it needs before and beside
/// that.
fn budget() -> isize {
    let (connection, limits) = (ConnectionConfig::default(), ConnectionLimits::default());
    let lent = resource::Limits::default().node.bytes as usize;
    // The receive buffer, and a message that is cut in two.
    let reading = connection.max_receive_buffer + 64 * KIB;
    (lent + limits.connections as usize * reading) as isize
}

struct Attacker {
    connection: ConnectionId,
    hostile: Hostile,
    next: u32,
}

impl Attacker {
    fn say(&mut self, site: &mut Site, bytes: &[u8]) {
        if site.has(self.connection) && site.waiting(self.connection) < 256 * KIB {
            self.hostile.send(&mut site.port(self.connection), bytes);
        }
    }

    fn id(&mut self) -> u32 {
        self.next += 2;
        self.next
    }

    /// Data that nobody reads, on many streams.
    fn hoard(&mut self, site: &mut Site, streams: u32, bytes: usize) {
        for _ in 0..streams {
            let id = self.id();
            let mut flight = hostile::data(Flags::SYN, id, &hostile::propose("/raw"));
            for piece in vec![9; bytes].chunks(16 * KIB) {
                flight.extend(hostile::data(Flags::NONE, id, piece));
            }
            self.say(site, &flight);
        }
    }

    fn ping(&mut self, site: &mut Site) {
        let pings: Vec<u8> = (0..200).flat_map(hostile::ping).collect();
        self.say(site, &pings);
    }

    /// Streams that never come to a protocol.
    fn dawdle(&mut self, site: &mut Site) {
        for _ in 0..20 {
            let id = self.id();
            let said = hostile::data(Flags::SYN, id, b"\x13/multistream/1.0.0\n\x30/half");
            self.say(site, &said);
        }
    }

    /// Pushes of identify that never end, as long as may be, and questions whose answers are not read.
    fn identify(&mut self, site: &mut Site) {
        for name in ["/ipfs/id/push/1.0.0", "/ipfs/id/1.0.0"] {
            for _ in 0..4 {
                let id = self.id();
                let mut said = hostile::propose(name);
                if name.contains("push") {
                    for part in 0..10u8 {
                        varint::encode(8 * KIB as u64, &mut said);
                        said.extend(std::iter::repeat_n(part, 8 * KIB));
                    }
                }
                let mut flags = Flags::SYN;
                for piece in said.chunks(16 * KIB) {
                    self.say(site, &hostile::data(flags, id, piece));
                    flags = Flags::NONE;
                }
            }
        }
    }
}

/// A peer that means well: it asks and is answered.
struct Friend {
    connection: ConnectionId,
    hostile: Hostile,
    next: u32,
}

impl Friend {
    fn new(site: &mut Site) -> Self {
        let remote = "/ip4/198.51.100.1/tcp/1".parse().expect("an address");
        let (connection, hostile) = site.intruder(&remote, 999_999).expect("there is room");
        assert!(site.told.established.contains(&connection), "it is let in");
        let now = site.now;
        site.node.set_keep_alive(now, connection, true);
        Self {
            connection,
            hostile,
            next: 1,
        }
    }

    fn is_served(&mut self, site: &mut Site) {
        let id = self.next;
        self.next += 4;
        let port = &mut site.port(self.connection);
        let question = [hostile::propose("/ipfs/ping/1.0.0"), vec![7; 32]].concat();
        let flags = Flags::SYN.with(Flags::FIN);
        self.hostile
            .send(port, &hostile::data(flags, id, &question));
        let answer = self.hostile.data(port, id);
        assert!(answer.ends_with(&[7; 32]), "its ping is answered");
        let question = hostile::propose("/ipfs/id/1.0.0");
        self.hostile
            .send(port, &hostile::data(flags, id + 2, &question));
        let answer = self.hostile.data(port, id + 2);
        assert!(answer.len() > 200, "it is told who this is");
    }
}

/// T34 (CVE-2022-23486, -23487, -23492): 440 connections from 55 hosts and 1000 sockets that are refused, half handshakes, streams whose data nobody
/// reads, streams that never negotiate, pings, pushes that never end, answers that are not read, and dials, all at once,
/// against a node with its default limits and an application that reads nothing. What the node takes of the heap stays below
/// what its limits add up to; a peer that means well is still let in and answered; and when the attackers are gone, so is
/// everything they brought.
///
/// Fails if memory that is held is not counted against the lease of its connection.
#[test]
fn everything_at_once() {
    let mut site = Site::new(Secure::Noise, |_| {});
    site.reads = false;
    let mut friend = Friend::new(&mut site);
    friend.is_served(&mut site);
    site.wait(SECOND * 9);
    friend.is_served(&mut site);
    let idle = site.heap();
    let mut attackers: Vec<Attacker> = Vec::new();
    let (mut turned_away, mut highest) = (0, 0);
    for host in 0..55u32 {
        // More than a host may have.
        for n in 0..16u64 {
            let seed = u64::from(host) * 16 + n;
            match site.intruder(&address(host), seed) {
                Ok((connection, hostile)) => {
                    site.deafen(connection, true);
                    attackers.push(Attacker {
                        connection,
                        hostile,
                        next: 1,
                    });
                }
                Err(_) => turned_away += 1,
            }
        }
    }
    let limits = ConnectionLimits::default();
    assert_eq!(attackers.len(), 55 * limits.per_address as usize);
    println!("{} connections, {turned_away} refused", attackers.len());
    // All who may be are known by name; now as many handshakes as there is room for are begun and left.
    let mut halves = Vec::new();
    for host in 100..200 {
        for _ in 0..2 {
            let Ok(connection) = site.accept(&address(host)) else {
                turned_away += 1;
                continue;
            };
            let port = &mut site.port(connection);
            let said = b"\x13/multistream/1.0.0\n\x07/noise\n\x00\x20half of a key";
            port.input(said);
            halves.push(connection);
        }
    }
    assert!(turned_away > 500);
    let mut note = |site: &Site, what: &str| {
        let peak = site.meter.total.peak;
        if peak > highest {
            highest = peak;
            println!("{what}: {} KiB", peak / 1024);
        }
        assert!(peak - idle <= budget(), "{what}: {peak}");
    };
    note(&site, "half handshakes");
    for round in 0..4u32 {
        for (n, attacker) in attackers.iter_mut().enumerate() {
            // Each begins with something else.
            for step in 0..4 {
                match (n as u32 + round + step) % 4 {
                    0 => attacker.hoard(&mut site, 4, 200 * KIB),
                    1 => attacker.dawdle(&mut site),
                    2 => attacker.ping(&mut site),
                    _ => attacker.identify(&mut site),
                }
            }
        }
        note(&site, "a round of the attack");
        for n in 0..100 {
            let peer = Keypair::ed25519_from_seed(&Seed::for_tests(50_000 + n)).peer_id();
            let addresses = (0..100).map(|m| address(10_000 + n as u32 * 100 + m));
            let now = site.now;
            let _ = site
                .node
                .dial(now, DialOptions::peer(peer).addresses(addresses));
        }
        site.turn();
        note(&site, "dials");
        friend.is_served(&mut site);
        site.wait(SECOND * 3);
        friend.is_served(&mut site);
        note(&site, "time");
    }
    println!("highest {} KiB of {} KiB", highest / 1024, budget() / 1024);
    assert!(highest > 64 * 1024 * KIB as isize, "hardly an attack");
    // Nobody reads: those who hoard are thrown out. The rest hang up.
    site.wait(SECOND * 60);
    for attacker in &attackers {
        site.hang_up(attacker.connection);
    }
    for connection in halves {
        site.hang_up(connection);
    }
    for (attempt, _) in std::mem::take(&mut site.dials) {
        site.refuse(attempt);
    }
    for _ in 0..1000 {
        site.wait(SECOND * 9);
        friend.is_served(&mut site);
    }
    assert_eq!(site.node.swarm().connection_count(), 1);
    let left = site.heap() - idle;
    assert!(left <= 16 * KIB as isize, "{left} bytes are left");
}

/// T34: one peer, alone with the node, sends data that nobody reads on as many streams as it may, on one connection, then on
/// all it may have. It is let hold 32 MiB on each and 64 MiB in all, and not more.
///
/// Fails if what a connection holds is not counted against its lease.
#[test]
fn one_peer_holds_no_more_than_its_share() {
    let shared = resource::Limits::default();
    let mut site = Site::new(Secure::Noise, |_| {});
    site.reads = false;
    let before = site.heap();
    let mut attackers: Vec<Attacker> = Vec::new();
    for n in 0..ConnectionLimits::default().per_peer as usize {
        let (connection, hostile) = site.intruder(&address(1), 1).expect("accepted");
        attackers.push(Attacker {
            connection,
            hostile,
            next: 1,
        });
        for _ in 0..64 {
            for attacker in &mut attackers {
                attacker.hoard(&mut site, 4, 240 * KIB);
            }
        }
        let share = match n {
            0 => shared.connection,
            _ => shared.peer,
        };
        // What each reads into, the message that brought it over, and its streams.
        let beside = (n + 1) * (256 * KIB + 64 * KIB + 256 * KIB);
        let held = site.heap();
        println!("{} connections: {} KiB", n + 1, held / 1024);
        assert!(held - before <= (share.bytes as usize + beside) as isize);
        if n == 0 {
            assert!(held >= (share.bytes as isize) / 2, "hardly an attack");
        }
    }
}

/// Writes down all that a node is given.
struct Recorder<'a>(Port<'a>, Vec<u8>);

impl Target for Recorder<'_> {
    fn input(&mut self, bytes: &[u8]) {
        self.1.extend_from_slice(bytes);
        self.0.input(bytes);
    }

    fn sent(&mut self) -> Vec<u8> {
        self.0.sent()
    }
}

/// T5, T41: a whole session, with its handshake, a ping, a question of identify, a push, data on a stream that is read and on
/// one that never says its protocol, ends after any of its bytes: the pipe is lost, shut, or falls silent and is lost later.
/// Nothing of it is left in the node: neither in its connections nor in its swarm and protocols.
///
/// Fails if identify keeps what it knows of a connection that is gone.
#[test]
fn a_session_that_ends_at_any_byte_leaves_nothing() {
    let mut site = Site::new(Secure::Plaintext, |_| {});
    let remote = "/memory/1".parse().expect("an address");
    let connection = site.accept(&remote).expect("accepted");
    let mut recorder = Recorder(site.port(connection), Vec::new());
    let mut hostile = Hostile::dial(&mut recorder, Secure::Plaintext, 1);
    let record = PeerRecord::seal(&Hostile::identity(1), 1, &[address(1)]).expect("short");
    let mut push = hostile::propose("/ipfs/id/push/1.0.0");
    varint::encode(record.len() as u64 + 3, &mut push);
    push.extend([
        0x42,
        (record.len() & 0x7f) as u8 | 0x80,
        (record.len() >> 7) as u8,
    ]);
    push.extend(record);
    let flags = Flags::SYN.with(Flags::FIN);
    let ping = [hostile::propose("/ipfs/ping/1.0.0"), vec![7; 32]].concat();
    for frame in [
        hostile::data(Flags::SYN, 1, &ping),
        hostile::data(flags, 3, &hostile::propose("/ipfs/id/1.0.0")),
        hostile::data(Flags::SYN, 5, &hostile::propose("/raw")),
        hostile::data(Flags::SYN, 7, b"\x13/multistream"),
        hostile::data(flags, 9, &push),
        hostile::data(Flags::NONE, 5, &[1; 100]),
        hostile::data(Flags::FIN, 5, &[]),
        hostile::go_away(0),
    ] {
        hostile.send(&mut recorder, &frame);
    }
    let session = recorder.1;
    assert_eq!(site.told.identified, 1, "the push is sound");
    site.hang_up(connection);
    let end = |site: &mut Site, at: usize, how: u32| {
        let connection = site.accept(&remote).expect("accepted");
        site.port(connection).input(&session[..at]);
        match how {
            0 => {}
            1 => site.shut(connection),
            _ => site.wait(SECOND * 15),
        }
        site.hang_up(connection);
        let _ = site.port(connection).sent();
        assert!(!site.has(connection), "{at} {how}");
        assert_eq!(site.node.swarm().connection_count(), 0);
    };
    for how in 0..3 {
        end(&mut site, session.len(), how);
    }
    let before = site.heap();
    for at in 0..=session.len() {
        for how in 0..3 {
            end(&mut site, at, how);
            let left = site.heap() - before;
            assert!(left.abs() <= 512, "{left} bytes after {at} bytes, {how}");
        }
    }
    println!("{} places", session.len() + 1);
    let told = &site.told;
    assert_eq!(told.established.len(), told.closed.len());
}
