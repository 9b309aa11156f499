//! A clock on the wall that jumps, for one program alone.
//!
//! The clock of this machine is never set. A small library, preloaded, stands between the program and the kernel and adds
//! to what `CLOCK_REALTIME` says; clocks that nobody can set are left as they are, as they would be.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use tempfile::TempDir;

use crate::Setup;

/// The library: the seconds that are added are the first eight bytes of a file, which is mapped.
const LIBRARY: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *added;

__attribute__((constructor)) static void find(void)
{
    const char *path = getenv("PALISADE_TEST_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *mapped = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *added, PROT_READ, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED)
        added = mapped;
    if (file >= 0)
        close(file);
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
    int result = (int)syscall(SYS_clock_gettime, clock, time);
    if (result == 0 && clock == CLOCK_REALTIME && added)
        time->tv_sec += *added;
    return result;
}
"#;

/// The clock of the programs that are started with it.
#[derive(Debug)]
pub struct Clock {
    preload: PathBuf,
    added: PathBuf,
    _directory: TempDir,
}

impl Clock {
    /// One that goes right.
    ///
    /// # Errors
    /// Without a C compiler.
    pub fn new() -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("palisade-clock-").tempdir()?;
        let preload = directory.path().join("clock.so");
        let source = directory.path().join("clock.c");
        let added = directory.path().join("added");
        std::fs::write(&source, LIBRARY)?;
        std::fs::write(&added, 0_i64.to_ne_bytes())?;
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&preload, &source])
            .stdin(Stdio::null())
            .status()
            .context("there is no C compiler: install gcc")?;
        ensure!(compiled.success(), "cc ended with {compiled}");
        Ok(Clock {
            preload,
            added,
            _directory: directory,
        })
    }

    /// The setup of a daemon that goes by this clock.
    #[must_use]
    pub fn for_daemon(&self, setup: Setup) -> Setup {
        setup
            .environment("LD_PRELOAD", &self.preload)
            .environment("PALISADE_TEST_CLOCK", &self.added)
    }

    /// Sets it so many seconds off, at once.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn set_off(&self, seconds: i64) -> anyhow::Result<()> {
        // In one write: it is read at any moment.
        let file = File::options().write(true).open(&self.added)?;
        Ok(file.write_all_at(&seconds.to_ne_bytes(), 0)?)
    }
}
