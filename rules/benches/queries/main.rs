//! How fast `explain --queries` answers, lines in and lines out: 200,000 queries a second or more, on one core.
//!
//! Asked are the examples; 1,000 policies of 5 rules and 1,000 endpoints; and the same where every policy governs every
//! endpoint. All questions of a run are different.
//!
//! ```text
//! taskset -c 0 cargo bench -p palisade-rules --bench queries
//! ```

#[path = "../limits/estate.rs"]
mod estate;

use std::fs;
use std::path::Path;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use estate::Estate;
use palisade_rules::analysis::Questions;
use palisade_rules::decode::decode;
use palisade_rules::source::{FileId, Files};
use palisade_rules::world::{Host, Worlds, resolve};

const QUERIES: usize = 100_000;

const PROTOCOLS: [&str; 4] = ["tcp", "tcp", "tcp", "udp"];

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(5))
        .configure_from_args();
    let mut group = criterion.benchmark_group("queries");
    group.throughput(Throughput::Elements(estate::size(QUERIES) as u64));
    let large = Estate {
        policies: estate::size(1_000),
        endpoints: estate::size(1_000),
        sets: estate::size(100),
        everywhere: false,
    };
    let everywhere = Estate {
        everywhere: true,
        ..large
    };
    for (name, texts, host) in [
        ("examples", examples(), Host::default()),
        (
            "1,000 policies, 1,000 endpoints",
            estate::texts(large),
            estate::host(),
        ),
        (
            "1,000 policies on every endpoint",
            estate::texts(everywhere),
            estate::host(),
        ),
    ] {
        let worlds = worlds(&texts, host);
        for (ends, lines) in [("by name", by_name(&worlds)), ("by address", by_address(&worlds))] {
            let mut out = Vec::new();
            let mut questions = Questions::new(&worlds);
            group.bench_function(format!("{name}, {ends}"), |bencher| {
                bencher.iter(|| {
                    let mut answered = 0;
                    for line in &lines {
                        out.clear();
                        answered += usize::from(questions.answer_line(line.as_bytes(), &mut out));
                    }
                    assert!(
                        answered > lines.len() * 3 / 4,
                        "only {answered} of {} have an answer",
                        lines.len()
                    );
                });
            });
        }
        group.bench_function(format!("{name}, making the index"), |bencher| {
            bencher.iter_with_large_drop(|| Questions::new(&worlds));
        });
    }
    group.finish();
    criterion.final_summary();
}

/// From every endpoint to every other, at another port each time.
fn by_name(worlds: &Worlds) -> Vec<String> {
    let endpoints: Vec<String> = worlds.endpoints.iter().map(ToString::to_string).collect();
    lines(|index| {
        let from = &endpoints[index % endpoints.len()];
        let to = &endpoints[(index * 7 + index / endpoints.len() + 1) % endpoints.len()];
        (from.clone(), to.clone())
    })
}

/// To every endpoint, half from another and half from addresses that nobody has.
fn by_address(worlds: &Worlds) -> Vec<String> {
    let endpoints = worlds.endpoints.iter();
    let addresses: Vec<String> = endpoints
        .filter_map(|endpoint| endpoint.addresses.first())
        .map(ToString::to_string)
        .collect();
    lines(|index| {
        let known = &addresses[index * 7 % addresses.len()];
        let stranger = format!("198.{}.{}.{}", 18 + index % 2, index / 256 % 256, index % 256);
        let from = if index % 4 < 2 { known } else { &stranger };
        (from.clone(), addresses[index % addresses.len()].clone())
    })
}

fn lines(ends: impl Fn(usize) -> (String, String)) -> Vec<String> {
    let line = |index: usize| {
        let (from, to) = ends(index);
        let protocol = PROTOCOLS[index % PROTOCOLS.len()];
        let port = match index % 3 {
            0 => 8_000 + index % 1_000,
            1 => [22, 53, 443, 5432][index % 4],
            _ => 1 + index % 65_535,
        };
        format!(r#"{{"from":"{from}","to":"{to}","protocol":"{protocol}","port":{port}}}"#)
    };
    (0..estate::size(QUERIES)).map(line).collect()
}

fn examples() -> Vec<(&'static str, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let files = fs::read_dir(directory).expect("the examples are there");
    let mut texts: Vec<String> = files
        .map(|entry| entry.expect("the examples can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| fs::read_to_string(path).expect("the examples can be read"))
        .collect();
    texts.sort();
    texts.into_iter().map(|text| ("examples.yaml", text)).collect()
}

fn worlds(texts: &[(&str, String)], host: Host) -> Worlds {
    let mut files = Files::default();
    let ids: Vec<FileId> = texts
        .iter()
        .map(|(name, text)| files.add(*name, text.as_str()))
        .collect();
    let (snapshot, diagnostics) = decode(&files, &ids);
    let first = || diagnostics.iter().next().map(|problem| problem.one_line(&files));
    let snapshot = snapshot.unwrap_or_else(|| panic!("the estate is not valid: {:?}", first()));
    resolve(&snapshot, host)
}
