//! What every host of [drywire] needs of the operating system, whoever drives it.
//!
//! The core owns no clock and no randomness, and knows no sockets. A host gives it those; this crate has them for hosts on
//! std, so that each is written once:
//!
//! ```
//! use drywire::{identity::Keypair, node::Node, protocol::Standard, seed::Seed, swarm::{Config, Swarm}};
//!
//! let seed = Seed::from_entropy(drywire_system::entropy()?);
//! let keypair = Keypair::ed25519_from_seed(&seed.derive("identity"));
//! let (now, unix) = (drywire_system::now(), drywire_system::unix());
//! let swarm = Swarm::new(Config::default(), keypair, Standard::default(), seed, now, unix)?;
//! let mut node = Node::new(swarm);
//!
//! let listener = drywire_system::listen("127.0.0.1:0".parse()?)?;
//! assert!(listener.local_addr()?.port() > 0);
//! # let _ = &mut node;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | item | what it is for |
//! |---|---|
//! | [`now`], [`unix`], [`epoch`], [`std_instant`] | the clocks |
//! | [`entropy`] | the seed of everything random |
//! | [`listen`], [`tcp_socket`], [`interfaces`], [`interface_index`] | sockets and their addresses |
//! | [`transport_error`], [`is_peers_own`], [`stream_error_kind`] | what the operating system said, in the core's words, and the other way round |
//! | `dns` | with that feature: TXT records, for `/dnsaddr` |
//! | `recording` | with that feature: recordings of a host's machines in files |
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
// This crate is about the operating system: it needs std, and says so plainly.
#![allow(clippy::std_instead_of_alloc, clippy::std_instead_of_core)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

mod address;
#[cfg(feature = "dns")]
#[cfg_attr(docsrs, doc(cfg(feature = "dns")))]
pub mod dns;
mod error;
#[cfg(feature = "os")]
mod os;
#[cfg(feature = "recording")]
#[cfg_attr(docsrs, doc(cfg(feature = "recording")))]
pub mod recording;

pub use address::tcp_socket;
pub use error::{is_peers_own, stream_error_kind, transport_error};
#[cfg(feature = "os")]
#[cfg_attr(docsrs, doc(cfg(feature = "os")))]
pub use os::{entropy, epoch, interface_index, interfaces, listen, now, std_instant, unix};
