//! Requests and responses in an event loop of one's own, over `std::net`.
//!
//! `cargo run --example requests_blocking` starts two nodes. One answers questions with their length; the other asks three,
//! of which one is left unanswered, and one goes to nobody. The host that drives them is in `blocking/mod.rs`.
#![allow(clippy::restriction, reason = "an example may panic")]

mod blocking;

use blocking::{Host, now};
use bytes::Bytes;
use drywire::{
    identity::Keypair,
    multistream::ProtocolName,
    node::Node,
    protocol::request_response::{
        BytesCodec, Config, Event as RequestEvent, Message, ProtocolSupport, RequestResponse,
    },
    protocols,
    seed::Seed,
    swarm::Event,
};
use std::thread;

const LENGTH: ProtocolName = ProtocolName::from_static("/length/1");

protocols! {
    /// What both nodes speak.
    struct Speech => SpeechEvent {
        length: RequestResponse<BytesCodec> => Length,
    }
}

fn speech() -> Speech {
    let length = RequestResponse::new([(LENGTH, ProtocolSupport::Full)], Config::default());
    Speech { length }
}

/// Answers what it is asked. The machine says what happened; a command tells it what to do.
fn answer(node: &mut Node<Speech>, event: Event<SpeechEvent>) {
    let Event::Protocol(SpeechEvent::Length(RequestEvent::Message {
        message: Message::Request {
            request, channel, ..
        },
        ..
    })) = event
    else {
        return;
    };
    if request.is_empty() {
        // Dropping the channel tells the peer at once that there will be no answer.
        return;
    }
    let answer = Bytes::from(request.len().to_string());
    let answered = node.with(now(), |set, cx| {
        set.length(cx, |length, cx| length.send_response(channel, answer, cx))
    });
    if let Err(error) = answered {
        println!("not answered: {error}");
    }
}

fn main() {
    let (mut server, mut client) = (Host::new(speech()), Host::new(speech()));
    let address = server.listen();
    let peer = address.peer_id().unwrap();
    thread::spawn(move || {
        server.run(|node, event| {
            answer(node, event);
            false
        });
    });

    // The first request dials; the second waits with it.
    let nobody = Keypair::ed25519_from_seed(&Seed::from_entropy([7; 32])).peer_id();
    client.node.with(now(), |set, cx| {
        set.length(cx, |length, cx| {
            let addresses = [address.clone()];
            length
                .send_request_with_addresses(&peer, "hello".into(), addresses, cx)
                .unwrap();
            length.send_request(&peer, Bytes::new(), cx).unwrap();
            let refused = length.send_request(&nobody, "anybody?".into(), cx);
            println!("refused: {}", refused.unwrap_err());
        });
    });
    let mut outcomes = Vec::new();
    client.run(|node, event| {
        match event {
            Event::Protocol(SpeechEvent::Length(RequestEvent::Message {
                message: Message::Response { response, .. },
                ..
            })) => outcomes.push(format!("answered: {}", String::from_utf8_lossy(&response))),
            Event::Protocol(SpeechEvent::Length(RequestEvent::OutboundFailure {
                error, ..
            })) => outcomes.push(format!("failed: {error}")),
            Event::ShutdownComplete => return true,
            _ => return false,
        }
        println!("{}", outcomes.last().unwrap());
        if outcomes.len() == 2 {
            node.shutdown(now());
        }
        false
    });
    outcomes.sort();
    // An empty body is an answer to a codec of bytes; one that knows better says `ResponseOmitted`.
    assert_eq!(outcomes, ["answered: ", "answered: 5"]);
}
