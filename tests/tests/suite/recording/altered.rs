//! What was recorded otherwise, or is no recording, is noticed; and backends do not show.

use super::swarms::Standards;
use drywire::{
    connection::{ConnectionError, ConnectionId, StreamKind},
    crypto::Provider,
    protocol::Standard,
    recording::{
        ConnectionEntry, ConnectionInput, ConnectionOutput, ConnectionsOnly, Entry, Machine, Place,
        ReplayError,
    },
    swarm::{Config, SecurityConfig},
};
use drywire_tests::{
    net::{Manner, Net, Together},
    pair::Setup,
    tape::{Line, Tape, replay},
};
use std::time::Duration;

/// A short session of two connections.
fn session() -> Vec<Line> {
    let tape = Tape::default();
    let setup = Setup {
        recorder: Some(tape.recorder(0)),
        ..Setup::default()
    };
    let mut pair = setup.established();
    for name in ["/raw", "/framed"] {
        let kind = match name {
            "/raw" => StreamKind::Raw,
            _ => StreamKind::Framed { max_len: 1 << 20 },
        };
        let stream = pair.open(0, name, kind);
        pair.write(0, stream, &[1; 5000]);
        pair.settle_for(Duration::from_millis(100));
        let other = *pair.inbound(1).last().unwrap();
        assert_eq!(pair.read(1, other).0.len(), 5000);
        pair.write(1, other, &[2; 300]);
        pair.finish(1, other);
        pair.finish(0, stream);
        pair.settle_for(Duration::from_millis(100));
        assert_eq!(pair.read(0, stream).0.len(), 300);
        let _ = pair.read(1, other);
    }
    let now = pair.now;
    pair.sides[0].connection.close(now, ConnectionError::Closed);
    pair.settle_for(Duration::from_secs(10));
    drop(pair);
    let lines = tape.lines();
    assert_eq!(replay(&lines, ConnectionsOnly).unwrap().connections, 2);
    lines
}

fn decode(line: &Line) -> Entry<'_> {
    Entry::decode(line.1, &line.2).unwrap()
}

/// Fails if a machine's entries are not compared.
#[test]
fn another_byte_received_is_another_run() {
    let lines = session();
    let mut altered = 0;
    for at in 0..lines.len() {
        let Entry::Connection(ConnectionEntry::Input {
            input: ConnectionInput::Received { bytes, .. },
            ..
        }) = decode(&lines[at])
        else {
            continue;
        };
        if bytes.is_empty() {
            continue;
        }
        let mut other = lines.clone();
        *other[at].2.last_mut().unwrap() ^= 1;
        let error = replay(&other, ConnectionsOnly).unwrap_err();
        assert!(
            matches!(error, ReplayError::Diverged { .. }),
            "entry {at}: {error}"
        );
        altered += 1;
    }
    assert!(altered > 10, "{altered}");
}

/// Fails if outputs are compared in part, or by kind.
#[test]
fn another_output_is_not_the_same() {
    let lines = session();
    let mut outputs = 0;
    for at in (0..lines.len()).filter(|at| decode(&lines[*at]).is_output()) {
        let place = Place {
            entry: at as u64,
            host: 0,
            machine: lines[at].1,
        };
        let len = lines[at].2.len();
        // Of this one the beginning is what was asked for, and when.
        let asked = match decode(&lines[at]) {
            Entry::Connection(ConnectionEntry::Output(ConnectionOutput::Transmitted {
                ..
            })) => len - 5,
            _ => 0,
        };
        for byte in asked..len {
            let mut other = lines.clone();
            other[at].2[byte] ^= 4;
            match replay(&other, ConnectionsOnly).unwrap_err() {
                ReplayError::Malformed(found) | ReplayError::Diverged { place: found, .. } => {
                    assert_eq!(found, place);
                }
                // It became an input.
                error => panic!("{error}"),
            }
        }
        outputs += 1;
    }
    assert!(outputs > 20, "{outputs}");
}

#[test]
fn what_is_no_recording_says_what_it_is_not() {
    let lines = session();
    let machine = Machine::Connection(ConnectionId::new(0));
    let place = |entry| Place {
        entry,
        host: 0,
        machine,
    };
    let starts = (0..lines.len()).filter(|at| lines[*at].1 == machine);
    let own: Vec<Line> = starts.map(|at| lines[at].clone()).collect();
    let run = |lines: &[Line]| replay(lines, ConnectionsOnly).unwrap_err();
    assert_eq!(run(&own[1..]), ReplayError::NotStarted(place(0)));
    let twice = [own[0].clone(), own[0].clone()];
    assert_eq!(run(&twice), ReplayError::NotStarted(place(1)));
    for bytes in [vec![], vec![200], {
        let mut longer = own[0].2.clone();
        longer.push(0);
        longer
    }] {
        let error = run(&[(0, machine, bytes)]);
        assert_eq!(error, ReplayError::Malformed(place(0)));
    }
    // A swarm's entry is not a connection's.
    let error = run(&[(0, Machine::Swarm, own[0].2.clone())]);
    assert!(matches!(error, ReplayError::Malformed(_)), "{error}");
    // A machine did more than it is said to have done.
    let writes = own.iter().position(|line| {
        matches!(
            decode(line),
            Entry::Connection(ConnectionEntry::Input {
                input: ConnectionInput::Open { .. },
                ..
            })
        )
    });
    let error = run(&own[..=writes.unwrap()]);
    let ReplayError::Diverged {
        recorded, replayed, ..
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!(recorded, "nothing more");
    assert!(replayed.as_ref().unwrap().contains("opened"), "{error}");
}

/// Fails if the backend is written down.
#[test]
fn every_backend_records_the_same() {
    let lines = Provider::AVAILABLE.iter().map(|provider| {
        let tape = Tape::default();
        let manner = Manner {
            tape: Some(tape.clone()),
            ..Manner::default()
        };
        let config = Config::new(SecurityConfig::Noise(*provider));
        let mut net = Net::<Together<Standard>>::new(2, &config, 1, &manner, Standard::default);
        net.dial(0, 1).unwrap();
        net.run_for(Duration::from_secs(20));
        drop(net);
        tape.lines()
    });
    let lines: Vec<_> = lines.collect();
    assert!(lines.iter().all(|other| *other == lines[0]));
    let report = replay(&lines[0], Standards).unwrap();
    assert_eq!((report.swarms, report.connections), (2, 2));
}
