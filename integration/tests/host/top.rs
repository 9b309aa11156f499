//! `palisade top` on a real terminal, against a real daemon. Needs root, and setsid and stty.

use std::fs::File;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::{Pid, ttyname};
use palisade::lab::Probe;
use palisade_integration::{Daemon, Setup, ThreeHosts, UDP_PORT, eventually, examples, palisade};

/// How long the screen may take to show something.
const PATIENCE: Duration = Duration::from_secs(20);

/// `palisade top` on a terminal of its own. Killed when dropped.
struct Top {
    child: Child,
    keys: File,
    /// The program's side, held open so that what it leaves behind can be looked at.
    terminal: OwnedFd,
    screen: Arc<Mutex<vt100::Parser>>,
}

impl Top {
    /// Starts it on the host of the daemon, on a terminal of 80 columns and 24 lines.
    fn start(daemon: &Daemon, environment: &[(&str, &str)]) -> anyhow::Result<Self> {
        let size = Winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(Some(&size), None)?;
        let side = || -> anyhow::Result<Stdio> { Ok(pty.slave.try_clone()?.into()) };
        let mut command = Command::new("setsid");
        command
            .args(["--ctty", "--"])
            .arg(palisade()?)
            .args(["top", "--evidence", "0s"])
            .env("PALISADE_SOCKET", daemon.socket())
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .envs(environment.iter().copied())
            .stdin(side()?)
            .stdout(side()?)
            .stderr(side()?);
        let child = daemon
            .namespace()
            .run(|| command.spawn())?
            .context("cannot start setsid")?;
        let keys = File::from(pty.master);
        let mut output = keys.try_clone()?;
        let screen = Arc::new(Mutex::new(vt100::Parser::new(24, 80, 0)));
        let shown = Arc::clone(&screen);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                lock(&shown).process(&buffer[..length]);
            }
        });
        Ok(Top {
            child,
            keys,
            terminal: pty.slave,
            screen,
        })
    }

    fn press(&mut self, keys: &str) -> anyhow::Result<()> {
        Ok(self.keys.write_all(keys.as_bytes())?)
    }

    /// What is on the screen now.
    fn text(&self) -> String {
        lock(&self.screen).screen().contents()
    }

    /// Waits until all of these are on the screen.
    fn shows(&self, texts: &[&str]) -> anyhow::Result<()> {
        eventually(PATIENCE, || {
            let screen = self.text();
            for text in texts {
                ensure!(screen.contains(text), "no {text:?} on the screen:\n{screen}");
            }
            Ok(())
        })
    }

    /// Waits until this is no longer on the screen.
    fn shows_no(&self, text: &str) -> anyhow::Result<()> {
        eventually(PATIENCE, || {
            let screen = self.text();
            ensure!(
                !screen.contains(text),
                "{text:?} is still on the screen:\n{screen}"
            );
            Ok(())
        })
    }

    fn resize(&self, lines: u16, columns: u16) -> anyhow::Result<()> {
        lock(&self.screen).screen_mut().set_size(lines, columns);
        let status = Command::new("stty")
            .arg("-F")
            .arg(self.path()?)
            .args(["rows", &lines.to_string(), "cols", &columns.to_string()])
            .status()?;
        ensure!(status.success(), "stty ended with {status}");
        Ok(())
    }

    fn path(&self) -> anyhow::Result<PathBuf> {
        Ok(ttyname(&self.terminal)?)
    }

    /// Waits until it has ended.
    fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        eventually(PATIENCE, || {
            let ended = self.child.try_wait()?;
            ended.context("it is still running")
        })
    }

    /// That the shell would find its terminal as it was.
    fn gave_the_terminal_back(&self) -> anyhow::Result<()> {
        let flags = tcgetattr(self.terminal.as_fd())?.local_flags;
        ensure!(
            flags.contains(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG),
            "the terminal is still raw: {flags:?}"
        );
        eventually(PATIENCE, || {
            let parser = lock(&self.screen);
            ensure!(
                !parser.screen().alternate_screen(),
                "the other screen is still shown"
            );
            ensure!(!parser.screen().hide_cursor(), "the cursor is still hidden");
            Ok(())
        })
    }
}

impl Drop for Top {
    fn drop(&mut self) {
        // It may have ended already; there is nobody left to tell either way.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lock(screen: &Mutex<vt100::Parser>) -> MutexGuard<'_, vt100::Parser> {
    screen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn backend(hosts: &ThreeHosts) -> anyhow::Result<Daemon> {
    let setup = Setup::new("backend")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("20-staged.yaml", examples::OPEN_8080_STAGED);
    Daemon::start(hosts.host("backend"), &setup)
}

fn ask(hosts: &ThreeHosts, port: u16) -> anyhow::Result<()> {
    let to = SocketAddr::new(hosts.host("backend").ipv4(), port);
    let from = hosts.host("frontend").namespace();
    let probe = match port {
        UDP_PORT => Probe::udp(from, to),
        _ => Probe::tcp(from, to),
    };
    let outcome = probe.run()?;
    ensure!(outcome.is_answered(), "{outcome}");
    Ok(())
}

#[test]
fn it_shows_what_happens_and_does_what_keys_say() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let mut daemon = backend(&hosts)?;
    let mut top = Top::start(&daemon, &[])?;
    top.shows(&[
        "backend, generation",
        " 1 rules:",
        " 2 staged: 1",
        "too little evidence",
    ])?;
    ask(&hosts, 8080)?;
    ask(&hosts, 9090)?;
    top.shows(&["backend: rule 0", "end of tier default"])?;
    // A connection has a record when it begins and one when it ends: they need the room.
    top.press("3")?;
    top.shows(&["NOT READY", "tcp 8080", "tcp 9090", "WOULD DENY"])?;

    top.press("2")?;
    top.shows(&["to promote: would deny 1 connection from frontend-eth0: tcp 9090 (1)"])?;
    top.press("?")?;
    top.shows(&["keys: any of them closes this"])?;
    top.press(" ")?;
    top.shows_no("any of them closes this")?;

    top.press("3/9090")?;
    top.shows(&["/9090_", ", by newest, with \"9090\"", "tcp 9090"])?;
    top.shows_no("tcp 8080")?;
    top.press("\r\x1b")?;
    top.shows_no("with \"9090\"")?;
    top.press("p")?;
    top.shows(&["PAUSED"])?;
    top.press("p")?;
    top.shows_no("PAUSED")?;

    top.resize(50, 200)?;
    top.shows(&["BECAUSE", "backend (end of tier default)"])?;
    top.resize(24, 80)?;
    top.shows_no("BECAUSE")?;

    daemon.kill9()?;
    top.shows(&["LOST, trying again: cannot reach palisaded"])?;
    daemon.start_again()?;
    top.shows_no("LOST")?;
    // The new daemon has no flows but those to come.
    ask(&hosts, UDP_PORT)?;
    top.shows(&["udp 5353"])?;

    top.press("q")?;
    assert_eq!(top.ended()?.code(), Some(0));
    top.gave_the_terminal_back()
}

#[test]
fn signals_give_the_terminal_back() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let daemon = backend(&hosts)?;
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let mut top = Top::start(&daemon, &[])?;
        top.shows(&[" 3 flows:"])?;
        kill(Pid::from_raw(top.child.id().cast_signed()), signal)?;
        assert!(top.ended()?.success(), "{signal}");
        top.gave_the_terminal_back()?;
    }
    let mut top = Top::start(&daemon, &[])?;
    top.shows(&[" 3 flows:"])?;
    // Control and c, as a terminal sends it.
    top.press("\x03")?;
    assert!(top.ended()?.success());
    top.gave_the_terminal_back()
}

#[test]
fn without_colours_the_words_are_the_same() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let daemon = backend(&hosts)?;
    ask(&hosts, 9090)?;
    for (environment, coloured) in [(&[][..], true), (&[("NO_COLOR", "1")][..], false)] {
        let top = Top::start(&daemon, environment)?;
        top.shows(&["NOT READY", "WOULD DENY"])?;
        let parser = lock(&top.screen);
        let cells = (0..24).flat_map(|line| (0..80).map(move |column| (line, column)));
        let colours = cells.filter_map(|(line, column)| parser.screen().cell(line, column));
        let found = colours
            .filter(|cell| cell.fgcolor() != vt100::Color::Default)
            .count();
        assert_eq!(found > 0, coloured, "{found} coloured cells");
    }
    Ok(())
}

#[test]
fn without_a_terminal_it_says_what_to_use() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let daemon = backend(&hosts)?;
    let said = daemon.cli(&["top"])?;
    assert_eq!(said.code, Some(2));
    assert!(said.stderr.contains("`palisade counters`"), "{said:?}");
    assert!(said.stdout.is_empty(), "{said:?}");
    Ok(())
}
