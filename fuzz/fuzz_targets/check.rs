//! The whole of `palisade check` and what would come after it: two files of any bytes, read, reported in both forms,
//! and, where they are valid, resolved and compiled.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palisade_rules::compile::{FlowLog, Options, compile};
use palisade_rules::decode::decode;
use palisade_rules::source::Files;
use palisade_rules::world::{Host, resolve};
use palisade_rules::yaml;

fuzz_target!(|bytes: &[u8]| {
    let middle = bytes.iter().position(|&byte| byte == b'\x0c').unwrap_or(bytes.len());
    let mut files = Files::default();
    let parts = [("a.yaml", &bytes[..middle]), ("b.json", &bytes[middle..])];
    // What is no text is reported, and nothing of it read.
    let ids: Vec<_> = parts
        .into_iter()
        .filter_map(|(name, part)| yaml::add(&mut files, name, part).ok())
        .collect();
    let (snapshot, diagnostics) = decode(&files, &ids);
    let text = diagnostics.render(&files, false);
    assert_eq!(text.is_empty(), diagnostics.records(&files).is_empty());
    let Some(snapshot) = snapshot else { return };
    let host = Host {
        node: Some("one".to_owned()),
        ..Host::default()
    };
    let options = Options {
        flow_log: Some(FlowLog { group: 77, generation: 1 }),
        ..Options::default()
    };
    let compiled = compile(&resolve(&snapshot, host.clone()), &options);
    assert_eq!(compiled, compile(&resolve(&snapshot, host), &options));
    assert!(!compiled.ruleset.to_string().is_empty());
});
