//! Ctrl-C, noticed between two steps, so that everything is taken down as it is at the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tokio::signal::unix::{SignalKind, signal};

use super::{broken, during};
use crate::cli::Failure;

/// Whether a signal has asked the demo to end.
#[derive(Clone, Debug)]
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Watches for SIGINT, SIGTERM and SIGHUP, which from now on end nothing by themselves.
    pub(super) fn watch() -> Result<Self, Failure> {
        let action = || "watch for signals".to_owned();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        let runtime = runtime.map_err(during(action))?;
        let guard = runtime.enter();
        let mut interrupt = signal(SignalKind::interrupt()).map_err(during(action))?;
        let mut terminate = signal(SignalKind::terminate()).map_err(during(action))?;
        let mut hangup = signal(SignalKind::hangup()).map_err(during(action))?;
        drop(guard);
        let asked = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&asked);
        // Lives as long as the process: it waits for what usually never comes.
        thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
            });
            told.store(true, Ordering::Relaxed);
        });
        Ok(Interrupt(asked))
    }

    /// Fails once the demo was asked to end.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.0.load(Ordering::Relaxed) {
            return Err(broken(
                "interrupted: the hosts, their daemons and their files are gone",
            ));
        }
        Ok(())
    }
}
