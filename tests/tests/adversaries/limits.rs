//! Limits that stand in no table of the documents, each met by a peer that goes beyond it.

use crate::{KIB, SECOND, address, attacked, peak_of, quiet};
use drywire::{
    connection::{ConnectionError, Event, OpenError, OpenOptions, StreamKind, code},
    multiaddr::Multiaddr,
    multistream::ProtocolName,
    mux::yamux::Flags,
    wire::{protobuf::Writer, varint},
};
use drywire_tests::{
    hostile::{self, Hostile},
    pair::{Secure, Setup},
    site::Site,
    victim::Victim,
};

/// A peer that never acknowledges a stream is asked for so many and no more.
///
/// Fails if streams that are not acknowledged are not counted, and if an acknowledgement is not taken for room.
#[test]
fn streams_that_are_never_acknowledged_are_few() {
    let mut setup = Setup::default();
    setup.config.yamux.max_unacknowledged = 10;
    let mut victim = Victim::new(&setup, 0);
    let mut hostile = Hostile::accept(&mut victim, Secure::Noise, 1);
    let open = |victim: &mut Victim| {
        let (now, names) = (victim.now, [ProtocolName::from_static("/raw")]);
        let (kind, options) = (StreamKind::Raw, OpenOptions::default());
        let opened = victim.side.connection.open(now, &names, kind, options);
        victim.turn();
        opened.map(|_| ())
    };
    for _ in 0..10 {
        assert_eq!(open(&mut victim), Ok(()));
    }
    assert_eq!(open(&mut victim), Err(OpenError::TooManyStreams));
    let available = |victim: &Victim| victim.count(|event| *event == Event::StreamsAvailable);
    assert_eq!(available(&victim), 0);
    hostile.send(&mut victim, &hostile::window(Flags::ACK, 1, 0));
    assert_eq!(available(&victim), 1);
    assert_eq!(open(&mut victim), Ok(()));
    assert_eq!(open(&mut victim), Err(OpenError::TooManyStreams));
}

/// The application resets what the peer opens, and the peer reads none of the resets. They wait for it up to a limit, then the connection
/// ends.
///
/// Fails if the resets that wait are not limited.
#[test]
fn resets_that_are_never_read_are_bounded() {
    let (mut victim, mut hostile) = attacked(Secure::Noise);
    victim.side.connection.set_keep_alive(true);
    victim.peer_reads = false;
    victim.wait(SECOND * 5);
    let before = quiet(&mut victim);
    let proposal = hostile::propose("/raw");
    let (mut id, mut resets) = (1, 0);
    while victim.side.connection.error().is_none() {
        hostile.send(&mut victim, &hostile::data(Flags::SYN, id, &proposal));
        id += 2;
        for (_, event) in std::mem::take(&mut victim.side.events) {
            if let Event::Inbound { stream, .. } = event
                && let Some(mut view) = victim.side.connection.stream(stream)
            {
                view.reset(code::NO_ERROR);
                resets += 1;
            }
        }
        assert!(resets < 10_000, "for ever");
    }
    assert_eq!(
        victim.side.connection.error(),
        Some(&ConnectionError::Flooding)
    );
    println!("after {resets} resets");
    let grown = peak_of(&victim) - before;
    assert!(grown <= 64 * KIB as isize, "{grown}");
}

/// Streams of one protocol, beyond what the protocol takes: those are reset, and the others go on.
///
/// Fails if the streams of a name are not counted.
#[test]
fn a_protocol_takes_so_many_streams() {
    for (name, most) in [
        ("/ipfs/ping/1.0.0", 2),
        ("/ipfs/id/push/1.0.0", 4),
        ("/raw", 64),
    ] {
        let mut site = Site::new(Secure::Noise, |_| {});
        let (connection, mut hostile) = site.intruder(&address(1), 1).expect("accepted");
        site.reads = false;
        let port = &mut site.port(connection);
        let _ = hostile.frames(port);
        let (mut taken, mut reset) = (0, 0);
        for n in 0..64 {
            let said = hostile::data(Flags::SYN, 2 * n + 1, &hostile::propose(name));
            hostile.send(port, &said);
            let frames = hostile.frames(port);
            let of_it = |(header, _): &&(drywire::mux::yamux::Header, Vec<u8>)| {
                header.stream == 2 * n + 1 && header.flags.has(Flags::RST)
            };
            match frames.iter().find(of_it) {
                Some((header, _)) => {
                    assert_eq!(header.length, code::RESOURCE_LIMIT_EXCEEDED, "{name}");
                    reset += 1;
                }
                None => taken += 1,
            }
        }
        assert_eq!((taken, reset), (most, 64 - most), "{name}");
        assert!(site.has(connection), "{name}");
    }
}

/// What a peer says where it can be reached is remembered if it is short; a long one beside it is not.
///
/// Fails without the limit on the length of addresses that others tell.
#[test]
fn long_addresses_are_not_remembered() {
    let mut site = Site::new(Secure::Noise, |_| {});
    let (connection, mut hostile) = site.intruder(&address(1), 1).expect("accepted");
    let long = format!(
        "/dns/{}.com/tcp/1/tls/ws",
        [[b'a'; 60]; 4]
            .map(|label| String::from_utf8(label.to_vec()).expect("text"))
            .join(".")
    );
    let long: Multiaddr = long.parse().expect("an address");
    assert!(long.as_bytes().len() > 250);
    let told = [address(5), long];
    let mut part = Vec::new();
    for address in &told {
        Writer::new(&mut part).bytes(2, address.as_bytes());
    }
    let mut said = hostile::propose("/ipfs/id/push/1.0.0");
    varint::encode(part.len() as u64, &mut said);
    said.extend(part);
    let flags = Flags::SYN.with(Flags::FIN);
    hostile.send(&mut site.port(connection), &hostile::data(flags, 1, &said));
    assert_eq!(site.told.identified, 1);
    assert_eq!(site.addresses_of(&Hostile::identity(1).peer_id()), 1);
}
