//! The 12-byte frame header.

use super::Error;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Payload of a stream.
    Data,
    /// Credit for a stream.
    WindowUpdate,
    /// A round-trip probe or its answer.
    Ping,
    /// No more streams, or the end.
    GoAway,
}

/// The flags of a frame. Bits that have no meaning are kept and ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Flags(u16);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// Opens a stream; marks a ping request.
    pub const SYN: Self = Self(1);
    /// Accepts a stream; marks a ping response.
    pub const ACK: Self = Self(2);
    /// Half-closes a stream.
    pub const FIN: Self = Self(4);
    /// Aborts a stream.
    pub const RST: Self = Self(8);

    /// Flags from their bits.
    #[must_use]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Whether all flags of `other` are set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These and `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the frame is.
    pub kind: Kind,
    /// Its flags.
    pub flags: Flags,
    /// The stream it is about; 0 for session frames.
    pub stream: u32,
    /// Payload bytes (data), bytes of credit (window update), an opaque value (ping), or a code (GoAway, reset).
    pub length: u32,
}

impl Header {
    /// Bytes of a header.
    pub const LEN: usize = 12;

    /// The header on the wire.
    #[must_use]
    pub fn encode(self) -> [u8; Self::LEN] {
        let kind = match self.kind {
            Kind::Data => 0,
            Kind::WindowUpdate => 1,
            Kind::Ping => 2,
            Kind::GoAway => 3,
        };
        let [f0, f1] = self.flags.0.to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        let [l0, l1, l2, l3] = self.length.to_be_bytes();
        [0, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3]
    }

    /// Reads a header.
    ///
    /// # Errors
    ///
    /// An unknown version or type, a stream frame for stream 0, or a session frame on a stream.
    pub fn decode(bytes: [u8; Self::LEN]) -> Result<Self, Error> {
        let [version, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3] = bytes;
        if version != 0 {
            return Err(Error::UnknownVersion(version));
        }
        let kind = match kind {
            0 => Kind::Data,
            1 => Kind::WindowUpdate,
            2 => Kind::Ping,
            3 => Kind::GoAway,
            other => return Err(Error::UnknownType(other)),
        };
        let stream = u32::from_be_bytes([s0, s1, s2, s3]);
        match kind {
            Kind::Data | Kind::WindowUpdate if stream == 0 => return Err(Error::StreamZero),
            Kind::Ping | Kind::GoAway if stream != 0 => {
                return Err(Error::SessionFrameOnStream(stream));
            }
            _ => {}
        }
        let flags = Flags(u16::from_be_bytes([f0, f1]));
        Ok(Self {
            kind,
            flags,
            stream,
            length: u32::from_be_bytes([l0, l1, l2, l3]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_header_is_written_as_it_was_read() {
        let samples = [0, 1, 2, 3, 4, 8, 15, 0x7f, 0x80, 0xff];
        let mut read = 0;
        for version in [0, 1, 0xff] {
            for kind in samples {
                for (high, low) in samples.iter().flat_map(|a| samples.map(|b| (*a, b))) {
                    for stream in [0, 1, 2, 0x0102_0304, u32::MAX] {
                        let [s0, s1, s2, s3] = u32::to_be_bytes(stream);
                        let bytes = [version, kind, high, low, s0, s1, s2, s3, low, kind, high, 7];
                        if let Ok(header) = Header::decode(bytes) {
                            assert_eq!(header.encode(), bytes);
                            read += 1;
                        }
                    }
                }
            }
        }
        // Two kinds with four streams each, two with none.
        assert_eq!(read, 100 * (2 * 4 + 2));
    }
}
