//! What is sent.

mod flood;
mod stream;

pub(crate) use flood::{datagrams, flood};
pub(crate) use stream::{accepts, throughput};
