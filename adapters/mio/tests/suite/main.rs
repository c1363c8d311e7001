//! The host over mio by itself: tokens, turns, sleep, names. What every host has to do is tested by the suite of hosts.

mod common;
mod names;
mod tokens;
mod turns;
