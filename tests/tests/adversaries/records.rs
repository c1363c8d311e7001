//! Against what is learnt of peers: records of others, too much of everything, and nothing where something was expected.

use crate::{KIB, SECOND, address};
use drywire::{
    connection::{ConnectionError, ConnectionId},
    identity::{Keypair, PeerId, PublicKey},
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    mux::yamux::Flags,
    protocol::identify,
    record::{PeerRecord, SignedEnvelope},
    seed::Seed,
    swarm::{Action, DialOptions, Resolved},
    wire::{
        protobuf::{Error, Reader, Writer},
        varint,
    },
};
use drywire_tests::{
    hostile::{self, Hostile},
    pair::Secure,
    site::Site,
};

const LISTEN: u32 = 2;
const PROTOCOLS: u32 = 3;
const AGENT: u32 = 6;
const RECORD: u32 = 8;

fn message(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut Writer::new(&mut bytes));
    bytes
}

/// A message of one field.
fn field(number: u32, value: &[u8]) -> Vec<u8> {
    message(|writer| {
        writer.bytes(number, value);
    })
}

fn keypair(number: u64) -> Keypair {
    Keypair::ed25519_from_seed(&Seed::for_tests(number))
}

/// A peer that pushes what it likes about itself.
struct Pusher {
    site: Site,
    hostile: Hostile,
    connection: ConnectionId,
    next: u32,
}

impl Pusher {
    fn new() -> Self {
        let mut site = Site::new(Secure::Plaintext, |_| {});
        let remote = address(1);
        let (connection, hostile) = site.intruder(&remote, 1).expect("accepted");
        site.node.set_keep_alive(site.now, connection, true);
        let mut pusher = Self {
            site,
            hostile,
            connection,
            next: 1,
        };
        pusher.rest();
        pusher
    }

    /// The far end reads what it is sent, and time passes so that it may push again.
    fn rest(&mut self) {
        self.site.wait(SECOND * 5);
        let frames = self.hostile.frames(&mut self.site.port(self.connection));
        drop(frames);
    }

    fn push(&mut self, parts: &[Vec<u8>]) {
        let (id, mut flags) = (self.next, Flags::SYN);
        self.next += 2;
        let mut said = hostile::propose("/ipfs/id/push/1.0.0");
        for part in parts {
            varint::encode(part.len() as u64, &mut said);
            said.extend_from_slice(part);
        }
        let port = &mut self.site.port(self.connection);
        for piece in said.chunks(16 * KIB) {
            self.hostile.send(port, &hostile::data(flags, id, piece));
            flags = Flags::NONE;
        }
        self.hostile.send(port, &hostile::data(Flags::FIN, id, &[]));
    }
}

/// T16 (CVE-2023-40583): a million signed records of peers that do not exist, in what one peer pushes about itself: in each push 400 of
/// them. None is stored anywhere, nor is an address of them; and the heap is what it was.
///
/// Fails if a record is believed whoever it is about.
#[test]
fn a_million_foreign_records_are_stored_nowhere() {
    const RECORDS: usize = 1_000_000;
    const AT_ONCE: usize = 400;
    let strangers: Vec<Vec<u8>> = (1000..1000 + AT_ONCE as u64)
        .map(|number| {
            let addresses = [address(number as u32)];
            PeerRecord::seal(&keypair(number), 1, &addresses).expect("short")
        })
        .collect();
    let mut pusher = Pusher::new();
    let attack = |pusher: &mut Pusher, round: usize| {
        // The last one of a message counts: each of them in turn.
        let turned = strangers.iter().cycle().skip(round).take(AT_ONCE);
        let turned: Vec<_> = turned.collect();
        let parts: Vec<Vec<u8>> = turned
            .chunks(AT_ONCE / 10)
            .map(|records| {
                message(|writer| {
                    for record in records {
                        writer.bytes(RECORD, record);
                    }
                })
            })
            .collect();
        assert_eq!(parts.len(), 10);
        assert!(parts.iter().all(|part| part.len() <= 8 * KIB));
        pusher.push(&parts);
        pusher.rest();
    };
    for round in 0..5 {
        attack(&mut pusher, round);
    }
    let before = pusher.site.heap();
    let rounds = RECORDS.div_ceil(AT_ONCE);
    for round in 5..rounds {
        attack(&mut pusher, round);
        pusher.site.told.identify_failed.clear();
    }
    assert_eq!(pusher.site.told.identified, rounds, "all of them were read");
    let swarm = pusher.site.node.swarm();
    assert_eq!(swarm.known_peers(), 0);
    for number in 1000..1000 + AT_ONCE as u64 {
        assert!(swarm.addresses(&keypair(number).peer_id()).is_empty());
    }
    let info = swarm.protocols().identify.info(pusher.connection);
    let info = info.expect("what it said");
    assert!(info.listen_addresses.is_empty() && !info.certified);
    // Pings and questions of its own are at another point of theirs.
    let grown = pusher.site.heap() - before;
    assert!(grown.abs() <= 4 * KIB as isize, "{grown}");
}

/// T35 (CVE-2026-57497): one message in ten parts, full of protocols and addresses. 128 and 64 of them are kept, by everyone
/// who keeps them, and saying it again does not add to it.
///
/// Fails if the protocols of a message are kept without a cap.
#[test]
fn what_is_kept_of_a_peer_is_bounded() {
    let mut pusher = Pusher::new();
    let attack = |pusher: &mut Pusher, round: u32| {
        let parts: Vec<Vec<u8>> = (0..10)
            .map(|part| {
                let mut bytes = message(|writer| {
                    for n in 0..110 {
                        writer.string(PROTOCOLS, &format!("/{round}/{part}/{n}"));
                        writer.bytes(LISTEN, address(round * 10_000 + part * 200 + n).as_bytes());
                    }
                });
                let left = 4 * KIB - bytes.len() - 4;
                Writer::new(&mut bytes).bytes(AGENT, &vec![b'x'; left]);
                bytes
            })
            .collect();
        pusher.push(&parts);
        pusher.rest();
    };
    let peer = pusher.hostile_id();
    let mut heap = Vec::new();
    for round in 0..30 {
        attack(&mut pusher, round);
        assert_eq!(pusher.site.addresses_of(&peer), 64);
        let swarm = pusher.site.node.swarm();
        assert_eq!(swarm.peer_protocols(&peer).map(<[_]>::len), Some(128));
        let info = swarm.protocols().identify.info(pusher.connection);
        let info = info.expect("what it said");
        assert_eq!(
            (
                info.protocols.len(),
                info.listen_addresses.len(),
                info.agent_version.len()
            ),
            (128, 64, 256)
        );
        heap.push(pusher.site.heap());
    }
    // Names grow by a digit.
    assert!((heap[29] - heap[10]).abs() <= 2048, "{heap:?}");
    // An eleventh part is too much.
    let parts = vec![field(PROTOCOLS, b"/a"); 11];
    pusher.site.told.identify_failed.clear();
    pusher.push(&parts);
    pusher.site.turn();
    assert_eq!(
        pusher.site.told.identify_failed,
        [identify::Error::TooManyParts]
    );
    // More pushes than one in five seconds are not even read.
    let before = pusher.site.told.identified;
    for _ in 0..50 {
        pusher.push(&[field(PROTOCOLS, b"/a")]);
    }
    assert!(pusher.site.told.identified - before <= 10);
}

impl Pusher {
    fn hostile_id(&self) -> PeerId {
        Hostile::identity(1).peer_id()
    }
}

/// T19 (RUSTSEC-2020-0068, CVE-2026-40094): whatever can be empty is: each is an error by name, or nothing, and no panic.
///
/// Fails if the first of no components is taken for granted.
#[test]
fn every_collection_from_the_wire_may_be_empty() {
    assert!(Multiaddr::from_bytes(&[]).is_err());
    assert!("".parse::<Multiaddr>().is_err());
    assert!(PeerId::from_bytes(&[]).is_err());
    assert!("".parse::<PeerId>().is_err());
    assert!(PublicKey::from_protobuf(&[]).is_err());
    assert!(Keypair::from_protobuf(&[]).is_err());
    assert!(SignedEnvelope::from_protobuf(&[]).is_err());
    assert!(PeerRecord::open(&[]).is_err());
    assert!(ProtocolName::try_from("").is_err());
    assert_eq!(Reader::new(&[]).count(), 0);
    // A record of no addresses is a record.
    let record = PeerRecord::seal(&keypair(1), 1, &[]).expect("short");
    assert!(
        PeerRecord::open(&record)
            .expect("sound")
            .addresses()
            .is_empty()
    );
    // Every field of identify, empty; and no part, an empty part, ten of them.
    let mut pusher = Pusher::new();
    let empty = message(|writer| {
        for number in 1..=8 {
            writer.bytes(number, &[]);
        }
    });
    let fields = (1..=8).map(|number| vec![field(number, &[])]);
    let cases: Vec<Vec<Vec<u8>>> = fields
        .chain([vec![], vec![vec![]], vec![vec![]; 10], vec![empty]])
        .collect();
    for parts in cases {
        pusher.push(&parts);
        pusher.rest();
        assert!(pusher.site.has(pusher.connection), "{parts:?}");
    }
    let own = PeerRecord::seal(&Hostile::identity(1), 1, &[]).expect("short");
    let identified = pusher.site.told.identified;
    pusher.push(&[field(RECORD, &own)]);
    pusher.rest();
    assert_eq!(pusher.site.told.identified, identified + 1);
    // Answers of a resolver.
    for (name, answer) in [
        ("/dns/example.org/tcp/1", Resolved::Addresses(vec![])),
        ("/dnsaddr/example.org", Resolved::Text(vec![])),
        ("/dnsaddr/example.org", Resolved::Text(vec![String::new()])),
        (
            "/dnsaddr/example.org",
            Resolved::Text(vec!["dnsaddr=".into()]),
        ),
    ] {
        let mut site = Site::new(Secure::Plaintext, |_| {});
        let now = site.now;
        let options = DialOptions::address(name.parse().expect("an address"));
        let lookup = site.node.command(now, |swarm| {
            swarm.dial(now, options).expect("something to look up");
            match swarm.poll_action() {
                Some(Action::Resolve { lookup, .. }) => lookup,
                other => panic!("{other:?}"),
            }
        });
        site.node
            .command(now, |swarm| swarm.handle_resolved(now, lookup, Ok(answer)));
        site.turn();
        assert_eq!(site.told.dial_failed.len(), 1, "{name}");
    }
}

/// T20 (RUSTSEC-2020-0002, RUSTSEC-2024-0437): a message in a message, a million times over, for every layer that reads protocol buffers.
/// Nobody descends: reading allocates nothing, and what is no field of ours is passed over. Groups, which would have to be
/// matched, are refused.
///
/// Fails if groups are passed over: the message is then no error.
#[test]
fn deep_nesting_is_passed_over() {
    // Lengths of five bytes, whatever they are: each level is a header of six bytes.
    const DEPTH: usize = 1_000_000;
    let mut nested = Vec::with_capacity(DEPTH * 6);
    for level in (0..DEPTH).rev() {
        nested.push(0x0a);
        let mut length = (level * 6) as u64;
        for _ in 0..4 {
            nested.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        nested.push(length as u8);
    }
    let (used, fields) = drywire_tests::heap::measure(|| Reader::new(&nested).count());
    assert_eq!((fields, used.calls), (1, 0));
    for parse in [
        |bytes: &[u8]| PublicKey::from_protobuf(bytes).is_err(),
        |bytes: &[u8]| SignedEnvelope::from_protobuf(bytes).is_err(),
        |bytes: &[u8]| PeerRecord::open(bytes).is_err(),
        |bytes: &[u8]| Keypair::from_protobuf(bytes).is_err(),
    ] {
        let (used, refused) = drywire_tests::heap::measure(|| parse(&nested));
        assert!(refused);
        assert!(used.peak <= KIB as isize, "{used:?}");
    }
    let groups = [0x0b; 8 * KIB];
    assert_eq!(
        Reader::new(&groups).next(),
        Some(Err(Error::WireType)),
        "not even the first"
    );
    let mut pusher = Pusher::new();
    for (number, bad) in [(1, true), (LISTEN, false), (RECORD, false), (100, false)] {
        let mut part = field(number, &nested[nested.len() - 6000..]);
        part.extend(field(PROTOCOLS, b"/a"));
        let before = pusher.site.told.identified;
        pusher.push(&[part]);
        pusher.rest();
        assert_eq!(pusher.site.told.identified, before + usize::from(!bad));
    }
    pusher.push(&[groups[..8000].to_vec()]);
    pusher.rest();
    assert!(matches!(
        pusher.site.told.identify_failed.last(),
        Some(identify::Error::Message(identify::MessageError::Malformed(
            Error::WireType
        )))
    ));
    assert!(pusher.site.has(pusher.connection));
}

/// T35 for the whole book: more peers than are remembered, each with more addresses than are remembered of one. The heap takes
/// what the limit of its bytes promises, and what its trees need beside.
///
/// Fails without the limit on the bytes of all addresses.
#[test]
fn a_full_address_book_takes_a_bounded_part_of_the_heap() {
    let mut site = Site::new(Secure::Plaintext, |_| {});
    let idle = site.heap();
    let now = site.now;
    let (node, meter) = (&mut site.node, &mut site.meter);
    for number in 0..20_000u32 {
        let mut id = vec![0x12, 32];
        id.extend([number.to_be_bytes(); 8].concat());
        let peer = PeerId::from_bytes(&id).expect("a multihash");
        meter.run(|| {
            node.command(now, |swarm| {
                for n in 0..70 {
                    swarm.add_address(now, peer, &address(number * 100 + n));
                }
            });
        });
    }
    let taken = site.heap() - idle;
    let known = site.node.swarm().known_peers();
    println!("{known} peers in {} KiB", taken / 1024);
    assert!(known <= 16_384);
    assert!(taken <= 64 * 1024 * KIB as isize, "{taken}");
}

/// T1 (CVE-2024-32984), the other half: streams of identify, opened for ever by a peer that reads nothing. As many questions
/// as one peer may have open wait for their answers to leave; the others are refused, and the connection ends.
///
/// Fails if refused streams do not count as useless and the resets that wait for the peer are not limited.
#[test]
fn questions_whose_answers_are_never_read_are_few() {
    let mut site = Site::new(Secure::Plaintext, |_| {});
    let (connection, mut hostile) = site.intruder(&address(1), 1).expect("accepted");
    site.node.set_keep_alive(site.now, connection, true);
    site.deafen(connection, true);
    site.wait(SECOND * 5);
    let before = site.heap();
    site.meter.total.peak = before;
    let question = hostile::propose("/ipfs/id/1.0.0");
    let (flags, mut asked) = (Flags::SYN.with(Flags::FIN), 0);
    while site.told.closed.is_empty() && asked < 1_000_000 {
        for _ in 0..50 {
            let said = hostile::data(flags, 2 * asked + 1, &question);
            hostile.send(&mut site.port(connection), &said);
            asked += 1;
        }
        site.wait(SECOND);
    }
    let grown = site.meter.total.peak - before;
    println!("{asked} questions, {grown} bytes");
    let [(of, error)] = &site.told.closed[..] else {
        panic!("for ever")
    };
    assert_eq!((of, error), (&connection, &ConnectionError::Flooding));
    assert!(grown <= 64 * KIB as isize, "{grown}");
}

/// T35: so many peers say so much without coming to an end that there is room for no more of it. Whoever has said most makes
/// room for those who say little: a peer that means well is heard.
///
/// Fails if the message that finds no room is given up, however short it is.
#[test]
fn endless_messages_do_not_silence_others() {
    let mut site = Site::new(Secure::Plaintext, |_| {});
    let mut next = 0;
    let mut hoard = |site: &mut Site, size: usize, parts: usize| {
        next += 1;
        let (connection, mut hostile) = site
            .intruder(&address(next), next.into())
            .expect("accepted");
        let mut said = hostile::propose("/ipfs/id/push/1.0.0");
        for _ in 0..parts {
            varint::encode(size as u64, &mut said);
            said.extend(std::iter::repeat_n(0, size));
        }
        let mut flags = Flags::SYN;
        for piece in said.chunks(16 * KIB) {
            let frame = hostile::data(flags, 1, piece);
            hostile.send(&mut site.port(connection), &frame);
            flags = Flags::NONE;
        }
    };
    for _ in 0..80 {
        hoard(&mut site, 8 * KIB, 9);
    }
    // The room that is left.
    for size in [2048, 512, 128, 32, 8] {
        let given_up = site.told.identify_failed.len();
        for _ in 0..50 {
            hoard(&mut site, size, 1);
            if site.told.identify_failed.len() > given_up {
                break;
            }
        }
    }
    let full = identify::Error::TooMuchWaiting;
    assert!(site.told.identify_failed.iter().all(|error| *error == full));
    assert!(site.told.identify_failed.len() > 20, "there was room");
    for n in 1000..1010 {
        let (connection, mut hostile) = site.intruder(&address(n), n.into()).expect("accepted");
        let part = field(PROTOCOLS, b"/a/protocol/of/its/own");
        let mut said = hostile::propose("/ipfs/id/push/1.0.0");
        varint::encode(part.len() as u64, &mut said);
        said.extend(part);
        let flags = Flags::SYN.with(Flags::FIN);
        let before = site.told.identified;
        hostile.send(&mut site.port(connection), &hostile::data(flags, 1, &said));
        assert_eq!(site.told.identified, before + 1, "nobody listens");
    }
}
