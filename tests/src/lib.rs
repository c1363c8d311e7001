//! What drywire's tests share: two connections over a pipe in virtual time.

pub mod pair;
