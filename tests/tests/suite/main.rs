//! Connections and nodes through the public interface: what they do, what they take, and what is written down of them; and
//! whether the simulator may be trusted.

mod backlog;
mod connection;
mod edges;
mod model;
mod recording;
mod requests;
mod simulator;
