//! What is recorded runs again exactly so; and recording changes nothing.

mod altered;
mod buffers;
mod connections;
mod cost;
mod swarms;
