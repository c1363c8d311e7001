//! What is said, and how.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How bodies are said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The ready CBOR codec.
    Cbor,
    /// The ready JSON codec.
    Json,
    /// The text alone, up to the end of the stream.
    Bytes,
    /// The text alone, after its length.
    Prefixed,
}

/// A value with something of everything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Body {
    /// All there is in the formats that are bytes.
    pub text: String,
    /// A variant.
    pub kind: Kind,
    /// May be there.
    pub perhaps: Option<Option<u32>>,
    /// Says nothing.
    pub nothing: (),
    /// Numbers of all sizes.
    pub numbers: (u8, i16, u32, i64, f32, f64),
    /// Bytes in a row.
    pub bytes: Vec<u8>,
    /// Values by name.
    pub table: BTreeMap<String, Vec<Kind>>,
}

/// Variants of every shape.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Kind {
    /// A name alone.
    #[default]
    Empty,
    /// A value.
    Value(char),
    /// Two values.
    Pair(bool, String),
    /// Values with names.
    Named {
        /// One of them.
        left: i128,
        /// The other.
        right: u64,
    },
}

impl Body {
    /// A text, and nothing else.
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    /// Something of everything.
    pub fn rich() -> Self {
        let kinds = [
            Kind::Empty,
            Kind::Value('\u{20ac}'),
            Kind::Pair(true, "line\n\"quoted\"".into()),
            Kind::Named {
                left: -(1 << 70),
                right: u64::MAX,
            },
        ];
        Self {
            text: "a text".into(),
            kind: kinds[3].clone(),
            perhaps: Some(Some(7)),
            nothing: (),
            numbers: (255, -300, 1 << 20, i64::MIN, 0.1, -1e300),
            bytes: (0..=255).collect(),
            table: [("kinds".into(), kinds.to_vec()), (String::new(), vec![])].into(),
        }
    }

    /// The length of the body in this format.
    pub fn len(&self, format: Format) -> usize {
        match format {
            Format::Cbor => cbor4ii::serde::to_vec(Vec::new(), self).map_or(0, |bytes| bytes.len()),
            Format::Json => serde_json::to_vec(self).map_or(0, |bytes| bytes.len()),
            Format::Bytes | Format::Prefixed => self.text.len(),
        }
    }

    /// A text of which the body has this length, if there is one: every length from the least one does but for a few.
    pub fn of_len(format: Format, len: usize) -> Option<Self> {
        let more = len.checked_sub(Self::default().len(format))?;
        // CBOR says lengths in up to eight bytes.
        (more.saturating_sub(8)..=more)
            .map(|letters| Self::text("x".repeat(letters)))
            .find(|body| body.len(format) == len)
    }
}
