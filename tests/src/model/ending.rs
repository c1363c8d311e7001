//! The end of a run: everything is read and finished, both ends close, and nothing is left.

use super::{Limits, Model, Offer};
use drywire::{connection::ConnectionError, time::Instant};
use std::time::Duration;

impl Model {
    /// Whether the run was cut short by a close, whoever made it.
    pub(super) fn is_cut_short(&self) -> bool {
        self.pair
            .sides
            .iter()
            .any(|side| !side.connection.is_open())
    }

    /// Reads all there is of one stream and, if everybody is done with that, finishes it; false if there is no stream.
    pub(super) fn wind_up(
        &mut self,
        side: usize,
        n: usize,
        finish: bool,
        moved: &mut bool,
    ) -> bool {
        let now = self.now();
        self.pair.sides[side].drain(now);
        self.observe();
        self.note_gone(side);
        let end = &self.streams[n].ends[side];
        if end.id.is_none() || end.gone {
            return false;
        }
        let (waited, before) = (end.waits_to_read && !end.stopped, end.received);
        let mut reads = 0;
        while !self.streams[n].ends[side].gone && self.read(side, n, 1 << 20) {
            reads += 1;
            assert!(reads < 200_000, "endless");
        }
        let end = &self.streams[n].ends[side];
        *moved |= end.received != before;
        let untold = waited && (end.received != before || end.saw_end) && !end.aborted;
        assert!(
            !untold,
            "{n}, side {side}: readable, and nobody was told: {end:?}"
        );
        if !finish || end.gone {
            return true;
        }
        if end.aborted {
            self.release(side, n);
        } else if !end.finished {
            assert!(
                !end.waits_to_write || self.is_cut_short(),
                "{n}, side {side}: writable, and nobody was told: {end:?}"
            );
            self.finish(side, n);
        }
        true
    }

    /// Both applications read all there is and finish all there is, until nothing is left.
    pub(super) fn finish_everything(&mut self) {
        self.pair.stall(0, false);
        self.pair.stall(1, false);
        let (released, timeout) = (self.now(), self.config.negotiation_timeout);
        self.pair.limit = 256 * 1024;
        let mut moved = true;
        for _ in 0..200 {
            self.pair.settle_for(Duration::from_millis(100));
            self.observe();
            // First everything is read; when nothing moves any more, whoever waited to write has heard, and finishes.
            let finish = !moved;
            moved = false;
            let mut left = false;
            for side in [0, 1] {
                for n in 0..self.streams.len() {
                    left |= self.wind_up(side, n, finish, &mut moved);
                }
            }
            if !left {
                break;
            }
        }
        self.pair.settle_for(Duration::from_secs(1));
        self.observe();
        if self.is_cut_short() {
            return;
        }
        for (n, stream) in self.streams.iter().enumerate() {
            for side in [0, 1] {
                let (end, other) = (&stream.ends[side], &stream.ends[1 - side]);
                if end.id.is_none() {
                    continue;
                }
                assert!(end.gone, "stream {n} never ends: {stream:?}");
                let mine = end.aborted || end.released_at.is_some() || end.stopped;
                if !mine {
                    // It ended in good order, and with everything.
                    assert!(end.terminal && end.saw_end, "{n}: {stream:?}");
                    assert_eq!(end.received, other.written, "{n}");
                }
                if !end.aborted && end.released_at.is_none() {
                    assert!(end.terminal, "no terminal event: {n} {stream:?}");
                }
            }
            // What was finished arrives, unless somebody gave up.
            let [a, b] = &stream.ends;
            if !a.aborted && !b.aborted && stream.offer != Offer::Unknown {
                for (end, other) in [(a, b), (b, a)] {
                    let heard = other.id.is_some();
                    // Nobody waits for ever for a peer on a stream that was let go.
                    let gave_up = end.released_at.is_some()
                        && released + Duration::from_secs(1) - end.started_at >= timeout;
                    if gave_up {
                        continue;
                    }
                    let expected = end.finished && !other.stopped && other.released_at.is_none();
                    assert!(!expected || !heard || other.received == end.written, "{n}");
                    // The peer may refuse it for want of room, and nobody is there any more to be told.
                    let refused = self.limits == Limits::Few && end.released_at.is_some();
                    let arrived = heard || end.id.is_none() || refused;
                    assert!(arrived, "never arrived: {n} {stream:?}");
                }
            }
        }
    }

    /// Both ends close, and nothing is left.
    pub(super) fn close(&mut self) {
        let now = self.now();
        self.pair.sides[0]
            .connection
            .close(now, ConnectionError::Closed);
        self.pair.settle_for(Duration::from_secs(20));
        self.observe();
        for side in [0, 1] {
            assert!(self.closed[side], "side {side} never closes");
            for stream in &self.streams {
                let end = &stream.ends[side];
                if let Some(id) = end.id.filter(|_| !end.gone)
                    && let Some(mut view) = self.pair.sides[side].connection.stream(id)
                {
                    view.release();
                }
            }
            let connection = &mut self.pair.sides[side].connection;
            assert!(connection.is_closed());
            assert_eq!(connection.poll_timeout(), None);
            assert!(!connection.wants_transmit());
            assert!(connection.recv_buf().is_none());
            for id in self.by_id[side].keys() {
                assert!(connection.stream(*id).is_none());
            }
            let mut out = Vec::new();
            connection.poll_transmit(Instant::FAR_FUTURE, &mut out, 1 << 20);
            connection.handle_timeout(Instant::FAR_FUTURE);
            assert!(out.is_empty());
            assert_eq!(connection.poll_event(), None);
            assert!(connection.poll_message().is_none());
        }
    }
}
