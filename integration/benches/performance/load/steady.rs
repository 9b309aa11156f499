//! First packets of flows, at a steady rate.

use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;
use nix::sys::socket::{MsgFlags, sendto};
use nix::unistd::gettid;

use super::flood::{address, packet, raw_socket, server};
use crate::estate::Place;
use crate::ground::{Ground, pin};

/// A packet is due as often.
const EVERY: Duration = Duration::from_micros(200);
/// For so long nothing happens yet.
const LEAD: Duration = Duration::from_millis(50);

/// What was sent at a steady rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steady {
    /// Packets sent.
    pub(crate) packets: u64,
    /// The longest time from when a packet was due to when it was through the hooks of the receiving host. One that waits delays those
    /// behind it, and their time counts too.
    pub(crate) longest: Duration,
}

/// Sends first packets of UDP flows from a core, with the right of way there, while something happens on a thread of its own.
pub(crate) fn steady(
    ground: &Ground,
    place: Place,
    port: u16,
    core: usize,
    meanwhile: impl FnOnce() -> anyhow::Result<()> + Send,
) -> anyhow::Result<Steady> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let happens = scope.spawn(|| {
            thread::sleep(LEAD);
            let happened = meanwhile();
            over.store(true, Ordering::Relaxed);
            happened
        });
        let sent = ground.client().run(|| send(ground, place, port, core, &over));
        happens.join().expect("no panic there")?;
        sent?
    })
}

fn send(ground: &Ground, place: Place, port: u16, core: usize, over: &AtomicBool) -> anyhow::Result<Steady> {
    pin(core)?;
    go_first()?;
    let (raw, server, mut packet) = (raw_socket()?, server(), packet(port));
    let mut sent = Steady {
        packets: 0,
        longest: Duration::ZERO,
    };
    let mut due = Instant::now();
    while !over.load(Ordering::Relaxed) {
        due += EVERY;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        address(&mut packet, place, ground.fresh(1));
        sendto(raw.as_raw_fd(), &packet, &server, MsgFlags::empty())?;
        sent.longest = sent.longest.max(due.elapsed());
        sent.packets += 1;
    }
    Ok(sent)
}

/// Has the calling thread run before all others of its core, whenever it has something to do (sched(7), `SCHED_FIFO`).
fn go_first() -> anyhow::Result<()> {
    let mut command = Command::new("chrt");
    command.args(["--fifo", "--pid", "1", &gettid().to_string()]);
    let output = command.output()?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
