//! The codec around the application's: a header in front of every body.

use super::{
    super::{Codec, CodecError, ProtocolSupport},
    header::Header,
};
use crate::multistream::ProtocolName;
use alloc::{format, vec::Vec};
use bytes::Bytes;

/// What stands in front of a name on the wire.
const PREFIX: &str = "/t/1";

/// A request as it travels.
#[derive(Debug)]
pub(super) enum Ask<Q> {
    Request(Q),
    Credit { credit: u16, ident: u64 },
}

/// A response as it travels.
#[derive(Debug)]
pub(super) enum Answer<R> {
    Response(R),
    Ack { ident: u64 },
}

/// A name of the application's protocol.
#[derive(Debug)]
pub(super) struct Name {
    wire: ProtocolName,
    pub(super) inner: ProtocolName,
    /// For the application's requests; credits travel under every name in both directions.
    pub(super) support: ProtocolSupport,
}

#[derive(Debug)]
pub(super) struct Frames<C> {
    pub(super) codec: C,
    names: Vec<Name>,
}

impl<C> Frames<C> {
    /// The names under which requests are sent come first.
    pub(super) fn new(
        codec: C,
        protocols: impl IntoIterator<Item = (ProtocolName, ProtocolSupport)>,
    ) -> Self {
        let names = protocols.into_iter().filter_map(|(inner, support)| {
            let wire = ProtocolName::try_from(format!("{PREFIX}{inner}")).ok()?;
            Some(Name {
                wire,
                inner,
                support,
            })
        });
        let mut names: Vec<Name> = names.collect();
        names.sort_by_key(|name| !name.support.outbound());
        Self { codec, names }
    }

    /// The names on the wire, for the machine within.
    pub(super) fn wire_names(&self) -> Vec<(ProtocolName, ProtocolSupport)> {
        let names = self.names.iter();
        names
            .map(|name| (name.wire.clone(), ProtocolSupport::Full))
            .collect()
    }

    /// How many of them, the first ones, are for requests of this node.
    pub(super) fn outbound_names(&self) -> usize {
        let names = self.names.iter();
        names.filter(|name| name.support.outbound()).count()
    }

    pub(super) fn name(&self, wire: &ProtocolName) -> Option<&Name> {
        self.names.iter().find(|name| name.wire == *wire)
    }
}

impl<C: Codec> Frames<C> {
    /// A request of the application, as it is under the preferred name.
    pub(super) fn encode_preferred(&mut self, request: &C::Request) -> Result<Bytes, CodecError> {
        let name = self.names.first();
        let name = name.ok_or_else(|| CodecError::unencodable("there is no name"))?;
        let body = self.codec.encode_request(&name.inner, request)?;
        Ok(framed(Header::Request, &body))
    }

    /// A response of the application.
    pub(super) fn encode_own_response(
        &mut self,
        wire: &ProtocolName,
        response: &C::Response,
    ) -> Result<Bytes, CodecError> {
        let (codec, name) = inner(self, wire);
        let body = codec.encode_response(name, response)?;
        Ok(framed(Header::Response, &body))
    }
}

/// A codec, and the name it knows.
fn inner<'a, C>(
    frames: &'a mut Frames<C>,
    wire: &'a ProtocolName,
) -> (&'a mut C, &'a ProtocolName) {
    let Frames { codec, names } = frames;
    let name = names.iter().find(|name| name.wire == *wire);
    (codec, name.map_or(wire, |name| &name.inner))
}

fn framed(header: Header, body: &[u8]) -> Bytes {
    let mut framed = Vec::with_capacity(body.len().saturating_add(24));
    header.encode(&mut framed);
    framed.extend_from_slice(body);
    framed.into()
}

/// A body that is nothing but a header.
fn bare<T>(value: T, rest: &Bytes) -> Result<T, CodecError> {
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(CodecError::malformed("a credit has no body"))
    }
}

/// Bytes of the header of a request or a response, and of its length.
const HEADER: u32 = 6;

impl<C: Codec> Codec for Frames<C> {
    type Request = Ask<C::Request>;
    type Response = Answer<C::Response>;

    fn set_limits(&mut self, max_request_len: u32, max_response_len: u32) {
        self.codec.set_limits(
            max_request_len.saturating_sub(HEADER),
            max_response_len.saturating_sub(HEADER),
        );
    }

    fn encode_request(
        &mut self,
        wire: &ProtocolName,
        request: &Self::Request,
    ) -> Result<Bytes, CodecError> {
        match *request {
            Ask::Request(ref request) => {
                let (codec, name) = inner(self, wire);
                Ok(framed(
                    Header::Request,
                    &codec.encode_request(name, request)?,
                ))
            }
            Ask::Credit { credit, ident } => Ok(framed(Header::Credit { credit, ident }, &[])),
        }
    }

    fn decode_request(
        &mut self,
        wire: &ProtocolName,
        mut bytes: Bytes,
    ) -> Result<Self::Request, CodecError> {
        let (header, used) = Header::decode(&bytes)?;
        let rest = bytes.split_off(used);
        match header {
            Header::Request => {
                let (codec, name) = inner(self, wire);
                Ok(Ask::Request(codec.decode_request(name, rest)?))
            }
            Header::Credit { credit, ident } => bare(Ask::Credit { credit, ident }, &rest),
            Header::Response | Header::Ack { .. } => {
                Err(CodecError::malformed("the header of a response"))
            }
        }
    }

    fn encode_response(
        &mut self,
        wire: &ProtocolName,
        response: &Self::Response,
    ) -> Result<Bytes, CodecError> {
        match *response {
            Answer::Response(ref response) => self.encode_own_response(wire, response),
            Answer::Ack { ident } => Ok(ack(ident)),
        }
    }

    fn decode_response(
        &mut self,
        wire: &ProtocolName,
        mut bytes: Bytes,
    ) -> Result<Self::Response, CodecError> {
        let (header, used) = Header::decode(&bytes)?;
        let rest = bytes.split_off(used);
        match header {
            Header::Response => {
                let (codec, name) = inner(self, wire);
                Ok(Answer::Response(codec.decode_response(name, rest)?))
            }
            Header::Ack { ident } => bare(Answer::Ack { ident }, &rest),
            Header::Request | Header::Credit { .. } => {
                Err(CodecError::malformed("the header of a request"))
            }
        }
    }
}

/// The acknowledgement of a grant.
pub(super) fn ack(ident: u64) -> Bytes {
    framed(Header::Ack { ident }, &[])
}
