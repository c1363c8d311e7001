//! The streams of both ends: what was written and read on each, and what was told of it.

use super::{Act, end::End};
use bytes::Bytes;
use drywire::{
    connection::{
        Accept, Event, InboundEntry, InboundTable, ReadError, Slot, StreamId, StreamKind,
        StreamOwner, WriteError,
    },
    multistream::ProtocolName,
};
use std::{collections::BTreeMap, sync::LazyLock};

/// Streams of one run.
pub(super) const MAX_STREAMS: usize = 24;
/// The longest message.
const MAX_LEN: u32 = 48 * 1024;

/// For each stream of a run, names of the three kinds that nobody else uses. Behind them, one that nobody accepts, and
/// one whose streams belong to a protocol.
static NAMES: LazyLock<Vec<[&str; 3]>> = LazyLock::new(|| {
    let mut names: Vec<[&str; 3]> = (0..MAX_STREAMS)
        .map(|number| ["r", "f", "t"].map(|kind| &*format!("/{kind}/{number}").leak()))
        .collect();
    names.push(["/unknown", "/protocol", "/unknown"]);
    names
});

const KINDS: [StreamKind; 3] = [
    StreamKind::Raw,
    StreamKind::Framed { max_len: MAX_LEN },
    StreamKind::ToEnd { max_len: MAX_LEN },
];

pub(super) fn text_of(number: usize, kind: u8) -> &'static str {
    NAMES[number][usize::from(kind % 3)]
}

pub(super) fn name_of(number: usize, kind: u8) -> (ProtocolName, StreamKind) {
    let name = ProtocolName::from_static(text_of(number, kind));
    (name, KINDS[usize::from(kind % 3)])
}

/// What both ends accept.
pub(super) fn table() -> InboundTable {
    let mut entries = Vec::new();
    for number in 0..MAX_STREAMS {
        for kind in 0..3 {
            let (name, stream_kind) = name_of(number, kind);
            entries.push(InboundEntry {
                name,
                accept: Accept::new(stream_kind).host_owned(),
                owner: StreamOwner::Host,
            });
        }
    }
    entries.push(InboundEntry {
        name: name_of(MAX_STREAMS, 1).0,
        accept: Accept::new(StreamKind::Raw),
        owner: StreamOwner::Protocol(Slot(0)),
    });
    InboundTable::new(1, entries)
}

/// One end of a stream.
#[derive(Debug, Default)]
struct View {
    /// Which stream it is; several ends have the same number if somebody meddled.
    number: usize,
    kind: u8,
    /// This end opened it.
    own: bool,
    opened: bool,
    /// `Failed`, `Finished` or `Reset` was told.
    ended: bool,
    /// The application has let go of it, or the connection forgot it.
    gone: bool,
    /// Gone, and everything that was under way then has been told.
    silent: bool,
    stopped: bool,
    saw_end: bool,
    received: usize,
    messages_received: usize,
}

/// What one end wrote on a stream.
#[derive(Debug, Default)]
struct Written {
    bytes: usize,
    messages: Vec<usize>,
    finished: bool,
}

#[derive(Debug, Default)]
pub(super) struct Streams {
    written: Vec<[Written; 2]>,
    views: [BTreeMap<StreamId, View>; 2],
    /// Bytes read.
    pub(super) delivered: usize,
    /// Somebody put frames of his own onto the pipe: who wrote what is not known any more.
    pub(super) meddled: bool,
}

/// The byte at `at` of what `side` writes on a stream.
fn byte(number: usize, side: usize, at: usize) -> u8 {
    let mixed = (number * 2 + side + 1).wrapping_mul(0x9e37_79b9) ^ at.wrapping_mul(0x85eb_ca6b);
    (mixed >> 7) as u8
}

impl Streams {
    /// Streams opened so far.
    pub(super) const fn len(&self) -> usize {
        self.written.len()
    }

    /// The streams an application still has.
    pub(super) fn live(&self, side: usize) -> Vec<StreamId> {
        let views = self.views[side].iter();
        views
            .filter(|(_, view)| !view.gone)
            .map(|(id, _)| *id)
            .collect()
    }

    pub(super) fn is_raw(&self, side: usize, id: StreamId) -> bool {
        self.views[side].get(&id).is_some_and(|view| view.kind == 0)
    }

    pub(super) fn opened(&mut self, side: usize, id: StreamId, kind: u8) {
        let view = View {
            number: self.written.len(),
            kind,
            own: true,
            ..View::default()
        };
        self.written.push(Default::default());
        assert!(self.views[side].insert(id, view).is_none(), "a new id");
    }

    /// There are no more events for now.
    pub(super) fn all_told(&mut self, side: usize) {
        for view in self.views[side].values_mut() {
            view.silent |= view.gone;
        }
    }

    /// Compares an event with what was told of its stream before.
    pub(super) fn event(&mut self, side: usize, event: &Event) {
        match event {
            Event::Established { .. } | Event::Closed { .. } | Event::StreamsAvailable => {}
            Event::Inbound { stream, protocol } => {
                let (letter, number) = protocol.as_str()[1..].split_once('/').expect("ours");
                let view = View {
                    number: number.parse().expect("a number"),
                    kind: ["r", "f", "t"]
                        .iter()
                        .position(|kind| *kind == letter)
                        .expect("ours") as u8,
                    opened: true,
                    ..View::default()
                };
                assert!(view.number < self.written.len() || self.meddled);
                assert!(self.views[side].insert(*stream, view).is_none(), "a new id");
            }
            Event::Opened { stream, protocol } => {
                let view = self.heard(side, *stream);
                assert!(view.own && !view.opened);
                view.opened = true;
                let right = name_of(view.number, view.kind).0;
                let protocols = name_of(MAX_STREAMS, 1).0;
                assert!(*protocol == right || *protocol == protocols);
            }
            Event::Failed { stream, .. } => {
                let view = self.heard(side, *stream);
                assert!(view.own && !view.opened);
                view.ended = true;
            }
            Event::Reset { stream, .. } => {
                let view = self.heard(side, *stream);
                assert!(view.opened);
                view.ended = true;
            }
            Event::Finished { stream } => {
                let view = self.heard(side, *stream);
                assert!(view.opened && (view.saw_end || view.stopped));
                (view.ended, view.gone) = (true, true);
            }
            Event::Readable { stream } => {
                self.heard(side, *stream);
            }
            Event::Writable { stream } => {
                self.heard(side, *stream);
            }
            other => panic!("{other:?}"),
        }
    }

    /// The stream an event is about.
    fn heard(&mut self, side: usize, id: StreamId) -> &mut View {
        let view = self.views[side].get_mut(&id).expect("a known stream");
        assert!(!view.ended, "an event after the last one: {view:?}");
        assert!(!view.silent, "an event of a stream let go: {view:?}");
        view
    }

    /// Does something with a stream: what came of it, and whether the same may bring more.
    pub(super) fn act(
        &mut self,
        side: usize,
        id: StreamId,
        end: &mut End,
        act: Act,
        size: usize,
    ) -> (String, bool) {
        let view = self.views[side].get_mut(&id).expect("live");
        if end.connection.stream(id).is_none() {
            // It finished within another call; the event follows.
            view.gone = true;
            return ("gone".to_owned(), false);
        }
        let (said, more) = match act {
            Act::Write | Act::WriteBytes => (self.write(side, id, end, act, size), false),
            Act::Read => self.read(side, id, end, size.max(1)),
            Act::ReadInto => self.read_into(side, id, end, size),
            Act::Finish => {
                let result = end.call(|c| c.stream(id).expect("live").finish());
                if result.is_ok() {
                    self.written_by(side, id).finished = true;
                }
                (format!("{result:?}"), false)
            }
            Act::Stop => {
                end.call(|c| c.stream(id).expect("live").stop());
                view.stopped = true;
                (String::new(), false)
            }
            Act::Reset | Act::Release => {
                end.call(|c| {
                    let mut stream = c.stream(id).expect("live");
                    match act {
                        Act::Reset => stream.reset(size as u32),
                        _ => stream.release(),
                    }
                });
                view.gone = true;
                (String::new(), false)
            }
            Act::Priority => {
                end.call(|c| {
                    c.stream(id).expect("live").set_priority(size as u8);
                });
                (String::new(), false)
            }
        };
        if end.connection.stream(id).is_none() {
            self.views[side].get_mut(&id).expect("known").gone = true;
        }
        (said, more)
    }

    fn written_by(&mut self, side: usize, id: StreamId) -> &mut Written {
        let number = self.views[side][&id].number;
        if number >= self.written.len() {
            // Of a stream that nobody opened.
            assert!(self.meddled);
            self.written.resize_with(number + 1, Default::default);
        }
        &mut self.written[number][side]
    }

    fn write(&mut self, side: usize, id: StreamId, end: &mut End, act: Act, size: usize) -> String {
        let (number, kind) = (self.views[side][&id].number, self.views[side][&id].kind);
        let written = self.written_by(side, id);
        let start = written.bytes;
        if kind == 2 && start + size > MAX_LEN as usize {
            return String::new();
        }
        let bytes = (start..start + size).map(|at| byte(number, side, at));
        let data: Vec<u8> = bytes.collect();
        let result = end.call(|c| {
            let mut stream = c.stream(id).expect("live");
            if act == Act::Write {
                stream.write(&data)
            } else {
                let mut bytes = Bytes::copy_from_slice(&data);
                let result = stream.write_bytes(&mut bytes);
                let count = *result.as_ref().unwrap_or(&0);
                assert_eq!(bytes.len(), size - count);
                result
            }
        });
        match &result {
            Ok(count) => {
                assert!(!written.finished);
                assert!(*count == size || (kind == 0 && *count < size));
                written.bytes += count;
                if kind == 1 {
                    written.messages.push(*count);
                }
            }
            Err(WriteError::Finished) => assert!(written.finished),
            Err(_) => {}
        }
        format!("{result:?}")
    }

    fn read(&mut self, side: usize, id: StreamId, end: &mut End, max: usize) -> (String, bool) {
        // The chunk pins what the connection allocated: it is compared and dropped within the call.
        let result = end.call(|c| {
            let bytes = c.stream(id).expect("live").read(max)?;
            Ok::<_, ReadError>(bytes.map(|bytes| {
                self.received(side, id, &bytes);
                bytes.len()
            }))
        });
        let raw = self.is_raw(side, id);
        match &result {
            Ok(Some(count)) => assert!(!raw || *count <= max),
            Ok(None) => self.end_seen(side, id),
            Err(_) => {}
        }
        (format!("{result:?}"), matches!(result, Ok(Some(_))))
    }

    fn read_into(
        &mut self,
        side: usize,
        id: StreamId,
        end: &mut End,
        max: usize,
    ) -> (String, bool) {
        if !self.is_raw(side, id) {
            return (String::new(), false);
        }
        let mut buffer = vec![0; max];
        let result = end.call(|c| c.stream(id).expect("live").read_into(&mut buffer));
        match &result {
            Ok(0) if max == 0 => return ("nothing".to_owned(), false),
            Ok(0) => self.end_seen(side, id),
            Ok(count) => self.received(side, id, &buffer[..*count]),
            Err(_) => {}
        }
        (format!("{result:?}"), result.is_ok_and(|count| count > 0))
    }

    /// Everything received is what the other side wrote, in order, and messages are whole.
    fn received(&mut self, side: usize, id: StreamId, bytes: &[u8]) {
        self.delivered += bytes.len();
        let view = self.views[side].get_mut(&id).expect("known");
        assert!(!view.stopped && !view.saw_end, "{view:?}");
        let start = view.received;
        view.received += bytes.len();
        view.messages_received += 1;
        if view.kind == 2 {
            // The body ends where the stream does.
            assert_eq!(view.messages_received, 1);
            view.saw_end = true;
        }
        if self.meddled {
            return;
        }
        let other = &self.written[view.number][1 - side];
        assert!(view.received <= other.bytes, "more than was written");
        let mut expected = (start..).map(|at| byte(view.number, 1 - side, at));
        assert!(
            bytes.iter().all(|byte| expected.next() == Some(*byte)),
            "other bytes than were written"
        );
        match view.kind {
            0 => assert!(!bytes.is_empty()),
            1 => assert_eq!(
                other.messages.get(view.messages_received - 1),
                Some(&bytes.len()),
                "a whole message"
            ),
            _ => assert!(other.finished && view.received == other.bytes),
        }
    }

    fn end_seen(&mut self, side: usize, id: StreamId) {
        let view = self.views[side].get_mut(&id).expect("known");
        view.saw_end = true;
        if view.stopped || self.meddled {
            return;
        }
        let other = &self.written[view.number][1 - side];
        assert!(other.finished, "an end that was not made");
        assert_eq!(view.received, other.bytes);
    }
}
