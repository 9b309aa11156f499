//! The daemon's API: HTTP and JSON over a unix socket, so that `curl --unix-socket` can read it too.

pub mod client;
pub mod foreign;
pub mod learn;
pub mod metrics;
pub mod peer;
pub mod rollout;
pub mod safety_net;
pub mod server;
mod streams;
pub mod types;
