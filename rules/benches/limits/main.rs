//! The limits that reading policies holds: 10,000 policies of 5 rules, 10,000 endpoints and 100,000 members of sets
//! become worlds in at most a second and 500 MB, on one core.
//!
//! ```text
//! taskset -c 0 cargo bench -p palisade-rules --bench limits
//! ```

mod estate;

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, SamplingMode, Throughput};
use palisade_rules::decode::decode;
use palisade_rules::snapshot::Snapshot;
use palisade_rules::source::{FileId, Files};
use palisade_rules::world::{Worlds, resolve};

fn main() {
    let texts = estate::texts(estate::Estate {
        policies: estate::size(10_000),
        endpoints: estate::size(10_000),
        sets: estate::size(100),
        everywhere: false,
    });
    report_memory(&texts);
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_secs(2))
        .measurement_time(Duration::from_secs(10))
        .configure_from_args();
    let bytes = texts.iter().map(|(_, text)| text.len() as u64).sum();
    let mut group = criterion.benchmark_group("limits");
    group.throughput(Throughput::Bytes(bytes));
    // One run a sample: what several leave behind before it is dropped would crowd the memory.
    group.sampling_mode(SamplingMode::Flat);
    group.bench_function("parse and validate", |bencher| {
        bencher.iter_with_large_drop(|| parse(black_box(&texts)));
    });
    group.bench_function("resolve", |bencher| {
        let snapshot = parse(&texts);
        bencher.iter_with_large_drop(|| resolve(black_box(&snapshot), estate::host()));
    });
    group.bench_function("whole", |bencher| {
        bencher.iter_with_large_drop(|| whole(black_box(&texts)));
    });
    group.finish();
    criterion.final_summary();
}

/// The most memory that the process had, estate, texts and all, after reading it once.
fn report_memory(texts: &[(&str, String)]) {
    let kept = whole(texts);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    println!("limits: peak memory {}", peak.unwrap_or("is not known").trim());
    drop(black_box(kept));
}

fn parse(texts: &[(&str, String)]) -> Snapshot {
    let mut files = Files::default();
    let ids: Vec<FileId> = texts
        .iter()
        .map(|(name, text)| files.add(*name, text.as_str()))
        .collect();
    let (snapshot, diagnostics) = decode(&files, &ids);
    let first = || diagnostics.iter().next().map(|problem| problem.one_line(&files));
    snapshot.unwrap_or_else(|| panic!("the estate is not valid: {:?}", first()))
}

fn whole(texts: &[(&str, String)]) -> (Snapshot, Worlds) {
    let snapshot = parse(texts);
    let worlds = resolve(&snapshot, estate::host());
    (snapshot, worlds)
}
