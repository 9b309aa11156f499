//! The daemon's own log: to the journal under systemd, to the terminal elsewhere.

use std::io::IsTerminal;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging; `RUST_LOG` chooses what, a level or `target=level` several times over; the default is `info`.
pub fn start() {
    let asked = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    let filter = asked.and_then(|text| text.parse().ok()).unwrap_or_else(usual);
    let registry = tracing_subscriber::registry().with(filter);
    if is_journal()
        && let Ok(journal) = tracing_journald::layer()
    {
        registry.with(journal).init();
        return;
    }
    let human = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    registry.with(human).init();
}

/// What is logged unless somebody asks for more: of the libraries that speak netlink, what is wrong.
fn usual() -> Targets {
    Targets::new()
        .with_default(LevelFilter::INFO)
        .with_target("netlink_proto", LevelFilter::WARN)
        .with_target("rtnetlink", LevelFilter::WARN)
        .with_target("netlink_packet_route", LevelFilter::ERROR)
}

/// Whether standard error goes to the journal, where priorities and fields are kept. systemd names the stream; the
/// variable alone says nothing, for whatever a service starts inherits it.
fn is_journal() -> bool {
    let stderr = nix::sys::stat::fstat(std::io::stderr());
    let named = std::env::var("JOURNAL_STREAM");
    matches!((stderr, named), (Ok(stat), Ok(named)) if named == format!("{}:{}", stat.st_dev, stat.st_ino))
}
