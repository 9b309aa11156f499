//! Any bytes are resources or mistakes with places; nothing else comes of them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palisade_rules::decode::decode;
use palisade_rules::source::Files;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let mut files = Files::default();
    let id = files.add("fuzz.yaml".to_owned(), text);
    let (snapshot, diagnostics) = decode(&files, &[id]);
    assert_eq!(snapshot.is_some(), !diagnostics.has_errors());
    for record in diagnostics.records(&files) {
        assert!(!record.code.is_empty() && !record.message.is_empty());
    }
});
