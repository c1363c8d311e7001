//! What drywire's tests share: two connections over a pipe in virtual time, and peers that break the rules.

pub use drywire_counting as heap;

pub mod dice;
pub mod forger;
pub mod hostile;
pub mod model;
pub mod net;
pub mod pair;
pub mod site;
pub mod tape;
pub mod victim;

/// The examples of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
