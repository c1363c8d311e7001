//! Two connections talk, in a program without std.
//!
//! If the core or anything it depends on used std, std's panic handler would meet the one below and the program would not
//! link. It is built for the ordinary host target, so that every machine can run the proof. What it returns: 0, or the
//! number of the step that failed.
#![no_std]
#![no_main]

extern crate alloc;

mod conversation;
mod host;

/// What the C runtime starts. From the C library comes nothing but this start and the exit after it.
#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    match conversation::run() {
        Ok(()) => 0,
        Err(step) => step,
    }
}
