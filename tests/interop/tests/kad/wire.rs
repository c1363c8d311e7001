//! Servers seen by a client of a few bytes.

use crate::scenarios::{acquaint, run, start};
use drywire_interop::{
    DrywirePeer, Options, Peer,
    kad::{DrywireKad, JsKad, KadNode, KadOptions, Libp2pKad},
};
use futures::{AsyncReadExt, AsyncWriteExt};

const NAME: &str = "/interop/kad/1.0.0";

/// FIND_NODE for a key of one byte, with its length in front.
const FIND_NODE: [u8; 6] = [5, 0x08, 4, 0x12, 1, b'k'];

/// One stream carries any number of requests, one after another or all at once.
async fn answers_again<N: KadNode>() {
    let (node, other): (N, N) = (
        start(KadOptions::new()).await,
        start(KadOptions::new()).await,
    );
    acquaint(&node, &other).await;
    let client = DrywirePeer::start(Options::bare()).unwrap();
    let address = format!("{}/p2p/{}", node.address(), node.id());
    let peer = client.connect(&address).await.unwrap();
    let mut stream = client.open(&peer, NAME).await.unwrap();
    for at_once in [1, 1, 3] {
        for _ in 0..at_once {
            stream.write_all(&FIND_NODE).await.unwrap();
        }
        stream.flush().await.unwrap();
        for _ in 0..at_once {
            let mut len = 0;
            for shift in [0, 7, 14] {
                let mut byte = [0];
                stream.read_exact(&mut byte).await.unwrap();
                len |= usize::from(byte[0] & 0x7f) << shift;
                if byte[0] < 0x80 {
                    break;
                }
            }
            let mut message = vec![0; len];
            stream.read_exact(&mut message).await.unwrap();
            assert_eq!(message[..2], [0x08, 4], "a response to FIND_NODE");
            let told = other.id().parse::<libp2p::PeerId>().unwrap().to_bytes();
            let told = message.windows(told.len()).any(|at| at == told);
            assert!(told, "it tells whom it knows");
        }
    }
}

#[test]
fn drywire_answers_again_on_a_stream() {
    run::<DrywireKad, DrywireKad, _>(answers_again::<DrywireKad>);
}

#[test]
fn libp2p_answers_again_on_a_stream() {
    run::<Libp2pKad, Libp2pKad, _>(answers_again::<Libp2pKad>);
}

#[test]
fn js_answers_again_on_a_stream() {
    run::<JsKad, JsKad, _>(answers_again::<JsKad>);
}
