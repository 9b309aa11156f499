//! SSH as an operator has it: a real server in a host, and sessions that stay.

use std::io::{Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use palisade::lab::{Namespace, Process};
use tempfile::TempDir;

use crate::{eventually, sshd};

/// How long a server may take to listen, and a session to open where nothing hinders it.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long one attempt to connect waits for an answer: longer than any server here takes, shorter than a window.
const CONNECT_SECONDS: u32 = 1;

/// What a shell prints behind the output of a command, with the exit code behind it.
const END: &str = "palisade-end-of-command";

/// Accounts as sshd reads them: it wants a user of its own, and one whose account is not locked.
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nsshd:x:65500:65534::/run/sshd:/usr/sbin/nologin\nnobody:x:65534:65534::/:/usr/sbin/nologin\n";
const SHADOW: &str = "root:*:19000:0:99999:7:::\nsshd:*:19000:0:99999:7:::\nnobody:*:19000:0:99999:7:::\n";

/// An SSH server with keys of its own. Ends when dropped.
///
/// It sees its own accounts and its own `/run`: of this machine's, none is looked at or changed.
#[derive(Debug)]
pub struct SshServer {
    directory: TempDir,
    process: Process,
    port: u16,
}

/// What a command in a session said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The exit code.
    pub code: i32,
    /// Standard output and standard error, as they came.
    pub text: String,
}

/// A shell over a connection that stays open. Ends when dropped.
#[derive(Debug)]
pub struct SshSession {
    child: Child,
    stdin: ChildStdin,
    output: Receiver<Vec<u8>>,
}

impl Drop for SshServer {
    /// Ends what it has started, too: a session outlives its server, and what runs in it outlives the session.
    fn drop(&mut self) {
        let mounts = |pid: &str| {
            std::fs::metadata(format!("/proc/{pid}/ns/mnt"))
                .map(|namespace| namespace.ino())
                .ok()
        };
        // Held open to the end: a number that nobody holds is given to the next namespace, which may be another server's.
        let Ok(held) = std::fs::File::open(format!("/proc/{}/ns/mnt", self.process.id())) else {
            return;
        };
        // Until it has a namespace of its own, it is in ours.
        let own = held.metadata().map(|namespace| namespace.ino()).ok();
        let Some(own) = own.filter(|own| mounts("self").is_some_and(|ours| ours != *own)) else {
            return;
        };
        // It is alone with its own in a mount namespace. Whoever is killed may just have started another.
        loop {
            let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
            let names = processes.filter_map(|entry| entry.file_name().into_string().ok());
            let left: Vec<i32> = names
                .filter(|pid| mounts(pid).is_some_and(|mounts| mounts == own))
                .filter_map(|pid| pid.parse().ok())
                .collect();
            let killed = left
                .iter()
                .filter(|&&pid| kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok());
            if killed.count() == 0 {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl SshServer {
    /// Starts one in a host, and waits until it listens.
    ///
    /// # Errors
    /// With what it has logged, if it ends instead.
    pub fn start(host: &Namespace, port: u16) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("palisade-ssh-").tempdir()?;
        let path = directory.path();
        for key in ["host", "operator"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"])
                .arg(path.join(key))
                .status()
                .context("ssh-keygen is missing: install openssh-client")?;
            ensure!(made.success(), "ssh-keygen ended with {made}");
        }
        std::fs::write(path.join("passwd"), PASSWD)?;
        std::fs::write(path.join("shadow"), SHADOW)?;
        let binary = sshd()?;
        std::fs::write(path.join("sshd_config"), configuration(path, &binary, port))?;
        let script = "mount --bind \"$1/passwd\" /etc/passwd && mount --bind \"$1/shadow\" /etc/shadow && \
                      mount -t tmpfs -o mode=755 tmpfs /run && mkdir -m 755 /run/sshd && \
                      exec \"$2\" -D -e -f \"$1/sshd_config\"";
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--propagation",
            "private",
            "--",
            "sh",
            "-c",
            script,
            "sh",
        ]);
        command.arg(path).arg(&binary);
        let server = SshServer {
            process: host.spawn(&command)?,
            directory,
            port,
        };
        eventually(PATIENCE, || {
            if let Some(status) = server.process.ended()? {
                bail!("sshd ended with {status}:\n{}", server.log());
            }
            let log = server.log();
            ensure!(
                log.contains("Server listening on"),
                "sshd does not listen yet:\n{log}"
            );
            Ok(())
        })?;
        Ok(server)
    }

    /// Opens a shell from another host.
    ///
    /// # Errors
    /// If it does not answer in time.
    pub fn session(&self, from: &Namespace, to: IpAddr) -> anyhow::Result<SshSession> {
        let mut command = self.client(to);
        command.args(["exec", "sh"]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = from.run(|| command.spawn())??;
        let (sender, output) = channel();
        let piped = [
            child
                .stdout
                .take()
                .map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
            child
                .stderr
                .take()
                .map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
        ];
        for mut pipe in piped.into_iter().flatten() {
            let sender = sender.clone();
            // Ends with the pipe, which ends with the program.
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = pipe.read(&mut buffer) {
                    if sender.send(buffer[..length].to_vec()).is_err() {
                        break;
                    }
                }
            });
        }
        let stdin = child.stdin.take().context("ssh has no standard input")?;
        let mut session = SshSession { child, stdin, output };
        session
            .answers(PATIENCE)
            .with_context(|| format!("sshd's log:\n{}", self.log()))?;
        Ok(session)
    }

    /// Opens a session from another host, and closes it again: one attempt.
    ///
    /// # Errors
    /// If it cannot be opened, with what ssh says.
    pub fn enter(&self, from: &Namespace, to: IpAddr) -> anyhow::Result<()> {
        let mut command = self.client(to);
        command.args(["echo", "inside"]);
        let output = from.output(&command, "")?;
        ensure!(
            output.status.success() && output.stdout == b"inside\n",
            "no new session: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        self.process.stderr()
    }

    fn client(&self, to: IpAddr) -> Command {
        let mut command = Command::new("ssh");
        command.args(["-F", "none", "-T", "-q", "-l", "root"]);
        command.arg("-p").arg(self.port.to_string());
        command.arg("-i").arg(self.directory.path().join("operator"));
        for option in [
            "BatchMode=yes",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "IdentitiesOnly=yes",
            "PreferredAuthentications=publickey",
            "ControlMaster=no",
        ] {
            command.args(["-o", option]);
        }
        command.arg("-o").arg(format!("ConnectTimeout={CONNECT_SECONDS}"));
        command.arg(to.to_string());
        command
    }
}

impl SshSession {
    /// Runs a command in the shell.
    ///
    /// # Errors
    /// If the session ends, or nothing comes back in time.
    pub fn run(&mut self, command: &str, patience: Duration) -> anyhow::Result<Said> {
        // On a line of its own, whatever the command has printed last; made of two, so that it is no part of what is sent.
        let (first, second) = END.split_at(8);
        let line = format!("{{ {command}\n}} 2>&1; printf '\\n%s%s %s\\n' {first} {second} $?\n");
        self.stdin
            .write_all(line.as_bytes())
            .context("the session is closed")?;
        let started = Instant::now();
        let mut text = String::new();
        let end = format!("\n{END} ");
        loop {
            if let Some((said, code)) = text.split_once(&end)
                && let Some((code, _)) = code.split_once('\n')
            {
                return Ok(Said {
                    code: code.parse().context("the shell gave no exit code")?,
                    text: said.to_owned(),
                });
            }
            let left = patience.saturating_sub(started.elapsed());
            match self.output.recv_timeout(left) {
                Ok(bytes) => text += &String::from_utf8_lossy(&bytes),
                Err(RecvTimeoutError::Disconnected) => bail!("the session has ended: {text}"),
                Err(RecvTimeoutError::Timeout) => {
                    return Err(anyhow!("the session is silent after {command:?}: {text}"));
                }
            }
        }
    }

    /// Makes sure that the session still answers.
    ///
    /// # Errors
    /// If it does not in time.
    pub fn answers(&mut self, patience: Duration) -> anyhow::Result<()> {
        let said = self.run("echo here", patience)?;
        ensure!(
            said.text == "here\n" && said.code == 0,
            "the session answers {said:?}"
        );
        Ok(())
    }
}

impl Drop for SshSession {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(path: &Path, binary: &Path, port: u16) -> String {
    let here = path.display();
    let mut text = format!(
        "Port {port}\nHostKey {here}/host\nAuthorizedKeysFile {here}/operator.pub\nPidFile none\nUsePAM no\n\
         PasswordAuthentication no\nPermitRootLogin yes\nStrictModes no\nUseDNS no\nMaxStartups 100\nPrintMotd no\n\
         LogLevel VERBOSE\n"
    );
    // From OpenSSH 9.8 on, what comes after the connection is done by other programs, which may be unpacked elsewhere.
    for (keyword, program) in [("SshdSessionPath", "sshd-session"), ("SshdAuthPath", "sshd-auth")] {
        let beside: Option<PathBuf> = binary
            .ancestors()
            .nth(2)
            .map(|usr| usr.join("lib/openssh").join(program));
        if let Some(beside) = beside.filter(|beside| beside.is_file()) {
            text += &format!("{keyword} {}\n", beside.display());
        }
    }
    text
}
