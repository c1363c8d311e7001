//! Against the secure channel: what somebody on the path, or somebody who lies about who it is, can do.

use crate::{SECOND, attacked};
use drywire::{
    connection::{Connection, ConnectionError, Event, OpenOptions, StreamKind},
    identity::Keypair,
    multistream::ProtocolName,
    mux::yamux::Flags,
    security::{Error, Violation},
    seed::Seed,
    swarm::{AttemptError, DialOptions},
    time::Instant,
};
use drywire_tests::{
    forger::{DOMAIN, Forger},
    hostile::{self, Hostile},
    pair::{Secure, Setup, Side},
    site::{self, Site},
    victim::{Target, Victim},
};

const ASKED: &[u8] =
    b"a question, more than one block of a cipher long, so that bits in the middle of it count too";
const ANSWERED: &[u8] = b"an answer";

/// A conversation of two connections over a wire on which somebody may flip a bit.
struct Wire {
    sides: [Side; 2],
    /// Which side's bytes, at which place, which bit.
    flip: Option<(usize, usize, u8)>,
    carried: [usize; 2],
    /// What each side's application has read.
    read: [Vec<u8>; 2],
}

impl Wire {
    fn new(flip: Option<(usize, usize, u8)>) -> Self {
        let setup = Setup::default();
        Self {
            sides: [setup.side(0), setup.side(1)],
            flip,
            carried: [0; 2],
            read: [Vec::new(), Vec::new()],
        }
    }

    fn carry(&mut self, from: usize) -> bool {
        let now = Instant::ZERO;
        let [side, other] = self.sides.get_disjoint_mut([from, 1 - from]).unwrap();
        let mut out = Vec::new();
        if side.connection.wants_transmit() {
            side.connection.poll_transmit(now, &mut out, 1 << 20);
        }
        let start = self.carried[from];
        self.carried[from] += out.len();
        if let Some((of, at, bit)) = self.flip
            && of == from
            && let Some(byte) = at.checked_sub(start).and_then(|at| out.get_mut(at))
        {
            *byte ^= 1 << bit;
        }
        let busy = side.drain(now) | !out.is_empty();
        other.connection.handle_input(now, &out);
        other.drain(now) | busy
    }

    /// Asks and answers, as far as that gets.
    fn talk(&mut self) {
        let now = Instant::ZERO;
        let mut asked = None;
        for _ in 0..50 {
            let busy = self.carry(0) | self.carry(1);
            let [dialer, listener] = &mut self.sides;
            if asked.is_none() && dialer.connection.is_open() {
                let names = [ProtocolName::from_static("/raw")];
                let (kind, options) = (StreamKind::Raw, OpenOptions::default());
                let stream = dialer.connection.open(now, &names, kind, options).unwrap();
                let mut view = dialer.connection.stream(stream).unwrap();
                view.write(ASKED).unwrap();
                view.finish().unwrap();
                asked = Some(stream);
            }
            let inbound = listener.events.iter().find_map(|(_, event)| match event {
                Event::Inbound { stream, .. } => Some(*stream),
                _ => None,
            });
            let before = self.read[1].len();
            if let Some(mut view) = inbound.and_then(|stream| listener.connection.stream(stream)) {
                while let Ok(Some(bytes)) = view.read(usize::MAX) {
                    self.read[1].extend_from_slice(&bytes);
                }
                if self.read[1].len() > before && view.write(ANSWERED).is_ok() {
                    view.finish().unwrap();
                }
            }
            if let Some(mut view) = asked.and_then(|stream| dialer.connection.stream(stream)) {
                while let Ok(Some(bytes)) = view.read(usize::MAX) {
                    self.read[0].extend_from_slice(&bytes);
                }
            }
            if !busy {
                break;
            }
        }
    }
}

/// T12 (RUSTSEC-2019-0004, I19): any one bit of a whole conversation, from the first negotiated name to the last byte of a
/// stream, is flipped on the way. The side that receives it ends the connection by name (before the channel is secured it
/// may also wait for bytes that a changed length announces), and no application ever reads a byte that was not written.
///
/// Fails if the verdict on a message's tag is passed over.
#[test]
fn any_flipped_bit_ends_the_connection() {
    let mut whole = Wire::new(None);
    whole.talk();
    assert_eq!(whole.read[1], ASKED);
    assert_eq!(whole.read[0], ANSWERED);
    let mut ended = 0;
    for from in [0, 1] {
        for at in 0..whole.carried[from] {
            for bit in 0..8 {
                let mut wire = Wire::new(Some((from, at, bit)));
                wire.talk();
                let what = format!("bit {bit} of byte {at} from side {from}");
                let victim = &wire.sides[1 - from];
                let error = victim.connection.error();
                assert!(ASKED.starts_with(&wire.read[1]), "{what}");
                assert!(ANSWERED.starts_with(&wire.read[0]), "{what}");
                match error {
                    Some(ConnectionError::Security(_) | ConnectionError::Negotiation(_)) => {
                        ended += 1;
                        assert!(victim.connection.is_closed(), "{what}");
                    }
                    // A longer line or message than was sent: the rest of it never comes.
                    None => assert!(
                        wire.read[usize::from(from == 0)].len()
                            < if from == 0 {
                                ASKED.len()
                            } else {
                                ANSWERED.len()
                            },
                        "{what}: unnoticed"
                    ),
                    other => panic!("{what}: {other:?}"),
                }
            }
        }
    }
    let bits = (whole.carried[0] + whole.carried[1]) * 8;
    println!("{ended} of {bits} flipped bits are named, the others leave the receiver waiting");
    assert!(ended * 10 > bits * 9, "{ended} of {bits}");
}

fn listener() -> Victim {
    Victim::new(&Setup::default(), 1)
}

fn dialer() -> Victim {
    Victim::new(&Setup::default(), 0)
}

fn security_error(connection: &Connection) -> Option<Error> {
    match connection.error() {
        Some(ConnectionError::Security(error)) => Some(error.clone()),
        None => None,
        other => panic!("{other:?}"),
    }
}

/// What becomes of both roles when the peer's payload is `forge`d.
fn verdict(forge: impl Fn(&Forger) -> Vec<u8>) -> Option<Error> {
    let mut victims = [listener(), dialer()];
    Forger::new(1).dial(&mut victims[0], &forge);
    Forger::new(1).accept(&mut victims[1], &forge);
    let [first, second] = victims.each_ref().map(|victim| {
        let error = security_error(&victim.side.connection);
        let closed = Event::Closed {
            error: ConnectionError::Security(error.clone().unwrap_or(Error::Backend)),
        };
        let told: Vec<&Event> = victim.side.events.iter().map(|(_, event)| event).collect();
        match &error {
            Some(_) => assert_eq!(told, [&closed], "nothing but the end is told"),
            None => assert!(matches!(told[..], [] | [Event::Established { .. }])),
        }
        error
    });
    assert_eq!(first, second, "the same in both roles");
    first
}

/// T13 (CVE-2022-24759): a sound handshake whose payload does not prove that the identity vouches for this very static key.
///
/// Fails if the verdict on the signature is passed over.
#[test]
fn an_identity_that_does_not_vouch_for_the_static_key_is_refused() {
    assert_eq!(verdict(Forger::proof), None, "an honest payload is taken");
    let bad = Some(Error::from(Violation::BadSignature));
    let signed = |domain: &'static [u8], key: Option<[u8; 32]>| {
        move |forger: &Forger| {
            let key = key.unwrap_or(*forger.static_key());
            let signature = forger.identity.sign(&[domain, &key].concat());
            Forger::claim(&forger.identity, &signature)
        }
    };
    // Another static key than that of the channel.
    assert_eq!(verdict(signed(DOMAIN, Some([7; 32]))), bad);
    // Another domain: what was signed for another purpose.
    for domain in [
        &b""[..],
        b"noise-libp2p-static-key",
        b"noise-libp2p-static-key: ",
        b"libp2p-tls-handshake:",
        b"libp2p-peer-record",
    ] {
        assert_eq!(verdict(signed(domain, None)), bad, "{domain:?}");
    }
    // Another identity than the one that signed.
    let honest = Keypair::ed25519_from_seed(&Seed::for_tests(99));
    let impostor = |forger: &Forger| {
        let signature = forger
            .identity
            .sign(&[DOMAIN, forger.static_key()].concat());
        Forger::claim(&honest, &signature)
    };
    assert_eq!(verdict(impostor), bad);
    // Nothing is signed at all.
    let unsigned = |forger: &Forger| Forger::claim(&forger.identity, &[0; 64]);
    assert_eq!(verdict(unsigned), bad);
    let missing = Some(Error::from(Violation::MissingPayload));
    assert_eq!(verdict(|_| Vec::new()), missing);
}

/// T13: the payload by which an honest peer proved itself, in a session with the attacker, is shown to somebody else.
///
/// Fails if the verdict on the signature is passed over.
#[test]
fn the_proof_of_an_honest_peer_cannot_be_replayed() {
    // The honest peer dials the attacker, and listens to it.
    let stolen = [
        {
            let mut honest = dialer();
            let mut forger = Forger::new(2);
            forger.accept(&mut honest, Forger::proof);
            forger.their_payload
        },
        {
            let mut honest = listener();
            let mut forger = Forger::new(2);
            forger.dial(&mut honest, Forger::proof);
            forger.their_payload
        },
    ];
    for payload in stolen {
        assert!(payload.len() > 100, "that of a real peer");
        assert_eq!(
            verdict(|_| payload.clone()),
            Some(Error::from(Violation::BadSignature))
        );
    }
}

/// T13: whole messages of another session, and a second copy of a message of this one.
///
/// Fails if all messages of a channel have one nonce.
#[test]
fn messages_of_another_session_are_refused() {
    let failed = Some(Error::from(Violation::DecryptFailed));
    // The last message of one handshake, in another.
    let mut recorded = Recorder(listener(), Vec::new());
    Forger::new(1).dial(&mut recorded, Forger::proof);
    let last = recorded.1.pop().expect("three messages");
    let mut victim = Replay(
        Victim::new(
            &Setup {
                seed: 5,
                ..Setup::default()
            },
            1,
        ),
        last,
    );
    Forger::new(3).dial(&mut victim, Forger::proof);
    assert_eq!(security_error(&victim.0.side.connection), failed);
    // A message of the running channel, twice.
    let (mut victim, mut hostile) = attacked(Secure::Noise);
    let ping = hostile.seal(&hostile::ping(1));
    victim.input(&ping);
    assert!(victim.side.connection.is_open());
    victim.input(&ping);
    assert_eq!(security_error(&victim.side.connection), failed);
}

/// Writes down what a victim is given.
struct Recorder(Victim, Vec<Vec<u8>>);

impl Target for Recorder {
    fn input(&mut self, bytes: &[u8]) {
        self.1.push(bytes.to_vec());
        self.0.input(bytes);
    }

    fn sent(&mut self) -> Vec<u8> {
        self.0.sent()
    }
}

/// Gives a victim another last message of the handshake than its peer sends.
struct Replay(Victim, Vec<u8>);

impl Target for Replay {
    fn input(&mut self, bytes: &[u8]) {
        let is_last = bytes.len() == self.1.len();
        self.0.input(if is_last { &self.1 } else { bytes });
    }

    fn sent(&mut self) -> Vec<u8> {
        self.0.sent()
    }
}

/// T14 (GHSA-rch7-f4h5-x9rj): the node dials X, and Y answers, with a sound handshake of its own. The dial fails by name, and
/// nobody ever hears of a connection.
///
/// Fails if the swarm does not compare whom it expects with whom it met.
#[test]
fn another_peer_than_the_one_dialed_never_comes_up() {
    for secure in [Secure::Noise, Secure::Plaintext] {
        for by_address in [false, true] {
            let mut site = Site::new(secure, |_| {});
            let expected = Keypair::ed25519_from_seed(&Seed::for_tests(1)).peer_id();
            let address = "/ip4/192.0.2.1/tcp/4001".parse().expect("an address");
            let options = if by_address {
                let named = "/ip4/192.0.2.1/tcp/4001".parse::<drywire::multiaddr::Multiaddr>();
                DialOptions::address(named.unwrap().with_peer_id(expected).unwrap())
            } else {
                DialOptions::peer(expected).addresses([address])
            };
            let now = site.now;
            site.node.dial(now, options).expect("an address to dial");
            site.turn();
            let (attempt, remote) = site.dials.pop().expect("dials");
            let connection = site.connect(attempt, &remote).expect("wanted");
            let hostile = Hostile::accept(&mut site.port(connection), secure, 7);
            assert_eq!(hostile.peer, site::key().peer_id());
            site.wait(SECOND * 20);
            let obtained = Hostile::identity(7).peer_id();
            assert_eq!(
                site.told.dial_failed,
                [vec![AttemptError::WrongPeer { obtained }]]
            );
            assert!(site.told.established.is_empty() && site.told.closed.is_empty());
            assert_eq!(site.told.dialed, 0);
            assert_eq!(site.told.identified + site.told.identify_failed.len(), 0);
            let swarm = site.node.swarm();
            assert!(!swarm.is_connected(&expected) && !swarm.is_connected(&obtained));
            assert_eq!(swarm.connection_count(), 0);
        }
    }
}

/// T18 (GHSA-6cr6-fmvc-vw2p, RUSTSEC-2024-0011): a message that cannot be decrypted is the last, whatever follows it: the
/// sound ones that were on their way, and any later.
///
/// Fails if neither the connection nor its cipher keeps the failure in mind.
#[test]
fn after_a_message_that_does_not_decrypt_the_channel_is_dead() {
    for together in [true, false] {
        let (mut victim, mut hostile) = attacked(Secure::Noise);
        let open = hostile::data(Flags::SYN, 1, &hostile::propose("/raw"));
        let mut forged = hostile.seal(&open);
        // The attacker's counter stands where it stood.
        let good: Vec<u8> = (0..3)
            .flat_map(|n| hostile.seal(&hostile::ping(n)))
            .collect();
        *forged.last_mut().expect("a tag") ^= 1;
        if together {
            victim.input(&[forged, good].concat());
        } else {
            victim.input(&forged);
            victim.input(&good);
        }
        assert_eq!(
            security_error(&victim.side.connection),
            Some(Error::from(Violation::DecryptFailed))
        );
        assert!(victim.side.connection.is_closed());
        assert!(victim.sent().is_empty(), "nothing is answered");
        assert_eq!(
            victim.count(|event| matches!(event, Event::Inbound { .. })),
            0
        );
        let last = victim.side.events.last().map(|(_, event)| event);
        assert!(matches!(last, Some(Event::Closed { .. })), "{last:?}");
        assert_eq!(victim.side.connection.poll_timeout(), None);
    }
}
