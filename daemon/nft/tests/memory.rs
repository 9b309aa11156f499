//! What is free goes back to the kernel. A test of its own process, for it looks at all of the memory.
#![cfg(target_env = "gnu")]
#![allow(clippy::unwrap_used)] // in a test, a panic is a failure

use palisade_nft::memory;

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = pages.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[test]
fn what_lies_free_between_used_pieces_is_given_back() {
    let mut pieces: Vec<Option<Box<[u8]>>> = (0..20_000).map(|_| Some(vec![1; 4096].into())).collect();
    for (index, piece) in pieces.iter_mut().enumerate() {
        if index % 100 != 0 {
            *piece = None;
        }
    }
    let before = resident();
    memory::give_back();
    let given = before.saturating_sub(resident());
    assert!(given > 20 << 20, "{given} bytes of some 80 MB");
    assert_eq!(pieces.iter().flatten().count(), 200);
}
