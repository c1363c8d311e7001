//! What is recorded runs again exactly so; and recording changes nothing.

mod buffers;
mod connections;
mod swarms;
