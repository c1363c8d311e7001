//! Protocol names.

use super::MAX_LINE_LEN;
use alloc::{boxed::Box, string::String, sync::Arc};
use core::{borrow::Borrow, cmp::Ordering, fmt, hash};

/// The longest [`ProtocolName`] in bytes: with its newline it still is a line.
pub const MAX_NAME_LEN: usize = MAX_LINE_LEN - 1;

/// A string is not usable as a protocol name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "recording", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum InvalidName {
    /// It does not start with a slash (the empty string does not).
    NoLeadingSlash,
    /// It contains a newline.
    Newline,
    /// It is longer than [`MAX_NAME_LEN`] bytes.
    TooLong,
    /// It is the header of multistream-select itself.
    Reserved,
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoLeadingSlash => "protocol name does not start with a slash",
            Self::Newline => "protocol name contains a newline",
            Self::TooLong => "protocol name is over 1023 bytes",
            Self::Reserved => "protocol name is reserved for the negotiation itself",
        })
    }
}

impl core::error::Error for InvalidName {}

/// Checks what [`ProtocolName`] promises. A `const fn`, hence the loop.
pub(super) const fn validate(name: &str) -> Result<(), InvalidName> {
    let bytes = name.as_bytes();
    if bytes.len() > MAX_NAME_LEN {
        return Err(InvalidName::TooLong);
    }
    if !matches!(bytes.first(), Some(b'/')) {
        return Err(InvalidName::NoLeadingSlash);
    }
    if let b"/multistream/1.0.0" = bytes {
        return Err(InvalidName::Reserved);
    }
    let mut rest = bytes;
    while let [byte, tail @ ..] = rest {
        if *byte == b'\n' {
            return Err(InvalidName::Newline);
        }
        rest = tail;
    }
    Ok(())
}

/// The name of a protocol, such as `/ipfs/ping/1.0.0`: starts with a slash, has no newline, at most [`MAX_NAME_LEN`]
/// bytes. Cloning it copies a pointer, not the text.
///
/// ```
/// use drywire::multistream::ProtocolName;
///
/// const PING: ProtocolName = ProtocolName::from_static("/ipfs/ping/1.0.0");
/// assert_eq!(PING, ProtocolName::try_from("/ipfs/ping/1.0.0")?);
/// assert!(ProtocolName::try_from("ping").is_err());
/// # Ok::<(), drywire::multistream::InvalidName>(())
/// ```
#[derive(Clone)]
pub struct ProtocolName(Text);

#[derive(Clone)]
enum Text {
    Static(&'static str),
    /// Boxed twice over, so that a name is not larger than the reference it usually is.
    Shared(Arc<Box<str>>),
}

impl ProtocolName {
    /// A name known at compile time; nothing is allocated.
    ///
    /// # Panics
    ///
    /// If `name` is no valid name. In a `const` that is a compile error; for text known at run time only, use
    /// `try_from`.
    #[must_use]
    pub const fn from_static(name: &'static str) -> Self {
        assert!(validate(name).is_ok(), "invalid protocol name");
        Self(Text::Static(name))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Text::Static(name) => name,
            Text::Shared(name) => name,
        }
    }
}

impl TryFrom<&str> for ProtocolName {
    type Error = InvalidName;

    fn try_from(name: &str) -> Result<Self, InvalidName> {
        validate(name)?;
        Ok(Self(Text::Shared(Arc::new(name.into()))))
    }
}

impl TryFrom<String> for ProtocolName {
    type Error = InvalidName;

    fn try_from(name: String) -> Result<Self, InvalidName> {
        Self::try_from(name.as_str())
    }
}

impl core::str::FromStr for ProtocolName {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, InvalidName> {
        Self::try_from(name)
    }
}

impl AsRef<str> for ProtocolName {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for ProtocolName {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq for ProtocolName {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for ProtocolName {}

impl PartialOrd for ProtocolName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ProtocolName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl hash::Hash for ProtocolName {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Display for ProtocolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ProtocolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeSet, HashSet};
    use std::string::ToString;

    #[test]
    fn only_valid_names_are_names() {
        let longest = std::format!("/{}", "x".repeat(MAX_NAME_LEN - 1));
        for (text, expected) in [
            ("/", Ok(())),
            ("/ipfs/ping/1.0.0", Ok(())),
            ("/with space/\u{e9}", Ok(())),
            (longest.as_str(), Ok(())),
            ("", Err(InvalidName::NoLeadingSlash)),
            ("na", Err(InvalidName::NoLeadingSlash)),
            ("/a\n", Err(InvalidName::Newline)),
            ("/a\nb", Err(InvalidName::Newline)),
            ("/multistream/1.0.0", Err(InvalidName::Reserved)),
            ((longest.clone() + "x").as_str(), Err(InvalidName::TooLong)),
        ] {
            let name = ProtocolName::try_from(text);
            assert_eq!(name.clone().map(|_| ()), expected);
            assert_eq!(ProtocolName::try_from(text.to_string()), name);
            assert_eq!(text.parse(), name);
            if let Ok(name) = name {
                assert_eq!(name.as_str(), text);
                assert_eq!(name.to_string(), text);
            }
        }
    }

    #[test]
    fn static_and_shared_names_are_the_same_key() {
        let fixed = ProtocolName::from_static("/a");
        let shared = ProtocolName::try_from("/a").unwrap();
        assert_eq!(fixed, shared);
        assert_eq!(fixed.cmp(&shared), Ordering::Equal);
        assert!(HashSet::from([fixed.clone()]).contains(&shared));
        assert!(HashSet::from([shared.clone()]).contains("/a"));
        assert!(BTreeSet::from([shared]).contains("/a"));
    }

    #[test]
    #[should_panic(expected = "invalid protocol name")]
    fn an_invalid_static_name_is_caught() {
        let _ = ProtocolName::from_static("ping");
    }
}
