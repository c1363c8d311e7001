//! Reference tests.

mod jobs;
mod lookups;
mod peers;
mod providers;
mod records;
mod requests;
