//! The demo, as it is typed. Needs root, nftables and iproute2.

#![expect(clippy::unwrap_used, reason = "all of this is a test")]

use std::cell::RefCell;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use palisade::lab::Namespace;

/// How long the demo may take for anything.
const PATIENCE: Duration = Duration::from_mins(1);

/// Standard output of a command in a namespace.
fn output(namespace: &Namespace, line: &str) -> String {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().unwrap());
    let output = namespace.output(command.args(words), "").unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The directory of a demo, by a command line that names it.
fn directory_in(text: &str) -> PathBuf {
    let start = text
        .find("/palisade-demo-")
        .expect("the demo names its directory")
        + 1;
    let name = text[start..].split('/').next().unwrap();
    std::env::temp_dir().join(name)
}

/// Command lines of running programs that have something to do with a directory.
fn programs_with(directory: &Path) -> Vec<String> {
    let directory = directory.to_str().unwrap();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| fs::read_to_string(process.path().join("cmdline")).ok());
    lines.filter(|line| line.contains(directory)).collect()
}

#[test]
fn every_claim_holds_and_nothing_is_left() {
    let machine = Namespace::new().unwrap();
    output(
        &machine,
        "nft add table inet theirs { chain input { type filter hook input priority 0; counter drop; }; }",
    );
    let before = output(&machine, "nft list ruleset");

    // A /run of its own, so that named namespaces, which are the whole machine's, would be this demo's.
    let script = "mount -t tmpfs tmpfs /run && timeout --signal=KILL 60 \"$0\" demo; code=$?; ip netns list >&2; exit $code";
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--",
        "sh",
        "-c",
        script,
        env!("CARGO_BIN_EXE_palisade"),
    ]);
    let process = machine.spawn(&command).unwrap();
    let status = process.wait(2 * PATIENCE).unwrap();
    let (stdout, stderr) = (process.stdout(), process.stderr());
    assert!(status.success(), "{status}\n{stdout}\n{stderr}");
    assert_eq!(stderr, "");

    let ticks = stdout.lines().filter(|line| line.starts_with("   ✓ ")).count();
    assert!(!stdout.contains('✗'), "{stdout}");
    let closing = format!("{ticks} claims checked, all of them hold, in ");
    assert!(stdout.lines().last().unwrap().starts_with(&closing), "{stdout}");
    for row in [
        "   frontend      allow allow allow   allow allow allow   ·     ·     ·\n",
        "   frontend      allow allow allow   allow *DENY *DENY   ·     ·     ·\n",
        "   frontend      allow *DENY *DENY   allow DENY  DENY    ·     ·     ·\n",
        "   - kind: StagedGlobalNetworkPolicy\n   + kind: GlobalNetworkPolicy\n",
    ] {
        assert!(stdout.contains(row), "{row}\n{stdout}");
    }
    assert!(!stdout.contains('\x1b'), "colours without a terminal: {stdout}");

    assert_eq!(output(&machine, "nft list ruleset"), before);
    let directory = directory_in(&stdout);
    assert!(!directory.exists());
    assert_eq!(programs_with(&directory), [""; 0]);
}

#[test]
fn paused_it_keeps_the_hosts_and_interrupted_it_leaves_nothing() {
    let demo = Running::start(&mut demo(&["--pause"]));
    wait_until("the demo pauses", || demo.stdout().contains("policy.d\n"));
    let stdout = demo.stdout();
    let directory = directory_in(&stdout);
    let daemons = programs_with(&directory);
    assert_eq!(daemons.len(), 3, "{daemons:?}");

    // The lines to type do what the demo says they do.
    let typed: Vec<&str> = stdout
        .lines()
        .skip_while(|line| !line.contains("press Enter"))
        .filter_map(|line| line.strip_prefix("   "))
        .filter(|line| !line.starts_with('#'))
        .collect();
    assert_eq!(typed.len(), 12, "{typed:?}");
    for line in typed {
        let output = Command::new("sh").args(["-c", line]).output().unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
        let said = String::from_utf8_lossy(&output.stdout);
        let expected = match line {
            _ if line.contains("nft list") => "table inet palisade {",
            _ if line.ends_with(" staged") => "nothing is staged",
            _ if line.ends_with(" policies") => "database-allow-from-backend",
            _ if line.contains("/dev/tcp") => "closed\n",
            _ => "hosts.yaml\n",
        };
        assert!(said.contains(expected), "{line}: {said}");
    }

    demo.signal(Signal::SIGINT);
    assert_eq!(demo.wait(), Some(1));
    assert!(demo.stderr().contains("interrupted"), "{}", demo.stderr());
    assert!(!directory.exists());
    assert_eq!(programs_with(&directory), [""; 0]);
}

#[test]
fn without_privilege_it_says_what_to_type() {
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-net_admin,-sys_admin", "--"]);
    let output = command
        .arg(env!("CARGO_BIN_EXE_palisade"))
        .arg("demo")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(77), "{output:?}");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.ends_with("sudo palisade demo\n"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn without_the_daemon_it_says_how_to_get_it() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let alone = directory.path().join("palisade");
    // A copy could still be open for writing in a child that another test has just forked, and not be run.
    fs::hard_link(env!("CARGO_BIN_EXE_palisade"), &alone).unwrap();
    let output = Command::new(&alone).arg("demo").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("palisaded") && stderr.contains("build both"),
        "{stderr}"
    );
}

/// A demo with an input that stays open and says nothing.
struct Running {
    child: RefCell<Child>,
    output: tempfile::TempDir,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let output = tempfile::tempdir().unwrap();
        let file = |name| File::create(output.path().join(name)).unwrap();
        command
            .stdin(Stdio::piped())
            .stdout(file("out"))
            .stderr(file("err"));
        Running {
            child: RefCell::new(command.spawn().unwrap()),
            output,
        }
    }

    fn stdout(&self) -> String {
        fs::read_to_string(self.output.path().join("out")).unwrap()
    }

    fn stderr(&self) -> String {
        fs::read_to_string(self.output.path().join("err")).unwrap()
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.borrow().id();
        kill(Pid::from_raw(id.cast_signed()), signal).unwrap();
    }

    fn wait(&self) -> Option<i32> {
        let mut child = self.child.borrow_mut();
        wait_until("the demo ends", || child.try_wait().unwrap().is_some());
        child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.borrow_mut().kill();
        let _ = self.child.borrow_mut().wait();
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "{what}: not after {PATIENCE:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn demo(options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
    command.arg("demo").args(options);
    command
}
