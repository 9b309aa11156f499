//! Where figures come from: figures of two machines are not comparable, ratios of one run are.

use std::fs;
use std::process::Command;

/// The machine and the programs, as a list in Markdown.
pub(crate) fn list() -> String {
    let first = |file: &str, field: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text
            .lines()
            .find(|line| line.starts_with(field))
            .unwrap_or_default();
        line.split_once(':')
            .map_or(line, |(_, value)| value)
            .trim()
            .to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mitigations = ["spectre_v2", "retbleed", "spec_rstack_overflow"]
        .map(|name| {
            (
                name,
                first(&format!("/sys/devices/system/cpu/vulnerabilities/{name}"), ""),
            )
        })
        .into_iter()
        .filter(|(_, state)| !state.is_empty())
        .map(|(name, state)| format!("{name}: {state}"));
    let lines = [
        format!(
            "processor: {}, {cores} cores",
            first("/proc/cpuinfo", "model name")
        ),
        format!("its mitigations: {}", mitigations.collect::<Vec<_>>().join("; ")),
        format!("memory: {}", first("/proc/meminfo", "MemTotal")),
        format!("kernel: Linux {}", first("/proc/sys/kernel/osrelease", "")),
        format!("nft: {}", said("nft", "--version")),
        format!("palisade: {}", env!("CARGO_PKG_VERSION")),
    ];
    lines.map(|line| format!("- {line}\n")).concat()
}

/// What a program says of its version.
fn said(program: &str, argument: &str) -> String {
    Command::new(program).arg(argument).output().map_or_else(
        |error| error.to_string(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
