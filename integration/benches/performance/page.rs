//! `docs/performance.md` and its plots.

use std::fs;
use std::path::Path;

use crate::change::{ADDRESS, DAEMON, KERNEL, LOAD, POLICY};
use crate::connections::work;
use crate::counters::COUNTERS;
use crate::established::ACCEPTS;
use crate::estate::{Place, Shape};
use crate::report::Report;
use crate::{machine, plot, targets};

const HEAD: &str = include_str!("page/head.md");
const MISSES: &str = include_str!("page/misses.md");
const METHOD: &str = include_str!("page/method.md");

/// Writes the page and its plots into a directory.
pub(crate) fn write(report: &Report, directory: &Path) -> anyhow::Result<()> {
    let plots = [
        (
            "new-connection",
            work(Shape::Spread, Place::Last),
            "us over conntrack alone",
        ),
        (
            "one-port",
            work(Shape::OnePort, Place::Last),
            "us over conntrack alone",
        ),
        ("accepts", ACCEPTS.to_owned(), "connections a second"),
        ("load", LOAD.to_owned(), "ms"),
        ("policy", POLICY.to_owned(), "ms"),
        ("address", ADDRESS.to_owned(), "ms"),
        ("counters", COUNTERS.to_owned(), "ms"),
        ("daemon", DAEMON.to_owned(), "MB"),
        ("kernel", KERNEL.to_owned(), "MB"),
    ];
    fs::create_dir_all(directory)?;
    let mut growth = String::new();
    for (name, work, unit) in plots {
        let file = format!("performance-{name}.svg");
        plot::draw(report, &work, unit, &directory.join(&file))?;
        growth += &format!("![{work}, {unit}, over the number of policies]({file})\n\n");
    }
    let page = format!(
        "{HEAD}\n{}\n{MISSES}\n## The machine\n\n{}\n{METHOD}\n## How it grows\n\n{growth}## Everything\n\n{}",
        targets::table(report),
        machine::list(),
        report.table(),
    );
    Ok(fs::write(directory.join("performance.md"), page)?)
}
