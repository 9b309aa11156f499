//! How long each part of the way into force takes, for whoever asks with `RUST_LOG=palisade=debug`.

use std::time::Instant;

use tracing::debug;

/// A part of the way, from now until it is dropped.
pub(super) struct Part {
    name: &'static str,
    since: Instant,
}

/// Begins a part of the way.
pub(super) fn part(name: &'static str) -> Part {
    Part {
        name,
        since: Instant::now(),
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let took = self.since.elapsed();
        debug!(part = self.name, ?took, "on the way into force");
    }
}
