//! Target of the yamux session.

use crate::input::Input;
use core::time::Duration;
use drywire::{
    buffer::Incoming,
    mux::yamux::{Config, Error, Notice, Role, Session},
    time::Instant,
};
use std::collections::BTreeMap;

const MAX_STREAMS: u32 = 6;
const SPACE: usize = 1024;

/// Everything about a run that the cutting of the input must not change.
#[derive(Debug, Default, PartialEq)]
struct Trace {
    /// What was delivered, by stream number.
    delivered: BTreeMap<u32, Vec<u8>>,
    /// Notices other than of data, as text, with the stream's number.
    notices: Vec<(String, u32)>,
    sent: Vec<u8>,
    end: Option<Error>,
}

struct Run {
    session: Session<()>,
    now: Instant,
    trace: Trace,
    /// Bytes of payload that arrived.
    arrived: usize,
    step: usize,
}

/// One session against any frames, with a reader that reads, writes and gives up as the input says: no panic, memory and
/// streams within their limits, nothing left of a removed stream, and all the same however the frames were cut.
pub fn yamux(data: &[u8]) {
    let whole = run(data, usize::MAX);
    assert_eq!(run(data, 1), whole);
    let step = data.first().map_or(1, |choice| usize::from(choice >> 1));
    assert_eq!(run(data, step.max(1)), whole);
}

fn run(data: &[u8], step: usize) -> Trace {
    let mut input = Input::new(data);
    let role = if input.byte() & 1 == 0 {
        Role::Listener
    } else {
        Role::Dialer
    };
    let mut config = Config::default();
    config.max_inbound_streams = MAX_STREAMS;
    config.max_outbound_streams = MAX_STREAMS;
    config.waste_burst = 20;
    let mut run = Run {
        session: Session::new(role, config),
        now: Instant::from_nanos(1_000_000_000),
        trace: Trace::default(),
        arrived: 0,
        step,
    };
    while !input.is_empty() && run.trace.end.is_none() {
        run.operation(&mut input);
        run.check();
    }
    run.clean_up();
    run.trace
}

impl Run {
    fn operation(&mut self, input: &mut Input<'_>) {
        let operation = input.byte();
        let places: Vec<usize> = self.session.iter().map(|(place, _)| place).collect();
        let pick = |input: &mut Input<'_>| {
            let at = usize::from(input.byte());
            places.get(at % places.len().max(1)).copied()
        };
        match operation % 16 {
            0..8 => self.receive_frame(operation, input),
            8 => {
                if let Some(place) = pick(input) {
                    self.read(place);
                }
            }
            9 => {
                let room = usize::from(input.byte()) * 16;
                let start = self.trace.sent.len();
                self.session
                    .fill(self.now, &mut self.trace.sent, room, SPACE);
                assert!(self.trace.sent.len() <= start + room);
            }
            10 => {
                let _ = self.session.open(self.now, ());
            }
            11 => {
                if let Some(place) = pick(input) {
                    self.session.write_copy(place, &[0x77; 40]);
                }
            }
            12 => {
                if let Some(place) = pick(input) {
                    self.session.finish(place);
                }
            }
            13 => {
                if let Some(place) = pick(input) {
                    self.session.stop(place);
                }
            }
            14 => {
                if let Some(place) = pick(input) {
                    self.session.reset(place, u32::from(input.byte()));
                    assert!(self.session.stream(place).is_none());
                }
            }
            _ => {
                let nanos = 1 << (input.byte() % 40);
                self.now = self.now.saturating_add(Duration::from_nanos(nanos));
            }
        }
        while self.session.poll_sent().is_some() {}
    }

    /// A frame of the peer, of any kind and flags, mostly about few streams and of little length.
    fn receive_frame(&mut self, operation: u8, input: &mut Input<'_>) {
        let (flags, stream, length) = (input.byte(), input.byte(), input.byte());
        let kind = operation & 3;
        let mut frame = vec![u8::from(flags == 0xff), kind, 0, flags & 0x1f];
        frame.extend(u32::from(stream & 0x1f).to_be_bytes());
        let length = if operation & 0x80 == 0 {
            u32::from(length)
        } else {
            // Lengths of every size, with the boundaries among them.
            (1u32 << (length & 31)).wrapping_sub(u32::from(length >> 5 & 1))
        };
        frame.extend(length.to_be_bytes());
        if kind == 0 {
            let body = usize::try_from(length).unwrap().min(400_000);
            frame.resize(frame.len() + body, stream);
            self.arrived += body;
        }
        let step = self.step.max(frame.len() / 64);
        for piece in frame.chunks(step) {
            let mut incoming = Incoming::Borrowed(piece);
            loop {
                match self.session.receive(self.now, &mut incoming) {
                    Ok(Some(notice)) => self.note(notice),
                    Ok(None) => break,
                    Err(error) => {
                        self.trace.end = Some(error);
                        return;
                    }
                }
            }
            assert!(incoming.is_empty());
        }
    }

    fn note(&mut self, notice: Notice) {
        let (name, place) = match notice {
            Notice::Data(_) => return,
            Notice::Inbound(place) => ("inbound", Some(place)),
            Notice::Finished(place) => ("finished", Some(place)),
            Notice::Reset(place) => ("reset", Some(place)),
            _ => ("session", None),
        };
        let id = place.map_or(0, |place| self.session.stream(place).unwrap().wire_id());
        self.trace.notices.push((name.to_owned(), id));
        if let Notice::Reset(place) = notice {
            self.read(place);
            self.session.remove(place);
        }
    }

    fn read(&mut self, place: usize) {
        let id = self.session.stream(place).unwrap().wire_id();
        while let Some(piece) = self.session.pop(place, 100) {
            self.trace
                .delivered
                .entry(id)
                .or_default()
                .extend_from_slice(&piece);
        }
        if self.session.stream(place).unwrap().is_finished() {
            self.session.remove(place);
        }
    }

    fn check(&self) {
        assert!(self.session.inbound_streams() <= MAX_STREAMS);
        assert!(self.session.len() <= 2 * MAX_STREAMS as usize);
        let unread: usize = self
            .session
            .iter()
            .map(|(_, stream)| stream.readable())
            .sum();
        let queued: usize = self.session.iter().map(|(_, stream)| stream.queued()).sum();
        assert!(unread <= self.arrived);
        assert_eq!(self.session.queued_bytes(), queued);
        assert!(self.session.held_bytes() >= unread);
    }

    /// Everything is dropped: no counter may keep a trace of it.
    fn clean_up(&mut self) {
        let places: Vec<usize> = self.session.iter().map(|(place, _)| place).collect();
        for place in places {
            self.read(place);
            self.session.remove(place);
        }
        assert!(self.session.is_empty());
        assert_eq!(self.session.inbound_streams(), 0);
        assert_eq!(self.session.queued_bytes(), 0);
        assert_eq!(self.session.held_bytes(), 0);
        assert_eq!(self.session.growth(), 0);
        self.session
            .fill(self.now, &mut self.trace.sent, 1 << 20, SPACE);
        assert!(!self.session.wants_transmit());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the seeds are named for does happen.
    #[test]
    fn seeds_reach_what_they_are_meant_to() {
        let trace = run(include_bytes!("../../corpus/yamux/open-read-finish"), 1);
        assert_eq!(trace.delivered[&1].len(), 59);
        assert_eq!(trace.end, None);
        assert!(trace.notices.contains(&("finished".to_owned(), 1)));
        for (seed, expected) in [
            (
                &include_bytes!("../../corpus/yamux/window-overflow")[..],
                Error::WindowOverflow(1),
            ),
            (
                include_bytes!("../../corpus/yamux/window-exceeded"),
                Error::WindowExceeded(1),
            ),
            (include_bytes!("../../corpus/yamux/pings"), Error::Flooding),
            (
                include_bytes!("../../corpus/yamux/bad-version"),
                Error::UnknownVersion(1),
            ),
        ] {
            assert_eq!(run(seed, 1).end, Some(expected));
        }
    }
}
