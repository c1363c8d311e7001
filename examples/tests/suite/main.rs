//! The examples do what they say, and their loops what peers do not.
#![allow(clippy::restriction, reason = "tests may panic")]

#[cfg(unix)]
mod c_host;
mod loops;
mod messages;
mod nodes;
mod programs;
mod socket;
mod unread;
#[cfg(target_os = "linux")]
mod wakes;
