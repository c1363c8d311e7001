//! Records in messages.

use super::{
    Countdown, MessageError, RECORD_KEY, RECORD_PUBLISHER, RECORD_TIME_RECEIVED, RECORD_TTL,
    RECORD_VALUE,
};
use crate::{
    identity::PeerId,
    protocol::kad::{Record, RecordKey, rfc3339},
    time::UnixTime,
    wire::protobuf::{Reader, Writer},
};
use bytes::Bytes;
use core::time::Duration;

/// A record in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RecordView<'a> {
    /// Its key, which may differ from the message's.
    pub key: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
    /// Who put it there first, as the sender says: unproven. `None` too if that is no peer id.
    ///
    /// Only rust-libp2p has this field; others pass over it.
    pub publisher: Option<PeerId>,
    /// For how many seconds it is valid from now on, 0 if for ever. Only rust-libp2p has this field, too.
    pub ttl: u32,
    /// When a node took it from a peer, in RFC 3339. Senders may leave it out, and receivers need not believe it.
    pub time_received: &'a str,
}

impl<'a> RecordView<'a> {
    /// When it expires, if the message came at `now`.
    #[must_use]
    pub fn expires(&self, now: UnixTime) -> Option<UnixTime> {
        let ttl = Duration::from_secs(self.ttl.into());
        (self.ttl > 0).then(|| now.saturating_add(ttl))
    }

    /// [`time_received`](Self::time_received) as a time. `None` if it is none.
    #[must_use]
    pub fn received(&self) -> Option<UnixTime> {
        rfc3339::parse(self.time_received.as_bytes())
    }

    /// A copy of it, if the message came at `now`.
    #[must_use]
    pub fn to_record(&self, now: UnixTime) -> Record {
        Record {
            key: RecordKey::copy_from_slice(self.key),
            value: Bytes::copy_from_slice(self.value),
            publisher: self.publisher,
            expires: self.expires(now),
        }
    }

    pub(super) fn merge(
        &mut self,
        record: &'a [u8],
        fields: &mut Countdown,
    ) -> Result<(), MessageError> {
        for field in Reader::new(record) {
            fields.step()?;
            let field = field?;
            match field.number {
                RECORD_KEY => self.key = field.as_bytes()?,
                RECORD_VALUE => self.value = field.as_bytes()?,
                RECORD_TIME_RECEIVED => self.time_received = field.as_str()?,
                RECORD_PUBLISHER => self.publisher = PeerId::from_bytes(field.as_bytes()?).ok(),
                RECORD_TTL => self.ttl = field.as_u32()?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether a record expires, and when, is told in seconds from `now` on: rounded down, but at least 1, because 0 is never.
pub(super) fn write(
    out: &mut Writer<'_>,
    record: &Record,
    now: UnixTime,
    publisher: Option<&PeerId>,
) {
    if !record.key.as_bytes().is_empty() {
        out.bytes(RECORD_KEY, record.key.as_bytes());
    }
    if !record.value.is_empty() {
        out.bytes(RECORD_VALUE, &record.value);
    }
    if let Some(publisher) = publisher {
        out.bytes(RECORD_PUBLISHER, publisher.as_bytes());
    }
    if let Some(expires) = record.expires {
        let left = expires.saturating_duration_since(now).as_secs();
        out.uint64(RECORD_TTL, left.clamp(1, u32::MAX.into()));
    }
}
