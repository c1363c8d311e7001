//! Both machines: alone against every cut of their input and against garbage, and together under every schedule.

use super::*;
use alloc::vec::Vec;
use proptest::prelude::*;
use std::collections::HashSet;
use std::string::{String, ToString};
use std::{format, vec};

const HEADER: &[u8] = line::HEADER;

fn lines(texts: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    for text in texts {
        line::encode(text, &mut out);
    }
    out
}

fn after_header(tail: &[u8]) -> Vec<u8> {
    [HEADER, tail].concat()
}

/// Everything that can be seen of one machine that was fed one input.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Trace {
    consumed: usize,
    out: Vec<u8>,
    end: Result<Option<usize>, Error>,
}

/// Feeds `input` cut into pieces of the given lengths (the last one is what remains).
fn feed(
    mut advance: impl FnMut(&[u8], &mut Vec<u8>) -> Result<Progress<usize>, Error>,
    input: &[u8],
    cuts: impl IntoIterator<Item = usize>,
) -> Trace {
    let mut out = Vec::new();
    let mut consumed = 0;
    let mut end = Ok(None);
    let mut arrived = 0;
    for len in cuts.into_iter().chain([input.len()]) {
        arrived = (arrived + len).min(input.len());
        match advance(&input[consumed..arrived], &mut out) {
            Ok(progress) => {
                assert!(
                    end.is_err() || end == Ok(None) || end == Ok(progress.outcome),
                    "an outcome was taken back"
                );
                assert!(
                    end == Ok(None) || progress.consumed == 0,
                    "bytes behind the agreement were taken"
                );
                end = Ok(progress.outcome);
                consumed += progress.consumed;
            }
            Err(error) => {
                if let Err(first) = end {
                    assert_eq!(error, first, "the first error is final");
                }
                end = Err(error);
            }
        }
    }
    // What a failing call had consumed before the failing line is not reported.
    if end.is_err() {
        consumed = 0;
    }
    Trace { consumed, out, end }
}

fn feed_listener(supported: &[&str], input: &[u8], cuts: &[usize]) -> Trace {
    let mut listener = Listener::new();
    feed(
        |input, out| listener.advance(supported, input, out),
        input,
        cuts.iter().copied(),
    )
}

fn feed_dialer(names: &[&str], input: &[u8], cuts: &[usize]) -> Trace {
    let mut ignored = Vec::new();
    let mut dialer = Dialer::start(names, &mut ignored).unwrap();
    feed(
        |input, out| dialer.advance(names, input, out),
        input,
        cuts.iter().copied(),
    )
}

/// Whole, byte by byte, and at every single cut: always the same.
fn at_every_cut(input: &[u8], feed: impl Fn(&[u8], &[usize]) -> Trace) -> Trace {
    let whole = feed(input, &[]);
    assert_eq!(feed(input, &vec![1; input.len()]), whole);
    for cut in 0..=input.len() {
        assert_eq!(feed(input, &[cut]), whole, "cut at {cut}");
    }
    whole
}

fn listener_end(supported: &[&str], input: &[u8]) -> Trace {
    at_every_cut(input, |input, cuts| feed_listener(supported, input, cuts))
}

fn dialer_end(names: &[&str], input: &[u8]) -> Trace {
    at_every_cut(input, |input, cuts| feed_dialer(names, input, cuts))
}

#[test]
fn the_machines_are_a_few_words() {
    assert!(size_of::<Dialer>() <= 16, "{}", size_of::<Dialer>());
    assert!(size_of::<Listener>() <= 16, "{}", size_of::<Listener>());
    assert!(size_of::<Error>() <= 2);
}

#[test]
fn the_dialer_speaks_first() {
    let mut out = Vec::new();
    Dialer::start(&["/a", "/b"], &mut out).unwrap();
    assert_eq!(out, b"\x13/multistream/1.0.0\n\x03/a\n");
}

#[test]
fn a_dialer_that_is_misused_says_nothing() {
    let mut out = Vec::new();
    let none: [&str; 0] = [];
    assert_eq!(Dialer::start(&none, &mut out), Err(Error::NoNames));
    assert_eq!(
        Dialer::start(&["/x"; MAX_ROUNDS + 1], &mut out),
        Err(Error::TooManyNames)
    );
    assert_eq!(
        Dialer::start(&["/ok", "bad"], &mut out),
        Err(Error::InvalidName(InvalidName::NoLeadingSlash))
    );
    assert!(out.is_empty());

    let mut dialer = Dialer::start(&["/a", "/b"], &mut out).unwrap();
    let refusal = after_header(b"\x03na\n");
    let progress = dialer.advance(&["/a", "/b"], &refusal, &mut out).unwrap();
    assert_eq!(progress.outcome, None);
    assert_eq!(
        dialer.advance(&["/a"], b"\x03/b\n", &mut out),
        Err(Error::NamesChanged)
    );
}

#[test]
fn header_and_echo_share_the_answer() {
    let input = after_header(b"\x03/b\nfirst bytes");
    let trace = listener_end(&["/a", "/b"], &input);
    assert_eq!(trace.end, Ok(Some(1)));
    assert_eq!(trace.out, after_header(b"\x03/b\n"));
    assert_eq!(&input[trace.consumed..], b"first bytes");

    // The header alone is answered at once.
    let trace = listener_end(&["/a"], HEADER);
    assert_eq!(trace.out, HEADER);
    assert_eq!(trace.end, Ok(None));
}

#[test]
fn the_dialer_walks_its_list() {
    let input = after_header(b"\x03na\n\x03na\n\x03/c\nfirst bytes");
    let trace = dialer_end(&["/a", "/b", "/c"], &input);
    assert_eq!(trace.end, Ok(Some(2)));
    assert_eq!(trace.out, b"\x03/b\n\x03/c\n");
    assert_eq!(&input[trace.consumed..], b"first bytes");

    let trace = dialer_end(&["/a", "/b"], &after_header(b"\x03na\n\x03na\n"));
    assert_eq!(trace.end, Err(Error::Unsupported));
}

#[test]
fn every_violation_of_a_listener_is_named() {
    let names = ["/a", "/b"];
    for (input, expected) in [
        (b"\x13/multistream/1.0.1\n".to_vec(), Error::NotMultistream),
        (b"\x03na\n".to_vec(), Error::NotMultistream),
        (b"GET / HTTP/1.1\r\n".to_vec(), Error::NotMultistream),
        (
            b"\x93\x00/multistream/1.0.0\n".to_vec(),
            Error::NotMultistream,
        ),
        (after_header(b"\x03/b\n"), Error::UnexpectedAnswer),
        (after_header(b"\x03/aa"), Error::MissingNewline),
        (after_header(b"\x04/a\n\n"), Error::UnexpectedAnswer),
        (after_header(b"\x00"), Error::MissingNewline),
        (after_header(b"\x01\n"), Error::UnexpectedAnswer),
        (after_header(HEADER), Error::UnexpectedAnswer),
        (after_header(b"\x83\x00/a\n"), Error::NonMinimalLength),
        (after_header(b"\x81\x08"), Error::LineTooLong),
        (after_header(&[0xff; 10]), Error::LineTooLong),
    ] {
        let trace = dialer_end(&names, &input);
        assert_eq!(trace.end, Err(expected), "{input:?}");
        assert!(expected.is_violation());
        assert!(trace.out.is_empty());
    }
}

#[test]
fn every_violation_of_a_dialer_is_named() {
    let names = ["/a", "/b"];
    for (tail, expected) in [
        (&b"\x02/a"[..], Error::MissingNewline),
        (b"\x00", Error::MissingNewline),
        (b"\x01\n", Error::InvalidProposal),
        (b"\x02a\n", Error::InvalidProposal),
        (b"\x03na\n", Error::InvalidProposal),
        (b"\x03/\xff\n", Error::InvalidProposal),
        (b"\x04/\nb\n", Error::InvalidProposal),
        (HEADER, Error::InvalidProposal),
        (b"\x83\x00/a\n", Error::NonMinimalLength),
        (b"\x81\x08", Error::LineTooLong),
        (&[0xff; 10], Error::LineTooLong),
    ] {
        let trace = listener_end(&names, &after_header(tail));
        assert_eq!(trace.end, Err(expected), "{tail:?}");
        assert!(expected.is_violation());
        assert_eq!(trace.out, HEADER);

        // The same behind a refusal may be early bytes of the refused protocol.
        let refused = [HEADER, b"\x03/x\n", tail].concat();
        let trace = listener_end(&names, &refused);
        assert_eq!(trace.end, Err(Error::Unsupported), "{tail:?}");
        assert_eq!(trace.out, after_header(b"\x03na\n"));

        // Not any more once a list was asked for.
        let listed = [HEADER, b"\x03/x\n\x03ls\n", tail].concat();
        assert_eq!(listener_end(&names, &listed).end, Err(expected));
    }
    let trace = listener_end(&names, b"\x13/multistream/2.0.0\n");
    assert_eq!(trace.end, Err(Error::NotMultistream));
    assert!(trace.out.is_empty());
}

#[test]
fn something_else_is_noticed_at_its_first_wrong_byte() {
    for len in 0..HEADER.len() {
        let mut input = HEADER[..len].to_vec();
        assert_eq!(feed_listener(&["/a"], &input, &[]).end, Ok(None));
        input.push(HEADER[len] ^ 1);
        assert_eq!(
            feed_listener(&["/a"], &input, &[]).end,
            Err(Error::NotMultistream)
        );
        assert_eq!(
            feed_dialer(&["/a"], &input, &[]).end,
            Err(Error::NotMultistream)
        );
    }
}

/// The names in an answer to `ls`, by the letter of the document.
fn parse_list(message: &[u8]) -> Vec<String> {
    let frame = crate::wire::framing::decode(message, usize::MAX)
        .unwrap()
        .unwrap();
    let (mut rest, behind) = frame.split(message).unwrap();
    assert!(behind.is_empty());
    let mut names = Vec::new();
    while rest != b"\n" {
        let (name, used) = line::decode(rest).unwrap().unwrap();
        names.push(String::from_utf8(name.to_vec()).unwrap());
        rest = &rest[used..];
    }
    names
}

#[test]
fn a_list_is_answered_and_bounded() {
    let input = after_header(b"\x03ls\n\x03/b\n");
    let trace = listener_end(&["/a", "not a name", "/b"], &input);
    assert_eq!(trace.end, Ok(Some(2)));
    assert_eq!(
        trace.out,
        after_header(b"\x09\x03/a\n\x03/b\n\n\x03/b\n"),
        "the bytes of rust-libp2p's encoder"
    );

    let many: Vec<String> = (0..1000).map(|number| format!("/{number}")).collect();
    for (supported, expected) in [
        (vec![], 0),
        (many[..MAX_LISTED - 1].to_vec(), MAX_LISTED - 1),
        (many[..MAX_LISTED].to_vec(), MAX_LISTED),
        (many, MAX_LISTED),
        (vec![format!("/{}", "x".repeat(MAX_NAME_LEN - 1)); 100], 15),
    ] {
        let mut out = Vec::new();
        let input = after_header(b"\x03ls\n");
        let progress = Listener::new()
            .advance(&supported, &input, &mut out)
            .unwrap();
        assert_eq!(progress.consumed, input.len());
        assert_eq!(parse_list(&out[HEADER.len()..]), supported[..expected]);
        assert!(out.len() <= HEADER.len() + 2 + MAX_LIST_LEN);
    }
}

#[test]
fn rounds_are_counted() {
    for first in ["/x", "ls"] {
        let mut input = after_header(&lines(&[first]));
        input.extend(lines(&["/x"; MAX_ROUNDS - 1]));
        assert_eq!(feed_listener(&["/a"], &input, &[]).end, Ok(None));
        let full = feed_listener(&["/a"], &input, &[]).out.len();
        input.extend(lines(&["/a"]));
        let trace = feed_listener(&["/a"], &input, &[]);
        assert_eq!(trace.end, Err(Error::TooManyRounds));
        assert_eq!(trace.out.len(), full, "the refused round is not answered");
    }
    let names: Vec<String> = (0..MAX_ROUNDS).map(|number| format!("/{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let refusals = after_header(&lines(&[line::NOT_AVAILABLE; MAX_ROUNDS - 1]));
    assert_eq!(feed_dialer(&names, &refusals, &[]).end, Ok(None));
    let refusals = after_header(&lines(&[line::NOT_AVAILABLE; MAX_ROUNDS]));
    assert_eq!(
        feed_dialer(&names, &refusals, &[]).end,
        Err(Error::Unsupported)
    );
}

/// Fails if a second `ls` is answered: a few bytes would have many sent.
#[test]
fn a_list_is_told_once() {
    for between in [&[][..], &["/x"], &["/x", "/y"]] {
        let asked = [&["ls"], between, &["ls"]].concat();
        let once = after_header(&lines(&asked[..asked.len() - 1]));
        let trace = feed_listener(&["/a"], &after_header(&lines(&asked)), &[]);
        assert_eq!(trace.end, Err(Error::TooManyRounds));
        assert_eq!(trace.out, feed_listener(&["/a"], &once, &[]).out);
    }
}

#[test]
fn bytes_are_counted_in_both_directions() {
    // Long proposals: the input is the larger part.
    let long = format!("/{}", "x".repeat(MAX_NAME_LEN - 1));
    let input = after_header(&lines(&[long.as_str(); MAX_ROUNDS]));
    let trace = feed_listener(&["/a"], &input, &[]);
    assert_eq!(trace.end, Err(Error::TooManyBytes));
    // With a long list the output counts.
    let supported = [long.as_str(); 20];
    let other = format!("/{}", "y".repeat(MAX_NAME_LEN - 1));
    let proposals = lines(&[other.as_str(); 50]);
    let trace = feed_listener(&supported, &after_header(&proposals), &[]);
    assert_eq!(trace.end, Ok(None));
    let input = after_header(&[lines(&["ls"]), proposals].concat());
    let trace = feed_listener(&supported, &input, &[]);
    assert_eq!(trace.end, Err(Error::TooManyBytes));
    let listed = feed_listener(&supported, &after_header(&lines(&["ls"])), &[]);
    let refusals = (trace.out.len() - listed.out.len()) / 4;
    assert!((20..50).contains(&refusals), "{refusals}");
    // A dialer's own names count too.
    let names = [long.as_str(); MAX_ROUNDS];
    let input = after_header(&lines(&["na"; MAX_ROUNDS]));
    let trace = feed_dialer(&names, &input, &[]);
    assert_eq!(trace.end, Err(Error::TooManyBytes));
    assert!(trace.out.len() <= MAX_TOTAL_LEN);
}

#[test]
fn each_byte_is_counted_once() {
    let input = after_header(&lines(&["/x", "ls", "/b"]));
    let supported = ["/a", "/b"];
    let mut out = Vec::new();
    let mut listener = Listener::new();
    listener.advance(&supported, &input, &mut out).unwrap();
    let spent = Budget((MAX_TOTAL_LEN - input.len() - out.len()) as u32);
    assert_eq!(listener.budget, spent);

    let mut sent = Vec::new();
    let names = ["/x", "/yy", "/b"];
    let mut dialer = Dialer::start(&names, &mut sent).unwrap();
    let answers = after_header(&lines(&["na", "na", "/b"]));
    dialer.advance(&names, &answers, &mut sent).unwrap();
    let spent = Budget((MAX_TOTAL_LEN - answers.len() - sent.len()) as u32);
    assert_eq!(dialer.budget, spent);
}

/// One schedule's state: both machines and the bytes under way. The writers' buffers and the pipes are one queue each:
/// where a flush happened cannot be told from where a delivery stopped.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Pair {
    dialer: Dialer,
    listener: Listener,
    to_listener: Vec<u8>,
    to_dialer: Vec<u8>,
    listener_unread: Vec<u8>,
    dialer_unread: Vec<u8>,
    agreed: (Option<usize>, Option<usize>),
    failed: (Option<Error>, Option<Error>),
    /// What listener and dialer delivered as the agreed protocol's bytes.
    delivered: (Vec<u8>, Vec<u8>),
}

const REQUEST: &[u8] = b"request";
const RESPONSE: &[u8] = b"response";

impl Pair {
    fn new(wanted: &[&str], lazy: bool) -> Self {
        let mut to_listener = Vec::new();
        let dialer = Dialer::start(wanted, &mut to_listener).unwrap();
        if lazy {
            assert_eq!(wanted.len(), 1, "only one name can be assumed");
            to_listener.extend_from_slice(REQUEST);
        }
        Self {
            dialer,
            listener: Listener::new(),
            to_listener,
            to_dialer: Vec::new(),
            listener_unread: Vec::new(),
            dialer_unread: Vec::new(),
            agreed: (None, None),
            failed: (None, None),
            delivered: (Vec::new(), Vec::new()),
        }
    }

    fn deliver_to_listener(&mut self, supported: &[&str], len: usize) {
        let arrived = self.to_listener.drain(..len);
        if self.failed.1.is_some() {
            return;
        }
        self.listener_unread.extend(arrived);
        if self.agreed.1.is_none() {
            match self
                .listener
                .advance(supported, &self.listener_unread, &mut self.to_dialer)
            {
                Ok(progress) => {
                    self.listener_unread.drain(..progress.consumed);
                    self.agreed.1 = progress.outcome;
                    if progress.outcome.is_some() {
                        self.to_dialer.extend_from_slice(RESPONSE);
                    }
                }
                Err(error) => self.failed.1 = Some(error),
            }
        }
        if self.failed.1.is_some() {
            self.listener_unread.clear();
        }
        if self.agreed.1.is_some() {
            self.delivered.0.append(&mut self.listener_unread);
        }
    }

    fn deliver_to_dialer(&mut self, wanted: &[&str], len: usize, lazy: bool) {
        let arrived = self.to_dialer.drain(..len);
        if self.failed.0.is_some() {
            return;
        }
        self.dialer_unread.extend(arrived);
        if self.agreed.0.is_none() {
            match self
                .dialer
                .advance(wanted, &self.dialer_unread, &mut self.to_listener)
            {
                Ok(progress) => {
                    self.dialer_unread.drain(..progress.consumed);
                    self.agreed.0 = progress.outcome;
                    if progress.outcome.is_some() && !lazy {
                        self.to_listener.extend_from_slice(REQUEST);
                    }
                }
                Err(error) => self.failed.0 = Some(error),
            }
        }
        if self.failed.0.is_some() {
            self.dialer_unread.clear();
        }
        if self.agreed.0.is_some() {
            self.delivered.1.append(&mut self.dialer_unread);
        }
    }

    /// Everything has been delivered: this must be one of the two ends.
    fn check_end(&self, wanted: &[&str], supported: &[&str]) {
        let common = wanted.iter().position(|name| supported.contains(name));
        match common {
            Some(index) => {
                assert_eq!(self.agreed.0, Some(index));
                let chosen = self.agreed.1.expect("both agree");
                assert_eq!(supported[chosen], wanted[index]);
                assert_eq!(self.delivered.0, REQUEST);
                assert_eq!(self.delivered.1, RESPONSE);
                assert_eq!(self.failed, (None, None));
            }
            None => {
                assert_eq!(self.agreed, (None, None));
                assert_eq!(self.failed.0, Some(Error::Unsupported));
                assert!(matches!(self.failed.1, None | Some(Error::Unsupported)));
                assert_eq!(self.delivered, (vec![], vec![]));
            }
        }
    }
}

/// Visits every state that any schedule of deliveries reaches; every schedule must end in agreement or in failure of
/// both. Gives the number of states.
fn explore(wanted: &[&str], supported: &[&str], lazy: bool) -> usize {
    let first = Pair::new(wanted, lazy);
    let mut seen = HashSet::from([first.clone()]);
    let mut waiting = vec![first];
    let mut ends = 0;
    while let Some(pair) = waiting.pop() {
        let next = (1..=pair.to_listener.len())
            .map(|len| {
                let mut pair = pair.clone();
                pair.deliver_to_listener(supported, len);
                pair
            })
            .chain((1..=pair.to_dialer.len()).map(|len| {
                let mut pair = pair.clone();
                pair.deliver_to_dialer(wanted, len, lazy);
                pair
            }));
        let before = waiting.len();
        for pair in next {
            if seen.insert(pair.clone()) {
                waiting.push(pair);
            }
        }
        if pair.to_listener.is_empty() && pair.to_dialer.is_empty() {
            assert_eq!(before, waiting.len());
            pair.check_end(wanted, supported);
            ends += 1;
        }
    }
    assert_eq!(ends, 1, "schedules do not matter: there is one end");
    seen.len()
}

/// T9: the dialer of another implementation once panicked when it was lazy and the stream closed early, and once hung
/// because a flush was missing. Here every split of every delivery, in both directions, in every order.
#[test]
fn every_schedule_of_two_parties_ends_the_same() {
    let wanted_lists: [&[&str]; 7] = [
        &["/a"],
        &["/bb"],
        &["/a", "/bb"],
        &["/bb", "/a"],
        &["/c", "/a", "/bb"],
        &["/bb", "/c", "/a"],
        &["/c", "/d", "/e", "/a"],
    ];
    let supported_lists: [&[&str]; 5] = [&[], &["/a"], &["/bb"], &["/a", "/bb"], &["/bb", "/a"]];
    let mut states = 0;
    for wanted in wanted_lists {
        for supported in supported_lists {
            states += explore(wanted, supported, false);
            if wanted.len() == 1 {
                states += explore(wanted, supported, true);
            }
        }
    }
    assert!(states > 10_000, "only {states} states: vacuous");
}

/// Any bytes behind a header or in its place, mostly well-formed lines so that deep states are reached.
fn conversation() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop_oneof![Just("/a"), Just("/b"), Just("/x"), Just("na"), Just("ls")]
            .prop_map(|text| lines(&[text])),
        1 => Just(HEADER.to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
    ];
    (any::<bool>(), proptest::collection::vec(piece, 0..80)).prop_map(|(header, pieces)| {
        let start = if header { HEADER } else { &[] };
        [start, &pieces.concat()].concat()
    })
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (0..6u8).prop_map(|number| format!("/{number}")),
        1 => "/[a-z/]{0,30}",
        1 => (1..MAX_NAME_LEN).prop_map(|len| format!("/{}", "x".repeat(len))),
    ]
}

proptest! {
    /// T10: no panic, bounded work and output, the same for every split.
    #[test]
    fn garbage_is_survived(
        input in conversation(),
        cuts in proptest::collection::vec(0..30usize, 0..40),
    ) {
        let supported = ["/a", "/b"];
        let whole = feed_listener(&supported, &input, &[]);
        prop_assert_eq!(&feed_listener(&supported, &input, &cuts), &whole);
        prop_assert!(whole.consumed + whole.out.len() <= MAX_TOTAL_LEN);
        if let Ok(Some(index)) = whole.end {
            // I16: what was selected was proposed, in the last line taken.
            prop_assert!(input[..whole.consumed].ends_with(&lines(&[supported[index]])));
        }
        let wanted = ["/x", "/b", "/a"];
        let whole = feed_dialer(&wanted, &input, &[]);
        prop_assert_eq!(&feed_dialer(&wanted, &input, &cuts), &whole);
        if let Ok(Some(index)) = whole.end {
            prop_assert!(input[..whole.consumed].ends_with(&lines(&[wanted[index]])));
        }
    }

    /// I15: two honest parties agree on the dialer's first name that the listener has, or both fail.
    #[test]
    fn two_parties_agree_or_both_fail(
        wanted in proptest::collection::vec(name(), 1..12),
        supported in proptest::collection::vec(name(), 0..12),
        steps in proptest::collection::vec((any::<bool>(), 1..40usize), 0..200),
    ) {
        let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
        let supported: Vec<&str> = supported.iter().map(String::as_str).collect();
        let mut pair = Pair::new(&wanted, false);
        let rest = core::iter::repeat([(true, usize::MAX), (false, usize::MAX)]).flatten();
        for (listener, len) in steps.into_iter().chain(rest) {
            if listener {
                let len = len.min(pair.to_listener.len());
                pair.deliver_to_listener(&supported, len);
            } else {
                let len = len.min(pair.to_dialer.len());
                pair.deliver_to_dialer(&wanted, len, false);
            }
            if pair.to_listener.is_empty() && pair.to_dialer.is_empty() {
                break;
            }
        }
        pair.check_end(&wanted, &supported);
    }
}

#[test]
fn errors_speak() {
    use core::error::Error as _;
    assert_eq!(Error::Unsupported.to_string(), "no common protocol");
    assert!(!Error::Unsupported.is_violation());
    assert!(!Error::NoNames.is_violation());
    assert!(Error::InvalidName(InvalidName::Newline).source().is_some());
}
