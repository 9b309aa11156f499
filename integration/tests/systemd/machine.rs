//! A machine with palisade installed: systemd, booted in a container of its own.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long booting may take; usually it is under a second.
const BOOT: Duration = Duration::from_mins(1);

/// Numbers the machines of this process.
static MACHINES: AtomicU32 = AtomicU32::new(0);

/// A booted container with palisade installed and one neighbour on `eth0`; gone when dropped.
///
/// The neighbour is the network namespace `peer`. The machine has the addresses 10.42.0.20 and fd00:42::20.
#[derive(Debug)]
pub(crate) struct Machine {
    name: String,
    container: Child,
    leader: u32,
    directory: TempDir,
}

/// What became of an attempt to open a TCP connection to a port where nothing listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// The machine answered: the packet went through the firewall.
    Answered,
    /// Silence: the packet was dropped.
    Silence,
}

impl Machine {
    /// Boots a machine on which palisade is installed and neither enabled nor started.
    pub(crate) fn boot() -> Machine {
        assert!(
            nix::unistd::geteuid().is_root(),
            "booting systemd in a container needs root: run the tests as root, or `make test`, which uses sudo"
        );
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
        let made = Command::new(scripts.join("make-root"))
            .arg(target())
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(made.status.success(), "make-root: {}", made.status);
        let root = String::from_utf8(made.stdout).unwrap();

        let number = MACHINES.fetch_add(1, Ordering::Relaxed);
        let name = format!("palisade-test-{}-{number}", std::process::id());
        let directory = TempDir::with_prefix("palisade-systemd-").unwrap();
        let scratch = directory.path().join("scratch");
        fs::create_dir(&scratch).unwrap();
        let console = File::create(directory.path().join("console")).unwrap();
        // Killed with this thread, and as process 1 of its namespace it takes all of the container with it.
        let container = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare", "--fork", "--kill-child=KILL"])
            .args(["--mount", "--propagation", "private", "--pid", "--mount-proc"])
            .arg(scripts.join("boot"))
            .args([Path::new(root.trim()), &scratch, Path::new(&name), &binaries()])
            .stdin(Stdio::null())
            .stdout(console.try_clone().unwrap())
            .stderr(console)
            .spawn()
            .unwrap();
        let mut machine = Machine {
            name,
            container,
            leader: 0,
            directory,
        };
        machine.await_boot();
        machine
    }

    /// Restarts the machine and waits until it is up again.
    pub(crate) fn reboot(&mut self) {
        self.sh("systemctl reboot");
        self.await_boot();
    }

    /// Restarts the machine without stopping anything first, and waits until it is up again.
    pub(crate) fn cut_power(&mut self) {
        // Who says so is gone before it can be heard.
        self.run("systemctl reboot --force --force");
        self.await_boot();
    }

    /// Runs a shell script in the machine.
    pub(crate) fn run(&self, script: &str) -> Output {
        Command::new("nsenter")
            .args(["--target", &self.leader.to_string(), "--all", "--root", "--"])
            .args(["/bin/bash", "-c", script])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Runs a shell script in the machine that must succeed, and gives its output without the last newline.
    pub(crate) fn sh(&self, script: &str) -> String {
        let output = self.run(script);
        assert!(
            output.status.success(),
            "{script}\n{}{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// Writes a file in the machine.
    pub(crate) fn write(&self, path: &str, content: &str) {
        let mut writing = Command::new("nsenter")
            .args(["--target", &self.leader.to_string(), "--mount", "--root", "--"])
            .args(["/usr/bin/tee", path])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut input = writing.stdin.take().unwrap();
        input.write_all(content.as_bytes()).unwrap();
        drop(input);
        assert!(writing.wait().unwrap().success(), "could not write {path}");
    }

    /// One property of palisade.service, as `systemctl show` prints it.
    pub(crate) fn property(&self, name: &str) -> String {
        self.sh(&format!("systemctl show --value --property {name} palisade"))
    }

    /// What palisade has logged since the machine was booted.
    pub(crate) fn journal(&self) -> String {
        self.sh("journalctl --boot --unit palisade --output cat --no-pager")
    }

    /// Opens a TCP connection from the neighbour.
    pub(crate) fn probe(&self, port: u16) -> Probe {
        let connect =
            format!("timeout 1 nsenter --net=/run/netns/peer bash -c 'exec 3<>/dev/tcp/10.42.0.20/{port}'");
        let output = self.run(&connect);
        let errors = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(124) => Probe::Silence,
            Some(1) if errors.contains("Connection refused") => Probe::Answered,
            _ => panic!("{connect}\n{}\n{errors}", output.status),
        }
    }

    /// Waits for a container other than the one known so far to be up, and connects its neighbour.
    fn await_boot(&mut self) {
        let started = Instant::now();
        let known = self.leader;
        loop {
            if let Some(leader) = leader(self.container.id()).filter(|leader| *leader != known) {
                self.leader = leader;
                let state = self.run("systemctl is-system-running").stdout;
                if matches!(state.trim_ascii_end(), b"running" | b"degraded") {
                    break;
                }
            }
            let ended = self.container.try_wait().unwrap();
            assert!(
                ended.is_none() && started.elapsed() < BOOT,
                "the container did not boot ({ended:?}):\n{}",
                self.console()
            );
            thread::sleep(Duration::from_millis(50));
        }
        self.sh("ip netns add peer
            ip link add eth0 type veth peer name eth0 netns peer
            ip address add 10.42.0.20/24 dev eth0
            ip address add fd00:42::20/64 dev eth0 nodad
            ip link set eth0 up
            ip --netns peer address add 10.42.0.30/24 dev eth0
            ip --netns peer address add fd00:42::30/64 dev eth0 nodad
            ip --netns peer link set eth0 up");
    }

    fn console(&self) -> String {
        fs::read_to_string(self.directory.path().join("console")).unwrap_or_default()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if thread::panicking() && self.leader != 0 {
            let journal = self.run("systemctl status --lines 40 --no-pager palisade");
            eprintln!("{}", String::from_utf8_lossy(&journal.stdout));
        }
        // Whatever fails here has no one left to be told; the next machine has another name.
        let _ = self.container.kill();
        let _ = self.container.wait();
        let patience = Instant::now() + Duration::from_secs(10);
        for tree in ["", "systemd", "unified"] {
            let group = Path::new("/sys/fs/cgroup").join(tree).join(&self.name);
            while group.exists() && remove_group(&group).is_err() && Instant::now() < patience {
                thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// Runs `make install` into a directory.
pub(crate) fn install(root: &Path) -> Output {
    Command::new("make")
        .arg("--directory")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .arg("install")
        .arg(format!("DESTDIR={}", root.display()))
        .arg(format!("BINARIES={}", binaries().display()))
        .output()
        .unwrap()
}

/// The container's process 1, once it is systemd.
fn leader(unshare: u32) -> Option<u32> {
    let only = |parent| match children(parent)?[..] {
        [child] => Some(child),
        _ => None,
    };
    let nspawn = only(only(unshare)?)?;
    children(nspawn)?.into_iter().find(|child| {
        fs::read_to_string(format!("/proc/{child}/comm")).is_ok_and(|name| name.trim_end() == "systemd")
    })
}

fn children(process: u32) -> Option<Vec<u32>> {
    let list = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).ok()?;
    list.split_whitespace().map(|child| child.parse().ok()).collect()
}

/// Removes a cgroup and those below it; fails while one of them has a process.
fn remove_group(group: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(group)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_group(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}

/// The directory of the programs under test.
fn binaries() -> PathBuf {
    let palisaded = palisade_integration::palisaded().unwrap();
    palisaded.parent().unwrap().to_owned()
}

/// The build directory, where things that take long to make are kept.
fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .unwrap()
        .to_owned()
}
