//! Each generation that is there to stay is kept for the next boot.

use std::sync::Arc;

use palisade_nft::memory;
use tracing::{error, warn};

use super::{Daemon, lock};
use crate::apply::keep_for_boot;

/// Keeps each generation for the next boot as it comes into force. Where several come at once, the last.
pub(super) async fn keep_each_generation(daemon: Arc<Daemon>) {
    loop {
        let keeping = Arc::clone(&daemon);
        let kept = tokio::task::spawn_blocking(move || {
            // What a change has left to do is done once its engine is free: a change needs much memory for a short time, and what
            // boots next is not to be made beside it.
            drop(lock(&keeping.engine));
            memory::give_back();
            keeping.keep_for_boot();
            memory::give_back();
        });
        if let Err(panic) = kept.await {
            error!("keeping the generation for the next boot ended in a bug: {panic}");
        }
        daemon.to_keep.notified().await;
    }
}

impl Daemon {
    /// Keeps the generation in force for the next boot, if it is not kept already.
    pub(super) fn keep_for_boot(&self) {
        let mut kept = lock(&self.kept_for_boot);
        let (generation, is_confirmed) = {
            let known = lock(&self.known);
            (Arc::clone(&known.current), known.window.is_none())
        };
        // Under a panic nothing is in force. What is unconfirmed is never what boots.
        if *kept == Some(generation.number) || !is_confirmed || self.panic.is_set() {
            return;
        }
        let ruleset = &generation.compiled.ruleset;
        match keep_for_boot(self.panic.directory(), ruleset, generation.number) {
            Ok(()) => *kept = Some(generation.number),
            Err(error) => warn!(
                %error,
                "generation {} is in force, but could not be kept for the next boot, which begins with an earlier one",
                generation.number
            ),
        }
    }
}
