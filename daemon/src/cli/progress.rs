//! A sign of life during long work: on the terminal, where nothing else is being printed.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What takes less needs no sign.
const PATIENCE: Duration = Duration::from_secs(1);

const PERIOD: Duration = Duration::from_millis(500);

/// Output that says on standard error how it comes on, if that is a terminal and standard output is not.
pub(super) struct Progress<W> {
    out: W,
    bytes: Arc<AtomicU64>,
    ticker: Option<(Sender<()>, JoinHandle<()>)>,
}

impl<W> Progress<W> {
    /// Begins.
    pub(super) fn new(work: &'static str, out: W) -> Self {
        let bytes = Arc::new(AtomicU64::new(0));
        let is_seen = io::stderr().is_terminal();
        let is_silent = io::stdout().is_terminal();
        let ticker = is_seen.then(|| {
            let (stop, stopped) = mpsc::channel();
            let bytes = Arc::clone(&bytes);
            let tick = move || {
                let start = Instant::now();
                let mut wait = PATIENCE;
                while stopped.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                    wait = PERIOD;
                    let written = bytes.load(Ordering::Relaxed);
                    if written > 0 && is_silent {
                        break;
                    }
                    let seconds = start.elapsed().as_secs();
                    let megabytes = written / 1_000_000;
                    // Nobody to tell is no reason to stop.
                    let _ = write!(io::stderr(), "\r{work}: {seconds} s, {megabytes} MB written");
                }
                if start.elapsed() >= PATIENCE {
                    let _ = write!(io::stderr(), "\r\x1b[K");
                }
            };
            (stop, std::thread::spawn(tick))
        });
        Progress { out, bytes, ticker }
    }
}

impl<W: Write> Write for Progress<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.out.write(buffer)?;
        self.bytes.fetch_add(written as u64, Ordering::Relaxed);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl<W> Drop for Progress<W> {
    fn drop(&mut self) {
        if let Some((stop, ticker)) = self.ticker.take() {
            drop(stop);
            // Its panic would be its own.
            let _ = ticker.join();
        }
    }
}
