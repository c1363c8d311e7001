//! Answers given inside the machine.

use super::{
    Behaviour, Codec, Config, Event, Message, ProtocolSupport, RequestResponse, ResponseChannel,
};
use crate::{
    connection::Slot,
    identity::PeerId,
    multistream::ProtocolName,
    swarm::{Context, EventPermit, Input, Protocol},
    time::Instant,
};
use alloc::vec::Vec;
use core::fmt;

/// Answers every request at once, by a function: a server without an application.
///
/// The host hears of [`Event::InboundFailure`]s alone. Since the answers follow from the requests, a
/// [recording](crate::recording) of such a swarm is replayed without a script.
///
/// ```
/// use bytes::Bytes;
/// use drywire::{
///     identity::PeerId,
///     multistream::ProtocolName,
///     protocol::request_response::{BytesCodec, Config, Service},
/// };
///
/// fn shout(_: PeerId, request: Bytes) -> Option<Bytes> {
///     Some(request.to_ascii_uppercase().into())
/// }
///
/// let name = ProtocolName::from_static("/shout/1");
/// let service = Service::new(BytesCodec, [name], Config::default(), shout);
/// # let _ = service;
/// ```
pub struct Service<C: Codec, F> {
    requests: RequestResponse<C>,
    answer: F,
}

impl<C, F> Service<C, F>
where
    C: Codec,
    F: FnMut(PeerId, C::Request) -> Option<C::Response>,
{
    /// Answers requests under these names. The function is told who asks, and returns `None` to leave the request
    /// unanswered.
    #[must_use]
    pub fn new(
        codec: C,
        names: impl IntoIterator<Item = ProtocolName>,
        config: Config,
        answer: F,
    ) -> Self {
        let names = names.into_iter();
        let protocols = names.map(|name| (name, ProtocolSupport::Inbound));
        Self {
            requests: Behaviour::with_codec(codec, protocols, config),
            answer,
        }
    }

    /// The machine below, to see how it fares.
    #[must_use]
    pub const fn requests(&self) -> &RequestResponse<C> {
        &self.requests
    }

    /// Runs the machine, and answers what it surfaces, until there is nothing more.
    fn run(
        &mut self,
        cx: &mut Context<'_, <Self as Protocol>::Event>,
        run: impl FnOnce(&mut RequestResponse<C>, &mut Context<'_, Event<C::Request, C::Response>>),
    ) {
        let ((), mut events) = cx.intercept(|cx| run(&mut self.requests, cx));
        loop {
            let mut answers = Vec::new();
            for (permit, event) in events {
                answers.extend(self.take(permit, event, cx));
            }
            if answers.is_empty() {
                return;
            }
            ((), events) = cx.intercept(|cx| {
                for (channel, response) in answers {
                    // One that cannot be sent is an omission: the channel in the error is dropped.
                    let _ = self.requests.send_response(channel, response, cx);
                }
                self.requests.notice_drops(cx);
            });
        }
    }

    /// The answer to an event, if it is a request that has one.
    fn take(
        &mut self,
        permit: EventPermit,
        event: Event<C::Request, C::Response>,
        cx: &mut Context<'_, <Self as Protocol>::Event>,
    ) -> Option<(ResponseChannel<C::Response>, C::Response)> {
        match event {
            Event::InboundFailure { .. } => {
                cx.emit_reserved(permit, event);
                None
            }
            Event::Message {
                peer,
                message:
                    Message::Request {
                        request, channel, ..
                    },
                ..
            } => {
                cx.release_event(permit);
                let response = (self.answer)(peer, request)?;
                Some((channel, response))
            }
            _ => {
                cx.release_event(permit);
                None
            }
        }
    }
}

impl<C, F> Protocol for Service<C, F>
where
    C: Codec,
    F: FnMut(PeerId, C::Request) -> Option<C::Response>,
{
    type Event = Event<C::Request, C::Response>;

    fn start(&mut self, cx: &mut Context<'_, Self::Event>) {
        self.run(cx, |requests, cx| requests.start(cx));
    }

    fn handle(&mut self, slot: Slot, input: Input<'_>, cx: &mut Context<'_, Self::Event>) {
        self.run(cx, |requests, cx| requests.handle(slot, input, cx));
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.requests.poll_timeout()
    }
}

impl<C: Codec + fmt::Debug, F> fmt::Debug for Service<C, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("requests", &self.requests)
            .finish_non_exhaustive()
    }
}
