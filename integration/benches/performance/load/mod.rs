//! What is sent.

mod flood;
mod steady;
mod stream;

pub(crate) use flood::{datagrams, flood};
pub(crate) use steady::steady;
pub(crate) use stream::{accepts, throughput};
