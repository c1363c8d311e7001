//! The machines that are functions of slices, dressed as [`Slices`].

use crate::slices::{SEEDS, Slices};
use drywire::{
    crypto::Provider,
    identity::Keypair,
    multistream::{self, Dialer, Listener, ProtocolName},
    security::{
        self, ReceiveCipher, Role, Secured, SendCipher,
        noise::{self, Handshake},
        plaintext,
    },
    seed::Seed,
};
use drywire_tests::dice::Dice;

const KIB: usize = 1024;
const YAMUX: ProtocolName = ProtocolName::from_static("/yamux/1.0.0");
const NAMES: [&str; 3] = ["/one/1", "/two/1", "/three/1"];

/// A line of the negotiation.
fn line(text: &str) -> Vec<u8> {
    let mut line = vec![text.len() as u8 + 1];
    line.extend_from_slice(text.as_bytes());
    line.push(b'\n');
    line
}

/// A negotiation: the header, then these lines.
fn lines(texts: &[&str]) -> Vec<u8> {
    let header = line("/multistream/1.0.0");
    texts.iter().fold(header, |mut all, text| {
        all.extend(line(text));
        all
    })
}

fn line_floods() -> Vec<Vec<u8>> {
    let many = |text: &str| {
        let mut flood = lines(&[]);
        flood.extend(line(text).repeat(20_000));
        flood
    };
    let mut announced = lines(&[]);
    announced.extend([0xff, 0x07]);
    announced.resize(100 * KIB, b'x');
    vec![
        vec![0; 100 * KIB],
        vec![0xff; 100 * KIB],
        many("na"),
        many("ls"),
        many("/unknown/1"),
        announced,
    ]
}

/// Proposes [`NAMES`]; the peer refuses the first `seed % 3` of them.
pub struct NegotiatingDialer(Dialer, Option<usize>, Option<multistream::Error>);

impl Slices for NegotiatingDialer {
    type Error = multistream::Error;
    const MEMORY: isize = 0;

    fn start(_: u64, out: &mut Vec<u8>) -> Self {
        let dialer = Dialer::start(&NAMES, out).expect("names");
        Self(dialer, None, None)
    }

    fn advance(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, Self::Error> {
        let progress = self.0.advance(&NAMES, input, out);
        let progress = progress.inspect_err(|error| self.2 = Some(*error))?;
        self.1 = progress.outcome;
        Ok(progress.consumed)
    }

    fn is_done(&self) -> bool {
        self.1.is_some()
    }

    fn end(self) -> Result<String, Self::Error> {
        self.2.map_or(Ok(format!("{:?}", self.1)), Err)
    }

    fn honest(seed: u64) -> Vec<u8> {
        let refusals = (seed % 3) as usize;
        let mut said = vec!["na"; refusals];
        said.push(NAMES[refusals]);
        let mut said = lines(&said);
        said.extend_from_slice(b"\x05what follows");
        said
    }

    fn floods() -> Vec<Vec<u8>> {
        line_floods()
    }
}

/// Is asked for names it has not, and for a list, and in the end for one of [`NAMES`].
pub struct NegotiatingListener(Listener, Option<usize>, Option<multistream::Error>);

impl Slices for NegotiatingListener {
    type Error = multistream::Error;
    const MEMORY: isize = 0;

    fn start(_: u64, _: &mut Vec<u8>) -> Self {
        Self(Listener::new(), None, None)
    }

    fn advance(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, Self::Error> {
        let progress = self.0.advance(&NAMES, input, out);
        let progress = progress.inspect_err(|error| self.2 = Some(*error))?;
        self.1 = progress.outcome;
        Ok(progress.consumed)
    }

    fn is_done(&self) -> bool {
        self.1.is_some()
    }

    fn end(self) -> Result<String, Self::Error> {
        self.2.map_or(Ok(format!("{:?}", self.1)), Err)
    }

    fn honest(seed: u64) -> Vec<u8> {
        let said: &[&str] = match seed % 3 {
            0 => &["/two/1"],
            1 => &["/unknown/1", "ls", "/three/1"],
            _ => &["ls", "/x", "/one/2", "/one/1"],
        };
        let mut said = lines(said);
        said.extend_from_slice(b"\x05what follows");
        said
    }

    fn floods() -> Vec<Vec<u8>> {
        line_floods()
    }
}

/// What the nodes of the handshakes have for ever: made once, for it is signed.
fn local(number: u64) -> noise::Local {
    thread_local! {
        static LOCALS: [noise::Local; 2] = [1, 2].map(|number| {
            let seed = Seed::for_tests(number);
            noise::Local::new(Provider::ring(), &Keypair::ed25519_from_seed(&seed), &seed)
                .expect("ring works")
        });
    }
    LOCALS.with(|locals| locals[number as usize].clone())
}

/// One end of the handshake numbered `seed`: 0 dials, 1 listens.
fn handshake(seed: u64, end: u64) -> Handshake {
    let role = if end == 0 {
        Role::Initiator
    } else {
        Role::Responder
    };
    let rng = Seed::for_tests(seed)
        .derive(if end == 0 { "dialer" } else { "listener" })
        .rng();
    Handshake::new(&local(end), role, &[YAMUX], rng).expect("ring works")
}

/// Both ends of a finished handshake, and what each of them said.
fn shake(seed: u64) -> ([Secured; 2], [Vec<u8>; 2]) {
    let mut ends = [handshake(seed, 0), handshake(seed, 1)];
    let mut said = [Vec::new(), Vec::new()];
    let mut heard = [0; 2];
    while !ends.iter().all(Handshake::is_finished) {
        for end in [0, 1] {
            let mut out = Vec::new();
            let used = ends[end].advance(&said[1 - end][heard[end]..], &mut out);
            heard[end] += used.expect("honest");
            said[end].extend(out);
        }
    }
    (ends.map(|end| end.finish().expect("finished")), said)
}

/// Dials if the seed is even.
pub struct NoiseHandshake(Handshake);

impl Slices for NoiseHandshake {
    type Error = security::Error;
    // As its documentation says.
    const MEMORY: isize = 16 * 1024;

    fn start(seed: u64, out: &mut Vec<u8>) -> Self {
        let mut machine = handshake(seed, seed % 2);
        machine.advance(&[], out).expect("nothing was heard yet");
        Self(machine)
    }

    fn advance(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, Self::Error> {
        self.0.advance(input, out)
    }

    fn is_done(&self) -> bool {
        self.0.is_finished()
    }

    fn end(self) -> Result<String, Self::Error> {
        let secured = match self.0.finish() {
            Err(security::Error::Misuse(_)) => return Ok("unfinished".into()),
            secured => secured?,
        };
        let mut sealed = vec![0; 2];
        sealed.extend_from_slice(b"which key");
        let mut send = secured.send;
        send.seal_in_place(&mut sealed, 0)?;
        Ok(format!(
            "{:?} {:?} {sealed:x?}",
            secured.peer, secured.muxer
        ))
    }

    fn honest(seed: u64) -> Vec<u8> {
        let (_, mut said) = shake(seed);
        let mut said = std::mem::take(&mut said[1 - (seed % 2) as usize]);
        said.extend_from_slice(b"\x00\x20what follows");
        said
    }

    fn floods() -> Vec<Vec<u8>> {
        let mut longest = vec![0x10, 0x50];
        longest.resize(200 * KIB, 9);
        let key = [&[0, 32][..], &[9; 32]].concat();
        vec![
            vec![0; 200 * KIB],
            vec![0xff; 200 * KIB],
            longest.clone(),
            [key, longest].concat(),
        ]
    }
}

/// A secured channel that opens what comes and seals it again, for the way back.
pub struct NoiseTransport {
    send: SendCipher,
    receive: ReceiveCipher,
    failed: Option<security::Error>,
    message: Vec<u8>,
}

impl NoiseTransport {
    fn take(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, security::Error> {
        let mut taken = 0;
        while let Some(range) = self.receive.next_message(&input[taken..])? {
            let end = taken + range.end;
            self.message.clear();
            self.message
                .extend_from_slice(&input[taken + range.start..end]);
            let length = self.receive.open_in_place(&mut self.message)?;
            let start = out.len();
            out.extend_from_slice(&[0, 0]);
            out.extend_from_slice(&self.message[..length]);
            self.send.seal_in_place(out, start)?;
            taken = end;
        }
        Ok(taken)
    }
}

impl Slices for NoiseTransport {
    type Error = security::Error;
    // The longest message, of which the wrapper makes a copy, and no more.
    const MEMORY: isize = 68 * 1024;

    fn start(seed: u64, _: &mut Vec<u8>) -> Self {
        let ([_, Secured { send, receive, .. }], _) = shake(seed);
        Self {
            send,
            receive,
            failed: None,
            message: Vec::with_capacity(KIB),
        }
    }

    fn advance(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, Self::Error> {
        let taken = self.take(input, out);
        taken.inspect_err(|error| self.failed = Some(error.clone()))
    }

    fn is_done(&self) -> bool {
        false
    }

    fn end(self) -> Result<String, Self::Error> {
        let state = format!("{} {}", self.send.counter(), self.receive.counter());
        self.failed.map_or(Ok(state), Err)
    }

    fn honest(seed: u64) -> Vec<u8> {
        let ([mut dialer, _], _) = shake(seed);
        // The same words in every conversation of this kind, under other keys.
        let mut dice = Dice::new(seed % SEEDS);
        let mut said = Vec::new();
        for length in [0, 1, dice.below(100), dice.below(600)] {
            let start = said.len();
            said.extend_from_slice(&[0, 0]);
            said.extend((0..length).map(|_| dice.roll() as u8));
            dialer.send.seal_in_place(&mut said, start).expect("short");
        }
        said
    }

    fn floods() -> Vec<Vec<u8>> {
        let mut dice = Dice::new(1);
        vec![
            vec![0; 200 * KIB],
            vec![0xff; 200 * KIB],
            (0..200 * KIB).map(|_| dice.roll() as u8).collect(),
        ]
    }
}

/// The exchange of names of the insecure protocol.
pub struct PlaintextExchange(plaintext::Handshake);

impl Slices for PlaintextExchange {
    type Error = security::Error;
    const MEMORY: isize = 16 * 1024;

    fn start(seed: u64, out: &mut Vec<u8>) -> Self {
        let mut machine = plaintext::Handshake::new(&plaintext_local(seed % 2));
        machine.advance(&[], out).expect("nothing was heard yet");
        Self(machine)
    }

    fn advance(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, Self::Error> {
        self.0.advance(input, out)
    }

    fn is_done(&self) -> bool {
        self.0.is_finished()
    }

    fn end(self) -> Result<String, Self::Error> {
        match self.0.finish() {
            Err(security::Error::Misuse(_)) => Ok("unfinished".into()),
            secured => Ok(secured?.peer.to_string()),
        }
    }

    fn honest(seed: u64) -> Vec<u8> {
        let mut said = Vec::new();
        let mut peer = plaintext::Handshake::new(&plaintext_local(1 - seed % 2));
        peer.advance(&[], &mut said).expect("nothing was heard yet");
        said.extend_from_slice(b"what follows");
        said
    }

    fn floods() -> Vec<Vec<u8>> {
        let mut longest = vec![0x80, 0x20];
        longest.resize(200 * KIB, 0x0a);
        vec![vec![0; 200 * KIB], vec![0xff; 200 * KIB], longest]
    }
}

fn plaintext_local(number: u64) -> plaintext::Local {
    thread_local! {
        static LOCALS: [plaintext::Local; 2] = [1, 2].map(|number| {
            plaintext::Local::new(&Keypair::ed25519_from_seed(&Seed::for_tests(number)).public())
        });
    }
    LOCALS.with(|locals| locals[number as usize].clone())
}
