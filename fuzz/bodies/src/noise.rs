//! Targets of the Noise handshake and channel.

mod adversary;

use crate::input::Input;
use adversary::Adversary;
use drywire::{
    crypto::Provider,
    identity::Keypair,
    multistream::ProtocolName,
    security::{
        Error, Role, Secured, SendCipher,
        noise::{Handshake, Local, MAX_CERTHASH_LEN, MAX_CERTHASHES},
    },
    seed::Seed,
};
use std::thread::LocalKey;

const MUXERS: [ProtocolName; 2] = [
    ProtocolName::from_static("/yamux/1.0.0"),
    ProtocolName::from_static("/other/1"),
];

fn node(number: u64) -> Local {
    let seed = Seed::for_tests(number);
    Local::new(
        Provider::default(),
        &Keypair::ed25519_from_seed(&seed),
        &seed,
    )
    .unwrap()
}

// Made once: signing the static key is most of what a run would cost.
thread_local! {
    static DIALER: Local = node(1);
    static LISTENER: Local = node(2);
}

fn handshake(node: &'static LocalKey<Local>, role: Role) -> Handshake {
    node.with(|local| Handshake::new(local, role, &MUXERS, Seed::for_tests(3).rng()).unwrap())
}

/// One side against an adversary. Without the second bit of the first byte, the input is what the victim receives.
/// With it, the adversary is a sound Noise peer whose *payload* is the input, behind a valid proof of its identity if
/// the third bit is set: so the reader of payloads is reached, and the extensions in it.
pub fn noise_handshake(data: &[u8]) {
    let mut input = Input::new(data);
    let choice = input.byte();
    let role = if choice & 1 == 0 {
        Role::Responder
    } else {
        Role::Initiator
    };
    if choice & 2 == 0 {
        noise_raw(role, input.rest());
    } else {
        noise_payload(role, choice & 4 != 0, input.rest());
    }
}

/// Nobody without keys completes a handshake, and cutting the input changes nothing.
fn noise_raw(role: Role, input: &[u8]) {
    let run = |step: usize| {
        let mut victim = handshake(&LISTENER, role);
        let mut out = Vec::new();
        let mut end = Ok(());
        for piece in input.chunks(step) {
            match victim.advance(piece, &mut out) {
                Ok(used) => assert_eq!(used, piece.len()),
                Err(error) => {
                    end = Err(error);
                    break;
                }
            }
        }
        if let Err(error) = &end {
            let len = out.len();
            assert_eq!(victim.advance(&[], &mut out).as_ref(), Err(error));
            assert_eq!(out.len(), len, "output after the end");
        }
        assert!(!victim.is_finished());
        assert!(victim.finish().is_err());
        (end, out)
    };
    let whole = run(input.len().max(1));
    assert_eq!(run(1), whole);
    assert_eq!(run(7), whole);
}

/// Whether the victim accepted.
fn noise_payload(role: Role, proven: bool, input: &[u8]) -> bool {
    let mut adversary = Adversary::new(role);
    let mut victim = handshake(&LISTENER, role);
    let mut payload = if proven {
        adversary.proof()
    } else {
        Vec::new()
    };
    payload.extend_from_slice(input);
    payload.truncate(60_000);

    let mut from_victim = Vec::new();
    victim.advance(&[], &mut from_victim).unwrap();
    let mut end = Ok(0);
    while end.is_ok() && !victim.is_finished() {
        let message = adversary.reply(&std::mem::take(&mut from_victim), &payload);
        end = victim.advance(&message, &mut from_victim);
    }
    match victim.finish() {
        Ok(secured) => {
            assert_eq!(end, Ok(adversary.last_len()));
            assert_eq!(secured.peer, adversary.peer_id(), "an identity was forged");
            assert_eq!(secured.public_key.peer_id(), secured.peer);
            assert!(secured.muxer.is_none_or(|muxer| MUXERS.contains(&muxer)));
            let hashes = &secured.webtransport_certhashes;
            assert!(hashes.len() <= MAX_CERTHASHES);
            assert!(hashes.iter().all(|hash| hash.len() <= MAX_CERTHASH_LEN));
            true
        }
        Err(error) => {
            assert_eq!(end, Err(error));
            false
        }
    }
}

/// One end of a channel: first a handshake, then its ciphers.
struct End {
    handshake: Option<Handshake>,
    secured: Option<Secured>,
    unread: Vec<u8>,
    delivered: Vec<u8>,
}

impl End {
    fn new(node: &'static LocalKey<Local>, role: Role) -> Self {
        Self {
            handshake: Some(handshake(node, role)),
            secured: None,
            unread: Vec::new(),
            delivered: Vec::new(),
        }
    }

    /// Takes what arrived, appends what there is to say: once secured, `messages`.
    fn receive(
        &mut self,
        arrived: &[u8],
        out: &mut Vec<u8>,
        messages: &[&[u8]],
    ) -> Result<(), Error> {
        self.unread.extend_from_slice(arrived);
        if let Some(handshake) = &mut self.handshake {
            let used = handshake.advance(&self.unread, out)?;
            self.unread.drain(..used);
            if handshake.is_finished() {
                let mut secured = self.handshake.take().unwrap().finish()?;
                for message in messages {
                    let start = out.len();
                    out.extend_from_slice(&[0; 2]);
                    out.extend_from_slice(message);
                    secured.send.seal_in_place(out, start)?;
                    assert_eq!(out.len(), start + message.len() + SendCipher::OVERHEAD);
                }
                self.secured = Some(secured);
            }
        }
        if let Some(secured) = &mut self.secured {
            while let Some(range) = secured.receive.next_message(&self.unread)? {
                let message = &mut self.unread[range.clone()];
                let len = secured.receive.open_in_place(message)?;
                self.delivered.extend_from_slice(&message[..len]);
                self.unread.drain(..range.end);
            }
        }
        Ok(())
    }
}

/// Two honest ends and a wire that alters one byte. Unaltered, everything arrives; altered, what arrives is a prefix of
/// what was sent, and the channel on which it was altered never works to its end.
pub fn noise_pair(data: &[u8]) {
    const FROM_DIALER: [&[u8]; 3] = [b"first", b"", b"second message"];
    const FROM_LISTENER: [&[u8]; 2] = [b"answer", &[5; 300]];
    let mut input = Input::new(data);
    let to_listener = input.byte() & 1 == 0;
    let position = usize::from(input.byte()) << 8 | usize::from(input.byte());
    let (mask, step) = (input.byte(), usize::from(input.byte()).max(1));

    let mut dialer = End::new(&DIALER, Role::Initiator);
    let mut listener = End::new(&LISTENER, Role::Responder);
    // Queues with the number of bytes that went through them before.
    let (mut uplink, mut downlink) = (Vec::new(), Vec::new());
    let (mut up_sent, mut down_sent) = (0, 0);
    let (mut dialed, mut listened) = (dialer.receive(&[], &mut uplink, &[]), Ok(()));
    let mut altered = false;
    let mut alter = |bytes: &mut [u8], sent: usize| {
        if let Some(byte) = position.checked_sub(sent).and_then(|at| bytes.get_mut(at)) {
            *byte ^= mask;
            altered = mask != 0;
        }
    };
    while !(uplink.is_empty() && downlink.is_empty()) {
        let mut up: Vec<u8> = uplink.drain(..step.min(uplink.len())).collect();
        if to_listener {
            alter(&mut up, up_sent);
        }
        up_sent += up.len();
        if listened.is_ok() {
            listened = listener.receive(&up, &mut downlink, &FROM_LISTENER);
        }
        let mut down: Vec<u8> = downlink.drain(..step.min(downlink.len())).collect();
        if !to_listener {
            alter(&mut down, down_sent);
        }
        down_sent += down.len();
        if dialed.is_ok() {
            dialed = dialer.receive(&down, &mut uplink, &FROM_DIALER);
        }
    }
    let (sent_up, sent_down) = (FROM_DIALER.concat(), FROM_LISTENER.concat());
    assert!(sent_up.starts_with(&listener.delivered));
    assert!(sent_down.starts_with(&dialer.delivered));
    let up_complete = listened.is_ok() && listener.delivered == sent_up;
    let down_complete = dialed.is_ok() && dialer.delivered == sent_down;
    if altered {
        let complete = if to_listener {
            up_complete
        } else {
            down_complete
        };
        assert!(!complete, "byte {position} is not protected");
    } else {
        assert!(up_complete && down_complete);
        let (dialer, listener) = (dialer.secured.unwrap(), listener.secured.unwrap());
        assert_eq!(
            dialer.peer,
            LISTENER.with(|local| local.public_key().peer_id())
        );
        assert_eq!(
            listener.peer,
            DIALER.with(|local| local.public_key().peer_id())
        );
        assert_eq!(dialer.muxer, listener.muxer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this, a mistake in the adversary would leave the readers of payloads untested.
    #[test]
    fn the_adversary_is_believed_exactly_with_its_proof() {
        for role in [Role::Initiator, Role::Responder] {
            assert!(noise_payload(role, true, &[]));
            assert!(noise_payload(role, true, b"\x22\x06\x0a\x04hash"));
            assert!(!noise_payload(role, true, b"\x22\x07\x0a\x04hash"));
            assert!(!noise_payload(role, false, &[]));
        }
    }

    /// Every byte of the wire, in both directions, at its lowest and highest bit.
    #[test]
    fn no_byte_can_be_altered() {
        for direction in 0..2 {
            for position in 0..700u16 {
                for mask in [1, 0x80] {
                    let [high, low] = position.to_be_bytes();
                    noise_pair(&[direction, high, low, mask, 0xff]);
                }
            }
        }
    }
}
