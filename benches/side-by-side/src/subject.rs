//! Which implementation is measured.

use std::fmt;

#[cfg(feature = "aws-lc-rs")]
use drywire_interop::Crypto;
use drywire_interop::Options;

/// An implementation and how it is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Implementation {
    Libp2p,
    /// Plain TCP, a connection for each stream: the floor.
    Tcp,
    /// rust-libp2p with `V1Lazy` negotiation of streams, its nearest to an optimistic stream.
    Libp2pLazy,
    Drywire,
    /// drywire, whose requests are commands and events instead of futures and streams.
    DrywireEvents,
    /// drywire, whose bulk data moves as `Bytes`.
    DrywireBytes,
    /// drywire with AWS-LC's cryptography.
    #[cfg(feature = "aws-lc-rs")]
    DrywireAwsLc,
}

impl Implementation {
    pub(crate) const ALL: &'static [Self] = &[
        Self::Libp2p,
        Self::Tcp,
        Self::Libp2pLazy,
        Self::Drywire,
        Self::DrywireEvents,
        Self::DrywireBytes,
        #[cfg(feature = "aws-lc-rs")]
        Self::DrywireAwsLc,
    ];

    /// Who is compared unless the command line says otherwise.
    pub(crate) const DEFAULT: [Self; 2] = [Self::Libp2p, Self::Drywire];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Libp2p => "libp2p",
            Self::Tcp => "tcp",
            Self::Libp2pLazy => "libp2p-lazy",
            Self::Drywire => "drywire",
            Self::DrywireEvents => "drywire-events",
            Self::DrywireBytes => "drywire-bytes",
            #[cfg(feature = "aws-lc-rs")]
            Self::DrywireAwsLc => "drywire-aws-lc",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|implementation| implementation.name() == name)
    }

    pub(crate) fn options(self) -> Options {
        Options {
            lazy_negotiation: self == Self::Libp2pLazy,
            #[cfg(feature = "aws-lc-rs")]
            crypto: match self {
                Self::DrywireAwsLc => Crypto::AwsLc,
                _ => Crypto::Default,
            },
            ..Options::bare()
        }
    }
}

/// Runs `$function::<P>(..)` with the peer type of the implementation.
macro_rules! with_peer {
    ($implementation:expr, $function:ident($($argument:expr),* $(,)?)) => {
        match $implementation {
            Implementation::Libp2p | Implementation::Libp2pLazy => {
                $function::<drywire_interop::Libp2pPeer>($($argument),*)
            }
            Implementation::Tcp => $function::<crate::tcp::TcpPeer>($($argument),*),
            Implementation::Drywire | Implementation::DrywireEvents => {
                $function::<drywire_interop::DrywirePeer>($($argument),*)
            }
            Implementation::DrywireBytes => {
                $function::<drywire_interop::DrywireBytesPeer>($($argument),*)
            }
            #[cfg(feature = "aws-lc-rs")]
            Implementation::DrywireAwsLc => {
                $function::<drywire_interop::DrywirePeer>($($argument),*)
            }
        }
    };
}
pub(crate) use with_peer;

/// Runs `$function::<R>(..)` with how the implementation sends requests.
macro_rules! with_requests {
    ($implementation:expr, $function:ident($($argument:expr),* $(,)?)) => {
        match $implementation {
            Implementation::Libp2p | Implementation::Libp2pLazy => {
                $function::<crate::requests::Libp2p>($($argument),*)
            }
            Implementation::Tcp => {
                $function::<crate::requests::Streams<crate::tcp::TcpPeer>>($($argument),*)
            }
            Implementation::DrywireEvents => {
                $function::<crate::requests::DrywireEvents>($($argument),*)
            }
            _ => $function::<crate::requests::Drywire>($($argument),*),
        }
    };
}
pub(crate) use with_requests;

/// Who is client and who is server: `libp2p` for both, or `client:server`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) client: Implementation,
    pub(crate) server: Implementation,
}

impl Subject {
    /// Whether the bars are meant for it: they are for drywire, not for rust-libp2p in another set-up, nor for the floor.
    pub(crate) fn is_judged(self) -> bool {
        ![self.client, self.server].iter().all(|end| {
            matches!(
                end,
                Implementation::Libp2p | Implementation::Libp2pLazy | Implementation::Tcp
            )
        })
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (client, server) = name.split_once(':').unwrap_or((name, name));
        Some(Self {
            client: Implementation::parse(client)?,
            server: Implementation::parse(server)?,
        })
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.client == self.server {
            true => f.pad(self.client.name()),
            false => f.pad(&format!("{}:{}", self.client.name(), self.server.name())),
        }
    }
}
