//! A program that runs in a namespace and cannot outlive this process.

use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{During, Error, Namespace, Result};

/// A running program with its output, killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Mutex<Child>,
    stdout: Captured,
    stderr: Captured,
    /// Keeps the thread alive that the kernel takes for the program's parent.
    _namespace: Namespace,
}

impl Process {
    /// Takes over a child made by [`piped`].
    pub(super) fn new(name: String, mut child: Child, namespace: Namespace) -> Self {
        let stdout = Captured::new(child.stdout.take());
        let stderr = Captured::new(child.stderr.take());
        Process {
            name,
            child: Mutex::new(child),
            stdout,
            stderr,
            _namespace: namespace,
        }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child().id()
    }

    /// What the program has written to standard output so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What the program has written to standard error so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// How the program ended, or `None` while it runs.
    pub fn ended(&self) -> Result<Option<ExitStatus>> {
        self.child()
            .try_wait()
            .during(|| format!("look after {}", self.name))
    }

    /// Sends a signal; does nothing to a program that has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let mut child = self.child();
        // Not reaped, so the number is still this program's.
        if child
            .try_wait()
            .during(|| format!("look after {}", self.name))?
            .is_none()
        {
            let id = Pid::from_raw(child.id().cast_signed());
            kill(id, signal).during(|| format!("send {signal} to {}", self.name))?;
        }
        Ok(())
    }

    /// Waits for the program to end.
    ///
    /// # Errors
    /// [`Error::StillRunning`] after `patience`.
    pub fn wait(&self, patience: Duration) -> Result<ExitStatus> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if started.elapsed() > patience {
                return Err(Error::StillRunning {
                    program: self.name.clone(),
                    seconds: patience.as_secs_f32(),
                });
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills the program (`SIGKILL`) and waits until it is gone.
    pub fn kill(&self) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        self.child().wait().during(|| format!("wait for {}", self.name))?;
        Ok(())
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already; there is nobody left to tell either way.
        let _ = self.kill();
    }
}

/// The same command under `setpriv`, so that the kernel kills the program when its parent dies.
pub(super) fn mortal(command: &Command) -> Command {
    let mut mortal = Command::new("setpriv");
    mortal
        .args(["--pdeathsig", "KILL", "--"])
        .arg(command.get_program())
        .args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => mortal.env(key, value),
            None => mortal.env_remove(key),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        mortal.current_dir(directory);
    }
    mortal
}

/// Sets a command up for [`Process::new`].
pub(super) fn piped(command: &mut Command) -> &mut Command {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
}

/// Runs a command to its end on the calling thread.
pub(super) fn output(command: &Command, input: &str) -> Result<Output> {
    let name = command.get_program().to_string_lossy();
    let mut child = piped(&mut mortal(command))
        .stdin(Stdio::piped())
        .spawn()
        .during(|| format!("start {name} under setpriv (package util-linux)"))?;
    let stdin = child.stdin.take();
    thread::scope(|scope| {
        // Beside the reading, so that neither side waits for the other with a full pipe.
        scope.spawn(move || {
            if let Some(mut stdin) = stdin {
                // A program may well not read its input.
                let _ = stdin.write_all(input.as_bytes());
            }
        });
        child.wait_with_output()
    })
    .during(|| format!("run {name}"))
}

/// Text that a thread reads from a pipe as it comes.
#[derive(Clone, Debug, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn new(pipe: Option<impl Read + Send + 'static>) -> Self {
        let captured = Captured::default();
        if let Some(mut pipe) = pipe {
            let captured = captured.clone();
            // Ends with the pipe, which ends with the program.
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = pipe.read(&mut buffer) {
                    captured.lock().extend_from_slice(&buffer[..length]);
                }
            });
        }
        captured
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.lock()).into_owned()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
