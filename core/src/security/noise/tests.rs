use super::*;
use proptest::prelude::*;
use std::{format, string::ToString};

mod adversary;
mod oracle;

pub(super) const YAMUX: ProtocolName = ProtocolName::from_static("/yamux/1.0.0");
pub(super) const MPLEX: ProtocolName = ProtocolName::from_static("/mplex/6.7.0");

pub(super) fn local(number: u64) -> Local {
    let seed = Seed::for_tests(number);
    Local::new(
        Provider::default(),
        &Keypair::ed25519_from_seed(&seed),
        &seed,
    )
    .unwrap()
}

pub(super) fn handshake(number: u64, role: Role, muxers: &[ProtocolName]) -> Handshake {
    let rng = Seed::for_tests(1000 + number).rng();
    Handshake::new(&local(number), role, muxers, rng).unwrap()
}

/// Feeds one whole message and returns what is answered.
pub(super) fn feed(handshake: &mut Handshake, input: &[u8]) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    let used = handshake.advance(input, &mut out)?;
    assert_eq!(used, input.len());
    Ok(out)
}

/// The initiator is node 1, the responder node 2.
pub(super) struct Run {
    pub(super) messages: [Vec<u8>; 3],
    pub(super) initiator: Secured,
    pub(super) responder: Secured,
}

pub(super) fn run(initiator: &[ProtocolName], responder: &[ProtocolName]) -> Run {
    let mut initiator = handshake(1, Role::Initiator, initiator);
    let mut responder = handshake(2, Role::Responder, responder);
    let first = feed(&mut initiator, &[]).unwrap();
    let second = feed(&mut responder, &first).unwrap();
    let third = feed(&mut initiator, &second).unwrap();
    assert_eq!(feed(&mut responder, &third).unwrap(), [0_u8; 0]);
    assert!(initiator.is_finished() && responder.is_finished());
    Run {
        messages: [first, second, third],
        initiator: initiator.finish().unwrap(),
        responder: responder.finish().unwrap(),
    }
}

pub(super) fn seal(cipher: &mut SendCipher, plaintext: &[u8]) -> Vec<u8> {
    let mut out = vec![0xaa, 0xaa];
    out.extend_from_slice(plaintext);
    cipher.seal_in_place(&mut out, 0).unwrap();
    out
}

pub(super) fn open(cipher: &mut ReceiveCipher, message: &[u8]) -> Result<Vec<u8>, Error> {
    let mut message = message.to_vec();
    let range = cipher.next_message(&message)?.unwrap();
    assert_eq!(range.end, message.len());
    let body = &mut message[range];
    let length = cipher.open_in_place(body)?;
    Ok(body[..length].to_vec())
}

#[test]
fn both_sides_learn_who_the_other_is_and_can_talk() {
    let Run {
        mut initiator,
        mut responder,
        messages,
    } = run(&[YAMUX], &[YAMUX]);
    assert_eq!(&initiator.public_key, local(2).public_key());
    assert_eq!(&responder.public_key, local(1).public_key());
    assert_eq!(initiator.peer, local(2).public_key().peer_id());
    assert_eq!(responder.peer, local(1).public_key().peer_id());
    assert_eq!(
        messages[0].len(),
        2 + 32,
        "nothing but the key in message 1"
    );
    for number in 0..100u32 {
        let text = vec![7; number as usize * 31];
        let there = seal(&mut initiator.send, &text);
        assert_eq!(open(&mut responder.receive, &there), Ok(text.clone()));
        let back = seal(&mut responder.send, &text);
        assert_eq!(open(&mut initiator.receive, &back), Ok(text));
        assert_ne!(there, back, "each direction has its own key");
    }
    assert_eq!(initiator.send.counter(), 100);
    assert_eq!(initiator.receive.counter(), 100);
}

#[test]
fn the_same_seeds_give_the_same_bytes() {
    assert_eq!(run(&[YAMUX], &[]).messages, run(&[YAMUX], &[]).messages);
    let mut other =
        Handshake::new(&local(1), Role::Initiator, &[], Seed::for_tests(9).rng()).unwrap();
    assert_ne!(
        feed(&mut other, &[]).unwrap(),
        run(&[YAMUX], &[]).messages[0]
    );
}

#[test]
fn all_backends_send_the_same_bytes() {
    let transcript = |initiator: Provider, responder: Provider| {
        let new = |number, provider, role| {
            let seed = Seed::for_tests(number);
            let local = Local::new(provider, &Keypair::ed25519_from_seed(&seed), &seed).unwrap();
            Handshake::new(&local, role, &[YAMUX], seed.rng()).unwrap()
        };
        let mut initiator = new(1, initiator, Role::Initiator);
        let mut responder = new(2, responder, Role::Responder);
        let first = feed(&mut initiator, &[]).unwrap();
        let second = feed(&mut responder, &first).unwrap();
        let third = feed(&mut initiator, &second).unwrap();
        feed(&mut responder, &third).unwrap();
        let mut channel = initiator.finish().unwrap();
        let sealed = seal(&mut channel.send, b"hello");
        let mut channel = responder.finish().unwrap();
        assert_eq!(open(&mut channel.receive, &sealed), Ok(b"hello".to_vec()));
        (first, second, third, sealed)
    };
    let expected = transcript(Provider::default(), Provider::default());
    for initiator in Provider::AVAILABLE {
        for responder in Provider::AVAILABLE {
            assert_eq!(
                transcript(*initiator, *responder),
                expected,
                "{initiator:?} {responder:?}"
            );
        }
    }
}

/// Feeds `input` in the given pieces, each call with what the calls before left, and returns what came out and what was
/// never taken.
fn feed_pieces(
    handshake: &mut Handshake,
    input: &[u8],
    pieces: impl IntoIterator<Item = usize>,
) -> (Vec<u8>, usize) {
    let (mut out, mut taken, mut given) = (Vec::new(), 0, 0);
    for piece in pieces.into_iter().chain([input.len()]) {
        given = (given + piece).min(input.len());
        taken += handshake.advance(&input[taken..given], &mut out).unwrap();
        assert!(
            taken == given || handshake.is_finished(),
            "all is taken until the end"
        );
    }
    (out, input.len() - taken)
}

fn check_pieces(pieces: &[usize]) {
    let Run {
        messages: [first, second, third],
        mut initiator,
        mut responder,
    } = run(&[YAMUX], &[MPLEX, YAMUX]);
    let early = seal(&mut initiator.send, b"after the end");
    let input = [&first[..], &third, &early].concat();
    let mut again = handshake(2, Role::Responder, &[MPLEX, YAMUX]);
    let (out, left) = feed_pieces(&mut again, &input, pieces.iter().copied());
    assert_eq!((out, left), (second.clone(), early.len()), "{pieces:?}");
    let mut again = again.finish().unwrap();
    assert_eq!(again.muxer, Some(YAMUX));
    assert_eq!(
        open(&mut again.receive, &early),
        Ok(b"after the end".to_vec())
    );

    let early = seal(&mut responder.send, b"after the end");
    let input = [&second[..], &early].concat();
    let mut again = handshake(1, Role::Initiator, &[YAMUX]);
    let (out, left) = feed_pieces(&mut again, &input, pieces.iter().copied());
    assert_eq!(
        (out, left),
        ([first, third].concat(), early.len()),
        "{pieces:?}"
    );
    let mut again = again.finish().unwrap();
    assert_eq!(
        open(&mut again.receive, &early),
        Ok(b"after the end".to_vec())
    );
}

#[test]
fn chunking_is_invisible_at_every_split_and_byte_by_byte() {
    let total: usize = run(&[YAMUX], &[MPLEX, YAMUX])
        .messages
        .iter()
        .map(Vec::len)
        .sum();
    for at in 0..=total {
        check_pieces(&[at]);
    }
    check_pieces(&vec![1; total + 40]);
    check_pieces(&[0, 0, 1, 0, 1, 0]);
}

#[test]
fn calls_without_input_change_nothing() {
    let mut initiator = handshake(1, Role::Initiator, &[]);
    let first = feed(&mut initiator, &[]).unwrap();
    assert_eq!(first.len(), 34);
    assert_eq!(
        feed(&mut initiator, &[]).unwrap(),
        [0_u8; 0],
        "message 1 is sent once"
    );
    let mut responder = handshake(2, Role::Responder, &[]);
    assert_eq!(feed(&mut responder, &[]).unwrap(), [0_u8; 0]);
    assert_eq!(
        feed(&mut responder, &first).unwrap().len(),
        run(&[], &[]).messages[1].len()
    );
    assert!(!responder.is_finished());
    assert_eq!(responder.finish().unwrap_err(), Misuse::NotFinished.into());
}

/// What the inlined muxer negotiation document says, spelled out.
fn expected_muxer(
    initiator: &[ProtocolName],
    responder: &[ProtocolName],
) -> Result<Option<ProtocolName>, Error> {
    if initiator.is_empty() || responder.is_empty() {
        return Ok(None);
    }
    match initiator.iter().find(|name| responder.contains(name)) {
        Some(name) => Ok(Some(name.clone())),
        None => Err(Error::NoCommonMuxer),
    }
}

#[test]
fn the_muxer_is_the_first_of_the_initiators_that_the_responder_has() {
    let other = ProtocolName::from_static("/other/1");
    let lists = [
        vec![],
        vec![YAMUX],
        vec![MPLEX],
        vec![YAMUX, MPLEX],
        vec![MPLEX, YAMUX],
        vec![other.clone(), MPLEX, YAMUX],
        vec![other, other_with_same_beginning()],
    ];
    for ours in &lists {
        for theirs in &lists {
            let expected = expected_muxer(ours, theirs);
            let mut initiator = handshake(1, Role::Initiator, ours);
            let mut responder = handshake(2, Role::Responder, theirs);
            let first = feed(&mut initiator, &[]).unwrap();
            let second = feed(&mut responder, &first).unwrap();
            let third = feed(&mut initiator, &second);
            match expected {
                Err(error) => assert_eq!(third, Err(error), "{ours:?} {theirs:?}"),
                Ok(expected) => {
                    feed(&mut responder, &third.unwrap()).unwrap();
                    let (initiator, responder) =
                        (initiator.finish().unwrap(), responder.finish().unwrap());
                    assert_eq!(initiator.muxer, expected, "{ours:?} {theirs:?}");
                    assert_eq!(responder.muxer, expected, "{ours:?} {theirs:?}");
                }
            }
        }
    }
}

fn other_with_same_beginning() -> ProtocolName {
    ProtocolName::from_static("/yamux/1.0.00")
}

#[test]
fn muxers_that_do_not_fit_are_refused_at_once() {
    let long = ProtocolName::try_from(format!("/{}", "x".repeat(1000))).unwrap();
    let muxers = vec![long; 5];
    let refused = Handshake::new(
        &local(1),
        Role::Initiator,
        &muxers,
        Seed::for_tests(1).rng(),
    );
    assert_eq!(
        refused.map(|_| ()).unwrap_err(),
        Misuse::TooManyMuxers.into()
    );
    assert!(
        Handshake::new(
            &local(1),
            Role::Initiator,
            &muxers[..3],
            Seed::for_tests(1).rng()
        )
        .is_ok()
    );
}

#[test]
fn a_handshake_may_run_on_any_thread() {
    fn is_send<T: Send + 'static>() {}
    is_send::<Handshake>();
    is_send::<Secured>();
    is_send::<Local>();
}

#[test]
fn nothing_secret_is_printed() {
    let local = local(1);
    assert!(format!("{local:?}").starts_with("Local { provider: Provider("));
    let handshake = handshake(1, Role::Initiator, &[]);
    assert_eq!(
        format!("{handshake:?}"),
        "Handshake { role: Initiator, finished: false, .. }"
    );
    let run = run(&[], &[]);
    assert_eq!(
        format!("{:?}", run.initiator.send),
        "SendCipher { counter: 0, .. }"
    );
    assert_eq!(
        Error::from(Violation::DecryptFailed).to_string(),
        "message does not authenticate"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn chunking_is_invisible(pieces in prop::collection::vec(0usize..200, 0..20)) {
        check_pieces(&pieces);
    }
}
