//! What the C library does with memory that the process has freed. It is here because this crate may call C.

#[cfg(target_env = "gnu")]
use nix::libc;

/// Has all threads share two heaps: what one has freed, another can use. Counts for threads that start later.
///
/// glibc gives each thread a heap of its own, up to eight for each core, and few of palisaded's threads need memory at the
/// same time. With a single one they would wait for each other while flows come in. Nothing happens with another C library.
pub fn share_heaps() {
    #[cfg(target_env = "gnu")]
    // SAFETY: `mallopt` may be called by any thread at any time. That it may refuse harms nothing.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}

/// Gives the kernel back what is free, wherever it lies. The more that is, the longer it takes, and nothing can be allocated
/// meanwhile.
///
/// By itself, glibc only gives back what is free at the end of a heap. Nothing happens with another C library.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: `malloc_trim` may be called by any thread at any time. It touches only what is free.
    unsafe {
        libc::malloc_trim(0);
    }
}
