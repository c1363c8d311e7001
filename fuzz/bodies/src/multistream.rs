//! Targets of the negotiation.

use crate::input::Input;
use drywire::multistream::{
    Dialer, Error, Listener, MAX_LINE_LEN, MAX_ROUNDS, MAX_TOTAL_LEN, Progress,
};

const HEADER: &[u8] = b"\x13/multistream/1.0.0\n";

const NAMES: [&str; 8] = [
    "/a",
    "/b",
    "/c",
    "/d",
    "/chat/1",
    "/chat/2",
    "/noise",
    "/yamux/1.0.0",
];

/// The names whose bits are set.
fn names(bits: u8) -> Vec<&'static str> {
    NAMES
        .into_iter()
        .enumerate()
        .filter_map(|(at, name)| (bits >> at & 1 == 1).then_some(name))
        .collect()
}

#[derive(Debug, PartialEq)]
struct Trace {
    consumed: usize,
    out: Vec<u8>,
    end: Result<Option<usize>, Error>,
}

/// Feeds `input` in pieces of `step` bytes and checks what holds at every moment.
fn feed(
    mut advance: impl FnMut(&[u8], &mut Vec<u8>) -> Result<Progress<usize>, Error>,
    input: &[u8],
    step: usize,
) -> Trace {
    let mut trace = Trace {
        consumed: 0,
        out: Vec::new(),
        end: Ok(None),
    };
    let mut before = 0;
    let mut arrived = 0;
    loop {
        arrived = (arrived + step).min(input.len());
        match advance(&input[before..arrived], &mut trace.out) {
            Ok(progress) => {
                before += progress.consumed;
                assert!(before <= arrived);
                trace.end = Ok(progress.outcome);
                if progress.outcome.is_none() {
                    assert!(
                        arrived - before <= MAX_LINE_LEN + 1,
                        "it waits for more than a line"
                    );
                }
            }
            Err(error) => trace.end = Err(error),
        }
        if trace.end != Ok(None) || arrived == input.len() {
            break;
        }
    }
    // A call that fails does not say what it took before the failing line.
    trace.consumed = if trace.end.is_ok() { before } else { 0 };
    let len = trace.out.len();
    match advance(&input[before..], &mut trace.out) {
        Ok(again) => assert_eq!((again.consumed, Ok(again.outcome)), (0, trace.end)),
        Err(again) => assert_eq!(Err(again), trace.end),
    }
    assert_eq!(trace.out.len(), len, "an idle call wrote");
    assert!(trace.consumed + len <= MAX_TOTAL_LEN);
    trace
}

/// What an adversary says: all of it free, or behind a sound header.
fn speech(choice: u8, rest: &[u8]) -> Vec<u8> {
    if choice & 1 == 0 {
        [HEADER, rest].concat()
    } else {
        rest.to_vec()
    }
}

/// A dialer against any answers: no panic, bounded, the same however they are cut; agrees only on what was answered.
pub fn multistream_dialer(data: &[u8]) {
    let mut input = Input::new(data);
    let wanted = names(input.byte().max(1));
    let (choice, step) = (input.byte(), usize::from(input.byte()).max(1));
    let speech = speech(choice, input.rest());
    let run = |step| {
        let mut first = Vec::new();
        let mut dialer = Dialer::start(&wanted, &mut first).unwrap();
        feed(
            |input, out| dialer.advance(&wanted, input, out),
            &speech,
            step,
        )
    };
    let whole = run(speech.len().max(1));
    assert_eq!(run(step), whole);
    assert_eq!(run(1), whole);
    if let Ok(Some(index)) = whole.end {
        assert!(speech[..whole.consumed].ends_with(&line(wanted[index])));
    }
}

/// A listener against any proposals: as the dialer, and it answers each line once.
pub fn multistream_listener(data: &[u8]) {
    let mut input = Input::new(data);
    let supported = names(input.byte());
    let (choice, step) = (input.byte(), usize::from(input.byte()).max(1));
    let speech = speech(choice, input.rest());
    let run = |step| {
        let mut listener = Listener::new();
        feed(
            |input, out| listener.advance(supported.as_slice(), input, out),
            &speech,
            step,
        )
    };
    let whole = run(speech.len().max(1));
    assert_eq!(run(step), whole);
    assert_eq!(run(1), whole);
    if let Ok(Some(index)) = whole.end {
        let line = line(supported[index]);
        assert!(speech[..whole.consumed].ends_with(&line));
        assert!(whole.out.ends_with(&line));
    }
    let list_len: usize = supported.iter().map(|name| name.len() + 2).sum();
    assert!(whole.out.len() <= HEADER.len() + MAX_ROUNDS * (list_len + 3).max(4) + 20);
}

/// A short line.
fn line(text: &str) -> Vec<u8> {
    let len = u8::try_from(text.len() + 1).unwrap();
    [&[len], text.as_bytes(), b"\n"].concat()
}

/// Two honest parties under any schedule: they agree on the dialer's first name that the listener has, or both fail.
/// With one name the dialer sends a request at once, which must arrive whole exactly if they agree.
pub fn multistream_pair(data: &[u8]) {
    const REQUEST: &[u8] = b"\x05/x/y\nrequest";
    let mut input = Input::new(data);
    let mut wanted = names(input.byte().max(1));
    let supported = names(input.byte());
    if input.byte() & 1 == 1 {
        wanted.reverse();
    }
    let lazy = wanted.len() == 1;
    let common = wanted.iter().position(|name| supported.contains(name));

    let mut to_listener = Vec::new();
    let mut to_dialer = Vec::new();
    let mut dialer = Dialer::start(&wanted, &mut to_listener).unwrap();
    let mut listener = Listener::new();
    if lazy {
        to_listener.extend_from_slice(REQUEST);
    }
    // How far each pipe was delivered, and how far its reader has consumed it.
    let (mut listener_at, mut dialer_at) = ((0, 0), (0, 0));
    let (mut listened, mut dialed) = (Ok(None), Ok(None));
    let mut exhausted = false;
    loop {
        // Behind the schedule, everything is delivered at once.
        exhausted |= input.is_empty();
        let choice = input.byte();
        let len = if exhausted {
            usize::MAX
        } else {
            usize::from(choice >> 1)
        };
        if exhausted || choice & 1 == 0 {
            listener_at.0 = to_listener.len().min(len.saturating_add(listener_at.0));
            if listened == Ok(None) {
                let unread = &to_listener[listener_at.1..listener_at.0];
                listened = listener
                    .advance(supported.as_slice(), unread, &mut to_dialer)
                    .map(|progress| {
                        listener_at.1 += progress.consumed;
                        progress.outcome
                    });
            }
        }
        if exhausted || choice & 1 == 1 {
            dialer_at.0 = to_dialer.len().min(len.saturating_add(dialer_at.0));
            if dialed == Ok(None) {
                let unread = &to_dialer[dialer_at.1..dialer_at.0];
                dialed = dialer
                    .advance(&wanted, unread, &mut to_listener)
                    .map(|progress| {
                        dialer_at.1 += progress.consumed;
                        progress.outcome
                    });
            }
        }
        if exhausted && listener_at.0 == to_listener.len() && dialer_at.0 == to_dialer.len() {
            break;
        }
    }
    match common {
        Some(index) => {
            assert_eq!(dialed, Ok(Some(index)));
            assert_eq!(supported[listened.unwrap().unwrap()], wanted[index]);
            assert_eq!(dialer_at.1, to_dialer.len());
            let request: &[u8] = if lazy { REQUEST } else { &[] };
            assert_eq!(&to_listener[listener_at.1..], request);
        }
        None => {
            assert_eq!(dialed, Err(Error::Unsupported));
            assert!(matches!(listened, Ok(None) | Err(Error::Unsupported)));
        }
    }
}
