//! A DHT in an event loop of one's own, over `std::net`.
//!
//! `cargo run --example kad_blocking` starts four nodes. Three are servers, each on a thread of its own; the fourth knows one
//! of them, stores a record, gets it back, and looks for one that nobody has. The host that drives them is in
//! `blocking/mod.rs`.
#![allow(clippy::restriction, reason = "an example may panic")]

mod blocking;

use blocking::{Host, now};
use drywire::{
    multistream::ProtocolName,
    node::Node,
    protocol::{
        identify::Identify,
        kad::{
            Config, Event as KadEvent, GetRecordError, GetRecordOk, Kademlia, Mode, QueryResult,
            Quorum, Record,
        },
    },
    protocols,
    swarm::{Context, Event},
};
use std::thread;

const DHT: ProtocolName = ProtocolName::from_static("/example/kad/1.0.0");

protocols! {
    /// What all nodes speak. Without identify nobody learns who is a server.
    struct Speech => SpeechEvent {
        identify: Identify => Identify,
        kad: Kademlia => Kad,
    }
}

fn speech(mode: Mode) -> Speech {
    Speech {
        identify: Identify::default(),
        kad: Kademlia::new(Config::new(DHT)).with_mode(mode),
    }
}

/// Tells the machine what to do.
fn command<R>(
    node: &mut Node<Speech>,
    run: impl FnOnce(&mut Kademlia, &mut Context<'_, KadEvent>) -> R,
) -> R {
    node.with(now(), |set, cx| set.kad(cx, run))
}

fn main() {
    let mut first = None;
    for _ in 0..3 {
        let mut server = Host::new(speech(Mode::Server));
        let address = server.listen();
        let peer = address.peer_id().unwrap();
        let (known, known_address) = first.get_or_insert((peer, address)).clone();
        if known != peer {
            command(&mut server.node, |kad, cx| {
                kad.add_address(known, &known_address, cx);
                kad.bootstrap(cx).unwrap();
            });
        }
        thread::spawn(move || server.run(|_, _| false));
    }

    let (server, address) = first.unwrap();
    let mut client = Host::new(speech(Mode::Client));
    command(&mut client.node, |kad, cx| {
        kad.add_address(server, &address, cx);
        let record = Record::new("the key", "the value");
        kad.put_record(record, Quorum::One, cx).unwrap();
    });
    // Each result leads to the next command.
    let mut told = Vec::new();
    client.run(|node, event| {
        match event {
            Event::Protocol(SpeechEvent::Kad(KadEvent::OutboundQueryProgressed {
                result,
                step,
                ..
            })) if step.last => match result {
                QueryResult::PutRecord(Ok(_)) => {
                    told.push("stored".to_owned());
                    command(node, |kad, cx| kad.get_record("the key", cx)).unwrap();
                }
                QueryResult::GetRecord(Ok(GetRecordOk::FinishedWithNoAdditionalRecord {
                    best,
                    ..
                })) => {
                    let value = String::from_utf8_lossy(&best.record.value);
                    told.push(format!("found: {value}"));
                    command(node, |kad, cx| kad.get_record("another key", cx)).unwrap();
                }
                QueryResult::GetRecord(Err(GetRecordError::NotFound { .. })) => {
                    told.push("nobody has another key".to_owned());
                    node.shutdown(now());
                }
                // A bootstrap, which happens by itself.
                _ => return false,
            },
            Event::ShutdownComplete => return true,
            _ => return false,
        }
        println!("{}", told.last().unwrap());
        false
    });
    let expected = ["stored", "found: the value", "nobody has another key"];
    assert_eq!(told, expected);
}
