//! How values that are not plain go into a recording: by the encoding each has anyway, checked when it is read.

use crate::{
    identity::{PeerId, PublicKey},
    multiaddr::Multiaddr,
    multistream::ProtocolName,
};
use core::fmt;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

macro_rules! as_bytes {
    ($type:ty, $bytes:ident, $read:ident) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(&self.$bytes())
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::$read(<&[u8]>::deserialize(deserializer)?).map_err(de::Error::custom)
            }
        }
    };
}

as_bytes!(PeerId, as_bytes, from_bytes);
as_bytes!(Multiaddr, as_bytes, from_bytes);
as_bytes!(PublicKey, to_protobuf, from_protobuf);

impl Serialize for ProtocolName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ProtocolName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(<&str>::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// Bytes as one piece, not one by one.
pub(crate) mod bytes {
    use super::{Deserialize, Deserializer, Serializer};
    use ::bytes::Bytes;

    pub(crate) fn serialize<S: Serializer>(
        bytes: &Bytes,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Bytes, D::Error> {
        <&[u8]>::deserialize(deserializer).map(Bytes::copy_from_slice)
    }
}

/// The same without a copy: what is read is a part of the recording.
pub(crate) mod slice {
    use super::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        bytes: &&[u8],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<&'de [u8], D::Error> {
        <&[u8]>::deserialize(deserializer)
    }
}

/// Something shared, as what it is.
pub(crate) mod shared {
    use super::{Deserialize, Deserializer, Serialize, Serializer};
    use alloc::sync::Arc;

    pub(crate) fn serialize<T: Serialize, S: Serializer>(
        value: &Arc<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        T::serialize(value, serializer)
    }

    pub(crate) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Arc<T>, D::Error> {
        T::deserialize(deserializer).map(Arc::new)
    }
}

/// Names, wherever they are kept.
pub(crate) mod names {
    use super::{Deserialize, Deserializer, ProtocolName, Serializer};
    use alloc::vec::Vec;
    use smallvec::SmallVec;

    pub(crate) fn serialize<S: Serializer>(
        names: &SmallVec<[ProtocolName; 1]>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(names)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<SmallVec<[ProtocolName; 1]>, D::Error> {
        Vec::deserialize(deserializer).map(SmallVec::from_vec)
    }
}

/// A secret: 32 bytes.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Secret(pub(crate) [u8; 32]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}
