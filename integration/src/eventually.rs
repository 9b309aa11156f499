//! Waiting for what happens on another program's time.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;

/// Calls `attempt` until it succeeds, and gives its last error if that does not happen within `patience`.
pub fn eventually<T>(
    patience: Duration,
    mut attempt: impl FnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let started = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(error) if started.elapsed() > patience => {
                return Err(error).with_context(|| format!("still so after {patience:?}"));
            }
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{bail, ensure};

    use super::*;

    #[test]
    fn gives_the_first_success() {
        let mut left = 3;
        let value = eventually(Duration::from_secs(10), || {
            left -= 1;
            ensure!(left == 0, "{left} left");
            Ok("done")
        });
        assert_eq!(value.unwrap(), "done");
    }

    #[test]
    fn gives_the_last_error() {
        let mut attempts = 0;
        let error = eventually(Duration::from_millis(50), || -> anyhow::Result<()> {
            attempts += 1;
            bail!("attempt {attempts}")
        });
        assert_eq!(
            format!("{:#}", error.unwrap_err()),
            format!("still so after 50ms: attempt {attempts}")
        );
        assert!(attempts > 1);
    }
}
