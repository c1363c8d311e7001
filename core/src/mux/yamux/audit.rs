//! A session's books, recomputed from its streams: for tests and simulations.

use super::{INITIAL_WINDOW, PONGS, session::Session, stream::Metering};
use alloc::{format, string::String};

impl<X> Session<X> {
    /// Whether every count is what the streams there account for, and within its limit. The cost grows with the number of
    /// streams.
    ///
    /// # Errors
    /// What does not add up, in words. It would be a bug in this crate.
    pub fn audit(&self) -> Result<(), String> {
        let (mut inbound, mut outbound, mut unacknowledged) = (0u32, 0u32, 0u32);
        let (mut growth, mut queued, mut metered, mut aside) = (0u64, 0usize, 0usize, 0usize);
        for (_, stream) in self.iter() {
            if stream.outbound {
                outbound = outbound.saturating_add(1);
                unacknowledged = unacknowledged.saturating_add(u32::from(!stream.acknowledged));
            } else {
                inbound = inbound.saturating_add(1);
            }
            let grown = stream.window.saturating_sub(INITIAL_WINDOW);
            growth = growth.saturating_add(u64::from(grown));
            let waiting = stream.send.len();
            queued = queued.saturating_add(waiting);
            match stream.metering {
                Metering::Plain => {}
                Metering::Metered => metered = metered.saturating_add(waiting),
                Metering::Aside => aside = aside.saturating_add(waiting),
            }
        }
        let size = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let counts = [
            ("accepted streams", self.inbound.into(), inbound.into()),
            ("opened streams", self.outbound.into(), outbound.into()),
            (
                "unacknowledged streams",
                self.unacknowledged.into(),
                unacknowledged.into(),
            ),
            ("growth of windows", self.growth, growth),
            ("bytes to send", size(self.outbox.queued), size(queued)),
            (
                "bytes of protocols to send",
                size(self.outbox.metered),
                size(metered),
            ),
            ("bytes set aside", size(self.outbox.aside), size(aside)),
        ];
        for (what, counted, there) in counts {
            if counted != there {
                return Err(format!("{what}: {counted} counted, {there} there"));
            }
        }
        // How many the peer may open can be lowered while more are open.
        let limits = [
            (
                "opened streams",
                outbound.into(),
                self.config.max_outbound_streams.into(),
            ),
            (
                "unacknowledged streams",
                unacknowledged.into(),
                self.config.max_unacknowledged.into(),
            ),
            ("growth of windows", growth, self.growth_budget),
            (
                "answers to pings",
                size(self.outbox.pongs.len()),
                size(PONGS),
            ),
        ];
        for (what, there, limit) in limits {
            if there > limit {
                return Err(format!("{what}: {there}, at most {limit} allowed"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        mux::yamux::{Config, Role},
        time::Instant,
    };

    #[test]
    fn books_that_do_not_add_up_and_limits_that_are_exceeded_are_told() {
        let session = |config| {
            let mut session = Session::new(Role::Dialer, config);
            for _ in 0..3 {
                session.open(Instant::ZERO, ()).unwrap();
            }
            session
        };
        assert_eq!(session(Config::default()).audit(), Ok(()));
        type Spoil = fn(&mut Session<()>);
        let spoils: [(&str, Spoil); 9] = [
            ("accepted streams: 1 counted", |of| of.inbound = 1),
            ("opened streams: 2 counted", |of| of.outbound = 2),
            ("unacknowledged streams: 0 counted", |of| {
                of.unacknowledged = 0
            }),
            ("growth of windows: 1 counted", |of| of.growth = 1),
            ("bytes to send: 1 counted", |of| of.outbox.queued = 1),
            ("opened streams: 3, at most 2", |of| {
                of.config.max_outbound_streams = 2
            }),
            ("unacknowledged streams: 3, at most 2", |of| {
                of.config.max_unacknowledged = 2
            }),
            ("growth of windows: 5, at most 0", |of| {
                of.growth = 5;
                of.streams.iter_mut().next().unwrap().1.window += 5;
            }),
            ("answers to pings: 5, at most 4", |of| {
                of.outbox.pongs.extend([0; 5])
            }),
        ];
        for (expected, spoil) in spoils {
            let mut session = session(Config::default());
            spoil(&mut session);
            let error = session.audit().unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
